"""A cancel that was asked for is asked for again by whoever has the job, after a crash and from another process."""

import pytest

from asyncbatch import BatchClient, BatchStatus, ProviderPermanentError, ResultStatus
from asyncbatch.emulator import faults, paid_twice
from asyncbatch.journal import CancelAsked
from asyncbatch.journal.sqlite import SqliteJournal
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
ROWS = ["[[stall]] slow"] * 6


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"}
    return lambda **options: BatchClient(**{**given, **options})


def made(emulator, kind):
    return [record for record in emulator.history if record.kind == kind]


async def statuses(job):
    return {row.status async for row in job.results()}


async def test_a_cancel_that_the_provider_refuses_is_in_the_journal_and_the_next_process_asks_again(
    open_client, emulator
):
    refusal = faults.refuse(403, path="/batches/*/cancel", times=None)
    emulator.add(refusal)
    async with open_client() as client:
        job = await client.submit(ROWS, model=CHAT)
        await job.submitted()
        with pytest.raises(ProviderPermanentError, match="cancel was answered 403"):
            await job.cancel()
        assert (job.status().cancel_asked, job.status().is_over) == (True, False)
    assert made(emulator, "cancel") == []
    emulator.remove(refusal)

    async with open_client() as client:
        again = await client.job(job.id)
        assert again.status().cancel_asked
        found = await statuses(again)
        events = [await client._journal.events(job.id, index) for index in range(3)]

    assert [sum(isinstance(event, CancelAsked) for event in known) for known in events] == [1, 1, 1]
    assert found == {ResultStatus.CANCELLED}
    assert len(made(emulator, "cancel")) == 3


async def test_a_cancel_that_changes_nothing_is_asked_for_again(open_client, emulator, slow_time):
    emulator.add(faults.refuse(409, path="/batches/*/cancel", times=3))
    async with open_client(runtime=slow_time) as client:
        job = await client.submit(ROWS, model=CHAT)
        await job.submitted()
        await job.cancel()
        found = await statuses(job)

    assert found == {ResultStatus.CANCELLED}
    assert len(made(emulator, "cancel")) == 3


async def test_what_was_not_sent_when_the_process_ended_is_not_sent_any_more(open_client, emulator):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=1000))
    async with open_client() as client:
        job = await client.submit(ROWS, model=CHAT)
        for part in client._desk.runs[job.id]._ways:  # as if it had died between its word and its deed
            await part.note_cancel()
    async with open_client() as client:
        found = await statuses(await client.job(job.id))

    assert found == {ResultStatus.CANCELLED}
    assert made(emulator, "create") == []


async def test_a_lost_create_of_a_cancelled_job_is_found_and_cancelled(open_client, emulator):
    emulator.add(faults.accept_then_drop(), faults.refuse(503, operation="list", times=None, for_s=50))
    async with open_client() as client:
        job = await client.submit(ROWS[:2], model=CHAT)
        await until(lambda: job.status().batches[0].state == "create_unknown")
        await job.cancel()
    async with open_client() as client:
        again = await client.job(job.id)
        found = await statuses(again)
        (batch,) = again.status().batches

    assert found == {ResultStatus.CANCELLED}
    assert batch.status is BatchStatus.CANCELLED
    assert len(made(emulator, "create")) == 1
    assert paid_twice(emulator.history) == {}


async def test_a_process_that_has_the_job_hears_that_another_one_wants_its_end(open_client, emulator, slow_time):
    async with open_client(runtime=slow_time) as owner, open_client(runtime=slow_time) as other:
        job = await owner.submit(ROWS, model=CHAT)
        await job.submitted()
        followed = await other.job(job.id)
        assert other.follows(job.id)
        await followed.cancel()
        found = await statuses(job)
        seen = await statuses(followed)
        wishes = await owner._journal.wishes()

    assert found == seen == {ResultStatus.CANCELLED}
    assert len(made(emulator, "cancel")) == 3
    assert wishes == ()


async def test_the_wish_outlives_a_process_that_never_heard_it(open_client, emulator, tmp_path, runtime):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=1000))
    async with open_client() as client:
        job = await client.submit(ROWS, model=CHAT)
    owner = SqliteJournal(tmp_path / "state", runtime)
    await owner.open()
    assert await owner.claim(job.id)

    async with open_client() as other:
        followed = await other.job(job.id)
        await followed.cancel()
        assert [wish.word for wish in await owner.wishes()] == ["cancel"]
        assert followed.status().cancel_asked
        assert [record.cancel_asked for record in await other.records()] == [True]
        await owner.close()
        found = await statuses(followed)

    assert found == {ResultStatus.CANCELLED}
    assert made(emulator, "create") == []


async def test_whoever_follows_a_job_knows_on_taking_it_over_that_its_end_was_asked_for(
    open_client, emulator, tmp_path, runtime
):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=1000))
    async with open_client() as client:
        job = await client.submit(ROWS, model=CHAT)
    owner = SqliteJournal(tmp_path / "state", runtime)
    await owner.open()
    assert await owner.claim(job.id)

    async with open_client() as other:
        followed = await other.job(job.id)
        await owner.move(job.id, 1, CancelAsked())  # it dies before it has said so of the others
        await owner.close()
        found = await statuses(followed)

    assert found == {ResultStatus.CANCELLED}
    assert made(emulator, "create") == []


async def test_a_wish_about_a_job_that_is_over_changes_nothing(open_client, emulator):
    async with open_client() as client:
        job = await client.submit(["over at once"], model=CHAT)
        await job.wait()
        await client._journal.wish(job.id, "cancel")
        other = await client.submit(["busy"], model=CHAT)
        await other.wait()
        await until_granted(client)

    assert made(emulator, "cancel") == []


async def until_granted(client):
    for _ in range(1000):
        if not await client._journal.wishes():
            return
    raise AssertionError("nobody took the wish down")
