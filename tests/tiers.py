"""The fast tier of the suite on the built wheel: without extras, on the oldest versions it allows, on each other Python found.

    python -m tests.tiers [NAME ...]

A tier is an environment of its own, with the wheel and what the tests need, and a copy of the tests without the source tree.
What is not found is said. Nothing but the standard library is needed here, and hatchling to build the wheel.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import HEAVY

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TOOLS = ("pytest", "pytest-asyncio", "aioresponses", "hypothesis", "pytest-xdist", "pytest-timeout", "pydantic")
"""Of the extra `test`, what the fast tier needs; the extras that users choose are not among them."""
FLAKES = 3
"""So many tests may fail among the others and pass alone; more are no accident."""
OURS = "{}.{}".format(*sys.version_info[:2])


class Tier(NamedTuple):
    """An environment: its name, its interpreter, and what is pinned in it."""

    name: str
    python: str
    pins: tuple[str, ...] = ()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def oldest() -> tuple[str, ...]:
    """Pin each dependency of the core to the version that it begins with."""
    found = [re.match(r"([a-z]+)>=([\d.]+)", needed) for needed in project()["dependencies"]]
    return tuple(f"{name}=={version}" for name, version in (match.groups() for match in found if match))


def tools() -> list[str]:
    given = project()["optional-dependencies"]["test"]
    return [needed for needed in given if re.split(r"[<>=\[]", needed)[0] in TOOLS]


def interpreters() -> Iterator[tuple[str, str | None]]:
    """Find every other Python that we say we run on."""
    for version in PYTHONS:
        if version != OURS:
            yield version, _found(version)


def _found(version: str) -> str | None:
    at_pyenv = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, at_pyenv)):
        if candidate and _is(candidate, version):
            return candidate
    return None


def _is(candidate: str, version: str) -> bool:
    """Whether it runs: a version manager leaves names on the path of what it has not chosen."""
    asked = [candidate, "-c", "import sys, ssl, sqlite3, venv, ensurepip; print('{}.{}'.format(*sys.version_info))"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def tiers() -> list[Tier]:
    """Name the environments; each has the wheel alone, so one of the newest versions is made only where no other is."""
    found = [Tier("oldest", sys.executable, oldest())]
    for version, python in interpreters():
        if python is None:
            print(f"tiers: Python {version} was not found here, and nothing is tried on it", flush=True)
        else:
            found.append(Tier(version, python))
    return found if len(found) > 1 else [*found, Tier("newest", sys.executable)]


def build(place: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    return wheel


def run(tier: Tier, wheel: Path, place: Path) -> bool:
    """Make the environment, and run the fast tier in it, beside a copy of the tests."""
    venv = place / "venv"
    python = install(tier, wheel, venv)
    beside = place / "beside"
    shutil.copytree(ROOT / "tests", beside / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", beside)
    unread = [f"--ignore=tests/{place}" for place in sorted(HEAVY)]  # their imports may not be there
    # anyio's plugin of old warns of the pytest of today, and is not used here.
    command = [python, "-m", "pytest", "-q", "-p", "no:anyio", "-m", "not heavy and not long", *unread]
    # Most of what is left waits for a moment, and for no processor.
    done = subprocess.run([*command, "-n", "4", "--dist", "worksteal"], cwd=beside, check=False).returncode
    return not done or (done == 1 and alone(command, beside))


def alone(command: list[str], beside: Path) -> bool:
    """Run a few tests that failed once more, alone, and name them: see docs/decisions/flaky-tests.md."""
    names = sorted(json.loads((beside / ".pytest_cache/v/cache/lastfailed").read_text(encoding="utf-8")))
    if len(names) > FLAKES:
        return False
    print("tiers: once more, alone:", *names, sep="\n  ", flush=True)
    is_fine = subprocess.run([*command, "-p", "no:xdist", "--last-failed"], cwd=beside, check=False).returncode == 0
    if is_fine:
        print(*(f"FLAKY   {name} failed among the others, and passed alone" for name in names), sep="\n", flush=True)
    return is_fine


def install(tier: Tier, wheel: Path, venv: Path) -> str:
    uv, needed = shutil.which("uv"), [str(wheel), *tools(), *tier.pins]
    python = str(venv / "bin/python")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--python", tier.python, str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *needed], check=True)
    else:
        subprocess.run([tier.python, "-m", "venv", str(venv)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed], check=True)
    return python


def main(chosen: list[str]) -> int:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        for tier in tiers():
            if chosen and tier.name not in chosen:
                continue
            print(f"tiers: {tier.name} {' '.join(tier.pins)}", flush=True)
            started = time.perf_counter()
            is_fine = run(tier, wheel, Path(folder) / tier.name)
            took = time.perf_counter() - started
            lines.append(f"{'ok' if is_fine else 'FAILED':<8}{tier.name:<10}{took:7.1f} s")
    print(*lines, sep="\n", flush=True)
    return int(any(line.startswith("FAILED") for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
