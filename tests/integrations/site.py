"""A web server of several processes for one example application, and the service that it sends its batches to."""

import contextlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from asyncbatch.emulator import Emulator
from asyncbatch.testing.runtime import VirtualClock

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
ROW_S = 3600
DONE_S = 6 * ROW_S
"""A batch of two rows is over by then, and nothing of it has expired."""
PATIENCE_S = 30
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

UVICORN = [
    "-m",
    "uvicorn",
    "tests.integrations.served:app",
    "--log-level",
    "warning",
    "--timeout-graceful-shutdown",
    "1",
]
# Without a word it would serve in a child of its own, which outlives a parent that is killed.
HYPERCORN = ["-m", "hypercorn", "tests.integrations.served:app", "--workers", "0", "--graceful-timeout", "1"]
HYPERCORN += ["--log-level", "warning"]
RUNNER = ["-m", "tests.integrations.served"]


class Served(NamedTuple):
    """An example and the words that start its server, of which the last ones name the socket by its number."""

    module: str
    server: list[str]
    socket_words: list[str]

    def __repr__(self):
        return self.module


SERVED = [
    Served("fastapi_app", UVICORN, ["--fd", "{}"]),
    Served("starlette_app", UVICORN, ["--fd", "{}"]),
    Served("litestar_app", UVICORN, ["--fd", "{}"]),
    Served("quart_app", HYPERCORN, ["--bind", "fd://{}"]),
    Served("aiohttp_app", RUNNER, ["{}"]),
]


class Worker:
    """A server process with a socket of its own, so that we choose who is asked; it listens before the process is there."""

    def __init__(self, served, env, log):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.log = log
        number = self.socket.fileno()
        words = [word.format(number) for word in served.socket_words]
        warn = ["-W", "default::ResourceWarning", "-W", "default::RuntimeWarning"]
        command = [sys.executable, *warn, *served.server, *words]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=[number], stdout=out, stderr=out)
        self.socket.close()  # it is the process's now: one that dies while it starts refuses us

    def ask(self, method, path, body=None, headers=None):
        """Give the status and the decoded body of an answer."""
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            told = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(told) if is_json and told else told

    def get(self, path, **headers):
        status, told = self.ask("GET", path, headers=headers)
        assert status == 200, (told, self.said())
        return told

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def watch(self, path):
        """Open a stream of events; gives the connection and what can be read of it."""
        connection = self.connect()
        connection.request("GET", path)
        return connection, connection.getresponse()

    def said(self):
        return self.log.read_text(encoding="utf-8")

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


class Site:
    """The processes, the service, and the service's clock, which stands still until the test moves it."""

    def __init__(self, served, home):
        self.served = served
        self.home = home
        self.pace = {"SERVED_SPEED": "50", "SERVED_POLL_S": "1"}
        self.clock = VirtualClock()
        self.workers = []

    def __enter__(self):
        self.emulator = Emulator(clock=self.clock.now, pace={"validating_s": 0, "row_s": ROW_S})
        self.emulator.start()
        self.env = {
            **PLAIN,
            **self.emulator.env("openai"),
            "ACME_OPENAI_KEY": "key-of-acme",
            "ASYNCBATCH_HOME": str(self.home / "state"),
            "OPENAI_WEBHOOK_SECRET": SECRET,
            "SERVED_EXAMPLE": self.served.module,
            "SERVED_FROM": str(EXAMPLES),
            "TMPDIR": str(self.home),
        }
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.kill()
        self.emulator.stop()

    def start(self, count=1):
        fresh = [
            Worker(self.served, self.env | self.pace, self.home / f"log-{len(self.workers) + n}") for n in range(count)
        ]
        self.workers += fresh
        return fresh

    def creates(self):
        return [record for record in self.emulator.history if record.kind == "create"]

    def batches(self):
        """Count the batches that the journal knows: a create is seen by the service before its answer is noted."""
        return self._journal("SELECT count(*) FROM submission WHERE state = 'submitted'")

    def is_in_order(self):
        """Whether the last one out closed its client, and found nothing amiss with the journal."""
        return self._journal("SELECT value FROM meta WHERE key = 'clean'") == "yes"

    def _journal(self, question):
        with contextlib.closing(sqlite3.connect(Path(self.env["ASYNCBATCH_HOME"]) / "journal.sqlite3")) as tables:
            return tables.execute(question).fetchone()[0]


def until(test):
    """Ask again until it is so. Every question is a call across the wire, which takes its time."""
    gone_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < gone_at:
        found = test()
        if found:
            return found
    raise AssertionError("it never came to be so")
