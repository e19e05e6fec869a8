"""The database file of a journal: opened with care, written in groups, and never taken through a fork.

SQLite is used by one thread at a time, under `GATE`. Before a fork the gate is taken and every connection closed, so that a
child inherits no transaction, no lock and no mutex of SQLite's; the parent connects again when it next needs to.

A full disk refuses a change and may take the next. After any other failure of a commit nothing is recorded any more until the
journal is opened again: a system that could not sync a page may hold it for clean from then on, and a later sync, which
succeeds, says nothing about it. Nor is the connection made anew, since SQLite would then believe what it wrote and could not
sync. Whoever opens the journal next checks the file, and writes what it found in the log to its place before anything is built
on it.
"""

import contextlib
import functools
import logging
import os
import sqlite3
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from asyncbatch._version import __version__
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import _files, _refusals, _schema
from asyncbatch.journal._locks import GATE, Leases, Presence, is_job_id

T = TypeVar("T")
Change: TypeAlias = Callable[[sqlite3.Connection, ExitStack], T]
"""A piece of a transaction. What it did outside the database it undoes by the stack, if it fails or the commit does."""

_log = logging.getLogger("asyncbatch.journal")

_BUSY_S = 10.0
_ROUNDS = 3
"""How often others may take the journal from us between its preparation and our share in it."""


_LASTING = ("journal.io", "journal.no_directory", "journal.corrupt")
"""Failures of a commit after which no other is believed."""


class Answer(NamedTuple):
    """How a piece of work ended."""

    value: Any = None
    error: BaseException | None = None


class Database:
    """See above. Every method belongs into the writer's thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "journal.sqlite3"
        self.leases = Leases(directory / "locks")
        self._presence: Presence | None = None
        self._connection: sqlite3.Connection | None = None
        self._mode = "truncate"
        self._connects = 0
        self._commits = 0
        self._is_joined = False
        self._is_suspect = False
        self._failure: JournalError | None = None

    def open(self) -> None:
        """Make or check the files, bring the schema up to ours, and be one of those who have it open."""
        _watch_forks()
        with _refusals.on_disk(self.directory):
            _files.make_private(self.directory)
            self.leases.make()
            with GATE:
                self._presence = Presence(self.directory / "journal.lock")
                _OPEN.add(self)
            try:
                self._join(self._presence)
            except BaseException:
                self.close()
                raise

    def _join(self, presence: Presence) -> None:
        self._is_suspect, self._failure = False, None
        is_remote = _files.is_remote(self.directory)
        if is_remote:
            _log.warning("the journal at %s lies on a network: one machine at a time may use it", self.directory)
        self._mode = _schema.plan_journal_mode(sqlite3.sqlite_version_info, is_remote=is_remote)
        for _ in range(_ROUNDS):
            if presence.try_alone():
                with GATE:
                    self._prepare()
            presence.share()
            with GATE, self._told():
                if self._connect() is not None:
                    self._is_joined = True
                    return
        raise _refusals.outdated(self.path)

    def close(self) -> None:
        """Give everything back; the last one out notes that the journal is in order. Harmless when repeated."""
        with GATE:
            self.leases.drop_all()
            self.disconnect()
            _OPEN.discard(self)
            presence, self._presence = self._presence, None
            is_sound = self._is_joined and not self._is_suspect
            self._is_joined = False
            if presence is not None:
                try:
                    if is_sound and presence.try_alone():
                        self._note_order()
                finally:
                    presence.close()

    def abandon(self) -> None:
        """Give back what the child of a fork inherited: the locks, which its parent holds on."""
        self.leases.drop_all()
        if self._presence is not None:
            self._presence.close()

    # Connections.

    def _prepare(self) -> None:
        """Make, check and migrate the file, alone."""
        self._refuse_lost()
        _files.make_file(self.path)
        with self._told(), contextlib.closing(self._raw()) as connection:
            found = self._schema_of(connection)
            if found and not self._is_in_order(connection):
                self._check(connection)
            connection.execute(f"PRAGMA journal_mode={self._mode}")
            self._set_durable(connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing in the other mode
            with _transaction(connection):
                for statement in _schema.plan_migration(found):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={_schema.APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={len(_schema.MIGRATIONS)}")
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('made_by', ?)", (__version__,))
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 'no')")

    def _refuse_lost(self) -> None:
        """Refuse a directory of jobs whose journal is gone: begun anew, it would send again what was sent, and sweep it up."""
        places = self.directory / "jobs"
        if (self.path.exists() and self.path.stat().st_size) or not places.is_dir():
            return
        jobs = sum(is_job_id(place.name) for place in places.iterdir())
        if jobs:
            raise _refusals.corrupt(self.path, f"it is empty or gone, and {places} holds the bodies of {jobs} jobs")

    def _is_in_order(self, connection: sqlite3.Connection) -> bool:
        found: object = connection.execute("SELECT value = 'yes' FROM meta WHERE key = 'clean'").fetchone()
        return found == (1,)

    def _check(self, connection: sqlite3.Connection) -> None:
        _log.info("the journal at %s was not left in order; it is checked", self.path)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _refusals.corrupt(self.path, verdict)

    def _note_order(self) -> None:
        try:
            with self._told(), contextlib.closing(self._raw()) as connection:
                self._set_durable(connection)
                with _transaction(connection):
                    connection.execute("UPDATE meta SET value = 'yes' WHERE key = 'clean'")
        except JournalError as error:  # all that was recorded stays; it costs a check
            _log.warning("%s", error)

    def _raw(self) -> sqlite3.Connection:
        """Open the file as it is. Not bound to a thread, since a fork closes it from its own."""
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        # What is not UTF-8 in a damaged file is found by whoever reads it, and never in the middle of a question.
        connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
        for setting in ("foreign_keys=ON", "trusted_schema=OFF", "mmap_size=0"):
            connection.execute(f"PRAGMA {setting}")
        return connection

    def _schema_of(self, connection: sqlite3.Connection) -> int:
        """Give the number of the schema, 0 for an empty file. Raises for what is not ours or newer than we are."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
        if not (owner or number or has_tables):
            return 0
        if owner != _schema.APPLICATION_ID or not number:
            raise _refusals.corrupt(self.path, "it is a database of something else")
        if number > len(_schema.MIGRATIONS):
            raise _refusals.newer(self.path, number)
        return int(number)

    def _connect(self) -> sqlite3.Connection | None:
        """Connect for everyday use; None if the file is not of our schema yet."""
        connection = self._raw()
        try:
            if self._schema_of(connection) < len(_schema.MIGRATIONS):
                connection.close()
                return None
            self._settle_mode(connection)
        except BaseException:
            connection.close()
            raise
        self._connects += 1
        self._connection = connection
        return connection

    def _settle_mode(self, connection: sqlite3.Connection) -> None:
        """Join the mode that the file is in; only whoever is alone changes that."""
        is_wal = self._set_durable(connection) == "wal"
        if is_wal and self._mode != "wal":
            raise _refusals.other_sqlite(self.path)
        if not is_wal:
            connection.execute("PRAGMA journal_mode=TRUNCATE")

    @staticmethod
    def _set_durable(connection: sqlite3.Connection) -> str:
        """Make commits wait for the disk, and give the mode that the file is in."""
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.execute(f"PRAGMA synchronous={_schema.SYNCHRONOUS['wal' if mode == 'wal' else 'truncate']}")
        return str(mode)

    def disconnect(self) -> None:
        """Close the connection, if there is one; the next use makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        if not self._is_joined:
            raise _refusals.closed()
        connection = self._connection or self._connect()
        if connection is None:
            raise _refusals.outdated(self.path)
        return connection

    @contextlib.contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Translate what SQLite refuses."""
        try:
            yield
        except sqlite3.Error as error:
            told = _refusals.of_sqlite(self.path, error)
            self._is_suspect |= told.code != "journal.busy"
            raise told from error

    # Work.

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with GATE, self._told():
            return work(self._connected())

    def commit(self, changes: Sequence[Change[Any]]) -> list[Answer]:
        """Make changes in one transaction. One that is refused harms no other; what the disk refuses, it refuses to all."""
        stacks = [ExitStack() for _ in changes]
        with GATE:
            try:
                with self._told(), _transaction(self._sound()) as connection:
                    answers = [self._try(connection, *pair) for pair in zip(changes, stacks, strict=True)]
            except BaseException as error:  # noqa: BLE001 everybody who waits hears it
                self._give_up(error)
                for stack in stacks:
                    stack.close()
                return [Answer(error=error)] * len(changes)
            self._commits += 1
            return answers

    def _sound(self) -> sqlite3.Connection:
        """Give the connection, unless a commit has failed on it in a way that a later one might hide."""
        if self._failure is not None:
            raise self._failure
        return self._connected()

    def _give_up(self, error: BaseException) -> None:
        if isinstance(error, JournalError) and error.code in _LASTING:
            self._failure = error
        if self._connection is not None and self._connection.in_transaction:  # not even its end could be written
            self.disconnect()

    def _try(self, connection: sqlite3.Connection, change: Change[Any], undo: ExitStack) -> Answer:
        connection.execute("SAVEPOINT change")
        try:
            answer = Answer(change(connection, undo))
        except sqlite3.IntegrityError as error:
            answer = Answer(error=_refusals.of_tables(error))
        except Exception as error:
            if hasattr(error, "sqlite_errorcode"):  # it is the disk, or the file
                raise
            answer = Answer(error=error)
        if answer.error is not None:
            connection.execute("ROLLBACK TO change")
            undo.close()
        connection.execute("RELEASE change")
        return answer

    def version(self, connection: sqlite3.Connection) -> int:
        """Give a number that grows with every commit of ours and of others.

        SQLite's own tells only of others, and starts anew with each connection.
        """
        (others,) = connection.execute("PRAGMA data_version").fetchone()
        return (self._connects << 40) + self._commits + int(others)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection, None, None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # most errors have ended it already
            connection.execute("ROLLBACK")
        raise


# Forks.

_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=GATE.release, after_in_child=_after_fork)


def _before_fork() -> None:
    GATE.acquire()
    for database in list(_OPEN):
        database.disconnect()


def _after_fork() -> None:
    GATE.release()
    for database in list(_OPEN):
        database.abandon()
