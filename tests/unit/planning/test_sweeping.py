"""Whether a walk through the list is cheaper than single questions, how far it goes, and when a list is left alone."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

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
SEEN = ListKnown(rows=1000, newest=2000.0, oldest=1000.0, at=5000.0)


def pages(due, watched, size=100, back_to=None, known=FRESH, now=5000.0):
    return plan_pages(due=due, watched=watched, page_size=size, back_to=back_to, known=known, now=now)


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
        ({"due": 50, "watched": 50, "back_to": 1000.0}, 1),  # nothing is known of the list yet
        ({"due": 50, "watched": 50, "known": SEEN}, 1),  # nor of the batches
        ({"due": 31, "watched": 31, "known": SEEN, "back_to": 1000.0}, 10),  # 1000 strangers stand before the oldest
        ({"due": 30, "watched": 30, "known": SEEN, "back_to": 1000.0}, 0),
        ({"due": 31, "watched": 31, "known": SEEN, "back_to": 1500.0}, 5),
        ({"due": 31, "watched": 31, "known": SEEN, "back_to": 0.0}, 0),  # twice as far as anybody has been
        ({"due": 50, "watched": 50, "known": SEEN, "back_to": 3000.0}, 1),  # newer than all of those
        ({"due": 50, "watched": 50, "known": replace(SEEN, newest=1000.0), "back_to": 900.0}, 10),  # all of one moment
        ({"due": 31, "watched": 31, "known": replace(SEEN, new_per_s=1.0), "back_to": 1000.0, "now": 5900.0}, 0),
        ({"due": 58, "watched": 58, "known": replace(SEEN, new_per_s=1.0), "back_to": 1000.0, "now": 5900.0}, 19),
        ({"due": 50, "watched": 50, "known": ListKnown(rest_until=6000.0)}, 0),
        ({"due": 50, "watched": 50, "known": ListKnown(rest_until=6000.0), "now": 6000.0}, 1),
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
        (walk(barren=3, back_to=1000.0, oldest=2000.0), True),  # they stand further back
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


def test_who_is_new_since_the_walk_before_is_counted():
    again = after_page(after_page(walk(seen_before=75.0), [90.0, 80.0], 5), [75.0, 60.0], 5)

    assert again.new == 2
    assert after_page(walk(), [90.0], 5).new == 0, "before the first, nobody knows"


@given(due=st.integers(1, 10_000), watched=st.integers(0, 20_000), size=st.integers(1, 1000), hits=st.data())
def test_whatever_the_list_looks_like_a_walk_costs_little_more_than_asking_about_each(due, watched, size, hits):
    planned = pages(due, due + watched, size)
    if not planned:
        return
    walked, missing = begin_walk(pages=planned, due=due, page_size=size, back_to=None, known=FRESH), due
    while goes_on(walked):
        missing -= hits.draw(st.integers(0, min(missing, 1)))
        walked = after_page(walked, [0.0], missing)
        assert walked.pages <= due / (1 + size / 50) + 1


@pytest.mark.parametrize(
    ("planned", "due", "back_to", "most"), [(2, 300, None, 101), (2, 300, 5.0, 4), (2, 7, 5.0, 3), (10, 31, None, 11)]
)
def test_a_walk_that_knows_how_far_it_has_to_go_goes_little_further(planned, due, back_to, most):
    assert begin_walk(pages=planned, due=due, page_size=100, back_to=back_to, known=FRESH).most == most


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
        ([float(number) for number in range(100)], None, False),  # oldest first, a second apart
    ],
)
def test_a_list_is_newest_first_on_each_page_and_from_page_to_page(created, before, expected):
    assert is_newest_first(created, before) is expected


def test_a_walk_teaches_who_stands_on_the_list_and_how_fast_it_grows():
    first = after_walk(ListKnown(failures=3, rest_until=5.0), walk(rows=100, newest=1100.0, oldest=1000.0), 2000.0)
    second = after_walk(first, walk(rows=150, newest=1200.0, oldest=1000.0, new=50), 2100.0)
    third = after_walk(second, walk(rows=150, newest=1200.0, oldest=1000.0), 2200.0)

    assert first == ListKnown(rows=100, newest=1100.0, oldest=1000.0, at=2000.0)
    assert second == ListKnown(rows=150, newest=1200.0, oldest=1000.0, at=2100.0, new_per_s=pytest.approx(0.15))
    assert third.new_per_s == pytest.approx(0.105)
    assert after_walk(second, walk(), 2200.0) == ListKnown(), "an empty list"
    assert after_walk(second, walk(rows=1, newest=5.0, oldest=5.0, new=9), 2100.0).new_per_s == second.new_per_s


def test_a_list_that_fails_is_left_alone_for_twice_as_long_each_time_up_to_an_hour():
    known, now, rests = SEEN, 0.0, []
    for _ in range(8):
        known = after_failure(known, now, 0.5)
        rests.append(known.rest_until - now)
        now = known.rest_until

    assert rests == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    assert (known.rows, known.newest, known.failures) == (SEEN.rows, SEEN.newest, 8)


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
