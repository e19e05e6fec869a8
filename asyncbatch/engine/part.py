"""One submission of a job on its way: what is sent, what the journal knows, and how its requests ended."""

from collections.abc import Sequence

from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.ledger import Ledger
from asyncbatch.exceptions import SubmissionUnknownError
from asyncbatch.journal import SubmissionRecord, SubmissionState
from asyncbatch.poller import BatchHandle

_READ_WITHIN_S = 86_400.0
"""A batch may wait for a day before its input is read."""
_NO_BATCH = frozenset({SubmissionState.ENDED, SubmissionState.SETTLED})


class Part:
    """One submission of a job while it is on its way.

    Attributes:
        whole: All its requests; their input is given back once a batch has it, unless it may be wanted again.
        submission: What is sent: all of them, or those of the present round.
        sent: Positions of the requests of a later round, ascending; None in the first, which sends all.
        record: What the journal knows.
        note: What is going on, where a state does not say it.
        error: Why it has no batch, or why watching it cannot go on.
        handle: Its batch, while it is watched.
        ledger: How its requests ended; closed when each has an outcome.
        refusals: How often it was refused for now.
        refused_since: When that began, Unix seconds.
        unreached_since: Since when not even a connection came about, Unix seconds.
        losses: How many of its creates were lost and proved not to have arrived.
        is_uncancelled: Whether its cancel was refused, and has to be asked for again.
        is_woken: Whether its batch is to be asked about as soon as it is watched.
        is_reopening: Whether some of it is about to be sent again by hand, and its rows do not say so yet.
        is_verified: Whether the answers that were fetched last proved themselves whole.
        is_stopped: Whether a fault ended its way before every request had an outcome; `error` says which.
    """

    def __init__(self, submission: PreparedSubmission, record: SubmissionRecord, ledger: Ledger) -> None:
        self.whole = submission
        self.submission = submission
        self.sent: Sequence[int] | None = None
        self.record = record
        self.note: str | None = None
        self.error: BaseException | None = None
        self.handle: BatchHandle | None = None
        self.ledger = ledger
        self.refusals = 0
        self.refused_since: float | None = None
        self.unreached_since: float | None = None
        self.losses = 0
        self.is_uncancelled = False
        self.is_woken = False
        self.is_reopening = False
        self.is_verified = True
        self.is_stopped = False

    def wake(self) -> bool:
        """Ask about its batch now, or as soon as it is watched; False if it has none that runs."""
        if self.handle is not None:
            return self.handle.wake()
        self.is_woken = self.record.state is SubmissionState.SUBMITTED
        return self.is_woken

    def take(self, record: SubmissionRecord, error: BaseException | None) -> None:
        """Take what another process made of it."""
        self.record, self.error = record, error
        changes = {"tag": record.tag, "input_ref": record.input_ref, "input_expires_at": record.input_expires_at}
        self.submission = self.submission.replace(**changes)

    def begin_round(self, submission: PreparedSubmission, sent: Sequence[int]) -> None:
        """Send these requests alone from now on."""
        self.submission, self.sent = submission, sent
        self.error, self.handle, self.note = None, None, None
        self.refusals, self.losses = 0, 0
        self.refused_since, self.unreached_since = None, None
        self.is_uncancelled = False

    @property
    def is_fenced(self) -> bool:
        """Whether its batch was found only after its input had been deleted."""
        return self.record.is_fenced

    @property
    def is_sent(self) -> bool:
        """Whether it has a batch, or had one, or the certainty of having none."""
        return (
            bool(self.record.earlier)
            or self.record.provider_batch_id is not None
            or self.error is not None
            or self.record.state in _NO_BATCH
        )

    @property
    def is_certainly_unsent(self) -> bool:
        if self.record.state in (SubmissionState.CREATING, SubmissionState.CREATE_UNKNOWN) or self.record.earlier:
            return False
        return self.record.provider_batch_id is None and not isinstance(self.error, SubmissionUnknownError)

    def is_stale(self, now: float) -> bool:
        """Whether its uploaded input goes before a batch may have read it: one that waited long is uploaded anew."""
        expires_at = self.submission.input_expires_at
        is_uploaded = self.record.state is SubmissionState.UPLOADED
        return is_uploaded and expires_at is not None and now > expires_at - _READ_WITHIN_S

    @property
    def is_unsent(self) -> bool:
        """Whether a create may be sent for it."""
        return self.record.state in (SubmissionState.PLANNED, SubmissionState.UPLOADED)

    @property
    def is_lost(self) -> bool:
        """Whether a create of it was sent and nobody knows what became of it."""
        return self.record.state is SubmissionState.CREATE_UNKNOWN

    @property
    def is_in_doubt(self) -> bool:
        """Whether a create of it may have been sent by a process that is gone, and its answer is not known."""
        return self.record.state is SubmissionState.CREATING or self.is_lost

    @property
    def is_provisional(self) -> bool:
        """Whether its batch was found by time and count alone, and may be somebody else's."""
        return self.record.provider_batch_id is not None and not self.record.is_certain

    @property
    def is_settled(self) -> bool:
        return self.record.state is SubmissionState.SETTLED

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it here."""
        return self.is_settled or self.is_stopped
