"""What a client opens it closes, whatever happens in between: descriptors, threads, tasks and temporary files."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asyncbatch import BatchClient, Polling
from asyncbatch.emulator import Emulator, faults
from tests.engine.lives import CHAT, LIVES, LONG, STALL, OwnError
from tests.engine.waiting import turns
from tests.soak.stock import own_objects

ROOT = Path(__file__).parents[2]
LIVES_LIVED = 25


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture
def open_client(emulator, runtime, catalog):
    return lambda **options: BatchClient(runtime=runtime, catalog=catalog, **options)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def held(place):
    """Count what a process can run out of."""
    gc.collect()
    files = sum(len(names) for _, _, names in os.walk(place))
    return descriptors(), threading.active_count(), len(asyncio.all_tasks()), files, len(list(own_objects()))


async def lived(open_client, place, live, times, is_durable):
    """Live so many times, after once; gives what was held then, and what is in the end."""

    async def once(number):
        where = {"journal": place / f"state-{number}"} if is_durable else {}
        async with open_client(**where) as client:
            await LIVES[live](client)

    await once(0)  # what is made once, such as threads that are kept, is there now
    before = held(place)
    for number in range(1, times + 1):
        await once(number)
    await settled(before)
    return before, held(place)


async def settled(before):
    """Wait until the emulator, which lives in this process too, has closed what its clients have left."""
    for _ in turns():
        if descriptors() < before[0] + LIVES_LIVED // 2:
            break
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def place(tmp_path, monkeypatch, emulator):
    """Where temporary files lie, and nothing else does; and nobody keeps what is logged, and with it the errors' frames."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    logging.disable()
    yield tmp_path
    logging.disable(logging.NOTSET)


def check(before, after, *, is_durable):
    opened, threads, tasks, files, objects = before
    assert after[0] < opened + LIVES_LIVED // 2, "what a life has opened it closes"
    assert after[1] < threads + LIVES_LIVED // 2, "some are kept to work in, and to look names up"
    assert after[2] == tasks
    assert is_durable or after[3] == files == 0, "what is in memory leaves no file"
    assert after[4] < objects + LIVES_LIVED // 2, "whoever was left is forgotten"


COUNTED = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="descriptors are counted where Linux lists them"
)
DURABLE = pytest.mark.parametrize("is_durable", [False, True], ids=["in memory", "on disk"])


@COUNTED
@DURABLE
@pytest.mark.parametrize("live", LIVES)
async def test_many_lives_leave_nothing_open(open_client, emulator, place, live, is_durable):
    if live == "refused":
        emulator.add(faults.refuse(401, operation="upload", times=None))

    check(*await lived(open_client, place, live, LIVES_LIVED, is_durable), is_durable=is_durable)


@COUNTED
@DURABLE
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("live", LIVES)
async def test_a_thousand_lives_leave_nothing_open(open_client, emulator, place, live, is_durable):
    if live == "refused":
        emulator.add(faults.refuse(401, operation="upload", times=None))

    check(*await lived(open_client, place, live, 1000, is_durable), is_durable=is_durable)


@COUNTED
async def test_accounts_that_cannot_be_asked_for_leave_nothing_open(open_client, place):
    async def broken(account):
        raise OwnError

    async def once():
        async with open_client(accounts=broken) as client:
            with pytest.raises(OwnError):
                await client.submit([LONG] * 4, model=CHAT, account="a")

    await once()
    before = held(place)
    for _ in range(LIVES_LIVED):
        await once()
    await settled(before)

    check(before, held(place), is_durable=False)


@COUNTED
def test_event_loops_that_come_in_turn_leave_nothing_open(emulator, place):
    """With real time and real threads, each loop has its own; what belongs to one that is over goes with it."""

    async def live(number):
        polling = Polling(first_s=0.01, max_s=0.02)
        async with BatchClient(polling=polling, journal=place / f"state-{number}") as client:
            job = await client.submit(["a"], model=CHAT)
            await job.submitted()
        return held(place)

    counted = [asyncio.run(live(number)) for number in range(LIVES_LIVED)]
    asyncio.run(settled(counted[1]))

    check(counted[1], asyncio.run(live(LIVES_LIVED)), is_durable=True)


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
