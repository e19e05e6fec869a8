"""What an answer changes: about the batch, which is asked about again or over, and about its account.

The decisions stand in `planning`: `schedule.py`, `expecting.py`, `pace.py`, `breaker.py`.
"""

import logging

from asyncbatch.dto import ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ProviderError, ProviderTransientError
from asyncbatch.planning import breaker as breaking
from asyncbatch.planning import pace as pacing
from asyncbatch.planning.expecting import first_sight, learn, left_s, overdue_at
from asyncbatch.planning.schedule import Again, GaveUp, PollState, after_error, after_not_found, after_status
from asyncbatch.watching.account import Account
from asyncbatch.watching.handle import Watch
from asyncbatch.watching.telling import tell_account, tell_given_up, tell_overdue, tell_reading, tell_unreadable

_log = logging.getLogger("asyncbatch.poller")

_THROTTLED, _TIMED_OUT = 429, 408


class Reading(Account):
    """An account whose answers are understood."""

    def _after_status(self, watch: Watch, status: ProviderStatus, now: float, u: float) -> None:
        handle, before = watch.handle, watch.handle.last
        if status.status is BatchStatus.UNKNOWN and not watch.is_unknown_logged:
            watch.is_unknown_logged = True
            _log.warning("%r has the status %r, which we do not know; asking on", handle, status.raw_status)
        is_over = status.status.is_terminal
        if not is_over and (status.expires_at is None or now > status.expires_at):
            self._look_at_the_window(watch, status, now)
        handle.read(status)
        if self._feed.is_read:
            tell_reading(self._feed, handle, before, now)
        if is_over:
            created_at = status.created_at or watch.since
            self._history = learn(self._history, max((status.completed_at or now) - created_at, 0.0))
            self._end(watch, None)
        else:
            self._ask_again(watch, status, now, u)

    def _ask_again(self, watch: Watch, status: ProviderStatus, now: float, u: float) -> None:
        state, progress, history = watch.state, status.progress, self._history
        sight = first_sight(state.sight, progress, now)
        if sight is not state.sight:
            state = PollState(polls=state.polls, sight=sight)
        left = None
        if sight is not None or history.ended:
            left = left_s(history, sight, progress, max(now - (status.created_at or watch.since), 0.0), now)
        step = after_status(
            self._policy,
            state,
            status.status,
            u,
            floor_s=watch.floor_s,
            retry_after=status.retry_after,
            left_s=left,
        )
        if isinstance(step, Again):
            watch.state = step.state
            self._later(watch, now, step.delay_s, step.least_s)

    def _look_at_the_window(self, watch: Watch, status: ProviderStatus | None, now: float) -> None:
        """Tell once of a batch that runs past its promised end."""
        promised_at = overdue_at(status, watch.since, self._window_s)
        if promised_at is None or now <= promised_at or watch.handle.is_overdue:
            return
        watch.handle.is_overdue = True
        _log.warning("%r is overdue: it runs on past the end that its provider promised; asking on", watch.handle)
        tell_overdue(self._feed, watch.handle, promised_at, now)

    def _after_fault(self, watch: Watch, error: Exception) -> None:
        """A provider that fails in its own way may do so for a moment: a paid batch is not given up over one socket."""
        if not watch.is_fault_logged:
            watch.is_fault_logged = True
            _log.warning("%r: asking failed with %r; asking on for a while", watch.handle, error, exc_info=error)
        self._failed(watch)
        floor, u = watch.floor_s, self._runtime.random()
        step = after_not_found(self._policy, watch.state, self._runtime.now(), u, floor_s=floor)
        self._follow(watch, step, error)

    def _after_error(self, watch: Watch, error: ProviderError) -> None:
        floor, u = watch.floor_s, self._runtime.random()
        step: Again | GaveUp
        if isinstance(error, ProviderTransientError):
            self._slow_down(watch, error)
            step = after_error(self._policy, watch.state, u, floor_s=floor, retry_after=error.retry_after)
        elif error.status is None or error.is_auth:
            step = GaveUp()
        else:
            self._answered()
            step = after_not_found(self._policy, watch.state, self._runtime.now(), u, floor_s=floor)
        if not watch.is_fault_logged:
            watch.is_fault_logged = True
            _log.warning("%r: %s; asking on", watch.handle, error)
        self._follow(watch, step, error)

    def _follow(self, watch: Watch, step: Again | GaveUp, error: Exception) -> None:
        self.counts.errors += 1
        if not isinstance(step, Again):
            self._end(watch, error)
            return
        now = self._runtime.now()
        self._look_at_the_window(watch, watch.handle.last, now)
        if watch.handle.miss(error, now):
            tell_unreadable(self._feed, watch.handle, error, now)
        watch.state = step.state
        self._later(watch, now, step.delay_s, step.least_s)

    def _end(self, watch: Watch, error: BaseException | None) -> None:
        self.live -= 1
        self._leave(watch)
        if error is not None:  # or nobody of the account would be asked any more, where it was the one that finds out
            self._breaker = breaking.unanswered(self._breaker)
        self._changed.set()
        if error is not None:
            tell_given_up(self._feed, watch.handle, error, self._runtime.now())
        watch.handle.finish(error)

    # What it says about the account

    def _slow_down(self, watch: Watch, error: ProviderTransientError) -> None:
        if error.status == _THROTTLED:
            self._answered()
            self._throttle(error.retry_after)
        elif error.status is not None and 400 <= error.status < 500 and error.status != _TIMED_OUT:
            self._answered()  # about this batch alone, such as one that is not paid for
        else:
            self._failed(watch)

    def _throttle(self, retry_after: float | None) -> None:
        self.counts.throttled += 1
        self._pace = pacing.throttled(self._pace, self._runtime.now(), self._runtime.random(), retry_after)

    def _spare_the_quota(self) -> None:
        """Wait as long as the provider's own quota is used up."""
        if (until := self.provider.rests_until) > self._pace.paused_until:
            self._pace = pacing.rested(self._pace, until)

    def _answered(self) -> None:
        was_open = self._breaker.opened
        self._breaker = breaking.answered(self._breaker)
        if was_open:
            name = self.provider.PROVIDER_NAME
            _log.warning("%s answers again; its %d batches are asked about again", name, self.live)
            tell_account(self._feed, name, "closed", self._runtime.now())
            self._changed.set()

    def _failed(self, watch: Watch) -> None:
        before, now = self._breaker, self._runtime.now()
        self._breaker = breaking.failed(before, watch.batch_id, now, self._runtime.random())
        if self._breaker.opened:
            self._changed.set()  # whoever waits for the one question goes on waiting, for as long as is said now
        if self._breaker.opened and not before.opened:
            name = self.provider.PROVIDER_NAME
            _log.warning(
                "%s: nobody answers; its %d batches rest, and one is asked about now and then", name, self.live
            )
            tell_account(self._feed, name, "open", now)
