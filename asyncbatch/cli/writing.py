"""Outcomes to JSONL: encoded in slices, in a thread, and counted when they are written."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from asyncbatch.cli.sinks import Sink
from asyncbatch.dto import ProviderResultRow, RowError, ToolCall, UsageInfo
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
    text: str | None
    tool_calls: tuple[ToolCall, ...]
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
        text=row.text,
        tool_calls=row.tool_calls,
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


class Tally:
    """What the rows so far add up to, and a few of them to show.

    Attributes:
        outcomes: How many ended how.
        faults: How many of an outcome and code, the successes left out.
        samples: For each outcome and code, a message.
        retryable: How many of an outcome may succeed when they are submitted again.
        usage: Their tokens.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[ResultStatus] = Counter()
        self.faults: Counter[tuple[ResultStatus, str]] = Counter()
        self.samples: dict[tuple[ResultStatus, str], str] = {}
        self.retryable: Counter[ResultStatus] = Counter()
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
            self.retryable[row.status] += row.error.retryable
            self.samples.setdefault(key, row.error.message)

    def counts(self) -> dict[str, int]:
        return {status.value: count for status, count in sorted(self.outcomes.items())}

    def as_dict(self) -> dict[str, Any]:
        return {"outcomes": self.counts(), "usage": msgspec.to_builtins(self.usage)}


def write_rows(rows: Iterable[ProviderResultRow], sink: Sink, tally: Tally) -> None:
    """Write a slice of rows, and count them when they are written. Blocks."""
    written = list(rows)
    sink.write(b"".join(map(encode_row, written)))
    for row in written:
        tally.add(row)
