"""Woken, a batch is asked about now: once, however often it is woken, and no sooner than its provider lets us."""

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from asyncbatch import BatchPoller, BatchStatus, Polling, ProviderStatus, ProviderTransientError, ScopeError
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.engine.waiting import until
from tests.poller.scripted import ScriptedProvider

DONE, RUNNING = BatchStatus.COMPLETED, BatchStatus.IN_PROGRESS
PATIENT = Polling(first_s=2_000_000, factor=1, max_s=2_000_000, jitter=0)


class Careful(ScriptedProvider):
    """Wants ten seconds between two questions."""

    poll_floor_s = 10.0


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    """Short waits pass by themselves; long ones last until something else happens."""

    async def sleep(seconds):
        if seconds > 3600:
            await anyio.sleep_forever()
        await clock.sleep(seconds)

    return replace(virtual_runtime(clock), sleep=sleep)


@pytest.fixture
async def poller(runtime):
    async with BatchPoller(PATIENT, runtime=runtime) as poller:
        yield poller


def provider(runtime, kind=ScriptedProvider, **lives):
    return kind(lives=lives, runtime=runtime)


async def turns(count=50):
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_a_burst_of_wakes_is_one_question_and_others_are_left_alone(poller, runtime, clock):
    asked = provider(runtime, a=[RUNNING], b=[RUNNING])
    a, b = poller.watch(asked, "a"), poller.watch(asked, "b")
    await turns()
    assert asked.asked == []

    assert all(a.wake() for _ in range(100))
    await turns()

    assert asked.asked == [("a", clock.now())]
    assert (a.status, b.status) == (RUNNING, BatchStatus.UNKNOWN)


async def test_a_batch_that_has_ended_is_seen_to_have_and_cannot_be_woken_any_more(poller, runtime):
    asked = provider(runtime, a=[DONE])
    handle = poller.watch(asked, "a")

    assert poller.wake("a") is True
    assert (await handle).status is DONE
    assert (handle.wake(), poller.wake("a"), poller.wake("b")) == (False, False, False)
    assert len(asked.asked) == 1


async def test_every_batch_of_that_name_is_woken(poller, runtime):
    both = [provider(runtime, a=[DONE]), provider(runtime, a=[DONE])]
    handles = [poller.watch(one, "a") for one in both]

    assert poller.wake("a")
    assert [(await handle).status for handle in handles] == [DONE, DONE]


async def test_the_providers_minimum_holds_for_whoever_wakes(poller, runtime):
    asked = provider(runtime, Careful, a=[RUNNING, RUNNING, DONE])
    handle = poller.watch(asked, "a")
    while not handle.is_done:
        handle.wake()
        await turns(1)

    first, second, third = asked.times("a")
    assert second - first >= 10.0
    assert third - second >= 10.0


@pytest.mark.parametrize(
    "step",
    [
        ProviderTransientError("busy", provider="scripted", status=429, retry_after=300.0),
        ProviderStatus(provider_batch_id="a", status=RUNNING, raw_status="running", retry_after=300.0),
    ],
)
async def test_so_does_its_wish_to_be_asked_later(poller, runtime, step):
    asked = provider(runtime, a=[step, DONE])
    handle = poller.watch(asked, "a")
    while not handle.is_done:
        handle.wake()
        await turns(1)

    first, second = asked.times("a")
    assert second - first >= 300.0


async def test_what_is_woken_while_it_is_asked_about_is_asked_about_once_more(poller, runtime):
    arrived, answered = anyio.Event(), anyio.Event()

    async def slow():
        arrived.set()
        await answered.wait()
        return RUNNING

    asked = provider(runtime, Careful, a=[slow, RUNNING])
    handle = poller.watch(asked, "a")
    handle.wake()
    await arrived.wait()
    for _ in range(5):
        handle.wake()
    answered.set()
    await until(lambda: len(asked.asked) == 2)
    await turns()

    first, second = asked.times("a")
    assert second - first >= 10.0
    assert len(asked.asked) == 2


async def test_a_wake_never_puts_a_question_off(runtime, clock):
    async with BatchPoller(Polling(first_s=5, factor=1, max_s=5, jitter=0), runtime=runtime) as poller:
        asked = provider(runtime, Careful, a=[RUNNING, RUNNING, DONE])
        handle = poller.watch(asked, "a")
        handle.wake()
        await handle

    gaps = [later - earlier for earlier, later in zip(asked.times("a"), asked.times("a")[1:], strict=False)]
    assert gaps == [10.0, 10.0]


async def test_a_poller_that_is_closed_wakes_nothing(runtime):
    asked = provider(runtime, a=[DONE])
    async with BatchPoller(PATIENT, runtime=runtime) as poller:
        handle = poller.watch(asked, "a")

    assert handle.wake() is False
    with pytest.raises(ScopeError):
        poller.wake("a")
    assert asked.asked == []
