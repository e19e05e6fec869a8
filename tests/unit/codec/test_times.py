"""Moments in every spelling that a provider was seen to use."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.times import decode_time

_EARLIEST = datetime(1970, 1, 2)  # noqa: DTZ001 what hypothesis wants for moments without a zone
MOMENT = 1_795_300_010.0
"""2026-11-21T22:26:50Z"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_795_300_010, MOMENT),
        (1_795_300_010.25, MOMENT + 0.25),
        ("1795300010", MOMENT),
        ("1795300010.25", MOMENT + 0.25),
        (" 1795300010 ", MOMENT),
        (1_795_300_010_000, MOMENT),
        (1_795_300_010_250, MOMENT + 0.25),
        ("1795300010250", MOMENT + 0.25),
        ("2026-11-21T22:26:50Z", MOMENT),
        ("2026-11-21t22:26:50z", MOMENT),
        ("2026-11-21T22:26:50", MOMENT),
        ("2026-11-21 22:26:50", MOMENT),
        ("2026-11-21T22:26:50+00:00", MOMENT),
        ("2026-11-21T23:26:50+01:00", MOMENT),
        ("2026-11-21T17:26:50-0500", MOMENT),
        ("2026-11-21T17:26:50-05", MOMENT),
        ("2026-11-21T22:26Z", MOMENT - 50),
        ("2026-11-21", MOMENT - 80_810),
        ("2026-11-21T22:26:50.Z", MOMENT),
        ("2026-11-21T22:26:50.5Z", MOMENT + 0.5),
        ("2026-11-21T22:26:50,5Z", MOMENT + 0.5),
        ("2026-11-21T22:26:50.123456Z", MOMENT + 0.123456),
        ("2026-11-21T22:26:50.123456789Z", MOMENT + 0.123456789),
        ("2026-11-21T22:26:50.123456789", MOMENT + 0.123456789),
        ("2026-11-21T22:26:50.1234567891234Z", MOMENT + 0.123456789),
    ],
)
def test_a_moment_is_read_in_every_spelling(value, expected):
    assert decode_time(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "soon",
        {},
        [],
        {"seconds": 1_795_300_010},
        True,
        b"1795300010",
        0,
        -1,
        "-1",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-02-31",
        "2026-13-01T00:00:00Z",
        "2026-11-21T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-23:59",
        "2026-11-21T22:26:50+99:99",
        "1_795_300_010",
        "1e9",
        "nan",
        "inf",
        "\uff11\uff12\uff13",  # digits of another script
        "9" * 5000,
        10**400,
        10**18,
        float("nan"),
        float("inf"),
        float("-inf"),
    ],
    ids=repr,
)
def test_what_is_no_moment_is_none_and_never_raises(value):
    assert decode_time(value) is None


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_whatever_a_field_holds_gives_a_moment_or_none(value):
    moment = decode_time(value)

    assert moment is None or 0 < moment < 253_402_300_800


@given(st.integers(1, 99_999_999_999))
def test_seconds_and_milliseconds_of_one_moment_agree(seconds):
    assert decode_time(seconds) == float(seconds)
    assert decode_time(str(seconds)) == float(seconds)
    if seconds >= 100_000_000:
        assert decode_time(seconds * 1000) == pytest.approx(seconds)


@given(st.datetimes(min_value=_EARLIEST))
def test_every_moment_of_the_calendar_comes_back(moment):
    expected = moment.replace(tzinfo=UTC).timestamp()

    assert decode_time(f"{moment.isoformat()}Z") == pytest.approx(expected, abs=1e-5)
