"""From planned to a batch: upload, create, and what becomes of a create whose answer is lost."""

import logging
from contextlib import nullcontext
from functools import partial

from asyncbatch.engine.create import create_once, make_tag
from asyncbatch.engine.line import Waiter
from asyncbatch.engine.occupancy import facts_of
from asyncbatch.engine.recover import Others, recover
from asyncbatch.engine.steps import Steps
from asyncbatch.exceptions import (
    ProviderError,
    ProviderTransientError,
    ScopeError,
    StorageError,
    SubmissionUnknownError,
)
from asyncbatch.journal import (
    CreateUnknown,
    Event,
    Fenced,
    FenceIntended,
    Indeterminate,
    Refused,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Withdrawn,
)
from asyncbatch.planning.retry import next_send
from asyncbatch.planning.rounds import again_in
from asyncbatch.runtime import sleep_or

_log = logging.getLogger("asyncbatch.engine")

_NO_ROOM = frozenset({429})
"""By which status a create is refused for want of room, or because there were too many of them: it is waited for alike."""


class Sending(Steps):
    """The way of a submission to its batch."""

    async def take_up(self) -> None:
        """Bring what another process left in the middle of a step to where it can go on."""
        if self.part.record.state is SubmissionState.UPLOADING:
            await self._move(Refused(why="the process ended while it uploaded", is_final=False))
        if self.part.is_in_doubt:
            lines = self.tools.lines_of(self.provider)
            async with lines.sending if lines.is_single_file else nullcontext():  # before anything else waits for it
                if self.part.record.state is SubmissionState.CREATING:
                    await self._move(CreateUnknown(why="the process ended before the create was answered"))
                await self._recover(None)

    async def _send(self) -> None:
        await self._wait_for_round()
        while self.part.is_unsent:
            if self.shared.cancelled.is_set():
                await self._move(Withdrawn())
                return
            if not self.tools.poller.is_open:  # nothing is bought that nobody would watch
                raise ScopeError("the poller of this client has stopped; nothing more is sent", code="poller.closed")
            waiter = self._waiter()
            if not await self.room.enter(waiter):
                continue
            lines = self.tools.lines_of(self.provider)
            async with lines.sending:
                error = await self._send_once()
                if self.part.is_lost and lines.is_single_file:
                    await self._recover(error)
                    continue
            if self.part.is_lost:
                await self._recover(error)
            elif isinstance(error, ProviderTransientError) and self.part.is_unsent:
                await self._wait_or_give_up(error, waiter)
            elif error is not None:
                self.part.error = error
        if self.shared.cancelled.is_set():
            await self.cancel_batch()

    async def _wait_for_round(self) -> None:
        """Wait before requests are sent again: what failed at once would fail again at once."""
        runtime, record = self.tools.runtime, self.part.record
        left = 0.0 if record.not_before is None else record.not_before - runtime.now()
        if self.part.is_unsent and left > 0:
            self._tell(again_in(record.sent_count or 0, left))
            await sleep_or(runtime, left, self.shared.cancelled)
            self._tell(None)

    async def _send_once(self) -> ProviderError | None:
        if self.part.is_stale(self.tools.runtime.now()):
            await self._move(Refused(why="its input is about to be deleted", is_final=False))
            self.part.submission = self.part.submission.replace(input_ref=None, input_expires_at=None)
            return None  # its room went with the input, and perhaps to somebody else
        if self.part.record.state is SubmissionState.PLANNED:
            error = await self._upload()
            if error is not None:
                return error
        if self.shared.cancelled.is_set():
            await self._move(Withdrawn())
            return None
        tools = self.tools
        tag = make_tag(self.shared.record.job_id, self.part.record.index, self.part.record.attempt + 1, tools.runtime)
        self.part.submission = self.part.submission.replace(tag=tag)
        return await create_once(
            self.part.submission,
            provider=self.provider,
            move=self._move,
            runtime=tools.runtime,
            grace=tools.grace,
        )

    async def _upload(self) -> ProviderError | None:
        self._tell("uploading")
        await self._move(UploadIntended())
        try:
            uploaded = await self.provider.upload(self.part.submission)
        except ProviderError as error:
            await self._move(Refused(why=error.message, is_final=not isinstance(error, ProviderTransientError)))
            return error
        except (StorageError, OSError) as error:  # our disk, or a socket of a provider's own: no create was sent
            name = self.provider.PROVIDER_NAME
            failed = ProviderTransientError(f"{name}: the upload failed: {error}", provider=name, code="upload_failed")
            await self._move(Refused(why=failed.message, is_final=False))
            return failed
        self.part.submission = uploaded
        self._tell(None)
        await self._move(Uploaded(input_ref=uploaded.input_ref, expires_at=uploaded.input_expires_at))
        return None

    def _waiter(self) -> Waiter:
        shared = self.shared
        limits = self.tools.rooms.limits_of(shared.record, facts_of(self.provider))
        return Waiter(shared.record, self.part, shared.changed, shared.cancelled, limits)

    async def _wait_or_give_up(self, error: ProviderTransientError, waiter: Waiter) -> None:
        """Wait until it is sent again: for want of room with all others of the account, else by itself."""
        tools, runtime = self.tools, self.tools.runtime
        self.part.refused_since = self.part.refused_since or runtime.now()
        if error.status in _NO_ROOM and self.part.record.state is SubmissionState.UPLOADED:
            # Where batches go through, a long queue moves: patience is with one that does not.
            self.part.refused_since = await self.room.refuse(waiter, error)
        self.room.leave(self.key)
        self.part.refusals += 1
        self.part.unreached_since = None if error.status is not None else self.part.unreached_since or runtime.now()
        since = self.part.unreached_since or self.part.refused_since
        delay = next_send(
            tools.patience,
            self.part.refusals,
            runtime.now() - since,
            runtime.random(),
            retry_after=error.retry_after,
            is_reached=error.status is not None,
        )
        if self.part.refusals == 1:
            _log.warning(
                "submission %s of job %s: %s; trying again", self.part.record.index, self.shared.record.job_id, error
            )
        if delay is None:
            self.part.error = error
            await self._move(Refused(why=error.message, is_final=True, is_lasting=False))
            return
        if error.status not in _NO_ROOM or self.part.record.state is not SubmissionState.UPLOADED:
            self._tell(f"refused for now ({error.code or error.status}), trying again")
            await sleep_or(runtime, delay, self.shared.cancelled)

    async def _recover(self, error: ProviderError | None) -> None:
        tools, record = self.tools, self.part.record
        event = await recover(
            self.part.submission,
            record.intended_at or tools.runtime.now(),
            provider=self.provider,
            runtime=tools.runtime,
            policy=tools.recovery,
            tell=self._tell,
            before_fence=partial(self._move, FenceIntended()),
            others=self._others,
        )
        self._tell(None)
        if isinstance(event, Fenced) and record.vanished is not None:
            event = Indeterminate(why=record.vanished)
        if isinstance(event, Indeterminate):
            self.part.error = error or SubmissionUnknownError(event.why, provider=self.provider.PROVIDER_NAME)
        if not isinstance(event, Fenced):
            await self._move(event)
            return
        await self._forget_attempt(event)
        self.part.losses += 1
        if self.part.losses >= tools.recovery.attempts:
            name = self.provider.PROVIDER_NAME
            message = f"{name}: {self.part.losses} creates were lost on their way, each proved not to have arrived"
            self.part.error = ProviderTransientError(message, provider=name, code="create_lost")
            await self._move(Refused(why=message, is_final=True, is_lasting=False))

    async def _others(self) -> Others:
        """Tell of batches that are another submission's, in whatever process, and of those that are watched as such here."""
        known = await self.tools.journal.batches()
        mine = (*self.part.record.strangers, *self.part.record.earlier)
        return Others(known.union(mine), self.tools.lines_of(self.provider).tentative)

    async def _forget_attempt(self, event: Event) -> None:
        """Begin again: the next attempt has an input and a tag of its own."""
        await self._move(event)
        self.part.submission = self.part.submission.replace(input_ref=None, tag=None)
        self.part.handle = None
        self.part.refusals, self.part.refused_since, self.part.unreached_since = 0, None, None
