"""Whether to make a call again, and when: full jitter, the server's own wish, and a budget against storms.

Only calls that may be repeated come here. A create never does: what its answer proves is decided in `planning/create.py`.
"""

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

import msgspec

MAX_RETRY_AFTER_S = 3600.0
"""A server may ask us to wait an hour at most; beyond that the value is taken for a mistake and cut."""


_MAX_LEAD_S = 86400.0
"""A server whose clock is behind ours by more than a day is taken for one that has none."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long a call that may be repeated is tried.

    Attributes:
        attempts: Tries in all, the first included.
        base_s: The first wait is drawn from 0 to this many seconds; each further one from twice as many.
        cap_s: No wait is drawn from more than this.
        patience_s: A wait that the server asks for beyond this ends the tries: the error carries it instead.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 30.0
    patience_s: float = 120.0


def next_delay(policy: Retry, tried: int, u: float, retry_after: float | None = None) -> float | None:
    """Give the seconds to wait before the next try; None to give up.

    Args:
        policy: The limits.
        tried: Tries made so far, at least 1.
        u: A random number in [0, 1).
        retry_after: What the server asked for.
    """
    if tried >= policy.attempts:
        return None
    # Beyond 64 doublings the power only threatens to overflow: every sensible wait has long reached its cap.
    jittered = u * min(policy.cap_s, policy.base_s * 2.0 ** min(tried - 1, 64))
    if retry_after is None:
        return jittered
    # A little spread above the server's figure: many clients that were told the same second would return in it together.
    return retry_after + jittered * 0.1 if retry_after <= policy.patience_s else None


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a submission that is refused for now is tried again: a full queue, a limit on creates, an outage.

    Attributes:
        base_s: The first wait is drawn from 0 to this many seconds; each further one from twice as many.
        cap_s: No wait is drawn from more than this.
        total_s: Seconds of refusals after which it is given up, for want of room since a batch of its account went through; as
            long as a batch may take by itself.
        unreachable_s: The same while not even a connection comes about.
        again_s: Before requests of a batch that is over are sent again, half of this to all of it is waited, each further time
            twice as long, up to `cap_s`; see `submit(retry=)`.
    """

    base_s: float = 2.0
    cap_s: float = 300.0
    total_s: float = 86400.0
    unreachable_s: float = 1800.0
    again_s: float = 30.0


def next_send(
    policy: Patience,
    refusals: int,
    waited_s: float,
    u: float,
    *,
    retry_after: float | None = None,
    is_reached: bool = True,
) -> float | None:
    """Give the seconds to wait before a refused submission is sent again; None to give up.

    Args:
        policy: The limits.
        refusals: Refusals so far, at least 1.
        waited_s: Seconds since the first of them.
        u: A random number in [0, 1).
        retry_after: What the server asked for: the least that is waited.
        is_reached: Whether the server answered at all.
    """
    if waited_s >= (policy.total_s if is_reached else policy.unreachable_s):
        return None
    jittered = u * min(policy.cap_s, policy.base_s * 2.0 ** min(refusals - 1, 64))
    return max(jittered, (retry_after or 0.0) + jittered * 0.1)


class RetryBudget:
    """Tokens that repeated tries cost and clean calls give back, so that an outage is not answered with a storm.

    Source: the figures of botocore's standard mode (500 tokens; 14 for a fault, 5 for throttling; refund on success).
    """

    CAPACITY = 500
    FAULT, THROTTLE, CLEAN = 14, 5, 1

    def __init__(self) -> None:
        self._tokens = self.CAPACITY

    @property
    def tokens(self) -> int:
        return self._tokens

    def take(self, *, is_throttled: bool) -> int:
        """Pay for another try; gives what was paid, 0 when the budget is spent."""
        cost = self.THROTTLE if is_throttled else self.FAULT
        if cost > self._tokens:
            return 0
        self._tokens -= cost
        return cost

    def give(self, paid: int) -> None:
        """Refund what a call paid, or one token for a call that needed no second try."""
        self._tokens = min(self.CAPACITY, self._tokens + (paid or self.CLEAN))


def decode_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read `retry-after-ms`, then `Retry-After` as seconds or as a date; None for anything that is no sane wait.

    Source: the header rules of OpenAI's SDK 3.54; RFC 9110 section 10.2.3 for the two forms.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamp(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return None if seconds is None else _clamp(seconds)
    moment = _date(value)
    return None if moment is None else _clamp(moment - now)


def decode_lead(headers: Mapping[str, str], now: float, known: float = 0.0) -> float:
    """Give the seconds by which our clock is ahead of the server's, by its `Date`; from 0 to a day.

    Whoever compares a time of ours with a list of the server's reads back that much further.
    """
    moment = _date(headers.get("date", ""))
    return known if moment is None else min(max(now - moment, 0.0), _MAX_LEAD_S)


def decode_lag(headers: Mapping[str, str], now: float, known: float = 0.0) -> float:
    """Give the seconds by which our clock is behind the server's, by its `Date`; never negative."""
    moment = _date(headers.get("date", ""))
    return known if moment is None else max(moment - now, 0.0)


@lru_cache(maxsize=64)  # thousands of answers carry the same second
def _date(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError):  # a year 99999 overflows; an empty text is no date
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in str(value) else None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def wants_retry(headers: Mapping[str, str]) -> bool | None:
    """Read `x-should-retry`, which overrides every table; None where the server has no opinion."""
    word = headers.get("x-should-retry", "").lower()
    return {"true": True, "false": False}.get(word)
