"""Reads what it can of bytes that others wrote: another shape is nothing to read, never an error."""

from typing import Annotated, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
"""A number of tokens that can be one: sums over millions of answers stay below the 64 bits in which they are kept."""


def read(decoder: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw) -> T | None:
    """Decode a body, or a part of one that was kept raw; None where it has another shape."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):  # ValueError: no JSON, another shape, no UTF-8
        return None


def read_each(decoder: "msgspec.json.Decoder[T]", items: list[msgspec.Raw] | None) -> list[T]:
    """Decode items one by one, so that one of a shape we do not know costs no other."""
    return [item for item in (read(decoder, raw) for raw in items or []) if item is not None]


def joined(texts: list[str]) -> str | None:
    """Join texts; None, rather than an empty text, where there are none."""
    return "".join(texts) if texts else None


def object_text(raw: msgspec.Raw) -> str:
    """Give an object's JSON text as it came; one that is left out or null has no members."""
    text = bytes(raw).decode(errors="replace")
    return "{}" if text in ("", "null") else text
