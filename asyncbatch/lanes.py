"""The batches of one provider object: each is asked about when it is due, by a few long-lived workers.

When to ask again is decided in `planning/schedule.py`.
"""

import heapq
import logging
from collections.abc import AsyncIterable, Callable, Generator
from datetime import datetime
from itertools import count
from typing import Any

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import AsyncBatchError, ProviderError, ProviderTransientError
from asyncbatch.planning.schedule import (
    Again,
    GaveUp,
    Over,
    Polling,
    PollState,
    after_error,
    after_not_found,
    after_status,
    when_woken,
)
from asyncbatch.runtime import Runtime, sleep_or

_log = logging.getLogger("asyncbatch.poller")


def _no_one() -> None:
    """Whoever watches a batch is told once there is somebody."""


class BatchHandle:
    """A batch that is watched. `await` it for its last status.

    Attributes:
        provider: Whom to ask.
        provider_batch_id: The batch's name there.
        last: The latest reading; None before the first.
    """

    def __init__(self, provider: BaseBatchProvider, provider_batch_id: str) -> None:
        self.provider = provider
        self.provider_batch_id = provider_batch_id
        self.last: ProviderStatus | None = None
        self.trouble: str | None = None
        """Why the batch cannot be asked about just now, and since when; None while it can."""
        self._error: BaseException | None = None
        self._done = anyio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._on_reading: list[Callable[[], None]] = []
        self._on_wake: Callable[[], None] = _no_one

    def __repr__(self) -> str:
        return f"<BatchHandle {self.provider.PROVIDER_NAME}/{self.provider_batch_id} {self.status.value}>"

    @property
    def status(self) -> BatchStatus:
        """Where the batch stood when it was last asked about; UNKNOWN before that."""
        return self.last.status if self.last else BatchStatus.UNKNOWN

    @property
    def is_done(self) -> bool:
        """Whether watching is over: the batch ended, or asking cannot help any more."""
        return self._done.is_set()

    @property
    def error(self) -> BaseException | None:
        """Why watching ended without the batch's end; None otherwise."""
        return self._error

    def __await__(self) -> Generator[Any, None, ProviderStatus]:
        return self.wait().__await__()

    async def wait(self) -> ProviderStatus:
        """Wait for the end of the batch.

        Raises:
            ProviderPermanentError: What polling cannot outlive: the key is refused, or the batch stays unknown.
            PollerClosedError: The poller was left first.
        """
        await self._done.wait()
        if self._error is not None:
            # Without the traces of those who waited before: they would pile up on the one error.
            raise self._error.with_traceback(None)
        assert self.last is not None
        return self.last

    def results(self) -> AsyncIterable[ProviderResultRow]:
        """Give the answers; see `BaseBatchProvider.fetch_results`."""
        return self.provider.fetch_results(self.provider_batch_id)

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call back, on the event loop, when watching is over; at once if it is already."""
        if self.is_done:
            callback()
        else:
            self._callbacks.append(callback)

    def on_reading(self, callback: Callable[[], None]) -> None:
        """Call back, on the event loop, after each reading of the batch's status, and when it cannot be read any more."""
        self._on_reading.append(callback)

    def wake(self) -> bool:
        """Ask about the batch now, or as soon as its provider lets us; False if watching is over.

        However often it is woken before that, it is asked about once.
        """
        if not self.is_done:
            self._on_wake()
        return not self.is_done

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Say who asks about it; called by the poller."""
        self._on_wake = callback

    def read(self, status: ProviderStatus) -> None:
        """Take a reading; called by the poller."""
        self.last, self.trouble = status, None
        for callback in self._on_reading:
            self._call(callback)

    def miss(self, error: BaseException, at: float) -> None:
        """Take it that the batch could not be asked about; called by the poller."""
        if self.trouble is None:
            since = datetime.fromtimestamp(at).astimezone()
            self.trouble = f"cannot be asked about since {since:%H:%M:%S}: {error}"
            for callback in self._on_reading:
                self._call(callback)

    def finish(self, error: BaseException | None = None) -> None:
        """End the watch; called by the poller, once."""
        if self.is_done:
            return
        self._error = error
        self._done.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001 a listener's fault is not the batch's: it is logged, and the watch goes on
            _log.exception("%r: a callback failed; the watch goes on", self)


def _checked(handle: BatchHandle, status: Any) -> ProviderStatus:
    if not isinstance(status, ProviderStatus):
        raise TypeError(f"poll_status of {handle.provider!r} gave {type(status).__name__}, no ProviderStatus")
    return status


class Watch:
    """What the lane keeps about a handle between two questions.

    Attributes:
        due: When it is asked about next; None while it is.
        soonest: Before when its provider does not want to be asked.
        entry: The number of its place in the heap; others of it there mean nothing any more.
        is_woken: Whether it was woken while it was asked about: the answer may be older than what woke it.
    """

    def __init__(self, handle: BatchHandle, floor_s: float) -> None:
        self.handle = handle
        self.floor_s = floor_s
        self.state = PollState()
        self.due: float | None = None
        self.soonest = 0.0
        self.entry = -1
        self.is_woken = False
        self.is_unknown_logged = False
        self.is_fault_logged = False


class Lane:
    """The batches of one provider object, and who asks about them."""

    def __init__(self, runtime: Runtime, policy: Polling) -> None:
        self._runtime = runtime
        self._policy = policy
        self._due: list[tuple[float, int, Watch]] = []
        self._order = count()
        self._turn = anyio.Lock()
        self._changed = anyio.Event()
        self.workers = 0
        self.live = 0

    def add(self, watch: Watch, delay_s: float, least_s: float = 0.0) -> None:
        now = self._runtime.now()
        watch.soonest = now + least_s
        self._put(watch, now + (least_s if watch.is_woken else delay_s))
        watch.is_woken = False

    def wake(self, watch: Watch) -> None:
        """Bring the next question about a batch forward."""
        if watch.due is None:
            watch.is_woken = True
            return
        due = when_woken(watch.due, watch.soonest, self._runtime.now())
        if due < watch.due:
            self._put(watch, due)

    def _put(self, watch: Watch, due: float) -> None:
        watch.due, watch.entry = due, next(self._order)
        heapq.heappush(self._due, (due, watch.entry, watch))
        self._changed.set()

    def _earliest(self) -> float | None:
        """Give the next due time, past the places of batches that have moved up since."""
        while self._due and self._due[0][1] != self._due[0][2].entry:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    async def work(self) -> None:
        """Ask about batches as they are due, until there are more workers than batches."""
        while True:
            async with self._turn:  # one worker waits for the next due time, the others for their turn
                watch = await self._next_due()
            if watch is None:
                self.workers -= 1
                return
            await self._ask(watch)

    async def _next_due(self) -> Watch | None:
        while self.workers <= self.live:
            self._changed = anyio.Event()
            due = self._earliest()
            if due is None:
                await self._changed.wait()
            elif due > self._runtime.now():
                await sleep_or(self._runtime, due - self._runtime.now(), self._changed)
            else:
                watch = heapq.heappop(self._due)[2]
                watch.due = None
                return watch
        return None

    async def _ask(self, watch: Watch) -> None:
        handle = watch.handle
        try:
            status = _checked(handle, await handle.provider.poll_status(handle.provider_batch_id))
        except ProviderError as error:
            self._after_error(watch, error)
        except AsyncBatchError as error:  # our own: the scope was left, the key is gone; asking again cannot help
            self._end(watch, error)
        except Exception as error:  # noqa: BLE001 a provider's fault: asked through for a while, then it reaches whoever awaits
            self._after_fault(watch, error)
        else:
            self._after_status(watch, status)

    def _after_fault(self, watch: Watch, error: Exception) -> None:
        """A provider that fails in its own way may do so for a moment: a paid batch is not given up over one socket."""
        if not watch.is_fault_logged:
            watch.is_fault_logged = True
            _log.warning("%r: asking failed with %r; asking on for a while", watch.handle, error, exc_info=error)
        floor, u = watch.floor_s, self._runtime.random()
        step = after_not_found(self._policy, watch.state, self._runtime.now(), u, floor_s=floor)
        self._follow(watch, step, error)

    def _after_status(self, watch: Watch, status: ProviderStatus) -> None:
        watch.handle.read(status)
        if status.status is BatchStatus.UNKNOWN and not watch.is_unknown_logged:
            watch.is_unknown_logged = True
            _log.warning("%r has the status %r, which we do not know; asking on", watch.handle, status.raw_status)
        floor, u = watch.floor_s, self._runtime.random()
        step = after_status(self._policy, watch.state, status.status, u, floor_s=floor, retry_after=status.retry_after)
        self._follow(watch, step, None)

    def _after_error(self, watch: Watch, error: ProviderError) -> None:
        floor, u = watch.floor_s, self._runtime.random()
        step: Again | GaveUp
        if isinstance(error, ProviderTransientError):
            step = after_error(self._policy, watch.state, u, floor_s=floor, retry_after=error.retry_after)
        elif error.status is None or error.is_auth:
            step = GaveUp()
        else:
            step = after_not_found(self._policy, watch.state, self._runtime.now(), u, floor_s=floor)
        if not watch.is_fault_logged:
            watch.is_fault_logged = True
            _log.warning("%r: %s; asking on", watch.handle, error)
        self._follow(watch, step, error)

    def _follow(self, watch: Watch, step: Again | Over | GaveUp, error: Exception | None) -> None:
        if isinstance(step, Again):
            if error is not None:
                watch.handle.miss(error, self._runtime.now())
            watch.state = step.state
            self.add(watch, step.delay_s, step.least_s)
        else:
            self._end(watch, error if isinstance(step, GaveUp) else None)

    def _end(self, watch: Watch, error: BaseException | None) -> None:
        self.live -= 1
        self._changed.set()
        watch.handle.finish(error)
