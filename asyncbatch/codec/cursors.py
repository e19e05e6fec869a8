"""A place among the rows of a job as a text that any process understands, at any later time: pure functions.

It is not signed, and need not be: whatever it says, the rows behind it are rows of the same job.
"""

import binascii
import hashlib
import zlib
from base64 import b64decode, urlsafe_b64encode
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from asyncbatch.exceptions import ConfigError

_VERSION = b"\x01"
_CHECK_BYTES = 4
_LONGEST = 64 * 1024
"""Characters; one of ours grows by some twenty for each batch that is read in part."""
_HINT = "give what the page before gave as its cursor, or nothing, to begin anew"

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Source = Annotated[int, msgspec.Meta(ge=-1, le=2**31)]


class Cursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How far the rows of a job were read.

    Attributes:
        job: A digest of the job's id.
        epoch: How often some of it had been sent again by hand: outcomes that were final before then are so no more.
        is_ordered: Whether rows are read in the order of the requests.
        position: In that order: how many were read.
        done: In any other: runs of sources that were read to their end, first and last of each.
        offsets: Of each other source, where its unread rows begin.
    """

    job: bytes
    epoch: _Count
    is_ordered: bool = False
    position: _Count = 0
    done: tuple[tuple[_Source, _Source], ...] = ()
    offsets: dict[_Source, _Count] = {}

    @classmethod
    def at_start(cls, job_id: str, epoch: int, *, is_ordered: bool) -> "Cursor":
        """Give the one of somebody who has read nothing."""
        return cls(job=_digest(job_id), epoch=epoch, is_ordered=is_ordered)

    def is_done(self, source: int) -> bool:
        """Whether all rows of a source were read."""
        return any(first <= source <= last for first, last in self.done)

    @property
    def last_source(self) -> int:
        """The highest number that it names."""
        return max([*self.offsets, *(last for _, last in self.done)], default=-1)

    def on(self, count: int) -> "Cursor":
        """Give the one of somebody who has read so many more, in the order of the requests."""
        return msgspec.structs.replace(self, position=self.position + count)

    def read_to(self, source: int, offset: int, *, is_end: bool) -> "Cursor":
        """Give the one of somebody who has read so far in a source."""
        offsets = {known: at for known, at in self.offsets.items() if known != source}
        if is_end:
            return msgspec.structs.replace(self, done=_with(self.done, source), offsets=offsets)
        return msgspec.structs.replace(self, offsets={**offsets, source: offset} if offset else offsets)


def encode_cursor(cursor: Cursor) -> str:
    """Write a cursor as a text that may stand in an address as it is."""
    said = _VERSION + msgspec.msgpack.encode(cursor)
    return urlsafe_b64encode(said + _check(said)).decode().rstrip("=")


def decode_cursor(text: Any, job_id: str, *, is_ordered: bool) -> Cursor:
    """Read a cursor.

    Raises:
        ConfigError: It is none, or none of this job, or one of another order.
    """
    data = _bytes_of(text)
    said = data[:-_CHECK_BYTES]
    if not said or data[-_CHECK_BYTES:] != _check(said):
        raise _bad(text, "is no cursor")
    if said[:1] != _VERSION:
        raise _bad(text, "was made by another version of asyncbatch")
    cursor = _cursor_of(said[1:])
    if cursor is None:
        raise _bad(text, "is no cursor")
    if cursor.job != _digest(job_id):
        raise _bad(text, f"is one of another job than {job_id}")
    if cursor.is_ordered is not is_ordered:
        raise _bad(text, f"is one of rows {'in the order of the requests' if cursor.is_ordered else 'as they came'}")
    return cursor


def beyond(text: str, job_id: str) -> ConfigError:
    """Say that a cursor points to what a job does not have."""
    return _bad(text, f"points beyond the end of job {job_id}")


def _bytes_of(text: Any) -> bytes:
    """Give what a text encodes; nothing where it encodes nothing."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return b""
    try:
        return b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _cursor_of(data: bytes) -> Cursor | None:
    try:
        cursor = msgspec.msgpack.decode(data, type=Cursor)
    except (msgspec.MsgspecError, RecursionError):  # what is behind the fields is read past, however deep it goes
        return None
    # Runs that overlap or go backwards are none of ours, and would take long to walk through.
    is_ascending = all(first <= last for first, last in cursor.done) and all(
        a[1] < b[0] for a, b in pairwise(cursor.done)
    )
    return cursor if is_ascending else None


def _bad(text: Any, what: str) -> ConfigError:
    shown = repr(text)
    shown = shown if len(shown) <= 48 else f"{shown[:48]}…"
    return ConfigError(f"{shown} {what}", code="cursor.bad", hint=_HINT)


def _digest(job_id: str) -> bytes:
    return hashlib.blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=6).digest()


def _check(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECK_BYTES, "big")


def _with(runs: tuple[tuple[int, int], ...], source: int) -> tuple[tuple[int, int], ...]:
    """Add a number to runs of numbers, ascending and apart from each other."""
    before = [run for run in runs if run[1] < source - 1]
    after = [run for run in runs if run[0] > source + 1]
    touching = [run for run in runs if run[1] >= source - 1 and run[0] <= source + 1]
    first = min([source, *(run[0] for run in touching)])
    last = max([source, *(run[1] for run in touching)])
    return (*before, (first, last), *after)
