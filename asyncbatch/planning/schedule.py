"""When to ask about a batch again: a growing, jittered interval, the provider's own wishes, and patience with bad news.

A poll that fails changes only when this batch is asked again; what it says about the whole account is decided in `pace.py` and
`breaker.py`, when a batch is likely to end in `expecting.py`, and whether a list tells it more cheaply in `sweeping.py`. A
batch is paid for, so it is never given up over an outage; only what asking cannot outlive ends the watch: a key that is
refused, and a batch that stays unknown past its grace.
"""

import msgspec

from asyncbatch.enums import BatchStatus
from asyncbatch.planning.expecting import Sight


class Polling(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently batches are watched.

    Attributes:
        first_s: The first wait.
        factor: Each further wait is this much longer.
        max_s: The longest wait.
        jitter: Every wait is spread by up to this part of itself, up and down.
        not_found_grace_s: A batch that the provider does not know is believed in for at least this long.
        not_found_reads: And for at least this many readings.
        concurrency: Questions under way at once, for each provider and account.
        requests_per_s: What an account is asked in a second at most, pages of its list among it; a few may come together. By
            default one, or as many as one batch alone is asked where `first_s` is below a second. `math.inf` is no limit.
        sweeps: Whether one page of a provider's list may stand for many single questions.
        coalesce_s: Batches that are due within so many seconds are weighed together against the list.
    """

    first_s: float = 5.0
    factor: float = 1.5
    max_s: float = 300.0
    jitter: float = 0.5
    not_found_grace_s: float = 1800.0
    not_found_reads: int = 5
    concurrency: int = 8
    requests_per_s: float | None = None
    sweeps: bool = True
    coalesce_s: float = 30.0


class PollState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the watch of one batch remembers between two questions; `sight` is where its counts were first seen to move."""

    polls: int = 0
    not_found: int = 0
    not_found_since: float | None = None
    sight: Sight | None = None


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """Ask again after `delay_s` seconds; after `least_s` if somebody says meanwhile that it is worth it."""

    delay_s: float
    least_s: float = 0.0
    state: PollState


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """The batch came to its end."""


class GaveUp(msgspec.Struct, frozen=True, kw_only=True):
    """Asking on cannot help: the error stands."""


_APPROACH = 0.5
"""Of the time that is left to the expected end, or has passed since: so much of it is waited, which comes to few questions."""


def interval(
    policy: Polling,
    polls: int,
    u: float,
    *,
    floor_s: float = 0.0,
    retry_after: float | None = None,
    left_s: float | None = None,
) -> float:
    """Give the seconds to the next question after `polls` of them.

    Args:
        policy: How patiently.
        polls: Questions so far.
        u: A random number in [0, 1).
        floor_s: The provider's own minimum.
        retry_after: What it asked for.
        left_s: Seconds to the expected end, negative once that has passed: the nearer to it, the shorter is the wait.
    """
    # Beyond 64 steps the power only threatens to overflow: every sensible factor has long reached the maximum.
    grown = min(policy.max_s, policy.first_s * policy.factor ** min(polls, 64))
    if left_s is not None:
        grown = min(grown, max(policy.first_s, _APPROACH * abs(left_s)))
    spread = grown * (1 + policy.jitter * (2 * u - 1))
    return max(spread, floor_s, retry_after or 0.0)


def first_wait(policy: Polling, u: float, *, floor_s: float = 0.0) -> float:
    """Give the wait before the first question: a part of the first interval, so that many batches do not ask at once."""
    return max(u * policy.first_s, min(floor_s, policy.first_s))


def when_woken(due: float, soonest: float, now: float) -> float:
    """Give the time of the next question once somebody says that it is worth asking: no later, and never before `soonest`."""
    return min(due, max(now, soonest))


def after_status(
    policy: Polling,
    state: PollState,
    status: BatchStatus,
    u: float,
    *,
    floor_s: float = 0.0,
    retry_after: float | None = None,
    left_s: float | None = None,
) -> Again | Over:
    """Decide after a reading. UNKNOWN is not terminal: a new word of a provider is no reason to drop a paid batch."""
    if status.is_terminal:
        return Over()
    delay = interval(policy, state.polls, u, floor_s=floor_s, retry_after=retry_after, left_s=left_s)
    least = max(floor_s, retry_after or 0.0)
    return Again(delay_s=delay, least_s=least, state=PollState(polls=state.polls + 1, sight=state.sight))


def after_not_found(policy: Polling, state: PollState, now: float, u: float, *, floor_s: float = 0.0) -> Again | GaveUp:
    """Decide after a 404, or another refusal that may pass.

    Providers show a new batch late and lose sight of it again, so it is believed in for a while.
    """
    since = now if state.not_found_since is None else state.not_found_since
    reads = state.not_found + 1
    if reads >= policy.not_found_reads and now - since >= policy.not_found_grace_s:
        return GaveUp()
    delay = interval(policy, state.polls, u, floor_s=floor_s)
    after = PollState(polls=state.polls + 1, not_found=reads, not_found_since=since, sight=state.sight)
    return Again(delay_s=delay, least_s=floor_s, state=after)


def after_error(
    policy: Polling, state: PollState, u: float, *, floor_s: float = 0.0, retry_after: float | None = None
) -> Again:
    """Decide after a transient error: it is asked through, without limit. It neither confirms nor refutes the batch."""
    delay = interval(policy, state.polls, u, floor_s=floor_s, retry_after=retry_after)
    after = msgspec.structs.replace(state, polls=state.polls + 1)
    return Again(delay_s=delay, least_s=max(floor_s, retry_after or 0.0), state=after)
