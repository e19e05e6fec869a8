"""Which output files are ours: a file is taken over or taken for finished only if we made it, for the same job.

A note beside the journal holds the file's number on its disk, which a rename keeps and a file of somebody else's has not.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

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
    """

    v: int = 1
    path: str
    job_id: str
    device: int
    inode: int
    size: int | None = None
    mtime_ns: int | None = None

    def is_same(self, stat: os.stat_result) -> bool:
        return (self.device, self.inode) == (stat.st_dev, stat.st_ino)

    def is_whole(self, stat: os.stat_result) -> bool:
        """Whether it is the file, as it was when every row was in it."""
        return self.is_same(stat) and (self.size, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


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

    def put(self, path: Path, job_id: str, stat: os.stat_result, *, is_whole: bool) -> None:
        """Remember a file, in one step."""
        claim = Claim(path=str(path.absolute()), job_id=job_id, device=stat.st_dev, inode=stat.st_ino)
        if is_whole:
            claim = msgspec.structs.replace(claim, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
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
