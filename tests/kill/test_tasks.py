"""Several tasks of one process with one job: a race within a client is settled as one between processes is."""

import anyio
import pytest

from asyncbatch import BatchClient, ConfigError
from asyncbatch.emulator import Emulator
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.kill.services import OPENAI

PROMPTS = [f"hello {n}" for n in range(3)]


@pytest.fixture
def emulator(monkeypatch):
    clock = VirtualClock()
    with Emulator(clock=clock.now) as emulator:
        for name, value in emulator.env(OPENAI.name).items():
            monkeypatch.setenv(name, value)
        emulator.runtime = virtual_runtime(clock)
        yield emulator


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


async def at_once(count, do):
    """Do something in several tasks, and give what each got, or was told."""
    got = []

    async def one(number):
        try:
            got.append(await do(number))
        except Exception as error:
            got.append(error)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)
    return got


@pytest.mark.parametrize("journal", ["memory", "disk"])
async def test_tasks_that_submit_under_one_key_at_once_get_one_job(emulator, tmp_path, journal):
    where = "memory" if journal == "memory" else tmp_path / "state"
    async with BatchClient(runtime=emulator.runtime, journal=where) as client:
        jobs = await at_once(5, lambda _: client.submit(PROMPTS, model=OPENAI.model, key="nightly"))
        assert len({job.id for job in jobs}) == 1
        rows = [len(await job.results()) for job in jobs]

    assert rows == [3] * 5
    assert len(creates(emulator)) == 1


async def test_of_tasks_that_submit_other_requests_under_one_key_one_is_heard(emulator, tmp_path):
    async with BatchClient(runtime=emulator.runtime, journal=tmp_path / "state") as client:
        got = await at_once(3, lambda n: client.submit([f"hello {n}"], model=OPENAI.model, key="nightly"))
        (job,) = [each for each in got if not isinstance(each, Exception)]
        refused = [each.code for each in got if isinstance(each, ConfigError)]
        await job.wait()

    assert refused == ["key.reused"] * 2
    assert len(creates(emulator)) == 1
    assert [path.name for path in (tmp_path / "state" / "jobs").iterdir()] == [job.id]


async def test_tasks_that_attach_a_job_at_once_go_on_with_it_once(emulator, tmp_path):
    async with BatchClient(runtime=emulator.runtime, journal=tmp_path / "state") as client:
        job = await client.submit(PROMPTS, model=OPENAI.model)
    async with BatchClient(runtime=emulator.runtime, journal=tmp_path / "state", resume=False) as client:
        jobs = await at_once(5, lambda _: client.job(job.id))
        states = [each.status().batches for each in jobs]
        rows = [len(await each.results()) for each in jobs]

    assert len({str(state) for state in states}) == 1
    assert rows == [3] * 5
    assert len(creates(emulator)) == 1
