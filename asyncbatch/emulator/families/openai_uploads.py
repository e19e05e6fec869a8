"""What `POST /files` takes: a multipart body whose file goes to disk in slices, off the loop.

Source: https://platform.openai.com/docs/api-reference/files/create
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError

SLICE_BYTES = 1024 * 1024
FIELD_BYTES = 64 * 1024  # no field but the file comes near it


class Upload(Struct, frozen=True, kw_only=True):
    """A file that has arrived."""

    purpose: str
    filename: str
    size: int
    sha256: str
    lifetime_s: int | None


class _Arrival:
    """A file on its way to disk."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.filename = ""
        self.size = 0
        self._file = file
        self._most = most
        self._digest = hashlib.sha256()

    async def take(self, part: BodyPartReader) -> None:
        self.filename = part.filename or ""
        buffer = bytearray()
        while piece := await part.read_chunk(SLICE_BYTES):
            buffer += piece
            if len(buffer) >= SLICE_BYTES:
                await self._save(bytes(buffer))
                buffer.clear()
        await self._save(bytes(buffer))

    async def _save(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise RefusalError(413, f"The file is larger than {self._most} bytes.", param="file")
        await anyio.to_thread.run_sync(self._write, data)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


async def read_upload(request: web.Request, path: Path, most_bytes: int, protocol: Mapping[str, Any]) -> Upload:
    """Bring the file to `path`, and check what was said about it. What is refused or cut leaves nothing behind."""
    try:
        return await _receive(request, path, most_bytes, protocol)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))
        raise


async def _receive(request: web.Request, path: Path, most_bytes: int, protocol: Mapping[str, Any]) -> Upload:
    if request.content_type != "multipart/form-data":
        raise RefusalError(400, "Expected a body of type 'multipart/form-data'.")
    fields: dict[str, str] = {}
    with await anyio.to_thread.run_sync(lambda: path.open("wb", buffering=0)) as file:
        arrival = _Arrival(file, most_bytes)
        has_file = await _read_parts(request, arrival, fields)
    if not has_file:
        raise RefusalError(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    return Upload(
        purpose=_read_purpose(fields, arrival.filename, protocol["purposes"]),
        filename=arrival.filename,
        size=arrival.size,
        sha256=arrival.sha256,
        lifetime_s=_read_lifetime(fields, protocol["expiry_s"]),
    )


async def _read_parts(request: web.Request, arrival: _Arrival, fields: dict[str, str]) -> bool:
    has_file = False
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise RefusalError(400, "Nested multipart bodies are not accepted.")
            if part.name == "file":
                await arrival.take(part)
                has_file = True
            elif part.name is not None:
                fields[part.name] = (await part.read_chunk(FIELD_BYTES)).decode("utf-8", "replace")
    except (ValueError, HttpProcessingError) as error:
        raise RefusalError(400, "The multipart body is malformed.") from error
    return has_file


def _read_purpose(fields: Mapping[str, str], filename: str, purposes: Sequence[str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise RefusalError(400, "'purpose' is a required property", param="purpose", code="missing_required_parameter")
    if purpose not in purposes:
        raise RefusalError(400, f"'{purpose}' is not one of {list(purposes)}", param="purpose", code="invalid_value")
    if purpose == "batch" and not filename.endswith(".jsonl"):
        raise RefusalError(400, f"Invalid file name '{filename}': a batch needs a .jsonl file.", param="file")
    return purpose


def _read_lifetime(fields: Mapping[str, str], bounds: Sequence[int]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "Invalid 'expires_after': the anchor must be 'created_at'."
        raise RefusalError(400, message, param="expires_after[anchor]", code="invalid_value")
    if seconds is None or not seconds.isdigit() or not bounds[0] <= int(seconds) <= bounds[1]:
        message = f"Invalid 'expires_after': expected {bounds[0]} to {bounds[1]} seconds."
        raise RefusalError(400, message, param="expires_after[seconds]", code="invalid_value")
    return int(seconds)
