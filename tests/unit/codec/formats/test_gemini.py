"""OpenAI's shapes in Gemini's words: every field, every refusal, and what is left out where that is asked for.

Source: the types of google-genai 3.6 and Google's own table for its OpenAI layer, compared on 2026-11-25.
"""

import json
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.formats.gemini import count_inputs
from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode
from asyncbatch.providers.gemini_provider import GeminiBatchProvider

ASK = [{"role": "user", "content": "Say hi"}]
MODES = {"generate": BatchMode.CHAT, "embed": BatchMode.EMBEDDING}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
CACHE = {"type": "ephemeral"}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def encode(body, *, kind="generate", wire_id="a", model="gemini-2.5-flash", is_inline=False, **changes):
    line = partial(GeminiBatchProvider().encode_line, endpoint="/models:x", is_inline=is_inline)
    rules = RowRules(
        **{
            "title": "Gemini",
            "endpoint": "/models:x",
            "format": f"gemini.{kind}",
            "mode": MODES[kind],
            "model": model,
            "line": line,
        }
        | changes
    )
    return encode_row(Request(wire_id, body), wire_id, rules)


def made(body, **options):
    """Give the body that travels."""
    return json.loads(encode(dict(body), **options).line)["request"]


def contents(*messages, **options):
    return made({"messages": list(messages)}, **options)["contents"]


def parts(*given_parts):
    """Give the parts of a user's message."""
    ((content),) = contents({"role": "user", "content": list(given_parts)})
    assert content["role"] == "user"
    return content["parts"]


def settings(**fields):
    """Give the generationConfig that fields become."""
    model = fields.pop("in_model", "gemini-2.5-flash")
    body = made({"messages": ASK, **fields}, model=model)
    assert set(body) <= {"contents", "generationConfig"}
    return body.get("generationConfig")


def embedded(**body):
    return made(body, kind="embed", model="gemini-embedding-001")


def refusal(body, **options):
    with pytest.raises(RowFault) as caught:
        encode(dict(body), **options)
    return caught.value


# Lines


def test_a_line_is_what_the_service_documents():
    row = encode({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})

    # The input line of the fact sheet, 2026-11.
    assert row.line == (
        b'{"key":"a","request":{"contents":[{"role":"user","parts":[{"text":"hi"}]}],'
        b'"generationConfig":{"maxOutputTokens":5}}}\n'
    )
    assert row.inputs == 1


def test_a_line_of_an_inline_create_carries_its_key_among_what_is_echoed():
    row = encode({"messages": [{"role": "user", "content": "hi"}]}, is_inline=True)

    assert json.loads(row.line) == {
        "request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        "metadata": {"key": "a"},
    }


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_id_and_any_text_stay_in_one_line_and_go_inline_as_they_are(wire_id, text):
    row = encode({"messages": [{"role": "user", "content": text}]}, wire_id=wire_id)
    inline = GeminiBatchProvider().inline_line(row.line.rstrip(b"\n"))

    assert row.line.count(b"\n") == 1
    assert b"\n" not in inline
    assert (
        inline + b"\n"
        == encode({"messages": [{"role": "user", "content": text}]}, wire_id=wire_id, is_inline=True).line
    )
    assert msgspec.json.decode(inline)["metadata"] == {"key": wire_id}


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "models/gemini-2.5-flash", None])
def test_the_model_stands_in_the_path_and_in_no_request(model):
    assert "model" not in made({"messages": ASK, "model": model})


@pytest.mark.parametrize("options", [{}, {"mode": BatchMode.CUSTOM}])
def test_a_request_for_another_model_is_refused(options):
    fault = refusal({"messages": ASK, "contents": [{}], "model": "gemini-2.5-pro"}, **options)

    assert fault.code == "mixed_models"
    assert "gemini-2.5-pro" in fault.message


# Messages


def test_what_the_system_says_stands_apart_in_its_order():
    body = made(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                *ASK,
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            ]
        }
    )

    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Say hi"}]}]


def test_an_assistant_is_the_model():
    assert contents(*ASK, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Again"}) == [
        {"role": "user", "parts": [{"text": "Say hi"}]},
        {"role": "model", "parts": [{"text": "Hi"}]},
        {"role": "user", "parts": [{"text": "Again"}]},
    ]


def test_an_empty_text_among_others_is_left_out_and_nothing_but_empty_ones_is_refused():
    assert parts({"type": "text", "text": ""}, {"type": "text", "text": "x"}) == [{"text": "x"}]
    assert refusal({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}).code == "empty_field"


def image(url, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def document(**file):
    return {"type": "file", "file": file}


def sound(kind):
    return {"type": "input_audio", "input_audio": {"data": "AAAA", "format": kind}}


def inline(media_type, data="AAAA"):
    return {"inlineData": {"mimeType": media_type, "data": data}}


def at(uri, media_type=None):
    return {"fileData": {**({"mimeType": media_type} if media_type else {}), "fileUri": uri}}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (image(PNG), inline("image/png", "iVBORw0KGgo=")),
        (image(PNG, detail="auto"), inline("image/png", "iVBORw0KGgo=")),
        ({"type": "image_url", "image_url": "data:image/jpg;base64,AAAA"}, inline("image/jpeg")),
        (image("https://x.example/a.JPG?v=1"), at("https://x.example/a.JPG?v=1", "image/jpeg")),
        (image("https://x.example/image"), at("https://x.example/image")),
        (document(file_data=PDF, filename="a.pdf"), inline("application/pdf", "JVBERi0=")),
        (document(file_data="https://x.example/a.pdf"), at("https://x.example/a.pdf", "application/pdf")),
        (document(file_id="https://g.example/v1beta/files/abc"), at("https://g.example/v1beta/files/abc")),
        (sound("mp3"), inline("audio/mp3")),
        (sound("wav"), inline("audio/wav")),
    ],
)
def test_media_travels_inline_or_by_its_address(part, expected):
    assert parts({"type": "text", "text": "What is it?"}, part) == [{"text": "What is it?"}, expected]


# Tools


def test_tools_are_declared_together_and_a_choice_is_a_mode():
    body = made(
        {
            "messages": ASK,
            "tools": [
                {"type": "function", "function": {**WEATHER, "description": "Tells", "strict": True}},
                {"type": "function", "function": {"name": "now"}},
            ],
            "tool_choice": {"type": "function", "function": {"name": "now"}},
            "parallel_tool_calls": True,
        }
    )

    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "Tells", "parametersJsonSchema": WEATHER["parameters"]},
                {"name": "now"},
            ]
        }
    ]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["now"]}}


@pytest.mark.parametrize(("choice", "mode"), [("auto", "AUTO"), ("required", "ANY"), ("none", "NONE")])
def test_each_choice_of_tools_has_its_mode(choice, mode):
    body = made({"messages": ASK, "tools": [{"type": "function", "function": WEATHER}], "tool_choice": choice})

    assert body["toolConfig"] == {"functionCallingConfig": {"mode": mode}}


def test_a_call_and_its_answer_carry_the_tools_name():
    called = contents(
        *ASK,
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "4 "}, {"type": "text", "text": "°C"}]},
    )  # fmt: skip

    assert called[1] == {
        "role": "model",
        "parts": [
            {"text": "Let me see."},
            {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}}},
        ],
    }
    answer = {"id": "call_1", "name": "weather", "response": {"output": "4 °C"}}
    assert called[2] == {"role": "user", "parts": [{"functionResponse": answer}]}


def test_answers_of_tools_that_were_called_together_stand_together():
    second = {**CALL, "id": "call_2"}
    turns = contents(
        *ASK,
        {"role": "assistant", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "call_2", "content": ""},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "call_2", "content": "3"},
    )

    assert [len(turn["parts"]) for turn in turns] == [1, 2, 2, 1, 1]
    assert [part["functionResponse"]["response"] for part in turns[2]["parts"]] == [{"output": "1"}, {"output": ""}]


def test_a_tools_answer_to_no_call_may_name_its_tool_and_is_refused_without_a_name():
    answer = {"role": "tool", "tool_call_id": "lost", "content": "1"}

    named = contents(*ASK, {**answer, "name": "weather"})
    assert named[1]["parts"][0]["functionResponse"]["name"] == "weather"
    fault = refusal({"messages": [*ASK, answer]})
    assert (fault.code, "'lost'" in fault.message) == ("missing_field", True)


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"'])
def test_arguments_that_are_no_object_are_refused(arguments):
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}

    assert refusal({"messages": [*ASK, {"role": "assistant", "tool_calls": [call]}]}).code == "bad_arguments"


def replayed(model, *calls):
    (_, turn) = contents(*ASK, {"role": "assistant", "tool_calls": list(calls)}, model=model)
    return [part.get("thoughtSignature") for part in turn["parts"]]


def test_the_signature_of_a_thought_goes_back_with_its_call():
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "c2ln"}}}

    assert replayed("gemini-2.5-flash", signed, CALL) == ["c2ln", None]
    assert replayed("gemini-3-flash-preview", signed, CALL) == ["c2ln", None]


def test_a_call_of_another_models_says_so_where_a_signature_is_demanded():
    # https://ai.google.dev/gemini-api/docs/thought-signatures: the first call of a turn, from Gemini 3 on.
    assert replayed("gemini-3.5-flash", CALL, CALL) == ["skip_thought_signature_validator", None]
    assert replayed("gemini-2.5-flash", CALL, CALL) == [None, None]


def test_a_signature_that_is_no_text_is_refused():
    signed = {**CALL, "extra_content": {"google": {"thought_signature": 7}}}

    assert refusal({"messages": [*ASK, {"role": "assistant", "tool_calls": [signed]}]}).code == "wrong_type"


# Settings


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_completion_tokens": 7, "max_tokens": 5}, {"maxOutputTokens": 7}),
        ({"temperature": 0.5, "top_p": 1, "top_k": 40}, {"temperature": 0.5, "topP": 1, "topK": 40}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stopSequences": ["A", "B"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"n": 2}, {"candidateCount": 2}),
        ({"presence_penalty": 0.5, "frequency_penalty": -1}, {"presencePenalty": 0.5, "frequencyPenalty": -1}),
        ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
        ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        ({"response_format": {"type": "text"}}, None),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
    ],
)
def test_each_setting_has_its_place(fields, expected):
    assert settings(**fields) == expected


class City(msgspec.Struct):
    name: str


def test_a_type_is_a_schema():
    found = settings(response_format=City)

    assert found["responseJsonSchema"]["properties"] == {"name": {"type": "string"}}
    assert found["responseJsonSchema"]["required"] == ["name"]


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "stream": False, "store": False, "logprobs": False, "modalities": ["text"], "presence_penalty": 0},
        {"user": None, "temperature": None, "seed": None},
        {"logit_bias": {}, "metadata": {}, "tools": [], "service_tier": "auto"},
        {"service_tier": "default", "parallel_tool_calls": True},
    ],
)
def test_what_says_nothing_is_left_out(fields):
    assert made({"messages": ASK, **fields}) == made({"messages": ASK})
    assert encode({"messages": ASK, **fields}).dropped == ()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"user": "u1"}, "user"),
        ({"safety_identifier": "u1"}, "safety_identifier"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"store": True}, "store"),
        ({"verbosity": "low"}, "verbosity"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"web_search_options": {}}, "web_search_options"),  # an empty one asks for a search
        ({"a_new_field": []}, "a_new_field"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"modalities": ["text", "video"]}, "modalities"),
        ({"seed": 2**31}, "seed"),
        ({"reasoning_effort": "xhigh"}, "reasoning_effort"),
        ({"a_new_field": 1}, "a_new_field"),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": CACHE}]}, "cache_control"),
    ],
)
def test_what_gemini_cannot_express_is_refused_by_name_or_dropped_and_said(fields, name):
    fault = refusal({"messages": ASK, **fields})
    row = encode({"messages": ASK, **fields}, is_dropping=True)

    assert (fault.code, f"Gemini cannot express {name}" in fault.message) == ("unsupported", True)
    assert row.dropped == (name,)
    assert b'"%b":' % name.encode() not in row.line


CACHED_TEXT = {"type": "text", "text": "x", "cache_control": CACHE}
CACHED_IMAGE = {"type": "image_url", "image_url": PNG, "cache_control": CACHE}
CLOSE_IMAGE = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}
SHOWN_BY_A_TOOL = {
    "role": "tool",
    "tool_call_id": "x",
    "name": "f",
    "content": [{"type": "image_url", "image_url": PNG}],
}


@pytest.mark.parametrize(
    ("messages", "name"),
    [
        ([{"role": "user", "content": "x", "name": "Ann"}], "name"),
        ([{"role": "user", "content": "x", "cache_control": CACHE}], "cache_control"),
        ([{"role": "system", "content": "x", "cache_control": CACHE}, *ASK], "cache_control"),
        ([{"role": "user", "content": [CACHED_TEXT]}], "cache_control"),
        ([{"role": "user", "content": [CACHED_IMAGE]}], "cache_control"),
        ([{"role": "system", "content": [CACHED_TEXT]}, *ASK], "cache_control"),
        ([{"role": "user", "content": [CLOSE_IMAGE]}], "image_url.detail"),
        ([*ASK, SHOWN_BY_A_TOOL], "image in a tool's answer"),
    ],
)
def test_what_a_message_cannot_say_is_refused_by_name_or_dropped_and_said(messages, name):
    fault = refusal({"messages": messages})

    assert (fault.code, f"Gemini cannot express {name}" in fault.message) == ("unsupported", True)
    assert encode({"messages": messages}, is_dropping=True).dropped == (name,)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "warm"},
        {"top_k": 1.5},
        {"seed": "7"},
        {"n": True},
        {"logprobs": 1},
        {"modalities": "text"},
        {"reasoning_effort": 1},
        {"max_tokens": "many"},
    ],
)
def test_a_value_that_the_services_parser_would_refuse_the_whole_file_for_is_refused_here(fields):
    fault = refusal({"messages": ASK, **fields})

    assert fault.code == "wrong_type"
    assert next(iter(fields)) in fault.message


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash-lite", "minimal", {"thinkingBudget": 1024}),
        ("gemini-2.5-pro", "low", {"thinkingBudget": 1024}),
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.5-flash-lite", "low", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-pro-preview", "high", {"thinkingLevel": "HIGH"}),
    ],
)
def test_an_effort_means_what_google_says_it_means_for_a_model(model, effort, thinking):
    assert settings(reasoning_effort=effort, in_model=model) == {"thinkingConfig": thinking}


def test_a_model_that_never_thinks_is_not_told_not_to():
    assert settings(reasoning_effort="none", in_model="gemini-2.0-flash") is None


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gemini-2.5-pro", "none"),
        ("gemini-2.5-flash", "max"),
        ("gemini-3.5-flash", "none"),
        ("gemini-3-pro-preview", "medium"),
        ("gemini-3.5-flash", "xhigh"),
        ("gemini-2.0-flash", "low"),
        ("gemini-flash-latest", "low"),
    ],
)
def test_an_effort_that_has_no_meaning_for_a_model_is_refused(model, effort):
    fault = refusal({"messages": ASK, "reasoning_effort": effort}, model=model)

    assert f"reasoning_effort ('{effort}' has no meaning for {model})" in fault.message


def test_extra_fields_are_laid_over_what_was_made_of_the_others():
    body = made(
        {
            "messages": ASK,
            "temperature": 0.5,
            "reasoning_effort": "low",
            "extra_body": {
                "safetySettings": [{"category": "X", "threshold": "Y"}],
                "generationConfig": {"temperature": 1, "thinkingConfig": {"includeThoughts": True}},
            },
        }
    )

    assert body["safetySettings"] == [{"category": "X", "threshold": "Y"}]
    assert body["generationConfig"] == {
        "temperature": 1,
        "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True},
    }


# Bodies of Gemini's own


def test_a_custom_body_is_untouched():
    body = {
        "contents": [{"parts": [{"text": "x"}]}],
        "cachedContent": "cachedContents/1",
        "model": "models/gemini-2.5-flash",
    }

    assert made(body, mode=BatchMode.CUSTOM) == body


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"messages": ASK}, "generate", "missing_field"),
        ({"contents": []}, "generate", "missing_field"),
        ({"contents": "hi"}, "generate", "wrong_type"),
        ({"contents": [{}], "stream": True}, "generate", "streaming"),
        ({"input": "x"}, "embed", "missing_field"),
        ({"content": "x"}, "embed", "wrong_type"),
    ],
)
def test_a_custom_body_that_costs_the_whole_file_is_refused(body, kind, code):
    model = "gemini-embedding-001" if kind == "embed" else "gemini-2.5-flash"

    assert refusal(body, kind=kind, mode=BatchMode.CUSTOM, model=model).code == code


# Embeddings


def test_a_text_to_embed_is_a_content():
    body = {
        "input": "embed me",
        "dimensions": 768,
        "task_type": "RETRIEVAL_DOCUMENT",
        "title": "T",
        "encoding_format": "float",
    }

    assert embedded(**body) == {
        "content": {"parts": [{"text": "embed me"}]},
        "outputDimensionality": 768,
        "taskType": "RETRIEVAL_DOCUMENT",
        "title": "T",
    }
    assert embedded(input=["one"]) == {"content": {"parts": [{"text": "one"}]}}
    assert count_inputs(embedded(input=["one"]), "embed") == 1


def test_extra_fields_of_an_embedding_go_into_its_body():
    assert embedded(input="x", extra_body={"autoTruncate": True})["autoTruncate"] is True


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"input": ["one", "two"]}, "too_many_inputs", "input has 2 texts"),
        ({"input": [1, 2]}, "wrong_type", "input is [1, 2]"),
        ({"input": []}, "wrong_type", "input is []"),
        ({"input": ""}, "empty_field", "input is empty"),
        ({"text": "x"}, "missing_field", "this one has text"),
        ({"input": "x", "dimensions": "many"}, "wrong_type", "dimensions"),
        ({"input": "x", "extra_body": []}, "wrong_type", "extra_body"),
        ({"input": "x", "encoding_format": "base64"}, "unsupported", "encoding_format"),
        ({"input": "x", "user": "u"}, "unsupported", "user"),
    ],
)
def test_a_text_that_cannot_be_embedded_is_refused(body, code, said):
    fault = refusal(body, kind="embed", model="gemini-embedding-001")

    assert fault.code == code
    assert said in fault.message


def test_what_an_embedding_cannot_express_may_be_dropped():
    row = encode({"input": "x", "user": "u"}, kind="embed", model="gemini-embedding-001", is_dropping=True)

    assert row.dropped == ("user",)
    assert json.loads(row.line)["request"] == {"content": {"parts": [{"text": "x"}]}}


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_without_tools_there_is_no_choice_to_be_made(choice):
    """The service refuses a mode of calling where nothing can be called."""
    search = {"tools": [{"googleSearch": {}}]}

    assert made({"messages": ASK, "tool_choice": choice}) == made({"messages": ASK})
    assert "toolConfig" in made({"messages": ASK, "tool_choice": choice, "extra_body": search})
    assert "toolConfig" in made({"messages": ASK, "tool_choice": "required"})


@pytest.mark.parametrize(
    ("extra", "code"), [({"model": "gemini-2.5-pro"}, "mixed_models"), ({"stream": True}, "streaming")]
)
def test_extra_body_says_nothing_that_no_batch_can_carry(extra, code):
    assert refusal({"messages": ASK, "extra_body": extra}).code == code
    assert refusal({"input": "x", "extra_body": extra}, kind="embed", model="gemini-embedding-001").code == code


POINT = {"type": "object", "properties": {"x": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "fitted"),
    [
        ({"$ref": "#/$defs/P"}, {"$ref": "#/$defs/P"}),
        (
            {"$ref": "#/$defs/P", "description": "Where", "$anchor": "a"},
            {"anyOf": [{"$ref": "#/$defs/P"}], "description": "Where", "$anchor": "a"},
        ),
        ({"const": "cat", "type": "string"}, {"enum": ["cat"], "type": "string"}),
        ({"const": 1}, {"enum": [1]}),
        ({"const": True}, {"const": True}),
        ({"allOf": [{"$ref": "#/$defs/P"}], "title": "P"}, {"anyOf": [{"$ref": "#/$defs/P"}], "title": "P"}),
        ({"enum": [{"const": "x"}], "default": {"const": "x"}}, {"enum": [{"const": "x"}], "default": {"const": "x"}}),
        (
            {"type": "object", "properties": {"const": {"const": "x"}}},
            {"type": "object", "properties": {"const": {"enum": ["x"]}}},
        ),
    ],
)
def test_a_schema_is_said_in_words_that_the_service_takes(schema, fitted):
    """A reference has nothing beside it, and one value is a choice of one."""
    whole = {"type": "object", "properties": {"a": schema}, "$defs": {"P": POINT}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": whole}}
    tool = {"type": "function", "function": {"name": "f", "parameters": whole}}
    body = made({"messages": ASK, "response_format": wanted, "tools": [tool]})

    for found in (
        body["generationConfig"]["responseJsonSchema"],
        body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"],
    ):
        assert found == {"type": "object", "properties": {"a": fitted}, "$defs": {"P": POINT}}


def test_a_schema_without_bottom_is_refused():
    schema = {"type": "object"}
    schema["properties"] = {"again": schema}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    assert refusal({"messages": ASK, "response_format": wanted}).code == "not_json"
