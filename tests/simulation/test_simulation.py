"""The simulation itself: time passes for each in its own measure, and a world is the same world every time."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.simulation.loop import StuckError, run
from tests.simulation.world import plan, played

ROOT = Path(__file__).parents[2]
SEEDS = range(12)
SCRIPT = """
import sys, tempfile
from pathlib import Path
from tests.simulation.test_simulation import SEEDS, story
print([story(seed, Path(tempfile.mkdtemp(dir=sys.argv[1]))) for seed in SEEDS])
"""


def story(seed, place):
    """Give everything that happened in a world, but for the names that are made anew each time."""
    world = played(plan(seed), place)
    batches = [(batch.lines, batch.created_at, batch.ends) for batch in world.service.batches.values()]
    orders = [(order.lines, order.sent_at, order.is_answered) for order in world.service.orders]
    rows = [[(row.request_id, row.status, bytes(row.body)) for row in told.rows] for told in world.told]
    return repr((batches, orders, [life.died_at for life in world.lives], rows))


async def test_each_sleeper_wakes_at_its_own_time():
    woken = []

    async def sleeper(seconds):
        await anyio.sleep(seconds)
        woken.append(anyio.current_time())

    async def main():
        async with anyio.create_task_group() as group:
            for seconds in (3600.0, 0.5, 86_400.0):
                group.start_soon(sleeper, seconds)

    await anyio.to_thread.run_sync(run, main)

    assert woken == [0.5, 3600.0, 86_400.0]


def test_tasks_that_wait_for_each_other_are_told():
    async def main():
        await anyio.Event().wait()

    with pytest.raises(StuckError):
        run(main)


def test_what_a_callback_raises_is_not_only_logged():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await anyio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_world_is_the_same_world_in_every_process(place):
    here = [story(seed, place / str(seed)) for seed in SEEDS]
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place)], capture_output=True, text=True, check=True, cwd=ROOT, env=env
    )

    assert done.stdout.strip() == str(here)
