"""One job on its way: a task for each submission takes it from planned to settled, and whoever waits hears of each step."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, UsageInfo
from asyncbatch.engine.collecting import Collecting
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.part import Part
from asyncbatch.engine.steps import Shared
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.journal import JobRecord
from asyncbatch.request_ids import RequestIds
from asyncbatch.runtime import Signal


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
        closed = (part.ledger for part in parts if part.is_settled)
        self.settled: list[Ledger] = [*([rejects] if rejects is not None else []), *closed]
        self.closed_by: BaseException | None = None
        self.cancelled = anyio.Event()
        self.is_discarded = False
        self._tools = tools
        shared = Shared(
            record=record,
            provider=provider,
            tools=tools,
            changed=self.changed,
            cancelled=self.cancelled,
            settled=self.settled,
            place=tools.journal.place(record.job_id),
        )
        self._ways = [Collecting(shared, part) for part in self.parts]

    @property
    def is_sent(self) -> bool:
        return all(part.is_sent for part in self.parts)

    @property
    def is_over(self) -> bool:
        return all(part.is_over for part in self.parts)

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was left out of requests because the provider cannot express it; each part knows it of the whole job."""
        return next((part.submission.dropped for part in self.parts), dict[str, int]())

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
        failures = [error for way in self._ways if (error := await way.cancel_batch()) is not None]
        if failures:
            raise failures[0]

    def drives(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Give what takes each submission from where it stands to its end; each runs in a task of its own.

        Those in doubt come first: where creates go one by one, the next waits until a lost one is decided.
        """
        return [way.drive for way in sorted(self._ways, key=lambda way: not way.part.is_in_doubt)]
