"""A circuit breaker for an account: when nobody answers, one question finds out whether that has changed, not all of them.

A batch alone that cannot be read trips nothing: it is asked less and less often by itself. Only when several fail in a row, and
none answers between them, is it the account.
"""

from typing import Literal, TypeAlias

import msgspec

TRIP_AFTER = 5
"""Failures in a row."""

_FIRST_S, _LONGEST_S = 15.0, 120.0
"""How long nobody is asked, at first and at most."""

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """What the last answers of an account say about it.

    Attributes:
        failures: How many in a row failed.
        who: The batch that failed last.
        is_wide: Whether more than one batch did.
        opened: How often it has opened since an answer came.
        until: Before when nobody is asked, Unix seconds.
        is_probing: Whether the one question that finds out is under way.
    """

    failures: int = 0
    who: str = ""
    is_wide: bool = False
    opened: int = 0
    until: float = 0.0
    is_probing: bool = False


CLOSED = Breaker()


def state_of(breaker: Breaker, now: float) -> BreakerState:
    """Give its state: closed lets everybody through, half open one."""
    if not breaker.opened:
        return "closed"
    return "open" if now < breaker.until else "half_open"


def wait_s(breaker: Breaker, now: float) -> float:
    """Give the seconds until somebody may be asked; 0 at once, infinite while the answer of the one is awaited."""
    if not breaker.opened:
        return 0.0
    if now < breaker.until:
        return breaker.until - now
    return float("inf") if breaker.is_probing else 0.0


def asking(breaker: Breaker) -> Breaker:
    """Take it that a question leaves: once it has opened, it is the only one."""
    return msgspec.structs.replace(breaker, is_probing=True) if breaker.opened else breaker


def answered(breaker: Breaker) -> Breaker:
    """Take it that the account answered, whatever it said."""
    return CLOSED if breaker.failures else breaker


def unanswered(breaker: Breaker) -> Breaker:
    """Take it that nothing came of a question, neither an answer nor a failure of the account: another one may find out."""
    return msgspec.structs.replace(breaker, is_probing=False) if breaker.is_probing else breaker


def failed(breaker: Breaker, who: str, now: float, u: float) -> Breaker:
    """Take it that a batch could not be read. What was under way when it opened says nothing new."""
    if breaker.opened and now < breaker.until:
        return breaker
    failures = breaker.failures + 1
    is_wide = breaker.is_wide or bool(breaker.who and breaker.who != who)
    if not breaker.opened and not (is_wide and failures >= TRIP_AFTER):
        return msgspec.structs.replace(breaker, failures=failures, who=who, is_wide=is_wide)
    rest_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(breaker.opened, 16)) * (0.5 + u)
    return Breaker(failures=failures, who=who, is_wide=True, opened=breaker.opened + 1, until=now + rest_s)
