"""What a simulation leaves out because it has no bearing on it: waiting for the disk, and looking at the clock each second.

A process also asks the system only once who it is: that takes longer than everything that a process does in a simulation.
"""

import contextlib
import functools
import logging
import os
import sqlite3
from collections.abc import Iterator

import pytest

from asyncbatch.engine import opening, wishes
from asyncbatch.journal import _files, _locks, _schema, _store
from asyncbatch.journal._database import Database
from tests.simulation.process import sync

FOLLOWED_S = 150.0
_this_process = functools.cache(_locks.this_process)


@contextlib.contextmanager
def shortcuts(listened_s: float) -> Iterator[None]:
    """Nothing here loses power, so nothing is synced; and who follows a job for hours does it by the minute.

    Args:
        listened_s: How often a process asks whether another one wants something of its jobs.
    """
    disabled = logging.root.manager.disable
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(_schema, "SYNCHRONOUS", dict.fromkeys(_schema.SYNCHRONOUS, "OFF"))
        patch.setattr(Database, "_settle_mode", _settle_in_memory)
        patch.setattr(_files, "is_remote", lambda _: False)
        patch.setattr(opening, "FOLLOWED_S", FOLLOWED_S)
        patch.setattr(wishes, "LISTENED_S", listened_s)
        patch.setattr(_store, "this_process", _this_process)
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


def _settle_in_memory(_: Database, connection: sqlite3.Connection) -> None:
    """What a commit could leave behind is not needed: a process dies between two of them, and never in the middle."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")
