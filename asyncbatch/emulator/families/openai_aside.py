"""Files that are announced first and brought to another address then, as Together's own SDK does it.

An announcement without bytes is answered with a redirect, which is not to be followed: the bytes are PUT where it leads,
without the key, and the file is there once it is asked to be processed. Source: the fact sheet of Together's files, "Input".
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread
from aiohttp import web
from yarl import URL

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.families.openai_shapes import encode_file
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import StoredFile
from asyncbatch.emulator.uploads import Arrival, kept


@dataclass(kw_only=True)
class Announced:
    """A file of which nothing has come yet, or all."""

    account: str
    purpose: str
    filename: str
    checksum: str
    arrival: Arrival | None = None


class UploadsAside:
    """The announced files of one desk."""

    def __init__(self, desk: Desk, manners: Manners) -> None:
        self._desk = desk
        self._manners = manners
        self._store = desk.store
        self._announced: dict[str, Announced] = {}

    def routes(self) -> Sequence[Route]:
        return [
            route("other", web.post("/files", self._announce)),
            route("upload", web.put("/announced/{id}", self._take), needs_key=False),
            route("other", web.post("/files/{id}/preprocess", self._process)),
        ]

    async def _announce(self, request: web.Request) -> web.Response:
        fields = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        missing = next((name for name in ("purpose", "file_name", "file_type") if not fields.get(name)), None)
        if missing is not None:
            raise RefusalError(400, f"'{missing}' is a required property", param=missing)
        if fields["purpose"] not in self._desk.protocol("purposes"):
            raise RefusalError(400, f"'{fields['purpose']}' is no purpose", param="purpose")
        account, checksum = request[ACCOUNT], fields.get("checksum", "")
        known = next((file for file in self._files(account) if file.sha256 == checksum), None)
        if known is not None:
            return json_reply({"file_id": known.id}, status=409)
        if self._store is not self._desk.store:  # the emulator was reset
            self._store, self._announced = self._desk.store, {}
        file_id = self._store.new_id(self._manners.ids[0])
        self._announced[file_id] = Announced(
            account=account, purpose=fields["purpose"], filename=fields["file_name"], checksum=checksum
        )
        address = URL(self._desk.url(request, f"/announced/{file_id}?sig={self._signature(file_id)}"))
        elsewhere = address.with_host("localhost" if address.host != "localhost" else "127.0.0.1")
        return web.Response(status=302, headers={"Location": str(elsewhere), "X-Together-File-Id": file_id})

    def _files(self, account: str) -> list[StoredFile]:
        return self._desk.store.files_of(account, self._desk.clock.now())

    async def _take(self, request: web.Request) -> web.Response:
        file_id = request.match_info["id"]
        announced = self._find(file_id)
        if announced is None or request.query.get("sig") != self._signature(file_id):
            raise RefusalError(403, "The signature does not fit.")
        if "Authorization" in request.headers:
            raise RefusalError(400, "Only one auth mechanism allowed.")
        request[ACCOUNT] = announced.account
        path = self._store.new_path()
        async with kept(path):
            arrival = Arrival(path, self._desk.limits.upload_bytes)
            await arrival.take(request.content)
            if announced.checksum not in ("", arrival.sha256):
                raise RefusalError(400, "The checksum does not fit.", param="checksum")
        announced.arrival = arrival
        return web.Response()

    async def _process(self, request: web.Request) -> web.Response:
        """Make a file of what has come."""
        file_id, store = request.match_info["id"], self._desk.store
        announced = self._find(file_id)
        if announced is None or announced.account != request[ACCOUNT]:
            raise RefusalError(404, f"No such File object: {file_id}")
        arrival = announced.arrival
        if arrival is None:
            raise RefusalError(400, "Nothing was uploaded.")
        if arrival.size == 0:
            await anyio.to_thread.run_sync(arrival.path.touch)
        store.files[file_id] = file = StoredFile(
            id=file_id,
            account=announced.account,
            purpose=announced.purpose,
            filename=announced.filename,
            path=arrival.path,
            size=arrival.size,
            sha256=arrival.sha256,
            created_at=self._desk.clock.now(),
            expires_at=None,
        )
        del self._announced[file_id]
        self._desk.accept(request, "upload", file_id, file=file)
        return json_reply(encode_file(file, self._manners))

    def _find(self, file_id: str) -> Announced | None:
        return self._announced.get(file_id) if self._store is self._desk.store else None

    def _signature(self, file_id: str) -> str:
        return hashlib.sha256(f"{self._desk.store.directory.name}/{file_id}".encode()).hexdigest()[:32]
