"""A handle that was kept while another process went on with its job: it pays for nothing, and takes nothing away."""

import pytest

from asyncbatch import BatchClient, ConfigError, JournalError, ResultStatus
from tests.engine.flaky import creates, outcomes, rows
from tests.engine.gates import hold, until_anybodys, until_told
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
S = ResultStatus
BEHIND = "since this one looked at it"


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"}
    return lambda **options: BatchClient(**{**given, **options})


@pytest.fixture
def over(tmp_path, runtime):
    """Submit a job and wait for its end, until any other process may have it."""

    async def take_to_its_end(client, *prompts):
        job = await client.submit(rows(*prompts), model=CHAT)
        await job.wait()
        await until_anybodys(tmp_path / "state", runtime, job.id)
        return job

    return take_to_its_end


@pytest.fixture
def sent_again(open_client):
    """Send again what failed of a job, in a process of its own."""

    async def retry(job_id):
        async with open_client() as other:
            job = await other.job(job_id)
            await job.retry(only="errored")
            await job.wait()

    return retry


async def held_create(client):
    """Hold the creates of a client, so that a round of its job is on its way for as long as a test likes."""
    return hold(await client._payers.of("openai", None), "create")


async def statuses(job):
    return [status for _, status, _ in await outcomes(job, ordered=True)]


async def test_it_sends_nothing_that_another_process_has_sent_already(open_client, over, sent_again, flaky):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 1", "c fails 9")
        await sent_again(kept.id)
        with pytest.raises(JournalError, match=BEHIND):
            await kept.retry(only="errored")

    assert flaky.asked.count("b fails 1") == 2


async def test_it_sends_nothing_even_when_its_own_client_has_looked_anew(open_client, over, sent_again, flaky):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 1", "c fails 9")
        await sent_again(kept.id)
        fresh = await one.job(kept.id)
        with pytest.raises(JournalError, match=BEHIND):
            await kept.retry(only="errored")
        seen = await statuses(fresh)
        asked = list(flaky.asked)
        again = await fresh.retry(only="errored")
        await fresh.wait()
    async with open_client() as three:
        found = await statuses(await three.job(kept.id))

    assert asked.count("b fails 1") == 2
    assert seen == found == [S.SUCCEEDED, S.SUCCEEDED, S.ERRORED]
    assert again == 1


async def test_it_discards_no_job_of_which_a_round_is_on_its_way(open_client, over, sent_again, emulator):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 9")
        await sent_again(kept.id)
        fresh = await one.job(kept.id)
        gate = await held_create(one)
        await fresh.retry(only="errored")
        await gate.reached.wait()
        with pytest.raises(ConfigError, match="still running"):
            await kept.discard()
        gate.open()
        await fresh.wait()

        assert await statuses(fresh) == [S.SUCCEEDED, S.ERRORED]
        assert [record.job_id for record in await one.records()] == [kept.id]
    assert len(creates(emulator)) == 3


async def test_it_discards_a_job_that_is_over_whoever_ended_it(open_client, over, sent_again):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 1")
        await sent_again(kept.id)
        await one.job(kept.id)
        await kept.discard()

        assert await one.records() == []
        assert one.jobs() == []


async def test_it_tidies_nothing_under_a_round_of_another_process(open_client, over):
    async with open_client() as one, open_client() as two:
        kept = await over(one, "a", "b fails 1")
        other = await two.job(kept.id)
        gate = await held_create(two)
        await other.retry(only="errored")
        await gate.reached.wait()
        with pytest.raises(JournalError, match="another process has job"):
            await kept.tidy("settled")
        gate.open()

        assert await statuses(other) == [S.SUCCEEDED] * 2


async def test_it_tidies_nothing_that_it_has_not_seen(open_client, over, sent_again, emulator):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 1")
        await sent_again(kept.id)
        with pytest.raises(JournalError, match=BEHIND):
            await kept.tidy("settled")
        before = [record for record in emulator.history if record.kind == "delete"]
        done = await (await one.job(kept.id)).tidy("settled")

    assert before == []
    assert (done.deleted > 0, done.errors) == (True, ())


async def test_its_cancel_is_heard_by_the_process_that_has_the_job(open_client, over):
    async with open_client() as one, open_client() as two:
        kept = await over(one, "a", "b fails 1")
        other = await two.job(kept.id)
        gate = await held_create(two)
        await other.retry(only="errored")
        await gate.reached.wait()
        await kept.cancel()
        await until(lambda: other.status().cancel_asked)
        gate.open()
        found = await statuses(other)

        await until_told(two._journal.wishes, ())

    assert found[0] is S.SUCCEEDED


async def test_its_cancel_reaches_a_round_of_its_own_client(open_client, over, sent_again):
    async with open_client() as one:
        kept = await over(one, "a", "b fails 9")
        await sent_again(kept.id)
        fresh = await one.job(kept.id)
        gate = await held_create(one)
        await fresh.retry(only="errored")
        await gate.reached.wait()
        await kept.cancel()
        is_asked = fresh.status().cancel_asked
        gate.open()
        await fresh.wait()

    assert is_asked
