"""Mistral's protocol: jobs over uploaded files, or over requests in the create; results as files, and in the job itself.

The fact sheet leaves some things open, and the emulator is then the stricter of two services that might exist: a create
names a model or an agent; a job that is over cannot be cancelled, and one that is not cannot be deleted; the list does not
filter by metadata, however it is asked. Results of every job, inline or not, are files; `?inline=true` shows them, good and
bad, in the job as well. Source: https://docs.mistral.ai/api/endpoint/batch
"""

import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families import mistral_errors, mistral_fields
from asyncbatch.emulator.families.mistral_errors import NO_KEY, UnprocessableError, unprocessable
from asyncbatch.emulator.families.mistral_fields import FieldError
from asyncbatch.emulator.families.mistral_file_routes import FileRoutes
from asyncbatch.emulator.families.mistral_files import (
    MistralFile,
    as_results,
    field_of,
    join_files,
    read_outputs,
)
from asyncbatch.emulator.families.mistral_orders import (
    Endpoint,
    Order,
    Query,
    Terms,
    is_descending,
    read_flag,
    read_moment,
    read_order,
    read_page,
    read_words,
)
from asyncbatch.emulator.families.mistral_rows import Rows, rules_for
from asyncbatch.emulator.families.mistral_shapes import encode_job, encode_list, encode_model
from asyncbatch.emulator.inline import Inline, read_inline
from asyncbatch.emulator.life import Course, Phase
from asyncbatch.emulator.looks import Which
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile
from asyncbatch.emulator.uploads import kept

ENDLESS = 1_000_000  # how many jobs an endless list says there are
_BODY = ("body",)
_COUNTS = ("total_requests", "completed_requests", "succeeded_requests", "failed_requests")


class Protocol(FileRoutes):
    """Files and jobs."""

    file_kinds = (StoredFile, MistralFile)
    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._terms = Terms(
            endpoints=msgspec.convert(desk.protocol("endpoints"), dict[str, Endpoint]),
            metadata=desk.protocol("metadata"),
            timeout_hours=desk.protocol("timeout_hours"),
            allows_model=desk.allows_model,
        )

    def routes(self) -> Sequence[Route]:
        return [
            *self.file_routes(),
            route("create", web.post("/v1/batch/jobs", self._create)),
            route("list", web.get("/v1/batch/jobs", self._list_jobs)),
            route("poll", web.get("/v1/batch/jobs/{id}", self._show_job)),
            route("cancel", web.post("/v1/batch/jobs/{id}/cancel", self._cancel)),
            route("delete", web.delete("/v1/batch/jobs/{id}", self._delete_job)),
            route("other", web.get("/v1/models", self._list_models)),
        ]

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply({"object": "list", "data": [encode_model(name) for name in self.desk.listed_models()]})

    def refuse_key(self, request: web.Request) -> RefusalError:
        """Refuse a bad key as the service does, and a request without one as the gateway before it."""
        if "Authorization" in request.headers:
            return RefusalError(401, "Invalid API Key")
        return RefusalError(401, "Unauthorized", code=NO_KEY)

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode(mistral_errors.encode_error(error))

    def refuse_problem(self, problem: Problem) -> RefusalError:
        return UnprocessableError(field_of(problem, ("body", "requests")))

    def new_request_id(self) -> str:
        return uuid.uuid4().hex

    # Jobs

    async def _create(self, request: web.Request) -> web.Response:
        with unprocessable(_BODY):
            inline = await read_inline(request, self.desk, ("requests",))
        async with AsyncExitStack() as stack:
            if inline.rows is not None:
                await stack.enter_async_context(kept(inline.rows.path))
            batch = await self._read_job(request, inline, stack)
            await self._check_pending(batch)
            await take_room(self.desk, batch)
            files, metadata = batch.order.input_files, batch.order.metadata
            self.desk.open(request, batch, input_file_id=files[0] if files else None, metadata=metadata)
        return json_reply(encode_job(batch, self.words, self.desk.clock.now(), is_new=True))

    async def _read_job(self, request: web.Request, inline: Inline, stack: AsyncExitStack) -> StoredBatch:
        """Read a job, and check it as far as a create does: requests in the body are looked at, files were before."""
        with unprocessable(_BODY):
            order = read_order(inline.order, self._terms, has_rows=inline.rows is not None)
        rows = inline.rows or await self._input(request, order, stack)
        batch_id = self.desk.store.new_uuid()
        batch = StoredBatch(
            id=batch_id, account=request[ACCOUNT], order=order, course=self._course(order.timeout_hours), input=rows
        )
        if rows.is_inline:
            await self.desk.check(batch)
        return batch

    def _course(self, hours: int) -> Course:
        """Give the job its window: the pace tells that of the default."""
        pace, default = self.desk.pace, self._terms.timeout_hours["default"]
        pace = replace(pace, window_s=pace.window_s * hours / default)
        return Course(created_at=self.desk.clock.now(), pace=pace)

    async def _input(self, request: web.Request, order: Order, stack: AsyncExitStack) -> StoredFile:
        """Give the one input file, or make one of several."""
        files = [self._input_file(request, number, file_id) for number, file_id in enumerate(order.input_files)]
        if len(files) == 1:
            return files[0]
        path = self.desk.store.new_path()
        await stack.enter_async_context(kept(path))
        return await self.desk.work.run(join_files, files, path)

    def _input_file(self, request: web.Request, number: int, file_id: str) -> MistralFile:
        file, loc = self.find_file(request, file_id), ("body", "input_files", number)
        if file.purpose != "batch":
            raise UnprocessableError(FieldError("value_error", loc, "This file is not for batches.", file_id))
        return file

    async def _check_pending(self, new: StoredBatch) -> None:
        """Refuse a job for which the workspace has no room until others are over."""
        most, jobs = self.desk.protocol("pending_rows"), self._jobs(new.account)
        if self._pending(*jobs, new) > most:
            await self.desk.work.settle(*jobs)
        if self._pending(*jobs, new) > most:
            raise RefusalError(429, f"Not more than {most} requests can be pending in a workspace.")

    def _pending(self, *jobs: StoredBatch) -> int:
        now = self.desk.clock.now()
        return sum(_rows_in(batch) for batch in jobs if not batch.stand(now).is_over)

    async def _list_jobs(self, request: web.Request) -> web.Response:
        query, words = request.query, self.words
        with unprocessable(_BODY):
            page = read_page(query, self.desk.protocol("page_size"))
            statuses = set(read_words(query, "status", sorted(set(words.values()))))
            after, is_newest_first = read_moment(query, "created_after"), is_descending(query)
            read_flag(query, "created_by_me", default=False)  # an account is one user's
        jobs = [batch for batch in self._jobs(request[ACCOUNT]) if _is_wanted(batch, query, after)]
        await self.desk.work.settle(*jobs)
        now = self.desk.clock.now()
        found = [batch for batch in jobs if words[batch.stand(now).phase] in statuses]
        cut = page.cut(found if is_newest_first else found[::-1])
        return json_reply(encode_list([encode_job(batch, words, now) for batch in cut], len(found)))

    async def _show_job(self, request: web.Request) -> web.Response:
        batch = self._job(request)
        with unprocessable(_BODY):
            is_inline = read_flag(request.query, "inline", default=False)
        await self.desk.work.settle(batch)
        written = batch.written if batch.stand(self.desk.clock.now()).is_over else None
        if not is_inline or written is None:
            return self._shown(batch)
        files = [file for file in (written.output, written.errors) if file is not None]
        return self._shown(batch, await self.desk.work.run(read_outputs, files))

    async def _cancel(self, request: web.Request) -> web.Response:
        """Cancel a job: at once if it has not started. A second time changes nothing."""
        batch = self._job(request)
        await self.desk.work.settle(batch)
        phase = batch.stand(self.desk.clock.now()).phase
        if phase.is_over and phase is not Phase.CANCELLED:
            raise RefusalError(400, f"A job of status {self.words[phase]} cannot be cancelled.")
        if phase is Phase.VALIDATING:
            batch.course = replace(batch.course, pace=replace(batch.course.pace, cancelling_s=0.0))
        self.desk.cancel(request, batch)
        await self.desk.work.settle(batch)
        return self._shown(batch)

    async def _delete_job(self, request: web.Request) -> web.Response:
        batch = self._job(request)
        await self.desk.work.settle(batch)
        phase = batch.stand(self.desk.clock.now()).phase
        if not phase.is_over:
            raise RefusalError(400, f"A job of status {self.words[phase]} cannot be deleted: cancel it first.")
        batch.order.is_deleted = True
        self.desk.accept(request, "delete", batch.id)
        return json_reply({"id": batch.id, "object": "batch", "deleted": True})

    def _jobs(self, account: str) -> list[StoredBatch]:
        return [batch for batch in self.desk.store.batches_of(account) if not batch.order.is_deleted]

    def _job(self, request: web.Request) -> StoredBatch:
        job_id, loc = request.match_info["id"], ("path", "job_id")
        with unprocessable(loc):
            mistral_fields.uuid(job_id, loc)
        batch = self.desk.store.find_batch(request[ACCOUNT], job_id)
        if batch is None or batch.order.is_deleted:
            raise RefusalError(404, f"No batch job with id {job_id} was found.")
        return batch

    def _shown(self, batch: StoredBatch, outputs: Sequence[Any] | None = None) -> web.Response:
        return json_reply(encode_job(batch, self.words, self.desk.clock.now(), outputs=outputs))

    # Rows and results

    def row_kind(self, batch: StoredBatch) -> Rows:
        endpoint = self._terms.endpoints[batch.order.endpoint]
        model = batch.order.model or self.desk.protocol("agent_model")
        return Rows(rules_for(endpoint.answer, model, self._dimensions(model)))

    def _dimensions(self, model: str) -> int:
        table: dict[str, int] = self.desk.protocol("embedding_dimensions")
        return next(size for pattern, size in table.items() if fnmatchcase(model, pattern))

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:  # noqa: ARG002  the file tells all
        file = as_results(results, self.desk.store.new_uuid())
        self.desk.store.files[file.id] = file
        return file

    # How a fault sees it

    def as_endless(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**self.with_items(document, []), "total": ENDLESS}

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        hidden = (
            {"error_file": None} if which == "errors" else {"output_file": None, "error_file": None, "outputs": None}
        )
        return {**item, **hidden}

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, **dict.fromkeys(_COUNTS, 0)}


def _rows_in(batch: StoredBatch) -> int:
    """Count the rows of a job; those of a file were counted when it came."""
    if batch.examined is not None:
        return batch.examined.rows
    return (batch.input.lines or 0) if isinstance(batch.input, MistralFile) else 0


def _is_wanted(batch: StoredBatch, query: Query, after: float | None) -> bool:
    """Say whether the filters of a list let a job through. Whether the service filters by metadata nobody knows."""
    is_late = after is None or batch.course.created_at > after
    facts = {"model": batch.order.model, "agent_id": batch.order.agent_id}
    return is_late and all(query.get(name) in (None, fact) for name, fact in facts.items())
