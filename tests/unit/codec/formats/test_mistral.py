"""OpenAI's shapes in Mistral's words: every field, every refusal, and what is left out where that is asked for.

Source: mistralai/platform-docs-public:openapi.yaml and the request types of mistralai 3.7, compared on 2026-11-25.
"""

import json
import re
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.formats.mistral import count_inputs
from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode
from asyncbatch.providers.mistral_provider import MistralBatchProvider

ASK = [{"role": "user", "content": "Say hi"}]
MODEL = "mistral-small-latest"
MODES = {"chat": BatchMode.CHAT, "fim": BatchMode.COMPLETION, "embedding": BatchMode.EMBEDDING}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
CACHE = {"type": "ephemeral"}


def encode(body, *, kind="chat", wire_id="a", **changes):
    rules = RowRules(
        **{
            "title": "Mistral",
            "endpoint": "/v1/x",
            "format": f"mistral.{kind}",
            "mode": MODES.get(kind, BatchMode.CUSTOM),
            "model": MODEL,
            "line": partial(MistralBatchProvider().encode_line, endpoint="/v1/x", is_inline=False),
        }
        | changes
    )
    return encode_row(Request(wire_id, body), wire_id, rules)


def made(body, **options):
    """Give the body that travels."""
    return json.loads(encode(dict(body), **options).line)["body"]


def chat(**fields):
    """Give what a chat request becomes, without the messages that all of them have."""
    body = made({"messages": ASK, **fields})
    assert body.pop("messages") == ASK
    return body


def messages(*given, **options):
    return made({"messages": list(given)}, **options)["messages"]


def user(*parts):
    """Give the content of a user's message."""
    (message,) = messages({"role": "user", "content": list(parts)})
    return message["content"]


def fault(body, **options):
    with pytest.raises(RowFault) as caught:
        encode(dict(body), **options)
    return caught.value


# A line


def test_a_line_is_what_the_service_documents():
    row = encode({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16})

    # The line of Mistral's fact sheet.
    assert row.line == b'{"custom_id":"a","body":{"messages":[{"role":"user","content":"hi"}],"max_tokens":16}}\n'
    assert (row.inputs, row.dropped) == (1, ())


@pytest.mark.parametrize("kind", MODES)
def test_the_model_rules_in_the_create_and_is_in_no_row(kind):
    body = {"chat": {"messages": ASK}, "fim": {"prompt": "x"}, "embedding": {"input": "x"}}[kind]

    assert "model" not in made({**body, "model": MODEL}, kind=kind)
    assert made({**body, "model": None}, kind=kind) == made(body, kind=kind) == body


@pytest.mark.parametrize("kind", [*MODES, "ocr"])
@pytest.mark.parametrize("where", ["model", "extra_body"])
def test_a_row_for_another_model_is_refused(kind, where):
    body = {"chat": {"messages": ASK}, "fim": {"prompt": "x"}, "embedding": {"input": "x"}, "ocr": {}}[kind]
    other = {"model": "mistral-large-2512"}
    if (kind, where) == ("ocr", "extra_body"):
        assert made({"extra_body": other}, kind=kind) == {"extra_body": other}, "custom bodies have no such word"
        return

    refused = fault({**body, **(other if where == "model" else {"extra_body": other})}, kind=kind)

    assert refused.code == "mixed_models"
    assert "'mistral-large-2512', but this job is for 'mistral-small-latest'" in refused.message


@pytest.mark.parametrize("kind", [*MODES, "ocr"])
def test_what_streams_is_refused(kind):
    body = {"chat": {"messages": ASK}, "fim": {"prompt": "x"}, "embedding": {"input": "x"}, "ocr": {}}[kind]

    assert fault({**body, "stream": True}, kind=kind).code == "streaming"
    if kind in MODES:
        assert fault({**body, "extra_body": {"stream": True}}, kind=kind).code == "streaming"


@pytest.mark.parametrize("kind", ["chat", "moderation", "ocr", "conversation", "transcription", "classification"])
def test_a_custom_body_is_untouched(kind):
    body = {"model": MODEL, "anything": [1, None], "stream": False, "user": "me", "seed": 1, "extra_body": {"a": 1}}

    assert made(body, kind=kind, mode=BatchMode.CUSTOM) == body
    assert made({}, kind=kind, mode=BatchMode.CUSTOM) == {}


def test_a_custom_body_whose_model_is_null_is_refused_as_the_service_would():
    assert fault({"model": None}, kind="ocr").code == "mixed_models"


# Messages


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_and_developer_are_one_voice(role):
    assert messages({"role": role, "content": "Be brief."}, *ASK) == [{"role": "system", "content": "Be brief."}, *ASK]


def test_several_system_texts_keep_their_order_and_borders():
    parts = [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]
    given = [{"role": "system", "content": "one"}, *ASK, {"role": "developer", "content": parts}]

    system, *rest = messages(*given)

    assert system["content"] == [{"type": "text", "text": text} for text in ("one", "two", "three")]
    assert rest == ASK


def test_a_conversation_with_tools_goes_through_as_it_is():
    call = {"id": "abc123XYZ", "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}}
    given = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abc123XYZ", "name": "look", "content": '{"waves": 3}'},
        {"role": "assistant", "content": "Three waves."},
        {"role": "user", "content": "thanks"},
    ]

    assert messages(*given) == given


def test_the_ids_of_calls_become_nine_letters_and_digits_and_call_and_result_still_belong_together():
    def call(call_id):
        return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}

    ids = ("call_9Xab-long-one", "toolu_01A", "abc123XYZ", "1")
    _, assistant, *results = messages(
        *ASK,
        {"role": "assistant", "tool_calls": [call(call_id) for call_id in ids]},
        *({"role": "tool", "tool_call_id": call_id, "content": "x"} for call_id in ids),
    )

    made = [item["id"] for item in assistant["tool_calls"]]
    assert made == [result["tool_call_id"] for result in results]
    assert len(set(made)) == 4
    assert made[2] == "abc123XYZ"
    assert all(re.fullmatch("[A-Za-z0-9]{9}", call_id) for call_id in made)


def test_an_assistant_that_only_calls_tools_has_no_content_and_a_tool_that_says_nothing_an_empty_one():
    call = {"id": "000000001", "type": "function", "function": {"name": "f", "arguments": ""}}

    assert messages(
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "000000001", "content": ""},
    )[1:] == [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "000000001"},
    ]


def test_a_single_text_part_is_a_text_and_several_are_chunks():
    one, two = {"type": "text", "text": "one"}, {"type": "text", "text": "two"}

    assert user(one) == "one"
    assert user(one, two) == [one, two]


@pytest.mark.parametrize("url", [PNG, "https://example.com/a.png"])
def test_an_image_is_a_chunk(url):
    assert user({"type": "image_url", "image_url": {"url": url}}) == [{"type": "image_url", "image_url": url}]
    assert user({"type": "image_url", "image_url": url}) == [{"type": "image_url", "image_url": url}]


@pytest.mark.parametrize("detail", ["low", "auto", "high"])
def test_how_closely_an_image_is_looked_at_travels(detail):
    image = {"url": PNG, "detail": detail}

    assert user({"type": "image_url", "image_url": image}) == [{"type": "image_url", "image_url": image}]


@pytest.mark.parametrize(
    ("file", "chunk"),
    [
        ({"file_data": PDF}, {"type": "document_url", "document_url": PDF}),
        (
            {"file_data": PDF, "filename": "a.pdf"},
            {"type": "document_url", "document_url": PDF, "document_name": "a.pdf"},
        ),
        (
            {"file_url": "https://example.com/a.pdf"},
            {"type": "document_url", "document_url": "https://example.com/a.pdf"},
        ),
        ({"file_id": "11111111-1111"}, {"type": "file", "file_id": "11111111-1111"}),
    ],
)
def test_a_document_is_a_chunk(file, chunk):
    assert user({"type": "file", "file": file}) == [chunk]


def test_a_sound_is_its_base64_alone():
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}

    assert user(part) == [{"type": "input_audio", "input_audio": "UklGRg=="}]


# Tools, and the form of the answer


def test_a_tool_travels_and_one_without_parameters_gets_some():
    full = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}, "strict": True}
    bare = {"name": "h", "parameters": {}, "strict": False}
    tools = [{"type": "function", "function": function} for function in (full, {"name": "g"}, bare)]

    first, second, third = chat(tools=tools)["tools"]

    assert first == {"type": "function", "function": full}
    assert third == {"type": "function", "function": bare}
    assert second == {
        "type": "function",
        "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
    }


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}])
def test_the_choice_of_tools_travels(choice):
    assert chat(tool_choice=choice) == {"tool_choice": choice}


@pytest.mark.parametrize("parallel", [True, False])
def test_parallel_calls_travel(parallel):
    assert chat(parallel_tool_calls=parallel) == {"parallel_tool_calls": parallel}


class Verdict(msgspec.Struct):
    """What the reader thinks."""

    score: int


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {"response_format": {"type": "json_object"}}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
    ],
)
def test_the_form_of_the_answer_travels(wanted, expected):
    assert chat(response_format=wanted) == expected


def test_a_type_becomes_its_schema():
    wanted = chat(response_format=Verdict)["response_format"]["json_schema"]

    assert (wanted["name"], wanted["strict"]) == ("Verdict", True)
    assert wanted["schema"]["required"] == ["score"]


# The other fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop": ["x", "y"]}),
        ({"seed": 3}, {"random_seed": 3}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "standard_only"}, {"service_tier": "standard_only"}),
        (
            {"prediction": {"type": "content", "content": "so"}},
            {"prediction": {"type": "content", "content": "so"}},
        ),
        (
            {"prediction": {"type": "content", "content": [{"type": "text", "text": t} for t in ("s", "o")]}},
            {"prediction": {"type": "content", "content": "so"}},
        ),
        (
            {"extra_body": {"later": {"a": 1}, "temperature": 0.1}, "temperature": 1},
            {"later": {"a": 1}, "temperature": 0.1},
        ),
    ],
)
def test_a_field_in_other_words(given, expected):
    assert chat(**given) == expected


SAME = {
    "temperature": 1.5,
    "top_p": 0.5,
    "n": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "high",
    "metadata": {"user": "me"},
    "prompt_cache_key": "k",
    "top_k": 5,
    "random_seed": 3,
    "min_tokens": 1,
    "repetition_penalty": 1.1,
    "prompt_mode": "reasoning",
    "safe_prompt": True,
    "guardrails": [],
    "prompt_logprobs": True,
    "top_prompt_logprobs": 1,
}


@pytest.mark.parametrize("field", SAME)
def test_a_field_that_means_the_same_travels_as_it_is(field):
    assert chat(**{field: SAME[field]}) == {field: SAME[field]}


@pytest.mark.parametrize(
    "no_op",
    [
        *[{"n": 1}, {"stream": False}, {"store": False}, {"logprobs": False}, {"modalities": ["text"]}, {"user": None}],
        *[{"presence_penalty": 0}, {"frequency_penalty": 0.0}, {"logit_bias": {}}, {"service_tier": None}],
        *[{"tools": []}, {"stop": None}, {"tool_choice": None}, {"response_format": None}, {"extra_body": None}],
    ],
)
def test_what_says_nothing_is_left_out(no_op):
    assert chat(**no_op) == {}


TEXT = {"type": "text", "text": "x"}
REFUSED = [
    ({"temperature": 1.6}, "temperature"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"service_tier": 1}, "service_tier"),
    ({"prediction": {"type": "content"}}, "prediction"),
    ({"prediction": "so"}, "prediction"),
    ({"user": "me"}, "user"),
    ({"safety_identifier": "me"}, "safety_identifier"),
    ({"logit_bias": {"1": 1}}, "logit_bias"),
    ({"verbosity": "low"}, "verbosity"),
    ({"store": True}, "store"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"functions": [{}]}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"stream_options": {}}, "stream_options"),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
    ({"a_new_field": 1}, "a_new_field"),
    ({"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": CACHE}]}, "cache_control"),
    ({"messages": [{"role": "user", "content": [{**TEXT, "cache_control": CACHE}]}]}, "cache_control"),
    (
        {"messages": [{"role": "system", "content": [{**TEXT, "cache_control": CACHE}]}, *ASK]},
        "cache_control",
    ),
    ({"messages": [{"role": "user", "content": "x", "cache_control": CACHE}]}, "cache_control"),
    ({"messages": [{"role": "system", "content": "x", "cache_control": CACHE}, *ASK]}, "cache_control"),
    ({"messages": [{"role": "user", "content": "x", "name": "ann"}]}, "name"),
    ({"messages": [*ASK, {"role": "assistant", "content": "x", "name": "bot"}]}, "name"),
    (
        {"messages": [{"role": "user", "content": [TEXT, {"type": "image_url", "image_url": "gs://a/b.png"}]}]},
        "a gs:// address",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "max"}}]}
            ]
        },
        "image_url.detail",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f", "filename": "n"}}]}]},
        "file.filename",
    ),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_what_cannot_be_expressed_is_refused_by_name_or_dropped_and_said(fields, named):
    body = {"messages": ASK, **fields}

    refused = fault(body)
    row = encode(dict(body), is_dropping=True)

    assert refused.code == "unsupported"
    assert refused.message.startswith(f"Mistral cannot express {named}")
    assert row.dropped == (named,)
    assert f'"{named.rpartition(".")[2]}":'.encode() not in row.line
    assert json.loads(row.line)["body"]["messages"]


def test_what_is_left_of_a_message_with_a_part_too_many():
    parts = [TEXT, {"type": "image_url", "image_url": "gs://a/b.png"}]

    assert messages({"role": "user", "content": parts}, is_dropping=True) == [{"role": "user", "content": "x"}]
    refused = fault({"messages": [{"role": "user", "content": parts[1:]}]}, is_dropping=True)
    assert (refused.code, "messages[0]" in refused.message) == ("empty_field", True)


def test_the_callers_own_objects_are_not_changed():
    body = {"messages": [{"role": "user", "content": [{**TEXT, "cache_control": CACHE}]}], "tools": [], "user": "me"}
    before = json.dumps(body)
    encode(dict(body), is_dropping=True)

    assert json.dumps(body) == before


# Fill in the middle


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt": "def f(", "suffix": "return a", "max_tokens": 16}, None),
        ({"prompt": "a", "temperature": 1.5, "top_p": 0.5, "stop": ["b"], "min_tokens": 1, "random_seed": 2}, None),
        ({"prompt": "a", "metadata": {"a": "b"}, "prompt_cache_key": "k"}, None),
        ({"prompt": ["a"], "seed": 1}, {"prompt": "a", "random_seed": 1}),
        ({"prompt": "a", "n": 1, "best_of": 1, "echo": False, "stream": False, "logprobs": None}, {"prompt": "a"}),
        ({"prompt": "a", "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}, {"prompt": "a"}),
        ({"prompt": "a", "extra_body": {"later": 1}}, {"prompt": "a", "later": 1}),
    ],
)
def test_a_completion_fills_in_the_middle(given, expected):
    assert made(given, kind="fim") == (given if expected is None else expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("n", 2),
            ("n", True),
            ("best_of", 2),
            ("echo", True),
            ("logprobs", 1),
            ("logprobs", 0),
            ("logit_bias", {"1": 1}),
        ],
        *[("presence_penalty", 1), ("frequency_penalty", 1), ("user", "me"), ("temperature", 2), ("top_k", 1)],
    ],
)
def test_what_a_completion_cannot_say_is_refused_by_name_or_dropped(field, value):
    body = {"prompt": "a", field: value}

    assert fault(body, kind="fim").message.startswith(f"Mistral cannot express {field}")
    assert made(body, kind="fim", is_dropping=True) == {"prompt": "a"}


# Embeddings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"input": ["embed me"]}, None),
        ({"input": "embed me", "encoding_format": "base64", "output_dtype": "int8", "metadata": {}}, None),
        ({"input": "a", "dimensions": 256}, {"input": "a", "output_dimension": 256}),
        ({"input": "a", "output_dimension": 256}, None),
        ({"input": "a", "extra_body": {"later": 1}}, {"input": "a", "later": 1}),
    ],
)
def test_an_embedding(given, expected):
    assert made(given, kind="embedding") == (given if expected is None else expected)


def test_an_embedding_for_a_user_is_refused_or_goes_without():
    assert fault({"input": "a", "user": "me"}, kind="embedding").code == "unsupported"
    assert made({"input": "a", "user": "me"}, kind="embedding", is_dropping=True) == {"input": "a"}


@pytest.mark.parametrize(
    ("body", "kind", "code", "says"),
    [
        ({}, "chat", "missing_field", "needs messages; this one has nothing"),
        ({"messages": []}, "chat", "empty_field", "messages"),
        ({"messages": "hi"}, "chat", "wrong_type", "'hi'"),
        ({"messages": ASK, "extra_body": 1}, "chat", "wrong_type", "extra_body is 1"),
        ({"messages": ASK}, "fim", "missing_field", "a fim request needs prompt; this one has messages"),
        ({"prompt": None}, "fim", "missing_field", "this one has nothing"),
        ({"prompt": ""}, "fim", "empty_field", "its prompt is empty: ''"),
        ({"prompt": ["a", "b"]}, "fim", "unsupported", "prompt is ['a', 'b']"),
        ({"prompt": [1]}, "fim", "unsupported", "one text"),
        ({"prompt": "a", "extra_body": "b"}, "fim", "wrong_type", "extra_body is 'b', not an object"),
        ({"prompt": "a"}, "embedding", "missing_field", "a embedding request needs input; this one has prompt"),
        ({"input": []}, "embedding", "empty_field", "its input is empty: []"),
        ({"input": [1, 2]}, "embedding", "unsupported", "input is [1, 2]; texts alone"),
        ({"input": ["a", [1]]}, "embedding", "unsupported", "texts alone"),
        ({"input": {"a": 1}}, "embedding", "unsupported", "texts alone"),
        ({"input": "a", "extra_body": []}, "embedding", "wrong_type", "extra_body is [], not an object"),
    ],
)
def test_a_request_that_cannot_be_one_is_refused_with_its_value(body, kind, code, says):
    refused = fault(body, kind=kind)

    assert refused.code == code
    assert says in refused.message


@pytest.mark.parametrize(("given_input", "inputs"), [("one", 1), (["a", "b"], 2), ([], 1), (None, 1)])
def test_an_embedding_row_counts_as_many_inputs_as_it_asks_for(given_input, inputs):
    assert count_inputs({"input": given_input}, "embedding") == inputs
    assert count_inputs({"input": given_input}, "chat") == 1


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_id_and_any_text_stay_in_one_line(wire_id, text):
    row = encode({"messages": [{"role": "user", "content": text}]}, wire_id=wire_id)

    assert row.line.count(b"\n") == 1
    decoded = msgspec.json.decode(row.line)
    assert (decoded["custom_id"], decoded["body"]["messages"][0]["content"]) == (wire_id, text)
