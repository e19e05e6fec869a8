"""Memory of promises and spending: what was accepted, sent and answered. A durable one takes the same interface."""

import os
from pathlib import Path

from asyncbatch.journal.interface import Journal
from asyncbatch.journal.memory import MemoryJournal
from asyncbatch.journal.records import (
    Accepted,
    Confirmed,
    CreateIntended,
    CreateUnknown,
    Disowned,
    Ended,
    Event,
    Fenced,
    FenceIntended,
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
from asyncbatch.runtime import Runtime

MEMORY = "memory"


def journal_at(where: Journal | str | os.PathLike[str], runtime: Runtime) -> Journal:
    """Give the journal that is meant: one that exists, the one in a directory, or one in memory."""
    if isinstance(where, str | os.PathLike):
        if where == MEMORY:
            return MemoryJournal()
        from asyncbatch.journal.sqlite import SqliteJournal

        return SqliteJournal(Path(where), runtime)
    return where


__all__ = [
    "Accepted",
    "Confirmed",
    "CreateIntended",
    "CreateUnknown",
    "Disowned",
    "Ended",
    "Event",
    "FenceIntended",
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
    "journal_at",
]
