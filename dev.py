#!/usr/bin/env python3
"""Set up `.venv` and run one thing in it.

    python3 dev.py demo            the main job against the built-in emulator
    python3 dev.py test [...]      the test suite; arguments go to pytest
                                   --long  the minute-long sweeps too    --cov  hold the floors of branch coverage
    python3 dev.py check           everything that CI runs, each step with its time
    python3 dev.py docs            build the documentation into site/    --serve  show it while you write
    python3 dev.py bench [NAME]    the benchmarks, a page each    --json  a JSON document each    --peers  with other libraries

It needs nothing but Python 3.11 or newer, and uses `uv` when that is on the path.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must be able to read this far and be told
    found = "{}.{}".format(*sys.version_info[:2])
    sys.exit(f"asyncbatch needs Python 3.11 or newer; this is {found}. Try python3.11, python3.12, …")

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PEERS = ROOT / ".venv-peers"
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
NEEDS = {  # what each verb needs beyond the core: extras of the package and dependency groups
    "demo": ["cli"],
    "test": ["test"],
    "check": ["test", "conformance", "types", "lint", "docs"],
    "docs": ["cli", "docs"],
    "bench": ["cli"],
}
FLOOR = 95  # per cent of branches over the whole package …
# … and all of them where the code is pure, or keeps account of what was paid for.
EXACT = ("codec/*", "answers/*", "planning/*", "journal/*", "engine/ledger.py", "engine/frames.py")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOAK = "tests/soak"
FLAKES = 3
"""So many tests may fail in the whole suite and pass alone; more are no accident."""
flaky: list[str] = []
LIMIT_S = 2100
"""No step of `check` takes nearly as long. One that hangs is ended, so that the next one still has its say."""
TOO_LONG = 124
PURE = ",".join(f"asyncbatch/{path}" for path in EXACT)


def call(*args: str, limit_s: float | None = None) -> int:
    """Run the environment's Python; Ctrl-C is the child's to answer, so we wait for it whatever it decides.

    What goes on beyond `limit_s` is ended with all that it started, and has failed.
    """
    is_apart = limit_s is not None and os.name == "posix"
    with subprocess.Popen([PYTHON, *args], cwd=ROOT, process_group=0 if is_apart else None) as child:
        previous = signal.signal(signal.SIGINT, lambda *_: os.killpg(child.pid, signal.SIGINT) if is_apart else None)
        try:
            return child.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"dev.py: not done within {limit_s:.0f} s, and ended: {' '.join(args)}", flush=True)
            os.killpg(child.pid, signal.SIGKILL) if is_apart else child.kill()
            return TOO_LONG
        finally:
            signal.signal(signal.SIGINT, previous)


# --- the environment ---------------------------------------------------------------------------------------------


def install(verb: str) -> None:
    """Make `.venv` hold what the verb needs; do nothing when a stamp says that it does."""
    base = f"{sys.version} {sys.base_prefix} {ROOT}"
    make_venv(base)
    facts = [base, (ROOT / "pyproject.toml").read_text(encoding="utf-8"), NEEDS[verb]]
    digest, stamp = hashlib.sha256(json.dumps(facts).encode()).hexdigest(), VENV / f".dev-{verb}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"dev.py: installing what `{verb}` needs into .venv …", file=sys.stderr, flush=True)
    uv = shutil.which("uv")
    tool = [uv, "pip", "install", "--python", PYTHON] if uv else [PYTHON, "-m", "pip", "install"]
    if subprocess.call([*tool, "--quiet", *requirements(NEEDS[verb])], cwd=ROOT):
        sys.exit("dev.py: the installation failed; the installer says why, above.")
    stamp.write_text(digest)


def make_venv(base: str) -> None:
    """Make `.venv`, and make it anew if another interpreter made it, the checkout moved, or its installer is gone."""
    uv, made_by = shutil.which("uv"), VENV / ".dev-base"
    if VENV.exists() and not made_by.exists():
        sys.exit("dev.py: .venv was not made by dev.py, or not to its end. Move it away, then try again.")
    if VENV.exists() and made_by.read_text() == base and (uv or any(VENV.glob("[Ll]ib/**/site-packages/pip"))):
        return
    if not uv and not importlib.util.find_spec("ensurepip"):
        sys.exit("dev.py: this Python has no ensurepip. Do `apt install python3-venv`, or install uv.")
    shutil.rmtree(VENV, ignore_errors=True)
    command = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    if subprocess.call([*command, str(VENV)]):
        sys.exit("dev.py: .venv could not be made; the reason stands above.")
    made_by.write_text(base)


def requirements(needs: list[str]) -> list[str]:
    """Say `needs` in words that every installer knows: pip before 25.1 cannot read dependency groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [need for need in needs if need in project["project"]["optional-dependencies"]]
    groups = [project["dependency-groups"][need] for need in needs if need not in extras]
    return [*(requirement for group in groups for requirement in group), "--editable", f".[{','.join(extras)}]"]


# --- the verbs ---------------------------------------------------------------------------------------------------


def demo(args: list[str]) -> int:
    start = "import sys; sys.argv[0] = 'asyncbatch'; from asyncbatch.cli import main; sys.exit(main())"
    return call("-c", start, "demo", *args)


def test(args: list[str]) -> int:
    options = [arg for arg in args if arg not in ("--long", "--cov")]
    if not options:  # the whole suite runs in several processes; a chosen part in one, as a debugger likes it
        options = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
    if "--long" in args:
        options += ["-m", "not conformance"]
    return measured(options) if "--cov" in args else call("-m", "pytest", *options)


def measured(options: list[str]) -> int:
    """Run pytest under coverage. The floors are the whole suite's: a chosen part will miss them."""
    call("-m", "coverage", "erase")
    # A soak under coverage takes minutes, and covers nothing that the tests beside the code do not.
    apart = f"--ignore={SOAK}"
    failed = call("-m", "coverage", "run", "-m", "pytest", "--cache-clear", apart, *options, limit_s=LIMIT_S)
    if failed == 1:  # tests failed; any other number is pytest's own trouble
        failed = alone()
    call("-m", "coverage", "combine", "--quiet")
    below = call("-m", "coverage", "report", f"--fail-under={FLOOR}")
    impure = call("-m", "coverage", "report", f"--include={PURE}", "--fail-under=100")
    return failed or below or impure


def alone() -> int:
    """Run a few tests that failed once more, alone: see docs/decisions/flaky-tests.md. What passes then is named at the end."""
    kept = ROOT / ".pytest_cache/v/cache/lastfailed"
    names = sorted(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else []
    if not 0 < len(names) <= FLAKES:
        return 1
    print("dev.py: once more, alone:", *names, sep="\n  ", flush=True)
    failed = call("-m", "coverage", "run", "-m", "pytest", "-p", "no:xdist", *names, limit_s=LIMIT_S)
    flaky.extend([] if failed else names)
    return failed


def docs(args: list[str]) -> int:
    return call("-m", "mkdocs", "serve") if "--serve" in args else call("-m", "mkdocs", "build", "--strict", *args)


def bench(args: list[str]) -> int:
    if "--peers" in args:
        install_peers()
    return call("-m", "benchmarks", *args)


def install_peers() -> None:
    """Make an environment for each group of `benchmarks/peers.txt`; the report names those that cannot be made."""
    lines = (ROOT / "benchmarks/peers.txt").read_text(encoding="utf-8").splitlines()
    groups: dict[str, list[str]] = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in lines)):
        if line.startswith("["):
            groups[line.strip("[]")] = []
        else:
            groups[list(groups)[-1]].append(line)
    for name, packages in groups.items():
        place = PEERS / name
        stamp, wanted = place / ".dev-peer", "\n".join([sys.version, *packages])
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"dev.py: installing {packages[0]} into {place.relative_to(ROOT)} …", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        made = subprocess.call([sys.executable, "-m", "venv", str(place)])
        if made or subprocess.call([str(python), "-m", "pip", "install", "--quiet", *packages]):
            print(f"dev.py: {name} could not be installed, and is left out", file=sys.stderr, flush=True)
            shutil.rmtree(place, ignore_errors=True)
        else:
            stamp.write_text(wanted)


def check(_args: list[str]) -> int:
    """Run what CI runs. A step that fails does not hide what the next one says."""
    with tempfile.TemporaryDirectory() as site:
        steps: dict[str, Callable[[], int]] = {
            "ruff check": lambda: quietly("-m", "ruff", "check", "."),
            "ruff format": lambda: quietly("-m", "ruff", "format", "--check", "."),
            "import contracts": lambda: quietly("-c", "from importlinter.cli import lint_imports_command as m; m()"),
            "mypy": lambda: quietly("-m", "mypy"),
            "pyright": lambda: quietly("-m", "pyright", "--pythonpath", PYTHON),
            "dev.py test --cov": lambda: test(["--cov"]),
            "soak": lambda: call("-m", "pytest", "-q", "--numprocesses=auto", SOAK, limit_s=LIMIT_S),
            "conformance": lambda: call("-m", "pytest", "-m", "conformance", limit_s=LIMIT_S),
            "wheel, oldest, Pythons": lambda: call("-m", "tests.tiers", limit_s=LIMIT_S),
            "docs": lambda: quietly("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site),
        }
        lines = [timed(name, step) for name, step in steps.items()]
    lines += [f"FLAKY   {name} failed among the others, and passed alone" for name in flaky]
    if not any(map(shutil.which, BROWSERS)):
        lines.append(f"NOT RUN the browser tests: none of {', '.join(BROWSERS)} is on the path")
    print("", *lines, sep="\n", flush=True)
    return int(any(line.startswith("FAILED") for line in lines))


def quietly(*args: str) -> int:
    """Run a step whose output matters only when it fails."""
    done = subprocess.run([PYTHON, *args], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", flush=True)
    return done.returncode


def timed(name: str, step: Callable[[], int]) -> str:
    started = time.perf_counter()
    word = "FAILED" if step() else "ok"
    line = f"{word:<8}{name:<24}{time.perf_counter() - started:7.1f} s"
    print(line, flush=True)
    return line


VERBS = {"demo": demo, "test": test, "check": check, "docs": docs, "bench": bench}


def main() -> int:
    verb, args = (sys.argv[1:] or ["--help"])[0], sys.argv[2:]
    if verb not in VERBS:
        print(__doc__)
        return 0 if verb in ("-h", "--help") else 2
    install(verb)
    return VERBS[verb](args)


if __name__ == "__main__":
    sys.exit(main())
