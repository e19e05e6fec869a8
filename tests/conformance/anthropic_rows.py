"""Parameters of every kind of message, by name: what their answers look like is the same in all tests."""

import base64

MODEL = "claude-haiku-4-5"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"name": "get_weather", "description": "Weather of a city.", "input_schema": SCHEMA}
PNG = base64.b64encode(b"a picture").decode()
PDF = base64.b64encode(b"%PDF-1").decode()


def message(prompt="hello", **changes):
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **changes}


PARAMS = {
    "plain": message(system="be brief"),
    "cut": message(max_tokens=1),
    "cached": message("[[cached:9]]"),
    "thoughtful": message("[[think:9]]", thinking={"type": "adaptive"}),
    "tool": message(tools=[TOOL], tool_choice={"type": "any"}),
    "dialogue": message(
        messages=[
            {"role": "user", "content": "hello"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"a": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sun"}]},
        ],
        tools=[TOOL],
    ),
    "picture": message(
        [
            {"type": "text", "text": "hello"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        ]
    ),
    "refusal": message("[[refuse]]"),
    "schema": message(output_config={"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}),
}
STOP_REASONS = {"cut": "max_tokens", "tool": "tool_use", "refusal": "refusal"}  # of the others: end_turn


def requests_of(params):
    return [{"custom_id": name, "params": body} for name, body in params.items()]
