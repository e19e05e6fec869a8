"""Gemini's protocol: batches as long-running operations over uploaded files or inlined requests.

Source: https://ai.google.dev/gemini-api/docs/batch-api and https://ai.google.dev/api/batch-api
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
import msgspec
from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.gemini_looks import GeminiLooks
from asyncbatch.emulator.families.gemini_messages import Messages
from asyncbatch.emulator.families.gemini_orders import ROWS, Order, change_order, read_message, read_order
from asyncbatch.emulator.families.gemini_rows import Method, Rows, Rules
from asyncbatch.emulator.families.gemini_shapes import (
    Listed,
    UploadedFile,
    cut_page,
    encode_batch,
    encode_error,
    encode_event,
    encode_file,
    encode_model,
    encode_operation,
    encode_page,
)
from asyncbatch.emulator.families.gemini_uploads import FILE_NAME, Uploads
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.inline import read_inline
from asyncbatch.emulator.life import Course, Stand
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile
from asyncbatch.emulator.tokens import can_sign
from asyncbatch.emulator.uploads import kept

_V = "/{v:v1(?:alpha|beta)?}"
_FILE = "/files/{id:[^/:]+}"
_BATCH = "/batches/{id:[^/:]+}"
_METHOD = "{method:batchGenerateContent|asyncBatchEmbedContent}"
_UPDATE = "{method:updateGenerateContentBatch|updateEmbedContentBatch}"


class Protocol(GeminiLooks, Family):
    """Batches that are checked when they are created, and have results only if they come to their end."""

    has_error_file = False
    keeps_partial_results = False
    has_retry_header = False
    file_kinds = (StoredFile, UploadedFile)
    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        facts = desk.dialect.protocol
        self._messages = Messages(facts["messages"], facts["enums"], facts["oneofs"])
        self._uploads = Uploads(desk, self._messages)

    def routes(self) -> Sequence[Route]:
        return [
            route("other", web.get("/.well-known/jwks.json", self._show_keys), needs_key=False),
            route("upload", web.post(f"/upload{_V}/files", self._upload), needs_key=False),
            route("files", web.get(f"{_V}/files", self._list_files)),
            route("results", web.get(f"{_V}{_FILE}:download", self._download)),
            route("results", web.get(f"/download{_V}{_FILE}:download", self._download)),
            route("file", web.get(f"{_V}{_FILE}", self._show_file)),
            route("delete", web.delete(f"{_V}{_FILE}", self._delete_file)),
            route("create", web.post(f"{_V}/models/{{model:[^/:]+}}:{_METHOD}", self._create)),
            route("list", web.get(f"{_V}/batches", self._list_batches)),
            route("poll", web.get(f"{_V}{_BATCH}", self._show_batch)),
            route("cancel", web.post(f"{_V}{_BATCH}:cancel", self._cancel)),
            route("delete", web.delete(f"{_V}{_BATCH}", self._delete_batch)),
            route("other", web.patch(f"{_V}{_BATCH}:{_UPDATE}", self._update)),
            route("other", web.get(f"{_V}/models", self._list_models)),
        ]

    async def _list_models(self, request: web.Request) -> web.Response:
        models = [Listed(name) for name in self.desk.listed_models()]
        page, token = cut_page(models, request.query, self.desk.protocol("page_size")["models"])
        return json_reply(encode_page("models", [encode_model(model) for model in page], token))

    def read_key(self, request: web.Request) -> str | None:
        key = _sent_key(request)
        return key if key and not key.startswith("invalid") else None

    def refuse_key(self, request: web.Request) -> RefusalError:
        if _sent_key(request):
            return RefusalError(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
        return RefusalError(403, "The request has no API key. Send it as x-goog-api-key.", code="PERMISSION_DENIED")

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode(encode_error(error))

    def refuse_problem(self, problem: Problem) -> RefusalError:
        row = "" if problem.line is None else f" (request {problem.line})"
        return RefusalError(400, f"{problem.message}{row}", code=problem.code, param=problem.param)

    def headers(self, request_id: str) -> Mapping[str, str]:  # noqa: ARG002  answers are not numbered
        return {}

    def event_of(self, batch: StoredBatch, stand: Stand) -> dict[str, Any] | None:
        """Give what a webhook says, registered or of this batch alone."""
        return encode_event(batch, stand, self.desk.protocol("events")[stand.phase])

    def addresses_of(self, batch: StoredBatch) -> Sequence[str]:
        uris: Sequence[str] = _order(batch).webhook.get("uris", ())
        return uris

    async def _show_keys(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply(await anyio.to_thread.run_sync(self.desk.signer.key_set))

    # Files

    async def _upload(self, request: web.Request) -> web.Response:
        if "upload_id" in request.query:
            return await self._uploads.resume(request)
        if not request[ACCOUNT]:
            raise self.refuse_key(request)
        return await self._uploads.start(request)

    async def _list_files(self, request: web.Request) -> web.Response:
        now = self.desk.clock.now()
        found = self.desk.store.files_of(request[ACCOUNT], now)
        files = [file for file in found if isinstance(file, UploadedFile)]
        page, token = cut_page(files, request.query, self.desk.protocol("page_size")["files"])
        return json_reply(encode_page("files", [encode_file(file, now) for file in page], token))

    async def _show_file(self, request: web.Request) -> web.Response:
        return json_reply(encode_file(self._file(request), self.desk.clock.now()))

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = self._file(request)
        file.is_deleted = True
        self.desk.accept(request, "delete", file.id)
        if not any(self.desk.store.users_of(file)):
            await self.desk.discard(file)
        return json_reply({})

    def _file(self, request: web.Request) -> UploadedFile:
        """Find an uploaded file. The names of results break the rule for names, so that nobody can ask for them."""
        name = f"files/{request.match_info['id']}"
        if not FILE_NAME.fullmatch(name):
            raise RefusalError(400, f"Invalid file name {name}: at most 40 characters.", param="name")
        file = self.desk.store.find_file(request[ACCOUNT], name, self.desk.clock.now())
        if not isinstance(file, UploadedFile):
            raise RefusalError(403, f"You may not access the file {name}, or it does not exist.")
        return file

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name = f"files/{request.match_info['id']}"
        if request.query.get("alt") != "media":
            raise RefusalError(400, "A download needs alt=media.", param="alt")
        file = self.desk.store.find_file(request[ACCOUNT], name, self.desk.clock.now())
        batch = self.desk.store.batches.get(name.replace("files/batch-", "batches/"))
        if file is None or (batch is not None and batch.order.is_deleted):
            raise RefusalError(404, f"The file {name} was not found.")
        if isinstance(file, UploadedFile):
            raise RefusalError(400, "Only generated files can be downloaded.", code="FAILED_PRECONDITION")
        return Download(file.path, file.size, content_type="application/octet-stream")

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        document, rows = await read_inline(request, self.desk, ROWS)
        if rows is None:
            return await self._open(request, document, None)
        async with kept(rows.path):
            return await self._open(request, document, rows)

    async def _open(self, request: web.Request, document: dict[str, Any], rows: StoredFile | None) -> web.Response:
        message = read_message(self._messages, "CreateBatch", document)
        method, model = self._read_target(request)
        order = read_order(message.get("batch", {}), method, model, has_rows=rows is not None)
        if order.webhook.get("uris") and not can_sign():
            raise RefusalError(400, "The emulator signs webhooks of a batch with cryptography, which is not installed.")
        await self._check_room(request[ACCOUNT])
        course = Course(created_at=self.desk.clock.now(), pace=self.desk.pace)
        batch = StoredBatch(
            id=self.desk.store.new_id("batches/", 36),
            account=request[ACCOUNT],
            order=order,
            course=course,
            input=rows or self._input(request[ACCOUNT], order.file_name),
        )
        await self.desk.check(batch)
        await take_room(self.desk, batch)
        marks = {"displayName": order.display_name}
        self.desk.open(request, batch, input_file_id=order.file_name or None, metadata=marks)
        return json_reply(await self._encoded(batch))

    def _read_target(self, request: web.Request) -> tuple[Method, str]:
        """Give what the path asks for, and of which model."""
        method, model = cast("Method", request.match_info["method"]), request.match_info["model"]
        if not self.desk.allows_model(model, self.desk.protocol("models")[method]):
            version = request.match_info["v"]
            raise RefusalError(404, f"models/{model} is not found for {version}, or not supported for {method}.")
        return method, model

    def _input(self, account: str, name: str) -> StoredFile:
        now = self.desk.clock.now()
        file = self.desk.store.find_file(account, name, now)
        if not isinstance(file, UploadedFile):
            raise RefusalError(404, f"The file {name} was not found.")
        if not file.is_active(now):
            message = f"The file {name} is not in the state ACTIVE, and cannot be used."
            raise RefusalError(400, message, code="FAILED_PRECONDITION")
        if file.mime_type not in self.desk.protocol("mime_types"):
            raise RefusalError(
                400, f"A batch cannot be made of {file.mime_type}.", param="batch.input_config.file_name"
            )
        return file

    async def _check_room(self, account: str) -> None:
        most, batches = self.desk.protocol("unfinished_batches"), self.desk.store.batches_of(account)
        await self.desk.work.settle(*batches)
        now = self.desk.clock.now()
        if sum(not batch.stand(now).is_over for batch in batches) >= most:
            raise RefusalError(429, f"You have {most} unfinished batches, and can have no more.")

    async def _list_batches(self, request: web.Request) -> web.Response:
        batches = [item for item in self.desk.store.batches_of(request[ACCOUNT]) if not item.order.is_deleted]
        page, token = cut_page(batches, request.query, self.desk.protocol("page_size")["batches"])
        await self.desk.work.settle(*page)
        now = self.desk.clock.now()
        items = [encode_operation(batch, self.words, now, None) for batch in page]
        return json_reply(encode_page("operations", items, token))

    async def _show_batch(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        return json_reply(await self._encoded(batch))

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        self.desk.cancel(request, batch)
        return json_reply({})

    async def _delete_batch(self, request: web.Request) -> web.Response:
        """Remove the record, and with it the results. It is no cancellation: rows still run."""
        batch = self._batch(request)
        batch.order.is_deleted = True
        self.desk.accept(request, "delete", batch.id)
        return json_reply({})

    async def _update(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        try:
            document = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusalError(400, "Invalid JSON payload received.") from error
        change_order(batch.order, read_message(self._messages, "Batch", document), request.query.get("updateMask", ""))
        self.desk.keep(batch)
        await self.desk.work.settle(batch)
        shown = encode_batch(batch, self.words, self.desk.clock.now(), {})
        return json_reply({name: value for name, value in shown.items() if name != "@type"})

    def _batch(self, request: web.Request) -> StoredBatch:
        name = f"batches/{request.match_info['id']}"
        batch = self.desk.store.find_batch(request[ACCOUNT], name)
        if batch is None or batch.order.is_deleted:
            raise RefusalError(404, f"The batch {name} was not found.")
        return batch

    async def _encoded(self, batch: StoredBatch) -> dict[str, Any]:
        """Give the operation, with all results in it if the requests came that way."""
        now, order, rows = self.desk.clock.now(), _order(batch), None
        results = batch.written.output if batch.written and batch.stand(now).is_over else None
        if order.is_inline and results is not None:
            rows = await self.desk.work.run(_read_rows, results.path)
        return encode_operation(batch, self.words, now, rows)

    # Rows and results

    def row_kind(self, batch: StoredBatch) -> Rows:
        order = _order(batch)
        sizes: dict[str, int] = self.desk.protocol("embedding_dimensions")
        rules = Rules(
            method=order.method,
            model=order.model,
            is_inline=order.is_inline,
            messages=self._messages,
            dimensions=next(size for pattern, size in sizes.items() if fnmatchcase(order.model, pattern)),
        )
        return Rows(rules)

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:
        """Give results a name of 42 characters. Inlined ones stay where only the operation shows them."""
        if not _order(batch).is_inline:
            results.id = f"files/batch-{batch.id.removeprefix('batches/')}"
            self.desk.store.files[results.id] = results
        return results


def _sent_key(request: web.Request) -> str:
    return request.headers.get("x-goog-api-key") or request.query.get("key", "")


def _order(batch: StoredBatch) -> Order:
    return cast("Order", batch.order)


def _read_rows(path: Path) -> list[msgspec.Raw]:
    """Read inlined results; a line that is no JSON cannot stand in JSON."""
    with path.open("rb") as file:
        return [msgspec.Raw(line) for line in file if _is_json(line)]


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
