"""What a protocol family works with: one dialect's facts, store and clock, and the book of what was accepted."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec
from aiohttp import web

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.data_dir import DataDir
from asyncbatch.emulator.dialect import Dialect, Limits
from asyncbatch.emulator.effects import Doom
from asyncbatch.emulator.entries import Entry, Kept, RecordEntry, encode_batch, encode_file, fill
from asyncbatch.emulator.ghosts import Ghosts
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.life import Pace
from asyncbatch.emulator.routes import OPERATION
from asyncbatch.emulator.store import ClosedError, Problem, Store, StoredBatch, StoredFile
from asyncbatch.emulator.tokens import Signer
from asyncbatch.emulator.work import Work

HISTORY_S = 30.0  # real seconds that a reader of the history waits for validation; it takes one or two at most
ACCOUNT = web.RequestKey("account", str)
DOOM = web.RequestKey("doom", Doom)


class RefusalError(Exception):
    """The request is refused; the family puts it into its own words.

    Attributes:
        request_id: The answer's; set before the family gets to see the error.
        path: What was asked for; set with it.
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
        self.path = ""


class ProblemError(Exception):
    """The input of a create is not fit to run; the family makes a refusal of it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def fingerprint(key: str) -> str:
    """Name the account behind a key, without the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _tell_nobody(batch: StoredBatch) -> None:
    """Most emulators have no webhooks to send."""


class Desk:
    """One dialect at work.

    The server gives it a `Work` and its `Ghosts` when it starts, and another `Store` when it is reset.

    Attributes:
        data: Where it writes down what it has; None if that is forgotten at the end.
        signer: Signs tokens for webhooks of single batches.
        on_batch: Hears of every batch that begins, or goes on in another life and was not told of yet.
    """

    work: Work
    ghosts: Ghosts
    signer: Signer
    data: DataDir | None = None

    def __init__(
        self, dialect: Dialect, clock: Clock, pace: Pace, limits: Limits, models: Sequence[str], seed: int
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self.pace = pace
        self.limits = limits
        self.models = tuple(models)
        self.seed = seed
        self.on_batch: Callable[[StoredBatch], None] = _tell_nobody
        self.restart()

    def restart(self) -> None:
        """Begin again with nothing."""
        self.store = self._open_store()
        self._history: list[Record] = []
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def _open_store(self, directory: str | None = None) -> Store:
        return Store(self.dialect.name, self.data.path if self.data else None, directory)

    # What outlives the process

    def take_up(self, data: DataDir, kept: Kept | None, kinds: Sequence[type[StoredFile]], order: Any) -> None:
        """Write down from now on what there is, and have again what an earlier life wrote down."""
        self.store.remove()
        self.data = data
        self.store = self._open_store(kept.directory if kept else None)
        if kept is not None:
            fill(self.store, kept, kinds, order)
            self.store.remove_strays()
            self._history += [entry.record for entry in kept.records]

    def first_entries(self, kept: Kept | None) -> list[Entry]:
        """Give what stands in the log of an emulator that starts with this."""
        return (kept or Kept(self.store.directory.name)).entries(self.dialect.name)

    def resume(self) -> None:
        """Go on with the batches of an earlier life."""
        told = {
            record.object_id
            for record in self._history
            if record.kind == "webhook" and record.status in range(200, 300)
        }
        for batch in self.store.batches.values():
            self.work.begin(batch)
            if batch.id not in told:
                self.on_batch(batch)

    def keep(self, *things: StoredFile | StoredBatch | Record) -> None:
        """Write down things as they now are, all of them or none. A batch brings its files along."""
        if self.data is not None:
            self.data.append([entry for thing in things for entry in self._entries(thing)])

    def _entries(self, thing: StoredFile | StoredBatch | Record) -> list[Entry]:
        if isinstance(thing, Record):
            return [RecordEntry(record=thing)]
        if isinstance(thing, StoredFile):
            is_listed = self.store.files.get(thing.id) is thing
            return [encode_file(self.dialect.name, thing, is_listed=is_listed)]
        written = thing.written
        files = [thing.input, *((written.output, written.errors) if written else ())]
        entries = [entry for file in files if file is not None for entry in self._entries(file)]
        return [*entries, encode_batch(self.dialect.name, thing)]

    # What happens

    def allows_model(self, model: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in (*patterns, *self.models))

    def listed_models(self) -> list[str]:
        """Name the models that the service lists: its own, and those that were asked for without wildcards."""
        return [*self.protocol("listed"), *(model for model in self.models if not set(model) & set("*?["))]

    def note(self, record: Record) -> None:
        """Write down a call, of which nothing else has to be known."""
        self.keep(record)
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
        self.keep(*self._concerned(object_id), record)
        self._history.append(record)

    def _concerned(self, object_id: str) -> list[StoredFile | StoredBatch]:
        """Give what this was about: a batch, or a file and the batches that are made of it."""
        batch, file = self.store.batches.get(object_id), self.store.files.get(object_id)
        users = list(self.store.users_of(file)) if file is not None else []
        return [thing for thing in (file, batch, *users) if thing is not None]

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
        if batch.is_gone or (batch.input is not None and batch.input.path.parent != self.store.directory):
            raise RefusalError(503, "The service is being reset.")  # it came while everything was forgotten
        doom = request.get(DOOM)
        if doom is not None:
            batch.course = msgspec.structs.replace(batch.course, refused_after_s=doom.after_s)
            batch.refuse(Problem(code=doom.code, message=doom.message))
        self.store.batches[batch.id] = batch
        try:
            self.accept(request, "create", batch.id, file=batch.input, input_file_id=input_file_id, metadata=metadata)
        except OSError:  # it cannot be written down, so it does not exist
            del self.store.batches[batch.id]
            raise
        self.work.begin(batch)
        self.on_batch(batch)

    def cancel(self, request: web.Request, batch: StoredBatch) -> None:
        """Let a batch be cancelled. What is over stays as it is; whether that is an error is the family's to say."""
        now = self.clock.now()
        if not batch.stand(now).is_over and batch.cancel(now):
            self.accept(request, "cancel", batch.id)

    async def read_history(self) -> list[Record]:
        """Give the history, with each create's bill as far as validation has come."""
        await self.ghosts.settle()
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
