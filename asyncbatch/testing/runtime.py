"""A virtual runtime: a day of waiting in a moment, the same dice in every run, and no threads.

Hand its `now` to the emulator as its clock, and both sides live in the same time.
"""

import random
from collections.abc import Callable
from typing import Any, TypeVar

from asyncbatch.runtime import Runtime, checkpoint

T = TypeVar("T")

_TURNS = 3
"""Turns of the event loop that a sleeper gives to others before its time has come: woken tasks get to act first."""


class VirtualClock:
    """Seconds since the epoch that pass when somebody sleeps, or when a test says so.

    Attributes:
        slept_s: Every wait that was asked for, in order.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self.slept_s: list[float] = []

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait: others run, and the clock then stands at the end of the wait at the earliest."""
        self.slept_s.append(seconds)
        until = self._now + seconds
        for _ in range(_TURNS):
            await checkpoint()
        self._now = max(self._now, until)


async def run_inline(func: Callable[..., T], /, *args: Any) -> T:
    """Run blocking work where we are: simple and repeatable, for bodies that are small."""
    await checkpoint()
    return func(*args)


def virtual_runtime(clock: VirtualClock | None = None, *, seed: int = 0) -> Runtime:
    """Give a runtime on a virtual clock, with seeded randomness and an `offload` that uses no thread."""
    clock = clock or VirtualClock()
    return Runtime(now=clock.now, sleep=clock.sleep, random=random.Random(seed).random, offload=run_inline)  # noqa: S311 a test's dice are meant to be known
