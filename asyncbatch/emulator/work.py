"""The real work behind a batch, in threads: reading its input, writing its results.

The clock says when a phase ends; the work has to be done by then. Work starts as early as it can. A request that finds
it unfinished waits for it, so that a batch on a scripted clock always stands where the clock says; but not for longer
than `PATIENCE_S`, after which the batch is shown in the phase that it has not left. Answers from elsewhere are asked for
beside all this, and results are written when the last has come.
"""

import math
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from asyncbatch.emulator.asking import Asking
from asyncbatch.emulator.life import Phase, rows_done, stand
from asyncbatch.emulator.store import ClosedError, Examined, Problem, StoredBatch, Written

PATIENCE_S = 5.0  # real seconds; well below the time limit of any client's poll
THREADS = 2  # heavy work at once; more would only take the interpreter away from the server

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")
_WRITTEN_IN = {Phase.FINALIZING, Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELLED}


class Work:
    """Does the work of one dialect's batches, in tasks that the server owns."""

    def __init__(
        self,
        tasks: TaskGroup,
        now: Callable[[], float],
        examine: Callable[[StoredBatch], Examined],
        write: Callable[[StoredBatch, int], Written],
        ask: Callable[[StoredBatch], Asking] | None = None,
        keep: Callable[[StoredBatch], None] = lambda _: None,
    ) -> None:
        self._tasks = tasks
        self._now = now
        self._examine = examine
        self._write = write
        self._ask = ask
        self._keep = keep
        self._threads = anyio.CapacityLimiter(THREADS)

    def begin(self, batch: StoredBatch) -> None:
        """Start on a new batch, or go on with one of an earlier life."""
        if batch.course.is_refused or batch.examined is not None or batch.input is None:
            batch.examined_event.set()
            self._begin_asking(batch)
        else:
            self._tasks.start_soon(self._do_examine, batch)

    async def run(self, function: Callable[[*_Args], _T], *args: *_Args) -> _T:
        """Run something heavy in a thread, when there is room for it."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._threads)

    async def check(self, batch: StoredBatch) -> Problem | None:
        """Examine a batch before it begins; gives what is wrong with it."""
        examined = await self.run(self._examine, batch)
        if examined.problem is None:
            batch.accept(examined)
        return examined.problem

    async def settle(self, *batches: StoredBatch) -> None:
        """Bring the work up to what the clock says, within limits."""
        with anyio.move_on_after(PATIENCE_S):
            now = self._now()
            ending = [batch for batch in batches if await self._is_ending(batch, now)]
            for batch in ending:
                await batch.written_event.wait()

    async def _is_ending(self, batch: StoredBatch, now: float) -> bool:
        """Begin with the results, if it is time, and say whether they have to be there."""
        if now >= batch.course.valid_at or batch.course.cancel_at is not None:
            await batch.examined_event.wait()
        planned = stand(batch.course, now).phase
        if planned not in _WRITTEN_IN:
            return False
        self._begin_writing(batch)
        return planned.is_over

    def _begin_writing(self, batch: StoredBatch) -> None:
        if not batch.has_writer:
            batch.has_writer = True
            self._tasks.start_soon(self._do_write, batch)

    async def _do_examine(self, batch: StoredBatch) -> None:
        try:
            examined = await self.run(self._examine, batch)
        except (ClosedError, FileNotFoundError):
            if not batch.is_gone:
                raise
            return  # a reset took the batch away
        finally:
            batch.examined_event.set()
        if examined.problem is None:
            batch.accept(examined)
            self._begin_asking(batch)
        else:
            batch.refuse(examined.problem)
        self._keep_changes(batch)

    def _keep_changes(self, batch: StoredBatch) -> None:
        if not batch.is_gone:
            self._keep(batch)

    def _begin_asking(self, batch: StoredBatch) -> None:
        """Let somebody else answer, if there is anybody; that takes its time, and none of our threads."""
        if batch.examined is None or batch.written is not None or batch.course.is_refused:
            return
        if self._ask is not None:
            batch.asking = self._ask(batch)
            self._tasks.start_soon(batch.asking.run)
            if batch.course.cancel_at is not None:
                batch.asking.stop()

    async def _do_write(self, batch: StoredBatch) -> None:
        try:
            if batch.asking is not None:
                await batch.asking.ended.wait()
            done = rows_done(batch.course, math.inf)  # as it will be when the batch ends
            batch.finish(await self.run(self._write, batch, done))
            self._keep_changes(batch)
        except (ClosedError, FileNotFoundError):
            if not batch.is_gone:
                raise
        finally:
            batch.written_event.set()
