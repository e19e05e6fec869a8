"""Fireworks' datasets: made first, filled then, ready a moment later; and those that jobs write their answers to.

Source: the fact sheet of Fireworks' batch inference, "Input = dataset" and "Results".
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.to_thread
from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.fireworks_orders import read_dataset, read_object
from asyncbatch.emulator.families.fireworks_shapes import (
    Dataset,
    Item,
    encode_dataset,
    encode_page,
    encode_results,
)
from asyncbatch.emulator.families.fireworks_storage import Storage, refuse_upload
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.life import Phase
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile
from asyncbatch.emulator.uploads import Arrival, kept, read_multipart

BELOW = "/accounts/{account:[a-z0-9-]+}"
_ONE = f"{BELOW}/datasets/{{id:[^/:]+}}"
_WITH_ANSWERS = {Phase.COMPLETED, Phase.EXPIRED}


class DatasetRoutes(Family):
    """What there is below `/datasets`, and the storage behind it."""

    file_kinds = (StoredFile, Dataset)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._storage = Storage(desk)

    def dataset_routes(self) -> Sequence[Route]:
        return [
            route("other", web.post(f"{BELOW}/datasets", self._create_dataset)),
            route("files", web.get(f"{BELOW}/datasets", self._list_datasets)),
            route("upload", web.post(f"{_ONE}:upload", self._upload)),
            route("other", web.post(f"{_ONE}:getUploadEndpoint", self._offer_upload)),
            route("other", web.post(f"{_ONE}:validateUpload", self._validate_upload)),
            route("file", web.get(f"{_ONE}:getDownloadEndpoint", self._offer_download)),
            route("file", web.get(_ONE, self._show_dataset)),
            route("delete", web.delete(_ONE, self._delete_dataset)),
            route("upload", web.put("/storage/{key}/{name:.+}", self._take), needs_key=False),
            route("results", web.get("/storage/{key}/{name:.+}", self._give), needs_key=False),
        ]

    # Making and filling

    async def _create_dataset(self, request: web.Request) -> web.Response:
        new, now = read_dataset(await request.read()), self.desk.clock.now()
        name = f"accounts/{request.match_info['account']}/datasets/{new.dataset_id}"
        if self._is_taken(name):
            raise RefusalError(409, f"dataset {new.dataset_id} already exists", code="ALREADY_EXISTS")
        dataset = Dataset(
            id=name,
            account=request[ACCOUNT],
            purpose="dataset",
            filename="",
            path=self.desk.store.new_path(),
            size=0,
            sha256="",
            created_at=now,
            expires_at=None,
            display_name=new.display_name,
            example_count=new.example_count,
        )
        self.desk.store.files[name] = dataset
        self.desk.keep(dataset)
        return json_reply(encode_dataset(dataset, now))

    def _is_taken(self, name: str) -> bool:
        """Say whether a dataset has this name already, be it somebody else's."""
        file, now = self.desk.store.files.get(name), self.desk.clock.now()
        is_output = any(self._has_answers(batch) and batch.order.output == name for batch in self._all_batches())
        return (file is not None and file.is_there(now)) or is_output

    def _all_batches(self) -> Sequence[StoredBatch]:
        return list(self.desk.store.batches.values())

    async def _upload(self, request: web.Request) -> web.Response:
        dataset = self._empty_dataset(request)
        path = self.desk.store.new_path()
        async with kept(path):
            body = await read_multipart(request, path, self.desk.limits.upload_bytes)
            unknown = next(iter(body.fields), None)
            if unknown is not None:
                raise RefusalError(400, f"unknown field {unknown!r}")
        self._fill(dataset, body.filename, body.size, body.sha256)
        await anyio.to_thread.run_sync(path.rename, dataset.path)
        self._make_ready(dataset)
        self.desk.accept(request, "upload", dataset.id, file=dataset)
        shown = {
            "id": request.match_info["id"],
            "object": "file",
            "bytes": dataset.size,
            "created_at": int(self.desk.clock.now()),
            "filename": dataset.filename,
            "purpose": "dataset",
        }
        return json_reply(shown)

    async def _offer_upload(self, request: web.Request) -> web.Response:
        dataset, document = self._empty_dataset(request), read_object(await request.read())
        sizes: Any = document.get("filenameToSize")
        if not is_object(sizes) or len(sizes) != 1 or document.keys() != {"filenameToSize"}:
            raise RefusalError(400, "filename_to_size names one file")
        name, size = next(iter(sizes.items()))
        if not isinstance(size, str) or not size.isdigit():
            raise RefusalError(400, f"invalid size {size!r} of {name}: an int64 is a text")
        url = self._storage.sign(request, "PUT", dataset.path.name, name, size=int(size))
        return json_reply({"filenameToSignedUrls": {name: url}})

    async def _take(self, request: web.Request) -> web.Response:
        """Take rows at a signed address."""
        refusal = self._storage.refuse(request)
        dataset = self._dataset_at(request.match_info["key"])
        if refusal is not None or dataset is None:
            return refusal or refuse_upload("There is no such dataset.")
        request[ACCOUNT], size = dataset.account, int(request.query["size"])
        if request.headers.get("X-Goog-Content-Length-Range") != f"{size},{size}":
            return refuse_upload("X-Goog-Content-Length-Range is not what was signed.")
        if request.content_type != "application/octet-stream" or request.content_length != size:
            return refuse_upload(f"Expected application/octet-stream of {size} bytes.")
        path = self.desk.store.new_path()
        async with kept(path):
            arrival = Arrival(path, size)
            await arrival.take(request.content)
        self._fill(dataset, request.match_info["name"], arrival.size, arrival.sha256)
        await anyio.to_thread.run_sync(path.rename, dataset.path)
        self.desk.accept(request, "upload", dataset.id, file=dataset)
        return web.Response()

    async def _validate_upload(self, request: web.Request) -> web.Response:
        read_object(await request.read())
        dataset = self._empty_dataset(request)
        if not dataset.has_bytes:
            raise RefusalError(400, "nothing was uploaded", code="FAILED_PRECONDITION")
        self._make_ready(dataset)
        self.desk.keep(dataset)
        return json_reply({})

    def _fill(self, dataset: Dataset, filename: str, size: int, sha256: str) -> None:
        dataset.filename, dataset.size, dataset.sha256, dataset.has_bytes = filename, size, sha256, True

    def _make_ready(self, dataset: Dataset) -> None:
        dataset.ready_at = self.desk.clock.now() + self.desk.protocol("ready_s")

    # Showing and deleting

    async def _list_datasets(self, request: web.Request) -> web.Response:
        account, now = request[ACCOUNT], self.desk.clock.now()
        batches = self.desk.store.batches_of(account)
        await self.desk.work.settle(*batches)
        below = f"accounts/{request.match_info['account']}/"
        items = [
            Item(file.id, file.created_at, partial(encode_dataset, file, now))
            for file in self.desk.store.files_of(account, now)
            if isinstance(file, Dataset)
        ]
        items += [
            Item(batch.order.output, max(batch.stand(now).since.values()), partial(encode_results, batch, now))
            for batch in batches
            if self._has_answers(batch)
        ]
        mine = sorted((item for item in items if item.name.startswith(below)), key=lambda item: item.created_at)
        return json_reply(encode_page("datasets", mine, request.query, self.desk.dialect.protocol))

    async def _show_dataset(self, request: web.Request) -> web.Response:
        now, batch = self.desk.clock.now(), await self._batch_behind(request)
        shown = encode_results(batch, now) if batch is not None else encode_dataset(self._dataset(request), now)
        return json_reply(shown)

    async def _offer_download(self, request: web.Request) -> web.Response:
        batch, name = await self._batch_behind(request), request.match_info["id"]
        if batch is None:
            dataset = self._dataset(request)
            files = {dataset.filename: dataset.path.name} if dataset.is_ready(self.desk.clock.now()) else {}
        else:
            written = batch.written
            found = {"BIJOutputSet.jsonl": written.output, "error-data": written.errors} if written else {}
            files = {file_name: file.id for file_name, file in found.items() if file is not None}
        urls = {f"dataset/{name}/{file}": self._storage.sign(request, "GET", key, file) for file, key in files.items()}
        return json_reply({"filenameToSignedUrls": urls})

    async def _give(self, request: web.Request) -> web.StreamResponse:
        refusal = self._storage.refuse(request)
        if refusal is not None:
            return refusal
        key = request.match_info["key"]
        file = self.desk.store.files.get(key) or self._dataset_at(key)
        if file is None:
            raise RefusalError(404, "The specified key does not exist.")
        request[ACCOUNT] = file.account
        return Download(file.path, file.size, content_type="application/octet-stream")

    async def _delete_dataset(self, request: web.Request) -> web.Response:
        batch = await self._batch_behind(request)
        if batch is not None:
            batch.order.is_output_deleted = True
            self.desk.keep(batch)
            self.desk.accept(request, "delete", batch.order.output)
            return json_reply({})
        dataset = self._dataset(request)
        dataset.is_deleted = True
        users = list(self.desk.store.users_of(dataset))
        for user in users:
            if self.desk.clock.now() < user.course.valid_at:
                user.refuse(Problem(code="NOT_FOUND", message=f"dataset {dataset.id} not found"))
        self.desk.accept(request, "delete", dataset.id)
        if not users:
            await self.desk.discard(dataset)
        return json_reply({})

    # Finding

    def _dataset(self, request: web.Request) -> Dataset:
        name = _name_of(request)
        dataset = self.find_dataset(request[ACCOUNT], name)
        if dataset is None:
            raise RefusalError(404, f"dataset {name} not found")
        return dataset

    def find_dataset(self, account: str, name: str) -> Dataset | None:
        found = self.desk.store.find_file(account, name, self.desk.clock.now())
        return found if isinstance(found, Dataset) else None

    def _empty_dataset(self, request: web.Request) -> Dataset:
        dataset = self._dataset(request)
        if dataset.ready_at is not None:
            raise RefusalError(400, "the dataset has its rows already", code="FAILED_PRECONDITION")
        return dataset

    def _dataset_at(self, key: str) -> Dataset | None:
        """Find a dataset by where its bytes lie."""
        now, files = self.desk.clock.now(), self.desk.store.files.values()
        found = (file for file in files if isinstance(file, Dataset) and file.path.name == key)
        return next((file for file in found if file.is_there(now)), None)

    async def _batch_behind(self, request: web.Request) -> StoredBatch | None:
        """Give the job that wrote a dataset; None where none did."""
        name, batches = _name_of(request), self.desk.store.batches_of(request[ACCOUNT])
        mine = [batch for batch in batches if batch.order.output == name]
        await self.desk.work.settle(*mine)
        return next((batch for batch in mine if self._has_answers(batch)), None)

    def _has_answers(self, batch: StoredBatch) -> bool:
        phase = batch.stand(self.desk.clock.now()).phase
        return phase in _WITH_ANSWERS and batch.written is not None and not batch.order.is_output_deleted


def _name_of(request: web.Request) -> str:
    return f"accounts/{request.match_info['account']}/datasets/{request.match_info['id']}"
