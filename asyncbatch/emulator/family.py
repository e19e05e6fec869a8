"""A protocol family: what a dialect needs beside its YAML; and what all of them have in common."""

import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from asyncbatch.emulator.asking import Asking, Asks
from asyncbatch.emulator.desk import Desk, RefusalError
from asyncbatch.emulator.elsewhere import Elsewhere
from asyncbatch.emulator.life import Stand, plan_itinerary, rows_done
from asyncbatch.emulator.looks import Looks
from asyncbatch.emulator.results import Sheet, read_asks, write_files
from asyncbatch.emulator.routes import Operation, Route
from asyncbatch.emulator.rows import RowKind, RowLimits, examine_rows
from asyncbatch.emulator.store import Examined, Problem, StoredBatch, StoredFile, Written


class Family(Looks, ABC):
    """One protocol on one desk: its paths, its shapes, and what its rows look like.

    A module below `families` calls its subclass `Protocol`. What faults have to know of its answers is in `Looks`.

    Attributes:
        has_error_file: Whether rows that failed or were not run lie in a file of their own.
        names_results: Whether a batch names where its results lie, which are files of lines then. Else they are pages of JSON,
            asked for by the batch's name, and stay for as long as it does.
        keeps_partial_results: Whether a batch that expired or was cancelled has results of the rows that were run.
        holds_answers: Whether a batch has its answers in itself, and there is no other place to fetch them from.
        has_retry_header: Whether a refusal says in `Retry-After` how long to wait; otherwise only its body does.
        file_kinds: The classes that its files have.
        order_kind: The type of `StoredBatch.order`.
    """

    has_error_file = True
    names_results = True
    keeps_partial_results = True
    holds_answers = False
    has_retry_header = True
    file_kinds: tuple[type[StoredFile], ...] = (StoredFile,)
    order_kind: Any = Any

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.words = desk.dialect.status

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Give the paths below the dialect's base URL, each with what it is for."""

    async def operation_of(self, request: web.Request, route: Route) -> Operation:  # noqa: ARG002  a path mostly has one use
        """Say what a call is for; a family that has to look into its body for that reads all of it, and it is small."""
        return route.operation

    # Who calls, and what refusals and headers look like

    def read_key(self, request: web.Request) -> str | None:
        """Give the key that the request carries; None if it has none or a bad one: one that begins with `invalid`.

        By itself it is a bearer token, as most services have it.
        """
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        return key if scheme.lower() == "bearer" and key and not key.startswith("invalid") else None

    def refuse_key(self, request: web.Request) -> RefusalError:  # noqa: ARG002  a family may tell bad keys from none
        """Say what a request without a good key gets."""
        message = "Incorrect API key provided, or none. Send any other key as a bearer token."
        return RefusalError(401, message, code="invalid_api_key")

    @abstractmethod
    def encode_error(self, error: RefusalError) -> bytes:
        """Give the body of an error answer. With `has_retry_header`, `error.retry_after_s` is sent as a header anyway."""

    def refuse_problem(self, problem: Problem) -> RefusalError:
        """Say what a create gets whose input `Desk.check` found unfit."""
        return RefusalError(400, problem.message, code=problem.code, param=problem.param)

    def check_call(self, request: web.Request) -> None:
        """Refuse what no call of the service may be like, whatever it is for; by itself, there is nothing of that kind."""

    def dressed(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:  # noqa: ARG002
        """Give an answer as the path that was asked has it; by itself, every path has it alike."""
        return response

    def new_request_id(self) -> str:
        return f"req_{uuid.uuid4().hex}"

    def headers(self, request_id: str) -> Mapping[str, str]:
        """Give the headers that every answer has."""
        return {"x-request-id": request_id}

    # The rows of a batch

    @abstractmethod
    def row_kind(self, batch: StoredBatch) -> RowKind:
        """Make what reads, checks and encodes the rows of this batch, for one pass over them."""

    def row_limits(self, batch: StoredBatch) -> RowLimits:
        """Give the limits of this batch's input."""
        limits = self.desk.limits
        is_inline = batch.input is not None and batch.input.is_inline
        caps = [cap for cap in (limits.rows, limits.inline_rows if is_inline else None) if cap is not None]
        return RowLimits(rows=min(caps, default=None), size=limits.file_bytes)

    def keep_results(self, batch: StoredBatch, results: StoredFile) -> StoredFile:  # noqa: ARG002  as the batch wants
        """Make of results what the account can fetch; by itself, they are nothing but `batch.written`."""
        return results

    def event_of(self, batch: StoredBatch, stand: Stand) -> dict[str, Any] | None:  # noqa: ARG002  most services tell nobody
        """Give the body of the webhook that tells of the end of a batch, with its name as `type`; None where none is sent."""
        return None

    def addresses_of(self, batch: StoredBatch) -> Sequence[str]:  # noqa: ARG002  most services know none
        """Give the addresses that came with the batch, which are told in place of the emulator's own."""
        return ()

    def keeps_empty(self, kind: str) -> bool:  # noqa: ARG002  most services name no file that would be empty
        """Say whether a file of results is named although there is nothing in it; its kind is `output` or `error`."""
        return False

    # The work behind a batch, in threads

    def examine(self, batch: StoredBatch) -> Examined:
        """Validate the batch's input."""
        assert batch.input is not None
        return examine_rows(batch.input.path, self.row_kind(batch), self.row_limits(batch), batch.check_kept)

    def write(self, batch: StoredBatch, rows_done: int) -> Written:
        """Write the results of the first `rows_done` rows, and what became of the others."""
        batch.check_kept()
        at, phase = plan_itinerary(batch.course)[-1]
        is_partial = phase is not phase.COMPLETED
        if batch.examined is None or (is_partial and not self.keeps_partial_results):
            return Written()  # perhaps it was cancelled before anybody knew that its input is bad
        sheet = self._sheet(batch, batch.examined, rows_done, at)
        good = self.desk.store.new_path()
        bad = self.desk.store.new_path() if self.has_error_file else None
        totals = write_files(sheet, self.row_kind(batch), good, bad)
        return Written(
            fates=bytes(totals.fates) if batch.asking else None,
            output=self._kept(batch, good, "output", at),
            errors=self._kept(batch, bad, "error", at) if bad else None,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            cached_tokens=totals.cached_tokens,
            reasoning_tokens=totals.reasoning_tokens,
        )

    def _sheet(self, batch: StoredBatch, examined: Examined, rows_done: int, at: float) -> Sheet:
        assert batch.input is not None
        return Sheet(
            batch_id=batch.id,
            source=batch.input.path,
            examined=examined,
            rows_done=rows_done,
            at=at,
            seed=self.desk.seed,
            reason="expired" if batch.course.cancel_at is None else "cancelled",
            check_open=batch.check_kept,
            read_answer=batch.asking.read if batch.asking else None,
        )

    def open_asking(self, batch: StoredBatch, elsewhere: Elsewhere) -> Asking:
        """Make what asks about the batch's rows."""
        assert batch.examined is not None
        return Asking(self.desk.store.new_path(), batch.examined.rows, self._asks(batch), elsewhere.answer)

    def _asks(self, batch: StoredBatch) -> Asks:
        """Read what the rows ask that will be run. Goes on in threads, one at a time."""
        assert batch.input is not None
        assert batch.examined is not None
        sheet = self._sheet(
            batch, batch.examined, rows_done(batch.course, math.inf), plan_itinerary(batch.course)[-1][0]
        )
        return read_asks(sheet, self.row_kind(batch))

    def _kept(self, batch: StoredBatch, path: Path, kind: str, at: float) -> StoredFile | None:
        """Make a file of results; None if there are none."""
        batch.check_kept()
        size = path.stat().st_size
        if size == 0 and not self.keeps_empty(kind):
            path.unlink()
            return None
        results = StoredFile(
            id=self.desk.store.new_id("file-"),
            account=batch.account,
            purpose="batch_output",
            filename=f"{batch.id}_{kind}.jsonl",
            path=path,
            size=size,
            sha256="",
            created_at=at,
            expires_at=None,
        )
        return self.keep_results(batch, results)
