"""Room in an account: what may be open at once, whose turn it is, and what a refusal teaches."""

import re

import pytest

from asyncbatch import AccountLimits, BatchClient, ConfigError, ResultStatus, load_catalog
from asyncbatch.emulator import Emulator, faults
from tests.engine.gates import hold
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
OK = ResultStatus.SUCCEEDED


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


def most_open(emulator):
    """Say how many batches were unfinished at once, as the emulator's store has them."""
    spans = []
    for desk in emulator._must_run().service.desks:
        for batch in desk.store.batches.values():
            if not batch.course.is_refused:
                end = max(batch.stand(emulator.now).since.values())
                spans.append((batch.course.created_at, end))
    return max((sum(begin <= at < end for begin, end in spans) for at, _ in spans), default=0)


async def held(client, account=None):
    """Let no batch of an account be seen to end until the gate is opened."""
    provider = await client._payers.of("openai", account)
    return provider, hold(provider, "poll_status")


def sent(job):
    return sum(batch.provider_batch_id is not None for batch in job.status().batches)


def waiting(job):
    return [batch.note for batch in job.status().batches if batch.note and batch.note.startswith("waiting for room")]


@pytest.fixture
def allowed():
    """What the emulator allows an account."""
    return {}


@pytest.fixture
def emulator(clock, pace, allowed, monkeypatch):
    with Emulator(clock=clock.now, pace=pace, limits=allowed) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        yield emulator


def refusals(emulator, status=429):
    found = (record for record in emulator.history if record.kind == "request" and record.operation == "create")
    return [record for record in found if record.status == status]


class TestOwnLimits:
    @pytest.fixture
    def limits(self):
        return {"requests": 1}

    async def test_no_more_batches_are_open_than_the_limit_says_and_they_go_in_order(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_batches=4)) as client:
            _provider, gate = await held(client)
            job = await client.submit([f"prompt {n}" for n in range(50)], model=CHAT)
            await until(lambda: sent(job) == 4 and len(waiting(job)) == 46)
            gate.open()
            status = await job.wait()

        assert status.outcomes == {OK: 50}
        assert most_open(emulator) <= 4
        order = [int(record.metadata["asyncbatch_tag"].split("-")[2]) for record in creates(emulator)]
        assert all(abs(index - place) < 4 for place, index in enumerate(order)), "two are uploaded at a time"
        assert refusals(emulator) == []

    async def test_whoever_waits_says_why_and_nobody_who_does_not(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_batches=1)) as client:
            _provider, gate = await held(client)
            job = await client.submit(["a", "b"], model=CHAT)
            await until(lambda: sent(job) == 1 and waiting(job))
            notes = [batch.note for batch in job.status().batches]
            gate.open()
            await job.wait()

        assert notes == [None, "waiting for room: 1 of 1 batches of this account are open"]
        assert [batch.note for batch in job.status().batches] == [None, None]

    @pytest.mark.parametrize("room", [1, 2])
    async def test_a_small_job_goes_in_between_the_batches_of_a_large_one(self, emulator, runtime, catalog, room):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_batches=room)) as client:
            _provider, gate = await held(client)
            large = await client.submit([f"prompt {n}" for n in range(20)], model=CHAT)
            await until(lambda: sent(large) == room)
            small = await client.submit(["hi"], model=CHAT)
            await until(lambda: waiting(small))
            gate.open()
            await small.wait()
            await large.wait()

        order = [record.metadata["asyncbatch_tag"].split("-")[1] for record in creates(emulator)]
        assert order.index(small.id[:8]) <= 4, "it was the next but for those that were on their way"

    async def test_tokens_are_counted_by_model_where_the_provider_does(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(enqueued_tokens=100)) as client:
            _provider, gate = await held(client)
            first = await client.submit(["a", "b"], model=CHAT)
            other = await client.submit(["a"], model="openai/gpt-4.1-nano")
            await until(lambda: sent(first) == sent(other) == 1 and waiting(first))
            (note,) = waiting(first)
            gate.open()
            await first.wait()

        assert re.fullmatch(r"waiting for room: \d+ of 100 enqueued tokens of gpt-4.1-mini", note)

    async def test_a_limit_on_requests_counts_them_all(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_requests=3)) as client:
            _provider, gate = await held(client)
            job = await client.submit([f"prompt {n}" for n in range(9)], model=CHAT)
            await until(lambda: sent(job) == 3 and len(waiting(job)) == 6)
            gate.open()
            status = await job.wait()

        assert status.outcomes == {OK: 9}
        assert most_open(emulator) <= 3

    async def test_what_waits_is_withdrawn_at_once_when_the_job_is_cancelled(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_batches=1)) as client:
            _provider, gate = await held(client)
            job = await client.submit(["a", "b", "c"], model=CHAT)
            await until(lambda: sent(job) == 1 and len(waiting(job)) == 2)
            await job.cancel()
            await until(lambda: all(batch.ending == "withdrawn" for batch in job.status().batches[1:]))
            gate.open()
            await job.wait()

        assert len(creates(emulator)) == 1

    async def test_an_account_that_is_full_delays_no_other(self, emulator, runtime, catalog):
        accounts = {"full": "key-full", "quick": "key-quick"}
        limits = {"full": AccountLimits(open_batches=1)}
        async with BatchClient(runtime=runtime, catalog=catalog, accounts=accounts, limits=limits) as client:
            _provider, gate = await held(client, "full")
            full = await client.submit([f"prompt {n}" for n in range(20)], model=CHAT, account="full")
            await until(lambda: len(waiting(full)) == 19)
            quick = await client.submit([f"prompt {n}" for n in range(6)], model=CHAT, account="quick")
            status = await quick.wait()
            still = len(waiting(full))
            gate.open()

        assert status.outcomes == {OK: 6}
        assert still == 19

    async def test_the_catalogs_own_limit_holds_without_anybody_saying_so(self, emulator, runtime):
        facts = {"providers": {"openai": {"limits": {"requests": 1, "open_batches": 2}}}}
        async with BatchClient(runtime=runtime, catalog=load_catalog(facts)) as client:
            _provider, gate = await held(client)
            job = await client.submit([f"prompt {n}" for n in range(8)], model=CHAT)
            await until(lambda: sent(job) == 2 and len(waiting(job)) == 6)
            gate.open()
            await job.wait()

        assert most_open(emulator) <= 2

    async def test_a_batch_that_alone_is_larger_than_the_limit_goes_alone(self, emulator, runtime):
        async with BatchClient(runtime=runtime, limits=AccountLimits(open_requests=2)) as client:
            job = await client.submit(["a", "b", "c"], model=CHAT)

            assert (await job.wait()).outcomes == {OK: 3}


class TestRefusals:
    @pytest.fixture
    def limits(self):
        return {"requests": 1}

    @pytest.fixture
    def allowed(self):
        return {"open_batches": 3}

    async def test_a_limit_that_nobody_told_us_is_learnt_and_obeyed(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit([f"prompt {n}" for n in range(30)], model=CHAT)
            status = await job.wait()

        assert status.outcomes == {OK: 30}
        assert most_open(emulator) <= 3
        assert len(refusals(emulator)) < 60, "all wait together, instead of each asking by itself"

    async def test_one_restart_in_the_middle_changes_nothing(self, emulator, runtime, catalog, tmp_path):
        where = tmp_path / "state"
        async with BatchClient(runtime=runtime, catalog=catalog, journal=where) as client:
            job = await client.submit([f"prompt {n}" for n in range(20)], model=CHAT)
            await until(lambda: len(creates(emulator)) >= 5)
        async with BatchClient(runtime=runtime, catalog=catalog, journal=where) as client:
            status = await (await client.job(job.id)).wait()

        assert status.outcomes == {OK: 20}
        assert most_open(emulator) <= 3
        assert len(creates(emulator)) == 20

    async def test_a_try_whose_create_was_lost_and_is_found_again_keeps_nobody_waiting(
        self, emulator, runtime, catalog
    ):
        emulator.add(faults.rate_limited(60, operation="create", method="POST"))
        emulator.add(faults.accept_then_drop(operation="create", first=2))
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            _provider, gate = await held(client)
            found = await client.submit(["a"], model=CHAT)
            await found.submitted()
            other = await client.submit(["b"], model=CHAT)
            await until(lambda: sent(other) == 1)
            gate.open()
            outcomes = [(await job.wait()).outcomes for job in (found, other)]

        assert len(refusals(emulator)) == 1
        assert outcomes == [{OK: 1}, {OK: 1}]


class TestTurnedAway:
    @pytest.fixture
    def limits(self):
        return {"requests": 1}

    async def test_a_batch_that_fails_for_want_of_room_is_sent_again_and_nothing_is_paid_twice(
        self, emulator, runtime, catalog
    ):
        emulator.add(faults.full_queue(first=2))
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit(["a", "b", "c"], model=CHAT)
            status = await job.wait()

        assert status.outcomes == {OK: 3}
        assert len(creates(emulator)) == 4
        assert sum(record.is_paid for record in creates(emulator)) == 3

    async def test_it_is_sent_again_after_a_restart_too(self, emulator, runtime, catalog, tmp_path):
        emulator.add(faults.full_queue())
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
            job = await client.submit(["a"], model=CHAT)
            await until(
                lambda: job.status().batches[0].note is not None and "turned away" in job.status().batches[0].note
            )
            note = job.status().batches[0].note
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
            status = await (await client.job(job.id)).wait()

        assert note == "waiting for room: turned away (token_limit_exceeded) with 0 batches of gpt-4.1-mini open"
        assert status.outcomes == {OK: 1}
        assert sum(record.is_paid for record in creates(emulator)) == 1

    async def test_what_never_finds_room_is_given_up_after_a_day(self, emulator, runtime, catalog, clock):
        emulator.add(faults.full_queue(times=None))
        began = clock.now()
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit(["a"], model=CHAT)
            rows = await job.results()

        assert [(row.status, row.error.retryable) for row in rows] == [(ResultStatus.ERRORED, True)]
        assert 86_400 <= clock.now() - began < 2 * 86_400
        assert len(creates(emulator)) <= 51

    async def test_one_that_is_cancelled_while_it_waits_is_withdrawn(self, emulator, runtime, catalog):
        emulator.add(faults.full_queue(times=None))
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit(["a"], model=CHAT)
            await until(
                lambda: job.status().batches[0].note is not None and "turned away" in job.status().batches[0].note
            )
            await job.cancel()

            assert (await job.wait()).outcomes == {ResultStatus.CANCELLED: 1}


class TestEnqueuedTokens:
    @pytest.fixture
    def limits(self):
        return {"requests": 1}

    @pytest.fixture
    def allowed(self):
        return {"enqueued_tokens": 200}

    async def test_a_limit_on_tokens_is_learnt_from_batches_that_fail(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit([f"prompt {n}" for n in range(12)], model=CHAT)
            status = await job.wait()

        assert status.outcomes == {OK: 12}
        assert sum(record.is_paid for record in creates(emulator)) == 12
        assert len(creates(emulator)) < 60


class TestLongQueues:
    """Batches that take ten hours, and a queue of two days behind a limit that nobody told us."""

    @pytest.fixture
    def limits(self):
        return {"requests": 1}

    @pytest.fixture
    def pace(self):
        return {"row_s": 36_000.0, "run_cap_s": None}

    @pytest.fixture(params=[{"open_batches": 3}, {"enqueued_tokens": 150}], ids=["refused", "turned away"])
    def allowed(self, request):
        return request.param

    async def test_whoever_is_behind_for_longer_than_a_day_is_not_given_up_while_the_queue_moves(
        self, emulator, runtime, catalog, clock
    ):
        began = clock.now()
        async with BatchClient(runtime=runtime, catalog=catalog) as client:
            job = await client.submit([f"prompt {n}" for n in range(15)], model=CHAT)
            status = await job.wait()

        assert status.outcomes == {OK: 15}
        assert clock.now() - began > 1.5 * 86_400
        assert sum(record.is_paid for record in creates(emulator)) == 15


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (4, "limits is int"),
        ({"acme": 4}, "limits['acme'] is int"),
        ({4: AccountLimits()}, "limits[4] is AccountLimits"),
        ({"openai": AccountLimits(requests_per_day=4)}, "limits['openai'] has a budget"),
    ],
)
def test_what_are_no_limits_is_refused(given, word):
    with pytest.raises(ConfigError) as caught:
        BatchClient(limits=given)

    assert str(caught.value).startswith(word)


class TestOtherProcesses:
    @pytest.fixture
    def limits(self):
        return {"requests": 1, "open_batches": 2}

    async def test_what_another_process_has_open_takes_room_here_too(self, emulator, runtime, catalog, tmp_path):
        async with (
            BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as first,
            BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as second,
        ):
            _provider, gate = await held(first)
            one = await first.submit(["a", "b"], model=CHAT)
            await until(lambda: sent(one) == 2)
            other = await second.submit(["c"], model=CHAT)
            await until(lambda: waiting(other))
            before = len(creates(emulator))
            gate.open()
            status = await other.wait()
            await one.wait()

        assert before == 2
        assert status.outcomes == {OK: 1}
        assert most_open(emulator) <= 2

    async def test_a_process_that_only_reads_the_journal_says_why_too(self, emulator, runtime, catalog, tmp_path):
        async with (
            BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as first,
            BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path, resume=False) as reader,
        ):
            _provider, gate = await held(first)
            job = await first.submit(["a", "b", "c"], model=CHAT)
            await until(lambda: sent(job) == 2 and waiting(job))
            (known,) = await reader.records()
            gate.open()
            await job.wait()
            (over,) = await reader.records()

        assert [batch.note for batch in known.batches][2] == waiting_for(2)
        assert known.batches[2].state == "planned"
        assert [batch.note for batch in over.batches] == [None, None, None]

    async def test_closing_a_client_while_something_waits_loses_nothing(self, emulator, runtime, catalog, tmp_path):
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
            _provider, _gate = await held(client)
            job = await client.submit(["a", "b", "c", "d"], model=CHAT)
            await until(lambda: sent(job) == 2 and len(waiting(job)) == 2)
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
            status = await (await client.job(job.id)).wait()

        assert status.outcomes == {OK: 4}
        assert len(creates(emulator)) == 4

    async def test_a_refusal_is_told_from_the_journal(self, emulator, runtime, catalog, tmp_path):
        emulator.add(faults.rate_limited(3000, operation="create", method="POST", times=None))
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
            job = await client.submit(["a"], model=CHAT)
            await until(lambda: waiting(job))
            (note,) = waiting(job)
            (known,) = await client.records()
            await job.cancel()
            await job.wait()

        assert note == "waiting for room: refused for now (rate_limit_exceeded) with 0 batches of this account open"
        assert known.batches[0].note.startswith("refused for now: openai: ")


def waiting_for(most):
    return f"waiting for room: {most} of {most} batches of this account are open"
