"""When a batch is likely to end: by its own counts, by how long others took, and when it is late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import Progress, ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.planning.expecting import OVERDUE_SLACK_S, History, Sight, first_sight, learn, left_s, overdue_at
from asyncbatch.planning.schedule import Polling, interval

NOTHING = History()


def counts(done, total=100):
    return Progress(total=total, completed=done)


def learnt(*durations):
    history = NOTHING
    for took_s in durations:
        history = learn(history, took_s)
    return history


def status(**fields):
    return ProviderStatus(provider_batch_id="b", status=BatchStatus.IN_PROGRESS, **fields)


@pytest.mark.parametrize(
    ("before", "progress", "after"),
    [
        (None, Progress(), None),
        (None, counts(0), None),
        (None, Progress(completed=7), None),
        (None, counts(7), Sight(done=7, at=50.0)),
        (Sight(done=2, at=9.0), counts(7), Sight(done=2, at=9.0)),
    ],
)
def test_counts_are_watched_from_where_they_were_first_seen_to_move(before, progress, after):
    assert first_sight(before, progress, 50.0) == after


@pytest.mark.parametrize(
    ("progress", "now", "left"),
    [
        (counts(50), 140.0, 50.0),  # 40 in 40 s, and 50 are left
        (counts(100), 140.0, 0.0),
        (counts(130), 140.0, 0.0),
        (counts(14), 140.0, None),  # less than a twentieth
        (counts(10), 140.0, None),
        (counts(5), 140.0, None),  # set back
        (counts(50), 100.0, None),  # in no time
    ],
)
def test_the_end_is_expected_by_the_speed_of_the_counts(progress, now, left):
    assert left_s(NOTHING, Sight(done=10, at=100.0), progress, 500.0, now) == left


def test_without_counts_the_durations_of_other_batches_say_it():
    assert left_s(learnt(600.0, 660.0), None, Progress(), 100.0, 0.0) is None, "two are too few"
    assert left_s(learnt(600.0, 600.0, 600.0), None, Progress(), 100.0, 0.0) == pytest.approx(500.0)
    assert left_s(learnt(600.0, 600.0, 600.0), None, Progress(), 700.0, 0.0) == pytest.approx(-100.0)
    assert left_s(learnt(10.0, 9000.0, 60.0, 4000.0), None, Progress(), 100.0, 0.0) is None, "they say nothing"


def test_counts_say_it_better_than_other_batches():
    history = learnt(600.0, 600.0, 600.0)

    assert left_s(history, Sight(done=10, at=100.0), counts(50), 0.0, 140.0) == 50.0


def test_what_an_account_did_lately_outweighs_what_it_did_before():
    history = learnt(*[600.0] * 50, *[6000.0] * 30)

    assert history.ended == 80
    assert history.mean_s == pytest.approx(6000.0, rel=0.01)
    assert history.spread_s < 500.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_an_average_lies_among_what_it_was_made_of(durations):
    history = learnt(*durations)

    assert min(durations) - 1e-6 <= history.mean_s <= max(durations) + 1e-6
    assert history.spread_s >= 0


@pytest.mark.parametrize(
    ("left", "seconds"), [(None, 300.0), (1e6, 300.0), (100.0, 50.0), (4.0, 5.0), (0.0, 5.0), (-100.0, 50.0)]
)
def test_the_nearer_the_end_the_shorter_is_the_wait(left, seconds):
    assert interval(Polling(), 100, 0.5, left_s=left) == seconds
    assert interval(Polling(), 0, 0.5, left_s=left) == 5.0, "and it never is longer for it"
    assert interval(Polling(), 100, 0.5, left_s=left, floor_s=60.0) >= 60.0


def test_an_expectation_costs_a_few_questions_at_most_however_wrong_it_is():
    policy, now, end, asked = Polling(), 0.0, 3600.0, 0
    while now < 4 * 3600.0:
        now += interval(policy, 100, 0.5, left_s=end - now)
        asked += 1
    patiently = 4 * 3600.0 / 300.0

    assert asked <= patiently + 30


@pytest.mark.parametrize(
    ("reading", "window_s", "at"),
    [
        (None, None, None),
        (None, 86400.0, 1000.0 + 86400.0),
        (status(), None, None),
        (status(), 86400.0, 1000.0 + 86400.0),
        (status(created_at=7.0), 86400.0, 7.0 + 86400.0),
        (status(created_at=7.0, expires_at=99.0), 86400.0, 99.0),
        (status(expires_at=99.0), None, 99.0),
    ],
)
def test_a_batch_is_overdue_when_what_was_promised_has_passed_by_a_little(reading, window_s, at):
    assert overdue_at(reading, 1000.0, window_s) == (None if at is None else at + OVERDUE_SLACK_S)
