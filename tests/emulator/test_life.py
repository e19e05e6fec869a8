"""Where a batch stands, as a function of its record and the clock."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncbatch.emulator.life import Course, Pace, Phase, plan_itinerary, rows_done, stand

PACE = Pace(validating_s=10, row_s=1, run_cap_s=None, finalizing_s=5, cancelling_s=20, window_s=1000)
COURSE = Course(created_at=0, pace=PACE, rows=100)


@pytest.mark.parametrize(
    ("now", "phase", "done"),
    [
        (-1, Phase.VALIDATING, 0),
        (0, Phase.VALIDATING, 0),
        (9.9, Phase.VALIDATING, 0),
        (10, Phase.IN_PROGRESS, 0),
        (60.5, Phase.IN_PROGRESS, 50),
        (110, Phase.FINALIZING, 100),
        (115, Phase.COMPLETED, 100),
        (1e9, Phase.COMPLETED, 100),
    ],
)
def test_a_batch_goes_through_its_phases_by_the_clock(now, phase, done):
    found = stand(COURSE, now)

    assert (found.phase, found.rows_done) == (phase, done)


def test_each_phase_remembers_when_it_began():
    found = stand(COURSE, 200)

    assert found.since == {
        Phase.VALIDATING: 0,
        Phase.IN_PROGRESS: 10,
        Phase.FINALIZING: 110,
        Phase.COMPLETED: 115,
    }


def test_a_refused_batch_fails_when_validation_ends_and_runs_nothing():
    course = replace(COURSE, is_refused=True)

    assert stand(course, 9).phase is Phase.VALIDATING
    assert stand(course, 10).phase is Phase.FAILED
    assert stand(course, 500).rows_done == 0


def test_a_refusal_may_show_later_than_validation():
    course = replace(COURSE, is_refused=True, refused_after_s=120)

    assert stand(course, 119).phase is Phase.VALIDATING
    assert stand(course, 120).phase is Phase.FAILED


def test_a_batch_that_nobody_has_examined_stays_in_validation():
    assert stand(replace(COURSE, rows=None), 500).phase is Phase.VALIDATING


def test_a_batch_that_outlives_its_window_expires_with_what_it_has():
    course = replace(COURSE, rows=5000)

    assert stand(course, 1004).phase is Phase.IN_PROGRESS
    assert stand(course, 1005).phase is Phase.EXPIRED
    assert stand(course, 9999).rows_done == 990


def test_a_stalled_batch_expires_however_few_its_rows():
    assert stand(replace(COURSE, rows=1, is_stalled=True), 1005).phase is Phase.EXPIRED


@pytest.mark.parametrize(("cancel_at", "done"), [(5, 0), (60, 50), (112, 100)])
def test_a_cancelled_batch_keeps_the_rows_that_were_done(cancel_at, done):
    course = replace(COURSE, cancel_at=cancel_at)

    assert stand(course, cancel_at + 19).phase is Phase.CANCELLING
    assert stand(course, cancel_at + 20).phase is Phase.CANCELLED
    assert stand(course, 9999).rows_done == done


def test_no_batch_is_over_before_its_results_are_written():
    assert stand(COURSE, 500, is_written=False).phase is Phase.FINALIZING
    assert stand(replace(COURSE, rows=5000), 5000, is_written=False).phase is Phase.IN_PROGRESS
    assert stand(replace(COURSE, cancel_at=60), 500, is_written=False).phase is Phase.CANCELLING
    assert stand(replace(COURSE, is_refused=True), 500, is_written=False).phase is Phase.FAILED


def test_a_batch_whose_answers_are_awaited_is_running():
    expiring = replace(COURSE, rows=5000)

    assert stand(COURSE, 500, is_written=False, is_answered=False).phase is Phase.IN_PROGRESS
    assert stand(COURSE, 112, is_written=False, is_answered=False).since == {Phase.VALIDATING: 0, Phase.IN_PROGRESS: 10}
    assert stand(expiring, 5000, is_written=False, is_answered=False).phase is Phase.IN_PROGRESS
    assert stand(replace(COURSE, cancel_at=60), 70, is_answered=False).phase is Phase.CANCELLING


def test_a_batch_that_is_cancelled_later_than_the_clock_would_end_it_was_never_completed():
    found = stand(replace(COURSE, cancel_at=500), 600)

    assert (found.phase, found.rows_done) == (Phase.CANCELLED, 100)
    assert Phase.COMPLETED not in found.since


def test_the_cap_bounds_how_long_the_rows_take():
    course = replace(COURSE, rows=50_000, pace=replace(PACE, run_cap_s=120))

    assert stand(course, 130).phase is Phase.FINALIZING


times = st.floats(min_value=0, max_value=5000)


@given(
    rows=st.none() | st.integers(min_value=0, max_value=3000),
    cancel_at=st.none() | times,
    is_refused=st.booleans(),
    is_stalled=st.booleans(),
    moments=st.lists(times, min_size=2, max_size=20),
)
def test_time_never_takes_anything_back(rows, cancel_at, is_refused, is_stalled, moments):
    course = replace(COURSE, rows=rows, is_refused=is_refused, is_stalled=is_stalled)
    if cancel_at is not None and not stand(course, cancel_at).is_over:
        course = replace(course, cancel_at=cancel_at)

    stands = [stand(course, now) for now in sorted(moments)]

    for earlier, later in itertools.pairwise(stands):
        assert earlier.rows_done <= later.rows_done
        assert earlier.since.items() <= later.since.items()
        assert not earlier.is_over or later.phase is earlier.phase
    assert all(0 <= found.rows_done <= (rows or 0) for found in stands)
    assert [at for at, _ in plan_itinerary(course)] == sorted(at for at, _ in plan_itinerary(course))


def test_an_empty_course_has_nothing_to_do():
    assert rows_done(replace(COURSE, rows=0), 50) == 0
