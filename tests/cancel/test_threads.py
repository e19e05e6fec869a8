"""A thread cannot be cancelled: what it writes into is tidied up only when it has ended."""

import asyncio
import threading

import pytest

from asyncbatch.spool import SpoolFile
from tests.cancel.turns import UNTIL_TOLD, WAYS, cancelled_at, run_counted

LATER = 20_000
"""Turns of the loop: more than any leave-taking needs."""
PATIENCE_S = 60


class Slow:
    """A body that is written slowly: it tells when it begins, and goes on when it may."""

    def __init__(self, monkeypatch, number):
        self._keep_at, self._numbers, self._number = SpoolFile.keep_at, iter(range(1000)), number
        self.may_write = threading.Event()
        self.is_under_way = False
        monkeypatch.setattr(SpoolFile, "keep_at", lambda file, path: self._write(file, path))

    def on_begin(self):
        raise AssertionError("nobody was to write yet")

    def _write(self, file, path):
        if next(self._numbers) == self._number:
            self.is_under_way = True
            self.on_begin()
            assert self.may_write.wait(PATIENCE_S)
        self._keep_at(file, path)
        self.is_under_way = False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(4))
def test_a_submit_that_is_cancelled_while_a_thread_writes_is_tidied_up_when_that_has_ended(
    scene, monkeypatch, way, number
):
    async def play(turns):
        here, loop, slow = scene(), asyncio.get_running_loop(), Slow(monkeypatch, number)
        ended = asyncio.Event()

        async def let_it_write():
            for _ in range(LATER):
                if ended.is_set():
                    break
                await asyncio.sleep(0)
            slow.may_write.set()

        def strike():
            turns.strike()
            loop.let_it_write = loop.create_task(let_it_write())

        slow.on_begin = lambda: loop.call_soon_threadsafe(strike)
        async with here.client() as client:
            end = await cancelled_at(turns, way, UNTIL_TOLD, lambda: here.submit(client))
            was_left_behind = slow.is_under_way
            ended.set()
            await loop.let_it_write
            assert not was_left_behind
            # Under a scope it may have come to its end: what waits for the journal is shielded.
            assert end.is_cancelled == (client.jobs() == [])
            assert await client.strays() == ()
        await here.come_back()

    run_counted(play)
