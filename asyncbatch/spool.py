"""Large bodies on disk: written in slices, read back in pieces, owned and removed by whoever made them.

Up to 1 MiB a body stays in memory; beyond that it moves to a private file. Every call that touches a file either is a
coroutine that hops to a thread, or says in its docstring that it blocks and belongs inside `runtime.offload`.

What the disk refuses is a `StorageError`, and changes nothing: a body is as long as what was written whole, and goes on from
there.
"""

import contextlib
import itertools
import os
import shutil
import struct
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, overload

from asyncbatch.exceptions import ScopeError, StorageError
from asyncbatch.runtime import Runtime

IN_MEMORY_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024
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

    def new(self) -> "SpoolFile":
        """Give an empty body to write into."""
        self.refuse_closed()
        file = SpoolFile(self)
        self._files.add(file)
        return file

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
        if self._remove is not None:
            await self.runtime.offload(self._clear, self._remove)

    def _clear(self, remove: Callable[[], object]) -> None:
        for file in list(self._files):
            with contextlib.suppress(StorageError):  # what cannot be written is not wanted any more
                file.flush()
        remove()


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

    @property
    def size(self) -> int:
        return self._size

    @property
    def path(self) -> Path | None:
        """Where the body lies; None while it is in memory."""
        return self._path

    def append(self, data: bytes) -> None:
        """Write at the end, all of it or nothing. Blocks."""
        if self._gone:
            raise ScopeError("this body was discarded already", code="scope.closed")
        size = self._size + len(data)
        if self._path is not None:
            self._write(self._path, data)
        elif size > IN_MEMORY_BYTES:
            self._move_to_disk(data)
        else:
            self._memory += data
        self._size = size

    def _move_to_disk(self, data: bytes) -> None:
        path = self._space.new_path()
        with _on_disk("written", path.parent):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            writer = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
            try:
                _write_all(writer, self._memory + data)
            except BaseException:
                with contextlib.suppress(OSError):
                    writer.close()
                    path.unlink()
                raise
        self._path, self._writer, self._memory = path, writer, bytearray()

    def _write(self, path: Path, data: bytes) -> None:
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
        self.flush()
        if self._gone or (self._path is not None and self._space.is_closed):
            raise ScopeError("this body was discarded already", code="scope.closed")
        if self._path is None:
            yield SpoolReader(None, self._memory, self._size)
            return
        with _on_disk("read", self._path.parent):
            file = self._path.open("rb")
        with file:
            yield SpoolReader(file, b"", self._size)

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
        """Read a part in pieces of at most 256 KiB, each through a thread. Holds no open file between two pieces."""
        end = self._size if size is None else offset + size
        while offset < end:
            piece = await self._space.runtime.offload(self.read, offset, min(PIECE_BYTES, end - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece


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
    def size(self) -> int:
        return self._size

    def chunks(self) -> AsyncIterator[bytes]:
        return self._file.chunks(self._offset, self._size)

    def read(self) -> bytes:
        """Read all of it. Blocks."""
        return self._file.read(self._offset, self._size)

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


_OFFSET = struct.Struct("<Q")


class IdIndex:
    """The request ids of a job on disk, in order: texts in one body, where each begins in another."""

    def __init__(self, space: SpoolSpace) -> None:
        self._texts = space.new()
        self._offsets = space.new()
        self._count = 0
        self._runs = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, ids: Sequence[str]) -> None:
        """Add ids at the end. Blocks."""
        at, offsets, texts = self._texts.size, bytearray(), bytearray()
        for request_id in ids:
            offsets += _OFFSET.pack(at + len(texts))
            texts += request_id.encode()
        self._texts.append(bytes(texts))
        try:
            self._offsets.append(bytes(offsets))
        except BaseException:
            self._texts.cut(at)
            raise
        self._count += len(ids)

    def read(self, first: int, count: int) -> list[str]:
        """Give a run of ids. Blocks."""
        count = min(count, self._count - first)
        if count <= 0:
            return []
        width = _OFFSET.size
        raw = self._offsets.read(first * width, (count + 1) * width)
        starts = [offset for (offset,) in _OFFSET.iter_unpack(raw)]
        if len(starts) == count:  # the last id of all has no successor that says where it ends
            starts.append(self._texts.size)
        text = self._texts.read(starts[0], starts[-1] - starts[0])
        return [text[a - starts[0] : b - starts[0]].decode() for a, b in itertools.pairwise(starts)]

    def find(self, request_id: str) -> int | None:
        """Give the position of an id, by looking through all of them. Blocks."""
        for first in range(0, self._count, RequestIds.BLOCK):
            block = self.read(first, RequestIds.BLOCK)
            if request_id in block:
                return first + block.index(request_id)
        return None

    def hold_run(self) -> None:
        """One more reads us, and says when it does not need us any more."""
        self._runs += 1

    def drop_run(self) -> None:
        self._runs -= 1

    async def discard_unread(self) -> None:
        """Give the disk space back if nobody reads us any more."""
        if self._runs <= 0:
            await self.discard()

    async def discard(self) -> None:
        await self._texts.discard()
        await self._offsets.discard()


class RequestIds(Sequence[str]):
    """The ids of one submission as a lazy sequence over the spool's index.

    It reads a block of ids at a time, from memory for a small job and from a file for a large one: in a coroutine, walk
    through a large one with `await runtime.offload(list, ids)`.
    """

    BLOCK = 4096

    def __init__(self, index: IdIndex, first: int, count: int) -> None:
        self._index = index
        self._first = first
        self._count = count
        self._gone = False
        index.hold_run()

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{self._count} request ids>"

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            first, stop, step = at.indices(self._count)
            return self.run(first, stop - first)[::step] if step > 0 else [self[i] for i in range(first, stop, step)]
        position = at + self._count if at < 0 else at
        if not 0 <= position < self._count:
            raise IndexError(at)
        return self.run(position, 1)[0]

    def __iter__(self) -> Iterator[str]:
        for first in range(0, self._count, self.BLOCK):
            yield from self.run(first, self.BLOCK)

    def run(self, first: int, count: int) -> list[str]:
        """Give a run of ids. Blocks."""
        return self._index.read(self._first + first, min(count, self._count - first))

    async def discard(self) -> None:
        """Give the index back, once all who share it have done so: it goes with the last submission of a job."""
        if not self._gone:
            self._gone = True
            self._index.drop_run()
        await self._index.discard_unread()
