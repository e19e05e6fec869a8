"""The application's own handlers hear of the end of jobs: at least once of each, also after a restart.

That somebody has to hear of it is recorded before the last outcome is, and taken down once every handler has returned. A
handler that fails is called again, later and later; one that was broken off is called again by the next process.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import anyio

from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.engine.wishes import LISTENED_S
from asyncbatch.exceptions import AsyncBatchError, ConfigError
from asyncbatch.journal import TELL
from asyncbatch.planning.schedule import Polling, interval
from asyncbatch.runtime import Owner, sleep_or
from asyncbatch.turns import Turns

_log = logging.getLogger("asyncbatch.client")

JOB_ENDED = "job_ended"
_AT_ONCE, _OF_ONE = 8, 3
"""Ends told at once beyond one of each account, and how many of these an account may have."""

_LATER_S = 10.0
_AGAIN = Polling(first_s=1.0, factor=2.0, max_s=600.0)

Tell: TypeAlias = Callable[[JobRun], Awaitable[object]]
Hand: TypeAlias = Callable[[str, Tell], Awaitable[bool]]


class Teller:
    """Who wants to hear of the end of jobs, and who still has to.

    Args:
        tools: What all jobs share.
        owner: Whose tasks call the handlers.
        hand: Calls the second with the job of this name while nobody else does anything with it; False if it is not over, or
            another process has it.
    """

    def __init__(self, tools: Tools, owner: Owner, hand: Hand) -> None:
        self._tools = tools
        self._owner = owner
        self._hand = hand
        self._wanted: list[Tell] = []
        self._turns = Turns(_AT_ONCE, most=_OF_ONE, has_own=True)
        self._ended = anyio.Event()
        self._under_way: set[str] = set()
        self._failures: dict[str, tuple[int, float]] = {}
        self._told: dict[str, list[Tell]] = {}

    def add(self, tell: Tell) -> None:
        """Call this at the end of each job from now on, and of those that ended without anybody hearing of it."""
        if not self._wanted:
            self._owner.spawn(self._listen, name="asyncbatch ends of jobs")
        self._wanted.append(tell)
        self.notify()

    def notify(self) -> None:
        """Look at once: a job has ended, or there is somebody new to tell."""
        self._ended.set()

    async def _listen(self) -> None:
        seen, journal = -1, self._tools.journal
        while True:
            if journal.is_shared or self._failures:
                await sleep_or(self._tools.runtime, LISTENED_S, self._ended)
            else:  # nobody else brings jobs to their ends
                await self._ended.wait()
            is_new, self._ended = self._ended.is_set(), anyio.Event()
            try:
                version = await journal.version()
                if is_new or version != seen or self._failures:
                    await self._look()
                    seen = version
            except AsyncBatchError as error:
                _log.warning("nobody can be told of the end of jobs for now: %s", error)

    async def _look(self) -> None:
        now = self._tools.runtime.now()
        owed = dict.fromkeys(wish.job_id for wish in await self._tools.journal.wishes() if wish.word == TELL)
        self._forget_all_but({*owed, *self._under_way})
        for job_id in owed:
            _, due = self._failures.get(job_id, (0, 0.0))
            if job_id not in self._under_way and due <= now:
                self._under_way.add(job_id)
                self._owner.spawn(partial(self._one, job_id), name=f"asyncbatch end of job {job_id[:8]}")

    def _forget_all_but(self, jobs: set[str]) -> None:
        """Keep no account of jobs that another process has told of, or that are gone."""
        for job_id in (self._failures.keys() | self._told.keys()) - jobs:
            self._failures.pop(job_id, None)
            self._told.pop(job_id, None)

    async def _one(self, job_id: str) -> None:
        try:
            record = await self._tools.journal.job(job_id)
            # A customer whose handler hangs, perhaps on the customer's own server, keeps nobody else from hearing.
            async with self._turns.place(record.account if record is not None else None):
                if await self._hand(job_id, self._call):
                    self._failures.pop(job_id, None)
                else:  # whoever has it may tell, or die before it does
                    self._failures[job_id] = (0, self._tools.runtime.now() + _LATER_S)
        except Exception as error:  # noqa: BLE001 a handler's fault: it is called again, and no other job is left over it
            tries = self._failures.get(job_id, (0, 0.0))[0] + 1
            delay = interval(_AGAIN, tries - 1, self._tools.runtime.random())
            self._failures[job_id] = (tries, self._tools.runtime.now() + delay)
            _log.warning("job %s: a handler of its end failed, and is called again: %r", job_id, error)
        finally:
            self._under_way.discard(job_id)
            if job_id in self._failures:
                self.notify()

    async def _call(self, run: JobRun) -> None:
        """Call every handler; one that has returned is not called again over another that failed, while we live."""
        told, failed = self._told.setdefault(run.record.job_id, []), list[Exception]()
        for tell in self._wanted:
            if tell in told:
                continue
            try:
                await tell(run)
            except Exception as error:  # noqa: BLE001 the application's own code; it is raised when the others were called
                failed.append(error)
            else:
                told.append(tell)
        if failed:
            raise failed[0]
        del self._told[run.record.job_id]


def check_event(event: Any, handler: Any) -> None:
    """Refuse what is no event, and what cannot be called."""
    if event != JOB_ENDED:
        raise ConfigError(f"there is no event {event!r}", code="config.value", hint=f'there is "{JOB_ENDED}"')
    if not callable(handler):
        message = f"the handler of {event!r} is {handler!r}"
        raise ConfigError(message, code="config.value", hint="it is a function of a job, as a rule an async one")
