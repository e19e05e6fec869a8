"""An account is asked within its budget, slower when throttled, hardly when nobody answers, and whatever befalls others."""

import logging
from bisect import bisect_left
from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from asyncbatch import (
    BatchPoller,
    BatchStatus,
    ConfigError,
    Polling,
    Progress,
    ProviderPermanentError,
    ProviderStatus,
    ProviderTransientError,
)
from asyncbatch.emulator import faults
from asyncbatch.planning.breaker import TRIP_AFTER
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.engine.waiting import until
from tests.poller.listed import HOUR_S, ListedProvider
from tests.poller.scripted import ScriptedProvider
from tests.providers.world import world
from tests.transport.wire import answer, here, serve

DONE, RUNNING = BatchStatus.COMPLETED, BatchStatus.IN_PROGRESS


def transient(status=503, **fields):
    return ProviderTransientError("busy", provider="scripted", status=status, **fields)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


@pytest.fixture
async def poller(runtime):
    async with BatchPoller(runtime=runtime) as poller:
        yield poller


async def watch_all(poller, provider, names=None):
    handles = [poller.watch(provider, name) for name in (provider.lives if names is None else names)]
    return [handle async for handle in poller.as_completed(handles)]


def most_within(moments, seconds):
    """The most that happened within any stretch of so many seconds."""
    moments = sorted(moments)
    return max(bisect_left(moments, at + seconds) - index for index, at in enumerate(moments))


# The budget


@pytest.mark.parametrize("rate", [0.5, 1.0, 20.0])
async def test_an_account_is_asked_no_more_often_than_its_budget_allows(runtime, rate):
    provider = ScriptedProvider(lives={f"b{number}": [RUNNING] * 3 + [DONE] for number in range(300)}, runtime=runtime)
    async with BatchPoller(Polling(requests_per_s=rate), runtime=runtime) as poller:
        await watch_all(poller, provider)

    moments = [at for _, at in provider.asked]
    assert len(moments) == 1200
    assert most_within(moments, 10.0) <= 10 + 10 * rate + 1
    assert most_within(moments, 60.0) <= 10 + 60 * rate + 1


async def test_each_account_has_a_budget_of_its_own(poller, runtime, clock):
    providers = [
        ScriptedProvider(lives={f"b{number}": [DONE] for number in range(50)}, runtime=runtime) for _ in range(3)
    ]
    started = clock.now()
    handles = [poller.watch(provider, name) for provider in providers for name in provider.lives]
    async for _ in poller.as_completed(handles):
        pass

    assert clock.now() - started < 60, "three times fifty in the time of fifty"


async def test_after_a_night_in_which_the_host_slept_a_thousand_batches_are_not_asked_about_at_once(clock):
    slept, night = 0, []

    async def sleep(seconds):
        nonlocal slept
        slept += 1
        if slept == 300:
            clock.advance(8 * HOUR_S)
            night.append(clock.now())
        await clock.sleep(seconds)

    runtime = replace(virtual_runtime(clock), sleep=sleep)
    lives = {f"b{number}": [RUNNING] * 6 + [DONE] for number in range(1000)}
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    policy = Polling(first_s=250, factor=1, max_s=300, jitter=0.1, requests_per_s=64)
    async with BatchPoller(policy, runtime=runtime) as poller:
        await watch_all(poller, provider)

    after = [at for _, at in provider.asked if night[0] <= at < night[0] + 300]
    assert len(after) > 500
    assert most_within(after, 10.0) <= 100, "without it, 650 at the speed of the budget"


# Throttling


async def test_a_429_about_one_batch_holds_back_its_whole_account_and_no_other(poller, runtime, clock):
    lives = {f"b{number}": [RUNNING] * 10 + [DONE] for number in range(5)}
    throttled = ScriptedProvider(
        lives={**lives, "busy": [RUNNING, transient(429, retry_after=500.0), DONE]}, runtime=runtime
    )
    other = ScriptedProvider(lives=lives, runtime=runtime)
    handles = [poller.watch(provider, name) for provider in (throttled, other) for name in provider.lives]
    busy, pauses = next(handle for handle in handles if handle.provider_batch_id == "busy"), []
    busy.on_reading(lambda: pauses.append([item.paused_s for item in poller.statistics().accounts]))
    async for _ in poller.as_completed(handles):
        pass

    refused = throttled.times("busy")[1]
    assert not [at for _, at in throttled.asked if refused < at < refused + 500]
    assert pauses[:2] == [[0.0, 0.0], [500.0, 0.0]]


async def test_an_account_that_was_throttled_is_asked_half_as_fast_and_as_before_after_a_while(runtime):
    busy = [transient(429, retry_after=10.0)]
    lives = {f"b{number}": [RUNNING] * 20 + [DONE] for number in range(100)}
    lives["b0"] = busy + lives["b0"]
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    policy = Polling(first_s=30, factor=1, max_s=30, requests_per_s=2)
    rates = []
    async with BatchPoller(policy, runtime=runtime) as poller:
        handles = [poller.watch(provider, name) for name in provider.lives]
        for handle in handles:
            handle.on_reading(lambda: rates.append(poller.statistics().accounts[0].requests_per_s))
        async for _ in poller.as_completed(handles):
            pass
        counted = poller.statistics()

    assert counted.throttled == 1
    assert min(rates) == 1.0
    assert rates[-1] == 2.0
    assert rates.index(2.0, rates.index(1.0)) - rates.index(1.0) >= 15


async def test_an_account_whose_quota_is_used_up_is_asked_when_it_has_requests_again():
    body = msgspec.json.encode({"id": "batch_1", "status": "in_progress"})
    spent = answer(body, 200, "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 10m")
    async with serve(spent) as server, here(server.url) as client:
        async with BatchPoller(runtime=virtual_runtime(client.clock)) as poller:
            moments = []
            for name in ("batch_1", "batch_2", "batch_3"):
                poller.watch(client.provider, name).on_reading(lambda: moments.append(client.clock.now()))
            await until(lambda: len(moments) >= 8)

    assert moments[3] - moments[0] >= 600, "three may be under way together, and then nobody is for ten minutes"


# The breaker


def outage(count, answers_after, runtime):
    """Batches of an account of which nobody is answered for so many seconds."""
    until = runtime.now() + answers_after

    async def step():
        if runtime.now() < until:
            raise transient(None)
        return RUNNING if runtime.now() < until + 3600 else DONE

    return ScriptedProvider(lives={f"b{number}": [step] for number in range(count)}, runtime=runtime)


async def test_when_nobody_answers_one_question_now_and_then_finds_out_and_then_all_are_asked_again(runtime, clock):
    started = clock.now()
    provider = outage(500, 3600, runtime)
    async with BatchPoller(runtime=runtime) as poller:
        ended = await watch_all(poller, provider)

    during = [at for _, at in provider.asked if at < started + 3600]
    after = [at for _, at in provider.asked if at >= started + 3600]
    assert {handle.status for handle in ended} == {DONE}
    assert len(during) <= 8 + 5 + 60, "five hundred batches, and a question every two minutes"
    assert after[0] - started <= 3600 + 180, "and it is seen soon that somebody answers again"
    assert most_within(after, 10.0) <= 21


async def test_an_outage_of_one_account_is_no_matter_of_another(poller, runtime, clock):
    down = outage(50, 7200, runtime)
    well = ScriptedProvider(lives={"b": [RUNNING] * 30 + [DONE]}, runtime=runtime)
    alone = ScriptedProvider(lives={"b": [RUNNING] * 30 + [DONE]}, runtime=virtual_runtime(VirtualClock()))
    for name in down.lives:
        poller.watch(down, name)
    assert (await poller.watch(well, "b")).status is DONE
    states = {item.provider: item.breaker for item in poller.statistics().accounts}

    async with BatchPoller(runtime=alone.runtime) as other:
        await other.watch(alone, "b")
    gaps = [later - earlier for earlier, later in pairwise(well.times("b"))]
    assert states["scripted"] in ("open", "half_open")
    assert max(gaps) <= 450 + 1
    assert len(gaps) == len(alone.asked) - 1


@pytest.mark.parametrize(
    "error",
    [
        ProviderPermanentError("no", provider="scripted", status=401, is_auth=True),
        ProviderPermanentError("no such id", provider="scripted"),
        ConfigError("the key is gone", code="auth.missing"),
    ],
)
async def test_a_probe_that_ends_its_own_watch_leaves_the_other_batches_asked_about(poller, runtime, error):
    answers = [transient(503)] * TRIP_AFTER + [error, DONE]

    async def step():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    provider = ScriptedProvider(lives={f"b{number}": [step] for number in range(10)}, runtime=runtime)
    handles = [poller.watch(provider, name) for name in provider.lives]
    await until(lambda: all(handle.is_done for handle in handles))

    assert [handle.error for handle in handles if handle.error is not None] == [error]
    assert poller.statistics().accounts == ()


async def test_one_batch_that_cannot_be_read_does_not_stop_the_others(poller, runtime):
    lives = {"sick": [transient(500)] * 200 + [DONE], "well": [RUNNING] * 40 + [DONE]}
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    sick, well = poller.watch(provider, "sick"), poller.watch(provider, "well")
    await well

    assert not sick.is_done
    assert poller.statistics().accounts[0].breaker == "closed"
    assert max(later - earlier for earlier, later in pairwise(provider.times("well"))) <= 451


@pytest.mark.parametrize(
    ("status", "breaker"), [(402, "closed"), (409, "closed"), (408, "open"), (500, "open"), (None, "open")]
)
async def test_who_is_answered_about_many_batches_that_they_cannot_be_shown_now_is_answered(
    poller, runtime, status, breaker
):
    lives = {f"due{number}": [transient(status)] for number in range(30)}
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    for name in lives:
        poller.watch(provider, name)
    await until(lambda: len(provider.asked) >= 2 * TRIP_AFTER)
    (account,) = poller.statistics().accounts

    assert (account.breaker == "closed") is (breaker == "closed")


async def test_a_refused_key_ends_the_watches_of_its_account_and_trips_nothing(poller, runtime):
    refused = ProviderPermanentError("no", provider="scripted", status=401, is_auth=True)
    provider = ScriptedProvider(lives={f"b{number}": [refused] for number in range(20)}, runtime=runtime)
    ended = await watch_all(poller, provider)

    assert [handle.error for handle in ended] == [refused] * 20
    assert len(provider.asked) == 20


async def test_a_service_that_is_down_for_an_hour_is_asked_a_few_times_over_http(caplog):
    down = faults.refuse(503, operation="poll", times=None, for_s=3600)
    async with world("openai", faults=[down], pace={"row_s": 7200, "run_cap_s": None}) as its:
        batches = [await its.start(["a"]) for _ in range(12)]
        started = its.clock.now()
        with caplog.at_level(logging.WARNING, "asyncbatch"):
            async with BatchPoller(Polling(sweeps=False), runtime=virtual_runtime(its.clock)) as poller:
                ended = [
                    handle
                    async for handle in poller.as_completed(
                        [poller.watch(its.provider, batch.provider_batch_id) for batch in batches]
                    )
                ]
        polls = [record for record in its.emulator.history if record.operation == "poll"]

    assert {handle.status for handle in ended} == {DONE}
    assert len([record for record in polls if record.at < started + 3600]) <= 80
    assert "nobody answers; its 12 batches rest" in caplog.text
    assert "answers again" in caplog.text


# The end


async def test_a_batch_whose_counts_tell_when_it_will_end_is_seen_to_end_within_seconds(runtime, clock):
    begin = clock.now()
    late = {}
    for kind in ("silent", "telling"):
        begin = clock.now()

        async def step(kind=kind, begin=begin):
            passed = clock.now() - begin
            progress = Progress(total=1000, completed=int(passed / 3.6)) if kind == "telling" else Progress()
            return ProviderStatus(provider_batch_id="b", status=DONE if passed >= 3600 else RUNNING, progress=progress)

        provider = ScriptedProvider(lives={"b": [step]}, runtime=runtime)
        async with BatchPoller(Polling(jitter=0), runtime=runtime) as poller:
            await poller.watch(provider, "b")
        late[kind] = clock.now() - begin - 3600
        questions = len(provider.asked)

    assert late["telling"] <= 10
    assert late["telling"] < late["silent"]
    assert questions <= 45, "a dozen more than without"


async def test_an_account_whose_batches_take_as_long_as_each_other_teaches_when_the_next_will_end(runtime, clock):
    provider = ListedProvider(runtime=runtime)
    late = []
    async with BatchPoller(Polling(jitter=0, sweeps=False), runtime=runtime) as poller:
        for number in range(6):
            provider.batches[f"b{number}"] = (clock.now(), clock.now() + 5000.0)
            await poller.watch(provider, f"b{number}")
            late.append(clock.now() - provider.batches[f"b{number}"][1])

    assert max(late[4:]) <= 15
    assert len(provider.asked) <= 6 * 45


async def test_a_batch_past_its_promised_end_is_told_once_and_watched_on(runtime, clock, caplog):
    promised = clock.now() + 1000.0

    async def step():
        status = DONE if clock.now() > promised + 50_000 else RUNNING
        return ProviderStatus(provider_batch_id="b", status=status, expires_at=promised)

    provider = ScriptedProvider(lives={"b": [step]}, runtime=runtime)
    seen = []
    async with BatchPoller(runtime=runtime) as poller:
        handle = poller.watch(provider, "b")
        handle.on_reading(lambda: seen.append((clock.now(), handle.is_overdue, handle.trouble)))
        status = await handle
        counted = poller.statistics()

    assert status.status is DONE
    assert [is_overdue for at, is_overdue, _ in seen] == [at > promised + 900 for at, _, _ in seen]
    assert {trouble for at, _, trouble in seen[:-1] if at > promised + 900} == {
        "overdue: it runs on past the end that its provider promised"
    }
    (record,) = caplog.records
    assert "is overdue" in record.getMessage()
    assert handle.trouble is None
    assert counted.overdue == 0


async def test_a_batch_whose_service_names_no_end_is_overdue_by_its_providers_own_window(runtime, clock):
    began = clock.now()

    async def step():
        status = DONE if clock.now() > began + 20_000 else RUNNING
        return ProviderStatus(provider_batch_id="b", status=status, created_at=began)

    class Windowed(ScriptedProvider):
        window_s = 1000.0

    provider = Windowed(lives={"b": [step]}, runtime=runtime)
    seen = []
    async with BatchPoller(runtime=runtime) as poller:
        handle = poller.watch(provider, "b")
        handle.on_reading(lambda: seen.append((clock.now(), handle.is_overdue)))
        await handle

    assert {is_overdue for _, is_overdue in seen} == {False, True}
    assert [is_overdue for at, is_overdue in seen] == [at > began + 1900 for at, _ in seen]


async def test_a_batch_that_cannot_be_read_is_overdue_by_its_providers_own_window():
    broken = faults.refuse(503, operation="poll", times=None, for_s=60 * 3600)
    async with world("openai", faults=[broken], pace={"row_s": 70 * 3600, "run_cap_s": None}) as its:
        batch = await its.start(["a"])
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            handle = poller.watch(its.provider, batch.provider_batch_id)
            seen = []
            handle.on_reading(lambda: seen.append(poller.statistics().overdue))
            await handle

    assert handle.is_overdue
    assert max(seen) == 1
