"""Whether a request that ended without a good answer is worth another batch, and when: pure decisions.

Nothing that was answered is ever asked again, and nothing of which a second try might be a second payment: that takes a
person who says so, by `job.retry(only=("indeterminate",))`.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, TypeAlias

from asyncbatch.dto import ProviderResultRow
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.recovery import time_left
from asyncbatch.planning.retry import Patience

Wanted: TypeAlias = Callable[[ProviderResultRow], bool]
RetryRows: TypeAlias = Literal["transient", "expired"] | Wanted
"""Which requests are sent again: `"transient"`, those that ended with an error that may pass, expired or were never answered;
`"expired"`, those that expired alone; or a function that says so of each row that is no success."""

TRANSIENT, EXPIRED, OWN = "transient", "expired", "callable"

_NEVER = frozenset((ResultStatus.SUCCEEDED, ResultStatus.REJECTED, ResultStatus.CONFLICT, ResultStatus.INDETERMINATE))
_UNANSWERED = frozenset((ResultStatus.ERRORED, ResultStatus.EXPIRED, ResultStatus.MISSING))
_ANSWERED_FOR_GOOD = frozenset((ResultStatus.SUCCEEDED, ResultStatus.REJECTED))


def check_retry(retry: Any, max_attempts: Any) -> None:
    """Refuse what is no policy."""
    if retry is not None and not callable(retry) and retry not in (TRANSIENT, EXPIRED):
        hint = 'it is "transient", "expired", None, or a function of a row'
        raise ConfigError(f"retry is {retry!r}", code="config.value", hint=hint)
    if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
        raise ConfigError(f"max_attempts is {max_attempts!r}", code="config.value", hint="it is 1 or more")


def word_of(retry: RetryRows | None) -> str | None:
    """Give what the journal remembers of a policy: a function of the caller's own ends with its process."""
    return OWN if callable(retry) else retry


def wanted_by(retry: RetryRows | None) -> Wanted | None:
    """Give what says of a row whether its request is sent again; None where none is."""
    if retry is None:
        return None
    if callable(retry):
        return lambda row: row.status not in _NEVER and bool(retry(row))
    if retry == EXPIRED:
        return lambda row: row.status is ResultStatus.EXPIRED
    return _is_transient


def _is_transient(row: ProviderResultRow) -> bool:
    if row.status not in _UNANSWERED:
        return False
    # Without a word from the provider, what it answered with an error stays as it is; what it did not reach may be asked again.
    return row.error.retryable if row.error is not None else row.status is not ResultStatus.ERRORED


def among(only: Collection[ResultStatus]) -> Wanted:
    """Give what says so of rows that ended in one of these ways."""
    return lambda row: row.status in only


def read_only(only: Iterable[ResultStatus | str] | str) -> frozenset[ResultStatus]:
    """Read the outcomes that somebody wants to have sent again.

    Raises:
        ConfigError: One is no outcome, or is one that no second try could better.
    """
    given = only.split(",") if isinstance(only, str) else only
    found: set[ResultStatus] = set()
    can = [item.value for item in ResultStatus if item not in _ANSWERED_FOR_GOOD]
    for word in given:
        try:
            status = ResultStatus(str(word).strip().lower())
        except ValueError:
            raise ConfigError(
                f"{word!r} is no outcome", code="retry.only", hint=f"there are {', '.join(can)}"
            ) from None
        if status in _ANSWERED_FOR_GOOD:
            why = "has its answer" if status is ResultStatus.SUCCEEDED else "would be refused again as it is"
            message = f"a request that is {status.value} {why}, and is not sent again"
            raise ConfigError(message, code="retry.only", hint=f"there are {', '.join(can)}")
        found.add(status)
    if not found:
        raise ConfigError("no outcome is named", code="retry.only", hint=f"there are {', '.join(can)}")
    return frozenset(found)


def again_in(requests: int, left_s: float) -> str:
    """Say that a round waits, and how long."""
    return f"{requests} {'request is' if requests == 1 else 'requests are'} sent again{time_left(left_s)}"


def next_round(patience: Patience, tries: int, max_attempts: int, u: float) -> float | None:
    """Give the seconds to wait before requests are sent again; None where they were sent often enough, or by hand.

    A batch that failed at once, for a full queue or an exhausted quota, would fail again at once.

    Args:
        patience: The limits.
        tries: Rounds so far; 0 where the last one was asked for by hand, which says all that is wanted.
        max_attempts: Rounds in all.
        u: A random number in [0, 1).
    """
    if tries == 0 or tries >= max_attempts:
        return None
    longest = min(patience.cap_s, patience.again_s * 2.0 ** min(tries - 1, 64))
    return longest * (0.5 + 0.5 * u)
