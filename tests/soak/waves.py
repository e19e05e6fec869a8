"""Waves of jobs through one client, one a day, in time that runs quickly on both sides: many accounts, and trouble.

A wave ends when each of its jobs is over, read and forgotten: what is there then is what the client keeps.
"""

import asyncio
import gc
import os
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from asyncbatch import BatchClient, ResultStatus
from asyncbatch.emulator import Emulator, faults
from asyncbatch.emulator.history import paid_twice
from asyncbatch.runtime import Runtime
from tests.simulation.process import START
from tests.soak.stock import own_objects

SPEED = 3600.0
"""Emulated seconds in one of ours: a day passes in less than half a minute."""
DAY_S = 86_400.0
MODELS = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
}
ACCOUNTS = ("a", "b", "c")
CHANCE = 0.01


def troubles() -> Iterator[faults.Fault]:
    """Everything that passes, at one call in a hundred each."""
    often: Any = {"times": None, "chance": CHANCE}
    for operation in ("upload", "poll", "list", "results", "file"):
        yield faults.refuse(500, operation=operation, **often)
        yield faults.refuse(503, operation=operation, **often)
        yield faults.drop(operation=operation, **often)
        yield faults.rate_limited(1.0, operation=operation, **often)
    for operation in ("poll", "results"):
        yield faults.cut_body(10, operation=operation, method="GET", **often)
        yield faults.html_200(operation=operation, method="GET", **often)
        yield faults.stall(0.2, operation=operation, **often)
    yield faults.unknown_status(**often)
    yield faults.flap404(chance=CHANCE)
    yield faults.rate_limited(1.0, operation="create", **often)
    yield faults.accept_then_drop(dialect="openai", **often)


class Quick:
    """A clock that runs quickly, and a day further when it is told to."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._days = 0

    def now(self) -> float:
        return START + self._days * DAY_S + (time.monotonic() - self._began) * SPEED

    def next_day(self) -> None:
        self._days += 1


class Left(NamedTuple):
    """What there is between two waves.

    Attributes:
        own: Objects of our classes, by class.
        rows: Rows in the journal, by table.
        files: Files in the state directory and in that for temporary ones.
    """

    tasks: int
    threads: int
    descriptors: int
    blocks: int
    files: int
    rows: dict[str, int]
    own: Counter[str]


class Waves:
    """One client, its emulator and its journal.

    Attributes:
        heard: How often the end of each job was told.
        wrong: What must not happen, and did.
    """

    def __init__(self, emulator: Emulator, clock: Quick, place: Path) -> None:
        self.emulator = emulator
        self.place = place
        self.client = BatchClient(
            accounts={name: {each: _key(emulator, each, name) for each in MODELS} for name in ACCOUNTS},
            journal=place / "state",
            cleanup="settled",
            runtime=Runtime(now=clock.now, sleep=lambda seconds: anyio.sleep(seconds / SPEED)),
        )
        self.heard: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def one(self, jobs: int) -> None:
        """Send so many jobs, read and forget them."""
        async with asyncio.TaskGroup() as group:
            for number in range(jobs):
                group.create_task(self._job(number))
        await self._quiet()
        self.wrong += [f"{job!r} is there still" for job in self.client.jobs()]
        self.wrong += [f"paid for twice: {records}" for records in paid_twice(self.emulator.history).values()]

    async def _job(self, number: int) -> None:
        provider, model = list(MODELS.items())[number % len(MODELS)]
        requests = [f"request {n} of job {number}" for n in range(1 + number % 3)]
        job = await self.client.submit(requests, model=f"{provider}/{model}", account=ACCOUNTS[number % len(ACCOUNTS)])
        is_cancelled = number % 10 == 9
        if is_cancelled:
            await job.cancel()
        rows = [row async for row in job.results()]
        may_be = {ResultStatus.SUCCEEDED, ResultStatus.CANCELLED} if is_cancelled else {ResultStatus.SUCCEEDED}
        if len(rows) != len(requests) or not {row.status for row in rows} <= may_be:
            self.wrong.append(f"job {number}: {[(row.request_id, row.status, row.error) for row in rows]}")
        while not self.heard[job.id]:  # its handler comes after its rows
            await asyncio.sleep(0.01)
        if (told := self.heard.pop(job.id)) > 1:
            self.wrong.append(f"job {number}: its end was told {told} times")
        await self.client.forget(job.id)

    async def hear(self, job: Any) -> None:
        self.heard[job.id] += 1

    async def _quiet(self) -> None:
        """Wait until what was about to be done is done: handlers that have just returned, deletions."""
        with anyio.fail_after(60):
            while any(" of job " in task.get_name() for task in asyncio.all_tasks()):
                await asyncio.sleep(0.01)

    def left(self) -> Left:
        for _ in range(3):
            gc.collect()
        files = sum(len(names) for _, _, names in os.walk(self.place))
        return Left(
            tasks=len(asyncio.all_tasks()),
            threads=threading.active_count(),
            descriptors=len(os.listdir("/proc/self/fd")),
            blocks=sys.getallocatedblocks(),
            files=files,
            rows=dict(_rows(self.place / "state")),
            own=Counter(own_objects()),
        )


def _key(emulator: Emulator, provider: str, account: str) -> dict[str, str]:
    return {"api_key": f"key-of-{account}", "base_url": emulator.base_url(provider)}


def _rows(state: Path) -> Iterator[tuple[str, int]]:
    with closing(sqlite3.connect(state / "journal.sqlite3")) as journal:
        for (table,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            yield table, journal.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
