"""The create of one submission: intent first, one request, and an outcome that is journalled whatever happens.

The task that acts is the one that journals how it ended. It runs in the client's own group, under a shield: cancelling whoever
submitted the job does not reach it, and when the client itself is left it gets a few seconds to settle before its answer is
given up. A create without an answer is recorded as unknown, and is looked for.
"""

import logging
import math
from collections.abc import Awaitable, Callable

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission
from asyncbatch.exceptions import ProviderError, ProviderTransientError, SubmissionUnknownError
from asyncbatch.journal import Accepted, CreateIntended, CreateUnknown, Event, Refused
from asyncbatch.runtime import Runtime

_log = logging.getLogger("asyncbatch.engine")


class Grace:
    """What gets some seconds to end when the client is left: creates under way, and deletions."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._deadline = math.inf

    def enter(self) -> anyio.CancelScope:
        scope = anyio.CancelScope(shield=True, deadline=self._deadline)
        self._scopes.add(scope)
        return scope

    def leave(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)

    def hurry(self, settle_s: float) -> None:
        """Give all of it that is under way, and what begins in this very moment, so many seconds to end."""
        self._deadline = anyio.current_time() + settle_s
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, self._deadline)


def make_tag(job_id: str, index: int, attempt: int, runtime: Runtime) -> str:
    """Make the mark of one attempt: nothing of the user's is in it, and its nonce is random."""
    return f"ab1-{job_id[:8]}-{index}-{attempt}-{runtime.nonce(16)}"


async def create_once(
    submission: PreparedSubmission,
    *,
    provider: BaseBatchProvider,
    move: Callable[[Event], Awaitable[None]],
    runtime: Runtime,
    grace: Grace,
) -> ProviderError | None:
    """Send the create of a submission that has its tag; gives the error if there was one.

    Args:
        submission: What to send.
        provider: Where to.
        move: Journals an event; the intent through it comes first, and exactly one outcome follows.
        runtime: For the time of the intent.
        grace: Where it is entered while it is under way.
    """
    assert submission.tag is not None, "an attempt without a mark could not be found again"
    await move(CreateIntended(mark=submission.tag, at=runtime.now()))
    event: Event = CreateUnknown(why="stopped before an answer came")
    failure: ProviderError | None = SubmissionUnknownError(
        "the client was left before the create was answered", provider=provider.PROVIDER_NAME, code="create_unknown"
    )
    scope = grace.enter()
    try:
        with scope:
            event, failure = await _outcome(provider, submission)
    finally:
        grace.leave(scope)
        with anyio.CancelScope(shield=True):
            await move(event)
    return failure


async def _outcome(provider: BaseBatchProvider, submission: PreparedSubmission) -> tuple[Event, ProviderError | None]:
    try:
        result = await provider.create(submission)
    except SubmissionUnknownError as error:
        return CreateUnknown(why=error.message), error
    except ProviderTransientError as error:
        return Refused(why=error.message, is_final=False), error
    except ProviderError as error:
        return Refused(why=error.message, is_final=True), error
    except Exception as error:  # noqa: BLE001 see below: nothing is swallowed, and nothing is sent again
        # A provider that fails in its own way may have sent it: that has to be looked up like a lost answer.
        _log.exception("a create of %s failed in a way that proves nothing", provider.PROVIDER_NAME)
        why = f"{provider.PROVIDER_NAME}: create failed with {type(error).__name__}"
        return CreateUnknown(why=why), SubmissionUnknownError(
            why, provider=provider.PROVIDER_NAME, code="create_unknown"
        )
    return Accepted(provider_batch_id=result.provider_batch_id), None
