"""Waiting for something that happens in other tasks and threads, without sleeping and not for ever."""

from collections.abc import Iterator
from time import monotonic

import anyio.lowlevel

TURNS = 200_000
"""Far more turns of the event loop than any of these tests needs, and over in some seconds …"""
SECONDS = 30
"""… but on a busy machine a thread may wait so long for a processor: only what has had both will not come to pass."""


def turns() -> Iterator[int]:
    """Count the turns that something has to come to pass."""
    given_up_at = monotonic() + SECONDS
    turn = 0
    while turn < TURNS or monotonic() < given_up_at:
        yield turn
        turn += 1


async def until(is_so):
    """Give other tasks their turns until it is so."""
    for _ in turns():
        if is_so():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("it did not come to pass")
