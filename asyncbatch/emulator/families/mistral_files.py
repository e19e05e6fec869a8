"""Mistral's files: what `POST /v1/files` takes, and what is known of a file beside its bytes.

Source: the fact sheet of Mistral's batch jobs, "Input".
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.mistral_errors import UnprocessableError, message_of
from asyncbatch.emulator.families.mistral_fields import FieldError, Loc, whole, word
from asyncbatch.emulator.families.mistral_rows import UPLOADED, Rows
from asyncbatch.emulator.rows import RowLimits, examine_rows
from asyncbatch.emulator.store import Problem, StoredFile
from asyncbatch.emulator.uploads import Multipart

HOUR_S = 3600
MOST_MESSAGES = 100  # of the different ones that a job tells about its failed rows
ERROR_ENDING = "_error.jsonl"  # of the name that the emulator gives to a file of failed rows
_OF_THE_WHOLE = ("too_long", "too_short")  # kinds that name no row
_VISIBILITIES = ("workspace", "user")

_ANY = msgspec.json.Decoder()


@dataclass(kw_only=True, eq=False)
class MistralFile(StoredFile):
    """A file, with what this service tells about it.

    Attributes:
        lines: How many it has; None where nobody counted.
        messages: Of a file of failed rows: what they say, and how often.
    """

    sample_type: str
    visibility: str = "workspace"
    lines: int | None = None
    messages: tuple[tuple[str, int], ...] = ()


class Upload(Struct, frozen=True, kw_only=True):
    """What was said about a file that arrives."""

    purpose: str
    visibility: str
    lifetime_s: int | None


def read_upload(body: Multipart, purposes: Sequence[str]) -> Upload:
    """Read the fields that came with a file.

    Raises:
        FieldError: One of them is not as it should be.
        RefusalError: It is no file of requests, by its name.
    """
    purpose = _field(body.fields, "purpose", purposes, purposes[0])
    visibility = _field(body.fields, "visibility", _VISIBILITIES, _VISIBILITIES[0])
    if purpose == "batch" and not body.filename.endswith(".jsonl"):
        raise RefusalError(422, "Invalid file format.")
    return Upload(purpose=purpose, visibility=visibility, lifetime_s=_read_expiry(body.fields.get("expiry")))


def _field(fields: Mapping[str, str], name: str, allowed: Sequence[str], default: str) -> str:
    value = fields.get(name, default)
    word(*allowed)(value, ("body", name))
    return value


def _read_expiry(hours: str | None) -> int | None:
    if hours is None or hours == "":
        return None
    loc = ("body", "expiry")
    found = read_whole(hours, loc)
    whole(least=1)(found, loc)
    return found * HOUR_S


def read_whole(value: str, loc: Loc) -> int:
    """Read a whole number of a form or a query."""
    try:
        return int(value)
    except ValueError as error:
        raise FieldError("int_parsing", loc, "Expected a whole number.", value) from error


def count_requests(path: Path) -> int:
    """Look at every line of a file of requests, and count them. Runs in a thread.

    Raises:
        UnprocessableError: A line is no request.
        RefusalError: A reset took the file away.
    """
    try:
        examined = examine_rows(path, Rows(UPLOADED), RowLimits(), lambda: None)
    except FileNotFoundError as error:
        raise RefusalError(503, "The service is being reset.") from error
    if examined.problem is not None:
        raise UnprocessableError(field_of(examined.problem, ("body", "file")))
    return examined.rows


def field_of(problem: Problem, loc: Loc) -> FieldError:
    """Say which field of which row is wrong; rows are counted from 0."""
    where = () if problem.line is None or problem.code in _OF_THE_WHOLE else (problem.line - 1,)
    inner = problem.param.split(".") if problem.param else []
    return FieldError(problem.code, (*loc, *where, *inner), problem.message)


def join_files(files: Sequence[MistralFile], target: Path) -> MistralFile:
    """Make one file of several, for a job that has them all as its input. Runs in a thread."""
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as joined:
        for line in (line for file in files for line in _lines(file.path) if line.strip()):
            data = line if line.endswith(b"\n") else line + b"\n"
            digest.update(data)
            size += joined.write(data)
    lines = sum(file.lines or 0 for file in files)
    return replace(files[0], id="", path=target, size=size, sha256=digest.hexdigest(), lines=lines)


def as_results(results: StoredFile, file_id: str) -> MistralFile:
    """Make a file of results one of this service. Runs in a thread."""
    is_bad = results.filename.endswith(ERROR_ENDING)
    messages = _count_messages(results.path) if is_bad else ()
    return MistralFile(
        id=file_id,
        account=results.account,
        purpose="batch",
        filename=results.filename,
        path=results.path,
        size=results.size,
        sha256="",
        created_at=results.created_at,
        expires_at=None,
        sample_type="batch_error" if is_bad else "batch_result",
        lines=sum(1 for _ in _lines(results.path)),
        messages=messages,
    )


def _count_messages(path: Path) -> tuple[tuple[str, int], ...]:
    found = Counter(message_of(line) for line in _lines(path))
    return tuple(found.most_common(MOST_MESSAGES))


def read_outputs(files: Sequence[StoredFile]) -> list[Any]:
    """Give the results of several files as JSON; lines that cannot be read are left out. Runs in a thread."""
    return [item for file in files for line in _lines(file.path) for item in _decoded(line)]


def _decoded(line: bytes) -> list[Any]:
    try:
        return [_ANY.decode(line)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
