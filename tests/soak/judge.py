"""The judge of days of watching: what was seen, within which budget, and that nothing has grown."""

from collections.abc import Callable, Iterator, Sequence

from tests.soak.days import GUESTS, GUESTS_BATCHES, Days
from tests.soak.stock import Stock

GROWTH = 1.05
"""Of memory, after the first hours."""
HANDLES = 256
"""So many may lie around however few are watched."""
LEFT_OVER = 2000
"""Pieces of memory that a process keeps of days that are over: what was counted, caches, names."""


def wrongs_of(days: Days) -> Iterator[str]:
    yield from days.wrong
    yield from _of_lateness(days)
    for hour, stock in enumerate(days.stock[1:]):
        yield from (f"hour {hour}: {wrong}" for wrong in _of_containers(stock, days.stock[0], days.plan.accounts))
    yield from _of_growth(days.stock[max(2, len(days.stock) // 10) :])
    yield from _of_leaving(days)


def _of_lateness(days: Days) -> Iterator[str]:
    woken = sorted(days.woken_s)
    if not woken:
        yield "no webhook arrived"
        return
    at = woken[int(len(woken) * 0.9)]
    if at > 15.0:
        yield f"of those that a webhook told of, one in ten was seen more than {at:.0f} s late"


def _of_containers(stock: Stock, before: Stock, accounts: int) -> Iterator[str]:
    if (stock.threads, stock.descriptors) != (before.threads, before.descriptors):
        yield f"{stock.threads} threads and {stock.descriptors} descriptors"
    if stock.tasks > 8 * stock.lanes + 2 * accounts:
        yield f"{stock.tasks} tasks for {stock.lanes} accounts"
    if stock.handles > HANDLES + 2 * stock.watched:
        yield f"{stock.handles} handles for {stock.watched} batches"
    if stock.places > 3 * stock.watched + 65 * stock.lanes:
        yield f"{stock.places} places on agendas for {stock.watched} batches"
    if stock.lanes > accounts + GUESTS + stock.handles / GUESTS_BATCHES:
        yield f"{stock.lanes} accounts, and {stock.handles} handles"
    if stock.named > stock.watched:
        yield f"{stock.named} names for {stock.watched} batches"


def _of_growth(stock: Sequence[Stock]) -> Iterator[str]:
    """Compare the last hours with the first, by what is there in the leanest: what is over is cleared away now and then.

    Of a month the first three days are no measure: so long it takes until the machine has given all that is in use at once.
    """
    first, last = stock[: len(stock) // 3], stock[-(len(stock) // 3) :]
    measures: tuple[Callable[[Stock], int], ...] = (lambda each: each.blocks, lambda each: each.resident_bytes)
    for measure, name in zip(measures, ("pieces of memory", "bytes of the machine"), strict=True):
        was, came = min(map(measure, first)), min(map(measure, last))
        if came > GROWTH * was:
            yield f"{came} {name}, and {was} in the first hours"


def _of_leaving(days: Days) -> Iterator[str]:
    before, after = days.stock[0], days.after
    assert after is not None
    if after.blocks > before.blocks + LEFT_OVER:
        yield f"{after.blocks - before.blocks} pieces of memory are left over"
    same = after._replace(blocks=0, resident_bytes=0), before._replace(blocks=0, resident_bytes=0)
    if same[0] != same[1]:
        yield f"{same[0]} is left, and it was {same[1]}"
