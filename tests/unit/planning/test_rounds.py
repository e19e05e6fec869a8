"""Which requests are worth another batch, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import ProviderResultRow, RowError
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.rounds import again_in, among, check_retry, next_round, read_only, wanted_by, word_of

S = ResultStatus
PASSING = {S.ERRORED, S.EXPIRED, S.MISSING}


def row(status, *, retryable=True):
    error = None if status is S.SUCCEEDED else RowError(code="x", retryable=retryable)
    return ProviderResultRow(request_id="r", status=status, error=error)


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("retryable", [True, False])
def test_what_each_policy_sends_again(status, retryable):
    given_row = row(status, retryable=retryable)

    assert wanted_by("transient")(given_row) is (status in PASSING and retryable)
    assert wanted_by("expired")(given_row) is (status is S.EXPIRED)
    assert wanted_by(None) is None


@pytest.mark.parametrize("status", S)
def test_a_function_is_not_asked_about_what_has_an_answer_or_may_be_paid_for_already(status):
    asked = []
    wanted = wanted_by(lambda row: not asked.append(row.status))
    may_be_asked = status not in {S.SUCCEEDED, S.REJECTED, S.CONFLICT, S.INDETERMINATE}

    assert wanted(row(status)) is may_be_asked
    assert asked == ([status] if may_be_asked else [])


@pytest.mark.parametrize("status", S)
def test_without_an_error_what_was_never_answered_is_sent_again_and_an_error_is_not(status):
    bare = ProviderResultRow(request_id="r", status=status)

    assert wanted_by("transient")(bare) is (status in {S.EXPIRED, S.MISSING})


def test_by_hand_those_that_are_named_are_sent_again():
    wanted = among(read_only("errored, indeterminate"))

    assert [status for status in S if wanted(row(status))] == [S.ERRORED, S.INDETERMINATE]


def test_a_policy_is_remembered_by_its_word():
    assert [word_of(policy) for policy in ("transient", "expired", bool, None)] == [
        "transient",
        "expired",
        "callable",
        None,
    ]


@pytest.mark.parametrize(("retry", "most"), [("never", 3), (7, 3), ("expired", 0), ("expired", True), ("expired", "2")])
def test_what_is_no_policy_is_refused(retry, most):
    with pytest.raises(ConfigError, match=r"retry is|max_attempts is"):
        check_retry(retry, most)


def test_what_is_a_policy_is_taken():
    for retry in ("transient", "expired", None, bool):
        check_retry(retry, 1)


@given(tries=st.integers(1, 200), u=st.floats(0, 1, exclude_max=True))
def test_each_round_waits_longer_than_the_one_before_and_none_for_ever(tries, u):
    patience = Patience(again_s=30.0, cap_s=300.0)
    delay = next_round(patience, tries, 1000, u)

    assert delay is not None
    longest = min(300.0, 30.0 * 2 ** min(tries - 1, 10))
    assert longest / 2 <= delay <= longest


def test_nothing_follows_a_round_that_somebody_asked_for():
    assert next_round(Patience(), 0, 100, 0.5) is None


def test_a_request_is_not_sent_more_often_than_was_asked_for():
    assert next_round(Patience(), 2, 3, 0.5) is not None
    assert next_round(Patience(), 3, 3, 0.5) is None


def test_what_waits_is_told():
    assert again_in(1, 65.0) == "1 request is sent again, 1:05 left"
    assert again_in(20, 0.4) == "20 requests are sent again"
