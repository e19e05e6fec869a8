"""What the emulator has: files on disk, batches in memory, until it is reset or closed."""

import hashlib
import itertools
import secrets
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import msgspec
from msgspec import Struct

from asyncbatch.emulator.life import Course, Stand, rows_done, stand

if TYPE_CHECKING:
    from asyncbatch.emulator.asking import Asking


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
        fates: How each row will end, one byte each: see `rows.Fate`.
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
    """The results of a batch; None where a file would be empty.

    Attributes:
        fates: How the rows ended, if anybody but the echo model was asked.
    """

    output: "StoredFile | None" = None
    errors: "StoredFile | None" = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    fates: bytes | None = None


@dataclass(kw_only=True, eq=False)
class StoredFile:
    """A file of an account. The bytes stay on disk for as long as a batch may need them.

    Attributes:
        is_inline: Whether it is none of the account's files, but holds the rows that came with a create.
    """

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
    is_inline: bool = False

    def is_there(self, now: float) -> bool:
        is_past = self.expires_at is not None and now >= self.expires_at
        return self.created_at <= now and not self.is_deleted and not is_past


@dataclass(kw_only=True, eq=False)
class StoredBatch:
    """A batch: the order that created it, and what has become of it.

    Attributes:
        order: What the client asked for, as the family read it.
        asking: Where its answers come from elsewhere: how far they have come.
        is_gone: Whether its store was closed.
    """

    id: str
    account: str
    order: Any
    course: Course
    input: StoredFile | None
    problem: Problem | None = None
    examined: Examined | None = None
    asking: "Asking | None" = None
    written: Written | None = None
    has_writer: bool = False
    is_gone: bool = False
    examined_event: anyio.Event = field(default_factory=anyio.Event)
    written_event: anyio.Event = field(default_factory=anyio.Event)

    def stand(self, now: float) -> Stand:
        is_answered = self.asking is None or self.asking.ended.is_set()
        found = stand(self.course, now, is_written=self.written is not None, is_answered=is_answered)
        if self.asking is None or is_answered:
            return found
        return msgspec.structs.replace(found, rows_done=min(found.rows_done, self.asking.rows_done))

    def refuse(self, problem: Problem) -> None:
        """Let the batch fail. The first reason counts."""
        if not self.course.is_refused:
            self.problem = problem
            self.course = msgspec.structs.replace(self.course, is_refused=True)
            self.stop_asking()

    def accept(self, examined: Examined) -> None:
        """Let the batch run, unless it was refused in the meantime."""
        if not self.course.is_refused:
            self.examined = examined
            changes = {"rows": examined.rows, "is_stalled": examined.is_stalled}
            self.course = msgspec.structs.replace(self.course, **changes)

    def cancel(self, now: float) -> bool:
        """Let the batch be cancelled; gives whether that is news."""
        is_first = self.course.cancel_at is None
        if is_first:
            self.course = msgspec.structs.replace(self.course, cancel_at=now)
            self.stop_asking()
        return is_first

    def check_kept(self) -> None:
        """Look whether work for the batch is still wanted.

        Raises:
            ClosedError: A reset took it away.
        """
        if self.is_gone:
            raise ClosedError

    def stop_asking(self) -> None:
        if self.asking is not None:
            self.asking.stop()

    def finish(self, written: Written) -> None:
        """Keep the results, and how the rows really ended."""
        self.written = written
        if self.examined is not None and written.fates is not None:
            self.examined = msgspec.structs.replace(self.examined, fates=written.fates)

    @property
    def is_paid(self) -> bool:
        """Whether rows run for it, or have run."""
        is_stopped_early = self.course.cancel_at is not None and rows_done(self.course, self.course.cancel_at) == 0
        return not self.course.is_refused and not is_stopped_early


class Store:
    """Files and batches of one dialect, each visible to the account that made it.

    Args:
        name: The dialect's.
        parent: Where the files lie; None for a place that goes with the store.
        directory: The name of theirs below it, if they have one from an earlier life.

    Attributes:
        unopened: Batches that are being checked, and perhaps never come to be.
    """

    def __init__(self, name: str, parent: Path | None = None, directory: str | None = None) -> None:
        self._is_temporary = parent is None
        self._salt = secrets.token_hex(8)  # other in each life, so that no id is ever given twice
        self._numbers = itertools.count(1)
        self.directory = _open_directory(name, parent, directory)
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.unopened: set[StoredBatch] = set()

    def leave(self) -> None:
        """Let work that still goes on for its batches end with `ClosedError`."""
        for batch in (*self.batches.values(), *self.unopened):
            batch.is_gone = True

    def close(self) -> None:
        """Leave everything, and remove it unless it is to outlive us."""
        self.leave()
        if self._is_temporary:
            self.remove()

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def remove_strays(self) -> None:
        """Remove the bytes of which nothing is known: they had not all come, or nobody was told, when somebody was killed."""
        results = (
            file
            for batch in self.batches.values()
            if batch.written
            for file in (batch.written.output, batch.written.errors)
        )
        files = (file for file in self.files.values() if not file.is_deleted)
        known = (*files, *(batch.input for batch in self.batches.values()), *results)
        names = {file.path.name for file in known if file is not None}
        for path in self.directory.iterdir():
            if path.name not in names:
                path.unlink()

    def new_id(self, prefix: str = "", chars: int = 24) -> str:
        number = next(self._numbers)
        return prefix + hashlib.sha256(f"{self._salt}/{number}".encode()).hexdigest()[:chars]

    def new_uuid(self) -> str:
        """Give an id for services whose ids are UUIDs."""
        return str(UUID(self.new_id(chars=32), version=4))

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


def _open_directory(name: str, parent: Path | None, directory: str | None) -> Path:
    if parent is None:
        return Path(tempfile.mkdtemp(prefix=f"asyncbatch-emulator-{name}-"))
    if directory is None:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    path = parent / directory
    path.mkdir(mode=0o700, exist_ok=True)
    return path
