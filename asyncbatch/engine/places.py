"""From the ids that travelled back to positions in a submission."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import repeat

from asyncbatch.dto import PreparedSubmission, ProviderResultRow

Place = Callable[[str], int | None]
"""Gives the position of a wire id, None for one that is not ours."""

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
        if len(digits) == len(wire_id) or not _is_number(digits):
            return None
        row = int(digits)
        before = bisect_left(refused, row) if refused else 0
        if before < len(refused) and refused[before] == row:
            return None
        position = row - before - first
        return position if 0 <= position < count else None

    return place


def _is_number(digits: str) -> bool:
    """Whether these are digits as we write them; other scripts have digits as well, which Python would read."""
    return digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST_NUMBER


def place_of_row(row: ProviderResultRow, place: Place, count: int) -> int | None:
    """Give the position that a row answers.

    A provider that lost every id of a batch counts its answers instead, and says how many there are: their order is taken for
    that of the requests only if the number is the same. The row's metadata keeps saying so.
    """
    if row.request_id or row.metadata.get("positions") != count:
        return place(row.request_id)
    position = row.metadata.get("position")
    return position if isinstance(position, int) and 0 <= position < count else None


def places_of(
    whole: PreparedSubmission, ids: Sequence[str], sent: Sequence[int] | None
) -> Callable[[ProviderResultRow], int | None]:
    """Give the function that finds the position in the submission that a row answers.

    Args:
        whole: All requests of the submission.
        ids: What they are called.
        sent: Positions of those that the batch was made of, ascending; None for all of them.
    """
    by_id = place_of(whole, ids)
    if sent is None:
        return lambda row: by_id(row.request_id) if row.request_id else place_of_row(row, by_id, whole.request_count)

    def place(row: ProviderResultRow) -> int | None:
        if not row.request_id:
            at = place_of_row(row, by_id, len(sent))
            return None if at is None else sent[at]
        position = by_id(row.request_id)
        return position if position is not None and index_of(sent, position) is not None else None

    return place


def all_places_of(
    whole: PreparedSubmission, ids: Sequence[str], sent: Sequence[int] | None
) -> Callable[[Sequence[ProviderResultRow]], Sequence[int | None]]:
    """Give the function that finds the positions of many rows, each as `places_of` does."""
    place, prefix, first = places_of(whole, ids, sent), whole.wire_prefix, whole.first_row
    if prefix is None or sent is not None or whole.refused_rows:
        return lambda rows: [place(row) for row in rows]

    def places(rows: Sequence[ProviderResultRow]) -> Sequence[int | None]:
        numbers = _numbers([row.request_id for row in rows], prefix)
        if not numbers or min(numbers) < first or max(numbers) >= first + whole.request_count:
            return [place(row) for row in rows]
        return [number - first for number in numbers] if first else numbers

    return places


def _numbers(wire_ids: Sequence[str], prefix: str) -> list[int]:
    """Give the numbers behind the prefix; nothing at all unless each id has both."""
    if not all(map(str.startswith, wire_ids, repeat(prefix))):
        return []
    digits = [wire_id[len(prefix) :] for wire_id in wire_ids]
    lengths = set(map(len, digits))
    is_short = bool(lengths) and min(lengths) > 0 and max(lengths) <= _LONGEST_NUMBER
    together = "".join(digits)
    return list(map(int, digits)) if is_short and together.isascii() and together.isdecimal() else []


def index_of(sent: Sequence[int], position: int) -> int | None:
    """Say which of the requests that were sent a position is; None if it was not among them."""
    at = bisect_left(sent, position)
    return at if at < len(sent) and sent[at] == position else None
