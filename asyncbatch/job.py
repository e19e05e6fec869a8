"""Job: the handle of what was submitted, in whatever task and as often as needed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import msgspec

from asyncbatch.dto import Progress, ProviderResultRow, UsageInfo
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.part import Part
from asyncbatch.engine.run import JobRun
from asyncbatch.enums import BatchMode, BatchStatus, ResultStatus
from asyncbatch.job_events import HEARTBEAT_S, JobEvents
from asyncbatch.job_lookup import find_row
from asyncbatch.job_pages import PAGE_ROWS, JobPage
from asyncbatch.job_results import JobResults
from asyncbatch.journal import JobRecord, SubmissionRecord, SubmissionState
from asyncbatch.planning.rounds import among, read_only
from asyncbatch.planning.tidying import Cleanup, Tidied
from asyncbatch.secrecy import OfThisProcess

_POLICY = ("retry", "max_attempts", "cleanup")


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """One submission of a job, as it stands.

    Attributes:
        index: Its number.
        requests: How many requests it has.
        state: How far we are with it: planned, uploading, …, submitted, ended, settled.
        provider_batch_id: Its batch; None until it has one.
        status: The batch's status when it was last asked about; None before that.
        raw_status: The provider's word for it.
        progress: Counts, for display.
        note: What is going on, where the state does not say it.
        error: Why it has no batch, or cannot be watched.
        ending: Why it came to no batch: refused, refused_for_now, indeterminate, withdrawn; None where it did or may.
        tag: The mark of its latest create, by which it can be found at the provider.
        round: How often some of its requests were sent again.
        sent: How many requests the present round has.
        earlier: The batches of earlier rounds.
    """

    index: int
    requests: int
    state: str
    provider_batch_id: str | None = None
    status: BatchStatus | None = None
    raw_status: str = ""
    progress: Progress = Progress()
    note: str | None = None
    error: str | None = None
    ending: str | None = None
    tag: str | None = None
    round: int = 0
    sent: int = 0
    earlier: tuple[str, ...] = ()


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it stands.

    Attributes:
        job_id: Its name.
        provider: Whose batches.
        model: The model.
        mode: What the requests ask for.
        account: Whose key pays; None for the environment's.
        created_at: When it was accepted, Unix seconds.
        requests: How many requests it has, refused ones included.
        outcomes: How many of them ended how; those without an outcome yet are not counted.
        is_over: Whether every request has its outcome, or nothing more will happen.
        batches: Its submissions.
        usage: Tokens of the answers so far; in a list of jobs they are not counted.
        dropped: Fields that the provider cannot express and that were left out, with the number of requests.
        error: What whoever waits for it gets.
        key: The caller's own name for it.
        endpoint: The provider's path.
        cancel_asked: Whether its end was asked for.
        cancel_heard: Whether the process that has it has recorded that, and asks the provider.
        policy: What happens once a batch is over: `retry`, `max_attempts`, `cleanup`, as far as asked for.
        fingerprint: Which key and address it was sent with, without being them; empty where a provider has no facts.
    """

    job_id: str
    provider: str
    model: str
    mode: BatchMode
    account: str | None
    created_at: float
    requests: int
    outcomes: Mapping[ResultStatus, int]
    is_over: bool
    batches: tuple[BatchView, ...]
    usage: UsageInfo
    dropped: Mapping[str, int] = {}
    error: str | None = None
    key: str | None = None
    endpoint: str = ""
    cancel_asked: bool = False
    cancel_heard: bool = False
    policy: Mapping[str, Any] = {}
    fingerprint: str = ""

    @property
    def done(self) -> int:
        """Requests with an outcome."""
        return sum(self.outcomes.values())

    @property
    def succeeded(self) -> int:
        return self.outcomes.get(ResultStatus.SUCCEEDED, 0)


class Job(OfThisProcess):
    """What was submitted. Any number of handles and consumers may exist; none of them owns the work."""

    ELSEWHERE = "keep its `id`, and ask a client for it where it is needed: `await client.job(id)`"

    def __init__(self, run: JobRun, desk: Desk) -> None:
        self._run = run
        self._desk = desk

    def __repr__(self) -> str:
        return f"<Job {self.id} {self._run.record.provider}/{self._run.record.model}>"

    @property
    def id(self) -> str:
        """The job's name, one string."""
        return self._run.record.job_id

    def status(self) -> JobStatus:
        """Give the job as it stands, without asking anybody."""
        run, record = self._run, self._run.record
        error, is_cancelled = run.error, any(part.record.is_cancelled for part in run.parts)
        return JobStatus(
            job_id=record.job_id,
            provider=record.provider,
            model=record.model,
            mode=record.mode,
            account=record.account,
            created_at=record.created_at,
            requests=record.request_count,
            outcomes=run.counts(),
            is_over=run.is_over,
            batches=tuple(_view(part) for part in run.parts),
            usage=run.usage(),
            dropped=run.dropped,
            error=str(error) if error is not None else None,
            key=record.key,
            endpoint=record.endpoint,
            cancel_asked=run.is_end_wished or is_cancelled,
            cancel_heard=is_cancelled,
            policy=_policy_of(record),
            fingerprint=record.fingerprint,
        )

    async def submitted(self) -> tuple[str, ...]:
        """Wait until each submission has a batch or an error; gives the batches' ids.

        Raises:
            ProviderError: A submission could not be sent; what others of the job became, `status()` tells.
            ClientClosedError: The client was left first.
        """
        run = self._run
        while not run.is_sent:
            if run.closed_by is not None:
                raise run.closed_by.with_traceback(None)
            await run.changed.wait()
        for part in run.parts:
            if part.error is not None and part.record.provider_batch_id is None and not part.record.earlier:
                raise part.error.with_traceback(None)  # without the traces of those who waited before
        return tuple(batch_id for part in run.parts for batch_id in _batches_of(part.record)[-1:])

    async def wait(self) -> JobStatus:
        """Wait until every request has its outcome.

        Raises:
            ProviderError: Nothing could be sent, or a batch cannot be watched any more (the key is refused).
            ClientClosedError: The client was left first.
        """
        run = self._run
        while not run.is_over and run.closed_by is None:
            await run.changed.wait()
        if run.error is not None:
            raise run.error.with_traceback(None)
        return self.status()

    @overload
    def results(self, *, ordered: bool = False) -> JobResults: ...
    @overload
    def results(self, *, ordered: bool = False, after: str | None, limit: int = PAGE_ROWS) -> JobPage: ...
    @overload
    def results(self, *, ordered: bool = False, after: str | None = None, limit: int) -> JobPage: ...
    def results(
        self,
        *,
        ordered: bool = False,
        after: str | msgspec.UnsetType | None = msgspec.UNSET,
        limit: int | msgspec.UnsetType = msgspec.UNSET,
    ) -> JobResults | JobPage:
        """Give the rows: each request exactly one, batch by batch as they end. May be iterated again, by several at once.

        With `after` or `limit` it gives a page instead: what is final now, and never waits. `rows = await page`, then
        `page.cursor` is where the next page begins, and `page.is_over` says that no more rows will come.

        Args:
            ordered: In the order in which the requests were handed in, refused ones too: each waits for all before it.
            after: The cursor of the page before, whichever process gave it; None or an empty text for the first page.
            limit: How many rows a page has at most; it may have fewer.

        Raises:
            ConfigError: The limit is none. Awaiting a page: the cursor is none of this job's (`cursor.bad`), or from before
                some of it was sent again by hand (`cursor.outdated`).
        """
        if after is msgspec.UNSET and limit is msgspec.UNSET:
            return JobResults(self._run, is_ordered=ordered)
        return JobPage(
            self._run,
            self._desk,
            after=None if after is msgspec.UNSET else after,
            limit=PAGE_ROWS if limit is msgspec.UNSET else limit,
            is_ordered=ordered,
        )

    async def result(self, request_id: str) -> ProviderResultRow | None:
        """Give the row of one request; None while it has no outcome.

        Raises:
            ConfigError: The job has no such request (`request.unknown`).
            ProviderError: Its batch cannot be watched any more.
        """
        return await find_row(self._run, self._desk, request_id)

    def stream_events(self, *, heartbeat_s: float = HEARTBEAT_S, last_event_id: str | None = None) -> JobEvents:
        """Tell of the job as it goes on: its state now, then each change, and its end, after which the stream is over.

        Each event holds the whole state. A viewer that is slow gets the latest one, never those that it has missed; one that
        leaves, leaves nothing behind. When the client is closed first, the stream just ends.

        Args:
            heartbeat_s: After so many seconds without an event comes a heartbeat.
            last_event_id: What a browser that comes back sends as `Last-Event-ID`: what it has seen is not told again.

        Raises:
            ConfigError: `heartbeat_s` is no time.
        """
        return JobEvents(self._run, self._as_json, heartbeat_s=heartbeat_s, last_event_id=last_event_id)

    def _as_json(self) -> dict[str, Any]:
        status = self.status()
        return {**msgspec.to_builtins(status), "done": status.done, "succeeded": status.succeeded}

    async def retry(self, *, only: Iterable[ResultStatus | str] | str = ("errored", "expired", "missing")) -> int:
        """Send requests of a job that is over again, in batches of their own; gives how many.

        The rest of the job stays as it is. Iterate over the results anew afterwards: each request has one outcome then as well.
        Nothing else is sent after it by itself: the policy that the job was submitted with ends here.

        Args:
            only: Those that ended like this. `indeterminate` may pay for some twice: nobody knows whether they were sent.

        Raises:
            ConfigError: The job is not over, an outcome cannot be bettered, or the requests are not there any more.
            JournalError: Another process has the job.
        """
        return await self._desk.retry(self._run, among(read_only(only)))

    async def tidy(self, cleanup: Cleanup = "settled") -> Tidied:
        """Delete what the job left at its provider: inputs, and answers, of which the rows are held here. May be repeated.

        A batch that is not over stays, and so does one that was only taken for ours. What could not be deleted is named in
        `errors`; no outcome changes.

        Args:
            cleanup: `"succeeded"`: of batches whose every request has an answer. `"settled"`: of all whose requests have clear
                outcomes; where one is missing, unreadable, contradictory or in doubt, what lies there is evidence, and stays.

        Raises:
            ConfigError: The job is not over, its rows would end with this process, or its key is not at hand.
        """
        return await self._desk.tidy(self._run, cleanup)

    async def cancel(self) -> None:
        """Ask the provider to end the job's batches, and send no more of it. Answers that exist are kept; wait for the end.

        It is recorded first, and asked for again should this process die. A job that another process has is ended by that one,
        within seconds.
        """
        await self._desk.cancel(self._run)

    async def discard(self) -> None:
        """Forget a job that is over: its rows leave the disk. A long-lived client is told so for each job it is done with.

        Raises:
            ConfigError: The job is not over.
        """
        await self._desk.forget(self._run)


def _batches_of(record: SubmissionRecord) -> tuple[str, ...]:
    present = (record.provider_batch_id,) if record.provider_batch_id is not None else ()
    return record.earlier + present


def _view(part: Part) -> BatchView:
    last = part.handle.last if part.handle else None
    return BatchView(
        index=part.record.index,
        requests=part.record.request_count,
        state=part.record.state.value,
        provider_batch_id=part.record.provider_batch_id,
        status=last.status if last else part.record.end,
        raw_status=last.raw_status if last else "",
        progress=last.progress if last else Progress(),
        note=part.note or (part.handle.trouble if part.handle else None),
        error=str(part.error) if part.error is not None else None,
        ending=part.record.ending,
        tag=part.record.tag,
        round=part.record.round,
        sent=_sent(part.record),
        earlier=part.record.earlier,
    )


def _policy_of(record: JobRecord) -> Mapping[str, Any]:
    return {name: record.options[name] for name in _POLICY if name in record.options}


def _sent(record: SubmissionRecord) -> int:
    return record.request_count if record.sent_count is None else record.sent_count


def listed(
    record: JobRecord,
    submissions: Sequence[SubmissionRecord],
    note_of: Callable[[SubmissionRecord], str | None],
    *,
    is_end_wished: bool,
) -> JobStatus:
    """Give a job as the journal knows it, without taking it up."""
    is_cancelled = any(item.is_cancelled for item in submissions)
    outcomes: Counter[ResultStatus] = Counter({ResultStatus.REJECTED: record.rejected_count})
    for item in submissions:
        outcomes.update({ResultStatus(name): count for name, count in item.outcomes.items()})
    return JobStatus(
        job_id=record.job_id,
        provider=record.provider,
        model=record.model,
        mode=record.mode,
        account=record.account,
        created_at=record.created_at,
        requests=record.request_count,
        outcomes=+outcomes,
        is_over=all(item.state is SubmissionState.SETTLED for item in submissions),
        batches=tuple(_listed(item, note_of(item)) for item in submissions),
        usage=UsageInfo(),
        dropped=record.options.get("dropped", {}),
        key=record.key,
        endpoint=record.endpoint,
        cancel_asked=is_end_wished or is_cancelled,
        cancel_heard=is_cancelled,
        policy=_policy_of(record),
        fingerprint=record.fingerprint,
    )


def _listed(record: SubmissionRecord, note: str | None) -> BatchView:
    return BatchView(
        index=record.index,
        requests=record.request_count,
        state=record.state.value,
        provider_batch_id=record.provider_batch_id,
        status=record.end,
        note=note,
        error=record.reason if record.ending is not None else None,
        ending=record.ending,
        tag=record.tag,
        round=record.round,
        sent=_sent(record),
        earlier=record.earlier,
    )
