"""Whole jobs of each provider, in a directory: no key lies in it, nor in a log, an event, a warning or at the emulator."""

import asyncio
import base64
import logging
import sqlite3
import tempfile
import warnings

import aiohttp
import anyio
import pytest

from asyncbatch import BatchClient, Http, ProviderPermanentError, SignedPost, UsageInfo
from asyncbatch.accounts import credentials_of
from asyncbatch.emulator import Emulator, faults
from asyncbatch.emulator.history import encode_history
from asyncbatch.job import JobStatus
from asyncbatch.secrecy import hide
from asyncbatch.signed_post import NotTakenError
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.engine.waiting import until
from tests.providers.world import CHAT, MODEL, small_catalog
from tests.secrets.canaries import canary, everything_about, files_below, leaks, shown
from tests.transport.wire import answer, closing, hang_up, reset, serve, silence

KEY, GATEWAY, ENV = canary("sk-"), canary("gw-"), canary("sk-env-")
SIGNING = "whsec_" + base64.b64encode(canary().encode()).decode()
CANARIES = (KEY, GATEWAY, ENV, SIGNING)
PROVIDERS = ("anthropic", "gemini", "mistral", "openai", "xai")
ROWS = [CHAT, *({"messages": [{"role": "user", "content": f"[[error:400]] {number}"}]} for number in range(3))]


@pytest.fixture
def heard(caplog):
    """Everything is logged, and every warning kept."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp", "aiohttp.access", "aiohttp.client", "asyncbatch"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield lambda: caplog.text + "".join(str(item) for item in warned)


def assert_clean(texts):
    for text in texts:
        assert leaks(text, *CANARIES) == [], text


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_job_leaves_no_key_behind_anywhere(name, tmp_path, monkeypatch, heard):
    asyncio.get_running_loop().set_debug(True)
    monkeypatch.setenv(f"{name.upper()}_API_KEY", ENV)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    clock, seen = VirtualClock(), []
    echo = faults.refuse(503, code=f"{KEY} {GATEWAY} {ENV}", operation="poll", times=2)

    async def accounts(account):
        return {name: {"api_key": KEY, "headers": {"X-Gateway": GATEWAY}, "base_url": emulator.base_url(name)}}

    with Emulator(clock=clock.now, models=["echo-*"], data_dir=tmp_path / "emulator", faults=[echo]) as emulator:
        options = {"accounts": accounts, "catalog": small_catalog(name), "webhook_secrets": {"openai": SIGNING}}
        async with BatchClient(journal=tmp_path / "state", runtime=virtual_runtime(clock), **options) as client:
            events = client.events()
            job = await client.submit(ROWS, model=f"{name}/{MODEL}", account="acme", key="mine", cleanup="settled")
            await until(lambda: files_below(tmp_path / "temporary") or job.status().batches[0].provider_batch_id)
            seen += [*files_below(tmp_path / "state"), *files_below(tmp_path / "temporary")]
            status = await job.wait()
            rows = [row async for row in job.results()]
            seen += [*files_below(tmp_path / "state"), *files_below(tmp_path / "temporary")]  # with its WAL
            with anyio.move_on_after(0.2):
                async for event in events:
                    seen += shown(event)
            usage = await client.usage("acme")
            records = await client.records() if hasattr(client, "records") else ()
        history = encode_history(emulator.history)
        async with aiohttp.ClientSession() as session, session.get(f"{emulator.url}/history") as said:
            seen.append(await said.read())
    seen += [*files_below(tmp_path), history, repr(status), repr(rows), repr(usage), repr(records), heard()]

    assert len(rows) == len(ROWS)
    assert any(b"SQLite format 3" in text for text in seen if isinstance(text, bytes))
    assert any(b"hello" in text for text in seen if isinstance(text, bytes)), "what is to be kept is"
    assert_clean(seen)


async def test_the_journal_says_nothing_of_a_key_in_any_column(tmp_path):
    clock = VirtualClock()
    with Emulator(clock=clock.now) as emulator:
        accounts = {"acme": {"api_key": KEY, "headers": {"X": GATEWAY}, "base_url": emulator.base_url("openai")}}
        async with BatchClient(accounts=accounts, journal=tmp_path, runtime=virtual_runtime(clock)) as client:
            job = await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme")
            await job.wait()
    (path,) = tmp_path.rglob("*.db") if list(tmp_path.rglob("*.db")) else tmp_path.rglob("*.sqlite*")
    database = sqlite3.connect(path)
    tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
    dump = "\n".join(str(row) for table in tables for row in database.execute(f'select * from "{table}"'))
    database.close()

    assert job.id in dump
    assert_clean([dump])


async def test_a_function_that_quotes_the_key_it_fails_over_is_not_quoted(tmp_path, heard):
    """Jobs that are taken up on opening ask for their keys; what fails there is logged, and nobody's key with it."""
    clock = VirtualClock()

    async def vault(account):
        raise OSError(f"vault refuses {KEY}")

    with Emulator(clock=clock.now) as emulator:
        fine = {"acme": {"api_key": KEY, "base_url": emulator.base_url("openai")}}
        async with BatchClient(accounts=fine, journal=tmp_path, runtime=virtual_runtime(clock)) as client:
            emulator.add(faults.stall(60, operation="upload", times=None))
            job = await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme")
        async with BatchClient(accounts=vault, journal=tmp_path, runtime=virtual_runtime(clock)) as client:
            with pytest.raises(OSError, match="vault refuses"):  # whoever submits gets the application's own error
                await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme")

    assert f"job {job.id} is left as it is: looking its key up failed with OSError" in heard()
    assert_clean([heard()])


async def test_an_account_is_looked_up_without_its_key_in_any_frame_of_ours():
    with pytest.raises(Exception, match="no API key") as caught:
        await credentials_of(hide({"acme": {"openai": {"headers": {"X": KEY}}}}), "acme", "openai")

    assert_clean(everything_about(caught.value))


async def test_a_key_in_a_query_is_not_in_the_history_of_the_emulator(tmp_path):
    with Emulator(data_dir=tmp_path) as emulator:
        base = emulator.base_url("gemini")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/v1beta/batches", params={"key": KEY, "pageSize": "3"}) as said:
                assert said.status == 200
            async with session.get(f"{base}/v1beta/batches", params={"key": f"invalid{KEY}"}) as said:
                assert said.status == 400
        history = emulator.history

    assert history[0].path.endswith("/v1beta/batches?pageSize=3")
    assert_clean([encode_history(history), *files_below(tmp_path)])


async def test_the_key_of_an_upstream_is_in_no_row_and_no_log(heard):
    said = answer(f'{{"error":{{"message":"Incorrect API key: {KEY}","code":"{KEY}"}}}}'.encode(), 401)
    async with serve(said) as server:
        clock, url = VirtualClock(), f"{server.url}/v1"
        with Emulator(clock=clock.now, upstream=url, upstream_key=KEY) as emulator:
            accounts = {"acme": {"api_key": ENV, "base_url": emulator.base_url("openai")}}
            async with BatchClient(accounts=accounts, runtime=virtual_runtime(clock)) as client:
                job = await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme")
                rows = [row async for row in job.results()]

    assert KEY in str(server.asked[0].headers)
    assert "Incorrect API key: [key]" in str(rows[0].error)
    assert_clean([repr(rows), heard()])


class Ended:
    """A job that is over, as a handler is handed it."""

    id = "j1"

    def status(self):
        counts = {"requests": 1, "outcomes": {}, "is_over": True, "batches": (), "usage": UsageInfo()}
        return JobStatus(
            job_id="j1", provider="openai", model="m", mode="chat", account="acme", created_at=1.0, **counts
        )


POSTS = {
    "500 with an echo": answer(f"{KEY} {SIGNING}".encode(), 500, f"X-Echo: {SIGNING}"),
    "a redirect": answer(b"", 302, f"Location: https://h.example/?key={KEY}"),
    "a hang-up": hang_up,
    "a reset": reset,
    "silence": silence,
    "no HTTP": closing(b"SSH-2.0\r\n\r\n"),
    "a cut head": closing(b"HTTP/1.1 200 OK\r\nX: " + SIGNING.encode()),
}


@pytest.mark.parametrize("what", POSTS)
async def test_a_post_that_is_not_taken_shows_neither_its_secret_nor_its_address(what, heard):
    async with serve(POSTS[what]) as server:
        url = f"{server.url}/{KEY}?signature={GATEWAY}"
        post = SignedPost(url, secret=SIGNING, allow_private=True, timeout_s=0.2 if what == "silence" else 5)
        with pytest.raises(NotTakenError, match="127") as caught:
            await post(Ended())
    asked = server.asked[0]

    assert asked.target == f"/{KEY}?signature={GATEWAY}"
    assert leaks(f"{asked.headers}{asked.body}", *CANARIES) == [], "the secret signs, and does not travel"
    assert_clean([*everything_about(caught.value), heard()])


async def test_a_post_by_job_hides_what_its_functions_give(heard):
    post = SignedPost(lambda job: f"http://u:{KEY}@h.example/", secret=lambda job: SIGNING, allow_private=True)
    with pytest.raises(Exception, match="no address to post to") as caught:
        await post(Ended())
    unfit = SignedPost("https://h.example/", secret=lambda job: KEY)
    with pytest.raises(Exception, match="the secret is none") as also:
        await unfit(Ended())

    assert_clean([*everything_about(caught.value), *everything_about(also.value), repr(post), heard()])


async def test_a_proxy_that_is_named_gets_its_password_and_shows_it_to_nobody(heard):
    said = answer(f'{{"error":{{"message":"{KEY} {GATEWAY}"}}}}'.encode(), 407)
    async with serve(said) as proxy:
        http = Http(proxy=proxy.url.replace("//", f"//{GATEWAY}:{KEY}@"))
        accounts = {"acme": {"api_key": ENV, "base_url": "http://127.0.0.1:9/v1"}}
        async with BatchClient(accounts=accounts, http=http, runtime=virtual_runtime(VirtualClock())) as client:
            provider = await client._payers.of("openai", "acme")
            with pytest.raises(ProviderPermanentError) as caught:
                await provider.cancel("batch_1")

    assert proxy.asked[0].headers["proxy-authorization"].startswith("Basic ")
    assert_clean([*everything_about(caught.value), repr(http), heard()])
