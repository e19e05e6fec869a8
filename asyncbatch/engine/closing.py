"""From answers to an account that is closed: every request has its outcome, or is sent once more."""

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine import outcomes
from asyncbatch.engine.keeping import rows_at
from asyncbatch.engine.rounds import has_input, keep_sent, pick_lines, worth_it
from asyncbatch.engine.sending import Sending
from asyncbatch.engine.steps import Release
from asyncbatch.engine.tidying import tidy
from asyncbatch.exceptions import ProviderError, StorageError, SubmissionUnknownError
from asyncbatch.journal import TELL, TIDY, Retried, Settled
from asyncbatch.planning.rounds import next_round
from asyncbatch.planning.schedule import GaveUp, PollState, after_not_found
from asyncbatch.planning.tidying import Cleanup, Tidied

T = TypeVar("T")

_log = logging.getLogger("asyncbatch.engine")


class Closing(Sending):
    """The end of a submission, or of one of its rounds."""

    async def goes_on(self) -> bool:
        """Send requests again that are worth it, if there are any; every request has an outcome when this is asked."""
        tools, shared = self.tools, self.shared
        if shared.wanted is None or shared.cancelled.is_set() or not has_input(self.part.whole):
            return False
        delay = next_round(tools.patience, self.part.record.tries, shared.max_attempts, tools.runtime.random())
        if delay is None:
            return False
        # Those of the present round alone: the rows of all others were handed out.
        sent = await tools.runtime.offload(worth_it, self.part.ledger, shared.wanted, self.part.sent)
        if sent:
            await self.again(sent, delay_s=delay)
        return bool(sent)

    async def again(self, sent: Sequence[int], *, delay_s: float = 0.0, is_by_hand: bool = False) -> None:
        """Begin another round: these requests, by position, in a batch of their own."""
        part, tools = self.part, self.tools
        submission = await self._patiently(partial(self._prepare, sent))
        held = await tools.runtime.offload(part.ledger.counts_without, sent)
        event = Retried(
            requests=len(sent),
            rows_bytes=part.ledger.size,
            outcomes={status.value: n for status, n in held.items()},
            not_before=tools.runtime.now() + delay_s,
            is_by_hand=is_by_hand,
        )
        await self._move(event)
        part.is_reopening = is_by_hand  # the epoch is the new one from here on, and the rows are still the old ones
        try:
            await tools.runtime.offload(part.ledger.reopen, sent)
        finally:
            part.is_reopening = False
        former = part.submission.spool
        part.begin_round(submission, sent)
        if self.shared.place is None and former is not None and former is not part.whole.spool:
            await former.discard()
        self.shared.released.append(Release(part.record.index, event.rows_bytes))
        self.shared.changed.notify()

    async def _prepare(self, sent: Sequence[int]) -> PreparedSubmission:
        tools, part = self.tools, self.part
        lines = await pick_lines(part.whole, sent, tools.space, tools.runtime)
        number = part.record.round + 1
        return await tools.runtime.offload(keep_sent, self.shared.place, part.whole, number, sent, lines, tools.space)

    async def settle(self) -> None:
        """Hand the rows out, and be done."""
        part = self.part
        await self._owe()
        self.shared.released.append(Release(part.record.index, part.ledger.size))
        usage = part.ledger.usage
        await self._move(
            Settled(
                outcomes={status.value: n for status, n in part.ledger.counts().items()},
                usage=(usage.prompt_tokens, usage.cache_read_input_tokens, usage.completion_tokens),
            )
        )
        await self._give_input_back()
        await self._tidy_up()
        if part.ledger.strays:
            _log.warning(
                "job %s: %d answers carry ids that are not ours", self.shared.record.job_id, part.ledger.strays
            )

    async def _owe(self) -> None:
        """Record what has to be done once the job is over; whoever does it takes it down."""
        for word, is_due in ((TIDY, self.shared.cleanup != "never"), (TELL, self.shared.notifies)):
            if is_due and word not in self.shared.owed:
                self.shared.owed.add(word)
                await self.tools.journal.wish(self.shared.record.job_id, word)

    async def tidy(self, cleanup: Cleanup) -> Tidied:
        """Delete what the submission left at the provider, as far as the policy goes; its outcomes are on disk by now."""
        record = self.part.record
        events = await self.tools.journal.events(self.shared.record.job_id, record.index)
        return await tidy(self.provider, record, events, cleanup)

    async def _tidy_up(self) -> None:
        if self.shared.cleanup == "never":
            return
        scope, done = self.tools.grace.enter(), Tidied(errors=("broken off",))
        try:
            with scope:
                done = await self.tidy(self.shared.cleanup)
        finally:
            self.tools.grace.leave(scope)
        self.shared.is_untidy |= not done.is_done

    async def settle_unsent(self) -> None:
        """Close the account of requests that got no batch; those that had an outcome before this round keep it."""
        error = self.part.error
        if isinstance(error, SubmissionUnknownError):
            fill = outcomes.indeterminate(self.part.record.reason or error.message)
        else:
            fill = outcomes.refused(error) if isinstance(error, ProviderError) else outcomes.withdrawn()
            await self._patiently(partial(self.tools.runtime.offload, self.part.ledger.restore))
        await self.close_ledger(fill)
        await self.settle()

    async def close_ledger(self, fill: outcomes.Fill) -> None:
        """Give every request without an answer its outcome, and keep the rows."""
        await self._patiently(partial(self.tools.runtime.offload, self._close_and_keep, fill))

    async def _patiently(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        tools, state = self.tools, PollState()
        while True:
            try:
                return await work()
            except StorageError as error:  # the answers are there, and so are we: room may come
                step = after_not_found(tools.polling, state, tools.runtime.now(), tools.runtime.random())
                if isinstance(step, GaveUp):
                    raise
                _log.warning("submission %s of job %s: %s", self.part.record.index, self.shared.record.job_id, error)
                state = step.state
                await tools.runtime.sleep(step.delay_s)

    def _close_and_keep(self, fill: outcomes.Fill) -> None:
        self.part.ledger.close(fill, self.part.whole.request_ids)
        if self.shared.place is not None:
            self.part.ledger.keep_at(rows_at(self.shared.place, self.part.record.index))

    async def _give_input_back(self) -> None:
        part = self.part
        # What is kept goes with the job; what may be sent again is kept until it is known that it will not be.
        if self.shared.place is not None or (self.shared.wanted is not None and not part.is_settled):
            return
        for submission in (part.whole, part.submission):
            if submission.spool is not None:
                try:
                    await submission.spool.discard()
                except (StorageError, OSError) as error:  # it goes with the client; no batch is left alone over it
                    _log.warning("job %s: an input is left on the disk: %s", self.shared.record.job_id, error)
        part.whole = part.whole.replace(spool=None, payloads=())
        part.submission = part.submission.replace(spool=None, payloads=())
