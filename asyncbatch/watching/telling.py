"""What is told of a batch that is watched; without a reader nothing is made."""

from typing import Any

from asyncbatch.dto import ProviderStatus
from asyncbatch.planning.breaker import BreakerState
from asyncbatch.watching.events import (
    AccountChanged,
    BatchEnded,
    BatchGivenUp,
    BatchOverdue,
    BatchProgressed,
    BatchUnreadable,
    Feed,
)
from asyncbatch.watching.handle import BatchHandle


def tell_reading(feed: Feed, handle: BatchHandle, before: ProviderStatus | None, at: float) -> None:
    """Tell of a batch that stands elsewhere than before."""
    now = handle.last
    if now is None:
        return
    kind = BatchEnded if now.status.is_terminal else BatchProgressed
    if before is None or before.status is not now.status or before.progress != now.progress:
        feed.tell(lambda: kind(at=at, status=now.status, progress=now.progress, **_names(handle)))


def tell_overdue(feed: Feed, handle: BatchHandle, promised_at: float, at: float) -> None:
    feed.tell(lambda: BatchOverdue(at=at, promised_at=promised_at, **_names(handle)))


def tell_unreadable(feed: Feed, handle: BatchHandle, error: BaseException, at: float) -> None:
    feed.tell(lambda: BatchUnreadable(at=at, reason=str(error), **_names(handle)))


def tell_given_up(feed: Feed, handle: BatchHandle, error: BaseException, at: float) -> None:
    feed.tell(lambda: BatchGivenUp(at=at, reason=str(error), **_names(handle)))


def tell_account(feed: Feed, provider: str, state: BreakerState, at: float) -> None:
    feed.tell(lambda: AccountChanged(at=at, provider=provider, state=state))


def _names(handle: BatchHandle) -> dict[str, Any]:
    return {
        "provider": handle.provider.PROVIDER_NAME,
        "provider_batch_id": handle.provider_batch_id,
        "job_id": handle.job_id,
    }
