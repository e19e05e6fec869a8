"""Memory of promises and spending: what was accepted, sent and answered. A durable one takes the same interface."""

import os
from pathlib import Path

from asyncbatch.exceptions import ConfigError
from asyncbatch.journal.interface import (
    CANCEL,
    OPEN_STATES,
    TELL,
    TIDY,
    WAKE,
    Allow,
    Journal,
    Opened,
    Payer,
    Wish,
    payer_of,
)
from asyncbatch.journal.memory import MemoryJournal
from asyncbatch.journal.records import (
    Accepted,
    CancelAsked,
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
    Retried,
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
HOME = "ASYNCBATCH_HOME"
"""The environment's word for the directory in which jobs are remembered."""
_PLACES = 'it is a directory, "memory", or None, which leaves it to the environment'


def journal_at(where: Journal | str | os.PathLike[str] | None, runtime: Runtime) -> Journal:
    """Give the journal that is meant: one that exists, the one in a directory, or one in memory; None leaves it to `HOME`."""
    if where == "":
        raise ConfigError("journal is empty", code="config.value", hint=_PLACES)
    if where is None:
        where = os.environ.get(HOME) or MEMORY
    if isinstance(where, str | os.PathLike):
        if where == MEMORY:
            return MemoryJournal()
        from asyncbatch.journal.sqlite import SqliteJournal

        return SqliteJournal(Path(where), runtime)
    if not hasattr(where, "accept"):
        raise ConfigError(f"journal is {where!r}", code="config.value", hint=_PLACES)
    return where


__all__ = [
    "CANCEL",
    "OPEN_STATES",
    "TELL",
    "TIDY",
    "WAKE",
    "Accepted",
    "Allow",
    "CancelAsked",
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
    "Opened",
    "Payer",
    "Refused",
    "Retried",
    "Settled",
    "SubmissionRecord",
    "SubmissionState",
    "UploadIntended",
    "Uploaded",
    "Voided",
    "Wish",
    "Withdrawn",
    "apply",
    "journal_at",
    "payer_of",
]
