"""Memory of promises and spending: what was accepted, sent and answered. A durable one takes the same interface."""

from asyncbatch.journal.interface import Journal
from asyncbatch.journal.memory import MemoryJournal
from asyncbatch.journal.records import (
    Accepted,
    CreateIntended,
    CreateUnknown,
    Ended,
    Event,
    Fenced,
    Indeterminate,
    JobRecord,
    Refused,
    Settled,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Voided,
    Withdrawn,
    apply,
)

__all__ = [
    "Accepted",
    "CreateIntended",
    "CreateUnknown",
    "Ended",
    "Event",
    "Fenced",
    "Indeterminate",
    "JobRecord",
    "Journal",
    "MemoryJournal",
    "Refused",
    "Settled",
    "SubmissionRecord",
    "SubmissionState",
    "UploadIntended",
    "Uploaded",
    "Voided",
    "Withdrawn",
    "apply",
]
