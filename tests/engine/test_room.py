"""Room in an account: what may be open at once, whose turn it is, and what a refusal teaches."""

import pytest

from asyncbatch import AccountLimits, BatchClient, ConfigError, ResultStatus
from asyncbatch.emulator import Emulator, faults
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
            job = await client.submit([f"prompt {n}" for n in range(50)], model=CHAT)
            status = await job.wait()

        assert status.outcomes == {OK: 50}
        assert most_open(emulator) == 4
        order = [int(record.metadata["asyncbatch_tag"].split("-")[2]) for record in creates(emulator)]
        assert all(abs(index - place) < 4 for place, index in enumerate(order)), "two are uploaded at a time"
        assert refusals(emulator) == []

    async def test_whoever_waits_says_why(self, emulator, runtime, catalog):
        async with BatchClient(runtime=runtime, catalog=catalog, limits=AccountLimits(open_batches=1)) as client:
            job = await client.submit(["a", "b"], model=CHAT)
            await until(lambda: job.status().batches[0].state == "submitted")
            note = job.status().batches[1].note
            await job.wait()

        assert note == "waiting for room: 1 of 1 batches of this account are open"
        assert [batch.note for batch in job.status().batches] == [None, None]
