"""Chat requests as the format `responses.chat` writes them, against the types of OpenAI's own SDK."""

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from asyncbatch.codec.formats import Wish
from asyncbatch.codec.formats.responses import encode_body
from asyncbatch.codec.unsupported import REFUSING
from asyncbatch.enums import BatchMode
from tests.conformance.rows import SCHEMA

pytestmark = pytest.mark.conformance

ADAPTER = TypeAdapter(ResponseCreateParamsNonStreaming)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PARTS = [
    {"type": "text", "text": "see"},
    {"type": "image_url", "image_url": {"url": "https://sea.example/a.png", "detail": "low"}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
    {"type": "file", "file": {"file_id": "file-1"}},
]
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PARTS},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}, PARTS[1]]},
        {"role": "user", "content": "and?"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d"}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "max_tokens": 20,
    "reasoning_effort": "xhigh",
    "verbosity": "low",
    "logprobs": True,
    "top_logprobs": 2,
    "temperature": 0.5,
    "top_p": 0.5,
    "user": "me",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "flex",
    "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "truncation": "auto",
    "max_tool_calls": 3,
}


def made(chat):
    return encode_body(dict(chat), Wish(kind="chat", mode=BatchMode.CHAT, model="gpt-5", unsupported=REFUSING))


@pytest.mark.parametrize("changes", [{}, {"tool_choice": "required"}, {"response_format": {"type": "json_object"}}])
def test_what_we_make_of_chat_is_what_its_own_types_allow(changes):
    body = made(CHAT | changes)

    assert body.keys() <= ResponseCreateParamsNonStreaming.__annotations__.keys() | _inherited()
    checked = ADAPTER.validate_python(body)
    items = [dict(item) for item in checked["input"]]  # which are looked at as they are taken
    tools = [dict(tool) for tool in checked["tools"]]
    assert [item["type"] for item in items] == [item["type"] for item in body["input"]]
    assert [tool["name"] for tool in tools] == ["f"]


def _inherited():
    bases = ResponseCreateParamsNonStreaming.__orig_bases__
    return set().union(*(base.__annotations__.keys() for base in bases))
