"""What a protocol family works with: one dialect's facts, store and clock, and the book of what was accepted."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec
from aiohttp import web

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.dialect import Dialect, Limits
from asyncbatch.emulator.effects import Doom
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.life import Pace
from asyncbatch.emulator.routes import OPERATION
from asyncbatch.emulator.store import ClosedError, Problem, Store, StoredBatch, StoredFile
from asyncbatch.emulator.work import Work

HISTORY_S = 30.0  # real seconds that a reader of the history waits for validation; it takes one or two at most
ACCOUNT = web.RequestKey("account", str)
DOOM = web.RequestKey("doom", Doom)


class RefusalError(Exception):
    """The request is refused; the family puts it into its own words.

    Attributes:
        request_id: The answer's; set before the family gets to see the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.request_id = ""


class ProblemError(Exception):
    """The input of a create is not fit to run; the family makes a refusal of it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def fingerprint(key: str) -> str:
    """Name the account behind a key, without the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Desk:
    """One dialect at work. The server gives it a `Work` when it starts, and another `Store` when it is reset."""

    work: Work

    def __init__(
        self, dialect: Dialect, clock: Clock, pace: Pace, limits: Limits, models: Sequence[str], seed: int
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self.pace = pace
        self.limits = limits
        self.models = tuple(models)
        self.seed = seed
        self.restart()

    def restart(self) -> None:
        """Begin again with nothing."""
        self.store = Store(self.dialect.name)
        self._history: list[Record] = []
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def allows_model(self, model: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in (*patterns, *self.models))

    def note(self, record: Record) -> None:
        self._history.append(record)

    def url(self, request: web.Request, path: str) -> str:
        """Give the absolute URL of a path of the dialect, as its client can reach it."""
        return f"{request.scheme}://{request.host}{self.dialect.mount}{path}"

    def accept(
        self,
        request: web.Request,
        kind: Literal["upload", "create", "cancel", "delete"],
        object_id: str,
        *,
        file: StoredFile | None = None,
        input_file_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write down that something was accepted: what it was made of, and the client's own marks on it."""
        record = Record(
            kind=kind,
            at=self.clock.now(),
            dialect=self.dialect.name,
            account=request[ACCOUNT],
            method=request.method,
            path=request.path,
            operation=request[OPERATION],
            object_id=object_id,
            input_file_id=input_file_id,
            input_sha256=file.sha256 if file else None,
            file_bytes=file.size if file else None,
            metadata=metadata or {},
        )
        self.note(record)

    async def check(self, batch: StoredBatch) -> None:
        """Validate a batch before its create is answered, as some services do. Its rows are thrown away if they are bad.

        Raises:
            ProblemError: What is wrong. The batch must not be opened.
        """
        assert batch.input is not None
        problem = await self._checked(batch)
        if problem is not None:
            if batch.input.is_inline:
                await self.discard(batch.input)
            raise ProblemError(problem)

    async def _checked(self, batch: StoredBatch) -> Problem | None:
        store = self.store
        store.unopened.add(batch)
        try:
            return await self.work.check(batch)
        except (ClosedError, FileNotFoundError) as error:
            if not batch.is_gone:
                raise
            raise RefusalError(503, "The service is being reset.") from error
        finally:
            store.unopened.discard(batch)

    async def discard(self, file: StoredFile) -> None:
        await anyio.to_thread.run_sync(lambda: file.path.unlink(missing_ok=True))

    def open(
        self,
        request: web.Request,
        batch: StoredBatch,
        *,
        input_file_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Take a batch on: from now on it exists, is in the history, and lives by the clock."""
        doom = request.get(DOOM)
        if doom is not None:
            batch.course = msgspec.structs.replace(batch.course, refused_after_s=doom.after_s)
            batch.refuse(Problem(code=doom.code, message=doom.message))
        self.store.batches[batch.id] = batch
        self.accept(request, "create", batch.id, file=batch.input, input_file_id=input_file_id, metadata=metadata)
        self.work.begin(batch)

    def cancel(self, request: web.Request, batch: StoredBatch) -> None:
        """Let a batch be cancelled. What is over stays as it is; whether that is an error is the family's to say."""
        now = self.clock.now()
        if not batch.stand(now).is_over and batch.cancel(now):
            self.accept(request, "cancel", batch.id)

    async def read_history(self) -> list[Record]:
        """Give the history, with each create's bill as far as validation has come."""
        with anyio.move_on_after(HISTORY_S):
            for batch in list(self.store.batches.values()):
                await batch.examined_event.wait()
        return [self._bill(record) for record in self._history]

    def _bill(self, record: Record) -> Record:
        batch = self._batch_of(record)
        return msgspec.structs.replace(record, is_paid=batch.is_paid) if batch else record

    def _batch_of(self, record: Record) -> StoredBatch | None:
        return self.store.batches.get(record.object_id or "") if record.kind == "create" else None

    def wait_for_turn(self, account: str) -> float:
        """Count one call against the account's limit, or give the emulated seconds until there is room for it."""
        limit = self.limits.requests_per_min
        if limit is None:
            return 0.0
        now, calls = self.clock.now(), self._calls[account]
        while calls and calls[0] <= now - 60:
            calls.popleft()
        if len(calls) >= limit:
            return calls[0] + 60 - now
        calls.append(now)
        return 0.0

    def protocol(self, name: str) -> Any:
        """Give one of the facts that only the family understands."""
        return self.dialect.protocol[name]
