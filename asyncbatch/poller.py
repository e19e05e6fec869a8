"""BatchPoller: many batches, one task; each is asked about when it is due, and none disturbs another.

Batches of one provider object share a lane: a heap of due times and a few long-lived workers, so that one slow or throttled
account delays no other. When to ask again is decided in `planning/schedule.py`.
"""

import heapq
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import (
    AsyncBatchError,
    PollerClosedError,
    ProviderError,
    ProviderTransientError,
    ScopeError,
)
from asyncbatch.planning.schedule import (
    Again,
    GaveUp,
    Over,
    Polling,
    PollState,
    after_error,
    after_not_found,
    after_status,
    first_wait,
)
from asyncbatch.runtime import LoopBound, Owner, Runtime, Signal, sleep_or

_log = logging.getLogger("asyncbatch.poller")


_TIDY = 256
"""Handles before the first look for those that are over."""


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
        self._error: BaseException | None = None
        self._done = anyio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._on_reading: list[Callable[[], None]] = []

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
        """Call back, on the event loop, after each reading of the batch's status."""
        self._on_reading.append(callback)

    def read(self, status: ProviderStatus) -> None:
        """Take a reading; called by the poller."""
        self.last = status
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


class _Watch:
    """What the lane keeps about a handle between two questions."""

    def __init__(self, handle: BatchHandle, floor_s: float) -> None:
        self.handle = handle
        self.floor_s = floor_s
        self.state = PollState()
        self.is_unknown_logged = False
        self.is_fault_logged = False


class _Lane:
    """The batches of one provider object, and who asks about them."""

    def __init__(self, runtime: Runtime, policy: Polling) -> None:
        self._runtime = runtime
        self._policy = policy
        self._due: list[tuple[float, int, _Watch]] = []
        self._order = count()
        self._turn = anyio.Lock()
        self._changed = anyio.Event()
        self.workers = 0
        self.live = 0

    def add(self, watch: _Watch, delay_s: float) -> None:
        heapq.heappush(self._due, (self._runtime.now() + delay_s, next(self._order), watch))
        self._changed.set()

    async def work(self) -> None:
        """Ask about batches as they are due, until there are more workers than batches."""
        while True:
            async with self._turn:  # one worker waits for the next due time, the others for their turn
                watch = await self._next_due()
            if watch is None:
                self.workers -= 1
                return
            await self._ask(watch)

    async def _next_due(self) -> _Watch | None:
        while self.workers <= self.live:
            self._changed = anyio.Event()
            delay = self._due[0][0] - self._runtime.now() if self._due else None
            if delay is None:
                await self._changed.wait()
            elif delay > 0:
                await sleep_or(self._runtime, delay, self._changed)
            else:
                return heapq.heappop(self._due)[2]
        return None

    async def _ask(self, watch: _Watch) -> None:
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

    def _after_fault(self, watch: _Watch, error: Exception) -> None:
        """A provider that fails in its own way may do so for a moment: a paid batch is not given up over one socket."""
        if not watch.is_fault_logged:
            watch.is_fault_logged = True
            _log.warning("%r: asking failed with %r; asking on for a while", watch.handle, error, exc_info=error)
        floor, u = watch.floor_s, self._runtime.random()
        step = after_not_found(self._policy, watch.state, self._runtime.now(), u, floor_s=floor)
        self._follow(watch, step, error)

    def _after_status(self, watch: _Watch, status: ProviderStatus) -> None:
        watch.handle.read(status)
        if status.status is BatchStatus.UNKNOWN and not watch.is_unknown_logged:
            watch.is_unknown_logged = True
            _log.warning("%r has the status %r, which we do not know; asking on", watch.handle, status.raw_status)
        floor, u = watch.floor_s, self._runtime.random()
        step = after_status(self._policy, watch.state, status.status, u, floor_s=floor, retry_after=status.retry_after)
        self._follow(watch, step, None)

    def _after_error(self, watch: _Watch, error: ProviderError) -> None:
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

    def _follow(self, watch: _Watch, step: Again | Over | GaveUp, error: Exception | None) -> None:
        if isinstance(step, Again):
            watch.state = step.state
            self.add(watch, step.delay_s)
        else:
            self._end(watch, error if isinstance(step, GaveUp) else None)

    def _end(self, watch: _Watch, error: BaseException | None) -> None:
        self.live -= 1
        self._changed.set()
        watch.handle.finish(error)


class BatchPoller(LoopBound):
    """Watch many batches at once.

    Leaving it stops the watching and loses nothing: the batches go on at their providers, and whoever still awaits a handle
    gets `PollerClosedError`. It may be entered in one task and left in another.

    Args:
        polling: How patiently.
        runtime: Clock, sleep and randomness; for tests.
    """

    def __init__(self, polling: Polling | None = None, *, runtime: Runtime | None = None) -> None:
        super().__init__("the poller")
        self._policy = polling or Polling()
        self._runtime = runtime or Runtime()
        self._lanes: dict[BaseBatchProvider, _Lane] = {}
        self._handles: dict[BatchHandle, None] = {}
        self._tidy_at = _TIDY
        self._owner: Owner | None = None

    async def __aenter__(self) -> Self:
        if self._owner is not None:
            raise ScopeError("this poller is open already", code="scope.open", hint="open another one: BatchPoller()")
        self.bind()
        self._owner = Owner("asyncbatch poller", self._crashed)
        try:
            await self._owner.start()
        except BaseException:  # who is cancelled on the way in never gets to leave it
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop watching; harmless when repeated."""
        owner, self._owner = self._owner, None
        self.release()
        if owner is not None:
            await owner.stop()
        self._fail_all(None)

    @property
    def is_open(self) -> bool:
        """Whether batches are watched: it was entered, not left, and has not crashed."""
        return self._owner is not None and self._owner.is_running

    def watch(self, provider: BaseBatchProvider, provider_batch_id: str) -> BatchHandle:
        """Watch a batch from now on.

        Raises:
            ScopeError: The poller is not open, or on another event loop.
        """
        self.check("open it first: `async with BatchPoller() as poller`")
        if not self.is_open:
            raise ScopeError("the poller has stopped, and watches nothing any more", code="poller.closed")
        assert self._owner is not None
        handle, floor_s = BatchHandle(provider, provider_batch_id), provider.poll_floor_s
        self._forget_done()
        lane = self._lanes.setdefault(provider, _Lane(self._runtime, self._policy))
        lane.live += 1
        self._handles[handle] = None
        lane.add(_Watch(handle, floor_s), first_wait(self._policy, self._runtime.random(), floor_s=floor_s))
        if lane.workers < min(self._policy.concurrency, lane.live):
            lane.workers += 1
            self._owner.spawn(lane.work, name=f"asyncbatch poll {provider.PROVIDER_NAME}")
        return handle

    def as_completed(self, handles: Iterable[BatchHandle]) -> "AsCompleted[BatchHandle]":
        """Give the handles one by one, each as soon as its batch is over; `results()` of a failed watch raises its error."""
        return AsCompleted(handles)

    def _forget_done(self) -> None:
        """Now and then, so that a poller which lives for months keeps only what it watches."""
        if len(self._handles) < self._tidy_at:
            return
        self._handles = {handle: None for handle in self._handles if not handle.is_done}
        self._lanes = {provider: lane for provider, lane in self._lanes.items() if lane.live}
        self._tidy_at = max(_TIDY, 2 * len(self._handles))

    def _crashed(self, error: BaseException) -> None:
        self._fail_all(error)

    def _fail_all(self, cause: BaseException | None) -> None:
        for handle in list(self._handles):
            where = f"{handle.provider.PROVIDER_NAME}/{handle.provider_batch_id}"
            closed = PollerClosedError(
                f"the poller was closed while {where} was still watched",
                code="poller.closed",
                hint="the batch goes on; watch it again to see its end",
            )
            closed.__cause__ = cause
            handle.finish(closed)
        self._handles.clear()
        self._lanes.clear()


Handle = TypeVar("Handle", bound=BatchHandle)


class AsCompleted(AsyncIterator[Handle], Generic[Handle]):
    """Handles in the order in which their batches end; each costs one entry in a queue, however many there are."""

    def __init__(self, handles: Iterable[Handle]) -> None:
        waiting = list(dict.fromkeys(handles))
        self._left = len(waiting)
        self._ready: deque[Handle] = deque()
        self._arrived = Signal()
        for handle in waiting:
            handle.on_done(partial(self._take, handle))

    def _take(self, handle: Handle) -> None:
        self._ready.append(handle)
        self._arrived.notify()

    async def __anext__(self) -> Handle:
        if not self._left:
            raise StopAsyncIteration
        while not self._ready:
            await self._arrived.wait()
        self._left -= 1
        return self._ready.popleft()
