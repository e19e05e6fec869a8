"""The jobs that a client has: accepted, taken up from the journal, followed while another process has them, forgotten."""

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from weakref import WeakValueDictionary

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.opening import follow, new_run, old_run
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.resuming import Resuming
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.telling import Tell, Teller
from asyncbatch.engine.tools import Tools
from asyncbatch.engine.wishes import Wishes, wake_of
from asyncbatch.exceptions import AsyncBatchError, ClientClosedError, ConfigError, JournalError, ScopeError
from asyncbatch.journal import CANCEL, TELL, TIDY, WAKE, Allow, JobRecord, SubmissionState
from asyncbatch.planning.rounds import RetryRows, Wanted
from asyncbatch.planning.tidying import Cleanup, Tidied, check_cleanup
from asyncbatch.runtime import Owner, checkpoint, finish, to_its_end, working_for

_log = logging.getLogger("asyncbatch.client")

_TURN = 32
"""Parts of a job that begin before others on the event loop get their turn: each does its first steps at once."""


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
        self._attaching: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._handing = anyio.Lock()
        self._busy: Counter[str] = Counter()
        self._wishes = Wishes(tools, owner, self.runs, self.followed)
        self.teller = Teller(tools, owner, self._hand)
        self._is_closed = False

    async def accept(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        submissions: Sequence[PreparedSubmission],
        rejects: Rejects | None,
        retry: RetryRows | None = None,
        allow: Allow | None = None,
    ) -> JobRun:
        """Promise a job: it is recorded and running, or neither. Gives the job of its key if there is one by now."""
        journal = self._tools.journal
        try:
            with working_for(record.account):
                run = await new_run(record, provider, submissions, rejects, self._tools, retry)
            with anyio.CancelScope(shield=True):
                parts = [part.record for part in run.parts]
                await (journal.accept(record, parts) if allow is None else journal.accept(record, parts, allow))
                self._check_open()
        except BaseException as error:
            await finish(partial(journal.forget, record.job_id))
            known = await self.same(record) if _is_too_late(error) else None
            if known is None:
                raise
            await finish(partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else []))
            return known
        self.runs[record.job_id] = run
        if not run.parts and run.notifies:  # it is over by now: no part of it will say so
            await finish(partial(journal.wish, record.job_id, TELL))
        self._drive(run)
        return run

    async def attach(self, job_id: str) -> JobRun:
        """Give a job of the journal, and go on with it as soon as no other process does."""
        return await self._attach(job_id, self._provider_for)

    async def _attach(self, job_id: str, provider_for: Callable[[JobRecord], Awaitable[BaseBatchProvider]]) -> JobRun:
        # Of tasks that want one job, the first takes it up; a tenant whose key is slow to come keeps no other waiting.
        async with self._attaching.setdefault(job_id, anyio.Lock()):
            if await self._is_behind(job_id):
                del self.runs[job_id]
            if job_id not in self.runs:
                record = await self._tools.journal.job(job_id)
                if record is None:
                    raise ConfigError(f"there is no job {job_id!r}", code="job.unknown")
                await self._take_up(record, await provider_for(record))
            return self.runs[job_id]

    async def _is_behind(self, job_id: str) -> bool:
        """Whether another process has gone on with a job that was over when we looked at it."""
        run, journal = self.runs.get(job_id), self._tools.journal
        if run is None or not run.is_over or job_id in self.followed or not journal.is_shared:
            return False
        known = [record.round for record in await journal.submissions(job_id)]
        if not known:  # discarded, or every request of it was refused
            return await journal.job(job_id) is None
        # A round of our own is in the journal before it is in `run`.
        return not self._busy[job_id] and known != [part.record.round for part in run.parts]

    @contextlib.asynccontextmanager
    async def _held(self, run: JobRun) -> AsyncGenerator[None, None]:
        """Be the one process that does something with a job that is over, as it stands in the journal."""
        job_id, journal = run.record.job_id, self._tools.journal
        async with self._handing:
            if not await journal.claim(job_id):
                hint = "it may be done there, or here once that process has ended"
                raise JournalError(f"another process has job {job_id}", code="journal.not_writer", hint=hint)
            self._busy[job_id] += 1
        try:
            known = [record.round for record in await journal.submissions(job_id)]
            if self.runs.get(job_id) is not run or known != [part.record.round for part in run.parts]:
                message = f"another process has sent some of job {job_id} again since this one looked at it"
                raise JournalError(message, code="journal.not_writer", hint="attach to it anew")
            yield
        finally:
            self._busy -= Counter((job_id,))  # what is at zero leaves
            await finish(partial(self._let_go, run))

    async def retry(self, run: JobRun, wanted: Wanted) -> int:
        """Send requests of a job that is over again; gives how many.

        Raises:
            ConfigError: It is not over, or its key is not at hand.
            JournalError: Another process has it.
        """
        provider = await self._provider_of(run.record, True)
        _check_key(provider, run.record)
        return await to_its_end(partial(self._retry, run, wanted, provider))

    async def _retry(self, run: JobRun, wanted: Wanted, provider: BaseBatchProvider) -> int:
        async with self._held(run):
            was_over = run.is_over
            await self._wishes.note_done(run.record.job_id, CANCEL)  # which was meant for what is over
            try:
                return await run.retry(wanted, provider)
            finally:
                if was_over and not run.is_over:
                    self._drive(run)

    async def tidy(self, run: JobRun, cleanup: Cleanup) -> Tidied:
        """Delete what a job that is over left at the provider; see `Job.tidy`."""
        check_cleanup(cleanup, is_durable=self._tools.journal.is_shared)
        provider = await self._provider_of(run.record, True)
        _check_key(provider, run.record)
        if not run.is_over:
            return await run.tidy(cleanup, provider)  # which refuses
        async with self._held(run):
            done = await run.tidy(cleanup, provider)
            if done.is_done and cleanup in (run.cleanup, "settled"):
                await self._wishes.note_done(run.record.job_id, TIDY)
        return done

    async def cancel(self, run: JobRun) -> None:
        """Ask for the end of a job, or ask whoever has it to."""
        job_id, journal = run.record.job_id, self._tools.journal
        run = self.runs.get(job_id, run)
        is_elsewhere = job_id in self.followed and not run.is_over
        if run.is_over and journal.is_shared:  # another process may have sent some of it again since we looked
            is_elsewhere = any(item.state is not SubmissionState.SETTLED for item in await journal.submissions(job_id))
        if is_elsewhere:
            await journal.wish(job_id, CANCEL)
            run.is_end_wished = True
        else:
            await run.cancel()

    async def wake(self, job_id: str, batch_id: str) -> bool:
        """Ask about a batch of a job now, or ask whoever has the job to; False if nobody waits for it."""
        run, journal = self.runs.get(job_id), self._tools.journal
        if run is not None and job_id not in self.followed and not (run.is_over and journal.is_shared):
            return run.wake(batch_id)
        # Another process has it, or may have sent some of it again since we saw its end.
        parts = await journal.submissions(job_id) if journal.is_shared else ()
        if not any(item.provider_batch_id == batch_id and item.state is SubmissionState.SUBMITTED for item in parts):
            return False
        word = wake_of(batch_id)
        if not any(wish.job_id == job_id and wish.word == word for wish in await journal.wishes()):
            await journal.wish(job_id, word)
        return True

    async def same(self, record: JobRecord) -> JobRun | None:
        """Give the job of the same key, if there is one of the same requests; refuse the key for any others."""
        known = await self._tools.journal.job_of(record.key) if record.key is not None else None
        if known is None:
            return None
        if known.digest != record.digest:
            message = f"the key {record.key!r} was given to other requests, or for another model or account: job {known.job_id}"
            hint = "nothing was sent; give these requests a key of their own"
            raise ConfigError(message, code="key.reused", hint=hint)
        return await self.attach(known.job_id)

    async def resume(self) -> None:
        """Go on with what is unfinished and nobody's; what cannot be taken up is said, and stays as it is."""
        journal = self._tools.journal
        for stray in await journal.strays():
            with contextlib.suppress(JournalError):  # somebody is just accepting it
                await journal.forget(stray)
        await Resuming(self._owner, self._provider_of, self._resume).start(await journal.jobs(unfinished=True))
        if journal.is_shared:
            self._owner.spawn(partial(self._wishes.tidy_left, self._tidy_one), name="asyncbatch tidying")

    async def _resume(self, job_id: str, provider: BaseBatchProvider) -> None:
        async def with_its_key(record: JobRecord) -> BaseBatchProvider:
            _check_key(provider, record)
            return provider

        await self._attach(job_id, with_its_key)

    async def _tidy_one(self, job_id: str) -> None:
        try:
            run = await self.attach(job_id)
        except Exception:
            await self._tools.journal.release(job_id)
            raise
        await self.tidy(run, run.cleanup)

    def listen(self) -> None:
        """Hear from now on what other processes ask of the jobs that we have."""
        if self._tools.journal.is_shared:
            self._owner.spawn(self._wishes.listen, name="asyncbatch wishes")

    async def forget(self, run: JobRun) -> None:
        """Drop a job that is over, its rows too, whatever cancels us meanwhile."""
        await finish(partial(self._forget, run))

    async def _forget(self, run: JobRun) -> None:
        run = self.runs.get(run.record.job_id, run)  # the handle may be an old one
        if run.is_over:  # the journal first: it must not speak of rows that are gone, and may refuse
            await self._tools.journal.forget(run.record.job_id)
        await run.discard()
        self.runs.pop(run.record.job_id, None)

    def close(self, cause: BaseException | None) -> None:
        """Tell everybody who waits for a job that the client was left."""
        self._is_closed = True
        for run in self.runs.values():
            job_id, is_kept = run.record.job_id, self._tools.journal.place(run.record.job_id) is not None
            if not run.is_sent and job_id not in self.followed:
                unsent = sum(part.record.request_count for part in run.parts if not part.is_sent)
                then = "; the next client on this journal sends them" if is_kept else ""
                _log.warning("job %s: the client is closed before %d requests were sent%s", job_id, unsent, then)
            state = "its rows lay with the client" if run.is_over else "batches that were created go on at the provider"
            hint = "open a client on the same journal to go on with it" if is_kept else state
            closed = ClientClosedError(f"the client of job {job_id} was closed", code="client.closed", hint=hint)
            closed.__cause__ = cause
            run.close(closed)

    async def _take_up(self, record: JobRecord, provider: BaseBatchProvider) -> None:
        tools, job_id = self._tools, record.job_id
        is_ours = await tools.journal.claim(job_id)
        try:
            run = self.runs[job_id] = await old_run(record, provider, tools)
            if is_ours and not run.is_over:
                await self._wishes.heed(run)
        except BaseException:  # nobody would drive what is half taken up
            self.runs.pop(job_id, None)
            if is_ours:
                await finish(partial(tools.journal.release, job_id))
            raise
        if run.is_over:
            if is_ours:  # it was only read
                await tools.journal.release(job_id)
        elif is_ours:
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
                await self._wishes.heed(run)
                self._drive(run)
            else:
                await self._tools.journal.release(run.record.job_id)
        except AsyncBatchError as error:
            run.close(error)
            self.followed.discard(run.record.job_id)
            if self.runs.get(run.record.job_id) is run:  # whoever asks for it again takes it up anew
                del self.runs[run.record.job_id]

    def _drive(self, run: JobRun) -> None:
        name, drives = f"asyncbatch job {run.record.job_id[:8]}", list(run.drives())
        self._busy[run.record.job_id] += len(drives)
        if drives:
            self._owner.spawn(partial(self._start, run, drives, name), name=name)
        if not run.parts:  # every request was refused: nothing is driven, and the job is anybody's
            self._owner.spawn(partial(self._let_go, run), name=name)

    async def _start(self, run: JobRun, drives: Sequence[Callable[[], Awaitable[None]]], name: str) -> None:
        """Let each part have its task; of a thousand that begin at once the event loop would be held."""
        with contextlib.suppress(ScopeError):  # the client is left: what has not begun is taken up by the next one
            for index, drive in enumerate(drives, 1):
                self._owner.spawn(partial(self._driven, run, drive), name=f"{name} part {index - 1}")
                if index % _TURN == 0:
                    await checkpoint()

    async def _driven(self, run: JobRun, drive: Callable[[], Awaitable[None]]) -> None:
        """Take a part to its end; a job that is settled is anybody's."""
        try:
            with working_for(run.record.account):
                await drive()
        finally:
            self._busy -= Counter((run.record.job_id,))
        await self._let_go(run)

    async def _let_go(self, run: JobRun) -> None:
        async with self._handing:  # whoever sends it again has claimed it, and keeps it
            if all(part.is_settled for part in run.parts) and not self._busy[run.record.job_id]:
                try:
                    await self._wishes.note_done(run.record.job_id, WAKE, *([TIDY] if run.is_tidied else []))
                except JournalError as error:  # it is done once more by the next process
                    _log.warning("job %s: that it is tidied is not noted: %s", run.record.job_id, error)
                await self._tools.journal.release(run.record.job_id)
                self.teller.notify()

    async def _hand(self, job_id: str, tell: Tell) -> bool:
        """Let somebody hear of the end of a job, while nobody else does anything with it."""
        journal = self._tools.journal
        if any(item.state is not SubmissionState.SETTLED for item in await journal.submissions(job_id)):
            return False
        run = await self.attach(job_id)
        if not run.is_over or job_id in self.followed or not await journal.claim(job_id):
            return False
        async with self._held(run):
            owed = [wish for wish in await journal.wishes() if wish.job_id == job_id and wish.word == TELL]
            if owed:
                await tell(run)
            for wish in owed:  # and no other: a handler that sends the job again hears of its next end too
                await journal.grant(wish)
        return True

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
