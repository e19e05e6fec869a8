"""Where to cut a list of requests into submissions: by rows, by bytes, and by inputs where a provider counts those."""

import sys

import msgspec


class ChunkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much fits into one submission.

    Attributes:
        rows: Requests; None where the provider does not count them.
        file_bytes: Bytes of the whole file, newlines included; None where the provider names no limit.
        inputs: Texts over all embedding requests; None where the provider does not count them.
    """

    rows: int | None
    file_bytes: int | None
    inputs: int | None = None

    def fits_alone(self, size: int, inputs: int = 1) -> bool:
        """Whether one row can be sent at all."""
        fits_in = self.file_bytes is None or size <= self.file_bytes
        return fits_in and (self.inputs is None or inputs <= self.inputs)


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A run of rows that travel together: which, and where their bytes lie."""

    first_row: int
    rows: int
    offset: int
    size: int


class Chunker:
    """Take rows one by one, cut where the next would not fit.

    Greedy in order: nothing is re-ordered, so a chunk is one run of rows and one run of bytes, and a file of any length
    needs memory for its chunks only.
    """

    def __init__(self, limits: ChunkLimits) -> None:
        self._most = tuple(
            sys.maxsize if most is None else most for most in (limits.rows, limits.file_bytes, limits.inputs)
        )
        self._chunks: list[Chunk] = []
        self._first = self._offset = 0
        self._rows = self._size = self._inputs = 0

    def add(self, size: int, inputs: int = 1) -> None:
        """Add a row that `fits_alone`."""
        rows, file_bytes, most_inputs = self._most
        if self._rows and (self._rows >= rows or self._size + size > file_bytes or self._inputs + inputs > most_inputs):
            self._cut()
        self._rows += 1
        self._size += size
        self._inputs += inputs

    def add_run(self, count: int, size: int) -> bool:
        """Add rows of one input each that fit into the open chunk together; False: they do not, and none is added."""
        rows, file_bytes, inputs = self._most
        if self._rows + count > rows or self._size + size > file_bytes or self._inputs + count > inputs:
            return False
        self._rows += count
        self._size += size
        self._inputs += count
        return True

    def end(self) -> tuple[Chunk, ...]:
        """Give all chunks."""
        if self._rows:
            self._cut()
        return tuple(self._chunks)

    def _cut(self) -> None:
        self._chunks.append(Chunk(first_row=self._first, rows=self._rows, offset=self._offset, size=self._size))
        self._first += self._rows
        self._offset += self._size
        self._rows = self._size = self._inputs = 0
