"""Something happens when a call has come this far: before it is read, while it is, when it is done, while it is answered."""

import asyncio
import os
import signal
import threading

import aiohttp
import anyio
import pytest

from asyncbatch.emulator import Fault, faults
from tests.emulator.clients import creates
from tests.emulator.wire import chat_row, encode_lines

STEPS = ["arrived", "reading", "accepted", "headers", "sent"]
every_step = pytest.mark.parametrize("step", STEPS)


@pytest.fixture
async def file(api):
    return await api.upload(encode_lines([chat_row("a")]))


class Door:
    """Lets nobody through until it is opened."""

    def __init__(self):
        self.is_reached = threading.Event()
        self.is_open = threading.Event()

    def pass_through(self):
        self.is_reached.set()
        assert self.is_open.wait(10)

    async def reached(self):
        await asyncio.to_thread(self.is_reached.wait, 10)


async def until(is_done):
    """Wait for what is done when a client may have its answer already."""
    with anyio.fail_after(10):
        while not is_done():
            await anyio.sleep(0.001)


@every_step
async def test_the_call_goes_on_when_it_is_done(api, emulator, file, step):
    did = []
    emulator.add(faults.act(lambda: did.append(step), step))

    created = await api.create(file["id"])
    again = await api.create(file["id"])

    assert did == [step]
    assert created["id"] != again["id"]
    assert [record.object_id for record in creates(emulator.history)] == [created["id"], again["id"]]


@pytest.mark.parametrize(("step", "is_accepted"), list(zip(STEPS, [False, False, True, True, True], strict=True)))
async def test_the_history_shows_how_far_it_has_come(api, emulator, file, step, is_accepted):
    door = Door()
    emulator.add(faults.act(door.pass_through, step))
    call = asyncio.create_task(api.create(file["id"]))
    await door.reached()
    records = creates(emulator.history)
    door.is_open.set()
    created = await call

    assert [record.object_id for record in records] == ([created["id"]] if is_accepted else [])


async def test_the_headers_are_there_before_the_body(api, emulator, file):
    door = Door()
    emulator.add(faults.act(door.pass_through, "headers", operation="files"))
    async with await api.send("GET", "/files") as response:  # comes back while the door is shut
        reading = asyncio.create_task(response.read())
        await door.reached()
        assert not reading.done()
        door.is_open.set()
        assert (await reading).startswith(b"{")


async def test_all_of_the_answer_is_there_when_it_is_sent(api, emulator, file):
    door = Door()
    emulator.add(faults.act(door.pass_through, "sent", operation="results"))
    async with await api.send("GET", f"/files/{file['id']}/content") as response:
        content = await response.read()
        await door.reached()
        door.is_open.set()

    assert content == encode_lines([chat_row("a")])


@pytest.mark.parametrize("after_bytes", [1, 1000, 65_536])
async def test_a_body_is_waited_for_as_far_as_is_said(api, emulator, after_bytes):
    came, first, rest = [], b"x" * after_bytes, asyncio.Event()
    emulator.add(faults.act(lambda: came.append(rest.is_set()), "reading", after_bytes=after_bytes, operation="upload"))

    async def body():
        yield first[:-1]
        await asyncio.sleep(0.01)
        rest.set()
        yield first[-1:]
        yield b"y" * 100_000

    async with await api.send("POST", "/files", data=body()) as response:
        assert response.status == 400  # no form, and refused as such

    assert came == [True]


async def test_a_body_that_is_shorter_is_waited_for_to_its_end(api, emulator, file):
    did = []
    emulator.add(faults.act(lambda: did.append(1), "reading", after_bytes=60_000))
    emulator.add(faults.act(lambda: did.append(2), "reading", operation="list"))

    await api.create(file["id"])
    await api.get("/batches")

    assert did == [1, 2]


async def test_a_client_that_leaves_while_its_body_is_waited_for_ends_the_wait(api, emulator):
    did, sent = [], asyncio.Event()
    emulator.add(faults.act(lambda: did.append(1), "reading", after_bytes=60_000, operation="upload"))

    async def body():
        yield b"x"
        sent.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(api.send("POST", "/files", data=body()))
    await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: [record for record in emulator.history if record.operation == "upload"])

    assert did == []


@pytest.mark.parametrize("after_bytes", [0, -1, 65_537])
def test_bytes_that_cannot_be_waited_for_are_refused(after_bytes):
    with pytest.raises(ValueError, match="after_bytes"):
        faults.act(print, "reading", after_bytes=after_bytes)


async def test_it_is_done_at_its_step_wherever_it_stands_in_the_script(api, emulator, file):
    did = []
    emulator.add(
        faults.act(lambda: did.append("sent"), "sent"),
        faults.act(lambda: did.append("headers"), "headers"),
        faults.accept_then_error(502),
        faults.act(lambda: did.append("accepted"), "accepted"),
        faults.act(lambda: did.append("arrived"), "arrived"),
    )

    status, _ = await api.try_create(file["id"])

    await until(lambda: len(did) == 4)
    assert status == 502
    assert did == ["arrived", "accepted", "headers", "sent"]


async def test_what_is_dropped_was_accepted_and_is_not_sent(api, emulator, file):
    did = []
    emulator.add(faults.accept_then_drop())
    for step in ("accepted", "headers", "sent"):
        emulator.add(faults.act(lambda step=step: did.append(step), step))

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])

    assert did == ["accepted"]


async def test_an_answer_that_is_cut_ends_before_it_is_sent(api, emulator, file):
    did = []
    emulator.add(faults.act(lambda: did.append(1), "sent"), faults.cut_body(10))

    with pytest.raises(aiohttp.ClientPayloadError):
        await api.create(file["id"])

    await until(lambda: did == [1])


async def test_the_answer_is_the_same_as_without(api, emulator, file):
    batch = await api.create(file["id"])
    emulator.add(faults.act(print, "headers", operation="poll", first=2, times=1))
    seen = []
    for _ in range(2):
        async with await api.send("GET", f"/batches/{batch['id']}") as response:
            headers = {name: value for name, value in response.headers.items() if name.lower() != "x-request-id"}
            seen.append((response.status, headers, await response.read()))

    assert seen[0] == seen[1]


async def test_a_process_gets_its_signal_and_the_call_goes_on(api, emulator, file):
    got = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    try:
        emulator.add(faults.kill(os.getpid(), "accepted", signal=signal.SIGUSR1))
        await api.create(file["id"])
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert got == [signal.SIGUSR1]


async def test_a_process_that_has_ended_already_is_no_error(api, emulator, file):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    emulator.add(faults.kill(child))

    assert (await api.create(file["id"]))["id"]


@pytest.mark.parametrize("pid", [0, -1])
def test_nobody_kills_a_whole_group_by_mistake(pid):
    with pytest.raises(ValueError, match="process"):
        faults.kill(pid)


@pytest.mark.parametrize("effect", [faults.Ghost(after_s=1), faults.Drop(), faults.Cut(), faults.Act(do=print)])
@pytest.mark.parametrize("condition", [{"where": {"status": "completed"}}, {"completed": True}])
def test_what_changes_no_answer_cannot_choose_one(effect, condition):
    with pytest.raises(ValueError, match="changes none"):
        Fault(effect=effect, **condition)
