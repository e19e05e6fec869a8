"""Answers: a document as JSON, a file in slices, and a body that ends too early."""

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import anyio.to_thread
import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

SLICE_BYTES = 256 * 1024
_LENGTH = "Content-Length"


def json_reply(document: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


class Download(web.StreamResponse):
    """Sends a file, or bytes, with its true length; or a part of it, and closes.

    Attributes:
        keep_bytes: How much is sent of what was promised; None for all.
        on_headers: What is done when the headers have been sent, and nothing else.
        on_sent: What is done when all has been sent that will be.
    """

    def __init__(self, source: Path | bytes, size: int, *, status: int = 200, content_type: str) -> None:
        super().__init__(status=status, headers={"Content-Type": content_type})
        self.content_length = size
        self.keep_bytes: int | None = None
        self.on_headers: list[Callable[[], Awaitable[None]]] = []
        self.on_sent: list[Callable[[], Awaitable[None]]] = []
        self._source = source
        self._size = size
        self._request: BaseRequest | None = None

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        self._request = request
        if self.keep_bytes is not None:
            self.force_close()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        for act in self.on_headers:
            await act()
        await self._write_body(data)
        for act in self.on_sent:
            await act()

    async def _write_body(self, data: bytes) -> None:
        left = self._size if self.keep_bytes is None else min(self.keep_bytes, self._size - 1)
        with await anyio.to_thread.run_sync(self._open) as file:
            while left > 0:
                piece = await anyio.to_thread.run_sync(file.read, min(SLICE_BYTES, left))
                await self.write(piece)
                left -= len(piece)
        if self.keep_bytes is None:
            await super().write_eof(data)
        elif self._request is not None and self._request.transport is not None:
            self._request.transport.close()

    def _open(self) -> BinaryIO:
        return io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb")


def cut(response: web.StreamResponse, keep_bytes: int) -> Download:
    """Give the same answer, which ends after this much of its body."""
    download = as_download(response)
    download.keep_bytes = keep_bytes
    return download


def as_download(response: web.StreamResponse) -> Download:
    """Give the same answer as one whose sending can be watched."""
    if isinstance(response, Download):
        return response
    body = response.body if isinstance(response, web.Response) else None
    source = body if isinstance(body, bytes) else b""
    download = Download(source, len(source), status=response.status, content_type=response.content_type)
    download.headers.update({name: value for name, value in response.headers.items() if name != _LENGTH})
    return download
