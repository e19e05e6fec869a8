"""A job that was accepted, followed to its end: its rows go to a sink while a view shows how it stands."""

from collections.abc import Callable

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from asyncbatch import Job, JobStatus
from asyncbatch.cli.claims import rounds_of
from asyncbatch.cli.endings import first_error
from asyncbatch.cli.sinks import Sink
from asyncbatch.cli.talk import Talk
from asyncbatch.cli.watching import Stopwatch, view_for, watch
from asyncbatch.cli.writing import Tally, write_rows
from asyncbatch.dto import ProviderResultRow
from asyncbatch.exceptions import AsyncBatchError

_SLICE = 1024


class Followed:
    """What is known about a job on its way; it outlives the client, so that an interrupted command can tell.

    Attributes:
        job: The job, once it was accepted.
        sink: Where its rows go.
        is_ordered: Whether they go there in the order of the requests.
        tally: What the rows so far add up to.
        watch: Since when.
    """

    def __init__(self, sink: Sink, *, is_ordered: bool = False) -> None:
        self.job: Job | None = None
        self.sink = sink
        self.is_ordered = is_ordered
        self.tally = Tally()
        self.watch = Stopwatch()
        self._error: AsyncBatchError | None = None

    @property
    def status(self) -> JobStatus | None:
        return self.job.status() if self.job is not None else None

    async def collect(self, job: Job, talk: Talk, on_row: Callable[[ProviderResultRow], None] | None = None) -> None:
        """Write every row of the job as its batches end.

        Raises:
            AsyncBatchError: Nothing could be sent, or a batch cannot be watched any more.
            OSError: The rows cannot be written.
        """
        send, receive = anyio.create_memory_object_stream[ProviderResultRow](_SLICE)
        try:
            async with anyio.create_task_group() as group, receive:
                if not job.status().is_over:
                    group.start_soon(watch, job, view_for(talk))
                group.start_soon(self._pump, job, send)
                await self._write(receive, on_row)
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        if self._error is not None:
            raise self._error
        await anyio.to_thread.run_sync(self.sink.finish, rounds_of(job.status()))

    async def _pump(self, job: Job, send: MemoryObjectSendStream[ProviderResultRow]) -> None:
        with send:
            try:
                async for row in job.results(ordered=self.is_ordered):
                    try:
                        send.send_nowait(row)
                    except anyio.WouldBlock:
                        await send.send(row)
            except AsyncBatchError as error:
                self._error = error

    async def _write(
        self, receive: MemoryObjectReceiveStream[ProviderResultRow], on_row: Callable[[ProviderResultRow], None] | None
    ) -> None:
        """Write whatever has come in since the last time: few rows at once while they trickle, many when a batch ends."""
        async for first in receive:
            rows = [first]
            while len(rows) < _SLICE and receive.statistics().current_buffer_used:
                rows.append(receive.receive_nowait())
            for row in rows if on_row is not None else ():
                on_row(row)  # type: ignore[misc]
            await anyio.to_thread.run_sync(write_rows, rows, self.sink, self.tally)
