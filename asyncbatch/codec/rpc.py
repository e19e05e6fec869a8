"""Faults as google.rpc.Status writes them: a number, words, and perhaps the number's own word.

Source: googleapis/googleapis:google/rpc/code.proto.
"""

from typing import Any

import msgspec

_WORDS = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""By their numbers."""


class Fault(msgspec.Struct, frozen=True):
    """A fault, of any types: one that cannot be read must not hide what it belongs to."""

    code: Any = None
    message: Any = None
    status: Any = None

    @property
    def word(self) -> str:
        """The word for its code: a number that nobody knows stays a number, and without one it is UNKNOWN."""
        if isinstance(self.status, str) and self.status:
            return self.status
        number = decode_count(self.code)
        if number is None:
            return self.code if isinstance(self.code, str) and self.code else "UNKNOWN"
        return _WORDS[number] if number < len(_WORDS) else str(number)

    @property
    def text(self) -> str:
        if self.message is None or isinstance(self.message, str):
            return self.message or ""
        try:
            return str(self.message)
        except RecursionError:  # JSON may be nested as deeply as Python goes
            return ""


def decode_count(value: Any) -> int | None:
    """Read an int64 from 0 up, which proto JSON writes as text; None for what is none."""
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) < 20
        value = int(value) if is_number else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if is_count else None
