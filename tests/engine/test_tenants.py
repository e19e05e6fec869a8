"""Many customers in one client: each pays for itself, and none waits for another."""

import anyio
import pytest

from asyncbatch import BatchClient, MissingCredentialsError, Recovery, ResultStatus
from asyncbatch.emulator import faults
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


@pytest.mark.parametrize(
    "nothing", [None, "", {}, {"api_key": None}, {"api_key": ""}, {"openai": ""}, {"other": "key"}]
)
async def test_an_account_without_a_key_is_never_paid_for_by_the_environments(emulator, runtime, nothing):
    async def credentials(name):
        return nothing

    async with BatchClient(runtime=runtime, accounts=credentials) as client:
        with pytest.raises(MissingCredentialsError, match="account 'stranger' has no API key for openai"):
            await client.submit(["hi"], model=CHAT, account="stranger")

    assert emulator.history == []


async def test_credentials_may_come_from_an_ordinary_function(emulator, runtime):
    async with BatchClient(runtime=runtime, accounts=lambda name: f"key-of-{name}") as client:
        job = await client.submit(["hi"], model=CHAT, account="acme")

        assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}


async def test_uploads_that_hang_for_one_account_delay_no_other(emulator, runtime):
    emulator.add(faults.stall(60, method="POST", path="/files", times=2))
    accounts = {"slow": "key-slow", "quick": "key-quick"}
    async with BatchClient(runtime=runtime, accounts=accounts, recovery=Recovery(settle_s=0.1)) as client:
        stuck = [await client.submit(["hi"], model=CHAT, account="slow") for _ in range(2)]
        await until(lambda: all(job.status().batches[0].note == "uploading" for job in stuck))
        with anyio.fail_after(20):
            job = await client.submit(["hi"], model=CHAT, account="quick")
            status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 1}
