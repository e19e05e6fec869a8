"""What a journal does. Every change is safe when its call returns, as safe as this journal can make it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from asyncbatch.journal.records import Event, JobRecord, SubmissionRecord, SubmissionState
from asyncbatch.planning.budgets import Spent
from asyncbatch.planning.tidying import Known

CANCEL, TELL, TIDY, WAKE = "cancel", "tell", "tidy", "wake"

REPLAYED_S = 345_600.0
"""For how long a webhook is known again: four days. Senders repeat one for up to three, and an older copy is refused anyway."""


class Wish(NamedTuple):
    """What a process asks of the one that has a job.

    Attributes:
        seq: Its number.
        job_id: Whose job.
        word: What is asked for: `CANCEL`; `WAKE`, a colon and the name of a batch, to ask about it now; and of a job that is
            over, `TIDY`, to delete what it left at its provider, and `TELL`, to call the application's handlers of its end.
    """

    seq: int
    job_id: str
    word: str


class Opened(NamedTuple):
    """A submission that has a batch which is not over, or may have one.

    Attributes:
        job_id: Its job.
        model: The job's model.
        record: How it stands.
    """

    job_id: str
    model: str
    record: SubmissionRecord


class Payer(NamedTuple):
    """Whose key pays at a provider: a fingerprint, or where a provider has no facts, and so none, the account's name.

    Attributes:
        provider: Which one.
        fingerprint: Which key it is.
        account: Whose; None for the environment's, and where the fingerprint says it.
    """

    provider: str
    fingerprint: str
    account: str | None = None


def payer_of(job: JobRecord) -> Payer:
    """Say whose key a job was accepted with."""
    return Payer(job.provider, job.fingerprint, None if job.fingerprint else job.account)


OPEN_STATES = frozenset({SubmissionState.CREATING, SubmissionState.CREATE_UNKNOWN, SubmissionState.SUBMITTED})
"""In which a submission has a batch that is not over, or may have one."""

Allow: TypeAlias = Callable[[Sequence[Spent]], None]
"""Hears what jobs of an account have used within a day, and raises if another one must not be accepted."""


class Journal(Protocol):
    """The memory of jobs. Its coroutines may wait for a disk, and never hold the event loop.

    Of all processes that share a journal, at most one writes to a job: the one that accepted or claimed it. Everybody reads.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may see it, and ask something of us."""
        ...

    async def open(self) -> None:
        """Begin. Raises `JournalError` where there is nothing that could be trusted, and changes nothing then."""
        ...

    async def close(self) -> None:
        """End: what was recorded stays, and the jobs of this journal are anybody's. Harmless when repeated."""
        ...

    async def accept(self, job: JobRecord, submissions: Sequence[SubmissionRecord], allow: Allow | None = None) -> None:
        """Record a new job with everything it promises, and be its writer.

        `allow` hears what the account has used by then, and no other job is accepted between its answer and this one.

        Raises:
            JournalError: There is a job of this id (`journal.job_exists`) or of this key (`journal.key_exists`) already.
        """
        ...

    async def make_place(self, job_id: str) -> Path | None:
        """Make the place of a job that is about to be accepted, and hold it. Who does not accept it then calls `forget`."""
        ...

    async def claim(self, job_id: str) -> bool:
        """Become the writer of a job; False while another one is alive. Raises `JournalError` if there is no such job."""
        ...

    async def release(self, job_id: str) -> None:
        """Be its writer no longer; harmless when repeated."""
        ...

    async def move(self, job_id: str, index: int, event: Event) -> SubmissionRecord:
        """Record an event of a submission and give the record after it.

        Raises:
            JournalError: It cannot follow (`journal.illegal_move`), or this journal is not the job's writer, or is it no
                longer (`journal.not_writer`): nothing may be sent then.
        """
        ...

    async def job(self, job_id: str) -> JobRecord | None:
        """Give a job, None if nobody accepted it."""
        ...

    async def job_of(self, key: str) -> JobRecord | None:
        """Give the job of a caller's key."""
        ...

    async def jobs(self, *, unfinished: bool = False) -> tuple[JobRecord, ...]:
        """Give all jobs, oldest first, or those of which a submission is not settled."""
        ...

    async def submissions(self, job_id: str) -> tuple[SubmissionRecord, ...]:
        """Give the submissions of a job, in order."""
        ...

    async def events(self, job_id: str, index: int) -> tuple[Event, ...]:
        """Give everything that happened to a submission, in order."""
        ...

    async def forget(self, job_id: str) -> None:
        """Drop a job and the bodies in its place; harmless if there is none."""
        ...

    async def opened(self, payer: Payer) -> tuple[Opened, ...]:
        """Give what a payer has open, in whatever process."""
        ...

    async def unsettled(self, account: str | None) -> tuple[Opened, ...]:
        """Give the submissions of an account's jobs that are not settled, open or not."""
        ...

    async def spent(self, account: str | None, since: float) -> tuple[Spent, ...]:
        """Give what an account's jobs that were accepted later than this count for, those that were forgotten too."""
        ...

    async def batches(self) -> frozenset[str]:
        """Name every batch that is certainly some submission's."""
        ...

    async def job_of_batch(self, provider: str, batch_id: str) -> str | None:
        """Name the job that a provider's batch belongs to, or belonged to in an earlier round; None if it is nobody's here."""
        ...

    async def known(self) -> Known:
        """Give every mark, batch and upload of all jobs: what a provider shows beyond that is nobody's here."""
        ...

    async def strays(self) -> tuple[str, ...]:
        """Name the places of jobs that nobody accepted; `forget` removes those whose process is gone."""
        ...

    async def wish(self, job_id: str, word: str) -> None:
        """Ask something of whoever has a job, now or later. Raises `JournalError` if there is no such job."""
        ...

    async def wishes(self) -> tuple[Wish, ...]:
        """Give what is asked for, oldest first."""
        ...

    async def grant(self, wish: Wish) -> None:
        """Take a wish down that was done; harmless when repeated."""
        ...

    async def saw(self, webhook_id: str, at: float) -> bool:
        """Remember a webhook for `REPLAYED_S`; False if it was here before."""
        ...

    async def version(self) -> int:
        """Give a number that differs once anybody has changed anything."""
        ...

    def place(self, job_id: str) -> Path | None:
        """Give the directory for the large bodies of a job, private to us; None where they live as long as the client."""
        ...
