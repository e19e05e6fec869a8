"""A process that submits a job and waits for it, and that signals hit at steps of its own: SIGKILL above all.

`python -m tests.kill.worker` reads errands, one JSON object a line. Each is done by a child of its own, forked from a process
that has everything imported and no thread, so that a start costs milliseconds; a line tells the child's process id, one each
time that it was stopped, and the last one how it ended. Steps are told to a file, one a line, before a signal strikes:

- of the journal, before and after each `make_place`, `accept`, `claim` and `move`: `move CreateIntended: before #1`;
- of what is kept on disk beside it: `keep rows-0000: after #1`;
- of the wire, at the socket: `create: before #1`, `create: headers sent #1`, `create: half sent #1`, `create: sent #1`,
  `create: answered #1`. A connection carries one call, so its first bytes say which.

The number counts how often a step came in this run. Nothing in the library knows of any of this.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import anyio
import msgspec

from asyncbatch import BatchClient, load_catalog
from asyncbatch.catalog import Catalog
from asyncbatch.engine import opening
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.schedule import Polling
from asyncbatch.registry import batch_provider_registry
from asyncbatch.runtime import Runtime
from asyncbatch.spool import SpoolFile
from tests.kill import mutants

STOPPED = "stopped"
CATALOG = load_catalog()

# A request in flight lives for milliseconds on loopback, where seconds to minutes are usual: what the windows have to outlive
# is shorter here, and so are they. Nothing else about them differs, and `test_mutants.py` sees them fail without.
RECOVERY = {"window_s": 0.5, "reads": 2, "gap_s": 0.05, "watch_s": 0.5, "settle_s": 2.0}
POLLING = Polling(first_s=0.02, factor=1.0, max_s=0.05, jitter=0.0)
_LIFE_S = 100
"""Real seconds until a worker that hangs is ended by the system."""
_LONGEST_SLEEP_S = 0.05
"""Services ask for seconds between two questions; the emulated one has nothing to be spared."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has to do.

    Attributes:
        home: The directory of its scene: the journal, and what each run leaves behind.
        run: The name of this run in it.
        env: Where the service is, and the key.
        model: `provider/model`.
        way: How requests travel.
        key: The job's own name.
        prompts: The requests.
        per_batch: How many of them go into one batch; None for all.
        signals: Which signals strike, by step.
        recovery: Changes to how lost creates are searched for.
        rounds: How often a request is sent at most.
        mutant: A bug that is planted first; see `mutants.py`.
    """

    home: str
    run: str
    env: dict[str, str]
    model: str
    way: str = "auto"
    key: str = "nightly"
    prompts: list[str]
    per_batch: int | None = None
    signals: dict[str, int] = {}
    recovery: dict[str, float] = {}
    rounds: int = 1
    mutant: str | None = None

    def path(self, kind: str) -> Path:
        return Path(self.home) / f"{self.run}.{kind}"


class Steps:
    """Tells each step to a file, and lets signals strike."""

    def __init__(self, errand: Errand) -> None:
        self._log = os.open(errand.path("steps"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._signals = errand.signals
        self._seen: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self._seen[name] += 1
        step = f"{name} #{self._seen[name]}"
        os.write(self._log, step.encode() + b"\n")
        if step in self._signals:
            os.kill(os.getpid(), self._signals[step])


# --- the journal, and what lies beside it ------------------------------------------------------------------------


class WatchedJournal:
    """A journal whose changes are steps."""

    def __init__(self, journal: SqliteJournal, step: Steps) -> None:
        self._journal = journal
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def _watched(self, name: str, work: Any) -> Any:
        self._step(f"{name}: before")
        result = await work
        self._step(f"{name}: after")
        return result

    async def make_place(self, job_id: str) -> Any:
        return await self._watched("make_place", self._journal.make_place(job_id))

    async def accept(self, job: Any, submissions: Any) -> Any:
        return await self._watched("accept", self._journal.accept(job, submissions))

    async def claim(self, job_id: str) -> Any:
        return await self._watched("claim", self._journal.claim(job_id))

    async def move(self, job_id: str, index: int, event: Any) -> Any:
        return await self._watched(f"move {type(event).__name__}", self._journal.move(job_id, index, event))


def watch_bodies(step: Steps) -> None:
    keep_at = SpoolFile.keep_at

    def watched(self: SpoolFile, path: Path) -> None:
        step(f"keep {path.name}: before")
        keep_at(self, path)
        step(f"keep {path.name}: after")

    SpoolFile.keep_at = watched


# --- the wire ----------------------------------------------------------------------------------------------------

_BATCHES = r"/(batches|batch/jobs)"
_CALLS = (
    ("upload", "POST", r"/files$"),
    ("create", "POST", rf"({_BATCHES}|:batchGenerateContent)$"),
    ("list", "GET", rf"{_BATCHES}$"),
    ("poll", "GET", rf"{_BATCHES}/[^/]+$"),
    ("fetch", "GET", r"/(content|results)$"),
    ("fence", "DELETE", r"/files/[^/]+$"),
)
_SMALL_BYTES = 16
_HEAD_ENDS = b"\r\n\r\n"


def name_of(request: bytes) -> str:
    """Say what a call is for, in a word that all services share."""
    method, target = request.split(b" ", 2)[:2]
    path = target.decode().partition("?")[0]
    found = (name for name, verb, pattern in _CALLS if verb == method.decode() and re.search(pattern, path))
    return next(found, f"{method.decode()} {path}")


class WatchedSocket(socket.socket):
    """A connection that is a step before its first byte, in the middle, after the last, and at each answer."""

    step: ClassVar[Steps]
    call: str | None = None
    is_answered = False

    def send(self, data: Any, flags: int = 0) -> int:
        data, cuts = bytes(data), list[tuple[str, int]]()
        if self.call is None:
            self.call = name_of(data)
            self.step(f"{self.call}: before")
            head = data.index(_HEAD_ENDS) + len(_HEAD_ENDS)
            cuts += [("headers sent", head)] if head < len(data) else []
        body = data.find(_HEAD_ENDS) + len(_HEAD_ENDS) if cuts else 0
        if cuts or (len(data) - body > _SMALL_BYTES and not data.startswith((b"GET", b"DELETE"))):
            cuts.append(("half sent", (body + len(data)) // 2))
        return self._in_pieces(data, [*cuts, ("sent", len(data))], flags)

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        return self.send(b"".join(buffers))

    def _in_pieces(self, data: bytes, cuts: list[tuple[str, int]], flags: int) -> int:
        done = 0
        for where, end in cuts:
            try:
                sent = super().send(data[done:end], flags)
            except BlockingIOError:  # the other side is slow: asyncio comes back with the rest
                if done:
                    return done
                raise
            done += sent
            if done < end:
                return done
            self.step(f"{self.call}: {where}")
        return done

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        if data:
            self.step(f"{self.call}: {'more answered' if self.is_answered else 'answered'}")
            self.is_answered = True
        return data


def connect(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    return WatchedSocket(family, kind, protocol)


# --- a run -------------------------------------------------------------------------------------------------------


async def briefly(seconds: float) -> None:
    await anyio.sleep(min(seconds, _LONGEST_SLEEP_S))


def catalog_of(errand: Errand) -> Catalog:
    if errand.per_batch is None:
        return CATALOG
    limits = {"requests": errand.per_batch, "inline_requests": errand.per_batch}
    return load_catalog({"providers": {errand.model.partition("/")[0]: {"limits": limits}}})


async def work(errand: Errand, step: Steps) -> None:
    """Submit, wait, and write down how every request ended."""
    runtime = Runtime(sleep=briefly)
    WatchedSocket.step = step
    connector = aiohttp.TCPConnector(force_close=True, socket_factory=connect)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with BatchClient(
            catalog=catalog_of(errand),
            registry=batch_provider_registry,
            session=session,
            journal=WatchedJournal(SqliteJournal(Path(errand.home) / "state", runtime), step),
            polling=POLLING,
            patience=Patience(again_s=0.01),
            recovery=Recovery(**{**RECOVERY, **errand.recovery}),
            runtime=runtime,
        ) as client:
            again = {"retry": "transient", "max_attempts": errand.rounds} if errand.rounds > 1 else {}
            job = await client.submit(
                errand.prompts, model=errand.model, key=errand.key, input_mode=errand.way, **again
            )
            await job.wait()
            rows = [(row.request_id, row.status.value, row.text, sha(row.body)) async for row in job.results()]
    part = errand.path("part")
    part.write_text(json.dumps(rows))
    part.replace(errand.path("rows"))


def sha(body: Any) -> str:
    return hashlib.sha256(bytes(body)).hexdigest()


async def answering_to_sigterm(errand: Errand, step: Steps) -> None:
    """Be cancelled by SIGTERM, as a server cancels what it runs; Ctrl-C does that by itself."""
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work(errand, step)


def run(errand: Errand) -> int:
    """Do an errand in this process, which does nothing else any more."""
    signal.alarm(_LIFE_S)
    os.environ.update(errand.env)
    tempfile.tempdir = os.environ["TMPDIR"] = str(Path(errand.home) / "tmp")
    log = os.open(errand.path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    opening.FOLLOWED_S = _LONGEST_SLEEP_S
    step = Steps(errand)
    watch_bodies(step)
    if errand.mutant is not None:
        mutants.plant(errand.mutant)
    try:
        asyncio.run(answering_to_sigterm(errand, step))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


def do(errand: Errand) -> None:
    """Do an errand in the child of a fork."""
    code = 1
    try:
        code = run(errand)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            do(msgspec.json.decode(line, type=Errand))
        tell(child)
        while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
            tell(STOPPED)
        tell(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
