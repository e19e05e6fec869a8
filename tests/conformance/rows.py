"""One row for each endpoint, and what OpenAI's specification calls the answer's body."""

import json

CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"name": "get_weather", "parameters": SCHEMA}


def chat(prompt="hello", **changes):
    return {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": prompt}], **changes}


def respond(prompt="hello", **changes):
    return {"model": "gpt-5-mini", "input": prompt, **changes}


BODIES = {
    CHAT: {
        "plain": chat(),
        "cut": chat(max_tokens=1),
        "many": chat(n=2),
        "tool": chat(tools=[{"type": "function", "function": TOOL}], tool_choice="required"),
        "refusal": chat("[[refuse]]"),
        "schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}),
    },
    "/v1/completions": {"plain": {"model": "gpt-3.5-turbo-instruct", "prompt": "hello", "max_tokens": 3}},
    "/v1/embeddings": {
        "plain": {"model": "text-embedding-3-small", "input": "hello"},
        "many": {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8},
    },
    "/v1/responses": {
        "plain": respond(),
        "cut": respond(max_output_tokens=1),
        "tool": respond(
            tools=[{"type": "function", "strict": True, **TOOL}], tool_choice={"type": "function", "name": TOOL["name"]}
        ),
        "refusal": respond("[[refuse]]"),
        "schema": respond(text={"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}),
    },
    "/v1/moderations": {"plain": {"model": "omni-moderation-latest", "input": "hello [[flag]]"}},
}


def encode_rows(endpoint, bodies):
    """Give the lines of a batch's input."""
    rows = [{"custom_id": name, "method": "POST", "url": endpoint, "body": body} for name, body in bodies.items()]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
