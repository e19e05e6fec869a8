"""In the order that the system saw: what a create rests on has reached the disk before its first byte leaves.

A real process against a service in another one, watched by strace. Where there is no strace, the same order is read from the
inside, where a commit is taken for lasting because SQLite promises it; that test runs everywhere.
"""

import asyncio
import os
import sqlite3
from typing import ClassVar

import anyio
import pytest

from asyncbatch import BatchClient
from asyncbatch.emulator import Emulator
from asyncbatch.journal import _schema
from asyncbatch.runtime import Runtime
from asyncbatch.spool import SpoolFile
from tests.journal.trace import ACCEPTED, AT_ONCE, CREATES, MODELS, PROMPTS, can_trace, traced_run

SYNCS = ("fsync", "fdatasync")
NO_SYNC = 'from asyncbatch.journal import _schema; _schema.SYNCHRONOUS.update(wal="OFF", truncate="OFF")'
NEVER = 10**9


@pytest.fixture(scope="module")
def emulator():
    with Emulator(pace=AT_ONCE) as emulator:
        yield emulator


def synced_after(run, place, *paths):
    """Give the place at which a sync of one of these had ended that began after this place; NEVER if none had."""
    names = {str(path) for path in paths}
    ends = [call.ended for call in run.calls if call.name in SYNCS and call.began > place and names & set(call.paths)]
    return min(ends, default=NEVER)


def committed(run, word):
    """Give the place at which the transaction that first holds this word could not be lost any more."""
    database = run.state / "journal.sqlite3"
    log, undo = f"{database}-wal", f"{database}-journal"
    writes = [call for call in run.calls if call.name.startswith("pwrite") and word in call.data]
    written = next(call for call in writes if call.paths[0] in (str(database), log))
    if written.paths[0] == log:
        return synced_after(run, written.ended, log)
    # With a rollback journal it is made once nothing is left there that would undo it.
    lasting = synced_after(run, written.ended, database)
    ends = [
        call.ended
        for call in run.calls
        if call.began > lasting
        and call.paths[:1] == (undo,)
        and (call.name.startswith("unlink") or (call.name == "ftruncate" and call.numbers == (0,)))
    ]
    return synced_after(run, min(ends, default=NEVER), undo, run.state)


def kept(run, path):
    """Give the place at which a body, its name, and those of the directories above it could not be lost any more."""
    named = next(call for call in run.calls if call.name.startswith("rename") and call.paths[1] == str(path))
    written = max(call.ended for call in run.calls if call.name == "write" and call.paths[:1] == named.paths[:1])
    assert synced_after(run, written, named.paths[0]) < named.began, "it has its name before it is whole"
    places = [synced_after(run, named.ended, path.parent)]
    for directory in (path.parent, path.parent.parent, run.state):
        made = next(call for call in run.calls if call.name.startswith("mkdir") and call.paths[0] == str(directory))
        places.append(synced_after(run, made.ended, directory.parent))
    return max(places)


if can_trace():

    @pytest.mark.parametrize("provider", MODELS)
    def test_the_intent_is_on_disk_before_the_first_byte_of_a_create_leaves(emulator, tmp_path, provider):
        run = traced_run(emulator, tmp_path, provider)

        create = run.first("send", CREATES[provider])
        assert committed(run, b"CreateIntended") < create.began
        assert create.ended < committed(run, b"Accepted")

    def test_a_job_is_on_disk_before_it_is_acknowledged_and_before_anything_is_sent(emulator, tmp_path):
        run = traced_run(emulator, tmp_path)

        said, sent = run.first("write", ACCEPTED).began, run.first("send", b"POST ").began
        (place,) = (run.state / "jobs").iterdir()
        bodies = [path for path in place.iterdir() if path.name in ("input-0000", "ids.text", "ids.offsets")]
        assert len(bodies) == 3
        places = [*(kept(run, body) for body in bodies), committed(run, place.name.encode())]
        assert max(places) < min(said, sent)

    def test_the_rows_are_on_disk_before_anything_is_deleted_at_the_provider(emulator, tmp_path):
        run = traced_run(emulator, tmp_path, cleanup="succeeded")

        deleted = run.first("send", b"DELETE ").began
        (rows,) = run.state.glob("jobs/*/rows-0000")
        assert kept(run, rows) < deleted
        assert committed(run, b"Settled") < deleted

    def test_a_journal_that_does_not_wait_for_the_disk_is_found_out(emulator, tmp_path):
        run = traced_run(emulator, tmp_path, bug=NO_SYNC)

        assert committed(run, b"CreateIntended") >= NEVER


# --- from the inside ---------------------------------------------------------------------------------------------


class Told(sqlite3.Connection):
    """A connection that tells of each commit what was in it, and how surely it lasts."""

    told: ClassVar[list] = []
    pending: ClassVar[list] = []

    def execute(self, *args):
        result = super().execute(*args)
        Told.pending += [word for word in args[1] if isinstance(word, str)] if len(args) > 1 else []
        if args[0] == "COMMIT":
            (level,) = super().execute("PRAGMA synchronous").fetchone()
            (mode,) = super().execute("PRAGMA journal_mode").fetchone()
            Told.told.append(("commit", Told.pending, level >= (2 if mode == "wal" else 3)))
            Told.pending = []
        return result


async def briefly(seconds):
    await anyio.sleep(min(seconds, 0.05))


@pytest.mark.parametrize("provider", MODELS)
async def test_seen_from_the_inside_intent_and_rows_are_committed_first_too(emulator, tmp_path, monkeypatch, provider):
    Told.told, Told.pending, connect = [], [], sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Told, **options))
    for name, value in emulator.env(provider).items():
        monkeypatch.setenv(name, value)
    keep_at, fsync = SpoolFile.keep_at, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (fsync(handle), Told.told.append(("sync",))))
    monkeypatch.setattr(
        SpoolFile, "keep_at", lambda file, path: (keep_at(file, path), Told.told.append(("kept", path.name)))
    )
    send = asyncio.selector_events._SelectorSocketTransport.write
    monkeypatch.setattr(
        asyncio.selector_events._SelectorSocketTransport,
        "write",
        lambda transport, data: (Told.told.append(("send", bytes(data[:60]))), send(transport, data)),
    )

    async with BatchClient(journal=tmp_path / "state", cleanup="succeeded", runtime=Runtime(sleep=briefly)) as client:
        job = await client.submit(PROMPTS, model=MODELS[provider])
        await job.wait()

    def place(kind, test=lambda what: True):
        return next(at for at, (name, *what) in enumerate(Told.told) if name == kind and test(what))

    intended = place("commit", lambda what: "CreateIntended" in what[0])
    settled = place("commit", lambda what: "Settled" in what[0])
    rows = place("kept", lambda what: what[0] == "rows-0000")
    assert all(is_lasting for name, *what in Told.told if name == "commit" for is_lasting in what[1:])
    assert intended < place("send", lambda what: what[0].startswith(CREATES[provider]))
    assert Told.told[rows - 1] == ("sync",), "a body is synced as the last thing before it counts as kept"
    assert rows < settled < place("send", lambda what: what[0].startswith(b"DELETE "))


def test_every_mode_of_the_journal_waits_for_the_disk():
    assert _schema.SYNCHRONOUS == {"wal": "FULL", "truncate": "EXTRA"}
