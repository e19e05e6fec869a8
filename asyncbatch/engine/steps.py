"""What the steps of one submission share: the job it belongs to, its tools, and the journal's word for each step."""

import logging
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.engine.announcing import announce
from asyncbatch.engine.line import Key
from asyncbatch.engine.part import Part
from asyncbatch.engine.rooms import Room
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import UNCANCELLABLE, JournalError
from asyncbatch.journal import CancelAsked, Event, JobRecord, SubmissionState
from asyncbatch.planning.rounds import Wanted
from asyncbatch.planning.tidying import Cleanup
from asyncbatch.runtime import Signal

_log = logging.getLogger("asyncbatch.engine")

_ON_ITS_WAY = frozenset({SubmissionState.UPLOADING, SubmissionState.UPLOADED})


class Release(NamedTuple):
    """Rows that are final and may be handed out.

    Attributes:
        source: Whose: the index of a submission, -1 for those that were refused before anything was sent.
        until: How much of their file is final.
    """

    source: int
    until: int


class Shared(msgspec.Struct, kw_only=True):
    """What all submissions of a job share.

    Attributes:
        record: The job, as it was accepted.
        provider: Where it goes.
        tools: What all jobs of the client share.
        changed: Heard by whoever waits for the job.
        cancelled: Set when the job's end was asked for.
        released: Rows that are final, in the order in which they became so.
        wanted: Which requests are sent again once a batch is over; None where none are.
        max_attempts: How often a request is sent at most.
        notifies: Whether the application's handlers hear of the end of the job.
        owed: What the journal says that has to be done once the job is over: `TIDY`, `TELL`.
        is_untidy: Whether something could not be deleted.
        cleanup: What is deleted at the provider once a submission is settled.
        place: Where bodies lie that outlive the process; None where nothing does.
    """

    record: JobRecord
    provider: BaseBatchProvider
    tools: Tools
    changed: Signal
    cancelled: anyio.Event
    released: list[Release]
    wanted: Wanted | None = None
    max_attempts: int = 1
    cleanup: Cleanup = "never"
    notifies: bool = False
    owed: set[str] = msgspec.field(default_factory=set[str])
    is_untidy: bool = False
    place: Path | None = None


class Steps:
    """One submission on its way."""

    def __init__(self, shared: Shared, part: Part) -> None:
        self.shared = shared
        self.part = part
        self.provider = shared.provider
        self.tools = shared.tools

    @property
    def room(self) -> Room:
        """The room of whoever pays for it."""
        return self.tools.rooms.of(self.shared.record, self.provider)

    @property
    def key(self) -> Key:
        return self.shared.record.job_id, self.part.record.index

    async def _move(self, event: Event) -> None:
        tools, job_id = self.tools, self.shared.record.job_id
        self.part.record = await tools.journal.move(job_id, self.part.record.index, event)
        if self.part.record.state not in _ON_ITS_WAY:  # there, it keeps the room that it was let into
            self.room.account_for(self.shared.record, self.part.record)
        self.shared.changed.notify()
        name = self.provider.PROVIDER_NAME
        announce(tools.poller.feed, self.part, event, provider=name, job_id=job_id, at=tools.runtime.now())

    def _tell(self, note: str | None) -> None:
        self.part.note = note
        self.shared.changed.notify()

    async def cancel(self) -> Exception | None:
        """Ask for the end of a part, whatever becomes of this process; a refusal ends neither the others nor the watch."""
        try:
            await self.note_cancel()
        except JournalError as error:
            return await self.cancel_batch() or error
        return await self.cancel_batch()

    async def note_cancel(self) -> None:
        """Record that the end was asked for."""
        if self.part.is_over or self.part.record.is_cancelled:
            return
        try:
            await self._move(CancelAsked())
        except JournalError as error:
            if error.code != "journal.illegal_move":  # it has just come to its end by itself
                raise

    async def cancel_batch(self) -> Exception | None:
        """Ask for the end of a part's batch, if it has one that runs; a refusal ends neither the others nor the watch."""
        batch_id = self.part.record.provider_batch_id
        if batch_id is None or self.part.record.state is not SubmissionState.SUBMITTED:
            return None
        if self.part.is_provisional:
            self._tell("may be somebody else's batch, so it is not cancelled")
            return None
        try:
            status = (await self.provider.cancel(batch_id)).status
        except Exception as error:  # noqa: BLE001 whatever it is, the batch is watched on, and the cancel asked for again
            self.part.is_uncancelled = getattr(error, "code", None) != UNCANCELLABLE
            if not self.part.is_uncancelled:
                self._tell("goes on to its end: its provider cancels nothing")
                return error
            _log.warning("cancelling batch %s: %s; it is asked for again", batch_id, error)
            return error
        # One that was told that it is too late for that, or whose batch goes on, is asked again at the next reading.
        self.part.is_uncancelled = not (status.is_terminal or status is BatchStatus.CANCELLING)
        return None
