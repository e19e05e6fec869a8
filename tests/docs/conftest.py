"""The world that the pages' examples run in: an emulator, to which the environment leads, and a poller in a hurry."""

from functools import partial

import pytest

from asyncbatch import Polling, batch_provider_registry
from asyncbatch.emulator import faults
from asyncbatch.testing.plugin import asyncbatch_emulator, asyncbatch_emulator_options

__all__ = ["asyncbatch_emulator", "asyncbatch_emulator_options"]  # fixtures: pytest finds them here by name


@pytest.fixture
def world(asyncbatch_emulator, monkeypatch, tmp_path):
    """What a reader has: the two variables. Batches take a moment instead of hours, so polls need not wait for seconds.

    A create takes 0.2 s, as it may at the real service: an agent whose patience is shorter sees its wait cancelled.
    """
    monkeypatch.chdir(tmp_path)  # a directory that an example names is made here
    monkeypatch.setenv("ASYNCBATCH_HOME", str(tmp_path / "home"))
    in_a_hurry = partial(Polling, first_s=0.02, max_s=0.1)
    monkeypatch.setattr("asyncbatch.client.Polling", in_a_hurry)
    monkeypatch.setattr("asyncbatch.poller.Polling", in_a_hurry)
    asyncbatch_emulator.add(faults.stall(0.2, method="POST", path="/batches", times=None))
    yield asyncbatch_emulator
    batch_provider_registry.clear()
