"""Whether a walk through the list is cheaper than single questions, how far it goes, and when a list is left alone."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.planning.sweeping import (
    NO_LIST,
    ListKnown,
    Walk,
    after_failure,
    after_page,
    after_walk,
    begin_walk,
    goes_on,
    is_newest_first,
    plan_pages,
    read_item,
    skips_after,
)

FRESH = ListKnown()
BUSY = ListKnown(per_s=1.0)


def pages(due, watched, size=100, age_s=None, known=FRESH, now=0.0):
    return plan_pages(due=due, watched=watched, page_size=size, age_s=age_s, known=known, now=now)


@pytest.mark.parametrize(
    ("weighed", "expected"),
    [
        ({"due": 1, "watched": 1}, 0),
        ({"due": 3, "watched": 3}, 0),  # a page of 100 costs as much as three
        ({"due": 4, "watched": 4}, 1),
        ({"due": 4, "watched": 100}, 1),
        ({"due": 4, "watched": 101}, 0),
        ({"due": 7, "watched": 101}, 2),
        ({"due": 10_000, "watched": 10_000}, 100),
        ({"due": 300, "watched": 10_000}, 0),
        ({"due": 301, "watched": 10_000}, 100),
        ({"due": 20, "watched": 20, "size": 1000}, 0),  # a page of 1000 costs as much as 21
        ({"due": 22, "watched": 22, "size": 1000}, 1),
        ({"due": 50, "watched": 50, "age_s": 86400.0}, 1),  # nothing is known of the list yet
        ({"due": 50, "watched": 50, "known": BUSY}, 1),  # nor of the batches
        ({"due": 50, "watched": 50, "age_s": 86400.0, "known": BUSY}, 0),  # 86,400 strangers lie before the oldest
        ({"due": 50, "watched": 50, "age_s": 900.0, "known": BUSY}, 9),
        ({"due": 50, "watched": 50, "age_s": 1.0, "known": BUSY}, 1),  # those that are due are on it themselves
        ({"due": 50, "watched": 50, "known": ListKnown(rest_until=10.0), "now": 9.0}, 0),
        ({"due": 50, "watched": 50, "known": ListKnown(rest_until=10.0), "now": 10.0}, 1),
        ({"due": 10**6, "watched": 10**6, "known": NO_LIST, "now": 1e12}, 0),
        ({"due": 0, "watched": 0}, 0),
    ],
)
def test_a_walk_is_made_when_it_costs_less_than_asking_about_each(weighed, expected):
    assert pages(**weighed) == expected


def walk(**fields):
    return Walk(**{"most": 10, "missing": 5, **fields})


@pytest.mark.parametrize(
    ("walked", "expected"),
    [
        (walk(), True),
        (walk(missing=0), False),
        (walk(pages=10), False),
        (walk(barren=2), True),
        (walk(barren=3), False),
        (walk(back_to=1000.0), True),
        (walk(back_to=1000.0, oldest=1000.0), True),
        (walk(back_to=1000.0, oldest=941.0), True),  # as far out of order as a list may be
        (walk(back_to=1000.0, oldest=939.0), False),
        (walk(oldest=5.0), True),
    ],
)
def test_it_goes_on_while_somebody_is_missing_who_may_still_come(walked, expected):
    assert goes_on(walked) is expected


def test_a_page_is_taken_into_account():
    first = after_page(walk(), [90.0, 80.0], 5)
    second = after_page(first, [70.0, 60.0], 3)
    empty = after_page(second, [], 3)

    assert (first.pages, first.rows, first.barren, first.newest, first.oldest) == (1, 2, 1, 90.0, 80.0)
    assert (second.pages, second.rows, second.barren, second.missing, second.oldest) == (2, 4, 0, 3, 60.0)
    assert (empty.pages, empty.rows, empty.barren, empty.newest, empty.oldest) == (3, 4, 1, 90.0, 60.0)
    assert after_page(walk(), [], 5).newest is None


@given(due=st.integers(1, 10_000), watched=st.integers(0, 20_000), size=st.integers(1, 1000), hits=st.data())
def test_whatever_the_list_looks_like_a_walk_costs_little_more_than_asking_about_each(due, watched, size, hits):
    planned = pages(due, due + watched, size)
    if not planned:
        return
    walked, missing = begin_walk(pages=planned, due=due, page_size=size, back_to=None), due
    while goes_on(walked):
        missing -= hits.draw(st.integers(0, min(missing, 1)))
        walked = after_page(walked, [0.0], missing)
        assert walked.pages <= due / (1 + size / 50) + 1


@pytest.mark.parametrize(
    ("created", "before", "expected"),
    [
        ([], None, True),
        ([9.0, 9.0, 3.0], None, True),
        ([1000.0, 1059.0], None, True),  # by a minute, clocks of several hosts may differ
        ([1000.0, 1061.0], None, False),
        ([900.0], 950.0, True),
        ([900.0, 1200.0], 950.0, False),
        ([1200.0, 900.0], 950.0, False),
        ([1.0, 2.0, 3.0], None, True),
    ],
)
def test_a_list_is_newest_first_on_each_page_and_from_page_to_page(created, before, expected):
    assert is_newest_first(created, before) is expected


def test_a_walk_teaches_how_many_batches_come_in_a_second():
    known = after_walk(ListKnown(failures=3, rest_until=5.0), walk(rows=100, newest=1100.0, oldest=1000.0))

    assert known == ListKnown(per_s=1.0)
    assert after_walk(BUSY, walk()) == BUSY, "an empty list says nothing about it"
    assert after_walk(BUSY, walk(rows=1, newest=5.0, oldest=5.0)) == BUSY


def test_a_list_that_fails_is_left_alone_for_twice_as_long_each_time_up_to_an_hour():
    known, now, rests = BUSY, 0.0, []
    for _ in range(8):
        known = after_failure(known, now, 0.5)
        rests.append(known.rest_until - now)
        now = known.rest_until

    assert rests == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    assert known.per_s == BUSY.per_s


@pytest.mark.parametrize(("status", "rest_s"), [(404, 3600.0), (405, 3600.0), (501, 3600.0), (503, 60.0), (None, 60.0)])
def test_where_there_is_no_list_it_is_looked_for_once_an_hour(status, rest_s):
    assert after_failure(FRESH, 0.0, 0.5, status=status).rest_until == rest_s


def test_a_list_that_asks_for_more_patience_gets_it():
    assert after_failure(FRESH, 0.0, 0.5, status=429, retry_after=600.0).rest_until == 600.0
    assert after_failure(FRESH, 0.0, 0.5, status=429, retry_after=1.0).rest_until == 60.0
    assert NO_LIST.rest_until == inf


@pytest.mark.parametrize(("misses", "skips"), [(1, 2), (2, 4), (5, 32), (6, 32), (10**6, 32)])
def test_for_a_batch_that_lists_do_not_show_they_are_walked_less_and_less(misses, skips):
    assert skips_after(misses) == skips


@pytest.mark.parametrize(
    ("status", "uris", "is_whole", "expected"),
    [
        (BatchStatus.IN_PROGRESS, (), False, "take"),
        (BatchStatus.IN_PROGRESS, (), True, "take"),
        (BatchStatus.UNKNOWN, (), True, "confirm"),
        (BatchStatus.COMPLETED, ("out",), True, "take"),
        (BatchStatus.COMPLETED, ("out",), False, "confirm"),
        (BatchStatus.COMPLETED, (), True, "confirm"),
        (BatchStatus.FAILED, (), True, "take"),
        (BatchStatus.EXPIRED, (), False, "confirm"),
    ],
)
def test_an_end_is_read_from_a_list_only_where_that_says_all_of_it(status, uris, is_whole, expected):
    reading = ProviderStatus(provider_batch_id="b", status=status, result_uris=uris)

    assert read_item(reading, is_whole=is_whole) == expected
