"""A webhook reaches one process, and the job is another one's: word of it goes through the journal they share."""

import anyio.lowlevel
import pytest

from asyncbatch import load_catalog
from asyncbatch.engine.wishes import LISTENED_S
from tests.engine.gates import until_anybodys
from tests.engine.waiting import until
from tests.webhooks.signing import event
from tests.webhooks.test_receipts import CHAT, ENDED_S, sent_job


@pytest.fixture
def shared(open_client, tmp_path):
    return lambda **options: open_client(journal=tmp_path / "state", **options)


async def wishes(client):
    return [wish.word for wish in await client._journal.wishes()]


@pytest.mark.parametrize("resume", [True, False])
async def test_the_process_that_has_the_job_hears_of_it(shared, clock, sent, polls, resume):
    async with shared() as owner:
        job, batch_id = await sent_job(owner)
        clock.advance(ENDED_S)
        async with shared(resume=resume) as other:
            assert other.follows(job.id) is resume
            before = polls()
            receipt = await other.webhook(*sent(event(batch_id)))
            rows = await job.results()
            await until(lambda: job.status().is_over)
            left = await wishes(other)

    assert (receipt.job_id, receipt.is_new, receipt.woke) == (job.id, True, True)
    assert len(rows) == 2
    assert before == 0
    assert left == []
    assert LISTENED_S == 1.0


async def test_one_that_came_to_one_process_is_known_to_every_other_and_after_a_restart(shared, sent):
    async with shared() as one, shared() as other:
        headers, body = sent(event("batch_x"), webhook_id="msg_1")
        seen = [(await one.webhook(headers, body)).is_new, (await other.webhook(headers, body)).is_new]
    async with shared() as later:
        seen.append((await later.webhook(headers, body)).is_new)

    assert seen == [True, False, False]


async def test_many_webhooks_of_one_job_are_one_word_in_the_journal(shared, sent):
    async with shared() as owner:
        job, batch_id = await sent_job(owner)
    async with shared(resume=False) as other:
        receipts = [await other.webhook(*sent(event(batch_id))) for _ in range(20)]
        left = await wishes(other)

    assert all(receipt.woke and receipt.job_id == job.id for receipt in receipts)
    assert [word.partition(":")[0] for word in left] == ["wake"]


async def test_what_nobody_was_there_to_hear_does_no_harm(shared, sent, clock):
    async with shared() as owner:
        job, batch_id = await sent_job(owner)
    async with shared(resume=False) as other:
        await other.webhook(*sent(event(batch_id)))
    clock.advance(ENDED_S)
    async with shared() as later:
        taken_up = await wishes(later)
        again = await later.job(job.id)
        await until(lambda: again._run.parts[0].handle is not None)
        await later.webhook(*sent(event(batch_id)))
        rows = await again.results()

    assert taken_up == []
    assert len(rows) == 2


async def test_a_job_that_is_over_elsewhere_is_not_asked_about(shared, sent, clock):
    async with shared() as owner:
        job, batch_id = await sent_job(owner)
        clock.advance(ENDED_S)
        await owner.webhook(*sent(event(batch_id)))
        await job.results()
    async with shared(resume=False) as other:
        receipt = await other.webhook(*sent(event(batch_id)))
        left = await wishes(other)

    assert (receipt.job_id, receipt.woke) == (job.id, False)
    assert left == []


async def test_a_word_that_comes_when_the_job_has_just_ended_does_not_stay(shared, sent, clock):
    async with shared() as owner:
        job = await owner.submit(["one"], model=CHAT)
        (batch_id,) = await job.submitted()
        await owner._journal.wish(job.id, "wake")
        clock.advance(ENDED_S)
        await owner.webhook(*sent(event(batch_id)))
        await job.results()
        await until(lambda: job._run.parts[0].is_settled)
        while await wishes(owner):
            await owner.records()


async def test_a_batch_that_another_process_sent_again_wakes_that_process(shared, sent, clock, runtime, tmp_path):
    async with shared() as one, shared() as other:
        job, batch_id = await sent_job(one, rows=("[[error:500]] one", "two"))
        clock.advance(ENDED_S)
        await one.webhook(*sent(event(batch_id)))
        await job.wait()
        await until_anybodys(tmp_path / "state", runtime, job.id)
        assert (await other.job(job.id)).status().is_over
        await until_anybodys(tmp_path / "state", runtime, job.id)
        await job.retry(only="errored")
        await until(lambda: job.status().batches[0].provider_batch_id not in (None, batch_id))
        again = job.status().batches[0].provider_batch_id
        receipt = await other.webhook(*sent(event(again)))

    assert again != batch_id
    assert receipt.woke


async def test_one_webhook_asks_about_its_own_batch_alone(shared, sent, polls, emulator, catalog_of_small_batches):
    async with shared(catalog=catalog_of_small_batches) as owner:
        job = await owner.submit([f"row {n}" for n in range(8)], model=CHAT)
        batches = await job.submitted()
        async with shared(resume=False, catalog=catalog_of_small_batches) as other:
            before = polls()
            await other.webhook(*sent(event(batches[3])))
            await until(lambda: polls() > before)
            while await wishes(other):
                await anyio.lowlevel.checkpoint()

    asked = {record.path.rpartition("/")[2] for record in emulator.history if record.operation == "poll"}
    assert batches[3] in asked
    assert len(asked) < len(batches), "others may have been due by then, but not all of them"


@pytest.fixture
def catalog_of_small_batches():
    return load_catalog({"providers": {"openai": {"limits": {"requests": 1}}}})
