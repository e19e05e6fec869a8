"""TLS is always verified: whom we believe, whom we do not, what is said of it, and that nothing was sent before."""

import ssl

import aiohttp
import pytest
from msgspec.structs import replace

from asyncbatch import ConfigError, Http, ProviderTransientError, Retry
from asyncbatch.runtime import Runtime
from asyncbatch.transport import Sessions
from tests.transport.certificates import Authority
from tests.transport.test_create import BATCH
from tests.transport.tunnels import tunnel
from tests.transport.wire import answer, here, serve

ONCE = Retry(attempts=1)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def no_files_of_the_environment(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


# Whom we do not believe

LOOPBACK = "127.0.0.1"
REFUSED = {
    "self-signed": ((LOOPBACK,), {"is_self_signed": True}, "self", "ca_file"),
    "another address": (("127.0.0.2",), {}, "IP address mismatch", "the host that the certificate is for"),
    "a name for an address": (("localhost",), {}, "IP address mismatch", "the host that the certificate is for"),
    "expired": ((LOOPBACK,), {"days": (-9, -2)}, "expired", "clock"),
    "not valid yet": ((LOOPBACK,), {"days": (2, 9)}, "not yet valid", "clock"),
}


async def refused(server, http, call, url=None):
    """Make a call that has to fail, and give how."""
    async with here(url or server.url, http=http, retry=ONCE) as client:
        calls = await client.calls()
        with pytest.raises(ProviderTransientError, match="TLS: ") as caught:
            await calls[call]()
    assert type(caught.value) is ProviderTransientError, "and so a create is known not to be accepted"
    assert caught.value.code == "tls"
    assert server.asked == []
    return caught.value


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("call", ["create", "poll", "upload", "download"])
async def test_a_certificate_that_is_not_to_be_believed_ends_the_call_before_anything_is_sent(authority, case, call):
    hosts, how, reason, hint = REFUSED[case]
    async with serve(answer(BATCH), ssl=authority.server(*hosts, **how)) as server:
        error = await refused(server, Http(ca_file=str(authority.file)), call)

    assert reason in str(error)
    assert hint in error.hint


@pytest.mark.parametrize("call", ["create", "poll", "upload", "download"])
async def test_a_certificate_of_nobody_whom_we_know_is_refused(authority, tmp_path, call):
    other = Authority(tmp_path, "another authority")
    async with serve(answer(BATCH), ssl=authority.server(LOOPBACK)) as server:
        found = [
            await refused(server, http, call) for http in (Http(), Http(ca_file=str(other.file)), by(other.client()))
        ]

    assert all("unable to get local issuer" in str(error) for error in found)
    assert all("ca_file" in error.hint and "SSL_CERT_FILE" in error.hint for error in found)


async def test_a_certificate_of_another_name_is_refused(authority):
    async with serve(answer(BATCH), ssl=authority.server("else.example", LOOPBACK)) as server:
        url = server.url.replace(LOOPBACK, "localhost")
        error = await refused(server, Http(ca_file=str(authority.file)), "create", url)

    assert "not valid for 'localhost'" in str(error)
    assert "the host that the certificate is for" in error.hint


async def test_whoever_stands_at_the_end_of_a_proxys_tunnel_has_to_be_believed_too(authority, tmp_path):
    other = Authority(tmp_path, "another authority")
    async with serve(answer(BATCH), ssl=other.server(LOOPBACK)) as server, tunnel() as proxy:
        await refused(server, Http(ca_file=str(authority.file), proxy=proxy.url), "create")

    assert len(proxy.asked) == 1


async def test_a_proxy_that_speaks_tls_has_to_be_believed_before_it_hears_anything(authority, tmp_path):
    other = Authority(tmp_path, "another authority")
    async with serve(answer(b"", 502), ssl=other.server(LOOPBACK)) as proxy:
        await refused(proxy, Http(ca_file=str(authority.file), proxy=proxy.url), "create", "https://127.0.0.1:9")


# Whom we believe


def by(context):
    return Http(ssl_context=context)


async def test_an_authority_is_believed_however_it_is_named(authority, monkeypatch):
    async with serve(answer(BATCH), ssl=authority.server(LOOPBACK)) as server:
        for http in (Http(ca_file=str(authority.file)), by(authority.client())):
            async with here(server.url, http=http) as client:
                assert (await client.create()).provider_batch_id == "batch_1"
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        async with here(server.url) as client:
            assert (await client.create()).provider_batch_id == "batch_1"

    assert len(server.asked) == 3


async def test_a_directory_of_authorities_in_the_environment_is_looked_into(authority, monkeypatch, tmp_path):
    directory = tmp_path / "authorities"
    directory.mkdir()
    name = authority.hashed_name()
    (directory / f"{name}.0").write_bytes(authority.file.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    async with serve(answer(BATCH), ssl=authority.server(LOOPBACK)) as server, here(server.url) as client:
        assert (await client.create()).provider_batch_id == "batch_1"


@pytest.mark.parametrize("how", ["ca_file", "ssl_context"])
async def test_a_session_of_the_applications_believes_whom_we_are_told_to(authority, how):
    http = Http(ca_file=str(authority.file)) if how == "ca_file" else by(authority.client())
    async with serve(answer(BATCH), ssl=authority.server(LOOPBACK)) as server, aiohttp.ClientSession() as session:
        async with here(server.url, http=http, session=session) as client:
            assert (await client.create()).provider_batch_id == "batch_1"


async def test_a_context_may_bring_a_certificate_of_our_own_for_servers_that_ask_for_one(authority):
    asking = authority.server(LOOPBACK)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(authority.file)
    own = authority.client()
    own.load_cert_chain(authority.certificate("us"))
    async with serve(answer(BATCH), ssl=asking) as server, here(server.url, http=by(own)) as client:
        assert (await client.create()).provider_batch_id == "batch_1"


async def test_the_server_is_told_which_host_is_meant(authority):
    told = []
    context = authority.server("localhost", LOOPBACK)
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    async with serve(answer(BATCH), ssl=context) as server:
        for url in (server.url.replace(LOOPBACK, "localhost"), server.url):
            async with here(url, http=Http(ca_file=str(authority.file))) as client:
                await client.create()

    assert told == ["localhost", None], "an address is no name"


async def test_one_certificate_that_was_believed_vouches_for_no_other_host(authority):
    async with serve(answer(BATCH, keep=True), ssl=authority.server(LOOPBACK)) as server:
        http = Http(ca_file=str(authority.file))
        async with here(server.url, http=http, retry=ONCE) as client:
            await client.provider.poll_status("batch_1")
            url = server.url.replace(LOOPBACK, "localhost")
            other = client.scope.create("openai", {"api_key": "sk-other", "base_url": f"{url}/v1"})
            with pytest.raises(ProviderTransientError, match="TLS"):
                await other.poll_status("batch_1")

    assert len(server.asked) == 1


# No switch turns it off


def unverified(verify_mode=ssl.CERT_NONE):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = verify_mode
    return context


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (unverified(), "verify_mode CERT_NONE"),
        (unverified(ssl.CERT_OPTIONAL), "verify_mode CERT_OPTIONAL"),
        (unverified(ssl.CERT_REQUIRED), "check_hostname off"),
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "a server's"),
    ],
    ids=["none", "optional", "any host", "a server's"],
)
def test_a_context_that_would_believe_anybody_is_refused(context, why):
    with pytest.raises(ConfigError, match=why) as caught:
        by(context)

    assert caught.value.code == "config.tls"
    assert "create_default_context" in caught.value.hint


async def test_one_that_was_changed_after_it_was_named_is_refused_at_opening():
    context = ssl.create_default_context()
    sessions = Sessions(by(context))
    context.check_hostname = False
    with pytest.raises(ConfigError, match="check_hostname off"):
        await sessions.open()


def test_a_file_and_a_context_are_not_both_taken(authority):
    with pytest.raises(ConfigError, match="both say whom to trust") as caught:
        Http(ca_file=str(authority.file), ssl_context=authority.client())

    assert "load_verify_locations" in caught.value.hint


async def test_certificates_are_read_in_a_thread(monkeypatch, tmp_path):
    """Hundreds of them take tens of milliseconds, in which a web server would answer nobody."""
    seen = []

    async def offload(func, /, *args):
        seen.append(func.__name__)
        return func(*args)

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    sessions = Sessions()
    await sessions.open(replace(Runtime(), offload=offload))
    await sessions.close()

    assert seen == ["named_context", "environments_context"]
