"""Waiting for something that happens in other tasks and threads, without sleeping and not for ever."""

from collections.abc import Iterator
from time import monotonic, sleep

import anyio.lowlevel

TURNS = 200_000
"""Far more turns of the event loop than any of these tests needs, and over in some seconds …"""
SECONDS = 30
"""… but on a busy machine a thread may wait so long for a processor: only what has had both will not come to pass."""
PAUSE_S = 0.0001
"""In which other threads have the interpreter: a loop that never waits would let them have it once in five milliseconds."""


def turns() -> Iterator[int]:
    """Count the turns that something has to come to pass."""
    given_up_at = monotonic() + SECONDS
    turn = 0
    while turn < TURNS or monotonic() < given_up_at:
        yield turn
        turn += 1
        if turn % 10 == 0:
            sleep(PAUSE_S)


async def until(is_so):
    """Give other tasks their turns until it is so."""
    for _ in turns():
        if is_so():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("it did not come to pass")
