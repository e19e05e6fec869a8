"""What the journal knows about a job, and the events that change it: a pure fold, in which an illegal move is an error.

The first byte of a create may leave only after `CreateIntended` is recorded, and a submission has at most one attempt that may
have been accepted: those two moves are what keeps a crash from paying twice.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import msgspec

from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.planning.budgets import Spent
from asyncbatch.planning.marks import mark_of_job
from asyncbatch.planning.tidying import Known


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it was accepted. It names the account and which key it was, never the key.

    Attributes:
        key: The caller's own name for it: the same key with the same requests is the same job.
        digest: What was asked for, as a hash of requests, model, mode and options; "" where nobody asks.
        options: Further words of the caller's that a resumed job needs: how requests travel, metadata, unknown models.
        tokens: What it was estimated to use when it was accepted; 0 where no budget asked for that.
        usd: What it was estimated to cost; None where no budget asked for that.
    """

    job_id: str
    key: str | None = None
    digest: str = ""
    provider: str
    model: str
    mode: BatchMode
    endpoint: str
    account: str | None
    fingerprint: str
    created_at: float
    request_count: int
    rejected_count: int = 0
    options: dict[str, Any] = {}
    tokens: int = 0
    usd: float | None = None


class SubmissionState(StrEnum):
    """How far a submission has come."""

    PLANNED = "planned"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    CREATING = "creating"
    CREATE_UNKNOWN = "create_unknown"
    SUBMITTED = "submitted"
    ENDED = "ended"
    SETTLED = "settled"


class SubmissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One submission of a job, and its latest attempt.

    Attributes:
        index: Its chunk index.
        request_count: How many requests it has.
        first_row: Position of its first request among those of the job that were not refused.
        wire_prefix: What stands before the row number in the ids on the wire; None where the requests' own travel.
        input_name: The body that its input lies in, among those that are kept for the job.
        input_offset: Where its input begins there.
        input_bytes: Length of its input.
        is_inline: Whether its requests travel in the create itself.
        state: How far it has come.
        attempt: Creates so far.
        tag: The mark of the latest attempt.
        intended_at: When its create was intended, Unix seconds.
        input_ref: Its uploaded input.
        input_expires_at: When the provider deletes that, Unix seconds.
        is_fenced: Whether its input was deleted, or was about to be, to make a late create fail.
        provider_batch_id: The batch it became.
        is_certain: Whether that batch can only be ours; one found by time and count is confirmed when its answers come.
        strangers: Batches that looked like it, and whose answers showed that they are somebody else's.
        vanished: Why nobody can say any more that no create of it arrived: a batch that may have been it was deleted.
        end: How the batch ended.
        ending: Why it has no batch: `refused`, `refused_for_now` (it may be sent again later), `indeterminate`, `withdrawn`.
        outcomes: How many of its requests ended how, once it is settled; between two rounds, those that are not sent again.
        reason: Why it was refused, or why nobody knows.
        round: How often some of its requests were sent again, in a batch of their own.
        tries: Rounds since the job was accepted; 0 once somebody has asked for one by hand, after which none follows by itself.
        sent_count: How many requests the present round has; None for all of them.
        rows_bytes: How much of its rows on disk was whole when the present round began.
        earlier: The batches of earlier rounds, whose answers are held.
        not_before: When the present round may be sent, Unix seconds.
        is_cancelled: Whether its end was asked for.
        turned_away: How often its batch failed because there was no room for it, before anything of it ran.
        turned_away_since: When that began, Unix seconds.
        usage: Tokens of its answers in all rounds, once it is settled: what went in, of that from a cache, what came out.
    """

    index: int
    request_count: int
    first_row: int = 0
    wire_prefix: str | None = None
    input_name: str = ""
    input_offset: int = 0
    input_bytes: int = 0
    is_inline: bool = False
    state: SubmissionState = SubmissionState.PLANNED
    attempt: int = 0
    tag: str | None = None
    intended_at: float | None = None
    input_ref: str | None = None
    input_expires_at: float | None = None
    is_fenced: bool = False
    provider_batch_id: str | None = None
    is_certain: bool = True
    strangers: tuple[str, ...] = ()
    vanished: str | None = None
    end: BatchStatus | None = None
    ending: str | None = None
    reason: str | None = None
    outcomes: dict[str, int] = {}
    round: int = 0
    tries: int = 1
    sent_count: int | None = None
    rows_bytes: int = 0
    earlier: tuple[str, ...] = ()
    not_before: float | None = None
    is_cancelled: bool = False
    turned_away: int = 0
    turned_away_since: float | None = None
    usage: tuple[int, int, int] | None = None


Changes: TypeAlias = dict[str, Any]
_S = SubmissionState


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened to a submission: from which states it can follow, and what it changes."""

    AFTER: ClassVar[frozenset[SubmissionState]] = frozenset()

    def changes(self, record: SubmissionRecord) -> Changes:
        """Give the fields of the record that differ afterwards."""
        raise AssertionError(f"{type(self).__name__} on {record}: every event says what it changes")


class UploadIntended(Event, frozen=True, kw_only=True, tag=True):
    """The input is about to be uploaded."""

    AFTER = frozenset({_S.PLANNED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.UPLOADING}


class Uploaded(Event, frozen=True, kw_only=True, tag=True):
    """The input lies at the provider."""

    AFTER = frozenset({_S.UPLOADING})
    input_ref: str | None
    expires_at: float | None = None

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.UPLOADED, "input_ref": self.input_ref, "input_expires_at": self.expires_at}


class CreateIntended(Event, frozen=True, kw_only=True, tag=True):
    """A create is about to be sent, with this mark on it."""

    AFTER = frozenset({_S.UPLOADED})
    mark: str
    at: float

    def changes(self, record: SubmissionRecord) -> Changes:
        attempt = record.attempt + 1
        return {"state": _S.CREATING, "attempt": attempt, "tag": self.mark, "intended_at": self.at, "reason": None}


class Accepted(Event, frozen=True, kw_only=True, tag=True):
    """The create became a batch, or a lost one was found again."""

    AFTER = frozenset({_S.CREATING, _S.CREATE_UNKNOWN})
    provider_batch_id: str
    is_certain: bool = True

    def changes(self, record: SubmissionRecord) -> Changes:
        found = {"provider_batch_id": self.provider_batch_id, "is_certain": self.is_certain}
        return {"state": _S.SUBMITTED, **found, "reason": None}


class Confirmed(Event, frozen=True, kw_only=True, tag=True):
    """The ids of its answers show that the batch is ours."""

    AFTER = frozenset({_S.SUBMITTED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"is_certain": True}


class Disowned(Event, frozen=True, kw_only=True, tag=True):
    """The ids of its answers show that the batch is somebody else's: what became of our create is unknown again."""

    AFTER = frozenset({_S.SUBMITTED})
    vanished: str | None = None
    """Why its answers will never show whose it was; it may have been ours."""

    def changes(self, record: SubmissionRecord) -> Changes:
        other = (record.provider_batch_id,) if record.provider_batch_id else ()
        unknown = {"state": _S.CREATE_UNKNOWN, "provider_batch_id": None, "is_certain": True}
        return {**unknown, "strangers": record.strangers + other, "vanished": self.vanished or record.vanished}


class Refused(Event, frozen=True, kw_only=True, tag=True):
    """The create, or the upload before it, was refused; nothing was accepted. Final: it will not be tried again."""

    AFTER = frozenset({_S.PLANNED, _S.UPLOADING, _S.UPLOADED, _S.CREATING})
    why: str
    is_final: bool
    is_lasting: bool = True
    """Final: whether the provider refuses for good, or was only out of reach for longer than we wait."""

    def changes(self, record: SubmissionRecord) -> Changes:
        if self.is_final:
            ending = "refused" if self.is_lasting else "refused_for_now"
            return {"state": _S.ENDED, "reason": self.why, "ending": ending}
        # The upload stands: only a create that was refused goes back to it.
        return {"state": _S.UPLOADED if record.state is _S.CREATING else _S.PLANNED, "reason": self.why}


class CreateUnknown(Event, frozen=True, kw_only=True, tag=True):
    """Nobody can say yet whether the create was accepted."""

    AFTER = frozenset({_S.CREATING})
    why: str

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.CREATE_UNKNOWN, "reason": self.why}


class FenceIntended(Event, frozen=True, kw_only=True, tag=True):
    """The input is about to be deleted, so that a late create fails: a batch that is found after this may run nothing."""

    AFTER = frozenset({_S.CREATE_UNKNOWN})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"is_fenced": True}


class Fenced(Event, frozen=True, kw_only=True, tag=True):
    """The attempt is proved not to have been accepted, and cannot be any more; the submission may be sent anew."""

    AFTER = frozenset({_S.CREATE_UNKNOWN})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.PLANNED, "input_ref": None, "input_expires_at": None, "is_fenced": False}


class Indeterminate(Event, frozen=True, kw_only=True, tag=True):
    """Nobody will be able to say."""

    AFTER = frozenset({_S.CREATE_UNKNOWN})
    why: str

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "reason": self.why, "ending": "indeterminate"}


class Withdrawn(Event, frozen=True, kw_only=True, tag=True):
    """It was cancelled before its create was sent."""

    AFTER = frozenset({_S.PLANNED, _S.UPLOADING, _S.UPLOADED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "reason": "cancelled before it was sent", "ending": "withdrawn"}


class Voided(Event, frozen=True, kw_only=True, tag=True):
    """The batch is over and ran nothing: our own fence took its input away, or there was no room for it.

    The submission may be sent anew.
    """

    AFTER = frozenset({_S.SUBMITTED})
    why: str | None = None
    """In the provider's words, that there was no room."""
    at: float | None = None
    """When that was, Unix seconds."""

    def changes(self, record: SubmissionRecord) -> Changes:
        again: Changes = {"state": _S.PLANNED, "provider_batch_id": None, "input_ref": None, "input_expires_at": None}
        if self.why is not None:
            since = self.at if record.turned_away_since is None else record.turned_away_since
            again |= {"reason": self.why, "turned_away": record.turned_away + 1, "turned_away_since": since}
        return again | {"is_fenced": False}


class Ended(Event, frozen=True, kw_only=True, tag=True):
    """The batch is over."""

    AFTER = frozenset({_S.SUBMITTED})
    status: BatchStatus

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "end": self.status}


class Settled(Event, frozen=True, kw_only=True, tag=True):
    """Every request of it has its outcome."""

    AFTER = frozenset({_S.ENDED})
    outcomes: dict[str, int] = {}
    usage: tuple[int, int, int] | None = None

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.SETTLED, "outcomes": self.outcomes, "usage": self.usage}


class Retried(Event, frozen=True, kw_only=True, tag=True):
    """Some of its requests go into another batch. The outcomes of the others are held, and theirs, should it not be sent."""

    AFTER = frozenset({_S.ENDED, _S.SETTLED})
    requests: int
    rows_bytes: int
    outcomes: dict[str, int] = {}
    not_before: float | None = None
    is_by_hand: bool = False

    def changes(self, record: SubmissionRecord) -> Changes:
        over = (record.provider_batch_id,) if record.provider_batch_id else ()
        tries = (
            0 if self.is_by_hand else record.tries + 1
        )  # what somebody asked for is done, and nothing follows by itself
        now = {"sent_count": self.requests, "rows_bytes": self.rows_bytes, "outcomes": self.outcomes}
        again = {"state": _S.PLANNED, "round": record.round + 1, "tries": tries, "not_before": self.not_before}
        # A cancel that came while an automatic round was prepared still holds.
        asked = {"is_cancelled": record.is_cancelled and not self.is_by_hand}
        return again | now | {"earlier": record.earlier + over} | _FRESH | asked


_FRESH: Changes = {
    "tag": None,
    "intended_at": None,
    "input_ref": None,
    "input_expires_at": None,
    "is_fenced": False,
    "provider_batch_id": None,
    "is_certain": True,
    "vanished": None,
    "end": None,
    "ending": None,
    "reason": None,
    "is_cancelled": False,
    "turned_away": 0,
    "turned_away_since": None,
}
"""What a submission that begins again does not take along from the round before."""


class CancelAsked(Event, frozen=True, kw_only=True, tag=True):
    """Its end was asked for: whoever has the job, now or after a crash, sends nothing more and asks the provider."""

    AFTER = frozenset(_S) - {_S.SETTLED}

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"is_cancelled": True}


def apply(record: SubmissionRecord, event: Event) -> SubmissionRecord:
    """Give the record after the event.

    Raises:
        JournalError: The event does not follow from this state; nothing changes.
    """
    if record.state not in event.AFTER:
        what = f"submission {record.index} is {record.state.value}"
        raise JournalError(f"{what}; {type(event).__name__} cannot follow", code="journal.illegal_move")
    return msgspec.structs.replace(record, **event.changes(record))


def spent_by(job: JobRecord, submissions: Iterable[SubmissionRecord]) -> Spent:
    """Say what a job counts for: what its answers were counted with, and what was estimated for what has none yet."""
    usage, unsettled, total = (0, 0, 0), 0, 0
    for item in submissions:
        total += item.request_count
        if item.usage is not None:
            usage = (usage[0] + item.usage[0], usage[1] + item.usage[1], usage[2] + item.usage[2])
        if item.state is not SubmissionState.SETTLED:
            unsettled += item.request_count
    share = unsettled / total if total else 0.0
    return Spent(
        at=job.created_at,
        provider=job.provider,
        model=job.model,
        requests=job.request_count - job.rejected_count,
        tokens=round(job.tokens * share),
        usd=None if job.usd is None else job.usd * share,
        usage=usage,
    )


def known_of(events: Iterable[Event], open_jobs: Iterable[str]) -> Known:
    """Gather what we ever had at providers from all that happened; `open_jobs` are the ids of jobs that are not over."""
    tags, batches, inputs = set[str](), set[str](), set[str]()
    for event in events:
        if isinstance(event, CreateIntended):
            tags.add(event.mark)
        elif isinstance(event, Accepted):
            batches.add(event.provider_batch_id)
        elif isinstance(event, Uploaded) and event.input_ref is not None:
            inputs.add(event.input_ref)
    return Known(
        tags=frozenset(tags),
        batches=frozenset(batches),
        inputs=frozenset(inputs),
        open_jobs=frozenset(map(mark_of_job, open_jobs)),
    )
