"""What a journal does. Every change is safe when its call returns, as safe as this journal can make it."""

from collections.abc import Sequence
from typing import Protocol

from asyncbatch.journal.records import Event, JobRecord, SubmissionRecord


class Journal(Protocol):
    """The memory of jobs. All methods are coroutines: a durable journal writes to disk, and never on the event loop."""

    async def accept(self, job: JobRecord, submissions: Sequence[SubmissionRecord]) -> None:
        """Record a new job with everything it promises."""
        ...

    async def move(self, job_id: str, index: int, event: Event) -> SubmissionRecord:
        """Record an event of a submission and give the record after it; `JournalError` if it cannot follow."""
        ...

    async def job(self, job_id: str) -> JobRecord | None:
        """Give a job, None if nobody accepted it."""
        ...

    async def submissions(self, job_id: str) -> tuple[SubmissionRecord, ...]:
        """Give the submissions of a job, in order."""
        ...

    async def events(self, job_id: str, index: int) -> tuple[Event, ...]:
        """Give everything that happened to a submission, in order."""
        ...

    async def forget(self, job_id: str) -> None:
        """Drop a job; harmless if there is none."""
        ...
