"""A small protocol that has what OpenAI's has not: requests in the create, checked there, and one place for results."""

import datetime as dt

import msgspec
from aiohttp import web

from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import ACCOUNT, RefusalError, fingerprint
from asyncbatch.emulator.dialect import Dialect, Limits
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.inline import read_inline
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.life import Course, Pace, Phase
from asyncbatch.emulator.model import Ask, Message
from asyncbatch.emulator.replies import Download, json_reply
from asyncbatch.emulator.routes import route
from asyncbatch.emulator.rows import InvalidError, Row, RowError, RowKind
from asyncbatch.emulator.store import StoredBatch

DIALECT = Dialect(
    name="toy",
    family="toy",
    checked=dt.date(2026, 11, 25),
    sources=(),
    prefix="",
    environment={"TOY_URL": "{base_url}"},
    status={phase: "over" if phase.is_over else "running" for phase in Phase},
    pace=Pace(validating_s=0, row_s=1, run_cap_s=None, finalizing_s=0, cancelling_s=0),
    limits=Limits(inline_bytes=10_000, inline_rows=5),
    protocol={},
)


class Rows(RowKind):
    in_order = True

    def read(self, line):
        if not isinstance(line.get("key"), str) or not is_object(line.get("request")):
            raise InvalidError("bad_row", "A row needs a key and a request.")
        return Row(line["key"], line["request"], line)

    def check(self, row):
        if not isinstance(row.body.get("say"), str):
            raise RowError("Say something.", code="mute")

    def ask(self, row):
        return Ask(kind="chat", model="m", messages=(Message(role="user", text=row.body["say"]),), body=row.body)

    def encode_answer(self, row, ask, answer):
        tokens = [answer.input_tokens, answer.output_tokens, answer.cached_tokens, answer.reasoning_tokens]
        return {"key": row.id, "text": answer.text, "tokens": tokens}

    def encode_error(self, row, mark, error):
        return {"key": row.id, "error": error.code, "status": error.status, "message": error.message}

    def encode_unfinished(self, row, mark, reason):
        return {"key": row.id, "error": reason}


class Protocol(Family):
    has_error_file = False

    def routes(self):
        return [
            route("create", web.post("/v1/tasks", self._create)),
            route("list", web.get("/v1/tasks", self._list)),
            route("poll", web.get("/v1/tasks/{id}", self._show)),
            route("cancel", web.post("/v1/tasks/{id}:stop", self._cancel)),
            route("results", web.get("/v1/tasks/{id}/results", self._results)),
            route("other", web.get("/open/{key}", self._open), needs_key=False),
        ]

    def read_key(self, request):
        key = request.headers.get("x-key", "")
        return key if key and not key.startswith("invalid") else None

    def refuse_key(self, request):
        return RefusalError(400, "bad key", code="KEY_INVALID" if "x-key" in request.headers else "KEY_MISSING")

    def encode_error(self, error):
        wait_s = error.retry_after_s
        return msgspec.json.encode(
            {"problem": error.code, "text": error.message, "id": error.request_id, "wait": wait_s}
        )

    def headers(self, request_id):
        return {"request-id": request_id}

    def row_kind(self, batch):
        return Rows()

    async def _create(self, request):
        order, rows = await read_inline(request, self.desk, (("task", "Task"), "input", "rows"))
        if rows is None:
            raise RefusalError(400, "no rows")
        course = Course(created_at=self.desk.clock.now(), pace=self.desk.pace)
        batch = StoredBatch(
            id=self.desk.store.new_uuid(), account=request[ACCOUNT], order=order, course=course, input=rows
        )
        await self.desk.check(batch)
        self.desk.open(request, batch)
        return self._shown(request, batch)

    async def _list(self, request):
        batches = self.desk.store.batches_of(request[ACCOUNT])
        await self.desk.work.settle(*batches)
        return json_reply({"tasks": [self._document(request, batch) for batch in batches], "next": None})

    async def _show(self, request):
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        return self._shown(request, batch)

    async def _cancel(self, request):
        batch = self._batch(request)
        self.desk.cancel(request, batch)
        return json_reply({})

    async def _results(self, request):
        batch = self._batch(request)
        await self.desk.work.settle(batch)
        if batch.written is None or batch.written.output is None:
            raise RefusalError(404, "none yet")
        file = batch.written.output
        return Download(file.path, file.size, content_type="application/x-jsonl")

    async def _open(self, request):
        request[ACCOUNT] = fingerprint(request.match_info["key"])
        return json_reply({"tasks": len(self.desk.store.batches_of(request[ACCOUNT]))})

    def _batch(self, request):
        batch = self.desk.store.find_batch(request[ACCOUNT], request.match_info["id"])
        if batch is None:
            raise RefusalError(404, "unknown")
        return batch

    def _shown(self, request, batch):
        return json_reply(self._document(request, batch))

    def _document(self, request, batch):
        now = self.desk.clock.now()
        stand = batch.stand(now)
        has_results = stand.is_over and batch.written is not None and batch.written.output is not None
        return {
            "id": batch.id,
            "meta": {"state": self.words[stand.phase], "born": batch.course.created_at},
            "counts": msgspec.to_builtins(count_rows(batch, now)),
            "results": self.desk.url(request, f"/v1/tasks/{batch.id}/results") if has_results else None,
        }

    # How a fault sees it

    def items_of(self, document):
        return document.get("tasks")

    def with_items(self, document, items):
        return {**document, "tasks": items}

    def as_endless(self, document):
        return {"tasks": [], "next": "again"}

    def created_at_of(self, item):
        return item["meta"]["born"]

    def is_completed(self, item):
        return item["meta"]["state"] == "over"

    def with_status(self, item, word):
        return {**item, "meta": {**item["meta"], "state": word}}

    def without_results(self, item, which):
        return {**item, "results": None}

    def without_counts(self, item):
        return {key: value for key, value in item.items() if key != "counts"}
