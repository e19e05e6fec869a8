"""Large bodies on disk: written in slices, read back in pieces, owned and removed by whoever made them.

Up to 1 MiB a body stays in memory; beyond that it moves to a private file. Every call that touches a file either is a
coroutine that hops to a thread, or says in its docstring that it blocks and belongs inside `runtime.offload`.
"""

import contextlib
import itertools
import os
import shutil
import struct
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from asyncbatch.exceptions import ScopeError
from asyncbatch.runtime import Runtime

IN_MEMORY_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024


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
        self._refuse_closed()
        file = SpoolFile(self)
        self._files.add(file)
        return file

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ScopeError("the place for large bodies is closed already", code="scope.closed")

    @property
    def is_closed(self) -> bool:
        return self._closed

    def new_path(self) -> Path:
        """Give a fresh file name. Blocks."""
        self._refuse_closed()
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="asyncbatch-", dir=self._parent))  # mkdtemp makes it 0700
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
            file.flush()
        remove()


class SpoolFile:
    """One body: appended to, then read any number of times, by several readers at once."""

    def __init__(self, space: SpoolSpace) -> None:
        self._space = space
        self._memory = bytearray()
        self._path: Path | None = None
        self._writer: BinaryIO | None = None
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
        """Write at the end. Blocks."""
        if self._gone:
            raise ScopeError("this body was discarded already", code="scope.closed")
        self._size += len(data)
        if self._path is None and self._size <= IN_MEMORY_BYTES:
            self._memory += data
            return
        if self._writer is None:
            self._writer = self._open_writer()
        self._writer.write(data)

    def _open_writer(self) -> BinaryIO:
        if self._path is None:
            self._path = self._space.new_path()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            writer = os.fdopen(os.open(self._path, flags, 0o600), "wb")
            writer.write(self._memory)
            self._memory = bytearray()
            return writer
        return self._path.open("ab")

    def flush(self) -> None:
        """Make what was appended readable, and hold no open file. Blocks."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def clear(self) -> None:
        """Forget the content and start again, for a download that is made anew. Blocks."""
        self.flush()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._path, self._memory, self._size = None, bytearray(), 0

    @contextlib.contextmanager
    def reader(self) -> Generator["SpoolReader", None, None]:
        """Open the body for reading at any place. Blocks, and so do the reads."""
        self.flush()
        if self._gone or (self._path is not None and self._space.is_closed):
            raise ScopeError("this body was discarded already", code="scope.closed")
        if self._path is None:
            yield SpoolReader(None, self._memory)
            return
        with self._path.open("rb") as file:
            yield SpoolReader(file, b"")

    def read(self, offset: int = 0, size: int = -1) -> bytes:
        """Read a part. Blocks."""
        with self.reader() as reader:
            return reader.read(offset, self._size - offset if size < 0 else size)

    def view(self, offset: int = 0, size: int | None = None) -> "SpoolView":
        """Give a part of the body as a thing of its own; the file goes when its last view is discarded."""
        self._views += 1
        return SpoolView(self, offset, self._size - offset if size is None else size)

    async def drop_view(self) -> None:
        self._views -= 1
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

    def __init__(self, file: BinaryIO | None, memory: bytes | bytearray) -> None:
        self._file = file
        self._memory = memory

    def read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[offset : offset + size])
        self._file.seek(offset)
        return self._file.read(size)


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
            await self._file.drop_view()


_OFFSET = struct.Struct("<Q")


class IdIndex:
    """The request ids of a job on disk, in order: texts in one body, where each begins in another."""

    def __init__(self, space: SpoolSpace) -> None:
        self._texts = space.new()
        self._offsets = space.new()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, ids: Sequence[str]) -> None:
        """Add ids at the end. Blocks."""
        at, offsets, texts = self._texts.size, bytearray(), bytearray()
        for request_id in ids:
            offsets += _OFFSET.pack(at + len(texts))
            texts += request_id.encode()
        self._offsets.append(bytes(offsets))
        self._texts.append(bytes(texts))
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
        """Give the index back; it is shared by all submissions of a job, which go together."""
        await self._index.discard()
