"""What processes ask of each other: the end of a job that another one has, a look at a batch, deletions that are still owed."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import CANCEL, TIDY, WAKE, Wish

_log = logging.getLogger("asyncbatch.client")

LISTENED_S = 1.0
"""How often a process asks whether another one wants something of its jobs; it costs one word of the database's header."""


def wake_of(batch_id: str) -> str:
    """Give the word by which a batch is asked about at once."""
    return f"{WAKE}:{batch_id}"


def kind_of(wish: Wish) -> str:
    """Say what is asked for, without for which batch."""
    return wish.word.partition(":")[0]


class Wishes:
    """The wishes in a journal, heard by one client.

    Args:
        tools: What all jobs share.
        runs: The jobs that the client has.
        followed: Those of them that another process drives, whose wishes are not ours to grant.
    """

    def __init__(self, tools: Tools, runs: Mapping[str, JobRun], followed: Collection[str]) -> None:
        self._tools = tools
        self._runs = runs
        self._followed = followed

    async def listen(self) -> None:
        """Hear what other processes ask of the jobs that we have, for as long as the client is open."""
        journal, seen, is_told = self._tools.journal, -1, False
        while True:
            await self._tools.runtime.sleep(LISTENED_S)
            if all(run.is_over for run in self._runs.values()):
                continue
            try:
                version = await journal.version()
                if version != seen:
                    await self._grant(await journal.wishes())
                    seen = version
            except JournalError as error:  # a disk may be full, or the file busy, for a while
                if not is_told:
                    _log.warning("what other processes ask for is not heard for now: %s", error)
                is_told = True

    async def _grant(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            run = self._runs.get(wish.job_id)
            if run is None or wish.job_id in self._followed:
                continue
            if wish.word == CANCEL:
                try:
                    await run.cancel()
                except JournalError:
                    raise
                except Exception as error:  # noqa: BLE001 the code of a provider; its parts ask again at each reading
                    _log.warning("job %s: its end was asked for: %s", wish.job_id, error)
                await self._tools.journal.grant(wish)
            elif kind_of(wish) == WAKE:
                await self._tools.journal.grant(wish)  # first: one that is there stands for all webhooks until now
                run.wake(wish.word.partition(":")[2] or None)

    async def heed(self, run: JobRun) -> None:
        """Before a job is gone on with: what was asked of a process that had it and is gone."""
        if any(part.record.is_cancelled and not part.is_settled for part in run.parts):
            await run.mark_cancelled()
        for wish in await self._tools.journal.wishes():
            if wish.job_id == run.record.job_id and wish.word == CANCEL:
                await run.mark_cancelled()  # the provider is asked by whoever drives it
                await self._tools.journal.grant(wish)
        await self.note_done(run.record.job_id, WAKE)  # its batches are asked about anyway

    async def note_done(self, job_id: str, *words: str) -> None:
        """Take down what was asked of a job, now that it is done or means nothing any more."""
        for wish in await self._tools.journal.wishes():
            if wish.job_id == job_id and kind_of(wish) in words:
                await self._tools.journal.grant(wish)

    async def tidy_left(self, tidy: Callable[[str], Awaitable[object]]) -> None:
        """Delete at providers what processes that are gone still had to delete, of jobs that were over.

        Args:
            tidy: Does it for one job, whose lock we hold by then.
        """
        journal = self._tools.journal
        try:
            for job_id in dict.fromkeys(wish.job_id for wish in await journal.wishes() if wish.word == TIDY):
                if job_id not in self._runs and await journal.claim(job_id):  # else whoever drives it sees to it
                    try:
                        await tidy(job_id)
                    except Exception as error:  # noqa: BLE001 the caller's own accounts may fail too; the others go on
                        _log.warning("job %s: what it left at its provider stays there: %s", job_id, error)
        except JournalError as error:
            _log.warning("what jobs left at their providers stays there: %s", error)
