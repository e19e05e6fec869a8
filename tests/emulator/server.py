"""An emulator, or a client of one, as a process that may be killed.

`python -m tests.emulator.server` reads settings, one JSON object a line. Those of an emulator are those of `serve`, and
`kill_at`, the step of a create at which it kills itself; those of a client are `way`, `journal` and `environment`. For each it
forks a child from a process that has everything imported, so that a start costs milliseconds. A line tells of the child, where
it listens or how far it has come, and the last one how it ended.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
import urllib.request
from pathlib import Path

import anyio

from asyncbatch.emulator import decode_history, faults, serve
from asyncbatch.emulator.dialect import load_dialects
from tests.emulator.clients import WAYS, brisk_client, submit, texts

ROOT = Path(__file__).parents[2]


class Starter:
    """A process that starts others, one at a time."""

    def __init__(self):
        command = [sys.executable, "-m", "tests.emulator.server"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)

    def start(self, settings):
        self.process.stdin.write(json.dumps(settings) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Server:
    """An emulator in a process of its own, which keeps its port and its directory from one life to the next."""

    def __init__(self, starter, data_dir, **settings):
        self.starter = starter
        self.settings = {"port": 0, "speed": 60.0, "data_dir": str(data_dir), **settings}
        self.pid = None

    def start(self, **changes):
        ready = self.starter.start(self.settings | changes)
        self.pid, self.url, self.environments = ready["pid"], ready["url"], ready["environments"]
        self.settings["port"] = int(self.url.rpartition(":")[2])

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self):
        """Wait for its end, and give how it ended."""
        self.pid = None
        return self.starter.read()["ended"]

    def close(self):
        if self.pid is not None:
            self.kill()

    @property
    def history(self):
        with urllib.request.urlopen(f"{self.url}/history", timeout=30) as answer:
            return decode_history(answer.read())


class Worker:
    """A client in a process of its own, with a journal: it submits a job and brings its answers."""

    def __init__(self, starter, server, way, journal):
        environment = {name: value for names in server.environments.values() for name, value in names.items()}
        settings = {"way": WAYS.index(way), "journal": str(journal), "environment": environment}
        self.starter = starter
        self.pid = starter.start(settings)["pid"]

    def submitted(self):
        """Wait until its batches exist."""
        assert self.starter.read() == {"submitted": True}

    def rows(self):
        """Wait for its end, and give what it had by then."""
        rows = self.starter.read()["rows"]
        assert self.starter.read() == {"ended": 0}
        return rows

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.starter.read()["ended"]


def tell(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def work(way, journal, environment):
    os.environ.update(environment)
    tell(pid=os.getpid())
    async with brisk_client(journal=journal) as client:
        job = await submit(client, WAYS[way], key="nightly")
        await job.submitted()
        tell(submitted=True)
        tell(rows=await texts(job))


def emulate(settings):
    step = settings.pop("kill_at", None)
    script = [] if step is None else [faults.kill(os.getpid(), step)]

    async def run_until_killed():
        await serve(
            **settings,
            faults=script,
            on_ready=lambda url, environments: tell(pid=os.getpid(), url=url, environments=environments),
        )

    anyio.run(run_until_killed)


def run(settings):
    if "way" in settings:
        anyio.run(lambda: work(**settings))
    else:
        emulate(settings)


def main():
    load_dialects()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        tell(ended=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
