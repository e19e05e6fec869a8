"""An account, which is one provider object: its batches, when each is due, and how fast it may be asked."""

from collections.abc import Iterator
from math import inf

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.planning import breaker as breaking
from asyncbatch.planning import pace as pacing
from asyncbatch.planning.expecting import History
from asyncbatch.planning.schedule import Polling, first_wait, when_woken
from asyncbatch.runtime import Runtime
from asyncbatch.watching.agenda import Agenda
from asyncbatch.watching.events import Feed
from asyncbatch.watching.handle import BatchHandle, Watch
from asyncbatch.watching.statistics import AccountStatistics, PollCounts


class Account:
    """What is known of an account.

    Attributes:
        provider: Whom to ask.
        counts: What was asked so far.
        workers: Tasks that ask.
        live: Batches that are watched.
    """

    def __init__(self, provider: BaseBatchProvider, runtime: Runtime, policy: Polling, feed: Feed) -> None:
        self.provider = provider
        self.counts = PollCounts()
        self.workers: int = 0
        self.live: int = 0
        self._runtime = runtime
        self._policy = policy
        self._feed = feed
        self._agenda = Agenda()
        self._by_id: dict[str, Watch] = {}
        self._waker = self._wake  # one for all of them
        self._changed = anyio.Event()
        self._pace = pacing.Pace(at=runtime.now())
        self._breaker = breaking.CLOSED
        self._history = History()
        self._stamps = 0
        self._window_s = provider.window_s

    @property
    def has_room(self) -> bool:
        """Whether one more worker would have something to do."""
        return self.workers < min(self._policy.concurrency, self.live)

    def watch(self, handle: BatchHandle) -> None:
        """Ask about a batch from now on."""
        floor_s = self.provider.poll_floor_s
        now = self._runtime.now()
        watch = Watch(handle, floor_s, now)
        self.live += 1
        watch.twin = self._by_id.get(watch.batch_id)
        self._by_id[watch.batch_id] = watch
        handle.watched_as(watch, self._waker)
        self._later(watch, now, first_wait(self._policy, self._runtime.random(), floor_s=floor_s))

    def wake(self, batch_id: str) -> bool:
        """Bring the next question about a batch forward; False if it is not watched here."""
        for watch in self._watches_of(batch_id):
            self._wake(watch)
        return batch_id in self._by_id

    def statistics(self) -> AccountStatistics:
        """Give how it fares."""
        now, pace = self._runtime.now(), self._pace
        return AccountStatistics(
            provider=self.provider.PROVIDER_NAME,
            watched=self.live,
            workers=self.workers,
            breaker=breaking.state_of(self._breaker, now),
            paused_s=max(pace.paused_until - now, 0.0),
            requests_per_s=pacing.rate_per_s(self._policy, pace.halvings),
            polls=self.counts.polls,
            sweeps=self.counts.sweeps,
            pages=self.counts.pages,
        )

    def _later(self, watch: Watch, now: float, delay_s: float, least_s: float = 0.0) -> None:
        watch.soonest = now + least_s
        if self._agenda.put(watch, now + (least_s if watch.is_woken else delay_s)):
            self._changed.set()
        watch.is_woken = False

    def _put(self, watch: Watch, due: float) -> None:
        if self._agenda.put(watch, due):
            self._changed.set()

    def _wake(self, watch: Watch) -> None:
        watch.is_urgent = True
        if watch.due is None:
            watch.is_woken = True
            return
        watch.stamp = self._stamp()
        due = when_woken(watch.due, watch.soonest, self._runtime.now())
        if due < watch.due:
            self._put(watch, due)

    def _watches_of(self, batch_id: str) -> Iterator[Watch]:
        """Give whoever watches a batch; each may leave before the next one is asked for."""
        watch = self._by_id.get(batch_id)
        while watch is not None:
            following = watch.twin
            yield watch
            watch = following

    def _leave(self, watch: Watch) -> None:
        """Take a watch out of those of its batch."""
        first = self._by_id[watch.batch_id]
        if first is not watch:
            before = next(other for other in self._watches_of(watch.batch_id) if other.twin is watch)
            before.twin = watch.twin
        elif watch.twin is not None:
            self._by_id[watch.batch_id] = watch.twin
        else:
            del self._by_id[watch.batch_id]

    def _stamp(self) -> int:
        """Give the next number of what happens to this account, in order."""
        self._stamps += 1
        return self._stamps

    def _wait_s(self, now: float) -> float:
        """Give the seconds until there is something to do that may be done; 0 at once, infinite if there is nothing."""
        due = self._agenda.earliest()
        if due is None or due > now:
            return inf if due is None else due - now
        return max(breaking.wait_s(self._breaker, now), pacing.wait_s(self._policy, self._pace, now))

    def _pay(self, now: float) -> None:
        """Take it that a request leaves."""
        self._pace = pacing.take(self._policy, self._pace, now)
        self._breaker = breaking.asking(self._breaker)
