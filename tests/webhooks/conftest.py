"""A client that would ask about its batches only in years, so that what is asked before was woken."""

import anyio
import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, Polling
from asyncbatch.emulator import Emulator
from asyncbatch.testing.runtime import VirtualClock, give_way, virtual_runtime
from tests.webhooks.signing import SECRET, signed

PATIENT = Polling(first_s=2e9, factor=1, max_s=2e9, jitter=0)  # the first wait is a random part of it
_LONG_S = 3_600.0


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runtime(clock):
    """Short waits are over in some turns; long ones last until something else happens."""

    async def sleep(seconds):
        if seconds > _LONG_S:
            await anyio.sleep_forever()
        await give_way(5)
        clock.advance(min(seconds, 1.0))

    return replace(virtual_runtime(clock), sleep=sleep)


@pytest.fixture
def options():
    """What the emulator is made with; a test module may override it."""
    return {}


@pytest.fixture
def emulator(clock, options, monkeypatch):
    with Emulator(clock=clock.now, **options) as emulator:
        for dialect in emulator.dialects:
            for name, value in emulator.env(dialect).items():
                monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def open_client(emulator, runtime):
    given = {"runtime": runtime, "polling": PATIENT, "webhook_secrets": {"openai": SECRET, "gemini": SECRET}}
    return lambda **options: BatchClient(**{**given, **options})


@pytest.fixture
async def client(open_client):
    async with open_client() as client:
        yield client


@pytest.fixture
def sent(clock):
    """Give headers and body of a webhook that is signed now."""
    return lambda body, **options: signed(body, **{"at": clock.now(), **options})


@pytest.fixture
def polls(emulator):
    return lambda: sum(record.operation == "poll" for record in emulator.history)
