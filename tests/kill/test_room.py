"""A process that is killed while its account is full: the next one opens no more than the account may have, and pays once."""

import json
import os
import signal
import subprocess
import sys

import pytest

from asyncbatch.emulator import Emulator, faults, paid_twice

PACE = {"validating_s": 0, "row_s": 1, "run_cap_s": 1, "finalizing_s": 0}


@pytest.fixture
def emulator():
    with Emulator(speed=20, pace=PACE, limits={"open_batches": 4}) as emulator:
        yield emulator


@pytest.fixture
def start(emulator, tmp_path):
    """Start the worker; gives its process once it has opened its client."""
    workers = []

    def start_worker():
        command = [sys.executable, "-m", "tests.kill.room_worker", str(tmp_path / "home")]
        env = {**os.environ, **emulator.env("openai")}
        worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.kill()
        worker.communicate()


@pytest.mark.parametrize("step", ["arrived", "accepted"])
def test_a_kill_in_the_middle_of_fifty_batches_opens_no_fifth_and_pays_nothing_twice(emulator, start, step):
    first = start()
    assert first.stdout.readline() == "open\n", first.communicate()
    emulator.add(faults.kill(first.pid, step, first=9))
    _, log = first.communicate(timeout=100)
    assert first.returncode == -signal.SIGKILL, log
    second = start()
    out, log = second.communicate(timeout=100)

    assert second.returncode == 0, log
    assert json.loads(out.splitlines()[-1]) == {"succeeded": 50}
    history = emulator.history
    creates = [record for record in history if record.kind == "create"]
    tried = [record for record in history if record.kind == "request" and record.operation == "create"]
    assert paid_twice(history) == {}
    assert sum(record.is_paid for record in creates) == 50
    assert [record for record in tried if record.status == 429] == [], "no more than four were ever open"
    tags = [record.metadata["asyncbatch_tag"].split("-") for record in creates]
    order = [
        int(tag[2]) for tag in tags if tag[3] == "1"
    ]  # one that has to be looked for first comes when it is found absent
    assert all(later > index - 4 for place, index in enumerate(order) for later in order[place:]), order
