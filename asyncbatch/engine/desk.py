"""The jobs that a client has: accepted, taken up from the journal, followed while another process has them, forgotten."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.opening import follow, new_run, old_run
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.exceptions import AsyncBatchError, ClientClosedError, ConfigError, JournalError
from asyncbatch.journal import JobRecord, SubmissionState
from asyncbatch.runtime import Owner, finish
from asyncbatch.spool import SpoolSpace

_log = logging.getLogger("asyncbatch.client")


class Desk:
    """The jobs of one client, while it is open.

    Args:
        tools: What all jobs share.
        owner: Whose tasks drive them.
        space: Where bodies lie that do not outlive the client.
        provider_of: Gives the provider that a job in the journal was sent with, and whether it has to have its key: a job
            that is over asks nobody.
    """

    def __init__(
        self,
        tools: Tools,
        owner: Owner,
        space: SpoolSpace,
        provider_of: Callable[[JobRecord, bool], Awaitable[BaseBatchProvider]],
    ) -> None:
        self.runs: dict[str, JobRun] = {}
        self.followed: set[str] = set()
        self._tools = tools
        self._owner = owner
        self._space = space
        self._provider_of = provider_of
        self._attaching = anyio.Lock()
        self._is_closed = False

    async def accept(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        submissions: Sequence[PreparedSubmission],
        rejects: Rejects | None,
    ) -> JobRun:
        """Promise a job: it is recorded and running, or neither. Gives the job of its key if there is one by now."""
        journal = self._tools.journal
        try:
            run = await new_run(record, provider, submissions, rejects, self._tools, self._space)
            with anyio.CancelScope(shield=True):
                await journal.accept(record, [part.record for part in run.parts])
                self._check_open()
        except BaseException as error:
            await finish(partial(journal.forget, record.job_id))
            known = await self.same(record) if _is_too_late(error) else None
            if known is None:
                raise
            await finish(partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else []))
            return known
        self.runs[record.job_id] = run
        self._drive(run)
        return run

    async def attach(self, job_id: str) -> JobRun:
        """Give a job of the journal, and go on with it as soon as no other process does."""
        async with self._attaching:  # of tasks that want one job, the first takes it up
            if job_id not in self.runs:
                record = await self._tools.journal.job(job_id)
                if record is None:
                    raise ConfigError(f"there is no job {job_id!r}", code="job.unknown")
                await self._take_up(record)
            return self.runs[job_id]

    async def same(self, record: JobRecord) -> JobRun | None:
        """Give the job of the same key, if there is one of the same requests; refuse the key for any others."""
        known = await self._tools.journal.job_of(record.key) if record.key is not None else None
        if known is None:
            return None
        if known.digest != record.digest:
            message = f"the key {record.key!r} was given to other requests, or for another model: job {known.job_id}"
            hint = "nothing was sent; give these requests a key of their own"
            raise ConfigError(message, code="key.reused", hint=hint)
        return await self.attach(known.job_id)

    async def resume(self) -> None:
        """Go on with what is unfinished and nobody's; what cannot be taken up is said, and stays as it is."""
        journal = self._tools.journal
        for stray in await journal.strays():
            with contextlib.suppress(JournalError):  # somebody is just accepting it
                await journal.forget(stray)
        for record in await journal.jobs(unfinished=True):
            try:
                await self._take_up(record)
            except AsyncBatchError as error:
                _log.warning("job %s is left as it is: %s", record.job_id, error)

    async def forget(self, run: JobRun) -> None:
        """Drop a job that is over, its rows too."""
        await run.discard()
        self.runs.pop(run.record.job_id, None)
        await self._tools.journal.forget(run.record.job_id)

    def close(self, cause: BaseException | None) -> None:
        """Tell everybody who waits for a job that the client was left."""
        self._is_closed = True
        for run in self.runs.values():
            job_id, is_kept = run.record.job_id, self._tools.journal.place(run.record.job_id) is not None
            if not run.is_sent and not is_kept:
                unsent = sum(part.record.request_count for part in run.parts if not part.is_sent)
                _log.warning("job %s: the client is closed before %d requests were sent", job_id, unsent)
            state = "its rows lay with the client" if run.is_over else "batches that were created go on at the provider"
            hint = "open a client on the same journal to go on with it" if is_kept else state
            closed = ClientClosedError(f"the client of job {job_id} was closed", code="client.closed", hint=hint)
            closed.__cause__ = cause
            run.close(closed)

    async def _take_up(self, record: JobRecord) -> None:
        tools, job_id = self._tools, record.job_id
        provider = await self._provider_for(record)
        is_ours = await tools.journal.claim(job_id)
        try:
            run = await old_run(record, provider, tools, self._space)
        except BaseException:
            if is_ours:
                await finish(partial(tools.journal.release, job_id))
            raise
        self.runs[job_id] = run
        if run.is_over or is_ours:
            self._drive(run)
        else:
            self.followed.add(job_id)
            self._owner.spawn(partial(self._follow, run), name=f"asyncbatch job {job_id[:8]} of another process")

    async def _provider_for(self, record: JobRecord) -> BaseBatchProvider:
        try:
            provider = await self._provider_of(record, True)
            _check_key(provider, record)
        except ConfigError:
            submissions = await self._tools.journal.submissions(record.job_id)
            if any(item.state is not SubmissionState.SETTLED for item in submissions):
                raise
            return await self._provider_of(record, False)
        return provider

    async def _follow(self, run: JobRun) -> None:
        try:
            is_ours = await follow(run, self._tools, self._space)
            self.followed.discard(run.record.job_id)
            if is_ours:
                self._drive(run)
        except AsyncBatchError as error:
            run.close(error)

    def _drive(self, run: JobRun) -> None:
        for index, drive in enumerate(run.drives()):
            self._owner.spawn(drive, name=f"asyncbatch job {run.record.job_id[:8]} part {index}")

    def _check_open(self) -> None:
        if self._is_closed or not self._owner.is_running:  # closed meanwhile: nobody would run what was promised
            raise ClientClosedError("the client was closed while the job was accepted", code="client.closed")


def _is_too_late(error: BaseException) -> bool:
    """Whether another task or process was quicker to give its key to a job."""
    return isinstance(error, JournalError) and error.code == "journal.key_exists"


def _check_key(provider: BaseBatchProvider, record: JobRecord) -> None:
    if provider.has_facts and provider.account.fingerprint != record.fingerprint:
        message = f"job {record.job_id} was sent with another key of {record.provider}, or to another address"
        raise ConfigError(message, code="auth.scope_mismatch", hint="give the one that it was sent with")
