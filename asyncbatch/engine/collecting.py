"""From a batch to outcomes: watch it to its end, and fetch its answers."""

import logging
from collections.abc import Collection
from contextlib import nullcontext

from asyncbatch.dto import ProviderStatus
from asyncbatch.engine import outcomes
from asyncbatch.engine.announcing import announce_stop
from asyncbatch.engine.closing import Closing
from asyncbatch.engine.occupancy import facts_of
from asyncbatch.engine.recover import confirm
from asyncbatch.engine.rounds import has_input
from asyncbatch.engine.settle import enter_answers
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import (
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
    StorageError,
    SubmissionUnknownError,
)
from asyncbatch.journal import Confirmed, Disowned, Ended, Indeterminate, SubmissionState, Voided
from asyncbatch.planning.looking import next_reading
from asyncbatch.planning.room import is_turned_away, is_worth_another_try
from asyncbatch.planning.schedule import Again, GaveUp, PollState, after_error, after_not_found
from asyncbatch.poller import BatchHandle

_log = logging.getLogger("asyncbatch.engine")

_GONE = frozenset({404, 410})
_NOT_RUNNING = frozenset({BatchStatus.UNKNOWN, BatchStatus.VALIDATING, BatchStatus.FAILED})
"""In which it is not sure that there was room for a batch."""


class Collecting(Closing):
    """The way of a submission from its batch to an outcome for each request."""

    async def drive(self) -> None:
        """Take one submission from where it stands to its end."""
        try:
            self.room.account_for(self.shared.record, self.part.record)
            await self.take_up()
            is_settled = self.part.is_settled
            while not is_settled:
                await self._send()
                is_settled = await self._watch_and_settle()
        except Exception as error:  # noqa: BLE001 it ends no other part, and reaches whoever waits for the job
            _log.warning("submission %s of job %s stops: %r", self.part.record.index, self.shared.record.job_id, error)
            self.part.error = error
            self.part.is_stopped = True
            feed, now = self.tools.poller.feed, self.tools.runtime.now()
            announce_stop(feed, error, provider=self.provider.PROVIDER_NAME, job_id=self.shared.record.job_id, at=now)
        finally:
            self.part.note = None
            self.room.forget(self.key)
            self.shared.changed.notify()

    async def _watch_and_settle(self) -> bool:
        """Take a part to its outcomes; False if it has to be sent anew."""
        batch_id = self.part.record.provider_batch_id
        if batch_id is None:
            await self.settle_unsent()
            return True
        self.room.go_through(self.key, is_running=False)  # also if its create was lost, and it was found again
        if self.part.is_provisional:
            self._tell("looks like ours by time and number; its answers will show")
            self.tools.lines_of(self.provider).tentative.add(batch_id)
        elif not self.part.is_fenced and not self._full_codes:
            await self._give_input_back()
        try:
            status = await self._end_of(self._watched(batch_id))
        except ProviderPermanentError as error:
            if not self.part.is_provisional or error.status not in _GONE:
                raise
            await self._look_on(f"batch {batch_id} may have been it, and was deleted before its answers could show")
            return False
        if await self._came_to_nothing(batch_id, status):
            return False
        if self.part.record.state is SubmissionState.SUBMITTED:  # or a process that died has said so before
            await self._move(Ended(status=status.status))
        gone = await self._fetch(status)
        fill = outcomes.unanswered(status, self.provider.classify_error, is_verified=self.part.is_verified)
        # A batch that failed says why, whether or not the files are there that it names.
        is_told = status.status is BatchStatus.FAILED and bool(status.errors)
        if gone is not None and not is_told:
            await self.close_ledger(outcomes.lost(status, gone))
        else:
            await self.close_ledger(outcomes.in_round(fill, self.part.sent))
        if await self.goes_on():
            return False
        await self.settle()
        return True

    async def _came_to_nothing(self, batch_id: str, status: ProviderStatus) -> bool:
        """Whether a batch that is over ran nothing of ours, and something else has to be sent, or looked for."""
        if self.part.is_fenced and status.status is BatchStatus.FAILED and not status.progress.done:
            await self._forget_attempt(Voided())
            return True
        if self.part.is_provisional and not await self._is_confirmed(batch_id):
            return True
        if self._is_turned_away(status):
            await self._turn_back(status)
            return True
        self._note_running(status)
        return False

    @property
    def _full_codes(self) -> Collection[str]:
        """By which codes a batch says that there is no room for it; without any, it is taken for good when it is accepted."""
        facts = facts_of(self.provider)
        return facts.full_codes if facts is not None else ()

    def _is_turned_away(self, status: ProviderStatus) -> bool:
        """Whether the batch failed for want of room before anything of it ran, and is worth another try."""
        record = self.part.record
        if not is_turned_away(status, self._full_codes):
            return False
        now = self.tools.runtime.now()
        # Where other batches go through, a long queue moves: patience is with one that does not.
        since = max(record.turned_away_since or now, self.room.since(self._waiter().whose_tokens))
        waited_s = now - since
        is_sendable = has_input(self.part.submission) and not self.shared.cancelled.is_set()
        return is_sendable and is_worth_another_try(record.turned_away, waited_s)

    async def _turn_back(self, status: ProviderStatus) -> None:
        """Send it anew once there is room: nothing of it ran, and nothing is paid for."""
        word = status.errors[0].code
        _log.warning("batch %s had no room (%s); it is sent again", status.provider_batch_id, word)
        await self.room.turn_away(self._waiter(), word)  # first: who takes its place has to know of it
        await self._forget_attempt(Voided(why=word, at=self.tools.runtime.now()))

    def _note_running(self, status: ProviderStatus) -> None:
        """Take it that there was room for the batch."""
        if status.status not in _NOT_RUNNING:
            self.room.go_through(self.key, is_running=True)

    def _watched(self, batch_id: str) -> BatchHandle:
        part = self.part
        part.handle = self.tools.poller.watch(self.provider, batch_id)
        part.handle.job_id = self.shared.record.job_id
        part.handle.on_reading(self.shared.changed.notify)
        if part.is_woken:
            part.is_woken = False
            part.handle.wake()
        return part.handle

    async def _is_confirmed(self, batch_id: str) -> bool:
        """Ask whose answers a batch has that was found by time and count; if they are not ours, look on for our own."""
        tools, since = self.tools, self.part.record.intended_at or self.tools.runtime.now()
        confirmed = await confirm(
            self.part.submission,
            self.part.whole,
            since,
            batch_id,
            provider=self.provider,
            runtime=tools.runtime,
            policy=tools.recovery,
        )
        if confirmed is True:
            await self._move(Confirmed())
            return True
        _log.warning(
            "batch %s is not submission %s of job %s", batch_id, self.part.record.index, self.shared.record.job_id
        )
        if isinstance(confirmed, Indeterminate):
            self.part.handle = None
            await self._move(
                Disowned(vanished=confirmed.why)
            )  # a crash right after this must not take it for a stranger's
            self.part.error = SubmissionUnknownError(confirmed.why, provider=self.provider.PROVIDER_NAME)
            await self._move(confirmed)
        else:
            await self._look_on()
        return False

    async def _look_on(self, vanished: str | None = None) -> None:
        """Give up a batch that was found by time and count, and look for our own, while no other create is sent."""
        self.part.handle = None
        await self._move(Disowned(vanished=vanished))
        lines = self.tools.lines_of(self.provider)
        async with lines.sending if lines.is_single_file else nullcontext():
            await self._recover(None)

    async def _end_of(self, handle: BatchHandle) -> ProviderStatus:
        """Wait for the end of a batch; a cancel that was refused is asked for again after each reading."""
        handle.on_done(self.shared.changed.notify)
        asked_at = handle.last
        is_running = not self._full_codes
        while not handle.is_done:
            if not is_running and handle.last is not None and handle.status not in _NOT_RUNNING:
                is_running = True
                self._note_running(handle.last)
                if not self.part.is_provisional and not self.part.is_fenced:
                    await self._give_input_back()
            # The job changes more often than this one batch is read.
            if self.part.is_uncancelled and handle.last is not asked_at:
                asked_at = handle.last
                await self.cancel_batch()
            if not handle.is_done:
                await self.shared.changed.wait()
        return await handle.wait()

    @property
    def _answers(self) -> int:
        """How many requests of the present round have an answer."""
        return sum(self.part.ledger.counts().values()) - self._earlier

    @property
    def _earlier(self) -> int:
        """How many requests had their outcome before the present round."""
        part = self.part
        return 0 if part.sent is None else part.record.request_count - len(part.sent)

    async def _fetch(self, status: ProviderStatus) -> ProviderError | None:
        """Fetch the answers, as often as it takes; gives the error if they cannot be had any more.

        A refusal is believed only when it has lasted: providers lose sight of files and batches for a while. Fewer answers than
        the provider counts are believed at the third reading.
        """
        tools, state, readings = self.tools, PollState(), 0
        while True:
            try:
                async with tools.lines_of(self.provider).settling:
                    self._tell("fetching answers")
                    self.part.is_verified = await enter_answers(
                        self.provider, status, self.part.whole, self.part.sent, self.part.ledger, tools.runtime
                    )
            except ProviderTransientError as error:
                step: Again | GaveUp = after_error(
                    tools.polling, state, tools.runtime.random(), retry_after=error.retry_after
                )
                failure: ProviderError | StorageError = error
            except (ProviderPermanentError, StorageError) as error:
                if isinstance(error, ProviderPermanentError) and error.is_auth:
                    raise  # a key that is refused now may be mended; the answers are still there
                step = after_not_found(tools.polling, state, tools.runtime.now(), tools.runtime.random())
                failure = error
            else:
                wait = next_reading(
                    readings,
                    status.progress.completed,
                    self._answers,
                    tools.runtime.random(),
                    sent=self.part.record.request_count - self._earlier,
                    first_s=tools.polling.first_s,
                )
                if wait is None:
                    return None
                _log.warning("batch %s has fewer answers than its provider counts", status.provider_batch_id)
                self._tell("fewer answers than the provider counts: looking again")
                readings += 1
                await tools.runtime.sleep(wait)
                continue
            if isinstance(step, GaveUp):
                if isinstance(failure, StorageError):  # our disk is no reason to call an answer lost
                    raise failure
                return failure
            _log.warning("fetching batch %s: %s", status.provider_batch_id, failure)
            self._tell("waiting to fetch answers")
            state = step.state
            await tools.runtime.sleep(step.delay_s)
