"""An emulator on a clock that stands still, and the newest official SDK in front of it."""

import pytest

from asyncbatch.emulator import Emulator
from tests.conformance.needs import left_out

# Without the group `conformance`, or with a part of it, these cannot be read; `python3 dev.py check` installs it, and
# test_needs.py fails where any is left out.
collect_ignore = list(left_out())

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
