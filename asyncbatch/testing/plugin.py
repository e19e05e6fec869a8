"""The pytest plugin: the emulator as a fixture, for synchronous and asynchronous tests alike.

Pytest loads this module in every project that has the library installed, so it imports nothing until a fixture is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncbatch.emulator import Emulator


@pytest.fixture
def asyncbatch_emulator_options() -> dict[str, Any]:
    """Arguments for the emulator of `asyncbatch_emulator`; override it in a conftest to change them.

    An emulated hour passes in a real second, so that a small batch is over when it is asked for.
    """
    return {"speed": 3600.0}


@pytest.fixture
def asyncbatch_emulator(
    asyncbatch_emulator_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> "Iterator[Emulator]":
    """A running emulator, to which the environment variables of every dialect lead for the length of the test."""
    from asyncbatch.emulator import Emulator

    with Emulator(**asyncbatch_emulator_options) as emulator:
        for dialect in emulator.dialects:
            for name, value in emulator.env(dialect).items():
                monkeypatch.setenv(name, value)
        yield emulator
