"""When a batch is asked about again: patiently, spread, and never given up over an outage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.enums import BatchStatus
from asyncbatch.planning.schedule import (
    Again,
    GaveUp,
    Over,
    Polling,
    PollState,
    after_error,
    after_not_found,
    after_status,
    first_wait,
    interval,
    when_woken,
)

POLICY = Polling()
DICE = st.floats(0, 1, exclude_max=True)
START = PollState()


@pytest.mark.parametrize(
    ("polls", "seconds"), [(0, 5.0), (1, 7.5), (2, 11.25), (10, 288.325), (11, 300.0), (10_000, 300.0)]
)
def test_the_interval_grows_by_half_up_to_five_minutes(polls, seconds):
    assert interval(POLICY, polls, 0.5) == pytest.approx(seconds, rel=1e-3)


@given(st.integers(0, 10**6), DICE)
def test_the_interval_is_spread_by_half_of_itself(polls, u):
    middle = interval(POLICY, polls, 0.5)

    assert 0.5 * middle <= interval(POLICY, polls, u) <= 1.5 * middle


@given(st.integers(0, 100), DICE, st.floats(0, 7200), st.none() | st.floats(0, 3600))
def test_neither_the_providers_minimum_nor_its_wish_is_undercut(polls, u, floor_s, retry_after):
    seconds = interval(POLICY, polls, u, floor_s=floor_s, retry_after=retry_after)

    assert seconds >= max(floor_s, retry_after or 0.0)


@given(DICE, st.floats(0, 600))
def test_the_first_question_comes_within_the_first_interval(u, floor_s):
    assert 0 <= first_wait(POLICY, u, floor_s=floor_s) <= 5.0
    assert first_wait(POLICY, u, floor_s=floor_s) >= min(floor_s, 5.0)


@pytest.mark.parametrize("status", BatchStatus)
def test_only_an_end_ends_the_watch(status):
    step = after_status(POLICY, START, status, 0.5, retry_after=77.0)

    ends = {BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED}
    assert step == (Over() if status in ends else Again(delay_s=77.0, least_s=77.0, state=PollState(polls=1)))


def test_a_batch_unknown_to_its_provider_is_believed_in_for_half_an_hour_and_five_readings():
    state, now = START, 1000.0
    steps = []
    for _ in range(100):
        step = after_not_found(POLICY, state, now, 0.5)
        steps.append((now, step))
        if isinstance(step, GaveUp):
            break
        state, now = step.state, now + step.delay_s

    gave_up_at, last = steps[-1]
    assert isinstance(last, GaveUp)
    assert gave_up_at - 1000.0 >= 1800.0
    assert len(steps) >= 5
    assert steps[-2][0] - 1000.0 < 1800.0


def test_half_an_hour_is_not_enough_without_five_readings():
    state = PollState(polls=3, not_found=3, not_found_since=0.0)

    assert isinstance(after_not_found(POLICY, state, 10_000.0, 0.5), Again)
    fifth = PollState(polls=4, not_found=4, not_found_since=0.0)
    assert after_not_found(POLICY, fifth, 1799.9, 0.5) == Again(
        delay_s=interval(POLICY, 4, 0.5), state=PollState(polls=5, not_found=5, not_found_since=0.0)
    )
    assert after_not_found(POLICY, fifth, 1800.0, 0.5) == GaveUp()


def test_a_batch_that_is_seen_again_has_its_grace_anew():
    lost = PollState(polls=4, not_found=4, not_found_since=0.0)

    seen = after_status(POLICY, lost, BatchStatus.IN_PROGRESS, 0.5)

    assert seen == Again(delay_s=interval(POLICY, 4, 0.5), state=PollState(polls=5))
    assert isinstance(after_not_found(POLICY, seen.state, 10_000.0, 0.5), Again)


def test_errors_are_asked_through_without_limit_and_change_nothing_about_a_batch_that_was_not_found():
    state = PollState(polls=0, not_found=2, not_found_since=7.0)
    for polls in range(1, 2000):
        step = after_error(POLICY, state, 0.5)
        assert step.state == PollState(polls=polls, not_found=2, not_found_since=7.0)
        state = step.state

    assert step.delay_s == 300.0


def test_an_error_obeys_what_the_server_asked_for():
    assert after_error(POLICY, START, 0.5, retry_after=600.0).delay_s == 600.0
    assert after_error(POLICY, START, 0.5, floor_s=60.0).delay_s == 60.0
    assert after_not_found(POLICY, START, 0.0, 0.5, floor_s=60.0).delay_s == 60.0


@pytest.mark.parametrize("retry_after", [None, 0.5, 30.0])
def test_what_the_provider_wants_is_the_shortest_wait_whoever_wakes_us(retry_after):
    seen = after_status(POLICY, START, BatchStatus.IN_PROGRESS, 0.5, floor_s=2.0, retry_after=retry_after)
    failed = after_error(POLICY, START, 0.5, floor_s=2.0, retry_after=retry_after)

    assert seen.least_s == failed.least_s == max(2.0, retry_after or 0.0)
    assert after_not_found(POLICY, START, 0.0, 0.5, floor_s=2.0).least_s == 2.0
    assert after_status(POLICY, START, BatchStatus.IN_PROGRESS, 0.5).least_s == 0.0


@pytest.mark.parametrize(
    ("due", "soonest", "now", "woken"),
    [
        (100.0, 0.0, 10.0, 10.0),  # now
        (100.0, 40.0, 10.0, 40.0),  # not before the provider lets us
        (5.0, 40.0, 10.0, 5.0),  # it is never put off
        (100.0, 40.0, 50.0, 50.0),
    ],
)
def test_a_wake_brings_the_next_question_forward_and_never_puts_it_off(due, soonest, now, woken):
    assert when_woken(due, soonest, now) == woken
