"""The provider of one process: the library's contract on this side, the service on the other, and a bad wire between them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec

from asyncbatch import (
    BaseBatchProvider,
    Match,
    PreparedSubmission,
    ProviderError,
    ProviderPermanentError,
    ProviderStatus,
    ProviderSubmitResult,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.base_provider import IntakeRules
from asyncbatch.codec.requests import EncodedRow
from asyncbatch.dto import ProviderResultRow
from asyncbatch.enums import BatchMode, ErrorClass
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.planning.recovery import WINDOWS_S
from tests.simulation.fates import Fate
from tests.simulation.process import DeadError, now
from tests.simulation.service import SKEW_S, Batch, Order

LATEST_S = WINDOWS_S[SubmitSafety.INFERRED] + SKEW_S
MARKED = (SubmitSafety.TAGGED_FENCED, SubmitSafety.TAGGED)


def encode_row(request: Any, wire_id: str) -> EncodedRow:
    return EncodedRow(msgspec.json.encode([wire_id, request.body["messages"][-1]["content"]]) + b"\n")


class SimulatedProvider(BaseBatchProvider):
    """Bound to a process and a world by `bound`."""

    PROVIDER_NAME = "sim"
    process: Any
    world: Any
    has_facts = True  # it has an account, so that the journal knows who pays
    account = SimpleNamespace(fingerprint="key-1")
    poll_floor_s = 0.0
    window_s = None
    list_page_size = 20
    is_list_whole = True

    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        return model == "m"

    def mode_for(self, model: str, mode: Any = None, endpoint: str | None = None) -> BatchMode:
        return BatchMode.CHAT

    def submit_safety(self, submission: PreparedSubmission | None = None) -> SubmitSafety:
        return self.world.safety

    def classify_error(self, code: str | None) -> ErrorClass:
        return ErrorClass.PERMANENT

    async def prepare_payloads(self, *, batch_id: Any, model: str, mode: Any, requests: Any, **_: Any) -> Any:
        limits = ChunkLimits(rows=self.world.chunk_rows, file_bytes=None)
        prefix = f"{self.runtime.nonce(8)}-"
        rules = IntakeRules(mode=mode, encode=encode_row, limits=limits, wire_prefix=prefix)
        return await self.cut(requests, rules, batch_id=batch_id, model=model, endpoint="/sim")

    # Sending.

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        if self.world.safety is not SubmitSafety.TAGGED_FENCED:
            return submission
        lines = lines_of(submission)
        fate = await self._sent("upload", submission)
        name = self.world.service.upload(lines) if fate.arrives else None
        await self._answered("upload", fate)
        return submission.replace(input_ref=name)

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        world, lines = self.world, lines_of(submission)
        self.process.step("create", "before")
        self._note_breach("create", submission)
        fate = world.fates.of_create(may_double=world.safety in MARKED)
        order = Order(
            lines=lines,
            tag=submission.tag,
            input_ref=submission.input_ref,
            sent_at=now(),
            sender=self.process.number,
            round=self.process.journal.rounds(submission),
        )
        sent = _Sent(order, fate, world)
        self.process.step("create", "sent")
        await self.process.sleep(fate.answers_after)
        self.process.step("create", "answered")
        return sent.answer()

    async def submit(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        return await self.create(await self.upload(submission))

    async def fence(self, submission: PreparedSubmission) -> bool:
        if submission.input_ref is None:
            return False
        fate = await self._sent("fence", submission)
        if fate.arrives:
            self.world.service.delete(submission.input_ref)
        await self._answered("fence", fate)
        return True

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        fate = await self._sent("list")
        found = [self._match(batch, submission, since) for batch in self.world.service.listed()]
        await self._answered("list", fate)
        return [match for match in found if match is not None]

    def _match(self, batch: Batch, submission: PreparedSubmission, since: float) -> Match | None:
        status = batch.status_at(now())
        if self.world.safety in MARKED:
            is_tag = batch.tag == submission.tag
            is_ours = is_tag or (submission.input_ref is not None and batch.input_ref == submission.input_ref)
            why, is_certain = ("tag" if is_tag else "input"), True
        else:
            rows = self.world.service.rows_of(batch) if batch.is_over(now() - batch.late_s) else []
            is_ours = not rows or _owns(submission, rows[0].request_id)
            why, is_certain = ("ids", True) if rows else ("time_and_count", False)
        if self.world.safety not in MARKED:
            is_ours &= since - SKEW_S <= batch.created_at <= since + LATEST_S
            is_ours &= len(batch.lines) == submission.request_count
        if not is_ours:
            return None
        return Match(provider_batch_id=batch.name, why=why, is_certain=is_certain, status=status)

    # Watching.

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        fate = await self._sent("poll")
        batch = self._batch(provider_batch_id)
        status = batch.status_at(now())
        await self._answered("poll", fate)
        if not status.status.is_terminal:
            batch.seen.append((self.process.number, now()))
        return status

    async def fetch_results(self, provider_batch_id: str) -> Any:
        fate = await self._sent("fetch")
        batch = self._batch(provider_batch_id)
        ended_at, _ = batch.ends
        await self._answered("fetch", fate)
        if now() < ended_at + batch.late_s:
            raise ProviderTransientError("its answers are not there yet", provider="sim", code="not_ended")
        rows = self.world.service.rows_of(batch)
        if batch.cuts:
            batch.cuts -= 1
            for row in rows[: len(rows) // 2]:
                yield row
            raise ProviderTransientError("the download broke off", provider="sim")
        for row in (*rows, *rows[:1], stray()):  # a row twice, and one of somebody else's
            yield row

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        fate = await self._sent("cancel")
        self.world.service.batches[provider_batch_id].is_asked_to_end = True
        batch = self._batch(provider_batch_id)
        if fate.arrives and batch.cancelled_at is None and not batch.is_over(now()):
            batch.cancelled_at = now() + 5.0
        await self._answered("cancel", fate)
        return batch.status_at(now())

    def _batch(self, name: str) -> Batch:
        batch = self.world.service.batches[name]
        if batch.is_lost_from_sight(now()):
            raise ProviderPermanentError(f"no batch {name}", provider="sim", status=404)
        return batch

    # The wire.

    async def _sent(self, kind: str, submission: PreparedSubmission | None = None) -> Fate:
        self.process.step(kind, "before")
        if submission is not None:
            self._note_breach(kind, submission)
        fate = self.world.fates.of_call(kind)
        await self.process.sleep(fate.arrives_after)
        return fate

    async def _answered(self, kind: str, fate: Fate) -> None:
        self.process.step(kind, "sent")
        await self.process.sleep(fate.answers_after)
        self.process.step(kind, "answered")
        fate.raise_error()

    def _note_breach(self, what: str, submission: PreparedSubmission) -> None:
        """Look into the journal at the moment at which something leaves: it has to permit it by then."""
        who, journal = f"process {self.process.number}", self.process.journal
        if not journal.is_writer(submission.batch_id.hex):
            self.world.service.breaches.append(f"{who} is not the job's writer, and sends: {what}")
        if what == "create" and not journal.intends(submission.tag):
            self.world.service.breaches.append(f"{who} sends a create without an intent: {submission.tag}")


class _Sent:
    """A create on its way: it arrives whatever becomes of whoever sent it."""

    def __init__(self, order: Order, fate: Fate, world: Any) -> None:
        self.order, self.fate = order, fate
        self.service = world.service
        self.batch: Batch | None = None
        if fate.leaves:
            self.service.orders.append(order)
        for _ in range(fate.copies):
            asyncio.get_running_loop().call_later(fate.arrives_after, self._arrive)

    def _arrive(self) -> None:
        self.batch = self.service.arrive(self.order, lag_s=0.0 if self.fate.copies > 1 else None) or self.batch

    def answer(self) -> ProviderSubmitResult:
        self.order.is_unwanted = self.fate.is_final
        self.order.is_answered = self.fate.is_refusal or (self.fate.error is None and self.batch is not None)
        self.fate.raise_error()
        if self.batch is None:
            raise SubmissionUnknownError("it was answered with nothing that is known", provider="sim")
        return ProviderSubmitResult(provider_batch_id=self.batch.name)


def lines_of(submission: PreparedSubmission) -> tuple[tuple[str, str], ...]:
    view: Any = submission.spool
    return tuple((wire_id, text) for wire_id, text in map(msgspec.json.decode, view.read().splitlines()))


def _owns(submission: PreparedSubmission, wire_id: str) -> bool:
    prefix, _, number = wire_id.rpartition("-")
    first, span = submission.first_row, submission.row_span or submission.request_count
    return f"{prefix}-" == submission.wire_prefix and first <= int(number) < first + span


def stray() -> ProviderResultRow:
    return ProviderResultRow(request_id="somebody-else-0000000", status=ResultStatus.SUCCEEDED, body=msgspec.Raw(b"{}"))


def bound(process: Any, world: Any) -> type[SimulatedProvider]:
    """Give the provider class of one process; a mistake of its own ends the world, and is not taken for one of the wire."""
    calls = {name: _told(world, getattr(SimulatedProvider, name)) for name in CALLS}
    return type("SimulatedProvider", (SimulatedProvider,), {"process": process, "world": world, **calls})


CALLS = ("upload", "create", "fence", "find_submissions", "poll_status", "cancel")


def _told(world: Any, call: Any) -> Any:
    async def told(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await call(self, *args, **options)
        except (ProviderError, DeadError):
            raise
        except Exception as error:
            world.faults.append(f"the simulation itself: {error!r}")
            raise

    return told
