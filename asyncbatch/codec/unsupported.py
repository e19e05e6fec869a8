"""What cannot be expressed: refused with its place, or left out and counted where the caller asked for that."""

import re
from collections.abc import Collection
from typing import Any

from asyncbatch.codec.requests import RowFault, shown

_INDEX = re.compile(r"\[\d+\]")
_ADVICE = 'remove it, or let it go with on_unsupported="drop"'
_LONGEST = 100
_SHOWN = 5


class Unsupported:
    """Hears what a format cannot express: refuses the row, or notes what is left out of it.

    Args:
        title: Who cannot express it.
        drop: Note it, and go on without.
        collect: Refuse at the end (`refuse_all`), with everything that was heard, rather than at the first.
    """

    def __init__(self, title: str, *, drop: bool = False, collect: bool = False) -> None:
        self._title = title
        self._drop = drop
        self._collect = collect
        self._refused: list[tuple[str, str]] = []
        self.dropped: list[str] = []

    @property
    def is_unused(self) -> bool:
        """Whether nothing was heard."""
        return not self._refused and not self.dropped

    def refuse_all(self) -> None:
        """Raise what was collected, if anything was."""
        if self._refused:
            code, _ = self._refused[0]
            messages = list(dict.fromkeys(message for _, message in self._refused))
            more = f"; and {len(messages) - _SHOWN} more" if len(messages) > _SHOWN else ""
            raise RowFault(code, f"{'; '.join(messages[:_SHOWN])}{more}: {_ADVICE}")

    def __call__(self, field: str, hint: str = "") -> None:
        """Say that a field cannot be expressed. Raises `RowFault`, unless it is to be dropped."""
        why = f" ({hint})" if hint else ""
        self.tell(field, "unsupported", f"{self._title} cannot express {field}{why}")

    def tell(self, field: str, code: str, message: str) -> None:
        """The same in other words: a refusal names the very place and the value, a count is by field."""
        if not self._drop and self._collect:
            self._refused.append((code, message))
            return
        if not self._drop:
            raise RowFault(code, f"{message}: {_ADVICE}")
        # A name of the caller's may be anything: as long as a book, or half of a character.
        name = field if len(field) <= _LONGEST and field.isprintable() else shown(field)
        if name not in self.dropped:
            self.dropped.append(name)


REFUSING = Unsupported("another provider")
"""For whoever only wants to read."""


def without_index(where: str) -> str:
    """Give a place without its numbers, so that counts of the same thing add up: `messages[].content[]`."""
    return _INDEX.sub("[]", where)


def report_others(
    fields: dict[str, Any], known: Collection[str], where: str, unsupported: Unsupported = REFUSING
) -> None:
    """Report every field that is not read: it would go in silence."""
    for name in fields:
        if name not in known:
            message = f"{where} has {shown(name)}, which cannot be put into another provider's words"
            field = f"{without_index(where)}.{name}"
            unsupported.tell(field, "unknown_field", f"{message} (known are {', '.join(known)})")
