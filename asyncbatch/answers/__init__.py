"""Text, tool calls, embeddings and usage out of an answer's bytes, by format: `openai.chat` is read by `answers/openai.py`.

Pure functions over bytes that we only carry. A format names its family before the first dot, and the family is a module
here; an unknown family has no text, no usage and no opinion: the raw answer stays available as it came.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

import msgspec


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a tool that the model asks for.

    Attributes:
        id: The provider's id of the call; send it back with the tool's result.
        name: The tool's name.
        arguments: The arguments as the model wrote them: JSON text, which may be broken.
    """

    id: str
    name: str
    arguments: str

    def decode(self, type: Any = dict) -> Any:  # noqa: A002 msgspec's own word for it
        """Decode the arguments into `type`; raises `msgspec.DecodeError` where the model wrote broken JSON."""
        return msgspec.json.decode(self.arguments, type=type)


class UsageInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens used; each field means the same thing for every provider.

    Cached tokens are a part of `prompt_tokens`, reasoning tokens a part of `completion_tokens`.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "UsageInfo") -> "UsageInfo":
        return added((self, other))


def added(usages: Sequence[UsageInfo]) -> UsageInfo:
    """Add up the tokens of some answers."""
    sums = map(sum, zip(*map(msgspec.structs.astuple, usages), strict=True))
    return UsageInfo(**dict(zip(UsageInfo.__struct_fields__, sums, strict=False)))  # of none there are no sums


class Family(Protocol):
    """What a module of this package answers about one body; `kind` is what follows the dot in the format."""

    def text(self, kind: str, body: bytes) -> str | None: ...
    def tool_calls(self, kind: str, body: bytes) -> tuple[ToolCall, ...]: ...
    def embedding(self, kind: str, body: bytes) -> list[float] | None: ...
    def embeddings(self, kind: str, body: bytes) -> list[list[float]]: ...
    def usage(self, kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None: ...


@cache
def _family(name: str) -> Family | None:
    module = f"{__name__}.{name}"
    known = name.isidentifier() and not name.startswith("_") and find_spec(module) is not None
    return cast("Family", import_module(module)) if known else None


@cache
def _split(format: str) -> tuple[Family | None, str]:  # noqa: A002 the design's word
    family, _, kind = format.partition(".")
    return _family(family), kind


def text(format: str, body: bytes) -> str | None:  # noqa: A002
    """The answer's text; None where it has none (a tool call, an embedding, a refusal)."""
    family, kind = _split(format)
    return family.text(kind, body) if family and body else None


def tool_calls(format: str, body: bytes) -> tuple[ToolCall, ...]:  # noqa: A002
    """The tool calls that the answer asks for, in its order."""
    family, kind = _split(format)
    return family.tool_calls(kind, body) if family and body else ()


def embedding(format: str, body: bytes) -> list[float] | None:  # noqa: A002
    """The first embedding in the answer."""
    family, kind = _split(format)
    return family.embedding(kind, body) if family and body else None


def embeddings(format: str, body: bytes) -> list[list[float]]:  # noqa: A002
    """Every embedding in the answer, in the order of the request's inputs."""
    family, kind = _split(format)
    return family.embeddings(kind, body) if family and body else []


def usages(format: str, bodies: Sequence[msgspec.Raw]) -> list[UsageInfo | None]:  # noqa: A002
    """The tokens that many answers say they used; each body stands in one line, and is JSON, since a decoder has cut it out."""
    family, kind = _split(format)
    read = cast("Callable[..., list[UsageInfo | None]] | None", getattr(family, "usages", None))
    return read(kind, bodies) if read is not None else [usage(format, body) for body in bodies]


def usage(format: str, body: bytes | msgspec.Raw) -> UsageInfo | None:  # noqa: A002
    """The tokens the answer says it used; None where it says nothing."""
    family, kind = _split(format)
    return family.usage(kind, body) if family and body else None
