"""The journal on disk: what it acknowledges survives a kill and a loss of power, and one process at a time writes to a job.

::

    <directory>/            0700, refused when it is somebody else's or others can write to it
      journal.sqlite3       the tables of `_schema.py`, one writer thread for each open journal, commits in groups
      journal.lock          shared by everybody who has it open, held alone by whoever prepares it
      locks/<job_id>        locked by the one process that writes to this job
      jobs/<job_id>/        the large bodies of a job
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from asyncbatch.journal._database import Database
from asyncbatch.journal._locks import locking
from asyncbatch.journal._refusals import closed
from asyncbatch.journal._store import ALL_JOBS, JOB_BY_ID, JOB_BY_KEY, UNFINISHED_JOBS, Store
from asyncbatch.journal._writer import Writer
from asyncbatch.journal.interface import Allow, Opened, Payer, Wish
from asyncbatch.journal.records import Event, JobRecord, SubmissionRecord
from asyncbatch.planning.budgets import Spent
from asyncbatch.planning.tidying import Known
from asyncbatch.runtime import Runtime


class SqliteJournal:
    """See `Journal`. Any number of processes and objects share a directory; several machines must not.

    A change that was asked for happens whole or not at all, even if whoever asked is cancelled meanwhile: the cancellation is
    raised once the change is known to be made.
    """

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = Database(directory.absolute())
        self._store = Store(self._database, uuid4().hex)
        self._open: Writer | None = None

    @property
    def is_shared(self) -> bool:
        return True

    async def open(self) -> None:
        if self._open is None:
            locking()
            self._open = Writer(self._database)
            try:
                await self._open.start()
            except BaseException:
                self._open = None
                raise

    async def close(self) -> None:
        writer, self._open = self._open, None
        if writer is not None and not writer.is_inherited:
            await writer.stop()

    async def accept(self, job: JobRecord, submissions: Sequence[SubmissionRecord], allow: Allow | None = None) -> None:
        await self._writer.change(partial(self._store.accept, job, submissions, self._runtime.now(), allow))

    async def claim(self, job_id: str) -> bool:
        return await self._writer.change(partial(self._store.claim, job_id, self._runtime.now()))

    async def release(self, job_id: str) -> None:
        await self._writer.step(partial(self._database.leases.drop, job_id))

    async def move(self, job_id: str, index: int, event: Event) -> SubmissionRecord:
        return await self._writer.change(partial(self._store.move, job_id, index, event, self._runtime.now()))

    async def job(self, job_id: str) -> JobRecord | None:
        found = await self._writer.read(partial(self._store.jobs, JOB_BY_ID, (job_id,)))
        return found[0] if found else None

    async def job_of(self, key: str) -> JobRecord | None:
        found = await self._writer.read(partial(self._store.jobs, JOB_BY_KEY, (key,)))
        return found[0] if found else None

    async def jobs(self, *, unfinished: bool = False) -> tuple[JobRecord, ...]:
        return await self._writer.read(partial(self._store.jobs, UNFINISHED_JOBS if unfinished else ALL_JOBS, ()))

    async def submissions(self, job_id: str) -> tuple[SubmissionRecord, ...]:
        return await self._writer.read(partial(self._store.submissions, job_id))

    async def events(self, job_id: str, index: int) -> tuple[Event, ...]:
        return await self._writer.read(partial(self._store.events, job_id, index))

    async def forget(self, job_id: str) -> None:
        """Drop a job, its place and its lock. Raises `journal.not_writer` while another process holds it."""
        await self._writer.step(partial(self._store.forget, job_id, self._runtime.now()))

    async def opened(self, payer: Payer) -> tuple[Opened, ...]:
        return await self._writer.read(partial(self._store.opened, payer))

    async def unsettled(self, account: str | None) -> tuple[Opened, ...]:
        return await self._writer.read(partial(self._store.unsettled, account))

    async def spent(self, account: str | None, since: float) -> tuple[Spent, ...]:
        return await self._writer.read(partial(self._store.spent, account, since))

    async def batches(self) -> frozenset[str]:
        return await self._writer.read(self._store.batches)

    async def job_of_batch(self, provider: str, batch_id: str) -> str | None:
        return await self._writer.read(partial(self._store.job_of_batch, provider, batch_id))

    async def known(self) -> Known:
        return await self._writer.read(self._store.known)

    async def wish(self, job_id: str, word: str) -> None:
        await self._writer.change(partial(self._store.wish, job_id, word, self._runtime.now()))

    async def wishes(self) -> tuple[Wish, ...]:
        return await self._writer.read(self._store.wishes)

    async def grant(self, wish: Wish) -> None:
        await self._writer.change(partial(self._store.grant, wish.seq))

    async def saw(self, webhook_id: str, at: float) -> bool:
        return await self._writer.change(partial(self._store.saw, webhook_id, at))

    async def version(self) -> int:
        return await self._writer.read(self._database.version)

    def place(self, job_id: str) -> Path | None:
        return self._store.place(job_id)

    async def make_place(self, job_id: str) -> Path:
        """Make the place of a job and hold its lock from now on, until it is accepted and after.

        Whoever does not accept it then calls `forget`. Raises `journal.not_writer` while another process holds it.
        """
        return await self._writer.step(partial(self._store.make_place, job_id))

    async def strays(self) -> tuple[str, ...]:
        """Name the places of jobs that nobody accepted: `forget` removes those whose process is gone and refuses the others."""
        return await self._writer.read(self._store.strays)

    @property
    def _writer(self) -> Writer:
        if self._open is None:
            raise closed()
        return self._open
