"""Bodies on their way to disk: in slices, off the loop, with their digest, and never more of them than is allowed."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
from aiohttp import BodyPartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError

SLICE_BYTES = 1024 * 1024
FIELD_BYTES = 64 * 1024  # no field but the file comes near it


class Arrival:
    """A file that arrives, in one body or in several.

    Attributes:
        size: How many bytes have come so far.
    """

    def __init__(self, path: Path, most_bytes: int | None, what: str = "file") -> None:
        self.path = path
        self._what = what
        self.size = 0
        self._most = most_bytes
        self._digest = hashlib.sha256()

    async def take(self, source: StreamReader | BodyPartReader) -> None:
        """Append all that the source has.

        Raises:
            RefusalError: It is more than allowed (413). The rest has not been read.
        """
        buffer = bytearray()
        while piece := await _read(source):
            buffer += piece
            if len(buffer) >= SLICE_BYTES:
                await self._save(bytes(buffer))
                buffer.clear()
        await self._save(bytes(buffer))

    async def take_all(self, request: web.Request) -> None:
        """Append the body of a request, which somebody may have read before."""
        await self.take(request.content)
        if not self.size:
            await self._save(await request.read())

    async def _save(self, data: bytes) -> None:
        self.size += len(data)
        if self._most is not None and self.size > self._most:
            raise too_large(self._most, self._what)
        await anyio.to_thread.run_sync(self._append, data)

    def _append(self, data: bytes) -> None:
        self._digest.update(data)
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def too_large(most: int, what: str) -> RefusalError:
    return RefusalError(413, f"The {what} is larger than {most} bytes.", param="file" if what == "file" else None)


async def _read(source: StreamReader | BodyPartReader) -> bytes:
    if isinstance(source, BodyPartReader):
        return await source.read_chunk(SLICE_BYTES)
    return await source.readany()


class Multipart(Struct, frozen=True, kw_only=True):
    """A multipart body: its file, which lies on disk, and its other fields.

    Attributes:
        late_fields: Those that came after the file.
    """

    fields: Mapping[str, str]
    filename: str
    size: int
    sha256: str
    late_fields: frozenset[str] = frozenset()


@asynccontextmanager
async def kept(path: Path) -> AsyncGenerator[None]:
    """Keep the file at `path` if the block ends well. What is refused or cut leaves nothing behind."""
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))
        raise


async def read_multipart(request: web.Request, path: Path, most_bytes: int | None) -> Multipart:
    """Bring the field `file` to `path`, and give the others. The caller keeps `path` only if it likes all of it: `kept`."""
    if request.content_type != "multipart/form-data":
        raise RefusalError(400, "Expected a body of type 'multipart/form-data'.")
    fields: dict[str, str] = {}
    filename: str | None = None
    late = set[str]()
    arrival = Arrival(path, most_bytes)
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise RefusalError(400, "Nested multipart bodies are not accepted.")
            if part.name == "file":
                filename = part.filename or ""
                await arrival.take(part)
            elif part.name is not None:
                fields[part.name] = (await part.read_chunk(FIELD_BYTES)).decode("utf-8", "replace")
                late.update((part.name,) if filename is not None else ())
    except (ValueError, HttpProcessingError) as error:
        raise RefusalError(400, "The multipart body is malformed.") from error
    if filename is None:
        raise RefusalError(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    return Multipart(
        fields=fields,
        filename=filename,
        size=arrival.size,
        sha256=arrival.sha256,
        late_fields=frozenset(late),
    )
