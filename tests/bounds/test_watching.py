"""What a batch costs that is watched: objects that the garbage collector looks at, calls of Python, steps at once.

Ten thousand of them are watched beside other work. A full collection looks at every object that it knows of while the event
loop stands still, and is due whenever a quarter more have come to be.
"""

import asyncio
import gc
import math

import pytest

from asyncbatch import BatchClient, BatchPoller, Polling, load_catalog
from asyncbatch.emulator import Emulator
from asyncbatch.runtime import Owner
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.watching.events import Feed
from asyncbatch.watching.handle import BatchHandle
from asyncbatch.watching.sweep import SweepingLane
from tests.bounds.test_calls import Calls
from tests.poller.listed import ListedProvider

MANY = 2000


@pytest.fixture
def provider():
    return ListedProvider(runtime=virtual_runtime(VirtualClock()))


async def test_a_batch_that_is_watched_costs_a_handle_a_watch_and_a_place_on_the_agenda(provider):
    async with BatchPoller(runtime=provider.runtime) as poller:
        names = provider.fill(MANY)
        gc.collect()
        before = len(gc.get_objects())
        handles = await poller.watch_many(provider, names)
        ended = poller.as_completed(handles)
        gc.collect()
        each = (len(gc.get_objects()) - before) / MANY

    assert ended is not None
    assert each < 3.2


async def test_a_reading_from_a_list_costs_no_object_and_a_few_calls(provider):
    lane = SweepingLane(provider, provider.runtime, Polling(), Feed())
    handles = [BatchHandle(provider, name) for name in provider.fill(MANY)]
    for handle in handles:
        lane.watch(handle)
    statuses = [provider.status_of(handle.provider_batch_id) for handle in handles]
    sought = dict.fromkeys(lane._agenda.until(math.inf), 0.0)
    lane._agenda.remove_all(sought)
    gc.collect()
    before = len(gc.get_objects())
    with Calls() as calls:
        await lane._take_in(statuses, sought, lane._stamp(), 0.5)
    gc.collect()
    each = (len(gc.get_objects()) - before) / MANY

    assert sought == {}
    assert all(handle.last is status for handle, status in zip(handles, statuses, strict=True))
    assert each <= 1.1, "its place on the agenda"
    assert calls.count / MANY <= 17


async def test_parts_of_a_job_begin_a_few_at_a_time():
    """A job of hundreds of batches begins beside other work too."""
    turn, at_once = 0, {}
    spawn = Owner.spawn

    def counted(self, *given, **named):
        at_once[turn] = at_once.get(turn, 0) + 1
        return spawn(self, *given, **named)

    async def count_turns():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    catalog = load_catalog({"providers": {"openai": {"polling": {"min_interval_s": 0.01}, "limits": {"requests": 1}}}})
    with Emulator(speed=100_000) as emulator, pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.env("openai").items():
            patch.setenv(name, value)
        patch.setattr(Owner, "spawn", counted)
        async with BatchClient(catalog=catalog, polling=Polling(first_s=0.01, max_s=0.05)) as client:
            others = asyncio.create_task(count_turns())
            job = await client.submit((f"hello {number}" for number in range(150)), model="openai/gpt-4.1-mini")
            while sum(at_once.values()) < 151:
                await asyncio.sleep(0)
            others.cancel()
            await job.cancel()
            await job.wait()

    assert max(at_once.values()) <= 33
