"""A model of a batch service: files, batches with a life of their own, a list that lags, and a history of what was paid."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from asyncbatch import BatchStatus, Progress, ProviderResultRow, ProviderStatus, ResultStatus, RowError
from tests.simulation.process import now

EXPIRES_S = 3 * 3600.0
SKEW_S = 300.0
LAG_S = 85.0
"""The list shows a batch at most so long after its create."""


class File(msgspec.Struct, kw_only=True):
    """An uploaded input."""

    lines: tuple[tuple[str, str], ...]
    deleted_at: float | None = None


class Batch(msgspec.Struct, kw_only=True):
    """A batch at the service.

    Attributes:
        lines: Wire id and prompt of each request.
        shown_at: From when on the list has it.
        read_at: When its input is read; a file that is gone by then makes it fail.
        runs_s: How long it runs, if nobody ends it.
        late_s: How long after its end its answers cannot be had yet.
        flaps: Spans in which nobody seems to know it.
        cuts: How many downloads break off in the middle.
        round: How often its requests had been sent before, by the journal, when its create left.
        is_asked_to_end: Whether somebody sent a cancel for it, wherever that ended.
        seen: Who was told that it runs, and when.
    """

    name: str
    lines: tuple[tuple[str, str], ...]
    created_at: float
    shown_at: float
    read_at: float
    runs_s: float
    late_s: float = 0.0
    flaps: tuple[tuple[float, float], ...] = ()
    cuts: int = 0
    round: int = 0
    tag: str | None = None
    input_ref: str | None = None
    file: File | None = None
    cancelled_at: float | None = None
    is_strangers: bool = False
    is_asked_to_end: bool = False
    seen: list[tuple[int, float]] = msgspec.field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether its input was gone before it could be read."""
        return self.file is not None and self.file.deleted_at is not None and self.file.deleted_at <= self.read_at

    @property
    def is_paid(self) -> bool:
        return not self.has_failed

    @property
    def ends(self) -> tuple[float, BatchStatus]:
        if self.has_failed:
            return self.read_at, BatchStatus.FAILED
        done_at, expires_at = self.read_at + self.runs_s, self.created_at + EXPIRES_S
        if self.cancelled_at is not None and self.cancelled_at < min(done_at, expires_at):
            return max(self.cancelled_at, self.read_at), BatchStatus.CANCELLED
        return (done_at, BatchStatus.COMPLETED) if done_at <= expires_at else (expires_at, BatchStatus.EXPIRED)

    def is_over(self, at: float) -> bool:
        return at >= self.ends[0]

    def is_lost_from_sight(self, at: float) -> bool:
        return any(begin <= at < end for begin, end in self.flaps)

    def answered(self) -> int:
        """How many of its requests ran before its end."""
        ended_at, status = self.ends
        if status is BatchStatus.COMPLETED:
            return len(self.lines)
        if status is BatchStatus.FAILED:
            return 0
        return min(len(self.lines), int(len(self.lines) * (ended_at - self.read_at) / self.runs_s))

    def status_at(self, at: float) -> ProviderStatus:
        ended_at, end = self.ends
        running = BatchStatus.VALIDATING if at < self.read_at else BatchStatus.IN_PROGRESS
        status = end if at >= ended_at else running
        done = self.answered() if at >= ended_at else 0
        return ProviderStatus(
            provider_batch_id=self.name,
            status=status,
            raw_status=status.value,
            progress=Progress(total=len(self.lines), completed=done),
            created_at=self.created_at,
        )


class Answers:
    """What the service answers to each request: the same in every world of a seed, whatever happens in it.

    Args:
        seed: Of the world.
        forgets: How likely it is to forget one.
        passing: How likely a request is to meet with an error that passes, if it is sent often enough.
    """

    def __init__(self, seed: int, forgets: float, passing: float) -> None:
        self._seed = seed
        self._forgets = forgets
        self._passing = passing
        self._kinds: dict[tuple[str, int], ProviderResultRow | None] = {}

    def to(self, prompt: str, nth: int) -> ProviderResultRow | None:
        """Give the answer to a request that was sent so often before, without an id; None where the service forgets it."""
        if (prompt, nth) not in self._kinds:
            self._kinds[prompt, nth] = self._made(prompt, nth, random.Random(f"{self._seed}/{prompt}"))
        return self._kinds[prompt, nth]

    def _made(self, prompt: str, nth: int, dice: random.Random) -> ProviderResultRow | None:
        luck, number = dice.random(), dice.random()
        fails, forgotten = dice.choice((1, 1, 2, 5)), dice.choice((1, 9))
        body = msgspec.Raw(msgspec.json.encode({"to": prompt, "n": number, "nth": nth}))
        if luck < self._forgets:
            return None if nth < forgotten else _succeeded(body)
        if luck < self._forgets + 0.08:
            return _errored(body, "bad_luck", is_passing=False)
        if luck < self._forgets + 0.08 + self._passing and nth < fails:
            return _errored(body, "overloaded", is_passing=True)
        return _succeeded(body)


def _succeeded(body: msgspec.Raw) -> ProviderResultRow:
    return ProviderResultRow(request_id="", status=ResultStatus.SUCCEEDED, body=body)


def _errored(body: msgspec.Raw, code: str, *, is_passing: bool) -> ProviderResultRow:
    error = RowError(code=code, message="it did not work out", retryable=is_passing)
    return ProviderResultRow(request_id="", status=ResultStatus.ERRORED, body=body, error=error)


class Order(msgspec.Struct, kw_only=True):
    """A create that has left a process, and what became of it.

    Attributes:
        sender: The number of that process.
        round: How often its requests were sent before, as the journal had it when the create left.
        is_answered: Whether the process was told for certain whether it was accepted.
        is_unwanted: Whether it was told that it never will be.
        copies: How often it was accepted.
    """

    lines: tuple[tuple[str, str], ...]
    tag: str | None
    input_ref: str | None
    sent_at: float
    sender: int
    round: int = 0
    is_answered: bool = False
    is_unwanted: bool = False
    copies: int = 0


class Service:
    """What lies at the provider, of everybody who shares the account.

    Args:
        names_all: Whether results name the requests that never ran, too.
        overruns: How likely a batch is not to end before it expires, if nobody cancels it.
    """

    def __init__(
        self, answers: Answers, dice: random.Random, *, is_kind: bool, names_all: bool, overruns: float
    ) -> None:
        self.answers = answers
        self.dice = dice
        self.is_kind = is_kind
        self.names_all = names_all
        self.overruns = overruns
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.orders: list[Order] = []
        self.breaches: list[str] = []

    # Files.

    def upload(self, lines: tuple[tuple[str, str], ...]) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = File(lines=lines)
        return name

    def delete(self, name: str) -> None:
        file = self.files[name]
        file.deleted_at = now() if file.deleted_at is None else file.deleted_at

    # Batches.

    def arrive(self, order: Order, *, lag_s: float | None = None) -> Batch | None:
        """Take a create that has arrived; None if it is refused because its input is gone."""
        file = self.files[order.input_ref] if order.input_ref is not None else None
        if file is not None and file.deleted_at is not None and self.dice.random() < 0.5:
            return None
        batch = self.take(order.lines, lag_s=lag_s)
        batch.tag, batch.input_ref, batch.file, batch.round = order.tag, order.input_ref, file, order.round
        if file is not None:
            batch.read_at += self.dice.choice((0.0, 1.0, 60.0, 400.0))
        order.copies += 1
        return batch

    def take(self, lines: tuple[tuple[str, str], ...], *, lag_s: float | None = None) -> Batch:
        dice, at = self.dice, now()
        runs_s = dice.choice((5.0, 60.0, 600.0, 1800.0, 2 * 3600.0))
        batch = Batch(
            name=f"batch-{len(self.batches) + 1}", lines=lines, created_at=at, shown_at=at, read_at=at, runs_s=runs_s
        )
        if not self.is_kind:
            batch.shown_at += (
                lag_s if lag_s is not None else dice.choice((0.0, dice.uniform(0.0, LAG_S), dice.uniform(60.0, LAG_S)))
            )
            batch.runs_s = runs_s if dice.random() >= self.overruns else EXPIRES_S * dice.uniform(0.5, 3.0)
            batch.late_s = dice.choice((0.0, 0.0, dice.uniform(0.0, 600.0)))
            batch.flaps = tuple((start, start + dice.uniform(1.0, 900.0)) for start in self._flaps(at))
            batch.cuts = dice.choice((0, 0, 1, 3))
        self.batches[batch.name] = batch
        return batch

    def _flaps(self, at: float) -> Sequence[float]:
        """Lost from sight right after its create, some time later, or never: each span is shorter than our patience."""
        return self.dice.choice(((), (), (at,), (at + self.dice.uniform(1000.0, 6000.0),)))

    def listed(self) -> list[Batch]:
        at = now()
        return [batch for batch in self.batches.values() if batch.shown_at <= at]

    def rows_of(self, batch: Batch) -> list[ProviderResultRow]:
        """Give what lies in the results of a batch that is over, by the ids that travelled."""
        done, end = batch.answered(), batch.ends[1]
        rows = []
        for index, (wire_id, prompt) in enumerate(batch.lines):
            answer = self.answers.to(prompt, batch.round)
            if index < done and answer is not None:
                rows.append(msgspec.structs.replace(answer, request_id=wire_id))
            elif end in _NEVER_RAN and index >= done and (self.names_all or index % 2):
                error = RowError(code=end.value, message="it never ran", retryable=end is BatchStatus.EXPIRED)
                rows.append(ProviderResultRow(request_id=wire_id, status=_NEVER_RAN[end], error=error))
        return rows

    def outcome_of(self, batch: Batch, prompt: str) -> tuple[ResultStatus, bytes]:
        """Say how a request of a batch has to end, and with which bytes."""
        answer = self._answer_of(batch, prompt)
        if answer is not None:
            return answer.status, bytes(answer.body)
        return _NEVER_RAN.get(batch.ends[1], ResultStatus.MISSING), b""

    def may_pass(self, batch: Batch, prompt: str) -> bool:
        """Say whether a request of a batch ended in a way that may pass."""
        answer = self._answer_of(batch, prompt)
        if answer is None:
            return batch.ends[1] is not BatchStatus.CANCELLED
        return answer.error is not None and answer.error.retryable

    def _answer_of(self, batch: Batch, prompt: str) -> ProviderResultRow | None:
        index = [text for _, text in batch.lines].index(prompt)
        return self.answers.to(prompt, batch.round) if index < batch.answered() else None

    def paid(self, prompt: str) -> list[Batch]:
        """Give the batches that were paid for this request."""
        return [batch for batch in self.batches.values() if batch.is_paid and _has(batch, prompt)]

    def orders_of(self, prompt: str) -> list[Order]:
        return [order for order in self.orders if _has(order, prompt)]


def _has(what: Batch | Order, prompt: str) -> bool:
    return any(text == prompt for _, text in what.lines)


_NEVER_RAN: dict[Any, ResultStatus] = {
    BatchStatus.EXPIRED: ResultStatus.EXPIRED,
    BatchStatus.CANCELLED: ResultStatus.CANCELLED,
}
