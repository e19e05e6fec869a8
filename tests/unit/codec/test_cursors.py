"""A place among rows as a text: whatever is written can be read, and whatever cannot be read is named."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec import cursors
from asyncbatch.codec.cursors import Cursor, beyond, decode_cursor, encode_cursor
from asyncbatch.exceptions import ConfigError

JOB = "0123456789abcdef0123456789abcdef"
ADDRESS = set(string.ascii_letters + string.digits + "-_")


def start(**how):
    return Cursor.at_start(JOB, 3, **{"is_ordered": False} | how)


@given(st.lists(st.tuples(st.integers(-1, 40), st.integers(0, 2**62), st.booleans()), max_size=60))
def test_a_cursor_tells_how_far_each_source_was_read(steps):
    cursor, done, offsets = start(), set(), {}
    for source, offset, is_end in steps:
        cursor = cursor.read_to(source, offset, is_end=is_end)
        if is_end:
            done.add(source)
        offsets.pop(source, None) if is_end else offsets.update({source: offset} if offset else {})
        if not is_end and not offset:
            offsets.pop(source, None)
    text = encode_cursor(cursor)
    again = decode_cursor(text, JOB, is_ordered=False)

    assert set(text) <= ADDRESS
    assert again == cursor
    assert {source for source in range(-1, 41) if again.is_done(source)} == done
    assert dict(again.offsets) == offsets
    assert again.last_source == max([*done, *offsets], default=-1)
    assert all(a[1] + 1 < b[0] for a, b in zip(again.done, again.done[1:], strict=False))


@given(st.integers(0, 2**40), st.integers(0, 1000))
def test_a_cursor_in_order_tells_how_many_were_read(position, more):
    cursor = start(is_ordered=True).on(position).on(more)

    assert decode_cursor(encode_cursor(cursor), JOB, is_ordered=True).position == position + more


def test_a_cursor_is_short():
    cursor = start().read_to(0, 10_000_000, is_end=False)
    assert len(encode_cursor(cursor)) <= 40
    for source in range(500):
        cursor = cursor.read_to(source, 0, is_end=True)
    assert len(encode_cursor(cursor)) <= 40


def refused(text, job_id=JOB, **how):
    with pytest.raises(ConfigError) as caught:
        decode_cursor(text, job_id, **{"is_ordered": False} | how)
    assert caught.value.code == "cursor.bad"
    return caught.value.message


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_any_other_text_is_no_cursor(text):
    assert refused(text).endswith("is no cursor")


@given(st.data())
def test_a_cursor_with_a_changed_character_is_none(data):
    text = encode_cursor(start().read_to(1, 2**33, is_end=False))
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(sorted(ADDRESS - {text[at]})))
    changed = text[:at] + other + text[at + 1 :]
    if at == len(text) - 1 and cursors._bytes_of(changed) == cursors._bytes_of(text):
        return  # the last character may have bits that mean nothing
    assert refused(changed)


def written(data, version=b"\x01"):
    said = version + data
    return cursors.urlsafe_b64encode(said + cursors._check(said)).decode().rstrip("=")


def test_what_another_version_wrote_and_what_makes_no_sense_are_named():
    good = msgspec.msgpack.encode(start())
    assert decode_cursor(written(good), JOB, is_ordered=False) == start()

    assert "another version" in refused(written(good, b"\x02"))
    assert "is no cursor" in refused(written(b"\xc1"))
    for fields in (
        {"epoch": -1},
        {"epoch": "x"},
        {"offsets": {-2: 0}},
        {"offsets": {0: -1}},
        {"done": ((3, 5), (4, 9))},
    ):
        bad = msgspec.structs.replace(start(), **fields)
        assert "is no cursor" in refused(written(msgspec.msgpack.encode(bad)))


def test_a_cursor_of_another_job_or_order_is_named():
    text = encode_cursor(start())

    assert refused(text, "other") == f"{text!r} is one of another job than other"
    assert "as they came" in refused(text, is_ordered=True)
    assert "in the order of the requests" in refused(encode_cursor(start(is_ordered=True)))


@pytest.mark.parametrize("value", [None, 7, b"x", "A" * 70_000, ""])
def test_what_is_no_text_or_a_very_long_one_is_no_cursor(value):
    assert refused(value).endswith("is no cursor")
    assert len(refused(value)) < 100


def test_what_points_beyond_the_end_is_named():
    assert str(beyond("abc", JOB)).startswith(f"'abc' points beyond the end of job {JOB}")
