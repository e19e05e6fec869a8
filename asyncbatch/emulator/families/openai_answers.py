"""Answers in OpenAI's shapes: one function for each kind of endpoint, from the ask and its answer to the body of a 200.

Source: https://platform.openai.com/docs/api-reference
"""

from collections.abc import Callable
from typing import Any

from asyncbatch.emulator.echo import encode_vector
from asyncbatch.emulator.model import Answer, Ask, ToolCall


def encode_chat(ask: Ask, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ask.mark}",
        "object": "chat.completion",
        "created": int(ask.at),
        "model": ask.model,
        "choices": [
            {"index": index, "message": _message(ask, choice), "logprobs": None, "finish_reason": _finish(choice)}
            for index, choice in enumerate(answer.choices)
        ],
        "usage": {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_echo",
    }


def _message(ask: Ask, choice: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": choice.refusal}
    if choice.tool_calls:
        return {**message, "tool_calls": [_call(ask, index, call) for index, call in enumerate(choice.tool_calls)]}
    return message if choice.refusal is not None else {**message, "annotations": []}


def _call(ask: Ask, index: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": _call_id(ask, index, call), "type": "function", "function": function}


def _call_id(ask: Ask, index: int, call: ToolCall) -> str:
    return call.id or f"call_{ask.mark}" + (f"_{index}" if index else "")


def _finish(choice: Answer) -> str:
    return "stop" if choice.finish == "refusal" else choice.finish


def encode_completion(ask: Ask, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"cmpl-{ask.mark}",
        "object": "text_completion",
        "created": int(ask.at),
        "model": ask.model,
        "choices": [
            {"index": index, "text": choice.text or "", "logprobs": None, "finish_reason": _finish(choice)}
            for index, choice in enumerate(answer.choices)
        ],
        "usage": {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
    }


def encode_embedding(ask: Ask, answer: Answer) -> dict[str, Any]:
    is_base64 = ask.body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "model": ask.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode_vector(vector) if is_base64 else vector}
            for index, vector in enumerate(answer.vectors)
        ],
        "usage": {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens},
    }


def encode_response(ask: Ask, answer: Answer) -> dict[str, Any]:
    is_cut = answer.finish == "length"
    return {
        "id": f"resp_{ask.mark}",
        "object": "response",
        "created_at": int(ask.at),
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": ask.body.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "model": ask.model,
        "output": _response_items(ask, answer),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": ask.body.get("temperature", 1.0),
        "text": ask.body.get("text") or {"format": {"type": "text"}},
        "tool_choice": ask.body.get("tool_choice", "auto"),
        "tools": ask.body.get("tools") or [],
        "top_p": ask.body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
        "metadata": ask.body.get("metadata") or {},
    }


def encode_agent(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Give the answer of an agent. Source: perplexityai 0.46.1, types/response_create_response.py and output_item.py."""
    whole = encode_response(ask, answer)
    return {
        **{name: whole[name] for name in ("id", "object", "created_at", "model", "error", "previous_response_id")},
        "status": "completed",  # there is no word for an answer that was cut
        "background": False,
        "output": [_agent_item(item) for item in whole["output"]],
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cache_creation_input_tokens": 0, "cache_read_input_tokens": answer.cached_tokens},
            "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "cost": {"currency": "USD", "input_cost": 0.0, "output_cost": 0.0, "total_cost": 0.0},
        },
    }


def _agent_item(item: dict[str, Any]) -> dict[str, Any]:
    content = {"content": [_agent_part(part) for part in item["content"]]} if "content" in item else {}
    return {**item, "status": "completed", **content}


def _agent_part(part: dict[str, Any]) -> dict[str, Any]:
    """Give words; a refusal is in words too."""
    return {"type": "output_text", "text": part.get("text", part.get("refusal")), "annotations": []}


def _response_items(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    calls = [_response_call(ask, index, call) for index, call in enumerate(answer.tool_calls)]
    return calls if answer.text is None and answer.refusal is None else [_response_message(ask, answer), *calls]


def _response_call(ask: Ask, index: int, call: ToolCall) -> dict[str, Any]:
    return {
        "id": f"fc_{ask.mark}" + (f"_{index}" if index else ""),
        "type": "function_call",
        "call_id": _call_id(ask, index, call),
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def _response_message(ask: Ask, answer: Answer) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    if answer.refusal is not None:
        part = {"type": "refusal", "refusal": answer.refusal}
    return {
        "id": f"msg_{ask.mark}",
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if answer.finish == "length" else "completed",
        "content": [part],
    }


BODIES: dict[str, Callable[[Ask, Answer], dict[str, Any]]] = {
    "chat": encode_chat,
    "completion": encode_completion,
    "embedding": encode_embedding,
    "response": encode_response,
    "agent": encode_agent,
}
