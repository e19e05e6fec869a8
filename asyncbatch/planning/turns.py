"""Whose turn it is, where many want the same few things: one owner after the other, each in the order of asking."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """What waits, by owner. Who has just had a turn comes after everybody else who waits."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[T]] = {}  # in the order of their turns

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, owner: Hashable, item: T) -> None:
        """Let something wait, behind what its owner has waiting."""
        self._waiting.setdefault(owner, deque()).append(item)

    def drop(self, owner: Hashable, item: T) -> None:
        """Wait for this no more; its owner's turn stays where it was."""
        waiting = self._waiting[owner]
        waiting.remove(item)
        if not waiting:
            del self._waiting[owner]

    def next(self, may: Callable[[Hashable], bool]) -> tuple[Hashable, T] | None:
        """Give the oldest of whose turn it is among those who may have one."""
        for owner in self._waiting:
            if may(owner):
                return owner, self._pop(owner)
        return None

    def next_of(self, owner: Hashable) -> T | None:
        """Give the oldest of this owner, whose turn it was then; None where it waits for nothing."""
        return self._pop(owner) if owner in self._waiting else None

    def _pop(self, owner: Hashable) -> T:
        waiting = self._waiting.pop(owner)
        item = waiting.popleft()
        if waiting:
            self._waiting[owner] = waiting
        return item
