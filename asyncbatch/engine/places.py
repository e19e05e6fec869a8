"""From the ids that travelled back to positions in a submission."""

from collections.abc import Callable, Sequence

from asyncbatch.dto import PreparedSubmission

Place = Callable[[str], int | None]

_MOST_DIGITS = 18
"""More than any row number has; Python refuses to read thousands of them."""


def place_of(submission: PreparedSubmission, ids: Sequence[str]) -> Place:
    """Give the function that finds a wire id's position.

    Ids of our making hold their row number; a provider that sent the requests' own ids needs a table of them, which lives as
    long as the settling of this one submission.
    """
    if submission.wire_prefix is None:
        return {request_id: position for position, request_id in enumerate(ids)}.get
    prefix, first, count = submission.wire_prefix, submission.first_row, submission.request_count

    def place(wire_id: str) -> int | None:
        digits = wire_id.removeprefix(prefix)
        if len(digits) == len(wire_id) or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            return None
        position = int(digits) - first
        return position if 0 <= position < count else None

    return place
