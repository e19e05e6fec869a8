"""The closed sets: what a batch does, where it stands, how a request ended, how safe a create is."""

from enum import StrEnum
from typing import Literal, TypeAlias


class BatchMode(StrEnum):
    """What the requests of a batch ask for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    CUSTOM = "custom"
    """The body is sent as it is, to the endpoint that the caller names."""


class InputMode(StrEnum):
    """How the requests of a batch travel."""

    FILE = "file"
    """In a file that is uploaded before the create."""
    INLINE = "inline"
    """In the create itself."""


InputChoice: TypeAlias = Literal["auto", "file", "inline"]
"""What a caller may ask for: `auto` is the provider's usual way, and inline for few requests where it says so."""

OnUnsupported: TypeAlias = Literal["error", "drop"]
"""What becomes of a request that asks for what the provider cannot express: it is refused by name, or sent without it."""


class BatchStatus(StrEnum):
    """Where a batch stands, in one vocabulary for every provider.

    That a batch is over, how it ended and where its answers lie are three separate facts: expired and cancelled batches
    have answers too, and a completed one may have none.
    """

    VALIDATING = "validating"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A word that we do not know. It is not terminal: a paid batch is never given up over a new word."""

    @property
    def is_terminal(self) -> bool:
        """Whether the provider will do no more work on the batch."""
        return self in _TERMINAL


# A tuple: a set would ask each status for its hash, which an enum computes in Python.
_TERMINAL = (BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)


class ResultStatus(StrEnum):
    """How one request ended. Every request of a job ends in exactly one of these."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    """The provider answered with an error."""
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MISSING = "missing"
    """The batch is over and no answer came."""
    REJECTED = "rejected"
    """Refused by us before anything was sent."""
    UNDECODABLE = "undecodable"
    """An answer that cannot be read; its raw bytes are kept."""
    CONFLICT = "conflict"
    """Two different answers to one request; both are kept."""
    INDETERMINATE = "indeterminate"
    """Nobody can say whether the request was sent."""

    @property
    def is_success(self) -> bool:
        """Whether the request has the answer it asked for."""
        return self is ResultStatus.SUCCEEDED


class SubmitSafety(StrEnum):
    """How surely a create whose answer was lost can be found again; strongest first."""

    IDEMPOTENT = "idempotent"
    """The server takes our key: send again."""
    NAMED = "named"
    """We choose the batch's name: ask for it."""
    TAGGED_FENCED = "tagged_fenced"
    """Our mark can be listed, and a late create can be made to fail."""
    TAGGED = "tagged"
    """Our mark can be listed."""
    INFERRED = "inferred"
    """No mark: candidates by time and count."""
    NONE = "none"
    """Only a human can tell."""


class ErrorClass(StrEnum):
    """What an error of a provider means for the work behind it."""

    TRANSIENT = "transient"
    """The same call may be made again."""
    PERMANENT = "permanent"
    """The same call will fail again; a human has to act."""
    LATER = "later"
    """This batch is dead, but the same work may be submitted again later (a full queue)."""
