"""Request bodies that stream: bytes in front, a spooled body, bytes behind, with a Content-Length that is true.

A file handed to aiohttp would be read in the loop's own thread pool, and an async generator would go out chunked, which
many upload endpoints refuse, or with a length that nobody checks.
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import anyio
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from asyncbatch.exceptions import StorageError


class Streamed(Protocol):
    """A body of known size that is read in pieces; `dto.Blob` is one."""

    @property
    def size(self) -> int: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


Body: TypeAlias = bytes | Streamed | None
"""What a call sends: bytes as they are, a streamed body, or nothing."""


@runtime_checkable
class _Sliceable(Protocol):
    """A body that gives any part of itself without reading what stands before; a body in the spool does."""

    def slice(self, offset: int, size: int) -> Streamed: ...


class BlobSlice:
    """A part of a streamed body, which itself is left as it is; for protocols that take a file in pieces."""

    def __init__(self, blob: Streamed, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > blob.size:
            raise ValueError(f"{size} bytes from {offset} on are no part of {blob.size}")
        self._blob = blob
        self._offset = offset
        self.size = size

    def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._blob, _Sliceable):
            return self._blob.slice(self._offset, self.size).chunks()
        return self._skipped()

    async def _skipped(self) -> AsyncIterator[bytes]:
        skip, left = self._offset, self.size
        async for piece in self._blob.chunks():
            wanted = piece[skip : skip + left]
            skip = max(skip - len(piece), 0)
            left -= len(wanted)
            if wanted:
                yield wanted
            if not left:
                return


class JsonArrayBody:
    """One JSON document around the lines of a spooled body: each newline becomes a comma, and the last one goes.

    The size is known before anything is read, for a line has no newline but the one at its end.
    """

    def __init__(self, head: bytes, lines: Streamed, tail: bytes) -> None:
        self._head = head
        self._lines = lines
        self._tail = tail
        self.size = len(head) + max(lines.size - 1, 0) + len(tail)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._head
        left = self._lines.size
        async for piece in self._lines.chunks():
            left -= len(piece)
            if left < 0:  # before it is given away: it could stand where the tail belongs
                raise StorageError("a spooled body is longer than its declared size", code="storage.failed")
            yield piece.replace(b"\n", b",") if left else _without_newline(piece)
        yield self._tail


def _without_newline(piece: bytes) -> bytes:
    if not piece.endswith(b"\n"):
        raise StorageError("the last line of a spooled body has no end", code="storage.failed")
    return piece[:-1].replace(b"\n", b",")


class StreamedPayload(payload.Payload):
    """A payload around a streamed body; it may be sent again, since each sending reads the body from its start.

    Args:
        parts: What is sent, one after the other.
        content_type: Said of it, where the call names no other.
        stall_s: Longest wait until the other side has taken a piece.
    """

    def __init__(self, *parts: bytes | Streamed, content_type: str, stall_s: float) -> None:
        super().__init__(parts, content_type=content_type)
        self._parts = parts
        self._stall_s = stall_s
        self._total: int = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)
        self._size = self._total  # the name that aiohttp reads
        self._left: int = self._total
        self.on_whole: Callable[[], None] | None = None
        """Hears when the last piece has been handed over."""
        self.is_whole_sent: bool = False
        """Whether the other side may have all of it; set before the last piece leaves, since nobody knows how far one came."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._left, self.is_whole_sent = self._total, not self._total
        with anyio.fail_after(None) as patience:
            for part in self._parts:
                if isinstance(part, bytes):
                    await self._put(writer, part, patience)
                else:
                    await self._stream(writer, part, patience)
        if self.on_whole is not None:
            self.on_whole()

    async def _stream(self, writer: AbstractStreamWriter, part: Streamed, patience: anyio.CancelScope) -> None:
        left = part.size
        async for piece in part.chunks():
            left -= len(piece)
            if left < 0:  # before it is written: what goes beyond a length is taken for another request
                break
            await self._put(writer, piece, patience)
        if left:  # the body changed under us: a wrong length would be cut in silence or hang
            raise StorageError(
                f"the spooled body differs from its declared size by {left} bytes", code="storage.failed"
            )

    async def _put(self, writer: AbstractStreamWriter, piece: bytes, patience: anyio.CancelScope) -> None:
        self._left -= len(piece)
        self.is_whole_sent = self._left <= 0
        patience.deadline = anyio.current_time() + self._stall_s  # aiohttp has no time limit for writing
        await writer.write(piece)
        patience.deadline = math.inf  # our own disk may take longer

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Say what it is: a log or a middleware may ask, and the body itself is too large to show."""
        del encoding, errors
        return f"<{self._total} bytes>"


def multipart(fields: Mapping[str, str], filename: str, boundary: str) -> tuple[bytes, bytes]:
    """Give what stands before and after the one file of a multipart form, which stays in the spool."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()
