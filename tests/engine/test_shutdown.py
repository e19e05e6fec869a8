"""A program that ends in an untidy way ends at once, and says at most one clear line about it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asyncbatch.emulator import Emulator

ROOT = Path(__file__).parents[2]
OPEN_STILL = "its event loop ended while it was open; leave it before, with `async with`"


@pytest.fixture(scope="module")
def environment():
    with Emulator(speed=3600) as emulator:
        yield {**os.environ, **emulator.env("openai")}


def end_of(way, environment, place, *, is_durable=True):
    """Give the exit code and what was said, without the trace of the program's own interruption."""
    home = {"ASYNCBATCH_HOME": str(place / "state")} if is_durable else {}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.careless", way],
        cwd=ROOT,
        env={**environment, **home, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


DURABLE = pytest.mark.parametrize("is_durable", [True, False], ids=["on disk", "in memory"])


@DURABLE
@pytest.mark.parametrize(
    ("way", "code"),
    [("exits_in_a_handler", 3), ("exits_inside", 3), ("ends_in_another_thread", 0), ("forks", 0)],
)
def test_nothing_is_said_about_what_was_left_in_order(environment, tmp_path, way, code, is_durable):
    assert end_of(way, environment, tmp_path, is_durable=is_durable) == (code, [])


@DURABLE
@pytest.mark.parametrize("way", ["never_left", "dropped"])
def test_a_client_whose_event_loop_ends_first_is_closed_and_says_one_line(environment, tmp_path, way, is_durable):
    code, said = end_of(way, environment, tmp_path, is_durable=is_durable)

    assert (code, said) == (0, [f"asyncbatch client: {OPEN_STILL}"])
    assert [path.name for path in tmp_path.iterdir()] == ["state"] * is_durable, "no temporary file is left"


@DURABLE
@pytest.mark.parametrize("way", ["is_interrupted", "is_interrupted_at_opening"])
def test_ctrl_c_shows_its_own_trace_and_nothing_else(environment, tmp_path, way, is_durable):
    code, said = end_of(way, environment, tmp_path, is_durable=is_durable)

    assert code == -signal.SIGINT
    assert said[0] == "Traceback (most recent call last):"
    assert said[-1] == "KeyboardInterrupt"
    assert not [line for line in said if line.startswith(("asyncbatch", "Unclosed", "Task ", "unhandled"))]
