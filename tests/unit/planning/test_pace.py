"""How fast an account is asked: within its budget, slower once it was throttled, and as before after a while."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.pace import (
    BURST,
    Pace,
    eased,
    has_plenty,
    rate_per_s,
    rested,
    spread_s,
    take,
    throttled,
    wait_s,
)
from asyncbatch.planning.schedule import Polling

ONE = Polling()
NO_LIMIT = Polling(requests_per_s=inf)


@pytest.mark.parametrize(
    ("policy", "halvings", "rate"),
    [
        (Polling(), 0, 1.0),
        (Polling(first_s=0.02), 0, 50.0),
        (Polling(first_s=0), 0, inf),
        (Polling(requests_per_s=4), 0, 4.0),
        (Polling(requests_per_s=4), 2, 1.0),
        (NO_LIMIT, 0, inf),
        (NO_LIMIT, 1, 32.0),
        (Polling(requests_per_s=1000), 1, 32.0),
    ],
)
def test_the_budget_is_the_policys_or_one_a_second_and_halved_when_we_were_too_fast(policy, halvings, rate):
    assert rate_per_s(policy, halvings) == rate


@given(st.floats(0.1, 50), st.lists(st.floats(0, 20), max_size=60))
def test_however_requests_come_no_more_leave_than_the_budget_allows(rate, gaps):
    policy, pace, now, sent = Polling(requests_per_s=rate), Pace(at=0.0), 0.0, 0
    for gap in gaps:
        now += gap
        while wait_s(policy, pace, now) == 0:
            pace, sent = take(policy, pace, now), sent + 1

        assert sent <= BURST + rate * now + 1


def test_whoever_waits_as_long_as_told_may_send():
    policy, pace, now = Polling(requests_per_s=0.3), Pace(at=1_800_000_000.0), 1_800_000_000.0
    for _ in range(200):
        waited = 0
        while (wait := wait_s(policy, pace, now)) > 0:
            now, waited = now + wait, waited + 1
        assert waited <= 2, "no wait is too short for the clock to show it"
        pace = take(policy, pace, now)

    assert now - 1_800_000_000.0 == pytest.approx((200 - BURST) / 0.3, rel=0.01)


def test_without_a_limit_nobody_waits():
    pace = Pace(at=0.0)
    for _ in range(1000):
        assert wait_s(NO_LIMIT, pace, 0.0) == 0
        pace = take(NO_LIMIT, pace, 0.0)


def test_a_clock_that_stood_still_gives_nothing():
    pace = Pace(tokens=0.0, at=100.0)

    assert wait_s(ONE, pace, 90.0) == 1.0
    assert take(ONE, pace, 90.0).at == 100.0


def test_a_429_pauses_the_account_and_halves_its_budget_with_nothing_left_to_burst():
    pace = throttled(Pace(at=0.0), 100.0, 0.5, 30.0)

    assert pace.paused_until == 130.0
    assert wait_s(ONE, pace, 100.0) >= 30.0
    assert wait_s(ONE, pace, 130.0) == 2.0, "half as fast: the first token takes two seconds"


def test_several_429_of_the_same_moment_count_once_and_the_longest_wish_holds():
    pace = Pace(at=0.0)
    for retry_after in (30.0, 10.0, 60.0, 5.0):
        pace = throttled(pace, 100.0, 0.5, retry_after)

    assert (pace.halvings, pace.paused_until) == (1, 160.0)


def test_without_a_wish_the_pause_doubles_up_to_a_minute_and_the_budget_ends_at_a_64th():
    pace, now, pauses = Pace(at=0.0), 0.0, []
    for _ in range(10):
        pace = throttled(pace, now, 0.5, None)
        pauses.append(pace.paused_until - now)
        now = pace.paused_until

    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0, 60.0]
    assert rate_per_s(ONE, pace.halvings) == 1 / 64


def test_twenty_clean_answers_double_the_budget_until_it_is_whole():
    pace = throttled(throttled(Pace(), 0.0, 0.5, 1.0), 10.0, 0.5, 1.0)
    halvings = []
    for _ in range(60):
        pace = eased(pace)
        halvings.append(pace.halvings)

    assert halvings == [2] * 19 + [1] * 20 + [0] * 21


@pytest.mark.parametrize(
    ("policy", "count", "seconds"),
    [(ONE, 1, 5.0), (ONE, 100, 100.0), (ONE, 100_000, 300.0), (NO_LIMIT, 640, 10.0), (NO_LIMIT, 1, 5.0)],
)
def test_batches_that_are_due_at_the_same_moment_are_spread_as_the_budget_asks(policy, count, seconds):
    assert spread_s(policy, count) == seconds


@pytest.mark.parametrize(
    ("policy", "tokens", "expected"), [(ONE, 10.0, True), (ONE, 5.0, False), (ONE, 0.0, False), (NO_LIMIT, 0.0, True)]
)
def test_what_is_left_beside_the_pages_of_a_list_is_for_single_questions(policy, tokens, expected):
    assert has_plenty(policy, Pace(tokens=tokens, at=0.0), 0.0) is expected


def test_an_account_whose_quota_is_used_up_waits_and_is_no_slower_afterwards():
    pace = rested(Pace(at=0.0), 130.0)

    assert wait_s(ONE, pace, 100.0) == 30.0
    assert wait_s(ONE, pace, 130.0) == 0
    assert (rested(pace, 50.0).paused_until, pace.halvings) == (130.0, 0)
