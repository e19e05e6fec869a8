"""Room of one payer: what other processes have open counts, for as long as a batch can be open; idle rooms go."""

import msgspec
import pytest

from asyncbatch.engine.occupancy import LOOKED_S, Held, Occupancy
from asyncbatch.engine.rooms import Room
from asyncbatch.journal import Accepted, CreateIntended, Payer, SubmissionRecord, Uploaded, UploadIntended
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.room import Load, Most
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
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
