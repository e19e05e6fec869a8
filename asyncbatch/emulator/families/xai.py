"""xAI's protocol: batches over files, or to which requests are added; counters tell where they stand, results come in pages.

The fact sheet leaves some things open, and the emulator is then the stricter of two services that might exist: a create over a
file that is not there is refused; an input that is not fit stops its batch, with the reason; a batch that is over cannot be
cancelled; after a batch has expired, what was not run stays pending for ever. Source: xai-org/xai-proto:batch.proto, and
https://docs.x.ai/developers/rest-api-reference/files/upload
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace as replace_file
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.openai_checks import Endpoint
from asyncbatch.emulator.families.xai_requests import describe, merge
from asyncbatch.emulator.families.xai_rows import Rows, Rules
from asyncbatch.emulator.families.xai_shapes import (
    cut_page,
    encode_batch,
    encode_error,
    encode_file,
    encode_model,
    is_half_read,
    read_limit,
    read_token,
    write_token,
)
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.inline import read_inline
from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.life import Course, Phase
from asyncbatch.emulator.looks import AGAIN, Which
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.results import write_rows
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Operation, Route, route
from asyncbatch.emulator.rows import BUFFER_BYTES
from asyncbatch.emulator.store import StoredBatch, StoredFile
from asyncbatch.emulator.uploads import Multipart, kept, read_multipart
from asyncbatch.emulator.work import PATIENCE_S

_UNCANCELLABLE = {Phase.COMPLETED, Phase.FAILED}
_JSON = msgspec.json.Decoder()


class Order(Struct, kw_only=True):
    """What a batch was created from."""

    name: str
    input_file_id: str | None = None


class Protocol(Family):
    """Files and batches."""

    has_error_file = False
    names_results = False
    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._endpoints = msgspec.convert(desk.protocol("endpoints"), dict[str, Endpoint])

    def routes(self) -> Sequence[Route]:
        return [
            route("upload", web.post("/files", self._upload)),
            route("files", web.get("/files", self._list_files)),
            route("file", web.get("/files/{id}", self._show_file)),
            route("delete", web.delete("/files/{id}", self._delete_file)),
            route("create", web.post("/batches", self._create)),
            route("create", web.post("/batches/{id:[^/:]+}/requests", self._add)),
            route("other", web.get("/batches/{id:[^/:]+}/requests", self._list_requests)),
            route("list", web.get("/batches", self._list_batches)),
            route("cancel", web.post("/batches/{id:[^/:]+}:cancel", self._cancel)),
            route("poll", web.get("/batches/{id:[^/:]+}", self._show_batch)),
            route("results", web.get("/batches/{id:[^/:]+}/results", self._list_results)),
            route("other", web.get("/models", self._list_models)),
        ]

    async def operation_of(self, request: web.Request, route: Route) -> Operation:
        """Take a create without a file for the upload that it stands for: it costs nothing, and the rows come later."""
        if request.method != "POST" or not request.path.endswith("/batches"):
            return route.operation
        try:
            body = await request.read()
        except ConnectionError:  # the client left in the middle of it, and is told nothing
            return route.operation
        return "upload" if _is_bare(body) else "create"

    def refuse_key(self, request: web.Request) -> RefusalError:
        """Refuse a bad key as an argument like any other, with two letters of it; none at all is another matter."""
        _, _, key = request.headers.get("Authorization", "").partition(" ")
        if not key:
            return RefusalError(401, "No API key was provided.")
        return RefusalError(400, f"Incorrect API key provided: {key[:2]}***. You can obtain one in the console.")

    def encode_error(self, error: RefusalError) -> bytes:
        return encode_error(error)

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply({"object": "list", "data": [encode_model(name) for name in self.desk.listed_models()]})

    # Files

    async def _upload(self, request: web.Request) -> web.Response:
        path = self.desk.store.new_path()
        async with kept(path):
            body = await read_multipart(request, path, self.desk.limits.upload_bytes)
            lifetime_s = self._read_lifetime(body)
        now = self.desk.clock.now()
        file = StoredFile(
            id=f"file_{self.desk.store.new_uuid()}",
            account=request[ACCOUNT],
            purpose=body.fields.get("purpose", ""),
            filename=body.filename,
            path=path,
            size=body.size,
            sha256=body.sha256,
            created_at=now,
            expires_at=None if lifetime_s is None else now + lifetime_s,
        )
        self.desk.store.files[file.id] = file
        self.desk.accept(request, "upload", file.id, file=file)
        return json_reply(encode_file(file))

    def _read_lifetime(self, body: Multipart) -> int | None:
        given = body.fields.get("expires_after")
        if given is None:
            return None
        if "expires_after" in body.late_fields:
            raise RefusalError(400, "expires_after must come before the file.")
        least, most = self.desk.protocol("expiry_s")
        if not given.isascii() or not given.isdigit() or not least <= int(given) <= most:
            raise RefusalError(400, f"expires_after must be between {least} and {most} seconds, got {given!r}")
        return int(given)

    async def _list_files(self, request: web.Request) -> web.Response:
        files = self.desk.store.files_of(request[ACCOUNT], self.desk.clock.now())
        page, token = cut_page(files, request.query, self.desk.protocol("page")["files"])
        return json_reply({"data": [encode_file(file) for file in page], "pagination_token": token})

    async def _show_file(self, request: web.Request) -> web.Response:
        return json_reply(encode_file(self._file(request, request.match_info["id"])))

    async def _delete_file(self, request: web.Request) -> web.Response:
        file = self._file(request, request.match_info["id"])
        file.is_deleted = True
        self.desk.accept(request, "delete", file.id)
        if not any(self.desk.store.users_of(file)):
            await self.desk.discard(file)
        return json_reply({"id": file.id, "object": "file", "deleted": True})

    def _file(self, request: web.Request, file_id: str) -> StoredFile:
        file = self.desk.store.find_file(request[ACCOUNT], file_id, self.desk.clock.now())
        if file is None:
            raise RefusalError(404, f"File {file_id} not found.")
        return file

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        order = _read_order(await request.read())
        file = None if order.input_file_id is None else self._file(request, order.input_file_id)
        course = Course(created_at=self.desk.clock.now(), pace=self.desk.pace)
        batch_id = f"batch_{self.desk.store.new_uuid()}"
        batch = StoredBatch(id=batch_id, account=request[ACCOUNT], order=order, course=course, input=file)
        if file is None:  # nothing runs, and nothing is paid for, until requests are added
            self.desk.store.batches[batch_id] = batch
            self.desk.accept(request, "upload", batch_id)
            self.desk.work.begin(batch)
        else:
            await take_room(self.desk, batch)
            self.desk.open(request, batch, input_file_id=order.input_file_id, metadata={"name": order.name})
        return self._shown(batch)

    # Requests that are added

    async def _add(self, request: web.Request) -> web.Response:
        """Add requests to a batch, all or none; those that it has already change nothing."""
        batch = self._batch(request)
        added = (await read_inline(request, self.desk, ("batch_requests",))).rows
        if added is None:
            raise RefusalError(400, "batch_requests is missing.")
        await self._settle(batch)
        path = self.desk.store.new_path()
        async with kept(path):
            try:
                self._check_open(batch)
                old = batch.input.path if batch.input else None
                merged = await self.desk.work.run(merge, old, added.path, path, self.desk.store.new_uuid)
            finally:
                await self.desk.discard(added)
            if merged.sha256 is not None or not added.size:
                rows = replace_file(added, path=path, size=merged.size, sha256=merged.sha256 or "")
                await self._take_on(request, batch, rows)
        if merged.sha256 is None:
            await _remove(path)
        return json_reply({})

    def _check_open(self, batch: StoredBatch) -> None:
        if batch.order.input_file_id is not None:
            raise RefusalError(412, "The batch was made of a file, and takes no further requests.")
        if batch.course.cancel_at is not None:
            raise RefusalError(403, "The batch was cancelled, and takes no further requests.")
        if batch.stand(self.desk.clock.now()).is_over:
            raise RefusalError(400, "All requests of the batch have ended; the emulator takes no further ones.")

    async def _take_on(self, request: web.Request, batch: StoredBatch, rows: StoredFile) -> None:
        """Let a batch have these rows, if they are fit; from the first on, it runs."""
        examined = StoredBatch(id=batch.id, account=batch.account, order=batch.order, course=batch.course, input=rows)
        await self.desk.check(examined)
        self._check_open(batch)  # it may have been cancelled meanwhile
        usual, now = self.desk.pace, self.desk.clock.now()
        if batch.examined is None:
            pace = replace(usual, validating_s=now - batch.course.created_at + usual.validating_s)
            batch.course = replace(batch.course, pace=pace)
        former, batch.input = batch.input, rows
        if examined.examined is not None:
            batch.accept(examined.examined)
        if former is not None:
            await self.desk.discard(former)
        self.desk.accept(request, "create", batch.id, file=rows, metadata={"name": batch.order.name})
        self.desk.work.begin(batch)

    async def _list_requests(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self._settle(batch)
        items: list[Any] = []
        if batch.input is not None and batch.examined is not None:
            stand = batch.stand(self.desk.clock.now())
            items = await self.desk.work.run(describe, batch.input.path, batch.examined, self.row_kind(batch), stand)
        page, token = cut_page(items, request.query, self.desk.protocol("page")["requests"])
        return json_reply({"batch_request_metadata": page, "pagination_token": token})

    async def _list_batches(self, request: web.Request) -> web.Response:
        batches = self.desk.store.batches_of(request[ACCOUNT])
        page, token = cut_page(batches, request.query, self.desk.protocol("page")["batches"])
        await self._settle(*page)
        return json_reply({"batches": [self._encoded(batch) for batch in page], "pagination_token": token})

    async def _show_batch(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self._settle(batch)
        return self._shown(batch)

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self._settle(batch)
        phase = batch.stand(self.desk.clock.now()).phase
        if phase in _UNCANCELLABLE:
            raise RefusalError(400, f"A batch that is {self.words[phase]} cannot be cancelled.")
        self.desk.cancel(request, batch)
        return self._shown(batch)

    async def _settle(self, *batches: StoredBatch) -> None:
        """Bring the work up to what the clock says; rows are counted before all of a file is read."""
        now = self.desk.clock.now()
        with anyio.move_on_after(PATIENCE_S):
            for batch in batches:
                if is_half_read(batch, now):
                    await batch.examined_event.wait()
        await self.desk.work.settle(*batches)

    def _batch(self, request: web.Request) -> StoredBatch:
        batch_id = request.match_info["id"]
        batch = self.desk.store.find_batch(request[ACCOUNT], batch_id)
        if batch is None:
            raise RefusalError(404, f"Batch {batch_id} not found.")
        return batch

    def _shown(self, batch: StoredBatch) -> web.Response:
        return json_reply(self._encoded(batch))

    def _encoded(self, batch: StoredBatch) -> dict[str, Any]:
        protocol = self.desk.protocol
        return encode_batch(
            batch,
            self.desk.clock.now(),
            revert_s=protocol("counters_revert_s"),
            ticks_per_token=protocol("ticks_per_token"),
        )

    # Results

    async def _list_results(self, request: web.Request) -> web.Response:
        """Give a page of results: those that there are by now, before the end too."""
        batch = self._batch(request)
        limit = read_limit(request.query, self.desk.protocol("page")["results"])
        start = read_token(request.query)
        await self._settle(batch)
        async with self._results(batch) as path:
            items, end = await self.desk.work.run(_read_lines, path, start, limit)
        return json_reply({"results": items, "pagination_token": None if end is None else write_token(end)})

    @asynccontextmanager
    async def _results(self, batch: StoredBatch) -> AsyncGenerator[Path | None]:
        """Give the file of a batch's results; while it runs, one that is made for this moment."""
        stand = batch.stand(self.desk.clock.now())
        if stand.is_over or not stand.rows_done or batch.examined is None:
            yield batch.written.output.path if batch.written and batch.written.output else None
            return
        path = self.desk.store.new_path()
        try:
            await self.desk.work.run(self._write_so_far, batch, stand.rows_done, path)
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await _remove(path)

    def _write_so_far(self, batch: StoredBatch, rows_done: int, path: Path) -> None:
        assert batch.examined is not None
        sheet = self._sheet(batch, batch.examined, rows_done, self.desk.clock.now())
        with path.open("wb", buffering=BUFFER_BYTES) as file:
            write_rows(sheet, Rows(self._rules(batch), is_over=False), file, file)

    def row_kind(self, batch: StoredBatch) -> Rows:
        return Rows(self._rules(batch))

    def _rules(self, batch: StoredBatch) -> Rules:
        return Rules(
            endpoints=self._endpoints,
            wrappers={} if batch.order.input_file_id is not None else self.desk.protocol("wrappers"),
            allows_model=lambda model, endpoint: self.desk.allows_model(model, endpoint.models),
            ticks_per_token=self.desk.protocol("ticks_per_token"),
        )

    # How a fault sees it

    def items_of(self, document: dict[str, Any]) -> list[Any] | None:
        items = document.get("batches")
        return items if is_array(items) else None

    def with_items(self, document: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        return {**document, "batches": items}

    def as_endless(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**self.with_items(document, []), "pagination_token": AGAIN}

    def created_at_of(self, item: dict[str, Any]) -> float:
        """Give the moment itself, where the item tells the day alone."""
        batch = self.desk.store.batches.get(str(item.get("batch_id")))
        return batch.course.created_at if batch else 0.0

    def is_completed(self, item: dict[str, Any]) -> bool:
        batch = self.desk.store.batches.get(str(item.get("batch_id")))
        return batch is not None and batch.stand(self.desk.clock.now()).phase is Phase.COMPLETED

    def with_status(self, item: dict[str, Any], word: str) -> dict[str, Any]:
        return {**item, "state": word}

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:  # noqa: ARG002  it names none
        return item

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "state": None}


async def _remove(path: Path) -> None:
    await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))


def _read_order(body: bytes) -> Order:
    try:
        given = _JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusalError(400, "The body of the request is no JSON.") from error
    if not is_object(given) or not isinstance(given.get("name"), str):
        raise RefusalError(422, "The body of a create needs a name.")
    unknown = sorted(given.keys() - {"name", "input_file_id"})
    if unknown:
        raise RefusalError(422, f"Unknown field {unknown[0]!r}.")
    file_id = given.get("input_file_id")
    if file_id is not None and not isinstance(file_id, str):
        raise RefusalError(422, "input_file_id is no text.")
    return Order(name=given["name"], input_file_id=file_id or None)


def _is_bare(body: bytes) -> bool:
    """Say whether a create names no file."""
    try:
        return _read_order(body).input_file_id is None
    except RefusalError:
        return False


def _read_lines(path: Path | None, start: int, limit: int) -> tuple[list[Any], int | None]:
    """Give results from a place of their file on, and where the next page begins; what cannot be read is left out."""
    items: list[Any] = []
    if path is None:
        return items, None
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(limit):
            items += _decoded(file.readline())
        end = file.tell()
        return items, end if file.read(1) else None


def _decoded(line: bytes) -> list[Any]:
    try:
        return [_JSON.decode(line)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
