"""`job.cancel()` at every moment of a job's life: nothing more is bought, and what was bought is told."""

import pytest

from asyncbatch import ProviderPermanentError, ResultStatus
from asyncbatch.emulator import faults
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


def cancels(emulator):
    return [record for record in emulator.history if record.kind == "cancel"]


async def test_a_batch_that_is_just_being_created_is_cancelled_when_it_is_there(client, emulator):
    emulator.add(faults.stall(0.2, method="POST", path="/batches"))
    job = await client.submit(["[[stall]] slow"] * 3, model=CHAT)
    await until(lambda: job.status().batches[0].state == "creating")

    await job.cancel()
    rows = await job.results()

    assert {row.status for row in rows} == {ResultStatus.CANCELLED}
    assert len(creates(emulator)) == len(cancels(emulator)) == 1


async def test_an_upload_under_way_is_not_followed_by_a_create(client, emulator):
    emulator.add(faults.stall(0.2, method="POST", path="/files"))
    job = await client.submit(["hi"], model=CHAT)
    await until(lambda: job.status().batches[0].state == "uploading")

    await job.cancel()
    rows = await job.results()

    assert [(row.status, row.error.code) for row in rows] == [(ResultStatus.CANCELLED, "not_sent")]
    assert creates(emulator) == []


async def test_a_refused_cancel_is_told_and_asked_for_again(client, emulator):
    emulator.add(faults.refuse(403, path="/batches/*/cancel", times=3))
    job = await client.submit(["[[stall]] slow"], model=CHAT)
    await job.submitted()

    with pytest.raises(ProviderPermanentError, match="cancel was answered 403"):
        await job.cancel()
    status = await job.wait()

    assert status.outcomes == {ResultStatus.CANCELLED: 1}
    assert len(cancels(emulator)) == 1


async def test_a_cancel_of_what_is_over_changes_nothing(client, emulator):
    job = await client.submit(["hi"], model=CHAT)
    before = await job.wait()

    await job.cancel()

    assert job.status() == before
    assert cancels(emulator) == []
