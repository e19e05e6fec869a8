"""Cases that reviewers found: each was once a lost batch, a wrong payer, a second create, or a wait without end."""

import asyncio
import threading

import anyio
import msgspec
import pytest

from asyncbatch import (
    BatchClient,
    BatchPoller,
    BatchProviderRegistry,
    BatchStatus,
    ClientClosedError,
    Match,
    PollerClosedError,
    ProviderPermanentError,
    ProviderStatus,
    ProviderTransientError,
    ResultStatus,
    ScopeError,
    StorageError,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.emulator import faults
from asyncbatch.engine.create import Grace
from asyncbatch.engine.ledger import Ledger
from asyncbatch.journal import MemoryJournal, Voided
from asyncbatch.result_stream import RowIterator
from tests.engine.six import SixMethods

CHAT = "openai/gpt-4.1-mini"


def registry_of(provider_class):
    registry = BatchProviderRegistry()
    registry.register(provider_class)
    return registry


class Tagged(SixMethods):
    """Its creates go as a script says: an error to raise, or None to accept."""

    def __init__(self, config=None):
        super().__init__(config)
        self.script = []
        self.paid_by = []

    def submit_safety(self, submission=None):
        return SubmitSafety.TAGGED

    async def submit(self, submission):
        self.paid_by.append((self._config or {}).get("api_key"))
        step = self.script.pop(0) if self.script else None
        if step is not None:
            raise step
        return await super().submit(submission)


def scripted(*script, **methods):
    class Scripted(Tagged):
        def __init__(self, config=None):
            super().__init__(config)
            self.script = list(script)

    for name, method in methods.items():
        setattr(Scripted, name, method)
    return Scripted


async def outcomes_of(runtime, provider_class):
    async with BatchClient(runtime=runtime, registry=registry_of(provider_class)) as client:
        job = await client.submit(["a", "b"], model="six/m")
        return (await job.wait()).outcomes


SENT = {ResultStatus.SUCCEEDED: 1, ResultStatus.MISSING: 1}
LOST = SubmissionUnknownError("the answer was lost", provider="six")


async def test_accounts_of_a_provider_without_facts_pay_with_their_own_keys(runtime):
    payers = []

    class Counting(Tagged):
        async def submit(self, submission):
            payers.append(self._config["api_key"])
            return await super().submit(submission)

    accounts = {"a": "KEY-A", "b": "KEY-B"}
    async with BatchClient(runtime=runtime, registry=registry_of(Counting), accounts=accounts) as client:
        jobs = [await client.submit(["x", "y"], model="six/m", account=name) for name in ("a", "b", "a")]
        for job in jobs:
            await job.wait()

    assert sorted(payers) == ["KEY-A", "KEY-A", "KEY-B"]


async def test_one_connection_error_after_an_hour_of_refusals_ends_nothing(runtime):
    busy = [ProviderTransientError("busy", provider="six", status=429, retry_after=600.0) for _ in range(6)]
    reset = ProviderTransientError("no connection", provider="six", code="unreachable")

    assert await outcomes_of(runtime, scripted(*busy, reset)) == SENT


async def test_refusals_do_not_count_as_lost_creates(runtime):
    busy = [ProviderTransientError("busy", provider="six", status=429) for _ in range(6)]

    assert await outcomes_of(runtime, scripted(*busy, LOST)) == SENT


async def test_a_list_that_fails_in_its_own_way_says_nothing_about_the_create(runtime, clock):
    failures = [OSError("reset")] * 5
    readings = []

    async def find_submissions(self, submission, *, since):
        readings.append(clock.now())
        if failures:
            raise failures.pop()
        return []

    started = clock.now()
    assert await outcomes_of(runtime, scripted(LOST, find_submissions=find_submissions)) == SENT
    assert clock.now() - started >= 900
    assert len(readings) > 5


async def test_a_list_that_stays_down_for_an_hour_is_never_taken_for_an_absent_batch(runtime, clock):
    creates = []

    async def find_submissions(self, submission, *, since):
        if clock.now() - since < 3600:
            raise ProviderTransientError("down", provider="six", status=503)
        status = ProviderStatus(provider_batch_id="b1", status=BatchStatus.IN_PROGRESS)
        return [Match(provider_batch_id="b1", why="tag", is_certain=True, status=status)]

    async def create(self, submission):
        creates.append(submission.tag)
        raise LOST

    assert await outcomes_of(runtime, scripted(find_submissions=find_submissions, create=create)) == SENT
    assert len(creates) == 1


async def test_a_list_that_is_refused_for_good_leaves_the_requests_indeterminate(runtime, clock):
    async def find_submissions(self, submission, *, since):
        raise ProviderPermanentError("not allowed", provider="six", status=403)

    started = clock.now()
    outcomes = await outcomes_of(runtime, scripted(LOST, find_submissions=find_submissions))

    assert outcomes == {ResultStatus.INDETERMINATE: 2}
    assert 1800 <= clock.now() - started < 7200


async def test_a_match_that_is_not_certain_is_not_adopted(runtime):
    async def find_submissions(self, submission, *, since):
        status = ProviderStatus(provider_batch_id="b9", status=BatchStatus.IN_PROGRESS)
        return [Match(provider_batch_id="b9", why="time_and_count", is_certain=False, status=status)]

    outcomes = await outcomes_of(runtime, scripted(LOST, find_submissions=find_submissions))

    assert outcomes == {ResultStatus.INDETERMINATE: 2}


async def test_a_create_that_fails_in_its_own_way_is_looked_for_before_another_is_sent(runtime, clock):
    started = clock.now()

    assert await outcomes_of(runtime, scripted(KeyError("id"))) == SENT
    assert clock.now() - started >= 900


async def test_a_cancel_that_fails_in_its_own_way_leaves_the_batch_watched(runtime):
    async def cancel(self, provider_batch_id):
        raise OSError("reset")

    async with BatchClient(runtime=runtime, registry=registry_of(scripted(cancel=cancel))) as client:
        job = await client.submit(["a", "b"], model="six/m")
        await job.submitted()
        with pytest.raises(OSError, match="reset"):
            await job.cancel()
        assert (await job.wait()).outcomes == SENT


async def test_a_disk_that_is_full_for_a_moment_at_the_very_end_withholds_no_row(client, monkeypatch):
    left, close = 3, Ledger.close

    def refuse(self, fill, ids):
        nonlocal left
        left -= 1
        if left >= 0:
            raise StorageError("No space left on device", code="storage.failed")
        close(self, fill, ids)

    job = await client.submit(["hi"] * 3, model=CHAT)
    monkeypatch.setattr(Ledger, "close", refuse)

    assert len(await job.results()) == 3


class TestAFenceWhoseAnswerIsLost:
    @pytest.fixture
    def pace(self):
        return {"validating_s": 1200}

    async def test_its_victim_is_sent_anew(self, client, emulator):
        emulator.add(faults.accept_then_drop(), faults.list_lag(310))
        emulator.add(faults.accept_then_error(500, method="DELETE", path="/files/*", times=None))
        job = await client.submit(["hi"], model=CHAT)

        rows = await job.results()

        kinds = [type(event) for event in await client._journal.events(job.id, 0)]
        assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
        assert kinds.count(Voided) == 1


async def test_a_client_that_closes_while_a_job_is_accepted_promises_nothing(emulator, runtime):
    class Closing(MemoryJournal):
        async def accept(self, job, submissions):
            await super().accept(job, submissions)
            await client.aclose()

    client = BatchClient(runtime=runtime)
    client._journal = journal = Closing()
    async with client:
        with pytest.raises(ClientClosedError):
            await client.submit(["hi"], model=CHAT)

    assert client.jobs() == []
    assert journal._jobs == {}


async def test_a_client_that_closes_while_rows_are_checked_accepts_no_job(emulator, runtime):
    client = BatchClient(runtime=runtime)

    async def close(requests, refused, batches):
        await client.aclose()

    async with client:
        with pytest.raises((ClientClosedError, ScopeError)):
            await client.submit(["hi"], model=CHAT, before_sending=close)

    assert client.jobs() == []


async def test_a_client_is_entered_once(emulator, runtime):
    client = BatchClient(runtime=runtime)
    async with client:
        pass

    with pytest.raises(ScopeError, match="was closed before"):
        await client.__aenter__()


async def test_rows_that_were_cut_off_by_a_timeout_do_not_look_finished(client):
    class Hanging:
        async def slices(self):
            await anyio.sleep_forever()
            yield []

    rows = RowIterator(Hanging())
    with anyio.move_on_after(0.01):
        await anext(rows)

    with pytest.raises(ScopeError, match="cut off before their end"):
        await anext(rows)


async def test_a_callback_that_watches_again_keeps_no_other_handle_waiting(runtime):
    provider = Tagged()
    heard = []

    async with BatchPoller(runtime=runtime) as poller:
        handles = [poller.watch(provider, f"b{number}") for number in range(3)]

        def again():
            try:
                poller.watch(provider, "another")
            except ScopeError as error:
                heard.append(error)

        for handle in handles:
            handle.on_done(again)

    for handle in handles:
        with pytest.raises(PollerClosedError):
            await handle
    assert len(heard) == 3


async def test_a_submit_that_is_cancelled_natively_waits_for_its_thread_and_leaves_nothing_on_the_disk(emulator):
    """A shield does not hold against `Task.cancel()`, and a thread cannot be stopped: its slice goes on without the task."""
    is_inside, may_go = threading.Event(), threading.Event()

    class Slow(dict):
        def __iter__(self):  # whoever copies it asks for its keys then
            return super().__iter__()

        def keys(self):
            is_inside.set()
            may_go.wait(20)
            return super().keys()

    body = {"messages": [{"role": "user", "content": "x" * 2_000_000}]}
    async with BatchClient() as client:
        task = asyncio.create_task(client.submit([body, Slow(body), body], model=CHAT))
        for _ in range(1000):
            if is_inside.is_set():
                break
            await asyncio.wait([task], timeout=0.01)
        task.cancel()
        ended_early, _ = await asyncio.wait([task], timeout=0.3)
        may_go.set()
        await asyncio.wait([task])
        directory = client._scope.context.space._directory

        assert not ended_early
        assert task.cancelled()
        assert directory is None or list(directory.iterdir()) == []


async def test_refused_cancels_are_asked_for_again_only_after_a_reading_of_their_own_batch(runtime):
    """Eight batches of one job hear of each other's every change; each is asked about as often as it was read."""
    asked, readings = [], []

    class Refusing(Tagged):
        async def prepare_payloads(self, *, requests, **words):
            return [(await SixMethods.prepare_payloads(self, requests=[row], **words))[0] for row in requests]

        async def submit(self, submission):
            accepted = await super().submit(submission)
            return msgspec.structs.replace(accepted, provider_batch_id=f"b{len(self.paid_by)}")

        async def cancel(self, provider_batch_id):
            asked.append(provider_batch_id)
            if len(asked) < 200:
                raise ProviderPermanentError("not now", provider="six", status=403)

        async def poll_status(self, provider_batch_id):
            readings.append(provider_batch_id)
            word = BatchStatus.IN_PROGRESS if len(asked) < 200 else BatchStatus.CANCELLED
            return ProviderStatus(provider_batch_id=provider_batch_id, status=word)

    async with BatchClient(runtime=runtime, registry=registry_of(Refusing)) as client:
        job = await client.submit(["x"] * 8, model="six/m")
        await job.submitted()
        with pytest.raises(ProviderPermanentError, match="not now"):
            await job.cancel()
        await job.wait()

    assert len(asked) >= 200
    assert all(asked.count(batch) <= readings.count(batch) + 1 for batch in set(asked))


async def test_a_create_that_begins_while_the_client_closes_has_the_same_deadline():
    grace = Grace()
    grace.hurry(0.01)

    with anyio.fail_after(5), grace.enter() as scope:
        await anyio.sleep_forever()

    assert scope.cancelled_caught
