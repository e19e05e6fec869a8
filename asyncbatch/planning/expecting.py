"""When a batch is likely to end: learnt from its own counts, and from how long others of the account took.

An expectation only makes us ask more often near the end; a wrong one costs a few questions and delays nothing.
"""

import msgspec

from asyncbatch.dto import Progress, ProviderStatus

OVERDUE_SLACK_S = 900.0
"""Past the promised end by this much, a batch is overdue: a service that ends it on the minute says so a little later."""

_SHARE = 0.05
"""Of a batch has to be done between two readings before its speed is believed."""
_KNOWN = 3
"""Batches of an account that have to end before their durations say something about the next."""
_WEIGHT = 0.2
"""Of the newest duration in the average, once there are a few."""


class Sight(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A batch's count of requests that are done, and when it was read, Unix seconds."""

    done: int
    at: float


class History(msgspec.Struct, frozen=True, kw_only=True):
    """How long batches of an account took: exponential averages, whatever their number.

    Attributes:
        ended: Batches that were seen to end.
        mean_s: Seconds from creation to end.
        spread_s: How far a batch is from that.
    """

    ended: int = 0
    mean_s: float = 0.0
    spread_s: float = 0.0


def learn(history: History, took_s: float) -> History:
    """Take the duration of one more batch into account."""
    weight = max(1 / (history.ended + 1), _WEIGHT)
    mean_s = history.mean_s + weight * (took_s - history.mean_s)
    off_s = abs(took_s - history.mean_s) if history.ended else 0.0
    spread_s = history.spread_s + weight * (off_s - history.spread_s)
    return History(ended=history.ended + 1, mean_s=mean_s, spread_s=spread_s)


def first_sight(sight: Sight | None, progress: Progress, now: float) -> Sight | None:
    """Give where the counts of a batch were first seen to move; None while they do not, or tell nothing."""
    if sight is not None or not progress.total or not progress.done:
        return sight
    return Sight(done=progress.done, at=now)


def left_s(history: History, sight: Sight | None, progress: Progress, age_s: float, now: float) -> float | None:
    """Give the seconds to the expected end, negative once it has passed; None where nothing is known.

    Counts that move say it better than the durations of other batches; durations that differ widely say nothing.
    """
    done = progress.done - sight.done if sight is not None else 0
    if sight is not None and done > 0 and now > sight.at and done >= _SHARE * progress.total:
        return max(progress.total - progress.done, 0) * (now - sight.at) / done
    if history.ended < _KNOWN or history.spread_s > history.mean_s / 2:
        return None
    return history.mean_s - age_s


def overdue_at(status: ProviderStatus | None, since: float, window_s: float | None) -> float | None:
    """Give when a batch is past what its provider promised, Unix seconds; None where nothing is promised.

    Args:
        status: The latest reading, if there is one.
        since: From when on it is watched.
        window_s: Seconds the provider gives itself for a batch.
    """
    if status is not None and status.expires_at is not None:
        return status.expires_at + OVERDUE_SLACK_S
    if window_s is None:
        return None
    created_at = status.created_at if status is not None else None
    return (since if created_at is None else created_at) + window_s + OVERDUE_SLACK_S
