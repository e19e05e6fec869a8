"""No key, token or password comes out of us: not in an error, its traceback with local variables, a log line or a repr.

Canaries are planted in the configuration, the environment, a user's file and a header, and many calls are made to fail.
"""

import asyncio
import base64
import logging
from pathlib import Path
from uuid import UUID

import aiohttp
import anyio
import pytest

import asyncbatch
from asyncbatch import (
    AsyncBatchError,
    BatchClient,
    BatchMode,
    BatchPoller,
    BatchProviderRegistry,
    Http,
    ProviderTransientError,
    Retry,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.transport import JsonArrayBody, Profile, Sessions
from tests.secrets import canaries
from tests.transport.wire import JOB, answer, closing, hang_up, here, reset, serve, silence

KEY = "canary-of-the-argument-8b1f-x7q2"
TOKEN = "canary:of/a+header-77aa-k2m9p4wz"
FILE_KEY = "canary-of-the-file-31c9-q8t5r3vy"
ENV_KEY = "canary-of-the-environment-0d2e-7"
CANARIES = (KEY, TOKEN, FILE_KEY, ENV_KEY)
OURS = str(Path(asyncbatch.__file__).parent)


def leaks(text):
    return canaries.leaks(text, *CANARIES)


def assert_clean(error, caplog):
    for text in [*canaries.everything_about(error, only=OURS), caplog.text]:
        assert leaks(text) == [], text


ECHO = f"Incorrect API key provided: {KEY} with {TOKEN}. Find yours at https://example.com."
ECHOED = f'{{"error":{{"message":"{ECHO}","type":"invalid_request_error","param":null,"code":"{KEY}"}}}}'.encode()

ESCAPED = ECHOED.replace(b"/", b"\\/").replace(b"canary", b"\\u0063anary")

ANSWERS = {
    "an echo with escapes": answer(ESCAPED, 401),
    "an echo of the key": answer(ECHOED, 401, f"x-request-id: {KEY}"),
    "an echo as text": answer(ECHO.encode(), 403, content_type="text/plain"),
    "an echo as a page": answer(f"<b>{ECHO}</b>".encode(), 400, content_type="text/html"),
    "an echo in a long text": answer(b"x" * 480 + ECHO.encode(), 422),
    "a server error": answer(ECHOED, 500),
    "throttling": answer(ECHOED, 429),
    "a redirect with the key": answer(b"", 302, f"Location: http://127.0.0.1:9/?key={KEY}"),
    "a page": answer(b"<html>", 200, content_type="text/html"),
    "nothing at all": answer(b""),
    "a hang-up": hang_up,
    "a reset": reset,
    "no HTTP": closing(b"SSH-2.0\r\n\r\n"),
    "a huge header": closing(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"x" * 100_000 + b"\r\n\r\n"),
    "a cut body": closing(answer(b'{"id":"x"}' * 9)[:-20]),
    "a broken coding": answer(b"no gzip", 200, "Content-Encoding: gzip"),
    "a body too large": answer(b" " * 20_000),
    "silence": silence,
}
CALLS = ("poll", "list", "cancel", "delete", "upload", "download", "create", "fetch", "send", "streamed create")


FINE = {
    *((name, fault) for name in ("delete", "fetch", "send") for fault in ("nothing at all", "a page")),
    ("download", "nothing at all"),
}


async def call(name, client):
    provider = client.provider
    match name:
        case "poll":
            await provider.poll_status("batch_1")
        case "list":
            await provider.list_statuses()
        case "cancel":
            await provider.cancel("batch_1")
        case "delete":
            await provider.fence((await client.prepared()).replace(input_ref="file-1"))
        case "upload":
            await provider.upload(await client.prepared())
        case "download":
            await client.fetch()
        case "create":
            await client.create()
        case "fetch":
            await client.transport.fetch("/batches/batch_1", client.new_file())
        case "send":
            await client.transport.send("PUT", "/x", body=(await client.prepared()).spool)
        case "streamed create":
            body = JsonArrayBody(b"[", (await client.prepared()).spool, b"]")
            await client.transport.create("/batches", body, is_created=lambda answer: b"batch" in answer)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fault", ANSWERS)
async def test_no_call_that_fails_shows_a_secret(fault, name, caplog):
    caplog.set_level(logging.DEBUG)
    limit_s = 0.2 if fault == "silence" else 10.0
    http = Http(
        control_total_s=limit_s,
        create_answer_s=limit_s,
        poll_total_s=limit_s,
        read_s=limit_s,
        answer_bytes=10_000,
        file_bytes=10_000,
    )
    config = {"api_key": KEY, "headers": {"X-Gateway": TOKEN}}
    async with serve(ANSWERS[fault]) as server:
        async with here(server.url, config=config, http=http, retry=Retry(attempts=2)) as client:
            if (name, fault) in FINE:
                await call(name, client)
            else:
                with pytest.raises(AsyncBatchError) as caught:
                    await call(name, client)
                assert_clean(caught.value, caplog)
                # The wire's own error, which knows every header, does not hang on ours.
                assert not isinstance(caught.value.__context__, aiohttp.ClientError | OSError)

    assert server.asked, "the call was made"
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}", "and it did carry the secret"


async def test_a_cancelled_call_shows_no_secret_in_the_frames_it_leaves(caplog):
    caplog.set_level(logging.DEBUG)
    async with serve(silence) as server, here(server.url, config={"api_key": KEY}) as client:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(0.2):
                await client.create()

    assert server.asked
    assert_clean(caught.value, caplog)


async def test_a_cancelled_download_does_not_show_where_it_was_led_to(caplog):
    caplog.set_level(logging.DEBUG)
    led = answer(b"", 302, f"Location: /elsewhere?signature={TOKEN}")

    async def begin(talk, asked):
        await talk.say(answer(b"x" * 100, 200, f"X-Signature: {TOKEN}")[:-50])
        await asyncio.Event().wait()

    async with serve(led, begin) as server, here(server.url, config={"api_key": KEY}) as client:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(0.3):
                await client.fetch()

    assert TOKEN in server.asked[1].target
    assert_clean(caught.value, caplog)


async def test_a_fault_inside_of_aiohttp_shows_no_secret_in_our_frames(caplog):
    class Broken(aiohttp.TCPConnector):
        async def connect(self, *args, **kwargs):
            raise RuntimeError("a fault that nobody foresaw")

    async with aiohttp.ClientSession(connector=Broken()) as session:
        async with here("http://127.0.0.1:9", config={"api_key": KEY}, session=session) as client:
            for name in ("poll", "create", "upload", "download"):
                with pytest.raises(RuntimeError, match="nobody foresaw") as caught:
                    await call(name, client)
                assert_clean(caught.value, caplog)


def in_a_file(**section):
    return load_catalog({"providers": {"openai": {"api_key": FILE_KEY, **section}}})


async def prepare(config=None, model="gpt-4.1-mini", requests=("hello",), **options):
    provider = OpenAIBatchProvider(config, **options)
    await provider.prepare_payloads(batch_id=UUID(JOB), model=model, mode=BatchMode.CHAT, requests=list(requests))
    return provider


async def use(config=None, **options):
    async with OpenAIBatchProvider(config, **options) as provider:
        await provider.poll_status("batch_1")


async def create_unknown_provider():
    async with BatchProviderRegistry().open() as scope:
        scope.create("opnai", {"api_key": KEY})


async def outside_of_a_scope():
    async with BatchProviderRegistry().open() as scope:
        provider = scope.create("openai", {"api_key": KEY})
    await provider.poll_status("batch_1")


async def after_the_poller():
    async with BatchPoller() as poller:
        handle = poller.watch(OpenAIBatchProvider({"api_key": KEY}), "batch_1")
    await handle


async def unknown_account():
    async with BatchClient(accounts={"blue": KEY, "green": {"api_key": TOKEN}}) as client:
        await client.submit(["x"], model="openai/gpt-4.1-mini", account="red")


async def bad_credentials_of_an_account():
    async with BatchClient(accounts={"blue": {"api_key": KEY, "colour": "blue"}}) as client:
        await client.submit(["x"], model="openai/gpt-4.1-mini", account="blue")


MISTAKES = {
    "an unknown word": lambda: use({"api_key": KEY, "apikey": TOKEN}),
    "a key that is no text": lambda: use({"api_key": [KEY]}),
    "headers that are none": lambda: use({"api_key": KEY, "headers": TOKEN}),
    "a key alone": lambda: use(KEY),
    "a key with a line break": lambda: use({"api_key": f"{KEY}\n"}),
    "a key with a letter beyond ASCII": lambda: use({"api_key": f"{KEY}é"}),
    "a header with a line break": lambda: use({"api_key": KEY, "headers": {"X-Gateway": f"{TOKEN}\r\nX: y"}}),
    "a header that is a number": lambda: use({"api_key": KEY, "headers": {"X-Gateway": 7, "X-Other": TOKEN}}),
    "a header without a name": lambda: use({"api_key": KEY, "headers": {"": TOKEN}}),
    "an organization with a line break": lambda: use({"api_key": KEY, "organization": "org\n1"}),
    "a password in the address": lambda: use({"api_key": KEY, "base_url": f"https://u:{KEY}@127.0.0.1/v1"}),
    "a key in the query": lambda: use({"api_key": KEY, "base_url": f"https://127.0.0.1/v1?key={KEY}"}),
    "a port that is none": lambda: use({"api_key": KEY, "base_url": "http://127.0.0.1:99999/v1"}),
    "an address that is none": lambda: use({"api_key": KEY, "base_url": "127.0.0.1"}),
    "nobody listens": lambda: use({"api_key": KEY, "base_url": "http://127.0.0.1:9/v1"}),
    "an id that steers": lambda: use_id("../x"),
    "an unknown model": lambda: prepare({"api_key": KEY}, model="no-such-model"),
    "a mode that the model has not": lambda: prepare({"api_key": KEY}, model="text-embedding-3-small"),
    "a bad row": lambda: prepare({"api_key": KEY}, requests=[7]),
    "no row": lambda: prepare({"api_key": KEY}, requests=[]),
    "an unknown provider": create_unknown_provider,
    "outside of its scope": outside_of_a_scope,
    "after the poller": after_the_poller,
    "an unknown account": unknown_account,
    "an account with a mistake": bad_credentials_of_an_account,
    "a file with an unknown word": lambda: wrong_file(apikey=KEY),
    "a file with a key of the wrong type": lambda: wrong_file(api_key=[KEY]),
    "a file with a bad address": lambda: wrong_file(base_url=f"https://u:{KEY}@h"),
    "a file with an open variable": lambda: wrong_file(headers={"x": "${OPEN"}),
    "a file with a variable that is not set": lambda: use(catalog=in_a_file(headers={"x": "${NO_SUCH_VARIABLE}"})),
    "an address in the environment": lambda: use(catalog=in_a_file()),
}


async def wrong_file(**section):
    in_a_file(**section)


async def use_id(batch_id):
    async with OpenAIBatchProvider({"api_key": KEY}) as provider:
        await provider.poll_status(batch_id)


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_no_mistake_of_the_user_shows_a_secret(mistake, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", ENV_KEY)
    if "environment" in mistake:
        monkeypatch.setenv("OPENAI_BASE_URL", f"https://u:{ENV_KEY}@127.0.0.1")

    with pytest.raises(AsyncBatchError) as caught:
        await MISTAKES[mistake]()

    assert_clean(caught.value, caplog)


def test_there_are_many_ways_to_fail():
    assert len(ANSWERS) * len(CALLS) + len(MISTAKES) > 100


async def test_nothing_that_can_be_printed_shows_a_secret(caplog):
    config = {"api_key": KEY, "headers": {"X-Gateway": TOKEN}}
    async with here("http://127.0.0.1:9", config=config, catalog=in_a_file()) as client:
        provider = client.provider
        async with BatchPoller() as poller:
            things = [
                provider,
                provider.account,
                provider.account.origin,
                provider.transport,
                provider.catalog,
                provider.catalog.settings("openai"),
                provider._argument,
                client.scope,
                client.scope.context,
                poller.watch(provider, "batch_1"),
                poller,
                provider.fetch_results("batch_1"),
                await client.prepared(),
                Http(),
            ]
            for thing in things:
                for text in (repr(thing), str(thing), f"{thing}", repr(getattr(thing, "__dict__", ""))):
                    assert leaks(text) == [], text
                if hasattr(thing, "__rich_repr__"):
                    assert leaks(str(list(thing.__rich_repr__()))) == []

    assert KEY in str(provider.account.origin.secret_headers.values()), "they are there, and do not show"


@pytest.mark.parametrize(
    "proxy", [f"http://user:{KEY}@127.0.0.1:9", f"http://{KEY}@127.0.0.1:9", f"http://user:a/b@{KEY}@127.0.0.1:9"]
)
async def test_the_password_of_a_proxy_is_not_shown_and_neither_is_its_user(proxy, caplog):
    caplog.set_level(logging.DEBUG)
    http = Http(proxy=proxy)
    shown = [repr(http), str(http), f"{http}", str(list(http.__rich_repr__()))]
    options = Sessions(http).options(Profile.POLL)
    async with here("http://127.0.0.1:9", config={"api_key": TOKEN}, http=http, retry=Retry(attempts=1)) as client:
        for name in CALLS:
            with pytest.raises(AsyncBatchError) as caught:
                await call(name, client)
            assert_clean(caught.value, caplog)

    assert all(leaks(text) == [] and "user" not in text for text in shown), shown
    assert all("[secret]@127.0.0.1:9" in text for text in shown)
    assert options["proxy"] == proxy
    assert leaks(repr(options)) == []


async def test_the_password_of_a_proxy_that_refuses_it_is_not_shown(caplog):
    async with serve(answer(ECHOED, 407)) as proxy:
        http = Http(proxy=proxy.url.replace("//", f"//user:{KEY}@"))
        async with here("http://127.0.0.1:9", config={"api_key": TOKEN}, http=http) as client:
            with pytest.raises(AsyncBatchError) as caught:
                await client.provider.poll_status("batch_1")

    sent = base64.b64decode(proxy.asked[0].headers["proxy-authorization"].removeprefix("Basic ")).decode()
    assert sent == f"user:{KEY}", "the proxy itself got it"
    assert_clean(caught.value, caplog)


def test_a_proxy_without_a_user_and_no_proxy_are_shown_as_they_are():
    assert "proxy='http://127.0.0.1:9'" in repr(Http(proxy="http://127.0.0.1:9"))
    assert "proxy='[secret]@127.0.0.1'" in repr(Http(proxy="u:p@127.0.0.1"))
    assert "proxy=None" in repr(Http())


async def test_a_fingerprint_names_the_key_without_being_it():
    def fingerprint(**config):
        return OpenAIBatchProvider({"api_key": KEY, **config}).account.fingerprint

    found = {
        fingerprint(),
        fingerprint(base_url="http://127.0.0.1/v1"),
        fingerprint(project="p"),
        fingerprint(api_key=TOKEN),
    }

    assert fingerprint() == fingerprint()
    assert len(found) == 4
    assert leaks(str(found)) == []


async def test_a_short_header_does_not_garble_what_a_server_says():
    said = b'{"error":{"message":"one or two on a line","type":"t","param":null,"code":"on"}}'
    config = {"headers": {"X-Flag": "on", "X-Level": "1"}}
    async with serve(answer(said, 503)) as server, here(server.url, config=config) as client:
        with pytest.raises(ProviderTransientError, match="one or two on a line") as caught:
            await client.provider.poll_status("batch_1")

    assert caught.value.code == "on"
