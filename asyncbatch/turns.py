"""Places that many share in turn: calls to one host, handlers of the ends of jobs, threads.

A semaphore serves whoever asked first, so that one customer with a thousand questions, or eight whose calls hang, stand before
everybody else. Here the owners of what waits take turns, and each may have a place that nobody else can take.
"""

from collections.abc import Hashable
from types import TracebackType

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


class _Place:
    """A place while somebody has it; a class, for a generator costs several times as much, and each call of a batch has one."""

    __slots__ = ("_is_own", "_owner", "_turns")

    def __init__(self, turns: "Turns", owner: Hashable) -> None:
        self._turns = turns
        self._owner = owner
        self._is_own = False

    async def __aenter__(self) -> None:
        taken = self._turns.take(self._owner)
        self._is_own = await self._turns.wait(self._owner) if taken is None else taken

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.give_back(self._owner, is_own=self._is_own)


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
        self._held: dict[Hashable, int] = {}
        self._waiting = Rotation[_Waiter]()

    @property
    def under_way(self) -> int:
        """How many places are taken."""
        return sum(self._held.values()) + len(self._own)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    def place(self, owner: Hashable) -> _Place:
        """Have a place for an `async with`; an own one first, for which only the owner's other calls are waited for."""
        return _Place(self, owner)

    def take(self, owner: Hashable) -> bool | None:
        """Take a place that is free, and say whether it is the owner's own; None where there is none."""
        if self._has_own and owner not in self._own:
            self._own.add(owner)
            return True
        if self._free and self._may(owner):  # nobody who waits may have it: each that comes free is handed on at once
            self._hold(owner)
            return False
        return None

    async def wait(self, owner: Hashable) -> bool:
        """Wait for a place, and say whether it is the owner's own."""
        waiter = _Waiter()
        self._waiting.add(owner, waiter)
        try:
            await waiter.came.wait()
        except BaseException:
            if waiter.is_own is None:
                self._waiting.drop(owner, waiter)
            else:  # it came in the moment in which we were cancelled
                self.give_back(owner, is_own=waiter.is_own)
            raise
        return bool(waiter.is_own)

    def give_back(self, owner: Hashable, *, is_own: bool) -> None:
        """Let whose turn it is have the place."""
        if is_own:
            waiter = self._waiting.next_of(owner)
            if waiter is None:
                self._own.discard(owner)
            else:
                waiter.give(is_own=True)
            return
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        while self._free and (found := self._waiting.next(self._may)) is not None:
            self._hold(found[0])
            found[1].give(is_own=False)

    def _may(self, owner: Hashable) -> bool:
        return self._held.get(owner, 0) < self._most

    def _hold(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] = self._held.get(owner, 0) + 1
