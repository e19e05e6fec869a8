"""What the journal knows about a job, and the events that change it: a pure fold, in which an illegal move is an error.

The first byte of a create may leave only after `CreateIntended` is recorded, and a submission has at most one attempt that may
have been accepted: those two moves are what keeps a crash from paying twice.
"""

from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import msgspec

from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.exceptions import JournalError


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it was accepted. It names the account and which key it was, never the key."""

    job_id: str
    provider: str
    model: str
    mode: BatchMode
    endpoint: str
    account: str | None
    fingerprint: str
    created_at: float
    request_count: int
    rejected_count: int = 0


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
        input_bytes: Length of its input.
        state: How far it has come.
        attempt: Creates so far.
        tag: The mark of the latest attempt.
        intended_at: When its create was intended, Unix seconds.
        input_ref: Its uploaded input.
        provider_batch_id: The batch it became.
        end: How the batch ended.
        reason: Why it was refused, or why nobody knows.
    """

    index: int
    request_count: int
    first_row: int = 0
    wire_prefix: str | None = None
    input_bytes: int = 0
    state: SubmissionState = SubmissionState.PLANNED
    attempt: int = 0
    tag: str | None = None
    intended_at: float | None = None
    input_ref: str | None = None
    provider_batch_id: str | None = None
    end: BatchStatus | None = None
    reason: str | None = None


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

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.UPLOADED, "input_ref": self.input_ref}


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

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.SUBMITTED, "provider_batch_id": self.provider_batch_id, "reason": None}


class Refused(Event, frozen=True, kw_only=True, tag=True):
    """The create, or the upload before it, was refused; nothing was accepted. Final: it will not be tried again."""

    AFTER = frozenset({_S.PLANNED, _S.UPLOADING, _S.UPLOADED, _S.CREATING})
    why: str
    is_final: bool

    def changes(self, record: SubmissionRecord) -> Changes:
        if self.is_final:
            return {"state": _S.ENDED, "reason": self.why}
        # The upload stands: only a create that was refused goes back to it.
        return {"state": _S.UPLOADED if record.state is _S.CREATING else _S.PLANNED, "reason": self.why}


class CreateUnknown(Event, frozen=True, kw_only=True, tag=True):
    """Nobody can say yet whether the create was accepted."""

    AFTER = frozenset({_S.CREATING})
    why: str

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.CREATE_UNKNOWN, "reason": self.why}


class Fenced(Event, frozen=True, kw_only=True, tag=True):
    """The attempt is proved not to have been accepted, and cannot be any more; the submission may be sent anew."""

    AFTER = frozenset({_S.CREATE_UNKNOWN})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.PLANNED, "input_ref": None}


class Indeterminate(Event, frozen=True, kw_only=True, tag=True):
    """Nobody will be able to say."""

    AFTER = frozenset({_S.CREATE_UNKNOWN})
    why: str

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "reason": self.why}


class Withdrawn(Event, frozen=True, kw_only=True, tag=True):
    """It was cancelled before its create was sent."""

    AFTER = frozenset({_S.PLANNED, _S.UPLOADING, _S.UPLOADED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "reason": "cancelled before it was sent"}


class Voided(Event, frozen=True, kw_only=True, tag=True):
    """The batch ran nothing because our own fence took its input away; the submission may be sent anew."""

    AFTER = frozenset({_S.SUBMITTED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.PLANNED, "provider_batch_id": None, "input_ref": None}


class Ended(Event, frozen=True, kw_only=True, tag=True):
    """The batch is over."""

    AFTER = frozenset({_S.SUBMITTED})
    status: BatchStatus

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.ENDED, "end": self.status}


class Settled(Event, frozen=True, kw_only=True, tag=True):
    """Every request of it has its outcome."""

    AFTER = frozenset({_S.ENDED})

    def changes(self, record: SubmissionRecord) -> Changes:
        return {"state": _S.SETTLED}


def apply(record: SubmissionRecord, event: Event) -> SubmissionRecord:
    """Give the record after the event.

    Raises:
        JournalError: The event does not follow from this state; nothing changes.
    """
    if record.state not in event.AFTER:
        what = f"submission {record.index} is {record.state.value}"
        raise JournalError(f"{what}; {type(event).__name__} cannot follow", code="journal.illegal_move")
    return msgspec.structs.replace(record, **event.changes(record))
