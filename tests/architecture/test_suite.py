"""The suite watches itself: leaks are failures, the network is loopback, and two commands set everything up."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest
from aioresponses import aioresponses

ROOT = Path(__file__).parents[2]
LEAKS = {
    "a coroutine never awaited": "async def work(): pass\n\ndef test_leak():\n    work()\n",
    "a socket never closed": "import socket\n\ndef test_leak():\n    socket.socket()\n",
    "a file never closed": "def test_leak():\n    open(__file__)\n",
}


@pytest.fixture(scope="module")
def dev():
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_test_that_made_it(tmp_path, leak):
    (tmp_path / "test_leak.py").write_text(LEAKS[leak])
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)]

    done = subprocess.run([sys.executable, "-m", "pytest", *options], capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout or "1 error" in done.stdout


def test_a_connection_off_loopback_is_refused_before_it_is_made():
    with pytest.raises(RuntimeError, match=r"tried to connect to 192\.0\.2\.1"):
        sys.audit("socket.connect", None, ("192.0.2.1", 443))


def test_no_key_of_the_developer_reaches_a_test():
    assert not [name for name in os.environ if name.endswith("_API_KEY")]


async def test_aioresponses_builds_responses_for_the_aiohttp_that_is_installed():
    with aioresponses() as server:
        server.get("http://127.0.0.1/v1/batches/b1", payload={"id": "b1"})
        async with aiohttp.ClientSession() as session, session.get("http://127.0.0.1/v1/batches/b1") as response:
            answer = await response.json()

    assert answer == {"id": "b1"}


def test_whatever_a_verb_needs_is_named_in_pyproject(dev):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = {*project["project"]["optional-dependencies"], *project["dependency-groups"]}

    assert set(dev.NEEDS) == set(dev.VERBS)
    assert {need for needs in dev.NEEDS.values() for need in needs} <= known


def test_groups_reach_the_installer_as_plain_requirements(dev):
    found = dev.requirements(["test", "lint"])

    assert found[-2:] == ["--editable", ".[test]"]
    assert any(requirement.startswith("ruff") for requirement in found)
    assert not any(requirement.startswith("asyncbatch") for requirement in found)


def test_dev_says_what_it_can_do():
    done = subprocess.run([sys.executable, "dev.py"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert all(f"python3 dev.py {verb}" in done.stdout for verb in ("demo", "test", "check", "docs", "bench"))


def test_an_unknown_verb_is_wrong_use_and_installs_nothing():
    done = subprocess.run([sys.executable, "dev.py", "tset"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "python3 dev.py test" in done.stdout


def test_ci_runs_what_a_developer_runs():
    assert "exec python3 dev.py check" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci/run", os.X_OK)
