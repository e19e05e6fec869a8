"""xAI: its samples, where a batch stands by its counters, results in pages, and what happens to a create that is lost.

Source of the samples: xai-org/xai-proto:batch.proto and files.proto, the documentation of the files API, and what third parties
saw live; ids and times are made up. Compared on 2026-11-26.
"""

import datetime as dt
import json

import msgspec
import pytest

from asyncbatch import (
    BatchClient,
    BatchMode,
    BatchStatus,
    ConfigError,
    InputMode,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.dto import Progress
from asyncbatch.emulator import Emulator, Fault, faults, paid_twice
from asyncbatch.engine.tidying import delete_orphans, find_orphans
from asyncbatch.planning.marks import job_of_tag, mark_of_job
from asyncbatch.planning.tidying import Known
from asyncbatch.providers._shapes.xai import (
    Counters,
    Mark,
    Steadiness,
    decode_counters,
    decode_file,
    decode_files,
    decode_line,
    decode_name,
    decode_next,
    decode_page,
    decode_status,
    encode_name,
    encode_upload,
    is_added,
    is_created,
    word_of,
)
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import CHAT, DAY_S, JOB, statuses, world

FACTS = load_catalog().provider("xai")
NOW = dt.datetime(2026, 11, 26, tzinfo=dt.UTC).timestamp()
TAG = "ab1-6f1c0c0a-0-1-0123456789abcdef"

BATCH = b"""{"batch_id":"batch_4d7f3f0e-0c1f-4a53-9d0a-5f0f3a1b2c3d","name":"n","create_time":"2026-11-22",
"expire_time":"2026-12-22","create_api_key_id":"key_1","cancel_time":null,"cancel_by_xai_message":null,"state":{"num_requests":2,"num_pending":1,"num_success":1,
"num_error":0,"num_cancelled":0},"cost_breakdown":{"total_cost_usd_ticks":1230000,"endpoint_costs":[{"endpoint":"chat",
"cost_usd_ticks":1230000,"request_count":1}],"calculation_time":"2026-11-22T10:05:00Z"},"input_file_id":"file_a1"}"""
FILE = b"""{"id":"file_9b1d","object":"file","bytes":400,"created_at":1795300000,"expires_at":null,"filename":"b.jsonl",
"purpose":""}"""
ANSWER = b"""{"batch_request_id":"r1","batch_result":{"response":{"chat_get_completion":{"id":"c1","object":"chat.completion",
"created":1795300400,"model":"grok-4.3","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},
"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost_in_usd_ticks":12300}}}}}"""
CANCELLED = b'{"batch_request_id":"r2","batch_result":{"error":"Batch cancelled"}}'


def batch(*, state=None, **changes):
    document = json.loads(BATCH)
    counters = state if not isinstance(state, dict) else {f"num_{name}": value for name, value in state.items()}
    return json.dumps({**document, **({} if state is None else {"state": counters}), **changes}).encode()


def status_of(body, now=NOW):
    return decode_status(body, FACTS, now)


def row_of(line):
    return decode_line(line, facts=FACTS)


def result(answer, key="chat_get_completion"):
    return json.dumps({"batch_request_id": "r1", "batch_result": {"response": {key: answer}}}).encode()


# Where a batch stands


@pytest.mark.parametrize(
    ("counters", "about", "word"),
    [
        # a file: while it is read, counters grow
        ((0, 0), {"expected": 5}, "reading"),
        ((3, 3), {"expected": 5}, "pending"),
        ((3, 0, 3), {"expected": 5}, "growing"),
        ((5, 2, 3), {"expected": 5}, "pending"),
        ((5, 0, 4, 1), {"expected": 5}, "done"),
        ((6, 0, 6), {"expected": 5}, "done"),
        # nobody knows how many they have to be
        ((0, 0), {}, "reading"),
        ((3, 1), {}, "pending"),
        ((3, 0, 3), {}, "done"),
        # none is said to be pending, and they do not add up
        ((5,), {"expected": 5}, "growing"),
        ((5, 0, 4), {"expected": 5}, "growing"),
        ((5, 0, 2, 1, 1), {"expected": 5}, "growing"),
        ((5, 0, 2, 1, 2), {"expected": 5}, "done"),
        ((5, 0, 4, 2), {"expected": 5}, "done"),
        ((2,), {}, "growing"),
        ((2,), {"has_file": False, "expected": 2}, "growing"),
        ((5,), {"expected": 5, "is_past": True}, "expired"),
        ((5, 0, 3), {"expected": 5, "is_cancelled": True}, "cancelled"),
        # without a file
        ((0, 0), {"has_file": False}, "empty"),
        ((0, 0), {"has_file": False, "expected": 5}, "empty"),
        # somebody has asked for the end
        ((5, 2, 3), {"expected": 5, "is_cancelled": True}, "cancelling"),
        ((5, 0, 3, 0, 2), {"expected": 5, "is_cancelled": True}, "cancelled"),
        ((0, 0), {"expected": 5, "is_cancelled": True}, "cancelled"),
        # xAI has ended it: nothing else counts
        ((5, 2), {"expected": 5, "is_stopped": True, "is_cancelled": True}, "stopped"),
        ((0, 0), {"is_stopped": True, "is_past": True}, "stopped"),
        # its time is over
        ((5, 2, 3), {"expected": 5, "is_past": True}, "expired"),
        ((0, 0), {"is_past": True}, "expired"),
        ((3, 0, 3), {"expected": 5, "is_past": True}, "expired"),
        ((5, 0, 5), {"expected": 5, "is_past": True}, "done"),
        ((5, 2, 3), {"is_past": True, "is_cancelled": True}, "cancelling"),
    ],
)
def test_where_a_batch_stands_is_told_by_its_counters(counters, about, word):
    assert word_of(Counters(*counters), **about) == word
    assert word in FACTS.status


def test_a_batch_of_others_is_read():
    status = status_of(BATCH)

    assert status.provider_batch_id == "batch_4d7f3f0e-0c1f-4a53-9d0a-5f0f3a1b2c3d"
    assert (status.status, status.raw_status) == (BatchStatus.IN_PROGRESS, "pending")
    assert status.progress == Progress(total=2, completed=1, failed=0)
    assert (status.created_at, status.expires_at, status.completed_at) == (1795305600, 1797897600, None)
    assert (status.input_ref, status.endpoint, status.result_uris) == ("file_a1", None, ())
    assert status.metadata == {"name": "n", "cost_usd": 0.000123}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"state": {"requests": 2, "success": 1, "error": 1}}, BatchStatus.COMPLETED),
        ({"state": {"requests": "2", "pending": "1"}}, BatchStatus.IN_PROGRESS),
        ({"state": {}}, BatchStatus.VALIDATING),
        ({"state": {}, "input_file_id": ""}, BatchStatus.QUEUED),
        ({"state": {"requests": 2, "cancelled": 2}, "cancel_time": "2026-11-23"}, BatchStatus.CANCELLED),
        ({"cancel_time": "2026-11-23T10:00:00Z"}, BatchStatus.CANCELLING),
        ({"cancel_time": ""}, BatchStatus.IN_PROGRESS),
        ({"cancel_by_xai_message": "abuse"}, BatchStatus.FAILED),
        ({"cancel_by_xai_message": ""}, BatchStatus.IN_PROGRESS),
        ({"name": f"{TAG}.n3.responses", "state": {"requests": 2, "success": 2}}, BatchStatus.IN_PROGRESS),
        ({"name": f"{TAG}.n2.responses", "state": {"requests": 2, "success": 2}}, BatchStatus.COMPLETED),
        ({"state": "completed"}, BatchStatus.UNKNOWN),
        ({"state": ["done"]}, BatchStatus.UNKNOWN),
    ],
)
def test_counters_of_any_shape_are_read_and_what_is_none_is_no_end(changes, status):
    assert status_of(batch(**changes)).status is status


def test_a_state_that_nobody_knows_is_told_as_it_came_and_cut():
    assert status_of(batch(state="completed")).raw_status == "completed"
    assert len(status_of(batch(state="x" * 1000)).raw_status) == 80
    assert decode_counters(None) == Counters()


@pytest.mark.parametrize(
    ("day", "is_over"), [("2026-11-25", False), ("2026-11-24", True), ("soon", False), (None, False)]
)
def test_what_is_pending_two_days_after_its_time_is_expired(day, is_over):
    status = status_of(batch(expire_time=day))

    assert status.status is (BatchStatus.EXPIRED if is_over else BatchStatus.IN_PROGRESS)


@pytest.mark.parametrize(("made", "is_over"), [("2026-10-25", True), ("2026-10-26", False), (None, False)])
@pytest.mark.parametrize("day", ["soon", None])
def test_what_does_not_say_when_it_expires_has_a_month(made, is_over, day):
    status = status_of(batch(create_time=made, expire_time=day))

    assert status.status is (BatchStatus.EXPIRED if is_over else BatchStatus.IN_PROGRESS)
    assert status.expires_at is None


def test_a_batch_that_xai_has_ended_says_why_and_may_have_answers():
    status = status_of(batch(cancel_by_xai_message="Unpaid invoice."))

    assert (status.error_message, status.errors[0].code) == ("Unpaid invoice.", "stopped_by_xai")
    assert status.result_uris == ("/batches/batch_4d7f3f0e-0c1f-4a53-9d0a-5f0f3a1b2c3d/results",)


@pytest.mark.parametrize("cost", [None, [], {}, {"total_cost_usd_ticks": "many"}])
def test_a_cost_that_is_none_is_not_told(cost):
    assert "cost_usd" not in status_of(batch(cost_breakdown=cost)).metadata


# The name


async def test_the_name_of_a_batch_says_whose_it_is_how_many_requests_it_has_and_where_they_go():
    async with world("xai") as here:
        submission = (await here.prepare_one(["a", "b", "c"])).replace(tag=TAG)
        untagged = encode_name(submission.replace(tag=None))
        status = await here.provider.poll_status((await here.start(["a"], tag=TAG)).provider_batch_id)

    assert encode_name(submission) == f"{TAG}.n3.chat-completions"
    assert untagged == f"asyncbatch-{JOB}-0000.n3.chat-completions"
    assert decode_name(encode_name(submission)) == Mark(TAG, 3, "chat-completions")
    assert (here.provider.tag_of(status), status.endpoint) == (TAG, "/v1/chat/completions")


@pytest.mark.parametrize(
    "name", [None, 7, "", "n", "my.n3", "mine.nine.chat", f"{TAG}.n12345678.chat", f"{TAG}.n3.Chat"]
)
def test_a_name_that_others_gave_says_nothing(name):
    assert decode_name(name) == Mark()
    assert status_of(batch(name=name)).endpoint is None


def test_an_endpoint_that_the_catalog_does_not_know_is_none():
    assert status_of(batch(name=f"{TAG}.n3.audio-speech")).endpoint is None


async def test_an_answer_to_a_create_is_ours_if_it_has_an_id_and_our_file():
    async with world("xai") as here:
        submission = (await here.prepare_one(["a"])).replace(input_ref="file_a1")
    bodies = (BATCH, batch(input_file_id=None), batch(input_file_id="file_b"), batch(batch_id=""), b"{}", b"<html>")

    assert [is_created(body, submission) for body in bodies] == [True, True, False, False, False, False]


async def test_words_for_the_create_are_refused_for_it_has_a_name_alone():
    async with world("xai") as here:
        with pytest.raises(ConfigError, match="options name completion_window, name,"):
            await here.prepare(["a"], options={"name": "mine", "completion_window": "24h"})
        with pytest.raises(ConfigError, match="keeps no metadata"):
            await here.prepare(["a"], options={"metadata": {"team": "blue"}})
        history = here.emulator.history

    assert history == []


async def test_a_batch_is_not_complete_while_its_file_is_still_read_whatever_is_answered_by_then():
    async with world("xai", pace={"validating_s": 100}) as here:
        first = await here.start(["a"] * 10)
        foreign = Fault(effect=faults.Rewrite(fields={"name": "theirs"}), operation="poll", first=2)
        here.emulator.add(foreign)
        here.clock.advance(60)
        seen = [await here.provider.poll_status(first.provider_batch_id) for _ in range(2)]
        here.clock.advance(60)
        end = await here.provider.poll_status(first.provider_batch_id)

    assert {status.progress for status in seen} == {Progress(total=5, completed=5)}
    assert [status.status for status in seen] == [BatchStatus.IN_PROGRESS, BatchStatus.COMPLETED], "nobody knows better"
    assert (end.status, end.progress.total) == (BatchStatus.COMPLETED, 10)


# Sending


def test_the_end_of_a_file_stands_in_front_of_it():
    assert list(encode_upload(3600)) == ["expires_after", "purpose"]
    assert encode_upload(None) == {"purpose": "batch"}


def test_files_are_read():
    page = decode_files(b'{"data":[%b],"pagination_token":"t2"}' % FILE)

    assert (decode_file(FILE).id, decode_file(FILE).bytes) == ("file_9b1d", 400)
    assert [(file.ref, file.name, file.size, file.created_at) for file in page.files] == [
        ("file_9b1d", "b.jsonl", 400, 1795300000)
    ]
    assert page.cursor == "t2"
    assert decode_files(b'{"data":[],"pagination_token":""}').cursor is None


async def test_a_file_goes_after_a_month_and_can_be_asked_to_stay():
    async with world("xai") as here:
        usual = await here.provider.upload(await here.prepare_one(["a"]))
        kept = await here.provider.upload(await here.prepare_one(["a"], options={"input_expires_s": None}))
        with pytest.raises(ConfigError, match="2,592,000"):
            await here.prepare(["a"], options={"input_expires_s": 3600})

    assert usual.input_expires_at == pytest.approx(here.clock.now() + 30 * DAY_S, abs=1)
    assert kept.input_expires_at is None


async def test_an_upload_of_which_less_arrived_is_taken_away_and_made_again():
    less = Fault(effect=faults.Rewrite(fields={"bytes": 3}), operation="upload")
    async with world("xai", faults=[less]) as here:
        submission = await here.prepare_one(["a"])
        with pytest.raises(ProviderTransientError, match="3 bytes of") as caught:
            await here.provider.upload(submission)
        await here.provider.upload(submission)

    assert caught.value.code == "upload_cut"
    assert here.accepted("delete") == here.accepted("upload")[:1]


async def test_lines_are_openais_and_say_where_they_go():
    async with world("xai") as here:
        submission = await here.prepare_one([{"custom_id": "r1", "body": CHAT}])

    line = json.loads(bytes(submission.payloads[0]))
    assert (line["custom_id"], line["method"], line["url"]) == ("r1", "POST", "/v1/chat/completions")
    assert line["body"]["model"] == "echo-1"


async def test_a_batch_tells_the_day_on_which_it_was_made_and_a_create_the_moment():
    async with world("xai") as here:
        made = await here.start(["a"])
        status = await here.provider.poll_status(made.provider_batch_id)

    assert made.submitted_at == pytest.approx(here.clock.now(), abs=1)
    assert status.created_at % DAY_S == 0
    assert 0 <= here.clock.now() - status.created_at < DAY_S


@pytest.mark.parametrize("hour", [0.01, 12, 23.99])
async def test_a_lost_create_is_found_behind_many_newer_batches_at_any_hour_and_over_midnight(hour):
    async with world("xai", faults=[faults.accept_then_drop()], facts={"limits": {"list_page": 2}}) as here:
        here.clock.advance(DAY_S * (1 + hour / 24) - here.clock.now() % DAY_S)
        assert here.provider.submit_safety() is SubmitSafety.TAGGED
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag=TAG))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        for number in range(6):
            here.clock.advance(600)
            await here.start([f"another {number}"], tag=f"other-{number}")
        match = await here.provider.find_submission(submission, since=since)
        by_file = await here.provider.find_submission(submission.replace(tag=None), since=since)
        history = here.emulator.history

    assert (match.why, match.is_certain, by_file.why) == ("tag", True, "input")
    assert match.provider_batch_id == by_file.provider_batch_id == here.accepted("create")[0]
    assert paid_twice(history) == {}


@pytest.mark.parametrize(("body", "count"), [(b"{}", 0), (b'{"batches":null}', None), (b'{"batches":[]}', 0)])
def test_an_empty_list_is_a_list(body, count):
    if count is None:
        with pytest.raises(ValueError, match="no batches"):
            decode_page(body, FACTS, NOW)
    else:
        assert len(decode_page(body, FACTS, NOW).statuses) == count


@pytest.mark.parametrize("token", [b'"t9"', b'""', b"null"])
def test_an_empty_token_is_the_end_of_a_list(token):
    body = b'{"batches":[%b],"pagination_token":%b}' % (BATCH, token)
    expected = "t9" if token == b'"t9"' else None

    assert decode_page(body, FACTS, NOW).cursor == expected
    assert decode_next(b'{"results":[],"pagination_token":%b}' % token) == expected


async def test_what_answers_without_batches_is_not_an_account_without_any():
    foreign = faults.Answer(status=200, body=b'{"message":"welcome"}')
    async with world("xai", faults=[Fault(effect=foreign, operation="list", times=None)]) as here:
        submission = (await here.prepare_one(["a"])).replace(tag=TAG)
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.find_submissions(submission, since=here.clock.now())

    assert caught.value.code == "foreign_answer"


# Results


@pytest.mark.parametrize("body", [b"{}", b" {}\n", b'{"results":[]}'])
def test_a_page_of_results_may_have_none(body):
    assert decode_next(body) is None


@pytest.mark.parametrize(
    "body", [b'{"message":"try again later"}', b'{"results":null,"pagination_token":null}', b'{"results":{}}', b"[]"]
)
def test_what_names_no_results_is_no_page_of_them(body):
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        decode_next(body)


def test_a_result_is_read():
    row = row_of(ANSWER)

    assert (row.request_id, row.status, row.text, row.format) == ("r1", ResultStatus.SUCCEEDED, "hi", "openai.chat")
    assert (row.usage.prompt_tokens, row.usage.completion_tokens, row.usage.total_tokens) == (9, 2, 11)
    assert row.response["usage"]["cost_in_usd_ticks"] == 12300


def test_reasoning_is_among_the_tokens_of_a_completion_as_elsewhere():
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}}
    told, untold = (
        row_of(result({"choices": [], "usage": {**usage, **more}})).usage for more in ({"total_tokens": 135}, {})
    )

    assert (told.completion_tokens, told.reasoning_tokens, told.total_tokens) == (103, 94, 135)
    assert untold == told == row_of(result({"choices": [], "usage": {**usage, "total_tokens": None}})).usage
    assert row_of(result({"choices": []})).usage is None


@pytest.mark.parametrize(("total", "completion"), [(41, 9), (134, 9), (135, 103), (140, 103)])
def test_reasoning_is_not_counted_twice_where_the_total_says_that_it_is_among_them(total, completion):
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": total}
    row = row_of(result({"choices": [], "usage": {**usage, "completion_tokens_details": {"reasoning_tokens": 94}}}))

    assert (row.usage.completion_tokens, row.usage.total_tokens) == (completion, total)
    assert row.usage.reasoning_tokens == 94


@pytest.mark.parametrize(
    ("key", "body", "kind"),
    [
        ("chat_get_completion", {"choices": []}, "openai.chat"),
        ("chat_get_completion", {"output": [], "usage": {"output_tokens": 5}}, "openai.responses"),
        ("chat_get_completion", {"output": [], "choices": []}, "openai.chat"),
        ("responses", {"output": []}, "openai.responses"),
        ("image_generation", {"data": []}, "openai.image"),
        ("image_response", {"data": []}, "openai.image"),
        ("video_generation", {"video": {}}, "openai.video"),
        ("video_response", {"video": {}}, "openai.video"),
        ("something_new", {"choices": []}, "openai.chat"),
    ],
)
def test_answers_of_every_kind_are_read_by_where_they_stand_and_how_they_look(key, body, kind):
    row = row_of(result(body, key))

    assert (row.status, row.format, row.response) == (ResultStatus.SUCCEEDED, kind, body)


def test_reasoning_of_a_response_is_counted_as_it_comes():
    usage = {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}}

    assert row_of(result({"output": [], "usage": usage})).usage.completion_tokens == 5


gone, late, plain = ("batch_cancelled", False), ("batch_expired", True), ("error", False)
unavailable = (ResultStatus.ERRORED, "UNAVAILABLE", True)


@pytest.mark.parametrize(
    ("fault", "status", "code", "is_retryable"),
    [
        ({"batch_result": {"error": "Batch cancelled"}}, ResultStatus.CANCELLED, "batch_cancelled", False),
        ({"batch_result": {"error": "The request was canceled."}}, ResultStatus.CANCELLED, "batch_cancelled", False),
        ({"batch_result": {"error": "Batch expired"}}, ResultStatus.EXPIRED, "batch_expired", True),
        ({"batch_result": {"error": "Your batch batch_4d7f has been cancelled by x"}}, ResultStatus.CANCELLED, *gone),
        ({"batch_result": {"error": "The batch has already expired: 3 days"}}, ResultStatus.EXPIRED, *late),
        ({"batch_result": {"error": "Bad: batch norm and the card expired"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"error": "Request mentions a cancelled order"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"error": "A batch expired"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"error": "Request expired card number"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"error": "Batch expiredness"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"response": {"error": {"code": 14, "message": "x"}}}}, *unavailable),
        ({"batch_result": {"response": {"error": "Batch expired"}}}, ResultStatus.EXPIRED, *late),
        ({"batch_result": {"response": {"error": None}, "error": "x"}}, ResultStatus.ERRORED, *plain),
        ({"batch_result": {"error": "Invalid image."}}, ResultStatus.ERRORED, "error", False),
        ({"batch_result": {"error": "", "response": None}}, ResultStatus.ERRORED, "error", False),
        ({"error_message": "Invalid image."}, ResultStatus.ERRORED, "error", False),
        ({"batch_result": None, "error_message": "x"}, ResultStatus.ERRORED, "error", False),
        ({"batch_result": {"error": {"code": 14, "message": "x"}}}, ResultStatus.ERRORED, "UNAVAILABLE", True),
        ({"batch_result": {"error": {"code": 3, "message": "x"}}}, ResultStatus.ERRORED, "INVALID_ARGUMENT", False),
        ({"batch_result": {"error": {"code": 1}}}, ResultStatus.CANCELLED, "CANCELLED", False),
        ({"batch_result": {"error": 7}}, ResultStatus.ERRORED, "error", False),
    ],
)
def test_an_error_is_a_text_or_a_fault_in_one_of_three_places(fault, status, code, is_retryable):
    row = row_of(json.dumps({"batch_request_id": "r2", **fault}).encode())

    assert (row.request_id, row.status) == ("r2", status)
    assert (row.error.code, row.error.retryable) == (code, is_retryable)


@pytest.mark.parametrize(
    ("error", "message"), [("Invalid image.", "Invalid image."), ({"code": 3, "message": "x"}, "x"), (7, "7")]
)
def test_what_an_error_says_is_told_and_kept_as_it_came(error, message):
    row = row_of(json.dumps({"batch_request_id": "r2", "batch_result": {"error": error}}).encode())

    assert (row.error.message, row.response) == (message, error)


def test_an_answer_outranks_an_error_beside_it():
    line = json.loads(ANSWER)
    line["batch_result"]["error"] = "Batch cancelled"
    line["batch_result"]["response"] = {"error": {"code": 1}, **line["batch_result"]["response"]}

    assert row_of(json.dumps(line).encode()).text == "hi"


def test_an_error_as_long_as_an_answer_is_read_at_once():
    text = "batch " + "1_" * 2_000_000

    assert row_of(json.dumps({"batch_request_id": "r", "batch_result": {"error": text}}).encode()).error.code == "error"


@pytest.mark.parametrize(
    "line",
    [
        b'{"batch_request_id":"r1"}',
        b'{"batch_request_id":"r1","batch_result":{}}',
        b'{"batch_request_id":"r1","batch_result":{"response":{}}}',
        b'{"batch_request_id":"r1","batch_result":{"response":{"chat_get_completion":null}}}',
        b'{"batch_request_id":"r1","batch_result":{"response":"none"}}',
        b'{"batch_request_id":"r1","batch_result":7}',
        b'{"batch_request_id":"r1","batch_resu',
        b'{"batch_request_id":"r1","batch_result":{"response":{"chat_get_completion":{"x":"\xff"}}}}',
    ],
)
def test_what_cannot_be_read_is_a_row_with_its_bytes(line):
    row = row_of(line)

    assert (row.request_id, row.status, bytes(row.body)) == ("r1", ResultStatus.UNDECODABLE, line)


def test_a_result_without_a_name_is_nobodys():
    assert row_of(b'{"batch_request_id":7,"batch_result":{"error":"x"}}').request_id == ""


async def test_results_are_fetched_page_by_page_and_none_is_lost_or_given_twice():
    async with world("xai") as here:
        made = await here.start([f"prompt {number}" for number in range(2500)])
        here.clock.advance(DAY_S)
        rows = await here.rows(made.provider_batch_id)

    assert here.calls("results") == [200, 200, 200]
    assert sorted(row.request_id for row in rows) == [f"{number:07d}" for number in range(2500)]


async def failed_pages(fault, error):
    """Fetch three pages of which one goes wrong; gives the error, how large our files are after it, and what comes next."""
    async with world("xai") as here:
        made = await here.start(["a"] * 2500)
        here.clock.advance(DAY_S)
        here.emulator.add(fault)
        files, new_file = [], here.provider.new_file
        here.provider.new_file = lambda: files.append(new_file()) or files[-1]
        with pytest.raises(error) as caught:
            await here.rows(made.provider_batch_id)
        sizes = {file.size for file in files}
        here.emulator.remove(fault)
        again = await here.rows(made.provider_batch_id)
    return caught.value, sizes, again


async def test_a_token_that_comes_twice_is_not_followed_for_ever():
    same = Fault(effect=faults.Rewrite(fields={"pagination_token": "t00000001"}), operation="results", times=None)
    error, sizes, again = await failed_pages(same, ProviderTransientError)

    assert (error.code, sizes, len(again)) == ("endless_list", {0}, 2500)


async def test_a_page_that_is_refused_gives_no_part_for_the_whole_and_the_next_try_begins_anew():
    gone = faults.refuse(404, operation="results", first=2, times=None)
    error, sizes, again = await failed_pages(gone, ProviderPermanentError)

    assert (error.status, sizes, len(again)) == (404, {0}, 2500)


@pytest.mark.parametrize("body", [b"[1", b'{"message":"try again later"}'])
async def test_a_page_that_is_something_else_is_no_end_of_the_pages(body):
    page = Fault(effect=faults.Answer(status=200, body=body), operation="results", first=3, times=None)
    error, sizes, again = await failed_pages(page, ProviderTransientError)

    assert (error.code, sizes, len(again)) == ("foreign_answer", {0}, 2500)


async def test_a_page_that_is_cut_is_fetched_again():
    async with world("xai", faults=[faults.cut_body(500, operation="results", first=2)]) as here:
        made = await here.start(["a"] * 1500)
        here.clock.advance(DAY_S)
        rows = await here.rows(made.provider_batch_id)

    assert len({row.request_id for row in rows}) == 1500
    assert len(here.calls("results")) == 3


# Cancelled, and other ends


async def test_counters_that_go_back_after_a_cancel_are_waited_for_and_answers_outrank_them():
    """As it was seen live: five cancelled, and twenty seconds later five that succeeded."""
    async with world("xai", pace={"row_s": 100, "run_cap_s": None, "cancelling_s": 0}) as here:
        made = await here.start(["a"] * 10)
        here.clock.advance(360)
        await here.provider.cancel(made.provider_batch_id)
        early = await here.provider.poll_status(made.provider_batch_id)
        rows = await here.rows(made.provider_batch_id)
        late = await here.provider.poll_status(made.provider_batch_id)

    assert (early.status, early.progress) == (BatchStatus.CANCELLED, Progress(total=10, failed=10))
    assert (late.status, late.progress) == (BatchStatus.CANCELLED, Progress(total=10, completed=3, failed=7))
    assert 20 <= sum(here.clock.slept_s) <= 61
    assert sorted(statuses(rows).values()) == ["cancelled"] * 7 + ["succeeded"] * 3


async def test_a_cancelled_batch_whose_counters_do_not_add_up_is_looked_at_for_a_minute():
    some = faults.Rewrite(fields={"state": {"num_requests": 2, "num_success": 1}})
    async with world("xai", pace={"cancelling_s": 0}) as here:
        made = await here.start(["a", "b [[stall]]"])
        here.clock.advance(360)
        await here.provider.cancel(made.provider_batch_id)
        here.emulator.add(Fault(effect=some, operation="poll", times=None))
        status = await here.provider.poll_status(made.provider_batch_id)
        rows = await here.rows(made.provider_batch_id)

    assert status.status is BatchStatus.CANCELLED
    assert sum(here.clock.slept_s) == pytest.approx(60)
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "cancelled"}


async def test_a_cancelled_batch_that_runs_again_after_all_is_not_over():
    runs = faults.Rewrite(fields={"state.num_pending": 3})
    async with world("xai", pace={"row_s": 100, "run_cap_s": None, "cancelling_s": 0}) as here:
        made = await here.start(["a"] * 10)
        here.clock.advance(360)
        await here.provider.cancel(made.provider_batch_id)
        here.emulator.add(Fault(effect=runs, operation="poll", first=2))
        with pytest.raises(ProviderTransientError) as caught:
            await here.rows(made.provider_batch_id)

    assert caught.value.code == "not_ended"


def steps(*looks):
    steadiness = Steadiness()
    return [
        steadiness.is_steady(status_of(batch(name=name, state=state, **more)), at) for at, name, state, more in looks
    ]


def test_counters_that_add_up_are_believed_at_once_and_others_when_they_stay():
    ours, all_there, late = f"{TAG}.n2.responses", {"requests": 2, "success": 2}, {"requests": 2, "success": 1}
    few, cancelled = {"requests": 1, "success": 1}, {"cancel_time": "2026-11-23"}

    assert steps((0, ours, all_there, {})) == [True]
    assert steps((0, ours, few, {}), (19, ours, few, {}), (20, ours, few, {})) == [False, False, True]
    assert steps((0, ours, late, {}), (19, ours, all_there, {})) == [False, True]
    assert steps((0, ours, late, {}), (20, ours, late, {}), (59, ours, late, {})) == [False] * 3, "they do not add up"
    assert steps((0, ours, late, cancelled), (59, ours, late, cancelled)) == [False, False]
    assert steps((0, "theirs", late, {}), (10, "theirs", all_there, {}), (29, "theirs", all_there, {})) == [False] * 3
    assert steps((0, "theirs", all_there, {}), (20, "theirs", all_there, {})) == [False, True]
    assert steps((0, ours, all_there, cancelled), (20, ours, all_there, cancelled)) == [False, True]
    assert steps((0, ours, {"requests": 2, "pending": 1}, {"expire_time": "2026-01-01"})) == [True]
    assert steps((0, ours, all_there, {"cancel_by_xai_message": "x"})) == [True]
    assert steps((0, ours, late, {"cancel_by_xai_message": "x"})) == [False]


async def test_what_is_never_run_expires_two_days_after_its_time_and_keeps_its_answers():
    async with world("xai") as here:
        made = await here.start(["a", "b [[stall]]"])
        seen = []
        for days in (29, 2, 2):
            here.clock.advance(days * DAY_S)
            seen.append((await here.provider.poll_status(made.provider_batch_id)).status)
        rows = await here.rows(made.provider_batch_id)

    assert seen == [BatchStatus.IN_PROGRESS, BatchStatus.IN_PROGRESS, BatchStatus.EXPIRED]
    assert statuses(rows) == {"0000000": "succeeded"}
    assert here.clock.slept_s == []


async def test_a_model_that_takes_no_batches_stops_the_batch_which_says_so():
    async with world("xai") as here:
        config = {"api_key": "k-1", "base_url": here.base_url, "allow_unknown_model": True}
        provider = here.scope.create("xai", config)
        (submission,) = await provider.prepare_payloads(
            batch_id=JOB, model="grok-2", mode=BatchMode.CHAT, requests=["a"]
        )
        made = await provider.submit(submission)
        here.clock.advance(60)
        status = await provider.poll_status(made.provider_batch_id)

    assert status.status is BatchStatus.FAILED
    assert status.error_message == "Model grok-2 is not supported for batch processing."


async def test_a_cancel_that_comes_too_late_gives_the_true_end():
    async with world("xai") as here:
        made = await here.start(["a"])
        here.clock.advance(DAY_S)
        status = await here.provider.cancel(made.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert here.calls("cancel") == [400]


async def test_a_cancel_that_is_answered_about_another_batch_says_nothing_about_this_one():
    other = Fault(effect=faults.Rewrite(fields={"batch_id": "batch_other"}), operation="cancel")
    async with world("xai", faults=[other]) as here:
        made = await here.start(["[[stall]]"])
        with pytest.raises(ProviderTransientError, match="told about 'batch_other'"):
            await here.provider.cancel(made.provider_batch_id)
        status = await here.provider.cancel(made.provider_batch_id)

    assert status.provider_batch_id == made.provider_batch_id


async def test_deleting_takes_the_input_alone_for_answers_stay_with_their_batch():
    async with world("xai") as here:
        made = await here.start(["a"])
        here.clock.advance(DAY_S)
        counts = [await here.provider.delete_artifacts(made.provider_batch_id) for _ in range(2)]
        rows = await here.rows(made.provider_batch_id)
        status = await here.provider.poll_status(made.provider_batch_id)

    assert counts == [1, 0]
    assert statuses(rows) == {"0000000": "succeeded"}
    assert not here.provider.is_left(status, {"file_of-others"})
    assert here.provider.is_left(status, {status.input_ref})


async def test_a_batch_without_an_input_leaves_nothing_to_delete():
    bare = Fault(effect=faults.Rewrite(fields={"input_file_id": None}), operation="poll", times=None)
    async with world("xai", faults=[bare]) as here:
        made = await here.start(["a"])
        here.clock.advance(DAY_S)

        assert await here.provider.delete_artifacts(made.provider_batch_id) == 0


# Errors


async def test_a_bad_key_is_an_argument_like_any_other_and_told_by_the_words_alone():
    async with world("xai", key="invalid-key-0123456789") as here:
        with pytest.raises(ProviderPermanentError, match="Incorrect API key") as caught:
            await here.provider.list_statuses()
        with pytest.raises(ProviderPermanentError) as cancelled:
            await here.provider.cancel("batch_1")

    assert (caught.value.status, caught.value.code) == (400, "Client specified an invalid argument")
    assert caught.value.is_auth
    assert "XAI_API_KEY" in caught.value.hint
    assert cancelled.value.is_auth, "though a 400 may mean that a cancel is late"


async def test_another_bad_argument_is_no_bad_key():
    async with world("xai", faults=[faults.refuse(400, operation="list")]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.list_statuses()

    assert not caught.value.is_auth


async def test_a_line_that_is_too_long_is_refused_before_anything_is_sent():
    async with world("xai", facts={"limits": {"line_bytes": 500}}) as here:
        with pytest.raises(InvalidRequestsError):
            await here.prepare(["x" * 600])
        history = here.emulator.history

    assert FACTS.limits.line_bytes.value == 25_000_000
    assert history == []


async def test_the_thoughts_of_a_model_are_paid_for_and_counted():
    async with world("xai") as here:
        _, (row,) = await here.run(["What? [[think:7]]"])

    assert row.usage.reasoning_tokens == 7
    assert row.usage.completion_tokens > 7
    assert row.usage.total_tokens == row.usage.prompt_tokens + row.usage.completion_tokens
    assert row.response["usage"]["completion_tokens"] == row.usage.completion_tokens - 7


# Requests that are added to a batch made for them


async def inline(here, requests=("a",), tag=TAG):
    """Prepare requests that travel inline, and make the batch to which they will be added."""
    submission = await here.prepare_one(list(requests), input_mode="inline")
    return await here.provider.upload(submission.replace(tag=tag))


async def test_requests_that_travel_inline_lie_in_no_file_and_are_added_in_one_call():
    async with world("xai", InputMode.INLINE) as here:
        sent = await inline(here, ["a", "b"])
        empty = await here.provider.poll_status(sent.input_ref)
        made = await here.provider.create(sent)
        running = await here.provider.poll_status(made.provider_batch_id)
        here.clock.advance(DAY_S)
        rows = await here.rows(made.provider_batch_id)
        files = (await here.provider.list_files()).files

    assert (made.provider_batch_id, made.status) == (sent.input_ref, BatchStatus.QUEUED)
    assert made.submitted_at == pytest.approx(here.clock.now() - DAY_S, abs=1)
    assert (empty.status, empty.input_ref) == (BatchStatus.QUEUED, None)
    assert (running.status, running.progress.total) == (BatchStatus.IN_PROGRESS, 2)
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert (here.calls("upload", "create"), files) == ([200, 200], ())
    assert sent.input_expires_at == pytest.approx(here.clock.now() + 29 * DAY_S, abs=DAY_S)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/chat/completions", "chat_get_completion"),
        ("/v1/responses", "responses"),
        ("/v1/images/generations", "image_generation"),
        ("/v1/images/edits", "image_edit"),
        ("/v1/videos/generations", "video_generation"),
        ("/v1/videos/extensions", "video_extension"),
    ],
)
async def test_where_a_request_goes_that_is_added_is_told_by_the_word_it_stands_under(path, place):
    async with world("xai", InputMode.INLINE) as here:
        body = {**CHAT, "input": "hi", "prompt": "a sea"}
        submission = await here.prepare_one([{"custom_id": "r1", "body": body}], mode=BatchMode.CUSTOM, endpoint=path)

    line = json.loads(bytes(submission.payloads[0]))
    assert line == {"batch_request_id": "r1", "batch_request": {place: {**body, "model": "echo-1"}}}


async def test_what_has_no_such_word_travels_in_a_file_alone():
    async with world("xai") as here:
        with pytest.raises(ConfigError, match="in a file alone") as caught:
            await here.prepare([{"prompt": "x"}], BatchMode.CUSTOM, endpoint="/v1/videos/edits", input_mode="inline")
        (filed,) = await here.prepare([{"prompt": "x"}], BatchMode.CUSTOM, endpoint="/v1/videos/edits")

    assert caught.value.code == "input_mode.unsupported"
    assert b'"url":"/v1/videos/edits"' in bytes(filed.payloads[0])


async def test_a_batch_whose_making_was_not_answered_is_made_again_and_the_empty_one_costs_nothing():
    async with world("xai", InputMode.INLINE, faults=[faults.accept_then_drop(operation="upload")]) as here:
        sent = await inline(here)
        await here.provider.create(sent)
        here.clock.advance(DAY_S)
        page = await here.provider.list_statuses()
        history = here.emulator.history

    assert [status.progress.total for status in page.statuses] == [1, 0]
    assert [status.status for status in page.statuses] == [BatchStatus.COMPLETED, BatchStatus.QUEUED]
    assert [record.object_id for record in history if record.kind == "create"] == [sent.input_ref]


async def test_a_batch_is_no_match_until_it_has_its_requests():
    async with world("xai", InputMode.INLINE) as here:
        since, sent = here.clock.now(), await inline(here)
        before = await here.provider.find_submissions(sent, since=since)
        unreadable = Fault(effect=faults.Rewrite(fields={"state": "?"}), operation="poll", times=None)
        here.emulator.add(unreadable)
        unclear = await here.provider.find_submissions(sent, since=since)
        fenced = await here.provider.fence(sent)
        here.emulator.remove(unreadable)
        await here.provider.create(sent)
        by_tag = await here.provider.find_submission(sent, since=since)
        by_id = await here.provider.find_submission(sent.replace(tag="another"), since=since)
        nobodys = await here.provider.find_submission(sent.replace(tag="another", input_ref="batch_x"), since=since)

    assert before == []
    assert [match.provider_batch_id for match in unclear] == [sent.input_ref], "what may have them is not sent again"
    assert (fenced, here.calls("cancel")) == (False, []), "nor cancelled"
    assert (by_tag.why, by_id.why, nobodys) == ("tag", "input", None)


async def test_a_batch_that_was_made_for_requests_is_asked_itself_and_the_list_only_where_it_is_gone():
    async with world("xai", InputMode.INLINE, faults=[faults.list_lag(3600)]) as here:
        since, sent = here.clock.now(), await inline(here)
        await here.provider.create(sent)
        found = await here.provider.find_submission(sent, since=since)
        asked = here.calls("list")
        gone = faults.refuse(404, operation="poll", times=None)
        here.emulator.add(gone)
        hidden = await here.provider.find_submission(sent, since=since)
        here.clock.advance(4000)
        listed = await here.provider.find_submission(sent, since=since)
        here.emulator.remove(gone)
        here.emulator.add(faults.refuse(403, operation="poll"))
        with pytest.raises(ProviderPermanentError):
            await here.provider.find_submissions(sent, since=since)

    assert (found.provider_batch_id, found.is_certain, asked) == (sent.input_ref, True, [])
    assert (hidden, listed.provider_batch_id, len(here.calls("list"))) == (None, sent.input_ref, 2)


async def test_the_same_requests_added_again_change_nothing():
    async with world("xai", InputMode.INLINE) as here:
        sent = await inline(here, ["a", "b"])
        made = {(await here.provider.create(sent)).provider_batch_id for _ in range(2)}
        status = await here.provider.poll_status(sent.input_ref)
        created = here.accepted("create")

    assert (made, status.progress.total) == ({sent.input_ref}, 2)
    assert created == [sent.input_ref]


async def test_a_batch_without_requests_is_fenced_by_its_cancel_and_one_that_has_them_is_left_alone():
    async with world("xai", InputMode.INLINE) as here:
        empty, over, running = [await inline(here, [text]) for text in ("a", "b", "c [[stall]]")]
        await here.provider.create(over)
        here.clock.advance(DAY_S)
        await here.provider.create(running)
        fenced = [await here.provider.fence(sent) for sent in (empty, over, running)]
        with pytest.raises(ProviderPermanentError, match="was cancelled") as caught:
            await here.provider.create(empty)
        rows = await here.rows(over.input_ref)
        filed = await here.provider.upload(await here.prepare_one(["a"], input_mode="file"))

        assert await here.provider.fence(filed) is False
        assert here.provider.submit_safety(empty) is SubmitSafety.TAGGED_FENCED

    assert (fenced, caught.value.status, len(rows)) == ([True, False, False], 403, 1)
    assert (caught.value.is_auth, caught.value.hint) == (False, None), "the key is not at fault"
    assert here.accepted("cancel") == [empty.input_ref]


async def test_a_batch_that_was_made_for_requests_says_whose_it_is_before_there_is_an_attempt():
    async with world("xai", InputMode.INLINE) as here:
        sent = [await inline(here, tag=None) for _ in range(2)]
        marks = [here.provider.tag_of(await here.provider.poll_status(one.input_ref)) for one in sent]
        now, known = here.clock.now(), Known(inputs=frozenset({sent[0].input_ref}))
        found = await find_orphans(here.provider, known, now=now, older_than_s=0)
        tidied = await delete_orphans(here.provider, found, Known())

    assert [job_of_tag(mark) for mark in marks] == [mark_of_job(JOB.hex)] * 2
    assert marks[0] != marks[1]
    assert [one.tag for one in sent] == [None, None]
    assert [(orphan.ref, orphan.mark, orphan.keeps) for orphan in found.batches] == [
        (sent[1].input_ref, marks[1], "running")
    ]
    assert tidied.deleted == 0


async def test_a_batch_that_was_made_for_requests_is_no_file_to_be_deleted():
    async with world("xai", InputMode.INLINE) as here:
        sent = await inline(here)
        deleted = await here.provider.delete_file(sent.input_ref)

    assert (deleted, here.calls("delete")) == (False, [])


async def test_requests_cannot_be_added_to_nothing():
    async with world("xai", InputMode.INLINE) as here:
        submission = await here.prepare_one(["a"])
        with pytest.raises(ProviderPermanentError, match="upload it first") as caught:
            await here.provider.create(submission)
        history = here.emulator.history

    assert (caught.value.code, history) == ("no_input", [])


@pytest.mark.parametrize(
    ("body", "is_told"),
    [
        (b"{}", True),
        (b" {} ", True),
        (BATCH, True),
        (batch(batch_id="batch_another"), False),
        (b'{"message":"welcome"}', False),
        (b"<html>", False),
        (b"null", False),
        (b"", False),
    ],
)
async def test_an_answer_to_what_was_added_is_empty_or_the_batch(body, is_told):
    async with world("xai", InputMode.INLINE) as here:
        submission = await here.prepare_one(["a"])

    assert is_added(body, submission.replace(input_ref="batch_4d7f3f0e-0c1f-4a53-9d0a-5f0f3a1b2c3d")) is is_told


# Whole jobs


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def service(clock, monkeypatch):
    with Emulator(clock=clock.now) as emulator:
        for name, value in emulator.env("xai").items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
async def client(service, clock):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        yield client


def paid(service):
    return [record.object_id for record in service.history if record.kind == "create" and record.is_paid]


WAYS = pytest.mark.parametrize("way", ["file", "inline"])


@WAYS
async def test_a_job_comes_to_its_answers_whichever_way_its_requests_travel(client, service, way):
    job = await client.submit(["one", "two [[error:400]]"], model="xai/grok-4.3", input_mode=way)
    rows = {row.request_id: (row.status.value, row.text) async for row in job.results()}

    assert rows == {"0000000": ("succeeded", "echo: one"), "0000001": ("errored", None)}
    assert len(paid(service)) == 1


@WAYS
async def test_a_create_whose_answer_is_lost_is_found_and_paid_once(client, service, way):
    service.add(faults.accept_then_drop())

    job = await client.submit(["one"], model="xai/grok-4.3", input_mode=way)
    rows = [row async for row in job.results()]

    assert [row.text for row in rows] == ["echo: one"]
    assert (len(paid(service)), paid_twice(service.history)) == (1, {})


@WAYS
async def test_a_create_that_never_arrived_is_sent_again_and_paid_once(client, service, way):
    service.add(faults.drop(operation="create"))

    job = await client.submit(["one"], model="xai/grok-4.3", input_mode=way)
    rows = [row async for row in job.results()]

    cancelled = [record.object_id for record in service.history if record.kind == "cancel"]
    assert [row.text for row in rows] == ["echo: one"]
    assert len(paid(service)) == 1
    assert len(cancelled) == (way == "inline"), (
        "the batch that was made for them, so that nothing is added to it any more"
    )
    assert cancelled != paid(service)


async def test_requests_that_are_added_late_to_a_batch_that_was_given_up_are_refused_and_cost_nothing(client, service):
    service.add(faults.ghost(1200))

    job = await client.submit(["one"], model="xai/grok-4.3", input_mode="inline")
    rows = [row async for row in job.results()]
    service.advance(DAY_S)

    late = [record.status for record in service.history if record.kind == "request" and record.operation == "create"]
    assert [row.text for row in rows] == ["echo: one"]
    assert sorted(status for status in late if status) == [200, 403]
    assert (len(paid(service)), paid_twice(service.history)) == (1, {})


async def test_requests_whose_batch_the_list_does_not_show_for_long_are_found_and_not_cancelled(clock, monkeypatch):
    with Emulator(clock=clock.now, pace={"row_s": 1800}) as service:
        for name, value in service.env("xai").items():
            monkeypatch.setenv(name, value)
        service.add(faults.accept_then_drop())
        service.add(faults.list_lag(DAY_S))
        async with BatchClient(runtime=virtual_runtime(clock)) as client:
            job = await client.submit(["one", "two"], model="xai/grok-4.3", input_mode="inline")
            rows = {row.request_id: row.text async for row in job.results()}

    assert rows == {"0000000": "echo: one", "0000001": "echo: two"}
    assert not any(record.kind == "cancel" for record in service.history)
    assert (len(paid(service)), paid_twice(service.history)) == (1, {})


@pytest.mark.parametrize("state", [{"num_requests": 2}, {"num_requests": 2, "num_success": 1}])
async def test_a_batch_whose_counters_do_not_add_up_is_not_over_and_no_answer_is_missed(clock, monkeypatch, state):
    with Emulator(clock=clock.now, pace={"row_s": 3600}) as service:
        for name, value in service.env("xai").items():
            monkeypatch.setenv(name, value)
        service.add(Fault(effect=faults.Rewrite(fields={"state": state}), operation="poll", times=None, for_s=600))
        async with BatchClient(runtime=virtual_runtime(clock)) as client:
            job = await client.submit(["one", "two"], model="xai/grok-4.3", retry="transient")
            rows = {row.request_id: row.text async for row in job.results()}

    assert rows == {"0000000": "echo: one", "0000001": "echo: two"}
    assert (len(paid(service)), paid_twice(service.history)) == (1, {})


@WAYS
async def test_a_batch_that_another_directory_has_sent_is_seen_and_its_own_is_not(service, clock, tmp_path, way):
    async with BatchClient(journal=tmp_path / "theirs", runtime=virtual_runtime(clock)) as client:
        job = await client.submit(["one [[stall]]"], model="xai/grok-4.3", input_mode=way)
        await job.submitted()
        own = await client.orphans("xai")
    async with BatchClient(journal=tmp_path / "ours", runtime=virtual_runtime(clock)) as client:
        found = await client.orphans("xai")

    assert (own.batches, own.files) == ((), ())
    assert [(orphan.ref, orphan.job, orphan.keeps) for orphan in found.batches] == [
        (paid(service)[0], job.id[:8], "running")
    ]


async def test_a_job_that_is_cancelled_keeps_the_answers_that_there_are(client, service, clock):
    job = await client.submit(["one", "two [[stall]]"], model="xai/grok-4.3")
    await job.submitted()
    service.advance(60)
    await job.cancel()
    rows = {row.request_id: row.status.value async for row in job.results()}

    assert rows == {"0000000": "succeeded", "0000001": "cancelled"}


@WAYS
async def test_requests_that_are_sent_again_are_a_batch_of_their_own_which_counts_them_alone(
    service, clock, tmp_path, way
):
    async with BatchClient(journal=tmp_path, runtime=virtual_runtime(clock)) as client:
        job = await client.submit(["one", "two [[error:400]]", "three"], model="xai/grok-4.3", input_mode=way)
        await job.wait()
        again = await job.retry()
        await job.wait()
        rows = {row.request_id: row.status.value async for row in job.results()}

    assert (again, len(paid(service))) == (1, 2)
    assert rows == {"0000000": "succeeded", "0000001": "errored", "0000002": "succeeded"}
