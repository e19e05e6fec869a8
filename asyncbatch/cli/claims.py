"""Which output files are ours: a file is taken over or taken for finished only if we made it, for the same job.

A note beside the journal holds the file's number on its disk, which a rename keeps and a file of somebody else's has not.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from asyncbatch import JobStatus

_DIRECTORY = "outputs"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A file that we made for the rows of a job.

    Attributes:
        path: The output that it is, or will be.
        job_id: Whose rows.
        device: Where it lies …
        inode: … and which file it is there.
        size: Its length when it was whole; None before.
        mtime_ns: When it was whole.
        rounds: How often requests of the job had been sent again by then: each time its rows may be others.
        is_ordered: Whether its rows stand in the order of the requests.
        replaces: The whole file that lies at `path` until this one is whole.
    """

    v: int = 1
    path: str
    job_id: str
    device: int
    inode: int
    size: int | None = None
    mtime_ns: int | None = None
    rounds: int = 0
    is_ordered: bool = False
    replaces: "Claim | None" = None

    def is_same(self, stat: os.stat_result) -> bool:
        return (self.device, self.inode) == (stat.st_dev, stat.st_ino)

    def is_whole(self, stat: os.stat_result) -> bool:
        """Whether it is the file, as it was when every row was in it."""
        return self.is_same(stat) and (self.size, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    def whole(self, stat: os.stat_result) -> "Claim | None":
        """Give what is known of a whole file: it is this one, or the one that this one is to replace."""
        found = [claim for claim in (self, self.replaces) if claim is not None and claim.is_whole(stat)]
        return msgspec.structs.replace(found[0], replaces=None) if found else None


def rounds_of(status: JobStatus) -> int:
    """Say how often requests of a job were sent again: as often, its rows may have become others."""
    return sum(batch.round for batch in status.batches)


def claim_of(path: Path, job_id: str, stat: os.stat_result, *, replaces: Claim | None) -> Claim:
    """Give the claim of a file that is being written."""
    where = str(path.absolute())
    return Claim(path=where, job_id=job_id, device=stat.st_dev, inode=stat.st_ino, replaces=replaces)


class Claims:
    """The notes of one home. Everything blocks."""

    def __init__(self, home: Path) -> None:
        self._directory = home / _DIRECTORY

    def of(self, path: Path) -> Claim | None:
        """Give what is known of an output; None where there is nothing that can be read."""
        try:
            return msgspec.json.decode(self._note(path).read_bytes(), type=Claim)
        except (OSError, msgspec.MsgspecError):
            return None

    def put(self, path: Path, claim: Claim) -> None:
        """Remember a file, in one step."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        note = self._note(path)
        fresh = note.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(claim))
        fresh.replace(note)

    def drop_of(self, job_id: str) -> None:
        """Forget the outputs of a job; the files stay."""
        for note in self._directory.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                if msgspec.json.decode(note.read_bytes(), type=Claim).job_id == job_id:
                    note.unlink()

    def _note(self, path: Path) -> Path:
        return self._directory / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.json"
