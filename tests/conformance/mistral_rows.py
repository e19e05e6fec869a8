"""Rows for Mistral in its own shapes: everything that `rows` has for OpenAI, and what only Mistral has."""

import json

CHAT = "/v1/chat/completions"
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "d", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
CALL = {"id": "D681PevKs", "type": "function", "function": {"name": "get_weather", "arguments": '{"a": 1}'}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
URL = "https://example.com/a.pdf"


def said(content="hello", role="user", **more):
    return {"role": role, "content": content, **more}


def chat(prompt="hello", **changes):
    return {"messages": [said(prompt)], **changes}


TURNS = [
    said("be short", "system"),
    said("what is the weather?"),
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    said("sun", "tool", tool_call_id=CALL["id"], name="get_weather"),
]
PARTS = [
    {"type": "text", "text": "what is it?"},
    {"type": "image_url", "image_url": PIXEL},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    {"type": "document_url", "document_url": URL, "document_name": "a"},
]
ENTRIES = [
    {"role": "user", "content": "what is the weather?"},
    {"type": "function.call", "tool_call_id": "c1", "name": "get_weather", "arguments": {"a": 1}},
    {"type": "function.result", "tool_call_id": "c1", "result": "sun"},
    {"type": "message.output", "role": "assistant", "content": "sun"},
    {"type": "message.input", "role": "user", "content": [{"type": "text", "text": "thanks"}]},
]

MODELS = {
    CHAT: "mistral-small-latest",
    "/v1/embeddings": "mistral-embed",
    "/v1/fim/completions": "codestral-latest",
    "/v1/moderations": "mistral-moderation-latest",
    "/v1/chat/moderations": "mistral-moderation-latest",
    "/v1/classifications": "ft:mistral-small:sentiment",
    "/v1/chat/classifications": "ft:mistral-small:sentiment",
    "/v1/ocr": "mistral-ocr-latest",
    "/v1/conversations": "mistral-medium-latest",
    "/v1/audio/transcriptions": "voxtral-mini-latest",
}
BODIES = {
    CHAT: {
        "plain": chat(),
        "cut": chat(max_tokens=1, temperature=0.5, top_p=0.9, random_seed=7, stop=["x"]),
        "nothing": chat(max_tokens=0),
        "many": chat(n=2),
        "tool": chat(tools=TOOLS, tool_choice="any"),
        "named": chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_weather"}}),
        "turns": {"messages": TURNS, "tools": TOOLS, "parallel_tool_calls": False},
        "parts": {"messages": [said(PARTS)]},
        "refusal": chat("[[refuse]]"),
        "schema": chat(response_format=FORMAT),
        "json": chat(response_format={"type": "json_object"}),
        "thinking": chat("[[think:9]]", reasoning_effort="high"),
        "cached": chat("[[cached:7]]", prompt_cache_key="k"),
    },
    "/v1/embeddings": {
        "plain": {"input": "hello"},
        "many": {"input": ["a", "b"], "output_dimension": 8},
        "small": {"input": ["a"], "output_dimension": 16, "output_dtype": "int8"},
    },
    "/v1/fim/completions": {"plain": {"prompt": "def f(", "suffix": "return a", "max_tokens": 3}},
    "/v1/moderations": {"plain": {"input": "hello [[flag]]"}, "many": {"input": ["a", "b"]}},
    "/v1/chat/moderations": {
        "one": {"input": [said()]},
        "many": {"input": [[said()], [said(), said("b", "assistant")]]},
    },
    "/v1/classifications": {"plain": {"input": "hello"}, "many": {"input": ["a", "b"]}},
    "/v1/chat/classifications": {"one": {"input": chat()}, "many": {"input": [chat(), chat()]}},
    "/v1/ocr": {
        "plain": {"document": {"type": "document_url", "document_url": URL}},
        "pages": {"document": {"type": "document_url", "document_url": URL}, "pages": "0,2-4", "include_blocks": False},
        "image": {"document": {"type": "image_url", "image_url": PIXEL}, "document_annotation_format": FORMAT},
    },
    "/v1/conversations": {
        "plain": {"inputs": "hello", "instructions": "be short", "completion_args": {"max_tokens": 1}},
        "entries": {"inputs": ENTRIES},
        "tool": {"inputs": "hello [[tool:get_weather]]", "tools": TOOLS},
    },
    "/v1/audio/transcriptions": {
        "plain": {"file_url": "https://example.com/a.mp3"},
        "timed": {"file_id": "f", "language": "en", "timestamp_granularities": ["segment"], "diarize": True},
    },
}


def requests(bodies):
    return [{"custom_id": name, "body": body} for name, body in bodies.items()]


def encode_rows(bodies):
    """Give the lines of a batch's input."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in requests(bodies))
