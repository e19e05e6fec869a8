"""Many customers in one client: each pays for itself, and none waits for another."""

import logging

import anyio
import pytest

from asyncbatch import (
    BatchClient,
    ConfigError,
    Http,
    MissingCredentialsError,
    ProviderPermanentError,
    Recovery,
    ResultStatus,
)
from asyncbatch.emulator import faults
from asyncbatch.engine.payers import KEPT_S, KeptKeys
from asyncbatch.transport import Profile
from tests.engine.waiting import until
from tests.secrets.canaries import everything_about

CHAT = "openai/gpt-4.1-mini"
CANARY = "canary-of-a-tenant-5e07"


def requests(emulator, operation, status=200):
    found = [record for record in emulator.history if record.kind == "request" and record.operation == operation]
    return [record for record in found if record.status == status]


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


# One tenant's trouble is no other's


async def test_a_flood_whose_uploads_hang_delays_no_other_account(emulator, runtime):
    emulator.add(faults.stall(60, method="POST", path="/files", times=2))
    accounts = {"flood": "key-flood", "quick": "key-quick"}
    async with BatchClient(runtime=runtime, accounts=accounts, recovery=Recovery(settle_s=0.1)) as client:
        flood = [await client.submit(["hi"], model=CHAT, account="flood") for _ in range(40)]
        await until(lambda: sum(job.status().batches[0].note == "uploading" for job in flood) == 2)
        with anyio.fail_after(60):
            job = await client.submit(["hi"], model=CHAT, account="quick")
            status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 1}
    assert len(requests(emulator, "create")) == 1, "nothing of the flood went before it"


async def calls_under_way(client, accounts, profile):
    providers = [await client._payers.of("openai", name) for name in accounts]
    return lambda: sum(Http().limit_per_account - its.transport._exchange._shares[profile].value for its in providers)


@pytest.mark.parametrize(
    ("operation", "profile", "tenants", "jobs"),
    [("poll", Profile.POLL, 1, 12), ("results", Profile.BULK, 2, 6), ("create", Profile.CONTROL, 4, 3)],
)
async def test_calls_that_hang_keep_no_other_account_from_a_connection(
    emulator, runtime, operation, profile, tenants, jobs
):
    emulator.add(faults.stall(60, operation=operation, times=8))
    slow = [f"slow-{index}" for index in range(tenants)]
    accounts = {name: f"key-{name}" for name in [*slow, "quick"]}
    async with BatchClient(runtime=runtime, accounts=accounts, recovery=Recovery(settle_s=0.1)) as client:
        under_way = await calls_under_way(client, slow, profile)
        for name in slow * jobs:
            await client.submit(["hi"], model=CHAT, account=name)
        await until(lambda: under_way() == 8)
        with anyio.fail_after(60):
            job = await client.submit(["hi"], model=CHAT, account="quick")
            status = await job.wait()
        is_held = under_way() == 8

    assert status.outcomes == {ResultStatus.SUCCEEDED: 1}
    assert is_held, "they still hang"


@pytest.mark.parametrize(("operation", "profile"), [("poll", Profile.POLL), ("create", Profile.CONTROL)])
async def test_when_every_place_of_a_host_hangs_the_next_account_is_served_at_once(
    emulator, runtime, operation, profile
):
    http = Http(limit_per_account=4, limit_per_host=16)
    held = 20 + 16  # one of each account, and all that they share
    emulator.add(faults.stall(60, operation=operation, times=held))
    slow = [f"slow-{index}" for index in range(20)]
    accounts = {name: f"key-{name}" for name in [*slow, "quick"]}
    async with BatchClient(runtime=runtime, accounts=accounts, http=http, recovery=Recovery(settle_s=0.1)) as client:
        sessions = client._scope.context.sessions
        for name in slow * 5:
            await client.submit(["hi"], model=CHAT, account=name)
        await until(lambda: any(turns.under_way == held for turns in sessions._turns.values()))
        with anyio.fail_after(60):
            job = await client.submit(["hi"], model=CHAT, account="quick")
            status = await job.wait()
        under_way = {key[0]: turns.under_way for key, turns in sessions._turns.items()}

    assert status.outcomes == {ResultStatus.SUCCEEDED: 1}
    assert under_way[profile] == held, "they still hang"


async def test_a_flood_of_jobs_does_not_go_before_another_accounts_single_one(emulator, runtime):
    accounts = {"flood": "key-flood", "quick": "key-quick"}
    async with BatchClient(runtime=runtime, accounts=accounts) as client, anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(lambda: client.submit(["hi"], model=CHAT, account="flood"))
        await until(lambda: requests(emulator, "upload"))
        job = await client.submit(["hi"], model=CHAT, account="quick")
        await job.wait()
        creates = [record.account for record in emulator.history if record.kind == "create"]
        group.cancel_scope.cancel()

    assert len(set(creates)) == 2
    assert len(creates) < 100, "its create, its polls and its answers went between those of the flood"


async def test_an_account_has_no_more_calls_under_way_than_its_share(emulator, runtime):
    emulator.add(faults.stall(60, operation="cancel", times=None))
    async with BatchClient(runtime=runtime, accounts={"flood": "key"}, http=Http(limit_per_account=3)) as client:
        provider = await client._payers.of("openai", "flood")
        connector = client._scope.context.sessions.get(Profile.CONTROL).connector
        async with anyio.create_task_group() as group:
            for index in range(9):
                group.start_soon(provider.cancel, f"batch_{index}")
            await until(lambda: len(connector._acquired) == 3)
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            at_once = len(connector._acquired)
            group.cancel_scope.cancel()

    assert at_once == 3


@pytest.mark.parametrize("name", ["limit_per_account", "limit_per_host"])
def test_a_share_of_nothing_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        Http(**{name: 0})


async def test_an_account_that_is_throttled_or_refused_slows_down_nobody_else(emulator, runtime):
    emulator.add(faults.rate_limited(3600, operation="poll", times=6), faults.refuse(503, operation="poll", times=6))
    accounts = {"throttled": "key-throttled", "quick": "key-quick"}
    async with BatchClient(runtime=runtime, accounts=accounts) as client:
        throttled = [await client.submit(["hi"], model=CHAT, account="throttled") for _ in range(6)]
        await until(lambda: len(requests(emulator, "poll", 429)) == 6)
        refused = {record.account for record in requests(emulator, "poll", 429)}
        job = await client.submit(["hi"], model=CHAT, account="quick")
        before = len(emulator.history)
        await job.wait()
        paid = {record.account for record in emulator.history[before:] if record.operation == "poll"}
        for other in throttled:
            await other.wait()

    assert len(refused) == 1
    assert paid - refused, "it was asked about while the other one was told to wait"
    assert {outcome for other in throttled for outcome in other.status().outcomes} == {ResultStatus.SUCCEEDED}


async def test_a_key_that_is_refused_ends_its_own_jobs_alone(emulator, runtime):
    emulator.add(faults.refuse(401, operation="upload", times=1))
    async with BatchClient(runtime=runtime, accounts={"bad": "key-bad", "good": "key-good"}) as client:
        bad = await client.submit(["hi"], model=CHAT, account="bad")
        await until(lambda: requests(emulator, "upload", 401))
        good = await client.submit(["hi"], model=CHAT, account="good")

        assert (await good.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}
        with pytest.raises(ProviderPermanentError, match="answered 401"):
            await bad.wait()


# Whose key: asked late, kept for a minute, shown nowhere


class Vault:
    """The application's function: counts who was asked for, and gives what the test says."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.open = anyio.Event()

    async def __call__(self, name):
        self.asked.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if name == "slow":
            await self.open.wait()
        await anyio.lowlevel.checkpoint()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_submits_of_one_account_at_once_ask_for_its_key_once(emulator, runtime):
    vault = Vault("key-of-acme")
    async with BatchClient(runtime=runtime, accounts=vault) as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(lambda: client.submit(["hi"], model=CHAT, account="acme"))

    assert vault.asked == ["acme"]


async def test_a_new_key_is_taken_after_a_minute_and_not_before(runtime, clock):
    vault = Vault("old", "new")
    kept = KeptKeys(vault, runtime)
    first = await kept("acme")
    clock.advance(KEPT_S - 1)
    second = await kept("acme")
    clock.advance(1)

    assert [first, second, await kept("acme")] == ["old", "old", "new"]
    assert vault.asked == ["acme", "acme"]


async def test_a_job_stays_with_the_key_of_its_time(emulator, runtime, clock):
    async with BatchClient(runtime=runtime, accounts=Vault("old", "new")) as client:
        jobs = []
        for _ in range(2):
            jobs.append(await client.submit(["hi"], model=CHAT, account="acme"))
            clock.advance(KEPT_S)
        for job in jobs:
            await job.wait()

    payer_of = {record.object_id: record.account for record in emulator.history if record.kind == "create"}
    asked_by = {(record.path.rpartition("/")[2], record.account) for record in requests(emulator, "poll")}
    assert len(set(payer_of.values())) == 2
    assert asked_by == set(payer_of.items())


@pytest.mark.parametrize(
    "answer", [OSError("the vault is down"), None, "", {}, {"api_key": ""}, {"other": "key"}, "no header\n"]
)
async def test_a_look_up_that_came_to_nothing_is_not_kept(emulator, runtime, answer):
    vault = Vault(answer, "key-of-acme")
    async with BatchClient(runtime=runtime, accounts=vault) as client:
        with pytest.raises((OSError, ConfigError)):
            await client.submit(["hi"], model=CHAT, account="acme")
        job = await client.submit(["hi"], model=CHAT, account="acme")

        assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}
    assert vault.asked == ["acme", "acme"]


async def test_a_look_up_that_hangs_holds_up_its_own_account_alone(emulator, runtime):
    vault = Vault("key")
    async with BatchClient(runtime=runtime, accounts=vault) as client, anyio.create_task_group() as group:
        group.start_soon(lambda: client.submit(["hi"], model=CHAT, account="slow"))
        await until(lambda: vault.asked == ["slow"])
        with anyio.fail_after(60):
            job = await client.submit(["hi"], model=CHAT, account="quick")

            assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}
        vault.open.set()


async def test_whoever_waits_asks_again_when_the_one_who_asked_is_cancelled(runtime):
    vault = Vault("key")
    kept = KeptKeys(vault, runtime)
    found = []

    async def ask():
        found.append(await kept("slow"))

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as group:
            group.start_soon(kept, "slow")
            await until(lambda: vault.asked)
            outer.start_soon(ask)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        vault.open.set()

    assert found == ["key"]
    assert vault.asked == ["slow", "slow"]


async def test_nothing_is_no_answer(runtime):
    kept = KeptKeys(Vault(None, "key"), runtime)

    assert [await kept("acme"), await kept("acme")] == [None, "key"]


async def test_keys_of_tenants_who_are_gone_leave_the_memory(runtime, clock):
    kept = KeptKeys(lambda name: f"key-of-{name}", runtime)
    for index in range(50):
        await kept(f"tenant-{index}")
    clock.advance(KEPT_S)
    await kept("acme")

    assert list(kept._kept) == ["acme"]
    assert not kept._asking


@pytest.mark.parametrize("answer", [CANARY, {"api_key": CANARY}, {"openai": {"api_key": CANARY}}])
async def test_a_key_that_is_kept_lies_in_no_file_and_no_log(emulator, runtime, tmp_path, caplog, answer):
    caplog.set_level(logging.DEBUG)
    async with BatchClient(runtime=runtime, accounts=Vault(answer), journal=tmp_path / "state") as client:
        job = await client.submit(["hi"], model=CHAT, account="acme")
        await job.wait()
        shown = [repr(client._payers), repr(vars(client._payers)), repr(vars(client._payers._kept)), repr(job)]
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    assert files
    assert not any(CANARY.encode() in body for body in files)
    assert CANARY not in "".join([*shown, caplog.text])


@pytest.mark.parametrize("answer", [f"{CANARY}\n", {"api_key": "", "headers": {"x": CANARY}}, {"base_url": CANARY}])
async def test_no_trace_of_a_look_up_that_fails_shows_what_it_gave(emulator, runtime, answer):
    async with BatchClient(runtime=runtime, accounts=Vault(answer)) as client:
        with pytest.raises(ConfigError) as caught:
            await client.submit(["hi"], model=CHAT, account="acme")

    assert not any(CANARY in text for text in everything_about(caught.value))
