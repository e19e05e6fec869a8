"""The poller: many batches, one task; each is asked when it is due, none disturbs another, and none is given up too soon."""

import asyncio
import logging
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import anyio
import msgspec
import pytest

from asyncbatch import (
    BatchMode,
    BatchPoller,
    BatchProviderRegistry,
    BatchStatus,
    Http,
    PollerClosedError,
    Polling,
    ProviderPermanentError,
    ProviderStatus,
    ProviderTransientError,
    ScopeError,
    SubmitSafety,
)
from asyncbatch.emulator import faults
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.poller.scripted import ScriptedProvider
from tests.providers.world import world
from tests.transport.wire import answer, here, serve, silence

DONE, RUNNING, UNKNOWN = BatchStatus.COMPLETED, BatchStatus.IN_PROGRESS, BatchStatus.UNKNOWN
LONG = [RUNNING] * 20 + [DONE]


def transient(status=503, **fields):
    return ProviderTransientError("busy", provider="scripted", status=status, **fields)


def permanent(status):
    return ProviderPermanentError("no", provider="scripted", status=status)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


@pytest.fixture
def provider_of(runtime):
    return lambda **lives: ScriptedProvider(lives=lives, runtime=runtime)


@pytest.fixture
async def poller(runtime):
    """A poller as users keep one in a fixture: set up in one task, torn down in another."""
    async with BatchPoller(runtime=runtime) as poller:
        yield poller


# Watching


async def test_awaiting_a_handle_gives_the_last_status(poller, provider_of):
    handle = poller.watch(provider_of(b=[BatchStatus.VALIDATING, RUNNING, DONE]), "b")
    before = (handle.status, handle.last, handle.is_done, handle.error)
    status = await handle

    assert before == (UNKNOWN, None, False, None)
    assert (status.status, status.provider_batch_id) == (DONE, "b")
    assert (handle.last, handle.status, handle.is_done, handle.error) == (status, DONE, True, None)
    assert repr(handle) == "<BatchHandle scripted/b completed>"


@pytest.mark.parametrize("end", [status for status in BatchStatus if status.is_terminal])
async def test_every_end_is_an_end_and_no_error(poller, provider_of, end):
    status = await poller.watch(provider_of(b=[RUNNING, end]), "b")

    assert status.status is end


async def test_a_handle_can_be_awaited_again_and_by_several_tasks_at_once(poller, provider_of):
    handle = poller.watch(provider_of(b=LONG), "b")
    seen = []

    async def wait():
        seen.append(await handle)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
    again = await handle

    assert seen == [again] * 5
    assert len(handle.provider.asked) == 21, "many wait, and it is asked about once"


async def test_handles_come_in_the_order_in_which_their_batches_end(poller, provider_of):
    provider = provider_of(slow=[RUNNING] * 6 + [DONE], middle=[RUNNING] * 3 + [DONE], quick=[DONE])
    handles = [poller.watch(provider, name) for name in ("slow", "middle", "quick")]

    order = [handle.provider_batch_id async for handle in poller.as_completed(handles)]

    assert order == ["quick", "middle", "slow"]


async def test_handles_that_are_over_come_at_once_and_each_comes_once(poller, provider_of):
    provider = provider_of(a=[DONE], b=[DONE])
    a, b = poller.watch(provider, "a"), poller.watch(provider, "b")
    await a
    await b

    assert [handle async for handle in poller.as_completed([b, a, b])] == [b, a]
    assert [handle async for handle in poller.as_completed([])] == []


async def test_a_handle_gives_the_answers_of_its_batch(poller, provider_of):
    handle = poller.watch(provider_of(b=[DONE]), "b")
    await handle

    assert [row.request_id async for row in handle.results()] == ["0", "1"]


async def test_two_thousand_batches_are_watched_to_their_ends(poller, clock, runtime):
    lives = {f"b{number}": [RUNNING] * (number % 5) + [DONE] for number in range(2000)}
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    handles = [poller.watch(provider, name) for name in lives]

    ended = [handle async for handle in poller.as_completed(handles)]

    assert len({handle.provider_batch_id for handle in ended}) == 2000
    assert all(handle.status is DONE for handle in ended)
    assert len(provider.asked) == sum(number % 5 + 1 for number in range(2000)), "none is asked about after its end"


async def test_batches_of_two_accounts_are_watched_over_http_to_their_answers():
    async with world("openai") as here:
        other = here.scope.create("openai", {"api_key": "another", "base_url": here.emulator.base_url("openai")})
        submission = await here.prepare_one(["a", "b"])
        batches = [(account, await account.submit(submission)) for account in [here.provider, other] * 10]
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            handles = [poller.watch(account, batch.provider_batch_id) for account, batch in batches]
            rows = [
                (row.request_id, row.text)
                async for handle in poller.as_completed(handles)
                async for row in handle.results()
            ]

    assert sorted(rows) == [("0000000", "echo: a")] * 20 + [("0000001", "echo: b")] * 20


async def test_a_provider_of_six_methods_without_a_yaml_registers_polls_and_gives_rows(runtime):
    registry = BatchProviderRegistry()
    registry.register(ScriptedProvider)
    async with registry.open(runtime=runtime) as scope, BatchPoller(runtime=runtime) as poller:
        provider = scope.create("scripted", {"anything": "of its own"})
        (submission,) = await provider.prepare_payloads(
            batch_id=uuid4(), model="any", mode=BatchMode.CHAT, requests=["a", "b"]
        )
        uploaded = await provider.upload(submission)
        batch = await provider.create(uploaded)
        status = await poller.watch(provider, batch.provider_batch_id)
        rows = [row.request_id async for row in provider.fetch_results(batch.provider_batch_id)]
        match = await provider.find_submission(submission, since=0.0)
        fenced = await provider.fence(submission)
        with pytest.raises(ProviderPermanentError, match="scripted has no list of batches"):
            await provider.list_statuses()

    assert uploaded is submission
    assert status.status is DONE
    assert rows == list(submission.request_ids)
    assert (match, fenced, await provider.delete_artifacts("b")) == (None, False, 0)
    assert provider.submit_safety() is SubmitSafety.NONE
    assert not provider.has_facts


# When


async def test_the_wait_grows_to_its_maximum_and_is_spread(poller, provider_of):
    provider = provider_of(b=[RUNNING] * 40 + [DONE])
    await poller.watch(provider, "b")

    gaps = [later - earlier for earlier, later in pairwise(provider.times("b"))]
    assert gaps[0] < 10
    assert max(gaps) <= 450
    assert min(gaps[15:]) >= 150
    assert len(set(gaps[15:])) == len(gaps[15:])


async def test_others_on_the_loop_get_their_turns_while_very_many_batches_begin_to_be_watched(poller, runtime):
    provider = ScriptedProvider(lives={f"b{number}": [DONE] for number in range(10_000)}, runtime=runtime)
    counted, is_over = [], False

    async def count_watched():
        while not is_over:
            counted.append(poller.statistics().watched)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count_watched)
        handles = await poller.watch_many(provider, (name for name in provider.lives))
        is_over = True

    assert [handle.provider_batch_id for handle in handles] == list(provider.lives)
    assert len(counted) >= 30
    assert max(later - earlier for earlier, later in pairwise(counted)) <= 512


async def test_whoever_is_cancelled_while_many_begin_to_be_watched_leaves_those_watched_that_were(poller, runtime):
    provider = ScriptedProvider(lives={f"b{number}": [DONE] for number in range(1000)}, runtime=runtime)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await poller.watch_many(provider, provider.lives)

    begun = poller.statistics().watched
    assert 0 < begun < 1000
    async for handle in poller.as_completed(list(poller._handles)):
        assert handle.status is DONE


async def test_a_batch_that_is_over_is_awaited_with_a_turn_for_others(poller, provider_of):
    handle = poller.watch(provider_of(b=[DONE]), "b")
    await handle
    with anyio.CancelScope() as scope:
        scope.cancel()
        await handle

    assert scope.cancelled_caught


async def test_the_first_questions_about_many_batches_are_spread(poller, clock, runtime):
    started = clock.now()
    provider = ScriptedProvider(lives={f"b{n}": [DONE] for n in range(200)}, runtime=runtime)
    for name in list(provider.lives):
        poller.watch(provider, name)
    async for _ in poller.as_completed(list(poller._handles)):
        pass

    first = [at - started for _, at in provider.asked]
    assert len([at for at in first if at < 5]) <= 10 + 5, "a few may come together, and then one a second"
    assert max(first) < 200


async def test_a_providers_own_minimum_is_kept(runtime):
    class Slow(ScriptedProvider):
        poll_floor_s = 60.0

    provider = Slow(lives={"b": LONG}, runtime=runtime)
    async with BatchPoller(Polling(first_s=1, factor=1, max_s=1), runtime=runtime) as poller:
        await poller.watch(provider, "b")

    assert all(later - earlier >= 60 for earlier, later in pairwise(provider.times("b")))


@pytest.mark.parametrize(
    "throttled",
    [
        transient(429, retry_after=1000),
        ProviderStatus(provider_batch_id="b", status=RUNNING, retry_after=1000),
    ],
    ids=["an error", "a status"],
)
async def test_a_wait_that_the_provider_asks_for_is_obeyed(poller, provider_of, throttled):
    provider = provider_of(b=[RUNNING, throttled, RUNNING, DONE])
    await poller.watch(provider, "b")

    gaps = [later - earlier for earlier, later in pairwise(provider.times("b"))]
    assert gaps[1] >= 1000
    assert max(gaps[0], gaps[2]) < 1000


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_retry_after_is_obeyed_in_both_forms_over_http(as_date):
    throttled = [faults.rate_limited(2000, as_date=as_date, path="/batches/*")]
    async with world("openai", faults=throttled) as its:
        batch = await its.start(["a"])
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            status = await poller.watch(its.provider, batch.provider_batch_id)
        polls = [record for record in its.emulator.history if record.path.endswith(batch.provider_batch_id)]

    assert status.status is DONE
    assert [record.status for record in polls] == [429, 200]
    assert polls[1].at - polls[0].at >= 1999


async def test_a_settled_polling_policy_is_the_callers(runtime):
    provider = ScriptedProvider(lives={"b": LONG}, runtime=runtime)
    async with BatchPoller(Polling(first_s=2, factor=1, jitter=0), runtime=runtime) as poller:
        await poller.watch(provider, "b")

    assert [later - earlier for earlier, later in pairwise(provider.times("b"))] == pytest.approx([2.0] * 20)


# Trouble


async def test_transient_errors_are_asked_through_without_limit(poller, provider_of):
    provider = provider_of(b=[transient(status) for status in (None, 500, 502, 503, 408, 429)] * 30 + [DONE])

    assert (await poller.watch(provider, "b")).status is DONE
    assert len(provider.asked) == 181


async def test_a_status_that_nobody_knows_is_asked_through_and_logged_once(poller, provider_of, caplog):
    paused = ProviderStatus(provider_batch_id="b", status=UNKNOWN, raw_status="paused")
    with caplog.at_level(logging.WARNING, "asyncbatch"):
        status = await poller.watch(provider_of(b=[paused] * 50 + [DONE]), "b")

    assert status.status is DONE
    (record,) = caplog.records
    assert "'paused'" in record.getMessage()
    assert "scripted/b" in record.getMessage()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_ends_the_watch(poller, provider_of, status):
    provider = provider_of(b=[RUNNING, permanent(status)])
    handle = poller.watch(provider, "b")
    with pytest.raises(ProviderPermanentError) as caught:
        await handle

    assert caught.value.status == status
    assert handle.error is caught.value
    assert handle.status is RUNNING, "what was last known stays known"
    assert len(provider.asked) == 2


@pytest.mark.parametrize("status", [404, 410, 400])
async def test_a_batch_that_stays_unknown_is_believed_in_for_half_an_hour_and_five_readings(
    poller, provider_of, status
):
    provider = provider_of(b=[RUNNING, permanent(status)])
    with pytest.raises(ProviderPermanentError) as caught:
        await poller.watch(provider, "b")

    missing = provider.times("b")[1:]
    assert caught.value.status == status
    assert len(missing) >= 5
    assert missing[-1] - missing[0] >= 1800
    assert missing[-2] - missing[0] < 1800 or len(missing) == 5


async def test_five_readings_are_made_even_where_they_take_longer_than_half_an_hour(runtime):
    provider = ScriptedProvider(lives={"b": [permanent(404)]}, runtime=runtime)
    async with BatchPoller(Polling(first_s=3000, factor=1, max_s=3000, jitter=0), runtime=runtime) as poller:
        with pytest.raises(ProviderPermanentError):
            await poller.watch(provider, "b")

    assert len(provider.asked) == 5


async def test_a_batch_that_is_seen_again_is_believed_in_anew(poller, provider_of):
    coming_and_going = ([permanent(404)] * 4 + [RUNNING]) * 20
    provider = provider_of(b=[*coming_and_going, DONE])

    assert (await poller.watch(provider, "b")).status is DONE


async def test_a_transient_error_is_no_sign_of_life(poller, provider_of):
    provider = provider_of(b=[permanent(404), transient()] * 100)
    with pytest.raises(ProviderPermanentError):
        await poller.watch(provider, "b")

    assert len(provider.asked) < 200


async def test_one_failing_batch_never_disturbs_another(runtime):
    def lives(**others):
        return {"good": LONG, **others}

    async def watch(**others):
        clock = VirtualClock()
        alone = virtual_runtime(clock)
        provider = ScriptedProvider(lives=lives(**others), runtime=alone)
        async with BatchPoller(Polling(jitter=0), runtime=alone) as poller:
            handles = {name: poller.watch(provider, name) for name in provider.lives}
            status = await handles["good"]
            return status.status, len(provider.times("good")), {name: type(h.error) for name, h in handles.items()}

    alone = await watch()
    crowded = await watch(
        gone=[permanent(401)], broken=[KeyError("mine")], busy=[transient()] * 9999, lost=[permanent(404)]
    )

    assert alone[:2] == crowded[:2] == (DONE, 21)
    assert crowded[2]["broken"] is KeyError
    assert crowded[2]["gone"] is ProviderPermanentError
    assert crowded[2]["busy"] is type(None)


async def test_a_foreign_error_of_a_provider_ends_its_own_watch_and_reaches_who_awaits_it(poller, provider_of):
    provider = provider_of(broken=[RUNNING, ZeroDivisionError("a fault of the provider's")], good=LONG)
    broken, good = poller.watch(provider, "broken"), poller.watch(provider, "good")
    with pytest.raises(ZeroDivisionError, match="a fault of the provider's"):
        await broken

    assert (await good).status is DONE


async def test_a_question_that_hangs_holds_up_nobody(poller, provider_of):
    async def hang():
        await anyio.sleep_forever()

    hanging, good = provider_of(hang=[hang], good=LONG), provider_of(good=LONG)
    stuck = poller.watch(hanging, "hang")
    same = poller.watch(hanging, "good")
    other = poller.watch(good, "good")

    assert (await same).status is DONE
    assert (await other).status is DONE
    assert not stuck.is_done


async def test_no_more_questions_are_under_way_at_once_than_the_policy_allows(runtime):
    now = most = 0

    async def count():
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        now -= 1
        return DONE

    provider = ScriptedProvider(lives={f"b{n}": [count] for n in range(50)}, runtime=runtime)
    async with BatchPoller(Polling(concurrency=3, first_s=0), runtime=runtime) as poller:
        handles = [poller.watch(provider, name) for name in provider.lives]
        async for _ in poller.as_completed(handles):
            pass

    assert most == 3


async def test_an_id_that_steers_ends_the_watch_at_once():
    async with serve(answer()) as server, here(server.url) as client:
        async with BatchPoller(runtime=virtual_runtime(client.clock)) as poller:
            with pytest.raises(ProviderPermanentError, match="is no id"):
                await poller.watch(client.provider, "../x")

    assert server.asked == []


async def test_a_lost_connection_is_asked_through_over_http():
    trouble = [
        faults.drop(path="/batches/*"),
        faults.refuse(502, path="/batches/*", first=2),
        faults.cut_body(10, path="/batches/*", first=3),
        faults.html_200(method="GET", path="/batches/*", first=4),
    ]
    async with world("openai", faults=trouble, pace={"row_s": 3600, "run_cap_s": None}) as its:
        batch = await its.start(["a"])
        async with BatchPoller(runtime=virtual_runtime(its.clock)) as poller:
            status = await poller.watch(its.provider, batch.provider_batch_id)

    assert status.status is DONE


# Leaving


async def test_leaving_fails_what_is_still_watched_and_nothing_else(runtime, provider_of):
    provider = provider_of(done=[DONE], running=[RUNNING])
    async with BatchPoller(runtime=runtime) as poller:
        done, running = poller.watch(provider, "done"), poller.watch(provider, "running")
        await done
        seen = []

        async def wait():
            with pytest.raises(PollerClosedError) as caught:
                await running
            seen.append(caught.value)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await poller.aclose()

    (error,) = seen
    assert (await done).status is DONE
    assert error.code == "poller.closed"
    assert "scripted/running" in str(error)
    assert "watch it again" in str(error)
    assert isinstance(error, ScopeError)


async def test_leaving_ends_as_completed_with_the_handles_that_are_left(runtime, provider_of):
    provider = provider_of(a=[RUNNING], b=[RUNNING])
    async with BatchPoller(runtime=runtime) as poller:
        handles = [poller.watch(provider, name) for name in "ab"]
        walk = poller.as_completed(handles)
    ended = [handle async for handle in walk]

    assert set(ended) == set(handles)
    assert all(isinstance(handle.error, PollerClosedError) for handle in ended)


async def test_leaving_does_not_wait_for_a_question_under_way():
    async with serve(silence) as server, here(server.url, http=Http(poll_total_s=60)) as client:
        async with BatchPoller(Polling(first_s=0), runtime=virtual_runtime(client.clock)) as poller:
            handle = poller.watch(client.provider, "batch_1")
            while not server.asked:
                await asyncio.sleep(0.001)
        with pytest.raises(PollerClosedError):
            await handle


async def test_a_watch_may_be_taken_up_again_by_another_poller(runtime, provider_of):
    provider = provider_of(b=LONG)
    async with BatchPoller(runtime=runtime) as first:
        first.watch(provider, "b")
    async with BatchPoller(runtime=runtime) as second:
        status = await second.watch(provider, "b")

    assert status.status is DONE


async def test_cancelling_who_awaits_leaves_the_watch_as_it_is(poller, provider_of):
    handle = poller.watch(provider_of(b=LONG), "b")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(handle.wait)
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await handle

    assert scope.cancelled_caught
    assert (await handle).status is DONE


async def test_a_poller_may_be_opened_in_one_task_and_closed_in_another(runtime, provider_of):
    poller = BatchPoller(runtime=runtime)
    async with anyio.create_task_group() as group:
        group.start_soon(poller.__aenter__)
    status = await poller.watch(provider_of(b=LONG), "b")
    async with anyio.create_task_group() as group:
        group.start_soon(poller.aclose)

    assert status.status is DONE
    with pytest.raises(ScopeError):
        poller.watch(provider_of(b=LONG), "b")


async def test_a_poller_lives_in_an_exit_stack_inside_of_a_foreign_task_group(runtime, provider_of):
    seen = []

    async def agent():
        async with AsyncExitStack() as stack, asyncio.timeout(30):
            poller = await stack.enter_async_context(BatchPoller(runtime=runtime))
            seen.append((await poller.watch(provider_of(b=LONG), "b")).status)

    async with asyncio.TaskGroup() as group:
        group.create_task(agent())
        group.create_task(agent())

    assert seen == [DONE, DONE]


async def test_the_end_of_the_task_that_opened_it_does_not_end_the_watch(runtime, provider_of):
    poller = BatchPoller(runtime=runtime)
    with anyio.CancelScope() as scope:
        await poller.__aenter__()
        scope.cancel()
    status = await poller.watch(provider_of(b=LONG), "b")
    await poller.aclose()

    assert status.status is DONE


async def test_closing_twice_is_closing_once_and_it_can_be_opened_again(runtime, provider_of):
    poller = BatchPoller(runtime=runtime)
    await poller.aclose()
    for _ in range(2):
        async with poller:
            assert (await poller.watch(provider_of(b=[DONE]), "b")).status is DONE
        await poller.aclose()


async def test_a_poller_is_entered_once_at_a_time(runtime):
    async with BatchPoller(runtime=runtime) as poller:
        with pytest.raises(ScopeError, match="open already"):
            await poller.__aenter__()


async def test_outside_of_its_block_there_is_a_clear_error(runtime, provider_of):
    poller = BatchPoller(runtime=runtime)
    with pytest.raises(ScopeError, match=r"not open.*async with BatchPoller"):
        poller.watch(provider_of(b=[DONE]), "b")


async def test_on_another_event_loop_there_is_a_clear_error(runtime, provider_of):
    async with BatchPoller(runtime=runtime) as poller:

        def elsewhere():
            async def watch():
                poller.watch(provider_of(b=[DONE]), "b")

            with pytest.raises(ScopeError, match="another event loop"):
                asyncio.run(watch())

        await anyio.to_thread.run_sync(elsewhere)


async def test_a_callback_that_fails_is_logged_and_no_watch_ends_over_it(runtime, provider_of, caplog):
    def crash():
        raise ZeroDivisionError("a callback of somebody's")

    async with BatchPoller(runtime=runtime) as poller:
        broken = poller.watch(provider_of(b=LONG), "b")
        broken.on_reading(crash)
        broken.on_done(crash)
        other = poller.watch(provider_of(c=LONG), "c")
        statuses = [(await handle).status for handle in (broken, other)]

    assert statuses == [BatchStatus.COMPLETED] * 2
    assert "a callback failed" in caplog.text


async def test_a_crash_of_the_poller_fails_the_handles_and_not_the_task_that_opened_it(runtime, provider_of, caplog):
    dice = iter([0.5, 0.5])
    broken_dice = msgspec.structs.replace(runtime, random=lambda: next(dice))

    async with BatchPoller(runtime=broken_dice) as poller:
        handles = [poller.watch(provider_of(b=LONG), "b"), poller.watch(provider_of(c=LONG), "c")]
        for handle in handles:
            with pytest.raises(PollerClosedError):
                await handle
        assert not poller.is_open

    assert "StopIteration" in repr(handles[0].error.__cause__)
    assert "a task of it crashed" in caplog.text


async def test_whoever_asks_to_be_called_back_is_and_at_once_when_it_is_over(poller, provider_of):
    handle = poller.watch(provider_of(b=[RUNNING, DONE]), "b")
    readings, ends = [], []
    handle.on_reading(lambda: readings.append(handle.status))
    handle.on_done(lambda: ends.append("waited"))
    await handle
    handle.on_done(lambda: ends.append("late"))

    assert readings == [RUNNING, DONE]
    assert ends == ["waited", "late"]


async def test_all_who_wait_for_a_batch_hear_of_its_end_in_whichever_way_they_wait(poller, provider_of):
    provider, told = provider_of(b=[RUNNING, DONE], c=[DONE]), []
    handles = [poller.watch(provider, name) for name in "bc"]
    first, second = poller.as_completed(handles), poller.as_completed(handles[:1])
    handles[0].on_done(lambda: told.append("called back"))

    assert {handle.provider_batch_id async for handle in first} == {"b", "c"}
    assert [handle.provider_batch_id async for handle in second] == ["b"]
    assert [handle async for handle in poller.as_completed(handles)] == handles, "also when both are over already"
    assert told == ["called back"]


async def test_a_poller_that_lives_for_long_keeps_only_what_it_watches(poller, provider_of):
    for _ in range(3000):
        await poller.watch(provider_of(b=[DONE]), "b")

    assert len(poller._handles) <= 300
    assert len(poller._lanes) <= 300
