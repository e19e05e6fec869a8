"""Mistral's paths for files, among them addresses that need no key.

Source: https://docs.mistral.ai/api/endpoint/files
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, RefusalError
from asyncbatch.emulator.families.mistral_errors import unprocessable
from asyncbatch.emulator.families.mistral_fields import Loc, uuid
from asyncbatch.emulator.families.mistral_files import HOUR_S, MistralFile, Upload, count_requests, read_upload
from asyncbatch.emulator.families.mistral_orders import Query, read_flag, read_hours, read_page
from asyncbatch.emulator.families.mistral_shapes import encode_file, encode_list, mimetype_of, source_of
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import StoredFile
from asyncbatch.emulator.uploads import Multipart, kept, read_multipart

_BODY: Loc = ("body",)
_SAMPLES = {"batch": "batch_request", "ocr": "pretrain"}  # purpose -> what the lines are; else `instruct`
_NO_FILTER = "null"  # what an SDK may send for a filter that is not wanted


class FileRoutes(Family):
    """The half of the protocol that is about files."""

    def file_routes(self) -> Sequence[Route]:
        return [
            route("upload", web.post("/v1/files", self._upload)),
            route("files", web.get("/v1/files", self._list_files)),
            route("file", web.get("/v1/files/{id}", self._show_file)),
            route("delete", web.delete("/v1/files/{id}", self._delete_file)),
            route("results", web.get("/v1/files/{id}/content", self._download)),
            route("other", web.get("/v1/files/{id}/url", self._sign)),
            route("results", web.get("/signed/{id}", self._download_signed), needs_key=False),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        path = self.desk.store.new_path()
        async with kept(path):
            with unprocessable(_BODY):
                body = await read_multipart(request, path, self.desk.limits.upload_bytes)
                upload = read_upload(body, self.desk.protocol("purposes"))
            lines = await self.desk.work.run(count_requests, path) if upload.purpose == "batch" else None
        file = self._stored(request[ACCOUNT], path, body, upload, lines)
        self.desk.store.files[file.id] = file
        self.desk.accept(request, "upload", file.id, file=file)
        return json_reply(encode_file(file))

    def _stored(self, account: str, path: Path, body: Multipart, upload: Upload, lines: int | None) -> MistralFile:
        now = self.desk.clock.now()
        return MistralFile(
            id=self.desk.store.new_uuid(),
            account=account,
            purpose=upload.purpose,
            filename=body.filename,
            path=path,
            size=body.size,
            sha256=body.sha256,
            created_at=now,
            expires_at=None if upload.lifetime_s is None else now + upload.lifetime_s,
            sample_type=_SAMPLES.get(upload.purpose, "instruct"),
            visibility=upload.visibility,
            lines=lines,
        )

    async def _list_files(self, request: web.Request) -> web.Response:
        account, query = request[ACCOUNT], request.query
        await self.desk.work.settle(*self.desk.store.batches_of(account))
        found = [file for file in self.desk.store.files_of(account, self.desk.clock.now()) if _is_wanted(file, query)]
        with unprocessable(_BODY):
            page = read_page(query, self.desk.protocol("page_size"))
            has_total = read_flag(query, "include_total", default=True)
        items = [encode_file(file) for file in page.cut(found)]
        return json_reply(encode_list(items, len(found) if has_total else None))

    async def _show_file(self, request: web.Request) -> web.Response:
        file = self.find_file(request, request.match_info["id"])
        return json_reply({**encode_file(file), "deleted": False})

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = self.find_file(request, request.match_info["id"])
        file.is_deleted = True
        self.desk.accept(request, "delete", file.id)
        if not any(self.desk.store.users_of(file)):
            await self.desk.discard(file)
        return json_reply({"id": file.id, "object": "file", "deleted": True})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self.find_file(request, request.match_info["id"])
        return Download(file.path, file.size, content_type="application/octet-stream")

    def find_file(self, request: web.Request, file_id: str) -> MistralFile:
        """Give a file of the account.

        Raises:
            RefusalError: It has none of this id (404), or this is no id (422).
        """
        loc = ("path", "file_id")
        with unprocessable(loc):
            uuid(file_id, loc)
        file = self.desk.store.find_file(request[ACCOUNT], file_id, self.desk.clock.now())
        if not isinstance(file, MistralFile):
            raise RefusalError(404, f"No file with id {file_id} was found.")
        return file

    # Addresses that are credentials

    async def _sign(self, request: web.Request) -> web.Response:
        file = self.find_file(request, request.match_info["id"])
        with unprocessable(_BODY):
            hours = read_hours(request.query, self.desk.protocol("url_hours"))
        until = int(self.desk.clock.now()) + hours * HOUR_S
        query = f"se={until}&sig={self._signature(file, str(until))}"
        return json_reply({"url": self.desk.url(request, f"/signed/{file.id}?{query}")})

    async def _download_signed(self, request: web.Request) -> web.StreamResponse:
        file, until = self.desk.store.files.get(request.match_info["id"]), request.query.get("se", "")
        now = self.desk.clock.now()
        if file is None or request.query.get("sig") != self._signature(file, until) or now >= int(until):
            raise RefusalError(403, "The signature does not fit, or its time is over.")
        if not file.is_there(now):
            raise RefusalError(404, "The file is not there any more.")
        request[ACCOUNT] = file.account
        return Download(file.path, file.size, content_type="application/octet-stream")

    def _signature(self, file: StoredFile, until: str) -> str:
        secret = self.desk.store.directory.name
        return hashlib.sha256(f"{secret}/{file.account}/{file.id}/{until}".encode()).hexdigest()[:32]


def _is_wanted(file: StoredFile, query: Query) -> bool:
    """Say whether the filters of a list let a file through."""
    assert isinstance(file, MistralFile)
    facts = {
        "purpose": file.purpose,
        "sample_type": file.sample_type,
        "source": source_of(file),
        "mimetypes": mimetype_of(file),
    }
    wanted = {name: set(query.getall(name, [])) - {_NO_FILTER} for name in facts}
    is_found = query.get("search", "").lower() in file.filename.lower()
    return is_found and all(not words or facts[name] in words for name, words in wanted.items())
