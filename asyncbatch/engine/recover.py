"""Find out what became of a create whose answer was lost; what to do next is decided in `planning/recovery.py`."""

import logging
from collections.abc import Callable

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import Match, PreparedSubmission
from asyncbatch.exceptions import ProviderTransientError
from asyncbatch.journal import Accepted, Event, Fenced, Indeterminate
from asyncbatch.planning.recovery import Fence, Look, Recovery, RecoveryState, Unknowable, next_step
from asyncbatch.planning.schedule import Again, GaveUp, Polling, PollState, after_not_found
from asyncbatch.runtime import Runtime

_log = logging.getLogger("asyncbatch.engine")


async def recover(
    submission: PreparedSubmission,
    intended_at: float,
    *,
    provider: BaseBatchProvider,
    runtime: Runtime,
    policy: Recovery,
    tell: Callable[[str], None],
) -> tuple[Event, bool]:
    """Look for a lost create until it is found, proved absent, or cannot be known.

    Gives what to journal, and whether the input was deleted on the way: a batch that is found after that may have come too
    late for its own input, and then runs nothing. A reading that fails counts for nothing: it is made again.
    """
    state, refusals, is_fence_tried = RecoveryState(intended_at=intended_at), PollState(), False
    safety = provider.submit_safety(submission)
    while True:
        step = next_step(policy, safety, state, runtime.now())
        if isinstance(step, Look):
            tell(f"checking whether a create arrived, reading {state.reads + state.reads_since_fence + 1}")
            await runtime.sleep(step.delay_s)
            read_at = runtime.now()
            found = await _look(provider, submission, intended_at)
            if isinstance(found, Exception):
                patience = _after_failure(found, refusals, runtime)
                if isinstance(patience, GaveUp):
                    return Indeterminate(why=f"the list of batches cannot be read: {found}"), is_fence_tried
                refusals = patience.state
                await runtime.sleep(policy.gap_s)
            elif found:
                return _adopted(found), is_fence_tried
            else:
                state, refusals = _after_look(state, read_at), PollState()
        elif isinstance(step, Fence):
            tell("making sure that a late create fails")
            is_fence_tried = True  # even where the answer is lost: it may have worked
            state = await _fenced(provider, submission, state, runtime)
        elif isinstance(step, Unknowable):
            return Indeterminate(why=step.why), is_fence_tried
        else:
            return Fenced(), is_fence_tried


async def _look(provider: BaseBatchProvider, submission: PreparedSubmission, since: float) -> list[Match] | Exception:
    try:
        return await provider.find_submissions(submission, since=since)
    except Exception as error:  # noqa: BLE001 a reading that fails, however it fails, says nothing about the create
        _log.warning("looking for submission %s of %s: %s", submission.chunk_index, submission.batch_id, error)
        return error


def _after_failure(error: Exception, refusals: PollState, runtime: Runtime) -> Again | GaveUp:
    """An outage is waited out; a list that is refused for good is given up in the end, and nobody can know."""
    if isinstance(error, ProviderTransientError):
        return Again(delay_s=0.0, state=PollState())
    return after_not_found(Polling(), refusals, runtime.now(), 0.5)


def _adopted(matches: list[Match]) -> Event:
    certain = [match for match in matches if match.is_certain]
    if len(matches) == 1 and certain:
        return Accepted(provider_batch_id=certain[0].provider_batch_id)
    found = ", ".join(match.provider_batch_id for match in matches)
    return Indeterminate(why=f"several batches, or none that is certain, look like this submission: {found}")


def _after_look(state: RecoveryState, read_at: float) -> RecoveryState:
    if state.fenced_at is not None:
        return msgspec.structs.replace(state, read_at=read_at, reads_since_fence=state.reads_since_fence + 1)
    return msgspec.structs.replace(state, read_at=read_at, reads=state.reads + 1)


async def _fenced(
    provider: BaseBatchProvider, submission: PreparedSubmission, state: RecoveryState, runtime: Runtime
) -> RecoveryState:
    try:
        worked = await provider.fence(submission)
    except Exception as error:  # noqa: BLE001 see `_look`: whether it worked is not known
        _log.warning("fencing submission %s of %s: %s", submission.chunk_index, submission.batch_id, error)
        worked = False
    if worked:
        return msgspec.structs.replace(state, fenced_at=runtime.now())
    return msgspec.structs.replace(state, is_fence_refused=True)
