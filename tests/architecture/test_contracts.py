"""The import contracts of `pyproject.toml` hold, and each would notice a violation."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command as main; main()"

# contract, file that is written to, what is planted there
VIOLATIONS = [
    ("Nothing points up", "spool.py", "import asyncbatch.registry"),
    ("Nothing points up", "dto.py", "from asyncbatch import BatchClient"),
    ("Nothing points up", "helpers.py", '"""A module that no layer names."""'),
    ("Bytes move in one place", "providers/openai_provider.py", "import aiohttp"),
    ("Bytes move in one place", "providers/openai_provider.py", "import asyncbatch.journal"),
    ("Pure below the line", "codec/__init__.py", "import asyncio"),
    ("Pure below the line", "planning/__init__.py", "from time import time"),
    ("Pure below the line", "catalog.py", "import socket"),
    ("Only the catalog opens a file, its own YAML", "planning/__init__.py", "from pathlib import Path"),
    ("Providers do not know each other", "providers/acme_provider.py", "import asyncbatch.providers.openai_provider"),
    ("Nobody names a provider", "registry.py", "import asyncbatch.providers.openai_provider"),
    ("The emulator is a second opinion", "emulator/__init__.py", "from asyncbatch.codec import jsonl"),
    ("The command line and the integrations use the face", "cli/__init__.py", "import asyncbatch.engine"),
    ("The command line and the integrations use the face", "integrations/_shared.py", "import asyncbatch.client"),
]


@pytest.fixture
def copy(tmp_path):
    """A copy of the package and its contracts, to be spoilt."""
    shutil.copytree(ROOT / "asyncbatch", tmp_path / "asyncbatch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder):
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


def contracts():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]}


def test_the_package_keeps_every_contract(copy):
    code, said = lint(copy)

    assert code == 0, said
    assert all(f"{name} KEPT" in said for name in contracts())


@pytest.mark.parametrize(("contract", "file", "line"), VIOLATIONS)
def test_a_planted_violation_breaks_its_contract(copy, contract, file, line):
    with (copy / "asyncbatch" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")

    code, said = lint(copy)

    assert code == 1
    assert f"{contract} BROKEN" in said


def test_every_contract_has_a_violation_that_breaks_it():
    assert {contract for contract, _, _ in VIOLATIONS} == contracts()
