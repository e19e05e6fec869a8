"""Request bodies that stream: bytes in front, a spooled body, bytes behind, with a Content-Length that is true.

A file handed to aiohttp would be read in the loop's own thread pool, and an async generator would go out chunked, which
many upload endpoints refuse, or with a length that nobody checks.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import anyio
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from asyncbatch.exceptions import StorageError


class Streamed(Protocol):
    """A body of known size that is read in pieces; `dto.Blob` is one."""

    @property
    def size(self) -> int: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


class StreamedPayload(payload.Payload):
    """A payload around a streamed body; it may be sent again, since each sending reads the body from its start."""

    def __init__(self, head: bytes, body: Streamed | None, tail: bytes, *, content_type: str, stall_s: float) -> None:
        super().__init__(body, content_type=content_type)
        self._head = head
        self._body = body
        self._tail = tail
        self._stall_s = stall_s
        self._size = len(head) + (body.size if body else 0) + len(tail)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self._put(writer, self._head)
        left = self._body.size if self._body else 0
        if self._body is not None:
            async for piece in self._body.chunks():
                left -= len(piece)
                await self._put(writer, piece)
        if left:  # the body changed under us: a wrong length would be cut in silence or hang
            raise StorageError(
                f"the spooled body differs from its declared size by {left} bytes", code="storage.failed"
            )
        await self._put(writer, self._tail)

    async def _put(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        with anyio.fail_after(self._stall_s):  # aiohttp has no time limit for writing
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Say what it is: a log or a middleware may ask, and the body itself is too large to show."""
        del encoding, errors
        return f"<{self._size} bytes>"


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
