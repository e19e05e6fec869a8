"""Requests out of a JSONL file or standard input: read in pieces, in a thread, and cut at line feeds alone.

U+2028 and its like are legal inside a JSON string, so nothing here reads text lines. A line that is not JSON becomes a
`BadRow`, which the library refuses like any other row that cannot be sent.
"""

import codecs
import gzip
import hashlib
import json
import os
import select
import sys
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any, cast

import anyio.to_thread
import msgspec

from asyncbatch.cli.endings import CommandError
from asyncbatch.dto import BadRow

PIECE_BYTES = 1024 * 1024
_ASK_AGAIN_S = 0.1
_SHOWN = 60
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class RequestFile:
    """A file of requests, one a line; blank lines are skipped.

    Attributes:
        path: Where it lies; `-` is standard input.
        rows: Requests read so far.
        size: Bytes read so far.
        digest: A hash of what was read so far.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.size = 0
        self._blanks = array("Q")
        self._input: IO[bytes] | None = None
        self._copy: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._is_copied = False
        self._is_closed = False

    @property
    def name(self) -> str:
        return "standard input" if self.path == "-" else self.path

    def open(self) -> None:
        """Open it, so that a file that cannot be read is refused before anything else happens. Blocks."""
        if self.path == "-":
            if sys.stdin is None:
                raise CommandError("standard input is closed", code="input.unreadable")
            self._input = sys.stdin.buffer
            return
        try:
            opener: Callable[..., IO[bytes]] = gzip.open if self.path.endswith(".gz") else open  # type: ignore[assignment]
            self._input = opener(self.path, "rb")
        except IsADirectoryError:
            hint = f"name the file in it, or send all of them: cat {self.path}/*.jsonl | asyncbatch run - …"
            raise CommandError(f"{self.path} is a directory, not a file", code="input.directory", hint=hint) from None
        except FileNotFoundError:
            raise CommandError(f"there is no file {self.path}", code="input.missing") from None
        except OSError as error:
            raise CommandError(f"{self.path} cannot be read: {error.strerror}", code="input.unreadable") from None

    def close(self) -> None:
        """Close it; standard input stays open, and a thread that waits for it ends."""
        self._is_closed = True
        if self._copy is not None:
            self._copy.close()
        if self._input is not None and self.path != "-":
            self._input.close()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def read_ahead(self) -> str:
        """Read everything, give its hash, and begin again. What can be read only once is copied to the disk meanwhile."""
        is_copied = await anyio.to_thread.run_sync(self._is_read_once)
        if is_copied:
            self._copy = await anyio.to_thread.run_sync(tempfile.TemporaryFile)
        while piece := await self._piece():
            if self._copy is not None:
                await anyio.to_thread.run_sync(self._copy.write, piece)
        digest, self._hash, self.size = self.digest, hashlib.sha256(), 0
        again = self._copy or self._input
        assert again is not None
        await anyio.to_thread.run_sync(again.seek, 0)
        self._is_copied = is_copied
        return digest

    def _is_read_once(self) -> bool:
        return self.path == "-" or not Path(self.path).is_file()

    def line_of(self, row: int) -> int:
        """Give the line, from 1, on which a row stands."""
        return row + 1 + bisect_right(self._blanks, row)

    async def requests(self) -> AsyncIterator[Any]:
        """Read the requests."""
        rest = bytearray()
        while piece := await self._piece():
            head, line_feed, tail = piece.rpartition(b"\n")
            if not line_feed:
                rest += piece
                continue
            for item in await anyio.to_thread.run_sync(self._decode, bytes(rest) + head):
                yield item
            rest = bytearray(tail)
        for item in await anyio.to_thread.run_sync(self._decode, bytes(rest)) if rest else ():
            yield item
        if not self.rows:
            raise CommandError(
                f"{self.name} is empty", code="empty", hint="one request a line: a prompt as a JSON string is enough"
            )

    async def _piece(self) -> bytes:
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=self._is_waiting)

    @property
    def _is_waiting(self) -> bool:
        return self.path == "-" and not self._is_copied

    def _read(self) -> bytes:
        stream = self._copy if self._is_copied else self._input
        assert stream is not None
        try:
            piece = self._read_waiting(stream) if self._is_waiting else stream.read(PIECE_BYTES)
        except (OSError, EOFError) as error:  # EOFError: a gzip file that was cut off
            raise CommandError(f"{self.name} cannot be read: {error}", code="input.unreadable") from None
        self.size += len(piece)
        self._hash.update(piece)
        return piece

    def _read_waiting(self, stream: IO[bytes]) -> bytes:
        """Read what is there, and give way when we are closed meanwhile: a blocked read would hold the process.

        Whether we were cancelled is nothing to ask here: Ctrl-C cancels the task, and no scope that a thread can see.
        """
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            return stream.read(PIECE_BYTES)
        while os.name == "posix" and not select.select([descriptor], [], [], _ASK_AGAIN_S)[0]:
            if self._is_closed:
                return b""
        return os.read(descriptor, PIECE_BYTES)

    def _decode(self, data: bytes) -> list[Any]:
        items: list[Any] = []
        for line in data.split(b"\n"):
            if not self.rows and not self._blanks:
                line = self._without_mark(line)  # noqa: PLW2901 the first line alone can begin with one
            if not line or line.isspace():
                self._blanks.append(self.rows)
            else:
                items.append(decode_line(line))
                self.rows += 1
        return items

    def _without_mark(self, line: bytes) -> bytes:
        """Take the byte order mark away that some editors write."""
        if line.startswith(_UTF16):
            raise CommandError(f"{self.name} is UTF-16 text", code="input.encoding", hint="save it as UTF-8")
        return line.removeprefix(codecs.BOM_UTF8)


def decode_line(line: bytes) -> Any:
    """Give what a line holds, or the `BadRow` that says why it cannot be made out."""
    item: Any
    try:
        item = msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        item = _decode_patiently(line)
    if isinstance(item, dict | str | BadRow):
        return cast("Any", item)
    what = f"a line is an object or a text in quotes, not {_shown(line)}"
    return BadRow(code="not_an_object", message=f"{what}{_array_hint(line)}")


def _decode_patiently(line: bytes) -> Any:
    """Read what the strict decoder refuses: NaN and lone surrogates pass here, and are refused by name later."""
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(
            code="not_json", message=f"it is not UTF-8 text: byte {error.start + 1} is 0x{line[error.start]:02x}"
        )
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        return BadRow(code="not_json", message=f"it is not JSON: {reason}: {_shown(line)}{_array_hint(line)}")


def _array_hint(line: bytes) -> str:
    return " (a JSON array? Write one request a line: jq -c '.[]' FILE)" if line.lstrip().startswith(b"[") else ""


def _shown(line: bytes) -> str:
    text = line.strip().decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
