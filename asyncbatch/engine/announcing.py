"""What a client tells readers of its events: a submission has a batch, its answers are there, or it cannot go on."""

from asyncbatch.engine.part import Part
from asyncbatch.journal import Accepted, Event, Settled
from asyncbatch.watching.events import BatchFetched, BatchSubmitted, Feed, SubmissionFailed


def announce(feed: Feed, part: Part, event: Event, *, provider: str, job_id: str, at: float) -> None:
    """Tell of a step that the journal knows of."""
    if not feed.is_read or not isinstance(event, Accepted | Settled):
        return
    batch_id = part.record.provider_batch_id
    if batch_id is None:
        reason = str(part.error or part.record.reason or "it was withdrawn before it was sent")
        feed.tell(lambda: SubmissionFailed(at=at, provider=provider, job_id=job_id, reason=reason))
        return
    kind = BatchSubmitted if isinstance(event, Accepted) else BatchFetched
    feed.tell(lambda: kind(at=at, provider=provider, provider_batch_id=batch_id, job_id=job_id))


def announce_stop(feed: Feed, error: Exception, *, provider: str, job_id: str, at: float) -> None:
    """Tell that a submission stops before each of its requests has an outcome."""
    feed.tell(lambda: SubmissionFailed(at=at, provider=provider, job_id=job_id, reason=str(error)))
