"""Anthropic's protocol: batches of messages that come in their create, and one stream of results.

Source: https://platform.claude.com/docs/en/api/messages/batches
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from aiohttp import web
from msgspec import Struct

from asyncbatch.emulator.clock import read_time
from asyncbatch.emulator.desk import ACCOUNT, DOOM, Desk, RefusalError
from asyncbatch.emulator.families.anthropic_checks import RowFacts, Rules, Version
from asyncbatch.emulator.families.anthropic_models import Model, encode_model
from asyncbatch.emulator.families.anthropic_rows import LIST, Rows
from asyncbatch.emulator.families.anthropic_shapes import (
    archived_at,
    cut_page,
    encode_batch,
    encode_failure,
    encode_page,
)
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.inline import read_inline
from asyncbatch.emulator.life import Course
from asyncbatch.emulator.looks import Which
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Operation, Route, route
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile

_BATCHES = "/v1/messages/batches"

_Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Order(Struct, kw_only=True):
    """What is kept of a create besides its rows.

    Attributes:
        version: The version of the protocol that it was sent in, which holds for its rows too.
        is_deleted: Whether the account has deleted the batch since.
    """

    version: str
    has_betas: bool
    is_deleted: bool = False


class Protocol(Family):
    """Message batches."""

    has_error_file = False
    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._versions = msgspec.convert(desk.protocol("versions"), dict[str, Version])
        self._row_facts = msgspec.convert(desk.protocol("rows"), RowFacts)
        self._lifetime_s: float = desk.protocol("results_lifetime_s")

    def routes(self) -> Sequence[Route]:
        return [
            self._route("create", web.post, _BATCHES, self._create),
            self._route("list", web.get, _BATCHES, self._list),
            self._route("poll", web.get, _BATCHES + "/{id}", self._show),
            self._route("delete", web.delete, _BATCHES + "/{id}", self._delete),
            self._route("cancel", web.post, _BATCHES + "/{id}/cancel", self._cancel),
            self._route("results", web.get, _BATCHES + "/{id}/results", self._results),
            self._route("other", web.get, "/v1/models", self._list_models),
            self._route("other", web.get, "/v1/models/{id}", self._show_model),
        ]

    def _route(self, operation: Operation, make: Callable[..., web.RouteDef], path: str, answer: _Answering) -> Route:
        """Make a route that is closed to requests without a version."""

        async def versioned(request: web.Request) -> web.StreamResponse:
            self._check_version(request)
            return await answer(request)

        return route(operation, make(path, versioned))

    def _check_version(self, request: web.Request) -> None:
        version = request.headers.get("anthropic-version")
        if version is None:
            raise RefusalError(400, "anthropic-version: header is required")
        if version not in self._versions:
            raise RefusalError(400, f'anthropic-version: "{version}" is not a valid version')

    # Who calls, and what refusals and headers look like

    def read_key(self, request: web.Request) -> str | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        key = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        key = key.strip()
        return key if key and not key.startswith("invalid") else None

    def refuse_key(self, request: web.Request) -> RefusalError:
        is_given = "x-api-key" in request.headers or "Authorization" in request.headers
        return RefusalError(401, "invalid x-api-key" if is_given else "x-api-key: header is required")

    def headers(self, request_id: str) -> Mapping[str, str]:
        return {"request-id": request_id, "anthropic-organization-id": self.desk.protocol("organization_id")}

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode(encode_failure(error.status, error.message, error.code, error.request_id))

    def refuse_problem(self, problem: Problem) -> RefusalError:
        place = [LIST]
        if problem.param != LIST and problem.line is not None:
            place += [str(problem.line - 1), *([problem.param] if problem.param else [])]
        return RefusalError(400, f"{'.'.join(place)}: {problem.message}")

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        if DOOM in request:  # no batch fails as a whole: a queue that is full does not take it
            raise RefusalError(429, request[DOOM].message)
        body, rows = await read_inline(request, self.desk, (LIST,))
        if rows is None:
            raise RefusalError(400, f"{LIST}: Field required")
        if body:
            await self.desk.discard(rows)
            raise RefusalError(400, f"{next(iter(body))}: Extra inputs are not permitted")
        batch = self._stored(request, rows)
        await self.desk.check(batch)
        await take_room(self.desk, batch)
        self.desk.open(request, batch)
        return self._shown(request, batch)

    def _stored(self, request: web.Request, rows: StoredFile) -> StoredBatch:
        headers = request.headers
        order = Order(version=headers["anthropic-version"], has_betas=bool(headers.get("anthropic-beta")))
        return StoredBatch(
            id=self.desk.store.new_id("msgbatch_01", 22),
            account=request[ACCOUNT],
            order=order,
            course=Course(created_at=self.desk.clock.now(), pace=self.desk.pace),
            input=rows,
        )

    async def _list(self, request: web.Request) -> web.Response:
        mine = [batch for batch in self.desk.store.batches_of(request[ACCOUNT]) if not batch.order.is_deleted]
        page, has_more = cut_page(mine, request.query, self.desk.protocol("list_limit"))
        await self.desk.work.settle(*page)
        return json_reply(encode_page([self._encoded(request, batch) for batch in page], has_more=has_more))

    async def _show(self, request: web.Request) -> web.Response:
        batch = await self._settled(request)
        response = self._shown(request, batch)
        if not self._is_over(batch):
            seconds = self.desk.clock.client_seconds(self.desk.protocol("poll_again_s"))
            response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
        return response

    async def _cancel(self, request: web.Request) -> web.Response:
        """Cancel what runs; what is being cancelled, or over, is shown as it is."""
        batch = await self._settled(request)
        if not self._is_over(batch):
            self.desk.cancel(request, batch)
        return self._shown(request, batch)

    async def _delete(self, request: web.Request) -> web.Response:
        batch = await self._settled(request)
        if not self._is_over(batch):
            raise RefusalError(400, f"Batch {batch.id} is being processed; cancel it first, or wait for its end.")
        batch.order.is_deleted = True
        self.desk.accept(request, "delete", batch.id)
        if batch.input is not None:
            await self.desk.discard(batch.input)
        return json_reply({"id": batch.id, "type": "message_batch_deleted"})

    async def _results(self, request: web.Request) -> web.StreamResponse:
        batch = await self._settled(request)
        if not self._is_over(batch):
            raise RefusalError(404, f"Batch {batch.id} has no results yet.")
        if archived_at(batch, self._lifetime_s, self.desk.clock.now()) is not None:
            raise RefusalError(404, f"The results of batch {batch.id} are no longer there.")
        file = batch.written.output if batch.written else None
        source, size = (file.path, file.size) if file else (b"", 0)
        return Download(source, size, content_type="application/x-jsonl")

    async def _settled(self, request: web.Request) -> StoredBatch:
        batch_id = request.match_info["id"]
        batch = self.desk.store.find_batch(request[ACCOUNT], batch_id)
        if batch is None or batch.order.is_deleted:
            raise RefusalError(404, f"There is no batch with the id '{batch_id}'.")
        await self.desk.work.settle(batch)
        return batch

    def _is_over(self, batch: StoredBatch) -> bool:
        return batch.stand(self.desk.clock.now()).is_over

    def _shown(self, request: web.Request, batch: StoredBatch) -> web.Response:
        return json_reply(self._encoded(request, batch))

    def _encoded(self, request: web.Request, batch: StoredBatch) -> dict[str, Any]:
        url = self.desk.url(request, f"{_BATCHES}/{batch.id}/results")
        now = self.desk.clock.now()
        return encode_batch(batch, self.words, now, results_url=url, lifetime_s=self._lifetime_s)

    def row_kind(self, batch: StoredBatch) -> Rows:
        facts = self._row_facts
        rules = Rules(
            facts=facts,
            version=self._versions[batch.order.version],
            has_betas=batch.order.has_betas,
            allows_model=lambda model: self.desk.allows_model(model, facts.models),
        )
        return Rows(rules)

    # Models

    async def _list_models(self, request: web.Request) -> web.Response:
        models = [Model(name) for name in self.desk.listed_models()]
        page, has_more = cut_page(models, request.query, self.desk.protocol("list_limit"))
        return json_reply(encode_page([encode_model(model) for model in page], has_more=has_more))

    async def _show_model(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not self.desk.allows_model(name, self._row_facts.models):
            raise RefusalError(404, f"model: {name}")
        return json_reply(encode_model(Model(name)))

    # How a fault sees it

    def created_at_of(self, item: dict[str, Any]) -> float:
        at = item.get("created_at")
        return read_time(at) if isinstance(at, str) else 0.0

    def is_completed(self, item: dict[str, Any]) -> bool:
        return item.get("processing_status") == "ended"

    def with_status(self, item: dict[str, Any], word: str) -> dict[str, Any]:
        return {**item, "processing_status": word}

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        """Hide the stream of results; errors have none of their own."""
        return item if which == "errors" else {**item, "results_url": None}
