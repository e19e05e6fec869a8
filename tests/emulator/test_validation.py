"""Validation is as strict as the service's, and says which line offends."""

import json

import pytest

from tests.emulator.wire import chat_row, encode_lines

GOOD = chat_row("good")


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


def with_model(custom_id, model):
    return chat_row(custom_id, model=model)


@pytest.mark.parametrize(
    ("rows", "code", "line", "param"),
    [
        ([GOOD, b"{not json}\n"], "invalid_json_line", 2, None),
        ([GOOD, chat_row("b"), b'"text"\n'], "invalid_json_line", 3, None),
        ([b"\xef\xbb\xbf" + encode_lines([GOOD])], "invalid_json_line", 1, None),
        ([encode_lines([GOOD]).replace(b"hello", b"\xff")], "invalid_json_line", 1, None),
        ([encode_lines([GOOD]).replace(b"hello", b"\\ud800")], "invalid_json_line", 1, None),
        ([encode_lines([chat_row("a", temperature=float("nan"))])], "invalid_json_line", 1, None),
        ([b"[" * 100_000 + b"\n"], "invalid_json_line", 1, None),
        ([GOOD, b"\n", chat_row("b")], "invalid_json_line", 2, None),
        ([GOOD, chat_row("b"), GOOD], "duplicate_custom_id", 3, "custom_id"),
        ([without(GOOD, "custom_id")], "missing_required_parameter", 1, "custom_id"),
        ([{**GOOD, "custom_id": ""}], "missing_required_parameter", 1, "custom_id"),
        ([{**GOOD, "custom_id": 7}], "missing_required_parameter", 1, "custom_id"),
        ([without(GOOD, "body")], "missing_required_parameter", 1, "body"),
        ([{**GOOD, "method": "GET"}], "invalid_request", 1, "method"),
        ([without(GOOD, "method")], "invalid_request", 1, "method"),
        ([GOOD, {**chat_row("b"), "url": "/v1/embeddings"}], "invalid_url", 2, "url"),
        ([GOOD, with_model("b", "gpt-4o")], "mismatched_model", 2, "body.model"),
        ([with_model("a", "claude-3")], "model_not_found", 1, "body.model"),
        ([with_model("a", "text-embedding-3-small")], "model_not_found", 1, "body.model"),
        ([with_model("a", None)], "missing_required_parameter", 1, "body.model"),
        ([GOOD, chat_row("b", stream=True)], "streaming_unsupported", 2, "body.stream"),
        ([b""], "empty_file", None, None),
        ([b"\n\n"], "empty_file", None, None),
    ],
)
async def test_a_bad_line_makes_the_batch_fail(api, rows, code, line, param):
    failed = await api.run(rows)

    assert failed["status"] == "failed"
    assert failed["errors"]["object"] == "list"
    (error,) = failed["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == (code, line, param)
    assert error["message"]
    assert (failed["output_file_id"], failed["error_file_id"]) == (None, None)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n \n", b"\r\n"])
async def test_how_the_last_line_ends_does_not_matter(api, end):
    done = await api.run([json.dumps(GOOD).encode() + end])

    assert (done["status"], done["request_counts"]["total"]) == ("completed", 1)


async def test_only_a_line_feed_ends_a_line(api):
    prompt = "one\u2028two\u2029three\u0085four\x0bfive\x0csix"
    row = json.dumps(chat_row("a", prompt), ensure_ascii=False).encode()

    answers = await api.answers([row + b"\n"])

    assert answers["a"]["choices"][0]["message"]["content"] == f"echo: {prompt}"


class TestLimits:
    @pytest.fixture
    def options(self):
        return {"limits": {"rows": 3, "file_bytes": 2000, "embedding_inputs": 4}}

    async def test_as_many_rows_as_allowed_are_fine(self, api):
        assert (await api.run([chat_row(str(n)) for n in range(3)]))["status"] == "completed"

    async def test_one_row_too_many_fails_the_batch(self, api):
        failed = await api.run([chat_row(str(n)) for n in range(4)])

        assert failed["errors"]["data"][0]["code"] == "too_many_tasks"

    async def test_one_byte_too_many_fails_the_batch(self, api):
        line = encode_lines([chat_row("a")])
        fits, too_large = (line.replace(b"hello", b"x" * (size - len(line) + 5)) for size in (2000, 2001))

        assert (await api.run([fits]))["status"] == "completed"
        assert (await api.run([too_large]))["errors"]["data"][0]["code"] == "invalid_request"

    async def test_embedding_inputs_are_counted_over_all_rows(self, api):
        def row(custom_id, inputs):
            body = {"model": "text-embedding-3-small", "input": inputs}
            return {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}

        fits = await api.run([row("a", ["x", "y"]), row("b", "z"), row("c", [1, 2, 3])], "/v1/embeddings")
        too_many = await api.run([row("a", ["x", "y", "z"]), row("b", ["u", "v"])], "/v1/embeddings")

        assert fits["status"] == "completed"
        assert too_many["errors"]["data"][0]["code"] == "too_many_tasks"


class TestFurtherModels:
    @pytest.fixture
    def options(self):
        return {"models": ["house-*"]}

    async def test_a_model_of_the_caller_is_known(self, api):
        assert (await api.run([with_model("a", "house-1")]))["status"] == "completed"
        assert (await api.run([with_model("a", "hut-1")]))["status"] == "failed"


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_type"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": ["hi"]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": "7"}, "max_completion_tokens", "integer_below_min_value"),
        ({"n": True}, "n", "integer_below_min_value"),
        ({"n": 10**9}, "n", "integer_above_max_value"),
        ({"foo": 1}, "foo", "unknown_parameter"),
    ],
)
async def test_a_bad_body_is_the_error_of_its_row_alone(api, changes, param, code):
    done = await api.run([GOOD, chat_row("bad", **changes)])
    output, errors = await api.results(done)

    assert (done["status"], done["request_counts"]) == ("completed", {"total": 2, "completed": 1, "failed": 1})
    assert set(output) == {"good"}
    assert errors["bad"]["error"] is None
    assert errors["bad"]["response"]["status_code"] == 400
    error = errors["bad"]["response"]["body"]["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct"}, "prompt"),
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": 7}, "prompt"),
        ("/v1/embeddings", {"model": "text-embedding-3-small"}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ""}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": []}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x", "temperature": 1}, "temperature"),
        ("/v1/responses", {"model": "gpt-5-mini", "input": 7}, "input"),
        ("/v1/moderations", {"model": "omni-moderation-latest"}, "input"),
        ("/v1/images/generations", {"model": "gpt-image-1", "prompt": "x", "n": 0}, "n"),
    ],
)
async def test_every_endpoint_checks_its_own_bodies(api, endpoint, body, param):
    answers = await api.answers([{"custom_id": "bad", "method": "POST", "url": endpoint, "body": body}], endpoint)

    assert answers["bad"]["error"]["param"] == param


async def test_a_batch_whose_rows_all_failed_is_completed_without_output(api):
    done = await api.run([chat_row("a", messages=[]), chat_row("b", messages=[])])

    assert done["status"] == "completed"
    assert done["output_file_id"] is None
    assert done["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert set((await api.results(done))[1]) == {"a", "b"}
