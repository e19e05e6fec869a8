"""The shapes of OpenAI's files-and-batches protocol, and the pure functions between them and ours.

Tolerant on the way in: an empty id means none, counts may be absent, codes may be numbers. Source: openai/openai-openapi:
openapi.yaml (Batch, OpenAIFile, BatchRequestOutput), and the behaviour noted in `docs/providers/openai.md`.
"""

from functools import cache
from typing import Any

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.lines import salvage_id
from asyncbatch.codec.options import plan_output_expiry, wire_options
from asyncbatch.codec.rpc import decode_count
from asyncbatch.dto import (
    BatchErrorItem,
    FilePage,
    Match,
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    RemoteFile,
    RowError,
    StatusPage,
    UsageInfo,
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.wire_provider import UNREADABLE, HttpStatus, without_empty

TAG_KEY = "asyncbatch_tag"
_PURPOSES = ("batch", "batch_output", None)
"""Of the files that batches read and write; members of the family may have no word for it."""
_NULL = msgspec.Raw(b"null")


class _Fault(msgspec.Struct, frozen=True):
    """Of any types: members of the family write codes as numbers, and a reason that cannot be read must not hide an end."""

    code: Any = None
    message: Any = None
    line: Any = None
    param: Any = None


class _Faults(msgspec.Struct, frozen=True):
    data: list[_Fault] | None = None


class _Counts(msgspec.Struct, frozen=True):
    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class _Batch(msgspec.Struct, frozen=True):
    id: str
    status: str
    object: str | None = None
    endpoint: str | None = None
    errors: _Faults | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float | None = None
    expires_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelled_at: float | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None


class _Page(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    has_more: bool | None = None
    last_id: str | None = None


class File(msgspec.Struct, frozen=True):
    id: str
    bytes: int | None = None
    filename: str | None = None
    purpose: str | None = None
    created_at: float | None = None
    expires_at: float | None = None


class _Files(msgspec.Struct, frozen=True):
    data: list[File]
    has_more: bool | None = None
    last_id: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    status_code: HttpStatus = 0
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, frozen=True):
    custom_id: str
    id: str | None = None
    response: _Answer | None = None
    error: _Fault | str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: _Fault | str | None = None


# Lenient where a provider of the family writes a number as a text.
_BATCH = msgspec.json.Decoder(_Batch, strict=False)
_PAGE = msgspec.json.Decoder(_Page)
_FILE = msgspec.json.Decoder(File, strict=False)
_FILES = msgspec.json.Decoder(_Files, strict=False)
_LINE = msgspec.json.Decoder(_Line)
_REFUSAL = msgspec.json.Decoder(_Refusal, strict=False)


def decode_status(body: bytes | msgspec.Raw, facts: ProviderFacts) -> ProviderStatus:
    """Read a batch object. Raises `msgspec.DecodeError` where it is none."""
    batch = _BATCH.decode(body)
    status = facts.normalize_status(batch.status)
    counts = batch.request_counts or _Counts()
    errors = tuple(_error_item(fault) for fault in (batch.errors.data or [] if batch.errors else []))
    ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    return ProviderStatus(
        provider_batch_id=batch.id,
        status=status,
        raw_status=batch.status,
        progress=Progress(total=counts.total or 0, completed=counts.completed or 0, failed=counts.failed or 0),
        error_message=errors[0].message if errors else None,
        errors=errors,
        created_at=batch.created_at,
        completed_at=ended,
        expires_at=batch.expires_at,
        results_expire_at=ended + facts.retention.output_s if ended and facts.retention.output_s else None,
        # An empty id means the same as none.
        result_uris=without_empty((batch.output_file_id, batch.error_file_id)),
        usage=_batch_usage(bytes(body)) if status.is_terminal else None,
        endpoint=batch.endpoint,
        input_ref=batch.input_file_id or None,
        metadata=batch.metadata or {},
    )


def decode_file(body: bytes) -> File:
    """Read a file object. Raises one of `UNREADABLE` where it is none."""
    return _FILE.decode(body)


def decode_files(body: bytes) -> FilePage:
    """Read a page of the list of files, without those that are for other things."""
    page = _FILES.decode(body)
    files = [_remote(file) for file in page.data if file.purpose in _PURPOSES]
    last = page.last_id or (page.data[-1].id if page.data else None)
    return FilePage(files=tuple(files), cursor=last if page.has_more else None)


def _remote(file: File) -> RemoteFile:
    return RemoteFile(
        ref=file.id,
        name=file.filename or "",
        size=file.bytes,
        created_at=file.created_at,
        expires_at=file.expires_at,
    )


def places_of(status: ProviderStatus) -> tuple[str, ...]:
    """Name every file of a batch: what it was made of, and what came of it."""
    return without_empty((status.input_ref, *status.result_uris))


def _error_item(fault: _Fault) -> BatchErrorItem:
    line = decode_count(fault.line)
    return BatchErrorItem(
        code=_word(fault.code), message=_word(fault.message), line=line, param=_word(fault.param) or None
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _batch_usage(body: bytes) -> UsageInfo | None:
    usage = answers.usage("openai.responses", body)
    return usage if usage and usage.total_tokens else None  # zeros: nothing is known


def is_created(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer to a create is a batch with an id, and made of our input where it says of which."""
    try:
        batch = _BATCH.decode(body)
    except UNREADABLE:
        return False
    return bool(batch.id) and batch.object in (None, "batch") and batch.input_file_id in (None, submission.input_ref)


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list."""
    page = _PAGE.decode(body)
    statuses = tuple(decode_status(item, facts) for item in page.data)
    last = page.last_id or (statuses[-1].provider_batch_id if statuses else None)
    return StatusPage(statuses=statuses, cursor=last if page.has_more else None)


def decode_line(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a line of an output or error file; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _LINE.decode(line)
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return _undecodable(line, str(error))
    if item.response is not None and item.response.status_code:
        return _answered(item, item.response, format, facts)
    if item.error is not None:
        return _never_ran(item.custom_id, _fault(item.error), facts)
    return _undecodable(line, "it holds neither a response nor an error")


def _undecodable(line: bytes, why: str) -> ProviderResultRow:
    error = RowError(code="undecodable", message=f"the answer cannot be read: {why}")
    return ProviderResultRow(
        request_id=salvage_id(line, "custom_id"), status=ResultStatus.UNDECODABLE, body=msgspec.Raw(line), error=error
    )


def _answered(item: _Line, answer: _Answer, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002
    body = answer.body  # a part of its line, which is little more than this, and is kept by it
    metadata = {"provider_request_id": answer.request_id} if answer.request_id else {}
    if 200 <= answer.status_code < 300 and body and body != _NULL:
        usage = answers.usage(format, body)
        return ProviderResultRow(
            request_id=item.custom_id,
            status=ResultStatus.SUCCEEDED,
            body=body,
            format=format,
            usage=usage,
            metadata=metadata,
        )
    fault = _refusal(bytes(body))
    code = _word(fault.code)
    is_retryable = facts.classify(answer.status_code, code or None) is not ErrorClass.PERMANENT
    error = RowError(
        code=code or f"http_{answer.status_code}",
        message=_word(fault.message),
        retryable=is_retryable,
        status=answer.status_code,
    )
    return ProviderResultRow(
        request_id=item.custom_id, status=ResultStatus.ERRORED, body=body, format=format, error=error, metadata=metadata
    )


def _refusal(body: bytes) -> _Fault:
    try:
        return _fault(_REFUSAL.decode(body).error)
    except UNREADABLE:
        return _Fault(message=body[:200].decode("utf-8", "replace"))


def _fault(error: _Fault | str | None) -> _Fault:
    return _Fault(message=error) if isinstance(error, str) else error or _Fault()


_ENDS = {"batch_expired": ResultStatus.EXPIRED, "batch_cancelled": ResultStatus.CANCELLED}


def _never_ran(request_id: str, fault: _Fault, facts: ProviderFacts) -> ProviderResultRow:
    code = _word(fault.code)
    retryable = facts.classify_batch_error(code) is not ErrorClass.PERMANENT
    error = RowError(code=code, message=_word(fault.message), retryable=retryable)
    return ProviderResultRow(request_id=request_id, status=_ENDS.get(code, ResultStatus.ERRORED), error=error)


def encode_line(wire_id: bytes, body: bytes, endpoint: str) -> bytes:
    """Give a line of an input file."""
    return b"".join((b'{"custom_id":', wire_id, _between(endpoint), body, b"}\n"))


@cache
def _between(endpoint: str) -> bytes:
    return b',"method":"POST","url":%b,"body":' % msgspec.json.encode(endpoint)


def encode_upload(expires_s: int | None) -> dict[str, str]:
    """Give the fields that stand beside the file."""
    if expires_s is None:
        return {"purpose": "batch"}
    return {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_s)}


def encode_create(submission: PreparedSubmission, facts: ProviderFacts) -> bytes:
    """Give the body of a create: input, endpoint, window, and our tag among the caller's metadata."""
    options = wire_options(submission.options)
    metadata = dict(options.pop("metadata", None) or {})
    if submission.tag:
        metadata[TAG_KEY] = submission.tag
    expires_s = plan_output_expiry(facts, submission.options)
    body = {
        "input_file_id": submission.input_ref,
        "endpoint": submission.endpoint,
        "completion_window": f"{facts.window_s // 3600}h",
        **({"metadata": metadata} if metadata else {}),
        **({"output_expires_after": {"anchor": "created_at", "seconds": expires_s}} if expires_s else {}),
        **options,
    }
    return msgspec.json.encode(body)


def match_of(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    if submission.tag and status.metadata.get(TAG_KEY) == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="tag", is_certain=True, status=status)
    if submission.input_ref and status.input_ref == submission.input_ref:
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


def is_early(status: ProviderStatus) -> bool:
    """Whether a completed batch names no file at all, or fewer than its counts speak of: one for answers, one for errors.

    Counts are for display; they may be absent or behind, and do not say that a completed batch has no answers.
    """
    counted = status.progress
    expected = max(1, (counted.completed > 0) + (counted.failed > 0))
    return status.status is BatchStatus.COMPLETED and len(status.result_uris) < expected
