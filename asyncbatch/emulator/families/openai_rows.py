"""The lines of OpenAI's batch files: validating what goes in, writing what comes out, in threads and little memory.

Of each row only its offset and its *fate*, one byte, are kept: how it will end, so that counts are known before answers
are written. Source: https://platform.openai.com/docs/guides/batch, and the codes that `batch.errors` was seen to carry.
"""

import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Struct

from asyncbatch.emulator.echo import Marker, find_markers
from asyncbatch.emulator.families.openai_answers import ANSWERS, Ask, Reply
from asyncbatch.emulator.families.openai_checks import Endpoint, RowError, check_body, texts_in
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.store import Examined, Problem

BREATH_ROWS = 256  # how often the work looks whether it is still wanted
BUFFER_BYTES = 1024 * 1024

_JSON = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


class Fate(IntEnum):
    """How a row ends, as one byte."""

    ANSWER = 0
    ERROR = 1
    EXPIRE = 2
    MISSING = 3
    STALL = 4


_MARKED = {"error": Fate.ERROR, "expire": Fate.EXPIRE, "missing": Fate.MISSING, "stall": Fate.STALL}
FAILED_FATES = (Fate.ERROR, Fate.EXPIRE, Fate.STALL)


class Rules(Struct, frozen=True, kw_only=True):
    """What a batch's input has to satisfy."""

    url: str
    endpoint: Endpoint
    rows: int
    file_bytes: int
    embedding_inputs: int
    allows_model: Callable[[str], bool]
    check_open: Callable[[], None]


class _InvalidError(Exception):
    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class _Seen:
    """What the rows so far have in common."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.model: str | None = None
        self.inputs = 0


def examine_lines(path: Path, rules: Rules) -> Examined:
    """Validate an input file; the first offender ends it."""
    offsets, fates, seen = array("Q"), bytearray(), _Seen()
    size = path.stat().st_size
    if size > rules.file_bytes:
        message = f"The input file has {size} bytes; {rules.file_bytes} are allowed."
        return _refused(Problem(code="invalid_request", message=message, param="file_id"))
    number = 0
    with path.open("rb", buffering=BUFFER_BYTES) as file:
        try:
            for number, offset, line in _numbered(file):
                if number % BREATH_ROWS == 0:
                    rules.check_open()
                offsets.append(offset)
                fates.append(_examine_line(line, rules, seen))
                _check_totals(len(fates), seen.inputs, rules)
        except _InvalidError as error:
            return _refused(Problem(code=error.code, message=error.message, param=error.param, line=number))
    if not fates:
        return _refused(Problem(code="empty_file", message="The input file is empty."))
    offsets.append(size)
    return Examined(offsets=offsets, fates=bytes(fates), model=seen.model, is_stalled=Fate.STALL in fates)


def _refused(problem: Problem) -> Examined:
    return Examined(offsets=array("Q"), fates=b"", problem=problem)


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


def _examine_line(line: bytes, rules: Rules, seen: _Seen) -> Fate:
    row = _decode_row(line)
    custom_id = row.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise _InvalidError("missing_required_parameter", "Missing required parameter: 'custom_id'.", param="custom_id")
    if hash(custom_id) in seen.ids:
        message = f"The custom_id '{custom_id}' for this request is a duplicate of another request."
        raise _InvalidError("duplicate_custom_id", message, param="custom_id")
    seen.ids.add(hash(custom_id))
    if row.get("method") != "POST":
        raise _InvalidError(
            "invalid_request", f"Invalid method: {row.get('method')!r}, expected 'POST'.", param="method"
        )
    if row.get("url") != rules.url:
        message = f"The URL provided for this request does not match the batch endpoint '{rules.url}'."
        raise _InvalidError("invalid_url", message, param="url")
    body = row.get("body")
    if not is_object(body):
        raise _InvalidError("missing_required_parameter", "Missing required parameter: 'body'.", param="body")
    _check_model(body.get("model"), rules, seen)
    if body.get("stream"):
        raise _InvalidError("streaming_unsupported", "Streaming is not supported in a batch.", param="body.stream")
    if rules.endpoint.answer == "embedding":
        seen.inputs += len(texts_in(body.get("input")))
    return _foretell(body, find_markers(line), rules.endpoint)


def _decode_row(line: bytes) -> dict[str, Any]:
    message = "This line is not parseable as valid JSON."
    try:
        row = _JSON.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _InvalidError("invalid_json_line", message) from error
    if not is_object(row):
        raise _InvalidError("invalid_json_line", message)
    return row


def _check_model(model: Any, rules: Rules, seen: _Seen) -> None:
    if not isinstance(model, str) or not model:
        raise _InvalidError(
            "missing_required_parameter", "Missing required parameter: 'body.model'.", param="body.model"
        )
    if seen.model is None and not rules.allows_model(model):
        message = f"The provided model '{model}' does not exist, or not for this endpoint."
        raise _InvalidError("model_not_found", message, param="body.model")
    if seen.model is not None and model != seen.model:
        message = f"All requests of a batch must have the same model: '{seen.model}', not '{model}'."
        raise _InvalidError("mismatched_model", message, param="body.model")
    seen.model = model


def _check_totals(rows: int, inputs: int, rules: Rules) -> None:
    if rows > rules.rows:
        raise _InvalidError("too_many_tasks", f"The input file has more than {rules.rows} requests.")
    if inputs > rules.embedding_inputs:
        raise _InvalidError(
            "too_many_tasks", f"The input file has more than {rules.embedding_inputs} embedding inputs."
        )


def _foretell(body: dict[str, Any], markers: Sequence[Marker], endpoint: Endpoint) -> Fate:
    for marker in markers:
        if marker.name in _MARKED:
            return _MARKED[marker.name]
    try:
        check_body(endpoint, body)
    except RowError:
        return Fate.ERROR
    return Fate.ANSWER


class Sheet(Struct, frozen=True, kw_only=True):
    """What the writer knows of a batch.

    Attributes:
        unfinished_code: Why rows were not run; `unfinished_message` in words.
    """

    batch_id: str
    source: Path
    examined: Examined
    endpoint: Endpoint
    rows_done: int
    created: int
    seed: int
    dimensions: int
    unfinished_code: str
    unfinished_message: str
    check_open: Callable[[], None]


class Totals(NamedTuple):
    input_tokens: int
    output_tokens: int


def write_lines(sheet: Sheet, output: Path, errors: Path) -> Totals:
    """Write both result files, in an order that has nothing to do with the input's."""
    order = list(range(sheet.examined.rows))
    random.Random(f"{sheet.seed}/{sheet.batch_id}").shuffle(order)
    used = made = 0
    with (
        sheet.source.open("rb", buffering=0) as source,
        output.open("wb", buffering=BUFFER_BYTES) as good,
        errors.open("wb", buffering=BUFFER_BYTES) as bad,
    ):
        for count, index in enumerate(order):
            if count % BREATH_ROWS == 0:
                sheet.check_open()
            line = _read_line(source, sheet.examined.offsets, index)
            result = _conclude(sheet, index, line)
            good.write(result.good)
            bad.write(result.bad)
            used += result.reply.input_tokens
            made += result.reply.output_tokens
    return Totals(used, made)


def _read_line(source: Any, offsets: "array[int]", index: int) -> bytes:
    source.seek(offsets[index])
    line: bytes = source.read(offsets[index + 1] - offsets[index])
    return line


class _Result(NamedTuple):
    good: bytes = b""
    bad: bytes = b""
    reply: Reply = Reply(body={})


def _conclude(sheet: Sheet, index: int, line: bytes) -> _Result:
    row = _JSON.decode(line)
    fate = Fate(sheet.examined.fates[index])
    mark = f"{sheet.batch_id.removeprefix('batch_')}{index:06d}"
    if index >= sheet.rows_done or fate is Fate.STALL:
        return _Result(bad=_unfinished(row, mark, sheet.unfinished_code, sheet.unfinished_message))
    if fate is Fate.MISSING:
        return _Result()
    if fate is Fate.EXPIRE:
        message = "This request could not be executed before the completion window expired."
        return _Result(bad=_unfinished(row, mark, "batch_expired", message))
    markers = find_markers(line)
    if fate is Fate.ERROR:
        return _Result(bad=_refusal(row, mark, _row_error(row["body"], markers, sheet.endpoint)))
    ask = Ask(body=row["body"], mark=mark, created=sheet.created, markers=markers, dimensions=sheet.dimensions)
    return _answered(row, ask, ANSWERS[sheet.endpoint.answer])


def _answered(row: dict[str, Any], ask: Ask, answer: Callable[[Ask], Reply]) -> _Result:
    reply = answer(ask)
    line = _answer_line(row["custom_id"], ask.mark, reply)
    for marker in ask.markers:
        if marker.name == "duplicate":
            line += line
        elif marker.name == "conflict":
            other = answer(msgspec.structs.replace(ask, variant=" (another answer)"))
            line += _answer_line(row["custom_id"], ask.mark, other)
        elif marker.name == "stranger":
            line += _answer_line(f"stranger-{ask.mark}", ask.mark, reply)
        elif marker.name == "garbage":
            line = line[: len(line) // 2] + b"\xff\xfe\n"
    return _Result(good=line, reply=reply)


def _answer_line(custom_id: str, mark: str, reply: Reply) -> bytes:
    return _line(custom_id, mark, {"status_code": 200, "request_id": f"req_{mark}", "body": reply.body}, None)


def _line(custom_id: str, mark: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
    line = {"id": f"batch_req_{mark}", "custom_id": custom_id, "response": response, "error": error}
    return _ENCODER.encode(line) + b"\n"


def _unfinished(row: dict[str, Any], mark: str, code: str, message: str) -> bytes:
    return _line(row["custom_id"], mark, None, {"code": code, "message": message})


def _refusal(row: dict[str, Any], mark: str, error: RowError) -> bytes:
    kind = {429: "requests", 401: "authentication_error"}.get(error.status)
    kind = kind or ("server_error" if error.status >= 500 else "invalid_request_error")
    body = {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
    response = {"status_code": error.status, "request_id": f"req_{mark}", "body": body}
    return _line(row["custom_id"], mark, response, None)


def _row_error(body: dict[str, Any], markers: Sequence[Marker], endpoint: Endpoint) -> RowError:
    """Give the error that a marker asks for, or the one that the checks find."""
    marker = next((marker for marker in markers if marker.name == "error"), None)
    if marker is not None:
        status = int(marker.value) if marker.value.isdigit() else 400
        code = {400: "invalid_value", 429: "rate_limit_exceeded", 500: "server_error"}.get(status)
        return RowError(f"The prompt asked for status {status}.", code=code, status=status)
    try:
        check_body(endpoint, body)
    except RowError as error:
        return error
    raise AssertionError("a row whose fate is an error has an error")
