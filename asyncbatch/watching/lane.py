"""Who asks about the batches of an account: a few long-lived workers, each about the one that is due first.

When that is, and how fast an account may be asked, stands in `account.py`; what an answer changes, in `reading.py`.
"""

from math import inf
from typing import Any

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderStatus
from asyncbatch.exceptions import AsyncBatchError, ProviderError
from asyncbatch.planning import pace as pacing
from asyncbatch.planning.schedule import Polling
from asyncbatch.runtime import Runtime, checkpoint, sleep_or
from asyncbatch.watching.events import Feed
from asyncbatch.watching.handle import BatchHandle, Watch
from asyncbatch.watching.reading import Reading

_JUMP_S = 60.0
"""Who has slept longer than it meant to by this much was suspended, and so was everybody else."""
_TURN = 16
"""Questions after which others on the event loop get their turn, even if no answer had to be waited for."""


def _checked(handle: BatchHandle, status: Any) -> ProviderStatus:
    if not isinstance(status, ProviderStatus):
        raise TypeError(f"poll_status of {handle.provider!r} gave {type(status).__name__}, no ProviderStatus")
    return status


class Lane(Reading):
    """The workers of an account."""

    def __init__(self, provider: BaseBatchProvider, runtime: Runtime, policy: Polling, feed: Feed) -> None:
        super().__init__(provider, runtime, policy, feed)
        self._turn = anyio.Lock(fast_acquire=True)

    async def work(self) -> None:
        """Ask about batches as they are due, until there are more workers than batches."""
        while self.workers <= self.live:
            if not await self._act():
                async with self._turn:  # one worker waits for the next due time, the others for their turn
                    await self._rest()
        self.workers -= 1

    async def _rest(self) -> None:
        """Sleep until there is something to do, or until somebody changes what there is."""
        while self.workers <= self.live and (wait := self._wait_s(before := self._runtime.now())) > 0:
            self._changed = anyio.Event()
            if wait == inf:
                await self._changed.wait()
            else:
                await sleep_or(self._runtime, wait, self._changed)
                self._look_at_the_clock(before + wait)

    def _look_at_the_clock(self, meant: float) -> None:
        """After a sleep that the whole host joined in, do not ask at once about all that have become due meanwhile."""
        now = self._runtime.now()
        late = self._agenda.until(now) if now - meant > _JUMP_S else []
        if len(late) > self._policy.concurrency:
            window_s = pacing.spread_s(self._policy, len(late))
            for watch in late:
                self._put(watch, now + self._runtime.random() * window_s)

    async def _act(self) -> bool:
        """Do the next thing that is due; False if nothing is, or nothing may be done now."""
        now = self._runtime.now()
        if self._wait_s(now) > 0:
            return False
        if await self._swept(now):
            return True
        watch = self._pick(now)
        if watch is None:
            return False
        self._pay(now)
        self.counts.polls += 1
        if self.counts.polls % _TURN == 0:
            await checkpoint()
        await self._ask(watch)
        return True

    def _pick(self, now: float) -> Watch | None:
        """Take who is due first, and may be asked about now."""
        del now
        return self._agenda.pop()

    async def _swept(self, now: float) -> bool:
        """Read the list instead, where that is cheaper; False if it is not."""
        del now
        return False

    async def _ask(self, watch: Watch) -> None:
        handle = watch.handle
        watch.skips -= watch.skips > 0
        watch.is_urgent = False
        try:
            status = _checked(handle, await handle.provider.poll_status(handle.provider_batch_id))
        except ProviderError as error:
            watch.stamp = self._stamp()
            self._after_error(watch, error)
        except AsyncBatchError as error:  # our own: the scope was left, the key is gone; asking again cannot help
            self._end(watch, error)
        except Exception as error:  # noqa: BLE001 a provider's fault: asked through for a while, then it reaches whoever awaits
            watch.stamp = self._stamp()
            self._after_fault(watch, error)
        else:
            watch.stamp = self._stamp()
            self._answered()
            self._pace = pacing.eased(self._pace)
            self._spare_the_quota()
            self._after_status(watch, status, self._runtime.now(), self._runtime.random())
