"""Journals that wait for a word of the test."""

import anyio

from asyncbatch.journal import Settled
from asyncbatch.journal.sqlite import SqliteJournal


class Slow(SqliteJournal):
    """Takes its time to record that a submission is settled."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked, self.may = anyio.Event(), anyio.Event()

    async def move(self, job_id, index, event):
        if isinstance(event, Settled):
            self.asked.set()
            await self.may.wait()
        return await super().move(job_id, index, event)


class Blind(SqliteJournal):
    """Sees nothing of what other processes do while it is told not to."""

    def __init__(self, *args):
        super().__init__(*args)
        self.may = anyio.Event()

    async def version(self):
        await self.may.wait()
        return await super().version()
