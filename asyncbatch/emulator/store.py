"""What the emulator keeps: files on disk, batches in memory, until it is reset or closed."""

import hashlib
import itertools
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from asyncbatch.emulator.life import Course, Stand, rows_done, stand


class ClosedError(Exception):
    """The store was closed while somebody still worked for it."""


class Problem(Struct, frozen=True, kw_only=True):
    """Why a batch cannot run, and where in its input."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Examined(Struct, frozen=True, kw_only=True):
    """What validation found in an input.

    Attributes:
        offsets: Where each row begins, and at last where the file ends.
        fates: How each row will end, one byte each; what the bytes mean is the family's business.
    """

    offsets: "array[int]"
    fates: bytes
    model: str | None = None
    is_stalled: bool = False
    problem: Problem | None = None

    @property
    def rows(self) -> int:
        return len(self.fates)


@dataclass(kw_only=True, eq=False, frozen=True)
class Written:
    """The results of a batch; None where a file would be empty."""

    output: "StoredFile | None" = None
    errors: "StoredFile | None" = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(kw_only=True, eq=False)
class StoredFile:
    """A file of an account. The bytes stay on disk for as long as a batch may need them."""

    id: str
    account: str
    purpose: str
    filename: str
    path: Path
    size: int
    sha256: str
    created_at: float
    expires_at: float | None
    is_deleted: bool = False

    def is_there(self, now: float) -> bool:
        is_past = self.expires_at is not None and now >= self.expires_at
        return self.created_at <= now and not self.is_deleted and not is_past


@dataclass(kw_only=True, eq=False)
class StoredBatch:
    """A batch: the order that created it, and what has become of it.

    Attributes:
        order: What the client asked for, as the family read it.
    """

    id: str
    account: str
    order: Any
    course: Course
    input: StoredFile | None
    problem: Problem | None = None
    examined: Examined | None = None
    written: Written | None = None
    has_writer: bool = False
    examined_event: anyio.Event = field(default_factory=anyio.Event)
    written_event: anyio.Event = field(default_factory=anyio.Event)

    def stand(self, now: float) -> Stand:
        return stand(self.course, now, is_written=self.written is not None)

    def refuse(self, problem: Problem) -> None:
        """Let the batch fail. The first reason counts."""
        if not self.course.is_refused:
            self.problem = problem
            self.course = msgspec.structs.replace(self.course, is_refused=True)

    def accept(self, examined: Examined) -> None:
        """Let the batch run, unless it was refused in the meantime."""
        if not self.course.is_refused:
            self.examined = examined
            changes = {"rows": examined.rows, "is_stalled": examined.is_stalled}
            self.course = msgspec.structs.replace(self.course, **changes)

    @property
    def is_paid(self) -> bool:
        """Whether rows run for it, or have run."""
        is_stopped_early = self.course.cancel_at is not None and rows_done(self.course, self.course.cancel_at) == 0
        return not self.course.is_refused and not is_stopped_early


class Store:
    """Files and batches of one dialect, each visible to the account that made it."""

    _numbers = itertools.count(1)  # never repeated in a process, so that an id of an earlier life means nothing

    def __init__(self, name: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"asyncbatch-emulator-{name}-"))
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self._is_closed = False

    def close(self) -> None:
        """Remove everything. Work that still goes on for the store ends with `ClosedError`."""
        self._is_closed = True
        shutil.rmtree(self.directory, ignore_errors=True)

    def check_open(self) -> None:
        if self._is_closed:
            raise ClosedError

    def new_id(self, prefix: str) -> str:
        number = next(self._numbers)
        return prefix + hashlib.sha256(f"{self.directory.name}/{number}".encode()).hexdigest()[:24]

    def new_path(self) -> Path:
        return self.directory / self.new_id("bytes-")

    def find_file(self, account: str, file_id: str, now: float) -> StoredFile | None:
        file = self.files.get(file_id)
        return file if file and file.account == account and file.is_there(now) else None

    def find_batch(self, account: str, batch_id: str) -> StoredBatch | None:
        batch = self.batches.get(batch_id)
        return batch if batch and batch.account == account else None

    def files_of(self, account: str, now: float) -> list[StoredFile]:
        """List an account's files, newest first."""
        mine = [file for file in self.files.values() if file.account == account and file.is_there(now)]
        mine.reverse()  # of those that were made at one moment, the last comes first
        return sorted(mine, key=lambda file: file.created_at, reverse=True)

    def batches_of(self, account: str) -> list[StoredBatch]:
        """List an account's batches, newest first."""
        return [batch for batch in reversed(self.batches.values()) if batch.account == account]

    def users_of(self, file: StoredFile) -> Iterator[StoredBatch]:
        return (batch for batch in self.batches.values() if batch.input is file)
