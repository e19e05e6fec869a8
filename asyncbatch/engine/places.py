"""From the ids that travelled back to positions in a submission."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from asyncbatch.dto import PreparedSubmission

Place = Callable[[str], int | None]

_LONGEST_NUMBER = 20
"""Digits of a row number that we can have sent; a longer one is somebody else's, and may be too long to read at all."""


def place_of(submission: PreparedSubmission, ids: Sequence[str]) -> Place:
    """Give the function that finds a wire id's position.

    Ids of our making hold the row's number in the input; a provider that sent the requests' own ids needs a table of them,
    which lives as long as the settling of this one submission.
    """
    if submission.wire_prefix is None:
        return {request_id: position for position, request_id in enumerate(ids)}.get
    prefix, refused = submission.wire_prefix, submission.refused_rows
    first, count = submission.first_row, submission.request_count

    def place(wire_id: str) -> int | None:
        digits = wire_id.removeprefix(prefix)
        if len(digits) == len(wire_id) or not digits.isdecimal() or len(digits) > _LONGEST_NUMBER:
            return None
        row = int(digits)
        before = bisect_left(refused, row)
        if before < len(refused) and refused[before] == row:
            return None
        position = row - before - first
        return position if 0 <= position < count else None

    return place
