"""A directory that outlives the emulator: what is found there again, what is refused, and what a kill may leave behind."""

import asyncio
import builtins
import errno
import json
import os
import time
import urllib.request

import aiohttp
import anyio
import msgspec
import pytest

from asyncbatch import BatchClient
from asyncbatch.cli.endings import CommandError
from asyncbatch.cli.serving import ServeOptions, serve_emulator
from asyncbatch.cli.talk import Talk
from asyncbatch.emulator import DataDirError, Emulator, data_dir, decode_history, desk, faults
from asyncbatch.emulator.data_dir import DataDir
from asyncbatch.emulator.entries import ClockEntry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.emulator.clients import creates, every_way, lead, submit, texts
from tests.emulator.gemini_wire import CREATE, GeminiApi, chat, inline_rows
from tests.emulator.wire import Api, chat_row, encode_lines

LISTS = {
    "openai": ["/batches", "/files"],
    "anthropic": ["/v1/messages/batches"],
    "gemini": ["/v1beta/batches", "/v1beta/files"],
    "mistral": ["/v1/batch/jobs", "/v1/files"],
}
HEADERS = {
    "Authorization": "Bearer emulator-key",
    "x-api-key": "emulator-key",
    "x-goog-api-key": "emulator-key",
    "anthropic-version": "2023-06-01",
}
PROMPTS = ["hello", "[[error:429]]", "[[missing]]", "[[stall]]"]
HEAD = b"asyncbatch emulator, format 1\n"


def read(url):
    request = urllib.request.Request(url, headers=HEADERS)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "service"


@pytest.fixture
def clock():
    return VirtualClock()


class World:
    """An emulator that is left and entered again, at one address."""

    def __init__(self, place, clock, monkeypatch):
        self.options = {"data_dir": place, "clock": clock.now}
        self.emulator = Emulator(**self.options)
        self.emulator.start()
        lead(monkeypatch, [self.emulator.env(dialect) for dialect in self.emulator.dialects])

    def again(self, **changes):
        """End it, and start another one there."""
        port = int(self.emulator.url.rpartition(":")[2])
        self.emulator.stop()
        self.emulator = Emulator(**{**self.options, "port": port, **changes})
        self.emulator.start()

    def shown(self, dialect):
        return [read(self.emulator.base_url(dialect) + path) for path in LISTS[dialect]]


@pytest.fixture
def world(place, clock, monkeypatch):
    world = World(place, clock, monkeypatch)
    yield world
    world.emulator.stop()


@pytest.fixture
async def api(world):
    api = Api(world.emulator)
    await api.session.close()
    api.session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True)
    )  # a connection dies with a life
    yield api
    await api.session.close()


@every_way
async def test_everything_is_shown_as_before_at_every_stage_of_a_batch(world, clock, way):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await submit(client, way, PROMPTS)
        await job.submitted()
        for seconds in (0, 10, 86_500, 100):
            clock.advance(seconds)
            shown, history = world.shown(way.dialect), world.emulator.history
            world.again()
            assert world.emulator.history[: len(history)] == history
            assert world.shown(way.dialect) == shown
        assert len([row async for row in job.results()]) == len(PROMPTS)


@every_way
async def test_a_cancellation_is_remembered(world, clock, way):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await submit(client, way, PROMPTS)
        await job.submitted()
        clock.advance(5.05)
        await job.cancel()
        shown = world.shown(way.dialect)
        world.again()
        assert world.shown(way.dialect) == shown
        assert len([row async for row in job.results()]) == len(PROMPTS)

    assert [record.kind for record in world.emulator.history if record.kind == "cancel"] == ["cancel"]


@every_way
async def test_what_was_deleted_stays_deleted_and_its_bytes_are_gone(world, clock, way, place):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await submit(client, way)
        await texts(job)
    for record in world.emulator.history:
        if record.kind in {"upload", "create"}:
            delete(world.emulator, way.dialect, record.object_id)
    shown = world.shown(way.dialect)
    world.again()

    assert world.shown(way.dialect) == shown
    deleted = {record.object_id for record in world.emulator.history if record.kind == "delete"}
    assert deleted
    lists = [value for page in shown for value in page.values() if isinstance(value, list)]
    assert not deleted & {item.get("id") or item["name"] for items in lists for item in items}


def delete(emulator, dialect, name):
    """Delete a file or a batch, where that can be done."""
    paths = {
        "openai": f"/files/{name}",
        "anthropic": f"/v1/messages/batches/{name}",
        "gemini": f"/v1beta/{name}",
        "mistral": f"/v1/files/{name}",
    }
    if dialect == "mistral" and name in {record.object_id for record in creates(emulator.history)}:
        path = f"/v1/batch/jobs/{name}"
    elif dialect == "openai" and name.startswith("batch"):
        return
    else:
        path = paths[dialect]
    request = urllib.request.Request(emulator.base_url(dialect) + path, headers=HEADERS, method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


async def test_a_file_that_was_deleted_without_its_bytes_leaves_none(world, api, place, monkeypatch):
    """Killed between the two: what is written down counts."""
    file = await api.upload(encode_lines([chat_row("a")]))

    async def die(file):
        raise OSError(errno.EIO, "the process is gone")

    monkeypatch.setattr(world.emulator._running.service.families["openai"].desk, "discard", die)
    async with await api.send("DELETE", f"/files/{file['id']}") as response:
        assert response.status == 500
    assert bytes_of(place, "openai")
    world.again()

    assert not bytes_of(place, "openai")
    assert (await api.get("/files"))["data"] == []


def bytes_of(place, dialect):
    (directory,) = place.glob(f"{dialect}-*")
    return list(directory.iterdir())


async def test_half_an_upload_is_swept_away(world, api, place):
    file = await api.upload(encode_lines([chat_row("a")]))
    (kept,) = bytes_of(place, "openai")
    kept.with_name("bytes-of-nobody").write_bytes(b"half")
    world.again()

    assert bytes_of(place, "openai") == [kept]
    assert await api.content(file["id"]) == encode_lines([chat_row("a")])


async def test_what_a_reset_had_left_when_it_was_killed_is_removed(world, place):
    """Killed between the new log and the end of the old files."""
    (place / "openai-of-an-earlier-life").mkdir()
    world.again()

    assert len([path for path in place.iterdir() if path.is_dir()]) == len(world.emulator.dialects)


def test_another_process_can_ask_what_happened(world):
    read(world.emulator.base_url("openai") + "/files")
    request = urllib.request.Request(world.emulator.url + "/history")
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = decode_history(answer.read())

    assert found == world.emulator.history
    assert [(record.operation, record.status) for record in found] == [("files", 200)]


async def test_ids_are_never_given_twice(world, api):
    first = await api.upload(b"x\n")
    world.again()
    second = await api.upload(b"x\n")

    assert first["id"] != second["id"]
    assert {item["id"] for item in (await api.get("/files"))["data"]} == {first["id"], second["id"]}


async def test_accounts_stay_apart_and_their_keys_are_not_written_down(world, api, place):
    await api.upload(b"x\n")
    other = Api(world.emulator, key="sk-other")
    world.again()
    answer = await other.get("/files")
    await other.session.close()

    assert answer["data"] == []
    assert b"sk-" not in (place / "state").read_bytes()


async def test_a_reset_is_for_ever(world, api, place):
    await api.start([chat_row("a")])
    world.emulator.reset()
    world.again()

    assert world.emulator.history == []
    assert (await api.get("/batches"))["data"] == []
    assert bytes_of(place, "openai") == []
    assert len([path for path in place.iterdir() if path.is_dir()]) == len(world.emulator.dialects)


async def test_an_unread_batch_is_validated_by_the_next_life(world, api, clock, monkeypatch):
    """The process dies while it validates."""
    gate = anyio.Event()

    async def wait(batch):
        await gate.wait()

    monkeypatch.setattr(desk, "HISTORY_S", 0.0)
    monkeypatch.setattr(world.emulator._running.service.families["openai"].desk.work, "_do_examine", wait)
    batch = await api.start([chat_row("a")])
    world.again()
    clock.advance(100)

    assert (await api.batch(batch["id"]))["status"] == "completed"


async def test_what_was_found_valid_stays_valid(world, api, clock):
    batch = await api.start([chat_row("a"), chat_row("b")])
    clock.advance(5.01)
    assert (await api.batch(batch["id"]))["status"] == "in_progress"
    world.again(limits={"rows": 1})
    clock.advance(100)

    assert (await api.batch(batch["id"]))["request_counts"]["completed"] == 2


async def test_a_batch_keeps_what_its_owner_has_changed(world):
    gemini = GeminiApi(world.emulator, key="emulator-key")
    batch = {"displayName": "one", "inputConfig": {"requests": {"requests": inline_rows(chat())}}}
    _, created = await gemini.call("POST", CREATE, json={"batch": batch})
    path = f"/v1beta/{created['name']}"
    status, _ = await gemini.call("PATCH", f"{path}:updateGenerateContentBatch", json={"displayName": "two"})
    await gemini.session.close()
    world.again()

    assert status == 200
    assert read(world.emulator.base_url("gemini") + path)["metadata"]["displayName"] == "two"


async def test_answers_that_had_not_all_come_are_asked_for_again(world, api, clock):
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never(ask):
        loop.call_soon_threadsafe(asked.set)
        await anyio.sleep_forever()

    world.again(answer=never)
    batch = await api.start([chat_row("a")])
    await asked.wait()
    world.again(answer=lambda ask: "at last")
    clock.advance(100)
    done = await api.batch(batch["id"])
    output, _ = await api.results(done)

    assert output["a"]["response"]["body"]["choices"][0]["message"]["content"] == "at last"
    world.again(answer=never)
    assert (await api.results(await api.batch(batch["id"])))[0] == output


async def test_what_cannot_be_written_down_was_not_accepted(world, api, place, monkeypatch):
    file = await api.upload(encode_lines([chat_row("a")]))
    full = [b"half of it"]

    def write(descriptor, data):
        if full:
            os.write(descriptor, full.pop())
            raise OSError(errno.ENOSPC, "no space left")
        os.write(descriptor, data)

    monkeypatch.setattr(data_dir, "_write", write)
    order = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with await api.send("POST", "/batches", json=order) as response:
        assert response.status == 500
    after = await api.upload(b"x\n")
    monkeypatch.undo()
    world.again()

    assert (await api.get("/batches"))["data"] == []
    assert {item["id"] for item in (await api.get("/files"))["data"]} == {file["id"], after["id"]}


# The clock


def test_a_clock_with_a_speed_goes_on_while_nobody_is_there(place):
    with Emulator(data_dir=place, speed=1000) as first:
        now, left_at = first.now, time.time()
    came_at = time.time()
    with Emulator(data_dir=place, speed=1) as second:
        assert second.now >= now + 1000 * (came_at - left_at)


def test_time_never_runs_backwards_even_if_the_computers_clock_does(place, monkeypatch):
    with Emulator(data_dir=place, speed=3600) as first:
        read(first.base_url("openai") + "/files")
        at = first.history[-1].at
    rewind(place)
    with Emulator(data_dir=place) as second:
        assert second.now >= at


def rewind(place):
    """Let the log say that it was written in the future, before any of its calls."""
    data = DataDir(place)
    clock, *entries = data.entries
    data.rewrite([msgspec.structs.replace(clock, wall=clock.wall + 1e6), *entries])
    data.close()


def test_the_advances_of_a_callers_own_clock_are_remembered(world, clock):
    world.emulator.advance(500)
    world.again()

    assert world.emulator.now == clock.now() + 500


def test_a_callers_own_clock_counts_for_itself(place, clock):
    with Emulator(data_dir=place, speed=3600):
        pass
    with Emulator(data_dir=place, clock=clock.now) as second:
        assert second.now == clock.now()


def test_nothing_is_written_when_all_is_over(world, place):
    world.emulator.stop()
    before = (place / "state").read_bytes()
    world.emulator.advance(5)

    assert (place / "state").read_bytes() == before


# What is refused


def refused(place):
    with pytest.raises(DataDirError) as caught:
        Emulator(data_dir=place).start()
    return caught.value


def test_a_directory_has_one_emulator_at_a_time(world, place):
    error = refused(place)

    assert error.code == "in_use"
    assert f"process {os.getpid()}" in str(error)
    assert world.shown("openai")[0]["data"] == []


def test_a_lock_without_a_name_is_a_lock_all_the_same(place):
    data = DataDir(place)
    os.ftruncate(data._lock, 0)
    error = refused(place)
    data.close()

    assert "process ?" in str(error)


def test_what_was_refused_is_left_as_it_was_and_unlocked(place):
    place.mkdir(mode=0o700)
    (place / "novel.txt").write_text("Once")
    assert refused(place).code == "not_ours"
    assert (place / "novel.txt").read_text() == "Once"
    (place / "novel.txt").unlink()

    with Emulator(data_dir=place) as emulator:
        assert emulator.history == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"asyncbatch emulator, format 99\n", "format"),
        (b"Once upon a time", "not_ours"),
        (b"", "not_ours"),
        (HEAD + b"\x00\x00\x00\x01" + b"\x00\x00\x00\x00" + b"x", "damaged"),
        (HEAD + b"\x00\x00\x00\x01" + (0x83DCEFB7).to_bytes(4, "big") + b"1", "damaged"),  # the checksum fits
    ],
)
def test_a_log_that_cannot_be_read_is_refused_and_kept(place, content, code):
    place.mkdir(mode=0o700)
    (place / "state").write_bytes(content)

    error = refused(place)

    assert error.code == code
    assert error.hint
    assert (place / "state").read_bytes() == content


def test_every_flipped_bit_of_a_frame_is_noticed(place):
    data = DataDir(place)
    data.rewrite([ClockEntry(wall=1.0, at=2.0, speed=3.0, offset_s=None)])
    data.close()
    whole = (place / "state").read_bytes()
    for at in range(len(HEAD) + 4, len(whole)):
        (place / "state").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataDirError, match="damaged"):
            DataDir(place)


def test_a_log_may_end_anywhere_in_its_last_frame(place):
    entries = [ClockEntry(wall=1.0, at=float(number), speed=3.0, offset_s=None) for number in range(2)]
    data = DataDir(place)
    data.rewrite(entries[:1])
    short = len((place / "state").read_bytes())
    data.append(entries[1:])
    data.close()
    whole = (place / "state").read_bytes()
    for end in range(short, len(whole)):
        (place / "state").write_bytes(whole[:end])
        data = DataDir(place)
        assert data.entries == entries[:1]
        data.close()


def test_a_log_that_cannot_be_written_anew_stays(place, monkeypatch):
    with Emulator(data_dir=place) as emulator:
        read(emulator.base_url("openai") + "/files")
    before = (place / "state").read_bytes()

    def write(descriptor, data):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(data_dir, "_write", write)
    with pytest.raises(OSError, match="no space left"):
        Emulator(data_dir=place).start()
    monkeypatch.undo()

    assert (place / "state").read_bytes() == before
    with Emulator(data_dir=place) as emulator:
        assert len(emulator.history) == 1


def test_a_write_that_is_cut_short_goes_on(place, monkeypatch):
    data = DataDir(place)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:3]))
    data.rewrite([ClockEntry(wall=1.0, at=2.0, speed=3.0, offset_s=None)])
    monkeypatch.undo()
    data.close()

    data = DataDir(place)
    data.close()
    assert [entry.at for entry in data.entries] == [2.0]


def test_a_directory_of_somebody_else_is_refused(place, monkeypatch):
    place.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)

    assert refused(place).code == "not_private"


def test_where_there_are_no_locks_there_is_no_data_directory(place, monkeypatch):
    real = builtins.__import__

    def load(name, *args, **options):
        if name == "fcntl":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", load)

    assert refused(place).code == "unsupported"


def test_what_is_made_is_private(world, place):
    modes = {path.relative_to(place): path.stat().st_mode & 0o077 for path in (place, *place.iterdir())}

    assert set(modes.values()) == {0}


# As a command


@pytest.fixture
def command(place):
    def refuse():
        with pytest.raises(CommandError) as caught:
            serve_emulator(ServeOptions("127.0.0.1", 0, 60.0, data_dir=str(place)), Talk())
        return caught.value

    return refuse


def test_the_command_says_why_a_directory_will_not_do_and_what_to_do(command, place):
    place.mkdir(mode=0o700)
    place.chmod(0o777)

    error = command()

    assert (error.code, error.exit_code) == ("data_dir.not_private", 1)
    assert "others can write" in str(error)
    assert f"chmod go-w {place}" in error.hint


def test_the_command_says_what_the_system_says(command, place):
    place.write_text("x")

    error = command()

    assert error.code == "data_dir.refused"
    assert "the data directory cannot be used" in str(error)
    assert str(place) in str(error)


def test_the_command_says_who_has_the_directory(command, world):
    assert f"in use by another emulator, process {os.getpid()}" in str(command())


def test_ghosts_do_not_outlive_the_process(place, clock, monkeypatch):
    world = World(place, clock, monkeypatch)
    world.emulator.add(faults.ghost(60, operation="files"))
    with pytest.raises(OSError, match=r"."):
        read(world.emulator.base_url("openai") + "/files")
    world.again()
    clock.advance(100)
    history = world.emulator.history
    world.emulator.stop()

    assert [record.status for record in history] == [None]
    assert bytes_of(place, "openai") == []
