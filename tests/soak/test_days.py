"""A poller that lives for days: every end is seen once and in time, nobody is asked too often, and nothing grows."""

import logging

import pytest

from tests.soak.days import Plan, lived, month
from tests.soak.judge import wrongs_of
from tests.soak.mishaps import PAGES, QUESTIONS


@pytest.fixture(autouse=True)
def _quiet():
    """Say nothing about thousands of mishaps: pytest keeps what is logged, and memory is counted here."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(900)
def test_a_thousand_batches_are_watched_for_a_day_in_which_one_question_in_a_hundred_goes_wrong():
    days = lived(Plan())

    assert list(wrongs_of(days)) == []
    assert len(days.late_s) > 5000
    assert len(days.mishaps) == len(QUESTIONS) + len(PAGES)
    assert days.missed_events > 10_000, "one reader was slow"


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_ten_thousand_batches_are_watched_for_thirty_days():
    lived(Plan(batches=100, hours=2))  # so that what is loaded once is there before anything is counted
    days = lived(month())

    assert list(wrongs_of(days)) == []
    assert len(days.late_s) > 200_000
