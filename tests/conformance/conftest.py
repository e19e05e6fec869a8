"""An emulator on a clock that stands still, and the newest official SDK in front of it."""

from importlib.util import find_spec

import pytest

from asyncbatch.emulator import Emulator


def is_there(name: str) -> bool:
    """Say whether a package can be imported; asking for one below a parent that is not there raises."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


NEEDED = (
    "openai",
    "anthropic",
    "google.genai",
    "groq",
    "fireworks",
    "together",
    "mistralai",
    "jsonschema",
    "standardwebhooks",
)
if not all(map(is_there, NEEDED)):
    # The group `conformance` is not installed, so these tests cannot be read; `python3 dev.py check` installs it.
    collect_ignore_glob = ["test_*.py"]

START = 1_795_300_000.0


@pytest.fixture
def emulator():
    with Emulator(clock=lambda: START) as emulator:
        yield emulator


@pytest.fixture
def client(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment. It validates nothing by itself; the tests do."""
    for name, value in emulator.env("openai").items():
        monkeypatch.setenv(name, value)
    from openai import OpenAI

    with OpenAI(max_retries=0) as client:
        yield client
