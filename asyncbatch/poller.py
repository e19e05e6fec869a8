"""BatchPoller: many batches, one task; each is asked about when it is due, and none disturbs another.

Batches of one provider object, which is one account, share a lane: a heap of due times and a few long-lived workers, so that
one slow or throttled account delays no other. Where a page of the provider's list is cheaper than many questions, it is read
instead.
What is decided stands in `planning`, how it is done in `watching`.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.exceptions import PollerClosedError, ScopeError
from asyncbatch.planning.schedule import Polling
from asyncbatch.runtime import LoopBound, Owner, Runtime, Signal, checkpoint
from asyncbatch.watching.events import EventReader, Feed
from asyncbatch.watching.handle import BatchHandle
from asyncbatch.watching.statistics import PollCounts, PollStatistics
from asyncbatch.watching.sweep import SweepingLane

__all__ = ["AsCompleted", "BatchHandle", "BatchPoller"]

_TIDY = 256
"""Handles before the first look for those that are over."""
_TURN = 256
"""Watches that begin before others on the event loop get their turn: about two milliseconds."""


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
        self._lanes: dict[BaseBatchProvider, SweepingLane] = {}
        self._handles: dict[BatchHandle, None] = {}
        self._tidy_at = _TIDY
        self._owner: Owner | None = None
        self._past = PollCounts()
        self.is_part = False
        """Whether it is part of a client, which says what happens to both."""
        self.feed = Feed()
        """Where events are told; a client tells its own there too."""

    async def __aenter__(self) -> Self:
        if self._owner is not None:
            raise ScopeError("this poller is open already", code="scope.open", hint="open another one: BatchPoller()")
        self.bind()
        self._owner = Owner("asyncbatch poller", self._crashed, is_part=self.is_part)
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
        handle = self._begin(provider, provider_batch_id)
        self._hire(provider)
        return handle

    def _begin(self, provider: BaseBatchProvider, provider_batch_id: str) -> BatchHandle:
        """Put a batch on the agenda of its account; somebody has to be there who asks."""
        self.check("open it first: `async with BatchPoller() as poller`")
        if not self.is_open:
            raise ScopeError("the poller has stopped, and watches nothing any more", code="poller.closed")
        handle = BatchHandle(provider, provider_batch_id)
        self._forget_done()
        lane = self._lanes.get(provider)
        if lane is None:
            lane = self._lanes[provider] = SweepingLane(provider, self._runtime, self._policy, self.feed)
        self._handles[handle] = None
        lane.watch(handle)
        return handle

    def _hire(self, provider: BaseBatchProvider) -> None:
        """Let an account have as many workers as have something to do."""
        lane = self._lanes.get(provider)
        while lane is not None and self._owner is not None and self.is_open and lane.has_room:
            lane.workers += 1
            self._owner.spawn(lane.work, name=f"asyncbatch poll {provider.PROVIDER_NAME}")

    async def watch_many(self, provider: BaseBatchProvider, provider_batch_ids: Iterable[str]) -> list[BatchHandle]:
        """Watch many batches from now on, with turns for others on the event loop: ten thousand would hold it for a while.

        Whoever is cancelled meanwhile leaves those watched that it had come to.

        Raises:
            ScopeError: The poller is not open, or on another event loop.
        """
        handles: list[BatchHandle] = []
        try:
            for provider_batch_id in provider_batch_ids:
                handles.append(self._begin(provider, provider_batch_id))
                if len(handles) % _TURN == 0:
                    await checkpoint()
        finally:  # not before: whoever begins with a few of them, asks about the others one by one
            self._hire(provider)
        return handles

    def wake(self, provider_batch_id: str) -> bool:
        """Ask about a batch now, or as soon as its provider lets us; False if it is not watched.

        For whoever has heard that something happened to it: what did is still read from its provider.
        """
        self.check("open it first: `async with BatchPoller() as poller`")
        woken = [lane.wake(provider_batch_id) for lane in self._lanes.values()]
        return any(woken)

    def events(self) -> EventReader:
        """Give what happens from now on, event by event: `async for event in poller.events()`.

        It ends when the poller is left. Whoever reads slowly loses the oldest events and is told how many, with an
        `EventsMissed`; the watching waits for nobody.

        Raises:
            ScopeError: The poller is not open, or on another event loop.
        """
        self.check("open it first: `async with BatchPoller() as poller`")
        return self.feed.open()

    def statistics(self) -> PollStatistics:
        """Give what was asked so far, and how each account fares."""
        counts, lanes = PollCounts(), [lane for lane in self._lanes.values() if lane.live]
        for one in (self._past, *(lane.counts for lane in self._lanes.values())):
            counts.add(one)
        return PollStatistics(
            watched=sum(lane.live for lane in lanes),
            overdue=sum(handle.is_overdue and not handle.is_done for handle in self._handles),
            accounts=tuple(lane.statistics() for lane in lanes),
            **msgspec.structs.asdict(counts),
        )

    def as_completed(self, handles: Iterable[BatchHandle]) -> "AsCompleted[BatchHandle]":
        """Give the handles one by one, each as soon as its batch is over; `results()` of a failed watch raises its error."""
        return AsCompleted(handles)

    def _forget_done(self) -> None:
        """Now and then, so that a poller which lives for months keeps only what it watches."""
        if len(self._handles) < self._tidy_at:
            return
        self._handles = {handle: None for handle in self._handles if not handle.is_done}
        for provider, lane in [(provider, lane) for provider, lane in self._lanes.items() if not lane.live]:
            self._past.add(lane.counts)
            del self._lanes[provider]
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
        for lane in self._lanes.values():
            self._past.add(lane.counts)
        self._handles.clear()
        self._lanes.clear()
        self.feed.close()


Handle = TypeVar("Handle", bound=BatchHandle)


class AsCompleted(AsyncIterator[Handle], Generic[Handle]):
    """Handles in the order in which their batches end; each costs one entry in a queue, however many there are."""

    def __init__(self, handles: Iterable[Handle]) -> None:
        waiting = list(dict.fromkeys(handles))
        self._left = len(waiting)
        self._ready: deque[Handle] = deque()
        self._arrived = Signal()
        listeners = (self._take,)
        for handle in waiting:
            handle.on_end(listeners)

    def _take(self, handle: BatchHandle) -> None:
        self._ready.append(cast("Handle", handle))
        self._arrived.notify()

    async def __anext__(self) -> Handle:
        if not self._left:
            raise StopAsyncIteration
        while not self._ready:
            await self._arrived.wait()
        self._left -= 1
        return self._ready.popleft()
