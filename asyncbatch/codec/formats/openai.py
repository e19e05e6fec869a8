"""OpenAI's body formats: what chat, completion and embedding requests must hold, and the line they become.

Source: OpenAI's batch guide and openai/openai-openapi:openapi.yaml (BatchRequestInput), as of 2026-11-22.
"""

from typing import Any, cast

import msgspec

from asyncbatch.codec.requests import EncodedRow, Request, RowFault, encode_json, shown

_NEEDED = {"chat": "messages", "completion": "prompt", "embedding": "input"}


def encode_request(request: Request, *, wire_id: str, model: str, endpoint: str, kind: str) -> EncodedRow:
    """Make a request a line of a batch file, or raise the `RowFault` that says why it cannot be one."""
    if request.url is not None and request.url != endpoint:
        raise RowFault("bad_url", f"its url is {shown(request.url)}, but this job goes to {endpoint}")
    body = check_body(request.body, model=model, kind=kind)
    head = encode_json(wire_id)
    line = b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        head,
        msgspec.json.encode(endpoint),
        encode_json(body),
    )
    return EncodedRow(line, count_inputs(body) if kind == "embedding" else 1)


def check_body(body: dict[str, Any], *, model: str, kind: str) -> dict[str, Any]:
    """Fill in the model and refuse what the service would refuse the whole file for."""
    if body.setdefault("model", model) != model:
        raise RowFault("mixed_models", f"its model is {shown(body['model'])}, but this job is for {model!r}")
    if body.get("stream"):
        raise RowFault("streaming", "it asks for stream, which no batch can give: remove it")
    needed = _NEEDED.get(kind)
    if needed is not None and needed in body and not body[needed]:
        raise RowFault("empty_field", f"its {needed} is empty: {shown(body[needed])}")
    if needed is not None and needed not in body:
        has = ", ".join(sorted(body.keys() - {"model"})) or "nothing"
        raise RowFault("missing_field", f"a {kind} request needs {needed}; this one has {has}")
    if kind == "chat" and not isinstance(body["messages"], list):
        raise RowFault("wrong_type", f"messages is {shown(body['messages'])}, not a list")
    return body


def count_inputs(body: dict[str, Any]) -> int:
    """How many texts one embedding request asks for: a list of texts or of token lists counts each."""
    given: Any = body.get("input")
    items = cast("list[Any]", given) if isinstance(given, list) else []
    return len(items) if items and not isinstance(items[0], int) else 1
