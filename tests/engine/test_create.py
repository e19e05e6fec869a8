"""The one call that spends money: sent once, journalled whatever happens, and looked for when its answer is lost."""

import asyncio
from contextlib import AsyncExitStack

import anyio
import pytest

from asyncbatch import (
    BatchClient,
    BatchProviderRegistry,
    BatchStatus,
    ClientClosedError,
    Match,
    ProviderResultRow,
    ProviderStatus,
    ProviderTransientError,
    Recovery,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.emulator import faults, paid_twice
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    CreateUnknown,
    Fenced,
    MemoryJournal,
    SubmissionState,
    Voided,
)
from tests.engine.six import SixMethods
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


def create_calls(emulator):
    calls = (record for record in emulator.history if record.kind == "request" and record.method == "POST")
    return [record for record in calls if record.path.endswith("/batches")]


LOST = {
    "the connection drops after the create was accepted": faults.accept_then_drop(),
    "a 500 comes after it was accepted": faults.accept_then_error(500),
    "a 502 comes after it was accepted": faults.accept_then_error(502),
    "its answer is cut off": faults.cut_body(16, method="POST"),
    "a portal answers in its place, after it was accepted": faults.html_200(when="after"),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
async def test_an_accepted_create_whose_answer_was_lost_is_found_and_not_sent_again(client, emulator, fault):
    emulator.add(fault)

    job = await client.submit(["hi"], model=CHAT)
    (batch,) = await job.submitted()
    rows = await job.results()

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
    assert [record.object_id for record in creates(emulator)] == [batch]
    assert len(create_calls(emulator)) == 1


async def test_a_create_that_never_arrived_is_sent_again_only_after_a_fence(client, emulator, clock):
    emulator.add(faults.drop(method="POST", path="/batches"))
    started = clock.now()

    job = await client.submit(["hi"], model=CHAT)
    await job.submitted()
    kinds = [type(event) for event in await client._journal.events(job.id, 0)]

    assert Fenced in kinds and kinds.index(CreateUnknown) < kinds.index(Fenced) < kinds.index(Accepted)
    assert kinds.count(CreateIntended) == 2
    assert clock.now() - started >= 390, "the window of 300 s and the watch of 90 s after the fence"
    deletes = [record for record in emulator.history if record.kind == "delete"]
    assert len(deletes) == 1
    assert paid_twice(emulator.history) == {} and len(creates(emulator)) == 1


async def test_a_lagging_list_does_not_cause_a_second_create(client, emulator):
    emulator.add(faults.accept_then_drop(), faults.list_lag(90))

    job = await client.submit(["hi"], model=CHAT)
    await job.wait()

    assert len(creates(emulator)) == 1


async def test_a_list_that_fails_counts_for_nothing(client, emulator):
    emulator.add(faults.accept_then_drop(), faults.refuse(503, method="GET", path="/batches", times=30))

    job = await client.submit(["hi"], model=CHAT)
    await job.wait()

    assert len(creates(emulator)) == 1


async def test_what_is_going_on_is_said_while_a_create_is_looked_for(client, emulator):
    emulator.add(faults.drop(method="POST", path="/batches"))
    job = await client.submit(["hi"], model=CHAT)
    notes = set()

    def is_sent():
        notes.update(batch.note for batch in job.status().batches if batch.note)
        return any(batch.provider_batch_id for batch in job.status().batches)

    await until(is_sent)

    assert any("checking whether a create arrived" in note for note in notes)


async def test_a_refusal_that_passes_is_tried_again_with_a_new_tag(client, emulator, clock):
    emulator.add(faults.rate_limited(30, method="POST", path="/batches", times=2))

    job = await client.submit(["hi"], model=CHAT)
    await job.wait()
    tags = [event.mark for event in await client._journal.events(job.id, 0) if isinstance(event, CreateIntended)]

    assert len(set(tags)) == 3
    assert len([wait for wait in clock.slept_s if wait >= 30]) >= 2
    assert len(creates(emulator)) == 1


async def test_an_upload_that_fails_is_made_again(client, emulator):
    emulator.add(faults.refuse(503, method="POST", path="/files", times=7))

    job = await client.submit(["hi"], model=CHAT)

    assert [row.status for row in await job.results()] == [ResultStatus.SUCCEEDED]


async def test_cancelling_whoever_submitted_cancels_no_create(client, emulator):
    emulator.add(faults.stall(0.2, method="POST", path="/batches"))
    jobs = []

    async def submit_and_wait():
        jobs.append(await client.submit(["hi"], model=CHAT))
        await jobs[0].submitted()

    with anyio.move_on_after(0.1):
        await submit_and_wait()
    (job,) = jobs
    await job.wait()

    assert len(creates(emulator)) == 1
    kinds = [type(event) for event in await client._journal.events(job.id, 0)]
    assert kinds.count(CreateIntended) == kinds.count(Accepted) == 1


class TestLeavingTheClient:
    async def until_creating(self, job):
        await until(lambda: job.status().batches[0].state == SubmissionState.CREATING)

    async def test_a_create_under_way_may_end_and_is_journalled(self, emulator, runtime):
        emulator.add(faults.stall(0.2, method="POST", path="/batches"))
        async with BatchClient(runtime=runtime) as client:
            job = await client.submit(["hi"], model=CHAT)
            await self.until_creating(job)

        (record,) = await client._journal.submissions(job.id)
        assert record.state is SubmissionState.SUBMITTED
        assert record.provider_batch_id == creates(emulator)[0].object_id

    async def test_a_create_that_does_not_end_in_time_is_journalled_as_unknown(self, emulator, runtime):
        emulator.add(faults.stall(30, method="POST", path="/batches"))
        async with BatchClient(runtime=runtime, recovery=Recovery(settle_s=0.05)) as client:
            job = await client.submit(["hi"], model=CHAT)
            await self.until_creating(job)

        (record,) = await client._journal.submissions(job.id)
        assert record.state is SubmissionState.CREATE_UNKNOWN

    async def test_a_cancelled_exit_still_journals_how_the_create_ended(self, emulator, runtime):
        emulator.add(faults.stall(0.2, method="POST", path="/batches"))
        client = BatchClient(runtime=runtime)
        await client.__aenter__()
        job = await client.submit(["hi"], model=CHAT)
        await self.until_creating(job)

        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.aclose()

        (record,) = await client._journal.submissions(job.id)
        assert record.state is SubmissionState.SUBMITTED

    async def test_whoever_waits_hears_that_the_client_was_closed(self, emulator, runtime):
        async with BatchClient(runtime=runtime) as client:
            job = await client.submit(["[[expire]] slow"], model=CHAT)
            await job.submitted()
            heard = []

            async def wait(waiting):
                try:
                    await waiting()
                except ClientClosedError as error:
                    heard.append(error)

            async with anyio.create_task_group() as group:
                group.start_soon(wait, job.wait)
                group.start_soon(wait, job.results().__aiter__().__anext__)
                await anyio.lowlevel.checkpoint()
                await client.aclose()

        assert len(heard) == 2
        assert all("go on at the provider" in str(error) for error in heard)


async def test_a_client_opened_in_one_task_may_be_closed_in_another(emulator, runtime):
    client = BatchClient(runtime=runtime)
    jobs = []

    async def open_and_submit():
        await client.__aenter__()
        jobs.append(await client.submit(["hi"], model=CHAT))

    async def close():
        await jobs[0].wait()
        await client.aclose()

    await asyncio.create_task(open_and_submit())
    await asyncio.create_task(close())

    assert jobs[0].status().outcomes == {ResultStatus.SUCCEEDED: 1}


async def test_a_client_lives_in_an_exit_stack(emulator, runtime):
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(BatchClient(runtime=runtime))
        job = await client.submit(["hi"], model=CHAT)
        await job.wait()

    assert job.status().is_over


@pytest.fixture
async def shared_client(emulator, runtime):
    async with BatchClient(runtime=runtime) as client:
        yield client


async def test_a_client_is_a_fixture(shared_client):
    job = await shared_client.submit(["hi"], model=CHAT)

    assert [row.text for row in await job.results()] == ["echo: hi"]


async def test_an_agent_in_a_foreign_task_group_is_cancelled_and_the_batch_goes_on(client, emulator):
    emulator.add(faults.stall(0.2, method="POST", path="/batches"))
    job = await client.submit(["hi"], model=CHAT)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), asyncio.TaskGroup() as group:
            group.create_task(job.wait())

    assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 1}


@pytest.mark.parametrize("ticks", range(40))
async def test_cancelling_submit_at_any_await_leaves_no_half_accepted_job(client, emulator, ticks):
    task = asyncio.create_task(client.submit([f"row {n}" for n in range(40)], model=CHAT))
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    for job in client.jobs():
        assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 40}
    assert len(creates(emulator)) == len(client.jobs()) <= 1


async def test_creates_that_never_arrive_are_given_up_after_five_and_the_requests_may_be_sent_again(client, emulator):
    emulator.add(faults.drop(method="POST", path="/batches", times=None))
    job = await client.submit(["hi"], model=CHAT)

    with pytest.raises(ProviderTransientError, match="5 creates were lost on their way"):
        await job.wait()

    kinds = [type(event) for event in await client._journal.events(job.id, 0)]
    assert kinds.count(CreateIntended) == kinds.count(Fenced) == 5
    assert job.status().outcomes == {ResultStatus.ERRORED: 1}
    assert creates(emulator) == []


async def test_where_the_fence_is_refused_the_longer_window_has_to_pass(client, emulator, clock):
    emulator.add(faults.drop(method="POST", path="/batches"))
    emulator.add(faults.refuse(403, method="DELETE", path="/files/*", times=None))
    started = clock.now()

    job = await client.submit(["hi"], model=CHAT)
    await job.submitted()

    assert clock.now() - started >= 900
    assert len(creates(emulator)) == 1


class TestProvidersThatFailInTheirOwnWay:
    async def run(self, runtime, provider_class):
        registry = BatchProviderRegistry()
        registry.register(provider_class)
        async with BatchClient(runtime=runtime, registry=registry) as client:
            job = await client.submit(["a", "b"], model="six/m")
            with pytest.raises(SubmissionUnknownError) as caught:
                await job.submitted()
            return await job.wait(), caught.value

    async def test_a_create_that_raises_something_foreign_proves_nothing(self, runtime):
        class Crashing(SixMethods):
            async def submit(self, submission):
                raise KeyError("id")

        status, error = await self.run(runtime, Crashing)

        assert status.outcomes == {ResultStatus.INDETERMINATE: 2}
        assert "KeyError" in str(error)

    async def test_two_batches_that_may_be_ours_are_for_a_human_to_look_at(self, runtime):
        class Doubled(SixMethods):
            LOST = True

            def submit_safety(self, submission=None):
                return SubmitSafety.TAGGED

            async def find_submissions(self, submission, *, since):
                status = ProviderStatus(provider_batch_id="b", status=BatchStatus.IN_PROGRESS)
                return [
                    Match(provider_batch_id=name, why="tag", is_certain=True, status=status) for name in ("b1", "b2")
                ]

        status, _ = await self.run(runtime, Doubled)

        assert status.outcomes == {ResultStatus.INDETERMINATE: 2}
        assert status.batches[0].provider_batch_id is None


async def test_rows_of_a_foreign_stream_are_taken_in_slices(runtime):
    class Wordy(SixMethods):
        async def fetch_results(self, provider_batch_id):
            for number in range(600):
                yield ProviderResultRow(request_id=f"r{number}", status=ResultStatus.SUCCEEDED)

    registry = BatchProviderRegistry()
    registry.register(Wordy)
    async with BatchClient(runtime=runtime, registry=registry) as client:
        job = await client.submit(["x"] * 600, model="six/m")
        assert (await job.wait()).outcomes == {ResultStatus.SUCCEEDED: 600}


async def test_where_nobody_can_know_the_requests_are_indeterminate(runtime):
    registry = BatchProviderRegistry()
    registry.register(type("Lossy", (SixMethods,), {"LOST": True}))
    async with BatchClient(runtime=runtime, registry=registry) as client:
        job = await client.submit(["a", "b"], model="six/m")
        with pytest.raises(SubmissionUnknownError):
            await job.submitted()
        rows = await job.results()

    assert [row.status for row in rows] == [ResultStatus.INDETERMINATE] * 2
    assert {row.error.code for row in rows} == {"create_unknown"}


class TestAFenceThatHitsOurOwnBatch:
    @pytest.fixture
    def pace(self):
        return {"validating_s": 600}

    async def test_the_batch_runs_nothing_and_the_requests_are_sent_anew(self, client, emulator):
        """The create arrives, and the list shows it only after its input was deleted, long before it is validated."""
        emulator.add(faults.accept_then_drop(), faults.list_lag(310))
        job = await client.submit(["hi"], model=CHAT)

        rows = await job.results()

        kinds = [type(event) for event in await client._journal.events(job.id, 0)]
        assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
        assert kinds.count(Voided) == 1 and kinds.count(CreateIntended) == 2
        assert [record.is_paid for record in creates(emulator)] == [False, True]


async def test_how_a_create_ended_is_journalled_even_where_writing_takes_its_time(emulator, runtime):
    """A journal on a disk awaits; a cancelled exit must not cut it off between the create and its outcome."""

    class SlowJournal(MemoryJournal):
        async def move(self, job_id, index, event):
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            return await super().move(job_id, index, event)

    emulator.add(faults.stall(0.2, method="POST", path="/batches"))
    client = BatchClient(runtime=runtime)
    client._journal = SlowJournal()
    async with client:
        job = await client.submit(["hi"], model=CHAT)
        await until(lambda: job.status().batches[0].state == SubmissionState.CREATING)

    (record,) = await client._journal.submissions(job.id)
    assert record.state is SubmissionState.SUBMITTED


async def test_a_job_that_is_refused_before_sending_leaves_nothing_behind(client, emulator):
    class TooDearError(Exception):
        pass

    async def refuse(requests, refused, batches):
        raise TooDearError(requests, refused, batches)

    with pytest.raises(TooDearError) as caught:
        await client.submit(["x" * 2_000_000, 7], model=CHAT, on_bad_row="reject", before_sending=refuse)

    assert caught.value.args == (2, 1, 1)
    assert client.jobs() == []
    assert emulator.history == []
    assert list(client._scope.context.space._directory.iterdir()) == []
