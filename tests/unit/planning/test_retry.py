"""Whether and when to call again; what a server's Retry-After is worth."""

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.retry import (
    MAX_RETRY_AFTER_S,
    Patience,
    Retry,
    RetryBudget,
    decode_lag,
    decode_lead,
    decode_retry_after,
    next_delay,
    next_send,
    wants_retry,
)

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("tried", "u", "delay"),
    [(1, 0.0, 0.0), (1, 0.5, 0.25), (2, 0.5, 0.5), (3, 0.5, 1.0), (4, 0.5, 2.0), (5, 0.5, None)],
)
def test_waits_are_drawn_from_twice_as_much_each_time_until_the_tries_are_spent(tried, u, delay):
    assert next_delay(Retry(), tried, u) == delay


@pytest.mark.parametrize("tried", [8, 100, 5000])
def test_no_wait_is_longer_than_the_cap(tried):
    assert next_delay(Retry(attempts=10_000), tried, 0.999) == pytest.approx(30 * 0.999)


def test_one_attempt_means_no_second_one():
    assert next_delay(Retry(attempts=1), 1, 0.5) is None


@given(st.floats(0, 120), st.floats(0, 1, exclude_max=True), st.integers(1, 4))
def test_the_servers_wish_is_never_undercut(retry_after, u, tried):
    delay = next_delay(Retry(), tried, u, retry_after)

    assert delay is not None
    assert retry_after <= delay <= retry_after + 3


def test_a_wait_beyond_our_patience_ends_the_tries():
    assert next_delay(Retry(), 1, 0.5, 120.0) is not None
    assert next_delay(Retry(), 1, 0.5, 120.1) is None


def test_the_budget_allows_so_many_faults_and_no_more():
    budget = RetryBudget()

    paid = [budget.take(is_throttled=False) for _ in range(40)]

    assert paid == [14] * 35 + [0] * 5
    assert budget.tokens == 10
    assert [budget.take(is_throttled=True) for _ in range(3)] == [5, 5, 0]


def test_clean_calls_give_back_one_token_and_repeated_ones_what_they_paid_up_to_the_capacity():
    budget = RetryBudget()
    paid = budget.take(is_throttled=False) + budget.take(is_throttled=False)

    budget.give(0)
    assert budget.tokens == 473
    budget.give(paid)
    assert budget.tokens == 500


# --- Retry-After -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7.5 "}, 7.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 25 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Wed, 25 Nov 2026 13:01:30 +0100"}, 90.0),
        ({"retry-after": "Wed, 25 Nov 2026 12:01:30 -0000"}, 90.0),  # a date without a zone means UTC
        ({"retry-after": "Wed, 25 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after-ms": "-5"}, 0.0),
        ({"retry-after": "1e9"}, 3600.0),
        ({"retry-after": "Wed, 25 Nov 2099 12:00:00 GMT"}, 3600.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, 3600.0),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0.0),
        ({"retry-after": "Wed, 25 Nov 99999 12:00:00 GMT"}, None),
        ({"retry-after": "Wed, 25 Nov 2026 12:00:00 +99999999999999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-Infinity"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\x00"}, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_nonsense_is_none(headers, seconds):
    assert decode_retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "known", "lead"),
    [
        ({"date": "Wed, 25 Nov 2026 11:59:30 GMT"}, 0.0, 30.0),
        ({"date": "Wed, 25 Nov 2026 12:00:30 GMT"}, 7.0, 0.0),  # behind the server we need not read back further
        ({}, 7.0, 7.0),
        ({"date": "yesterday"}, 7.0, 7.0),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, 7.0, 86400.0),
    ],
)
def test_the_servers_date_tells_by_how_much_our_clock_is_ahead(headers, known, lead):
    assert decode_lead(headers, NOW, known) == lead


@pytest.mark.parametrize(
    ("headers", "known", "lag"),
    [
        ({"date": "Wed, 25 Nov 2026 12:00:30 GMT"}, 0.0, 30.0),
        ({"date": "Fri, 25 Dec 2026 12:00:00 GMT"}, 0.0, 30 * 86400.0),
        ({"date": "Wed, 25 Nov 2026 11:59:30 GMT"}, 7.0, 0.0),
        ({}, 7.0, 7.0),
        ({"date": "yesterday"}, 7.0, 7.0),
    ],
)
def test_it_tells_by_how_much_our_clock_is_behind_however_much_that_is(headers, known, lag):
    assert decode_lag(headers, NOW, known) == lag


WORDS = st.sampled_from(
    ["nan", "inf", "1e400", "Mon, ", "25 Nov ", "99999", "GMT", "+9999", "-", ":", "1_0", "٣", "\x00"]
)
VALUES = (
    st.text()
    | st.floats().map(str)
    | st.integers().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(format_datetime)
    | st.lists(WORDS).map("".join)
)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), VALUES), st.floats(0, 4e9))
def test_no_header_gives_a_wait_that_is_not_finite_or_out_of_range(headers, now):
    seconds = decode_retry_after(headers, now)

    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= MAX_RETRY_AFTER_S)


@pytest.mark.parametrize(("word", "wants"), [("true", True), ("FALSE", False), ("maybe", None), ("", None)])
def test_the_server_may_say_whether_to_retry(word, wants):
    assert wants_retry({"x-should-retry": word}) is wants


def test_most_servers_say_nothing():
    assert wants_retry({}) is None


PATIENCE = Patience(base_s=2.0, cap_s=300.0, total_s=86400.0, unreachable_s=1800.0)


@pytest.mark.parametrize(
    ("refusals", "waited_s", "u", "retry_after", "is_reached", "delay"),
    [
        (1, 0.0, 0.5, None, True, 1.0),
        (3, 0.0, 0.5, None, True, 4.0),
        (50, 0.0, 1.0, None, True, 300.0),
        (10_000, 0.0, 1.0, None, True, 300.0),
        (1, 0.0, 1.0, 60.0, True, 60.2),  # never sooner than asked for
        (50, 0.0, 1.0, 5.0, True, 300.0),  # and never more often than our own patience says
        (50, 86399.0, 0.0, None, True, 0.0),
        (50, 86400.0, 0.0, None, True, None),
        (50, 1799.0, 0.0, None, False, 0.0),
        (50, 1800.0, 0.0, None, False, None),
    ],
)
def test_a_refused_submission_is_sent_again_for_a_day_and_for_half_an_hour_where_nobody_answers(
    refusals, waited_s, u, retry_after, is_reached, delay
):
    assert next_send(PATIENCE, refusals, waited_s, u, retry_after=retry_after, is_reached=is_reached) == delay
