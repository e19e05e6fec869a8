"""Every call of every provider, made to fail in every way, shows no key: not its own, not a gateway's, not a proxy's.

Keys travel in headers, in the query of an address that is refused, in the environment; a server echoes them wherever it can.
"""

import asyncio
import gzip
import logging
import warnings
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from asyncbatch import AsyncBatchError, BatchMode, Http, Retry
from asyncbatch.dto import PreparedSubmission
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import CHAT, JOB, MODEL, needed_options, small_catalog
from tests.secrets.canaries import PRODUCT, canary, everything_about, leaks
from tests.secrets.test_mistakes import MISTAKES
from tests.transport.wire import answer, closing, hang_up, reset, serve, silence

PROVIDERS = ("anthropic", "fireworks", "gemini", "mistral", "openai")
KEY, GATEWAY, ENV = canary("sk-"), canary("gw:"), canary("sk-env-")
CANARIES = (KEY, GATEWAY, ENV)

SAID = f"Incorrect API key provided: {KEY} behind {GATEWAY}. Find yours at https://example.com/?key={KEY}."
ECHO = f'{{"error":{{"message":"{SAID}","type":"{GATEWAY}","status":"{KEY}","code":"{KEY}"}}}}'.encode()
FLAT = f'{{"message":"{SAID}","code":"{KEY}","detail":[{{"loc":["{KEY}"],"msg":"{KEY}"}}]}}'.encode()
FOUND = f'{{"detail":[{{"loc":["body","{KEY}"],"msg":"{GATEWAY} is none"}}]}}'.encode()
NAMED = f"""{{"id":"b-1","name":"batches/b-1","status":"{GATEWAY} {KEY}","processing_status":"{KEY}","object":"batch",
"request_counts":null,"created_at":1700000000,"input_file_id":"file-1","input_files":[],
"endpoint":"/v1/chat/completions","completion_window":"24h","model":"m"}}""".encode()
ESCAPED = ECHO.replace(KEY[:8].encode(), "".join(f"\\u{ord(letter):04x}" for letter in KEY[:8]).encode())
ANSWERS = {
    "401 with an echo": answer(ECHO, 401, f"x-request-id: {KEY}", f"request-id: {GATEWAY}"),
    "403 in another shape": answer(FLAT, 403),
    "422 of a validation": answer(FOUND, 422),
    "400 with escapes": answer(ESCAPED, 400),
    "400 in a list": answer(b"[" + ECHO + b"]", 400),
    "400 as a page": answer(f"<p>{SAID}</p>".encode(), 400, content_type="text/html"),
    "400 in a long text": answer(b"x" * 500 + SAID.encode(), 400, content_type="text/plain"),
    "404 with an echo": answer(ECHO, 404, f"x-should-retry: {KEY}"),
    "407 with an echo": answer(ECHO, 407, f"Proxy-Authenticate: Basic realm={KEY}"),
    "409 with an echo": answer(ECHO, 409),
    "429 with an echo": answer(ECHO, 429, f"Retry-After: {KEY}"),
    "500 with an echo": answer(ECHO, 500),
    "503 in chunks": answer(b"", 503, f"X-Echo: {KEY}"),
    "a redirect": answer(b"", 302, f"Location: http://127.0.0.1:9/?key={KEY}"),
    "a redirect with a user": answer(b"", 307, f"Location: http://{KEY}:{GATEWAY}@127.0.0.1:9/"),
    "200 of a portal": answer(f"<html>{SAID}".encode(), 200, content_type="text/html"),
    "200 of another shape": answer(f'{{"{KEY}":["{GATEWAY}"]}}'.encode()),
    "200 with an echo": answer(ECHO),
    "200 about a batch whose status is our key": answer(NAMED),
    "200 that is a list": answer(f'["{KEY}"]'.encode()),
    "a cut body": closing(answer(ECHO * 9)[:-20]),
    "a damaged gzip": answer(b"\x1f\x8b" + KEY.encode(), 200, "Content-Encoding: gzip"),
    "a gzip of an echo": answer(gzip.compress(ECHO), 401, "Content-Encoding: gzip"),
    "a strange coding": answer(ECHO, 200, f"Content-Encoding: {KEY}"),
    "a strange length": closing(f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode()),
    "a strange status": closing(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    "a header without an end": closing(b"HTTP/1.1 200 OK\r\nX-Pad: " + KEY.encode() * 3_000 + b"\r\n\r\n"),
    "a broken header": closing(f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()),
    "a body too large": answer(KEY.encode() * 1_000),
    "a hang-up": hang_up,
    "a reset": reset,
    "silence": silence,
}
CALLS = (
    *("poll_status", "poll_page", "list_statuses", "cancel", "fetch_results", "find_submissions"),
    *("submit", "upload", "create", "fence", "delete_artifacts", "delete_file", "list_files"),
)
NAMES = {"anthropic": "msgbatch_1", "fireworks": "b-1", "gemini": "batches/b1", "mistral": "b-1", "openai": "batch_1"}
FILES = {"gemini": "files/f1"}
METADATA = {name: {"metadata": {"a": "b"}} for name in ("mistral", "openai")}
LEAST_FAILURES = 300
"""Of a provider, among some four hundred calls: what was deleted before is gone, and that is no error."""


async def rows_of(provider, batch_id):
    return [row async for row in provider.fetch_results(batch_id)]


def calls_of(name, provider, submission: PreparedSubmission):
    batch_id, file_id = NAMES[name], FILES.get(name, "file-1")
    sent = submission.replace(input_ref=submission.input_ref or file_id, tag="tag-1")
    return {
        "poll_status": partial(provider.poll_status, batch_id),
        "poll_page": provider.poll_page,
        "list_statuses": provider.list_statuses,
        "cancel": partial(provider.cancel, batch_id),
        "fetch_results": partial(rows_of, provider, batch_id),
        "find_submissions": partial(provider.find_submissions, sent, since=0.0),
        "submit": partial(provider.submit, submission.replace(tag="tag-1")),
        "upload": partial(provider.upload, submission),
        "create": partial(provider.create, sent),
        "fence": partial(provider.fence, sent),
        "delete_artifacts": partial(provider.delete_artifacts, batch_id),
        "delete_file": partial(provider.delete_file, file_id),
        "list_files": provider.list_files,
    }


@asynccontextmanager
async def opened(name, url, **options):
    http = Http(**{**dict.fromkeys(("control_total_s", "create_answer_s", "poll_total_s", "read_s"), 5.0), **options})
    http = Http(**{**{key: getattr(http, key) for key in http.__struct_fields__}, "answer_bytes": 20_000})
    registry, clock = BatchProviderRegistry(), VirtualClock()
    lent = {"runtime": virtual_runtime(clock), "http": http, "retry": Retry(attempts=1), "catalog": small_catalog(name)}
    with needed_options(name):
        async with registry.open(**lent) as scope:
            provider = scope.create(name, {"api_key": KEY, "base_url": url, "headers": {"X-Gateway": GATEWAY}})
            (submission,) = await provider.prepare_payloads(
                batch_id=JOB,
                model=MODEL,
                mode=BatchMode.CHAT,
                requests=[CHAT],
                options=METADATA.get(name),
            )
            yield provider, submission


async def failures_of(name, fault, limit_s):
    """Make every call of a provider fail in one way; gives what was raised, by call."""
    found = {}
    options = dict.fromkeys(("control_total_s", "create_answer_s", "poll_total_s", "read_s"), limit_s)
    async with serve(fault) as server, opened(name, f"{server.url}/v1", **options) as (provider, submission):
        for call, run in calls_of(name, provider, submission).items():
            try:
                await run()
            except AsyncBatchError as error:
                found[call] = error
    assert KEY in str(server.asked[0].headers), "the key did travel"
    assert GATEWAY in str(server.asked[0].headers)
    return found, server


@pytest.mark.parametrize("name", PROVIDERS)
async def test_no_call_of_a_provider_that_fails_shows_a_secret(name, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    monkeypatch.setenv(f"{name.upper()}_API_KEY", ENV)
    failed = 0
    with warnings.catch_warnings(record=True) as warned:
        for what, fault in ANSWERS.items():
            found, server = await failures_of(name, fault, 0.1 if what == "silence" else 5.0)
            failed += len(found)
            for call, error in found.items():
                for text in everything_about(error):
                    assert leaks(text, *CANARIES) == [], (what, call, text)
            for asked in server.asked:  # as it stood on the wire
                assert leaks(asked.target, *CANARIES) == [], (what, asked.target)
                assert leaks(asked.body, *CANARIES) == [], (what, asked.method, asked.target)

    assert leaks(caplog.text, *CANARIES) == []
    assert leaks("".join(str(item.message) for item in warned), *CANARIES) == []
    assert failed >= LEAST_FAILURES


def test_there_are_more_than_two_hundred_different_ways_to_fail():
    calls = len(PROVIDERS) * len(CALLS) * len(ANSWERS)

    assert calls + len(MISTAKES) >= 200
    assert len(PROVIDERS) * LEAST_FAILURES >= 200, "so many are seen to raise, each in a way of its own"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_call_that_is_cancelled_shows_no_secret(name, caplog):
    caplog.set_level(logging.DEBUG)
    async with serve(silence) as server, opened(name, f"{server.url}/v1") as (provider, submission):
        for call, run in calls_of(name, provider, submission).items():
            with anyio.move_on_after(0.02) as scope:
                try:
                    await run()
                except asyncio.CancelledError as error:
                    # aiohttp's own frames hold what it was about to send: only ours are ours to keep clean.
                    texts = everything_about(error, only=PRODUCT)
                    assert leaks("\n".join(texts), *CANARIES) == [], call
                    raise
                except AsyncBatchError:
                    continue  # there is no such call
            assert scope.cancelled_caught or call not in ("poll_status", "create")

    assert leaks(caplog.text, *CANARIES) == []
