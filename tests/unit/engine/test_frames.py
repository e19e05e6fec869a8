"""Rows on disk that are not what was written there are told, and never taken for others."""

import msgspec
import pytest

from asyncbatch.engine.frames import LENGTH, Stored, frames_in, read_at
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

_ROW = msgspec.msgpack.encode((1, "r", "succeeded", b"", "", None, None))
_DEEP = 1_000_000
NESTED = LENGTH.pack(len(_ROW) + _DEEP + 4) + b"\x98" + _ROW[1:] + b"\x81\xa1a" + b"\x91" * _DEEP + b"\x01"
"""A whole row, but for metadata deeper than anything goes down: Python 3.13 decodes some ten thousand levels."""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "they are cut off"),
        (b"\x05\x00", "they are cut off"),
        (b"\x05\x00\x00\x00", "are damaged"),
        (b"\x05\x00\x00\x00noise", "are damaged"),
        (NESTED, "are damaged"),
    ],
)
def test_a_frame_that_is_cut_or_is_none_is_damage(data, words):
    body = SpoolSpace(virtual_runtime()).new()
    body.append(data)

    with body.reader() as reader, pytest.raises(JournalError, match=words) as caught:
        read_at(reader, 0)

    assert caught.value.code == "ledger.damaged"


def test_damaged_frames_among_others_are_an_error_that_says_so():
    whole = msgspec.msgpack.encode(Stored(0, "a", ResultStatus.SUCCEEDED))
    data = b"".join(LENGTH.pack(len(frame)) + frame for frame in (whole, b"\x93\x00\x01\x02"))
    frames = frames_in(data)

    assert next(frames)[2].request_id == "a"
    with pytest.raises(JournalError, match="damaged"):
        next(frames)
