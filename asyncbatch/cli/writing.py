"""Outcomes to JSONL: encoded in slices, in a thread, into `OUT.partial`, which becomes OUT when every request has its row."""

import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.enums import ResultStatus

_NOTHING = msgspec.Raw(b"null")


class OutputError(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    retryable: bool


class OutputRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One line of the output: how one request ended."""

    v: int = 1
    request_id: str
    status: ResultStatus
    response: msgspec.Raw
    error: OutputError | None
    usage: UsageInfo | None
    raw: str | msgspec.UnsetType = msgspec.UNSET


def encode_row(row: ProviderResultRow) -> bytes:
    """Give the line of a row. The provider's answer is copied as it came; one that is not JSON goes as a text under `raw`."""
    response = _NOTHING
    raw: str | msgspec.UnsetType = msgspec.UNSET
    if row.body and row.status is ResultStatus.UNDECODABLE and not _is_json(row.body):
        raw = bytes(row.body).decode("utf-8", "replace")
    elif row.body:
        response = row.body
    line = OutputRow(
        request_id=row.request_id,
        status=row.status,
        response=response,
        error=_error(row.error) if row.error is not None else None,
        usage=row.usage,
        raw=raw,
    )
    return msgspec.json.encode(line) + b"\n"


def _error(error: RowError) -> OutputError:
    return OutputError(code=error.code, message=error.message, retryable=error.retryable)


def _is_json(body: msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


class Sink(Protocol):
    """Where rows go. Everything blocks."""

    def open(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def leave(self) -> str | None:
        """Stop before the end; gives where the rows lie that were written, if any."""
        ...


class Nowhere:
    """For those who only count."""

    def open(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def leave(self) -> str | None:
        return None


class Stdout:
    """Rows to standard output, as they come."""

    def open(self) -> None:
        if sys.stdout is None:
            raise CommandError("standard output is closed", code="output.closed", hint="add -o results.jsonl")

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def finish(self) -> None: ...

    def leave(self) -> str | None:
        return None


class OutFile:
    """Rows to `OUT.partial`, renamed to OUT at the end; an OUT that exists is never touched."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not self.path.name or path.endswith(("/", os.sep)):
            hint = f"name a file in it: -o {self.path / 'results.jsonl'}"
            raise CommandError(f"{path!r} names a directory, no file", code="output.directory", hint=hint)
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self._file: IO[bytes] | None = None
        self._size = 0

    def open(self) -> None:
        try:
            self._file = self._make()
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror}"
            raise CommandError(message, code="output.unwritable") from None

    def _make(self) -> IO[bytes]:
        if self.path.is_dir():
            hint = f"name a file in it: -o {self.path / 'results.jsonl'}"
            raise CommandError(f"{self.path} is a directory", code="output.directory", hint=hint)
        if os.path.lexists(self.path):
            raise CommandError(f"{self.path} exists", code="output.exists", hint="give another name, or remove it")
        try:
            return self.partial.open("xb")
        except FileExistsError:
            hint = "it holds the rows of a run that did not end, or that is under way: give another name, or remove it"
            raise CommandError(f"{self.partial} exists", code="output.partial", hint=hint) from None
        except FileNotFoundError:
            hint = f"make it first: mkdir -p {self.path.parent}"
            message = f"there is no directory {self.path.parent}"
            raise CommandError(message, code="output.no_directory", hint=hint) from None

    def write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._file.flush()  # whoever interrupts us finds every row that was handed over
        self._size += len(data)

    def finish(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        if os.path.lexists(self.path):
            message = f"{self.path} came into being meanwhile; the rows are in {self.partial}"
            raise CommandError(message, code="output.exists", hint="move either of them away", exit_code=Exit.FAILED)
        self.partial.rename(self.path)
        self._file = None

    def leave(self) -> str | None:
        if self._file is None:
            return None
        self._file.close()
        if self._size:
            return str(self.partial)
        self.partial.unlink(missing_ok=True)
        return None


class Tally:
    """What the rows so far add up to, and a few of them to show.

    Attributes:
        outcomes: How many ended how.
        faults: How many of an outcome and code, the successes left out.
        samples: For each outcome and code, a message.
        retryable: How many may succeed when they are submitted again.
        usage: Their tokens.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[ResultStatus] = Counter()
        self.faults: Counter[tuple[ResultStatus, str]] = Counter()
        self.samples: dict[tuple[ResultStatus, str], str] = {}
        self.retryable = 0
        self.usage = UsageInfo()

    @property
    def total(self) -> int:
        return self.outcomes.total()

    def add(self, row: ProviderResultRow) -> None:
        self.outcomes[row.status] += 1
        if row.usage is not None:
            self.usage += row.usage
        if row.error is not None:
            key = row.status, row.error.code
            self.faults[key] += 1
            self.retryable += row.error.retryable
            self.samples.setdefault(key, row.error.message)

    def as_dict(self) -> dict[str, Any]:
        return {
            "outcomes": {status.value: count for status, count in sorted(self.outcomes.items())},
            "usage": msgspec.to_builtins(self.usage),
        }


def write_rows(rows: Iterable[ProviderResultRow], sink: Sink, tally: Tally) -> None:
    """Write a slice of rows, and count them when they are written. Blocks."""
    written = list(rows)
    sink.write(b"".join(map(encode_row, written)))
    for row in written:
        tally.add(row)
