"""Proxies, named or taken from the environment: who is asked, what they hear, and what breaks when they misbehave."""

import logging

import aiohttp
import pytest
from yarl import URL

from asyncbatch import AsyncBatchError, ConfigError, Http, ProviderTransientError, Retry
from asyncbatch.transport import Profile, Sessions
from asyncbatch.transport.proxies import Proxies
from tests.secrets.canaries import everything_about
from tests.transport.test_create import BATCH
from tests.transport.tunnels import basic, tunnel
from tests.transport.wire import KEY, answer, closing, hang_up, here, reset, serve, silence

LINES = b'{"custom_id":"a"}\n'
USER, PASSWORD = "user-canary-5f0e", "password/canary+91bd"
QUOTED = "password%2Fcanary%2B91bd"
ONCE = Retry(attempts=1)


def shown(text):
    return [form for form in (USER, PASSWORD, QUOTED, basic(f"{USER}:{PASSWORD}").split()[1]) if form in text]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# Through a tunnel


@pytest.mark.parametrize("how", ["named", "HTTPS_PROXY", "https_proxy", "without a scheme"])
async def test_https_goes_through_the_tunnel_of_a_proxy_which_hears_nothing_of_it(self_signed, monkeypatch, how):
    async with serve(answer(BATCH), answer(BATCH), answer(LINES), ssl=self_signed.server) as server, tunnel() as proxy:
        http = Http(ca_file=self_signed.ca_file, proxy=proxy.url)
        if how != "named":
            address = proxy.url.removeprefix("http://") if how == "without a scheme" else proxy.url
            monkeypatch.setenv("HTTPS_PROXY" if how == "without a scheme" else how, address)
            http = Http(ca_file=self_signed.ca_file, env_proxies=True)
        async with here(server.url, http=http) as client:
            await client.create()
            await client.provider.poll_status("batch_1")
            got = await client.fetch()

    assert got == LINES
    assert {(asked.method, asked.target) for asked in proxy.asked} == {("CONNECT", server.url.removeprefix("https://"))}
    assert len(server.asked) == 3
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    assert KEY not in str(proxy.asked)


async def test_the_name_of_a_host_is_looked_up_by_the_proxy(monkeypatch):
    async with serve(answer(BATCH)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        config = {"allow_http": True}
        async with here("http://nowhere.invalid", http=Http(env_proxies=True), config=config) as client:
            await client.provider.poll_status("batch_1")

    assert proxy.asked[0].target == "http://nowhere.invalid/v1/batches/batch_1"


async def test_each_hop_of_a_download_has_the_proxy_of_its_own_address(monkeypatch):
    async with serve(answer(LINES)) as proxy, serve(answer(b"", 302, "Location: http://localhost:9/file")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with here(server.url, http=Http(env_proxies=True)) as client:
            got = await client.fetch()

    assert got == LINES
    assert [asked.target for asked in server.asked] == ["/v1/files/file-1/content"]
    assert [asked.target for asked in proxy.asked] == ["http://localhost:9/file"]
    assert "authorization" not in proxy.asked[0].headers


async def test_a_session_of_the_applications_goes_through_the_environments_proxies_too(monkeypatch):
    async with serve(answer(BATCH)) as proxy, aiohttp.ClientSession() as session:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with here("http://127.0.0.1:9", http=Http(env_proxies=True), session=session) as client:
            await client.provider.poll_status("batch_1")

    assert proxy.asked[0].target == "http://127.0.0.1:9/v1/batches/batch_1"


# What the environment says


def proxies(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Proxies.of_environment()


@pytest.mark.parametrize(
    "excluded", ["127.0.0.1", "127.0.0.1:8443", "*", " else.example , 127.0.0.1 ", "127.0.0.1,else.example"]
)
def test_the_way_to_a_host_in_no_proxy_is_direct(monkeypatch, excluded):
    found = proxies(monkeypatch, https_proxy="http://127.0.0.1:9", no_proxy=excluded)

    assert found.towards(URL("https://127.0.0.1:8443/v1")) is None


@pytest.mark.parametrize("excluded", ["", "else.example", "7.0.0.1", "127.0.0.1:8444", "27.0.0.0/8"])
def test_the_way_to_any_other_is_not(monkeypatch, excluded):
    found = proxies(monkeypatch, https_proxy="http://127.0.0.1:9", no_proxy=excluded)

    assert found.towards(URL("https://127.0.0.1:8443/v1")) == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [("api.example", True), ("a.api.example", True), ("anapi.example", False), ("API.Example", True), ("[::1]", True)],
)
def test_a_name_in_no_proxy_stands_for_what_is_below_it(monkeypatch, host, is_direct):
    found = proxies(monkeypatch, https_proxy="http://127.0.0.1:9", no_proxy=".api.example,::1")

    assert (found.towards(URL(f"https://{host}/v1")) is None) is is_direct


def test_each_scheme_has_its_own_and_what_is_not_named_goes_direct(monkeypatch):
    found = proxies(monkeypatch, HTTPS_PROXY="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:10")

    assert found.towards(URL("https://api.example")) == "http://127.0.0.1:9"
    assert found.towards(URL("http://api.example")) is None


def test_small_letters_go_before_large_ones_and_an_empty_one_takes_it_away(monkeypatch):
    assert proxies(monkeypatch, HTTPS_PROXY="http://a:1", https_proxy="http://b:2").towards(URL("https://c")) == (
        "http://b:2"
    )
    assert proxies(monkeypatch, HTTPS_PROXY="http://a:1", https_proxy="").towards(URL("https://c")) is None


def test_in_a_cgi_program_http_proxy_is_a_header_of_the_visitors_and_counts_for_nothing(monkeypatch):
    found = proxies(monkeypatch, HTTP_PROXY="http://evil:1", REQUEST_METHOD="GET")

    assert found.towards(URL("http://api.example")) is None


@pytest.mark.parametrize(
    "address",
    [
        f"socks5://{USER}:{QUOTED}@127.0.0.1:9",
        f"http://{USER}:{PASSWORD}@127.0.0.1:9",
        f"http://{USER}:{QUOTED}@",
        f"http://{USER}:{QUOTED}@127.0.0.1:99999",
        "http://",
        f"{USER}:{QUOTED}",
    ],
)
async def test_what_is_no_proxy_is_said_at_opening_by_the_variables_name_alone(monkeypatch, address):
    monkeypatch.setenv("https_proxy", address)
    with pytest.raises(ConfigError, match="HTTPS_PROXY in the environment") as caught:
        await Sessions(Http(env_proxies=True)).open()

    assert caught.value.code == "config.proxy"
    assert not [text for text in everything_about(caught.value) if shown(text)]


async def test_the_environment_is_read_when_the_scope_is_opened_and_then_no_more(monkeypatch):
    async with serve(answer(BATCH, keep=True)) as proxy, serve(answer(BATCH)) as other:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with here("http://127.0.0.1:9", http=Http(env_proxies=True)) as client:
            monkeypatch.setenv("http_proxy", other.url)
            await client.provider.poll_status("batch_1")

    assert len(proxy.asked) == 1
    assert other.asked == []


def test_a_proxy_for_everything_and_the_environments_are_not_both_taken():
    with pytest.raises(ConfigError, match="env_proxies") as caught:
        Http(proxy="http://127.0.0.1:9", env_proxies=True)

    assert "give one" in str(caught.value)


async def test_no_password_file_is_looked_into(monkeypatch, tmp_path):
    text = "machine 127.0.0.1 login user password secret\ndefault login anybody password secret\n"
    (tmp_path / ".netrc").write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with serve(answer(BATCH, keep=True)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with here("http://127.0.0.1:9", http=Http(env_proxies=True)) as client:
            await client.provider.poll_status("batch_1")

    assert "proxy-authorization" not in proxy.asked[0].headers
    assert proxy.asked[0].headers["authorization"] == f"Bearer {KEY}"


# A public host leads no download inside, wherever nobody else looks names up


async def test_what_goes_through_a_proxy_is_looked_up_there_and_what_goes_direct_is_guarded(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "inside.example")
    sessions, home = Sessions(Http(env_proxies=True)), URL("https://api.example")
    await sessions.open()
    try:
        bulk = sessions.get(Profile.BULK)
        assert sessions.abroad(home, URL("https://files.example/x")) is bulk
        assert sessions.abroad(home, URL("https://inside.example/x")) is not bulk
        assert sessions.abroad(home, URL("http://files.example/x")) is not bulk, "no proxy is named for it"
        assert sessions.abroad(URL("http://127.0.0.1"), URL("https://inside.example/x")) is bulk
    finally:
        await sessions.close()


# Credentials of a proxy


@pytest.mark.parametrize("is_right", [True, False])
async def test_the_password_goes_to_the_proxy_alone_and_is_not_shown(self_signed, monkeypatch, caplog, is_right):
    caplog.set_level(logging.DEBUG)
    wanted = f"{USER}:{PASSWORD}" if is_right else "somebody:else"
    async with serve(answer(BATCH), ssl=self_signed.server) as server, tunnel(user=wanted) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", f"//{USER}:{QUOTED}@"))
        http = Http(ca_file=self_signed.ca_file, env_proxies=True)
        async with here(server.url, http=http) as client:
            if is_right:
                assert (await client.create()).provider_batch_id == "batch_1"
            else:
                with pytest.raises(ProviderTransientError, match="the proxy refuses") as caught:
                    await client.create()
                assert not [text for text in everything_about(caught.value) if shown(text)]
            sessions = client.scope.context.sessions
            options = sessions.options(Profile.POLL, URL(server.url))

    assert proxy.asked[0].headers["proxy-authorization"] == basic(f"{USER}:{PASSWORD}")
    assert all("proxy-authorization" not in asked.headers for asked in server.asked)
    assert shown(caplog.text) == []
    assert PASSWORD not in repr(options)
    assert shown(repr(vars(sessions))) == []


async def test_a_proxy_that_echoes_its_credentials_gets_them_into_no_error(monkeypatch):
    echo = f'{{"error":{{"message":"{basic(f"{USER}:{PASSWORD}")} is {PASSWORD}","type":"t","code":"c"}}}}'.encode()
    async with serve(answer(echo, 407)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", f"//{USER}:{QUOTED}@"))
        async with here("http://127.0.0.1:9", http=Http(env_proxies=True), retry=ONCE) as client:
            with pytest.raises(AsyncBatchError, match="407") as caught:
                await client.provider.poll_status("batch_1")

    assert not [text for text in everything_about(caught.value) if shown(text)]


# Proxies that misbehave

MISBEHAVING = {
    "403": answer(b"<html>no</html>", 403, content_type="text/html"),
    "407": answer(b"", 407),
    "502": answer(b"", 502),
    "a redirect": answer(b"", 302, "Location: http://127.0.0.1:9/login"),
    "200 and a hang-up": closing(b"HTTP/1.1 200 OK\r\n\r\n"),
    "200 and words in clear": closing(b"HTTP/1.1 200 OK\r\n\r\n" + answer(BATCH)),
    "a hang-up": hang_up,
    "a reset": reset,
    "no HTTP": closing(b"SSH-2.0\r\n\r\n"),
    "a huge header": closing(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"x" * 2**20 + b"\r\n\r\n"),
    "silence": silence,
}


@pytest.mark.parametrize("how", MISBEHAVING)
@pytest.mark.parametrize("call", ["create", "poll", "upload", "download"])
async def test_through_a_proxy_that_misbehaves_nothing_is_sent_and_a_create_is_known_not_to_be_accepted(how, call):
    limits = dict.fromkeys(("control_total_s", "poll_total_s", "connect_s", "header_s"), 1) if how == "silence" else {}
    async with tunnel(refusal=MISBEHAVING[how]) as proxy:
        http = Http(proxy=proxy.url, **limits)
        async with here("https://127.0.0.1:9", http=http, retry=ONCE) as client:
            calls = await client.calls()
            with pytest.raises(ProviderTransientError) as caught:
                await calls[call]()

    assert type(caught.value) is ProviderTransientError
    assert {asked.method for asked in proxy.asked} == {"CONNECT"}
    assert KEY not in str(proxy.asked)


async def test_a_proxy_that_is_not_there_is_named_as_what_is_missing():
    async with here("https://127.0.0.1:9", http=Http(proxy="http://127.0.0.1:9")) as client:
        with pytest.raises(ProviderTransientError, match="no connection to the proxy") as caught:
            await client.create()

    assert caught.value.code == "proxy"
    assert "NO_PROXY" in str(caught.value.hint)
