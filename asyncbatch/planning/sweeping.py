"""Whether one walk through a provider's list is cheaper than asking about each batch, and how far it goes.

A page costs more than a question, for it is longer to make, to move and to read: it is bought only when it answers several.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, inf
from typing import Literal

import msgspec

from asyncbatch.dto import ProviderStatus
from asyncbatch.enums import BatchStatus

PAGE_S = 15.0
"""Longest wait for a page: those who are looked for on it are asked about singly then."""

_ROWS_PER_QUESTION = 50
"""Rows of a page that cost as much as one more question. Measured: a page of 100 costs the work of five questions, and one
request of the budget; three lies between."""
_BARREN = 3
"""Pages in a row without any batch that is looked for, after which the walk ends."""
_DISORDER_S = 60.0
"""By so much a list that is newest first may be out of order: batches of the same moment, clocks of several hosts."""
_REST_S, _LONGEST_REST_S = 60.0, 3600.0
"""How long a list that failed is left alone, at first and at most."""
_MOST_SKIPS = 32
_NEVER = frozenset({404, 405, 501})
"""What is answered where there is no list."""


class ListKnown(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's list has taught us.

    Attributes:
        per_s: Batches that are created in a second; None until a walk has shown it.
        failures: Walks in a row that failed.
        rest_until: Before when it is left alone, Unix seconds.
    """

    per_s: float | None = None
    failures: int = 0
    rest_until: float = 0.0


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """How far a walk has come.

    Attributes:
        most: Pages at most.
        back_to: When the oldest batch that is looked for was created, Unix seconds by the provider's clock; None if not known.
        pages: Pages so far.
        rows: Batches on them.
        missing: Batches that are looked for and were not found.
        barren: Pages in a row without any of those.
        newest: The newest creation that was seen.
        oldest: The oldest.
    """

    most: int
    missing: int
    back_to: float | None = None
    pages: int = 0
    rows: int = 0
    barren: int = 0
    newest: float | None = None
    oldest: float | None = None


def price_of(page_size: int) -> float:
    """Give the single questions that a page costs as much as."""
    return 1 + page_size / _ROWS_PER_QUESTION


def plan_pages(*, due: int, watched: int, page_size: int, age_s: float | None, known: ListKnown, now: float) -> int:
    """Give the pages of a walk that is cheaper than asking about each batch; 0 if none is.

    Args:
        due: Batches that would be asked about singly within the next moments.
        watched: Batches of the account that are watched.
        page_size: Batches on a page.
        age_s: Age of the oldest of those that are due; None if it is not known.
        known: What the list has taught us.
        now: Unix seconds.
    """
    if now < known.rest_until:
        return 0
    rows = watched if known.per_s is None or age_s is None else known.per_s * age_s
    pages = ceil(max(rows, due, 1) / page_size)
    return pages if due > pages * price_of(page_size) else 0


def begin_walk(*, pages: int, due: int, page_size: int, back_to: float | None) -> Walk:
    """Start a walk that costs no more than asking about each batch, whatever the list looks like."""
    return Walk(most=max(pages, int(due / price_of(page_size))) + 1, missing=due, back_to=back_to)


def after_page(walk: Walk, created: Sequence[float], missing: int) -> Walk:
    """Take a page into account: when the batches on it were created, and how many are still looked for."""
    newest = max([*created, *([] if walk.newest is None else [walk.newest])], default=None)
    oldest = min([*created, *([] if walk.oldest is None else [walk.oldest])], default=None)
    return msgspec.structs.replace(
        walk,
        pages=walk.pages + 1,
        rows=walk.rows + len(created),
        barren=walk.barren + 1 if missing == walk.missing else 0,
        missing=missing,
        newest=newest,
        oldest=oldest,
    )


def goes_on(walk: Walk) -> bool:
    """Whether another page is worth it."""
    if not walk.missing or walk.pages >= walk.most or walk.barren >= _BARREN:
        return False
    is_past = walk.back_to is not None and walk.oldest is not None and walk.oldest < walk.back_to - _DISORDER_S
    return not is_past


def is_newest_first(created: Sequence[float], before: float | None) -> bool:
    """Whether a page is in order, and goes on where the one before ended; `before` is the oldest of that."""
    times = created if before is None else [before, *created]
    return all(later <= earlier + _DISORDER_S for earlier, later in pairwise(times))


def after_walk(known: ListKnown, walk: Walk) -> ListKnown:
    """Learn from a walk that came to its end."""
    if walk.newest is None or walk.oldest is None or walk.newest <= walk.oldest:
        return ListKnown(per_s=known.per_s)
    return ListKnown(per_s=walk.rows / (walk.newest - walk.oldest))


def after_failure(
    known: ListKnown, now: float, u: float, *, status: int | None = None, retry_after: float | None = None
) -> ListKnown:
    """Leave a list alone that failed, longer each time; where there is none, for as long as that is worth knowing."""
    rest_s = _LONGEST_REST_S if status in _NEVER else min(_LONGEST_REST_S, _REST_S * 2.0 ** min(known.failures, 16))
    until = now + max(rest_s * (0.5 + u), retry_after or 0.0)
    return ListKnown(per_s=known.per_s, failures=known.failures + 1, rest_until=until)


def skips_after(misses: int) -> int:
    """Give the single questions before a walk is made again for a batch that walks did not find: lists lag, or leave it out."""
    return int(min(2.0 ** min(misses, 16), _MOST_SKIPS))


NO_LIST = ListKnown(rest_until=inf)
"""Of a provider that has none, and says so without being asked."""


def read_item(status: ProviderStatus, *, is_whole: bool) -> Literal["take", "confirm"]:
    """Say whether a reading on a list is as good as an answer about the batch itself.

    Args:
        status: The reading.
        is_whole: Whether the list says of a batch all that the batch itself says.
    """
    if status.status is BatchStatus.UNKNOWN:
        return "confirm"
    if not status.status.is_terminal:
        return "take"
    is_bare = status.status is BatchStatus.COMPLETED and not status.result_uris
    return "take" if is_whole and not is_bare else "confirm"
