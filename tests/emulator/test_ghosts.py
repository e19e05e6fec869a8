"""Creates that arrive after the client has given up: found within the window, failed by a fence, bought twice by the hasty."""

import asyncio

import aiohttp
import anyio
import pytest

from asyncbatch import BatchClient, Recovery
from asyncbatch.emulator import Emulator, faults, paid_twice
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.emulator.clients import ECHOES, creates, every_fenced_way, every_way, lead, submit, texts
from tests.emulator.wire import Api, chat_row, encode_lines


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock, monkeypatch):
    with Emulator(clock=clock.now) as world:
        lead(monkeypatch, [world.env(dialect) for dialect in world.dialects])
        yield world


@pytest.fixture
async def client(world, clock):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        yield client


def posts(world):
    return [record for record in world.history if record.kind == "request" and record.operation == "create"]


@every_way
async def test_a_ghost_that_arrives_within_the_window_is_adopted(client, world, clock, way):
    world.add(faults.ghost(120))
    began = clock.now()

    job = await submit(client, way)
    rows = await texts(job)

    (create,) = creates(world.history)
    assert create.at >= began + 120
    assert rows == ECHOES
    assert create.is_paid


@every_fenced_way
async def test_a_ghost_that_arrives_after_the_fence_is_not_paid(world, clock, way):
    world.add(faults.ghost(330))
    runtime = virtual_runtime(clock)
    async with BatchClient(runtime=runtime, recovery=Recovery(watch_s=90)) as client:
        job = await submit(client, way)
        rows = await texts(job)

    (fence,) = [record for record in world.history if record.kind == "delete"]
    *late, paid = creates(world.history)
    late_calls = [record for record in posts(world) if record.faults == ("ghost",) and record.status is not None]
    assert rows == ECHOES
    assert [record.at > fence.at for record in late_calls] == [True]
    assert (paid.is_paid, [record.is_paid for record in late]) == (True, [False] if way.dialect == "openai" else [])
    assert late_calls[0].status == {"openai": 200, "gemini": 404, "mistral": 404}[way.dialect]
    assert paid_twice(world.history) == {}


@every_fenced_way
async def test_who_looks_once_and_sends_again_pays_for_the_ghost_too(world, clock, way):
    """The control: without a window and a fence the same ghost is a second bill."""
    world.add(faults.ghost(120))
    hasty = Recovery(window_s=0, reads=1, gap_s=0, watch_s=0, fence=False)
    async with BatchClient(runtime=virtual_runtime(clock), recovery=hasty) as client:
        job = await submit(client, way)
        assert await texts(job) == ECHOES
    clock.advance(3600)

    assert [record.is_paid for record in creates(world.history)] == [True, True]


async def test_a_ghost_is_validated_when_it_arrives(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    await api.call("DELETE", f"/files/{file['id']}")
    time.now += 60

    (listed,) = (await api.get("/batches"))["data"]
    time.now += 60
    assert (await api.batch(listed["id"]))["status"] == "failed"
    assert [record.is_paid for record in creates(emulator.history)] == [False]


async def test_a_ghost_is_not_there_a_moment_before_its_time(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    time.now += 59

    before = (await api.get("/batches"))["data"]
    time.now += 1
    after = (await api.get("/batches"))["data"]

    assert (len(before), len(after)) == (0, 1)
    assert after[0]["created_at"] == int(time.now)


async def test_the_history_tells_when_it_was_sent_and_when_it_was_carried_out(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"], metadata={"tag": "t1"})
    sent_at = time.now
    time.now += 61

    calls = [record for record in emulator.history if record.operation == "create"]
    assert [(record.kind, record.at, record.status) for record in calls] == [
        ("request", sent_at, None),
        ("create", time.now, None),
        ("request", time.now, 200),
    ]
    assert calls[1].metadata == {"tag": "t1"}


async def test_a_client_that_waits_long_enough_is_answered(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60, meanwhile="stall"))
    async with anyio.create_task_group() as tasks:
        answers = []

        async def create():
            answers.append(await api.create(file["id"]))

        tasks.start_soon(create)
        while not emulator._running.service.families["openai"].desk.ghosts._pending:
            await asyncio.sleep(0)
        assert answers == []
        time.now += 60

    (listed,) = (await api.get("/batches"))["data"]
    assert [answer["id"] for answer in answers] == [listed["id"]]


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_an_error_says_no_and_it_arrives_all_the_same(api, emulator, time, status):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60, meanwhile="error", status=status))
    answer = await api.try_create(file["id"])
    before = (await api.get("/batches"))["data"]
    time.now += 60

    assert (answer[0], answer[1]["error"]["type"]) == (status, "server_error")
    assert (len(before), len((await api.get("/batches"))["data"])) == (0, 1)


async def test_a_ghost_is_late_in_lists_too(api, emulator, time):
    """It has arrived and can be polled, but a list shows it only when the lag is over."""
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60), faults.list_lag(90))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    seen = []
    for _ in range(7):
        seen.append(len((await api.get("/batches"))["data"]))
        time.now += 30

    assert seen == [0, 0, 0, 0, 0, 0, 1]
    (create,) = creates(emulator.history)
    assert (await api.batch(create.object_id))["id"] == create.object_id


async def test_a_body_that_did_not_come_whole_makes_no_ghost(api, emulator, time):
    emulator.add(faults.ghost(60, operation="upload"))
    began = asyncio.Event()

    async def body():
        yield b"half"
        began.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(api.send("POST", "/files", data=body()))
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    while not emulator.history:
        await asyncio.sleep(0.01)
    time.now += 60

    assert [(record.kind, record.status) for record in emulator.history] == [("request", None)]
    assert (await api.get("/files"))["data"] == []


async def test_a_client_that_gives_up_does_not_stop_it(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60, meanwhile="stall"))
    with anyio.move_on_after(0.2) as patience:
        await api.create(file["id"])
    time.now += 60

    assert patience.cancelled_caught
    assert len((await api.get("/batches"))["data"]) == 1


async def test_other_calls_may_be_late_as_well(api, emulator, time):
    batch = await api.start([chat_row("a")])
    emulator.add(faults.ghost(2, operation="cancel"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.call("POST", f"/batches/{batch['id']}/cancel")

    assert (await api.batch(batch["id"]))["status"] == "validating"
    time.now += 2
    assert (await api.batch(batch["id"]))["status"] == "cancelling"


async def test_a_ghost_of_a_doomed_create_is_doomed(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60), faults.full_queue())
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    time.now += 61
    (listed,) = (await api.get("/batches"))["data"]
    time.now += 60

    assert (await api.batch(listed["id"]))["errors"]["data"][0]["code"] == "token_limit_exceeded"


async def test_a_reset_forgets_those_that_are_on_their_way(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    (ghost,) = emulator._running.service.families["openai"].desk.ghosts._pending.values()
    emulator.reset()
    assert ghost.gone.is_set()
    time.now += 100

    assert (await api.get("/batches"))["data"] == []
    assert [record.kind for record in emulator.history] == ["request"]


async def test_a_ghost_whose_body_is_lost_never_arrives(api, emulator, time):
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.ghost(60))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])
    (ghost,) = emulator._running.service.families["openai"].desk.ghosts._pending.values()
    ghost._body.unlink()
    time.now += 61

    assert (await api.get("/batches"))["data"] == []
    assert creates(emulator.history) == []


async def test_a_mark_that_somebody_made_up_means_nothing(api, emulator):
    emulator.add(faults.refuse(403, operation="list"))

    status, _ = await api.call("GET", "/batches", headers={"X-Emulator-Ghost": "0" * 32})

    assert status == 403


async def test_on_a_fast_clock_it_arrives_by_itself():
    with Emulator(speed=100) as world:
        world.add(faults.ghost(5))
        api = Api(world)
        try:
            file = await api.upload(encode_lines([chat_row("a")]))
            with pytest.raises(aiohttp.ClientConnectionError):
                await api.create(file["id"])
            while not creates(world._running.service.families["openai"].desk._history):
                await asyncio.sleep(0.01)  # nobody calls: only the clock goes on
        finally:
            await api.session.close()
