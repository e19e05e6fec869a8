"""The journal in memory: it lives as long as its client, and holds what a durable one would hold."""

from collections.abc import Sequence

from asyncbatch.exceptions import JournalError
from asyncbatch.journal.records import Event, JobRecord, SubmissionRecord, apply


class MemoryJournal:
    """See `Journal`."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._submissions: dict[str, list[SubmissionRecord]] = {}
        self._events: dict[tuple[str, int], list[Event]] = {}

    async def accept(self, job: JobRecord, submissions: Sequence[SubmissionRecord]) -> None:
        if job.job_id in self._jobs:
            raise JournalError(f"job {job.job_id} was accepted before", code="journal.job_exists")
        self._jobs[job.job_id] = job
        self._submissions[job.job_id] = list(submissions)

    async def move(self, job_id: str, index: int, event: Event) -> SubmissionRecord:
        if job_id not in self._jobs:
            raise JournalError(f"there is no job {job_id}", code="journal.no_job")
        record = apply(self._submissions[job_id][index], event)
        self._submissions[job_id][index] = record
        self._events.setdefault((job_id, index), []).append(event)
        return record

    async def job(self, job_id: str) -> JobRecord | None:
        return self._jobs.get(job_id)

    async def submissions(self, job_id: str) -> tuple[SubmissionRecord, ...]:
        return tuple(self._submissions.get(job_id, ()))

    async def events(self, job_id: str, index: int) -> tuple[Event, ...]:
        return tuple(self._events.get((job_id, index), ()))

    async def forget(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        for index in range(len(self._submissions.pop(job_id, []))):
            self._events.pop((job_id, index), None)
