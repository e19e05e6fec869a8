"""Cutting bytes into lines: only at 0x0A, wherever the reads happen to end."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncbatch.codec.jsonl import BOM, LineSplitter

# Everything that some line reader takes for the end of a line, and that may stand inside a JSON string all the same.
NOT_LINE_ENDS = {
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "next line": "\u0085",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "carriage return": "\r",
    "file separator": "\x1c",
}


def split(*pieces: bytes, max_line_bytes: int = 1000) -> list[bytes]:
    splitter = LineSplitter(max_line_bytes)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.end()


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(border % (len(data) + 1) for border in borders)})
    return [data[a:b] for a, b in pairwise(at)]


@pytest.mark.parametrize("char", NOT_LINE_ENDS.values(), ids=NOT_LINE_ENDS)
def test_a_line_goes_on_beyond_whatever_is_no_newline(char):
    line = f'{{"text":"before{char}after"}}'.encode()

    assert split(line + b"\n" + line) == [line, line]


def test_lines_come_as_soon_as_they_are_whole():
    splitter = LineSplitter()

    assert splitter.feed(b'{"a"') == []
    assert splitter.feed(b':1}\n{"b":2}\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert splitter.feed(b":3}") == []
    assert splitter.end() == [b'{"c":3}']
    assert splitter.end() == []


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n\n \n\t\r\n", []),
        (b"a\r\nb", [b"a\r", b"b"]),  # a carriage return before the newline is white space to a JSON parser
        (b"a\n\nb\n", [b"a", b"b"]),
        (BOM, []),
        (BOM + b"a\nb", [b"a", b"b"]),
        (BOM + BOM + b"a", [BOM + b"a"]),
        (b"a\n" + BOM + b"b\n" + BOM + b"c", [b"a", BOM + b"b", BOM + b"c"]),
        (b"\n" + BOM + b"a\n", [BOM + b"a"]),  # not at the start of the file: it is data
    ],
)
def test_blank_lines_and_a_mark_at_the_start_are_dropped(data, lines):
    assert split(data) == lines


def test_a_line_over_the_cap_is_cut_and_those_after_it_are_whole():
    assert split(b"x" * 25 + b"\nshort\n" + b"y" * 12, max_line_bytes=10) == [b"x" * 10, b"short", b"y" * 10]


def test_a_line_that_never_ends_takes_no_more_memory_than_the_cap():
    splitter = LineSplitter(max_line_bytes=10)

    for _ in range(1000):
        assert splitter.feed(b"x" * 100) == []

    assert splitter.end() == [b"x" * 10]


ODD_BYTES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", BOM, b"\xe2\x80\xa8", b"\xc2\x85", b"{}", b" ", b"\x0b", b'"\xff"'])
    | st.binary()
).map(b"".join)


@given(data=ODD_BYTES, borders=st.lists(st.integers(0, 10_000)), cap=st.integers(1, 40))
@example(data=b"\n" + BOM + b"{}\n", borders=[1], cap=40)
def test_where_reads_are_cut_makes_no_difference(data, borders, cap):
    assert split(*cut(data, borders), max_line_bytes=cap) == split(data, max_line_bytes=cap)


@given(texts=st.lists(st.text(st.sampled_from([*NOT_LINE_ENDS.values(), "\n", "é", "a", '"'])), max_size=20))
def test_every_text_comes_back_whole(texts):
    file = b"".join(msgspec.json.encode({"text": text}) + b"\n" for text in texts)

    lines = split(*(bytes([byte]) for byte in file), max_line_bytes=10_000)

    assert [msgspec.json.decode(line)["text"] for line in lines] == texts
