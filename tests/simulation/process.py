"""A process that may die at any step: from that instant on nothing it does reaches the disk, the journal or the wire."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import anyio

from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.runtime import Runtime
from asyncbatch.spool import SpoolSpace

STEPS = {"create": 3.0, "upload": 1.0, "fetch": 0.5, "fence": 2.0, "cancel": 1.0, "poll": 0.05, "list": 0.05}
STEPS |= {"change": 1.0, "read": 0.05, "open": 0.3, "disk": 0.2, "sync": 0.1}
"""How likely a step of each kind is to be the last, as a multiple of the world's own measure: polls and lists are many."""

START = 1_800_000_000.0


class DeadError(Exception):
    """Raised in a process that is dead, wherever it tries to act: its tasks have to be cleared away somehow."""


class Dangers(NamedTuple):
    """What may end a process early.

    Attributes:
        crash: How likely a step is to be its last.
        leave: How likely a step is to be the one at which it is asked to end, and does so in good order.
        fatal: The event of the journal that it does not outlive.
    """

    crash: float = 0.0
    leave: float = 0.0
    fatal: str = ""


SYNCING: list["Process"] = []
"""Whose blocking work is done now."""


def sync(_descriptor: int) -> None:
    """Stand in for `os.fsync`: nothing here loses power, but a process may die between two files."""
    for process in SYNCING:
        process.step("sync", "before")


class Process:
    """One life of the program.

    Args:
        dice: Its luck.
        disk: Its luck in the middle of writing.
        dangers: What may end it early.
        clock_s: By how much its clock is ahead of the service's: it may be set between two lives.
        journal_at: The state directory that it shares with all others.
    """

    def __init__(
        self, number: int, dice: random.Random, disk: random.Random, dangers: Dangers, clock_s: float, journal_at: Any
    ) -> None:
        self.number = number
        self.clock_s = clock_s
        self.dice = dice
        self.disk = disk
        self.dangers = dangers
        self.is_dead = False
        self.was_asked = False
        self.died_at: str | None = None
        self.ended = anyio.Event()
        self.space: SpoolSpace | None = None
        self.runtime = Runtime(now=self.now, sleep=self.sleep, random=dice.random, offload=self.offload)
        self.journal = Journal(journal_at, self)

    def step(self, kind: str, moment: str) -> None:
        """Die here, perhaps, or be asked to end; raises if we are dead."""
        self.check()
        crash, leave, _ = self.dangers
        dice = self.dice if kind != "sync" else self.disk
        if crash and dice.random() < crash * STEPS[kind]:
            self.die(f"{kind}: {moment}")
            raise DeadError
        if leave and dice.random() < leave * STEPS[kind]:
            self.was_asked = True
            self.ended.set()

    def check(self) -> None:
        if self.is_dead:
            raise DeadError

    def die(self, where: str) -> None:
        """Do nothing from now on; locks are free then, and files are closed, which the kernel does for those that die."""
        self.is_dead, self.died_at = True, where
        self.journal.let_go()
        for file in list(self.space._files) if self.space is not None else ():
            file.flush()
        self.ended.set()

    def now(self) -> float:
        return now() + self.clock_s

    async def sleep(self, seconds: float) -> None:
        self.check()
        await asyncio.sleep(seconds)
        self.check()

    async def offload(self, func: Any, /, *args: Any) -> Any:
        self.step("disk", "before")
        await asyncio.sleep(0)
        self.check()
        with self.acting():
            value = func(*args)
        self.step("disk", "after")
        return value

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Whatever reaches the disk meanwhile is this process's doing, and each sync a step of its own."""
        SYNCING.append(self)
        try:
            yield
        finally:
            SYNCING.remove(self)


class Journal(SqliteJournal):
    """The journal as it is, without its thread; and nothing is left in order by a process that died."""

    def __init__(self, directory: Any, process: Process) -> None:
        super().__init__(directory, process.runtime)
        self.process = process

    async def open(self) -> None:
        self._open = Inline(self._database, self.process)
        await self._open.start()

    async def move(self, job_id: str, index: int, event: Any) -> Any:
        record = await super().move(job_id, index, event)
        if type(event).__name__ == self.process.dangers.fatal:
            self.process.die(f"right after {event}")
            raise DeadError
        return record

    def let_go(self) -> None:
        self._database.abandon()
        self._database.disconnect()

    def is_writer(self, job_id: str) -> bool:
        """Whether the journal holds us for the job's writer, whatever we think ourselves."""
        found = self._asked("SELECT owner, epoch FROM lease WHERE job_id = ?", job_id)
        return found == (self._store._owner, self._database.leases.epoch(job_id))

    def intends(self, tag: str) -> bool:
        """Whether it is written down that a create with this mark may be under way."""
        return self._asked("SELECT result FROM attempt WHERE tag = ?", tag) == ("open",)

    def rounds(self, submission: Any) -> int:
        """How often some of its requests were to be sent again."""
        sql = "SELECT count(*) FROM event WHERE kind = 'Retried' AND job_id = ? AND idx = ?"
        found: int = self._asked(sql, submission.batch_id.hex, submission.chunk_index)[0]
        return found

    def _asked(self, sql: str, *values: Any) -> Any:
        return self._database.read(lambda connection: connection.execute(sql, values).fetchone())


class Inline:
    """See `journal/_writer.py`: what the thread does there is done here at once, between two steps that may be the last."""

    is_inherited = False

    def __init__(self, database: Any, process: Process) -> None:
        self.database = database
        self.process = process

    async def start(self) -> None:
        await self._do("open", self.database.open)

    async def stop(self) -> None:
        if not self.process.is_dead:
            self.database.close()

    async def read(self, work: Any) -> Any:
        self.process.step("read", "before")
        await asyncio.sleep(0)
        self.process.check()
        return self.database.read(work)

    async def change(self, work: Any) -> Any:
        (answer,) = await self._do("change", lambda: self.database.commit([work]))
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def step(self, work: Any) -> Any:
        return await self._do("change", work)

    async def _do(self, kind: str, work: Any) -> Any:
        self.process.step(kind, "before")
        with anyio.CancelScope(shield=True):  # a change that was asked for is made
            await asyncio.sleep(0)
            self.process.check()
            with self.process.acting():
                value = work()
            self.process.step(kind, "after")
            await asyncio.sleep(0)
            self.process.check()
        return value


def now() -> float:
    return START + asyncio.get_running_loop().time()
