"""Google's resumable uploads: a session that is opened with a key, and an address of its own that needs none.

Source: https://ai.google.dev/api/files, and the commands of the `X-Goog-Upload` protocol.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.gemini_messages import Messages
from asyncbatch.emulator.families.gemini_orders import read_message
from asyncbatch.emulator.families.gemini_shapes import UploadedFile, encode_error, encode_file
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.uploads import Arrival

FILE_NAME = re.compile(r"files/[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
MOST_NAME_CHARS = 512
COMMANDS = {("query",), ("cancel",), ("upload",), ("finalize",), ("upload", "finalize")}


@dataclass(kw_only=True, eq=False)
class Session:
    """One upload, from its start until it is final or cancelled.

    Attributes:
        name: What the file will be called.
        size: How many bytes were announced.
    """

    account: str
    name: str
    display_name: str
    mime_type: str
    size: int
    arrival: Arrival
    status: str = "active"
    file: UploadedFile | None = None
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Uploads:
    """The sessions of one desk."""

    def __init__(self, desk: Desk, messages: Messages) -> None:
        self._desk = desk
        self._messages = messages
        self._store = desk.store
        self._sessions: dict[str, Session] = {}

    async def start(self, request: web.Request) -> web.Response:
        """Open a session. Its address is its credential."""
        if request.headers.get("X-Goog-Upload-Protocol", "").lower() != "resumable":
            raise RefusalError(400, "The upload protocol must be resumable.")
        if _commands(request) != ("start",):
            raise RefusalError(400, "An upload begins with the command start.")
        session = self._opened(request, await self._described(request))
        if self._store is not self._desk.store:  # the emulator was reset
            self._store, self._sessions = self._desk.store, {}
        upload_id = self._store.new_id("upload-", 40)
        self._sessions[upload_id] = session
        path = f"/upload/{request.match_info['v']}/files?upload_id={upload_id}&upload_protocol=resumable"
        granularity = str(self._desk.protocol("chunk_granularity"))
        headers = {
            "x-goog-upload-url": self._desk.url(request, path),
            "x-goog-upload-status": session.status,
            "x-goog-upload-chunk-granularity": granularity,
        }
        return web.Response(headers=headers)

    async def _described(self, request: web.Request) -> dict[str, Any]:
        body = await request.read()
        try:
            document: Any = msgspec.json.decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusalError(400, "Invalid JSON payload received.") from error
        file: dict[str, Any] = read_message(self._messages, "UploadFile", document).get("file", {})
        return file

    def _opened(self, request: web.Request, file: dict[str, Any]) -> Session:
        size, mime_type = _read_size(request), request.headers.get("X-Goog-Upload-Header-Content-Type", "")
        most = self._desk.limits.upload_bytes
        if most is not None and size > most:
            raise RefusalError(400, f"The file has {size} bytes; {most} are allowed.", param="file.size_bytes")
        if not mime_type:
            raise RefusalError(400, "X-Goog-Upload-Header-Content-Type is required.", param="file.mime_type")
        if len(file.get("displayName", "")) > MOST_NAME_CHARS:
            message = f"A display name has at most {MOST_NAME_CHARS} characters."
            raise RefusalError(400, message, param="file.display_name")
        return Session(
            account=request[ACCOUNT],
            name=self._read_name(file),
            display_name=file.get("displayName", ""),
            mime_type=mime_type,
            size=size,
            arrival=Arrival(self._desk.store.new_path(), size),
        )

    def _read_name(self, file: dict[str, Any]) -> str:
        name: str = file.get("name") or self._desk.store.new_id("files/", 12)
        if not FILE_NAME.fullmatch(name):
            message = "A file's name is files/ and 1 to 40 lowercase letters, digits and dashes."
            raise RefusalError(400, message, param="file.name")
        if self._is_taken(name):
            raise RefusalError(409, f"The file {name} exists already.", code="ALREADY_EXISTS")
        return name

    def _is_taken(self, name: str) -> bool:
        file = self._desk.store.files.get(name)
        return file is not None and file.is_there(self._desk.clock.now())

    async def resume(self, request: web.Request) -> web.Response:
        """Obey a command for a session, whose address says which."""
        session = self._sessions.get(request.query["upload_id"]) if self._store is self._desk.store else None
        if session is None:
            raise RefusalError(404, "There is no such upload.")
        request[ACCOUNT] = session.account
        async with session.lock:
            return await self._obey(request, session, _commands(request))

    async def _obey(self, request: web.Request, session: Session, commands: tuple[str, ...]) -> web.Response:
        if commands not in COMMANDS:
            return _refused(session, "Unknown command; expected upload, finalize, query or cancel.")
        if commands == ("query",):
            reply = self._told(session)
            reply.headers["x-goog-upload-size-received"] = str(session.arrival.size)
            return reply
        if session.status != "active":
            return _refused(session, f"The upload is {session.status} already.")
        if commands == ("cancel",):
            return await self._cancelled(session)
        problem = await self._take(request, session, commands) if "upload" in commands else None
        if problem is None and "finalize" in commands:
            problem = self._finalize(request, session)
        return self._told(session) if problem is None else _refused(session, problem)

    async def _take(self, request: web.Request, session: Session, commands: tuple[str, ...]) -> str | None:
        """Append a chunk; gives what is wrong with it."""
        offset, length = request.headers.get("X-Goog-Upload-Offset", ""), request.content_length
        if offset != str(session.arrival.size):
            return f"The offset is {offset or 'missing'}, but {session.arrival.size} bytes have been received."
        if length is None:
            return "A chunk needs a Content-Length."
        if session.arrival.size + length > session.size:
            return f"The chunk goes beyond the {session.size} bytes that were announced."
        if "finalize" not in commands and length % self._desk.protocol("chunk_granularity"):
            return "The size of the chunk is no multiple of the granularity."
        await session.arrival.take(request.content)
        return None

    def _finalize(self, request: web.Request, session: Session) -> str | None:
        """Make a file of what has arrived; gives what is wrong with it."""
        desk, now = self._desk, self._desk.clock.now()
        if session.arrival.size != session.size:
            return f"{session.size} bytes were announced, but {session.arrival.size} have been received."
        if session.size == 0:
            session.arrival.path.touch()
        session.file = UploadedFile(
            id=session.name,
            account=session.account,
            purpose="upload",
            filename=session.display_name,
            path=session.arrival.path,
            size=session.size,
            sha256=session.arrival.sha256,
            created_at=now,
            expires_at=now + desk.protocol("file_lifetime_s"),
            mime_type=session.mime_type,
            active_at=now + desk.pace.validating_s * desk.protocol("processing_share"),
            uri=desk.url(request, f"/{request.match_info['v']}/{session.name}"),
        )
        session.status = "final"
        desk.store.files[session.name] = session.file
        desk.accept(request, "upload", session.name, file=session.file)
        return None

    async def _cancelled(self, session: Session) -> web.Response:
        session.status = "cancelled"
        path = anyio.Path(session.arrival.path)
        await path.unlink(missing_ok=True)
        return web.Response(headers=_headers(session))

    def _told(self, session: Session) -> web.Response:
        """Say where the upload stands, and what it has become if it has ended well."""
        if session.file is None:
            return web.Response(headers=_headers(session))
        reply = json_reply({"file": encode_file(session.file, self._desk.clock.now())})
        reply.headers.update(_headers(session))
        return reply


def _commands(request: web.Request) -> tuple[str, ...]:
    words = request.headers.get("X-Goog-Upload-Command", "").lower().split(",")
    return tuple(word.strip() for word in words)


def _read_size(request: web.Request) -> int:
    text = request.headers.get("X-Goog-Upload-Header-Content-Length", "")
    if not text.isascii() or not text.isdigit():
        message = "X-Goog-Upload-Header-Content-Length must be the number of bytes that will come."
        raise RefusalError(400, message, param="file.size_bytes")
    return int(text)


def _headers(session: Session) -> dict[str, str]:
    return {"x-goog-upload-status": session.status}


def _refused(session: Session, message: str) -> web.Response:
    """Refuse a command. The client is told where the upload stands, which tells it that it was understood."""
    reply = json_reply(encode_error(RefusalError(400, message)), status=400)
    reply.headers.update(_headers(session))
    return reply
