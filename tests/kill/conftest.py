"""Lanes for scenes: an emulator in a thread and a starter of workers each, kept for all tests of this directory."""

import pytest

from tests.kill import scenes


@pytest.fixture(scope="session")
def lanes():
    with scenes.lanes() as lanes:
        yield lanes


@pytest.fixture(scope="session")
def slow_lanes():
    """Give lanes on which a batch of two requests runs for 0.4 s, and shows nothing of its answers before.

    Their clock is a fast one because a service asks for ten of its seconds between two questions.
    """
    with scenes.lanes(speed=10, row_s=2) as lanes:
        yield lanes


@pytest.fixture
def scene_of(tmp_path):
    """Give the scene of a lane, each in a directory of its own."""
    count = iter(range(1_000_000))

    def make(lane, service, **options):
        return scenes.Scene(lane, service, tmp_path / f"scene-{next(count):06d}", **options)

    return make
