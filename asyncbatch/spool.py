"""Large bodies on disk: written in slices, read back in pieces, owned and removed by whoever made them.

Up to 1 MiB a body stays in memory, less where there may be thousands of its kind; beyond that it moves to a private file. Every
call that touches a file either is a coroutine that hops to a thread, or says in its docstring that it blocks and belongs inside
`runtime.offload`.

What the disk refuses is a `StorageError`, and changes nothing: a body is as long as what was written whole, and goes on from
there.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import AsyncIterator, Generator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from asyncbatch.exceptions import ScopeError, StorageError
from asyncbatch.runtime import Runtime

IN_MEMORY_BYTES = 1024 * 1024
MANY_BYTES = 16 * 1024 * 1024
"""What bodies of which there is one for each batch may hold in memory, all of them together."""
PIECE_BYTES = 512 * 1024
"""What is read and decoded at once: a millisecond or two of work, during which the loop may have to wait for us."""
SENT_BYTES = 1024 * 1024
"""What is read at once to be sent: a hop to a thread costs as much as the reading of a quarter of it."""

_HINT = "see that there is room and that it may be written, or let TMPDIR name another place"


@contextlib.contextmanager
def _on_disk(verb: str, directory: str | os.PathLike[str]) -> Generator[None, None, None]:
    """Say what the disk refuses in a way that nobody takes for an error of the wire."""
    try:
        yield
    except OSError as error:
        message = f"a large body cannot be {verb} in {os.fspath(directory)}: {error.strerror or error}"
        raise StorageError(message, code="storage.failed", hint=_HINT) from error


class SpoolSpace:
    """A private directory for the bodies of one owner, made when the first body outgrows memory and removed with the owner.

    Should the owner be forgotten rather than closed, the directory goes with the garbage collector, at the latest when the
    interpreter ends.
    """

    def __init__(self, runtime: Runtime, parent: str | os.PathLike[str] | None = None) -> None:
        self.runtime = runtime
        self._parent = parent
        self._directory: Path | None = None
        self._remove: weakref.finalize[..., SpoolSpace] | None = None
        self._count = 0
        self._closed = False
        self._files: weakref.WeakSet[SpoolFile] = weakref.WeakSet()
        self._many: weakref.WeakSet[SpoolFile] = weakref.WeakSet()

    def kept(self, path: Path) -> "SpoolFile":
        """Give the body that was kept under this path. Blocks."""
        self.refuse_closed()
        file = SpoolFile(self)
        file.lie_at(path)
        self._files.add(file)
        return file

    def new(self, *, is_one_of_many: bool = False) -> "SpoolFile":
        """Give an empty body to write into; one of many shares with the others of its kind what may stay in memory."""
        self.refuse_closed()
        file = SpoolFile(self)
        self._files.add(file)
        if is_one_of_many:
            self._many.add(file)
        return file

    def memory_for(self, file: "SpoolFile") -> int:
        """Say how much of a body may stay in memory."""
        return min(IN_MEMORY_BYTES, MANY_BYTES // len(self._many)) if file in self._many else IN_MEMORY_BYTES

    def refuse_closed(self) -> None:
        if self._closed:
            raise ScopeError("the place for large bodies is closed already", code="scope.closed")

    @property
    def is_closed(self) -> bool:
        return self._closed

    def new_path(self) -> Path:
        """Give a fresh file name. Blocks."""
        self.refuse_closed()
        if self._directory is None:
            with _on_disk("kept", self._parent or os.environ.get("TMPDIR") or "the place for temporary files"):
                self._directory = Path(
                    tempfile.mkdtemp(prefix="asyncbatch-", dir=self._parent)
                )  # mkdtemp makes it 0700
            self._remove = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._count += 1
        return self._directory / f"{self._count:06d}"

    async def discard(self) -> None:
        """Remove everything; bodies that lay on disk can no longer be read."""
        self._closed = True
        if self._remove is not None or self._files:  # a body that is kept elsewhere may be open too
            await self.runtime.offload(self._clear)

    def _clear(self) -> None:
        for file in list(self._files):
            with contextlib.suppress(StorageError):  # what cannot be written is not wanted any more
                file.flush()
        if self._remove is not None:
            self._remove()


class SpoolFile:
    """One body: appended to, then read any number of times, by several readers at once."""

    def __init__(self, space: SpoolSpace) -> None:
        self._space = space
        self._memory = bytearray()
        self._path: Path | None = None
        self._writer: FileIO | None = None
        self._size = 0
        self._views = 0
        self._gone = False
        self._turn = threading.RLock()  # rows are read while those of a later round are written

    @property
    def size(self) -> int:
        return self._size

    @property
    def path(self) -> Path | None:
        """Where the body lies; None while it is in memory."""
        return self._path

    def lie_at(self, path: Path) -> None:
        """Take what lies under this path for the body. Blocks."""
        with _on_disk("found", path.parent):
            self._size = path.stat().st_size
        self._path = path

    def keep_at(self, path: Path) -> None:
        """Let the body lie under this path from now on, safe against a power failure; it outlives its space. Blocks."""
        self.flush()
        with _on_disk("kept", path.parent):
            if self._path is None:
                _write_whole(path, self._memory)
            elif self._path == path:
                _trim(path, self._size)
            else:
                _move(self._path, path)
        self._path, self._memory = path, bytearray()

    def append(self, data: bytes | bytearray) -> None:
        """Write at the end, all of it or nothing. Blocks."""
        if self._gone:
            raise ScopeError("this body was discarded already", code="scope.closed")
        with self._turn:
            size = self._size + len(data)
            if self._path is not None:
                self._write(self._path, data)
            elif size > self._space.memory_for(self):
                self._move_to_disk(data)
            else:
                self._memory += data
            self._size = size

    def _move_to_disk(self, data: bytes | bytearray) -> None:
        path = self._space.new_path()
        with _on_disk("written", path.parent):
            writer = _create(path)
            try:
                _write_all(writer, self._memory + data)
            except BaseException:
                with contextlib.suppress(OSError):
                    writer.close()
                    path.unlink()
                raise
        self._path, self._writer, self._memory = path, writer, bytearray()

    def _write(self, path: Path, data: bytes | bytearray) -> None:
        self._space.refuse_closed()
        with _on_disk("written", path.parent):
            if self._writer is None:
                self._writer = path.open("r+b", buffering=0)
            try:
                self._writer.seek(self._size)  # a write that failed may have left something behind this
                _write_all(self._writer, data)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._writer.truncate(self._size)
                raise

    def cut(self, size: int) -> None:
        """Forget what was appended beyond this size: for what is half of something whose other half failed."""
        self._size = min(self._size, size)
        del self._memory[self._size :]

    def flush(self) -> None:
        """Hold no open file. Blocks."""
        with self._turn:
            writer, self._writer = self._writer, None
            if writer is not None and self._path is not None:
                with _on_disk("written", self._path.parent):  # some disks say only here that they are full
                    writer.close()

    def clear(self) -> None:
        """Forget the content and start again, for a download that is made anew. Blocks."""
        with contextlib.suppress(StorageError):  # what cannot be written is not wanted any more
            self.flush()
        if self._path is not None:
            with _on_disk("removed", self._path.parent):
                self._path.unlink(missing_ok=True)
        self._path, self._memory, self._size = None, bytearray(), 0

    @contextlib.contextmanager
    def reader(self) -> Generator["SpoolReader", None, None]:
        """Open the body for reading at any place. Blocks, and so do the reads."""
        with self._turn:
            self.flush()
            path, memory, size = self._path, self._memory, self._size
        if self._gone or (path is not None and self._space.is_closed):
            raise ScopeError("this body was discarded already", code="scope.closed")
        if path is None:
            yield SpoolReader(None, memory, size)
            return
        with _on_disk("read", path.parent):
            file = path.open("rb")
        with file:
            yield SpoolReader(file, b"", size)

    def read(self, offset: int = 0, size: int = -1) -> bytes:
        """Read a part. Blocks."""
        with self.reader() as reader:
            return reader.read(offset, self._size - offset if size < 0 else size)

    def view(self, offset: int = 0, size: int | None = None) -> "SpoolView":
        """Give a part of the body as a thing of its own; the file goes when its last view is discarded."""
        self._views += 1
        return SpoolView(self, offset, self._size - offset if size is None else size)

    def drop_view(self) -> None:
        self._views -= 1

    async def discard_unseen(self) -> None:
        """Give the disk space back if no view is left."""
        if self._views <= 0:
            await self.discard()

    async def discard(self) -> None:
        """Give the disk space back; harmless when repeated."""
        if not self._gone:
            await self._space.runtime.offload(self.clear)
            self._gone = True

    async def chunks(self, offset: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        """Read a part in pieces of at most 1 MiB, each through a thread. Holds no open file between two pieces."""
        end = self._size if size is None else offset + size
        while offset < end:
            piece = await self._space.runtime.offload(self.read, offset, min(SENT_BYTES, end - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece


def _create(path: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


def _write_whole(path: Path, data: bytes | bytearray) -> None:
    """Write under a temporary name, then rename: whoever finds the path finds all of it."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with _create(part) as writer:
        _write_all(writer, data)
        os.fsync(writer.fileno())
    part.replace(path)
    sync_directory(path.parent)


def _trim(path: Path, size: int) -> None:
    """Remove what was cut off, or left behind by a process that died."""
    with path.open("r+b", buffering=0) as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _move(source: Path, path: Path) -> None:
    if source.stat().st_dev != path.parent.stat().st_dev:
        part = path.with_name(path.name + ".part")
        shutil.copyfile(source, part)
        part.chmod(0o600)
        source.unlink()
        source = part
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """See that the names in a directory survive a power failure. Blocks."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class SpoolReader:
    """An open body: `read` gives a part of it."""

    def __init__(self, file: BinaryIO | None, memory: bytes | bytearray, end: int) -> None:
        self._file = file
        self._memory = memory
        self._end = end

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self._end - offset)
        if size <= 0:
            return b""
        if self._file is None:
            return bytes(self._memory[offset : offset + size])
        with _on_disk("read", Path(self._file.name).parent):
            self._file.seek(offset)
            data = self._file.read(size)
            if len(data) < size:
                raise OSError(f"{size - len(data)} bytes of it are gone")
            return data


class SpoolView:
    """A run of bytes in a body; what a submission carries as its `spool`."""

    def __init__(self, file: SpoolFile, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._gone = False

    def __repr__(self) -> str:
        where = self._file.path or "memory"
        return f"<{self._size} bytes at {self._offset} in {where}>"

    @property
    def file(self) -> SpoolFile:
        """The body that it is a part of."""
        return self._file

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def size(self) -> int:
        return self._size

    def chunks(self) -> AsyncIterator[bytes]:
        return self._file.chunks(self._offset, self._size)

    def read(self) -> bytes:
        """Read all of it. Blocks."""
        return self._file.read(self._offset, self._size)

    def slice(self, offset: int, size: int) -> "SpoolView":
        """Give a part of it, on loan: the body stays ours, and to discard the part does nothing."""
        part = SpoolView(self._file, self._offset + offset, max(min(size, self._size - offset), 0))
        part._gone = True
        return part

    async def discard(self) -> None:
        if not self._gone:
            self._gone = True
            self._file.drop_view()
        await self._file.discard_unseen()  # each time: the call before may have been broken off


def _write_all(writer: FileIO, data: bytes | bytearray) -> None:
    """Write to an unbuffered file, which may take less than it is given: so what fails does it here, and not in a `close`."""
    rest = memoryview(data)
    while rest:
        rest = rest[writer.write(rest) :]
