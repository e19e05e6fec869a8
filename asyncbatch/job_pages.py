"""Pages of the rows of a job, for callers who come back with a cursor, to this process or to another one."""

from collections.abc import Awaitable, Generator
from typing import Any

from asyncbatch.codec.cursors import Cursor, beyond, decode_cursor, encode_cursor
from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.order import REJECTS
from asyncbatch.engine.run import JobRun
from asyncbatch.exceptions import ConfigError
from asyncbatch.secrecy import OfThisProcess

PAGE_ROWS = 100
_PICKED = 256
_ROOM_BYTES = 16 * 1024 * 1024
"""A page ends early rather than grow beyond this, and some rows."""


class JobPage(Awaitable[list[ProviderResultRow]], OfThisProcess):
    """Some rows of a job that are final now: `rows = await page`.

    Attributes:
        cursor: Once it was awaited, where the next page begins; what was given, if nothing came.
        is_over: Once it was awaited, whether no more rows will come.
    """

    def __init__(self, run: JobRun, desk: Desk, *, after: str | None, limit: int, is_ordered: bool) -> None:
        _check_limit(limit)
        self._run = run
        self._desk = desk
        self._limit = limit
        self._is_ordered = is_ordered
        self._after = after if after is not None else ""
        self.cursor = self._after
        self.is_over = False

    def __await__(self) -> Generator[Any, None, list[ProviderResultRow]]:
        return self._read().__await__()

    async def _read(self) -> list[ProviderResultRow]:
        run = await self._run_for_us()
        if run is None:
            return []
        start = self._place_in(run)
        if run.error is not None and run.is_nothing_sent:
            raise run.error.with_traceback(None)
        walk = _Walk(run, start, self._limit)
        await (walk.in_order() if self._is_ordered else walk.as_they_came())
        if walk.rows:
            self.cursor = encode_cursor(walk.cursor)
        self.is_over = walk.is_over
        if not walk.rows and not self.is_over and run.error is not None:
            raise run.error.with_traceback(None)
        return walk.rows

    def _place_in(self, run: JobRun) -> Cursor:
        job_id = run.record.job_id
        if self._after == "":
            return Cursor.at_start(job_id, run.epoch, is_ordered=self._is_ordered)
        return decode_cursor(self._after, job_id, is_ordered=self._is_ordered)

    async def _run_for_us(self) -> JobRun | None:
        """Give the job as somebody knows it who has seen what the cursor has seen; None if we are about to see it.

        Raises:
            ConfigError: The cursor is none of this job, or too old.
        """
        desk, job_id = self._desk, self._run.record.job_id
        run = desk.runs.get(job_id, self._run)
        run.check_readable()
        if run.is_over:  # another process may have sent some of it again since, or discarded it
            run = await desk.attach(job_id)
        if _has_seen(run, self._place_in(run), self._after):
            return run
        if job_id in desk.followed and not run.is_over:
            return None
        raise beyond(self._after, job_id)


def _check_limit(limit: Any) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ConfigError(f"limit is {limit!r}", code="config.value", hint="it is 1 or more")


def _has_seen(run: JobRun, cursor: Cursor, text: str) -> bool:
    """Say whether all rows before a cursor are there.

    Raises:
        ConfigError: They are final no more, or can never be there.
    """
    if cursor.position > run.record.request_count or cursor.last_source >= len(run.parts):
        raise beyond(text, run.record.job_id)
    if cursor.epoch < run.epoch:
        message = f"some of job {run.record.job_id} was sent again since this cursor was made"
        hint = "begin anew without one: each request has one outcome then as well"
        raise ConfigError(message, code="cursor.outdated", hint=hint)
    final = run.final()
    return (
        cursor.epoch == run.epoch
        and all(offset <= final.get(source, 0) for source, offset in cursor.offsets.items())
        and all(run.is_settled(source) for first, last in cursor.done for source in range(first, last + 1))
    )


class _Walk:
    """Rows on from a cursor, of a job as it stands."""

    def __init__(self, run: JobRun, cursor: Cursor, limit: int) -> None:
        self._run = run
        self._left = limit
        self._room = _ROOM_BYTES
        # Rows that are about to be sent again by hand would come twice under a cursor of the new epoch.
        self._final = {
            source: until
            for source, until in run.final().items()
            if source == REJECTS or not run.parts[source].is_reopening
        }
        self._whole = frozenset(source for source in self._final if run.is_settled(source))
        self.cursor = cursor
        self.rows: list[ProviderResultRow] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing is behind the cursor, nor will ever be."""
        run, cursor = self._run, self.cursor
        if not run.is_over or cursor.epoch != run.epoch:
            return False
        if cursor.is_ordered:
            return cursor.position >= run.record.request_count
        sources = range(REJECTS if run.rejects is not None else 0, len(run.parts))
        return all(cursor.is_done(source) for source in sources)

    async def as_they_came(self) -> None:
        for source, until in self._final.items():
            is_end = self.cursor.is_done(source)
            while self._has_room and not is_end:
                is_end = await self._take(source, until)

    async def _take(self, source: int, until: int) -> bool:
        """Take some rows of a source; gives whether these were its last for now."""
        offset, limit = self.cursor.offsets.get(source, 0), min(self._left, _PICKED)
        take = self._run.ledger_of(source).take
        taken = await self._run.runtime.offload(take, offset, until, limit, self._room)
        self._add(taken.rows)
        is_done = taken.is_end and source in self._whole
        self.cursor = self.cursor.read_to(source, taken.following, is_end=is_done)
        return taken.is_end

    async def in_order(self) -> None:
        order, is_end = self._run.order, False
        while self._has_room and not is_end and self.cursor.position < len(order):
            stretch = order.stretch(self.cursor.position, min(self._left, _PICKED))
            take = self._run.ledger_of(stretch.source).take_positions
            wanted, until = range(stretch.at, stretch.at + stretch.length), self._final.get(stretch.source, 0)
            rows = await self._run.runtime.offload(take, wanted, until, self._room)
            self._add(rows)
            self.cursor = self.cursor.on(len(rows))
            is_end = len(rows) < stretch.length

    @property
    def _has_room(self) -> bool:
        return self._left > 0 and self._room > 0

    def _add(self, rows: list[ProviderResultRow]) -> None:
        self.rows += rows
        self._left -= len(rows)
        self._room -= sum(len(row.body) for row in rows)
