"""Whatever JSON a row holds: a format gives a body or says what is wrong with it, and no row takes a job with it."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncbatch.codec.chat import Unsupported
from asyncbatch.codec.formats import Wish, format_of
from asyncbatch.codec.requests import RowFault, encode_json
from asyncbatch.enums import BatchMode

FORMATS = [
    ("openai.chat", BatchMode.CHAT),
    ("openai.completion", BatchMode.COMPLETION),
    ("openai.embedding", BatchMode.EMBEDDING),
    ("openai.responses", BatchMode.CUSTOM),
    ("anthropic.messages", BatchMode.CHAT),
    ("anthropic.messages", BatchMode.CUSTOM),
    ("gemini.generate", BatchMode.CHAT),
    ("gemini.generate", BatchMode.CUSTOM),
    ("gemini.embed", BatchMode.EMBEDDING),
    ("mistral.chat", BatchMode.CHAT),
    ("mistral.fim", BatchMode.COMPLETION),
    ("mistral.embedding", BatchMode.EMBEDDING),
    ("mistral.ocr", BatchMode.CUSTOM),
    ("responses.chat", BatchMode.CHAT),
    ("responses.agent", BatchMode.CHAT),
    ("responses.agent", BatchMode.CUSTOM),
]
MODELS = {
    "openai": "gpt-4.1",
    "anthropic": "claude-test",
    "gemini": "gemini-3-flash",
    "mistral": "mistral-test",
    "responses": "openai/gpt-test",
}
REFUSES = ("temperature+top_p", "thinking.adaptive", "tool_choice.forced", "prefill")

WORDS = st.sampled_from(
    [
        *("system", "developer", "user", "assistant", "tool", "text", "image_url", "file", "input_audio", "function"),
        *(
            "custom",
            "video_url",
            "allowed_tools",
            "grammar",
            "json_schema",
            "json_object",
            "auto",
            "none",
            "required",
            "low",
            "high",
            "object",
            "call_1",
            "f",
            "",
            "{}",
        ),
        *("data:image/png;base64,aGk=", "data:text/plain;base64,/w==", "https://example.com/a.png", "gs://a/b"),
    ]
)
KEYS = st.sampled_from(
    [
        *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "id", "type", "function", "arguments"),
        *("text", "image_url", "url", "detail", "file", "file_data", "file_id", "filename", "input_audio", "data"),
        *("format", "json_schema", "schema", "properties", "anyOf", "items", "$ref", "$defs", "additionalProperties"),
        *("description", "parameters", "strict", "cache_control", "extra_content", "google", "thought_signature"),
        *("enum", "const", "minItems", "required", "definitions", "allOf", "oneOf", "default"),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
JSON = st.recursive(
    LEAVES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
CALL = st.fixed_dictionaries(
    {
        "id": WORDS,
        "type": st.sampled_from(["function", "custom"]),
        "function": st.fixed_dictionaries({"name": WORDS, "arguments": WORDS}),
    },
    optional={"later": JSON},
)
PART = st.fixed_dictionaries(
    {"type": WORDS}, optional=dict.fromkeys(("text", "image_url", "file", "input_audio", "later"), JSON)
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": WORDS | st.lists(PART, max_size=2)},
    optional={
        "tool_calls": st.lists(CALL | JSON, max_size=2),
        **dict.fromkeys(("tool_call_id", "name", "refusal"), WORDS),
        **dict.fromkeys(("cache_control", "annotations", "later"), JSON),
    },
)
TOOL = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["function", "custom"]),
        "function": st.fixed_dictionaries({"name": WORDS, "parameters": JSON}),
    },
    optional={"later": JSON},
)
SCHEMA = st.fixed_dictionaries(
    {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"name": WORDS, "schema": JSON})}
)
SETTINGS = (
    *("temperature", "top_p", "top_k", "seed", "n", "stop", "max_tokens", "max_completion_tokens", "logprobs"),
    *("top_logprobs", "reasoning_effort", "tool_choice", "parallel_tool_calls", "user", "safety_identifier"),
    *("metadata", "service_tier", "modalities", "prediction", "thinking", "cache_control", "extra_body", "stream"),
    *("contents", "generationConfig", "a_new_field", "dimensions", "encoding_format", "task_type", "suffix", "model"),
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SETTINGS, JSON),
        "messages": st.lists(MESSAGE | JSON, max_size=3) | JSON,
        "tools": st.lists(TOOL | JSON, max_size=2) | JSON,
        "response_format": SCHEMA | JSON,
        "extra_body": st.dictionaries(
            st.sampled_from(("messages", "tools", "stop", "model", *SETTINGS)), JSON, max_size=2
        ),
        "prompt": JSON,
        "input": JSON,
    },
)
ASK = [{"role": "user", "content": "Hi"}]
CHAT = BODY.map(lambda body: {**body, "messages": ASK})
ONE = st.sampled_from((*SETTINGS, "tools", "response_format")).flatmap(
    lambda name: st.builds(
        lambda value, effort: {"messages": ASK, "input": "x", "prompt": "x", **effort, name: value},
        JSON | SCHEMA | st.dictionaries(st.sampled_from(("messages", "tools", *SETTINGS)), JSON, max_size=1),
        st.sampled_from(({}, {"reasoning_effort": "low"}, {"tool_choice": "required"})),
    )
)


@pytest.mark.parametrize(("name", "mode"), FORMATS)
@given(body=BODY | CHAT | ONE, is_dropping=st.booleans())
@example(body={"messages": ASK, "thinking": "high"}, is_dropping=False)
@example(body={"messages": ASK, "extra_body": {"messages": 5}}, is_dropping=True)
@example(body={"messages": ASK, "input": "x", "prompt": "x", "extra_body": {"model": "other"}}, is_dropping=True)
@example(body={"messages": ASK, "input": "x", "prompt": "x", "extra_body": {"stream": True}}, is_dropping=True)
def test_whatever_a_row_holds_it_becomes_a_body_or_is_refused_and_nothing_else_happens(name, mode, body, is_dropping):
    family, _, kind = name.partition(".")
    before = json.dumps(body)
    unsupported = Unsupported("It", drop=is_dropping)
    wish = Wish(kind=kind, mode=mode, model=MODELS[family], max_tokens=4096, refuses=REFUSES, unsupported=unsupported)
    try:
        made = format_of(name).encode_body(dict(body), wish)
    except RowFault:
        return

    assert json.loads(encode_json(made)) == made
    assert format_of(name).count_inputs(made, kind) >= 1
    assert made.get("model") in (None, MODELS[family], f"models/{MODELS[family]}")
    assert not made.get("stream")
    assert json.dumps(body) == before
