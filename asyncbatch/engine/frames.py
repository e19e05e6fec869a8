"""Rows on disk: each a frame of four bytes of length and a msgpack record, one after the other."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.spool import PIECE_BYTES, SpoolReader

LENGTH = struct.Struct("<I")


class Stored(msgspec.Struct, frozen=True, array_like=True):
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


class Entry(NamedTuple):
    """What the account will say of a request, once its row is written."""

    position: int
    offset: int
    status: ResultStatus
    usage: UsageInfo | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Stored)


class Page:
    """Rows on their way to the end of the file, and what the account will say of them."""

    def __init__(self, offset: int, round_: int) -> None:
        self._offset = offset
        self._round = round_
        self.frames = bytearray()
        self.entries: list[Entry] = []

    def copy(self, stored: Stored) -> None:
        """Enter what lies elsewhere in the file once more, as it is; its tokens were counted there."""
        self._put(stored, None)

    def enter(self, position: int, row: ProviderResultRow, held: ProviderResultRow | None) -> None:
        """Enter a row; `held` is the one that it replaces in the same round."""
        stored = Stored(
            position=position,
            request_id=row.request_id,
            status=row.status,
            body=bytes(row.body),
            format=row.format,
            error=row.error,
            usage=row.usage,
            metadata=row.metadata,
            round=self._round,
        )
        self._put(stored, row.usage if held is None or held.usage is None else None)  # that of a request counts once

    def _put(self, stored: Stored, usage: UsageInfo | None) -> None:
        data = _ENCODER.encode(stored)
        self.entries.append(Entry(stored.position, self._offset + len(self.frames), stored.status, usage))
        self.frames += LENGTH.pack(len(data)) + data


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
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
    at = 0
    while at + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, at)
        end = at + LENGTH.size + length
        if end > len(data):
            return
        yield at, end, _decoded(data[at + LENGTH.size : end])
        at = end


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
