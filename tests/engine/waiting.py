"""Waiting for something that happens in other tasks, without sleeping and not for ever."""

import anyio.lowlevel

TURNS = 200_000
"""Far more turns of the event loop than any of these tests needs, and over in some seconds."""


async def until(is_so):
    """Give other tasks their turns until it is so."""
    for _ in range(TURNS):
        if is_so():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("it did not come to pass")
