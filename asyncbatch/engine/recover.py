"""Find out what became of a create whose answer was lost; what to do next is decided in `planning/recovery.py`."""

import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import Match, PreparedSubmission
from asyncbatch.engine.places import place_of
from asyncbatch.engine.settle import slices
from asyncbatch.enums import SubmitSafety
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError
from asyncbatch.journal import Accepted, Event, Fenced, Indeterminate
from asyncbatch.planning.recovery import (
    CHECKING,
    Adopt,
    Fence,
    Look,
    Recovery,
    RecoveryState,
    Unknowable,
    judge_matches,
    next_step,
    time_left,
    window_of,
)
from asyncbatch.planning.schedule import Again, GaveUp, Polling, PollState, after_not_found
from asyncbatch.runtime import Runtime

_log = logging.getLogger("asyncbatch.engine")


class Others(NamedTuple):
    """Batches of other submissions.

    Attributes:
        certain: They cannot be the one that is looked for.
        tentative: Another submission has found them by time and count; until their answers tell, they may be either's.
    """

    certain: Collection[str] = ()
    tentative: Collection[str] = ()


async def recover(
    submission: PreparedSubmission,
    intended_at: float,
    *,
    provider: BaseBatchProvider,
    runtime: Runtime,
    policy: Recovery,
    tell: Callable[[str], None],
    before_fence: Callable[[], Awaitable[None]],
    others: Callable[[], Awaitable[Others]] | None = None,
) -> Event:
    """Look for a lost create until it is found, proved absent, or cannot be known, and give what to journal.

    Before its input is deleted, `before_fence` is awaited: a batch that is found after that may have come too late for its
    own input, and then runs nothing. `others` tells of batches of others, as of now. A reading that fails counts for
    nothing: it is made again.
    """
    state, refusals = RecoveryState(intended_at=intended_at), PollState()
    safety = provider.submit_safety(submission)
    while True:
        step = next_step(policy, safety, state, runtime.now())
        if isinstance(step, Look):
            tell(f"{CHECKING}{_time_left(policy, safety, state, runtime.now())}")
            await runtime.sleep(step.delay_s)
            read_at = runtime.now()
            known = await others() if others else Others()
            found = await look(provider, submission, intended_at, known.certain)
            if isinstance(found, Exception):
                patience = _after_failure(found, refusals, runtime)
                if isinstance(patience, GaveUp):
                    return Indeterminate(why=f"the list of batches cannot be read: {found}")
                refusals = patience.state
                await runtime.sleep(policy.gap_s)
            elif found:
                is_over = runtime.now() - intended_at >= window_of(policy, safety)
                event = _adopted(found, known.tentative, is_window_over=is_over)
                if event is not None:
                    return event
                refusals = PollState()
                await runtime.sleep(policy.gap_s)
            else:
                state, refusals = _after_look(state, read_at), PollState()
        elif isinstance(step, Fence):
            tell("making sure that a late create fails")
            await before_fence()  # even where the answer is lost: it may have worked
            state = await _fenced(provider, submission, state, runtime)
        elif isinstance(step, Unknowable):
            return Indeterminate(why=step.why)
        else:
            return Fenced()


def _time_left(policy: Recovery, safety: SubmitSafety, state: RecoveryState, now: float) -> str:
    """Say how long the search goes on if it finds nothing: over the window, or over the watch that follows a fence."""
    if state.fenced_at is not None:
        left = state.fenced_at + policy.watch_s - now
    else:
        left = state.intended_at + window_of(policy, safety) - now
    return time_left(left)


async def look(
    provider: BaseBatchProvider, submission: PreparedSubmission, since: float, others: Collection[str]
) -> list[Match] | Exception:
    """Read the list once, without the batches that are known to be others; gives the error where it cannot be read."""
    try:
        found = await provider.find_submissions(submission, since=since)
        return [match for match in found if match.provider_batch_id not in others]
    except Exception as error:  # noqa: BLE001 a reading that fails, however it fails, says nothing about the create
        _log.warning("looking for submission %s of %s: %s", submission.chunk_index, submission.batch_id, error)
        return error


def _after_failure(error: Exception, refusals: PollState, runtime: Runtime) -> Again | GaveUp:
    """An outage is waited out; a list that is refused for good is given up in the end, and nobody can know."""
    if isinstance(error, ProviderTransientError):  # it says nothing, and takes nothing back
        return Again(delay_s=0.0, state=refusals)
    return after_not_found(Polling(), refusals, runtime.now(), 0.5)


def _adopted(matches: list[Match], tentative: Collection[str], *, is_window_over: bool) -> Event | None:
    certain = [match.provider_batch_id for match in matches if match.is_certain]
    possible = [match.provider_batch_id for match in matches if not match.is_certain]
    free = [name for name in possible if name not in tentative]
    # Those that another submission waits for are left to it until ours has had time to show up; then any one of them will do,
    # since its end tells whose it is.
    possible = free or (possible[:1] if is_window_over else [])
    step = judge_matches(certain, possible, is_window_over=is_window_over)
    if isinstance(step, Adopt):
        return Accepted(provider_batch_id=step.provider_batch_id, is_certain=step.is_certain)
    return Indeterminate(why=step.why) if isinstance(step, Unknowable) else None


async def confirm(
    submission: PreparedSubmission,
    whole: PreparedSubmission,
    intended_at: float,
    batch_id: str,
    *,
    provider: BaseBatchProvider,
    runtime: Runtime,
    policy: Recovery,
) -> bool | Indeterminate:
    """Say whether a batch that is over, and was adopted by time and count, is ours: its answers carry our ids, or others.

    `submission` is what was sent, `whole` all requests that share its ids on the wire.
    """
    refusals = PollState()
    while True:
        found = await look(provider, submission, intended_at, ())
        if not isinstance(found, Exception):
            match = next((match for match in found if match.provider_batch_id == batch_id), None)
            if match is not None and match.is_certain:
                return True
            if match is not None:
                found = ProviderPermanentError("its answers cannot be read", provider=provider.PROVIDER_NAME)
            else:  # they carry others' ids, or the list leaves it out: that proves nothing, and the answers do
                is_ours = await _is_ours(whole, batch_id, provider, runtime)
                if isinstance(is_ours, bool):
                    return is_ours
                found = is_ours
        patience = _after_failure(found, refusals, runtime)
        if isinstance(patience, GaveUp):
            return Indeterminate(why=f"whether batch {batch_id} is ours cannot be read: {found}")
        refusals = patience.state
        await runtime.sleep(policy.gap_s)


async def _is_ours(
    whole: PreparedSubmission, batch_id: str, provider: BaseBatchProvider, runtime: Runtime
) -> bool | Exception:
    """Read a batch's answers as far as the first id; gives the error where there is none to be had."""
    try:
        ids = await runtime.offload(list[str], whole.request_ids)
        place = await runtime.offload(place_of, whole, ids)
        async with aclosing(slices(provider.fetch_results(batch_id))) as found:
            async for rows in found:
                named = next((row.request_id for row in rows if row.request_id), None)
                if named is not None:
                    return place(named) is not None
    except Exception as error:  # noqa: BLE001 see `look`
        _log.warning("reading whose batch %s is: %s", batch_id, error)
        return error
    return ProviderPermanentError("its answers name nobody", provider=provider.PROVIDER_NAME)


def _after_look(state: RecoveryState, read_at: float) -> RecoveryState:
    if state.fenced_at is not None:
        return msgspec.structs.replace(state, read_at=read_at, reads_since_fence=state.reads_since_fence + 1)
    return msgspec.structs.replace(state, read_at=read_at, reads=state.reads + 1)


async def _fenced(
    provider: BaseBatchProvider, submission: PreparedSubmission, state: RecoveryState, runtime: Runtime
) -> RecoveryState:
    try:
        worked = await provider.fence(submission)
    except Exception as error:  # noqa: BLE001 see `look`: whether it worked is not known
        _log.warning("fencing submission %s of %s: %s", submission.chunk_index, submission.batch_id, error)
        worked = False
    if worked:
        return msgspec.structs.replace(state, fenced_at=runtime.now())
    return msgspec.structs.replace(state, is_fence_refused=True)
