"""Scenes: a directory, a service, and one run of the worker after the other; and the checker that judges what came of it."""

import contextlib
import json
import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from asyncbatch.emulator import Emulator, paid_twice
from tests.kill.services import Service
from tests.kill.worker import STOPPED, Errand

ROOT = Path(__file__).parents[2]
PROMPTS = [f"hello {n}" for n in range(3)]
FAILS = "[[error:500]]"
AT_ONCE = {"validating_s": 0, "row_s": 0, "finalizing_s": 0, "cancelling_s": 0}
LANES = 4
"""Scenes at once: most of a scene is waiting for the disk."""

T = TypeVar("T")
R = TypeVar("R")


class Starter:
    """A process that starts workers, one at a time; see `worker.py`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.pid: int | None = None

    def start(self, errand: Errand) -> int:
        """Start a worker and give its process id."""
        self.process.stdin.write(msgspec.json.encode(errand).decode() + "\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        return self.pid

    def until_stopped(self) -> None:
        """Wait until it has been stopped, and see that it has not ended instead."""
        word = self.process.stdout.readline().strip()
        assert word == STOPPED, f"it ended with {word}"

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> int:
        """Wait for its end and give its exit code, or the negative number of the signal that killed it."""
        code = int(self.process.stdout.readline())
        self.pid = None
        return code

    def close(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Lane(NamedTuple):
    """What one scene at a time happens on."""

    emulator: Emulator
    starter: Starter


@contextlib.contextmanager
def lanes(*, speed: float = 1.0, **pace: float) -> Iterator["Lanes"]:
    with contextlib.ExitStack() as stack:
        free: queue.Queue[Lane] = queue.Queue()
        for _ in range(LANES):
            emulator = stack.enter_context(Emulator(speed=speed, pace=AT_ONCE | pace))
            starter = Starter()
            stack.callback(starter.close)
            free.put(Lane(emulator, starter))
        yield Lanes(free)


class Lanes:
    """Lanes that are handed out to whoever has a scene to play."""

    def __init__(self, free: "queue.Queue[Lane]") -> None:
        self._free = free

    @contextlib.contextmanager
    def one(self) -> Iterator[Lane]:
        lane = self._free.get()
        try:
            lane.emulator.reset()
            yield lane
        finally:
            self._free.put(lane)

    def each(self, play: Callable[[Lane, T], R], items: Iterable[T]) -> list[R]:
        """Play a scene for each item, several at once, and give what came of them in order."""

        def on_one(item: T) -> R:
            with self.one() as lane:
                return play(lane, item)

        with ThreadPoolExecutor(LANES) as pool:
            return list(pool.map(on_one, items))


class Scene:
    """One journal and one service, and what happens on them."""

    def __init__(
        self,
        lane: Lane,
        service: Service,
        home: Path,
        *,
        prompts: Sequence[str] = PROMPTS,
        per_batch: int | None = None,
        rounds: int = 1,
    ) -> None:
        self.emulator, self.starter = lane
        self.service = service
        self.home = home
        self.prompts = list(prompts)
        self.per_batch = per_batch
        self.rounds = rounds
        self.runs = 0
        (home / "tmp").mkdir(parents=True)

    def errand(self, *, at: str | None = None, **options: Any) -> Errand:
        """Give what the next run has to do, and at which step it is killed."""
        self.runs += 1
        if at is not None:
            options["signals"] = {at: signal.SIGKILL}
        return Errand(
            home=str(self.home),
            run=f"run-{self.runs}",
            env=self.emulator.env(self.service.name),
            model=self.service.model,
            way=self.service.way,
            per_batch=self.per_batch,
            rounds=self.rounds,
            **{"prompts": self.prompts} | options,
        )

    def run(self, **options: Any) -> "Run":
        """Let a worker run to its end, whichever that is."""
        errand = self.errand(**options)
        self.starter.start(errand)
        return Run(errand, self.starter.end())

    def play(self, kills: Sequence[str], **options: Any) -> list["Run"]:
        """Let a run after the other be killed at its step, and the last one come to its end."""
        return [self.run(at=at, **options) for at in (*kills, None)]

    @property
    def submissions(self) -> int:
        return -(-len(self.prompts) // (self.per_batch or len(self.prompts)))

    def creates(self) -> list[Any]:
        return [record for record in self.emulator.history if record.kind == "create"]

    def states(self) -> list[str]:
        """Give how far the journal says that each submission has come."""
        with self.tables() as tables:
            return [state for (state,) in tables.execute("SELECT state FROM submission ORDER BY idx")]

    @contextlib.contextmanager
    def tables(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.home / "state" / "journal.sqlite3")) as tables:
            yield tables


class Run(NamedTuple):
    """A run that is over."""

    errand: Errand
    code: int

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def steps(self) -> list[str]:
        return self.errand.path("steps").read_text().splitlines()

    @property
    def log(self) -> str:
        return self.errand.path("log").read_text()

    @property
    def rows(self) -> list[list[str]]:
        return json.loads(self.errand.path("rows").read_text())


# --- the checker -------------------------------------------------------------------------------------------------


def problems(scene: Scene, last: Run) -> list[str]:
    """Say everything that is not as it must be once the last run has come to its end."""
    if last.code != 0:
        return [f"the last run ended with {last.code}: {last.log[-2000:]}"]
    found = [*_of_payments(scene), *_of_rows(scene, last), *_of_journal(scene), *_of_places(scene)]
    if not found:
        shutil.rmtree(scene.home)
    return found


def _of_payments(scene: Scene) -> Iterator[str]:
    history = scene.emulator.history
    paid = [record for record in history if record.kind == "create" and record.is_paid]
    if len(paid) != scene.submissions * scene.rounds:
        yield f"{len(paid)} paid batches for {scene.submissions} submissions in {scene.rounds} rounds"
    if paid_twice(history):
        yield f"paid twice: {[len(records) for records in paid_twice(history).values()]}"


def _of_rows(scene: Scene, last: Run) -> Iterator[str]:
    expected = {f"{n:07d}": f"echo: {prompt}" for n, prompt in enumerate(scene.prompts)}
    counted = Counter(request_id for request_id, *_ in last.rows)
    if counted != Counter(expected.keys()):
        yield f"outcomes for {dict(counted)}"
    sent = scene.service.sent(scene.emulator)
    for request_id, status, text, sha in last.rows:
        if FAILS in expected.get(request_id, ""):
            if status != "errored":
                yield f"{request_id} is {status}, though it fails in each round"
            continue
        if status != "succeeded" or text != expected.get(request_id):
            yield f"{request_id} is {status}: {text!r}"
        if sha != sent.get(request_id):
            yield f"the answer to {request_id} is not the one that was sent"


def _of_journal(scene: Scene) -> Iterator[str]:
    if scene.states() != ["settled"] * scene.submissions:
        yield f"submissions are {scene.states()}"
    with scene.tables() as tables:
        (verdict,) = tables.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            yield f"the journal is damaged: {verdict}"
        if tables.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() != ("yes",):
            yield "the journal was not left in order"
        if tables.execute("SELECT count(*) FROM job").fetchone() != (1,):
            yield "there is another number of jobs than one"
        open_attempts = [result for (result,) in tables.execute("SELECT result FROM attempt") if result != "fenced"]
        if sorted(open_attempts) != sorted([*["retried"] * (scene.rounds - 1), "accepted"] * scene.submissions):
            yield f"attempts are {open_attempts}"


_KEPT = ("journal.lock", "journal.sqlite3", "jobs", "locks")


def _of_places(scene: Scene) -> Iterator[str]:
    state = scene.home / "state"
    names = sorted(path.name for path in state.iterdir())
    if names != sorted(_KEPT):
        yield f"the journal's directory holds {names}"
    jobs, locks = sorted(os.listdir(state / "jobs")), sorted(os.listdir(state / "locks"))
    if len(jobs) != 1 or locks != jobs:
        yield f"there are places of {jobs} and locks of {locks}"
    parts = [path.name for path in state.rglob("*.part")]
    if parts:
        yield f"halves were left: {parts}"
    if list((scene.home / "tmp").iterdir()):
        yield "temporary files were left"
