"""Answers in Mistral's shapes, from the ask and its answer to the body of a 200; those that a model writes.

Source: https://docs.mistral.ai/api
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from asyncbatch.emulator.clock import write_time
from asyncbatch.emulator.echo import encode_vector
from asyncbatch.emulator.model import Answer, Ask, ToolCall

THOUGHT = "echo: thinking"


def encode_usage(answer: Answer) -> dict[str, Any]:
    """Give the bill; tokens of a cache are told where there were any."""
    usage: dict[str, Any] = {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    details = {"prompt_tokens_details": {"cached_tokens": answer.cached_tokens}}
    return {**usage, **details} if answer.cached_tokens else usage


def encode_chat(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Give the answer of chat, which is that of fill-in-the-middle too."""
    return {
        "id": ask.mark,
        "object": "chat.completion",
        "model": ask.model,
        "usage": encode_usage(answer),
        "created": int(ask.at),
        "choices": [
            {"index": index, "message": _message(ask, index, choice), "finish_reason": _finish(choice)}
            for index, choice in enumerate(answer.choices)
        ],
    }


def _message(ask: Ask, number: int, choice: Answer) -> dict[str, Any]:
    calls = [_call(ask, number, index, call) for index, call in enumerate(choice.tool_calls)]
    return {"role": "assistant", "tool_calls": calls or None, "content": _content(choice)}


def _content(choice: Answer) -> str | list[dict[str, Any]]:
    """Give text; after thinking, chunks, of which the last is the text. There is no shape for refusals but words."""
    said = choice.text or choice.refusal or ""
    if not choice.reasoning_tokens:
        return said
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    return [thought, {"type": "text", "text": said}]


def _call(ask: Ask, number: int, index: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or _call_id(ask, number, index), "type": "function", "function": function, "index": index}


def _call_id(ask: Ask, number: int, index: int) -> str:
    """Give nine letters and digits: the service takes no other ids back."""
    return hashlib.sha256(f"{ask.mark}/{number}/{index}".encode()).hexdigest()[:9]


def _finish(choice: Answer) -> str:
    return "stop" if choice.finish == "refusal" else choice.finish


def encode_embedding(ask: Ask, answer: Answer) -> dict[str, Any]:
    usage = {**encode_usage(answer), "prompt_audio_seconds": None}
    return {
        "id": ask.mark,
        "object": "list",
        "data": [
            {"object": "embedding", "embedding": _vector(ask, vector), "index": index}
            for index, vector in enumerate(answer.vectors)
        ],
        "model": ask.model,
        "usage": usage,
    }


def _vector(ask: Ask, vector: list[float]) -> list[float] | str:
    dtype = ask.body.get("output_dtype", "float")
    is_base64 = ask.body.get("encoding_format") == "base64"
    if dtype == "float":
        return encode_vector(vector) if is_base64 else vector
    values = _QUANTIZERS[dtype](vector)
    return base64.b64encode(bytes(value & 0xFF for value in values)).decode() if is_base64 else [*map(float, values)]


def _packed(vector: list[float], offset: int) -> list[int]:
    """Give the signs of the values, eight in a byte."""
    signs = [value > 0 for value in vector] + [False] * (-len(vector) % 8)
    eights = (signs[at : at + 8] for at in range(0, len(signs), 8))
    return [sum(128 >> bit for bit, is_set in enumerate(eight) if is_set) - offset for eight in eights]


_QUANTIZERS: dict[str, Callable[[list[float]], list[int]]] = {
    "int8": lambda vector: [round(value * 127) for value in vector],
    "uint8": lambda vector: [round((value + 1) * 127.5) for value in vector],
    "binary": lambda vector: _packed(vector, 128),
    "ubinary": lambda vector: _packed(vector, 0),
}


def encode_conversation(ask: Ask, answer: Answer) -> dict[str, Any]:
    return {
        "object": "conversation.response",
        "conversation_id": f"conv_{ask.mark}",
        "outputs": [_output(ask, call, index) for index, call in enumerate(answer.tool_calls)] or [_said(ask, answer)],
        "usage": {**encode_usage(answer), "connector_tokens": None, "connectors": None},
        "guardrails": None,
    }


def _said(ask: Ask, answer: Answer) -> dict[str, Any]:
    entry = {"type": "message.output", "id": f"msg_{ask.mark}", "role": "assistant", "content": _content(answer)}
    return {**_entry(ask), **entry}


def _output(ask: Ask, call: ToolCall, index: int) -> dict[str, Any]:
    entry = {
        "type": "function.call",
        "id": f"fc_{ask.mark}_{index}",
        "tool_call_id": call.id or _call_id(ask, 0, index),
    }
    return {**_entry(ask), **entry, "name": call.name, "arguments": call.arguments}


def _entry(ask: Ask) -> dict[str, Any]:
    at = write_time(ask.at)
    return {"object": "entry", "created_at": at, "completed_at": at, "agent_id": None, "model": ask.model}


BODIES: dict[str, Callable[[Ask, Answer], dict[str, Any]]] = {
    "chat": encode_chat,
    "fim": encode_chat,
    "embedding": encode_embedding,
    "conversation": encode_conversation,
}
