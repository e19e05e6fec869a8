"""The error tree: blame in the type, the next step in the message."""

import pickle

import pytest

from asyncbatch import exceptions
from asyncbatch.exceptions import (
    AmbiguousSubmissionError,
    AsyncBatchError,
    BudgetExceededError,
    ClientClosedError,
    ConfigError,
    InvalidRequestsError,
    JournalError,
    MissingCredentialsError,
    PollerClosedError,
    ProviderError,
    ProviderNotRegisteredError,
    ProviderPermanentError,
    ProviderTransientError,
    RowProblem,
    ScopeError,
    StorageError,
    SubmissionUnknownError,
)

PARENTS = {
    InvalidRequestsError: AsyncBatchError,
    ConfigError: AsyncBatchError,
    MissingCredentialsError: ConfigError,
    BudgetExceededError: ConfigError,
    ScopeError: AsyncBatchError,
    PollerClosedError: ScopeError,
    ClientClosedError: ScopeError,
    JournalError: AsyncBatchError,
    StorageError: AsyncBatchError,
    ProviderError: AsyncBatchError,
    ProviderTransientError: ProviderError,
    ProviderPermanentError: ProviderError,
    ProviderNotRegisteredError: ProviderPermanentError,
    AmbiguousSubmissionError: ProviderPermanentError,
    SubmissionUnknownError: ProviderError,
}


@pytest.mark.parametrize(("error", "parent"), PARENTS.items())
def test_every_error_stands_where_the_tree_says(error, parent):
    assert error.__base__ is parent


def test_the_tree_drawn_in_the_module_is_the_whole_tree():
    defined = {
        item for item in vars(exceptions).values() if isinstance(item, type) and issubclass(item, AsyncBatchError)
    }

    assert defined == {AsyncBatchError, *PARENTS}
    assert all(error.__name__ in exceptions.__doc__ for error in defined)


def test_what_may_be_repeated_what_must_not_and_what_must_be_reconciled_are_told_apart():
    kinds = (ProviderTransientError, ProviderPermanentError, SubmissionUnknownError)

    for kind in kinds:
        assert [issubclass(kind, other) for other in kinds] == [kind is other for other in kinds]


def test_the_next_step_stands_behind_the_message():
    assert str(AsyncBatchError("no key", hint="set it")) == "no key (set it)"
    assert str(AsyncBatchError("no key")) == "no key"


def test_an_error_of_a_provider_carries_its_facts_as_fields():
    error = ProviderTransientError(
        "busy", provider="openai", status=429, code="rate", request_id="req_1", retry_after=7
    )

    assert (error.provider, error.status, error.code, error.request_id, error.retry_after, error.hint) == (
        "openai",
        429,
        "rate",
        "req_1",
        7,
        None,
    )


def test_an_error_of_our_own_disk_can_be_taken_for_none_of_the_wire():
    assert not issubclass(StorageError, OSError | ProviderError)


def test_use_in_the_wrong_place_is_a_runtime_error_too():
    assert issubclass(ScopeError, RuntimeError)


def test_a_bad_row_is_named():
    assert str(RowProblem(3, "mine", "nan", "it holds NaN")) == "row 3 ('mine'): it holds NaN"
    assert str(RowProblem(3, None, "nan", "it holds NaN")) == "row 3: it holds NaN"


def test_one_bad_row_is_told_in_the_singular():
    error = InvalidRequestsError([RowProblem(3, "mine", "nan", "it holds NaN")], hint="mend it")

    assert str(error) == "1 request cannot be sent, so nothing was sent: row 3 ('mine'): it holds NaN (mend it)"
    assert (error.code, error.count) == ("nan", 1)


def test_the_first_twenty_bad_rows_are_shown_and_all_are_counted():
    problems = [RowProblem(row, None, "nan", "bad") for row in range(30)]

    error = InvalidRequestsError(problems, count=5000)

    assert error.problems == tuple(problems[:20])
    assert error.count == 5000
    assert str(error).startswith("5000 requests cannot be sent, so nothing was sent: row 0: bad; row 1: bad;")
    assert str(error).endswith("row 19: bad; and 4980 more")


def test_bad_requests_without_a_list_still_have_a_code():
    assert InvalidRequestsError([], count=2).code == "invalid_requests"


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestsError([RowProblem(3, "a", "nan", "it holds NaN")], count=7, hint="mend them"),
        ProviderTransientError("busy", provider="openai", status=429, code="rate_limit", retry_after=2.5),
        ConfigError("no such mode", code="mode.unknown"),
    ],
)
def test_an_error_crosses_a_process_border_whole(error):
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
