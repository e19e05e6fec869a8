"""Markers in a prompt, which ask for trouble one row at a time, whatever the protocol."""

import re
from typing import NamedTuple

_MARKER = re.compile(rb"\[\[([a-z_]+)(?::([A-Za-z0-9_.-]+))?\]\]")


class Marker(NamedTuple):
    """A `[[name]]` or `[[name:value]]` in a prompt."""

    name: str
    value: str

    @property
    def number(self) -> int | None:
        """The value, where it is a number of no more than nine digits."""
        return int(self.value) if self.value.isdecimal() and len(self.value) <= 9 else None


def find_markers(line: bytes) -> tuple[Marker, ...]:
    """Find the markers in a row, as it lies in the file; names that nobody knows are the reader's business."""
    if b"[[" not in line:
        return ()
    return tuple(Marker(name.decode(), value.decode()) for name, value in _MARKER.findall(line))
