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
from asyncbatch.exceptions import AsyncBatchError, ClientClosedError, ConfigError, JournalError, ProviderError
from asyncbatch.journal import CANCEL, TIDY, JobRecord, SubmissionState, Wish
from asyncbatch.planning.rounds import RetryRows, Wanted
from asyncbatch.planning.tidying import Cleanup, Tidied, check_cleanup
from asyncbatch.runtime import Owner, finish

_log = logging.getLogger("asyncbatch.client")

LISTENED_S = 1.0
"""How often a process asks whether another one wants something of its jobs; it costs one word of the database's header."""


class Desk:
    """The jobs of one client, while it is open.

    Args:
        tools: What all jobs share.
        owner: Whose tasks drive them.
        provider_of: Gives the provider that a job in the journal was sent with, and whether it has to have its key: a job
            that is over asks nobody.
    """

    def __init__(
        self,
        tools: Tools,
        owner: Owner,
        provider_of: Callable[[JobRecord, bool], Awaitable[BaseBatchProvider]],
    ) -> None:
        self.runs: dict[str, JobRun] = {}
        self.followed: set[str] = set()
        self._tools = tools
        self._owner = owner
        self._provider_of = provider_of
        self._attaching = anyio.Lock()
        self._handing = anyio.Lock()
        self._is_closed = False

    async def accept(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        submissions: Sequence[PreparedSubmission],
        rejects: Rejects | None,
        retry: RetryRows | None = None,
    ) -> JobRun:
        """Promise a job: it is recorded and running, or neither. Gives the job of its key if there is one by now."""
        journal = self._tools.journal
        try:
            run = await new_run(record, provider, submissions, rejects, self._tools, retry)
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
            if await self._is_behind(job_id):
                del self.runs[job_id]
            if job_id not in self.runs:
                record = await self._tools.journal.job(job_id)
                if record is None:
                    raise ConfigError(f"there is no job {job_id!r}", code="job.unknown")
                await self._take_up(record)
            return self.runs[job_id]

    async def _is_behind(self, job_id: str) -> bool:
        """Whether another process has gone on with a job that was over when we looked at it."""
        run, journal = self.runs.get(job_id), self._tools.journal
        if run is None or not run.is_over or job_id in self.followed or not journal.is_shared:
            return False
        known = [record.round for record in await journal.submissions(job_id)]
        return known != [part.record.round for part in run.parts]

    async def retry(self, run: JobRun, wanted: Wanted) -> int:
        """Send requests of a job that is over again; gives how many.

        Raises:
            ConfigError: It is not over, or its key is not at hand.
            JournalError: Another process has it.
        """
        job_id, journal = run.record.job_id, self._tools.journal
        provider = await self._provider_of(run.record, True)
        _check_key(provider, run.record)
        async with self._handing:
            if not await journal.claim(job_id):
                hint = "it may be retried there, or here once that process has ended"
                raise JournalError(f"another process has job {job_id}", code="journal.not_writer", hint=hint)
            try:
                await self._refuse_behind(job_id)
                count = await run.retry(wanted, provider)
            finally:
                if run.is_over:
                    await finish(partial(journal.release, job_id))
        if count:
            self._drive(run)
        return count

    async def _refuse_behind(self, job_id: str) -> None:
        if await self._is_behind(job_id):
            message = f"another process has sent some of job {job_id} again since this one looked at it"
            raise JournalError(message, code="journal.not_writer", hint="attach to it anew")

    async def tidy(self, run: JobRun, cleanup: Cleanup) -> Tidied:
        """Delete what a job that is over left at the provider; see `Job.tidy`."""
        check_cleanup(cleanup, is_durable=self._tools.journal.is_shared)
        provider = await self._provider_of(run.record, True)
        _check_key(provider, run.record)
        done = await run.tidy(cleanup, provider)
        if done.is_done:
            await self._note_tidied(run.record.job_id)
        return done

    async def _note_tidied(self, job_id: str) -> None:
        for wish in await self._tools.journal.wishes():
            if wish.job_id == job_id and wish.word == TIDY:
                await self._tools.journal.grant(wish)

    async def cancel(self, run: JobRun) -> None:
        """Ask for the end of a job, or ask whoever has it to."""
        if run.record.job_id in self.followed and not run.is_over:
            await self._tools.journal.wish(run.record.job_id, CANCEL)
        else:
            await run.cancel()

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
        if journal.is_shared:
            self._owner.spawn(self._tidy_left, name="asyncbatch tidying")

    async def _tidy_left(self) -> None:
        """Delete at providers what processes that are gone still had to delete, of jobs that were over."""
        journal = self._tools.journal
        try:
            for job_id in dict.fromkeys(wish.job_id for wish in await journal.wishes() if wish.word == TIDY):
                if job_id not in self.runs and await journal.claim(job_id):  # else whoever drives it sees to it
                    await self._tidy_one(job_id)
        except JournalError as error:
            _log.warning("what jobs left at their providers stays there: %s", error)

    async def _tidy_one(self, job_id: str) -> None:
        try:
            run = await self.attach(job_id)
        except AsyncBatchError as error:
            await self._tools.journal.release(job_id)
            _log.warning("job %s: what it left at its provider stays there: %s", job_id, error)
            return
        try:
            await self.tidy(run, run.cleanup)
        except ConfigError as error:
            _log.warning("job %s: what it left at its provider stays there: %s", job_id, error)
        await self._let_go(run)

    def listen(self) -> None:
        """Hear from now on what other processes ask of the jobs that we have."""
        if self._tools.journal.is_shared:
            self._owner.spawn(self._listen, name="asyncbatch wishes")

    async def _listen(self) -> None:
        journal, seen = self._tools.journal, -1
        try:
            while True:
                await self._tools.runtime.sleep(LISTENED_S)
                if all(run.is_over for run in self.runs.values()):
                    continue
                version = await journal.version()
                if version != seen:
                    seen = version
                    await self._grant(await journal.wishes())
        except JournalError as error:
            _log.warning("what other processes ask for is not heard any more: %s", error)

    async def _grant(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            run = self.runs.get(wish.job_id)
            if run is None or wish.job_id in self.followed:
                continue
            if wish.word == CANCEL:
                try:
                    await run.cancel()
                except ProviderError as error:
                    _log.warning("job %s: its end was asked for: %s", wish.job_id, error)
                await self._tools.journal.grant(wish)

    async def _heed(self, run: JobRun) -> None:
        """Before a job is gone on with: what was asked of a process that had it and is gone."""
        if any(part.record.is_cancelled and not part.is_settled for part in run.parts):
            await run.mark_cancelled()
        for wish in await self._tools.journal.wishes():
            if wish.job_id == run.record.job_id and wish.word == CANCEL:
                await run.mark_cancelled()  # the provider is asked by whoever drives it
                await self._tools.journal.grant(wish)

    async def forget(self, run: JobRun) -> None:
        """Drop a job that is over, its rows too, whatever cancels us meanwhile."""
        await finish(partial(self._forget, run))

    async def _forget(self, run: JobRun) -> None:
        if run.is_over:  # the journal first: it must not speak of rows that are gone, and may refuse
            await self._tools.journal.forget(run.record.job_id)
        await run.discard()
        self.runs.pop(run.record.job_id, None)

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
            run = await old_run(record, provider, tools)
        except BaseException:
            if is_ours:
                await finish(partial(tools.journal.release, job_id))
            raise
        self.runs[job_id] = run
        if is_ours and not run.is_over:
            await self._heed(run)
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
            is_ours = await follow(run, self._tools)
            self.followed.discard(run.record.job_id)
            if is_ours:
                await self._heed(run)
                self._drive(run)
            else:
                await self._tools.journal.release(run.record.job_id)
        except AsyncBatchError as error:
            run.close(error)

    def _drive(self, run: JobRun) -> None:
        for index, drive in enumerate(run.drives()):
            name = f"asyncbatch job {run.record.job_id[:8]} part {index}"
            self._owner.spawn(partial(self._driven, run, drive), name=name)

    async def _driven(self, run: JobRun, drive: Callable[[], Awaitable[None]]) -> None:
        """Take a part to its end; a job that is settled is anybody's."""
        await drive()
        await self._let_go(run)

    async def _let_go(self, run: JobRun) -> None:
        async with self._handing:  # whoever sends it again has claimed it, and keeps it
            if all(part.is_settled for part in run.parts):
                if run.is_tidied:
                    await self._note_tidied(run.record.job_id)
                await self._tools.journal.release(run.record.job_id)

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
