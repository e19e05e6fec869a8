"""What a protocol family works with: one dialect's facts, store and clock, and the book of what was accepted."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import anyio
import msgspec
from aiohttp import web

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.dialect import Dialect, Limits
from asyncbatch.emulator.faults import Doom
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.life import Pace
from asyncbatch.emulator.store import Store, StoredBatch
from asyncbatch.emulator.work import Work

HISTORY_S = 30.0  # real seconds that a reader of the history waits for validation; it takes one or two at most
ACCOUNT = web.RequestKey("account", str)
DOOM = web.RequestKey("doom", Doom)


class RefusalError(Exception):
    """The request is refused; the family puts it into its own words."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


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

    def accept(
        self,
        request: web.Request,
        kind: Literal["upload", "create", "cancel", "delete"],
        object_id: str,
        *,
        input_file_id: str | None = None,
        sha256: str | None = None,
        file_bytes: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write down that something was accepted."""
        record = Record(
            kind=kind,
            at=self.clock.now(),
            dialect=self.dialect.name,
            account=request[ACCOUNT],
            method=request.method,
            path=request.path,
            object_id=object_id,
            input_file_id=input_file_id,
            input_sha256=sha256,
            file_bytes=file_bytes,
            metadata=metadata or {},
        )
        self.note(record)

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
