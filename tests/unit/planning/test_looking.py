"""Looking for result files that are named late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.looking import PATIENCE_S, next_look, next_reading


@pytest.mark.parametrize(("looks", "step"), [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (4, 15.0), (20, 15.0)])
def test_looks_grow_further_apart_up_to_a_limit(looks, step):
    assert next_look(looks, 0.0, 0.5) == step
    assert next_look(looks, 0.0, 0.0) == 0.75 * step


@pytest.mark.parametrize("waited_s", [60.0, 61.0])
def test_patience_ends_after_a_minute(waited_s):
    assert next_look(3, waited_s, 0.5) is None


def test_patience_may_be_longer():
    assert next_look(20, 60.0, 0.5, 900.0) == 15.0
    assert next_look(20, 895.0, 0.5, 900.0) == 5.0
    assert next_look(20, 900.0, 0.5, 900.0) is None


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=200, max_size=200))
def test_the_last_look_is_made_exactly_at_the_end_of_our_patience(dice):
    waited, looks = 0.0, 0
    while (wait := next_look(looks, waited, dice[looks])) is not None:
        assert wait > 0
        waited, looks = waited + wait, looks + 1

    assert waited == pytest.approx(PATIENCE_S)
    assert looks <= 12


@pytest.mark.parametrize(
    ("looks", "counted", "answered", "wait"),
    [
        (0, 1200, 4, None),
        (0, 1200, 3, 5.0),
        (0, 3, 3, None),
        (0, 3, 4, None),
        (0, 0, 0, None),
        (0, 3, 2, 5.0),
        (1, 3, 0, 30.0),
        (2, 3, 0, None),
    ],
)
def test_fewer_answers_than_the_provider_counts_are_fetched_twice_more(looks, counted, answered, wait):
    assert next_reading(looks, counted, answered, 0.5, sent=4, first_s=5.0) == wait
