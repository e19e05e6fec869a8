"""Anthropic: its samples as the service documents them, and what is special to it, over real HTTP.

Source of the samples: the official SDK's types (anthropic 2.14) and platform.claude.com/docs (batch processing, errors),
compared on 2026-11-25.
"""

import json
from contextlib import asynccontextmanager
from typing import NamedTuple

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
    SubmitSafety,
    UsageInfo,
    normalize_provider_status,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import faults
from asyncbatch.enums import ErrorClass
from asyncbatch.providers.anthropic_provider import decode_line, decode_page, decode_status, is_created
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import DAY_S, JOB, statuses, world
from tests.transport.wire import KEY, Server, answer, hang_up, serve

FACTS = load_catalog().provider("anthropic")
MODEL = "claude-haiku-4-5"
ID = "msgbatch_01ExampleAAAAAAAAAAAAAAAA"
BATCHES = "/v1/messages/batches"
ONE = f"{BATCHES}/{ID}"
RESULTS = f"{ONE}/results"
CREATED_AT = 1_795_341_600.123456
"""2026-11-22T10:00:00.123456Z"""

CREATED = b"""{"id":"msgbatch_01ExampleAAAAAAAAAAAAAAAA","type":"message_batch","processing_status":"in_progress",
"request_counts":{"processing":2,"succeeded":0,"errored":0,"canceled":0,"expired":0},"ended_at":null,
"created_at":"2026-11-22T10:00:00.123456Z","expires_at":"2026-11-23T10:00:00.123456Z","cancel_initiated_at":null,
"archived_at":null,"results_url":null}"""


def counts(**changes):
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0} | changes


def batch(**changes):
    """Give the sample with the fields that differ."""
    return json.dumps({**json.loads(CREATED), **changes}).encode()


def ended(**changes):
    end = {"processing_status": "ended", "ended_at": "2026-11-22T10:20:00Z"}
    return batch(**{**end, "results_url": f"https://api.anthropic.com{RESULTS}", **changes})


def read(body):
    return decode_status(body, FACTS)


def row(line):
    return decode_line(line, facts=FACTS)


# A batch


def test_a_batch_that_was_just_created():
    status = read(CREATED)

    assert status.provider_batch_id == ID
    assert (status.status, status.raw_status) == (BatchStatus.IN_PROGRESS, "in_progress")
    assert status.created_at == pytest.approx(CREATED_AT, abs=1e-5)
    assert status.expires_at == pytest.approx(CREATED_AT + DAY_S, abs=1e-5)
    assert status.completed_at is None
    assert (status.progress.total, status.progress.done) == (2, 0)
    assert (status.endpoint, status.result_uris, status.metadata) == ("/v1/messages", (), {})


def test_answers_are_kept_for_29_days_from_the_creation_not_from_the_end():
    for body in (CREATED, ended(request_counts=counts(succeeded=2))):
        assert read(body).results_expire_at == pytest.approx(CREATED_AT + 29 * DAY_S, abs=1e-5)

    assert read(batch(created_at=None)).results_expire_at is None


def test_a_batch_that_has_ended_counts_its_rows_and_names_its_answers():
    status = read(ended(request_counts=counts(succeeded=1, errored=2, canceled=3, expired=4)))

    assert status.completed_at == 1_795_342_800
    assert (status.progress.total, status.progress.completed, status.progress.failed) == (10, 1, 9)
    assert status.result_uris == (RESULTS,)


ASKED_TO_STOP = {"cancel_initiated_at": "2026-11-22T10:05:00.000001Z"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"request_counts": counts(succeeded=2)}, BatchStatus.COMPLETED),
        ({"request_counts": counts(succeeded=1, errored=1, canceled=1, expired=1)}, BatchStatus.COMPLETED),
        ({"request_counts": counts(succeeded=1, canceled=1), **ASKED_TO_STOP}, BatchStatus.COMPLETED),
        ({"request_counts": counts(errored=2)}, BatchStatus.COMPLETED),
        ({"request_counts": counts(errored=1, expired=1)}, BatchStatus.COMPLETED),
        ({"request_counts": counts(canceled=2)}, BatchStatus.CANCELLED),
        ({"request_counts": counts(canceled=2), **ASKED_TO_STOP}, BatchStatus.CANCELLED),
        ({"request_counts": counts(canceled=1, expired=1), **ASKED_TO_STOP}, BatchStatus.CANCELLED),
        ({"request_counts": counts(errored=2), **ASKED_TO_STOP}, BatchStatus.CANCELLED),
        ({"request_counts": counts(canceled=1, expired=1)}, BatchStatus.EXPIRED),
        ({"request_counts": counts(expired=2)}, BatchStatus.EXPIRED),
        ({"request_counts": None}, BatchStatus.COMPLETED),
    ],
)
def test_an_end_is_told_apart_by_its_counts_and_keeps_the_services_word(changes, expected):
    status = read(ended(**changes))

    assert (status.status, status.raw_status) == (expected, "ended")
    assert status.status.is_terminal


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("canceling", BatchStatus.CANCELLING),
        ("IN_PROGRESS", BatchStatus.IN_PROGRESS),
        ("Ended", BatchStatus.EXPIRED),
        ("pausing", BatchStatus.UNKNOWN),
    ],
)
def test_a_status_is_read_in_any_case_and_a_new_word_is_no_end(word, expected):
    status = read(batch(processing_status=word, request_counts=counts(expired=2)))

    assert (status.status, status.raw_status) == (expected, word)


def test_the_word_alone_says_that_a_batch_is_over():
    assert normalize_provider_status("anthropic", "ended").is_terminal


def test_archived_answers_are_named_no_more():
    status = read(ended(request_counts=counts(succeeded=2), archived_at="2026-12-21T10:00:00Z"))

    assert (status.status, status.result_uris) == (BatchStatus.COMPLETED, ())
    assert status.metadata["archived_at"] == 1_797_847_200


@pytest.mark.parametrize("absent", sorted(json.loads(CREATED).keys() - {"id", "processing_status"}))
@pytest.mark.parametrize("how", ["null", "absent", "strange"])
def test_a_field_that_is_null_absent_or_strange_is_no_error(absent, how):
    fields = json.loads(CREATED)
    fields[absent] = None if how == "null" else ["strange"]
    if how == "absent":
        del fields[absent]

    assert read(json.dumps(fields).encode()).provider_batch_id == ID


@pytest.mark.parametrize(
    ("given", "total"),
    [
        ({"processing": "2", "succeeded": None}, 2),
        ({"processing": 2.0, "errored": -1, "canceled": [], "expired": "many"}, 2),
        ({}, 0),
        ([], 0),
        ("2", 0),
    ],
)
def test_counts_are_read_as_far_as_they_go(given, total):
    assert read(batch(request_counts=given)).progress.total == total


@pytest.mark.parametrize("field", ["id", "processing_status"])
def test_a_batch_without_a_name_or_a_state_is_none(field):
    with pytest.raises(msgspec.DecodeError):
        read(batch(**{field: None}))


@pytest.mark.parametrize(
    ("end", "cursor"),
    [
        (b'"has_more":true,"first_id":"x","last_id":"msgbatch_9"', "msgbatch_9"),
        (b'"has_more":true,"last_id":null', ID),
        (b'"has_more":false,"first_id":null,"last_id":"msgbatch_9"', None),
        (b'"has_more":null', None),
    ],
)
def test_a_page_gives_its_batches_and_where_to_go_on(end, cursor):
    page = decode_page(b'{"data":[' + CREATED + b"]," + end + b"}", FACTS)

    assert [status.provider_batch_id for status in page.statuses] == [ID]
    assert page.cursor == cursor


def test_an_answer_to_a_create_is_a_batch_with_a_name():
    assert is_created(CREATED)
    assert not is_created(batch(id=""))
    assert not is_created(batch(type="message"))
    assert not is_created(b'{"type":"message_batch"}')
    assert not is_created(b"")


# A row

SUCCEEDED = (
    b'{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg_01Ex","type":"message","role":"assistant",'
    b'"model":"claude-haiku-4-5-20251001","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn",'
    b'"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":2,'
    b'"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":0},"output_tokens":4,'
    b'"service_tier":"batch"}}}}'
)
ERRORED = (
    b'{"custom_id":"b","result":{"type":"errored","error":{"type":"error","error":{"details":null,'
    b'"type":"invalid_request_error","message":"messages: Field required"},"request_id":null}}}'
)
CANCELED = b'{"custom_id":"c","result":{"type":"canceled"}}'
EXPIRED = b'{"custom_id":"d","result":{"type":"expired"}}'


def test_a_row_with_an_answer():
    answered = row(SUCCEEDED)

    assert (answered.request_id, answered.status, answered.error) == ("a", ResultStatus.SUCCEEDED, None)
    assert (answered.text, answered.format) == ("Hi", "anthropic.messages")
    assert answered.usage == UsageInfo(
        prompt_tokens=15,
        completion_tokens=4,
        total_tokens=19,
        cache_creation_input_tokens=3,
        cache_read_input_tokens=2,
    )
    assert answered.metadata == {"provider_request_id": "msg_01Ex"}
    assert bytes(answered.body) == SUCCEEDED[SUCCEEDED.index(b'{"id":"msg_01Ex"') : -2]


def test_a_refusal_is_an_answer():
    refused = row(SUCCEEDED.replace(b'"end_turn"', b'"refusal"'))

    assert refused.status is ResultStatus.SUCCEEDED
    assert refused.response["stop_reason"] == "refusal"


def test_an_error_is_nested_twice_and_its_inner_type_is_the_code():
    refused = row(ERRORED)

    assert (refused.request_id, refused.status) == ("b", ResultStatus.ERRORED)
    assert (refused.error.code, refused.error.message) == ("invalid_request_error", "messages: Field required")
    assert (refused.error.retryable, refused.error.status) == (False, None)
    assert (refused.text, refused.usage, refused.metadata) == (None, None, {})
    assert refused.response["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("kind", "details", "retryable"),
    [
        ("rate_limit_error", None, True),
        ("overloaded_error", None, True),
        ("api_error", {}, True),
        ("timeout_error", {"error_code": "a_new_one"}, True),
        ("rate_limit_error", {"error_code": "ramp_limit_exceeded"}, True),
        ("rate_limit_error", {"error_code": "enforced_spend_limit_reached"}, False),
        ("rate_limit_error", {"error_code": "contract_spend_limit_reached"}, False),
        ("invalid_request_error", None, False),
        ("request_too_large", None, False),
        ("a_new_error", None, False),
    ],
)
def test_whether_a_row_is_worth_another_try_stands_in_the_table(kind, details, retryable):
    fault = {"type": kind, "message": "m", "details": details}
    result = {"type": "errored", "error": {"type": "error", "error": fault, "request_id": "req_1"}}
    refused = row(json.dumps({"custom_id": "b", "result": result}).encode())

    assert (refused.error.code, refused.error.retryable) == (kind, retryable)
    assert refused.metadata == {"provider_request_id": "req_1"}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (b'{"type":"api_error","message":"flat"}', "api_error", "flat"),
        (b'{"error":"just words"}', "unknown", "just words"),
        (b'{"error":{"message":"no type"}}', "unknown", "no type"),
        (b"null", "unknown", "None"),
        (b'"words"', "unknown", "words"),
        (b'{"error":{"type":7,"message":null},"request_id":7}', "7", ""),
    ],
)
def test_an_error_of_another_shape_is_read_as_far_as_it_goes(error, code, message):
    refused = row(b'{"custom_id":"b","result":{"type":"errored","error":' + error + b"}}")

    assert (refused.status, refused.error.code, refused.error.message) == (ResultStatus.ERRORED, code, message)


def test_an_error_without_an_error_is_one_all_the_same():
    refused = row(b'{"custom_id":"b","result":{"type":"errored"}}')

    assert (refused.status, refused.error.code) == (ResultStatus.ERRORED, "unknown")


@pytest.mark.parametrize(
    ("line", "status", "code", "retryable"),
    [(CANCELED, ResultStatus.CANCELLED, "canceled", False), (EXPIRED, ResultStatus.EXPIRED, "expired", True)],
)
def test_a_row_that_never_ran_says_why(line, status, code, retryable):
    never = row(line)

    assert (never.status, never.error.code, never.error.retryable) == (status, code, retryable)
    assert not never.body


UNREADABLE = {
    "no JSON": (b"{", ""),
    "half a line": (SUCCEEDED[:100], "a"),
    "no UTF-8": (SUCCEEDED.replace(b'"Hi"', b'"\xff"'), "a"),
    "no id": (SUCCEEDED.replace(b"custom_id", b"customer_id"), ""),
    "no result": (b'{"custom_id":"a"}', "a"),
    "no message": (b'{"custom_id":"a","result":{"type":"succeeded"}}', "a"),
    "null for a message": (b'{"custom_id":"a","result":{"type":"succeeded","message":null}}', "a"),
    "a new type": (b'{"custom_id":"a","result":{"type":"postponed"}}', "a"),
    "no type": (b'{"custom_id":"a","result":{}}', "a"),
    "a list": (b'["custom_id"]', ""),
    "deep nesting": (b'{"custom_id":"a","result":{"type":"succeeded","message":' + b"[" * 100_000, "a"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_line_that_cannot_be_read_keeps_its_bytes_and_its_id_where_there_is_one(what):
    line, request_id = UNREADABLE[what]
    broken = row(line)

    assert (broken.request_id, broken.status) == (request_id, ResultStatus.UNDECODABLE)
    assert bytes(broken.body) == line
    assert (broken.error.code, broken.error.retryable) == ("undecodable", False)


def test_a_line_cut_anywhere_never_raises_and_never_succeeds():
    found = [row(SUCCEEDED[:at]).status for at in range(len(SUCCEEDED))]

    assert set(found) == {ResultStatus.UNDECODABLE}


@pytest.mark.parametrize("kind", ["succeeded", "errored"])
def test_no_depth_of_nesting_raises(kind):
    for depth in (10, 500, *range(850, 1100, 10), 100_000):
        deep = b'{"error":' + b"[" * depth + b"]" * depth + b"}"
        found = row(b'{"custom_id":"a","result":{"type":"%b","message":%b,"error":%b}}' % (kind.encode(), deep, deep))

        assert found.request_id == "a"


# Over the wire


class Here(NamedTuple):
    provider: object
    server: Server
    clock: VirtualClock

    async def prepare(self, requests=("a", "b"), **options):
        return await self.provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=options.pop("mode", BatchMode.CHAT), requests=requests, **options
        )

    async def prepare_one(self, requests=("a", "b"), **options):
        (submission,) = await self.prepare(list(requests), **options)
        return submission

    def asked(self, method, path):
        return [asked for asked in self.server.asked if (asked.method, asked.path) == (method, path)]


NOT_FOUND = answer(b'{"type":"error","error":{"type":"not_found_error","message":"Not found"},"request_id":"r"}', 404)


@asynccontextmanager
async def service(routes, *, limits=None, **config):
    """Give the provider towards a service that answers by method and path; what has no answer there is not found."""

    async def say(talk, asked):
        said = routes.get((asked.method, asked.path), NOT_FOUND)
        said = said.pop(0) if isinstance(said, list) and len(said) > 1 else said[0] if isinstance(said, list) else said
        await (talk.say(said) if isinstance(said, bytes) else said(talk, asked))

    clock = VirtualClock()
    clock.advance(CREATED_AT - clock.now())
    catalog = load_catalog({"providers": {"anthropic": {"limits": limits}}} if limits else None)
    async with (
        serve(say) as server,
        BatchProviderRegistry().open(catalog=catalog, runtime=virtual_runtime(clock)) as scope,
    ):
        provider = scope.create("anthropic", {"api_key": KEY, "base_url": server.url, **config})
        yield Here(provider, server, clock)


async def test_a_create_carries_its_rows_in_its_body_and_says_its_length():
    async with service({("POST", BATCHES): answer(CREATED)}) as here:
        submission = await here.prepare_one()
        result = await here.provider.submit(submission)
        (asked,) = here.asked("POST", BATCHES)

    hello = {"model": MODEL, "max_tokens": 64_000}
    assert submission.is_inline
    assert json.loads(asked.body) == {
        "requests": [
            {"custom_id": f"000000{n}", "params": {**hello, "messages": [{"role": "user", "content": word}]}}
            for n, word in enumerate("ab")
        ]
    }
    assert asked.headers["content-type"] == "application/json"
    assert int(asked.headers["content-length"]) == len(asked.body)
    assert (result.provider_batch_id, result.status) == (ID, BatchStatus.IN_PROGRESS)
    assert result.submitted_at == pytest.approx(CREATED_AT, abs=1e-5)


async def test_a_large_create_streams_from_the_disk():
    async with service({("POST", BATCHES): answer(CREATED)}) as here:
        submission = await here.prepare_one(["x" * 4000] * 1000)
        on_disk = not submission.payloads
        await here.provider.submit(submission)
        (asked,) = here.asked("POST", BATCHES)

    assert on_disk
    assert len(json.loads(asked.body)["requests"]) == 1000


async def test_every_call_carries_the_key_the_version_and_what_the_account_adds():
    options = {"betas": "output-300k-2026-03-24,files-api-2025-04-14", "workspace": "wrkspc_1"}
    async with service({("GET", ONE): answer(CREATED)}, **options) as here:
        await here.provider.poll_status(ID)
        (asked,) = here.server.asked

    assert asked.headers["x-api-key"] == KEY
    assert "authorization" not in asked.headers
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.headers["anthropic-beta"] == options["betas"]
    assert asked.headers["anthropic-workspace-id"] == "wrkspc_1"


async def test_the_version_is_the_callers_to_choose(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_VERSION", "2026-10-21")
    async with service({("GET", ONE): answer(CREATED)}) as here:
        await here.provider.poll_status(ID)

    assert here.server.asked[0].headers["anthropic-version"] == "2026-10-21"
    assert not {"anthropic-beta", "anthropic-workspace-id"} & here.server.asked[0].headers.keys()


async def test_rows_and_bytes_of_a_create_have_a_limit():
    async with service({}, limits={"inline_requests": 10, "inline_bytes": 2000}) as here:
        by_rows = await here.prepare(["a"] * 12)
        by_bytes = await here.prepare(["x" * 300] * 5)
        with pytest.raises(InvalidRequestsError) as caught:
            await here.prepare(["x" * 2000])

    assert [item.request_count for item in by_rows] == [7, 5]
    assert max(item.spool.size for item in by_rows + by_bytes) <= 2000 - len('{"requests":[]}')
    assert caught.value.problems[0].code == "too_large"


@pytest.mark.parametrize("name", ["with space", "a.b", "ü", "x" * 65])
async def test_an_id_that_the_service_would_refuse_the_batch_for_is_refused_by_row(name):
    body = {"messages": [{"role": "user", "content": "x"}]}
    async with service({}) as here:
        with pytest.raises(InvalidRequestsError) as caught:
            await here.prepare([{"custom_id": "fine_-1", "body": body}, {"custom_id": name, "body": body}])
        minted = await here.prepare_one([{"custom_id": name, "body": body}], wire_ids="minted")

    assert [(problem.row, problem.code) for problem in caught.value.problems] == [(1, "bad_id")]
    assert list(minted.request_ids) == [name]


async def test_a_batch_keeps_no_metadata_and_travels_in_no_file():
    async with service({}) as here:
        with pytest.raises(ConfigError, match="keeps no metadata"):
            await here.prepare(["a"], options={"metadata": {"a": "b"}})
        with pytest.raises(ConfigError, match="input_mode"):
            await here.prepare(["a"], input_mode="file")
        with pytest.raises(ConfigError, match="has no mode embedding"):
            await here.prepare(["a"], mode=BatchMode.EMBEDDING)
        safety = here.provider.submit_safety(await here.prepare_one())

    assert safety is SubmitSafety.INFERRED


async def test_further_words_of_a_create_stand_beside_its_requests():
    async with service({("POST", BATCHES): answer(CREATED)}) as here:
        await here.provider.submit(await here.prepare_one(options={"later": {"word": 1}}))

    body = json.loads(here.server.asked[0].body)
    assert (len(body["requests"]), body["later"]) == (2, {"word": 1})


async def test_a_create_whose_answer_is_lost_is_unknown_and_is_not_sent_again():
    async with service({("POST", BATCHES): hang_up}) as here:
        with pytest.raises(SubmissionUnknownError):
            await here.provider.submit(await here.prepare_one())
        sent = here.server.count("POST", BATCHES)

    assert sent == 1


async def test_a_submission_without_its_input_says_so():
    async with service({}) as here:
        submission = (await here.prepare_one()).replace(spool=None)
        with pytest.raises(ProviderPermanentError, match="prepare_payloads") as caught:
            await here.provider.submit(submission)

    assert caught.value.code == "no_input"


async def test_a_poll_hands_on_the_wait_that_its_answer_asks_for():
    async with service({("GET", ONE): [answer(CREATED, 200, "retry-after: 10"), answer(CREATED)]}) as here:
        first, second = await here.provider.poll_status(ID), await here.provider.poll_status(ID)

    assert (first.retry_after, second.retry_after) == (10, None)


async def test_a_page_that_is_no_batch_is_asked_for_again_later():
    async with service({("GET", ONE): answer(b"<html>", content_type="text/html")}) as here:
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.poll_status(ID)

    assert caught.value.code == "foreign_answer"


# Cancelling, listing, deleting


async def test_a_cancel_gives_what_the_service_says():
    canceling = batch(processing_status="canceling", cancel_initiated_at="2026-11-22T10:05:00.000001Z")
    async with service({("POST", f"{ONE}/cancel"): answer(canceling)}) as here:
        status = await here.provider.cancel(ID)

    assert status.status is BatchStatus.CANCELLING
    assert here.server.asked[0].body == b""


@pytest.mark.parametrize("refusal", [400, 409])
async def test_a_cancel_that_comes_too_late_is_no_error_and_gives_the_truth(refusal):
    routes = {
        ("POST", f"{ONE}/cancel"): answer(b'{"type":"error","error":{"type":"x","message":"ended"}}', refusal),
        ("GET", ONE): answer(ended(request_counts=counts(succeeded=2))),
    }
    async with service(routes) as here:
        status = await here.provider.cancel(ID)

    assert status.status is BatchStatus.COMPLETED


async def test_the_list_is_asked_in_pages_of_a_hundred_and_of_a_thousand_at_most():
    page = answer(b'{"data":[' + CREATED + b'],"has_more":true,"first_id":"a","last_id":"msgbatch_9"}')
    async with service({("GET", BATCHES): page}) as here:
        first = await here.provider.list_statuses()
        await here.provider.list_statuses(cursor=first.cursor, limit=100_000)
        asked = [item.target for item in here.server.asked]

    assert first.statuses[0].provider_batch_id == ID
    assert asked == [f"{BATCHES}?limit=100", f"{BATCHES}?limit=1000&after_id=msgbatch_9"]


async def test_deleting_takes_the_batch_itself_and_may_be_repeated():
    deleted = b'{"id":"msgbatch_01ExampleAAAAAAAAAAAAAAAA","type":"message_batch_deleted"}'
    async with service({("DELETE", ONE): [answer(deleted), NOT_FOUND]}) as here:
        gone = [await here.provider.delete_artifacts(ID) for _ in range(2)]

    assert gone == [1, 0]
    assert here.server.count("DELETE", ONE) == 2


async def test_a_batch_that_runs_cannot_be_deleted_and_the_error_says_so():
    refusal = b'{"type":"error","error":{"type":"invalid_request_error","message":"still in progress"}}'
    async with service({("DELETE", ONE): answer(refusal, 400), ("GET", ONE): answer(CREATED)}) as here:
        with pytest.raises(ProviderTransientError, match="is in_progress") as caught:
            await here.provider.delete_artifacts(ID)

    assert caught.value.code == "not_ended"


async def test_a_refusal_to_delete_what_is_over_is_the_services_own():
    refusal = b'{"type":"error","error":{"type":"invalid_request_error","message":"not now"}}'
    async with service({("DELETE", ONE): answer(refusal, 400), ("GET", ONE): answer(ended())}) as here:
        with pytest.raises(ProviderPermanentError, match="not now") as caught:
            await here.provider.delete_artifacts(ID)

    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")


async def test_a_key_that_may_delete_nothing_is_told_so():
    refusal = b'{"type":"error","error":{"type":"permission_error","message":"no"}}'
    async with service({("DELETE", ONE): answer(refusal, 403)}) as here:
        with pytest.raises(ProviderPermanentError, match="ANTHROPIC_API_KEY") as caught:
            await here.provider.delete_artifacts(ID)

    assert caught.value.code == "permission_error"


@pytest.mark.parametrize("name", ["../files/1", "a/b", "", "msgbatch?x=1"])
async def test_a_name_that_leads_elsewhere_is_never_asked_for(name):
    async with service({}) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status(name)

    assert caught.value.code == "bad_id"
    assert here.server.asked == []


# Answers

LINES = b"\n".join([SUCCEEDED, ERRORED, CANCELED, EXPIRED]) + b"\n"


async def test_one_stream_brings_the_rows_of_every_end():
    over = ended(request_counts=counts(succeeded=1, errored=1, canceled=1, expired=1))
    routes = {("GET", ONE): answer(over), ("GET", RESULTS): answer(LINES, content_type="application/x-jsonl")}
    async with service(routes) as here:
        rows = await here.provider.fetch_results(ID)

    assert statuses(rows) == {"a": "succeeded", "b": "errored", "c": "cancelled", "d": "expired"}
    assert here.asked("GET", RESULTS)[0].headers["anthropic-version"] == "2023-06-01"


async def test_an_address_on_another_host_is_not_followed_and_never_gets_the_key():
    async with serve(answer(LINES)) as elsewhere:
        over = ended(request_counts=counts(succeeded=1), results_url=f"{elsewhere.url}{RESULTS}")
        routes = {("GET", ONE): answer(over), ("GET", RESULTS): answer(LINES)}
        async with service(routes) as here:
            rows = await here.provider.fetch_results(ID)
            found = await here.provider.poll_status(ID)

    assert len(rows) == 4
    assert found.result_uris == (RESULTS,)
    assert elsewhere.connections == 0


async def test_answers_before_the_end_are_told_to_come_later():
    async with service({("GET", ONE): answer(CREATED)}) as here:
        with pytest.raises(ProviderTransientError, match="in_progress") as caught:
            await here.provider.fetch_results(ID)

    assert caught.value.code == "not_ended"
    assert here.asked("GET", RESULTS) == []


async def test_archived_answers_are_gone_for_good_and_are_not_asked_for():
    over = ended(request_counts=counts(succeeded=2), archived_at="2026-12-21T10:00:00Z", results_url=None)
    async with service({("GET", ONE): answer(over)}) as here:
        with pytest.raises(ProviderPermanentError, match="kept for 29 days") as caught:
            await here.provider.fetch_results(ID)

    assert caught.value.code == "results_expired"
    assert len(here.server.asked) == 1
    assert here.clock.slept_s == []


@pytest.mark.parametrize("end", [{"succeeded": 1}, {"expired": 1}, {"canceled": 1}])
async def test_answers_that_are_named_late_are_waited_for_after_every_end(end):
    late = [ended(request_counts=counts(**end), results_url=None), ended(request_counts=counts(**end))]
    routes = {("GET", ONE): [answer(item) for item in late], ("GET", RESULTS): answer(LINES)}
    async with service(routes) as here:
        rows = await here.provider.fetch_results(ID)
        slept = here.clock.slept_s

    assert len(rows) == 4
    assert len(slept) == 1


# Errors: the table


@pytest.mark.parametrize(
    ("status", "kind", "detail", "expected"),
    [
        (400, "invalid_request_error", None, ErrorClass.PERMANENT),
        (400, "invalid_request_error", "organization_on_hold", ErrorClass.PERMANENT),
        (401, "authentication_error", None, ErrorClass.PERMANENT),
        (402, "billing_error", "linked_organization_spend_limit_reached", ErrorClass.PERMANENT),
        (403, "permission_error", None, ErrorClass.PERMANENT),
        (404, "not_found_error", None, ErrorClass.PERMANENT),
        (409, "conflict_error", None, ErrorClass.TRANSIENT),
        (413, "request_too_large", None, ErrorClass.PERMANENT),
        (429, "rate_limit_error", "ramp_limit_exceeded", ErrorClass.TRANSIENT),
        (429, "rate_limit_error", "enforced_spend_limit_reached", ErrorClass.PERMANENT),
        (429, "rate_limit_error", "contract_spend_limit_reached", ErrorClass.PERMANENT),
        (500, "api_error", None, ErrorClass.TRANSIENT),
        (503, "api_error", "cmek_key_unreachable", ErrorClass.TRANSIENT),
        (504, "timeout_error", None, ErrorClass.TRANSIENT),
        (529, "overloaded_error", None, ErrorClass.TRANSIENT),
    ],
)
async def test_an_error_has_the_class_of_the_table(status, kind, detail, expected):
    fault = {"type": kind, "message": "m", "details": {"error_code": detail} if detail else None}
    body = json.dumps({"type": "error", "error": fault, "request_id": "req_011"}).encode()
    cls = ProviderTransientError if expected is ErrorClass.TRANSIENT else ProviderPermanentError
    async with service({("GET", ONE): answer(body, status, "request-id: req_011")}) as here:
        with pytest.raises(cls) as caught:
            await here.provider.poll_status(ID)

    assert (caught.value.status, caught.value.code) == (status, detail or kind)
    assert caught.value.request_id == "req_011"


async def test_a_spent_limit_refuses_a_create_for_good_and_a_full_minute_for_now():
    fault = {"type": "rate_limit_error", "message": "m"}
    full = {"type": "error", "error": fault}
    spent = {"type": "error", "error": {**fault, "details": {"error_code": "enforced_spend_limit_reached"}}}
    routes = {("POST", BATCHES): [answer(json.dumps(body).encode(), 429) for body in (full, spent)]}
    async with service(routes) as here:
        submission = await here.prepare_one()
        with pytest.raises(ProviderTransientError):
            await here.provider.submit(submission)
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.submit(submission)

    assert caught.value.code == "enforced_spend_limit_reached"


# A create whose answer was lost


def listed(*batches, more=b"false"):
    return answer(b'{"data":[' + b",".join(batches) + b'],"has_more":' + more + b',"first_id":null,"last_id":null}')


def results(*ids):
    return answer(b"".join(b'{"custom_id":"%b","result":{"type":"expired"}}\n' % name.encode() for name in ids))


OVER = ended(request_counts=counts(succeeded=2))


async def find(here, submission):
    return await here.provider.find_submissions(submission, since=here.clock.now())


async def test_a_batch_that_runs_matches_by_time_and_number_and_is_not_certain():
    async with service({("GET", BATCHES): listed(CREATED)}) as here:
        (match,) = await find(here, await here.prepare_one(wire_ids="minted"))

    assert (match.provider_batch_id, match.why, match.is_certain) == (ID, "time_and_count", False)
    assert here.server.count("GET") == 1


@pytest.mark.parametrize(
    ("changes", "is_match"),
    [
        ({"created_at": "2026-11-22T09:55:01Z"}, True),
        ({"created_at": "2026-11-22T09:54:59Z"}, False),
        ({"created_at": "2026-11-22T10:24:59Z"}, True),
        ({"created_at": "2026-11-22T10:25:01Z"}, False),
        ({"created_at": None}, True),
        ({"request_counts": counts(processing=3)}, False),
        ({"request_counts": counts(processing=1, succeeded=1)}, True),
        ({"request_counts": counts()}, True),
        ({"request_counts": None}, True),
    ],
)
async def test_a_candidate_was_created_about_then_and_has_as_many_rows(changes, is_match):
    async with service({("GET", BATCHES): listed(batch(**changes))}) as here:
        found = await find(here, await here.prepare_one(wire_ids="minted"))

    assert bool(found) is is_match


async def test_our_nonce_in_the_answers_makes_a_match_certain_and_a_foreign_one_is_no_match():
    other = "msgbatch_02Other"
    routes = {("GET", BATCHES): listed(OVER.replace(ID.encode(), other.encode()), OVER)}
    async with service(routes) as here:
        submission = await here.prepare_one(wire_ids="minted")
        routes["GET", RESULTS] = results(f"{submission.wire_prefix}0000001")
        routes["GET", f"{BATCHES}/{other}/results"] = results("abcdef01-0000001")
        match = await here.provider.find_submission(submission, since=here.clock.now())

    assert (match.provider_batch_id, match.why, match.is_certain) == (ID, "ids", True)


async def test_each_submission_of_a_job_knows_its_own_rows_though_bad_ones_are_counted_on_the_wire():
    routes = {("GET", BATCHES): listed(OVER)}
    async with service(routes, limits={"inline_requests": 2}) as here:
        requests = ["a", 7, "b", "c", "d"]  # on the wire: 0, 2 and 3, 4
        both = await here.prepare(requests, wire_ids="minted", on_reject=lambda _: None)
        found = {}
        for number in (0, 2, 3, 4, 5, 1_000_000):
            routes["GET", RESULTS] = results(f"{both[0].wire_prefix}{number:07d}")
            found[number] = [len(await find(here, submission)) for submission in both]

    assert found == {0: [1, 0], 2: [1, 0], 3: [0, 1], 4: [0, 1], 5: [0, 0], 1_000_000: [0, 0]}


@pytest.mark.parametrize("name", ["0000001", "zz", "", "x" * 64])
async def test_ids_of_another_shape_are_foreign_to_minted_ones(name):
    routes = {("GET", BATCHES): listed(OVER), ("GET", RESULTS): results(f"{name}!")}
    async with service(routes) as here:
        found = await find(here, await here.prepare_one(wire_ids="minted"))

    assert found == []


async def test_the_callers_own_ids_are_certain_too_but_row_numbers_may_be_anybodys():
    body = {"messages": [{"role": "user", "content": "x"}]}
    named = [{"custom_id": f"doc-{n}", "body": body} for n in range(2)]
    routes = {("GET", BATCHES): listed(OVER)}
    async with service(routes) as here:
        own, numbered = await here.prepare_one(named), await here.prepare_one()
        routes["GET", RESULTS] = results("doc-1")
        found = [await find(here, submission) for submission in (own, numbered)]
        routes["GET", RESULTS] = results("0000001")
        found += [await find(here, submission) for submission in (own, numbered)]

    assert [[(match.why, match.is_certain) for match in matches] for matches in found] == [
        [("ids", True)],
        [],
        [],
        [("ids", False)],
    ]


@pytest.mark.parametrize(
    "said",
    [
        answer(b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', 529),
        NOT_FOUND,
        answer(b""),
        answer(b'{"result":{"type":"expired"}}\n'),
    ],
    ids=["overloaded", "gone", "empty", "no id"],
)
async def test_answers_that_cannot_be_looked_at_leave_a_match_as_it_was(said):
    routes = {("GET", BATCHES): listed(OVER), ("GET", RESULTS): said}
    async with service(routes) as here:
        (match,) = await find(here, await here.prepare_one(wire_ids="minted"))

    assert (match.why, match.is_certain) == ("time_and_count", False)


async def test_a_first_answer_longer_than_what_is_looked_at_tells_its_id_all_the_same():
    routes = {("GET", BATCHES): listed(OVER)}
    async with service(routes) as here:
        submission = await here.prepare_one(wire_ids="minted")
        line = SUCCEEDED.replace(b'"a"', b'"%b0000000"' % submission.wire_prefix.encode(), 1)
        routes["GET", RESULTS] = answer(line.replace(b"Hi", b"H" * 1_000_000) + b"\n")
        (match,) = await find(here, submission)

    assert match.is_certain


async def test_the_list_is_walked_by_the_last_batch_of_each_page_back_to_shortly_before_the_create():
    newer = batch(id="msgbatch_newer", created_at="2026-11-22T12:00:00Z")
    older = batch(id="msgbatch_older", created_at="2026-11-22T09:00:00Z")
    pages = [listed(newer, more=b"true"), listed(CREATED, more=b"true"), listed(older, more=b"true"), NOT_FOUND]
    async with service({("GET", BATCHES): pages}) as here:
        found = await find(here, await here.prepare_one(wire_ids="minted"))
        walked = [asked.target.partition("after_id=")[2] for asked in here.server.asked]

    assert [match.provider_batch_id for match in found] == [ID]
    assert walked == ["", "msgbatch_newer", ID]


async def test_there_is_no_fence():
    async with service({}) as here:
        assert await here.provider.fence(await here.prepare_one()) is False

    assert here.server.asked == []


# Against the emulator, which was written from the documents by somebody else

ECHO = {"models": [{"match": "echo-*", "modes": ["CHAT"], "max_tokens": 4096}]}


async def test_what_a_chat_becomes_is_taken_by_the_service():
    cat = {"type": "image_url", "image_url": "data:image/png;base64,iVBORw0="}
    tool = {"type": "function", "function": {"name": "clock"}}
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
    call = {"id": "toolu_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    requests = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, cat]}], "stop": "END"},
        {"messages": [{"role": "user", "content": "Time?"}], "tools": [tool], "tool_choice": "required"},
        {
            "messages": [{"role": "system", "content": "Think."}, {"role": "user", "content": "Count"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            "reasoning_effort": "low",
        },
        {
            "messages": [
                {"role": "user", "content": "Time?"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "noon"},
            ],
            "tools": [tool],
        },
    ]
    async with world("anthropic", facts=ECHO) as here:
        status, rows = await here.run(requests)
    by_id = {found.request_id: found for found in rows}

    assert (status.status, set(statuses(rows).values())) == (BatchStatus.COMPLETED, {"succeeded"})
    assert by_id["0000001"].tool_calls[0].name == "clock"
    assert by_id["0000002"].decode().keys() == {"a"}
    assert all(found.usage.total_tokens for found in rows)


async def test_a_lost_create_is_found_while_it_runs_and_certain_once_it_has_ended():
    async with world("anthropic", facts=ECHO, faults=[faults.accept_then_drop()]) as here:
        submission = await here.prepare_one(["a", "b"], wire_ids="minted")
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        (running,) = await here.provider.find_submissions(submission, since=since)
        await here.end(running.provider_batch_id)
        (over,) = await here.provider.find_submissions(submission, since=since)
        others = await here.provider.find_submissions(submission.replace(wire_prefix="00000000-"), since=since)

    assert (running.why, running.is_certain) == ("time_and_count", False)
    assert (over.why, over.is_certain) == ("ids", True)
    assert over.provider_batch_id == running.provider_batch_id
    assert others == []


@pytest.mark.parametrize("ahead_s", [7_200, 3 * DAY_S])
async def test_a_lost_create_is_found_though_our_clock_is_far_behind_the_services(ahead_s):
    lost = [faults.accept_then_drop()]
    async with world("anthropic", facts=ECHO, faults=lost, behind_s=-ahead_s) as here:
        submission = await here.prepare_one(["a", "b"], wire_ids="minted")
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        found = await here.provider.find_submissions(submission, since=since)

    assert len(found) == 1
