"""Directories and files that are ours alone, and the file system they lie on."""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

from asyncbatch.journal._refusals import not_private

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
_OTHERS_WRITE = 0o022


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for us alone; refuse one that others own or can write to."""
    missing = [path for path in (directory, *directory.parents) if not os.path.lexists(path)]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir(mode=PRIVATE_DIRECTORY)
            sync_directory(path.parent)
    refuse_shared(directory)


def refuse_shared(path: Path) -> None:
    """Raise unless this file or directory, and a link that leads to it, are ours and only we can write to it."""
    owners = {path.lstat().st_uid, path.stat().st_uid}
    if owners != {os.geteuid()}:
        raise not_private(path, "it belongs to somebody else", "give a directory of your own")
    if path.stat().st_mode & _OTHERS_WRITE:
        raise not_private(path, "others can write to it", f"chmod go-w {path}")


def make_file(path: Path) -> None:
    """Make an empty private file; check one that is there, without opening it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        os.close(os.open(path, flags, PRIVATE_FILE))
    except FileExistsError:
        # Not opened: to close any descriptor of a database gives up every POSIX lock that this process holds on it.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise not_private(path, "it is not a plain file", "move it away") from None
        refuse_shared(path)
    else:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a loss of power, where its file system has a way to."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = frozenset(
    (
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    )
)


def is_remote(directory: Path) -> bool:
    """Say whether a directory lies on a network file system; False where the system does not tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return file_system_of(directory.resolve(), mounts) in _REMOTE


def file_system_of(path: Path, mounts: str) -> str:
    """Find the kind of file system a path lies on, in the words of Linux's `mountinfo`."""
    best: tuple[int, str] = (-1, "")
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        fields = where.split(" ")
        if len(fields) > 4 and what:
            point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
            if path.is_relative_to(point):  # of two on one point, the later one is on top
                best = max((len(point.parts), what.split(" ")[0]), best, key=lambda found: found[0])
    return best[1]
