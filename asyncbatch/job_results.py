"""The rows of a job, as they become final or in the order of the requests."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator
from typing import Any

from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.order import REJECTS
from asyncbatch.engine.run import JobRun
from asyncbatch.exceptions import ConfigError
from asyncbatch.secrecy import OfThisProcess

_PICKED = 256


class JobResults(AsyncIterable[ProviderResultRow], OfThisProcess):
    """The rows of a job: iterate with `async for`, or `await` for a list."""

    def __init__(self, run: JobRun, *, is_ordered: bool = False) -> None:
        self._run = run
        self._is_ordered = is_ordered

    def __aiter__(self) -> AsyncIterator[ProviderResultRow]:
        return OrderedRows(self._run) if self._is_ordered else JobRows(self._run)

    def __await__(self) -> Generator[Any, None, list[ProviderResultRow]]:
        return self._all().__await__()

    async def _all(self) -> list[ProviderResultRow]:
        return [row async for row in self]


class _Rows(AsyncIterator[ProviderResultRow]):
    """One consumer's place in the rows of a job."""

    def __init__(self, run: JobRun) -> None:
        self._run = run
        self._generation = run.generation
        self._rows: deque[ProviderResultRow] = deque()

    async def __anext__(self) -> ProviderResultRow:
        while not self._rows:
            await self._fill()
        return self._rows.popleft()

    async def _fill(self) -> None:
        """Take further rows, wait for them if need be, or end."""
        raise AssertionError("each kind says how")

    def _check(self) -> None:
        run = self._run
        run.check_readable()
        if run.generation != self._generation:
            message = f"some of job {run.record.job_id} was sent again while its rows were read"
            raise ConfigError(message, code="results.restarted", hint="iterate over the results anew")


class JobRows(_Rows):
    """Rows as they become final."""

    def __init__(self, run: JobRun) -> None:
        super().__init__(run)
        self._next = 0
        self._offsets: dict[int, int] = {}

    async def _fill(self) -> None:
        run = self._run
        self._check()
        while run.closed_by is None and not run.is_over and self._next >= len(run.released):
            await run.changed.wait()
        self._check()
        if run.error is not None and (run.is_nothing_sent or self._next >= len(run.released)):
            raise run.error.with_traceback(None)
        if self._next >= len(run.released):
            raise StopAsyncIteration
        release = run.released[self._next]
        offset = self._offsets.get(release.source, 0)
        if offset < release.until:
            rows, self._offsets[release.source] = await run.read(release, offset)
            self._rows.extend(rows)
        else:
            self._next += 1


class OrderedRows(_Rows):
    """Rows in the order in which the requests were handed in; those that were refused stand at their places."""

    def __init__(self, run: JobRun) -> None:
        super().__init__(run)
        self._refused = next((part.whole.refused_rows for part in run.parts), ())
        self._rejected = len(run.rejects) if run.rejects is not None else 0
        self._next_reject = 0
        self._part = 0
        self._position = 0

    async def _fill(self) -> None:
        run = self._run
        self._check()
        if self._part >= len(run.parts):
            if run.error is not None and run.is_nothing_sent:
                raise run.error.with_traceback(None)
            await self._take_rejects(self._rejected - self._next_reject)
            if not self._rows:
                raise StopAsyncIteration
            return
        part = run.parts[self._part]
        while run.closed_by is None and run.error is None and not part.is_settled:
            await run.changed.wait()
        self._check()
        if run.error is not None and (run.is_nothing_sent or not part.is_settled):
            raise run.error.with_traceback(None)
        await self._take(part.record.request_count, part.whole.first_row)

    async def _take(self, count: int, first_row: int) -> None:
        """Take rows of the present submission, up to the next one that was refused."""
        until = min(self._position + _PICKED, count)
        if self._next_reject < self._rejected and self._next_reject < len(self._refused):
            # So many requests that were not refused stand before the next one that was.
            before = self._refused[self._next_reject] - self._next_reject - first_row
            if before <= self._position:
                await self._take_rejects(1)
                return
            until = min(until, before)
        self._rows.extend(await self._run.pick(self._part, range(self._position, until)))
        self._position = until
        if self._position >= count:
            self._part, self._position = self._part + 1, 0

    async def _take_rejects(self, count: int) -> None:
        first = self._next_reject
        until = min(first + min(count, _PICKED), self._rejected)
        if until > first:
            self._rows.extend(await self._run.pick(REJECTS, range(first, until)))
        self._next_reject = until
