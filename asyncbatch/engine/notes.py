"""What is said of a submission beside its state, from the journal alone."""

from collections.abc import Sequence

from asyncbatch.catalog import Catalog
from asyncbatch.engine.line import load_of
from asyncbatch.engine.own_limits import OwnLimits
from asyncbatch.journal import JobRecord, Journal, Opened, Payer, SubmissionRecord, SubmissionState, payer_of
from asyncbatch.planning.recovery import CHECKING, Recovery, time_left, window_of
from asyncbatch.planning.room import Load, Pool, Wait, may_send
from asyncbatch.planning.rounds import again_in
from asyncbatch.runtime import Runtime

_UNSENT = frozenset({SubmissionState.PLANNED, SubmissionState.UPLOADED})


class Notes:
    """What is said of submissions that nobody here drives.

    Args:
        catalog: Facts about providers.
        recovery: How a lost create is searched for.
        limits: What accounts may have open.
        journal: What they have open.
        runtime: The clock.
    """

    def __init__(
        self, catalog: Catalog, recovery: Recovery, limits: OwnLimits, journal: Journal, runtime: Runtime
    ) -> None:
        self._catalog = catalog
        self._recovery = recovery
        self._limits = limits
        self._journal = journal
        self._now = runtime.now()
        self._opened: dict[Payer, Sequence[Opened]] = {}

    async def read(self, record: JobRecord, submissions: Sequence[SubmissionRecord]) -> None:
        """Read what a job's account has open, if something of the job may wait for that."""
        payer = payer_of(record)
        if payer not in self._opened and any(item.state in _UNSENT for item in submissions):
            self._opened[payer] = await self._journal.opened(payer)

    def of(self, record: JobRecord, submission: SubmissionRecord) -> str | None:
        """Say what is going on with a submission where its state does not; `read` comes first."""
        note = note_of(self._catalog, self._recovery, self._now, record, submission)
        return self._room_of(record, submission) if note is None and submission.state in _UNSENT else note

    def _room_of(self, record: JobRecord, submission: SubmissionRecord) -> str | None:
        """Say why a submission is not sent, as far as the journal knows; what a refusal taught, only its process does."""
        facts = self._catalog.provider(record.provider) if record.provider in self._catalog.names() else None
        limits = self._limits.of_job(record, facts)
        everything, of_model = Load(), Load()
        for item in self._opened.get(payer_of(record), ()):
            everything = everything.plus(load_of(item.record))
            if item.model == record.model:
                of_model = of_model.plus(load_of(item.record))
        pools = Pool(open=everything, most=limits.account), Pool(of=record.model, open=of_model, most=limits.model)
        step = may_send(pools, load_of(submission), self._now)
        if isinstance(step, Wait):
            return step.why
        return f"refused for now: {submission.reason}" if submission.reason else None


def note_of(
    catalog: Catalog, recovery: Recovery, now: float, record: JobRecord, submission: SubmissionRecord
) -> str | None:
    """Say what is going on where the state does not: with a create that nobody knows of, with a round that waits."""
    left = (submission.not_before or 0.0) - now
    if submission.state is SubmissionState.PLANNED and left > 0:
        return again_in(submission.sent_count or 0, left)
    if submission.state is not SubmissionState.CREATE_UNKNOWN:
        return None
    facts = catalog.provider(record.provider) if record.provider in catalog.names() else None
    if facts is None or submission.intended_at is None:
        return CHECKING
    safety = (submission.is_inline and facts.inline_submit_safety) or facts.submit_safety
    return f"{CHECKING}{time_left(submission.intended_at + window_of(recovery, safety) - now)}"
