"""What to do about a create whose answer was lost: look for it, fence it, try again, or admit that nobody knows.

Looking once is not enough: a request may reach the provider minutes after we gave it up, and a list may lag behind. So the
list is read over a window, and several readings must agree. A fence (deleting the input that only this attempt uses) makes a
late create fail, and after a further watch the submission may be sent anew. Without a fence the window alone has to do.
"""

from collections.abc import Sequence

import msgspec

from asyncbatch.enums import SubmitSafety


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How a lost create is searched for.

    Attributes:
        window_s: Seconds over which the list is read, from the create on; None takes the default of the provider's class.
        reads: Readings that must agree, at least.
        gap_s: Seconds between two of them.
        watch_s: Seconds of reading on after a fence: as long as a list may lag behind, so that what came before it shows up.
        settle_s: Seconds that a create under way is given to end when the client is left.
        fence: Whether the input may be deleted to fence a lost create.
        attempts: Creates in all for one submission; each but the last is proved not to have been accepted.
    """

    window_s: float | None = None
    reads: int = 3
    gap_s: float = 20.0
    watch_s: float = 90.0
    settle_s: float = 5.0
    fence: bool = True
    attempts: int = 5


WINDOWS_S = {
    SubmitSafety.IDEMPOTENT: 300.0,
    SubmitSafety.NAMED: 300.0,
    SubmitSafety.TAGGED_FENCED: 300.0,
    SubmitSafety.TAGGED: 900.0,
    SubmitSafety.INFERRED: 1200.0,
    SubmitSafety.NONE: 0.0,
}
"""Longer than a request in flight and the list's lag together: see `docs/decisions/lost-creates.md`."""

_ROUNDING_S = 0.001
"""Sums of seconds since 1970 round: a reading meant for the end of the watch may be made a moment before it."""


class RecoveryState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known so far.

    Attributes:
        intended_at: When the create was sent, Unix seconds.
        reads: Readings since then that found nothing.
        read_at: When the latest of them was made; it speaks for no later moment, however long the list has failed since.
        fenced_at: When the input was deleted; None before.
        reads_since_fence: Readings after that which found nothing.
        is_fence_refused: The provider has no fence after all.
    """

    intended_at: float
    reads: int = 0
    read_at: float | None = None
    fenced_at: float | None = None
    reads_since_fence: int = 0
    is_fence_refused: bool = False


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Read the list after `delay_s` seconds."""

    delay_s: float


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """Make a late create fail."""


class SendAgain(msgspec.Struct, frozen=True, kw_only=True):
    """The create is proved not to have been accepted: a new attempt is safe."""


class Unknowable(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody can say; the requests are INDETERMINATE."""

    why: str


CHECKING = "checking whether a create arrived"


def time_left(left_s: float) -> str:
    """Say how long the search goes on if it finds nothing; nothing where it is about to end."""
    return f", {int(left_s) // 60}:{int(left_s) % 60:02d} left" if left_s >= 1 else ""


def window_of(policy: Recovery, safety: SubmitSafety) -> float:
    """Give the seconds over which the list is read."""
    return WINDOWS_S[safety] if policy.window_s is None else policy.window_s


def next_step(
    policy: Recovery, safety: SubmitSafety, state: RecoveryState, now: float
) -> Look | Fence | SendAgain | Unknowable:
    """Decide what to do while no reading has found the batch."""
    if safety is SubmitSafety.NONE:
        return Unknowable(why="this provider has no list in which a lost create could be found")
    if state.fenced_at is not None:
        return _after_fence(policy, state, state.fenced_at, now)
    searched_s = 0.0 if state.read_at is None else state.read_at - state.intended_at
    if state.reads < policy.reads or searched_s < window_of(policy, safety):
        return Look(delay_s=policy.gap_s if state.reads else 0.0)
    has_fence = safety is SubmitSafety.TAGGED_FENCED and policy.fence and not state.is_fence_refused
    if has_fence:
        return Fence()
    longest = max(window_of(policy, safety), window_of(policy, SubmitSafety.TAGGED))
    return SendAgain() if searched_s >= longest else Look(delay_s=policy.gap_s)


class Adopt(msgspec.Struct, frozen=True, kw_only=True):
    """The create became this batch; where it is not certain, the ids of its answers have to confirm it."""

    provider_batch_id: str
    is_certain: bool


class LookOn(msgspec.Struct, frozen=True, kw_only=True):
    """Several batches may be ours: those that end show by their ids whose they are."""


def judge_matches(
    certain: Sequence[str], possible: Sequence[str], *, is_window_over: bool
) -> Adopt | LookOn | Unknowable:
    """Decide about batches that a reading found, of which at least one matches.

    Args:
        certain: Batches that can only be ours.
        possible: Batches that may be.
        is_window_over: Whether the list has been read for as long as a create may take to show up.
    """
    if len(certain) == 1:
        return Adopt(provider_batch_id=certain[0], is_certain=True)
    if not certain and len(possible) == 1:
        return Adopt(provider_batch_id=possible[0], is_certain=False)
    if not certain and not is_window_over:
        return LookOn()
    found = ", ".join((*certain, *possible))
    return Unknowable(why=f"several batches look like this submission: {found}")


def _after_fence(policy: Recovery, state: RecoveryState, fenced_at: float, now: float) -> Look | SendAgain:
    watched_s = 0.0 if state.read_at is None else state.read_at - fenced_at
    if state.reads_since_fence and watched_s >= policy.watch_s - _ROUNDING_S:
        return SendAgain()
    return Look(delay_s=min(policy.gap_s, max(policy.watch_s - (now - fenced_at), 0.0)))
