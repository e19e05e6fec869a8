"""One job on its way: a task for each submission takes it from planned to settled, and whoever waits hears of each step."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, UsageInfo
from asyncbatch.engine.collecting import Collecting
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.order import REJECTS, InputOrder
from asyncbatch.engine.part import Part
from asyncbatch.engine.rounds import check_input, worth_it
from asyncbatch.engine.steps import Release, Shared
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.journal import TIDY, JobRecord
from asyncbatch.planning.rounds import OWN, RetryRows, Wanted, wanted_by
from asyncbatch.planning.tidying import Cleanup, Tidied
from asyncbatch.request_ids import RequestIds
from asyncbatch.runtime import Runtime, Signal


class JobRun:
    """A job's parts, and the steps that each of them takes."""

    def __init__(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        parts: Sequence[Part],
        rejects: Ledger | None,
        tools: Tools,
        retry: RetryRows | None = None,
    ) -> None:
        self.record = record
        self.provider = provider
        self.parts = tuple(parts)
        self.rejects = rejects
        self.changed = Signal()
        self.released: list[Release] = []
        self.generation = 0
        self.closed_by: BaseException | None = None
        self.is_discarded = False
        self.is_end_wished = False
        """Whether another process was asked for the end of the job by us."""
        self._tools = tools
        self._shared = Shared(
            record=record,
            provider=provider,
            tools=tools,
            changed=self.changed,
            cancelled=anyio.Event(),
            released=self.released,
            place=tools.journal.place(record.job_id),
            max_attempts=record.options.get("max_attempts", 1),
            cleanup=record.options.get("cleanup", "never"),
            notifies=record.options.get("notifies", False),
            # Whether the process that settled these got to delete what they left, nobody wrote down.
            is_untidy=any(part.is_settled for part in parts),
        )
        self.take_policy(retry)
        self._ways = [Collecting(self._shared, part) for part in self.parts]
        self.renew()

    def take_policy(self, retry: RetryRows | None) -> None:
        """Send again what the job was submitted to send again, or what a function says that this process was given anew."""
        word = self.record.options.get("retry")
        if word != OWN:
            self._shared.wanted = wanted_by(word)
        elif retry is not None:
            self._shared.wanted = wanted_by(retry)

    def renew(self) -> None:
        """Begin the list of rows that are final anew, by what the journal knows of each submission."""
        self.generation += 1
        self.released[:] = [Release(REJECTS, self.rejects.size)] if self.rejects is not None else []
        for part in self.parts:
            if part.is_settled or part.record.round:
                until = part.ledger.size if part.is_settled else part.record.rows_bytes
                self.released.append(Release(part.record.index, until))
        if any(part.record.is_cancelled and not part.is_settled for part in self.parts):
            self._shared.cancelled.set()
        self.changed.notify()

    @property
    def is_sent(self) -> bool:
        return all(part.is_sent for part in self.parts)

    @property
    def is_over(self) -> bool:
        return all(part.is_over for part in self.parts)

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was left out of requests because the provider cannot express it; each part knows it of the whole job."""
        return next((part.whole.dropped for part in self.parts), dict[str, int]())

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

    @property
    def cleanup(self) -> Cleanup:
        return self._shared.cleanup

    @property
    def notifies(self) -> bool:
        """Whether the application's handlers hear of its end."""
        return self._shared.notifies

    @property
    def is_tidied(self) -> bool:
        """Whether something was to be deleted at the provider, and is."""
        return TIDY in self._shared.owed and not self._shared.is_untidy

    @property
    def runtime(self) -> Runtime:
        return self._tools.runtime

    @property
    def epoch(self) -> int:
        """A number that rises when some of it is sent again by hand, the same in every process.

        Within one, what is final stays so: a policy sends again only what was not.
        """
        return sum(part.record.round + 1 - part.record.tries for part in self.parts)

    @property
    def order(self) -> InputOrder:
        counts = [part.record.request_count for part in self.parts]
        refused = next((part.whole.refused_rows for part in self.parts), ())
        return InputOrder(counts, refused, self.record.rejected_count)

    def is_settled(self, source: int) -> bool:
        """Whether all rows of a source are final."""
        return source == REJECTS or self.parts[source].is_settled

    def final(self) -> dict[int, int]:
        """How much of the rows of each source is final for every process, whatever becomes of this one: the journal says so."""
        known: dict[int, int] = {}
        for source, until in self.released:
            # An end is recorded a moment after its rows are there; until then, another process might fetch them anew.
            is_kept = self.is_settled(source) or until <= self.parts[source].record.rows_bytes
            if is_kept and until > known.get(source, 0):
                known[source] = until
        return known

    def check_readable(self) -> None:
        """Refuse to read rows that are gone.

        Raises:
            ConfigError: The job was discarded.
            ScopeError: The client was left.
        """
        if self.is_discarded:
            message = f"job {self.record.job_id} was discarded, and its rows with it"
            raise ConfigError(message, code="job.discarded")
        if self.closed_by is not None:  # the rows lay with the client
            raise self.closed_by.with_traceback(None)

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

    def ledger_of(self, source: int) -> Ledger:
        """Give the account that a release speaks of."""
        if source != REJECTS:
            return self.parts[source].ledger
        assert self.rejects is not None, "rows of a ledger that is not there"
        return self.rejects

    async def read(self, release: Release, offset: int) -> tuple[list[ProviderResultRow], int]:
        """Read rows that are final; see `Ledger.read`."""
        return await self._tools.runtime.offload(self.ledger_of(release.source).read, offset, release.until)

    async def pick(self, source: int, positions: Sequence[int]) -> list[ProviderResultRow]:
        """Read the rows of some requests that have their outcome."""
        return await self._tools.runtime.offload(self.ledger_of(source).pick, positions)

    async def retry(self, wanted: Wanted, provider: BaseBatchProvider) -> int:
        """Send requests of a job that is over again; gives how many.

        Raises:
            ConfigError: The job is not over, or the requests are not there any more. Nothing is sent.
        """
        if not self.is_over or any(part.is_stopped and not part.is_settled for part in self.parts):
            raise self._running("before some of it is sent again")
        found: list[tuple[Collecting, Sequence[int]]] = []
        for way in self._ways:
            sent = await self._tools.runtime.offload(worth_it, way.part.ledger, wanted)
            if sent:
                check_input(way.part.whole)
                found.append((way, sent))
        if found:
            self._shared.cancelled = anyio.Event()
            self._shared.owed.clear()  # what it will leave is recorded anew, and its end is told again
            self._use(provider)
        try:
            for way, sent in found:
                await way.again(sent, is_by_hand=True)
        finally:
            if found:
                self.renew()
        return sum(len(sent) for _, sent in found)

    async def tidy(self, cleanup: Cleanup, provider: BaseBatchProvider) -> Tidied:
        """Delete what the job left at the provider. Raises `ConfigError` while it is running."""
        if not self.is_over:
            raise self._running("before what it has at the provider is deleted")
        self._use(provider)
        done = [await way.tidy(cleanup) for way in self._ways]
        return Tidied(
            deleted=sum(item.deleted for item in done), errors=tuple(error for item in done for error in item.errors)
        )

    async def discard(self) -> None:
        """Give the disk space of rows and ids back.

        Raises:
            ConfigError: The job is not over.
        """
        if not self.is_over:
            raise self._running("before it is discarded")
        self.is_discarded = True
        for ledger in self.ledgers():
            await ledger.discard()
        for part in self.parts:
            for submission in (part.whole, part.submission):
                if submission.spool is not None:
                    await submission.spool.discard()
            if isinstance(part.whole.request_ids, RequestIds):
                await part.whole.request_ids.discard()

    def _running(self, before_what: str) -> ConfigError:
        message = f"job {self.record.job_id} is still running"
        return ConfigError(message, code="job.running", hint=f"wait for it, or cancel it, {before_what}")

    def close(self, error: BaseException) -> None:
        """Tell everybody who waits that the client was left."""
        self.closed_by = error
        self.changed.notify()

    def wake(self, batch_id: str | None = None) -> bool:
        """Ask now about one of its batches, or about all of them; False if none of them runs."""
        woken = [part.wake() for part in self.parts if batch_id in (None, part.record.provider_batch_id)]
        return any(woken)

    async def cancel(self) -> None:
        """Ask for the end: parts that were not sent are withdrawn, batches are cancelled at the provider."""
        self._shared.cancelled.set()  # at once, whatever the journal has to wait for
        self._tools.rooms.wake(self.record)
        failures = [error for way in self._ways if (error := await way.cancel()) is not None]
        if failures:
            raise failures[0]

    async def mark_cancelled(self) -> None:
        """Let the end be asked for by whoever drives the job."""
        self._shared.cancelled.set()
        self._tools.rooms.wake(self.record)
        for way in self._ways:
            await way.note_cancel()

    def _use(self, provider: BaseBatchProvider) -> None:
        """Send with this one: a job that is only read has none with a key."""
        self.provider = self._shared.provider = provider
        for way in self._ways:
            way.provider = provider

    def drives(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Give what takes each submission from where it stands to its end; each runs in a task of its own.

        Those in doubt come first: where creates go one by one, the next waits until a lost one is decided.
        """
        return [way.drive for way in sorted(self._ways, key=lambda way: not way.part.is_in_doubt)]
