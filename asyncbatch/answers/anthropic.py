"""Answers in Anthropic's format: messages, whose content is a list of blocks.

Source: the types Message, ContentBlock and Usage of Anthropic's official SDK (2.14).
"""

import msgspec

from asyncbatch.answers import ToolCall, UsageInfo
from asyncbatch.answers._tolerant import Tokens, joined, object_text, read, read_each


class _Block(msgspec.Struct, frozen=True):
    type: str = ""
    text: str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct, frozen=True):
    content: list[msgspec.Raw] | None = None


class _Details(msgspec.Struct, frozen=True):
    thinking_tokens: Tokens | None = None


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens_details: _Details | None = None


class _Used(msgspec.Struct, frozen=True):
    usage: _Usage | None = None


_BLOCK = msgspec.json.Decoder(_Block)
_MESSAGE = msgspec.json.Decoder(_Message)
_USED = msgspec.json.Decoder(_Used, strict=False)


def _blocks(body: bytes, type_: str) -> list[_Block]:
    message = read(_MESSAGE, body)
    return [block for block in read_each(_BLOCK, message.content if message else None) if block.type == type_]


def text(kind: str, body: bytes) -> str | None:
    """Join the text blocks: thinking is not text, and a refused answer has what was written before the refusal."""
    del kind
    return joined([block.text for block in _blocks(body, "text") if block.text is not None])


def tool_calls(kind: str, body: bytes) -> tuple[ToolCall, ...]:
    """Give the calls that the caller has to run; Anthropic runs its server tools itself."""
    del kind
    return tuple(
        ToolCall(id=block.id, name=block.name, arguments=object_text(block.input))
        for block in _blocks(body, "tool_use")
    )


def embedding(kind: str, body: bytes) -> list[float] | None:
    """Anthropic has no embeddings."""
    del kind, body
    return None


def embeddings(kind: str, body: bytes) -> list[list[float]]:
    """Anthropic has no embeddings."""
    del kind, body
    return []


def usage(kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None:
    """Count cached tokens into the prompt, where Anthropic counts them beside it; thinking is in the output already."""
    del kind
    used = read(_USED, body)
    if used is None or used.usage is None:
        return None
    found = used.usage
    created, cached = found.cache_creation_input_tokens or 0, found.cache_read_input_tokens or 0
    prompt, completion = (found.input_tokens or 0) + created + cached, found.output_tokens or 0
    details = found.output_tokens_details or _Details()
    return UsageInfo(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cache_creation_input_tokens=created,
        cache_read_input_tokens=cached,
        reasoning_tokens=details.thinking_tokens or 0,
    )
