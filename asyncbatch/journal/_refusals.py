"""What a durable journal refuses, in words that say what is safe and what to do."""

import contextlib
import errno
import sqlite3
from collections.abc import Generator
from pathlib import Path

from asyncbatch._version import __version__
from asyncbatch.exceptions import JournalError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_PLACE = frozenset({errno.ENOTDIR})
_NUMBERS = (
    ("journal.full", _NO_ROOM),
    ("journal.no_access", _NO_ACCESS),
    ("journal.unsupported", _NO_LOCKS),
    ("journal.no_directory", _NO_PLACE),
)
_SQLITE = {
    sqlite3.SQLITE_FULL: "journal.full",
    sqlite3.SQLITE_READONLY: "journal.no_access",
    sqlite3.SQLITE_CANTOPEN: "journal.no_access",
    sqlite3.SQLITE_PERM: "journal.no_access",
}
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_HINTS = {
    "journal.full": "what was recorded before is intact, and nothing more is sent; make room, then do the same again",
    "journal.no_access": "nothing was changed; see who owns it and that it may be written, or give another directory",
    "journal.io": "what was recorded is intact, and nothing more is sent; see that the disk is well, then open it again",
    "journal.no_directory": "nothing was changed; a journal is a directory, and that is a file: give another place",
    "journal.unsupported": "nothing was changed; give a directory on a local disk",
}


@contextlib.contextmanager
def on_disk(path: Path) -> Generator[None, None, None]:
    """Say what the disk refuses as a `JournalError`."""
    try:
        yield
    except OSError as error:
        code = next((code for code, numbers in _NUMBERS if error.errno in numbers), "journal.io")
        raise _unusable(path, code, error.strerror or error) from error


def of_sqlite(path: Path, error: sqlite3.Error) -> JournalError:
    """Say what SQLite refuses."""
    number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF  # the rest of it says in which call
    if number in _LOCKED:
        message = f"the journal at {path} is locked by others for longer than we wait"
        return JournalError(message, code="journal.busy", hint="nothing was changed; try again")
    if number in _BROKEN:
        return corrupt(path, str(error))
    return _unusable(path, _SQLITE.get(number, "journal.io"), error)


def of_tables(error: sqlite3.IntegrityError) -> JournalError:
    """Say which rule of the tables stopped a change that our own code let pass."""
    if "provider_batch_id" in str(error):
        return JournalError("another submission has this batch already", code="journal.batch_taken")
    return JournalError(f"the journal itself refuses this: {error}", code="journal.refused")


def _unusable(path: Path, code: str, why: object) -> JournalError:
    return JournalError(f"the journal at {path} cannot be used: {why}", code=code, hint=_HINTS[code])


def corrupt(path: Path, why: str) -> JournalError:
    hint = (
        "nothing was changed; batches that were sent go on at their providers; keep the directory, and put the file back "
        "from a copy or begin with another directory"
    )
    return JournalError(f"{path} is not a journal that can be trusted: {why}", code="journal.corrupt", hint=hint)


def not_private(path: Path, why: str, hint: str) -> JournalError:
    return JournalError(f"{path} is not private: {why}", code="journal.not_private", hint=hint)


def newer(path: Path, schema: int) -> JournalError:
    message = f"the journal at {path} was made by a newer version of asyncbatch (schema {schema})"
    hint = f"nothing was changed; this is asyncbatch {__version__}: install the newer one"
    return JournalError(message, code="journal.newer", hint=hint)


def outdated(path: Path) -> JournalError:
    message = f"the journal at {path} is in use by an older version of asyncbatch"
    return JournalError(message, code="journal.busy", hint="nothing was changed; end its processes first")


def preparing(path: Path, waited_s: float) -> JournalError:
    message = f"another process has been preparing the journal at {path} for {waited_s:.0f} s"
    return JournalError(message, code="journal.busy", hint="nothing was changed; try again, and see what it does")


def other_sqlite(path: Path) -> JournalError:
    message = f"{path} is in WAL mode, which SQLite {sqlite3.sqlite_version} cannot share safely"
    hint = "nothing was changed; end the processes that have it open, which use a newer SQLite"
    return JournalError(message, code="journal.other_sqlite", hint=hint)


def no_locks() -> JournalError:
    message = "a durable journal needs file locks, which this platform lacks"
    return JournalError(message, code="journal.unsupported", hint="use the journal in memory")


def closed() -> JournalError:
    return JournalError("the journal is not open", code="journal.closed", hint="nothing was changed")


def forked() -> JournalError:
    message = "this journal was opened before a fork, and belongs to the parent process"
    return JournalError(
        message, code="journal.forked", hint="nothing was changed; make one in each process, after the fork"
    )


def no_job(job_id: str) -> JournalError:
    return JournalError(f"there is no job {job_id}", code="journal.no_job")


def not_writer(job_id: str) -> JournalError:
    hint = "nothing was changed, and nothing may be sent: another process may run it"
    return JournalError(f"we are not the writer of job {job_id}", code="journal.not_writer", hint=hint)
