"""The answers to one batch's rows, which somebody else makes: asked for a few at a time, and kept on disk."""

from array import array
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from asyncbatch.emulator.elsewhere import AT_ONCE, decode_answer, encode_answer
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.store import ClosedError

Asks: TypeAlias = Generator[tuple[int, Ask | None], None, None]
"""Row by row its number and what it asks; None for a row that asks for nothing, such as one that is to fail."""

_LENGTH_BYTES = 8


class Asking:
    """Asks until all rows are answered, or nobody wants to know any more.

    Attributes:
        rows_done: How many rows need not be asked about any more.
        ended: Set when it is over, in whatever way.
    """

    def __init__(self, path: Path, rows: int, asks: Asks, answer: Callable[[Ask], Awaitable[Answer]]) -> None:
        self.rows_done = 0
        self.ended = anyio.Event()
        self._path = path
        self._places = array("Q", bytes(8 * rows))  # where an answer begins, counted from 1
        self._end = 1
        self._asks = asks
        self._answer = answer
        self._scope = anyio.CancelScope()
        self._reading = anyio.Lock()
        self._writing = anyio.Lock()

    def stop(self) -> None:
        """Ask no further, and forget about the asks that are under way."""
        self._scope.cancel()

    async def run(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    for _ in range(AT_ONCE):
                        tasks.start_soon(self._work)
        finally:
            self._asks.close()
            self.ended.set()

    async def _work(self) -> None:
        try:
            while (found := await self._next()) is not None:
                index, ask = found
                if ask is not None:
                    await self._keep(index, await self._answer(ask))
                self.rows_done += 1
        except ClosedError:
            return  # a reset took the batch away

    async def _next(self) -> tuple[int, Ask | None] | None:
        async with self._reading:
            return await anyio.to_thread.run_sync(next, self._asks, None)

    async def _keep(self, index: int, answer: Answer) -> None:
        data = encode_answer(answer)
        async with self._writing:
            await anyio.to_thread.run_sync(self._append, data)
            self._places[index] = self._end
            self._end += _LENGTH_BYTES + len(data)

    def _append(self, data: bytes) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        except FileNotFoundError as error:
            raise ClosedError from error

    def read(self, index: int) -> Answer | None:
        """Give the answer to a row, if it has come. Runs in a thread, when all is over."""
        place = self._places[index]
        if not place:
            return None
        with self._path.open("rb") as file:
            file.seek(place - 1)
            length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
            return decode_answer(file.read(length))
