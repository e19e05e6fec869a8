"""`asyncbatch demo`: a job at an emulator in this process. Its command is killed midway, and goes on; nothing is paid."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.reporting import count_of
from asyncbatch.cli.talk import Talk, printable, program
from asyncbatch.emulator import Emulator, paid_twice

_PROVIDER, _MODEL = "openai", "gpt-4.1-mini"
_BATCHES = 4
_LASTS_S = 4.0
_KILLED_AFTER = 0.4
"""Which part of the job's time passes between its last create and the kill."""
_PACE = {"validating_s": 5.0, "row_s": 0.0, "run_cap_s": 100.0, "finalizing_s": 5.0}
_PLACES = ["Lima", "Oslo", "Cairo", "Hanoi", "Quito", "Tunis", "Sofia", "Accra", "Turin", "Osaka"]
_SHOWN = 3
_START = "import sys; sys.argv[0] = 'asyncbatch'; from asyncbatch.cli import main; sys.exit(main())"

_NEXT = """\
What happened: the requests were checked, cut into batches, uploaded, created, watched and fetched over real HTTP, as on the
real service. A few of them asked for trouble, so that you see how it is told.

Try next:
  echo '"Say hello in French"' > requests.jsonl
  {program} run requests.jsonl -m openai/gpt-4.1-mini -o results.jsonl

It takes your OPENAI_API_KEY. Without one, export the variables that this prints in another terminal:
  {program} emulator"""


def make_requests(count: int) -> Iterator[Any]:
    """Give prompts, a few of which end badly."""
    for number in range(count):
        place = _PLACES[number % len(_PLACES)]
        if number % 500 == 250:
            yield f"What is the weather in {place}? [[error:400]]"
        elif number == 7:
            yield f"What is the weather in {place}? [[missing]]"
        elif number == 11:
            yield {"messages": [{"role": "user", "content": "How warm is it?"}], "temperature": float("nan")}
        else:
            yield f"What is the weather in {place} on day {number}?"


def run_demo(count: int, talk: Talk) -> int:
    """Run the demonstration; gives the exit code."""
    per_batch = max(1, -(-count // _BATCHES))
    pace = _PACE | {"row_s": 90.0 / per_batch}
    with (
        tempfile.TemporaryDirectory(prefix="asyncbatch-demo-") as place,
        Emulator(speed=(10.0 + 90.0) / _LASTS_S, pace=pace) as emulator,
    ):
        _write(Path(place), count, per_batch)
        talk.say(f"{count_of(count, 'request')} in {place}, which is removed at the end; an emulator on {emulator.url}")
        worker = _Worker(Path(place), _environment(emulator), talk)
        try:
            _show(worker, emulator, talk)
        except KeyboardInterrupt:
            talk.say("stopped")
            return Exit.DETACHED
        finally:
            worker.kill()
        samples = _samples(Path(place) / "results.jsonl")
    for row in samples:
        text = row["response"]["choices"][0]["message"]["content"]
        talk.say(f"  {row['request_id']}  {row['status']}  {printable(text)}")
    talk.say("\n" + _NEXT.format(program=program()))
    return Exit.OK


def _write(place: Path, count: int, per_batch: int) -> None:
    facts = {"limits": {"requests": per_batch}, "polling": {"min_interval_s": 0.1}}
    (place / "llm_config.yaml").write_text(json.dumps({"providers": {_PROVIDER: facts}}), encoding="utf-8")
    with (place / "requests.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(request)}\n" for request in make_requests(count))


def _environment(emulator: Emulator) -> dict[str, str]:
    """Give the worker's variables: whatever keys and addresses ours hold, it talks to the emulator."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ASYNCBATCH_", "OPENAI_"))}
    return ours | emulator.env(_PROVIDER) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _show(worker: "_Worker", emulator: Emulator, talk: Talk) -> None:
    """Let the command run, kill it once everything is sent, and let the same command run again."""
    if worker.is_kept:
        worker.start()
        if worker.wait_until_sent():
            threading.Event().wait(_LASTS_S * _KILLED_AFTER)
            if worker.kill():
                talk.say(f"\nkill -9: process {worker.pid} is gone, in the middle. The same command again:\n")
        worker.kill()
    ended = worker.run()
    created = sum(record.kind == "create" for record in emulator.history)
    if worker.is_kept and not paid_twice(emulator.history):
        talk.say(
            f"the emulator has seen {count_of(created, 'batch')} in all: nothing was lost, nothing was paid for twice"
        )
    talk.document("job_ended", **_fields(ended) | {"out": None})


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("v", "type")}


class _Worker:
    """The command that does the work, in a process of its own."""

    def __init__(self, place: Path, environment: Mapping[str, str], talk: Talk) -> None:
        self.is_kept = find_spec("fcntl") is not None
        home = "home" if self.is_kept else "memory"
        command = f"run requests.jsonl -m {_PROVIDER}/{_MODEL} -o results.jsonl --skip-bad --home {home} --poll 0.2"
        looks = ["--jsonl", "--plain", *(["--quiet"] if talk.quiet else [])]
        self._words = [sys.executable, "-c", _START, *command.split(), *looks]
        self._place = place
        self._environment = environment
        self._talk = talk
        self._process: subprocess.Popen[str] | None = None
        self.pid = 0

    def start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 our own program
            self._words,
            cwd=self._place,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def wait_until_sent(self) -> bool:
        """Wait until every batch was created; False if the command has ended."""
        batches, created = 0, set[int]()
        for event in self._events():
            if event["type"] == "job_accepted":
                batches = event["batches"]
            elif event["type"] == "batch_status" and event["provider_batch_id"]:
                created.add(event["index"])
            if batches and len(created) == batches:
                return True
        return False

    def kill(self) -> bool:
        """Kill it as a power failure would; False if it had ended before."""
        process, self._process = self._process, None
        if process is None:
            return False
        with process:  # which closes its pipe, and waits
            is_running = process.poll() is None
            process.kill()
        return is_running

    def run(self) -> dict[str, Any]:
        """Run it to its end; gives its last word."""
        self.start()
        last: dict[str, Any] = {}
        for event in self._events():
            if event["type"] == "batch_status":
                self._talk.event("batch_status", **_fields(event))
            last = event
        if last.get("type") != "job_ended":
            message = last.get("error", {}).get("message", "the command of the demonstration did not end as it should")
            raise CommandError(message, code="demo.failed", exit_code=Exit.FAILED)
        return last


def _samples(path: Path) -> list[dict[str, Any]]:
    """Read the first few answers."""
    found: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if len(found) < _SHOWN and row["status"] == "succeeded":
                found.append(row)
    return found
