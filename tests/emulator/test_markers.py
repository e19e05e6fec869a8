"""Markers in a prompt ask for trouble, one row at a time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.emulator.markers import find_markers
from tests.emulator.wire import chat_row


async def lines_of(api, *rows):
    done = await api.run([chat_row("plain"), *rows])
    return done, await api.lines(done["output_file_id"]), await api.lines(done["error_file_id"])


@pytest.mark.parametrize(
    ("marker", "status", "kind", "code"),
    [
        ("[[error]]", 400, "invalid_request_error", "invalid_value"),
        ("[[error:400]]", 400, "invalid_request_error", "invalid_value"),
        ("[[error:429]]", 429, "requests", "rate_limit_exceeded"),
        ("[[error:500]]", 500, "server_error", "server_error"),
        ("[[error:418]]", 418, "invalid_request_error", None),
    ],
)
async def test_an_error_is_a_row_of_the_error_file(api, marker, status, kind, code):
    done, output, (line,) = await lines_of(api, chat_row("a", f"please {marker}"))

    assert [line["custom_id"] for line in output] == ["plain"]
    assert done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert (line["custom_id"], line["error"], line["response"]["status_code"]) == ("a", None, status)
    error = line["response"]["body"]["error"]
    assert (error["type"], error["code"]) == (kind, code)


async def test_expire_is_a_row_that_was_never_run(api):
    done, _, (line,) = await lines_of(api, chat_row("a", "[[expire]]"))

    assert done["status"] == "completed"
    assert (line["custom_id"], line["response"], line["error"]["code"]) == ("a", None, "batch_expired")


async def test_missing_is_a_row_in_neither_file(api):
    done, output, errors = await lines_of(api, chat_row("a", "[[missing]]"))

    assert done["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert [line["custom_id"] for line in output + errors] == ["plain"]


async def test_duplicate_is_the_same_answer_twice(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[duplicate]]"))

    first, second = (line for line in output if line["custom_id"] == "a")
    assert first == second


async def test_conflict_is_two_different_answers(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[conflict]]"))

    first, second = (line["response"]["body"]["choices"][0] for line in output if line["custom_id"] == "a")
    assert first != second


async def test_stranger_is_an_answer_that_nobody_asked_for(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[stranger]]"))

    assert len({line["custom_id"] for line in output} - {"a", "plain"}) == 1


async def test_garbage_is_a_line_that_cannot_be_read(api):
    done = await api.run([chat_row("plain"), chat_row("a", "[[garbage]]")])

    lines = (await api.content(done["output_file_id"])).split(b"\n")[:-1]

    good = [line for line in lines if b'"plain"' in line]
    (bad,) = [line for line in lines if b'"plain"' not in line]
    assert json.loads(good[0])["custom_id"] == "plain"
    with pytest.raises(ValueError, match=r"."):
        json.loads(bad)


async def test_refuse_is_an_answer_that_declines(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[refuse]]"))

    (message,) = [line["response"]["body"]["choices"][0]["message"] for line in output if line["custom_id"] == "a"]
    assert message["content"] is None
    assert message["refusal"]


async def test_refuse_works_for_responses_too(api):
    body = {"model": "gpt-5-mini", "input": "[[refuse]]"}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}

    answers = await api.answers([row], "/v1/responses")

    assert answers["a"]["output"][0]["content"][0]["type"] == "refusal"


async def test_tool_is_an_answer_that_calls_it(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[tool:get_weather]]"))

    (choice,) = [line["response"]["body"]["choices"][0] for line in output if line["custom_id"] == "a"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": "{}"}


async def test_cached_and_think_are_tokens_of_a_cache_and_of_reasoning(api):
    words = "[[cached:30]] [[think:50]]"
    done, output, _ = await lines_of(api, chat_row("a", words))
    row = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-5-mini", "input": words}}
    response = (await api.answers([row], "/v1/responses"))["a"]["usage"]
    by_id = {line["custom_id"]: line["response"]["body"]["usage"] for line in output}

    assert by_id["a"] == {
        "prompt_tokens": 7 + 30,
        "completion_tokens": 8 + 50,
        "total_tokens": 95,
        "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 50, "audio_tokens": 0},
    }
    assert (response["input_tokens_details"]["cached_tokens"], response["total_tokens"]) == (30, 95)
    assert response["output_tokens_details"] == {"reasoning_tokens": 50}
    assert (done["usage"]["input_tokens_details"], done["usage"]["output_tokens_details"]) == (
        {"cached_tokens": 30},
        {"reasoning_tokens": 50},
    )
    assert by_id["plain"]["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize("value", ["", ":", ":x", ":-1", ":99999999999999999999999999", ":1.5"])
async def test_numbers_that_are_none_are_nought(api, value):
    _, output, errors = await lines_of(api, chat_row("a", f"[[cached{value}]]"), chat_row("b", f"[[error{value}]]"))
    usage = {line["custom_id"]: line["response"]["body"]["usage"] for line in output}

    assert usage["a"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert [line["custom_id"] for line in errors if line["response"]["status_code"] == 400] == ["b"] * len(errors)


async def test_stall_holds_the_batch_until_it_expires(api, time):
    batch = await api.start([chat_row("plain"), chat_row("a", "[[stall]]")])

    time.now += 80_000
    running = await api.batch(batch["id"])
    time.now += 10_000
    expired = await api.batch(batch["id"])
    output, errors = await api.results(expired)

    assert (running["status"], expired["status"]) == ("in_progress", "expired")
    assert running["request_counts"] == {"total": 2, "completed": 1, "failed": 0}
    assert expired["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert set(output) == {"plain"}
    assert errors["a"]["error"]["code"] == "batch_expired"


async def test_other_brackets_mean_nothing(api):
    _, output, _ = await lines_of(api, chat_row("a", "[[1, 2], [3]] [[unknown]] [[ERROR]] [error]"))

    assert {line["custom_id"] for line in output} == {"a", "plain"}


@given(st.text())
def test_markers_are_found_in_any_text(text):
    line = json.dumps(f"{text} [[error:429]]", ensure_ascii=False).encode("utf-8", "surrogatepass")

    assert ("error", "429") in find_markers(line)
