"""A job as a stream of events: the state, each change, the end; for viewers that are slow, leave, and come back."""

import asyncio
import gc
import json
from contextlib import aclosing
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from asyncbatch import BatchClient, ConfigError, JobEvent
from asyncbatch.emulator import faults
from tests.engine.event_source import EventSource
from tests.engine.journals import Blind
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    return lambda **options: BatchClient(
        **{"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"} | options
    )


@pytest.fixture
def limits():
    return {"requests": 2}


async def seen(stream):
    return [event async for event in stream]


def kinds(events):
    return [event.type for event in events if event.type != "heartbeat"]


async def test_it_begins_with_the_state_tells_each_change_and_ends(open_client):
    async with open_client() as client:
        job = await client.submit(["a", "b", "c"], model=CHAT)
        found = await seen(job.stream_events())
        status = job.status()

    first, last = found[0], found[-1]
    assert (first.type, first.data["requests"], first.data["done"], first.data["is_over"]) == ("status", 3, 0, False)
    states = [event for event in found if event.type == "status"]
    assert len(states) > 3
    assert all(a.data != b.data and a.id != b.id for a, b in pairwise(states))
    assert (last.type, last.data) == ("ended", states[-1].data)
    assert last.data["outcomes"] == {"succeeded": 3}
    assert (last.data["done"], last.data["succeeded"], last.data["is_over"]) == (3, 3, True)
    assert [batch["state"] for batch in last.data["batches"]] == ["settled"] * 2
    assert last.data["usage"]["total_tokens"] == status.usage.total_tokens
    assert kinds(found)[-2:] == ["status", "ended"]


async def test_a_job_that_is_over_is_told_at_once(open_client):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        await job.wait()
        found = await seen(job.stream_events())

    assert kinds(found) == ["status", "ended"]


async def test_a_heartbeat_comes_when_nothing_has_come_for_so_long(open_client, emulator, clock, runtime, tmp_path):
    emulator.add(faults.refuse(503, operation="upload", times=None))
    journal = Blind(tmp_path / "state", runtime)  # so that nothing changes at all
    async with open_client() as client, open_client(journal=journal, resume=False) as other:
        job = await client.submit(["a"], model=CHAT)
        stream = (await other.job(job.id)).stream_events(heartbeat_s=5)
        first, at = await anext(stream), clock.now()
        beats = [(await anext(stream), clock.now()) for _ in range(3)]

    assert first.type == "status"
    assert [(event.type, event.id, event.data) for event, _ in beats] == [("heartbeat", first.id, {})] * 3
    assert all(later - earlier >= 5 for earlier, later in pairwise([at, *(when for _, when in beats)]))


async def test_a_slow_viewer_gets_the_latest_state_and_no_backlog(open_client):
    async with open_client() as client:
        job = await client.submit(["a", "b", "c"], model=CHAT)
        stream = job.stream_events()
        await anext(stream)
        await job.wait()
        found = await seen(stream)

    assert kinds(found) == ["status", "ended"]
    assert found[-1].data["done"] == 3


async def test_a_viewer_that_comes_back_is_not_told_what_it_knows(open_client):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        await job.wait()
        whole = await seen(job.stream_events())
        known, end = (event.id for event in whole)
        again = [kinds(await seen(job.stream_events(last_event_id=last))) for last in (known, end, "gibberish\0\n", "")]
    async with open_client() as client, open_client() as other:  # what both know of it has the same name
        state = await anext((await client.job(job.id)).stream_events())
        elsewhere = await seen((await other.job(job.id)).stream_events(last_event_id=state.id))

    assert again == [["ended"], ["ended"], ["status", "ended"], ["status", "ended"]]
    assert kinds(elsewhere) == ["ended"]


async def test_a_follower_tells_of_a_job_of_another_process_to_its_end(open_client):
    async with open_client() as first, open_client() as second:
        job = await first.submit(["a", "b", "c"], model=CHAT)
        found = await seen((await second.job(job.id)).stream_events())

    assert kinds(found)[0] == "status"
    assert kinds(found)[-2:] == ["status", "ended"]
    assert found[-1].data["outcomes"] == {"succeeded": 3}


async def test_it_just_ends_when_the_client_is_closed_or_the_job_discarded(open_client, emulator):
    emulator.add(faults.refuse(503, operation="upload", times=None))
    found = []
    async with anyio.create_task_group() as group, open_client() as client:
        job = await client.submit(["a"], model=CHAT)

        async def watch():
            found.extend(await seen(job.stream_events()))
            found.append("over")

        group.start_soon(watch)
        await until(lambda: found or job.status().batches[0].note)
        await client.aclose()

    assert found[-1] == "over"
    assert set(kinds(found[:-1])) == {"status"}
    async with open_client(journal="memory") as client:
        job = await client.submit([7], model=CHAT, on_bad_row="reject")
        stream = job.stream_events()
        await job.discard()
        assert await seen(stream) == []


async def test_it_ends_where_the_job_cannot_go_on_and_says_why(open_client, emulator):
    emulator.add(faults.refuse(400, operation="create", times=None))
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        found = await seen(job.stream_events())

    assert found[-1].type == "ended"
    assert "400" in found[-1].data["error"]


async def test_a_viewer_that_leaves_leaves_nothing_behind_and_may_go_on_where_it_was(open_client, emulator):
    emulator.add(faults.refuse(503, operation="upload", times=20))
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        before = asyncio.all_tasks()
        async with aclosing(job.stream_events()) as stream:
            first = await anext(stream)
            for _ in range(5):  # it is cancelled while it waits, at whatever point
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await anext(stream)
            second = await anext(stream)
        assert await seen(stream) == []  # closed is closed
        forgotten = job.stream_events()
        await anext(forgotten)
        del forgotten
        gc.collect()
        await until(lambda: asyncio.all_tasks() <= before)
        await job.wait()

    assert first.type == "status"
    assert (second.type, second.id == first.id) in [("status", False), ("heartbeat", True)]


async def test_many_viewers_are_told_the_same(open_client):
    async with open_client() as client:
        job = await client.submit(["a", "b", "c"], model=CHAT)
        ends = []

        async def watch():
            ends.append((await seen(job.stream_events()))[-1])

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(watch)

    assert len(ends) == 20
    assert {event.id for event in ends} == {ends[0].id}


@pytest.mark.parametrize("heartbeat_s", [0, -1, float("nan"), "15", None, True])
async def test_a_heartbeat_that_is_no_time_is_refused(open_client, heartbeat_s):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        with pytest.raises(ConfigError, match="heartbeat_s is"):
            job.stream_events(heartbeat_s=heartbeat_s)


async def test_what_is_written_is_what_a_browser_reads(open_client):
    key = "line one\r\nline two\u2028: data: [DONE]\n\n"
    async with open_client() as client:
        job = await client.submit(["a", "b", "c"], model=CHAT, key=key)
        found = await seen(job.stream_events())
    stream = b"".join(event.encode() for event in found)
    for size in (1, 7, len(stream)):
        source = EventSource()
        for at in range(0, len(stream), size):
            source.feed(stream[at : at + size])
        assert [(kind, json.loads(data), name) for kind, data, name in source.seen] == [
            (event.type, json.loads(json.dumps(event.data)), event.id) for event in found
        ]
        assert source.last_event_id == found[-1].id
        assert json.loads(source.seen[0][1])["key"] == key


def test_an_event_is_written_in_three_lines_and_an_empty_one():
    event = JobEvent(type="status", id="0af3", data={"error": "two\nlines\r", "done": 1})

    assert event.encode() == b'event: status\nid: 0af3\ndata: {"error":"two\\nlines\\r","done":1}\n\n'
