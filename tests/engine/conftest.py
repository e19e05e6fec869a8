"""Whole jobs on a virtual clock, which the emulator shares: days pass, and nobody waits."""

import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, load_catalog
from asyncbatch.emulator import Emulator
from asyncbatch.testing.runtime import VirtualClock, give_way, virtual_runtime
from tests.engine.flaky import Flaky


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


def slowed(runtime, clock, most_s):
    """Give a runtime in which each sleep ends after so many seconds at most: a thread that is waited for costs no day."""

    async def sleep(seconds):
        await give_way(10)
        clock.advance(min(seconds, most_s))

    return replace(runtime, sleep=sleep)


@pytest.fixture
def slow_time(runtime, clock):
    """A runtime in which little time passes: batches that stall would expire while a thread is waited for."""
    return slowed(runtime, clock, 1.0)


@pytest.fixture
def still_time(runtime, clock):
    """A runtime in which next to no time passes but what a test lets pass: no batch ends while threads are waited for."""
    return slowed(runtime, clock, 0.01)


@pytest.fixture
def limits():
    """Limits laid over the catalog's; a test overrides them to cut small jobs into several batches."""
    return {}


@pytest.fixture
def pace():
    """How long things take at the emulator, where a test wants it otherwise."""
    return {}


@pytest.fixture
def flaky():
    return Flaky()


@pytest.fixture
def answered_by():
    """Who answers, where a test wants it to be somebody else than the echo: `flaky`."""
    return None


@pytest.fixture
def emulator(clock, pace, answered_by, monkeypatch):
    with Emulator(clock=clock.now, pace=pace, answer=answered_by) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def catalog(limits):
    return load_catalog({"providers": {"openai": {"limits": limits}}}) if limits else load_catalog()


@pytest.fixture
async def client(emulator, runtime, catalog):
    async with BatchClient(runtime=runtime, catalog=catalog) as client:
        yield client
