"""What one account waits for, no other does: opening, ends that others ask for, handlers, left-overs of dead processes."""

from functools import partial

import anyio
import pytest

from asyncbatch import BatchClient, ConfigError, Recovery, ResultStatus
from asyncbatch.emulator import faults
from asyncbatch.engine import resuming
from asyncbatch.exceptions import JournalError
from tests.engine.gates import Gate, hold
from tests.engine.test_tidying import as_if_it_died_after_its_outcomes
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
LONG = ["[[stall]] slow"]
DAY_S = 86400.0


class Vault:
    """The application's function; some accounts wait until the test lets them have their keys."""

    def __init__(self, *slow):
        self.slow = set(slow)
        self.gate = Gate()
        self.asked = []

    async def __call__(self, name):
        self.asked.append(name)
        if name in self.slow:
            await self.gate.pass_through()
        return f"key-of-{name}"


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state", "recovery": Recovery(settle_s=0.1)}
    return lambda **options: BatchClient(**{"accounts": Vault()} | given | options)


@pytest.fixture
def open_still(open_client, still_time):
    return partial(open_client, runtime=still_time)


async def left_unfinished(open_client, *accounts):
    """Let a process die that had a job of each of these accounts."""
    async with open_client() as client:
        jobs = [await client.submit(LONG, model=CHAT, account=account) for account in accounts]
        for job in jobs:
            await job.submitted()
    return jobs


@pytest.fixture
def impatient(monkeypatch):
    """Opening a client waits for keys for a moment, in real time."""
    monkeypatch.setattr(resuming, "PATIENCE_S", 0.05)


# Opening


@pytest.mark.usefixtures("impatient")
async def test_an_account_whose_key_does_not_come_holds_up_no_other_at_opening(open_still, clock, caplog):
    slow, quick, late = await left_unfinished(open_still, "slow", "quick", "slow")
    vault = Vault("slow")
    async with open_still(accounts=vault) as client:
        at_first = [job.id for job in client.jobs()]
        known = [record.job_id for record in await client.records(unfinished=True)]
        clock.advance(2 * DAY_S)
        with anyio.fail_after(60):
            status = await (await client.job(quick.id)).wait()
        vault.gate.open()
        await until(lambda: len(client.jobs()) == 3)
        at_last = [job.id for job in client.jobs()]
        found = [(await job.wait()).outcomes for job in client.jobs()]

    assert at_first == [quick.id]
    assert known == at_last == [slow.id, quick.id, late.id], "the journal lists them all, and the oldest comes first"
    assert f"jobs of account 'slow' at openai ({slow.id}, {late.id}): its key is not there" in caplog.text
    assert {*status.outcomes, *(outcome for outcomes in found for outcome in outcomes)} == {ResultStatus.EXPIRED}
    assert vault.asked.count("slow") == 1


@pytest.mark.usefixtures("impatient")
async def test_a_job_that_waits_for_its_key_is_attached_once_whoever_asks_for_it(open_still, clock):
    (slow,) = await left_unfinished(open_still, "slow")
    vault, found = Vault("slow"), []

    async def attach(client):
        found.append(await client.job(slow.id))

    async with open_still(accounts=vault) as client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(attach, client)
        await vault.gate.met_by(1)
        vault.gate.open()
        await until(lambda: len(found) == 3)
        clock.advance(2 * DAY_S)
        await found[0].wait()

    assert len({id(job._run) for job in found}) == 1


@pytest.mark.usefixtures("impatient")
async def test_however_many_keys_do_not_come_the_last_account_is_asked_for_its_own(open_still, monkeypatch):
    monkeypatch.setattr(resuming, "_AT_ONCE", 2)
    slow = [f"slow-{index}" for index in range(5)]
    jobs = await left_unfinished(open_still, *slow, "quick")
    async with open_still(accounts=Vault(*slow)) as client:
        await until(lambda: client.jobs())
        found = [job.id for job in client.jobs()]

    assert found == [jobs[-1].id]


@pytest.mark.usefixtures("impatient")
async def test_a_client_is_closed_while_keys_do_not_come(open_still):
    (slow,) = await left_unfinished(open_still, "slow")
    async with open_still(accounts=Vault("slow")) as client:
        assert client.jobs() == []
    async with open_still() as client:
        again = [job.id for job in client.jobs()]

    assert again == [slow.id]


async def test_an_account_without_a_key_leaves_its_jobs_and_is_asked_about_once(open_still, caplog):
    gone, kept, also = await left_unfinished(open_still, "gone", "kept", "gone")
    asked = []

    async def vault(name):
        asked.append(name)
        if name == "gone":
            raise OSError("no such customer")
        return f"key-of-{name}"

    async with open_still(accounts=vault) as client:
        found = [job.id for job in client.jobs()]

    assert found == [kept.id]
    left = [f"job {job.id} is left as it is: looking its key up failed with OSError" for job in (gone, also)]
    assert [line in caplog.text for line in left] == [True, True]
    assert "no such customer" not in caplog.text, "what it says may be a key"
    assert sorted(asked) == ["gone", "kept"]


async def test_jobs_whose_rows_are_gone_leave_the_next_of_their_account_alone(open_still, tmp_path, caplog):
    broken, whole = await left_unfinished(open_still, "acme", "acme")
    for path in sorted((tmp_path / "state").rglob(f"*{broken.id}*/*")):
        path.unlink()
    async with open_still() as client:
        found = [job.id for job in client.jobs()]

    assert found == [whole.id]
    assert f"job {broken.id} is left as it is" in caplog.text


# Ends that other processes ask for


async def test_an_end_that_a_provider_does_not_answer_to_delays_no_other_jobs(open_client, emulator, slow_time):
    emulator.add(faults.stall(60, operation="cancel", times=1))
    async with open_client(runtime=slow_time) as owner, open_client(runtime=slow_time) as other:
        slow = await owner.submit(LONG, model=CHAT, account="slow")
        quick = await owner.submit(LONG, model=CHAT, account="quick")
        for job in (slow, quick):
            await job.submitted()
        await (await other.job(slow.id)).cancel()
        await until(lambda: slow.status().cancel_asked)
        await (await other.job(quick.id)).cancel()
        with anyio.fail_after(60):
            status = await quick.wait()

    assert status.outcomes == {ResultStatus.CANCELLED: 1}


async def test_an_end_that_the_journal_cannot_take_down_is_heard_again(open_client, slow_time):
    async with open_client(runtime=slow_time) as owner, open_client(runtime=slow_time) as other:
        job = await owner.submit(LONG, model=CHAT, account="acme")
        await job.submitted()
        grant, failures = owner._journal.grant, [JournalError("the disk is full")] * 2

        async def granted(wish):
            if failures:
                raise failures.pop()
            await grant(wish)

        owner._journal.grant = granted
        await (await other.job(job.id)).cancel()
        await until(lambda: not failures)
        await job.wait()
        await until(lambda: job.status().is_over)
        left = partial(owner._journal.wishes)
        while await left():
            await anyio.lowlevel.checkpoint()

    assert job.status().outcomes == {ResultStatus.CANCELLED: 1}


# Handlers


async def test_handlers_that_hang_for_many_accounts_keep_no_other_from_hearing(open_client):
    slow = [f"slow-{index}" for index in range(10)]
    gate, heard = Gate(), []

    async def keep(job):
        if job.status().account in slow:
            await gate.pass_through()
        heard.append(job.status().account)

    async with open_client() as client:
        client.on("job_ended", keep)
        for name in slow * 4:
            await client.submit(["a"], model=CHAT, account=name)
        await gate.met_by(10 + 8)
        await client.submit(["a"], model=CHAT, account="quick")
        with anyio.fail_after(60):
            await until(lambda: heard)
        at_first, came = list(heard), gate.came
        gate.open()
        await until(lambda: len(heard) == 41)

    assert at_first == ["quick"]
    assert came == 18


# What dead processes left to delete


async def test_deletions_that_hang_for_one_account_wait_for_nobody_elses(open_client, emulator, monkeypatch):
    async with open_client() as client:
        with as_if_it_died_after_its_outcomes(monkeypatch):
            for name in ("slow", "slow", "quick"):
                await (await client.submit(["a"], model=CHAT, account=name, cleanup="settled")).wait()
            await client.aclose()
    made = [record.account for record in emulator.history if record.kind == "create"]
    vault = Vault("slow")
    async with open_client(accounts=vault) as client:
        await vault.gate.met_by(1)
        await until(lambda: sum(record.kind == "delete" for record in emulator.history) == 2)
        owed = [wish.word for wish in await client._journal.wishes()]

    assert {record.account for record in emulator.history if record.kind == "delete"} == {made[-1]}
    assert owed.count("tidy") >= 2


async def test_no_key_at_all_is_told_for_the_job_that_is_asked_for(open_still):
    (job,) = await left_unfinished(open_still, "acme")
    async with open_still(accounts=lambda name: None) as client:
        with pytest.raises(ConfigError, match="'acme' has no API key"):
            await client.job(job.id)


async def test_whoever_leaves_while_a_job_is_taken_up_leaves_it_to_the_next(open_still, clock):
    (left,) = await left_unfinished(open_still, "acme")
    async with open_still(resume=False) as client:
        gate = hold(client._desk._wishes, "heed")
        async with anyio.create_task_group() as group:
            group.start_soon(client.job, left.id)
            await gate.met_by(1)
            group.cancel_scope.cancel()
        half = client.jobs()
        gate.open()
        clock.advance(2 * DAY_S)
        with anyio.fail_after(60):
            status = await (await client.job(left.id)).wait()

    assert half == []
    assert status.is_over
