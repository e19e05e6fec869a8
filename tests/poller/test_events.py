"""What happens to batches, event by event: typed, for whoever reads, and at nobody's cost."""

import asyncio
import gc
from contextlib import aclosing
from weakref import ref

import anyio
import anyio.lowlevel
import msgspec
import pytest

from asyncbatch import (
    AccountChanged,
    BatchClient,
    BatchEnded,
    BatchFetched,
    BatchGivenUp,
    BatchOverdue,
    BatchPoller,
    BatchProgressed,
    BatchStatus,
    BatchSubmitted,
    BatchUnreadable,
    EventsMissed,
    Progress,
    ProviderPermanentError,
    ProviderStatus,
    ProviderTransientError,
    ScopeError,
    SubmissionFailed,
)
from asyncbatch.emulator import Emulator, faults
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.watching.events import BUFFER, Feed, PollEvent
from tests.poller.scripted import ScriptedProvider

DONE, RUNNING = BatchStatus.COMPLETED, BatchStatus.IN_PROGRESS


def transient(status=503, **fields):
    return ProviderTransientError("busy", provider="scripted", status=status, **fields)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


async def story(runtime, **lives):
    """Watch batches to their ends; gives what was told."""
    provider = ScriptedProvider(lives=lives, runtime=runtime)
    async with BatchPoller(runtime=runtime) as poller:
        events = poller.events()
        handles = [poller.watch(provider, name) for name in lives]
        async for _ in poller.as_completed(handles):
            pass
    return [event async for event in events]


async def test_a_batch_tells_of_each_change_and_of_its_end(runtime):
    def at(completed):
        return ProviderStatus(provider_batch_id="b", status=RUNNING, progress=Progress(total=3, completed=completed))

    told = await story(runtime, b=[BatchStatus.VALIDATING, at(0), at(0), at(2), DONE])

    assert [type(event) for event in told] == [BatchProgressed] * 3 + [BatchEnded]
    assert [event.status for event in told] == [BatchStatus.VALIDATING, RUNNING, RUNNING, DONE]
    assert [event.progress.completed for event in told[1:3]] == [0, 2]
    assert {(event.provider, event.provider_batch_id, event.job_id) for event in told} == {("scripted", "b", None)}
    assert [event.at for event in told] == sorted(event.at for event in told)


async def test_trouble_is_told_once_until_it_is_over(runtime):
    told = await story(runtime, b=[RUNNING, transient(), transient(), RUNNING, transient(), DONE])

    assert [type(event) for event in told] == [BatchProgressed, BatchUnreadable, BatchUnreadable, BatchEnded]
    assert told[1].reason == "busy"


async def test_a_watch_that_is_given_up_says_why(runtime):
    refused = ProviderPermanentError("no such key", provider="scripted", status=401, is_auth=True)
    (told,) = await story(runtime, b=[refused])

    assert isinstance(told, BatchGivenUp)
    assert "no such key" in told.reason


async def test_a_batch_that_is_overdue_says_since_when(runtime, clock):
    promised = clock.now() + 10.0
    late = ProviderStatus(provider_batch_id="b", status=RUNNING, expires_at=promised)
    told = await story(runtime, b=[*[late] * 20, DONE])

    (overdue,) = [event for event in told if isinstance(event, BatchOverdue)]
    assert overdue.promised_at == promised + 900
    assert overdue.at > overdue.promised_at


async def test_an_account_that_does_not_answer_and_does_again_says_so(runtime):
    told = await story(runtime, **{f"b{number}": [transient()] * 4 + [DONE] for number in range(6)})

    accounts = [event for event in told if isinstance(event, AccountChanged)]
    assert [event.state for event in accounts][:2] == ["open", "closed"]


async def test_who_reads_slowly_loses_the_oldest_and_is_told_how_many(runtime):
    told = await story(runtime, **{f"b{number}": [DONE] for number in range(BUFFER + 100)})

    missed, *rest = told
    assert missed == EventsMissed(count=100)
    assert len(rest) == BUFFER


async def test_what_a_reader_missed_later_is_told_where_it_is_missing():
    feed, made = Feed(), iter(range(10**6))

    def make():
        return SubmissionFailed(at=float(next(made)), provider="p", job_id="j", reason="")

    reader = feed.open()
    feed.tell(make)
    assert (await anext(reader)).at == 0.0
    for _ in range(BUFFER + 3):
        feed.tell(make)

    assert await anext(reader) == EventsMissed(count=3)
    assert (await anext(reader)).at == 4.0


async def test_each_reader_has_its_own_view_from_when_it_came(runtime):
    provider = ScriptedProvider(lives={"a": [DONE], "b": [DONE]}, runtime=runtime)
    async with BatchPoller(runtime=runtime) as poller:
        first = poller.events()
        await poller.watch(provider, "a")
        second = poller.events()
        await poller.watch(provider, "b")

    assert [event.provider_batch_id async for event in first] == ["a", "b"]
    assert [event.provider_batch_id async for event in second] == ["b"]


async def test_without_a_reader_no_event_is_even_made():
    Feed().tell(lambda: pytest.fail("made for nobody"))


async def test_leaving_the_loop_early_leaves_nothing_behind(runtime):
    provider = ScriptedProvider(lives={f"b{number}": [RUNNING, DONE] for number in range(5)}, runtime=runtime)
    async with BatchPoller(runtime=runtime) as poller:
        reader = ref(poller.events())
        gc.collect()
        assert reader() is None
        handles = [poller.watch(provider, name) for name in provider.lives]
        async for event in poller.events():
            assert isinstance(event, BatchProgressed)
            break
        gc.collect()
        assert not poller.feed.is_read
        async for _ in poller.as_completed(handles):
            pass


async def test_a_reader_that_is_closed_has_nothing_more(runtime):
    provider = ScriptedProvider(lives={"b": [RUNNING, DONE], "later": [DONE]}, runtime=runtime)
    async with BatchPoller(runtime=runtime) as poller:
        async with aclosing(poller.events()) as events:
            await poller.watch(provider, "b")
        await poller.watch(provider, "later")
        assert [event async for event in events] == []


async def test_leaving_the_poller_ends_whoever_waits_for_an_event(runtime):
    told = []

    async def read(events):
        told.extend([event async for event in events])

    async with anyio.create_task_group() as group:
        async with BatchPoller(runtime=runtime) as poller:
            group.start_soon(read, poller.events())
            await anyio.lowlevel.checkpoint()
    assert told == []
    with pytest.raises(ScopeError):
        poller.events()


async def test_a_crash_of_the_poller_ends_its_readers(runtime):
    dice = iter([0.5])
    broken = msgspec.structs.replace(runtime, random=lambda: next(dice))
    provider = ScriptedProvider(lives={"b": [RUNNING, DONE]}, runtime=runtime)
    async with BatchPoller(runtime=broken) as poller:
        events = poller.events()
        poller.watch(provider, "b")

        assert [event async for event in events if not isinstance(event, BatchProgressed)] == []


async def test_cancelling_a_reader_loses_no_event(runtime):
    provider = ScriptedProvider(lives={"b": [DONE]}, runtime=runtime)
    async with BatchPoller(runtime=runtime) as poller:
        events = poller.events()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(events)
        await poller.watch(provider, "b")

        assert isinstance(await anext(events), BatchEnded)


def test_events_are_json_that_names_its_kind():
    event = BatchEnded(at=1.0, provider="p", provider_batch_id="b", status=DONE, progress=Progress(total=1))
    encoded = msgspec.json.encode(event)

    assert msgspec.json.decode(encoded)["event"] == "ended"
    assert msgspec.json.decode(encoded, type=PollEvent) == event


# A client's


async def test_a_client_tells_the_whole_story_of_a_job_with_its_id(monkeypatch):
    with Emulator(speed=100_000.0) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        async with BatchClient(journal="memory") as client:
            events = client.events()
            job = await client.submit(["a", "b"], model="openai/gpt-4.1-mini")
            assert [row.status.value async for row in job.results()] == ["succeeded"] * 2
        told = [event async for event in events]

    kinds = [type(event) for event in told if not isinstance(event, BatchProgressed)]
    assert kinds == [BatchSubmitted, BatchEnded, BatchFetched]
    assert {event.job_id for event in told} == {job.id}
    with pytest.raises(ScopeError):
        client.events()


async def test_a_submission_that_is_refused_is_told_with_its_reason(monkeypatch):
    with Emulator(faults=[faults.refuse(400, operation="create", code="bad", times=None)]) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        async with BatchClient(journal="memory") as client:
            events = client.events()
            job = await client.submit(["a"], model="openai/gpt-4.1-mini")
            with pytest.raises(ProviderPermanentError):
                await job.wait()
            (told,) = [await anext(events)]

    assert isinstance(told, SubmissionFailed)
    assert told.job_id == job.id
    assert "400" in told.reason
