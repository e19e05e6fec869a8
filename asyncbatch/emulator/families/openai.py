"""OpenAI's protocol: files that are uploaded, batches that are made of them, results that are files again.

Source: https://platform.openai.com/docs/api-reference/batch and https://platform.openai.com/docs/api-reference/files
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.openai_checks import Endpoint
from asyncbatch.emulator.families.openai_orders import Order, read_order
from asyncbatch.emulator.families.openai_rows import Rows, Rules
from asyncbatch.emulator.families.openai_shapes import (
    cut_page,
    encode_batch,
    encode_error,
    encode_event,
    encode_file,
    encode_model,
    encode_page,
)
from asyncbatch.emulator.families.openai_uploads import Upload, read_upload
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.life import Course, Phase, Stand
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile

_UNCANCELLABLE = {Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED}


class Protocol(Family):
    """The family that most services imitate."""

    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._endpoints = msgspec.convert(desk.protocol("endpoints"), dict[str, Endpoint])

    def routes(self) -> Sequence[Route]:
        return [
            route("upload", web.post("/files", self._upload)),
            route("files", web.get("/files", self._list_files)),
            route("file", web.get("/files/{id}", self._show_file)),
            route("results", web.get("/files/{id}/content", self._download)),
            route("delete", web.delete("/files/{id}", self._delete_file)),
            route("create", web.post("/batches", self._create)),
            route("list", web.get("/batches", self._list_batches)),
            route("poll", web.get("/batches/{id}", self._show_batch)),
            route("cancel", web.post("/batches/{id}/cancel", self._cancel)),
            route("other", web.get("/models", self._list_models)),
        ]

    def read_key(self, request: web.Request) -> str | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        return key if scheme.lower() == "bearer" and key and not key.startswith("invalid") else None

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode(encode_error(error))

    def event_of(self, batch: StoredBatch, stand: Stand) -> dict[str, Any] | None:
        events = self.desk.dialect.protocol.get("events")  # of those who speak this protocol, not all send webhooks
        return encode_event(batch, stand, self.desk.store.new_id("evt_"), events[stand.phase]) if events else None

    # Files

    async def _upload(self, request: web.Request) -> web.Response:
        store, path = self.desk.store, self.desk.store.new_path()
        upload = await read_upload(request, path, self.desk.limits.upload_bytes, self.desk.dialect.protocol)
        file = self._stored(upload, path, request[ACCOUNT])
        store.files[file.id] = file
        self.desk.accept(request, "upload", file.id, file=file)
        return json_reply(encode_file(file))

    def _stored(self, upload: Upload, path: Path, account: str) -> StoredFile:
        now = self.desk.clock.now()
        default_s = self.desk.protocol("file_lifetime_s") if upload.purpose == "batch" else None
        lifetime_s = upload.lifetime_s or default_s
        return StoredFile(
            id=self.desk.store.new_id("file-"),
            account=account,
            purpose=upload.purpose,
            filename=upload.filename,
            path=path,
            size=upload.size,
            sha256=upload.sha256,
            created_at=now,
            expires_at=None if lifetime_s is None else now + lifetime_s,
        )

    async def _list_files(self, request: web.Request) -> web.Response:
        account, query = request[ACCOUNT], request.query
        await self.desk.work.settle(*self.desk.store.batches_of(account))
        files = self.desk.store.files_of(account, self.desk.clock.now())
        files = [file for file in files if query.get("purpose") in {None, file.purpose}]
        if query.get("order", "desc") == "asc":
            files.reverse()
        bounds = self.desk.protocol("list_limit")["files"]
        page, has_more = cut_page(files, query.get("after"), query.get("limit"), bounds)
        return json_reply(encode_page([encode_file(file) for file in page], has_more=has_more))

    async def _show_file(self, request: web.Request) -> web.Response:
        return json_reply(encode_file(self._file(request)))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self._file(request)
        return Download(file.path, file.size, content_type="application/octet-stream")

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = self._file(request)
        file.is_deleted = True
        now = self.desk.clock.now()
        users = list(self.desk.store.users_of(file))
        for batch in users:
            if now < batch.course.valid_at:
                batch.refuse(_no_file(file.id))
        self.desk.accept(request, "delete", file.id)
        if not users:
            await self.desk.discard(file)
        return json_reply({"id": file.id, "object": "file", "deleted": True})

    def _file(self, request: web.Request) -> StoredFile:
        file_id = request.match_info["id"]
        file = self.desk.store.find_file(request[ACCOUNT], file_id, self.desk.clock.now())
        if file is None:
            raise RefusalError(404, f"No such File object: {file_id}", param="id")
        return file

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        order = read_order(await request.read(), self.desk.dialect.protocol)
        batch = self._stored_batch(order, request[ACCOUNT])
        await take_room(self.desk, batch, tells_tokens_late=True)
        self.desk.open(request, batch, input_file_id=order.input_file_id, metadata=order.metadata)
        return self._shown(batch)

    def _stored_batch(self, order: Order, account: str) -> StoredBatch:
        now = self.desk.clock.now()
        file = self.desk.store.find_file(account, order.input_file_id, now)
        course = Course(created_at=now, pace=self.desk.pace)
        batch_id = self.desk.store.new_id("batch_")
        batch = StoredBatch(id=batch_id, account=account, order=order, course=course, input=file)
        if file is None or (file.expires_at is not None and file.expires_at <= course.valid_at):
            batch.refuse(_no_file(order.input_file_id))
        elif file.purpose != "batch":
            message = f"The file has purpose '{file.purpose}', but a batch needs 'batch'."
            batch.refuse(Problem(code="invalid_request", message=message, param="file_id"))
        return batch

    async def _list_batches(self, request: web.Request) -> web.Response:
        batches = self.desk.store.batches_of(request[ACCOUNT])
        bounds = self.desk.protocol("list_limit")["batches"]
        page, has_more = cut_page(batches, request.query.get("after"), request.query.get("limit"), bounds)
        await self.desk.work.settle(*page)
        return json_reply(encode_page([self._encoded(batch) for batch in page], has_more=has_more))

    async def _show_batch(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        return self._shown(batch)

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        phase = batch.stand(self.desk.clock.now()).phase
        if phase in _UNCANCELLABLE:
            raise RefusalError(409, f"Cannot cancel a batch with status '{self.words[phase]}'.")
        self.desk.cancel(request, batch)
        return self._shown(batch)

    def _batch(self, request: web.Request) -> StoredBatch:
        batch_id = request.match_info["id"]
        batch = self.desk.store.find_batch(request[ACCOUNT], batch_id)
        if batch is None:
            raise RefusalError(404, f"No batch found with id '{batch_id}'.")
        return batch

    def _shown(self, batch: StoredBatch) -> web.Response:
        return json_reply(self._encoded(batch))

    def _encoded(self, batch: StoredBatch) -> dict[str, Any]:
        return encode_batch(batch, self.words, self.desk.clock.now())

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply({"object": "list", "data": [encode_model(name) for name in self.desk.listed_models()]})

    # Rows and results

    def row_kind(self, batch: StoredBatch) -> Rows:
        endpoint = self._endpoints[batch.order.endpoint]
        rules = Rules(
            url=batch.order.endpoint,
            endpoint=endpoint,
            embedding_inputs=self.desk.limits.embedding_inputs,
            allows_model=lambda model: self.desk.allows_model(model, endpoint.models),
            dimensions=self._dimensions,
        )
        return Rows(rules)

    def _dimensions(self, model: str) -> int:
        table: dict[str, int] = self.desk.protocol("embedding_dimensions")
        return next(size for pattern, size in table.items() if fnmatchcase(model, pattern))

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:
        lifetime_s = batch.order.output_lifetime_s or self.desk.protocol("file_lifetime_s")
        results.expires_at = results.created_at + lifetime_s
        self.desk.store.files[results.id] = results
        return results


def _no_file(file_id: str) -> Problem:
    message = f"The input file '{file_id}' does not exist, or is not accessible."
    return Problem(code="invalid_request", message=message, param="file_id")
