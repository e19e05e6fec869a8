"""Answers in Gemini's formats: generate (candidates of parts) and embed.

Sources: the types GenerateContentResponse and ContentEmbedding of Google's official SDK (3.6); proto JSON, which writes
int64 as a string and leaves out what is zero or empty.
"""

import msgspec

from asyncbatch.answers import ToolCall, UsageInfo
from asyncbatch.answers._tolerant import Tokens, joined, object_text, read, read_each


class _FunctionCall(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str = ""
    args: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct, frozen=True):
    parts: list[msgspec.Raw] | None = None


class _Candidate(msgspec.Struct, frozen=True):
    content: _Content | None = None


class _Generated(msgspec.Struct, frozen=True):
    candidates: list[_Candidate] | None = None


class _Vector(msgspec.Struct, frozen=True):
    values: list[float] | None = None


class _Embedded(msgspec.Struct, frozen=True):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None


class _Usage(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    total_token_count: Tokens | None = None


class _Used(msgspec.Struct, frozen=True, rename="camel"):
    usage_metadata: _Usage | None = None
    token_count: Tokens | None = None


_PART = msgspec.json.Decoder(_Part)
_GENERATED = msgspec.json.Decoder(_Generated)
_EMBEDDED = msgspec.json.Decoder(_Embedded)
_USED = msgspec.json.Decoder(_Used, strict=False)


def _parts(body: bytes) -> list[_Part]:
    """Give the first candidate's parts; a blocked answer has no candidate, or one without content."""
    answer = read(_GENERATED, body)
    first = answer.candidates[0] if answer and answer.candidates else None
    return read_each(_PART, first.content.parts if first and first.content else None)


def text(kind: str, body: bytes) -> str | None:
    """Join the text of the first candidate, without its thoughts."""
    del kind
    parts = _parts(body)
    found = joined([part.text for part in parts if part.text is not None and not part.thought])
    is_call = any(part.function_call is not None for part in parts)
    return found or (None if is_call else found)  # beside a tool call, "" is no answer


def tool_calls(kind: str, body: bytes) -> tuple[ToolCall, ...]:
    del kind
    calls = [part.function_call for part in _parts(body) if part.function_call is not None]
    return tuple(_tool_call(position, call) for position, call in enumerate(calls))


def _tool_call(position: int, call: _FunctionCall) -> ToolCall:
    """Make an id where Gemini gives none: its tool results are matched by name, so the name is in it."""
    made = f"call_{position}_{call.name}"
    return ToolCall(id=call.id or made, name=call.name, arguments=object_text(call.args))


def embeddings(kind: str, body: bytes) -> list[list[float]]:
    answer = read(_EMBEDDED, body) if kind == "embed" else None
    if answer is None:
        return []
    single = [answer.embedding] if answer.embedding else []
    return [vector.values or [] for vector in answer.embeddings or single]


def embedding(kind: str, body: bytes) -> list[float] | None:
    found = embeddings(kind, body)
    return found[0] if found else None


def usage(kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None:
    """Add what Gemini counts apart: results of its own tools are input, thoughts are output."""
    del kind
    used = read(_USED, body)
    if used is None:
        return None
    if used.usage_metadata is None:  # an embedding says one number
        count = used.token_count
        return None if count is None else UsageInfo(prompt_tokens=count, total_tokens=count)
    found = used.usage_metadata
    prompt = (found.prompt_token_count or 0) + (found.tool_use_prompt_token_count or 0)
    thoughts = found.thoughts_token_count or 0
    completion = (found.candidates_token_count or 0) + thoughts
    return UsageInfo(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=found.total_token_count or prompt + completion,
        cache_read_input_tokens=found.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
    )
