"""What the tests of the durable journal share: jobs, a life, and a journal that is closed again."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    CreateUnknown,
    Ended,
    Event,
    JobRecord,
    Settled,
    SubmissionRecord,
    Uploaded,
    UploadIntended,
    apply,
)
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.runtime import Runtime

ROOT = Path(__file__).parents[2]
# Without what a coverage run would add: it keeps its own database, which our faults would hit.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
PARTS = (SubmissionRecord(index=0, request_count=2), SubmissionRecord(index=1, request_count=1))


def job(job_id: str = "job-1", **fields: Any) -> JobRecord:
    base = {
        "job_id": job_id,
        "provider": "openai",
        "model": "gpt-4.1-mini",
        "mode": BatchMode.CHAT,
        "endpoint": "/v1/chat/completions",
        "account": "team",
        "fingerprint": "0123456789abcdef",
        "created_at": 7.0,
        "request_count": 3,
        "options": {"metadata": {"night": "yes"}},
    }
    return JobRecord(**base | fields)


def life(name: str) -> list[Event]:
    """Give all that happens to a submission whose create is lost and found."""
    return [
        UploadIntended(),
        Uploaded(input_ref=f"file-{name}"),
        CreateIntended(mark=f"mark-{name}", at=8.0),
        CreateUnknown(why="no answer"),
        Accepted(provider_batch_id=f"batch-{name}"),
        Ended(status=BatchStatus.COMPLETED),
        Settled(outcomes={"succeeded": 1}),
    ]


def folded(part: SubmissionRecord, events: Any) -> SubmissionRecord:
    for event in events:
        part = apply(part, event)
    return part


@contextlib.asynccontextmanager
async def opened(directory: Path, runtime: Runtime | None = None) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(directory, runtime or Runtime())
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@contextlib.contextmanager
def tables(directory: Path) -> Iterator[sqlite3.Connection]:
    """Look into the file, or damage it, behind the journal's back."""
    with contextlib.closing(sqlite3.connect(directory / "journal.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        yield connection


class Worker:
    """Another process that has the journal open and does what it is told; see `worker.py`."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal.worker", "serve", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=PLAIN,
            text=True,
        )

    def tell(self, *command: Any) -> None:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        return json.loads(self.process.stdout.readline())

    def ask(self, *command: Any) -> Any:
        self.tell(*command)
        return self.answer()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait(30) not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the worker ended with {self.process.returncode}")


@contextlib.contextmanager
def workers(directory: Path, count: int) -> Iterator[list[Worker]]:
    crew = [Worker(directory) for _ in range(count)]
    try:
        yield crew
    finally:
        for worker in crew:
            if worker.process.poll() is None:
                worker.send(signal.SIGCONT)
            worker.close()
