"""A full queue, a limit on creates, an outage: the slow lane has a day, and so have we."""

import pytest

from asyncbatch import BatchClient, ProviderTransientError, ResultStatus
from asyncbatch.emulator import faults

CHAT = "openai/gpt-4.1-mini"


@pytest.mark.parametrize(
    "fault",
    [
        faults.rate_limited(5, method="POST", path="/batches", times=200),
        faults.refuse(429, code="rate_limit_exceeded", method="POST", path="/batches", times=100),
        faults.refuse(503, method="POST", path="/files", times=300),
    ],
    ids=["creates told to wait", "creates throttled", "uploads down"],
)
async def test_an_hour_of_refusals_ends_no_job(client, emulator, clock, fault):
    emulator.add(fault)
    started = clock.now()

    job = await client.submit(["hi"], model=CHAT)

    assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}
    assert clock.now() - started > 900


async def test_a_day_of_refusals_does(client, emulator, clock):
    emulator.add(faults.rate_limited(3000, method="POST", path="/batches", times=None))
    job = await client.submit(["hi"], model=CHAT)
    started = clock.now()

    with pytest.raises(ProviderTransientError, match="429"):
        await job.wait()

    assert 86_400 <= clock.now() - started < 100_000
    assert job.status().outcomes == {ResultStatus.ERRORED: 1}


async def test_a_host_that_cannot_be_reached_is_given_up_after_half_an_hour_and_said_so_at_once(
    runtime, clock, monkeypatch, caplog
):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    started = clock.now()
    async with BatchClient(runtime=runtime) as client:
        job = await client.submit(["hi"], model=CHAT)
        with pytest.raises(ProviderTransientError, match="is anything listening there"):
            await job.submitted()

    assert 1800 <= clock.now() - started < 3600
    assert "no connection" in caplog.records[0].message
