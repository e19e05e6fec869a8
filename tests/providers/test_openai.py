"""OpenAI: its samples, word for word as the service writes them, and what is special to it.

Source of the samples: openai/openai-openapi:openapi.yaml (Batch, OpenAIFile, per-line schemas of the branch `manual_spec`),
platform.openai.com/docs/guides/batch, and answers seen live by third parties; compared on 2026-11-22.
"""

import json

import msgspec
import pytest
from aioresponses import CallbackResult, aioresponses
from hypothesis import given
from hypothesis import strategies as st

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
    normalize_provider_status,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Fault, faults
from asyncbatch.enums import ErrorClass
from asyncbatch.providers._shapes.openai import (
    decode_files,
    decode_page,
    decode_status,
    encode_create,
    encode_upload,
    is_created,
)
from asyncbatch.providers._shapes.openai_lines import decode_line, decode_lines
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import JOB, statuses, world
from tests.transport.wire import answer, serve

FACTS = load_catalog().provider("openai")

CREATED = b"""{"id":"batch_68f0aa11bb22","object":"batch","endpoint":"/v1/chat/completions","model":"gpt-4.1-mini-2025-04-14",
"errors":null,"input_file_id":"file-Ab12Cd34Ef56","completion_window":"24h","status":"validating","output_file_id":null,
"error_file_id":null,"created_at":1795300010,"in_progress_at":null,"expires_at":1795386410,"finalizing_at":null,
"completed_at":null,"failed_at":null,"expired_at":null,"cancelling_at":null,"cancelled_at":null,"request_counts":{"total":0,
"completed":0,"failed":0},"usage":{"input_tokens":0,"input_tokens_details":{"cached_tokens":0},"output_tokens":0,
"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0},"metadata":{"asyncbatch_tag":"01JX0000"}}"""


def batch(**changes):
    """Give the sample with the fields that differ, as the guide shows each state."""
    return json.dumps({**json.loads(CREATED), **changes}).encode()


def row(line):
    return decode_line(line, format="openai.chat", facts=FACTS)


# A batch


def test_a_batch_that_was_just_created():
    status = decode_status(CREATED, FACTS)

    assert status.provider_batch_id == "batch_68f0aa11bb22"
    assert (status.status, status.raw_status) == (BatchStatus.VALIDATING, "validating")
    assert (status.created_at, status.expires_at, status.completed_at) == (1795300010, 1795386410, None)
    assert (status.endpoint, status.input_ref) == ("/v1/chat/completions", "file-Ab12Cd34Ef56")
    assert (status.progress.total, status.progress.done) == (0, 0)
    assert status.result_uris == status.errors == ()
    assert status.usage is None, "zeros until the batch is over: nothing is known yet"
    assert status.metadata == {"asyncbatch_tag": "01JX0000"}


def test_a_batch_that_runs_counts_what_is_done():
    counts = {"total": 100, "completed": 42, "failed": 1}
    status = decode_status(batch(status="in_progress", in_progress_at=1795300070, request_counts=counts), FACTS)

    assert status.status is BatchStatus.IN_PROGRESS
    assert (status.progress.total, status.progress.completed, status.progress.failed) == (100, 42, 1)
    assert status.progress.done == 43


def test_a_batch_that_is_complete_names_both_files_and_its_end():
    usage = {
        "input_tokens": 900,
        "input_tokens_details": {"cached_tokens": 100},
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 50},
        "total_tokens": 1100,
    }
    status = decode_status(
        batch(
            status="completed",
            completed_at=1795301030,
            output_file_id="file-out1",
            error_file_id="file-err1",
            request_counts={"total": 100, "completed": 98, "failed": 2},
            usage=usage,
        ),
        FACTS,
    )

    assert status.status is BatchStatus.COMPLETED
    assert status.result_uris == ("file-out1", "file-err1")
    assert status.completed_at == 1795301030
    assert status.results_expire_at == 1795301030 + 30 * 86_400
    assert status.usage == UsageInfo(
        prompt_tokens=900,
        completion_tokens=200,
        total_tokens=1100,
        cache_read_input_tokens=100,
        reasoning_tokens=50,
    )


def test_a_batch_in_which_every_row_failed_names_one_file():
    counts = {"total": 2, "completed": 0, "failed": 2}
    status = decode_status(
        batch(status="completed", completed_at=1795301030, error_file_id="file-err1", request_counts=counts), FACTS
    )

    assert (status.status, status.result_uris) == (BatchStatus.COMPLETED, ("file-err1",))


def test_a_batch_that_failed_validation_says_where():
    item = {
        "code": "invalid_json_line",
        "message": "This line is not parseable as valid JSON.",
        "param": None,
        "line": 3,
    }
    status = decode_status(
        batch(status="failed", failed_at=1795300050, errors={"object": "list", "data": [item]}), FACTS
    )

    assert status.status is BatchStatus.FAILED
    assert status.error_message == "This line is not parseable as valid JSON."
    assert [(error.code, error.line, error.param) for error in status.errors] == [("invalid_json_line", 3, None)]
    assert status.completed_at == 1795300050


@pytest.mark.parametrize(
    ("changes", "expected", "ended_at"),
    [
        ({"status": "finalizing", "finalizing_at": 1795301000}, BatchStatus.FINALIZING, None),
        ({"status": "expired", "expired_at": 1795386500}, BatchStatus.EXPIRED, 1795386500),
        ({"status": "cancelling", "cancelling_at": 1795300500}, BatchStatus.CANCELLING, None),
        ({"status": "cancelled", "cancelled_at": 1795300800}, BatchStatus.CANCELLED, 1795300800),
        ({"status": "a new word"}, BatchStatus.UNKNOWN, None),
    ],
)
def test_every_state_of_the_guide_is_read(changes, expected, ended_at):
    status = decode_status(batch(**changes), FACTS)

    assert (status.status, status.completed_at) == (expected, ended_at)


@pytest.mark.parametrize(
    "absent", ["model", "errors", "output_file_id", "request_counts", "usage", "metadata", "expires_at", "object"]
)
@pytest.mark.parametrize("how", ["null", "absent"])
def test_a_field_that_is_null_or_absent_is_no_error(absent, how):
    fields = json.loads(CREATED)
    if how == "null":
        fields[absent] = None
    else:
        del fields[absent]

    assert decode_status(json.dumps(fields).encode(), FACTS).provider_batch_id == "batch_68f0aa11bb22"


def test_fields_that_nobody_documented_are_no_error():
    assert decode_status(batch(novelty={"a": [1]}, errors={"object": "list", "data": None}), FACTS).errors == ()


@pytest.mark.parametrize("field", ["id", "status"])
def test_a_batch_without_a_name_or_a_state_is_none(field):
    with pytest.raises(msgspec.DecodeError):
        decode_status(batch(**{field: None}), FACTS)


@pytest.mark.parametrize("status", sorted(FACTS.status))
def test_a_status_is_read_in_any_case(status):
    assert (
        normalize_provider_status("openai", status.upper()) is FACTS.normalize_status(status) is not BatchStatus.UNKNOWN
    )


def test_a_page_gives_its_batches_and_where_to_go_on():
    page = decode_page(
        b'{"object":"list","data":[' + CREATED + b'],"first_id":"x","last_id":"batch_68f0aa11bb22","has_more":true}',
        FACTS,
    )

    assert [status.provider_batch_id for status in page.statuses] == ["batch_68f0aa11bb22"]
    assert page.cursor == "batch_68f0aa11bb22"


@pytest.mark.parametrize(
    ("end", "cursor"),
    [
        (b'"has_more":false,"last_id":"batch_9"', None),
        (b'"has_more":true,"last_id":null', "batch_68f0aa11bb22"),
        (b'"has_more":null', None),
    ],
)
def test_the_last_page_has_no_cursor_and_one_without_a_last_id_goes_on_after_its_last_batch(end, cursor):
    assert decode_page(b'{"data":[' + CREATED + b"]," + end + b"}", FACTS).cursor == cursor


# A row


ANSWERED = (
    b'{"id":"batch_req_68f0c1","custom_id":"row-0001","response":{"status_code":200,"request_id":"req_7f1","body":{'
    b'"id":"chatcmpl-9a","object":"chat.completion","created":1795300500,"model":"gpt-4.1-mini-2025-04-14","choices":[{'
    b'"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}},"error":null}'
)
REFUSED = (
    b'{"id":"batch_req_68f0c2","custom_id":"row-0002","response":{"status_code":400,"request_id":"req_7f2","body":{"error":{'
    b'"message":"Unsupported parameter: \'foo\'.","type":"invalid_request_error","param":"foo",'
    b'"code":"unsupported_parameter"}}},"error":null}'
)
EXPIRED = (
    b'{"id":"batch_req_68f0c3","custom_id":"row-0003","response":null,"error":{"code":"batch_expired",'
    b'"message":"This request could not be executed before the completion window expired."}}'
)
CANCELLED = (
    b'{"id":"batch_req_68f0c4","custom_id":"row-0004","response":null,"error":{"code":"batch_cancelled",'
    b'"message":"This request was cancelled."}}'
)


def test_a_row_with_an_answer():
    answered = row(ANSWERED)

    assert (answered.request_id, answered.status, answered.error) == ("row-0001", ResultStatus.SUCCEEDED, None)
    assert (answered.text, answered.format) == ("hi", "openai.chat")
    assert answered.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)
    assert answered.response["id"] == "chatcmpl-9a"
    assert answered.metadata == {"provider_request_id": "req_7f1"}, "the service's name for the call, not our id"


def test_the_body_of_a_row_is_the_bytes_that_came_and_keeps_nothing_else_alive():
    body = row(ANSWERED).body

    assert bytes(body) == ANSWERED[ANSWERED.index(b'{"id":"chatcmpl') : ANSWERED.rindex(b'},"error"')]


def test_a_row_that_the_service_answered_with_an_error():
    refused = row(REFUSED)

    assert (refused.request_id, refused.status) == ("row-0002", ResultStatus.ERRORED)
    assert (refused.error.code, refused.error.status) == ("unsupported_parameter", 400)
    assert refused.error.message == "Unsupported parameter: 'foo'."
    assert refused.error.retryable is False
    assert refused.text is None


@pytest.mark.parametrize(
    ("line", "status", "code", "retryable"),
    [
        (EXPIRED, ResultStatus.EXPIRED, "batch_expired", True),
        (CANCELLED, ResultStatus.CANCELLED, "batch_cancelled", False),
        (EXPIRED.replace(b"batch_expired", b"model_not_found"), ResultStatus.ERRORED, "model_not_found", False),
        (
            EXPIRED.replace(b"batch_expired", b"token_limit_exceeded"),
            ResultStatus.ERRORED,
            "token_limit_exceeded",
            True,
        ),
    ],
)
def test_a_row_that_never_ran_says_why(line, status, code, retryable):
    never = row(line)

    assert (never.status, never.error.code, never.error.retryable) == (status, code, retryable)
    assert not never.body


@pytest.mark.parametrize(
    ("status_code", "retryable"),
    [(408, True), (409, True), (429, True), (500, True), (503, True), (401, False), (404, False)],
)
def test_whether_a_row_is_worth_another_try_stands_in_the_table(status_code, retryable):
    line = REFUSED.replace(b'"status_code":400', b'"status_code":%d' % status_code)

    assert row(line).error.retryable is retryable


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":"just words"}', "http_400", "just words"),
        (b'{"error":null}', "http_400", ""),
        (b'{"error":{"code":17,"message":null}}', "17", ""),
        (b'"text"', "http_400", '"text"'),
        (b"[]", "http_400", "[]"),
    ],
)
def test_an_error_body_of_another_shape_is_read_as_far_as_it_goes(body, code, message):
    line = b'{"custom_id":"a","response":{"status_code":400,"body":' + body + b"}}"

    assert (row(line).error.code, row(line).error.message) == (code, message)


@pytest.mark.parametrize("status_code", [200, 400])
def test_no_depth_of_nesting_raises(status_code):
    ends = set()
    for depth in (10, 500, *range(850, 1100, 10), 100_000):
        deep = b"[" * depth + b"]" * depth
        body = b'{"error":{"code":"deep","message":%b},"usage":%b}' % (deep, deep)
        line = b'{"custom_id":"a","response":{"status_code":%d,"body":%b}}' % (status_code, body)
        ends.add(row(line).status)

    assert ends <= {ResultStatus.ERRORED, ResultStatus.SUCCEEDED, ResultStatus.UNDECODABLE}
    assert len(ends) == 2, "shallow ones are read, deep ones are kept as they are"


@pytest.mark.parametrize("body", [b"null", None], ids=["null", "absent"])
def test_a_success_without_an_answer_is_none(body):
    line = b'{"custom_id":"a","response":{"status_code":200%b}}' % (b',"body":' + body if body else b"")
    empty = row(line)

    assert (empty.status, empty.error.code) == (ResultStatus.ERRORED, "http_200")


UNREADABLE = {
    "no JSON": (b"{", ""),
    "half a line": (ANSWERED[:100], "row-0001"),
    "no UTF-8": (ANSWERED.replace(b'"hi"', b'"\xff"'), "row-0001"),
    "no id": (ANSWERED.replace(b"custom_id", b"customer_id"), ""),
    "an id that is no text": (ANSWERED.replace(b'"row-0001"', b"17"), ""),
    "neither response nor error": (b'{"custom_id":"row-0001","response":null,"error":null}', "row-0001"),
    "a number too large": (ANSWERED.replace(b'"status_code":200', b'"status_code":' + b"9" * 5000), "row-0001"),
    "a list": (b'["custom_id"]', ""),
    "not a number": (ANSWERED.replace(b'"status_code":200', b'"status_code":NaN'), "row-0001"),
    "deep nesting": (b'{"custom_id":"row-0001","response":' + b"[" * 100_000, "row-0001"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_line_that_cannot_be_read_keeps_its_bytes_and_its_id_where_there_is_one(what):
    line, request_id = UNREADABLE[what]
    broken = row(line)

    assert (broken.request_id, broken.status) == (request_id, ResultStatus.UNDECODABLE)
    assert bytes(broken.body) == line
    assert broken.error.code == "undecodable"
    assert broken.error.retryable is False


def test_a_line_cut_anywhere_never_raises_and_never_succeeds():
    found = [row(ANSWERED[:at]).status for at in range(len(ANSWERED))]

    assert set(found) == {ResultStatus.UNDECODABLE}


# A create


async def submission_of(**options):
    provider = OpenAIBatchProvider({"api_key": "sk-test"})
    (submission,) = await provider.prepare_payloads(
        batch_id=JOB, model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=["hello"], **options
    )
    return submission.replace(input_ref="file-Ab12Cd34Ef56")


async def test_a_create_names_input_endpoint_window_and_tag():
    submission = (await submission_of()).replace(tag="ab1-job-0-1-cafe")

    assert json.loads(encode_create(submission, FACTS)) == {
        "input_file_id": "file-Ab12Cd34Ef56",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"asyncbatch_tag": "ab1-job-0-1-cafe"},
    }


async def test_a_create_without_a_tag_has_no_metadata_and_further_words_go_along():
    expiry = {"output_expires_after": {"anchor": "created_at", "seconds": 3600}}
    body = json.loads(encode_create(await submission_of(options=expiry), FACTS))

    assert "metadata" not in body
    assert body["output_expires_after"] == {"anchor": "created_at", "seconds": 3600}


async def test_an_expiry_of_answers_is_asked_for_in_the_services_words():
    body = json.loads(encode_create(await submission_of(options={"output_expires_s": 7200}), FACTS))

    assert body["output_expires_after"] == {"anchor": "created_at", "seconds": 7200}
    assert "output_expires_s" not in body
    with pytest.raises(ConfigError, match="say the same thing"):
        await submission_of(options={"output_expires_s": 7200, "output_expires_after": {}})


def test_an_upload_asks_for_its_expiry_in_brackets():
    assert encode_upload("in.jsonl", None, FACTS) == {"purpose": "batch"}
    assert encode_upload("in.jsonl", 7200, FACTS) == {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "7200",
    }


def test_the_list_of_files_leaves_out_what_is_no_batchs():
    page = decode_files(
        b'{"object":"list","has_more":true,"data":['
        b'{"id":"file-1","object":"file","bytes":140321,"created_at":1795300000,"expires_at":1797892000,'
        b'"filename":"in.jsonl","purpose":"batch","status":"processed","status_details":null},'
        b'{"id":"file-2","object":"file","purpose":"batch_output","expires_at":null},'
        b'{"id":"file-3","object":"file"},'
        b'{"id":"file-4","object":"file","purpose":"fine-tune"}]}',
        FACTS,
    )

    assert [file.ref for file in page.files] == ["file-1", "file-2", "file-3"]
    assert page.cursor == "file-4"
    first = page.files[0]
    assert (first.name, first.size, first.created_at, first.expires_at) == ("in.jsonl", 140321, 1795300000, 1797892000)


def test_an_empty_list_of_files_has_no_next_page():
    page = decode_files(b'{"object":"list","data":[],"has_more":true}', FACTS)

    assert (page.files, page.cursor) == ((), None)


@pytest.mark.parametrize(("told", "expires_at"), [("1797892000", 1797892000.0), ("null", 1795300000.0 + 7 * 86_400)])
async def test_an_upload_is_kept_as_long_as_the_service_says_or_else_as_it_was_asked(told, expires_at):
    file = f'{{"id":"file-1","created_at":1795300000,"expires_at":{told}}}'.encode()
    config, runtime = {"api_key": "sk-test"}, virtual_runtime(VirtualClock(1795300000.0))
    async with serve(answer(file)) as server, BatchProviderRegistry().open(runtime=runtime) as scope:
        provider = scope.create("openai", {**config, "base_url": server.url})
        (submission,) = await provider.prepare_payloads(
            batch_id=JOB, model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=["hello"]
        )
        sent = await provider.upload(submission)

    assert (sent.input_ref, sent.input_expires_at) == ("file-1", expires_at)


async def test_the_callers_metadata_cannot_take_the_place_of_our_tag():
    options = {"metadata": {"asyncbatch_tag": "forged", "team": "blue"}}
    submission = (await submission_of(options=options)).replace(tag="real")

    assert json.loads(encode_create(submission, FACTS))["metadata"] == {"asyncbatch_tag": "real", "team": "blue"}
    assert submission.options["metadata"]["asyncbatch_tag"] == "forged", "what the caller handed in is not changed"


async def test_an_answer_to_a_create_is_ours_if_it_is_a_batch_of_our_input():
    submission = await submission_of()

    assert is_created(CREATED, submission, FACTS)
    assert not is_created(batch(input_file_id="file-other"), submission, FACTS)
    assert not is_created(batch(object="file"), submission, FACTS)
    assert not is_created(batch(id=""), submission, FACTS)
    assert not is_created(b"", submission, FACTS)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({f"k{n}": "v" for n in range(16)}, "16 pairs; 15 are free"),
        ({"k" * 65: "v"}, "64 characters"),
        ({"k": "v" * 513}, "512"),
        ({"k": 7}, "not a mapping of texts"),
        (["k"], "not a mapping of texts"),
    ],
    ids=["pairs", "key", "value", "number", "list"],
)
async def test_metadata_that_the_service_would_refuse_is_refused_before_anything_is_sent(metadata, says):
    with pytest.raises(ConfigError, match=says) as caught:
        await submission_of(options={"metadata": metadata})

    assert caught.value.code == "bad_metadata"


def test_metadata_at_its_limits_is_fine():
    provider = OpenAIBatchProvider({"api_key": "sk-test"})
    for metadata in ({f"{n:064d}": "v" * 512 for n in range(15)}, None, {}):
        provider.check_metadata(metadata)


# Rows that the service would refuse the whole file for


@pytest.mark.parametrize(
    ("request_", "mode", "code"),
    [
        ({"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}, BatchMode.CHAT, "mixed_models"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": True}, BatchMode.CHAT, "streaming"),
        ({"prompt": "x"}, BatchMode.CHAT, "missing_field"),
        ({"messages": "x"}, BatchMode.CHAT, "wrong_type"),
        ({"custom_id": "a\n", "body": {"messages": [{}]}}, BatchMode.CHAT, "bad_id"),
        ({"custom_id": "", "body": {"messages": [{}]}}, BatchMode.CHAT, "bad_id"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": {"messages": [{}]}}, BatchMode.CHAT, "bad_url"),
        ({"custom_id": "a", "method": "GET", "body": {"messages": [{}]}}, BatchMode.CHAT, "bad_method"),
    ],
)
async def test_a_row_that_would_void_the_file_is_named_before_anything_is_sent(request_, mode, code):
    provider = OpenAIBatchProvider({"api_key": "sk-test"})
    with pytest.raises(InvalidRequestsError) as caught:
        await provider.prepare_payloads(batch_id=JOB, model="gpt-4.1-mini", mode=mode, requests=["fine", request_])

    (problem,) = caught.value.problems
    assert (problem.row, problem.code) == (1, code)


async def test_an_id_used_twice_is_refused_by_name():
    body = {"messages": [{"role": "user", "content": "x"}]}
    provider = OpenAIBatchProvider({"api_key": "sk-test"})
    with pytest.raises(InvalidRequestsError, match=r"row 2 \('same'\): .*used before, by row 0"):
        await provider.prepare_payloads(
            batch_id=JOB,
            model="gpt-4.1-mini",
            mode=BatchMode.CHAT,
            requests=[{"custom_id": name, "body": body} for name in ("same", "other", "same")],
        )


async def test_a_file_holds_no_more_embeddings_than_the_service_takes_however_they_are_spread_over_rows():
    facts = {"limits": {"embedding_inputs": 10}}
    async with world("openai", facts=facts, limits={"embedding_inputs": 10}) as here:
        submissions = await here.prepare([{"input": ["a"] * 4}] * 5, mode=BatchMode.EMBEDDING)
        ends = [await here.end((await here.provider.submit(item)).provider_batch_id) for item in submissions]
        with pytest.raises(InvalidRequestsError, match="11 inputs; a batch may have 10"):
            await here.prepare([{"input": ["a"] * 11}], mode=BatchMode.EMBEDDING)

    assert [submission.request_count for submission in submissions] == [2, 2, 1]
    assert {end.status for end in ends} == {BatchStatus.COMPLETED}


# Errors: the table


@pytest.mark.parametrize(
    ("status", "code", "kind", "expected"),
    [
        (429, "rate_limit_exceeded", "requests", ErrorClass.TRANSIENT),
        (429, "insufficient_quota", "insufficient_quota", ErrorClass.PERMANENT),
        (429, None, "insufficient_quota", ErrorClass.PERMANENT),
        (400, "billing_hard_limit_reached", "invalid_request_error", ErrorClass.PERMANENT),
        (500, "billing_hard_limit_reached", None, ErrorClass.PERMANENT),
        (408, None, None, ErrorClass.TRANSIENT),
        (409, None, None, ErrorClass.TRANSIENT),
        (503, None, None, ErrorClass.TRANSIENT),
        (401, "invalid_api_key", "invalid_request_error", ErrorClass.PERMANENT),
        (404, None, "invalid_request_error", ErrorClass.PERMANENT),
        (413, None, None, ErrorClass.PERMANENT),
    ],
)
def test_an_error_has_the_class_of_the_table(status, code, kind, expected):
    assert FACTS.classify(status, code, kind) is expected


async def test_an_empty_purse_is_not_asked_again_though_it_is_a_429():
    broke = faults.refuse(429, code="insufficient_quota", path="/files", method="POST")
    async with world("openai", faults=[broke]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.start(["a"])

    assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
    assert here.clock.slept_s == []


async def test_a_full_queue_kills_the_batch_and_leaves_the_work_to_be_sent_again():
    async with world("openai", faults=[faults.full_queue(after_s=120)]) as here:
        status, rows = await here.run(["a"])
        again = here.provider.classify_error(status.errors[0].code)

    assert (status.status, status.errors[0].code) == (BatchStatus.FAILED, "token_limit_exceeded")
    assert again is ErrorClass.LATER
    assert rows == []


def test_a_code_that_nobody_knows_is_permanent():
    provider = OpenAIBatchProvider({"api_key": "sk-test"})

    assert provider.classify_error("a_new_code") is ErrorClass.PERMANENT
    assert provider.classify_error(None) is ErrorClass.PERMANENT


# The control plane, call by call

BASE = "https://api.openai.com/v1"


@pytest.fixture
def server():
    with aioresponses() as server:
        yield server


async def test_calls_go_to_the_documented_address_with_the_documented_headers(server):
    seen = []

    def note(url, **request):
        seen.append((str(url), dict(request["headers"])))
        return CallbackResult(body=CREATED)

    server.get(f"{BASE}/batches/batch_68f0aa11bb22", callback=note)
    config = {"api_key": "sk-test", "organization": "org-1", "project": "proj_1"}
    async with OpenAIBatchProvider(config) as provider:
        await provider.poll_status("batch_68f0aa11bb22")

    ((url, headers),) = seen
    assert url == f"{BASE}/batches/batch_68f0aa11bb22"
    assert headers["authorization"] == "Bearer sk-test"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj_1"


async def test_key_organization_project_and_address_may_come_from_the_environment(server, monkeypatch):
    seen = []

    def note(url, **request):
        seen.append(dict(request["headers"]))
        return CallbackResult(body=CREATED)

    server.get("https://gateway.example/v1/batches/batch_68f0aa11bb22", callback=note)
    for name, value in {
        "OPENAI_API_KEY": "sk-env",
        "OPENAI_ORG_ID": "org-env",
        "OPENAI_PROJECT_ID": "proj-env",
        "OPENAI_BASE_URL": "https://gateway.example/v1/",
    }.items():
        monkeypatch.setenv(name, value)
    async with OpenAIBatchProvider() as provider:
        await provider.poll_status("batch_68f0aa11bb22")

    (headers,) = seen
    assert headers["authorization"] == "Bearer sk-env"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-env", "proj-env")


async def test_an_argument_comes_over_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    server.post("https://own.example/v1/batches/batch_1/cancel", body=batch(status="cancelling"))
    async with OpenAIBatchProvider({"api_key": "sk-own", "base_url": "https://own.example/v1"}) as provider:
        status = await provider.cancel("batch_1")

    assert status.status is BatchStatus.CANCELLING


async def test_the_messages_seen_from_live_traffic_become_ours(server):
    missing = {
        "error": {
            "message": "No batch found with id 'batch_x'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }
    refused = {
        "error": {
            "message": "Incorrect API key provided: sk-abcdefghijkl.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    server.get(f"{BASE}/batches/batch_x", status=404, payload=missing, headers={"x-request-id": "req_1"})
    server.get(f"{BASE}/batches/batch_x", status=401, payload=refused)
    async with OpenAIBatchProvider({"api_key": "sk-test"}) as provider:
        with pytest.raises(ProviderPermanentError, match="No batch found with id 'batch_x'") as first:
            await provider.poll_status("batch_x")
        with pytest.raises(ProviderPermanentError, match="check the key: OPENAI_API_KEY") as second:
            await provider.poll_status("batch_x")

    assert (first.value.status, first.value.request_id) == (404, "req_1")
    assert (second.value.status, second.value.code) == (401, "invalid_api_key")
    assert "abcdefghijkl" not in str(second.value)


async def test_a_poll_that_is_throttled_says_for_how_long(server):
    body = {
        "error": {"message": "Rate limit reached", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    }
    server.get(f"{BASE}/batches/batch_x", status=429, payload=body, headers={"retry-after-ms": "2500"})
    async with OpenAIBatchProvider({"api_key": "sk-test"}) as provider:
        with pytest.raises(ProviderTransientError) as caught:
            await provider.poll_status("batch_x")

    assert caught.value.retry_after == 2.5


async def test_a_create_that_times_out_in_the_client_is_unknown(server):
    server.post(f"{BASE}/batches", exception=TimeoutError())
    submission = await submission_of()
    async with OpenAIBatchProvider({"api_key": "sk-test"}) as provider:
        with pytest.raises(SubmissionUnknownError, match="in time"):
            await provider.create(submission)


# Results of two files


async def test_rows_come_from_both_files_in_every_end():
    async with world("openai", pace={"row_s": 10_000.0, "run_cap_s": None}) as here:
        batch_ = await here.start(["a", "[[error:400]]", "c", "d", "e", "f", "g", "h", "i", "j"])
        here.clock.advance(35_000)
        await here.provider.cancel(batch_.provider_batch_id)
        status = await here.end(batch_.provider_batch_id)
        rows = await here.rows(batch_.provider_batch_id)
        fetched = here.calls("results")

    assert status.status is BatchStatus.CANCELLED
    assert len(status.result_uris) == len(fetched) == 2
    assert sorted(statuses(rows).values()) == ["cancelled"] * 7 + ["errored"] + ["succeeded"] * 2


async def test_an_empty_name_of_a_file_means_the_same_as_none():
    empty = Fault(
        effect=faults.Rewrite(fields={"error_file_id": ""}), operation="poll", times=None, where={"error_file_id": None}
    )
    async with world("openai", faults=[empty]) as here:
        status, rows = await here.run(["a"])

    assert len(status.result_uris) == 1
    assert statuses(rows) == {"0000000": "succeeded"}
    assert here.clock.slept_s == []


async def test_a_lost_create_is_found_by_its_input_where_no_tag_was_set():
    async with world("openai", faults=[faults.accept_then_error(500)]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert created == [match.provider_batch_id]
    assert (match.why, match.is_certain) == ("input", True)


async def test_a_batch_that_the_service_fails_names_the_line_and_the_reason():
    async with world("openai", limits={"rows": 5}) as here:
        status, rows = await here.run([f"prompt {n}" for n in range(6)])

    assert status.status is BatchStatus.FAILED
    assert [(error.code, error.line) for error in status.errors] == [("too_many_tasks", 6)]
    assert rows == []


async def test_a_batch_that_runs_keeps_its_input():
    async with world("openai") as here:
        batch_ = await here.start(["a"])
        with pytest.raises(ProviderTransientError, match="validating") as caught:
            await here.provider.delete_artifacts(batch_.provider_batch_id)

    assert caught.value.code == "not_ended"
    assert here.accepted("delete") == []


async def test_deleting_a_batchs_files_takes_input_and_both_of_its_answers():
    async with world("openai") as here:
        batch_ = await here.start(["a", "[[error:400]]"])
        await here.end(batch_.provider_batch_id)
        counts = [await here.provider.delete_artifacts(batch_.provider_batch_id) for _ in range(2)]

    assert counts == [3, 0]
    assert len(here.accepted("delete")) == 3


# Many lines at once


SUCCESS = (
    b'{"custom_id":"a","response":{"status_code":200,"request_id":"req_1","body":{"choices":[],"usage":{"prompt_tokens":3}}},'
    b'"error":null}'
)
LINES = st.sampled_from(
    [
        SUCCESS,
        SUCCESS.replace(b"200", b"429"),
        SUCCESS.replace(b'{"choices":[],"usage":{"prompt_tokens":3}}', b"null"),
        SUCCESS.replace(b'{"choices":[],"usage":{"prompt_tokens":3}}', b'"no object"'),
        SUCCESS.replace(b'"choices":[]', b'"choices":["\xc3\xa9"]'),
        SUCCESS.replace(b'"choices":[]', b'"choices":["\xff"]'),
        SUCCESS[:50],
        b'{"custom_id":"b","response":null,"error":{"code":"batch_expired","message":"late"}}',
        b'{"custom_id":"c"}',
        b"<html>",
    ]
)


@given(st.lists(st.just(SUCCESS) | LINES, max_size=6))
def test_many_lines_become_the_rows_that_each_becomes(lines):
    assert decode_lines(lines, format="openai.chat", facts=FACTS) == [row(line) for line in lines]


def test_a_provider_that_remakes_its_lines_sees_each_of_them():
    class Remaking(OpenAIBatchProvider):
        def encode_line(self, wire_id, body, endpoint, *, is_inline):
            return super().encode_line(wire_id, body.upper(), endpoint, is_inline=is_inline)

    assert OpenAIBatchProvider(config={"api_key": "k"}).line_frame("/v1/x", is_inline=False) is not None
    assert Remaking(config={"api_key": "k"}).line_frame("/v1/x", is_inline=False) is None
