"""The answers of a batch as a stream: downloaded to the spool first, then handed out row by row.

A slow consumer, or one that leaves early, holds no connection; decoding runs in a thread, a piece of the file at a time.
"""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import anyio
import msgspec

from asyncbatch.codec.jsonl import LineSplitter
from asyncbatch.dto import ProviderResultRow
from asyncbatch.exceptions import ProviderPermanentError, ScopeError
from asyncbatch.runtime import Runtime, finish
from asyncbatch.secrecy import OfThisProcess
from asyncbatch.spool import SpoolFile

T = TypeVar("T")

DecodeAll: TypeAlias = Callable[[Sequence[bytes]], list[ProviderResultRow]]


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """Result files in the spool, and how a line of them is read.

    Attributes:
        files: Every file that could be had; owned by whoever gets them.
        decode: Reads one line; never raises: what cannot be read becomes an UNDECODABLE row.
        decode_all: Reads many lines at once, each as `decode` would; None where there is no such way.
        lost: Why another file that the provider named cannot be had, now or later; None when all came.
        is_verified: Whether each of them proved itself whole; otherwise it came twice alike, and may be cut all the same.
    """

    files: tuple[SpoolFile, ...]
    decode: Callable[[bytes], ProviderResultRow]
    decode_all: DecodeAll | None = None
    lost: ProviderPermanentError | None = None
    is_verified: bool = True


class ResultStream(AsyncIterable[ProviderResultRow], OfThisProcess):
    """Rows of one batch: iterate with `async for`, `await` it for a list, or enter it with `async with`.

    The download happens once, on first use, however many iterate. The files go when the last of them has taken the last row,
    when the `async with` is left, and at the latest with the provider's scope. A stream that is iterated again after its files
    went is downloaded again.

    Should one of the provider's files be lost for good, the rows of the others come all the same, and then the iteration
    ends with that error instead of its usual end. So does an `await`, which gives no rows then: iterate to have them.

    Raises:
        ProviderPermanentError: The answers cannot be had, or, after the last row, some of them.
        ProviderTransientError: They cannot be had now.
        StorageError: Our own disk is full, or cannot be read.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Downloaded]], runtime: Runtime) -> None:
        self._fetch = fetch
        self._runtime = runtime
        self._downloaded: Downloaded | None = None
        self.is_verified = True
        """Whether what was fetched proved itself whole; see `Downloaded`."""
        self._is_held = False
        self._readers = 0
        self._unwanted: list[SpoolFile] = []
        self._fetching = anyio.Lock()

    def __aiter__(self) -> "RowIterator":
        return RowIterator(self)

    def __await__(self) -> Generator[Any, None, list[ProviderResultRow]]:
        return self._all().__await__()

    async def _all(self) -> list[ProviderResultRow]:
        return [row async for row in self]

    async def __aenter__(self) -> Self:
        self._is_held = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the downloaded files back, whatever cancels us meanwhile; what could not be is tried again when repeated."""
        self._is_held = False
        downloaded, self._downloaded = self._downloaded, None
        self._unwanted += downloaded.files if downloaded else ()
        await finish(*(partial(self._give_back, file) for file in self._unwanted))

    async def _give_back(self, file: SpoolFile) -> None:
        await file.discard()
        if file in self._unwanted:
            self._unwanted.remove(file)

    def slices(self) -> AsyncIterator[list[ProviderResultRow]]:
        """Give the rows in lists, as many as fit into a piece of the file: for those who handle many at once.

        Raises:
            ProviderPermanentError: After the last row: a file of the batch is lost, and its rows with it.
        """
        return self.through(_as_they_are)

    async def through(self, work: Callable[[list[ProviderResultRow]], T]) -> AsyncIterator[T]:
        """Give what a function makes of each of those lists, in the thread that has read it: it spares a second hop.

        Raises:
            ProviderPermanentError: As `slices` does.
        """
        self._readers += 1
        try:
            downloaded = await self._files()
            for file in downloaded.files:
                splitter = LineSplitter()
                size = self._runtime.slice_bytes
                for offset in range(0, file.size, size):
                    read = partial(_decode_piece, file, offset, size, splitter, downloaded)
                    for made in await self._runtime.offload(_worked, read, work):
                        yield made
        finally:
            self._readers -= 1
        if not self._is_held and not self._readers:
            await self.aclose()
        if downloaded.lost is not None:
            raise downloaded.lost

    async def _files(self) -> Downloaded:
        async with self._fetching:
            if self._downloaded is None:
                self._downloaded = await self._fetch()
                self.is_verified = self._downloaded.is_verified
            return self._downloaded


def _worked(read: Callable[[], list[ProviderResultRow]], work: Callable[[list[ProviderResultRow]], T]) -> tuple[T, ...]:
    rows = read()
    return (work(rows),) if rows else ()


def _as_they_are(rows: list[ProviderResultRow]) -> list[ProviderResultRow]:
    return rows


def _decode_piece(
    file: SpoolFile, offset: int, size: int, splitter: LineSplitter, downloaded: Downloaded
) -> list[ProviderResultRow]:
    lines = splitter.feed(file.read(offset, min(size, file.size - offset)))
    if offset + size >= file.size:
        lines += splitter.end()
    return (
        [downloaded.decode(line) for line in lines] if downloaded.decode_all is None else downloaded.decode_all(lines)
    )


class RowIterator(AsyncIterator[ProviderResultRow]):
    """The rows of a stream, one by one."""

    def __init__(self, stream: ResultStream) -> None:
        self._slices = stream.slices()
        self._rows: deque[ProviderResultRow] = deque()
        self._cut_by: BaseException | None = None

    async def __anext__(self) -> ProviderResultRow:
        while not self._rows:
            self._rows.extend(await self._next_slice())
        return self._rows.popleft()

    async def _next_slice(self) -> list[ProviderResultRow]:
        if self._cut_by is not None:  # a generator that was cancelled looks like one that has ended
            message = "these rows were cut off before their end, and cannot go on"
            raise ScopeError(message, code="results.cut", hint="iterate over the results anew") from self._cut_by
        try:
            return await anext(self._slices)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self._cut_by = error
            raise
