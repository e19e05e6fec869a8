"""What is said of a submission beside its state, from the journal alone."""

from asyncbatch.catalog import Catalog
from asyncbatch.journal import JobRecord, SubmissionRecord, SubmissionState
from asyncbatch.planning.recovery import CHECKING, Recovery, time_left, window_of
from asyncbatch.planning.rounds import again_in


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
