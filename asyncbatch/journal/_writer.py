"""The one thread that touches the database: it takes what has gathered, and commits it together.

While one commit waits for the disk, the next changes gather; so a thousand tasks cost a few commits. Reads in a group are
answered first, from what was committed before: whoever has been told of a change finds it.
"""

import asyncio
import copy
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import anyio

from asyncbatch.exceptions import JournalError
from asyncbatch.journal._database import Answer, Change, Database
from asyncbatch.journal._refusals import closed, forked

T = TypeVar("T")

_GROUP = 1000
"""Changes in one transaction at most: nobody waits for more than that."""


class _Ask:
    """A piece of work, and who waits for it."""

    def __init__(self, kind: Literal["read", "change", "step"], work: Callable[..., Any]) -> None:
        self.kind = kind
        self.work = work
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def tell(self, answer: Answer) -> None:
        """Hand the answer over, from the thread."""
        try:
            self._loop.call_soon_threadsafe(self._set, answer)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _set(self, answer: Answer) -> None:
        if self.future.done():
            return
        if answer.error is None:
            self.future.set_result(answer.value)
        else:
            self.future.set_exception(_own(answer.error))


def _own(error: BaseException) -> BaseException:
    """Give each of those who hear of one error an exception of their own, as each adds its traceback."""
    if not isinstance(error, JournalError):
        return error
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own


class Writer:
    """The thread of one open journal."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asks: deque[_Ask] = deque()
        self._woken = threading.Condition()
        self._is_stopping = False
        self._pid = os.getpid()
        # A daemon: a journal that nobody closes holds up no interpreter, and ends as in a crash, of which it is not afraid.
        self._thread = threading.Thread(target=self._run, name="asyncbatch journal", daemon=True)

    @property
    def is_inherited(self) -> bool:
        """Whether this is the copy of a writer in the child of a fork, which has no thread."""
        return self._pid != os.getpid()

    async def start(self) -> None:
        """Start the thread and open the database. After an error nothing is left of either."""
        self._thread.start()
        try:
            await self.step(self._database.open)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Do what was asked for so far, close the database, and end the thread."""
        if self._is_stopping:
            return
        try:
            await _settled(self._put("step", self._database.close, is_last=True))
        finally:
            self._thread.join()  # it has nothing left to do

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database something."""
        answer: T = await self._put("read", work)
        return answer

    async def change(self, work: Change[T]) -> T:
        """Change something, as one of a group. It happens whole or not at all; a cancellation is raised when that is known."""
        answer: T = await _settled(self._put("change", work))
        return answer

    async def step(self, work: Callable[[], T]) -> T:
        """Do something in the thread between two transactions. Waits for it as `change` does."""
        answer: T = await _settled(self._put("step", work))
        return answer

    def _put(
        self, kind: Literal["read", "change", "step"], work: Callable[..., Any], *, is_last: bool = False
    ) -> asyncio.Future[Any]:
        if self.is_inherited:
            raise forked()
        ask = _Ask(kind, work)
        with self._woken:
            if self._is_stopping:
                raise closed()
            self._is_stopping = is_last
            self._asks.append(ask)
            self._woken.notify()
        return ask.future

    # The thread.

    def _run(self) -> None:
        while group := self._take():
            if group[0].kind == "step":
                group[0].tell(_answer(group[0].work))
                continue
            changes = [ask for ask in group if ask.kind == "change"]
            for ask in group:
                if ask.kind == "read":
                    ask.tell(_answer(self._database.read, ask.work))
            if changes:
                for ask, answer in zip(changes, self._database.commit([ask.work for ask in changes]), strict=True):
                    ask.tell(answer)

    def _take(self) -> list[_Ask]:
        """Wait for work, and give all that may go together: a step goes alone. Empty when the last step is done."""
        with self._woken:
            self._woken.wait_for(lambda: self._asks or self._is_stopping)
            group: list[_Ask] = []
            while self._asks and len(group) < _GROUP:
                is_step = self._asks[0].kind == "step"
                if is_step and group:
                    break
                group.append(self._asks.popleft())
                if is_step:
                    break
            return group


def _answer(work: Callable[..., Any], *args: Any) -> Answer:
    try:
        return Answer(work(*args))
    except BaseException as error:  # noqa: BLE001 whoever asked for it hears it
        return Answer(error=error)


async def _settled(future: asyncio.Future[T]) -> T:
    """Wait for the answer whatever cancels us meanwhile, and be cancelled then. The thread always answers.

    A shield holds against anyio's scopes, not against `Task.cancel()`.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled from future.exception()
    return future.result()
