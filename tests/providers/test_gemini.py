"""Gemini: its samples, word for word as the service writes them, and what is special to it.

Source of the samples: the wire facts gathered from google-genai 3.4 to 3.6, ai.google.dev's batch pages and public issues of
googleapis/python-genai; compared on 2026-11-25.
"""

import json
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from asyncbatch import (
    BatchMode,
    BatchStatus,
    ConfigError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
    UsageInfo,
    normalize_provider_status,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.codec.jsonl import MAX_LINE_BYTES
from asyncbatch.dto import PreparedSubmission
from asyncbatch.providers._shapes.gemini import (
    EMBED,
    GENERATE,
    HELD,
    InlineAnswers,
    decode_line,
    decode_status,
    encode_create,
    encode_envelope,
    is_created,
    match_of,
)
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import JOB
from tests.transport.wire import answer, hang_up, serve

FACTS = load_catalog().provider("gemini")
KEY = "AIza-canary-4f1d7c2e9b8a"
NOON = 1795341600.1
"""2026-11-22T10:00:00.1Z"""

A36 = "a" * 36
OUTPUT = f"files/batch-{A36}"

PENDING = b"""{"name":"batches/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","metadata":{
"@type":"type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatch","model":"models/gemini-2.5-flash",
"displayName":"asyncbatch-7f3c","createTime":"2026-11-22T10:00:00.1Z","updateTime":"2026-11-22T10:00:00.1Z",
"batchStats":{"requestCount":"2","pendingRequestCount":"2"},"state":"BATCH_STATE_PENDING",
"name":"batches/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}"""

IN_A_FILE = b"""{"name":"batches/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","metadata":{
"@type":"type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatch","model":"models/gemini-2.5-flash",
"displayName":"asyncbatch-7f3c","output":{"responsesFile":"files/batch-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
"createTime":"2026-11-22T10:00:00.1Z","endTime":"2026-11-22T10:09:00.1Z","updateTime":"2026-11-22T10:09:00.1Z",
"batchStats":{"requestCount":"2","successfulRequestCount":"1","failedRequestCount":"1"},"state":"BATCH_STATE_SUCCEEDED",
"name":"batches/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"done":true,"response":{
"@type":"type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatchOutput",
"responsesFile":"files/batch-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}"""

INLINE = """{"name":"batches/bbbb","metadata":{"state":"BATCH_STATE_SUCCEEDED","displayName":"n","batchStats":{
"requestCount":"2","successfulRequestCount":"1","failedRequestCount":"1"},"output":{"inlinedResponses":{"inlinedResponses":[{"metadata":
{"key":"a"},"response":{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP","index":0}],
"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"thoughtsTokenCount":9,"totalTokenCount":12},
"modelVersion":"gemini-2.5-flash","responseId":"r1"}},{"metadata":{"key":"b"},"error":{"code":3,"message":"…"}}]}}},
"done":true}""".encode()

CANCELLED = """{"name":"batches/bbbb","metadata":{"state":"BATCH_STATE_CANCELLED","displayName":"n","batchStats":{
"requestCount":"2","pendingRequestCount":"2"},"endTime":"2026-11-22T10:05:00Z"},"done":true,
"error":{"code":1,"message":"…cancelled…"}}""".encode()

FILE = {
    "name": "files/abc123",
    "displayName": "in.jsonl",
    "mimeType": "application/jsonl",
    "sizeBytes": "12",
    "createTime": "2026-11-22T10:00:00.1Z",
    "updateTime": "2026-11-22T10:00:00.1Z",
    "expirationTime": "2026-11-24T10:00:00.1Z",
    "sha256Hash": "YWJj",
    "uri": "https://generativelanguage.googleapis.com/v1beta/files/abc123",
    "state": "ACTIVE",
    "source": "UPLOADED",
}
LINES = [
    (
        b'{"key":"a","response":{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"totalTokenCount":3},'
        b'"modelVersion":"gemini-2.5-flash"}}'
    ),
    '{"key":"b","error":{"code":3,"message":"Invalid argument: …"}}'.encode(),
    b'{"key":"c","response":{"embedding":{"values":[0.01,-0.02]},"tokenCount":"4"}}',
]


def operation(**metadata):
    """Give an operation with what stands in its metadata; what has another place says so with a leading underscore."""
    top = {key[1:]: metadata.pop(key) for key in list(metadata) if key.startswith("_")}
    return json.dumps({"name": "batches/bbbb", "metadata": metadata, **top}).encode()


def status_of(**metadata):
    return decode_status(operation(**metadata), FACTS)


def row(line, kind="gemini.generate", **options):
    return decode_line(line, format=kind, facts=FACTS, **options)


def submission(**changes):
    made = PreparedSubmission(
        batch_id=JOB, provider_name="gemini", model="gemini-2.5-flash", mode=BatchMode.CHAT, endpoint=GENERATE
    )
    return made.replace(**changes)


# A batch


def test_a_batch_that_was_just_created():
    status = decode_status(PENDING, FACTS)

    assert status.provider_batch_id == f"batches/{A36}"
    assert (status.status, status.raw_status) == (BatchStatus.QUEUED, "BATCH_STATE_PENDING")
    assert (status.progress.total, status.progress.done) == (2, 0)
    assert (status.created_at, status.completed_at) == (NOON, None)
    assert status.expires_at == NOON + 48 * 3600
    assert status.endpoint == GENERATE
    assert status.result_uris == status.errors == ()
    assert status.metadata == {"displayName": "asyncbatch-7f3c", "model": "models/gemini-2.5-flash"}


def test_a_batch_with_its_answers_in_a_file_names_it_once():
    status = decode_status(IN_A_FILE, FACTS)

    assert status.status is BatchStatus.COMPLETED
    assert status.result_uris == (OUTPUT,)
    assert (status.progress.total, status.progress.completed, status.progress.failed) == (2, 1, 1)
    assert status.completed_at == NOON + 9 * 60
    assert status.error_message is None


def test_a_batch_that_holds_its_answers_names_itself():
    status = decode_status(INLINE, FACTS)

    assert (status.status, status.result_uris) == (BatchStatus.COMPLETED, ("batches/bbbb",))


def test_a_cancelled_batch_says_why_and_has_no_answers():
    status = decode_status(CANCELLED, FACTS)

    assert status.status is BatchStatus.CANCELLED
    assert [(error.code, error.message) for error in status.errors] == [("CANCELLED", "…cancelled…")]
    assert status.result_uris == ()
    assert status.completed_at == NOON - 0.1 + 5 * 60


@pytest.mark.parametrize("word", ["FAILED", "EXPIRED"])
def test_the_operations_own_error_is_read(word):
    status = status_of(state=f"BATCH_STATE_{word}", _done=True, _error={"code": 13, "message": "it broke"})

    assert status.status is BatchStatus[word]
    assert (status.error_message, status.errors[0].code) == ("it broke", "INTERNAL")


def test_a_batch_in_which_every_request_failed_is_completed():
    # googleapis/python-genai issue 2693
    counts = {"requestCount": "4", "failedRequestCount": "4"}
    status = status_of(state="BATCH_STATE_SUCCEEDED", batchStats=counts, output={"responsesFile": OUTPUT}, _done=True)

    assert status.status is BatchStatus.COMPLETED
    assert (status.progress.total, status.progress.completed, status.progress.failed) == (4, 0, 4)


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_", ""])
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("PENDING", BatchStatus.QUEUED),
        ("QUEUED", BatchStatus.QUEUED),
        ("RUNNING", BatchStatus.IN_PROGRESS),
        ("UPDATING", BatchStatus.IN_PROGRESS),
        ("PAUSED", BatchStatus.QUEUED),
        ("CANCELLING", BatchStatus.CANCELLING),
        ("SUCCEEDED", BatchStatus.COMPLETED),
        ("PARTIALLY_SUCCEEDED", BatchStatus.COMPLETED),
        ("FAILED", BatchStatus.FAILED),
        ("CANCELLED", BatchStatus.CANCELLED),
        ("EXPIRED", BatchStatus.EXPIRED),
        ("UNSPECIFIED", BatchStatus.UNKNOWN),
        ("A_NEW_WORD", BatchStatus.UNKNOWN),
    ],
)
def test_the_words_of_both_versions_are_known(prefix, word, expected):
    assert normalize_provider_status("gemini", f"{prefix}{word}") is expected
    assert status_of(state=f"{prefix}{word}").status is expected


@pytest.mark.parametrize(
    "state", [{}, {"state": "BATCH_STATE_UNSPECIFIED"}, {"state": "BATCH_STATE_NEW"}, {"state": None}]
)
@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({}, BatchStatus.UNKNOWN),
        ({"_done": False}, BatchStatus.UNKNOWN),
        ({"_done": True, "_response": {"responsesFile": OUTPUT}}, BatchStatus.COMPLETED),
        ({"_done": True, "_error": {"code": 13, "message": "x"}}, BatchStatus.FAILED),
        ({"_done": True, "_error": {"code": 1, "message": "x"}}, BatchStatus.CANCELLED),
    ],
)
def test_without_a_word_that_is_known_the_operation_says_whether_it_is_over(state, top, expected):
    assert status_of(**state, **top).status is expected


@pytest.mark.parametrize("counts", [{}, None, {"requestCount": 2}, {"requestCount": "2"}, {"requestCount": "many"}])
def test_counts_may_be_texts_numbers_or_missing(counts):
    progress = status_of(state="BATCH_STATE_RUNNING", batchStats=counts).progress

    assert progress.total == (2 if counts and str(counts.get("requestCount")) == "2" else 0)
    assert progress.done == 0


@pytest.mark.parametrize(
    ("metadata", "endpoint"),
    [
        ({"@type": "type.googleapis.com/google.ai.generativelanguage.v1.EmbedContentBatch"}, EMBED),
        ({"@type": "type.googleapis.com/google.ai.generativelanguage.v1.GenerateContentBatch"}, GENERATE),
        ({"model": "models/gemini-embedding-001"}, EMBED),
        ({"model": "models/gemini-2.5-flash"}, GENERATE),
        ({}, None),
    ],
)
def test_a_batch_says_what_its_requests_were_for(metadata, endpoint):
    assert status_of(**metadata).endpoint == endpoint


@pytest.mark.parametrize("metadata", [{"output": {}}, {"output": None}, {"output": {"inlinedResponses": None}}, {}])
def test_an_output_that_says_nothing_is_no_place(metadata):
    assert status_of(state="BATCH_STATE_SUCCEEDED", **metadata).result_uris == ()


# A create


def test_a_create_over_a_file_is_what_the_official_sdk_sends():
    sent = submission(tag="asyncbatch-7f3c", options={"webhookConfig": {"uris": ["https://hooks.example/x"]}})

    assert json.loads(encode_create(sent, {"fileName": "files/abc123"}, FACTS)) == {
        "batch": {
            "displayName": "asyncbatch-7f3c",
            "inputConfig": {"fileName": "files/abc123"},
            "webhookConfig": {"uris": ["https://hooks.example/x"]},
        }
    }


def test_an_inline_create_puts_the_requests_between_two_pieces():
    sent = submission(tag="t", options={"priority": "5"})
    head, tail = encode_envelope(sent, FACTS)

    assert json.loads(head + b'{"request":1},{"request":2}' + tail) == {
        "batch": {
            "displayName": "t",
            "priority": "5",
            "inputConfig": {"requests": {"requests": [{"request": 1}, {"request": 2}]}},
        }
    }


def test_no_option_takes_the_place_of_our_tag_or_of_the_input():
    sent = submission(tag="ours", options={"displayName": "theirs", "inputConfig": {"fileName": "files/other"}})

    batch = json.loads(encode_create(sent, {"fileName": "files/abc123"}, FACTS))["batch"]
    head, tail = encode_envelope(sent, FACTS)
    inline = json.loads(head + b"1" + tail)["batch"]
    assert batch == {"displayName": "ours", "inputConfig": {"fileName": "files/abc123"}}
    assert inline == {"displayName": "ours", "inputConfig": {"requests": {"requests": [1]}}}


def test_a_batch_without_a_tag_has_a_name_all_the_same():
    assert json.loads(encode_create(submission(), {}, FACTS))["batch"]["displayName"] == f"asyncbatch-{JOB}-0000"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (PENDING, True),
        (b'{"name":"batches/x"}', True),
        (operation(inputConfig={"fileName": "files/abc123"}), True),
        (operation(inputConfig={"requests": {"requests": []}}), True),
        (operation(inputConfig={"fileName": "files/other"}), False),
        (b'{"name":"batches/"}', False),
        (b'{"name":"operations/x"}', False),
        (b"{}", False),
        (b"<html>", False),
        (b"\xff", False),
    ],
)
def test_an_answer_is_a_created_batch_only_with_a_name_and_our_input(body, expected):
    assert is_created(body, submission(input_ref="files/abc123")) is expected


def test_our_tag_or_our_input_is_a_certain_match():
    sent = submission(tag="ours", input_ref="files/abc123")

    def why(**metadata):
        match = match_of(sent, status_of(**metadata))
        return (match.why, match.is_certain) if match else None

    assert why(displayName="ours") == ("tag", True)
    assert why(inputConfig={"fileName": "files/abc123"}) == ("input", True)
    assert why(displayName="other", inputConfig={"fileName": "files/other"}) is None
    assert match_of(submission(), status_of()) is None


# Rows


def test_an_answer_has_text_and_usage():
    found = row(LINES[0])

    assert (found.request_id, found.status, found.text) == ("a", ResultStatus.SUCCEEDED, "Hi")
    assert found.usage == UsageInfo(prompt_tokens=2, completion_tokens=1, total_tokens=3)
    assert found.response["modelVersion"] == "gemini-2.5-flash"


def test_a_failed_row_has_googles_word_and_keeps_the_fault():
    found = row(LINES[1])

    assert (found.request_id, found.status) == ("b", ResultStatus.ERRORED)
    assert (found.error.code, found.error.message, found.error.retryable) == (
        "INVALID_ARGUMENT",
        "Invalid argument: …",
        False,
    )
    assert found.response["code"] == 3
    assert (found.text, found.usage) == (None, None)


def test_an_embedding_is_a_vector_and_its_tokens():
    found = row(LINES[2], "gemini.embed")

    assert found.embedding == [0.01, -0.02]
    assert found.usage == UsageInfo(prompt_tokens=4, total_tokens=4)


@pytest.mark.parametrize(("line", "kind"), [(LINES[0], "gemini.generate"), (LINES[2], "gemini.embed")])
def test_where_the_batch_does_not_say_what_it_was_for_the_answers_shape_does(line, kind):
    assert row(line, "").format == kind


@pytest.mark.parametrize("response", ["[]", '"x"'])
def test_an_answer_of_no_known_shape_is_carried_as_it_is(response):
    found = row(b'{"key":"a","response":%b}' % response.encode(), "")

    assert (found.status, found.text) == (ResultStatus.SUCCEEDED, None)


def test_an_error_beside_an_empty_response_is_an_error():
    found = row(b'{"key":"a","response":{},"error":{"code":8,"message":"no quota"}}')

    assert (found.status, found.error.code) == (ResultStatus.ERRORED, "RESOURCE_EXHAUSTED")


def test_a_blocked_prompt_is_an_answer_without_text():
    found = row(
        b'{"key":"a","response":{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}}'
    )

    assert (found.status, found.text, found.tool_calls) == (ResultStatus.SUCCEEDED, None, ())
    assert found.response["promptFeedback"] == {"blockReason": "SAFETY"}
    assert found.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    ("code", "word", "is_retryable"),
    [
        (1, "CANCELLED", False),
        (3, "INVALID_ARGUMENT", False),
        (4, "DEADLINE_EXCEEDED", True),
        (5, "NOT_FOUND", False),
        (7, "PERMISSION_DENIED", False),
        (8, "RESOURCE_EXHAUSTED", True),
        (9, "FAILED_PRECONDITION", False),
        (10, "ABORTED", True),
        (13, "INTERNAL", True),
        (14, "UNAVAILABLE", True),
        (16, "UNAUTHENTICATED", False),
        (77, "77", False),
        (None, "UNKNOWN", False),
    ],
)
def test_each_code_of_a_row_says_whether_it_may_be_tried_again(code, word, is_retryable):
    error = row(b'{"key":"a","error":%b}' % json.dumps({"code": code, "message": "m"}).encode()).error

    assert (error.code, error.retryable) == (word, is_retryable)


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"metadata":{"key":"a","mine":1},"error":{}}', "a"),
        (b'{"key":"k","metadata":{"key":"m"},"error":{}}', "k"),
        (b'{"key":7,"error":{}}', "7"),
        (b'{"metadata":{"key":7},"error":{}}', "7"),
        (b'{"key":null,"metadata":null,"error":{}}', ""),
        (b'{"metadata":"?","error":{}}', ""),
    ],
)
def test_a_rows_id_is_its_key_wherever_that_stands(line, request_id):
    assert row(line).request_id == request_id


def test_an_error_that_is_only_a_text_is_an_error():
    found = row(b'{"key":"a","error":"it broke"}')

    assert (found.status, found.error.code, found.error.message) == (ResultStatus.ERRORED, "UNKNOWN", '"it broke"')


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"key":"a"}', "a"),
        (b'{"key":"a","response":null,"error":null}', "a"),
        (b'{"key":"a","response":{"candidates":', "a"),
        (b'{"key":"a","response":{"text":"\xff"}}', "a"),
        (b"null", ""),
        (b"<html>", ""),
    ],
)
def test_what_cannot_be_read_is_kept_and_still_known_by_its_key(line, request_id):
    found = row(line)

    assert (found.status, found.request_id) == (ResultStatus.UNDECODABLE, request_id)
    assert bytes(found.body) == line


def inlined(*answers, response=()):
    """Give the lines that a batch's own answers become, and whether they are keyed."""
    document = operation(
        inputConfig={"requests": {"requests": [{"request": {}, "metadata": {"key": "asked"}}]}},
        output={"inlinedResponses": {"inlinedResponses": list(answers)}},
        _response={"inlinedResponses": {"inlinedResponses": list(response)}},
    )
    cutter, found = ItemCutter(HELD), InlineAnswers()
    lines = [line for at in range(0, len(document), 7) for line in [found.lines(cutter.feed(document[at : at + 7]))]]
    return b"".join(lines).splitlines(), found.unkeyed


def keyed(key):
    return {"metadata": {"key": key}, "error": {"code": 5}}


def test_answers_that_a_batch_names_twice_come_once():
    twice = [keyed("a"), keyed("b")]
    lines, unkeyed = inlined(*twice, response=twice)

    assert [row(line).request_id for line in lines] == ["a", "b"]
    assert unkeyed == 0


def test_answers_may_stand_in_the_second_place_alone():
    lines, _ = inlined(response=[keyed("a")])

    assert [row(line).request_id for line in lines] == ["a"]


def test_a_position_says_whose_an_answer_is_only_where_no_answer_has_a_key():
    lines, unkeyed = inlined({"error": {"code": 5}}, {}, {"response": {"candidates": []}})

    found = [row(line, unkeyed=unkeyed) for line in lines]
    assert unkeyed == 3
    assert [(item.request_id, dict(item.metadata)) for item in found] == [
        ("", {"position": 0, "positions": 3}),
        ("", {}),
        ("", {"position": 2, "positions": 3}),
    ]
    assert found[1].status is ResultStatus.UNDECODABLE
    lines, unkeyed = inlined({"error": {"code": 5}}, keyed("b"))
    assert [dict(row(line, unkeyed=unkeyed).metadata) for line in lines] == [{}, {}]


def test_a_position_that_an_answer_brings_itself_is_none():
    lines, unkeyed = inlined({"position": 1, "error": {"code": 5}}, {"position": 10**30, "error": {"code": 5}})

    assert [row(line, unkeyed=unkeyed).metadata["position"] for line in lines] == [0, 1]


def test_an_answer_that_is_no_object_stays_a_line_of_its_own():
    lines, unkeyed = inlined(None, keyed("b"))

    assert [row(line).status for line in lines] == [ResultStatus.UNDECODABLE, ResultStatus.ERRORED]
    assert unkeyed == 0


# Calls


class Here(NamedTuple):
    server: Any
    clock: VirtualClock
    provider: Any

    @property
    def targets(self):
        return [f"{asked.method} {asked.target}" for asked in self.server.asked]

    async def prepare(self, requests=("hi",), mode=BatchMode.CHAT, model="gemini-2.5-flash", **options):
        (made,) = await self.provider.prepare_payloads(
            batch_id=JOB, model=model, mode=mode, requests=list(requests), **options
        )
        return made.replace(tag="our-tag")

    async def rows(self, batch="batches/bbbb"):
        return [row async for row in self.provider.fetch_results(batch)]


@asynccontextmanager
async def gemini(*answers, **config):
    clock = VirtualClock(NOON)
    async with serve(*answers) as server, BatchProviderRegistry().open(runtime=virtual_runtime(clock)) as scope:
        provider = scope.create("gemini", {"api_key": KEY, "base_url": server.url, **config})
        yield Here(server, clock, provider)


def fault(status, word, *details, message="no"):
    body = {"error": {"code": status, "message": message, "status": word, "details": list(details)}}
    return json.dumps(body).encode()


def opened(talk, asked):
    """Open a session of an upload on the same server."""
    host = asked.headers["host"]
    return talk.say(answer(b"", 200, f"X-Goog-Upload-URL: http://{host}/session?upload_id=upload-secret"))


def uploaded(**changes):
    body = json.dumps(
        {"file": {key: value for key, value in {**FILE, **changes}.items() if value is not None}}
    ).encode()
    return answer(body, 200, "X-Goog-Upload-Status: final")


def file_answer(**changes):
    return answer(json.dumps({**FILE, **changes}).encode())


DELETED = answer(b"{}")


async def test_a_file_goes_up_and_is_named_with_its_end():
    async with gemini(opened, uploaded(sizeBytes=None)) as here:
        sent = await here.prepare(input_mode="file")
        done = await here.provider.upload(sent)

    assert (done.input_ref, done.input_expires_at) == ("files/abc123", NOON + 48 * 3600)
    start, piece = here.server.asked
    assert start.target == "/upload/v1beta/files"
    assert json.loads(start.body) == {
        "file": {"display_name": "our-tag-0000.jsonl", "mime_type": "application/jsonl", "size_bytes": sent.spool.size}
    }
    assert (start.headers["x-goog-api-key"], "x-goog-api-key" in piece.headers) == (KEY, False)
    assert piece.body == b'{"key":"0000000","request":{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}}\n'


async def test_a_file_without_an_end_of_its_own_is_kept_for_two_days():
    async with gemini(opened, uploaded(sizeBytes=None, expirationTime=None)) as here:
        done = await here.provider.upload(await here.prepare(input_mode="file"))

    assert done.input_expires_at == pytest.approx(NOON + 48 * 3600)


async def test_a_file_of_another_length_is_deleted_and_sent_again():
    async with gemini(opened, uploaded(sizeBytes="3"), DELETED) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.upload(await here.prepare(input_mode="file"))

    assert caught.value.code == "upload_cut"
    assert here.targets[-1] == "DELETE /v1beta/files/abc123"


async def test_a_file_is_used_only_once_it_is_active():
    waiting = uploaded(state="PROCESSING", sizeBytes=None)
    async with gemini(opened, waiting, file_answer(state="PROCESSING"), file_answer(state=None), file_answer()) as here:
        done = await here.provider.upload(await here.prepare(input_mode="file"))

    assert done.input_ref == "files/abc123"
    assert here.targets[2:] == ["GET /v1beta/files/abc123"] * 3
    assert here.clock.slept_s == [1, 2, 4]


async def test_a_file_that_cannot_be_used_is_an_error_that_says_why():
    failed = uploaded(state="FAILED", sizeBytes=None, error={"code": 3, "message": "no JSONL"})
    async with gemini(opened, failed) as here:
        with pytest.raises(ProviderPermanentError, match="no JSONL"):
            await here.provider.upload(await here.prepare(input_mode="file"))


async def test_a_file_that_is_never_ready_is_given_up_for_now():
    async with gemini(opened, uploaded(state="PROCESSING", sizeBytes=None), file_answer(state="PROCESSING")) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.upload(await here.prepare(input_mode="file"))

    assert caught.value.code == "upload_processing"
    assert sum(here.clock.slept_s) < 600


async def test_an_upload_without_an_end_is_given_up_for_now():
    async with gemini(answer(b"")) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.upload(await here.prepare(input_mode="file"))

    assert caught.value.code == "upload_lost"


async def test_a_model_that_no_path_can_carry_is_refused_before_its_file_goes_up():
    async with gemini(answer(), allow_unknown_model=True) as here:
        with pytest.raises(ProviderPermanentError, match="a/b"):
            await here.provider.upload(await here.prepare(input_mode="file", model="a/b"))

    assert here.targets == []


async def test_few_requests_travel_in_the_create_itself():
    async with gemini(answer(PENDING)) as here:
        sent = await here.prepare([{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}}])
        made = await here.provider.submit(sent)

    assert sent.is_inline
    assert here.provider.submit_safety(sent) is SubmitSafety.TAGGED
    assert here.targets == ["POST /v1beta/models/gemini-2.5-flash:batchGenerateContent"]
    requests = [{"request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, "metadata": {"key": "a"}}]
    assert json.loads(here.server.asked[0].body) == {
        "batch": {"displayName": "our-tag", "inputConfig": {"requests": {"requests": requests}}}
    }
    assert (made.provider_batch_id, made.status) == (f"batches/{A36}", BatchStatus.QUEUED)
    assert made.submitted_at == NOON


async def test_what_is_asked_for_goes_inline_too_and_more_goes_as_a_file_by_itself():
    async with gemini(answer()) as here:
        many = ["x"] * 101
        by_itself = await here.prepare(many)
        asked_for = await here.prepare(many, input_mode="inline")

    assert (by_itself.is_inline, asked_for.is_inline) == (False, True)
    assert here.provider.submit_safety(by_itself) is SubmitSafety.TAGGED_FENCED
    assert msgspec.json.decode(asked_for.payloads[100])["metadata"] == {"key": "0000100"}


async def test_a_create_over_a_file_names_it():
    async with gemini(answer(PENDING)) as here:
        sent = await here.prepare(["x"], input_mode="file", options={"priority": "5"})
        await here.provider.create(sent.replace(input_ref="files/abc123"))

    config = {"fileName": "files/abc123"}
    assert json.loads(here.server.asked[0].body) == {
        "batch": {"priority": "5", "displayName": "our-tag", "inputConfig": config}
    }


async def test_embeddings_have_a_create_of_their_own():
    async with gemini(answer(PENDING)) as here:
        await here.provider.submit(await here.prepare(["x"], BatchMode.EMBEDDING, "gemini-embedding-001"))

    assert here.targets == ["POST /v1beta/models/gemini-embedding-001:asyncBatchEmbedContent"]


async def test_the_version_in_every_path_is_a_setting(monkeypatch):
    async with gemini(answer(PENDING), api_version="v1") as here:
        await here.provider.submit(await here.prepare())
        await here.provider.poll_status(f"batches/{A36}")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1alpha")
    async with gemini(answer(PENDING)) as there:
        await there.provider.poll_status(f"batches/{A36}")

    assert here.targets == ["POST /v1/models/gemini-2.5-flash:batchGenerateContent", f"GET /v1/batches/{A36}"]
    assert there.targets == [f"GET /v1alpha/batches/{A36}"]


@pytest.mark.parametrize("version", ["../v1", "v1/x", "V1", "v1?"])
async def test_a_version_that_could_lead_elsewhere_is_refused(version):
    async with gemini(answer(PENDING), api_version=version) as here:
        with pytest.raises(ConfigError, match="api_version"):
            await here.provider.poll_status("batches/bbbb")

    assert here.targets == []


async def test_the_callers_metadata_has_no_place_and_is_refused():
    async with gemini(answer()) as here:
        with pytest.raises(ConfigError, match="keeps no metadata"):
            await here.prepare(options={"metadata": {"a": "b"}})


@pytest.mark.parametrize("lost", [hang_up, answer(b"", 500), answer(b"{}"), answer(b'{"name":"operations/x"}')])
async def test_a_create_is_sent_once_and_what_became_of_it_is_not_guessed(lost):
    async with gemini(lost) as here:
        with pytest.raises(SubmissionUnknownError):
            await here.provider.submit(await here.prepare())

    assert len(here.targets) == 1


async def test_a_full_queue_says_how_long_to_wait_even_in_a_list_of_one():
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}
    async with gemini(answer(b"[%b]" % fault(429, "RESOURCE_EXHAUSTED", wait), 429)) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.submit(await here.prepare())

    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "RESOURCE_EXHAUSTED", 31)


async def test_a_key_that_is_refused_comes_as_a_400_and_is_told_as_such():
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    refused = fault(400, "INVALID_ARGUMENT", info, message=f"API key not valid: {KEY}")
    async with gemini(answer(refused, 400)) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status("batches/bbbb")

    assert (caught.value.code, caught.value.hint) == (
        "API_KEY_INVALID",
        "check the key: GOOGLE_API_KEY or GEMINI_API_KEY",
    )
    assert KEY not in str(caught.value)


async def test_the_key_travels_in_a_header_and_in_no_address(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "from-gemini")
    async with gemini(answer(PENDING), api_key=None) as here:
        await here.provider.poll_status(f"batches/{A36}")
        monkeypatch.setenv("GOOGLE_API_KEY", "from-google")
    async with gemini(answer(PENDING), api_key=None) as there:
        await there.provider.poll_status(f"batches/{A36}")

    assert here.server.asked[0].headers["x-goog-api-key"] == "from-gemini"
    assert there.server.asked[0].headers["x-goog-api-key"] == "from-google"
    assert "key" not in here.targets[0]


@pytest.mark.parametrize("name", [f"batches/{A36}", A36])
async def test_a_batch_is_asked_about_by_its_name(name):
    async with gemini(answer(PENDING)) as here:
        status = await here.provider.poll_status(name)

    assert status.provider_batch_id == f"batches/{A36}"
    assert here.targets == [f"GET /v1beta/batches/{A36}"]


@pytest.mark.parametrize("name", ["batches/../files/x", "batches/a/b", "batches/", "", "batches/x?alt=media"])
async def test_a_name_that_could_lead_elsewhere_is_refused(name):
    async with gemini(answer(PENDING)) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status(name)

    assert (caught.value.code, here.targets) == ("bad_id", [])


def large(rows=3000):
    """Give a finished batch that holds some megabytes of answers, in both places."""
    text = {"candidates": [{"content": {"parts": [{"text": "x" * 1000}]}}]}
    held = {
        "inlinedResponses": {"inlinedResponses": [{"metadata": {"key": str(n)}, "response": text} for n in range(rows)]}
    }
    return operation(state="BATCH_STATE_SUCCEEDED", displayName="our-tag", output=held, _done=True, _response=held)


async def test_a_batch_that_holds_megabytes_is_watched_and_read_like_any():
    body = large()
    async with gemini(answer(body)) as here:
        status = await here.provider.poll_status("batches/bbbb")
        rows = await here.rows()

    assert len(body) > 6_000_000
    assert (status.status, status.result_uris) == (BatchStatus.COMPLETED, ("batches/bbbb",))
    assert [found.request_id for found in rows] == [str(n) for n in range(3000)]
    assert {found.text for found in rows} == {"x" * 1000}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"name":"batches/x"', b"[]", b'{"metadata":7}', b'{"name":"\xff"}', large()[:-9]]
)
async def test_a_foreign_page_says_nothing_about_a_batch(body):
    async with gemini(answer(body)) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.poll_status("batches/bbbb")

    assert caught.value.code in ("foreign_answer", "cut")


async def test_a_file_of_answers_is_downloaded_and_never_asked_about():
    # googleapis/python-genai issues 1613 and 1759: `files.get` answers 400 to a name of 42 characters.
    async with gemini(answer(IN_A_FILE), answer(b"\n".join(LINES[:2]))) as here:
        rows = await here.rows(f"batches/{A36}")

    assert [(found.request_id, found.status.value) for found in rows] == [("a", "succeeded"), ("b", "errored")]
    assert here.targets == [f"GET /v1beta/batches/{A36}", f"GET /v1beta/{OUTPUT}:download?alt=media"]


async def test_answers_that_a_batch_holds_are_read_out_of_it():
    async with gemini(answer(INLINE)) as here:
        first, second = await here.rows()

    assert (first.request_id, first.text, first.format) == ("a", "Hi", "gemini.generate")
    assert first.usage == UsageInfo(prompt_tokens=2, completion_tokens=10, total_tokens=12, reasoning_tokens=9)
    assert (second.request_id, second.error.code) == ("b", "INVALID_ARGUMENT")


async def test_a_batch_that_is_gone_before_its_answers_are_read_is_an_error():
    async with gemini(answer(INLINE), answer(fault(404, "NOT_FOUND"), 404)) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.rows()

    assert (caught.value.status, caught.value.code) == (404, "NOT_FOUND")


async def test_answers_without_any_key_come_with_their_positions():
    # googleapis/python-genai issues 1886 and 2008
    held = {"inlinedResponses": {"inlinedResponses": [{"response": {"candidates": []}}, {"error": {"code": 13}}]}}
    async with gemini(answer(operation(state="BATCH_STATE_SUCCEEDED", output=held))) as here:
        rows = await here.rows()

    assert [(found.request_id, found.metadata["position"]) for found in rows] == [("", 0), ("", 1)]


async def test_a_completed_batch_that_names_no_answers_is_looked_at_again():
    bare = answer(operation(state="BATCH_STATE_SUCCEEDED", _done=True))
    async with gemini(bare, bare, answer(INLINE)) as here:
        rows = await here.rows()

    assert len(rows) == 2
    assert len(here.clock.slept_s) == 2


async def test_a_batch_that_ended_without_answers_has_none():
    async with gemini(answer(CANCELLED)) as here:
        assert await here.rows() == []


async def test_a_cancel_that_was_taken_is_a_batch_that_is_ending_whatever_it_says_itself():
    running = operation(state="BATCH_STATE_RUNNING")
    async with gemini(answer(b"{}"), answer(running)) as here:
        status = await here.provider.cancel("batches/bbbb")

    assert (status.status, status.raw_status) == (BatchStatus.CANCELLING, "BATCH_STATE_RUNNING")
    assert here.targets == ["POST /v1beta/batches/bbbb:cancel", "GET /v1beta/batches/bbbb"]
    assert here.server.asked[0].body == b"{}"


async def test_a_cancel_of_which_the_end_is_seen_at_once_is_that_end():
    async with gemini(answer(b"{}"), answer(CANCELLED)) as here:
        status = await here.provider.cancel("batches/bbbb")

    assert status.status is BatchStatus.CANCELLED


async def test_a_cancel_that_comes_too_late_is_no_error():
    async with gemini(answer(fault(400, "FAILED_PRECONDITION"), 400), answer(IN_A_FILE)) as here:
        status = await here.provider.cancel(f"batches/{A36}")

    assert status.status is BatchStatus.COMPLETED


async def test_the_list_is_read_page_by_page():
    page = b'{"operations":[%b,%b],"nextPageToken":"tok"}' % (PENDING, large())
    async with gemini(answer(page), answer(b"{}")) as here:
        first = await here.provider.list_statuses(limit=2)
        last = await here.provider.list_statuses(cursor=first.cursor)

    assert [status.status for status in first.statuses] == [BatchStatus.QUEUED, BatchStatus.COMPLETED]
    assert (first.cursor, last.statuses, last.cursor) == ("tok", (), None)
    assert here.targets == ["GET /v1beta/batches?pageSize=2", "GET /v1beta/batches?pageSize=100&pageToken=tok"]


async def test_a_batch_in_the_list_may_hold_more_answers_than_fit_into_memory():
    answered = {"metadata": {"key": "k"}, "response": {"text": "x" * 700_000}}
    held = {"inlinedResponses": {"inlinedResponses": [answered] * 100}}
    huge = operation(displayName="our-tag", createTime="2026-11-22T10:00:00Z", output=held)
    async with gemini(answer(b'{"operations":[%b,%b]}' % (PENDING, huge))) as here:
        page = await here.provider.list_statuses()

    assert len(huge) > MAX_LINE_BYTES
    assert [status.metadata.get("displayName") for status in page.statuses][1:] == ["our-tag"]


async def test_a_lost_create_is_found_by_the_name_that_we_gave_it():
    other = operation(state="BATCH_STATE_RUNNING", displayName="other", createTime="2026-11-22T10:00:00Z")
    async with gemini(answer(b'{"operations":[%b,%b]}' % (other, large()))) as here:
        (match,) = await here.provider.find_submissions(await here.prepare(), since=NOON)

    assert (match.provider_batch_id, match.why, match.is_certain) == ("batches/bbbb", "tag", True)


async def test_a_list_that_begins_with_the_oldest_is_walked_on_for_its_order_is_documented_nowhere():
    old = operation(state="BATCH_STATE_SUCCEEDED", displayName="old", createTime="2026-10-01T10:00:00Z")
    older = operation(state="BATCH_STATE_SUCCEEDED", displayName="older", createTime="2026-09-01T10:00:00Z")
    page = b'{"operations":[%b,%b],"nextPageToken":"tok"}' % (older, old)
    async with gemini(answer(page), answer(b'{"operations":[%b]}' % large())) as here:
        found = await here.provider.find_submissions(await here.prepare(), since=NOON)

    assert [match.provider_batch_id for match in found] == ["batches/bbbb"]


@pytest.mark.parametrize("status", [200, 403, 404])
async def test_a_fence_is_a_deleted_file_or_one_that_is_gone(status):
    async with gemini(answer(fault(status, "PERMISSION_DENIED"), status)) as here:
        fenced = await here.provider.fence(submission(input_ref="files/abc123"))

    assert fenced is True
    assert here.targets == ["DELETE /v1beta/files/abc123"]


async def test_what_went_inline_has_no_fence():
    async with gemini(answer()) as here:
        assert await here.provider.fence(await here.prepare()) is False

    assert here.targets == []


@pytest.mark.parametrize(
    ("batch", "input_status", "count", "deleted"),
    [
        ({"inputConfig": {"fileName": "files/abc123"}}, 200, 2, ["files/abc123", "batches/bbbb"]),
        ({"inputConfig": {"fileName": "files/abc123"}}, 403, 1, ["files/abc123", "batches/bbbb"]),
        ({}, None, 1, ["batches/bbbb"]),
    ],
)
async def test_what_is_deleted_is_the_input_and_the_record(batch, input_status, count, deleted):
    found = answer(operation(**{"state": "BATCH_STATE_SUCCEEDED", **batch}))
    answers = [found, *([answer(b"{}", input_status)] if input_status else []), answer(b"{}")]
    async with gemini(*answers) as here:
        assert await here.provider.delete_artifacts("batches/bbbb") == count

    assert here.targets[1:] == [f"DELETE /v1beta/{place}" for place in deleted]


async def test_a_batch_that_runs_keeps_its_record_and_its_input():
    running = operation(state="BATCH_STATE_RUNNING", inputConfig={"fileName": "files/abc123"})
    async with gemini(answer(running)) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.delete_artifacts("batches/bbbb")

    assert caught.value.code == "not_ended"
    assert here.targets == ["GET /v1beta/batches/bbbb"]


async def test_deleting_again_deletes_nothing_and_a_refusal_is_no_deletion():
    async with gemini(answer(fault(404, "NOT_FOUND"), 404)) as here:
        assert await here.provider.delete_artifacts("batches/bbbb") == 0
    async with gemini(answer(fault(403, "PERMISSION_DENIED"), 403)) as there:
        with pytest.raises(ProviderPermanentError):
            await there.provider.delete_artifacts("batches/bbbb")


async def test_the_list_of_files_names_them_with_their_ends():
    page = {"files": [FILE], "nextPageToken": "tok"}
    async with gemini(answer(json.dumps(page).encode()), answer(b"{}")) as here:
        first = await here.provider.list_files()
        last = await here.provider.list_files(cursor=first.cursor, limit=100_000)

    (file,) = first.files
    assert (file.ref, file.name, file.size, file.expires_at) == ("files/abc123", "in.jsonl", 12, NOON + 48 * 3600)
    assert (last.files, last.cursor) == ((), None)
    assert here.targets == ["GET /v1beta/files?pageSize=100", "GET /v1beta/files?pageSize=100&pageToken=tok"]


async def test_a_poll_tells_how_far_the_services_clock_is_behind():
    async with gemini(answer(PENDING, 200, "Date: Sun, 22 Nov 2026 09:00:00 GMT")) as here:
        await here.provider.poll_status(f"batches/{A36}")

        assert here.provider.transport.lead_s == pytest.approx(3600.1)
