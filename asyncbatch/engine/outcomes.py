"""How a request ended that has no answer: by the end of its batch, or by why there was none. Pure functions."""

from collections.abc import Callable, Sequence

from asyncbatch.dto import BatchErrorItem, ProviderResultRow, ProviderStatus, RowError
from asyncbatch.engine.places import index_of
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.exceptions import BAD_ID, ELSEWHERE, ProviderError, ProviderTransientError, RowProblem

Fill = Callable[[int, str], ProviderResultRow]
"""Gives the row of a position and its request id."""


def rejected(problem: RowProblem, request_id: str) -> ProviderResultRow:
    """Give the row of a request that we refused before anything was sent."""
    return _without_answer(request_id, ResultStatus.REJECTED, problem.code, problem.message)


def unanswered(
    status: ProviderStatus, classify: Callable[[str | None], ErrorClass], *, is_verified: bool = True
) -> Fill:
    """Say how a request without an answer ended in a batch that is over, whose answers proved themselves whole or not."""
    if status.status is BatchStatus.FAILED:
        return _failed(status, classify)
    how, code, retryable = {
        BatchStatus.EXPIRED: (ResultStatus.EXPIRED, "batch_expired", True),
        BatchStatus.CANCELLED: (ResultStatus.CANCELLED, "batch_cancelled", False),
    }.get(status.status, (ResultStatus.MISSING, "missing", True))
    message = (
        f"batch {status.provider_batch_id} ended {status.raw_status or status.status.value} without an answer to it"
    )
    if not is_verified:
        code = "unverified" if how is ResultStatus.MISSING else code
        message += ", and nothing proves that its answers came whole: they came twice alike"
    return lambda _, request_id: _without_answer(request_id, how, code, message, retryable=retryable)


def _failed(status: ProviderStatus, classify: Callable[[str | None], ErrorClass]) -> Fill:
    """The rows that the provider names get its code; all others got into a batch that failed.

    They may be sent again where the error's class says so, and where the fault lies with named rows alone.
    """
    named = {error.line - 1: error for error in status.errors if error.line is not None and error.line > 0}
    classes = {classify(error.code) for error in status.errors}
    blames_rows = bool(status.errors) and len(named) == len(status.errors)
    may_again = blames_rows or (bool(classes) and ErrorClass.PERMANENT not in classes)
    why = _why(status.errors) or status.error_message or "the provider gave no reason"
    message = f"batch {status.provider_batch_id} failed: {why}"

    def fill(position: int, request_id: str) -> ProviderResultRow:
        error = named.get(position)
        if error is None:
            return _without_answer(request_id, ResultStatus.ERRORED, "batch_failed", message, retryable=may_again)
        retryable = classify(error.code) is not ErrorClass.PERMANENT
        return _without_answer(request_id, ResultStatus.ERRORED, error.code, error.message, retryable=retryable)

    return fill


def _why(errors: Sequence[BatchErrorItem]) -> str:
    return "; ".join(f"{error.code}: {error.message}".strip(": ") for error in errors[:3])


def refused(error: ProviderError) -> Fill:
    """The create was refused: nothing was accepted."""
    message = f"the batch was refused: {error.message}"
    retryable = isinstance(error, ProviderTransientError)
    return lambda _, request_id: _without_answer(
        request_id, ResultStatus.ERRORED, "batch_failed", message, retryable=retryable
    )


def withdrawn() -> Fill:
    """The job was cancelled before this part of it was sent."""
    message = "the job was cancelled before this request was sent"
    return lambda _, request_id: _without_answer(
        request_id, ResultStatus.CANCELLED, "not_sent", message, retryable=True
    )


def indeterminate(why: str) -> Fill:
    """Nobody can say whether it was sent."""
    return lambda _, request_id: _without_answer(request_id, ResultStatus.INDETERMINATE, "create_unknown", why)


def lost(status: ProviderStatus, error: ProviderError) -> Fill:
    """The batch is over, and its answers cannot be had any more."""
    message = f"the answers of batch {status.provider_batch_id} cannot be fetched: {error.message}"
    is_retryable = error.code not in (ELSEWHERE, BAD_ID)  # to send them again would be to pay for them again
    return lambda _, request_id: _without_answer(
        request_id, ResultStatus.MISSING, error.code or "results_gone", message, retryable=is_retryable
    )


def in_round(fill: Fill, sent: Sequence[int] | None) -> Fill:
    """Let a request of a later round be named by its place in the batch, which is what a provider counts."""
    if sent is None:
        return fill

    def fill_in(position: int, request_id: str) -> ProviderResultRow:
        at = index_of(sent, position)
        assert at is not None, f"request {position} is open and was not sent"
        return fill(at, request_id)

    return fill_in


def _without_answer(
    request_id: str, status: ResultStatus, code: str, message: str, *, retryable: bool = False
) -> ProviderResultRow:
    error = RowError(code=code, message=message, retryable=retryable)
    return ProviderResultRow(request_id=request_id, status=status, error=error)
