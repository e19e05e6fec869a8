"""Where worlds lie: in memory, where the system has a place for that, since each makes dozens of files and outlives no test."""

import os
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as found:
        yield Path(found)
