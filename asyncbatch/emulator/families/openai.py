"""OpenAI's protocol: files that are uploaded, batches that are made of them, results that are files again.

Source: https://platform.openai.com/docs/api-reference/batch and https://platform.openai.com/docs/api-reference/files
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec.structs import replace
from yarl import URL

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.openai_aside import UploadsAside
from asyncbatch.emulator.families.openai_checks import Endpoint
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.families.openai_older import VERSION, as_older, older_status, url_of
from asyncbatch.emulator.families.openai_orders import Order, read_order, window_s_of
from asyncbatch.emulator.families.openai_rows import Rows, Rules, StrictRows, at_line
from asyncbatch.emulator.families.openai_shapes import (
    cut_page,
    encode_batch,
    encode_error,
    encode_event,
    encode_file,
    encode_model,
    encode_page,
    wrap_files,
)
from asyncbatch.emulator.families.openai_uploads import Upload, read_upload
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.json_values import is_array
from asyncbatch.emulator.life import Course, Pace, Phase, Stand
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.rows import RowLimits, examine_rows
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile
from asyncbatch.emulator.uploads import kept

_Item = TypeVar("_Item", StoredFile, StoredBatch)
NO_CONTENT = 204
_UNCANCELLABLE = {Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED}


class Protocol(Family):
    """The family that most services imitate."""

    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._endpoints = msgspec.convert(desk.protocol("endpoints"), dict[str, Endpoint])
        self.manners = msgspec.convert(desk.dialect.protocol.get("manners", {}), Manners)
        self._aside = UploadsAside(desk, self.manners)

    def routes(self) -> Sequence[Route]:
        return [
            *(self._aside.routes() if self.manners.uploads_aside else []),
            route("upload", web.post(self.manners.upload_path, self._upload)),
            route("files", web.get("/files", self._list_files)),
            route("file", web.get("/files/{id}", self._show_file)),
            *self._ways_to_content(),
            route("delete", web.delete("/files/{id}", self._delete_file)),
            route("create", web.post("/batches", self._create)),
            route("list", web.get("/batches", self._list_batches)),
            route("poll", web.get("/batches/{id}", self._show_batch)),
            route("cancel", web.post("/batches/{id}/cancel", self._cancel)),
            route("other", web.get("/models", self._list_models)),
        ]

    def _ways_to_content(self) -> list[Route]:
        if self.manners.content == "sent":
            return [route("results", web.get("/files/{id}/content", self._download))]
        return [
            route("other", web.get("/files/{id}/content", self._lead_to_content)),
            route("results", web.get("/signed/{id}", self._download_signed), needs_key=False),
        ]

    def read_key(self, request: web.Request) -> str | None:
        given = request.headers.get(self.manners.key_header) if self.manners.key_header else None
        if given is not None:
            return given if given and not given.startswith("invalid") else None
        key = super().read_key(request)
        return "bearer" if key is not None and self.manners.is_bearer_shared else key

    def encode_error(self, error: RefusalError) -> bytes:
        return encode_error(error, self.manners, is_older=self._is_older(error.path))

    def headers(self, request_id: str) -> Mapping[str, str]:
        return {self.manners.request_id_header: request_id}

    def _is_older(self, path: str) -> bool:
        return self.manners.is_older_loose and not path.startswith(f"{self.desk.dialect.mount}/")

    def check_call(self, request: web.Request) -> None:
        if self._is_older(request.path) and not request.query.get(VERSION):
            raise RefusalError(404, "Resource not found")

    def dressed(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if not self._is_older(request.path) or not isinstance(response, web.Response):
            return response
        status = older_status(request.method, request.path, response.status)
        if status == NO_CONTENT:
            return web.Response(status=status)
        assert isinstance(response.body, bytes)
        return json_reply(as_older(msgspec.json.decode(response.body)), status=status)

    def event_of(self, batch: StoredBatch, stand: Stand) -> dict[str, Any] | None:
        events = self.desk.dialect.protocol.get("events")  # of those who speak this protocol, not all send webhooks
        return encode_event(batch, stand, self.desk.store.new_id("evt_"), events[stand.phase]) if events else None

    # Files

    async def _upload(self, request: web.Request) -> web.Response:
        store, path = self.desk.store, self.desk.store.new_path()
        most, protocol = self.desk.limits.upload_bytes, self.desk.dialect.protocol
        upload = await read_upload(request, path, most, protocol, self.manners)
        if self.manners.checks_uploads:
            async with kept(path):
                await self._check_upload(path)
        file = self._stored(upload, path, request[ACCOUNT])
        store.files[file.id] = file
        self.desk.accept(request, "upload", file.id, file=file)
        return self._about_files(self._encoded_file(file))

    def _encoded_file(self, file: StoredFile) -> dict[str, Any]:
        return encode_file(file, self.manners, is_processed=self._is_processed(file))

    def _is_processed(self, file: StoredFile) -> bool:
        return self.desk.clock.now() >= file.created_at + self.manners.processing_s

    async def _check_upload(self, path: Path) -> None:
        """Look at every line as its endpoint would: of those who do that, each has one endpoint."""
        (url,) = self._endpoints
        limits, kind = self.desk.limits, StrictRows(self._rules(url))
        bounds = RowLimits(rows=limits.rows, size=limits.file_bytes)
        examined = await self.desk.work.run(examine_rows, path, kind, bounds, lambda: None)
        if examined.problem is not None:
            raise at_line(examined.problem)

    def _about_files(self, document: dict[str, Any]) -> web.Response:
        return json_reply(wrap_files(document, self.manners))

    def _stored(self, upload: Upload, path: Path, account: str) -> StoredFile:
        now = self.desk.clock.now()
        default_s = self.desk.protocol("file_lifetime_s") if upload.purpose.startswith("batch") else None
        lifetime_s = upload.lifetime_s or default_s
        return StoredFile(
            id=self.desk.store.new_id(self.manners.ids[0]),
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
        page, has_more = self._page(files, request, "files")
        items = [self._encoded_file(file) for file in page]
        return self._about_files(encode_page(items, self.manners, has_more=has_more))

    def _page(self, items: Sequence[_Item], request: web.Request, kind: str) -> tuple[list[_Item], bool]:
        if self.manners.pages:
            bounds = self.desk.protocol("list_limit")[kind]
            return cut_page(items, request.query.get("after"), request.query.get("limit"), bounds)
        unknown = next((name for name in request.query if name in ("after", "limit")), None)
        if unknown is not None:
            raise RefusalError(400, f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
        return list(items), False

    async def _show_file(self, request: web.Request) -> web.Response:
        return self._about_files(self._encoded_file(self._file(request)))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file, wanted = self._file(request), self.manners.content_accept
        if wanted not in (None, request.headers.get("Accept")):
            raise RefusalError(406, f"The content of a file is {wanted}.")
        return Download(file.path, file.size, content_type="application/octet-stream")

    async def _lead_to_content(self, request: web.Request) -> web.Response:
        file = self._file(request)
        # Another name of the same machine: who is led there must not bring the key along.
        address = URL(self.desk.url(request, f"/signed/{file.id}?sig={self._signature(file)}"))
        elsewhere = address.with_host("localhost" if address.host != "localhost" else "127.0.0.1")
        return web.Response(status=302, headers={"Location": str(elsewhere)})

    async def _download_signed(self, request: web.Request) -> web.StreamResponse:
        file = self.desk.store.files.get(request.match_info["id"])
        if file is None or request.query.get("sig") != self._signature(file):
            raise RefusalError(403, "The signature does not fit.")
        if "Authorization" in request.headers:
            raise RefusalError(400, "Only one auth mechanism allowed.")  # as services of storage say it
        request[ACCOUNT] = file.account
        return Download(file.path, file.size, content_type="application/octet-stream")

    def _signature(self, file: StoredFile) -> str:
        secret = self.desk.store.directory.name
        return hashlib.sha256(f"{secret}/{file.account}/{file.id}".encode()).hexdigest()[:32]

    async def _delete_file(self, request: web.Request) -> web.Response:
        if self.manners.deletes_anything and self._find_file(request) is None:
            return json_reply({"id": request.match_info["id"], "object": "file", "deleted": True})
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
        file = self._find_file(request)
        if file is None:
            raise RefusalError(404, f"No such File object: {request.match_info['id']}", param="id")
        return file

    def _find_file(self, request: web.Request) -> StoredFile | None:
        return self.desk.store.find_file(request[ACCOUNT], request.match_info["id"], self.desk.clock.now())

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        order = read_order(await request.read(), self.desk.dialect.protocol, self.manners)
        order = replace(order, idempotency_key=request.headers.get(self.manners.idempotency_header or ""))
        if self._is_older(request.path):
            order = replace(order, url=url_of(order.endpoint))
        batch = self._first_under(order.idempotency_key, request[ACCOUNT])
        if batch is None:
            batch = self._stored_batch(order, request[ACCOUNT])
            await take_room(self.desk, batch, tells_tokens_late=True)
            self.desk.open(request, batch, input_file_id=order.input_file_id, metadata=order.metadata)
        shown, key = self._encoded(batch), self.manners.wraps_create
        return json_reply({key: shown, "warning": None} if key else shown, status=self.manners.create_status)

    def _first_under(self, key: str | None, account: str) -> StoredBatch | None:
        """Give the batch that was created under this key; that a second create says something else is not looked at."""
        made = self.desk.store.batches_of(account) if key is not None else []
        return next((batch for batch in made if batch.order.idempotency_key == key), None)

    def _stored_batch(self, order: Order, account: str) -> StoredBatch:
        now = self.desk.clock.now()
        file = self.desk.store.find_file(account, order.input_file_id, now)
        if file is None and self.manners.unknown_input == "at once":
            raise RefusalError(404, f"No such File object: {order.input_file_id}")
        if file is not None and not self._is_processed(file):
            raise RefusalError(400, f"The file {file.id} is not processed yet.", param="input_file_id")
        course = Course(created_at=now, pace=self._pace_of(order))
        batch_id = self.desk.store.new_id(self.manners.ids[1])
        batch = StoredBatch(id=batch_id, account=account, order=order, course=course, input=file)
        if file is None or (file.expires_at is not None and file.expires_at <= course.valid_at):
            batch.refuse(_no_file(order.input_file_id))
        elif not file.purpose.startswith("batch"):
            message = f"The file has purpose '{file.purpose}', but a batch needs 'batch'."
            batch.refuse(Problem(code="invalid_request", message=message, param="file_id"))
        return batch

    def _pace_of(self, order: Order) -> Pace:
        """Give the usual pace, but for a batch that asks for another time than the usual one."""
        asked_s, usual_s = window_s_of(order), self.manners.promised_s or self.desk.dialect.pace.window_s
        pace = self.desk.pace
        return pace if asked_s in (None, usual_s) else replace(pace, window_s=pace.window_s * asked_s / usual_s)

    async def _list_batches(self, request: web.Request) -> web.Response:
        batches = self.desk.store.batches_of(request[ACCOUNT])
        page, has_more = self._page(batches, request, "batches")
        await self.desk.work.settle(*page)
        items = [self._encoded(batch) for batch in page]
        return json_reply(items if self.manners.is_bare_list else encode_page(items, self.manners, has_more=has_more))

    async def _show_batch(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        return self._shown(batch)

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        phase = batch.stand(self.desk.clock.now()).phase
        if phase in _UNCANCELLABLE or (phase is Phase.CANCELLED and self.manners.cancels_once):
            raise RefusalError(self.manners.too_late, f"Cannot cancel a batch with status '{self.words[phase]}'.")
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
        now, is_kept = self.desk.clock.now(), batch.order.flags.get("auto_delete_input_file") is False
        if self.manners.deletes_input and not is_kept and batch.input and now >= batch.course.valid_at:
            batch.input.is_deleted = True
        return encode_batch(batch, self.words, now, self.manners)

    def items_of(self, document: dict[str, Any]) -> list[Any] | None:
        items = document.get("value")
        return items if is_array(items) else super().items_of(document)

    def with_items(self, document: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        return {**document, "value": items} if "value" in document else super().with_items(document, items)

    def is_completed(self, item: dict[str, Any]) -> bool:
        return str(item.get("status")).lower() == self.words[Phase.COMPLETED].lower()

    def created_at_of(self, item: dict[str, Any]) -> float:
        at = item.get("created_at")
        return datetime.fromisoformat(at).timestamp() if isinstance(at, str) else super().created_at_of(item)

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.manners.shape == "flat":
            return {name: value for name, value in item.items() if name not in {"total", "completed", "failed"}}
        return super().without_counts(item)

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply({"object": "list", "data": [encode_model(name) for name in self.desk.listed_models()]})

    # Rows and results

    def row_kind(self, batch: StoredBatch) -> Rows:
        return Rows(self._rules(batch.order.endpoint, batch.order.url))

    def _rules(self, path: str, url: str | None = None) -> Rules:
        endpoint = self._endpoints[path]
        return Rules(
            url=url or path,
            endpoint=endpoint,
            embedding_inputs=self.desk.limits.embedding_inputs,
            allows_model=lambda model: self.desk.allows_model(model, endpoint.models),
            dimensions=self._dimensions,
            manners=self.manners,
        )

    def _dimensions(self, model: str) -> int:
        table: dict[str, int] = self.desk.protocol("embedding_dimensions")
        return next(size for pattern, size in table.items() if fnmatchcase(model, pattern))

    def keeps_empty(self, kind: str) -> bool:
        return self.manners.empty_error_file and kind == "error"

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:
        if self.manners.result_ids is not None:
            results.id = self.desk.store.new_id(self.manners.result_ids)
        is_error = results.filename.endswith("_error.jsonl")
        results.purpose = self.manners.error_purpose if is_error else self.manners.output_purpose
        usual_s = self.desk.protocol("file_lifetime_s")
        usual_s = self.desk.dialect.protocol.get("results_lifetime_s", usual_s)
        lifetime_s = batch.order.output_lifetime_s or usual_s
        results.expires_at = None if lifetime_s is None else results.created_at + lifetime_s
        self.desk.store.files[results.id] = results
        return results


def _no_file(file_id: str) -> Problem:
    message = f"The input file '{file_id}' does not exist, or is not accessible."
    return Problem(code="invalid_request", message=message, param="file_id")
