"""A web application with four workers on one state directory, one of which is killed while its batches are under way."""

import contextlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asyncbatch.emulator import Emulator, faults, paid_twice
from asyncbatch.testing.runtime import VirtualClock
from tests.kill.services import ANTHROPIC, OPENAI

ROOT = Path(__file__).parents[2]
WORKERS = 4
JOBS = 8
ROW_S = 3600
DONE_S = 6 * ROW_S
"""A batch of two rows is over by then, and nothing of it has expired."""
PATIENCE_S = 60
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


class Worker:
    """A server process with a socket of its own, so that we choose who is asked."""

    def __init__(self, env):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        number = self.socket.fileno()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "tests.kill.asgi_app:app",
            "--fd",
            str(number),
            "--log-level",
            "error",
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=[number], stdout=subprocess.DEVNULL)
        self.pid = self.process.pid

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), {"connection": "close"})
            answer = connection.getresponse()
            told = json.loads(answer.read())
        assert answer.status == 200, told
        assert told["pid"] == self.pid
        return told

    def kill(self):
        self.process.kill()
        self.end()

    def end(self):
        self.process.wait(PATIENCE_S)
        self.socket.close()


class Site:
    """The application, its service, and the clock of the service, which stands still until the test moves it."""

    def __init__(self, emulator, clock, home, service):
        self.emulator = emulator
        self.clock = clock
        self.env = {
            **PLAIN,
            **emulator.env(service.name),
            "ASGI_STATE": str(home / "state"),
            "ASGI_MODEL": service.model,
        }
        self.env["TMPDIR"] = str(home)
        self.workers = []

    def start(self, count=1):
        fresh = [Worker(self.env) for _ in range(count)]
        self.workers += fresh
        return fresh

    def kill(self, worker):
        self.workers.remove(worker)
        worker.kill()

    def stop(self):
        """Stop all workers as a server is stopped, which lets them close their clients."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.end()
        self.workers = []

    def is_in_order(self):
        """Whether the last one out found nothing amiss with the journal."""
        with contextlib.closing(sqlite3.connect(Path(self.env["ASGI_STATE"]) / "journal.sqlite3")) as tables:
            return tables.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("yes",)

    def creates(self):
        return [record for record in self.emulator.history if record.kind == "create"]


@pytest.fixture
def site(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(service):
            clock = VirtualClock()
            emulator = stack.enter_context(Emulator(clock=clock.now, pace={"validating_s": 0, "row_s": ROW_S}))
            made = Site(emulator, clock, tmp_path, service)
            stack.callback(made.stop)
            return made

        yield make


def submit(worker, number):
    return worker.ask("POST", f"/jobs/key-{number}", prompts(number))["job_id"]


def prompts(number):
    return [f"hello {number} {row}" for row in range(2)]


def until(test, attempts=2000):
    """Ask again until it is so. Every question is a call across the wire, which takes its time."""
    for _ in range(attempts):
        if test():
            return
    raise AssertionError("it never came to be so")


def rows_of(worker, job_id):
    return [text for _, status, text in worker.ask("GET", f"/jobs/{job_id}/rows")["rows"] if status == "succeeded"]


@pytest.mark.parametrize("service", [OPENAI, ANTHROPIC], ids=str)
def test_when_one_of_four_workers_is_killed_the_others_end_its_jobs_and_nobody_pays_twice(site, service):
    site = site(service)
    workers = site.start(WORKERS)
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = list(pool.map(lambda number: submit(workers[number % WORKERS], number), range(JOBS)))
        # The same keys, sent through somebody else: the same jobs, and nothing more is sent.
        again = list(pool.map(lambda number: submit(workers[(number + 1) % WORKERS], number), range(JOBS)))
    assert again == jobs
    for number, job_id in enumerate(jobs):
        owner = workers[number % WORKERS]
        until(lambda job_id=job_id, owner=owner: owner.ask("GET", f"/jobs/{job_id}")["is_sent"])
        seen = [worker.ask("GET", f"/jobs/{job_id}") for worker in workers]  # any of them answers for any job
        assert [told["follows"] for told in seen] == [worker is not owner for worker in workers]
        assert [told["is_over"] for told in seen] == [False] * WORKERS

    dead = workers[0]
    site.kill(dead)
    site.clock.advance(DONE_S)
    rest = [worker for worker in workers if worker is not dead]
    with ThreadPoolExecutor(JOBS * len(rest)) as pool:
        asked = [(worker, number) for worker in rest for number in range(JOBS)]
        found = list(pool.map(lambda pair: rows_of(pair[0], jobs[pair[1]]), asked))

    assert found == [[f"echo: {prompt}" for prompt in prompts(number)] for _, number in asked]
    assert len(site.creates()) == JOBS
    assert paid_twice(site.emulator.history) == {}
    (late,) = site.start()  # the one that a server starts in the dead one's place
    assert [rows_of(late, job_id) for job_id in jobs] == found[:JOBS]
    site.stop()
    assert site.is_in_order()


def test_a_worker_that_is_killed_in_the_middle_of_a_create_is_not_followed_by_a_second_create(site):
    """The service has accepted and not yet answered; another worker, which hears of the job by its key, finds the batch."""
    site = site(OPENAI)
    owner, other = site.start(2)
    site.emulator.add(faults.stall(3600.0, when="after", operation="create", times=1))
    job_id = submit(owner, 0)
    assert submit(other, 0) == job_id
    until(lambda: site.creates())
    assert not owner.ask("GET", f"/jobs/{job_id}")["is_sent"]
    site.kill(owner)
    until(lambda: other.ask("GET", f"/jobs/{job_id}")["is_sent"])
    site.clock.advance(DONE_S)

    assert rows_of(other, job_id) == [f"echo: {prompt}" for prompt in prompts(0)]
    assert len(site.creates()) == 1
    site.stop()
    assert site.is_in_order()


def test_one_key_that_all_workers_are_given_at_once_is_one_job(site):
    site = site(OPENAI)
    workers = site.start(WORKERS)
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = list(pool.map(lambda worker: submit(worker, 0), workers))
        until(lambda: workers[0].ask("GET", f"/jobs/{jobs[0]}")["is_sent"])
        site.clock.advance(DONE_S)
        found = list(pool.map(lambda worker: rows_of(worker, jobs[0]), workers))

    assert len(set(jobs)) == 1
    assert found == [[f"echo: {prompt}" for prompt in prompts(0)]] * WORKERS
    assert len(site.creates()) == 1
    site.stop()
    assert site.is_in_order()
