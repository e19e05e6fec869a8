"""The emulator is killed and started again on its directory: whoever it has answered finds what it was told of."""

import asyncio
import json
import signal
import subprocess
import sys

import anyio
import pytest

from asyncbatch.emulator import paid_twice
from tests.emulator.clients import ECHOES, PROMPTS, WAYS, brisk_client, creates, every_way, lead, submit, texts
from tests.emulator.server import ROOT, Server, Starter, Worker

STEPS = ["arrived", "reading", "accepted", "headers", "sent"]
AT_ONCE = {"validating_s": 0, "row_s": 0, "finalizing_s": 0}
kills = [
    (way, step) for way in WAYS for step in (STEPS if str(way) in {"openai-file", "anthropic-inline"} else ["accepted"])
]
every_dialect = pytest.mark.parametrize("way", {way.dialect: way for way in WAYS}.values(), ids=str)
every_kill = pytest.mark.parametrize(("way", "step"), kills, ids=str)  # steps are the same at all, acceptances are not


@pytest.fixture(scope="module")
def starter():
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def other_starter():
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture
def server(starter, tmp_path, monkeypatch):
    server = Server(starter, tmp_path / "service", pace={"validating_s": 3, "row_s": 4, "finalizing_s": 3})
    server.start()
    lead(monkeypatch, server.environments.values())
    yield server
    server.close()


@every_way
async def test_a_job_goes_on_when_its_service_was_killed_while_a_batch_ran(server, way):
    async with brisk_client() as opened:
        job = await submit(opened, way)
        (batch,) = await job.submitted()
        before = creates(server.history)
        assert server.kill() == -signal.SIGKILL
        server.start()
        rows = await texts(job)

    after = creates(server.history)
    assert rows == ECHOES
    assert [(record.object_id, record.is_paid) for record in after] == [(batch.rpartition(" ")[2], True)]
    assert [record.at for record in after] == [record.at for record in before]


@every_kill
async def test_a_create_is_found_or_made_once_wherever_its_service_was_killed(server, way, step):
    server.kill()
    server.start(kill_at=step, pace=AT_ONCE)
    async with brisk_client() as opened:
        job = await submit(opened, way)
        assert await asyncio.to_thread(server.wait) == -signal.SIGKILL
        server.start(pace=AT_ONCE)
        rows = await texts(job)

    paid = [record for record in creates(server.history) if record.is_paid]
    assert rows == ECHOES
    assert len(paid) == 1
    assert paid_twice(server.history) == {}


@every_dialect
async def test_a_kill_at_any_moment_loses_nothing(server, way):
    """Killed again and again while jobs come and go, at moments that nobody has chosen."""
    async with brisk_client() as opened:
        jobs = [await submit(opened, way, [f"{number}: {prompt}" for prompt in PROMPTS]) for number in range(4)]
        for pause in (0.0, 0.05, 0.1, 0.15):
            await anyio.sleep(pause)  # how far they have come by then is of no matter
            server.kill()
            server.start()
        rows = [await texts(job) for job in jobs]

    assert rows == [[f"echo: {number}: {prompt}" for prompt in PROMPTS] for number in range(4)]
    assert len([record for record in creates(server.history) if record.is_paid]) == 4
    assert paid_twice(server.history) == {}


@every_dialect
def test_a_job_survives_the_death_of_both(server, other_starter, way, tmp_path):
    first = Worker(other_starter, server, way, tmp_path / "home")
    first.submitted()
    first.kill()
    server.kill()
    server.start()
    second = Worker(other_starter, server, way, tmp_path / "home")
    second.submitted()

    assert second.rows() == ECHOES
    assert [record.is_paid for record in creates(server.history)] == [True]


@every_dialect
def test_a_create_survives_the_death_of_both_before_its_answer(server, other_starter, way, tmp_path):
    server.kill()
    server.start(kill_at="accepted")
    first = Worker(other_starter, server, way, tmp_path / "home")
    assert server.wait() == -signal.SIGKILL
    first.kill()
    server.start()
    second = Worker(other_starter, server, way, tmp_path / "home")
    second.submitted()

    assert second.rows() == ECHOES
    assert [record.is_paid for record in creates(server.history)] == [True]


# As a command

_START = "import sys; sys.argv[0] = 'asyncbatch'; from asyncbatch.cli import main; sys.exit(main())"


def command(*args):
    return [sys.executable, "-c", _START, "emulator", "--json", *map(str, args)]


class Command:
    def __init__(self, *args):
        self.process = subprocess.Popen(command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        self.ready = json.loads(self.process.stdout.readline())

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err.decode()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_command_goes_on_with_what_was_there(tmp_path, monkeypatch, number):
    place = tmp_path / "service"
    first = Command("--port", 0, "--data-dir", place, "--speed", 3600)
    lead(monkeypatch, [first.ready["env"]])
    async with brisk_client() as opened:
        way = WAYS[0]
        job = await submit(opened, way)
        await job.submitted()
        first.end(number)
        second = Command("--port", first.ready["url"].rpartition(":")[2], "--data-dir", place)
        rows = await texts(job)
    code, err = second.end()

    assert rows == ECHOES
    assert (code, str(place) in err) == (0, True)


def test_a_directory_that_will_not_do_is_refused_with_what_to_do(tmp_path):
    place = tmp_path / "service"
    place.mkdir(mode=0o700)
    (place / "state").write_text("asyncbatch emulator, format 99\n")

    done = subprocess.run(
        command("--port", 0, "--data-dir", place), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )

    assert done.returncode == 1
    assert all(words in done.stderr for words in ("format 99", "another directory"))
    assert "Traceback" not in done.stderr
