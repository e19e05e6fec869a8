"""Budgets of accounts: what may be used in a day is counted in the journal, and refused before anything is sent."""

import anyio
import pytest

from asyncbatch import AccountLimits, BatchClient, BudgetExceededError, ConfigError, ResultStatus
from tests.engine.test_job import creates

CHAT = "openai/gpt-4.1-mini"
ACCOUNTS = {"acme": "key-acme", "other": "key-other"}


def opened(runtime, journal=None, **limits):
    given = AccountLimits(**limits)
    return BatchClient(runtime=runtime, journal=journal, accounts=ACCOUNTS, limits={"acme": given})


async def submit(client, prompts, account="acme", **more):
    return await client.submit([f"prompt {n}" for n in range(prompts)], model=CHAT, account=account, **more)


async def test_a_job_that_exceeds_the_days_requests_is_refused_before_anything_is_sent(emulator, runtime):
    async with opened(runtime, requests_per_day=5) as client:
        await (await submit(client, 3)).wait()
        before = len(emulator.history)
        with pytest.raises(BudgetExceededError) as caught:
            await submit(client, 3)
        after = len(emulator.history)
        await submit(client, 2)
        await submit(client, 9, account="other")

    error = caught.value
    assert before == after
    assert (error.code, error.budget, error.account) == ("budget.exceeded", "requests_per_day", "acme")
    assert (error.limit, error.used, error.asked, error.left) == (5, 3, 3, 2)
    assert str(error).startswith(
        "account 'acme' may use 5 requests in 24 hours: 3 are used, and this job wants 3 (it fits in 86,"
    )


async def test_a_day_later_there_is_room_again_and_the_error_said_when(emulator, runtime, clock):
    async with opened(runtime, requests_per_day=5) as client:
        await (await submit(client, 3)).wait()
        clock.advance(3600)
        await (await submit(client, 2)).wait()
        with pytest.raises(BudgetExceededError) as caught:
            await submit(client, 3)
        clock.advance(caught.value.retry_after_s)
        job = await submit(client, 3)

        assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 3}
        assert 70_000 < caught.value.retry_after_s < 86_400 - 3600


async def test_a_job_that_alone_is_too_large_never_fits_and_is_told_so(emulator, runtime):
    async with opened(runtime, requests_per_day=5) as client:
        with pytest.raises(BudgetExceededError, match="it alone is more than that") as caught:
            await submit(client, 6)

    assert caught.value.retry_after_s is None
    assert creates(emulator) == []


async def test_submits_at_once_do_not_slip_through_together(emulator, runtime):
    refused = []

    async def one():
        try:
            await submit(client, 2)
        except BudgetExceededError as error:
            refused.append(error)

    async with opened(runtime, requests_per_day=5) as client:
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(one)
        usage = await client.usage("acme")

    assert len(refused) == 4
    assert usage.requests == 4


@pytest.mark.parametrize("forgets", [False, True])
async def test_what_another_process_accepted_counts_and_a_job_that_is_forgotten_too(
    emulator, runtime, tmp_path, forgets
):
    async with opened(runtime, tmp_path, requests_per_day=5) as client:
        job = await submit(client, 4)
        await job.wait()
        if forgets:
            await job.discard()
    async with opened(runtime, tmp_path, requests_per_day=5) as client:
        usage = await client.usage("acme")
        with pytest.raises(BudgetExceededError):
            await submit(client, 2)

    assert usage.requests == 4
    assert usage.tokens > 0


async def test_a_job_that_is_forgotten_counts_for_its_day_and_no_longer(emulator, runtime, clock, tmp_path):
    async with opened(runtime, tmp_path, requests_per_day=5) as client:
        for _ in range(3):
            job = await submit(client, 4)
            await job.wait()
            await job.discard()
            clock.advance(86_400)
        usage = await client.usage("acme")

    assert usage.requests == 0


async def test_two_processes_on_one_journal_share_a_budget(emulator, runtime, tmp_path):
    async with (
        opened(runtime, tmp_path, requests_per_day=5) as first,
        opened(runtime, tmp_path, requests_per_day=5) as second,
    ):
        refused = 0
        for client in (first, second) * 3:
            try:
                await submit(client, 2)
            except BudgetExceededError:
                refused += 1

    assert refused == 4


async def test_the_same_key_gives_the_same_job_and_is_no_second_one(emulator, runtime):
    async with opened(runtime, requests_per_day=3) as client:
        first = await submit(client, 3, key="daily")
        second = await submit(client, 3, key="daily")

    assert first.id == second.id


async def test_tokens_are_estimated_first_and_counted_as_the_provider_says_once_it_is_over(emulator, runtime):
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}
    async with opened(runtime, tokens_per_day=2500) as client:
        job = await client.submit([body, body], model=CHAT, account="acme")
        promised = (await client.usage("acme")).tokens
        with pytest.raises(BudgetExceededError, match="tokens"):
            await client.submit([body], model=CHAT, account="acme")
        usage = (await job.wait()).usage
        used = (await client.usage("acme")).tokens
        await client.submit([body], model=CHAT, account="acme")

    assert 2000 < promised < 2500
    assert used == usage.prompt_tokens + usage.completion_tokens


async def test_dollars_are_counted_by_the_catalogs_prices(emulator, runtime):
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}
    async with opened(runtime, usd_per_day=0.001) as client:
        job = await client.submit([body], model=CHAT, account="acme")  # 1,000 tokens at 0.8 dollars a million
        with pytest.raises(BudgetExceededError, match="dollars"):
            await client.submit([body], model=CHAT, account="acme")
        usage = (await job.wait()).usage
        used = await client.usage("acme")

    assert used.usd == pytest.approx((usage.prompt_tokens * 0.2 + usage.completion_tokens * 0.8) / 1e6)


async def test_a_model_without_a_price_is_refused_where_dollars_are_limited(emulator, runtime):
    async with opened(runtime, usd_per_day=1) as client:
        with pytest.raises(ConfigError, match="the price of 'gpt-4-turbo' is not known") as caught:
            await client.submit(["hi"], model="openai/gpt-4-turbo", account="acme")

    assert caught.value.code == "budget.price"
    assert creates(emulator) == []


async def test_an_account_sees_what_it_has_open_and_what_waits(emulator, runtime):
    async with opened(runtime, open_batches=1, requests_per_day=50) as client:
        await submit(client, 3)
        await submit(client, 2)
        usage = await client.usage("acme")
        nothing = await client.usage("other")

    assert (usage.open_batches + usage.waiting_batches, usage.requests) == (2, 5)
    assert usage.limits == AccountLimits(open_batches=1, requests_per_day=50)
    assert (nothing.open_batches, nothing.waiting_batches, nothing.requests, nothing.usd) == (0, 0, 0, 0.0)


async def test_a_limit_of_the_day_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="requests_per_day is True"):
        AccountLimits(requests_per_day=True)
