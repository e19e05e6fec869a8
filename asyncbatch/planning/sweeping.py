"""Whether one walk through a provider's list is cheaper than asking about each batch, and how far it goes.

A page costs more than a question, for it is longer to make, to move and to read: it is bought only when it answers several.
"""

from collections.abc import Sequence
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
"""Pages in a row without any batch that is looked for, after which a walk ends that does not know how far it has to go."""
_DISORDER_S = 60.0
"""By so much a list that is newest first may be out of order: batches of the same moment, clocks of several hosts."""
_REST_S, _LONGEST_REST_S = 60.0, 3600.0
"""How long a list that failed is left alone, at first and at most."""
_MARGIN = 1.5
"""By so much a list may be longer than it was expected to be."""
_MOST_SKIPS = 32
_WEIGHT = 0.3
"""Of what the newest walk says about how fast batches come."""
_NEVER = frozenset({404, 405, 501})
"""What is answered where there is no list."""


class ListKnown(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's list has taught us.

    Attributes:
        rows: Batches that the last walk saw, from `newest` back to `oldest`, Unix seconds by the provider's clock.
        newest: When the newest of them was created; None before a walk.
        oldest: When the oldest was.
        at: When that was, Unix seconds.
        new_per_s: New batches in a second, of whomever: an exponential average.
        failures: Walks in a row that failed.
        rest_until: Before when it is left alone, Unix seconds.
    """

    rows: int = 0
    newest: float | None = None
    oldest: float = 0.0
    at: float = 0.0
    new_per_s: float = 0.0
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
        seen_before: The newest creation that the walk before it saw; None before the first.
        new: Batches that were created after that.
    """

    most: int
    missing: int
    back_to: float | None = None
    seen_before: float | None = None
    new: int = 0
    pages: int = 0
    rows: int = 0
    barren: int = 0
    newest: float | None = None
    oldest: float | None = None


def price_of(page_size: int) -> float:
    """Give the single questions that a page costs as much as."""
    return 1 + page_size / _ROWS_PER_QUESTION


def plan_pages(*, due: int, watched: int, page_size: int, back_to: float | None, known: ListKnown, now: float) -> int:
    """Give the pages of a walk that is cheaper than asking about each batch; 0 if none is.

    Args:
        due: Batches that would be asked about singly within the next moments.
        watched: Batches of the account that are watched.
        page_size: Batches on a page.
        back_to: When the oldest of those that are due was created; None if it is not known.
        known: What the list has taught us.
        now: Unix seconds.
    """
    if now < known.rest_until:
        return 0
    pages = ceil(max(_rows(watched, back_to, known, now), due, 1) / page_size)
    return pages if due > pages * price_of(page_size) else 0


def _rows(watched: int, back_to: float | None, known: ListKnown, now: float) -> float:
    """Say how many batches stand on the list down to the one that is looked for; ours alone, where nothing else is known."""
    if known.newest is None or back_to is None:
        return watched
    span_s = known.newest - known.oldest
    share = (known.newest - back_to) / span_s if span_s > 0 else 1.0
    return known.rows * max(share, 0.0) + known.new_per_s * (now - known.at)


def begin_walk(*, pages: int, due: int, page_size: int, back_to: float | None, known: ListKnown) -> Walk:
    """Start a walk that costs no more than asking about each batch, whatever the list looks like."""
    bearable = int(due / price_of(page_size))
    most = max(pages, bearable) if back_to is None else min(_MARGIN * pages, bearable)
    most = max(int(most), pages) + 1
    return Walk(most=most, missing=due, back_to=back_to, seen_before=known.newest)


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
        new=walk.new + sum(walk.seen_before is not None and at > walk.seen_before for at in created),
    )


def goes_on(walk: Walk) -> bool:
    """Whether another page is worth it."""
    if not walk.missing or walk.pages >= walk.most:
        return False
    if walk.back_to is None:
        return walk.barren < _BARREN
    return walk.oldest is None or walk.oldest >= walk.back_to - _DISORDER_S


def is_newest_first(created: Sequence[float], before: float | None) -> bool:
    """Whether a page is in order, and goes on where the one before ended; `before` is the oldest of that."""
    lowest = inf if before is None else before
    for at in created:
        if at > lowest + _DISORDER_S:
            return False
        lowest = min(lowest, at)
    return True


def after_walk(known: ListKnown, walk: Walk, now: float) -> ListKnown:
    """Learn from a walk that came to its end."""
    if walk.newest is None or walk.oldest is None:
        return ListKnown()
    new_per_s = known.new_per_s
    if known.newest is not None and now > known.at:
        new_per_s += _WEIGHT * (walk.new / (now - known.at) - new_per_s)
    return ListKnown(rows=walk.rows, newest=walk.newest, oldest=walk.oldest, at=now, new_per_s=new_per_s)


def after_failure(
    known: ListKnown, now: float, u: float, *, status: int | None = None, retry_after: float | None = None
) -> ListKnown:
    """Leave a list alone that failed, longer each time; where there is none, for as long as that is worth knowing."""
    rest_s = _LONGEST_REST_S if status in _NEVER else min(_LONGEST_REST_S, _REST_S * 2.0 ** min(known.failures, 16))
    until = now + max(rest_s * (0.5 + u), retry_after or 0.0)
    return msgspec.structs.replace(known, failures=known.failures + 1, rest_until=until)


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
