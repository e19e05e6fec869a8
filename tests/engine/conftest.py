"""Whole jobs on a virtual clock, which the emulator shares: days pass, and nobody waits."""

import anyio.lowlevel
import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, load_catalog
from asyncbatch.emulator import Emulator
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.engine.flaky import Flaky


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    return virtual_runtime(clock)


@pytest.fixture
def slow_time(runtime, clock):
    """A runtime in which little time passes: batches that stall would expire while a thread is waited for."""

    async def a_second(seconds):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        clock.advance(min(seconds, 1.0))

    return replace(runtime, sleep=a_second)


@pytest.fixture
def still_time(runtime, clock):
    """A runtime in which next to no time passes but what a test lets pass: no batch ends while threads are waited for."""

    async def a_moment(seconds):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        clock.advance(min(seconds, 0.01))

    return replace(runtime, sleep=a_moment)


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
