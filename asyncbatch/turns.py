"""Places that many share in turn: calls to one host, handlers of the ends of jobs, threads.

A semaphore serves whoever asked first, so that one customer with a thousand questions, or eight whose calls hang, stand before
everybody else. Here the owners of what waits take turns, and each may have a place that nobody else can take.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import anyio

from asyncbatch.planning.turns import Rotation


class _Waiter:
    """Somebody who waits, and what he got: a place of the shared ones, or his owner's own."""

    def __init__(self) -> None:
        self.came = anyio.Event()
        self.is_own: bool | None = None

    def give(self, *, is_own: bool) -> None:
        self.is_own = is_own
        self.came.set()


class Turns:
    """Places, handed out in turn among the owners of what waits for one.

    Args:
        shared: How many there are for all.
        most: How many of these one owner has at once at most.
        has_own: Whether each owner has one more, of its own.
    """

    def __init__(self, shared: int, *, most: int | None = None, has_own: bool = False) -> None:
        self._free = shared
        self._most = shared if most is None else most
        self._has_own = has_own
        self._own: set[Hashable] = set()
        self._held: Counter[Hashable] = Counter()
        self._waiting = Rotation[_Waiter]()

    @property
    def under_way(self) -> int:
        """How many places are taken."""
        return self._held.total() + len(self._own)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self, owner: Hashable) -> AsyncGenerator[None]:
        """Have a place; an own one first, which nobody has to be waited for but the owner's other calls."""
        is_own = self._take(owner)
        if is_own is None:
            is_own = await self._wait(owner)
        try:
            yield
        finally:
            self._give_back(owner, is_own=is_own)

    def _take(self, owner: Hashable) -> bool | None:
        if self._has_own and owner not in self._own:
            self._own.add(owner)
            return True
        if self._free and self._may(owner):  # nobody who waits may have it: each that comes free is handed on at once
            self._hold(owner)
            return False
        return None

    async def _wait(self, owner: Hashable) -> bool:
        waiter = _Waiter()
        self._waiting.add(owner, waiter)
        try:
            await waiter.came.wait()
        except BaseException:
            if waiter.is_own is None:
                self._waiting.drop(owner, waiter)
            else:  # it came in the moment in which we were cancelled
                self._give_back(owner, is_own=waiter.is_own)
            raise
        return bool(waiter.is_own)

    def _give_back(self, owner: Hashable, *, is_own: bool) -> None:
        if is_own:
            waiter = self._waiting.next_of(owner)
            if waiter is None:
                self._own.discard(owner)
            else:
                waiter.give(is_own=True)
            return
        self._free += 1
        self._held -= Counter((owner,))  # what is at zero leaves
        while self._free and (found := self._waiting.next(self._may)) is not None:
            self._hold(found[0])
            found[1].give(is_own=False)

    def _may(self, owner: Hashable) -> bool:
        return self._held[owner] < self._most

    def _hold(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] += 1
