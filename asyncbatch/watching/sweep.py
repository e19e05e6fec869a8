"""One walk through a provider's list in the place of many questions, where that is cheaper; see `planning/sweeping.py`.

Whoever is looked for and not found is asked about singly, and so is everybody when the list fails. The list is left alone then.
"""

import logging
from collections.abc import Iterable, Sequence

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderStatus, StatusPage
from asyncbatch.exceptions import AsyncBatchError, ProviderError, ProviderTransientError
from asyncbatch.planning import pace as pacing
from asyncbatch.planning.schedule import Polling
from asyncbatch.planning.sweeping import (
    NO_LIST,
    PAGE_S,
    ListKnown,
    Walk,
    after_failure,
    after_page,
    after_walk,
    begin_walk,
    goes_on,
    is_newest_first,
    plan_pages,
    read_item,
    skips_after,
)
from asyncbatch.runtime import Runtime, checkpoint
from asyncbatch.watching.events import Feed
from asyncbatch.watching.handle import Watch
from asyncbatch.watching.lane import Lane

_log = logging.getLogger("asyncbatch.poller")

_LOOK_AGAIN_S = 1.0
"""A walk that was not worth it is weighed anew after so long, and longer where many are due: it costs a step for each."""
_WEIGHING_S = 0.001
_GROWN = 2
"""So many times the batches of the last weighing are worth another one, however short ago that was."""
_TURN = 50
"""Readings after which others on the event loop get their turn."""
_THROTTLED = 429


class _UnfitListError(Exception):
    """A list that says too little, or says it in another order than newest first."""


class SweepingLane(Lane):
    """The workers of an account that may read its list."""

    def __init__(self, provider: BaseBatchProvider, runtime: Runtime, policy: Polling, feed: Feed) -> None:
        super().__init__(provider, runtime, policy, feed)
        self._list = ListKnown() if policy.sweeps and provider.has_list else NO_LIST
        self._look_at = 0.0
        self._weighed = 0
        self._sought: dict[Watch, float] | None = None
        self._joined: dict[Watch, float] = {}

    async def _swept(self, now: float) -> bool:
        is_grown = self.live > _GROWN * self._weighed  # by batches that the last walk did not look for
        is_early = now < max(self._look_at, self._list.rest_until) and not is_grown
        if is_early or self._sought is not None or self._breaker.opened:
            return False
        self._weighed = self.live
        due = [watch for watch in self._agenda.until(now + self._policy.coalesce_s) if not watch.skips]
        created = [watch.created_at for watch in due]
        back_to = None if None in created else min((at for at in created if at is not None), default=None)
        size = self.provider.list_page_size
        pages = plan_pages(due=len(due), watched=self.live, page_size=size, back_to=back_to, known=self._list, now=now)
        if not pages:
            self._look_at = now + _LOOK_AGAIN_S + len(due) * _WEIGHING_S
            return False
        # Whoever is found is not due again before that; whoever is not, and is asked singly, is no reason for another walk.
        self._look_at = now + self._policy.first_s * (1 - self._policy.jitter)
        await self._sweep(due, begin_walk(pages=pages, due=len(due), page_size=size, back_to=back_to, known=self._list))
        return True

    def _pick(self, now: float) -> Watch | None:
        """While the list is read and the budget is spent on its pages, those who become due meanwhile wait for it too."""
        while (due := self._agenda.earliest()) is not None and due <= now:
            watch = self._agenda.pop()
            if (
                self._sought is None
                or watch.skips
                or watch.is_urgent
                or pacing.has_plenty(self._policy, self._pace, now)
            ):
                return watch
            self._joined[watch] = due
        return None

    async def _sweep(self, due: Sequence[Watch], walk: Walk) -> None:
        """Walk, and put whoever was not found back on the agenda."""
        self.counts.sweeps += 1
        self._sought = {watch: watch.due or 0.0 for watch in due}
        self._agenda.remove_all(due)
        try:
            walk = await self._walk(self._sought, walk)
        except _UnfitListError as error:
            self._leave_alone(error)
        except ProviderError as error:
            self._leave_alone(error, error.status, error.retry_after)
            if error.status == _THROTTLED:
                self._throttle(error.retry_after)
        except AsyncBatchError:  # our own: whoever is asked about singly hears of it
            self._list = NO_LIST
        except Exception as error:  # noqa: BLE001 a fault of a provider's list is none of its batches
            self._leave_alone(error)
        else:
            self._list = after_walk(self._list, walk, self._runtime.now())
            self.counts.missing_on_lists += len(self._sought)
            for watch in self._sought:
                watch.misses += 1
                watch.skips = skips_after(watch.misses)
        finally:
            left, self._sought, self._joined = {**self._sought, **self._joined}, None, {}
            for watch, at in sorted(left.items(), key=lambda item: item[1]):
                self._put(watch, self._runtime.now() if watch.is_woken else at)
                watch.is_woken = False

    async def _walk(self, sought: dict[Watch, float], walk: Walk) -> Walk:
        """Read pages while they are worth it; whoever is found leaves `sought`."""
        cursor, seen, u = None, set[str](), self._runtime.random()
        while True:
            stamp, page = self._stamp(), await self._page(cursor)
            created = [status.created_at for status in page.statuses if status.created_at is not None]
            if len(created) < len(page.statuses) or not is_newest_first(created, walk.oldest):
                raise _UnfitListError("it is not newest first, or does not say when its batches were created")
            await self._take_in(page.statuses, sought, stamp, u)
            walk = after_page(walk, created, len(sought))
            if page.cursor is None or not goes_on(walk):
                return walk
            if page.cursor in seen:
                raise _UnfitListError(f"it names {page.cursor!r} as its own next page")
            seen.add(page.cursor)
            cursor = page.cursor

    async def _page(self, cursor: str | None) -> StatusPage:
        while (wait := pacing.wait_s(self._policy, self._pace, self._runtime.now())) > 0:
            await self._runtime.sleep(wait)
        self._pace = pacing.take(self._policy, self._pace, self._runtime.now())
        self.counts.pages += 1
        try:
            with anyio.fail_after(PAGE_S):
                page = await self.provider.poll_page(cursor=cursor)
            self._answered()
            self._spare_the_quota()
            return page
        except TimeoutError:
            name = self.provider.PROVIDER_NAME
            message = f"{name}: a page of the list of batches takes longer than {PAGE_S:.0f} s"
        raise ProviderTransientError(message, provider=name, code="timeout")

    async def _take_in(
        self, statuses: Iterable[ProviderStatus], sought: dict[Watch, float], stamp: int, u: float
    ) -> None:
        """Take the readings of a page: whoever is on it need not be asked about, due or not."""
        is_whole, now = self.provider.is_list_whole, self._runtime.now()
        for place, status in enumerate(statuses, 1):
            following = self._by_id.get(status.provider_batch_id)
            while (watch := following) is not None:
                following = watch.twin
                is_asked = watch.due is None and watch not in sought and watch not in self._joined
                if is_asked or watch.stamp > stamp:
                    continue
                sought.pop(watch, None)
                self._joined.pop(watch, None)
                watch.misses = watch.skips = 0
                if read_item(status, is_whole=is_whole) == "take":
                    self._found(watch, status, now, u)
                else:
                    self._confirm(watch, now)
            if place % _TURN == 0:
                await checkpoint()

    def _found(self, watch: Watch, status: ProviderStatus, now: float, u: float) -> None:
        self.counts.found_on_lists += 1
        if watch.due is not None:
            self._agenda.remove(watch)
        # One number for all: who was found together comes due together, and is found together the next time.
        self._after_status(watch, status, now, u)

    def _confirm(self, watch: Watch, now: float) -> None:
        self.counts.missing_on_lists += 1
        watch.skips = 1
        self._put(watch, now)

    def _leave_alone(self, error: Exception, status: int | None = None, retry_after: float | None = None) -> None:
        self.counts.list_failures += 1
        if not self._list.failures:
            name = self.provider.PROVIDER_NAME
            _log.warning("%s: the list of batches is of no use now, and each is asked about: %s", name, error)
        self._list = after_failure(
            self._list, self._runtime.now(), self._runtime.random(), status=status, retry_after=retry_after
        )
