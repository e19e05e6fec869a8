"""What an answer says of an account's quota: nothing left, and until when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.quota import decode_rest

NOW = 1_800_000_000.0
OURS, THEIRS = "x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"


def headers(pattern, remaining, reset):
    return {pattern.format("remaining"): remaining, pattern.format("reset"): reset}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, None),
        (headers(OURS, "1", "30s"), None),
        (headers(OURS, "0", "30s"), 30.0),
        (headers(OURS, "0", "1m2.5s"), 62.5),
        (headers(OURS, "0", "500ms"), 0.5),
        (headers(OURS, "0", "2h"), 3600.0),  # an hour at most
        (headers(OURS, "0", "1d3h"), 3600.0),
        (headers(OURS, "0", "12"), 12.0),
        (headers(OURS, "0", "soon"), None),
        (headers(OURS, "0", "nan"), None),
        (headers(OURS, "0", "9" * 400), None),
        ({OURS.format("remaining"): "0"}, None),
        (headers(THEIRS, "0", "2027-01-15T08:00:20Z"), 20.0),
        (headers(THEIRS, "0", "2027-01-15T08:00:20"), 20.0),
        (headers(THEIRS, "0", "2027-01-15T07:59:00Z"), 0.0),  # it has passed
        (headers(THEIRS, "0", "0001-01-01T00:00:00+14:00"), 0.0),
        (headers(THEIRS, "7", "2027-01-15T08:00:20Z"), None),
    ],
)
def test_an_account_rests_until_it_has_requests_again(said, seconds):
    assert decode_rest(said, NOW) == seconds


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_said_is_a_sane_wait_or_none(remaining, reset):
    for word in ("0", remaining):
        seconds = decode_rest(headers(OURS, word, reset), NOW)
        assert seconds is None or 0 <= seconds <= 3600
