"""How fast an account is asked: a budget in requests per second, halved when the provider throttles, and back step by step.

A token bucket as a value: `wait_s` says how long until the next request, `take` pays for it.
"""

import msgspec

from asyncbatch.planning.schedule import Polling

BURST = 10.0
"""Requests that may come together: a job of a few batches is seen to start without delay."""

_SLOWEST = 6
"""Halvings of the budget at most: down to a 64th."""
_EASED_AFTER = 20
"""Clean answers after which the budget is doubled again."""
_UNLIMITED = 64.0
"""Requests per second of which the halvings start, where there is no budget."""
_LONGEST_PAUSE_S = 60.0
_LEAST_WAIT_S = 0.001
"""A wait is never too short for the clock to show it."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of an account's budget.

    Attributes:
        tokens: Requests that may be sent at once.
        at: When that was reckoned, Unix seconds.
        halvings: How often the budget has been halved.
        clean: Clean answers since the last halving or doubling.
        paused_until: Before when the account is not asked at all, Unix seconds.
    """

    tokens: float = BURST
    at: float = 0.0
    halvings: int = 0
    clean: int = 0
    paused_until: float = 0.0


def rate_per_s(policy: Polling, halvings: int = 0) -> float:
    """Give the requests per second that an account gets; infinite where there is no limit."""
    rate = policy.requests_per_s
    if rate is None:
        rate = max(1.0, 1 / policy.first_s) if policy.first_s > 0 else float("inf")
    return min(rate, _UNLIMITED) / 2**halvings if halvings else rate


def wait_s(policy: Polling, pace: Pace, now: float) -> float:
    """Give the seconds until a request may be sent; 0 if one may."""
    rate = rate_per_s(policy, pace.halvings)
    missing = 1.0 - _tokens(pace, rate, now)
    wait = max(pace.paused_until - now, missing / rate if missing > 0 else 0.0)
    return max(wait, _LEAST_WAIT_S) if wait > 0 else 0.0


def take(policy: Polling, pace: Pace, now: float) -> Pace:
    """Pay for a request."""
    rate = rate_per_s(policy, pace.halvings)
    if rate == float("inf"):
        return pace
    return msgspec.structs.replace(pace, tokens=_tokens(pace, rate, now) - 1.0, at=max(now, pace.at))


def has_plenty(policy: Polling, pace: Pace, now: float) -> bool:
    """Whether more is left of the budget than somebody who reads a list page by page will need."""
    return _tokens(pace, rate_per_s(policy, pace.halvings), now) > BURST / 2


def _tokens(pace: Pace, rate: float, now: float) -> float:
    if rate == float("inf"):
        return BURST
    return min(BURST, pace.tokens + max(now - pace.at, 0.0) * rate)


def throttled(pace: Pace, now: float, u: float, retry_after: float | None) -> Pace:
    """Decide after a 429: the whole account pauses, and goes on half as fast.

    Several that were under way together count once: they tell of the same moment.
    """
    is_news = now >= pace.paused_until
    halvings = min(pace.halvings + is_news, _SLOWEST)
    pause = min(_LONGEST_PAUSE_S, 2.0**halvings) * (0.5 + u) if retry_after is None else retry_after
    until = max(pace.paused_until, now + pause)
    return Pace(tokens=0.0, at=until, halvings=halvings, paused_until=until)


def rested(pace: Pace, until: float) -> Pace:
    """Decide after an answer that says that the provider's own quota is used up: the account waits, and is no slower then."""
    return msgspec.structs.replace(pace, paused_until=max(pace.paused_until, until))


def eased(pace: Pace) -> Pace:
    """Decide after a clean answer: a budget that was halved comes back after a while."""
    if not pace.halvings:
        return pace
    clean = pace.clean + 1
    if clean < _EASED_AFTER:
        return msgspec.structs.replace(pace, clean=clean)
    return msgspec.structs.replace(pace, clean=0, halvings=pace.halvings - 1)


def spread_s(policy: Polling, count: int) -> float:
    """Give the seconds over which so many batches are spread that would all be asked about at the same moment."""
    needed = count / min(rate_per_s(policy), _UNLIMITED)
    return min(max(policy.first_s, needed), policy.max_s)
