"""A hostile server, call by call: each ends in an error of ours or a marked outcome, within the caps, and tells no secret."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from itertools import count, cycle
from urllib.parse import quote
from uuid import UUID

import anyio
import pytest

from asyncbatch import (
    AsyncBatchError,
    BatchMode,
    BatchProviderRegistry,
    Http,
    ProviderPermanentError,
    Retry,
    SubmissionUnknownError,
)
from asyncbatch.runtime import Runtime
from asyncbatch.testing.runtime import virtual_runtime
from tests.transport.hostile import ANSWERS, CHUNKED, OK, bomb, chunk, compressed, endless
from tests.transport.measured import CALLS, made
from tests.transport.wire import JOB, KEY, answer, here, serve

ONCE = Retry(attempts=1)
TIGHT = Http(
    answer_bytes=2**20,
    file_bytes=8 * 2**20,
    inflation=200,
    control_total_s=0.4,
    poll_total_s=0.4,
    header_s=0.4,
    read_s=0.4,
    slowest_s=0.4,
)
"""Caps that are reached soon; those of time are there for what moves no body at all."""
PATIENCE_S = 10
"""What takes so much longer than the caps has none, and fails here as no error of ours."""

FINE = {
    # Nobody reads the answer to a delete, and what is fetched is judged by whoever parses it.
    *((call, what) for call in ("delete", "fetch", "peek") for what in ANSWERS),
    # A file that is whole: its rows, one by one, are judged by whoever decodes them.
    *(
        ("download", what)
        for what in ("nothing at all", "a picture", "words", "no UTF-8", "half a character", "null", "a list")
    ),
    *(("download", what) for what in ("another shape", "levels without end", "a number of 5,000 digits")),
}
"""What need not be an error: all that is left is that it ends."""


async def how_it_ends(call):
    """Give what a call returns, or the error of ours that it raises."""
    try:
        with anyio.fail_after(PATIENCE_S):
            return await call()
    except AsyncBatchError as error:
        return error


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", ANSWERS)
async def test_whatever_is_answered_ends_in_an_error_of_ours(what, call):
    options = {"http": TIGHT, "retry": ONCE, "runtime": Runtime()}
    async with serve(ANSWERS[what]) as server, here(server.url, **options) as client:
        ended = await how_it_ends(lambda: made(call, client))

    if isinstance(ended, AsyncBatchError):
        assert KEY not in str(ended)
        assert len(str(ended)) < 1000
        is_paid = call == "create" and server.asked
        assert not is_paid or isinstance(ended, SubmissionUnknownError), "it had been sent"
    else:
        assert (call, what) in FINE, ended


# Memory, measured in a process of its own

MANY = b",".join([b'{"id":"b"}'] * 750_000)
NAMES = b",".join(b'"%d":""' % number for number in range(650_000))
HINT = b"HTTP/1.1 103 Early Hints\r\n%b\r\n"
LARGE = {
    "a bomb": compressed(bomb(1024)),
    "an endless body in chunks": endless(CHUNKED, chunk(b"x" * 2**20)),
    "an endless body without a length": endless(OK + b"\r\n", b"x" * 2**20),
    "pieces of one byte": endless(CHUNKED, chunk(b"x") * 10_000),
    "early hints without end": endless(b"", HINT % b"Link: </x>\r\n" * 10_000),
    "headers as large as they may be": endless(b"", HINT % (b"X: %b\r\n" % (b"x" * 8000) * 100)),
    "a page of 750,000 batches": answer(b'{"data":[%b]}' % MANY),
    "a batch with 650,000 names": answer(b'{"id":"b","metadata":{%b}}' % NAMES),
}
MEASURED = [
    *(("poll", what) for what in LARGE),
    ("list", "a page of 750,000 batches"),
    ("upload", "an endless body in chunks"),
    *(("download", what) for what in ("a bomb", "an endless body without a length", "pieces of one byte")),
]


@pytest.mark.parametrize(("call", "what"), MEASURED)
async def test_however_much_is_sent_memory_stays_bounded(what, call):
    async with serve(LARGE[what]) as server:
        module = ("-m", "tests.transport.measured")
        child = await asyncio.create_subprocess_exec(
            sys.executable, *module, server.url, call, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await child.communicate()
    found = json.loads(said)

    assert found["grown_mb"] < 150, found


# Four providers, whose keys travel in three different headers

PROVIDERS = ("openai", "anthropic", "gemini", "mistral")


@asynccontextmanager
async def towards(name, url):
    """Give a provider, tried once, with a key of its own."""
    async with BatchProviderRegistry().open(http=TIGHT, retry=ONCE, runtime=virtual_runtime()) as scope:
        yield scope.create(name, {"api_key": KEY, "base_url": f"{url}/v1" if name == "openai" else url})


async def every_call(provider, submission):
    """Make every call of a provider and give how each ends."""
    sent = submission.replace(input_ref="files/file-1" if provider.PROVIDER_NAME == "gemini" else "file-1", tag="t")
    calls = {
        "upload": lambda: provider.upload(submission),
        "create": lambda: provider.create(sent),
        "poll": lambda: provider.poll_status("batch_1"),
        "page": provider.poll_page,
        "list": provider.list_statuses,
        "cancel": lambda: provider.cancel("batch_1"),
        "results": lambda: provider.fetch_results("batch_1"),
        "download": lambda: provider.transport.download("/files/file-1/content", provider.new_file()),
        "find": lambda: provider.find_submissions(sent, since=0),
        "fence": lambda: provider.fence(sent),
        "delete": lambda: provider.delete_artifacts("batch_1"),
    }
    return {name: await how_it_ends(call) for name, call in calls.items()}


async def prepared(provider):
    ours = {"openai": "gpt-4.1-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
    (submission,) = await provider.prepare_payloads(
        batch_id=UUID(JOB),
        model=ours.get(provider.PROVIDER_NAME, "mistral-small-latest"),
        mode=BatchMode.CHAT,
        requests=["hello"],
    )
    return submission


LEADING = {
    "another host": "{other}/steal",
    "another name of this machine": "{named}/steal",
    "a scheme left out": "//{bare}/steal",
    "a user": "http://user:pass@{bare}/steal",
    "a file": "file:///etc/passwd",
    "another scheme": "gopher://{bare}/x",
    "a script": "javascript:alert(1)",
    "data": "data:application/json,{{}}",
    "nothing": "",
    "a port that is none": "http://127.0.0.1:99999999/",
    "a NUL": "/\x00",
    "itself": "{target}",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_no_redirect_of_any_call_tells_a_second_host_a_key(name, status):
    async with serve(answer(b'{"data":[]}')) as other, serve(b"") as server:
        bare = other.url.removeprefix("http://")
        places = {"other": other.url, "named": other.url.replace("127.0.0.1", "localhost"), "bare": bare}

        async def lead(talk, asked):
            where = LEADING[leading].format(**places, target=asked.target)
            await talk.say(answer(b"", status, f"Location: {where}"))

        server.answers = [lead]
        async with towards(name, server.url) as provider:
            submission = await prepared(provider)
            for leading in LEADING:
                ends = await every_call(provider, submission)
                assert all(isinstance(ends[call], AsyncBatchError) for call in ("create", "cancel")), leading

    assert other.asked, "files are fetched from where they are"
    assert KEY not in str(other.asked)
    assert all(asked.method == "GET" and not asked.body for asked in other.asked)


# Names that steer

STEERING = (
    "../evil",
    "evil/../../x",
    "..",
    "%2e%2e/evil",
    "..%2fevil",
    "evil/cancel",
    "evil?x=1",
    "evil#x",
    "evil;x",
    "evil\x00",
    "evil\r\nX-Evil: 1",
    "evil ",
    "\\\\evil",
    "http://127.0.0.1:9/evil",
    "file:///evil",
    "@evil",
    "{evil}",
    "\u202eevil",
    "\ud800evil",
    "evil" * 100,
    "",
)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_name_of_a_caller_or_a_server_that_steers_is_in_no_address(name):
    async with serve(answer(b"{}")) as server, towards(name, server.url) as provider:
        submission = await prepared(provider)
        for steering in STEERING:
            for call in (
                lambda: provider.poll_status(steering),
                lambda: provider.cancel(steering),
                lambda: provider.fetch_results(steering),
                lambda: provider.delete_artifacts(steering),
            ):
                assert isinstance(await how_it_ends(call), ProviderPermanentError), steering
            if name != "anthropic":  # whose requests lie in no file
                fence = submission.replace(input_ref=steering, is_inline=False)
                end = await how_it_ends(lambda: provider.fence(fence))
                assert isinstance(end, ProviderPermanentError), steering

    assert server.asked == []


def steered(name):
    """Give an answer in which everything that may have a name has this one, whatever was asked."""
    over = {"openai": "completed", "mistral": "SUCCESS"}
    files = dict.fromkeys(("output_file_id", "error_file_id", "input_file_id", "output_file", "error_file"), name)
    operation = {
        "name": f"batches/{name}",
        "done": True,
        "metadata": {"state": "BATCH_STATE_SUCCEEDED", "inputConfig": {"fileName": f"files/{name}"}},
        "response": {"responsesFile": f"files/{name}"},
    }

    def body(provider):
        batch = {"id": name, "object": "batch", "status": over.get(provider), "input_files": [name], **files}
        batch |= {"type": "message_batch", "processing_status": "ended", "results_url": name, **operation}
        pages = {"data": [batch], "operations": [operation], "files": [{"name": f"files/{name}", "id": name}]}
        cursors = {"has_more": True, "last_id": name, "nextPageToken": name, "total": 10**12}
        return json.dumps(batch | pages | cursors).encode("utf-8", "surrogatepass")

    return body


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_name_that_a_server_gives_and_that_steers_is_in_no_address(name, monkeypatch):
    monkeypatch.setattr("asyncbatch.wire_provider._PAGES", 3)
    async with serve(b"") as server, towards(name, server.url) as provider:
        submission = await prepared(provider)
        for steering in STEERING:
            quoted = quote(steering.encode("utf-8", "surrogatepass"))
            server.answers = [answer(steered(steering)(name), 200, f"X-Goog-Upload-URL: {quoted}")]
            await every_call(provider, submission)

    assert len(server.asked) > len(STEERING)
    assert [asked.path for asked in server.asked if "evil" in asked.path or ".." in asked.path] == []
    assert all("x-evil" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_list_without_an_end_is_given_up(name, monkeypatch):
    monkeypatch.setattr("asyncbatch.wire_provider._PAGES", 50)
    numbers = count()

    async def more(talk, asked):
        await talk.say(answer(steered(f"id{next(numbers)}")(name)))

    async with serve(more) as server, towards(name, server.url) as provider:
        submission = (await prepared(provider)).replace(tag="t")
        end = await how_it_ends(lambda: provider.find_submissions(submission, since=0))
        among = len(server.asked)

    assert isinstance(end, AsyncBatchError)
    assert among <= 51


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])  # pages of Mistral's have a number of ours
async def test_a_list_that_goes_round_is_given_up(name):
    names = cycle(["id1", "id2", "id3"])

    async def again(talk, asked):
        await talk.say(answer(steered(next(names))(name)))

    async with serve(again) as server, towards(name, server.url) as provider:
        submission = (await prepared(provider)).replace(tag="t")
        end = await how_it_ends(lambda: provider.find_submissions(submission, since=0))

    assert isinstance(end, AsyncBatchError)
    assert len(server.asked) <= 5
