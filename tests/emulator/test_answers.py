"""The echo model answers every endpoint in its own shape, and the same every time."""

import base64
import datetime as dt
import json
import math
import struct
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncbatch.emulator import echo
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.emulator.families.openai_checks import Endpoint
from asyncbatch.emulator.families.openai_rows import Rows, Rules
from asyncbatch.emulator.instances import make_instance
from asyncbatch.emulator.markers import find_markers
from asyncbatch.emulator.rows import Row, RowError
from tests.emulator.wire import chat_row

ENDPOINTS = msgspec.convert(load_dialects()["openai"].protocol["endpoints"], dict[str, Endpoint])
TOOL = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
    },
}


async def ask(api, endpoint, **body):
    row = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
    return (await api.answers([row], endpoint))["a"]


async def chat(api, prompt="hi", **changes):
    return (await api.answers([chat_row("a", prompt, **changes)]))["a"]


async def test_chat_echoes_the_last_thing_the_user_said(api):
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
    ]

    answer = await chat(api, messages=messages)

    (choice,) = answer["choices"]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4.1-mini"
    assert choice["message"] == {"role": "assistant", "content": "echo: second", "refusal": None, "annotations": []}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


async def test_chat_gives_as_many_choices_as_asked_for(api):
    answer = await chat(api, n=3)

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_chat_stops_where_its_tokens_end(api, name):
    answer = await chat(api, "a long prompt, to be cut", **{name: 2})

    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("echo: a ", "length")
    assert answer["usage"]["completion_tokens"] == 2


async def test_chat_answers_in_the_wanted_schema(api):
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}, "score": {"type": "number"}, "spare": {"type": "string"}},
        "required": ["mood", "score"],
    }

    answer = await chat(api, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})

    assert json.loads(answer["choices"][0]["message"]["content"]) == {"mood": "good", "score": 0}


async def test_chat_answers_json_where_any_will_do(api):
    answer = await chat(api, response_format={"type": "json_object"})

    assert json.loads(answer["choices"][0]["message"]["content"]) == {"echo": True}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_chat_calls_a_tool_where_one_is_required(api, choice):
    answer = await chat(api, tools=[{"type": "function", "function": TOOL}], tool_choice=choice)

    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "echo", "days": 1}


async def test_chat_calls_no_tool_where_none_is_required(api):
    answer = await chat(api, tools=[{"type": "function", "function": TOOL}], tool_choice="auto")

    assert "tool_calls" not in answer["choices"][0]["message"]


async def test_completions_echo_each_prompt(api):
    answer = await ask(api, "/v1/completions", model="gpt-3.5-turbo-instruct", prompt=["one", "two", [1, 2, 3]])

    assert answer["object"] == "text_completion"
    assert [choice["text"] for choice in answer["choices"]] == ["echo: one", "echo: two", "echo: tokens"]


async def test_embeddings_are_unit_vectors_and_the_same_every_time(api):
    model = "text-embedding-3-small"
    answer = await ask(api, "/v1/embeddings", model=model, input=["one", "two", "one"], dimensions=8)

    one, two, again = (item["embedding"] for item in answer["data"])
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    assert len(one) == 8
    assert math.isclose(sum(value * value for value in one), 1)
    assert one == again != two


@pytest.mark.parametrize(("model", "size"), [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072)])
async def test_embeddings_have_the_size_of_their_model(api, model, size):
    answer = await ask(api, "/v1/embeddings", model=model, input="one")

    assert len(answer["data"][0]["embedding"]) == size


async def test_embeddings_can_be_had_in_base64(api):
    model = "text-embedding-3-small"
    plain = await ask(api, "/v1/embeddings", model=model, input=[1, 2, 3], dimensions=4)
    coded = await ask(api, "/v1/embeddings", model=model, input=[1, 2, 3], dimensions=4, encoding_format="base64")

    floats = struct.unpack("<4f", base64.b64decode(coded["data"][0]["embedding"]))
    assert floats == pytest.approx(plain["data"][0]["embedding"])
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_responses_echo_the_input(api):
    answer = await ask(api, "/v1/responses", model="gpt-5-mini", input="say hi", metadata={"a": "b"})

    assert (answer["object"], answer["status"], answer["metadata"]) == ("response", "completed", {"a": "b"})
    assert answer["output"][0]["content"][0]["text"] == "echo: say hi"


async def test_responses_take_a_list_of_items(api):
    items = [{"role": "user", "content": "one"}, {"role": "user", "content": [{"type": "input_text", "text": "two"}]}]

    answer = await ask(api, "/v1/responses", model="gpt-5-mini", input=items)

    assert answer["output"][0]["content"][0]["text"] == "echo: two"


async def test_responses_that_are_cut_are_incomplete(api):
    answer = await ask(api, "/v1/responses", model="gpt-5-mini", input="a long one", max_output_tokens=1)

    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_responses_call_tools_and_keep_to_schemas(api):
    called = await ask(
        api,
        "/v1/responses",
        model="gpt-5-mini",
        input="x",
        tools=[{"type": "function", **TOOL}],
        tool_choice="required",
    )
    shaped = await ask(
        api,
        "/v1/responses",
        model="gpt-5-mini",
        input="x",
        text={"format": {"type": "json_schema", "name": "x", "schema": TOOL["parameters"]}},
    )

    assert (called["output"][0]["type"], called["output"][0]["name"]) == ("function_call", "get_weather")
    assert json.loads(shaped["output"][0]["content"][0]["text"]) == {"city": "echo", "days": 1}


async def test_moderations_flag_what_asks_for_it(api):
    async def moderate(text):
        return (await ask(api, "/v1/moderations", model="omni-moderation-latest", input=text))["results"]

    assert [result["flagged"] for result in await moderate(["a", "b"])] == [False, False]
    (flagged,) = await moderate("bad [[flag]]")
    assert flagged["flagged"]
    assert flagged["categories"]["violence"]


async def test_images_and_videos_have_answers_too(api):
    image = await ask(api, "/v1/images/generations", model="gpt-image-1", prompt="a cat", n=2)
    edited = await ask(api, "/v1/images/edits", model="gpt-image-1", prompt="a cat")
    video = await ask(api, "/v1/videos", model="sora-2", prompt="a cat")

    assert [base64.b64decode(item["b64_json"])[:4] for item in image["data"]] == [b"\x89PNG"] * 2
    assert len(edited["data"]) == 1
    assert (video["object"], video["status"], video["prompt"]) == ("video", "completed", "a cat")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, None),
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "minLength": 6}, "echo.."),
        ({"type": "string", "maxLength": 2}, "ec"),
        ({"type": ["null", "string"]}, None),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": "number", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "integer", "minimum": 10**400}, 0),
        ({"type": "boolean"}, False),
        ({"type": "array", "items": {"type": "boolean"}}, []),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"properties": {"a": {"const": 1}}, "required": ["a"]}, {"a": 1}),
        (
            {
                "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"const": 2}}, "required": ["b"]}],
                "$defs": {"a": {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}},
            },
            {"a": 1, "b": 2},
        ),
        (
            {
                "$ref": "#/$defs/node",
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                        "required": ["next"],
                    }
                },
            },
            {"next": None},
        ),
        ({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}, {"me": None}),
        ({"$ref": "#/nowhere"}, None),
    ],
)
def test_an_instance_satisfies_its_schema(schema, value):
    assert make_instance(schema) == value


WORDS = [
    *(
        "messages",
        "role",
        "content",
        "text",
        "input",
        "prompt",
        "tools",
        "function",
        "name",
        "parameters",
        "tool_choice",
    ),
    *("response_format", "json_schema", "schema", "format", "type", "properties", "required", "items", "minItems"),
    *("anyOf", "allOf", "$ref", "enum", "minimum", "minLength", "n", "dimensions", "max_tokens", "encoding_format"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("url", ENDPOINTS)
@given(fields=st.dictionaries(st.sampled_from(WORDS), json_values), is_plain=st.booleans())
def test_no_body_is_too_strange_to_be_refused_or_answered(url, fields, is_plain):
    endpoint = ENDPOINTS[url]
    usual = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": "hi"} if is_plain else {}
    known = {
        name: value for name, value in fields.items() if endpoint.parameters is None or name in endpoint.parameters
    }
    body = {"model": "m", **known, **{name: usual[name] for name in endpoint.requires if name in usual}}
    line = msgspec.json.encode(body)
    rules = Rules(
        url="", endpoint=endpoint, embedding_inputs=None, allows_model=lambda _: True, dimensions=lambda _: 1536
    )
    kind, row = Rows(rules), Row("a", body, {})

    try:
        kind.check(row)
    except RowError:
        return
    ask = kind.ask(row)
    if ask.kind == "embedding":
        ask = replace(ask, dimensions=4)
    ask = replace(ask, mark="1", at=1.5, markers=find_markers(line))
    result = kind.encode_answer(row, ask, kind.answer_other(ask) if ask.kind == "other" else echo.answer(ask))

    assert msgspec.json.decode(msgspec.json.encode(result)) == result


@given(schema=json_values)
def test_no_schema_is_too_strange_for_an_instance(schema):
    msgspec.json.encode(make_instance(schema))


@pytest.mark.parametrize("format_", ["date-time", "date", "email", "uuid", "uri", "ipv4"])
def test_a_text_of_a_known_format_is_one(format_):
    read = {"date-time": dt.datetime, "date": dt.date, "uuid": uuid.UUID}
    value = make_instance({"type": "string", "format": format_})

    assert value != make_instance({"type": "string"})
    assert msgspec.convert(value, read.get(format_, str))
