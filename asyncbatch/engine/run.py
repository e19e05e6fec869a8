"""One job on its way: a task for each submission takes it from planned to settled, and whoever waits hears of each step."""

import logging
from collections.abc import Sequence
from functools import partial

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, ProviderStatus, UsageInfo
from asyncbatch.engine import outcomes
from asyncbatch.engine.create import create_once, make_tag
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.part import Part
from asyncbatch.engine.recover import recover
from asyncbatch.engine.settle import enter_answers
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import BatchStatus, ResultStatus
from asyncbatch.exceptions import (
    ConfigError,
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
    ScopeError,
    StorageError,
    SubmissionUnknownError,
)
from asyncbatch.journal import (
    Ended,
    Event,
    Fenced,
    Indeterminate,
    JobRecord,
    Refused,
    Settled,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Voided,
    Withdrawn,
)
from asyncbatch.planning.retry import next_send
from asyncbatch.planning.schedule import Again, GaveUp, PollState, after_error, after_not_found
from asyncbatch.poller import BatchHandle
from asyncbatch.runtime import Signal, sleep_or
from asyncbatch.spool import RequestIds

_log = logging.getLogger("asyncbatch.engine")


class JobRun:
    """A job's parts, and the steps that each of them takes."""

    def __init__(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        parts: Sequence[Part],
        rejects: Ledger | None,
        tools: Tools,
    ) -> None:
        self.record = record
        self.provider = provider
        self.parts = tuple(parts)
        self.rejects = rejects
        self.changed = Signal()
        self.settled: list[Ledger] = [rejects] if rejects is not None else []
        self.closed_by: BaseException | None = None
        self.cancelled = anyio.Event()
        self.is_discarded = False
        self._tools = tools

    @property
    def is_sent(self) -> bool:
        return all(part.is_sent for part in self.parts)

    @property
    def is_over(self) -> bool:
        return all(part.is_over for part in self.parts)

    @property
    def error(self) -> BaseException | None:
        """What everybody who waits gets: the job was stopped, nothing of it could be sent, or a batch cannot be watched."""
        if self.closed_by is not None and not self.is_over:
            return self.closed_by
        if self.is_nothing_sent:
            return next((part.error for part in self.parts if part.error is not None), None)
        stopped = (part.error for part in self.parts if part.is_stopped and not part.is_settled)
        return next((error for error in stopped if error is not None), None)

    @property
    def is_nothing_sent(self) -> bool:
        """Whether it is certain that no part has a batch: a create that nobody can find is no certainty."""
        return self.is_sent and all(part.is_certainly_unsent for part in self.parts)

    def counts(self) -> dict[ResultStatus, int]:
        total: dict[ResultStatus, int] = {}
        for ledger in self.ledgers():
            for status, n in ledger.counts().items():
                total[status] = total.get(status, 0) + n
        return total

    def usage(self) -> UsageInfo:
        return sum((ledger.usage for ledger in self.ledgers()), UsageInfo())

    def ledgers(self) -> list[Ledger]:
        return [*([self.rejects] if self.rejects is not None else []), *(part.ledger for part in self.parts)]

    async def read(self, ledger: Ledger, offset: int) -> tuple[list[ProviderResultRow], int]:
        """Read rows of a settled submission; see `Ledger.read`."""
        return await self._tools.runtime.offload(ledger.read, offset)

    async def discard(self) -> None:
        """Give the disk space of rows and ids back.

        Raises:
            ConfigError: The job is not over.
        """
        if not self.is_over:
            message = f"job {self.record.job_id} is still running"
            raise ConfigError(message, code="job.running", hint="wait for it, or cancel it, before it is discarded")
        self.is_discarded = True
        for ledger in self.ledgers():
            await ledger.discard()
        for part in self.parts:
            if part.submission.spool is not None:
                await part.submission.spool.discard()
            if isinstance(part.submission.request_ids, RequestIds):
                await part.submission.request_ids.discard()

    def close(self, error: BaseException) -> None:
        """Tell everybody who waits that the client was left."""
        self.closed_by = error
        self.changed.notify()

    async def cancel(self) -> None:
        """Ask for the end: parts that were not sent are withdrawn, batches are cancelled at the provider."""
        self.cancelled.set()
        failures = [error for part in self.parts if (error := await self._cancel_batch(part)) is not None]
        if failures:
            raise failures[0]

    async def _cancel_batch(self, part: Part) -> Exception | None:
        """Ask for the end of a part's batch, if it has one that runs; a refusal ends neither the others nor the watch."""
        batch_id = part.record.provider_batch_id
        if batch_id is None or part.record.state is not SubmissionState.SUBMITTED:
            return None
        try:
            await self.provider.cancel(batch_id)
        except Exception as error:  # noqa: BLE001 whatever it is, the batch is watched on, and the cancel asked for again
            _log.warning("cancelling batch %s: %s; it is asked for again", batch_id, error)
            part.is_uncancelled = True
            return error
        part.is_uncancelled = False
        return None

    async def drive(self, part: Part) -> None:
        """Take one submission from where it stands to its end."""
        try:
            is_settled = False
            while not is_settled:
                await self._send(part)
                is_settled = await self._watch_and_settle(part)
        except Exception as error:  # noqa: BLE001 it ends no other part, and reaches whoever waits for the job
            _log.warning("submission %s of job %s stops: %r", part.record.index, self.record.job_id, error)
            part.error = error
            part.is_stopped = True
        finally:
            part.note = None
            self.changed.notify()

    async def _move(self, part: Part, event: Event) -> None:
        part.record = await self._tools.journal.move(self.record.job_id, part.record.index, event)
        self.changed.notify()

    def _tell(self, part: Part, note: str | None) -> None:
        part.note = note
        self.changed.notify()

    # From planned to a batch.

    async def _send(self, part: Part) -> None:
        while part.is_unsent:
            if self.cancelled.is_set():
                await self._move(part, Withdrawn())
                return
            if not self._tools.poller.is_open:  # nothing is bought that nobody would watch
                raise ScopeError("the poller of this client has stopped; nothing more is sent", code="poller.closed")
            async with self._tools.lines_of(self.provider).sending:
                error = await self._send_once(part)
            if part.is_lost:
                await self._recover(part, error)
            elif isinstance(error, ProviderTransientError) and part.is_unsent:
                await self._wait_or_give_up(part, error)
            elif error is not None:
                part.error = error
        if self.cancelled.is_set():
            await self._cancel_batch(part)

    async def _send_once(self, part: Part) -> ProviderError | None:
        if part.record.state is SubmissionState.PLANNED:
            error = await self._upload(part)
            if error is not None:
                return error
        if self.cancelled.is_set():
            await self._move(part, Withdrawn())
            return None
        tools = self._tools
        tag = make_tag(self.record.job_id, part.record.index, part.record.attempt + 1, tools.runtime)
        part.submission = part.submission.replace(tag=tag)
        return await create_once(
            part.submission,
            provider=self.provider,
            move=partial(self._move, part),
            runtime=tools.runtime,
            creates=tools.creates,
        )

    async def _upload(self, part: Part) -> ProviderError | None:
        self._tell(part, "uploading")
        await self._move(part, UploadIntended())
        try:
            uploaded = await self.provider.upload(part.submission)
        except ProviderError as error:
            await self._move(part, Refused(why=error.message, is_final=not isinstance(error, ProviderTransientError)))
            return error
        except (StorageError, OSError) as error:  # our disk, or a socket of a provider's own: no create was sent
            name = self.provider.PROVIDER_NAME
            failed = ProviderTransientError(f"{name}: the upload failed: {error}", provider=name, code="upload_failed")
            await self._move(part, Refused(why=failed.message, is_final=False))
            return failed
        part.submission = uploaded
        self._tell(part, None)
        await self._move(part, Uploaded(input_ref=uploaded.input_ref))
        return None

    async def _wait_or_give_up(self, part: Part, error: ProviderTransientError) -> None:
        tools, runtime = self._tools, self._tools.runtime
        part.refusals += 1
        part.refused_since = part.refused_since or runtime.now()
        part.unreached_since = None if error.status is not None else part.unreached_since or runtime.now()
        since = part.unreached_since or part.refused_since
        delay = next_send(
            tools.patience,
            part.refusals,
            runtime.now() - since,
            runtime.random(),
            retry_after=error.retry_after,
            is_reached=error.status is not None,
        )
        if part.refusals == 1:
            _log.warning("submission %s of job %s: %s; trying again", part.record.index, self.record.job_id, error)
        if delay is None:
            part.error = error
            await self._move(part, Refused(why=error.message, is_final=True))
            return
        self._tell(part, f"refused for now ({error.code or error.status}), trying again")
        await sleep_or(runtime, delay, self.cancelled)

    async def _recover(self, part: Part, error: ProviderError | None) -> None:
        tools, record = self._tools, part.record
        event, part.is_fenced = await recover(
            part.submission,
            record.intended_at or tools.runtime.now(),
            provider=self.provider,
            runtime=tools.runtime,
            policy=tools.recovery,
            tell=partial(self._tell, part),
        )
        self._tell(part, None)
        if isinstance(event, Indeterminate):
            part.error = error or SubmissionUnknownError(event.why, provider=self.provider.PROVIDER_NAME)
        if not isinstance(event, Fenced):
            await self._move(part, event)
            return
        await self._forget_attempt(part, event)
        part.losses += 1
        if part.losses >= tools.recovery.attempts:
            name = self.provider.PROVIDER_NAME
            message = f"{name}: {part.losses} creates were lost on their way, each proved not to have arrived"
            part.error = ProviderTransientError(message, provider=name, code="create_lost")
            await self._move(part, Refused(why=message, is_final=True))

    async def _forget_attempt(self, part: Part, event: Event) -> None:
        """Begin again: the next attempt has an input and a tag of its own."""
        await self._move(part, event)
        part.submission = part.submission.replace(input_ref=None, tag=None)
        part.is_fenced, part.handle = False, None
        part.refusals, part.refused_since, part.unreached_since = 0, None, None

    # From a batch to outcomes.

    async def _watch_and_settle(self, part: Part) -> bool:
        """Take a part to its outcomes; False if it has to be sent anew."""
        batch_id = part.record.provider_batch_id
        if batch_id is None:
            await self._settle_unsent(part)
            return True
        if not part.is_fenced:
            await self._give_input_back(part)
        part.handle = self._tools.poller.watch(self.provider, batch_id)
        part.handle.on_reading(self.changed.notify)
        status = await self._end_of(part, part.handle)
        if part.is_fenced and status.status is BatchStatus.FAILED and not status.progress.done:
            await self._forget_attempt(part, Voided())
            return False
        await self._move(part, Ended(status=status.status))
        fill = outcomes.unanswered(status, self.provider.classify_error)
        gone = await self._fetch(part, status)
        await self._close(part, fill if gone is None else outcomes.lost(status, gone))
        return True

    async def _end_of(self, part: Part, handle: BatchHandle) -> ProviderStatus:
        """Wait for the end of a batch; a cancel that was refused is asked for again after each reading."""
        handle.on_done(self.changed.notify)
        asked_at = handle.last
        while not handle.is_done:
            # The job changes more often than this one batch is read.
            if part.is_uncancelled and handle.last is not asked_at:
                asked_at = handle.last
                await self._cancel_batch(part)
            if not handle.is_done:
                await self.changed.wait()
        return await handle.wait()

    async def _fetch(self, part: Part, status: ProviderStatus) -> ProviderError | None:
        """Fetch the answers, as often as it takes; gives the error if they cannot be had any more.

        A refusal is believed only when it has lasted: providers lose sight of files and batches for a while.
        """
        tools, state = self._tools, PollState()
        while True:
            try:
                async with tools.lines_of(self.provider).settling:
                    self._tell(part, "fetching answers")
                    await enter_answers(self.provider, status, part.submission, part.ledger, tools.runtime)
            except ProviderTransientError as error:
                step: Again | GaveUp = after_error(
                    tools.polling, state, tools.runtime.random(), retry_after=error.retry_after
                )
                failure: ProviderError | StorageError = error
            except (ProviderPermanentError, StorageError) as error:
                if isinstance(error, ProviderPermanentError) and error.status in (401, 403):
                    raise  # a key that is refused now may be mended; the answers are still there
                step = after_not_found(tools.polling, state, tools.runtime.now(), tools.runtime.random())
                failure = error
            else:
                return None
            if isinstance(step, GaveUp):
                if isinstance(failure, StorageError):  # our disk is no reason to call an answer lost
                    raise failure
                return failure
            _log.warning("fetching batch %s: %s", status.provider_batch_id, failure)
            self._tell(part, "waiting to fetch answers")
            state = step.state
            await tools.runtime.sleep(step.delay_s)

    async def _settle_unsent(self, part: Part) -> None:
        record = part.record
        if isinstance(part.error, SubmissionUnknownError):
            fill = outcomes.indeterminate(record.reason or part.error.message)
        elif isinstance(part.error, ProviderError):
            fill = outcomes.refused(part.error)
        else:
            fill = outcomes.withdrawn()
        await self._close(part, fill)

    async def _close(self, part: Part, fill: outcomes.Fill) -> None:
        await self._close_ledger(part, fill)
        self.settled.append(part.ledger)
        await self._move(part, Settled())
        await self._give_input_back(part)
        if part.ledger.strays:
            _log.warning("job %s: %d answers carry ids that are not ours", self.record.job_id, part.ledger.strays)

    async def _close_ledger(self, part: Part, fill: outcomes.Fill) -> None:
        tools, state = self._tools, PollState()
        while True:
            try:
                await tools.runtime.offload(part.ledger.close, fill, part.submission.request_ids)
            except StorageError as error:  # the answers are there, and so are we: room may come
                step = after_not_found(tools.polling, state, tools.runtime.now(), tools.runtime.random())
                if isinstance(step, GaveUp):
                    raise
                _log.warning("submission %s of job %s: %s", part.record.index, self.record.job_id, error)
                state = step.state
                await tools.runtime.sleep(step.delay_s)
            else:
                return

    async def _give_input_back(self, part: Part) -> None:
        if part.submission.spool is not None:
            try:
                await part.submission.spool.discard()
            except (StorageError, OSError) as error:  # it goes with the client; no batch is left alone over it
                _log.warning("job %s: an input is left on the disk: %s", self.record.job_id, error)
            part.submission = part.submission.replace(spool=None, payloads=())
