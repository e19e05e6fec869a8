"""An emulator on a clock that stands still, and accounts that speak to it."""

import pytest

from asyncbatch.emulator import Emulator
from tests.emulator.wire import Api, Time


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def options():
    """What the emulator of a test is made with; a test module may override it."""
    return {}


@pytest.fixture
def emulator(time, options):
    with Emulator(clock=time, **options) as emulator:
        yield emulator


@pytest.fixture
async def api(emulator):
    api = Api(emulator)
    yield api
    await api.session.close()


@pytest.fixture
async def other(emulator):
    """The same service with another account's key."""
    api = Api(emulator, key="sk-other")
    yield api
    await api.session.close()
