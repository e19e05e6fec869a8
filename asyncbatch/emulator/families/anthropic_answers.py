"""Answers as Anthropic's messages, from the ask and its answer.

Source: https://platform.claude.com/docs/en/api/messages/create, and the type `Message` of the official SDK.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask, ToolCall

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal"}
_THOUGHT = "The user wants an echo."


def encode_message(ask: Ask, answer: Answer) -> dict[str, Any]:
    is_refused = answer.finish == "refusal"
    return {
        "id": f"msg_{ask.mark}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": list(_encode_blocks(ask, answer)),
        "stop_reason": _STOP_REASONS[answer.finish],
        "stop_sequence": None,
        "stop_details": {"type": "refusal", "category": None, "explanation": None} if is_refused else None,
        "container": None,
        "diagnostics": None,
        "usage": _encode_usage(answer),
    }


def _encode_blocks(ask: Ask, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.reasoning_tokens:
        yield _encode_thought(ask)
    text = answer.text if answer.refusal is None else answer.refusal
    if text:
        yield {"type": "text", "text": text}
    for number, call in enumerate(answer.tool_calls):
        yield _encode_call(ask, number, call)


def _encode_thought(ask: Ask) -> dict[str, Any]:
    """Give what the model thought; a client that wants no thoughts gets nothing but the signature."""
    thinking = ask.body.get("thinking")
    is_hidden = is_object(thinking) and thinking.get("display") == "omitted"
    return {"type": "thinking", "thinking": "" if is_hidden else _THOUGHT, "signature": f"echo{ask.mark}"}


def _encode_call(ask: Ask, number: int, call: ToolCall) -> dict[str, Any]:
    call_id = call.id or f"toolu_{ask.mark}" + (f"_{number}" if number else "")
    arguments = msgspec.json.decode(call.arguments)
    values = arguments if is_object(arguments) else {}
    return {"type": "tool_use", "id": call_id, "name": call.name, "input": values, "caller": {"type": "direct"}}


def _encode_usage(answer: Answer) -> dict[str, Any]:
    """Give the bill; what was read from the cache is not among the input tokens."""
    return {
        "input_tokens": answer.input_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
        "server_tool_use": None,
        "service_tier": "batch",
        "inference_geo": None,
    }
