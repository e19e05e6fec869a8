"""A directory that outlives the emulator: a log of what it has, and the files themselves beside it.

    lock          whoever has it open holds an flock on it; the kernel lets go when the process dies, however it dies
    state         a line that names the format, then frames: length, CRC, and some entries that belong together
    openai-…/     the files of one dialect

A frame is written by one call before anything is answered, so a kill leaves whole frames and at most the beginning of one,
which is cut off. Every start writes the log anew, to another name first. There is no fsync: what is survived is the death
of the process, not a power cut.
"""

import os
import shutil
import stat
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from asyncbatch.emulator.entries import Entry

FORMAT = 1

_NAME = "asyncbatch emulator, format "
_HEAD = f"{_NAME}{FORMAT}\n".encode()
_FRAME_HEAD_BYTES = 8
_OURS = {"lock", "state", "state.part"}
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Entry])


class DataDirError(Exception):
    """The directory cannot be used; nothing in it was changed.

    Attributes:
        code: `in_use`, `format`, `not_ours`, `not_private`, `damaged`, or `unsupported`.
        hint: What to do.
    """

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.code = code
        self.hint = hint


class DataDir:
    """The open directory of one emulator.

    Args:
        path: Made if it is not there; its parents have to be.

    Raises:
        DataDirError: It is in use, of another format, somebody else's, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._appending = threading.Lock()
        self._log = -1
        self._lock = _take_lock(self.path)
        try:
            self.entries = self._read()
        except BaseException:
            self.close()
            raise

    def append(self, entries: Sequence[Entry]) -> None:
        """Write down what belongs together, before anybody is told of it. From any thread."""
        with self._appending:
            end = os.fstat(self._log).st_size
            try:
                _write(self._log, _encode_frame(entries))
            except OSError:
                os.ftruncate(self._log, end)  # half a frame would hide all that follow
                raise

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Write down these entries and no others."""
        with self._appending:
            part = self.path / "state.part"
            log = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write(log, _HEAD)
                for entry in entries:
                    _write(log, _encode_frame([entry]))
                part.replace(self.path / "state")
            except BaseException:
                os.close(log)
                raise
            self._log, former = log, self._log
            if former >= 0:
                os.close(former)

    def remove_but(self, directories: Iterable[str]) -> None:
        """Remove the directories of earlier lives."""
        kept = {*directories, *_OURS}
        for path in self.path.iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the directory; another emulator may have it."""
        for descriptor in (self._log, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._lock = -1

    def _read(self) -> list[Entry]:
        try:
            data = (self.path / "state").read_bytes()
        except FileNotFoundError:
            self._check_empty()
            return []
        if not data.startswith(_HEAD):
            raise self._refuse_head(data.partition(b"\n")[0])
        return [entry for frame in self._frames(data) for entry in frame]

    def _check_empty(self) -> None:
        others = sorted({path.name for path in self.path.iterdir()} - _OURS)
        if others:
            message = f"{self.path} is no emulator's directory: it holds {others[0]}"
            raise DataDirError(message, code="not_ours", hint="give a new or an empty one")

    def _refuse_head(self, head: bytes) -> DataDirError:
        text = head[:80].decode("utf-8", "replace")
        if text.startswith(_NAME):
            message = f"{self.path} has format {text.removeprefix(_NAME)}, and this emulator reads {FORMAT}"
            return DataDirError(message, code="format", hint="use the version that made it, or another directory")
        message = f"{self.path / 'state'} is not an emulator's"
        return DataDirError(message, code="not_ours", hint="give a new or an empty directory")

    def _frames(self, data: bytes) -> Iterator[list[Entry]]:
        at = len(_HEAD)
        while at + _FRAME_HEAD_BYTES <= len(data):
            length, check = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")
            at += _FRAME_HEAD_BYTES
            frame = data[at : at + length]
            if len(frame) < length:
                return  # whoever wrote it was killed, and nobody was told of what it says
            yield self._decoded(frame, check)
            at += length

    def _decoded(self, frame: bytes, check: int) -> list[Entry]:
        try:
            if zlib.crc32(frame) == check:
                return _DECODER.decode(frame)
            why = "a checksum does not fit"
        except msgspec.DecodeError as error:
            why = str(error)
        message = f"{self.path / 'state'} is damaged: {why}"
        raise DataDirError(message, code="damaged", hint="move the directory away, and begin with a new one")


def _encode_frame(entries: Sequence[Entry]) -> bytes:
    frame = _ENCODER.encode(entries)
    return len(frame).to_bytes(4, "big") + zlib.crc32(frame).to_bytes(4, "big") + frame


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _take_lock(path: Path) -> int:
    """Make the directory if it is not there, and lock it for as long as this process lives."""
    try:
        import fcntl
    except ImportError as error:
        message = "a data directory needs the file locks of a POSIX system"
        raise DataDirError(message, code="unsupported", hint="go without one") from error
    path.mkdir(mode=0o700, exist_ok=True)
    _check_private(path)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace") or "?"
        os.close(lock)
        message = f"{path} is in use by another emulator, process {holder}"
        raise DataDirError(message, code="in_use", hint="stop that one, or use another directory") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _check_private(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        hint = "give a directory of your own"
        raise DataDirError(f"{path} belongs to somebody else", code="not_private", hint=hint)
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise DataDirError(f"others can write to {path}", code="not_private", hint=f"chmod go-w {path}")
