"""The journal in memory: it lives as long as its client, and holds what a durable one would hold."""

import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from asyncbatch.exceptions import JournalError
from asyncbatch.journal.interface import OPEN_STATES, REPLAYED_S, Allow, Opened, Payer, Wish, payer_of
from asyncbatch.journal.records import Event, JobRecord, SubmissionRecord, SubmissionState, apply, known_of, spent_by
from asyncbatch.planning.budgets import DAY_S, Spent
from asyncbatch.planning.tidying import Known

_MOST_SEEN = 100_000
"""Webhooks that are remembered at once; the oldest go first."""


class MemoryJournal:
    """See `Journal`. Nobody else can see it, so whoever has it is the writer of every job."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._submissions: dict[str, list[SubmissionRecord]] = {}
        self._events: dict[tuple[str, int], list[Event]] = {}
        self._wishes: list[Wish] = []
        self._forgotten: deque[tuple[str | None, Spent]] = deque()
        self._seen: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._version = 0

    @property
    def is_shared(self) -> bool:
        return False

    async def open(self) -> None:
        """Nothing has to be opened."""

    async def close(self) -> None:
        """Nothing outlives it."""

    async def accept(self, job: JobRecord, submissions: Sequence[SubmissionRecord], allow: Allow | None = None) -> None:
        if job.job_id in self._jobs:
            raise JournalError(f"job {job.job_id} was accepted before", code="journal.job_exists")
        if job.key is not None and await self.job_of(job.key) is not None:
            raise JournalError(f"there is a job of the key {job.key!r} already", code="journal.key_exists")
        if allow is not None:
            allow(await self.spent(job.account, job.created_at - DAY_S))
        self._jobs[job.job_id] = job
        self._submissions[job.job_id] = list(submissions)
        self._version += 1

    async def make_place(self, job_id: str) -> Path | None:
        return self.place(job_id)

    async def claim(self, job_id: str) -> bool:
        self._check(job_id)
        return True

    async def release(self, job_id: str) -> None:
        """Nobody else could take it."""

    async def move(self, job_id: str, index: int, event: Event) -> SubmissionRecord:
        self._check(job_id)
        record = apply(self._submissions[job_id][index], event)
        self._submissions[job_id][index] = record
        self._events.setdefault((job_id, index), []).append(event)
        self._version += 1
        return record

    async def job(self, job_id: str) -> JobRecord | None:
        return self._jobs.get(job_id)

    async def job_of(self, key: str) -> JobRecord | None:
        return next((job for job in self._jobs.values() if job.key == key), None)

    async def jobs(self, *, unfinished: bool = False) -> tuple[JobRecord, ...]:
        found = sorted(self._jobs.values(), key=lambda job: job.created_at)
        return tuple(job for job in found if not (unfinished and self._is_finished(job.job_id)))

    async def submissions(self, job_id: str) -> tuple[SubmissionRecord, ...]:
        return tuple(self._submissions.get(job_id, ()))

    async def events(self, job_id: str, index: int) -> tuple[Event, ...]:
        return tuple(self._events.get((job_id, index), ()))

    async def forget(self, job_id: str) -> None:
        job, submissions = self._jobs.pop(job_id, None), self._submissions.pop(job_id, [])
        if job is not None:
            self._forgotten.append((job.account, spent_by(job, submissions)))
            while self._forgotten[0][1].at < job.created_at - DAY_S:
                self._forgotten.popleft()
        for index in range(len(submissions)):
            self._events.pop((job_id, index), None)
        self._wishes = [item for item in self._wishes if item.job_id != job_id]
        self._version += 1

    async def opened(self, payer: Payer) -> tuple[Opened, ...]:
        mine = (job for job in self._jobs.values() if payer_of(job) == payer)
        found = (Opened(job.job_id, job.model, item) for job in mine for item in self._submissions[job.job_id])
        return tuple(item for item in found if item.record.state in OPEN_STATES)

    async def unsettled(self, account: str | None) -> tuple[Opened, ...]:
        mine = (job for job in self._jobs.values() if job.account == account)
        found = (Opened(job.job_id, job.model, item) for job in mine for item in self._submissions[job.job_id])
        return tuple(item for item in found if item.record.state is not SubmissionState.SETTLED)

    async def spent(self, account: str | None, since: float) -> tuple[Spent, ...]:
        mine = (job for job in self._jobs.values() if job.account == account and job.created_at > since)
        kept = [spent_by(job, self._submissions[job.job_id]) for job in mine]
        return (*kept, *(item for whose, item in self._forgotten if whose == account and item.at > since))

    async def batches(self) -> frozenset[str]:
        records = [record for held in self._submissions.values() for record in held]
        present = (record.provider_batch_id for record in records if record.provider_batch_id and record.is_certain)
        return frozenset(present).union(*(record.earlier for record in records))

    async def job_of_batch(self, provider: str, batch_id: str) -> str | None:
        found = (job_id for job_id in reversed(self._jobs) if self._jobs[job_id].provider == provider)
        return next((job_id for job_id in found if self._has_batch(job_id, batch_id)), None)

    def _has_batch(self, job_id: str, batch_id: str) -> bool:
        return any(batch_id in (item.provider_batch_id, *item.earlier) for item in self._submissions[job_id])

    async def known(self) -> Known:
        events = itertools.chain.from_iterable(self._events.values())
        return known_of(events, (job_id for job_id in self._jobs if not self._is_finished(job_id)))

    async def strays(self) -> tuple[str, ...]:
        return ()

    async def wish(self, job_id: str, word: str) -> None:
        self._check(job_id)
        self._wishes.append(Wish(next(self._numbers), job_id, word))
        self._version += 1

    async def wishes(self) -> tuple[Wish, ...]:
        return tuple(self._wishes)

    async def grant(self, wish: Wish) -> None:
        self._wishes = [item for item in self._wishes if item.seq != wish.seq]
        self._version += 1

    async def saw(self, webhook_id: str, at: float) -> bool:
        for old in list(itertools.takewhile(lambda item: self._seen[item] < at - REPLAYED_S, self._seen)):
            del self._seen[old]
        if webhook_id in self._seen:
            return False
        if len(self._seen) >= _MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[webhook_id] = at
        self._version += 1
        return True

    async def version(self) -> int:
        return self._version

    def place(self, job_id: str) -> Path | None:
        del job_id
        return None

    def _check(self, job_id: str) -> None:
        if job_id not in self._jobs:
            raise JournalError(f"there is no job {job_id}", code="journal.no_job")

    def _is_finished(self, job_id: str) -> bool:
        return all(record.state is SubmissionState.SETTLED for record in self._submissions[job_id])
