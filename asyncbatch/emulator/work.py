"""The real work behind a batch, in threads: reading its input, writing its results.

The clock says when a phase ends; the work has to be done by then. Work starts as early as it can. A request that finds
it unfinished waits for it, so that a batch on a scripted clock always stands where the clock says; but not for longer
than `PATIENCE_S`, after which the batch is shown in the phase that it has not left.
"""

import math
from collections.abc import Callable

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from asyncbatch.emulator.life import Phase, rows_done, stand
from asyncbatch.emulator.store import ClosedError, Examined, StoredBatch, Written

PATIENCE_S = 5.0  # real seconds; well below the time limit of any client's poll
THREADS = 2  # heavy work at once; more would only take the interpreter away from the server

_WRITTEN_IN = {Phase.FINALIZING, Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELLED}


class Work:
    """Does the work of one dialect's batches, in tasks that the server owns."""

    def __init__(
        self,
        tasks: TaskGroup,
        now: Callable[[], float],
        examine: Callable[[StoredBatch], Examined],
        write: Callable[[StoredBatch, int], Written],
    ) -> None:
        self._tasks = tasks
        self._now = now
        self._examine = examine
        self._write = write
        self._threads = anyio.CapacityLimiter(THREADS)

    def begin(self, batch: StoredBatch) -> None:
        """Start on a new batch."""
        if batch.course.is_refused:
            batch.examined_event.set()
        else:
            self._tasks.start_soon(self._do_examine, batch)

    async def settle(self, batch: StoredBatch) -> None:
        """Bring the work up to what the clock says, within limits."""
        with anyio.move_on_after(PATIENCE_S):
            now = self._now()
            if now >= batch.course.valid_at or batch.course.cancel_at is not None:
                await batch.examined_event.wait()
            planned = stand(batch.course, now).phase
            if planned in _WRITTEN_IN:
                self._begin_writing(batch)
                if planned.is_over:
                    await batch.written_event.wait()

    async def settle_all(self, batches: list[StoredBatch]) -> None:
        for batch in batches:
            await self.settle(batch)

    def _begin_writing(self, batch: StoredBatch) -> None:
        if not batch.has_writer:
            batch.has_writer = True
            self._tasks.start_soon(self._do_write, batch)

    async def _do_examine(self, batch: StoredBatch) -> None:
        try:
            examined = await anyio.to_thread.run_sync(self._examine, batch, limiter=self._threads)
        except ClosedError:
            return  # a reset took the batch away
        finally:
            batch.examined_event.set()
        batch.accept(examined) if examined.problem is None else batch.refuse(examined.problem)

    async def _do_write(self, batch: StoredBatch) -> None:
        done = rows_done(batch.course, math.inf)  # as it will be when the batch ends
        try:
            batch.written = await anyio.to_thread.run_sync(self._write, batch, done, limiter=self._threads)
        except ClosedError:
            return
        finally:
            batch.written_event.set()
