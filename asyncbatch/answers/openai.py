"""Answers in OpenAI's formats: chat, completion, responses, embedding, and usage in both of its spellings.

Source: openai/openai-openapi:openapi.yaml (CreateChatCompletionResponse, Response, CreateEmbeddingResponse); the base64
form of an embedding is little-endian float32, as the official SDK decodes it.
"""

import binascii
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from asyncbatch.answers import ToolCall, UsageInfo
from asyncbatch.answers._tolerant import Tokens, read, read_each, read_member, read_members


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct, frozen=True, gc=False):
    id: str = ""
    function: _Function = _Function()
    custom: dict[str, Any] | None = None


class _Message(msgspec.Struct, frozen=True, gc=False):
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    message: _Message | None = None
    text: str | None = None


class _Chat(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None


class _Vector(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    embedding: list[float] | str = ""


class _Embeddings(msgspec.Struct, frozen=True, gc=False):
    data: list[_Vector] | None = None


class _Item(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    content: list[dict[str, Any]] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _Response(msgspec.Struct, frozen=True, gc=False):
    output: list[msgspec.Raw] | None = None


class _Details(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None  # as Perplexity spells the two
    cache_creation_input_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Used(msgspec.Struct, frozen=True, gc=False):
    usage: _Usage | None = None


_NO_DETAILS = _Details()
_CHAT = msgspec.json.Decoder(_Chat)
_EMBEDDINGS = msgspec.json.Decoder(_Embeddings)
_RESPONSE = msgspec.json.Decoder(_Response)
_ITEM = msgspec.json.Decoder(_Item)
_MEMBER = b'"usage"'
_USED = msgspec.json.Decoder(_Used, strict=False)  # others with this shape write numbers as strings


def _first_choice(body: bytes) -> _Choice | None:
    chat = read(_CHAT, body)
    return chat.choices[0] if chat and chat.choices else None


def _joined(parts: list[dict[str, Any]]) -> str | None:
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if texts else None


def _items(body: bytes) -> list[_Item]:
    """Give what an answer consists of; of the things that tools have left there, some are unlike any message."""
    response = read(_RESPONSE, body)
    return read_each(_ITEM, response.output if response else None)


def text(kind: str, body: bytes) -> str | None:
    if kind == "responses":
        return _joined([part for item in _items(body) if item.type == "message" for part in item.content or []])
    choice = _first_choice(body)
    if choice is None or choice.message is None:
        return choice.text if choice else None
    content = choice.message.content
    if isinstance(content, list):
        return _joined(content)
    return content or (None if choice.message.tool_calls else content)  # beside a tool call, "" is no answer


def tool_calls(kind: str, body: bytes) -> tuple[ToolCall, ...]:
    if kind == "responses":
        calls = [item for item in _items(body) if item.type == "function_call"]
        return tuple(ToolCall(id=call.call_id, name=call.name, arguments=call.arguments) for call in calls)
    choice = _first_choice(body)
    asked = (choice.message.tool_calls or []) if choice and choice.message else []
    return tuple(_tool_call(call) for call in asked)


def _tool_call(call: _Call) -> ToolCall:
    if call.custom is not None:  # a custom tool takes free text where a function takes JSON
        return ToolCall(id=call.id, name=str(call.custom.get("name", "")), arguments=str(call.custom.get("input", "")))
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


def _floats(vector: list[float] | str) -> list[float]:
    if isinstance(vector, list):
        return vector
    try:
        raw = binascii.a2b_base64(vector)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    except (ValueError, struct.error):  # no base64, or no whole number of floats
        return []


def embeddings(kind: str, body: bytes) -> list[list[float]]:
    answer = read(_EMBEDDINGS, body) if kind == "embedding" else None
    data = (answer.data or []) if answer else []
    return [_floats(item.embedding) for item in sorted(data, key=lambda item: item.index or 0)]


def embedding(kind: str, body: bytes) -> list[float] | None:
    found = embeddings(kind, body)
    return found[0] if found else None


def usage(kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None:
    """Read either spelling: chat says `prompt_tokens`, responses and whole batches say `input_tokens`."""
    del kind
    used = read_member(_USED, body, _MEMBER)
    return None if used is None or used.usage is None else _usage(used.usage)


def usages(kind: str, bodies: Sequence[msgspec.Raw]) -> list[UsageInfo | None]:
    """Read that of many bodies."""
    found = read_members(_USED, bodies, _MEMBER)
    if found is None:  # one of them is unusual
        return [usage(kind, body) for body in bodies]
    return [None if used.usage is None else _usage(used.usage) for used in found]


def _usage(found: _Usage) -> UsageInfo:
    prompt = found.prompt_tokens if found.prompt_tokens is not None else found.input_tokens or 0
    completion = found.completion_tokens if found.completion_tokens is not None else found.output_tokens or 0
    cached = found.prompt_tokens_details or found.input_tokens_details or _NO_DETAILS
    thought = found.completion_tokens_details or found.output_tokens_details or _NO_DETAILS
    return UsageInfo(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=found.total_tokens if found.total_tokens is not None else prompt + completion,
        cache_creation_input_tokens=cached.cache_write_tokens or cached.cache_creation_input_tokens or 0,
        cache_read_input_tokens=cached.cached_tokens or cached.cache_read_input_tokens or 0,
        reasoning_tokens=thought.reasoning_tokens or 0,
    )
