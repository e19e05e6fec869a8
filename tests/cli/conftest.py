"""The command line at an emulator: in this process, with stdout and stderr apart, or as a program of its own."""

import json
import os
import subprocess
import sys

import pytest

from asyncbatch.cli import main
from tests.cli.words import MODEL, QUICK, Done

_START = "import sys; sys.argv[0] = 'asyncbatch'; from asyncbatch.cli import main; sys.exit(main())"
_AGAIN = "import functools, asyncbatch.client as c; c.Patience = functools.partial(c.Patience, again_s={}); "


@pytest.fixture
def program(tmp_path_factory, monkeypatch):
    """A shell that finds the program by its name, as after an installation."""
    program = tmp_path_factory.mktemp("bin") / "asyncbatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


@pytest.fixture
def place(tmp_path, monkeypatch, program):
    """The working directory, with a home of its own: batches are asked about as often as possible."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYNCBATCH_HOME", str(tmp_path / "home"))
    (tmp_path / "llm_config.yaml").write_text(QUICK)
    return tmp_path


@pytest.fixture
def cli(place, capfdbinary, asyncbatch_emulator):
    """Run a command in this process, at the emulator."""

    def run(*args):
        code = main([str(arg) for arg in args])
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode(), err.decode())

    return run


@pytest.fixture
def run(cli):
    """Run `asyncbatch run` with the model that the tests use, asking as often as possible."""
    return lambda *args, model=MODEL: cli("run", *args, "-m", model, "--poll", "0.02")


@pytest.fixture
def write(place):
    """Write a file of requests: texts as they are, anything else as JSON."""

    def write_lines(*lines, name="requests.jsonl", end="\n"):
        texts = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
        (place / name).write_bytes(end.encode().join(texts) + (end.encode() if texts else b""))
        return name

    return write_lines


@pytest.fixture
def start(place, asyncbatch_emulator):
    """Start a command as a program of its own; whatever still runs at the end of the test is ended."""
    started = []

    def start_command(*args, unbuffered="", again_s=None, **options):
        begin = _AGAIN.format(again_s) if again_s is not None else ""
        environment = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONWARNINGS": "error",
            "PYTHONUNBUFFERED": unbuffered,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", begin + _START, *map(str, args)],
            env=os.environ | environment,
            cwd=place,
            **(dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE) | options),
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
