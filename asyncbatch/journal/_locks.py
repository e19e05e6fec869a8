"""Who may write: a lock file for each job, and one that says that the journal is in use at all.

The kernel lets go of an `flock` when its process dies, however it dies; so no clock decides who is alive. A lock belongs to one
open file: two journals in one process exclude each other as two processes do.
"""

import os
import re
import threading
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from asyncbatch.journal._files import PRIVATE_FILE, make_private
from asyncbatch.journal._refusals import no_job, no_locks, on_disk, preparing

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TRIES = 100
"""How often a lock file may be removed between our opening and our locking it."""
GATE = threading.RLock()
"""Held by whoever uses SQLite or a lock file, so that a fork, which takes it, finds neither in the middle of something."""

WAIT_S = 30.0
"""How long we wait for a process that prepares the journal; the check of a large one after a crash takes seconds."""
_LOOK_S = 0.02


def locking() -> ModuleType:
    """Give the module of locks, or say that there is none here."""
    try:
        import fcntl
    except ImportError as error:
        raise no_locks() from error
    return fcntl


def is_job_id(name: str) -> bool:
    """Say whether this can be the id of a job, and the name of a file."""
    return _JOB_ID.fullmatch(name) is not None


def check_job_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise no_job(repr(job_id))
    return job_id


class Lock:
    """A lock that we hold, on a file that may be replaced under it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)

    def try_hold(self) -> bool:
        """Lock the file, unless somebody else has."""
        return _flock(self._descriptor, exclusive=True)

    @property
    def is_current(self) -> bool:
        """Whether the file of this name is still the one that we locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file; whoever opened it meanwhile finds out by `is_current`."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._descriptor)


def try_lock(path: Path) -> Lock | None:
    """Lock a file, which is made where it is missing; None while somebody else holds it."""
    for _ in range(_TRIES):
        lock = Lock(path)
        try:
            is_ours = lock.try_hold()
        except BaseException:
            lock.close()
            raise
        if is_ours and lock.is_current:
            return lock
        lock.close()
        if not is_ours:
            return None
    return None


def _flock(descriptor: int, *, exclusive: bool) -> bool:
    fcntl = locking()
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Lease(NamedTuple):
    """A job that is ours: the lock, and which of its writers we are; 0 before that is recorded."""

    lock: Lock
    epoch: int = 0


class Leases:
    """The jobs of one journal object. Used in its thread only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, Lease] = {}

    def make(self) -> None:
        make_private(self._directory)

    def holds(self, job_id: str) -> bool:
        return job_id in self._held

    def take(self, job_id: str) -> bool:
        """Lock a job, or find that we do; False while somebody else is alive who holds it."""
        held = self._held.get(job_id)
        if held is not None and held.lock.is_current:
            return True
        self.drop(job_id)
        path = self._directory / check_job_id(job_id)
        with GATE, on_disk(path):
            lock = try_lock(path)
            if lock is not None:
                self._held[job_id] = Lease(lock)
        return lock is not None

    def epoch(self, job_id: str) -> int:
        """Give our epoch of a job; 0 if it is not ours."""
        held = self._held.get(job_id)
        return 0 if held is None else held.epoch

    def set_epoch(self, job_id: str, epoch: int) -> None:
        self._held[job_id] = self._held[job_id]._replace(epoch=epoch)

    def drop(self, job_id: str, *, and_file: bool = False) -> None:
        """Let go of a job; harmless if it is not ours."""
        with GATE:
            held = self._held.pop(job_id, None)
            if held is not None and and_file:
                held.lock.remove()
            if held is not None:
                held.lock.close()

    def drop_all(self) -> None:
        for job_id in list(self._held):
            self.drop(job_id)


class Presence:
    """A lock that everybody shares who has the journal open, and that whoever prepares it has alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)

    def try_alone(self) -> bool:
        """Be the only one, if nobody else is there. If not, we may have lost our share as well."""
        return _flock(self._descriptor, exclusive=True)

    def share(self) -> None:
        """Be one of several, once nobody is alone."""
        waiting = threading.Event()
        for _ in range(int(WAIT_S / _LOOK_S)):
            if _flock(self._descriptor, exclusive=False):
                return
            waiting.wait(_LOOK_S)
        raise preparing(self._path.parent, WAIT_S)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Process(NamedTuple):
    """Which process this is, among all that ever had its number."""

    pid: int
    started: int
    boot_id: str


_PROC = Path("/proc")


def this_process() -> Process:
    """Name this process; start and boot only where the system tells them."""
    try:
        fields = (_PROC / "self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return Process(os.getpid(), 0, "")
    return Process(os.getpid(), int(fields[19]), boot_id)
