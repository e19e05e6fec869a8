"""A job goes from hand to hand: one drives it and nobody twice, and nothing that was asked for or is owed gets lost."""

import asyncio
from contextlib import contextmanager
from functools import partial

import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, JournalError, ResultStatus
from asyncbatch.emulator import Emulator, faults
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.tidying import _Sweep
from asyncbatch.journal import Retried
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock
from tests.engine.flaky import creates, outcomes, rows
from tests.engine.gates import Gate, hold, hold_after, until_anybodys, until_told
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
S = ResultStatus


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"}
    return lambda **options: BatchClient(**{**given, **options})


@pytest.fixture
async def provider(emulator, runtime, catalog):
    async with BatchProviderRegistry().open(catalog=catalog, runtime=runtime) as scope:
        yield scope.create("openai")


@pytest.fixture
def let_go(tmp_path, runtime):
    return partial(until_anybodys, tmp_path / "state", runtime)


@pytest.fixture
def owed(open_client):
    """Give what the journal says is still to be done, as a process sees it that takes nothing up."""

    async def look():
        async with open_client(resume=False) as client:
            return {wish.word for wish in await client._journal.wishes()}

    return look


async def openai_of(client):
    return await client._payers.of("openai", None)


async def left_of(provider):
    return {file.ref for file in (await provider.list_files()).files}


async def statuses(job):
    return [status for _, status, _ in await outcomes(job, ordered=True)]


async def nothing(*_):
    """Do nothing more, as a process that died."""


@contextmanager
def as_if_it_died_after_its_outcomes(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("asyncbatch.engine.closing.Closing._tidy_up", nothing)
        patch.setattr(Desk, "_let_go", nothing)
        yield


class Steps:
    """A runtime's hop to a thread that holds the work of one name; the first `before` of them pass."""

    def __init__(self, runtime, **before):
        self._offload = runtime.offload
        self._before = before
        self.gates = {name: Gate() for name in before}

    async def __call__(self, work, /, *given):
        name = getattr(work, "__name__", "")
        if name in self._before:
            self._before[name] -= 1
            if self._before[name] < 0:
                await self.gates[name].pass_through()
        return await self._offload(work, *given)


# A retry


@pytest.mark.parametrize("part", [0, 1])
async def test_a_retry_whose_caller_is_cancelled_is_driven_all_the_same(open_client, emulator, runtime, let_go, part):
    steps = Steps(runtime, reopen=part)  # the journal knows of the round by then
    async with open_client(runtime=replace(runtime, offload=steps)) as client:
        job = await client.submit(rows("a", "b fails 1", "c fails 1"), model=CHAT)
        await job.wait()
        await let_go(job.id)
        asking = asyncio.create_task(job.retry(only="errored"))
        await steps.gates["reopen"].reached.wait()
        asking.cancel()
        steps.gates["reopen"].open()
        with pytest.raises(asyncio.CancelledError):
            await asking
        again = await client.job(job.id)
        await until(lambda: again.status().is_over and again.status().succeeded == 3)
        seen = await statuses(job)

    assert seen == [S.SUCCEEDED] * 3
    assert len(creates(emulator)) == 4


async def test_a_retry_that_fails_half_way_is_driven_as_far_as_it_came(open_client, emulator, let_go):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1", "c fails 1"), model=CHAT)
        await job.wait()
        await let_go(job.id)
        move = client._journal.move

        async def busy(job_id, part, event):
            if part == 1:
                raise JournalError("the journal is busy", code="journal.busy")
            return await move(job_id, part, event)

        client._journal.move = busy
        with pytest.raises(JournalError, match="busy"):
            await job.retry(only="errored")
        client._journal.move = move
        await until(lambda: job.status().is_over and job.status().succeeded == 2)
        half = await statuses(job)
        await let_go(job.id)
        count = await job.retry(only="errored")
        found = await statuses(job)

    assert (half, count) == ([S.SUCCEEDED, S.SUCCEEDED, S.ERRORED], 1)
    assert found == [S.SUCCEEDED] * 3
    assert len(creates(emulator)) == 4


async def test_whoever_asks_for_a_job_while_its_retry_is_recorded_gets_the_one_that_is_driven(
    open_client, emulator, let_go
):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT)
        await job.wait()
        await let_go(job.id)
        run = client._desk.runs[job.id]
        gate = hold_after(client._journal, "move", lambda _job, _part, event: isinstance(event, Retried))
        asking = asyncio.create_task(job.retry(only="errored"))
        await gate.reached.wait()
        again = await client.job(job.id)
        gate.open()
        count = await asking
        found = [await statuses(job), await statuses(again)]

        assert client._desk.runs[job.id] is run
    assert count == 1
    assert found == [[S.SUCCEEDED] * 2] * 2
    assert len(creates(emulator)) == 2


async def test_handles_that_are_asked_for_all_the_time_disturb_no_retry(open_client, emulator, let_go):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT)
        await job.wait()
        await let_go(job.id)
        run = client._desk.runs[job.id]
        asking = asyncio.create_task(job.retry(only="errored"))
        while not asking.done():
            await client.job(job.id)
        await asking
        found = await statuses(job)

        assert client._desk.runs[job.id] is run
    assert found == [S.SUCCEEDED] * 2
    assert len(creates(emulator)) == 2


# What was asked for


async def test_a_cancel_that_came_while_a_round_was_prepared_outlives_the_process(open_client, emulator, runtime):
    steps = Steps(runtime, keep_sent=0, reopen=0)
    async with open_client(runtime=replace(runtime, offload=steps)) as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
        await steps.gates["keep_sent"].reached.wait()
        await job.cancel()
        steps.gates["keep_sent"].open()
        await steps.gates["reopen"].reached.wait()  # the round is in the journal, and there it ends
    async with open_client() as client:
        again = await client.job(job.id)
        is_asked = again.status().cancel_asked
        found = await statuses(again)

    assert is_asked
    assert found == [S.SUCCEEDED, S.ERRORED]
    assert len(creates(emulator)) == 1


async def test_a_cancel_that_came_too_late_ends_no_later_retry(open_client, emulator, let_go):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT)
        await job.wait()
        await let_go(job.id)
        await client._journal.wish(job.id, "cancel")
        gate = hold(await openai_of(client), "create")
        count = await job.retry(only="errored")
        await until(lambda: gate.came or job.status().is_over)
        wishes, is_asked = await client._journal.wishes(), job.status().cancel_asked
        gate.open()
        found = await statuses(job)

    assert (count, wishes, is_asked) == (1, (), False)
    assert found == [S.SUCCEEDED] * 2


@pytest.fixture
def slow_emulator(monkeypatch, flaky):
    """An emulator in whose time nothing happens by itself: what stalls, stalls for good."""
    with Emulator(clock=VirtualClock().now, answer=flaky, pace=AT_ONCE) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        yield emulator


AT_ONCE = {"validating_s": 0, "row_s": 0, "finalizing_s": 0, "cancelling_s": 0}


class Own(RuntimeError):
    """What a provider of somebody else's may raise."""


async def test_a_provider_that_fails_in_its_own_way_when_a_wish_is_granted_takes_no_client_with_it(
    open_client, slow_emulator
):
    async with open_client() as client:
        job = await client.submit(["[[stall]] a"], model=CHAT)
        await job.submitted()
        provider = await openai_of(client)
        cancel, tried = provider.cancel, []

        async def cancel_badly(batch_id):
            tried.append(batch_id)
            if len(tried) < 3:
                raise Own("a socket of my own")
            return await cancel(batch_id)

        provider.cancel = cancel_badly
        await client._journal.wish(job.id, "cancel")
        found = await statuses(job)
        other = await client.submit(["b"], model=CHAT)
        seen = await statuses(other)
        await until_told(client._journal.wishes, ())

    assert (found, seen) == ([S.CANCELLED], [S.SUCCEEDED])
    assert len(tried) == 3


# Whose account is gone


def gone(account):
    raise KeyError(account)


async def test_accounts_that_fail_in_their_own_way_leave_no_other_job_lying(open_client, emulator, monkeypatch):
    key = emulator.env("openai")["OPENAI_API_KEY"]
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=1000))
    async with open_client(accounts=lambda _: key) as client:
        theirs = await client.submit(["a"], model=CHAT, account="acme")
        ours = await client.submit(["b"], model=CHAT)
    async with open_client(accounts=gone) as client:
        attached = [job.id for job in client.jobs()]
        found = await statuses(await client.job(ours.id))
    async with open_client(accounts=lambda _: key) as client:
        later = await statuses(await client.job(theirs.id))

    assert attached == [ours.id]
    assert found == later == [S.SUCCEEDED]


async def test_accounts_that_fail_in_their_own_way_leave_what_is_owed_for_later(
    open_client, emulator, provider, owed, monkeypatch, caplog
):
    key = emulator.env("openai")["OPENAI_API_KEY"]
    async with open_client(accounts=lambda _: key) as client:
        job = await client.submit(["a"], model=CHAT, account="acme", cleanup="settled")
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.wait()
            await client.aclose()
    async with open_client(accounts=gone) as client:
        await until(lambda: "stays there" in caplog.text)
        seen = await statuses(await client.submit(["b"], model=CHAT))
    before = await owed()
    async with open_client(accounts=lambda _: key) as client:
        await until_told(client._journal.wishes, ())

    assert (seen, before) == ([S.SUCCEEDED], {"tidy"})
    assert len(await left_of(provider)) == 2, "of the other job"


# What is owed


async def test_a_journal_that_is_busy_when_a_deletion_is_noted_takes_no_client_with_it(open_client, provider, caplog):
    async def busy(_wish):
        raise JournalError("the journal is busy", code="journal.busy")

    async with open_client() as client:
        client._journal.grant = busy
        job = await client.submit(["a"], model=CHAT, cleanup="settled")
        await job.wait()
        await until(lambda: "that it is tidied is not noted" in caplog.text)
        seen = await statuses(await client.submit(["b"], model=CHAT, cleanup="never"))
        wishes = await client._journal.wishes()
    async with open_client() as client:
        await until_told(client._journal.wishes, ())

    assert seen == [S.SUCCEEDED]
    assert [(wish.job_id, wish.word) for wish in wishes] == [(job.id, "tidy")]
    assert len(await left_of(provider)) == 2, "of the other job"


async def test_a_deletion_that_failed_is_owed_when_the_next_process_deletes_that_of_another_part(
    open_client, provider, let_go, owed
):
    async with open_client() as client:
        openai = await openai_of(client)
        hold(openai, "upload", lambda submission: submission.chunk_index == 1)
        refused = []

        async def refuse(ref):
            refused.append(ref)
            raise Own("not now")

        openai.delete_artifacts = openai.delete_file = refuse
        job = await client.submit(rows("a", "b", "c", "d"), model=CHAT, cleanup="settled")
        await until(lambda: len(refused) >= 2)
    async with open_client() as client:
        await (await client.job(job.id)).wait()
        await let_go(job.id)
    before, still = await left_of(provider), await owed()
    async with open_client() as client:
        await until_told(client._journal.wishes, ())

    assert (len(before), still) == (2, {"tidy"})
    assert await left_of(provider) == set()


async def test_what_a_retry_by_hand_leaves_is_owed_too(open_client, provider, let_go, owed, monkeypatch):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT, cleanup="settled")
        await job.wait()
        await until_told(client._journal.wishes, ())
        await let_go(job.id)
        before = await left_of(provider)
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.retry(only="errored")
            await job.wait()
            await client.aclose()
    left, still = await left_of(provider), await owed()
    async with open_client() as client:
        await until_told(client._journal.wishes, ())

    assert (before, len(left), still) == (set(), 2, {"tidy"})
    assert await left_of(provider) == set()


async def test_to_delete_less_than_is_owed_pays_no_debt(open_client, monkeypatch):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT, cleanup="settled")
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.wait()
            await client.aclose()
    async with open_client(resume=False) as client:
        again = await client.job(job.id)
        less = await again.tidy("succeeded")
        still = await client._journal.wishes()
        everything = await again.tidy("settled")
        after = await client._journal.wishes()

    assert (less.is_done, [wish.word for wish in still]) == (True, ["tidy"])
    assert (everything.is_done, after) == (True, ())


@pytest.fixture
def deletions(monkeypatch):
    """Hold the first deletion that any process asks for."""
    gate, delete = Gate(), _Sweep._try

    async def held(self, *given):
        if not gate.came:
            await gate.pass_through()
        await delete(self, *given)

    monkeypatch.setattr(_Sweep, "_try", held)
    return gate


@pytest.fixture
def looked(monkeypatch):
    """Give, as they come, the desks that have looked whether they are done with a job."""
    desks, look = [], Desk._let_go

    async def noted(self, run):
        await look(self, run)
        desks.append(self)

    monkeypatch.setattr(Desk, "_let_go", noted)
    return desks


async def test_a_job_is_nobody_elses_while_one_of_its_parts_is_still_deleted(
    open_client, let_go, deletions, looked, provider
):
    async with open_client() as one, open_client(resume=False) as two:
        job = await one.submit(rows("a", "b", "c", "d"), model=CHAT, cleanup="settled")
        await job.wait()
        await until(lambda: looked)  # the other part is through
        wishes, is_claimed = await one._journal.wishes(), await two._journal.claim(job.id)
        deletions.open()
        await until_told(one._journal.wishes, ())
        await let_go(job.id)

    assert ({wish.word for wish in wishes}, is_claimed) == ({"tidy"}, False)
    assert await left_of(provider) == set()


async def test_a_job_is_nobody_elses_while_what_a_dead_process_owed_is_deleted(
    open_client, let_go, monkeypatch, deletions
):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1"), model=CHAT, cleanup="settled")
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.wait()
            await client.aclose()
    async with open_client() as two, open_client(resume=False) as three:
        await deletions.reached.wait()
        other = await three.job(job.id)
        with pytest.raises(JournalError, match="another process has job"):
            await other.retry(only="errored")
        deletions.open()
        await until_told(two._journal.wishes, ())
        await let_go(job.id)
        again = await other.retry(only="errored")
        found = await statuses(other)

    assert (again, found) == (1, [S.SUCCEEDED] * 2)
