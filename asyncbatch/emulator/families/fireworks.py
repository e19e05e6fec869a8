"""Fireworks' protocol: datasets of rows, jobs under names that their client chooses, answers at signed addresses.

The fact sheet leaves some things open, and the emulator is then the stricter of two services that might exist: a name that was
taken once stays taken, models and datasets are called by their full names alone, a dataset is filled once, and a job that was
deleted while it ran leaves no answers. Source: https://docs.fireworks.ai/guides/batch-inference
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec
from aiohttp import web

from asyncbatch.emulator.clock import read_time
from asyncbatch.emulator.desk import ACCOUNT, RefusalError
from asyncbatch.emulator.families.fireworks_datasets import BELOW, DatasetRoutes
from asyncbatch.emulator.families.fireworks_orders import Order, defaults_of, read_id, read_job
from asyncbatch.emulator.families.fireworks_rows import Rows
from asyncbatch.emulator.families.fireworks_shapes import (
    Dataset,
    Item,
    encode_error,
    encode_job,
    encode_model,
    encode_page,
)
from asyncbatch.emulator.json_values import is_array
from asyncbatch.emulator.life import Course, Phase, plan_itinerary
from asyncbatch.emulator.looks import AGAIN, Which
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import StoredBatch, StoredFile, Written

_JOBS = f"{BELOW}/batchInferenceJobs"
_JOB = f"{_JOBS}/{{id:[^/:]+}}"


class Protocol(DatasetRoutes):
    """Datasets and jobs."""

    order_kind = Order

    def routes(self) -> Sequence[Route]:
        return [
            *self.dataset_routes(),
            route("create", web.post(_JOBS, self._create)),
            route("list", web.get(_JOBS, self._list_jobs)),
            route("poll", web.get(_JOB, self._show_job)),
            route("cancel", web.delete(_JOB, self._delete_job)),
            route("other", web.get(f"{BELOW}/models", self._list_models)),
        ]

    def refuse_key(self, request: web.Request) -> RefusalError:  # noqa: ARG002  none is refused as a bad one is
        return RefusalError(403, "The API key you provided is invalid.", code="UNAUTHORIZED")

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode(encode_error(error))

    # Jobs

    async def _create(self, request: web.Request) -> web.Response:
        asked = request.query.get("batchInferenceJobId")
        name = self.desk.store.new_id(chars=16) if asked is None else read_id(asked, "batch_inference_job_id")
        document = read_job(await request.read())
        job_id = f"accounts/{request.match_info['account']}/batchInferenceJobs/{name}"
        if job_id in self.desk.store.batches:
            raise RefusalError(409, f"batch inference job {name} already exists", code="ALREADY_EXISTS")
        batch = self._stored_batch(request, document, job_id)
        await take_room(self.desk, batch)
        self.desk.open(
            request, batch, input_file_id=batch.order.input, metadata={"displayName": batch.order.display_name}
        )
        return json_reply(self._encoded(batch))

    def _stored_batch(self, request: web.Request, document: Mapping[str, Any], job_id: str) -> StoredBatch:
        self._check_model(document["model"])
        dataset = self._input(request[ACCOUNT], document["inputDatasetId"])
        order = Order(
            model=document["model"],
            input=dataset.id,
            output=self._read_output(request, document.get("outputDatasetId"), job_id),
            example_count=dataset.example_count,
            display_name=document.get("displayName", ""),
            system_prompt=document.get("systemPrompt", ""),
            precision=document.get("precision", "PRECISION_UNSPECIFIED"),
            parameters=document.get("inferenceParameters", {}),
        )
        course = Course(created_at=self.desk.clock.now(), pace=self.desk.pace)
        return StoredBatch(id=job_id, account=request[ACCOUNT], order=order, course=course, input=dataset)

    def _check_model(self, model: str) -> None:
        account, kind, name = _parts(model, "models")
        is_public = account == self.desk.protocol("public_account")
        known: list[str] = self.desk.protocol("models") if is_public else []
        if not kind or not self.desk.allows_model(name, known):
            raise RefusalError(404, f"model {model} not found")

    def _input(self, account: str, name: str) -> Dataset:
        dataset = self.find_dataset(account, name)
        if dataset is None:
            raise RefusalError(404, f"dataset {name} not found")
        if not dataset.is_ready(self.desk.clock.now()):
            raise RefusalError(400, f"dataset {name} is not ready", code="FAILED_PRECONDITION")
        return dataset

    def _read_output(self, request: web.Request, name: str | None, job_id: str) -> str:
        account = request.match_info["account"]
        if name is None:
            return f"accounts/{account}/datasets/{job_id.rpartition('/')[2]}-output"
        owner, kind, dataset_id = _parts(name, "datasets")
        if not kind or owner != account:
            raise RefusalError(400, f"invalid output_dataset_id {name!r}")
        read_id(dataset_id, "output_dataset_id")
        if self._is_taken(name):
            raise RefusalError(400, f"dataset {name} exists, and cannot be written to")
        return name

    async def _list_jobs(self, request: web.Request) -> web.Response:
        below = f"accounts/{request.match_info['account']}/"
        jobs = [batch for batch in self.desk.store.batches_of(request[ACCOUNT]) if batch.id.startswith(below)]
        await self.desk.work.settle(*jobs)
        items = [
            Item(batch.id, batch.course.created_at, partial(self._encoded, batch))
            for batch in reversed(jobs)
            if not self._is_gone(batch)
        ]
        return json_reply(encode_page("batchInferenceJobs", items, request.query, self.desk.dialect.protocol))

    async def _show_job(self, request: web.Request) -> web.Response:
        return json_reply(self._encoded(await self._job(request)))

    async def _delete_job(self, request: web.Request) -> web.Response:
        """Delete a job: one that runs is stopped first, which takes a moment, and is gone then."""
        batch = await self._job(request)
        if batch.stand(self.desk.clock.now()).is_over:
            batch.order.is_deleted = True
            self.desk.accept(request, "delete", batch.id)
        else:
            self.desk.cancel(request, batch)
        return json_reply({})

    async def _job(self, request: web.Request) -> StoredBatch:
        name = f"accounts/{request.match_info['account']}/batchInferenceJobs/{request.match_info['id']}"
        batch = self.desk.store.find_batch(request[ACCOUNT], name)
        if batch is not None:
            await self.desk.work.settle(batch)
        if batch is None or self._is_gone(batch):
            raise RefusalError(404, f"batch inference job {name} not found")
        return batch

    def _is_gone(self, batch: StoredBatch) -> bool:
        return batch.order.is_deleted or batch.stand(self.desk.clock.now()).phase is Phase.CANCELLED

    def _encoded(self, batch: StoredBatch) -> dict[str, Any]:
        return encode_job(batch, self.words, self.desk.clock.now())

    async def _list_models(self, request: web.Request) -> web.Response:
        """List the models of an account; all but those of the service's own are nobody's."""
        account, public = request.match_info["account"], self.desk.protocol("public_account")
        names = self.desk.listed_models() if account == public else []
        full = sorted(name if "/" in name else f"accounts/{account}/models/{name}" for name in names)
        items = [Item(name, 0.0, partial(encode_model, name)) for name in full]
        return json_reply(encode_page("models", items, request.query, self.desk.dialect.protocol))

    # Rows and results

    def row_kind(self, batch: StoredBatch) -> Rows:
        order = cast("Order", batch.order)
        return Rows(order.model, order.system_prompt, defaults_of(order.parameters))

    def write(self, batch: StoredBatch, rows_done: int) -> Written:
        """Write nothing of a job that was deleted."""
        if plan_itinerary(batch.course)[-1][1] is Phase.CANCELLED:
            batch.check_kept()
            return Written()
        return super().write(batch, rows_done)

    def keeps_empty(self, kind: str) -> bool:
        return kind == "error"

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:  # noqa: ARG002  the file tells all
        self.desk.store.files[results.id] = results
        return results

    # How a fault sees it

    def items_of(self, document: dict[str, Any]) -> list[Any] | None:
        items = document.get("batchInferenceJobs")
        return items if is_array(items) else None

    def with_items(self, document: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        return {**document, "batchInferenceJobs": items}

    def as_endless(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**self.with_items(document, []), "nextPageToken": AGAIN}

    def created_at_of(self, item: dict[str, Any]) -> float:
        at = item.get("createTime")
        return read_time(at) if isinstance(at, str) else 0.0

    def is_completed(self, item: dict[str, Any]) -> bool:
        return bool(item.get("state") == self.words[Phase.COMPLETED])

    def with_status(self, item: dict[str, Any], word: str) -> dict[str, Any]:
        return {**item, "state": word}

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        """Give the job without its dataset of answers; that of errors is the same."""
        return item if which == "errors" else {**item, "outputDatasetId": ""}

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "jobProgress": None}


def _parts(name: str, kind: str) -> tuple[str, str, str]:
    """Take a full name apart: its account, its kind and what it is called; three empty texts where it is none."""
    parts = name.split("/")
    is_full = len(parts) == 4 and parts[0] == "accounts" and parts[2] == kind and all(parts)
    return (parts[1], parts[2], parts[3]) if is_full else ("", "", "")
