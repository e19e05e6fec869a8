"""Answers in Gemini's shapes: the body of a row that was answered. Zeros are left out, as Google does. Pure.

Source: https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from typing import Any

import msgspec

from asyncbatch.emulator.model import Answer, Ask, ToolCall

_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "refusal": "SAFETY"}
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])
THOUGHT = "I think about it."


def encode_chat(ask: Ask, answer: Answer) -> dict[str, Any]:
    """Give the candidates; or the reason why there are none, for a prompt that is blocked."""
    is_blocked = answer.refusal is not None
    head: dict[str, Any] = (
        {"promptFeedback": {"blockReason": "SAFETY"}}
        if is_blocked
        else {"candidates": [_candidate(ask, index, choice) for index, choice in enumerate(answer.choices)]}
    )
    usage = _prompt_usage(answer) if is_blocked else _usage(answer)
    return {**head, "usageMetadata": usage, "modelVersion": ask.model, "responseId": ask.mark}


def _candidate(ask: Ask, index: int, choice: Answer) -> dict[str, Any]:
    place = {"index": index} if index else {}
    if choice.refusal is not None:
        return {"finishReason": "SAFETY", **place}
    parts = _parts(ask, index, choice)
    if parts is None:
        return {"finishReason": "MALFORMED_FUNCTION_CALL", **place}
    content = {**({"parts": parts} if parts else {}), "role": "model"}
    return {"content": content, "finishReason": _FINISH[choice.finish], **place}


def _parts(ask: Ask, index: int, choice: Answer) -> list[dict[str, Any]] | None:
    """Give thoughts, text and calls; None if the model has made a call that cannot be read."""
    thoughts = [{"text": THOUGHT, "thought": True}] if choice.reasoning_tokens and _shows_thoughts(ask) else []
    texts = [] if choice.text is None else [{"text": choice.text}]
    try:
        calls = [_call(ask, f"{index}_{number}", call) for number, call in enumerate(choice.tool_calls)]
    except msgspec.DecodeError:
        return None
    return [*thoughts, *texts, *calls]


def _shows_thoughts(ask: Ask) -> bool:
    config = ask.body.get("generationConfig", {})
    return bool(config.get("thinkingConfig", {}).get("includeThoughts"))


def _call(ask: Ask, number: str, call: ToolCall) -> dict[str, Any]:
    call_id = call.id or f"call_{ask.mark}_{number}"
    return {"functionCall": {"name": call.name, "args": _ARGUMENTS.decode(call.arguments), "id": call_id}}


def _prompt_usage(answer: Answer) -> dict[str, Any]:
    return {
        "promptTokenCount": answer.input_tokens,
        "totalTokenCount": answer.input_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input_tokens}],
    }


def _usage(answer: Answer) -> dict[str, Any]:
    counts = {
        "promptTokenCount": answer.input_tokens,
        "cachedContentTokenCount": answer.cached_tokens,
        "candidatesTokenCount": answer.output_tokens - answer.reasoning_tokens,
        "thoughtsTokenCount": answer.reasoning_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    details = [{"modality": "TEXT", "tokenCount": answer.input_tokens}]
    return {**{name: count for name, count in counts.items() if count}, "promptTokensDetails": details}


def encode_embedding(_ask: Ask, answer: Answer) -> dict[str, Any]:
    return {"embedding": {"values": answer.vectors[0]}, "tokenCount": str(answer.input_tokens)}
