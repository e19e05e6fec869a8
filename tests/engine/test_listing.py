"""The jobs of a journal, listed, forgotten and given back without their provider."""

import pytest

from asyncbatch import BatchClient, ConfigError, ResultStatus
from asyncbatch.emulator import faults
from asyncbatch.journal.sqlite import SqliteJournal
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
HELLO = [{"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": f"hello {n}"}]}} for n in range(4)]


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    def make(**options):
        return BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state", **{"resume": False} | options)

    return make


async def test_jobs_are_listed_with_their_states_and_none_is_taken_up(open_client, emulator):
    async with open_client() as client:
        over = await client.submit([*HELLO, 7], model=CHAT, on_bad_row="reject", key="nightly:1", metadata={"a": "b"})
        await over.wait()
        running = await client.submit(HELLO[:1], model=CHAT)
        (batch,) = await running.submitted()
    calls = len(emulator.history)
    async with open_client() as client:
        first, second = await client.records()
        unfinished = await client.records(unfinished=True)
        named = await client.records(key_prefix="nightly:")
        taken_up = client.jobs()

    assert (first.job_id, second.job_id) == (over.id, running.id)
    assert first.is_over
    assert first.outcomes == {ResultStatus.SUCCEEDED: 4, ResultStatus.REJECTED: 1}
    assert (first.requests, first.done, first.key) == (5, 5, "nightly:1")
    assert [item.state for item in first.batches] == ["settled", "settled"]
    assert not second.is_over
    assert (second.batches[0].state, second.batches[0].provider_batch_id) == ("submitted", batch)
    assert second.batches[0].tag is not None
    assert (unfinished, named) == ([second], [first])
    assert taken_up == []
    assert len(emulator.history) == calls


async def test_a_listed_job_says_how_long_a_lost_create_will_be_looked_for(open_client, emulator):
    emulator.add(faults.drop(operation="create", times=None), faults.refuse(503, operation="list", times=None))
    async with open_client() as client, open_client() as other:
        job = await client.submit(HELLO[:1], model=CHAT)
        await until(lambda: "create arrived" in (job.status().batches[0].note or ""))
        (record,) = await other.records()

    assert record.batches[0].state == "create_unknown"
    assert record.batches[0].note.startswith("checking whether a create arrived")


async def test_a_job_that_came_to_nothing_says_why(open_client, emulator):
    emulator.add(faults.refuse(400, operation="create", times=None))
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        with pytest.raises(Exception, match="400"):
            await job.wait()
        (record,) = await client.records()

    assert [item.ending for item in record.batches] == ["refused", "refused"]
    assert "400" in record.batches[0].error
    assert record.outcomes[ResultStatus.ERRORED] == 4


async def test_a_finished_job_is_read_without_any_key_and_with_another_one(open_client, monkeypatch):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await job.wait()
    found = []
    for change in (
        lambda: monkeypatch.setenv("OPENAI_API_KEY", "another"),
        lambda: monkeypatch.delenv("OPENAI_API_KEY"),
    ):
        change()
        async with open_client() as client:
            found.append(await (await client.job(job.id)).results())

    assert [len(rows) for rows in found] == [4, 4]


async def test_a_client_says_that_it_only_follows_a_job_and_when_it_does_no_longer(
    open_client, emulator, tmp_path, runtime
):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=100))
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        is_followed_by_its_own = client.follows(job.id)
    owner = SqliteJournal(tmp_path / "state", runtime)
    await owner.open()
    assert await owner.claim(job.id)

    async with open_client() as second:
        followed = await second.job(job.id)
        was_followed = second.follows(job.id)
        await owner.close()
        await followed.wait()

        assert (is_followed_by_its_own, was_followed) == (False, True)
        assert not second.follows(job.id)


async def test_a_finished_job_is_forgotten_and_its_key_is_free_again(open_client, tmp_path):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT, key="nightly")
        await job.wait()
    async with open_client() as client:
        await client.forget(job.id)
        left = await client.records()
        again = await client.submit(HELLO[:1], model=CHAT, key="nightly")
        await again.wait()
        await client.forget(again.id)
        attached = client.jobs()

    assert (left, attached) == ([], [])
    assert list((tmp_path / "state" / "jobs").iterdir()) == []


async def test_a_running_job_is_not_forgotten(open_client):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        with pytest.raises(ConfigError, match="still running"):
            await client.forget(job.id)

        assert len(await client.records()) == 1


async def test_what_a_dead_process_left_behind_is_named_and_removed(open_client, tmp_path):
    async with open_client() as client:
        stray = tmp_path / "state" / "jobs" / "deadbeef"
        stray.mkdir(parents=True)
        names = await client.strays()
        await client.forget("deadbeef")

        assert names == ("deadbeef",)
        assert not stray.exists()
