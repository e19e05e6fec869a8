"""The three sessions of a scope: what each is for, what they never keep, and that none of them is left open."""

import asyncio

import aiohttp
import anyio
import pytest

from asyncbatch import (
    BatchProviderRegistry,
    ConfigError,
    Http,
    ProviderTransientError,
    Retry,
    ScopeError,
)
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.spool import IN_MEMORY_BYTES, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime
from asyncbatch.transport import Profile, Sessions
from asyncbatch.transport.sessions import Headers
from tests.transport.test_create import BATCH
from tests.transport.wire import KEY, answer, here, serve, silence

KEPT = answer(BATCH, keep=True)
PAGE = answer(b'{"data":[]}', keep=True)


async def test_each_profile_has_a_session_of_its_own_with_the_documented_settings():
    sessions = Sessions()
    await sessions.open()
    found = {profile: sessions.get(profile) for profile in Profile}
    connectors = {profile: session.connector for profile, session in found.items()}
    await sessions.close()

    assert len(set(map(id, found.values()))) == 3
    assert {profile: connector.force_close for profile, connector in connectors.items()} == {
        Profile.CONTROL: True,
        Profile.POLL: False,
        Profile.BULK: False,
    }
    assert {(item.limit, item.limit_per_host) for item in connectors.values()} == {(0, 0)}, "whose turn it is, we say"
    assert {type(session.cookie_jar) for session in found.values()} == {aiohttp.DummyCookieJar}
    assert not any(session.trust_env for session in found.values())
    assert not any(session.headers for session in found.values()), "credentials travel with each call"
    assert all(session.closed for session in found.values())


@pytest.mark.parametrize(
    ("profile", "total", "sock_read"), [(Profile.CONTROL, 60, None), (Profile.POLL, 30, None), (Profile.BULK, None, 60)]
)
def test_each_profile_has_its_time_limits(profile, total, sock_read):
    timeout = Http().timeout(profile)

    assert (timeout.total, timeout.sock_read, timeout.sock_connect) == (total, sock_read, 15)


@pytest.mark.parametrize("profile", Profile)
def test_a_call_that_streams_has_a_limit_for_each_silence_and_none_in_all(profile):
    http = Http()
    timeout = Sessions(http).options(profile, silence_s=http.create_answer_s)["timeout"]

    assert (timeout.total, timeout.sock_read, timeout.sock_connect) == (None, 300, 15)


def test_of_headers_that_are_put_together_the_last_of_a_name_stays_however_it_is_written():
    merged = Headers.merged({"Accept": "*/*", "X-A": "1"}, {"accept": "a/b"}, {"x-a": "2", "X-B": "3"})

    assert merged == {"accept": "a/b", "x-a": "2", "X-B": "3"}
    assert "a/b" not in repr(merged)


async def test_polls_share_a_connection_and_control_calls_do_not():
    async with serve(KEPT) as server, here(server.url) as client:
        for _ in range(5):
            await client.provider.poll_status("batch_1")
        polling = server.connections
        for _ in range(3):
            await client.provider.cancel("batch_1")

    assert polling == 1
    assert server.connections == 1 + 3


async def test_a_cookie_is_not_kept():
    async with serve(answer(BATCH, 200, "Set-Cookie: session=sticky; Path=/", keep=True)) as server:
        async with here(server.url) as client:
            for _ in range(2):
                await client.provider.poll_status("batch_1")

    assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serve(KEPT) as server, here(server.url) as client:
        status = await client.provider.poll_status("batch_1")

    assert status.provider_batch_id == "batch_1"


async def test_a_password_file_is_not_looked_into(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serve(KEPT) as server, here(server.url) as client:
        await client.provider.poll_status("batch_1")

    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_proxy_that_is_named_gets_every_call():
    async with serve(KEPT) as proxy, here("http://127.0.0.1:9", http=Http(proxy=proxy.url)) as client:
        await client.provider.poll_status("batch_1")

    assert proxy.asked[0].target == "http://127.0.0.1:9/v1/batches/batch_1"


# A session of the application's


async def test_a_session_of_the_applications_serves_every_call_and_stays_open():
    lines = b'{"custom_id":"a"}\n'
    async with serve(KEPT, PAGE, answer(lines, keep=True)) as server, aiohttp.ClientSession() as session:
        async with here(server.url, session=session) as client:
            await client.provider.poll_status("batch_1")
            await client.provider.list_statuses()
            got = await client.fetch()
        is_open = not session.closed
        async with session.get(server.url) as response:
            await response.read()

    assert got == lines
    assert is_open
    assert server.connections == 1, "its connector is used"


async def test_a_session_of_the_applications_is_given_our_limits_call_by_call():
    strict = aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(total=60))
    async with strict as session, serve(silence) as server:
        http = Http(poll_total_s=0.3)
        async with here(server.url, session=session, http=http, retry=Retry(attempts=1)) as client:
            with pytest.raises(ProviderTransientError, match="in time"):
                await client.provider.poll_status("batch_1")
            server.answers = [answer(b'{"error":{"message":"Too much."}}', 429)]
            with pytest.raises(ProviderTransientError, match="Too much"):
                await client.provider.poll_status("batch_1")
            server.answers = [answer(b"", 302, "Location: /elsewhere")]
            with pytest.raises(Exception, match="answered 302"):
                await client.provider.poll_status("batch_1")
            server.answers = [answer(b"not gzip", 200, "Content-Encoding: gzip")]
            with pytest.raises(ProviderTransientError, match="compressed, and damaged"):
                await client.fetch()

    assert len(server.asked) == 4


async def test_a_provider_alone_takes_a_session_of_the_applications_too():
    async with serve(KEPT) as server, aiohttp.ClientSession() as session:
        config = {"api_key": KEY, "base_url": f"{server.url}/v1"}
        async with OpenAIBatchProvider(config, session=session) as provider:
            await provider.poll_status("batch_1")

        assert not session.closed


# Opening and closing


async def test_closing_twice_is_closing_once():
    sessions = Sessions()
    await sessions.open()
    await sessions.close()
    await sessions.close()

    with pytest.raises(ScopeError, match="not open"):
        sessions.get(Profile.POLL)


async def test_a_provider_outside_of_its_block_says_what_to_open():
    provider = OpenAIBatchProvider({"api_key": KEY, "base_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(ScopeError, match="async with provider") as before:
        await provider.poll_status("batch_1")
    async with provider:
        pass
    with pytest.raises(ScopeError, match="async with provider") as after:
        await provider.poll_status("batch_1")

    assert before.value.code == after.value.code == "scope.closed"


async def test_a_provider_can_be_opened_again():
    async with serve(KEPT) as server:
        provider = OpenAIBatchProvider({"api_key": KEY, "base_url": f"{server.url}/v1"})
        for _ in range(2):
            async with provider:
                await provider.poll_status("batch_1")

    assert server.connections == 2


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
async def test_a_certificate_file_that_cannot_be_used_is_named_and_nothing_is_left_open(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used"):
        async with BatchProviderRegistry().open(http=Http(ca_file=str(path))):
            pass
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used"):
        async with OpenAIBatchProvider({"api_key": KEY}, http=Http(ca_file=str(path))):
            pass


async def test_connections_are_closed_even_when_we_are_cancelled_meanwhile():
    sessions = []
    async with serve(KEPT) as server:
        provider = OpenAIBatchProvider({"api_key": KEY, "base_url": f"{server.url}/v1"})
        with anyio.CancelScope() as scope:
            async with provider:
                await provider.poll_status("batch_1")
                sessions += [provider._own_context.sessions.get(profile) for profile in Profile]
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        registry = BatchProviderRegistry()
        with anyio.CancelScope() as scope:
            async with registry.open() as its:
                sessions += [its.context.sessions.get(profile) for profile in Profile]
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    assert len(sessions) == 6
    assert all(session.closed for session in sessions)


async def test_many_lives_leave_nothing_behind():
    import os

    def descriptors():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    async with serve(KEPT) as server:
        before = descriptors()
        for _ in range(50):
            async with here(server.url) as client:
                await client.provider.poll_status("batch_1")
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        after = descriptors()

    assert after <= before + 2


# Cancelled while closing: a native `Task.cancel()` goes through every shield of anyio's


async def cancelled_at_every_turn(close):
    """Run a closing and cancel its task whenever it waits; gives whether the cancellation came out of it."""
    task = asyncio.create_task(close())
    with anyio.fail_after(10):
        while not task.done():
            await asyncio.sleep(0)
            task.cancel()
    return task.cancelled()


def body_on_disk(space):
    file = space.new()
    file.append(b"x" * (IN_MEMORY_BYTES + 1))
    file.flush()
    return file.path.parent


async def test_a_native_cancel_does_not_keep_a_scope_from_closing_everything():
    scope = BatchProviderRegistry().open()
    await scope.__aenter__()
    sessions = [scope.context.sessions.get(profile) for profile in Profile]
    directory = body_on_disk(scope.context.space)

    cancelled = await cancelled_at_every_turn(scope.aclose)

    assert cancelled, "and it is not swallowed"
    assert [session.closed for session in sessions] == [True] * 3
    assert not directory.exists()
    assert not scope.is_open


async def test_a_native_cancel_does_not_keep_the_registry_from_closing_its_shared_scope():
    registry = BatchProviderRegistry()
    scope = await registry.__aenter__()
    sessions = [scope.context.sessions.get(profile) for profile in Profile]

    cancelled = await cancelled_at_every_turn(lambda: registry.__aexit__(None, None, None))

    assert cancelled
    assert [session.closed for session in sessions] == [True] * 3


async def test_a_native_cancel_does_not_keep_a_provider_alone_from_closing_everything():
    provider = OpenAIBatchProvider({"api_key": KEY})
    await provider.__aenter__()
    context = provider._own_context
    sessions = [context.sessions.get(profile) for profile in Profile]
    directory = body_on_disk(context.space)

    cancelled = await cancelled_at_every_turn(provider.aclose)

    assert cancelled
    assert [session.closed for session in sessions] == [True] * 3
    assert not directory.exists()
    assert provider._own_context is None


async def test_a_native_cancel_does_not_keep_sessions_open():
    sessions = Sessions()
    await sessions.open()
    opened = [sessions.get(profile) for profile in Profile]

    cancelled = await cancelled_at_every_turn(sessions.close)

    assert cancelled
    assert [session.closed for session in opened] == [True] * 3


class Stuck:
    """Refuses to close once, as a connector of an application's may."""

    def __init__(self, session):
        self._session = session
        self._close = session.close
        session.close = self.close

    async def close(self):
        self._session.close = self._close
        raise OSError("not now")


@pytest.mark.filterwarnings("ignore:Setting custom ClientSession:DeprecationWarning")
@pytest.mark.parametrize("how", ["sessions", "scope", "provider"])
async def test_what_one_closing_left_the_next_one_finishes(how):
    space = SpoolSpace(virtual_runtime())
    if how == "scope":
        owner = await BatchProviderRegistry().open().__aenter__()
        sessions, space, close = owner.context.sessions, owner.context.space, owner.aclose
    elif how == "provider":
        owner = await OpenAIBatchProvider({"api_key": KEY}).__aenter__()
        sessions, space, close = owner._own_context.sessions, owner._own_context.space, owner.aclose
    else:
        sessions = Sessions()
        await sessions.open()
        close = sessions.close
    opened = [sessions.get(profile) for profile in Profile]
    Stuck(opened[0])

    with pytest.raises(OSError, match="not now"):
        await close()
    first = [session.closed for session in opened]
    is_space_closed = space.is_closed
    await close()
    await close()

    assert first == [False, True, True], "one that fails keeps no other from being closed"
    assert is_space_closed or how == "sessions", "nor the bodies from being removed"
    assert [session.closed for session in opened] == [True] * 3
