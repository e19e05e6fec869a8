"""Where the requests of a job lie, in the order in which they were handed in: pure arithmetic."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

REJECTS = -1
"""The source of rows that were refused before anything was sent."""


class Stretch(NamedTuple):
    """Requests that were handed in one after the other, and lie so too.

    Attributes:
        source: Whose: the index of a submission, -1 for those that were refused before anything was sent.
        at: Position of the first there.
        length: How many.
    """

    source: int
    at: int
    length: int


class InputOrder:
    """The order in which requests were handed in.

    Args:
        counts: How many each submission has.
        refused: The places of those that were refused, ascending; a provider of somebody else's may not say them.
        rejected: How many were refused.
    """

    def __init__(self, counts: Sequence[int], refused: Sequence[int], rejected: int) -> None:
        self._starts = list(accumulate(counts, initial=0))
        self._refused = refused if len(refused) <= rejected else refused[:rejected]
        self._rejected = rejected

    def __len__(self) -> int:
        return self._starts[-1] + self._rejected

    def stretch(self, place: int, longest: int) -> Stretch:
        """Give the stretch that begins at a place, which is below our length."""
        before = bisect_left(self._refused, place)
        here = self._refused[before : before + longest]
        if here and here[0] == place:
            return Stretch(REJECTS, before, sum(row == place + n for n, row in enumerate(here)))
        sent = place - before
        if sent >= self._starts[-1]:  # those of which nobody says where they stood come last
            return Stretch(REJECTS, place - self._starts[-1], min(longest, len(self) - place))
        source = bisect_right(self._starts, sent) - 1
        free = here[0] - place if here else longest
        return Stretch(source, sent - self._starts[source], min(longest, free, self._starts[source + 1] - sent))
