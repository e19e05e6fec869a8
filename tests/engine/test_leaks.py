"""What a client opens it closes, whatever happens in between: descriptors, threads, tasks and temporary files."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from asyncbatch import BatchClient, Polling, ProviderError
from asyncbatch.emulator import Emulator, faults

ROOT = Path(__file__).parents[2]
CHAT = "openai/gpt-4.1-mini"
LIVES_LIVED = 25
STALL = "[[stall]] never answered"


@pytest.fixture
def open_client(emulator, runtime, catalog):
    return lambda **options: BatchClient(runtime=runtime, catalog=catalog, **options)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def held(place):
    """Count what a process can run out of."""
    gc.collect()
    files = sum(len(names) for _, _, names in os.walk(place))
    return descriptors(), threading.active_count(), len(asyncio.all_tasks()), files


async def whole(client):
    job = await client.submit(["a", "b"], model=CHAT)
    assert len([row async for row in job.results()]) == 2
    await job.discard()


async def left_early(client):
    await client.submit(["a", STALL], model=CHAT)


async def refused(client):
    with pytest.raises(ProviderError):
        await (await client.submit(["a"], model=CHAT)).results()


async def cancelled(client):
    job = await client.submit(["a", STALL], model=CHAT)
    with anyio.move_on_after(0):
        await job.results()
    with suppress(asyncio.CancelledError):
        task = asyncio.create_task(job.wait())
        await asyncio.sleep(0)
        task.cancel()
        await task


LIVES = {"to its end": whole, "left early": left_early, "refused": refused, "cancelled": cancelled}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted where Linux lists them")
@pytest.mark.parametrize("live", LIVES)
@pytest.mark.parametrize("is_durable", [False, True], ids=["in memory", "on disk"])
async def test_many_lives_leave_nothing_open(open_client, emulator, tmp_path, monkeypatch, live, is_durable):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    if live == "refused":
        emulator.add(faults.refuse(401, operation="upload", times=None))

    async def once(number):
        where = {"journal": tmp_path / f"state-{number}"} if is_durable else {}
        async with open_client(**where) as client:
            await LIVES[live](client)

    await once(0)  # what is made once, such as threads that are kept, is there now
    opened, threads, tasks, files = held(tmp_path)
    for number in range(1, LIVES_LIVED + 1):
        await once(number)

    after = held(tmp_path)
    assert after[0] < opened + LIVES_LIVED // 2, "a few connections of the emulator's may still be closing"
    assert after[1] < threads + LIVES_LIVED // 2, "some are kept to work in, and to look names up"
    assert after[2] == tasks
    assert is_durable or after[3] == files == 0, "what is in memory leaves no file"


def test_without_descriptors_a_job_waits_and_goes_on():
    """The table of its process is full when the answers of its batch are there, and has room again later."""
    with Emulator(speed=3600) as emulator:
        env = {**os.environ, **emulator.env("openai")}
        done = subprocess.run(
            [sys.executable, "-m", "tests.engine.hungry"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        creates = [record.kind for record in emulator.history].count("create")

    assert done.stdout.splitlines() == ["full True False", "echo: a", "echo: b"], done.stderr
    assert creates == 1


async def test_a_cancelled_wait_costs_nothing(emulator):
    """A cancelled scope that waits for a shield asks its task again and again in some versions: a core for a day."""
    async with BatchClient(polling=Polling(first_s=600)) as client:
        job = await client.submit([STALL], model=CHAT)
        await job.submitted()
        held_up = anyio.Event()

        async def shielded():
            with anyio.CancelScope(shield=True):
                await held_up.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                before = time.thread_time()
                await anyio.sleep(0.5)
                spent = time.thread_time() - before
            held_up.set()

    assert spent < 0.25, "it waits, and does not spin"
