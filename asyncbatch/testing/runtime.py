"""A virtual runtime: a day of waiting in a moment, the same dice in every run, and no threads.

Hand its `now` to the emulator as its clock, and both sides live in the same time.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from asyncbatch.runtime import Runtime, checkpoint

T = TypeVar("T")

_TURNS = 3
"""Turns of the event loop that a sleeper gives to others before its time has come: woken tasks get to act first."""

_PAUSE_S = 0.0001
"""Real time that it gives to other threads, where there are any: see `give_way`."""


class VirtualClock:
    """Seconds since the epoch that pass when somebody sleeps, or when a test says so.

    Args:
        start: Where it stands at first.

    Attributes:
        slept_s: Every wait that was asked for, in order.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self.slept_s: list[float] = []

    def now(self) -> float:
        """Give the time; as it is, without a call, the clock of an `Emulator`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody who lives by this clock."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait: others run, and the clock then stands at the end of the wait at the earliest."""
        self.slept_s.append(seconds)
        until = self._now + seconds
        await give_way(_TURNS)
        self._now = max(self._now, until)


async def give_way(turns: int) -> None:
    """Let others run: the tasks of this event loop for so many turns, and other threads for a moment.

    A loop in which no sleep takes time never waits, so another thread would get the interpreter once in five milliseconds
    (Python's switch interval). A server in such a thread needs it a dozen times for one answer, and days would go by meanwhile.
    """
    for _ in range(turns):
        await checkpoint()
    if threading.active_count() > 1:
        time.sleep(_PAUSE_S)  # noqa: ASYNC251 the event loop is meant to wait


async def run_inline(func: Callable[..., T], /, *args: Any) -> T:
    """Run blocking work where we are: simple and repeatable, for bodies that are small."""
    await checkpoint()
    return func(*args)


def virtual_runtime(clock: VirtualClock | None = None, *, seed: int = 0) -> Runtime:
    """Give a runtime on a virtual clock, with seeded randomness and an `offload` that uses no thread.

    Args:
        clock: The clock, which an emulator can share; without one, the runtime has its own.
        seed: Decides the dice: how waits are spread.

    Returns:
        What `BatchClient`, `BatchPoller` and a registry's `open` take as their `runtime`.
    """
    clock = clock or VirtualClock()
    return Runtime(now=clock.now, sleep=clock.sleep, random=random.Random(seed).random, offload=run_inline)  # noqa: S311 a test's dice are meant to be known
