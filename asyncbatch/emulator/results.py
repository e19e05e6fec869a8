"""Writing the results of a batch: every row's end, as its fate, its markers and the clock have it. Runs in threads."""

import random
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator import echo
from asyncbatch.emulator.asking import Asks
from asyncbatch.emulator.markers import find_markers
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import (
    BREATH_ROWS,
    BUFFER_BYTES,
    Fate,
    Reason,
    Row,
    RowError,
    RowKind,
    read_row,
    row_error,
)
from asyncbatch.emulator.store import Examined

VARIANT = " (another answer)"

_PREFIX = re.compile(r".*[_/]")  # of an id, as in `batch_1` or `batches/1`
_ENCODER = msgspec.json.Encoder()
_NOTHING = Answer()


class Sheet(Struct, frozen=True, kw_only=True):
    """What the writer knows of a batch.

    Attributes:
        rows_done: How many rows were run, from the first on.
        at: When the batch ends, in seconds since the epoch.
        reason: Why the others were not run.
        read_answer: Gives what somebody else answered to a row, if they did; None where the echo model answers.
    """

    batch_id: str
    source: Path
    examined: Examined
    rows_done: int
    at: float
    seed: int
    reason: Reason
    check_open: Callable[[], None]
    read_answer: Callable[[int], Answer | None] | None = None


class Totals(Struct, kw_only=True):
    """What the rows cost together, and how each of them really ended."""

    fates: bytearray
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, answer: Answer) -> None:
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        self.cached_tokens += answer.cached_tokens
        self.reasoning_tokens += answer.reasoning_tokens


class End(NamedTuple):
    """How one row ended: what stands among the good results, what among the bad, what it cost, and what its fate was."""

    good: bytes = b""
    bad: bytes = b""
    answer: Answer = _NOTHING
    fate: Fate | None = None


def write_rows(sheet: Sheet, kind: RowKind, good: BinaryIO, bad: BinaryIO) -> Totals:
    """Write both kinds of results, which may be one file, in an order that is the input's or has nothing to do with it."""
    order = list(range(sheet.examined.rows))
    if not kind.in_order:
        random.Random(f"{sheet.seed}/{sheet.batch_id}").shuffle(order)
    totals = Totals(fates=bytearray(sheet.examined.fates))
    with sheet.source.open("rb") as source:
        for count, index in enumerate(order):
            if count % BREATH_ROWS == 0:
                sheet.check_open()
            end = _conclude(sheet, kind, index, read_line(source, sheet.examined.offsets, index))
            good.write(end.good)
            bad.write(end.bad)
            totals.add(end.answer)
            totals.fates[index] = totals.fates[index] if end.fate is None else end.fate
    return totals


def write_files(sheet: Sheet, kind: RowKind, good: Path, bad: Path | None) -> Totals:
    """Write results to one file, or to two."""
    with good.open("wb", buffering=BUFFER_BYTES) as good_file:
        if bad is None:
            return write_rows(sheet, kind, good_file, good_file)
        with bad.open("wb", buffering=BUFFER_BYTES) as bad_file:
            return write_rows(sheet, kind, good_file, bad_file)


def read_line(source: BinaryIO, offsets: "array[int]", index: int) -> bytes:
    source.seek(offsets[index])
    return source.read(offsets[index + 1] - offsets[index])


def make_mark(batch_id: str, index: int) -> str:
    """Give letters and digits that are this row's alone."""
    return f"{_PREFIX.sub('', batch_id).replace('-', '')}{index:06d}"


def _conclude(sheet: Sheet, kind: RowKind, index: int, line: bytes) -> End:
    row, mark = read_row(line, kind), make_mark(sheet.batch_id, index)
    fate = Fate(sheet.examined.fates[index])
    if index >= sheet.rows_done or fate is Fate.STALL:
        return _unfinished(kind, row, mark, sheet.reason)
    if fate is Fate.MISSING:
        return End()
    if fate is Fate.EXPIRE:
        return _unfinished(kind, row, mark, "expired")
    markers = find_markers(line)
    if fate is Fate.ERROR:
        return End(bad=_line(kind.encode_error(row, mark, row_error(row, kind, markers))))
    ask = replace(kind.ask(row), markers=markers, mark=mark, at=sheet.at)
    answer = _find_answer(sheet, kind, index, ask)
    if answer is None:  # nobody waited for it
        return _unfinished(kind, row, mark, sheet.reason)._replace(fate=Fate.STALL)
    return _answered(kind, row, ask, answer)


def _unfinished(kind: RowKind, row: Row, mark: str, reason: Reason) -> End:
    return End(bad=_line(kind.encode_unfinished(row, mark, reason)))


def _find_answer(sheet: Sheet, kind: RowKind, index: int, ask: Ask) -> Answer | None:
    if sheet.read_answer is None or ask.kind == "other":
        return _answer(kind, ask)
    return sheet.read_answer(index)


def read_asks(sheet: Sheet, kind: RowKind) -> Asks:
    """Give what each of the first rows asks of somebody else, in the order of the input."""
    with sheet.source.open("rb") as source:
        for index in range(sheet.rows_done):
            if index % BREATH_ROWS == 0:
                sheet.check_open()
            ask = None
            if sheet.examined.fates[index] == Fate.ANSWER:
                line = read_line(source, sheet.examined.offsets, index)
                mark = make_mark(sheet.batch_id, index)
                ask = replace(kind.ask(read_row(line, kind)), markers=find_markers(line), mark=mark, at=sheet.at)
            yield index, None if ask is None or ask.kind == "other" else ask


def _line(document: Any) -> bytes:
    return b"" if document is None else _ENCODER.encode(document) + b"\n"


def _answer(kind: RowKind, ask: Ask) -> Answer:
    return kind.answer_other(ask) if ask.kind == "other" else echo.answer(ask)


def _answered(kind: RowKind, row: Row, ask: Ask, answer: Answer) -> End:
    if answer.error is not None:
        failure = answer.error
        error = RowError(failure.message, param=failure.param, code=failure.code, status=failure.status)
        return End(bad=_line(kind.encode_error(row, ask.mark, error)), fate=Fate.ERROR)
    line = _line(kind.encode_answer(row, ask, answer))
    for marker in ask.markers:
        if marker.name == "duplicate":
            line += line
        elif marker.name == "conflict":
            other = replace(ask, variant=VARIANT)
            line += _line(kind.encode_answer(row, other, _answer(kind, other)))  # the echo model's, whoever answered
        elif marker.name == "stranger":
            line += _line(kind.encode_answer(row._replace(id=f"stranger-{ask.mark}"), ask, answer))
        elif marker.name == "garbage":
            line = line[: len(line) // 2] + b"\xff\xfe\n"
    return End(good=line, answer=answer)
