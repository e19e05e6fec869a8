"""A journal, a service and clients, one after the other; and what has to be true of them whenever something was cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from asyncbatch import BatchClient, Job
from asyncbatch.emulator import Emulator, paid_twice
from asyncbatch.journal import Accepted, CreateIntended, CreateUnknown, Refused
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.planning.recovery import Recovery
from asyncbatch.runtime import Runtime
from asyncbatch.testing.runtime import VirtualClock
from tests.cancel.turns import End, Turns, cancelled_at

MODELS = {
    "openai": "openai/gpt-4.1-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "mistral": "mistral/mistral-small-latest",
    "xai": "xai/grok-4.3",
}
PROMPTS = ("hello 0", "hello 1", "hello 2")
AT_ONCE = {"validating_s": 0, "row_s": 0, "finalizing_s": 0, "cancelling_s": 0}
OUTCOMES = (Accepted, CreateUnknown, Refused)
"""How a create can have ended."""

Act = Callable[["Scene", BatchClient, Any], Awaitable[Any]]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a user awaits.

    Attributes:
        act: Awaits it.
        prepare: Brings about what it needs; what this gives, `act` gets.
        is_left: Whether what it needs is brought about by a client that is gone by then, and nobody has taken it up.
        cancels: Whether it asks the provider to end the batch.
        forgets: Whether the job may be gone afterwards.
        may_not_wait: Whether it may come to its end without having waited for anything.
    """

    act: Act
    prepare: Act
    is_left: bool = False
    cancels: bool = False
    forgets: bool = False
    may_not_wait: bool = False


class Scene:
    """One journal in a directory of its own, on a service that other scenes use after it."""

    def __init__(self, emulator: Emulator, clock: VirtualClock, home: Path, provider: str = "openai") -> None:
        self.emulator = emulator
        self.home = home
        self.model = MODELS[provider]
        # Waiting is skipped; threads are real, since a wait for one is what a cancellation meets most often.
        self.runtime = Runtime(now=clock.now, sleep=clock.sleep)

    @property
    def state(self) -> Path:
        return self.home / "state"

    def client(self, **options: Any) -> BatchClient:
        return BatchClient(runtime=self.runtime, journal=self.state, recovery=Recovery(settle_s=20), **options)

    async def submit(self, client: BatchClient, **options: Any) -> Job:
        return await client.submit(list(PROMPTS), model=self.model, **options)

    # What happens.

    async def play(self, turns: Turns, way: str, turn: int, plot: Plot) -> End:
        """Cancel what the plot does at this turn; then leave, and come back, and see that all is well."""
        before = asyncio.all_tasks()
        prepared = await self._left_behind(plot) if plot.is_left else None
        client = self.client(resume=not plot.is_left)
        async with client:
            if not plot.is_left:
                prepared = await plot.prepare(self, client, None)
            end = await cancelled_at(turns, way, turn, lambda: plot.act(self, client, prepared))
            if turn % 2:  # every other time the client is used on, and is left at once else
                await self._go_on(client)
        self.check_closed(client, before)
        await self.check_journal()
        await self.come_back(may_be_cancelled=plot.cancels, may_be_gone=plot.forgets)
        return end

    async def _left_behind(self, plot: Plot) -> Any:
        async with self.client() as client:
            return await plot.prepare(self, client, None)

    async def _go_on(self, client: BatchClient) -> None:
        for record in await client.records():
            await (await client.job(record.job_id)).wait()

    async def come_back(self, *, may_be_cancelled: bool = False, may_be_gone: bool = False) -> None:
        """Open a client on the journal, as after a restart, and bring everything that was accepted to its end."""
        async with self.client() as client:
            jobs = [await client.job(record.job_id) for record in await client.records()]
            for job in jobs:
                status = await job.wait()
                assert status.done == status.requests == len(PROMPTS)
                ends = {row.request_id: row.status.value async for row in job.results()}
                assert len(ends) == len(PROMPTS)
                assert set(ends.values()) <= {"succeeded", *(["cancelled"] if may_be_cancelled else [])}
            assert await client.strays() == ()
            self.check_places([job.id for job in jobs])
        self.check_payments(None if may_be_gone else len(jobs), may_be_cancelled=may_be_cancelled)

    # What has to be true.

    @staticmethod
    def check_closed(client: BatchClient, before: "set[asyncio.Task[Any]]") -> None:
        left = asyncio.all_tasks() - before
        assert not left, f"tasks are left: {left}"
        assert not client.is_bound
        assert not client._scope.is_open
        assert not [session for session in client._scope._sessions._sessions.values() if not session.closed]

    async def check_journal(self) -> None:
        """See that every intent is followed by one outcome, now that everybody has gone."""
        journal = SqliteJournal(self.state, self.runtime)
        await journal.open()
        try:
            for record in await journal.jobs():
                for item in await journal.submissions(record.job_id):
                    events = list(await journal.events(record.job_id, item.index))
                    assert list(_open_intents(events)) == [], events
        finally:
            await journal.close()

    def check_places(self, job_ids: list[str]) -> None:
        """See that what lies on the disk belongs to jobs that were accepted."""
        for kind in ("jobs", "locks"):
            found = sorted(path.name for path in self.state.glob(f"{kind}/*"))
            assert found == sorted(job_ids), f"{kind} of jobs that nobody accepted"
        assert [str(path) for path in self.state.rglob("*.part")] == []

    def check_payments(self, jobs: int | None, *, may_be_cancelled: bool) -> None:
        history = self.emulator.history
        paid = [record for record in history if record.kind == "create" and record.is_paid]
        assert paid_twice(history) == {}
        if jobs is not None:
            assert len(paid) == jobs or (may_be_cancelled and len(paid) <= jobs)
        if not may_be_cancelled:
            assert [record for record in history if record.kind == "cancel"] == []


def _open_intents(events: list[Any]) -> Iterator[Any]:
    for event, following in pairwise([*events, None]):
        if isinstance(event, CreateIntended) and not isinstance(following, OUTCOMES):
            yield event
