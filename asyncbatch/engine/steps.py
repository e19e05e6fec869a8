"""What the steps of one submission share: the job it belongs to, its tools, and the journal's word for each step."""

import logging
from pathlib import Path

import anyio
import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.part import Part
from asyncbatch.engine.tools import Tools
from asyncbatch.journal import Event, JobRecord, SubmissionState
from asyncbatch.runtime import Signal

_log = logging.getLogger("asyncbatch.engine")


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all submissions of a job share.

    Attributes:
        record: The job, as it was accepted.
        provider: Where it goes.
        tools: What all jobs of the client share.
        changed: Heard by whoever waits for the job.
        cancelled: Set when the job's end was asked for.
        settled: Accounts that are closed, in the order of their closing.
        place: Where bodies lie that outlive the process; None where nothing does.
    """

    record: JobRecord
    provider: BaseBatchProvider
    tools: Tools
    changed: Signal
    cancelled: anyio.Event
    settled: list[Ledger]
    place: Path | None = None


class Steps:
    """One submission on its way."""

    def __init__(self, shared: Shared, part: Part) -> None:
        self.shared = shared
        self.part = part
        self.provider = shared.provider
        self.tools = shared.tools

    async def _move(self, event: Event) -> None:
        self.part.record = await self.tools.journal.move(self.shared.record.job_id, self.part.record.index, event)
        self.shared.changed.notify()

    def _tell(self, note: str | None) -> None:
        self.part.note = note
        self.shared.changed.notify()

    async def cancel_batch(self) -> Exception | None:
        """Ask for the end of a part's batch, if it has one that runs; a refusal ends neither the others nor the watch."""
        batch_id = self.part.record.provider_batch_id
        if batch_id is None or self.part.record.state is not SubmissionState.SUBMITTED:
            return None
        if self.part.is_provisional:
            self._tell("may be somebody else's batch, so it is not cancelled")
            return None
        try:
            await self.provider.cancel(batch_id)
        except Exception as error:  # noqa: BLE001 whatever it is, the batch is watched on, and the cancel asked for again
            _log.warning("cancelling batch %s: %s; it is asked for again", batch_id, error)
            self.part.is_uncancelled = True
            return error
        self.part.is_uncancelled = False
        return None
