"""A chat in OpenAI's shape as Anthropic's messages: every field, every refusal, and what stays untouched."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.catalog import load_catalog
from asyncbatch.codec.formats import format_of
from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode
from asyncbatch.providers.anthropic_provider import encode_line

FACTS = load_catalog().provider("anthropic")
EPHEMERAL = {"type": "ephemeral"}
PDF = "data:application/pdf;base64,JVBERi0="
PNG = "data:image/png;base64,iVBORw0="


def row(body, *, model="claude-test", max_tokens=4096, refuses=(), mode=BatchMode.CHAT, drop=False):
    rules = RowRules(
        title="Anthropic",
        endpoint="/v1/messages",
        format="anthropic.messages",
        mode=mode,
        model=model,
        max_tokens=max_tokens,
        refuses=refuses,
        is_dropping=drop,
        line=encode_line,
    )
    return encode_row(Request("mine", body, None), "row-0001", rules)


def encode(body, **options):
    return json.loads(row(body, **options).line)["params"]


def chat(*messages, **fields):
    return {"messages": list(messages), **fields}


def user(content="Hi", **fields):
    return {"role": "user", "content": content, **fields}


def ask(**fields):
    return chat(user(), **fields)


def of(model, **fields):
    """Encode for a model as the shipped catalog knows it."""
    return encode(ask(**fields), model=model, max_tokens=FACTS.max_tokens_of(model), refuses=FACTS.refuses_of(model))


def refusal(body, **options):
    with pytest.raises(RowFault) as caught:
        encode(body, **options)
    return caught.value


def test_a_line_is_what_the_service_documents():
    line = row(chat({"role": "system", "content": "Be brief."}, user("Say hi"), max_tokens=16)).line

    assert line == (
        b'{"custom_id":"row-0001","params":{"model":"claude-test","max_tokens":16,"system":"Be brief.",'
        b'"messages":[{"role":"user","content":"Say hi"}]}}\n'
    )


# Messages


def test_system_and_developer_messages_go_to_the_top_in_order_wherever_they_stand():
    body = encode(
        chat(
            {"role": "system", "content": "One."},
            user(),
            {"role": "developer", "content": [{"type": "text", "text": "Two.", "cache_control": EPHEMERAL}]},
        )
    )

    assert body["system"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two.", "cache_control": EPHEMERAL},
    ]
    assert body["messages"] == [user()]


def test_a_conversation_keeps_its_turns():
    assistant = {"role": "assistant", "content": "Hello!"}

    assert encode(chat(user(), assistant, user("More")))["messages"] == [user(), assistant, user("More")]


def test_empty_texts_which_the_service_refuses_are_left_out():
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}]

    assert encode(chat({"role": "system", "content": ""}, user(parts))) == {
        "model": "claude-test",
        "max_tokens": 4096,
        "messages": [user()],
    }


def test_what_the_assistant_refused_to_say_is_a_text_of_its():
    body = encode(chat(user(), {"role": "assistant", "content": None, "refusal": "I will not."}, user("Why?")))

    assert body["messages"][1] == {"role": "assistant", "content": "I will not."}


CALLS = [
    {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
    {"id": "toolu_2", "type": "function", "function": {"name": "clock", "arguments": ""}},
]


def test_tool_calls_and_their_answers_become_blocks_and_what_the_user_adds_joins_them():
    body = encode(
        chat(
            user("Weather and time?"),
            {"role": "assistant", "content": "Looking.", "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "toolu_1", "name": "weather", "content": "rain"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": ""},
            user("And tomorrow?"),
            user("Hurry."),
        )
    )

    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "toolu_2"},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
        {"role": "user", "content": "Hurry."},
    ]


def test_an_assistant_that_only_calls_a_tool_has_no_text():
    body = encode(chat(user(), {"role": "assistant", "content": None, "tool_calls": CALLS[:1]}))

    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


def test_a_tools_answer_may_be_an_image():
    answer = {"role": "tool", "tool_call_id": "toolu_1", "content": [{"type": "image_url", "image_url": PNG}]}
    body = encode(chat(user(), {"role": "assistant", "tool_calls": CALLS[:1]}, answer))

    (result,) = body["messages"][2]["content"]
    assert [block["type"] for block in result["content"]] == ["image"]


@pytest.mark.parametrize("arguments", ["{", "[1]", "7"])
def test_arguments_that_are_no_object_are_refused_by_name(arguments):
    call = {"id": "t", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    fault = refusal(chat(user(), {"role": "assistant", "tool_calls": [call]}, user()))

    assert fault.code == "bad_arguments"
    assert "messages[1]" in fault.message
    assert "weather" in fault.message


# Images and documents


def source(part, **options):
    return encode(chat(user([{"type": "text", "text": "Look"}, part])), **options)["messages"][0]["content"][1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PNG, {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}),
        ("data:image/jpg;base64,/9j/", {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}),
        ("https://host/cat.png?x=1", {"type": "url", "url": "https://host/cat.png?x=1"}),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda url: url, lambda url: {"url": url}, lambda url: {"url": url, "detail": "auto"}]
)
def test_an_image_is_its_data_or_its_address(url, expected, wrap):
    assert source({"type": "image_url", "image_url": wrap(url)}) == {"type": "image", "source": expected}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            {"file_data": PDF, "filename": "a.pdf"},
            {"source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "a.pdf"},
        ),
        ({"file_id": "file_011"}, {"source": {"type": "file", "file_id": "file_011"}}),
        ({"file_url": "https://host/a.pdf"}, {"source": {"type": "url", "url": "https://host/a.pdf"}}),
        (
            {"file_data": "data:text/plain;base64," + base64.b64encode("Grüße".encode()).decode()},
            {"source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}},
        ),
    ],
)
def test_a_document_is_its_data_its_address_or_a_file_that_lies_there(file, expected):
    assert source({"type": "file", "file": file}) == {"type": "document", **expected}


@pytest.mark.parametrize("data", ["data:text/plain;base64,%%%", "data:text/plain;base64,/w=="])
def test_plain_text_that_is_no_text_is_refused(data):
    assert refusal(chat(user([{"type": "file", "file": {"file_data": data}}]))).code == "bad_data"


def test_cache_control_stays_where_it_stands():
    parts = [
        {"type": "text", "text": "Long", "cache_control": EPHEMERAL},
        {"type": "image_url", "image_url": PNG, "cache_control": EPHEMERAL},
        {"type": "file", "file": {"file_id": "f"}, "cache_control": EPHEMERAL},
    ]
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": EPHEMERAL}
    body = encode(chat(user(parts), tools=[tool], cache_control={"type": "ephemeral", "ttl": "1h"}))

    assert [block["cache_control"] for block in body["messages"][0]["content"]] == [EPHEMERAL] * 3
    assert body["tools"][0]["cache_control"] == EPHEMERAL
    assert body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


HOUR = {"type": "ephemeral", "ttl": "1h"}
MARKED = {"type": "text", "text": "b", "cache_control": HOUR}


@pytest.mark.parametrize(
    ("content", "blocks"),
    [
        ("a", [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]),
        (
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "text", "text": ""}],
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": EPHEMERAL}],
        ),
        ([{"type": "text", "text": "a"}, MARKED], [{"type": "text", "text": "a"}, MARKED]),
    ],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_the_cache_control_of_a_message_goes_to_the_last_block_that_has_none_of_its_own(role, content, blocks):
    said = {"role": role, "content": content, "cache_control": EPHEMERAL}
    body = encode(chat(user("First"), said, user("Last")) if role == "assistant" else chat(said, user("Last")))

    found = body["system"] if role == "system" else body["messages"][1 if role == "assistant" else 0]["content"]
    assert found == blocks
    assert "cache_control" not in str(body["messages"][-1])


def test_the_cache_control_of_calls_and_of_their_results_goes_to_the_last_of_them():
    body = encode(
        chat(
            user(),
            {"role": "assistant", "content": "So:", "tool_calls": CALLS, "cache_control": EPHEMERAL},
            {"role": "tool", "tool_call_id": CALLS[0]["id"], "content": "cold", "cache_control": HOUR},
            {"role": "tool", "tool_call_id": CALLS[1]["id"], "content": "warm"},
        )
    )

    _, assistant, results = body["messages"]
    assert [block.get("cache_control") for block in assistant["content"]] == [None, None, EPHEMERAL]
    assert [block.get("cache_control") for block in results["content"]] == [HOUR, None]


# Tools


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "minLength": 1}}},
    },
}


def test_a_tool_keeps_its_name_its_description_and_its_schema():
    bare = {"type": "function", "function": {"name": "clock", "strict": False}}

    assert encode(ask(tools=[WEATHER, bare]))["tools"] == [
        {
            "name": "weather",
            "description": "The weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string", "minLength": 1}}},
        },
        {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_a_strict_tool_has_a_closed_schema_in_words_that_the_service_knows():
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    (tool,) = encode(ask(tools=[strict]))["tools"]

    assert tool["strict"] is True
    assert tool["input_schema"] == {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "(minLength: 1)"}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"type": "tool", "name": "weather"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": True}, None),
        ({}, None),
    ],
)
def test_which_tool_is_called_and_how_many_at_once(fields, expected):
    assert encode(ask(tools=[WEATHER], **fields)).get("tool_choice") == expected


@pytest.mark.parametrize("fields", [{"tool_choice": "auto"}, {"tool_choice": "none"}, {"parallel_tool_calls": False}])
def test_without_tools_there_is_no_choice_to_be_made(fields):
    assert "tool_choice" not in encode(ask(**fields))


def test_a_tool_that_must_be_called_may_be_one_of_the_services_own():
    assert encode(ask(tool_choice="required"))["tool_choice"] == {"type": "any"}
    search = {"type": "web_search_20250305", "name": "web_search"}
    body = encode(ask(tool_choice="auto", parallel_tool_calls=False, extra_body={"tools": [search]}))
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


# Settings


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 8}, {"max_tokens": 8}),
        ({"max_tokens": 7, "max_completion_tokens": 8}, {"max_tokens": 8}),
        ({}, {"max_tokens": 4096}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"user": "u-1"}, {"metadata": {"user_id": "u-1"}}),
        ({"safety_identifier": "u-2"}, {"metadata": {"user_id": "u-2"}}),
        ({"user": "u-1", "safety_identifier": "u-1"}, {"metadata": {"user_id": "u-1"}}),
        ({"metadata": {"user_id": "u-3"}}, {"metadata": {"user_id": "u-3"}}),
        ({"service_tier": "standard_only"}, {"service_tier": "standard_only"}),
        ({"thinking": {"type": "between_tools"}}, {"thinking": {"type": "between_tools"}}),
    ],
)
def test_a_setting_has_its_place(fields, expected):
    body = encode(ask(**fields))

    assert {name: body[name] for name in expected} == expected
    assert body.keys() == {"model", "messages", "max_tokens", *expected}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"logprobs": False},
        {"stream": False},
        {"store": False},
        {"logit_bias": {}},
        {"presence_penalty": 0},
        {"frequency_penalty": 0},
        {"temperature": 1},
        {"temperature": 1.0},
        {"top_p": 1},
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"response_format": {"type": "text"}},
        {"modalities": ["text"]},
        {"metadata": {}},
        {"seed": None},
        {"tools": []},
        {"stop": []},
    ],
)
def test_what_says_no_more_than_its_absence_is_left_out(fields):
    assert encode(ask(**fields)) == encode(ask())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"temperature": 1.5}, "temperature above 1"),
        ({"response_format": {"type": "json_object"}}, "response_format json_object"),
        ({"metadata": {"team": "blue"}}, "metadata"),
        ({"metadata": "blue"}, "metadata"),
        ({"user": "a", "safety_identifier": "b"}, "user"),
        ({"stop": ["\n", "END"]}, "stop"),
        ({"seed": 7}, "seed"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"verbosity": "low"}, "verbosity"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": []}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"store": True}, "store"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"a_later_field": 1}, "a_later_field"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name_or_dropped_and_said(fields, says):
    fault = refusal(ask(**fields))
    dropped = row(ask(**fields), drop=True)

    assert fault.code == "unsupported"
    assert f"Anthropic cannot express {says}" in fault.message
    assert dropped.dropped == (says,)
    kept = json.loads(dropped.line)["params"]
    assert kept.pop("stop_sequences", ["END"]) == ["END"]
    assert kept.pop("metadata", {"user_id": "b"}) == {"user_id": "b"}
    assert kept == encode(ask())


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "input_audio"),
        ({"type": "image_url", "image_url": "data:image/tiff;base64,AA=="}, "an image of type image/tiff"),
        ({"type": "image_url", "image_url": "gs://bucket/a.png"}, "an address that is not https"),
        ({"type": "file", "file": {"file_data": "data:text/csv;base64,YQ=="}}, "a file of type text/csv"),
    ],
)
def test_a_part_that_cannot_be_expressed_is_refused_by_name_or_dropped_and_said(part, says):
    body = chat(user([{"type": "text", "text": "Hi"}, part]))
    fault = refusal(body)
    dropped = row(body, drop=True)

    assert fault.code == "unsupported"
    assert f"Anthropic cannot express {says}" in fault.message
    assert dropped.dropped == (says,)
    assert json.loads(dropped.line)["params"]["messages"] == [user()]


def test_how_closely_to_look_at_an_image_cannot_be_said_and_the_image_stays():
    part = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}

    assert "image_url.detail" in refusal(chat(user([part]))).message
    assert source(part, drop=True)["type"] == "image"


def test_an_image_of_the_assistants_and_a_speakers_name_are_refused():
    image = {"role": "assistant", "content": [{"type": "text", "text": "So:"}, {"type": "image_url", "image_url": PNG}]}

    assert "an assistant's image" in refusal(chat(user(), image, user())).message
    assert "cannot express name" in refusal(chat(user(name="Ada"))).message
    assert encode(chat(user(name="Ada"), image, user()), drop=True)["messages"] == [
        user(),
        {"role": "assistant", "content": "So:"},
        user(),
    ]


def test_a_message_of_which_nothing_is_left_is_refused_even_where_parts_are_dropped():
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}

    assert refusal(chat(user([audio])), drop=True).code == "empty_field"


@pytest.mark.parametrize("thinking", ["high", True, 5, [{}]])
def test_thinking_is_an_object(thinking):
    fault = refusal(ask(thinking=thinking))

    assert (fault.code, "thinking" in fault.message) == ("wrong_type", True)


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
@pytest.mark.parametrize("value", ["1", True, [1], {}])
def test_a_setting_of_the_wrong_type_is_refused(field, value):
    fault = refusal(ask(**{field: value}))

    assert fault.code == "wrong_type"
    assert field in fault.message


def test_without_any_length_the_row_is_refused_by_name_and_says_why():
    fault = refusal(ask(), model="claude-next", max_tokens=None)

    assert fault.code == "missing_field"
    assert "needs max_tokens" in fault.message
    assert "'claude-next'" in fault.message
    assert encode(ask(extra_body={"max_tokens": 5}), max_tokens=None)["max_tokens"] == 5


# Structured output


@dataclass
class Invoice:
    number: str
    total: Annotated[float, msgspec.Meta(ge=0)]
    note: str | None = None


def schema_in(body):
    return body["output_config"]["format"]["schema"]


def test_a_type_becomes_a_schema_that_the_service_knows_and_its_bounds_are_told_to_the_model():
    body = encode(ask(response_format=Invoice))

    assert body["output_config"]["format"]["type"] == "json_schema"
    assert schema_in(body) == {
        "title": "Invoice",
        "type": "object",
        "properties": {
            "number": {"type": "string"},
            "total": {"type": "number", "description": "(minimum: 0)"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["number", "total", "note"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "fitted"),
    [
        ({"type": "object", "properties": {}}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "iban", "description": "An account"},
            {"type": "string", "description": 'An account (format: "iban")'},
        ),
        (
            {"type": "array", "items": {"type": "integer", "maximum": 9}, "minItems": 1, "maxItems": 3},
            {
                "type": "array",
                "items": {"type": "integer", "description": "(maximum: 9)"},
                "minItems": 1,
                "description": "(maxItems: 3)",
            },
        ),
        ({"type": "array", "minItems": 2}, {"type": "array", "description": "(minItems: 2)"}),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        (
            {"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer", "minimum": 1}}},
            {"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer", "description": "(minimum: 1)"}}},
        ),
        (
            {"type": ["object", "null"], "properties": {"a": {"type": "string"}}},
            {"type": ["object", "null"], "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        ),
        (
            {"$ref": "#/$defs/n", "description": "How many", "$defs": {"n": {"type": "integer"}}},
            {"anyOf": [{"$ref": "#/$defs/n"}], "description": "How many", "$defs": {"n": {"type": "integer"}}},
        ),
        ({"const": {"default": 1}}, {"const": {"default": 1}}),
        (
            {"$ref": "#/$defs/minimum", "$defs": {"minimum": {"type": "integer", "minimum": 1}}},
            {"$ref": "#/$defs/minimum", "$defs": {"minimum": {"type": "integer", "description": "(minimum: 1)"}}},
        ),
        (
            {"type": "object", "properties": {"pattern": {"type": "string", "pattern": "a+"}}},
            {
                "type": "object",
                "properties": {"pattern": {"type": "string", "description": '(pattern: "a+")'}},
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_schema_keeps_what_it_may_say_and_tells_the_rest_in_words(schema, fitted):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}

    assert schema_in(encode(ask(response_format=wanted))) == fitted


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True},
        {"type": "object"},  # closed, it could hold nothing at all
        {"type": ["object", "null"]},
    ],
)
def test_a_schema_that_is_open_for_any_name_is_refused(schema):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    assert "additionalProperties in a schema" in refusal(ask(response_format=wanted)).message


def test_a_schema_without_bottom_is_refused_and_takes_no_other_row_with_it():
    schema = {"type": "object"}
    schema["properties"] = {"again": schema}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    assert refusal(ask(response_format=wanted)).code == "not_json"


def test_the_callers_own_schema_is_not_changed():
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    before = json.dumps(schema)
    encode(ask(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}))

    assert json.dumps(schema) == before


# How hard it thinks


def thought(body):
    return body.get("thinking"), body.get("output_config", {}).get("effort")


ADAPTIVE = {"type": "adaptive"}
OFF = {"type": "disabled"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "native"),
    [
        ("claude-haiku-4-5", "none", OFF, None),
        ("claude-haiku-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", "medium", {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-opus-4-5", "high", {"type": "enabled", "budget_tokens": 24576}, None),
        ("claude-sonnet-4-6", "minimal", ADAPTIVE, "low"),
        ("claude-opus-4-6", "max", ADAPTIVE, "max"),
        ("claude-opus-4-8", "xhigh", ADAPTIVE, "xhigh"),
        ("claude-sonnet-5", "none", OFF, None),
        ("claude-opus-5-5", "medium", ADAPTIVE, "medium"),
        ("claude-next", "high", ADAPTIVE, "high"),
    ],
)
def test_an_effort_becomes_what_the_model_knows(model, effort, thinking, native):
    body = of(model, reasoning_effort=effort, max_tokens=32_000)

    assert thought(body) == (thinking, native)


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        ("claude-haiku-4-5", {"reasoning_effort": "xhigh"}, "reasoning_effort xhigh"),
        ("claude-3-haiku-20240307", {"reasoning_effort": "low"}, "reasoning_effort low"),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, "reasoning_effort xhigh"),
        ("claude-opus-5-5", {"reasoning_effort": "none"}, "always thinks"),
        ("claude-opus-5-5", {"reasoning_effort": "turbo"}, "reasoning_effort turbo"),
        ("claude-haiku-4-5", {"reasoning_effort": ["low"]}, "reasoning_effort"),
        ("claude-haiku-4-5", {"reasoning_effort": "medium", "max_tokens": 8192}, "8192 tokens of max_tokens"),
        ("claude-haiku-4-5", {"reasoning_effort": "low", "temperature": 0.2}, "temperature forbids to think"),
        ("claude-sonnet-4-6", {"reasoning_effort": "low", "top_k": 4}, "top_k forbids to think"),
        (
            "claude-sonnet-4-6",
            {"reasoning_effort": "low", "tools": [WEATHER], "tool_choice": "required"},
            "tool_choice forbids to think",
        ),
        ("claude-haiku-4-5", {"reasoning_effort": "low", "thinking": OFF}, "thinking says it already"),
        ("claude-opus-4-8", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking enabled"),
        ("claude-haiku-4-5", {"thinking": ADAPTIVE}, "thinking adaptive"),
        ("claude-opus-4-7", {"temperature": 0.5}, "temperature"),
        ("claude-sonnet-5", {"top_p": 0.5}, "top_p"),
        ("claude-fable-5-2", {"top_k": 5}, "top_k"),
        ("claude-haiku-4-5", {"temperature": 0.5, "top_p": 0.5}, "either temperature or top_p"),
        ("claude-sonnet-5", {"tools": [WEATHER], "tool_choice": "required"}, "cannot be made to call a tool"),
    ],
)
def test_what_a_model_refuses_is_refused_by_name_before_anything_is_sent(model, fields, says):
    with pytest.raises(RowFault, match="Anthropic cannot express") as caught:
        of(model, **{"max_tokens": 32_000, **fields})

    assert says in caught.value.message


def test_a_model_that_was_told_not_to_think_can_be_made_to_call_a_tool():
    body = of("claude-sonnet-5", reasoning_effort="none", tools=[WEATHER], tool_choice="required")

    assert (body["thinking"], body["tool_choice"]) == (OFF, {"type": "any"})


def test_default_values_pass_where_any_other_is_refused():
    assert of("claude-opus-5", temperature=1, top_p=1.0) == of("claude-opus-5")


def test_dropped_settings_leave_a_body_that_the_model_takes():
    fields = {
        "temperature": 0.5,
        "reasoning_effort": "none",
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    }
    model = "claude-opus-5-5"
    dropped = row(ask(**fields), model=model, refuses=FACTS.refuses_of(model), drop=True)
    body = json.loads(dropped.line)["params"]

    assert dropped.dropped == ("temperature", "reasoning_effort none", "tool_choice")
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert not {"temperature", "thinking", "output_config"} & body.keys()


def test_of_two_settings_that_exclude_each_other_the_first_stays_where_the_other_is_dropped():
    refuses = ("temperature+top_p", "thinking.enabled")
    thinking = {"type": "enabled", "budget_tokens": 1024}
    dropped = row(ask(temperature=0.5, top_p=0.9, thinking=thinking), refuses=refuses, drop=True)

    assert dropped.dropped == ("top_p", "thinking enabled")
    assert json.loads(dropped.line)["params"] == encode(ask(temperature=0.5))


def test_an_assistant_has_the_last_word_only_where_the_model_goes_on_from_it():
    body = chat(user(), {"role": "assistant", "content": "{"})

    assert encode(body)["messages"][1] == {"role": "assistant", "content": "{"}
    assert "messages[1]" in refusal(body, refuses=("prefill",)).message
    assert row(body, refuses=("prefill",), drop=True).dropped == ("an assistant's last word",)
    assert encode(body, refuses=("prefill",), drop=True)["messages"] == [user()]
    assert refusal(chat(body["messages"][1]), refuses=("prefill",), drop=True).code == "empty_field"


# Fields of the caller's own


def test_extra_body_goes_into_the_body_and_joins_what_is_there():
    search = {"type": "web_search_20250305", "name": "web_search"}
    extra = {"inference_geo": "us", "output_config": {"effort": "low"}, "tools": [search], "container": "c"}
    body = encode(ask(response_format=Invoice, tools=[WEATHER], extra_body=extra))

    assert (body["inference_geo"], body["container"]) == ("us", "c")
    assert body["output_config"].keys() == {"format", "effort"}
    assert [tool["name"] for tool in body["tools"]] == ["weather", "web_search"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (ask(model="claude-other"), "mixed_models"),
        (ask(extra_body={"model": "claude-other"}), "mixed_models"),
        (ask(stream=True), "streaming"),
        (ask(extra_body={"stream": True}), "streaming"),
        ({"prompt": "x"}, "missing_field"),
        (chat({"role": "function", "name": "f", "content": "x"}), "bad_role"),
        (ask(tools=[{"type": "custom", "custom": {"name": "x"}}]), "unsupported"),
        (ask(tool_choice={"type": "allowed_tools"}), "bad_tool_choice"),
    ],
)
def test_what_no_batch_of_this_job_can_carry_is_refused(body, code):
    assert refusal(body).code == code


def test_a_custom_body_is_untouched_but_for_the_model():
    body = {"max_tokens": 1, "messages": [user()], "temperature": 2, "seed": 1, "system": [], "extra_body": {"a": 1}}

    assert encode(dict(body), mode=BatchMode.CUSTOM) == {**body, "model": "claude-test"}
    assert refusal({**body, "stream": True}, mode=BatchMode.CUSTOM).code == "streaming"
    assert refusal({**body, "model": "other"}, mode=BatchMode.CUSTOM).code == "mixed_models"


def test_every_request_counts_for_one_input():
    assert format_of("anthropic.messages").count_inputs({"messages": []}, "messages") == 1


# Properties

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
SPEECH = st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT)


@given(st.lists(SPEECH, min_size=1).filter(lambda said: any(role != "system" for role, _ in said)))
def test_no_word_is_lost_and_none_is_added(said):
    body = encode(chat(*({"role": role, "content": text} for role, text in said)))

    system = body.get("system", [])
    top = [system] if isinstance(system, str) else [block["text"] for block in system]
    assert top == [text for role, text in said if role == "system"]
    spoken = [(message["role"], message["content"]) for message in body["messages"]]
    assert spoken == [(role, text) for role, text in said if role != "system"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x)))
def test_whatever_a_schema_holds_it_is_fitted_or_refused(value):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": value}}}
    try:
        body = encode(ask(response_format=wanted))
    except RowFault:
        return

    assert schema_in(body)["additionalProperties"] is False


def test_the_id_of_another_providers_call_is_made_fit_and_call_and_result_still_belong_together():
    call = {"id": "call.1:x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    fitting = {"id": "call_1-x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "max_tokens": 10,
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call, fitting]},
            {"role": "tool", "tool_call_id": "call.1:x", "content": "one"},
            {"role": "tool", "tool_call_id": "call_1-x", "content": "two"},
        ],
    }
    _, assistant, results = encode(body)["messages"]

    ids = [block["id"] for block in assistant["content"]]
    assert ids == [block["tool_use_id"] for block in results["content"]]
    assert ids[1] == "call_1-x"
    assert re.fullmatch("[A-Za-z0-9_-]+", ids[0])


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-8", "claude-sonnet-5", "claude-opus-5"]
)
def test_the_models_from_4_6_on_do_not_go_on_with_an_answer(model):
    assert "prefill" in FACTS.refuses_of(model)
    assert "prefill" not in FACTS.refuses_of("claude-haiku-4-5")
