"""A breaker for an account: it opens when nobody answers, one question finds out, and a batch alone trips nothing."""

from math import inf

import pytest

from asyncbatch.planning.breaker import CLOSED, TRIP_AFTER, answered, asking, failed, state_of, unanswered, wait_s


def after(*who, breaker=CLOSED, now=100.0):
    for name in who:
        breaker = failed(breaker, name, now, 0.5)
    return breaker


OPEN = after("a", "b", "a", "b", "a")


@pytest.mark.parametrize(
    ("who", "is_open"),
    [
        ("aaaaaaaaaaaaaaaaaaaaaa", False),  # one batch alone
        ("abab", False),
        ("ababa", True),
        ("aaaab", True),
        ("abcde", True),
    ],
)
def test_it_opens_when_several_batches_fail_in_a_row(who, is_open):
    assert (state_of(after(*who), 100.0) == "open") is is_open
    assert len("ababa") == TRIP_AFTER


def test_an_answer_between_them_says_that_somebody_is_there():
    breaker = answered(after("a", "b", "a", "b"))

    assert breaker is CLOSED
    assert answered(CLOSED) is CLOSED
    assert state_of(after("a", breaker=breaker), 100.0) == "closed"


def test_open_it_lets_nobody_through_then_one_and_nobody_else_until_that_one_is_answered():
    assert wait_s(CLOSED, 100.0) == 0
    assert asking(CLOSED) is CLOSED
    assert wait_s(OPEN, 100.0) == 15.0
    assert (state_of(OPEN, 115.0), wait_s(OPEN, 115.0)) == ("half_open", 0.0)

    probing = asking(OPEN)
    assert wait_s(probing, 115.0) == inf
    assert wait_s(answered(probing), 115.0) == 0


def test_a_probe_of_which_nothing_comes_leaves_it_open_and_lets_another_one_find_out():
    given_up = unanswered(asking(OPEN))

    assert (state_of(given_up, 115.0), wait_s(given_up, 115.0)) == ("half_open", 0.0)
    assert unanswered(OPEN) is OPEN
    assert unanswered(CLOSED) is CLOSED


def test_whoever_was_under_way_when_it_opened_says_nothing_new():
    assert after("c", "d", "e", breaker=OPEN) is OPEN


def test_each_failed_probe_doubles_the_rest_up_to_two_minutes():
    breaker, now, rests = OPEN, 115.0, []
    for _ in range(6):
        breaker = failed(asking(breaker), "a", now, 0.5)
        rests.append(breaker.until - now)
        now = breaker.until

    assert rests == [30.0, 60.0, 120.0, 120.0, 120.0, 120.0]
    assert not breaker.is_probing
    assert answered(breaker) is CLOSED
