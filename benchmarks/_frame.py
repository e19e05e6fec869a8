"""What every benchmark is made of: cases, contenders, targets; and the rounds in which each contender runs once.

A contender is one small coroutine function. It gets a `Place`, does the whole work of the case, and returns what all others
have to return too, so that none is fast by doing less. It lives in a process of its own on one core, apart from the server's;
rounds are interleaved, so that a noisy minute hits all of them, and ratios are medians of the ratios within a round.
"""

import asyncio
import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks._measure import measure

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers"
LIMIT_S = 120
"""Who needs longer for one round is said to have needed longer, and left out of the next ones."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One size of the question; `count` units of about `size` bytes each."""

    name: str
    count: int
    size: int = 0

    def scaled(self, scale: float) -> "Case":
        return msgspec.structs.replace(self, count=max(1, round(self.count * scale)))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a contender works: the server, the case, a directory of its own, and a word that is new for each run."""

    url: str
    case: Case
    directory: str
    nonce: str


Work = Callable[[Place], Awaitable[Any]]


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One way to do it.

    Attributes:
        name: As the table shows it.
        run: Does it.
        peer: The environment of `peers.txt` that it needs; None for ours and the near-limit.
        packages: Whose versions are told.
        cases: The only cases that it runs; all by default.
    """

    name: str
    run: Work
    peer: str | None = None
    packages: tuple[str, ...] = ()
    cases: tuple[str, ...] | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What `asyncbatch` has promised: a measure of its own, or how it compares with another contender in the same rounds."""

    measure: str
    limit: float
    against: str | None = None
    cases: tuple[str, ...] | None = None
    of: str = "asyncbatch"
    is_floor: bool = False
    """Whether the figure has to be at least so much (a speed) rather than at most (a cost)."""


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    question: str
    unit: str
    cases: tuple[Case, ...]
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...] = ()
    warm: int = 8
    """Units of the run that nobody counts: imports, first connections."""
    setup: Callable[[Place], object] | None = None
    """Makes what every contender needs, before the first round."""
    flat: tuple[tuple[str, float], ...] = ()
    """Measures of ours that must not grow from the first case to the last by more than such a factor."""
    absent: tuple[tuple[str, str], ...] = ()
    """Peers that cannot be asked, with the reason."""


# --- a contender's process -----------------------------------------------------------------------------------------


def child(module: str, name: str) -> None:
    """Run one contender as often as the parent says, one line of JSON in and out each time."""
    bench = importlib.import_module(module).BENCH
    contender = next(item for item in bench.contenders if item.name == name)
    for line in sys.stdin:
        place = msgspec.json.decode(line, type=Place)
        try:
            figures, returned = asyncio.run(measure(lambda place=place: contender.run(place)))
        except Exception as error:  # noqa: BLE001 a peer's failure is a line of the report
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        else:
            print(json.dumps({**figures, "returned": returned}), flush=True)


class Child:
    """The process of one contender."""

    def __init__(self, module: str, contender: Contender, core: int | None) -> None:
        python = sys.executable if contender.peer is None else str(PEERS / contender.peer / "bin/python")
        pin = "" if core is None else f"import os; os.sched_setaffinity(0, {{{core}}}); "
        call = f"{pin}from benchmarks._frame import child; child({module!r}, {contender.name!r})"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        self.process = subprocess.Popen(
            [python, "-c", call],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, cwd=ROOT, text=True,
        )  # fmt: skip

    def run(self, place: Place) -> dict[str, Any]:
        """Run once; what takes too long is ended."""
        import threading

        timer = threading.Timer(LIMIT_S, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(msgspec.json.encode(place).decode() + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            while answer and not answer.startswith("{"):  # some libraries print
                answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not answer:
            return {"error": f"not done within {LIMIT_S} s" if late else "its process ended"}
        return json.loads(answer)

    def end(self) -> None:
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.process.kill()
        self.process.wait()


# --- the server ----------------------------------------------------------------------------------------------------


def cores() -> tuple[int | None, int | None]:
    """Give a core for contenders and one for the server; None where there is only one, or it cannot be chosen."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


class Server:
    """The server's process."""

    def __init__(self, core: int | None) -> None:
        words = [] if core is None else [str(core)]
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks/_server.py"), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Say what it has cost itself so far."""
        import urllib.request

        with urllib.request.urlopen(f"{self.url}/bench/cpu") as answer:
            return float(answer.read())

    def end(self) -> None:
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._process.kill()
        self._process.wait()


# --- the rounds ----------------------------------------------------------------------------------------------------


def is_there(contender: Contender) -> bool:
    return contender.peer is None or (PEERS / contender.peer / "bin/python").exists()


def wanted(bench: Bench, case: Case, *, peers: bool) -> list[Contender]:
    found = [item for item in bench.contenders if item.cases is None or case.name in item.cases]
    return [item for item in found if item.peer is None or peers]


def run_case(
    module: str, bench: Bench, case: Case, contenders: list[Contender], rounds: int, directory: str
) -> dict[str, Any]:
    """Run every contender once a round; gives the figures of each by name, and what went wrong."""
    client, other = cores()
    server = Server(other)
    children = {item.name: Child(module, item, client) for item in contenders}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in children}
    failed: dict[str, str] = {}
    returned: dict[str, Any] = {}
    try:
        if bench.setup is not None:
            bench.setup(Place(url=server.url, case=case, directory=directory, nonce="setup"))
        for number in range(-1, rounds):
            size = msgspec.structs.replace(case, count=min(bench.warm, case.count)) if number < 0 else case
            for name, process in children.items():
                if name in failed:
                    continue
                nonce = f"{number + 1}x{list(children).index(name)}"
                before = server.cpu_s()
                place = Place(url=server.url, case=size, directory=directory, nonce=nonce)
                answer = process.run(place)
                if "error" in answer:
                    failed[name] = answer["error"]
                elif number >= 0:
                    answer["server_s"] = server.cpu_s() - before
                    returned[name] = answer.pop("returned")
                    runs[name].append(answer)
    finally:
        for process in children.values():
            process.end()
        server.end()
    said = {json.dumps(answer, sort_keys=True) for answer in returned.values()}
    if len(said) > 1:
        failed["the contenders disagree"] = json.dumps(returned)
    return {"runs": runs, "failed": failed}


def figures_of(runs: list[dict[str, float]], case: Case) -> dict[str, float]:
    """Give the medians over the rounds, the work per unit."""
    middle = {key: median(run[key] for run in runs) for key in runs[0]}
    size = case.count * case.size
    figures = {
        "cpu_us": middle["cpu_s"] / case.count * 1e6,
        "wall_us": middle["wall_s"] / case.count * 1e6,
        "stall_ms": middle["stall_ms"],
        "held_ms": middle["held_ms"],
        "memory_mb": max(run["rss_peak_mb"] for run in runs) - runs[0]["rss_before_mb"],
        "server_share": middle["server_s"] / middle["wall_s"],
    }
    figures |= {key: middle[key] for key in middle if key.endswith(("_ms", "_times_idle"))}
    return {**figures, "mb_per_cpu_s": size / 1e6 / middle["cpu_s"]} if size else figures


def ratio(runs: dict[str, list[dict[str, float]]], one: str, other: str, measured: str) -> float:
    """Give the median of the ratios within the rounds."""
    key = {"cpu_us": "cpu_s", "wall_us": "wall_s", "mb_per_cpu_s": "cpu_s"}.get(measured, measured)
    pairs = zip(runs[one], runs[other], strict=False)
    ratios = [b[key] / a[key] if measured == "mb_per_cpu_s" else a[key] / b[key] for a, b in pairs]
    return median(ratios)


def judged(
    bench: Bench, case: Case, runs: dict[str, list[dict[str, float]]], figures: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """Compare with what was promised, as far as this run can tell."""
    verdicts = []
    for target in bench.targets:
        others = [name for name in figures if target.against is None or name.startswith(target.against)]
        if (target.cases is not None and case.name not in target.cases) or target.of not in figures or not others:
            continue
        if target.against is None:
            found, beside = figures[target.of][target.measure], ""
        else:
            found, beside = ratio(runs, target.of, others[0], target.measure), f", by that of {others[0]}"
        is_met = found >= target.limit if target.is_floor else found <= target.limit
        verdicts.append(
            {
                "case": case.name,
                "what": f"{target.of}: {target.measure}{beside}",
                "target": f"{'≥' if target.is_floor else '≤'} {target.limit:g}",
                "found": round(found, 3),
                "is_met": is_met,
            }
        )
    return verdicts


def grown(bench: Bench, figures: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Compare the last case with the first, where a measure has to stay flat; `figures` are ours, by case."""
    verdicts = []
    names = list(figures)
    for measured, limit in bench.flat if len(names) > 1 else ():
        found = figures[names[-1]][measured] / figures[names[0]][measured]
        what = f"{measured}, {names[-1]} by {names[0]}"
        is_met = found <= limit
        verdicts.append(
            {"case": "all", "what": what, "target": f"≤ {limit:g}", "found": round(found, 3), "is_met": is_met}
        )
    return verdicts


def versions_of(contender: Contender) -> dict[str, str]:
    """Say which versions a contender ran with."""
    if contender.peer is None:
        names = contender.packages or ("aiohttp", "anyio", "msgspec")
        return {name: _version(name) for name in names}
    python = str(PEERS / contender.peer / "bin/python")
    call = "import sys, json; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
    done = subprocess.run([python, "-c", call, *contender.packages], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
