"""The error tree: blame is visible in the type.

::

    AsyncBatchError
    ├── InvalidRequestsError              you: some requests cannot be sent; nothing was
    ├── ConfigError                       you: a file, an option, a name
    │   ├── MissingCredentialsError       you: no key for this account
    │   └── BudgetExceededError           you: the account has used what it may in a day; nothing was sent
    ├── ScopeError                        you: used outside its `async with`, or on another event loop
    │   ├── PollerClosedError             the poller was left while a batch was still watched
    │   └── ClientClosedError             the client was left while a job was still running
    ├── JournalError                      our memory: the journal refuses, or is not what it should be
    ├── StorageError                      our disk: a large body cannot be written or read
    └── ProviderError                     the wire and the provider
        ├── ProviderTransientError        may be repeated
        ├── ProviderPermanentError        must not be repeated
        │   ├── ProviderNotRegisteredError    you, as well: it is a ConfigError too
        │   └── AmbiguousSubmissionError  several batches look like ours
        └── SubmissionUnknownError        must be reconciled: nobody can say whether the create was accepted

What happened to one request is an outcome (`ResultStatus`), not an exception. "I could not find out" is never reported
as "failed". No error carries a secret.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class AsyncBatchError(Exception):
    """The root of everything this library raises on purpose.

    Attributes:
        code: A short stable word for programs, such as `auth.missing`, or the provider's own code; None where there is none.
        hint: What to do next, in a sentence; None where the message says it all.
    """

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # An error may cross a process border, and its constructor takes other arguments than it leaves in `args`.
        return _restored, (type(self), self.args, self.__dict__.copy())


def _restored(kind: type[AsyncBatchError], args: tuple[Any, ...], fields: dict[str, Any]) -> AsyncBatchError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class RowProblem(NamedTuple):
    """Why one request cannot be sent.

    Attributes:
        row: Position in the input, from 0.
        request_id: The request's own id, where it could be read.
        code: A stable word: `not_json`, `not_an_object`, `duplicate_id`, `bad_id`, `nan`, `surrogate`, `too_large`, …
        message: What is wrong, with the offending value.
    """

    row: int
    request_id: str | None
    code: str
    message: str

    def __str__(self) -> str:
        name = f" ({self.request_id!r})" if self.request_id is not None else ""
        return f"row {self.row}{name}: {self.message}"


class InvalidRequestsError(AsyncBatchError):
    """Some requests cannot be sent; nothing was sent.

    Attributes:
        problems: The first 20 bad rows.
        count: How many rows are bad in all.
    """

    SHOWN = 20

    def __init__(self, problems: Sequence[RowProblem], *, count: int | None = None, hint: str | None = None) -> None:
        self.problems = tuple(problems[: self.SHOWN])
        self.count = len(problems) if count is None else count
        what = "; ".join(str(problem) for problem in self.problems)
        more = f"; and {self.count - len(self.problems)} more" if self.count > len(self.problems) else ""
        rows = "1 request cannot be sent" if self.count == 1 else f"{self.count} requests cannot be sent"
        if not self.count:
            super().__init__("there is no request at all, so nothing was sent", code="empty", hint=hint)
            return
        code = self.problems[0].code if self.problems else "invalid_requests"
        super().__init__(f"{rows}, so nothing was sent: {what}{more}", code=code, hint=hint)


class ConfigError(AsyncBatchError):
    """A configuration file, an option or a name is wrong."""


class MissingCredentialsError(ConfigError):
    """There is no key for this account; the message names the variable to set."""


class BudgetExceededError(ConfigError):
    """The account has used what it may within 24 hours; nothing was sent.

    Attributes:
        budget: Which one: `requests_per_day`, `tokens_per_day`, `usd_per_day`.
        account: Whose; None for the environment's key.
        limit: How much it may use.
        used: How much it has used.
        asked: How much the job wanted.
        left: How much is left.
        retry_after_s: After how many seconds the job would fit; None if it alone is more than the limit.
    """

    def __init__(
        self,
        message: str,
        *,
        budget: str,
        account: str | None,
        limit: float,
        used: float,
        asked: float,
        retry_after_s: float | None,
    ) -> None:
        hint = (
            "it alone is more than that: send less"
            if retry_after_s is None
            else f"it fits in {retry_after_s:,.0f} seconds"
        )
        super().__init__(message, code="budget.exceeded", hint=hint)
        self.budget = budget
        self.account = account
        self.limit = limit
        self.used = used
        self.asked = asked
        self.left = max(0.0, limit - used)
        self.retry_after_s = retry_after_s


class ScopeError(AsyncBatchError, RuntimeError):
    """Something was used outside its `async with`, or on another event loop than the one it was opened on."""


class PollerClosedError(ScopeError):
    """The poller was left while this batch was still watched. The batch itself goes on at the provider."""


class ClientClosedError(ScopeError):
    """The client was left while this job was still running. Batches that were created go on at the provider."""


class JournalError(AsyncBatchError):
    """The journal refuses a change, or is not what it should be."""


class StorageError(AsyncBatchError):
    """Our own disk refuses a large body: it is full, or cannot be written or read. Nothing is known to be wrong elsewhere."""


_REFUSED_KEY = frozenset({401, 403})

ELSEWHERE, BAD_ID = "answers_elsewhere", "bad_id"
"""Codes of answers that are there and are not read: they lie at an address, or under a name that no path may hold."""

UNCANCELLABLE = "cancel.unsupported"
"""The code of a cancel at a provider that cannot: asking again is of no use, and the batch comes to its own end."""


class ProviderError(AsyncBatchError):
    """Something went wrong between us and a provider.

    Attributes:
        provider: The provider's name.
        status: The HTTP status, if an answer came.
        code: The provider's own error code, if it gave one.
        request_id: The provider's id of the failed call, for its support.
        retry_after: Seconds the provider asked us to wait.
        is_auth: Whether the key is at fault, whatever the status says.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
        is_auth: bool | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.is_auth = status in _REFUSED_KEY if is_auth is None else is_auth
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class ProviderTransientError(ProviderError):
    """The same call may be made again: the wire failed, or the provider is busy."""


class ProviderPermanentError(ProviderError):
    """The same call will fail again: the provider understood and refuses."""


class ProviderNotRegisteredError(ProviderPermanentError, ConfigError):
    """No provider has this name; the message lists those that exist. It is yours to mend, as every `ConfigError` is."""


class AmbiguousSubmissionError(ProviderPermanentError):
    """Several batches at the provider look like this submission, and none is certain."""


class SubmissionUnknownError(ProviderError):
    """A create may or may not have been accepted. It must be reconciled, never repeated."""
