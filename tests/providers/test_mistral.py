"""Mistral: its samples, and what is special to it, against a server that says what the fact sheet shows.

Source of the samples: mistralai/platform-docs-public:openapi.yaml (BatchJob, CreateFileResponse), result lines as third parties
saw them; compared on 2026-11-25.
"""

import json
import re
from contextlib import asynccontextmanager

import msgspec
import pytest

from asyncbatch import (
    BatchMode,
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    UsageInfo,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.enums import ErrorClass, SubmitSafety
from asyncbatch.providers._shapes.mistral import (
    decode_files,
    decode_line,
    decode_page,
    decode_status,
    encode_create,
    encode_envelope,
    is_created,
)
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import JOB
from tests.transport.wire import answer, hang_up, serve

FACTS = load_catalog().provider("mistral")
MODEL = "mistral-small-latest"
INPUT, BATCH, OUTPUT, ERRORS = (f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "1234")
JOBS = "/v1/batch/jobs"

UPLOADED = json.loads(
    '{"id":"11111111-1111-4111-8111-111111111111","object":"file","bytes":300,"created_at":1763800000,"filename":"in.jsonl",'
    '"purpose":"batch","sample_type":"batch_request","source":"upload","num_lines":2,"mimetype":"application/jsonl",'
    '"signature":"e3b0c442","expires_at":null,"visibility":"workspace"}'
)
CREATED = json.loads(
    '{"id":"22222222-2222-4222-8222-222222222222","object":"batch","input_files":["11111111-1111-4111-8111-111111111111"],'
    '"metadata":{"asyncbatch_tag":"7f3c"},"endpoint":"/v1/chat/completions","model":"mistral-small-latest","agent_id":null,'
    '"output_file":null,"error_file":null,"errors":[],"outputs":null,"status":"QUEUED","created_at":1763800001,'
    '"started_at":null,"completed_at":null,"total_requests":0,"completed_requests":0,"succeeded_requests":0,'
    '"failed_requests":0}'
)
DONE = {
    **CREATED,
    "output_file": "33333333-3333-4333-8333-333333333333",
    "error_file": "44444444-4444-4444-8444-444444444444",
    "errors": [{"message": "Invalid request", "count": 1}],
    "status": "SUCCESS",
    "started_at": 1763800010,
    "completed_at": 1763800100,
    "total_requests": 2,
    "completed_requests": 2,
    "succeeded_requests": 1,
    "failed_requests": 1,
}
INLINE = {**DONE, "input_files": [], "output_file": None, "error_file": None}
ANSWERED = (
    b'{"id":"batch-55555555-0-a","custom_id":"a","response":{"status_code":200,"body":{"id":"c1","object":"chat.completion",'
    b'"model":"mistral-small-latest","usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6},"created":1763800050,'
    b'"choices":[{"index":0,"message":{"role":"assistant","tool_calls":null,"content":"Hi"},"finish_reason":"stop"}]}},'
    b'"error":null}'
)
REFUSED = (
    b'{"id":"batch-55555555-0-b","custom_id":"b","response":{"status_code":400,"body":"{\\"object\\":\\"error\\",'
    b'\\"message\\":\\"No such thing.\\",\\"type\\":\\"invalid_request_file\\",\\"param\\":null,\\"code\\":\\"3310\\",'
    b'\\"raw_status_code\\":400}"},"error":null}'
)


def job(**changes):
    return json.dumps({**CREATED, **changes}).encode()


def status_of(**changes):
    return decode_status(job(**changes), FACTS)


def row(line):
    return decode_line(line, format="mistral.chat", facts=FACTS)


def line(custom_id="a", **fields):
    return json.dumps({"id": "batch-1", "custom_id": custom_id, **fields}).encode()


# A job


def test_a_job_that_was_just_created_counts_nothing_not_even_its_requests():
    status = status_of()

    assert (status.provider_batch_id, status.status, status.raw_status) == (BATCH, BatchStatus.QUEUED, "QUEUED")
    assert (status.created_at, status.completed_at) == (1763800001, None)
    assert (status.endpoint, status.input_ref) == ("/v1/chat/completions", INPUT)
    assert (status.progress.total, status.progress.done) == (0, 0)
    assert status.result_uris == status.errors == ()
    assert status.metadata == {"asyncbatch_tag": "7f3c"}


def test_a_job_that_succeeded_names_both_files_and_what_its_failed_rows_died_of():
    status = decode_status(json.dumps(DONE).encode(), FACTS)

    assert (status.status, status.raw_status) == (BatchStatus.COMPLETED, "SUCCESS")
    assert status.result_uris == (OUTPUT, ERRORS)
    assert (status.progress.total, status.progress.completed, status.progress.failed) == (2, 1, 1)
    assert status.completed_at == 1763800100
    assert [error.message for error in status.errors] == ["Invalid request"]
    assert status.error_message is None, "the job itself did not fail"


def test_a_job_that_failed_says_why():
    status = status_of(status="FAILED", errors=[{"message": "Bad file", "count": 3}, {"message": "Worse"}])

    assert status.status is BatchStatus.FAILED
    assert status.error_message == "Bad file"
    assert [(error.code, error.message, error.line) for error in status.errors] == [
        ("", "Bad file", None),
        ("", "Worse", None),
    ]


@pytest.mark.parametrize(
    ("errors", "messages"),
    [
        (None, []),
        ([], []),
        (["gone"], ["gone"]),
        ("gone", ["gone"]),
        ([{"message": {"detail": "x"}}], ["x"]),
        ([{"detail": "no"}], ["no"]),
        ([3], ["3"]),
    ],
)
def test_a_reason_of_another_shape_hides_no_end(errors, messages):
    status = status_of(status="FAILED", errors=errors)

    assert status.status is BatchStatus.FAILED
    assert [error.message for error in status.errors] == messages


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("QUEUED", BatchStatus.QUEUED),
        ("RUNNING", BatchStatus.IN_PROGRESS),
        ("SUCCESS", BatchStatus.COMPLETED),
        ("FAILED", BatchStatus.FAILED),
        ("TIMEOUT_EXCEEDED", BatchStatus.EXPIRED),
        ("CANCELLATION_REQUESTED", BatchStatus.CANCELLING),
        ("CANCELLED", BatchStatus.CANCELLED),
        ("running", BatchStatus.IN_PROGRESS),
        ("A_NEW_WORD", BatchStatus.UNKNOWN),
    ],
)
def test_every_state_is_read(word, expected):
    assert status_of(status=word).status is expected


@pytest.mark.parametrize("word", ["TIMEOUT_EXCEEDED", "CANCELLED", "FAILED"])
def test_a_job_with_another_end_may_have_files(word):
    assert status_of(status=word, output_file=OUTPUT, error_file="").result_uris == (OUTPUT,)


@pytest.mark.parametrize("absent", sorted(CREATED.keys() - {"id", "status"}))
@pytest.mark.parametrize("how", ["null", "absent"])
def test_a_field_that_is_null_or_absent_is_no_error(absent, how):
    fields = {**CREATED, absent: None}
    if how == "absent":
        del fields[absent]

    assert decode_status(json.dumps(fields).encode(), FACTS).provider_batch_id == BATCH


def test_counts_written_as_texts_are_counts():
    assert status_of(total_requests="2", succeeded_requests="1", created_at="1763800001").progress.total == 2


@pytest.mark.parametrize("field", ["id", "status"])
def test_a_job_without_a_name_or_a_state_is_none(field):
    with pytest.raises(msgspec.DecodeError):
        status_of(**{field: None})


def page(count, *, number=0, size=3, **fields):
    body = json.dumps({"object": "list", "data": [CREATED] * count, **fields}).encode()
    return decode_page(body, FACTS, page=number, size=size)


@pytest.mark.parametrize(
    ("found", "cursor"),
    [
        (page(3, total=7), "1"),
        (page(3, total=7, number=1), "2"),
        (page(1, total=7, number=2), None),
        (page(3, total=3), None),
        (page(0, total=7, number=9), None),  # an empty page ends the list whatever the total says
        (page(2, total=7), "1"),  # somebody deleted a job meanwhile: the list goes on
        (page(3), "1"),
        (page(2), None),
        (page(3, total=None), "1"),
        (page(0, data=None), None),
    ],
)
def test_the_pages_of_the_list_are_numbered_from_zero_and_end(found, cursor):
    assert found.cursor == cursor


# A row


def test_a_row_with_an_answer():
    answered = row(ANSWERED)

    assert (answered.request_id, answered.status, answered.error) == ("a", ResultStatus.SUCCEEDED, None)
    assert (answered.text, answered.format) == ("Hi", "mistral.chat")
    assert answered.usage == UsageInfo(prompt_tokens=4, completion_tokens=2, total_tokens=6)
    assert answered.metadata == {"provider_request_id": "batch-55555555-0-a"}


def test_the_body_of_a_row_is_the_bytes_that_came():
    assert bytes(row(ANSWERED).body) == ANSWERED[ANSWERED.index(b'{"id":"c1') : ANSWERED.rindex(b'},"error"')]


def test_a_row_whose_error_is_json_in_a_text():
    refused = row(REFUSED)

    assert (refused.request_id, refused.status) == ("b", ResultStatus.ERRORED)
    assert (refused.error.code, refused.error.status, refused.error.retryable) == ("3310", 400, False)
    assert refused.error.message == "No such thing."
    assert refused.response == json.loads(REFUSED)["response"]["body"], "as it came"
    assert refused.text is None


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"object": "error", "message": "m", "type": "t", "code": "1300"}, "1300", "m"),
        ({"object": "error", "message": "m", "type": "t", "code": 1300}, "1300", "m"),
        ({"message": "m", "type": "t", "code": None}, "t", "m"),
        ({"detail": "Invalid file format."}, "http_422", "Invalid file format."),
        ({"message": "Unauthorized", "request_id": "r"}, "http_422", "Unauthorized"),
        ("no JSON at all", "http_422", "no JSON at all"),
        ('{"detail":[{"type":"enum","msg":"bad word"}]}', "http_422", "bad word"),
        (None, "http_422", ""),
        ("", "http_422", ""),
        (7, "http_422", "7"),
    ],
)
def test_whatever_shape_an_error_has_it_is_one(body, code, message):
    refused = row(line(response={"status_code": 422, "body": body}, error=None))

    assert (refused.status, refused.error.code, refused.error.retryable) == (ResultStatus.ERRORED, code, False)
    assert message in refused.error.message
    assert message or not refused.error.message


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (402, False), (408, True), (422, False), (429, True), (500, True), (503, True), (504, True)],
)
def test_a_row_may_be_sent_again_where_waiting_helps(status, retryable):
    assert row(line(response={"status_code": status, "body": "{}"})).error.retryable is retryable


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"message": "m", "code": "c"}, "c", "m"),
        ({"message": "m", "type": "t"}, "t", "m"),
        ("in words", "error", "in words"),
        ('{"message":"m","code":"c"}', "c", "m"),
    ],
)
@pytest.mark.parametrize("response", [None, {}, {"status_code": 0, "body": None}])
def test_a_row_that_never_ran_says_why(error, code, message, response):
    errored = row(line(response=response, error=error))

    assert (errored.status, errored.error.code, errored.error.message) == (ResultStatus.ERRORED, code, message)
    assert (errored.error.status, errored.error.retryable) == (None, False)


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [("batch_expired", ResultStatus.EXPIRED, True), ("batch_cancelled", ResultStatus.CANCELLED, False)],
)
def test_rows_that_the_end_of_the_batch_overtook(code, status, retryable):
    ended = row(line(response=None, error={"code": code, "message": "too late"}))

    assert (ended.status, ended.error.retryable) == (status, retryable)


def test_the_error_beside_a_refusal_without_a_body_is_read():
    refused = row(line(response={"status_code": 500, "body": None}, error={"message": "m"}))

    assert (refused.error.code, refused.error.message, refused.error.retryable) == ("http_500", "m", True)


def test_the_status_decides_before_a_remark_beside_it():
    answered = row(ANSWERED.replace(b'"error":null', b'"error":"slow"'))

    assert (answered.status, answered.text) == (ResultStatus.SUCCEEDED, "Hi")


def test_an_answer_without_a_status_around_it_is_an_answer():
    body = json.loads(ANSWERED)["response"]["body"]

    assert row(line(response=body)).text == "Hi"


def test_a_row_without_an_id_is_nobodys():
    answered = row(ANSWERED.replace(b'"custom_id":"a"', b'"custom_id":null'))

    assert (answered.request_id, answered.status, answered.text) == ("", ResultStatus.SUCCEEDED, "Hi")
    assert row(REFUSED.replace(b'"custom_id":"b",', b"")).request_id == ""


@pytest.mark.parametrize(
    ("broken", "request_id"),
    [
        (b"", ""),
        (b"null", ""),
        (b"[1]", ""),
        (ANSWERED[:60], "a"),
        (ANSWERED.replace(b'"Hi"', b'"\xff"'), "a"),
        (line(response=None, error=None), "a"),
        (line(response={"status_code": 200, "body": None}), "a"),
        (line(response={"status_code": 200}), "a"),
        (line(response={"body": {"x": 1}}), "a"),
        (line(response="text"), "a"),
        (line(custom_id=7, response=None, error="x"), ""),
    ],
)
def test_what_cannot_be_read_is_kept_with_the_id_that_can(broken, request_id):
    undecodable = row(broken)

    assert (undecodable.status, undecodable.request_id) == (ResultStatus.UNDECODABLE, request_id)
    assert bytes(undecodable.body) == broken
    assert undecodable.error.code == "undecodable"


# Against a server


class Here:
    """The provider towards a scripted server, on a virtual clock."""

    def __init__(self, server, provider, clock):
        self.server, self.provider, self.clock = server, provider, clock

    async def prepare(self, requests=("hello",), **options):
        (submission,) = await self.provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=options.pop("mode", BatchMode.CHAT), requests=list(requests), **options
        )
        return submission.replace(tag="7f3c")

    @property
    def calls(self):
        return [f"{asked.method} {asked.target}" for asked in self.server.asked]

    async def rows(self):
        return {row.request_id: row async for row in self.provider.fetch_results(BATCH)}


def reply(body, status=200):
    return answer(body if isinstance(body, bytes) else json.dumps(body).encode(), status)


@asynccontextmanager
async def mistral(*replies):
    clock = VirtualClock(1763800200.0)
    async with serve(*replies) as server, BatchProviderRegistry().open(runtime=virtual_runtime(clock)) as scope:
        yield Here(server, scope.create("mistral", {"api_key": "key-of-tests", "base_url": server.url}), clock)


ROWS = [{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}}, "no id"]
LINES = (
    b'{"custom_id":"a","body":{"messages":[{"role":"user","content":"hi"}],"max_tokens":16}}\n'
    b'{"custom_id":"0000001","body":{"messages":[{"role":"user","content":"no id"}]}}\n'
)


async def test_a_file_goes_up_and_a_job_is_created_over_it():
    async with mistral(reply({**UPLOADED, "bytes": len(LINES)}), reply(CREATED)) as here:
        result = await here.provider.submit(await here.prepare(ROWS))
        upload, create = here.server.asked

    assert here.calls == ["POST /v1/files", f"POST {JOBS}"]
    assert {asked.headers["authorization"] for asked in here.server.asked} == {"Bearer key-of-tests"}
    assert b'name="purpose"\r\n\r\nbatch\r\n' in upload.body
    assert b'name="file"; filename="7f3c-0000.jsonl"' in upload.body
    assert b"\r\n\r\n" + LINES + b"\r\n--" in upload.body
    assert json.loads(create.body) == {
        "input_files": [INPUT],
        "endpoint": "/v1/chat/completions",
        "model": MODEL,
        "metadata": {"asyncbatch_tag": "7f3c"},
        "timeout_hours": 24,
    }
    assert (result.provider_batch_id, result.status, result.submitted_at) == (BATCH, BatchStatus.QUEUED, 1763800001)
    assert result.metadata == {"asyncbatch_tag": "7f3c"}


async def test_few_or_many_requests_travel_in_the_create_where_that_is_asked_for():
    async with mistral(reply({**CREATED, "input_files": []})) as here:
        submission = await here.prepare(ROWS, input_mode="inline", options={"metadata": {"a": "b"}})
        result = await here.provider.submit(submission)
        (create,) = here.server.asked

    assert (submission.is_inline, submission.input_ref) == (True, None)
    assert create.headers["content-type"] == "application/json"
    assert int(create.headers["content-length"]) == len(create.body)
    assert json.loads(create.body) == {
        "endpoint": "/v1/chat/completions",
        "model": MODEL,
        "metadata": {"a": "b", "asyncbatch_tag": "7f3c"},
        "timeout_hours": 24,
        "requests": [json.loads(item) for item in LINES.splitlines()],
    }
    assert result.provider_batch_id == BATCH


async def test_requests_travel_in_a_file_unless_asked():
    async with mistral(b"") as here:
        submission = await here.prepare()

    assert submission.is_inline is False


@pytest.mark.parametrize(("input_mode", "sizes"), [("inline", [10_000, 1]), ("file", [10_001])])
async def test_a_create_takes_ten_thousand_requests_and_a_file_a_million(input_mode, sizes):
    async with mistral(b"") as here:
        submissions = await here.provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["x"] * 10_001, input_mode=input_mode
        )

    assert [submission.request_count for submission in submissions] == sizes
    assert FACTS.limits.requests.value == 1_000_000


async def test_how_surely_a_lost_create_is_found_depends_on_how_it_travelled():
    async with mistral(b"") as here:
        by_file, inline = [await here.prepare(input_mode=mode) for mode in ("file", "inline")]

        assert here.provider.submit_safety() is SubmitSafety.TAGGED_FENCED
        assert here.provider.submit_safety(by_file) is SubmitSafety.TAGGED_FENCED
        assert here.provider.submit_safety(inline) is SubmitSafety.TAGGED


async def test_the_window_is_what_the_caller_asks_for():
    async with mistral(b"") as here:
        submission = await here.prepare(options={"timeout_hours": 168, "later": True})
        head, tail = encode_envelope(submission, FACTS)

    assert json.loads(encode_create(submission, FACTS))["timeout_hours"] == 168
    assert "metadata" not in json.loads(encode_create(submission.replace(tag=None), FACTS))
    assert json.loads(head + tail) == {
        "endpoint": "/v1/chat/completions",
        "model": MODEL,
        "metadata": {"asyncbatch_tag": "7f3c"},
        "timeout_hours": 168,
        "later": True,
        "requests": [],
    }


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"timeout_hours": 0}, "config.value", "timeout_hours is 0"),
        ({"timeout_hours": 169}, "config.value", "from 1 to 168"),
        ({"timeout_hours": "24"}, "config.value", "'24'"),
        ({"timeout_hours": True}, "config.value", "True"),
        ({"model": "x", "endpoint": "y"}, "config.value", "endpoint, model"),
        ({"requests": []}, "config.value", "requests"),
        ({"metadata": {"k" * 33: "v"}}, "bad_metadata", "too long"),
        ({"metadata": {"k": "v" * 513}}, "bad_metadata", "a value 512"),
        ({"metadata": {"k": ""}}, "bad_metadata", "empty"),
        ({"metadata": {"": "v"}}, "bad_metadata", "empty"),
        ({"metadata": {"k": 1}}, "bad_metadata", "not a mapping"),
    ],
)
async def test_words_that_the_create_would_be_refused_for_are_refused_before_anything_is_sent(options, code, says):
    async with mistral(b"") as here:
        with pytest.raises(ConfigError, match=says) as caught:
            await here.prepare(options=options)

    assert caught.value.code == code
    assert here.calls == []


async def test_metadata_at_its_limits_is_fine():
    async with mistral(b"") as here:
        submission = await here.prepare(options={"metadata": {f"{n:032d}": "v" * 512 for n in range(40)}})

    assert len(submission.options["metadata"]) == 40


async def test_ids_are_checked_here_since_the_service_does_not():
    body = {"messages": [{"role": "user", "content": "x"}]}
    async with mistral(b"") as here:
        with pytest.raises(InvalidRequestsError, match=r"row 2 \('same'\): .*used before, by row 0"):
            await here.prepare([{"custom_id": name, "body": body} for name in ("same", "other", "same")])


@pytest.mark.parametrize(
    "detail", ["Invalid file format.", [{"type": "json", "loc": ["body"], "msg": "line 2 is bad"}]]
)
async def test_a_file_that_the_service_refuses_says_why_and_is_not_sent_again(detail):
    async with mistral(reply({"detail": detail}, 422)) as here:
        with pytest.raises(ProviderPermanentError, match=r"Invalid file format\.|line 2 is bad") as caught:
            await here.provider.submit(await here.prepare())

    assert (caught.value.status, here.calls) == (422, ["POST /v1/files"])


async def test_a_file_that_arrived_shorter_is_deleted_and_not_used():
    async with mistral(reply({**UPLOADED, "bytes": 3}), reply({"id": INPUT, "deleted": True})) as here:
        with pytest.raises(ProviderTransientError, match="3 bytes of") as caught:
            await here.provider.submit(await here.prepare())

    assert caught.value.code == "upload_cut"
    assert here.calls == ["POST /v1/files", f"DELETE /v1/files/{INPUT}"]


@pytest.mark.parametrize("size", [None, "absent"])
async def test_an_upload_whose_length_is_not_told_is_taken(size):
    uploaded = {key: value for key, value in UPLOADED.items() if key != "bytes"} | (
        {"bytes": None} if size is None else {}
    )
    async with mistral(reply({**uploaded, "expires_at": 1763900000})) as here:
        submission = await here.provider.upload(await here.prepare())

    assert (submission.input_ref, submission.input_expires_at) == (INPUT, 1763900000)


async def test_a_create_whose_answer_is_lost_is_found_by_its_tag_or_its_file_and_never_sent_again():
    others = [
        {**CREATED, "id": "other", "metadata": {"asyncbatch_tag": "other"}, "input_files": ["other"]},
        {**CREATED, "id": "two", "metadata": None, "input_files": [INPUT, "other"]},
    ]
    mine = [CREATED, {**CREATED, "id": "by-file", "metadata": None}]
    first = {"object": "list", "data": [*others] * 50, "total": 102}
    listed = [reply(first), reply({"object": "list", "data": mine, "total": 102})]
    async with mistral(reply({**UPLOADED, "bytes": None}), hang_up, *listed) as here:
        submission = await here.provider.upload(await here.prepare())
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        matches = await here.provider.find_submissions(submission, since=1763800000)

    assert [(match.provider_batch_id, match.why, match.is_certain) for match in matches] == [
        (BATCH, "tag", True),
        ("by-file", "input", True),
    ]
    assert here.calls[2:] == [
        f"GET {JOBS}?page=0&page_size=100&order_by=-created",
        f"GET {JOBS}?page=1&page_size=100&order_by=-created",
    ]


async def test_an_inline_create_is_found_by_its_tag_alone():
    nobodys = {**CREATED, "id": "x", "metadata": {}, "input_files": []}
    async with mistral(reply({"data": [nobodys, {**CREATED, "input_files": []}], "total": 2})) as here:
        submission = await here.prepare(input_mode="inline")
        matches = await here.provider.find_submissions(submission, since=1763800000)

    assert [(match.provider_batch_id, match.why) for match in matches] == [(BATCH, "tag")]


async def test_the_list_is_not_read_further_back_than_the_create():
    old = {**CREATED, "created_at": 1763700000, "metadata": None, "input_files": []}
    async with mistral(reply({"data": [old] * 100, "total": 5000})) as here:
        matches = await here.provider.find_submissions(await here.prepare(), since=1763800000)

    assert (matches, len(here.calls)) == ([], 1)


async def test_a_page_may_be_smaller_and_the_walk_ends_at_an_empty_one():
    async with mistral(reply({"data": [CREATED], "total": 9}), reply({"data": [], "total": 9})) as here:
        first = await here.provider.list_statuses(limit=2)
        second = await here.provider.list_statuses(cursor=first.cursor, limit=2)

    assert here.calls == [f"GET {JOBS}?page={n}&page_size=2&order_by=-created" for n in (0, 1)]
    assert ([status.provider_batch_id for status in first.statuses], first.cursor) == ([BATCH], "1")
    assert (second.statuses, second.cursor) == ((), None)


@pytest.mark.parametrize(
    ("body", "is_ours"),
    [
        (job(), True),
        (job(input_files=None), True),
        (job(object=None), True),
        (job(input_files=["another"]), False),
        (job(input_files=[INPUT, "another"]), False),
        (job(id=""), False),
        (job(object="file"), False),
        (b"{}", False),
        (b"<html>", False),
        (b"\xff", False),
    ],
)
async def test_an_answer_to_a_create_is_a_job_made_of_our_file(body, is_ours):
    async with mistral(b"") as here:
        submission = await here.prepare()

    assert is_created(body, submission.replace(input_ref=INPUT)) is is_ours


async def test_a_fence_deletes_the_file_and_an_inline_create_has_none():
    async with mistral(reply({"detail": "gone"}, 404)) as here:
        submission = await here.prepare()
        fenced = await here.provider.fence(submission.replace(input_ref=INPUT))
        inline = await here.provider.fence(submission)

    assert (fenced, inline, here.calls) == (True, False, [f"DELETE /v1/files/{INPUT}"])


async def test_a_cancel_gives_what_the_service_says_of_it():
    async with mistral(reply({**CREATED, "status": "CANCELLATION_REQUESTED"})) as here:
        status = await here.provider.cancel(BATCH)

    assert status.status is BatchStatus.CANCELLING
    assert here.calls == [f"POST {JOBS}/{BATCH}/cancel"]


@pytest.mark.parametrize("refusal", [400, 409, 422])
async def test_a_cancel_that_comes_too_late_gives_the_end(refusal):
    async with mistral(reply({"detail": "It is over."}, refusal), reply(DONE)) as here:
        status = await here.provider.cancel(BATCH)

    assert status.status is BatchStatus.COMPLETED
    assert here.calls == [f"POST {JOBS}/{BATCH}/cancel", f"GET {JOBS}/{BATCH}"]


async def test_an_unknown_job_and_a_refused_key_are_told_in_the_services_words():
    refusals = [reply({"detail": "Job not found"}, 404), reply({"detail": "Invalid API Key"}, 401)]
    async with mistral(*refusals) as here:
        with pytest.raises(ProviderPermanentError, match="Job not found"):
            await here.provider.poll_status(BATCH)
        with pytest.raises(ProviderPermanentError, match=r"Invalid API Key(?s:.*)MISTRAL_API_KEY") as caught:
            await here.provider.poll_status(BATCH)

    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, ErrorClass.TRANSIENT) for status in (408, 429, 500, 502, 503, 504)],
        *[(status, ErrorClass.PERMANENT) for status in (400, 401, 402, 403, 404, 413, 422)],
    ],
)
def test_an_error_has_the_class_of_the_table(status, expected):
    assert FACTS.classify(status, "1300", "rate_limited") is expected


async def test_a_poll_that_is_throttled_may_be_repeated_and_says_when():
    body = b'{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}'
    async with mistral(answer(body, 429, "Retry-After: 7")) as here:
        with pytest.raises(ProviderTransientError, match="Rate limit exceeded") as caught:
            await here.provider.poll_status(BATCH)

    assert (caught.value.code, caught.value.retry_after) == ("1300", 7)


# Answers


async def test_answers_are_read_from_both_files():
    async with mistral(reply(DONE), reply(ANSWERED + b"\n"), reply(REFUSED)) as here:
        rows = await here.rows()

    assert {row.request_id: row.status for row in rows.values()} == {
        "a": ResultStatus.SUCCEEDED,
        "b": ResultStatus.ERRORED,
    }
    assert here.calls == [
        f"GET {JOBS}/{BATCH}",
        f"GET /v1/files/{OUTPUT}/content",
        f"GET /v1/files/{ERRORS}/content",
    ]


@pytest.mark.parametrize("word", ["TIMEOUT_EXCEEDED", "CANCELLED", "FAILED"])
async def test_whatever_the_end_the_files_that_are_named_are_read(word):
    ended = {**DONE, "status": word, "error_file": None, "failed_requests": 0}
    async with mistral(reply(ended), reply(ANSWERED + b"\n")) as here:
        rows = await here.rows()

    assert rows["a"].text == "Hi"


async def test_a_lost_error_file_takes_no_answers_with_it():
    async with mistral(
        reply(DONE), reply(ANSWERED), reply({"detail": "No file matches the given query."}, 404)
    ) as here:
        rows = aiter(here.provider.fetch_results(BATCH))
        found = await anext(rows)
        with pytest.raises(ProviderPermanentError, match="No file matches"):
            await anext(rows)

    assert found.request_id == "a"


OUTPUTS = [json.loads(ANSWERED), json.loads(REFUSED)]


@pytest.mark.parametrize("word", ["SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED", "FAILED"])
@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "over many lines"])
async def test_answers_that_the_job_holds_itself_are_read_out_of_it(word, indent):
    ended = {**INLINE, "status": word}
    whole = json.dumps({**ended, "outputs": OUTPUTS}, indent=indent).encode()
    async with mistral(reply({**ended, "outputs": None}), reply(whole)) as here:
        rows = await here.rows()

    assert (rows["a"].text, rows["b"].error.code, rows["b"].error.message) == ("Hi", "3310", "No such thing.")
    assert here.calls == [f"GET {JOBS}/{BATCH}", f"GET {JOBS}/{BATCH}?inline=true"]
    assert len(here.clock.slept_s) == (word == "SUCCESS"), "it might yet have named files"


async def test_a_job_with_many_answers_inside_is_read_in_pieces():
    outputs = [{**OUTPUTS[0], "custom_id": f"{n}", "pad": "é" * 500} for n in range(2000)]
    whole = json.dumps({**INLINE, "outputs": outputs}, ensure_ascii=False).encode()
    async with mistral(reply(INLINE), reply(whole)) as here:
        rows = await here.rows()

    assert len(whole) > 2 * 1024 * 1024
    assert list(rows) == [f"{n}" for n in range(2000)]
    assert {row.text for row in rows.values()} == {"Hi"}


@pytest.mark.parametrize("outputs", [None, []])
async def test_a_job_without_files_and_without_outputs_that_was_cancelled_has_no_answers(outputs):
    ended = {**INLINE, "status": "CANCELLED", "succeeded_requests": 0, "failed_requests": 0, "outputs": outputs}
    async with mistral(reply(ended)) as here:
        assert await here.rows() == {}

    assert here.clock.slept_s == []


async def test_a_job_that_succeeded_and_names_no_file_yet_is_looked_at_again():
    early = {**DONE, "output_file": None, "error_file": None}
    late = {**DONE, "error_file": None}
    script = [reply(early), reply(early), reply(late), reply(DONE), reply(ANSWERED), reply(REFUSED)]
    async with mistral(*script) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a", "b"]
    assert len(here.clock.slept_s) == 3


async def test_a_job_without_an_input_file_that_names_files_late_is_read_from_them_alone():
    late = {**DONE, "input_files": [], "outputs": OUTPUTS}
    async with mistral(reply(INLINE), reply(late), reply(ANSWERED), reply(REFUSED)) as here:
        ids = [found.request_id async for found in here.provider.fetch_results(BATCH)]

    assert ids == ["a", "b"]
    assert len(here.clock.slept_s) == 1


async def test_outputs_that_come_late_are_waited_for():
    empty, whole = ({**INLINE, "outputs": outputs} for outputs in ([], OUTPUTS))
    async with mistral(reply(INLINE), reply(empty), reply(empty), reply(whole)) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a", "b"]
    assert here.calls[1:] == [f"GET {JOBS}/{BATCH}?inline=true"] * 3
    assert len(here.clock.slept_s) == 3


@pytest.mark.parametrize("word", ["SUCCESS", "CANCELLED"])
async def test_a_job_without_an_input_file_that_names_one_file_too_few_may_hold_the_rest(word):
    one_file = {**INLINE, "status": word, "error_file": ERRORS}
    script = [reply(one_file), reply({**one_file, "outputs": OUTPUTS[:1]}), reply(REFUSED)]
    async with mistral(*script) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a", "b"]


async def test_a_job_that_was_made_of_a_file_is_asked_for_its_outputs_only_when_patience_ends():
    nothing = {**INLINE, "input_files": [INPUT]}

    async def tell(talk, asked):
        await talk.say(reply({**nothing, "outputs": OUTPUTS if "inline" in asked.target else None}))
        talk.hang_up()

    async with mistral(tell) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a", "b"]
    assert sum("inline" in call for call in here.calls) == 1
    assert 55 < sum(here.clock.slept_s) < 61


async def test_a_file_of_errors_that_never_comes_is_missed_and_not_looked_for_elsewhere():
    one_file = answer(json.dumps({**DONE, "error_file": None}).encode())

    async def tell(talk, asked):
        await talk.say(reply(ANSWERED) if "content" in asked.target else one_file)
        talk.hang_up()

    async with mistral(tell) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a"]
    assert "inline" not in " ".join(here.calls)
    assert 55 < sum(here.clock.slept_s) < 61


async def test_files_are_waited_for_however_little_the_counts_say():
    counts = dict.fromkeys(("total_requests", "succeeded_requests", "failed_requests"), 0)
    early = {**DONE, **counts, "output_file": None, "error_file": None}
    async with mistral(reply(early), reply(DONE), reply(ANSWERED), reply(REFUSED)) as here:
        rows = await here.rows()

    assert sorted(rows) == ["a", "b"]
    assert len(here.clock.slept_s) == 1


async def test_the_document_around_the_answers_is_given_back():
    made = []
    async with mistral(reply(INLINE), reply({**INLINE, "outputs": OUTPUTS})) as here:
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]
        async with here.provider.fetch_results(BATCH) as stream:
            rows = await stream
            held = [file.size for file in made if file.size]

    assert len(rows) == 2
    assert len(made) == 2
    assert len(held) == 1


async def test_patience_with_a_job_that_names_nothing_has_an_end():
    nothing = {**INLINE, "input_files": [INPUT]}
    async with mistral(reply(nothing)) as here:
        assert await here.rows() == {}

    assert 55 < sum(here.clock.slept_s) < 61


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"outputs":[', b'{"outputs":[]}', b"\xff", b"[]"])
async def test_an_answer_that_is_no_job_is_none_and_may_be_asked_for_again(body):
    async with mistral(reply({**INLINE, "status": "CANCELLED"}), reply(body)) as here:
        with pytest.raises(ProviderTransientError, match="something else than expected") as caught:
            await here.rows()

    assert caught.value.code == "foreign_answer"


async def test_answers_of_a_job_that_is_not_over_are_not_asked_for():
    async with mistral(reply({**CREATED, "status": "RUNNING"})) as here:
        with pytest.raises(ProviderTransientError, match="RUNNING"):
            await here.rows()

    assert here.calls == [f"GET {JOBS}/{BATCH}"]


@pytest.mark.parametrize("endpoint", [item.path for item in FACTS.endpoints])
async def test_every_endpoint_of_the_fact_sheet_takes_a_job(endpoint):
    async with mistral(b"") as here:
        submission = await here.prepare([{"model": MODEL, "a": 1}], mode=BatchMode.CUSTOM, endpoint=endpoint)

    assert json.loads(bytes(submission.payloads[0]))["body"] == {"model": MODEL, "a": 1}
    assert json.loads(encode_create(submission, FACTS))["endpoint"] == endpoint


# Keeping and deleting


@pytest.mark.parametrize(
    ("options", "hours"),
    [
        ({}, "168"),
        ({"timeout_hours": 168}, "312"),
        ({"input_expires_s": 90_000}, "25"),
        ({"input_expires_s": 93_599}, "25"),
        ({"input_expires_s": None}, None),
    ],
)
async def test_an_upload_asks_for_its_expiry_in_hours(options, hours):
    async with mistral(reply({**UPLOADED, "bytes": len(LINES)})) as here:
        sent = await here.provider.upload(await here.prepare(ROWS, options=options))
        (upload,) = here.server.asked

    asked = re.search(rb'name="expiry"\r\n\r\n(\d+)\r\n', upload.body)
    assert (asked[1].decode() if asked else None) == hours
    assert sent.input_expires_at == (None if hours is None else here.clock.now() + int(hours) * 3600)


async def test_an_upload_goes_when_the_service_says_so():
    async with mistral(reply({**UPLOADED, "bytes": len(LINES), "expires_at": 1763900000})) as here:
        sent = await here.provider.upload(await here.prepare(ROWS))

    assert sent.input_expires_at == 1763900000


async def test_an_input_that_would_go_before_the_jobs_time_is_over_is_refused():
    async with mistral(b"") as here:
        with pytest.raises(ConfigError, match="may take 259,200 s"):
            await here.prepare(ROWS, options={"timeout_hours": 72, "input_expires_s": 172_800})


def test_the_list_of_files_is_cut_by_number_and_leaves_out_what_is_no_jobs():
    other = {**UPLOADED, "id": "other", "purpose": "fine-tune"}
    body = json.dumps({"data": [UPLOADED, other], "object": "list", "total": 5}).encode()

    page = decode_files(body, page=0, size=2)
    last = decode_files(body, page=2, size=2)
    untold = decode_files(json.dumps({"data": [UPLOADED], "object": "list"}).encode(), page=0, size=2)

    assert [(file.ref, file.name, file.size, file.created_at) for file in page.files] == [
        (INPUT, "in.jsonl", 300, 1763800000)
    ]
    assert (page.cursor, last.cursor, untold.cursor) == ("1", None, None)
    assert decode_files(b'{"data":null}', page=0, size=2).files == ()


async def test_every_file_of_a_job_is_deleted_on_request():
    several = {**DONE, "input_files": [INPUT, "second"]}
    async with mistral(reply(several), *[reply({"deleted": True})] * 3, reply({"detail": "gone"}, 404)) as here:
        count = await here.provider.delete_artifacts(BATCH)

    assert count == 3, "one of them was gone before"
    assert here.calls[1:] == [f"DELETE /v1/files/{file}" for file in (INPUT, "second", OUTPUT, ERRORS)]


async def test_a_job_that_holds_everything_itself_is_deleted_with_what_it_holds():
    async with mistral(reply(INLINE), reply({"id": BATCH, "object": "batch", "deleted": True})) as here:
        count = await here.provider.delete_artifacts(BATCH)

    assert (count, here.calls[1:]) == (1, [f"DELETE {JOBS}/{BATCH}"])


@pytest.mark.parametrize("files", [[], [INPUT]])
async def test_a_job_that_runs_loses_nothing(files):
    async with mistral(reply({**CREATED, "input_files": files})) as here:
        with pytest.raises(ProviderTransientError, match="QUEUED") as caught:
            await here.provider.delete_artifacts(BATCH)

    assert caught.value.code == "not_ended"

    assert here.calls == [f"GET {JOBS}/{BATCH}"]


# The account


async def test_the_key_and_the_address_come_from_the_environment(monkeypatch):
    async with serve(reply(CREATED)) as server, BatchProviderRegistry().open() as scope:
        monkeypatch.setenv("MISTRAL_API_KEY", "key-of-env")
        monkeypatch.setenv("MISTRAL_BASE_URL", server.url)
        status = await scope.create("mistral").poll_status(BATCH)
        (asked,) = server.asked

    assert status.status is BatchStatus.QUEUED
    assert asked.headers["authorization"] == "Bearer key-of-env"
    assert asked.target == f"{JOBS}/{BATCH}"


def test_its_own_address_is_the_documented_one():
    assert (FACTS.base_url, FACTS.credentials.env) == ("https://api.mistral.ai", ("MISTRAL_API_KEY",))
