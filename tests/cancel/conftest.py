"""What the sweeps stand on: a service without a pace, disks without a wait, and a count of everything that may be left over."""

import contextlib
import gc
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from asyncbatch import spool
from asyncbatch.emulator import Emulator
from asyncbatch.journal import _schema
from asyncbatch.testing.runtime import VirtualClock
from tests.cancel.scene import AT_ONCE, MODELS, Scene
from tests.kill import scenes

_LONGEST_S = 20
"""Real seconds that a thread without work is given to end."""


@pytest.fixture(scope="session")
def lanes():
    with scenes.lanes() as lanes:
        yield lanes


@pytest.fixture(autouse=True)
def disk(monkeypatch, tmp_path):
    """Let every body lie on disk, however small; and let nobody wait for the disk, for no power is lost here."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 16)
    monkeypatch.setattr(_schema, "SYNCHRONOUS", {"wal": "OFF", "truncate": "OFF"})
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _descriptors():
    """Give what is open, by what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture
def nothing_left(disk, tmp_path):
    """Compare threads, descriptors and temporary files of before with those of after. Sessions left open warn, and fail."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    gc.collect()
    left = set(threading.enumerate()) - threads
    for thread in left:  # those of a loop that was closed end by themselves
        thread.join(_LONGEST_S)
    assert [thread for thread in left if thread.is_alive()] == []
    assert {name: where for name, where in _descriptors().items() if name not in descriptors} == {}
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def emulator(nothing_left, clock, monkeypatch):
    with Emulator(clock=clock.now, pace=AT_ONCE) as emulator:
        for provider in MODELS:
            for name, value in emulator.env(provider).items():
                monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def scene(emulator, clock, tmp_path):
    """Give a scene each time it is called, on a service that has forgotten the one before."""
    homes: list[Path] = []

    def make(provider: str = "openai") -> Scene:
        emulator.reset()
        if homes:  # that of one that failed stays
            shutil.rmtree(homes[-1])
        homes.append(tmp_path / f"scene-{len(homes):04d}")
        homes[-1].mkdir()
        return Scene(emulator, clock, homes[-1], provider)

    return make
