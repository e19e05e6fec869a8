"""OpenRouter's protocol: batches whose requests come in their create, and whose answers stand in the batch itself.

A batch cannot be cancelled. What is wrong with its requests is found after it was accepted, and fails it.

Source: https://openrouter.ai/docs/batch-quickstart and openrouter 1.3.84 (`batch.py`, `components/batch*.py`)
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.families.openai_shapes import cut_page, encode_model, encode_page
from asyncbatch.emulator.families.openrouter_rows import Endpoint, Rows, Rules
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.inline import read_inline
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.life import Course, Phase
from asyncbatch.emulator.looks import Which
from asyncbatch.emulator.replies import json_reply
from asyncbatch.emulator.room import take_room
from asyncbatch.emulator.routes import Route, route
from asyncbatch.emulator.store import StoredBatch, StoredFile, Written
from asyncbatch.emulator.uploads import kept

VARIANT = ":batch"
_ROWS = "requests"
_FIRST = ("endpoint", "model", "callback_url")
_KNOWN = {*_FIRST, _ROWS, "completion_window", "provider"}
_PREFERENCES = {"only", "allow_fallbacks"}


class Order(Struct, kw_only=True):
    """What is kept of a create besides its rows.

    Attributes:
        rows: How many there are, which is known from the first moment.
        is_deleted: Whether the account has deleted the batch since.
    """

    endpoint: str
    model: str
    rows: int
    is_deleted: bool = False


class Protocol(Family):
    """Batches without files, without marks and without a way to cancel them."""

    has_error_file = False
    holds_answers = True
    order_kind = Order

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._endpoints = msgspec.convert(desk.protocol("endpoints"), dict[str, Endpoint])

    def routes(self) -> Sequence[Route]:
        return [
            route("create", web.post("/batches", self._create)),
            route("list", web.get("/batches", self._list)),
            route("poll", web.get("/batches/{id}", self._show)),
            route("delete", web.delete("/batches/{id}", self._delete)),
            route("other", web.get("/models", self._list_models)),
        ]

    def encode_error(self, error: RefusalError) -> bytes:
        return msgspec.json.encode({"error": {"code": error.status, "message": error.message}})

    # Batches

    async def _create(self, request: web.Request) -> web.Response:
        document, rows = await read_inline(request, self.desk, (_ROWS,), _check_names)
        if rows is None:
            raise RefusalError(400, f"{_ROWS}: Required")
        async with kept(rows.path):
            self._check_order(document)
            count = await self.desk.work.run(_count_lines, rows.path)
            batch = self._stored(request, document, rows, count)
            await take_room(self.desk, batch)
            self.desk.open(request, batch)
        return json_reply(self._encoded(batch, None), status=202)

    def _check_order(self, document: dict[str, Any]) -> None:
        """Look at what stands around the rows, as far as it is looked at before the create is answered."""
        unknown = next((name for name in document if name not in _KNOWN), None)
        if unknown is not None:
            raise RefusalError(400, f"Unrecognized key: {unknown}")
        if document.get("endpoint") not in self._endpoints:
            raise RefusalError(400, f"endpoint: expected one of {', '.join(self._endpoints)}")
        model, provider = document.get("model"), document.get("provider")
        if not isinstance(model, str) or not model.endswith(VARIANT):
            raise RefusalError(400, f"model: {model!r} is no batch variant; it ends with {VARIANT}")
        if not self.desk.allows_model(model.removesuffix(VARIANT), self._endpoints[document["endpoint"]].models):
            raise RefusalError(404, f"No endpoints found for {model}.")
        if document.get("completion_window", "24h") != "24h":
            raise RefusalError(400, "completion_window: expected 24h")
        if provider is not None and not (is_object(provider) and provider.keys() <= _PREFERENCES):
            raise RefusalError(400, "provider: only `only` and `allow_fallbacks` are supported")

    def _stored(self, request: web.Request, document: dict[str, Any], rows: StoredFile, count: int) -> StoredBatch:
        now = self.desk.clock.now()
        return StoredBatch(
            id=self.desk.store.new_id(f"batch-{int(now)}-", 6),
            account=request[ACCOUNT],
            order=Order(endpoint=document["endpoint"], model=document["model"], rows=count),
            course=Course(created_at=now, pace=self.desk.pace),
            input=rows,
        )

    async def _list(self, request: web.Request) -> web.Response:
        query, mine = request.query, self.desk.store.batches_of(request[ACCOUNT])
        await self.desk.work.settle(*mine)
        now, words = self.desk.clock.now(), set(query.getall("status", []))
        after, before = _moment(query.get("created_after")), _moment(query.get("created_before"))
        found = [
            batch
            for batch in mine
            if not batch.order.is_deleted
            and (not words or self.words[batch.stand(now).phase] in words)
            and (after is None or batch.course.created_at > after)
            and (before is None or batch.course.created_at < before)
        ]
        page, has_more = cut_page(found, query.get("after"), query.get("limit"), self.desk.protocol("list_limit"))
        return json_reply(encode_page([self._encoded(batch, None) for batch in page], Manners(), has_more=has_more))

    async def _show(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        now, rows = self.desk.clock.now(), None
        stand = batch.stand(now)
        if stand.is_over:
            if now >= stand.since[stand.phase] + self.desk.protocol("results_lifetime_s"):
                raise RefusalError(410, f"The results of batch {batch.id} are no longer available")
            results = batch.written.output if batch.written else None
            rows = await self.desk.work.run(_read_rows, results.path) if results else []
        return json_reply(self._encoded(batch, rows))

    async def _delete(self, request: web.Request) -> web.Response:
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        if not batch.stand(self.desk.clock.now()).is_over:
            raise RefusalError(409, f"Batch {batch.id} is still in progress")
        batch.order.is_deleted = True
        self.desk.accept(request, "delete", batch.id)
        upstream = {"provider": self.desk.protocol("provider"), "status": "deleted"}
        targets = {"openrouter": "deleted", "upstream": upstream}
        return json_reply({"id": batch.id, "object": "batch", "deletion": targets})

    def _batch(self, request: web.Request) -> StoredBatch:
        batch = self.desk.store.find_batch(request[ACCOUNT], request.match_info["id"])
        if batch is None or batch.order.is_deleted:
            raise RefusalError(404, f"Batch {request.match_info['id']} not found")
        return batch

    def _encoded(self, batch: StoredBatch, rows: list[msgspec.Raw] | None) -> dict[str, Any]:
        now = self.desk.clock.now()
        stand, counts = batch.stand(now), count_rows(batch, now)
        written = batch.written if batch.written and stand.is_over else None
        failed = counts.errored + counts.expired + counts.cancelled
        problem = batch.problem if stand.phase is Phase.FAILED else None
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.order.endpoint,
            "model": batch.order.model.removesuffix(VARIANT),
            "provider": None if stand.phase is Phase.VALIDATING else self.desk.protocol("provider"),
            "status": self.words[stand.phase],
            "completion_window": "24h",
            "created_at": int(batch.course.created_at),
            "expires_at": int(batch.course.expires_at),
            "finalized_at": int(stand.since[stand.phase]) if stand.is_over else None,
            "request_counts": {"total": batch.order.rows, "completed": counts.succeeded, "failed": failed},
            "usage": _encode_usage(written) if written else None,
            "error": {"message": problem.message} if problem else None,
            "results": rows,
        }

    def row_kind(self, batch: StoredBatch) -> Rows:
        endpoint = self._endpoints[batch.order.endpoint]
        return Rows(Rules(endpoint=endpoint, model=batch.order.model, dimensions=self.desk.protocol("dimensions")))

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return json_reply({"data": [encode_model(name) for name in self.desk.listed_models()]})

    # How a fault sees it

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        """Hide the answers; errors have no place of their own."""
        return item if which == "errors" else {**item, "results": None}


def _check_names(names: Sequence[str]) -> None:
    """Refuse what comes too late for who reads as it comes."""
    late = names[names.index(_ROWS) :] if _ROWS in names else ()
    name = next((name for name in _FIRST if name in late), None)
    if name is not None:
        raise RefusalError(400, f"{name} must appear before {_ROWS} in the request body")


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise RefusalError(400, f"Invalid timestamp: {text}") from error


def _encode_usage(written: Written) -> dict[str, Any]:
    return {
        "prompt_tokens": written.input_tokens,
        "completion_tokens": written.output_tokens,
        "total_tokens": written.input_tokens + written.output_tokens,
        "prompt_tokens_details": {"cached_tokens": written.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": written.reasoning_tokens},
        "cost": 0.0,
    }


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _read_rows(path: Path) -> list[msgspec.Raw]:
    """Read the answers; a line that is no JSON cannot stand in JSON."""
    with path.open("rb") as file:
        return [msgspec.Raw(line) for line in file if _is_json(line)]


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
