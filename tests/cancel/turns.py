"""An event loop whose turns are counted, and the ways in which what runs on it can be cancelled at a certain turn.

A turn is one pass of the loop, which waits where there is nothing to do: so the wire, the disk and the threads answer within
the first turns, and nobody has to sleep for them.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import anyio

Work = Callable[[], Awaitable[Any]]
UNTIL_TOLD = 1_000_000_000
"""Not at any turn, but when `Turns.strike` says so."""


class Turns(selectors.DefaultSelector):
    """Strikes after so many turns; the loop asks its selector exactly once in each."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._strike: Callable[[], object] | None = None

    def arm(self, turns: int, strike: Callable[[], object]) -> None:
        """Call this at the beginning of a turn, before anything of it has run, when so many have passed."""
        self._left, self._strike = turns, strike

    def disarm(self) -> None:
        self._strike = None

    def strike(self) -> None:
        """Call it now."""
        self._left = 0

    def select(self, timeout: float | None = None) -> Any:
        if self._strike is not None:
            self._left -= 1
            if self._left < 0:
                strike, self._strike, timeout = self._strike, None, 0
                strike()
        return super().select(timeout)


def run_counted(work: Callable[[Turns], Awaitable[Any]], *, is_eager: bool = False) -> Any:
    """Run on a loop of its own, which is closed with everything on it."""
    turns = Turns()

    def loop() -> asyncio.AbstractEventLoop:
        made = asyncio.SelectorEventLoop(turns)
        if is_eager:
            made.set_task_factory(asyncio.eager_task_factory)
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work(turns))


class End(NamedTuple):
    """How it ended.

    Attributes:
        has_begun: Whether it had taken its first step.
        is_struck: Whether it was cancelled while it ran, or before.
        is_cancelled: Whether its caller saw that.
        value: What it gave, if it was not.
    """

    has_begun: bool
    is_struck: bool
    is_cancelled: bool
    value: Any = None


class _Begun:
    """Work that tells whether it was ever begun."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.has_begun = False

    async def __call__(self) -> Any:
        self.has_begun = True
        return await self.work()


class SiblingError(Exception):
    """What the other task of a group fails with."""


def _end_of(task: "asyncio.Task[Any]", work: _Begun) -> End:
    is_struck = task.cancelling() > 0
    if task.cancelled():
        return End(work.has_begun, is_struck, is_cancelled=True)
    return End(work.has_begun, is_struck, is_cancelled=False, value=task.result())


async def by_task(turns: Turns, turn: int, work: _Begun) -> End:
    task = asyncio.get_running_loop().create_task(work())
    turns.arm(turn, task.cancel)
    await asyncio.wait((task,))
    return _end_of(task, work)


async def by_task_twice(turns: Turns, turn: int, work: _Begun) -> End:
    """Cancel again in the turn that follows: no shield of anyio's holds against that."""
    task = asyncio.get_running_loop().create_task(work())

    def strike() -> None:
        task.cancel()
        turns.arm(0, task.cancel)

    turns.arm(turn, strike)
    await asyncio.wait((task,))
    return _end_of(task, work)


async def by_scope(turns: Turns, turn: int, work: _Begun) -> End:
    value = None
    with anyio.CancelScope() as scope:
        turns.arm(turn, scope.cancel)
        value = await work()
        turns.disarm()
    # Work whose awaited thing was done by then ends without hearing of it: such a scope tells the next await.
    return End(work.has_begun, scope.cancelled_caught, scope.cancelled_caught, value)


async def by_timeout(turns: Turns, turn: int, work: _Begun) -> End:
    limit = asyncio.timeout(None)
    try:
        async with limit:
            turns.arm(turn, partial(limit.reschedule, 0))
            value = await work()
            turns.disarm()
    except TimeoutError:
        return End(work.has_begun, is_struck=True, is_cancelled=True)
    return End(work.has_begun, limit.expired(), is_cancelled=False, value=value)


async def by_sibling(turns: Turns, turn: int, work: _Begun) -> End:
    failing = asyncio.get_running_loop().create_future()

    def release(_: object) -> None:
        if not failing.done():
            failing.set_result(False)

    async def sibling() -> None:
        if await failing:
            raise SiblingError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling())
            task = group.create_task(work())
            task.add_done_callback(release)
            turns.arm(turn, lambda: failing.done() or failing.set_result(True))
    except* SiblingError:
        pass
    return _end_of(task, work)


WAYS = {
    "task.cancel": by_task,
    "task.cancel, twice": by_task_twice,
    "anyio scope": by_scope,
    "asyncio.timeout": by_timeout,
    "failing sibling": by_sibling,
}


async def cancelled_at(turns: Turns, way: str, turn: int, work: Work) -> End:
    """Do something, cancelled at this turn unless it ends before; a cancellation that got lost is an error."""
    end = await WAYS[way](turns, turn, _Begun(work))
    turns.disarm()
    assert end.is_cancelled or not end.is_struck, f"{way} at turn {turn}: the cancellation did not reach the caller"
    return end


def sweep(play: Callable[[int], End], at: "range | tuple[int, ...]") -> int:
    """Play once for each turn until it ends too soon to be cancelled; give how often it was cancelled.

    Threads answer a turn sooner or later, so it has to end too soon some times in a row.
    """
    cancelled = too_soon = 0
    for turn in at:
        try:
            end = play(turn)
        except BaseException as error:
            error.add_note(f"cancelled at turn {turn}")
            raise
        cancelled += end.is_cancelled
        too_soon = 0 if end.is_struck else too_soon + 1
        if too_soon > 3:
            break
    return cancelled
