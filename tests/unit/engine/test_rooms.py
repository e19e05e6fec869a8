"""Room of one payer: what other processes have open counts, for as long as a batch can be open; idle rooms go."""

from uuid import uuid4

import anyio
import msgspec
import pytest

from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.line import Waiter
from asyncbatch.engine.occupancy import LOOKED_S, Held, Occupancy
from asyncbatch.engine.part import Part
from asyncbatch.engine.rooms import Room, Rooms
from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    Ended,
    MemoryJournal,
    Payer,
    SubmissionRecord,
    Uploaded,
    UploadIntended,
)
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.planning.limits import Limits
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.room import Load, Most
from asyncbatch.providers.dashscope_provider import DashScopeBatchProvider
from asyncbatch.runtime import Signal
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.engine.waiting import until
from tests.unit.journal.test_memory import job

WINDOW_S = 86_400.0
PAYER = Payer("openai", job().fingerprint)
PART = SubmissionRecord(index=0, request_count=10, input_bytes=3000)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def journal(clock, tmp_path):
    """A journal in which another process has a batch open."""
    journal = SqliteJournal(tmp_path / "state", virtual_runtime(clock))
    await journal.open()
    await journal.accept(msgspec.structs.replace(job(), request_count=10), (PART,))
    intended = CreateIntended(mark="m", at=clock.now())
    for event in (UploadIntended(), Uploaded(input_ref="f"), intended, Accepted(provider_batch_id="b")):
        await journal.move("job-1", 0, event)
    yield journal
    await journal.close()


@pytest.mark.parametrize(
    ("window_s", "later_s", "batches"), [(WINDOW_S, 172_800, 1), (WINDOW_S, 172_801, 0), (None, 1e9, 1)]
)
async def test_a_batch_whose_end_nobody_saw_is_not_open_for_ever(journal, clock, window_s, later_s, batches):
    occupancy = Occupancy(PAYER, journal, virtual_runtime(clock), window_s)
    clock.advance(later_s)
    await occupancy.look()

    assert occupancy.opened().batches == occupancy.opened("gpt-4.1-mini").batches == batches
    assert occupancy.is_elsewhere is bool(batches)


@pytest.mark.parametrize(("days", "batches"), [(13, 1), (27.9, 1), (28.1, 0)])
async def test_a_batch_counts_for_twice_the_longest_window_that_it_can_have_been_given(journal, clock, days, batches):
    provider = DashScopeBatchProvider({"api_key": "k"})
    rooms = Rooms(journal=journal, runtime=virtual_runtime(clock), patience=Patience(), limits_of=lambda *_: Limits())
    occupancy = rooms.of(job(), provider)._open
    clock.advance(days * WINDOW_S)
    await occupancy.look()

    assert occupancy.opened().batches == batches


async def test_what_this_process_drives_is_counted_once_and_by_its_own_knowledge(journal, clock):
    occupancy = Occupancy(PAYER, journal, virtual_runtime(clock), WINDOW_S)
    occupancy.take(("job-1", 0), Held("gpt-4.1-mini", Load(batches=1, requests=10, tokens=1000), is_try=True))
    await occupancy.look()
    held = occupancy.opened()
    occupancy.drop(("job-1", 0))

    assert held == Load(batches=1, requests=10, tokens=1000)
    assert occupancy.opened() == Load()
    assert not occupancy.drop(("job-1", 0))
    assert (dict(occupancy.by_job), occupancy.tries) == ({}, {})


async def test_the_journal_is_read_again_only_when_something_was_written_and_not_at_once(journal, clock):
    occupancy = Occupancy(PAYER, journal, virtual_runtime(clock), WINDOW_S)
    await occupancy.look()
    await journal.accept(job("job-2"), (PART,))
    for event in (UploadIntended(), Uploaded(input_ref="g"), CreateIntended(mark="n", at=clock.now())):
        await journal.move("job-2", 0, event)
    await occupancy.look()
    at_once = occupancy.opened().batches
    clock.advance(LOOKED_S)
    await occupancy.look()

    assert (at_once, occupancy.opened().batches) == (1, 2)


async def test_a_room_in_which_nobody_has_or_wants_anything_is_idle(journal, clock):
    room = Room(PAYER, journal, virtual_runtime(clock), Patience(), WINDOW_S)
    record = (await journal.submissions("job-1"))[0]
    before = room.is_idle
    room.account_for(job(), record)
    meanwhile, opened = room.is_idle, room.pool(None, Most()).open
    room.forget(("job-1", 0))

    assert (before, meanwhile, room.is_idle) == (True, False, True)
    assert opened == Load(batches=1, requests=10, tokens=1000)


class Queue:
    """Submissions that want room, of a job each; the one that looks for all of them looks when told to."""

    def __init__(self, journal, clock):
        self.clock = clock
        self.entered = []
        self._look = anyio.Event()
        runtime = msgspec.structs.replace(virtual_runtime(clock), sleep=self._sleep)
        self.room = Room(PAYER, journal, runtime, Patience(), WINDOW_S)
        self.limits = Limits(account=Most(batches=4))

    async def _sleep(self, _):
        await self._look.wait()

    def waiter(self, job_id, **fields):
        submission = PreparedSubmission(
            batch_id=uuid4(),
            provider_name="openai",
            model="gpt-4.1-mini",
            mode=BatchMode.CHAT,
            endpoint="",
            request_ids=["a"],
        )
        part = Part(submission, PART, Ledger(1, SpoolSpace(virtual_runtime(self.clock)).new()))
        record = msgspec.structs.replace(job(job_id), **fields)
        return Waiter(record, part, Signal(), anyio.Event(), self.limits)

    async def want(self, job_id, **fields):
        waiter = self.waiter(job_id, **fields)
        while not await self.room.enter(waiter):
            pass
        self.entered.append(job_id)

    def look(self):
        """Let time pass until it is looked what has changed."""
        self.clock.advance(LOOKED_S)
        look, self._look = self._look, anyio.Event()
        look.set()


async def test_who_looks_and_gets_room_together_with_the_next_leaves_somebody_to_look_for_those_behind(journal, clock):
    parts = tuple(msgspec.structs.replace(PART, index=number) for number in range(3))
    await journal.accept(job("elsewhere"), parts)
    for number in range(3):
        intended = CreateIntended(mark=f"n{number}", at=clock.now())
        for event in (UploadIntended(), Uploaded(input_ref="g"), intended, Accepted(provider_batch_id=f"c{number}")):
            await journal.move("elsewhere", number, event)
    queue = Queue(journal, clock)
    async with anyio.create_task_group() as tasks:
        for at, name in enumerate(("a", "b", "c"), 1):
            tasks.start_soon(queue.want, name)
            await until(lambda at=at: len(queue.room._line) == at)
        for number in range(2):
            await journal.move("elsewhere", number, Ended(status=BatchStatus.COMPLETED))
        queue.look()
        await until(lambda: len(queue.entered) == 2)
        await journal.move("elsewhere", 2, Ended(status=BatchStatus.COMPLETED))
        await until(lambda: not queue.room._line or queue.look() or queue.entered[2:])


async def test_of_jobs_that_come_and_go_past_a_line_that_never_ends_nothing_is_remembered(clock):
    queue = Queue(MemoryJournal(), clock)
    queue.limits = Limits(model=Most(batches=1))
    async with anyio.create_task_group() as tasks:
        await queue.want("first")
        tasks.start_soon(queue.want, "stuck")
        await until(lambda: len(queue.room._line) == 1)
        for number in range(600):
            await queue.want(f"other-{number}", model="another")
            queue.room.forget((f"other-{number}", 0))
        remembered = len(queue.room._served)
        queue.room.forget(("first", 0))

    assert queue.entered[-1] == "stuck"
    assert remembered <= 256
