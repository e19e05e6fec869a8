"""What Mistral's endpoints take in a row, and what they answer."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncbatch.emulator import echo
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.emulator.families import mistral_asks, openai_asks
from asyncbatch.emulator.families.mistral_bodies import CHECKS
from asyncbatch.emulator.families.mistral_rows import Rows, rules_for
from asyncbatch.emulator.markers import find_markers
from asyncbatch.emulator.rows import Row, RowError
from tests.emulator.mistral_wire import CALL, FUNCTION, MODEL, TOOL, Api, row, said


@pytest.fixture
async def api(emulator):
    api = Api(emulator)
    yield api
    await api.session.close()


class TestBodies:
    @pytest.mark.parametrize(
        ("changes", "loc"),
        [
            ({"messages": ...}, ["messages"]),
            ({"messages": []}, ["messages"]),
            ({"messages": "hi"}, ["messages"]),
            ({"messages": [said(role="developer")]}, ["messages", 0, "role"]),
            ({"messages": [said(), {"content": "hi"}]}, ["messages", 1, "role"]),
            ({"messages": [{"role": "user"}]}, ["messages", 0, "content"]),
            ({"messages": [said(name="me")]}, ["messages", 0, "name"]),
            ({"messages": [said(None, "system")]}, ["messages", 0, "content"]),
            ({"messages": [said([{"type": "image_url", "image_url": "x"}], "system")]}, ["messages", 0, "content", 0]),
            ({"messages": [said([{"type": "video"}])]}, ["messages", 0, "content", 0, "type"]),
            ({"messages": [said([{"type": "text"}])]}, ["messages", 0, "content", 0, "text"]),
            ({"messages": [said([{"type": "file", "file": {}}])]}, ["messages", 0, "content", 0, "file_id"]),
            ({"messages": [said([{"type": "input_audio", "input_audio": {}}])]}, ["messages", 0, "content", 0]),
            ({"messages": [said([{"type": "image_url", "image_url": {"detail": "low"}}])]}, ["messages", 0, "content"]),
            ({"temperature": 1.6}, ["temperature"]),
            ({"temperature": "hot"}, ["temperature"]),
            ({"top_p": 0}, ["top_p"]),
            ({"max_tokens": -1}, ["max_tokens"]),
            ({"max_completion_tokens": 5}, ["max_completion_tokens"]),
            ({"seed": 7}, ["seed"]),
            ({"random_seed": -7}, ["random_seed"]),
            ({"presence_penalty": 3}, ["presence_penalty"]),
            ({"n": 0}, ["n"]),
            ({"n": True}, ["n"]),
            ({"stop": 7}, ["stop"]),
            ({"parallel_tool_calls": "yes"}, ["parallel_tool_calls"]),
            ({"stream": True}, ["stream"]),
            ({"reasoning_effort": "huge"}, ["reasoning_effort"]),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ["tools", 0, "function", "parameters"]),
            ({"tools": [{"type": "retrieval"}]}, ["tools", 0, "type"]),
            ({"tools": [FUNCTION]}, ["tools", 0, "function"]),
            ({"tool_choice": "f"}, ["tool_choice"]),
            ({"tool_choice": {"type": "function"}}, ["tool_choice", "function"]),
            ({"response_format": {"type": "json_schema"}}, ["response_format", "json_schema"]),
            ({"response_format": {"type": "xml"}}, ["response_format", "type"]),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
                ["response_format", "json_schema", "schema"],
            ),
        ],
    )
    async def test_a_bad_body_is_the_422_of_its_row_alone(self, api, changes, loc):
        done = await api.run([row("good"), row("bad", **changes)])
        (line,) = await api.lines(done["error_file"])
        (problem,) = json.loads(line["response"]["body"])["message"]["detail"]

        assert (line["custom_id"], line["response"]["status_code"]) == ("bad", 422)
        assert problem["loc"][: len(loc) + 1] == ["body", *loc]
        assert (done["succeeded_requests"], done["failed_requests"]) == (1, 1)

    @pytest.mark.parametrize(
        ("messages", "code"),
        [
            ([said("", "assistant", tool_calls=[{**CALL, "id": "call_1"}])], "3280"),
            ([said("", "assistant", tool_calls=[CALL]), said("1", "tool", tool_call_id="call_1")], "3280"),
            ([said(None, "assistant")], "3310"),
        ],
    )
    async def test_what_the_schema_allows_and_the_model_does_not_is_a_400(self, api, messages, code):
        done = await api.run([row("a", messages=[said(), *messages])])
        (line,) = await api.lines(done["error_file"])
        body = json.loads(line["response"]["body"])

        assert (line["response"]["status_code"], body["code"]) == (400, code)

    @pytest.mark.parametrize(
        ("endpoint", "body", "loc"),
        [
            ("/v1/embeddings", {}, ["input"]),
            ("/v1/embeddings", {"input": []}, ["input"]),
            ("/v1/embeddings", {"input": [1, 2]}, ["input", 0]),
            ("/v1/embeddings", {"input": ""}, ["input"]),
            ("/v1/embeddings", {"input": "a", "dimensions": 8}, ["dimensions"]),
            ("/v1/embeddings", {"input": "a", "output_dimension": 0}, ["output_dimension"]),
            ("/v1/embeddings", {"messages": [said()]}, ["input"]),
            ("/v1/fim/completions", {"suffix": "x"}, ["prompt"]),
            ("/v1/fim/completions", {"prompt": ["x"]}, ["prompt"]),
            ("/v1/moderations", {"input": 7}, ["input"]),
            ("/v1/chat/moderations", {"input": "text"}, ["input"]),
            ("/v1/chat/moderations", {"input": [[{"role": "robot"}]]}, ["input", 0, 0, "role"]),
            ("/v1/classifications", {"input": {}}, ["input"]),
            ("/v1/chat/classifications", {"input": [said()]}, ["input", 0, "messages"]),
            ("/v1/ocr", {}, ["document"]),
            ("/v1/ocr", {"document": {"type": "file", "file_id": "x"}}, ["document", "file_id"]),
            ("/v1/ocr", {"document": {"type": "image_url", "image_url": "x"}, "pages": "all"}, ["pages"]),
            ("/v1/ocr", {"document": {"type": "image_url", "image_url": "x"}, "pages": [0] * 1001}, ["pages"]),
            ("/v1/conversations", {}, ["inputs"]),
            ("/v1/conversations", {"inputs": [{"role": "system", "content": "x"}]}, ["inputs", 0, "role"]),
            ("/v1/conversations", {"inputs": "x", "completion_args": {"temperature": 2}}, ["completion_args"]),
            ("/v1/audio/transcriptions", {}, []),
            ("/v1/audio/transcriptions", {"file_url": "u", "file_id": "f"}, []),
            ("/v1/audio/transcriptions", {"file_url": "u", "language": "english"}, ["language"]),
        ],
    )
    async def test_every_endpoint_checks_its_own_bodies(self, api, endpoint, body, loc):
        done = await api.run([{"custom_id": "a", "body": body}], endpoint)
        (line,) = await api.lines(done["error_file"])
        (problem,) = json.loads(line["response"]["body"])["message"]["detail"]

        assert problem["loc"][: len(loc) + 1] == ["body", *loc]


class TestAnswers:
    async def test_chat_says_what_the_user_said(self, api):
        answer = await api.body({"messages": [said("be short", "system"), said([{"type": "text", "text": "hi"}])]})

        (choice,) = answer["choices"]
        assert choice["message"] == {"role": "assistant", "tool_calls": None, "content": "echo: hi"}
        assert choice["finish_reason"] == "stop"
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

    @pytest.mark.parametrize("choice", ["any", "required", {"type": "function", "function": {"name": "f"}}])
    async def test_chat_calls_tools_with_ids_of_nine(self, api, choice):
        answer = await api.body({"messages": [said()], "tools": [TOOL], "tool_choice": choice, "n": 2})

        calls = [call for choice in answer["choices"] for call in choice["message"]["tool_calls"]]
        assert all(choice["message"]["content"] == "" for choice in answer["choices"])
        assert {choice["finish_reason"] for choice in answer["choices"]} == {"tool_calls"}
        assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"a": 0}] * 2
        assert len({call["id"] for call in calls}) == 2
        assert all(len(call["id"]) == 9 and call["id"].isalnum() for call in calls)

    async def test_chat_calls_no_tool_unless_it_has_to(self, api):
        answer = await api.body({"messages": [said()], "tools": [TOOL]})

        assert answer["choices"][0]["message"]["tool_calls"] is None

    async def test_tokens_of_caches_and_thinking_are_shown_as_this_service_does(self, api):
        bodies = await api.bodies([row("cached", "[[cached:7]]"), row("think", "[[think:9]]"), row("no", "[[refuse]]")])

        assert bodies["cached"]["usage"]["prompt_tokens_details"] == {"cached_tokens": 7}
        assert bodies["cached"]["usage"]["prompt_tokens"] == 3 + 7
        thought, text = bodies["think"]["choices"][0]["message"]["content"]
        assert (thought["type"], text["type"]) == ("thinking", "text")
        assert bodies["think"]["usage"]["completion_tokens"] > 9
        assert bodies["no"]["choices"][0]["message"]["content"] == echo.REFUSAL

    async def test_embeddings_are_as_long_as_their_model_makes_them(self, api):
        rows = [
            {"custom_id": "plain", "body": {"input": ["a", "b"]}},
            {"custom_id": "short", "body": {"input": "a", "output_dimension": 8}},
            *(
                {"custom_id": kind, "body": {"input": "a", "output_dimension": 16, "output_dtype": kind}}
                for kind in ("int8", "uint8", "binary", "ubinary")
            ),
            {"custom_id": "text", "body": {"input": "a", "output_dtype": "ubinary", "encoding_format": "base64"}},
        ]
        bodies = await api.bodies(rows, "/v1/embeddings")

        vectors = {name: body["data"][0]["embedding"] for name, body in bodies.items()}
        assert {name: len(vector) for name, vector in vectors.items()} == {
            "plain": 1024,
            "short": 8,
            "int8": 16,
            "uint8": 16,
            "binary": 2,
            "ubinary": 2,
            "text": 172,
        }
        assert all(-128 <= value <= 127 for value in vectors["int8"] + vectors["binary"])
        assert all(0 <= value <= 255 for value in vectors["uint8"] + vectors["ubinary"])
        assert [item["index"] for item in bodies["plain"]["data"]] == [0, 1]
        assert bodies["plain"]["usage"]["total_tokens"] == bodies["plain"]["usage"]["prompt_tokens"] == 2

    async def test_fim_answers_in_the_shape_of_chat(self, api):
        answer = await api.body({"prompt": "def f(", "suffix": "return a", "max_tokens": 2}, "/v1/fim/completions")

        assert answer["choices"][0]["message"]["content"] == "echo: de"
        assert answer["choices"][0]["finish_reason"] == "length"

    async def test_conversations_are_spoken_too(self, api):
        answer = await api.body({"inputs": "hi", "instructions": "be short"}, "/v1/conversations")
        called = await api.body({"inputs": "[[tool:f]]", "tools": [TOOL]}, "/v1/conversations")

        (entry,) = answer["outputs"]
        assert (entry["type"], entry["content"]) == ("message.output", "echo: hi")
        assert answer["usage"]["prompt_tokens"] == 3
        assert [(entry["type"], entry["name"]) for entry in called["outputs"]] == [("function.call", "f")]

    def test_entries_of_a_conversation_are_turns(self):
        calls = [
            {"type": "function.call", "tool_call_id": "c1", "name": "f", "arguments": {"a": 1}},
            {"type": "function.result", "tool_call_id": "c1", "result": "7"},
        ]
        entries = [
            {"role": "user", "content": "what?"},
            *calls,
            {"type": "tool.execution", "name": "web_search"},
            {"type": "message.output", "role": "assistant", "content": [{"type": "text", "text": "seven"}]},
            {"type": "message.input", "role": "user", "content": "thanks"},
        ]
        body = {
            "inputs": entries,
            "instructions": "be short",
            "tools": [TOOL],
            "completion_args": {"random_seed": 7, "max_tokens": 9, "tool_choice": "any"},
        }
        spoken = {
            "model": MODEL,
            "messages": [
                said("be short", "system"),
                said("what?"),
                {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}]},
                said("7", "tool", tool_call_id="c1"),
                said("seven", "assistant"),
                said("thanks"),
            ],
            "tools": [TOOL],
            "tool_choice": "required",
            "seed": 7,
            "max_tokens": 9,
        }

        ask = mistral_asks.ask_conversation(body, MODEL)

        CHECKS["conversation"](body, ())
        assert replace(ask, body={}) == replace(openai_asks.ask_chat(spoken), body={})

    async def test_moderations_and_classifications_judge_each_input(self, api):
        for endpoint, one, many in [
            ("/v1/moderations", "a", ["a", "b"]),
            ("/v1/chat/moderations", [said(), said()], [[said()], [said()]]),
            ("/v1/classifications", "a", ["a", "b"]),
            ("/v1/chat/classifications", {"messages": [said()]}, [{"messages": [said()]}] * 2),
        ]:
            rows = [{"custom_id": str(len(json.dumps(wanted))), "body": {"input": wanted}} for wanted in (one, many)]
            bodies = await api.bodies(rows, endpoint)
            assert [len(bodies[item["custom_id"]]["results"]) for item in rows] == [1, 2]

    async def test_moderations_flag_what_asks_for_it(self, api):
        (flagged,) = (await api.body({"input": "[[flag]]"}, "/v1/moderations"))["results"]
        (fine,) = (await api.body({"input": "a"}, "/v1/moderations"))["results"]

        assert (any(flagged["categories"].values()), any(fine["categories"].values())) == (True, False)

    @pytest.mark.parametrize(("pages", "numbers"), [(..., [0]), ([3, 5], [3, 5]), ("0,2-4", [0, 2, 3, 4])])
    async def test_ocr_reads_the_pages_asked_for(self, api, pages, numbers):
        document = {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERg=="}
        wanted = {} if pages is ... else {"pages": pages}
        answer = await api.body({"document": document, **wanted}, "/v1/ocr")

        assert [page["index"] for page in answer["pages"]] == numbers
        assert answer["usage_info"] == {"pages_processed": len(numbers), "doc_size_bytes": 4}

    @pytest.mark.parametrize(
        ("source", "size"), [("https://example.com/a.png", None), ("data:image/png;base64,AA==", 1), ("data:,abc", 3)]
    )
    async def test_ocr_knows_the_size_of_what_came_with_the_row(self, api, source, size):
        wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": FUNCTION["parameters"]}}
        document = {"type": "image_url", "image_url": {"url": source}}
        answer = await api.body({"document": document, "document_annotation_format": wanted}, "/v1/ocr")

        assert answer["usage_info"]["doc_size_bytes"] == size
        assert json.loads(answer["document_annotation"]) == {"a": 0}

    async def test_transcriptions_are_charged_by_the_second(self, api):
        wanted = {"file_url": "https://example.com/a.mp3", "timestamp_granularities": ["segment"]}
        answer = await api.body(wanted, "/v1/audio/transcriptions")

        assert answer["text"] == "echo: https://example.com/a.mp3"
        assert answer["usage"]["prompt_audio_seconds"] == 3
        assert [segment["text"] for segment in answer["segments"]] == [answer["text"]]

    def test_asks_that_mean_the_same_are_the_same(self):
        url, pdf = "data:image/png;base64,AA==", "https://example.com/a.pdf"
        ours = {
            "messages": [
                said("be short", "system"),
                said(
                    [
                        {"type": "text", "text": "one"},
                        {"type": "text", "text": "two"},
                        {"type": "image_url", "image_url": url},
                        {"type": "document_url", "document_url": pdf},
                    ]
                ),
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
                },
                said("7", "tool", tool_call_id=CALL["id"], name="f"),
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
            ],
            "tools": [TOOL],
            "tool_choice": "any",
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            "temperature": 0.5,
            "random_seed": 7,
            "max_tokens": 9,
            "stop": "x",
            "n": 2,
            "top_p": 0.5,
        }
        openai = json.loads(json.dumps({**ours, "model": MODEL, "seed": 7, "tool_choice": "required"}))
        del openai["random_seed"]
        openai["messages"][1]["content"][2]["image_url"] = {"url": url}
        openai["messages"][1]["content"][3] = {"type": "file", "file": {"file_data": pdf}}
        openai["messages"][2]["tool_calls"][0]["function"]["arguments"] = "{}"

        mine, theirs = mistral_asks.ask_chat(ours, MODEL), openai_asks.ask_chat(openai)

        assert replace(mine, body={}) == replace(theirs, body={})
        assert mine.body is ours


WORDS = [
    *(
        "messages",
        "role",
        "content",
        "text",
        "input",
        "inputs",
        "prompt",
        "tools",
        "function",
        "name",
        "parameters",
        "type",
    ),
    *(
        "user",
        "assistant",
        "system",
        "tool_calls",
        "arguments",
        "document",
        "document_url",
        "pages",
        "file_id",
        "file_url",
    ),
    *(
        "response_format",
        "json_schema",
        "schema",
        "n",
        "output_dimension",
        "output_dtype",
        "max_tokens",
        "completion_args",
    ),
]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner),
    max_leaves=8,
)
USUAL = {
    "chat": {"messages": [said()]},
    "embedding": {"input": "a", "output_dimension": 4},
    "fim": {"prompt": "a"},
    "moderation": {"input": "a"},
    "chat_moderation": {"input": [said()]},
    "classification": {"input": "a"},
    "chat_classification": {"input": {"messages": [said()]}},
    "ocr": {"document": {"type": "document_url", "document_url": "u"}},
    "conversation": {"inputs": "a"},
    "transcription": {"file_url": "u"},
}


@pytest.mark.parametrize("answer", CHECKS)
@given(fields=st.dictionaries(st.sampled_from(WORDS), json_values), is_plain=st.booleans())
def test_no_body_is_too_strange_to_be_refused_or_answered(answer, fields, is_plain):
    body = {**fields, **USUAL[answer]} if is_plain else {**USUAL[answer], **fields}
    kind, item = Rows(rules_for(answer, MODEL, 4)), Row("a", body, {})
    try:
        kind.check(item)
    except RowError as error:
        json.dumps(kind.encode_error(item, "0" * 38, error))
        return
    ask = replace(kind.ask(item), mark="0" * 38, at=1.5, markers=find_markers(msgspec.json.encode(body)))
    result = kind.encode_answer(item, ask, kind.answer_other(ask) if ask.kind == "other" else echo.answer(ask))

    assert msgspec.json.decode(msgspec.json.encode(result)) == result


def test_every_endpoint_of_the_dialect_has_checks_and_answers():
    assert {endpoint["answer"] for endpoint in load_dialects()["mistral"].protocol["endpoints"].values()} == set(CHECKS)
