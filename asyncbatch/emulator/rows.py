"""The rows of a batch: what a dialect has to say about one of them, and validating them all.

Of each row only its offset and its *fate*, one byte, are kept: how it will end, so that counts are known before answers
are written. Everything here runs in threads, in little memory.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.markers import Marker, find_markers
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.store import Examined, Problem

BREATH_ROWS = 256  # how often the work looks whether it is still wanted
BUFFER_BYTES = 1024 * 1024

Reason: TypeAlias = Literal["expired", "cancelled"]
"""Why a row was not run."""

_JSON = msgspec.json.Decoder()


class Fate(IntEnum):
    """How a row ends, as one byte."""

    ANSWER = 0
    ERROR = 1
    EXPIRE = 2
    MISSING = 3
    STALL = 4


_MARKED = {"error": Fate.ERROR, "expire": Fate.EXPIRE, "missing": Fate.MISSING, "stall": Fate.STALL}
FAILED_FATES = (Fate.ERROR, Fate.EXPIRE, Fate.STALL)


class InvalidError(Exception):
    """This row makes the whole input unfit to run."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class RowError(Exception):
    """The model would not take this body: the row fails, and the others go on."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


class Row(NamedTuple):
    """One row, decoded.

    Attributes:
        id: The client's name for it; None where it gave none.
        body: What the model gets to see.
        line: The whole row.
    """

    id: str | None
    body: dict[str, Any]
    line: dict[str, Any]


class RowKind(ABC):
    """What one batch's rows look like, and what its answers do. A family makes a new one for each pass over a batch.

    Attributes:
        unique_ids: Whether two rows of one name are refused.
        in_order: Whether results come in the order of the input.
        model: The model that all rows have in common, if `read` has found one. It is kept with the batch.
    """

    unique_ids = True
    in_order = False
    model: str | None = None

    @abstractmethod
    def read(self, line: dict[str, Any]) -> Row:
        """Take a row apart.

        Raises:
            InvalidError: The whole input is unfit to run.
        """

    @abstractmethod
    def check(self, row: Row) -> None:
        """Look at the body as the model would.

        Raises:
            RowError: The model would not take it.
        """

    @abstractmethod
    def ask(self, row: Row) -> Ask:
        """Say what the row asks for; its body has passed the checks."""

    def answer_other(self, ask: Ask) -> Answer:  # noqa: ARG002  as the ask wants
        """Answer an ask of the kind `other`; its body, and what it costs, are the family's own business."""
        return Answer()

    @abstractmethod
    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        """Give the result of a row that was answered, to be written as JSON."""

    @abstractmethod
    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:
        """Give the result of a row that the model refused."""

    @abstractmethod
    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:
        """Give the result of a row that was not run; None where it has none."""

    # What is wrong with an input as a whole, in the service's words

    def bad_json(self) -> InvalidError:
        return InvalidError("invalid_json_line", "This line is not parseable as valid JSON.")

    def duplicate_id(self, name: str) -> InvalidError:
        message = f"The custom_id '{name}' for this request is a duplicate of another request."
        return InvalidError("duplicate_custom_id", message, param="custom_id")

    def too_many_rows(self, most: int) -> InvalidError:
        return InvalidError("too_many_tasks", f"The input file has more than {most} requests.")

    def too_many_bytes(self, size: int, most: int) -> InvalidError:
        message = f"The input file has {size} bytes; {most} are allowed."
        return InvalidError("invalid_request", message, param="file_id")

    def no_rows(self) -> InvalidError:
        return InvalidError("empty_file", "The input file is empty.")


class RowLimits(Struct, frozen=True, kw_only=True):
    rows: int | None = None
    size: int | None = None


def examine_rows(path: Path, kind: RowKind, limits: RowLimits, check_open: Callable[[], None]) -> Examined:
    """Validate an input; the first offender ends it."""
    offsets, fates, seen = array("Q"), bytearray(), set[int]()
    number: int | None = None
    try:
        size = _checked_size(path, kind, limits)
        with path.open("rb", buffering=BUFFER_BYTES) as file:
            for number, offset, line in _numbered(file):
                if number % BREATH_ROWS == 0:
                    check_open()
                offsets.append(offset)
                fates.append(_examine_line(line, kind, seen))
                if limits.rows is not None and len(fates) > limits.rows:
                    raise kind.too_many_rows(limits.rows)
        number = None
        if not fates:
            raise kind.no_rows()
    except InvalidError as error:
        problem = Problem(code=error.code, message=error.message, param=error.param, line=number)
        return Examined(offsets=array("Q"), fates=b"", problem=problem)
    offsets.append(size)
    return Examined(offsets=offsets, fates=bytes(fates), model=kind.model, is_stalled=Fate.STALL in fates)


def _checked_size(path: Path, kind: RowKind, limits: RowLimits) -> int:
    size = path.stat().st_size
    if limits.size is not None and size > limits.size:
        raise kind.too_many_bytes(size, limits.size)
    return size


def _numbered(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Give the lines with number and offset. Only a line feed ends a line; empty ones at the end are no rows."""
    offset, empty_from = 0, 0
    for number, line in enumerate(file, start=1):
        if line.strip():
            if empty_from:
                yield empty_from, offset, b""
            yield number, offset, line
        elif not empty_from:
            empty_from = number
        offset += len(line)


def _examine_line(line: bytes, kind: RowKind, seen: set[int]) -> Fate:
    row = read_row(line, kind)
    if kind.unique_ids and row.id is not None:
        if hash(row.id) in seen:
            raise kind.duplicate_id(row.id)
        seen.add(hash(row.id))
    for marker in find_markers(line):
        if marker.name in _MARKED:
            return _MARKED[marker.name]
    return Fate.ANSWER if _find_error(row, kind) is None else Fate.ERROR


def read_row(line: bytes, kind: RowKind) -> Row:
    try:
        decoded = _JSON.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise kind.bad_json() from error
    if not is_object(decoded):
        raise kind.bad_json()
    return kind.read(decoded)


def _find_error(row: Row, kind: RowKind) -> RowError | None:
    try:
        kind.check(row)
    except RowError as error:
        return error
    return None


def row_error(row: Row, kind: RowKind, markers: tuple[Marker, ...]) -> RowError:
    """Give the error that a marker asks for, or the one that the checks find."""
    marker = next((marker for marker in markers if marker.name == "error"), None)
    if marker is not None:
        status = marker.number or 400
        code = {400: "invalid_value", 429: "rate_limit_exceeded", 500: "server_error"}.get(status)
        return RowError(f"The prompt asked for status {status}.", code=code, status=status)
    error = _find_error(row, kind)
    assert error is not None, "a row whose fate is an error has one"
    return error
