"""Rows on disk: each a frame of four bytes of length and a msgpack record, one after the other."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.spool import PIECE_BYTES, SpoolReader

LENGTH = struct.Struct("<I")


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row, the position of its request, and the round in which it came."""

    position: int
    request_id: str
    status: ResultStatus
    body: bytes = b""
    format: str = ""
    error: RowError | None = None
    usage: UsageInfo | None = None
    metadata: Mapping[str, Any] = {}
    round: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Stored)


class Page:
    """Rows on their way to the end of the file, and what the account will say of them once they are written.

    Attributes:
        frames: The rows.
        entries: Of each, its position, where it will lie in the file, and its outcome.
        usages: Tokens that were not counted before.
    """

    def __init__(self, offset: int, round_: int) -> None:
        self._offset = offset
        self._round = round_
        self.frames = bytearray()
        self.entries: list[tuple[int, int, ResultStatus]] = []
        self.usages: list[UsageInfo] = []

    def copy(self, stored: Stored) -> None:
        """Enter what lies elsewhere in the file once more, as it is; its tokens were counted there."""
        self._put(stored)

    def enter(
        self, position: int, row: ProviderResultRow, held: ProviderResultRow | None, request_id: str | None = None
    ) -> None:
        """Enter a row, under another id than its own if one is given; `held` is the one that it replaces in the same round."""
        if row.usage is not None and (held is None or held.usage is None):  # that of a request counts once
            self.usages.append(row.usage)
        body = bytes(row.body)
        own = request_id or row.request_id
        self._put(Stored(position, own, row.status, body, row.format, row.error, row.usage, row.metadata, self._round))

    def enter_all(self, positions: Sequence[int], rows: Sequence[ProviderResultRow], ids: Sequence[str]) -> None:
        """Enter rows that replace none, each under the id of its position."""
        frames, entries, offset, round_ = self.frames, self.entries, self._offset, self._round
        encode, put_length, head = _ENCODER.encode_into, LENGTH.pack_into, LENGTH.size
        for position, row in zip(positions, rows, strict=True):
            at, body, status = len(frames), bytes(row.body), row.status
            stored = Stored(
                position, ids[position], status, body, row.format, row.error, row.usage, row.metadata, round_
            )
            encode(stored, frames, at + head)
            put_length(frames, at, len(frames) - at - head)
            entries.append((position, offset + at, status))
        self.usages += [row.usage for row in rows if row.usage is not None]

    def _put(self, stored: Stored) -> None:
        frames, at = self.frames, len(self.frames)
        _ENCODER.encode_into(stored, frames, at + LENGTH.size)  # what is between is the length's
        LENGTH.pack_into(frames, at, len(frames) - at - LENGTH.size)
        self.entries.append((stored.position, self._offset + at, stored.status))


def damaged(why: object) -> JournalError:
    """Say that rows on disk are not what was written there."""
    hint = "nothing was changed; its answers may still lie at the provider, where its batches are found by their ids"
    return JournalError(f"the rows of a job on disk are damaged: {why}", code="ledger.damaged", hint=hint)


def read_at(reader: SpoolReader, offset: int) -> Stored:
    """Read the frame at this place. Raises `JournalError` where there is none."""
    head = reader.read(offset, LENGTH.size)
    if len(head) < LENGTH.size:
        raise damaged("they are cut off")
    (length,) = LENGTH.unpack(head)
    return _decoded(reader.read(offset + LENGTH.size, length))


def _decoded(data: bytes) -> Stored:
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(error) from error


def read_piece(reader: SpoolReader, offset: int) -> bytes:
    """Read a piece of the file; a frame that is longer is read whole."""
    data = reader.read(offset, PIECE_BYTES)
    if len(data) >= LENGTH.size:
        (first,) = LENGTH.unpack_from(data)
        if first + LENGTH.size > len(data):
            data += reader.read(offset + len(data), first + LENGTH.size - len(data))
    return data


def frames_in(data: bytes) -> Iterator[tuple[int, int, Stored]]:
    """Give the frames that are whole, with where each begins and ends."""
    at, size, head, length_at, decode = 0, len(data), LENGTH.size, LENGTH.unpack_from, _DECODER.decode
    try:
        while at + head <= size:
            begin = at + head
            end = begin + length_at(data, at)[0]
            if end > size:
                return
            yield at, end, decode(data[begin:end])
            at = end
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(error) from error


def row_of(stored: Stored) -> ProviderResultRow:
    """Give the row as users hold it."""
    return ProviderResultRow(
        request_id=stored.request_id,
        status=stored.status,
        body=msgspec.Raw(stored.body),
        format=stored.format,
        error=stored.error,
        usage=stored.usage,
        metadata=stored.metadata,
    )
