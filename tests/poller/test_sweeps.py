"""One page of a list in the place of many questions: where it is cheaper, and never at the price of being wrong or late."""

import asyncio
import math

import anyio
import anyio.lowlevel
import msgspec
import pytest

from asyncbatch import (
    BatchPoller,
    BatchStatus,
    Polling,
    ProviderPermanentError,
    ProviderStatus,
    ProviderTransientError,
    StatusPage,
)
from asyncbatch.emulator import faults
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.watching import sweep
from asyncbatch.watching.events import Feed
from asyncbatch.watching.handle import BatchHandle
from tests.poller.listed import HOUR_S, ListedProvider
from tests.poller.scripted import ScriptedProvider
from tests.providers.world import world

DONE, RUNNING = BatchStatus.COMPLETED, BatchStatus.IN_PROGRESS
PROVIDERS = ["openai", "anthropic", "gemini", "mistral"]


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


@pytest.fixture
def provider(runtime):
    return ListedProvider(runtime=runtime)


@pytest.fixture
async def poller(runtime):
    async with BatchPoller(runtime=runtime) as poller:
        yield poller


async def all_of(poller, handles):
    return [handle async for handle in poller.as_completed(handles)]


async def watch_all(poller, provider, names):
    return await all_of(poller, [poller.watch(provider, name) for name in names])


def whole(poller):
    """The readings that the poller got must add up, whatever the way they came."""
    counted = poller.statistics()
    assert counted.watched == 0
    return counted


# Worth it


async def test_who_watches_many_begins_with_a_walk_for_all_of_them(runtime, provider):
    watched = []

    async def look(page):
        watched.append(poller.statistics().watched)
        return page

    provider.spoil = look
    async with BatchPoller(Polling(requests_per_s=math.inf), runtime=runtime) as poller:
        handles = await poller.watch_many(provider, provider.fill(10_000, lasts_s=1.0))
        await provider.first_page.wait()

        assert provider.asked == [], "nobody is asked about while the others are still being counted"
        assert len(await all_of(poller, handles)) == 10_000

    assert watched[0] == 10_000


async def test_who_leaves_off_while_it_adds_many_has_those_watched_that_it_came_to(runtime, provider):
    names, began = provider.fill(2000, lasts_s=1.0), []

    async with BatchPoller(runtime=runtime) as poller:
        with anyio.CancelScope() as scope:
            await poller.watch_many(provider, (_cancel_at(700, scope, began, name) for name in names))
        assert scope.cancelled_caught
        while poller.statistics().watched:
            await runtime.sleep(1.0)

    assert 700 <= len(began) < 2000
    assert poller.statistics().found_on_lists + len(provider.asked) >= len(began)


def _cancel_at(number, scope, began, name):
    began.append(name)
    if len(began) == number:
        scope.cancel()
    return name


async def test_batches_that_come_after_a_walk_are_worth_another_one_once_they_are_as_many(runtime, clock, provider):
    policy = Polling(first_s=600.0, requests_per_s=math.inf)
    first, later = provider.fill(100), provider.fill(150, prefix="later")
    async with BatchPoller(policy, runtime=runtime) as poller:
        await poller.watch_many(provider, first)
        await provider.first_page.wait()
        sweeps = poller.statistics().sweeps
        assert sweeps == 1
        for name in later:
            poller.watch(provider, name)
        while poller.statistics().sweeps == sweeps:
            await runtime.sleep(1.0)

        assert clock.now() - provider.pages[0] < 300.0, "not only after the wait of those that were found"


async def test_many_batches_are_read_from_the_list_and_few_are_asked_about(poller, provider):
    ended = await watch_all(poller, provider, provider.fill(300))
    counted = whole(poller)

    assert {handle.status for handle in ended} == {DONE}
    assert len(ended) == 300
    assert counted.pages == len(provider.pages)
    assert counted.polls == len(provider.asked)
    assert counted.found_on_lists > 300
    assert provider.requests < 300, "an hour of three hundred batches for less than one question about each"


async def test_few_batches_are_asked_about_and_no_list_is_read(poller, provider):
    await watch_all(poller, provider, provider.fill(3))

    assert provider.pages == []
    assert poller.statistics().sweeps == 0


async def test_who_does_not_want_lists_gets_none(runtime, provider):
    async with BatchPoller(Polling(sweeps=False), runtime=runtime) as poller:
        await watch_all(poller, provider, provider.fill(50))

    assert provider.pages == []


async def test_a_provider_without_a_list_is_not_asked_for_one(poller, runtime):
    provider = ScriptedProvider(lives={f"b{number}": [RUNNING, DONE] for number in range(50)}, runtime=runtime)
    await watch_all(poller, provider, provider.lives)

    assert poller.statistics().list_failures == poller.statistics().sweeps == 0


async def test_a_few_old_batches_behind_thousands_of_strangers_are_asked_about_once_that_is_known(poller, provider):
    provider.fill(20_000, prefix="stranger", lasts_s=10 * HOUR_S)
    names = provider.fill(40, age_s=20_000.0)
    await watch_all(poller, provider, names)

    first, *later = provider.pages
    assert len(provider.pages) <= 14 + 4, "one walk, as long as forty questions are dear, shows that it is not worth it"
    assert all(at - first < 600 for at in later)


async def test_the_walk_ends_where_nobody_older_is_watched(poller, provider, clock):
    provider.fill(5000, prefix="older", age_s=90_000.0)
    names = provider.fill(150)
    handles = [poller.watch(provider, name) for name in names]
    await all_of(poller, handles)
    counted = whole(poller)

    assert counted.pages <= 3 * counted.sweeps


async def test_batches_that_were_found_together_are_found_together_the_next_time(poller, provider):
    await watch_all(poller, provider, provider.fill(1000))
    counted = poller.statistics()

    assert counted.pages <= 11 * counted.sweeps
    assert counted.sweeps < 60
    assert counted.polls <= 500, "singly it would be twenty thousand"


# Right


async def test_a_batch_that_the_list_does_not_show_yet_is_asked_about_and_not_lost(poller, provider):
    provider.lag_s = 7200.0
    ended = await watch_all(poller, provider, provider.fill(60))

    assert {handle.status for handle in ended} == {DONE}
    assert poller.statistics().missing_on_lists >= 60
    assert poller.statistics().sweeps < 60, "a list that shows none of them is read less and less"


async def test_a_batch_that_no_list_shows_is_asked_about_beside_those_that_it_does(poller, provider):
    names = provider.fill(200)
    provider.hidden = set(names[:3])
    ended = await watch_all(poller, provider, names)

    assert {handle.status for handle in ended} == {DONE}
    assert {name for name, _ in provider.asked} >= provider.hidden


async def test_a_batch_that_is_gone_is_believed_in_as_long_as_without_a_list(poller, provider):
    names = provider.fill(50)
    lost = poller.watch(provider, "lost")
    await watch_all(poller, provider, names)
    with pytest.raises(ProviderPermanentError):
        await lost

    asked = provider.times("lost")
    assert len(asked) >= 5
    assert asked[-1] - asked[0] >= 1800


async def test_an_end_is_asked_about_once_where_the_list_may_say_less_of_it(poller, runtime):
    class Careful(ListedProvider):
        WHOLE = False

    provider = Careful(runtime=runtime)
    names = provider.fill(100)
    ended = await watch_all(poller, provider, names)

    assert {handle.last.result_uris for handle in ended} == {("answers",)}
    assert {name for name, _ in provider.asked} == set(names)


async def test_an_end_without_its_answers_is_asked_about_too(poller, provider):
    async def bare(page):
        return StatusPage(
            statuses=tuple(msgspec.structs.replace(status, result_uris=()) for status in page.statuses),
            cursor=page.cursor,
        )

    provider.spoil = bare
    ended = await watch_all(poller, provider, provider.fill(100))

    assert {handle.last.result_uris for handle in ended} == {("answers",)}


async def test_a_page_that_was_asked_for_before_an_answer_does_not_take_its_place(runtime, provider):
    names = provider.fill(20)
    held, asked = anyio.Event(), anyio.Event()

    async def slowly(page):
        if len(provider.pages) == 1:
            asked.set()
            await held.wait()
        return page

    provider.spoil = slowly
    async with BatchPoller(runtime=runtime) as poller:
        for name in names:
            poller.watch(provider, name)
        await asked.wait()
        late = poller.watch(provider, "b0")  # another look at one of them, which is asked about meanwhile
        provider.batches["b0"] = (provider.batches["b0"][0], 0.0)
        late.wake()
        assert (await late).status is DONE
        fresh = poller.watch(provider, "b1")
        fresh.wake()
        readings = []
        fresh.on_reading(lambda: readings.append(provider.runtime.now()))
        while not readings:
            await asyncio.sleep(0)
        held.set()
        while poller.statistics().found_on_lists < 18:
            await asyncio.sleep(0)

        assert late.status is DONE
        assert len(readings) == 1, "the page was older than the answer"


async def test_who_is_woken_while_the_list_is_read_is_asked_about_afterwards(runtime, provider):
    names = provider.fill(20)
    held, asked = anyio.Event(), anyio.Event()

    async def slowly(page):
        asked.set()
        await held.wait()
        return page

    provider.spoil = slowly
    async with BatchPoller(Polling(first_s=2_000, factor=1, max_s=2_000, coalesce_s=2_000), runtime=runtime) as poller:
        handles = {name: poller.watch(provider, name) for name in names}
        await asked.wait()
        provider.batches["b7"] = (provider.batches["b7"][0], 0.0)
        handles["b7"].wake()
        held.set()

        assert (await handles["b7"]).status is DONE
    assert provider.times("b7")


async def test_two_who_watch_the_same_batch_both_hear_of_it_from_one_list(poller, provider):
    names = provider.fill(50) * 2
    ended = await watch_all(poller, provider, names)

    assert len(ended) == 100
    assert {handle.status for handle in ended} == {DONE}


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_of_three_who_watch_the_same_batch_each_may_leave_first(runtime, provider, place):
    lane = sweep.SweepingLane(provider, runtime, Polling(), Feed())
    handles = [BatchHandle(provider, "b0") for _ in range(3)]
    for handle in handles:
        lane.watch(handle)
    (leaving,) = [watch for watch in lane._watches_of("b0") if watch.handle is handles[place]]
    lane._end(leaving, None)
    left = [handle for handle in handles if handle is not handles[place]]

    assert {watch.handle for watch in lane._watches_of("b0")} == set(left)
    assert lane.wake("b0")
    assert all(watch.is_urgent for watch in lane._watches_of("b0"))
    for watch in [*lane._watches_of("b0")]:
        lane._end(watch, None)
    assert not lane.wake("b0")
    assert lane.live == 0


async def test_a_batch_that_cannot_be_read_keeps_nobody_from_the_list(poller, provider):
    async def sick():
        raise ProviderTransientError("it is sick", provider="listed", status=500)

    names = provider.fill(60)
    provider.hidden = {"b0", "b1"}
    provider.singly = {"b0": sick, "b1": sick}
    handles = [poller.watch(provider, name) for name in names]
    ended = await all_of(poller, [handle for handle in handles if handle.provider_batch_id not in provider.hidden])

    assert len(ended) == 58
    assert len({name for name, _ in provider.asked}) < 30
    assert poller.statistics().accounts[0].breaker == "closed"


# Lists that fail


def failing(error):
    async def spoil(page):
        raise error

    return spoil


async def oldest_first(page):
    return StatusPage(statuses=page.statuses[::-1], cursor=page.cursor)


async def without_times(page):
    statuses = tuple(msgspec.structs.replace(status, created_at=None) for status in page.statuses)
    return StatusPage(statuses=statuses, cursor=page.cursor)


async def endless(page):
    return StatusPage(cursor="1")


def listing(status=None, **fields):
    kind = ProviderTransientError if status in (None, 429, 503) else ProviderPermanentError
    return failing(kind("no list", provider="listed", status=status, **fields))


@pytest.mark.parametrize(
    "spoil",
    [
        listing(404),
        listing(405),
        listing(403),
        listing(503),
        listing(None, code="foreign_answer"),
        listing(429, retry_after=30.0),
        failing(KeyError("a fault of its own")),
        oldest_first,
        without_times,
        endless,
    ],
    ids=["404", "405", "403", "503", "unreadable", "429", "a fault", "oldest first", "no times", "endless"],
)
async def test_a_list_that_fails_costs_a_few_pages_and_delays_nobody(poller, provider, clock, spoil):
    started = clock.now()
    provider.spoil = spoil
    ended = await watch_all(poller, provider, provider.fill(60, lasts_s=0.0, step_s=10.0))

    assert {handle.status for handle in ended} == {DONE}
    assert len(provider.asked) == 60
    assert len(provider.pages) <= 4
    assert clock.now() - started <= 60 + 5 + 180, "as fast as the budget allows; after a 429 that is half as fast"


async def test_a_list_that_hangs_is_not_waited_for(runtime, provider, monkeypatch):
    async def hang(page):
        await anyio.sleep_forever()

    monkeypatch.setattr(sweep, "PAGE_S", 0)
    provider.spoil = hang
    async with BatchPoller(runtime=runtime) as poller:
        ended = await watch_all(poller, provider, provider.fill(60, lasts_s=0.0))

    assert {handle.status for handle in ended} == {DONE}
    assert len(provider.asked) == 60


async def test_a_list_that_works_again_is_used_again(poller, provider, clock):
    broken = provider.runtime.now() + 900.0

    async def at_first(page):
        if provider.runtime.now() < broken:
            raise ProviderTransientError("later", provider="listed", status=503)
        return page

    provider.spoil = at_first
    await watch_all(poller, provider, provider.fill(200, lasts_s=4 * HOUR_S, step_s=10.0))

    assert poller.statistics().list_failures <= 5
    assert poller.statistics().found_on_lists > 1000


async def test_a_list_that_throttles_slows_the_account_down(poller, provider):
    provider.spoil = listing(429, retry_after=100.0)
    await watch_all(poller, provider, provider.fill(60, lasts_s=0.0))

    assert poller.statistics().throttled >= 1
    assert not [at for _, at in provider.asked if provider.pages[0] < at < provider.pages[0] + 100.0]


async def test_leaving_while_a_list_is_read_leaves_nothing_behind(runtime, provider):
    asked = anyio.Event()

    async def hang(page):
        asked.set()
        await anyio.sleep_forever()

    provider.spoil = hang
    before = len(asyncio.all_tasks())
    async with BatchPoller(runtime=runtime) as poller:
        for name in provider.fill(20):
            poller.watch(provider, name)
        await asked.wait()

    assert len(asyncio.all_tasks()) == before


# At scale


async def test_ten_thousand_batches_cost_a_hundred_pages_a_round_and_ten_tasks(poller, provider):
    """The guard of what must stay bounded: requests per sweep, and tasks alive."""
    most = 0

    async def count(page):
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return page

    provider.spoil = count
    before = len(asyncio.all_tasks())
    await watch_all(poller, provider, provider.fill(10_000))
    counted = whole(poller)

    assert counted.pages <= 101 * counted.sweeps
    assert counted.sweeps <= 60
    assert counted.polls <= 2500, "a quarter of one round"
    assert most - before <= 1 + 8 + 2


async def test_however_often_many_are_due_each_round_is_a_walk(runtime, clock, provider):
    """Rounds that follow each other within seconds, without a budget that would slow anybody down."""

    async def a_moment(seconds):  # in which a walk is over, as it is at a service
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        clock.advance(min(seconds, 0.1))

    runtime = msgspec.structs.replace(runtime, sleep=a_moment)
    policy = Polling(first_s=10.0, factor=1.0, max_s=10.0, jitter=0.0, requests_per_s=math.inf)
    async with BatchPoller(policy, runtime=runtime) as poller:
        await watch_all(poller, provider, provider.fill(12_000, lasts_s=60.0))
        counted = whole(poller)

    assert counted.sweeps >= 5, "a round every ten seconds or so"
    assert counted.polls <= 3_000, "a quarter of one round"


async def test_a_thousand_batches_of_the_emulator_are_watched_by_their_list():
    async with world("openai", pace={"row_s": 600, "run_cap_s": None}) as its:
        submission = await its.prepare_one(["a"])
        batches = [await its.provider.submit(submission) for _ in range(1000)]
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            handles = [poller.watch(its.provider, batch.provider_batch_id) for batch in batches]
            ended = await all_of(poller, handles)
            counted = poller.statistics()
        asked, listed = len(its.calls("poll")), len(its.calls("list"))

    assert {handle.status for handle in ended} == {DONE}
    assert all(handle.last.result_uris for handle in ended)
    assert (asked, listed) == (counted.polls, counted.pages)
    assert listed <= 11 * counted.sweeps
    assert asked + listed < 1000


# Every provider that has a list


@pytest.mark.parametrize("name", PROVIDERS)
async def test_every_providers_list_is_read_and_its_ends_are_the_batches_own(name):
    async with world(name, pace={"row_s": 600, "run_cap_s": None}) as its:
        batches = [await its.start(["a"]) for _ in range(30)]
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            handles = [poller.watch(its.provider, batch.provider_batch_id) for batch in batches]
            await all_of(poller, handles)
            counted = poller.statistics()
        singly = [await its.provider.poll_status(handle.provider_batch_id) for handle in handles]

    assert counted.list_failures == 0
    assert counted.found_on_lists >= 30
    assert [without_wish(handle.last) for handle in handles] == [without_wish(status) for status in singly]


def without_wish(status: ProviderStatus) -> ProviderStatus:
    return msgspec.structs.replace(status, retry_after=None)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "trouble",
    [
        lambda: faults.list_lag(900.0),
        lambda: faults.endless_list(),
        lambda: faults.refuse(503, operation="list", times=None),
        lambda: faults.html_200(operation="list", method="GET", times=None),
        lambda: faults.cut_body(10, operation="list", times=None),
        lambda: faults.rate_limited(20, operation="list", times=None),
    ],
    ids=["lag", "endless", "503", "html", "cut", "429"],
)
async def test_whatever_a_list_does_every_batch_is_seen_to_end(name, trouble):
    async with world(name, faults=[trouble()]) as its:
        batches = [await its.start(["a"]) for _ in range(25)]
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            handles = [poller.watch(its.provider, batch.provider_batch_id) for batch in batches]
            await all_of(poller, handles)

    assert {handle.status for handle in handles} == {DONE}
