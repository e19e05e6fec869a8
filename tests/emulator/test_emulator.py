"""The emulator as its users hold it: blocks, fixtures, clocks, history, and a process of its own."""

import asyncio
import errno
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import aiohttp.web
import anyio
import msgspec
import pytest

from asyncbatch.emulator import Emulator, family, faults, inline, serve
from asyncbatch.emulator.clock import Clock
from tests.emulator.wire import Api, chat_row, encode_lines

ROWS = [chat_row("a"), chat_row("b")]


def get(url, key="sk-test"):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


OTHERS: set[threading.Thread] = set()
"""Threads that were there before a test: emulators of other tests may live longer than they, in the same process."""


@pytest.fixture(autouse=True)
def others():
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def threads():
    alive = [thread for thread in threading.enumerate() if thread not in OTHERS]
    return [thread for thread in alive if thread.name.startswith("asyncbatch-emulator")]


def test_a_synchronous_test_can_use_it():
    with Emulator() as emulator:
        assert get(f"{emulator.base_url('openai')}/batches")["data"] == []

    assert threads() == []


async def test_an_asynchronous_test_can_use_it():
    async with Emulator() as emulator:
        api = Api(emulator)
        assert (await api.get("/batches"))["data"] == []
        await api.session.close()

    assert threads() == []


async def test_it_can_be_entered_in_one_task_and_left_in_another():
    emulator = Emulator()

    await asyncio.create_task(emulator.__aenter__())
    found = await asyncio.to_thread(get, emulator.url + "/")
    bases = {name: emulator.base_url(name) for name in emulator.dialects}
    await asyncio.create_task(emulator.__aexit__(None, None, None))

    assert found["base_urls"] == bases
    assert threads() == []


@pytest.fixture
async def held():
    async with Emulator() as emulator:
        yield emulator


async def test_it_can_be_an_asynchronous_fixture(held):
    assert (await asyncio.to_thread(get, held.base_url("openai") + "/files"))["data"] == []


async def test_it_ends_when_its_holder_is_cancelled():
    started = asyncio.Event()

    async def hold():
        async with Emulator():
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert threads() == []


def test_it_can_be_used_again_and_begins_anew():
    emulator = Emulator()
    with emulator:
        first = emulator.url
        get(f"{emulator.base_url('openai')}/batches")
    with emulator:
        assert emulator.history == []
        assert emulator.url != "" != first


def test_two_of_them_know_nothing_of_each_other():
    with Emulator() as one, Emulator() as two:
        get(f"{one.base_url('openai')}/batches")

        assert (len(one.history), len(two.history)) == (1, 0)


def test_a_taken_port_is_an_error_at_once():
    with Emulator() as emulator:
        port = int(emulator.url.rpartition(":")[2])

        with pytest.raises(OSError, match=r".") as caught:
            Emulator(port=port).start()
        assert caught.value.errno == errno.EADDRINUSE

    assert threads() == []


def test_it_says_that_it_does_not_run():
    emulator = Emulator()

    for use in (lambda: emulator.url, emulator.reset, lambda: emulator.add(faults.drop())):
        with pytest.raises(RuntimeError, match="not running"):
            use()


def test_it_cannot_be_started_twice():
    with Emulator() as emulator, pytest.raises(RuntimeError, match="already"):
        emulator.start()


def test_stopping_what_does_not_run_does_nothing():
    Emulator().stop()


def test_an_unknown_dialect_is_named_with_those_that_exist():
    with Emulator() as emulator, pytest.raises(ValueError, match=r"no dialect 'opnai'; it speaks .*openai"):
        emulator.base_url("opnai")


@pytest.mark.parametrize("options", [{"limits": {"row": 5}}, {"pace": {"row_s": "slow"}}])
def test_a_wrong_setting_is_refused(options):
    with pytest.raises(msgspec.ValidationError):
        Emulator(**options).start()

    assert threads() == []


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        Emulator(speed=speed)


def test_the_environment_leads_an_sdk_here():
    with Emulator() as emulator:
        assert emulator.env("openai") == {
            "OPENAI_BASE_URL": f"{emulator.url}/openai/v1",
            "OPENAI_API_KEY": "emulator-key",
        }
        assert "openai" in emulator.dialects


async def test_reset_forgets_everything(api, emulator, time):
    batch = await api.start(ROWS)
    emulator.advance(1000)
    emulator.add(faults.refuse(500, times=None))
    assert (await api.call("GET", "/batches"))[0] == 500

    emulator.reset()

    assert (await api.get("/batches"))["data"] == []
    assert (await api.call("GET", f"/batches/{batch['id']}"))[0] == 404
    assert (await api.get("/files"))["data"] == []
    assert emulator.now == time.now
    assert {record.kind for record in emulator.history} == {"request"}


async def test_a_create_that_a_reset_overtakes_is_refused(emulator, monkeypatch):
    """Its rows lie where everything is forgotten."""
    is_split, goes_on, split = threading.Event(), threading.Event(), inline._split

    def wait(*args):
        found = split(*args)
        is_split.set()
        assert goes_on.wait(10)
        return found

    monkeypatch.setattr(inline, "_split", wait)
    monkeypatch.setattr(emulator._running.service.families["mistral"].desk.store, "remove", lambda: None)
    row = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}}
    order = {"requests": [row], "endpoint": "/v1/chat/completions", "model": "mistral-small-latest"}
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer k"}) as session:
        url = f"{emulator.base_url('mistral')}/v1/batch/jobs"
        call = asyncio.create_task(session.post(url, json=order))
        await asyncio.to_thread(is_split.wait, 10)
        await asyncio.to_thread(emulator.reset)
        goes_on.set()
        async with await call as refused:
            assert refused.status == 503
        async with session.get(url) as listed:
            assert (await listed.json())["data"] == []

    assert [record.kind for record in emulator.history] == ["request", "request"]


async def test_reset_brings_back_the_first_script(time):
    async with Emulator(clock=time, faults=[faults.refuse(500)]) as emulator:
        api = Api(emulator)
        statuses = [(await api.call("GET", "/batches"))[0] for _ in range(2)]
        emulator.reset()
        statuses += [(await api.call("GET", "/batches"))[0] for _ in range(2)]
        await api.session.close()

    assert statuses == [500, 200, 500, 200]


@pytest.mark.parametrize("step", ["examine_rows", "write_files"])
async def test_work_that_is_under_way_ends_with_a_reset(api, emulator, time, step, monkeypatch):
    """The work finds its store closed, and nobody waits for it."""
    begun, gate, original = threading.Event(), threading.Event(), getattr(family, step)

    def gated(*args):
        begun.set()
        gate.wait()
        args[0].check_open() if step == "write_files" else args[3]()
        return original(*args)

    monkeypatch.setattr(family, step, gated)
    batch = await api.start(ROWS)
    time.now += 600
    async with asyncio.TaskGroup() as group:
        try:
            poll = group.create_task(api.call("GET", f"/batches/{batch['id']}"))
            assert await asyncio.to_thread(begun.wait, 60)
            await asyncio.to_thread(emulator.reset)
        finally:
            gate.set()

    assert poll.result()[0] in {200, 404}  # it came before the reset, or after
    assert (await api.get("/batches"))["data"] == []


async def test_its_files_are_gone_when_it_is_over(time, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Emulator(clock=time) as emulator:
        api = Api(emulator)
        await api.run(ROWS)
        await api.session.close()
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())

    assert list(tmp_path.iterdir()) == []


async def test_a_deleted_file_that_no_batch_uses_leaves_the_disk(api, tmp_path, emulator, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    emulator.reset()
    file = await api.upload(b"x")

    await api.call("DELETE", f"/files/{file['id']}")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_refused_upload_leaves_no_bytes(api, tmp_path, emulator, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    emulator.reset()

    await api.try_upload(b"x", filename="in.txt")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_upload_that_the_client_abandons_leaves_no_bytes(emulator, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    emulator.reset()
    host, port = emulator.url.removeprefix("http://").split(":")
    head = (
        b"POST /openai/v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\nxxx'
    )

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head)
    for _ in range(10_000):  # the request is written down when the server has noticed
        if emulator.history:
            break

    assert [(record.kind, record.status) for record in emulator.history] == [("request", None)]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_the_history_tells_what_was_asked_and_what_was_accepted(api, emulator, time):
    batch = await api.start(ROWS, metadata={"tag": "t1"})
    await api.call("POST", f"/batches/{batch['id']}/cancel")
    await api.call("DELETE", f"/files/{batch['input_file_id']}")
    await api.call("GET", "/batches/unknown?x=1")

    history = emulator.history

    accepted = [record for record in history if record.kind != "request"]
    requests = [record for record in history if record.kind == "request"]
    assert [record.kind for record in accepted] == ["upload", "create", "cancel", "delete"]
    assert [record.object_id for record in accepted[1:3]] == [batch["id"]] * 2
    assert accepted[1].metadata == {"tag": "t1"}
    assert accepted[1].input_file_id == batch["input_file_id"] == accepted[0].object_id
    assert accepted[1].input_sha256 == accepted[0].input_sha256
    assert [(record.method, record.status) for record in requests] == [
        ("POST", 200),
        ("POST", 200),
        ("POST", 200),
        ("DELETE", 200),
        ("GET", 404),
    ]
    assert requests[-1].path == "/openai/v1/batches/unknown?x=1"
    assert len({record.account for record in history}) == 1
    assert "sk-test" not in repr(history)
    assert all(record.at == time.now for record in history)


async def test_the_history_outlives_the_emulator(time):
    async with Emulator(clock=time) as emulator:
        api = Api(emulator)
        await api.start(ROWS)
        await api.session.close()

    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True]


def test_the_clock_runs_at_its_speed_and_can_be_moved():
    fast = Clock(speed=1_000_000)

    first = fast.now()
    while fast.now() == first:
        pass
    fast.advance(1e12)

    assert fast.now() > first + 1e12
    assert fast.client_seconds(1_000_000) == 1
    with pytest.raises(ValueError, match="backwards"):
        fast.advance(-1)


def test_the_clock_can_be_the_callers_own(time):
    clock = Clock(source=time, speed=60)
    clock.advance(5)

    assert clock.now() == clock.client_wall() == time.now + 5
    assert clock.client_seconds(30) == 30


def test_dates_for_clients_are_in_their_own_time():
    clock = Clock(speed=60)
    clock.advance(1e9)

    assert clock.client_wall() < clock.now() - 9e8


async def test_serve_runs_until_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ready = []
    async with anyio.create_task_group() as tasks:
        told = anyio.Event()

        def on_ready(url, environments):
            ready.append((url, environments))
            told.set()

        async def run():
            await serve(port=0, on_ready=on_ready)

        tasks.start_soon(run)
        await told.wait()
        ((url, environments),) = ready
        found = await asyncio.to_thread(get, environments["openai"]["OPENAI_BASE_URL"] + "/batches")
        tasks.cancel_scope.cancel()

    assert found["data"] == []
    assert environments["openai"]["OPENAI_BASE_URL"] == f"{url}/openai/v1"
    assert list(tmp_path.iterdir()) == []


async def test_serve_needs_nobody_to_tell():
    with anyio.CancelScope() as scope:
        scope.cancel()
        await serve(port=0)

    assert scope.cancelled_caught


def test_it_serves_another_process_through_the_environment():
    code = (
        "import json, os, urllib.request as u;"
        "r = u.Request(os.environ['OPENAI_BASE_URL'] + '/batches',"
        " headers={'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']});"
        "print(json.load(u.urlopen(r))['object'])"
    )
    with Emulator() as emulator:
        environment = {**os.environ, **emulator.env("openai")}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "list"


def test_it_is_reached_over_ip_6_too():
    with Emulator(host="::1") as emulator:
        assert emulator.url.startswith("http://[::1]:")
        assert get(f"{emulator.base_url('openai')}/batches")["data"] == []


def test_it_leaves_no_connection_behind():
    with Emulator() as emulator:
        for _ in range(5):
            get(f"{emulator.base_url('openai')}/batches")

    gc.collect()  # an unclosed socket would warn here, and a warning is an error


def test_it_is_forgotten_when_it_is_over():
    """aiohttp keeps an application that has a middleware for as long as it remembers what stands before its handlers."""

    def applications():
        gc.collect()
        return sum(isinstance(found, aiohttp.web.Application) for found in gc.get_objects())

    before = applications()
    for _ in range(2):
        with Emulator() as emulator:
            get(f"{emulator.base_url('openai')}/batches")
            get(f"{emulator.base_url('groq')}/batches")

    assert applications() == before


def test_a_stalled_request_does_not_keep_it_from_ending():
    def poll():
        with pytest.raises(OSError, match=r"."):
            get(f"{base}/batches")

    with Emulator(faults=[faults.stall(3600, path="/batches")]) as emulator:
        base = emulator.base_url("openai")
        client = threading.Thread(target=poll)
        client.start()
        get_other(base)
    client.join()

    assert threads() == []


def get_other(base):
    """Wait until the server has answered somebody else, so that the first request is under way."""
    with pytest.raises(urllib.error.HTTPError):
        get(f"{base}/nothing")


def test_every_dialect_is_found_by_its_file():
    import asyncbatch.emulator as package
    from asyncbatch.emulator.dialect import load_dialects

    folder = Path(package.__file__).parent / "dialects"

    assert set(load_dialects()) == {path.stem for path in folder.glob("*.yaml")}


async def test_a_large_batch_keeps_memory_small(time):
    """Rows are read and written one by one: what is held is an offset and a byte for each."""
    import tracemalloc

    rows = encode_lines(chat_row(f"r{number}", "x" * 4000) for number in range(5000))
    async with Emulator(clock=time) as emulator:
        api = Api(emulator)
        batch = await api.create((await api.upload(rows))["id"])
        time.now += 600
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        done = await api.batch(batch["id"])
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        await api.session.close()

    assert done["request_counts"]["completed"] == 5000
    assert peak < len(rows) / 2
