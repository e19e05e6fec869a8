"""Who waits for room in an account: one line for each job, and whose turn it is among them."""

from collections.abc import Iterator
from heapq import heappop, heappush

import anyio

from asyncbatch.engine.part import Part
from asyncbatch.journal import JobRecord, SubmissionRecord
from asyncbatch.planning.limits import Limits
from asyncbatch.planning.room import Load, Turn, estimate_tokens
from asyncbatch.runtime import Signal

Key = tuple[str, int]
"""A submission: its job, and its index there."""


def load_of(record: SubmissionRecord) -> Load:
    """Say what the batch of a submission adds to what is open; a later round is a share of it."""
    requests = record.request_count if record.sent_count is None else record.sent_count
    size = record.input_bytes * requests // record.request_count if record.request_count else 0
    return Load(batches=1, requests=requests, tokens=estimate_tokens(size, requests))


class Waiter:
    """A submission that wants room.

    Args:
        job: Its job.
        part: It; its note says why it waits.
        changed: Hears of that.
        cancelled: Set when the job's end was asked for.
        limits: What its account may have open.
    """

    def __init__(self, job: JobRecord, part: Part, changed: Signal, cancelled: anyio.Event, limits: Limits) -> None:
        self.key: Key = (job.job_id, part.record.index)
        self.turn = Turn(job.created_at, job.job_id)
        self.model = job.model
        self.load = load_of(part.record)
        self.limits = limits
        self.turned_away = part.record.reason if part.record.turned_away else None
        self.is_admitted = False
        self._part = part
        self._changed = changed
        self._cancelled = cancelled
        self.woken = anyio.Event()
        """Set once something may have changed for it; then there is another one."""

    @property
    def whose_tokens(self) -> str | None:
        """What its tokens count for: its model, or None for all of the account."""
        return self.model if "enqueued_tokens" in self.limits.by_model else None

    @property
    def is_waiting(self) -> bool:
        """Whether it neither has room nor has lost its reason to want some."""
        return not self.is_admitted and not self._cancelled.is_set()

    def wake(self) -> None:
        event, self.woken = self.woken, anyio.Event()
        event.set()

    def tell(self, why: str | None) -> bool:
        """Say why it waits; gives whether that is news."""
        is_news = self._part.note != why
        self._part.note = why
        return is_news

    def notify(self) -> None:
        """Let whoever watches the job hear what was told."""
        self._changed.notify()


class _JobLine:
    """Those of one job, in the order of their indexes."""

    def __init__(self) -> None:
        self.waiters: dict[int, Waiter] = {}
        self.why: str | None = None
        self._indexes: list[int] = []

    def add(self, waiter: Waiter) -> None:
        self.waiters[waiter.key[1]] = waiter
        heappush(self._indexes, waiter.key[1])

    def head(self) -> Waiter | None:
        while self._indexes:
            waiter = self.waiters.get(self._indexes[0])
            if waiter is not None and not waiter.is_admitted:
                return waiter
            heappop(self._indexes)
        return None


class Line:
    """All who wait in one room."""

    def __init__(self) -> None:
        self._jobs: dict[str, _JobLine] = {}

    def __len__(self) -> int:
        """How many jobs there are."""
        return len(self._jobs)

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __iter__(self) -> Iterator[Waiter]:
        return (waiter for job in self._jobs.values() for waiter in list(job.waiters.values()))

    def of_job(self, job_id: str) -> list[Waiter]:
        """Give those of one job."""
        return list(self._jobs[job_id].waiters.values()) if job_id in self._jobs else []

    def add(self, waiter: Waiter) -> None:
        """Take one in; of a job that waits by now, it is told the same as the others."""
        job = self._jobs.setdefault(waiter.turn.job_id, _JobLine())
        job.add(waiter)
        if job.why is not None and waiter.tell(job.why):
            waiter.notify()

    def remove(self, waiter: Waiter) -> None:
        job = self._jobs.get(waiter.turn.job_id)
        if job is not None:
            job.waiters.pop(waiter.key[1], None)
            if not job.waiters:
                del self._jobs[waiter.turn.job_id]

    def heads(self) -> dict[Turn, Waiter]:
        """Give the first of each job that still wants room."""
        found = (job.head() for job in self._jobs.values())
        return {waiter.turn: waiter for waiter in found if waiter is not None}

    def head_of(self, job_id: str) -> Waiter | None:
        """Give the first of one job."""
        return self._jobs[job_id].head()

    def is_told(self, job_id: str) -> bool:
        """Whether those of a job know why they wait: another one of it changes nothing for them."""
        return job_id in self._jobs and self._jobs[job_id].why is not None

    def tell(self, job_id: str, why: str) -> None:
        """Say to all of a job why they wait, unless they know."""
        job = self._jobs[job_id]
        if job.why == why:
            return
        job.why = why
        news = [waiter for waiter in job.waiters.values() if not waiter.is_admitted and waiter.tell(why)]
        if news:
            news[0].notify()
