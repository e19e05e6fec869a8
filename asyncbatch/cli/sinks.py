"""Where rows go: standard output, or `OUT.partial`, which becomes OUT when every request has its row."""

import os
import stat
import sys
from pathlib import Path
from typing import IO, Protocol

import msgspec

from asyncbatch.cli.claims import Claim, Claims, claim_of
from asyncbatch.cli.endings import CommandError, Exit

_OURS = b'{"v":1,"request_id":'
"""How every row begins."""


class Sink(Protocol):
    """Where rows go. Everything blocks."""

    def open(self) -> None:
        """See that rows can be written, before anything is sent."""
        ...

    def begin(self, job_id: str | None, rounds: int = 0) -> None:
        """Be the place of this job's rows; None for a job that is about to be accepted. Refuses what holds another's.

        Args:
            job_id: Whose rows.
            rounds: How often requests of it were sent again, the time that is about to come included.
        """
        ...

    def write(self, data: bytes) -> None: ...
    def finish(self, rounds: int = 0) -> None:
        """Every row is written; `rounds` as it is by now."""
        ...

    def leave(self) -> str | None:
        """Stop before the end; gives where the rows lie that were written, if any."""
        ...


class Nowhere:
    """For those who only count."""

    def open(self) -> None: ...
    def begin(self, job_id: str | None, rounds: int = 0) -> None: ...
    def write(self, data: bytes) -> None: ...
    def finish(self, rounds: int = 0) -> None: ...
    def leave(self) -> str | None:
        return None


class Stdout:
    """Rows to standard output, as they come."""

    def open(self) -> None:
        if sys.stdout is None:
            raise CommandError("standard output is closed", code="output.closed", hint="add -o results.jsonl")

    def begin(self, job_id: str | None, rounds: int = 0) -> None: ...

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def finish(self, rounds: int = 0) -> None: ...

    def leave(self) -> str | None:
        return None


class OutFile:
    """Rows to `OUT.partial`, renamed to OUT at the end.

    An OUT that exists is never touched, nor is a `.partial` that holds rows of anything but the same job. With `claims`, the
    `.partial` of a command that was killed is written anew: the journal has all its rows. And an OUT that we made for the same
    job gives way, in one step, to rows that are others by now, since requests were sent again, or are wanted in their order.

    Attributes:
        path: OUT.
        is_there: Whether OUT holds every row of the job already.
    """

    def __init__(self, path: str, claims: Claims | None = None, *, is_ordered: bool = False) -> None:
        self.path = Path(path)
        if not self.path.name or path.endswith(("/", os.sep)):
            hint = f"name a file in it: -o {self.path / 'results.jsonl'}"
            raise CommandError(f"{path!r} names a directory, no file", code="output.directory", hint=hint)
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self.is_there = False
        self._claims = claims
        self._is_ordered = is_ordered
        self._old: Claim | None = None
        self._found_of: str | None = None
        self._job_id: str | None = None
        self._file: IO[bytes] | None = None
        self._size = 0

    def open(self) -> None:
        try:
            self._open()
        except OSError as error:
            raise self._unwritable(error) from None

    def _open(self) -> None:
        if self.path.is_dir():
            hint = f"name a file in it: -o {self.path / 'results.jsonl'}"
            raise CommandError(f"{self.path} is a directory", code="output.directory", hint=hint)
        if not os.path.lexists(self.path):
            self._take_partial()
            return
        claim = self._claims.of(self.path) if self._claims else None
        self._old = claim.whole(self.path.lstat()) if claim else None
        if self._old is None:
            raise self._exists()
        self.is_there, self._found_of = True, self._old.job_id

    def _take_partial(self) -> None:
        try:
            self._file = self.partial.open("xb")
        except FileExistsError:
            self._file = self._found_partial()
        except FileNotFoundError:
            hint = f"make it first: mkdir -p {self.path.parent}"
            message = f"there is no directory {self.path.parent}"
            raise CommandError(message, code="output.no_directory", hint=hint) from None
        if self._claims is not None and not _is_alone(self._file, self.partial):
            self._file.close()
            self._file = None
            message = f"{self.partial} is being written by another command"
            raise CommandError(message, code="output.busy", hint="let it end, or give another name")

    def _found_partial(self) -> IO[bytes]:
        """Open what a command left behind that was killed, without touching it yet."""
        found = self.partial.lstat()
        claim = self._claims.of(self.path) if self._claims else None
        is_ours = claim is not None and claim.is_same(found)
        if self._claims is None or not stat.S_ISREG(found.st_mode) or not (is_ours or found.st_size == 0):
            raise self._partial_exists()
        self._found_of = claim.job_id if claim is not None and is_ours else None
        file = self.partial.open("r+b")
        if file.peek(len(_OURS))[: len(_OURS)] not in (
            _OURS,
            b"",
        ):  # a file's number is given to others once it is gone
            file.close()
            raise self._partial_exists()
        return file

    def begin(self, job_id: str | None, rounds: int = 0) -> None:
        self._check(job_id)
        if self._old is not None and self.is_there and self._is_outdated(self._old, rounds):
            self.is_there, self._found_of = False, None
            try:
                self._take_partial()
            except OSError as error:
                raise self._unwritable(error) from None
            self._check(job_id)
        if job_id is None or self.is_there or self._claims is None:
            return
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self._job_id = job_id
        self._claims.put(self.path, self._claim(job_id))

    def _check(self, job_id: str | None) -> None:
        if self._found_of is not None and self._found_of != job_id:
            raise self._exists() if self.is_there else self._partial_exists()

    def _is_outdated(self, old: Claim, rounds: int) -> bool:
        return old.rounds != rounds or (self._is_ordered and not old.is_ordered)

    def _claim(self, job_id: str) -> Claim:
        assert self._file is not None
        return claim_of(self.path, job_id, os.fstat(self._file.fileno()), replaces=self._old)

    def write(self, data: bytes) -> None:
        if self.is_there:
            return
        assert self._file is not None
        self._file.write(data)
        self._file.flush()  # whoever interrupts us finds every row that was handed over
        self._size += len(data)

    def finish(self, rounds: int = 0) -> None:
        if self.is_there:
            return
        assert self._file is not None
        os.fsync(self._file.fileno())
        if os.path.lexists(self.path) and not (self._old is not None and self._old.is_whole(self.path.lstat())):
            self._file.close()
            message = f"{self.path} came into being meanwhile; the rows are in {self.partial}"
            raise CommandError(message, code="output.exists", hint="move either of them away", exit_code=Exit.FAILED)
        if self._claims is not None and self._job_id is not None:
            found = os.fstat(self._file.fileno())
            changes = {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
            claim = msgspec.structs.replace(
                self._claim(self._job_id), rounds=rounds, is_ordered=self._is_ordered, **changes
            )
            self._claims.put(self.path, claim)
        self.partial.rename(self.path)  # before the lock goes with the file's closing
        self._file.close()
        self._file = None

    def leave(self) -> str | None:
        if self._file is None:
            return None
        if self._size or (self._found_of is not None and self._job_id is None):
            self._file.close()
            return str(self.partial) if self._size else None
        self.partial.unlink(missing_ok=True)
        self._file.close()
        return None

    def _unwritable(self, error: OSError) -> CommandError:
        return CommandError(f"{self.path} cannot be written: {error.strerror}", code="output.unwritable")

    def _exists(self) -> CommandError:
        return CommandError(f"{self.path} exists", code="output.exists", hint="give another name, or remove it")

    def _partial_exists(self) -> CommandError:
        hint = "it holds the rows of a run that did not end, or that is under way: give another name, or remove it"
        return CommandError(f"{self.partial} exists", code="output.partial", hint=hint)


def _is_alone(file: IO[bytes], path: Path) -> bool:
    """Hold the file against other commands until it is closed; False where one has it, or has just moved it away."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False
