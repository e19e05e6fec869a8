"""What processes ask of each other: the end of a job that another one has, a look at a batch, deletions that are still owed."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import CANCEL, TIDY, WAKE, JobRecord, Wish
from asyncbatch.runtime import Owner
from asyncbatch.turns import Turns

_log = logging.getLogger("asyncbatch.client")

LISTENED_S = 1.0
"""How often a process asks whether another one wants something of its jobs; it costs one word of the database's header."""

_TIDIED_AT_ONCE = 4
"""Jobs of dead processes whose left-overs are deleted at once, beyond one of each account."""


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
        owner: Whose tasks do what takes long.
        runs: The jobs that the client has.
        followed: Those of them that another process drives, whose wishes are not ours to grant.
    """

    def __init__(self, tools: Tools, owner: Owner, runs: Mapping[str, JobRun], followed: Collection[str]) -> None:
        self._tools = tools
        self._owner = owner
        self._runs = runs
        self._followed = followed
        self._ending: set[str] = set()
        self._is_behind = False

    async def listen(self) -> None:
        """Hear what other processes ask of the jobs that we have, for as long as the client is open."""
        journal, seen, is_told = self._tools.journal, -1, False
        while True:
            await self._tools.runtime.sleep(LISTENED_S)
            if all(run.is_over for run in self._runs.values()):
                continue
            try:
                version = await journal.version()
                if version != seen or self._is_behind:
                    self._is_behind = False
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
            if wish.word == CANCEL and wish.job_id not in self._ending:
                self._ending.add(wish.job_id)  # its provider may be long in answering, and no other wish waits for that
                self._owner.spawn(partial(self._end, run, wish), name=f"asyncbatch end of job {wish.job_id[:8]}")
            elif kind_of(wish) == WAKE:
                await self._tools.journal.grant(wish)  # first: one that is there stands for all webhooks until now
                run.wake(wish.word.partition(":")[2] or None)

    async def _end(self, run: JobRun, wish: Wish) -> None:
        try:
            with contextlib.suppress(JournalError):  # the wish stays, and so does what asks for it again
                await self._cancel(run)
                await self._tools.journal.grant(wish)
                return
            self._is_behind = True
        finally:
            self._ending.discard(wish.job_id)

    async def _cancel(self, run: JobRun) -> None:
        try:
            await run.cancel()
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 the code of a provider; its parts ask again at each reading
            _log.warning("job %s: its end was asked for: %s", run.record.job_id, error)

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
        journal, turns = self._tools.journal, Turns(_TIDIED_AT_ONCE, most=1, has_own=True)
        try:
            for job_id in dict.fromkeys(wish.job_id for wish in await journal.wishes() if wish.word == TIDY):
                record = await journal.job(job_id)
                if record is not None and job_id not in self._runs:  # else whoever drives it sees to it
                    work = partial(self._tidy_one, record, tidy, turns)
                    self._owner.spawn(work, name=f"asyncbatch tidying of job {job_id[:8]}")
        except JournalError as error:
            _log.warning("what jobs left at their providers stays there: %s", error)

    async def _tidy_one(self, record: JobRecord, tidy: Callable[[str], Awaitable[object]], turns: Turns) -> None:
        async with turns.place(record.account):  # a customer whose deletions hang delays nobody else's
            try:
                if record.job_id not in self._runs and await self._tools.journal.claim(record.job_id):
                    await tidy(record.job_id)
            except Exception as error:  # noqa: BLE001 the caller's own accounts may fail too; the others go on
                _log.warning("job %s: what it left at its provider stays there: %s", record.job_id, error)
