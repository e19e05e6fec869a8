"""Reads what it can of bytes that others wrote: another shape is nothing to read, never an error."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

_LONG_BYTES = 2048
"""A shorter body is read as a whole sooner than its end is found."""

Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""A number of tokens of one answer. What is beyond is none, and sums over millions of answers fit where they are kept."""


def read(decoder: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw) -> T | None:
    """Decode a body, or a part of one that was kept raw; None where it has another shape."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):  # ValueError: no JSON, another shape, no UTF-8
        return None


def read_member(decoder: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw, name: bytes) -> T | None:
    """Decode a body of which one member alone is wanted, `name` in its quotes, without reading what stands before it.

    Answers are long, and what they cost stands behind the texts. A part that a decoder has cut out is JSON to its end: from a
    member of its own on it is an object again, once a brace stands before it. Where the name was found deeper inside, or is a
    text, a brace is too many or a colon is missing, and then all of it is read.
    """
    if type(body) is not msgspec.Raw or len(body) < _LONG_BYTES:
        return read(decoder, body)
    found = read(decoder, from_member(bytes(body), name))
    return read(decoder, body) if found is None else found


def read_members(decoder: "msgspec.json.Decoder[T]", bodies: Sequence[msgspec.Raw], name: bytes) -> list[T] | None:
    """Do the same with many bodies, each of which is one line; None where not all of them can be read so."""
    lines = b"\n".join([from_member(body, name) for body in map(bytes, bodies)])
    try:
        found = decoder.decode_lines(lines)
    except (ValueError, RecursionError):
        return None
    return found if len(found) == len(bodies) else None


def from_member(body: bytes, name: bytes) -> bytes:
    """Give the object from this member on; without any member where there is none of this name."""
    return b"{" + body[body.rfind(name) :]


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
