"""The request ids of a job on disk, and the run of them that belongs to one submission."""

import itertools
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from asyncbatch.spool import SpoolFile, SpoolSpace

_TEXTS, _OFFSETS = "ids.text", "ids.offsets"
_OFFSET = struct.Struct("<Q")


class IdIndex:
    """The request ids of a job on disk, in order: texts in one body, where each begins in another."""

    def __init__(self, texts: SpoolFile, offsets: SpoolFile) -> None:
        self._texts = texts
        self._offsets = offsets
        self._count = offsets.size // _OFFSET.size
        self._runs = 0

    @classmethod
    def new(cls, space: SpoolSpace) -> "IdIndex":
        """Give an empty one."""
        return cls(space.new(), space.new())

    @classmethod
    def kept(cls, space: SpoolSpace, directory: Path) -> "IdIndex":
        """Give the one that was kept in this directory. Blocks."""
        return cls(space.kept(directory / _TEXTS), space.kept(directory / _OFFSETS))

    def keep_in(self, directory: Path) -> None:
        """Let it lie in this directory from now on. Blocks."""
        self._texts.keep_at(directory / _TEXTS)
        self._offsets.keep_at(directory / _OFFSETS)

    def __len__(self) -> int:
        return self._count

    def extend(self, ids: Sequence[str]) -> None:
        """Add ids at the end. Blocks."""
        self.extend_encoded([request_id.encode() for request_id in ids])

    def extend_encoded(self, texts: Sequence[bytes]) -> None:
        """Add ids at the end, each in UTF-8. Blocks."""
        at = self._texts.size
        starts = itertools.accumulate(map(len, texts[:-1]), initial=at) if texts else ()
        offsets = struct.pack(f"<{len(texts)}Q", *starts)
        self._texts.append(b"".join(texts))
        try:
            self._offsets.append(offsets)
        except BaseException:
            self._texts.cut(at)
            raise
        self._count += len(texts)

    def read(self, first: int, count: int) -> list[str]:
        """Give a run of ids. Blocks."""
        count = min(count, self._count - first)
        if count <= 0:
            return []
        width = _OFFSET.size
        raw = self._offsets.read(first * width, (count + 1) * width)
        starts = struct.unpack(f"<{len(raw) // width}Q", raw)
        if len(starts) == count:  # the last id of all has no successor that says where it ends
            starts = (*starts, self._texts.size)
        first_byte = starts[0]
        texts = self._texts.read(first_byte, starts[-1] - first_byte)
        if texts.isascii():  # a byte is a character then
            text = texts.decode()
            return [text[a - first_byte : b - first_byte] for a, b in itertools.pairwise(starts)]
        return [texts[a - first_byte : b - first_byte].decode() for a, b in itertools.pairwise(starts)]

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

    @property
    def whole(self) -> IdIndex:
        """All ids of the job."""
        return self._index

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


class PickedIds(Sequence[str]):
    """Some of the ids of a submission, by their positions there, ascending. Reading blocks."""

    def __init__(self, ids: Sequence[str], positions: Sequence[int]) -> None:
        self._ids = ids
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._ids[position] for position in self._positions[at]]
        return self._ids[self._positions[at]]

    def __iter__(self) -> Iterator[str]:
        wanted = iter(self._positions)
        position = next(wanted, None)
        for at, request_id in enumerate(self._ids):  # in blocks, where the ids know how
            if position is None:
                return
            if at == position:
                yield request_id
                position = next(wanted, None)
