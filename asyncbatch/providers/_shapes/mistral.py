"""The shapes of Mistral's batch jobs, and the pure functions between them and ours.

Tolerant on the way in: lists, counts and files may be null, the error of a row may be JSON inside of a text. Source:
mistralai/platform-docs-public:openapi.yaml (BatchJob, CreateBatchJobRequest), and the behaviour noted in
`docs/providers/mistral.md`.
"""

from typing import Any, cast

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.errors import decode_error
from asyncbatch.codec.lines import undecodable
from asyncbatch.codec.options import wire_options
from asyncbatch.codec.times import decode_time
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
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.wire_provider import UNREADABLE, HttpStatus, without_empty

TAG_KEY = "asyncbatch_tag"
OUTPUTS = "outputs"
"""The place of answers that the job holds itself, among the files that it may name instead."""

_REFUSED = 400
_ENDS = {"batch_expired": ResultStatus.EXPIRED, "batch_cancelled": ResultStatus.CANCELLED}
_NULL = msgspec.Raw(b"null")


class Job(msgspec.Struct, frozen=True):
    id: str
    status: str
    object: str | None = None
    endpoint: str | None = None
    input_files: list[str] | None = None
    output_file: str | None = None
    error_file: str | None = None
    errors: Any = None
    """Of any shape: a reason that cannot be read must not hide an end."""
    metadata: dict[str, Any] | None = None
    created_at: float | None = None
    completed_at: float | None = None
    total_requests: int | None = None
    succeeded_requests: int | None = None
    failed_requests: int | None = None


class _Page(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw] | None = None
    total: int | None = None


class File(msgspec.Struct, frozen=True):
    id: str
    bytes: int | None = None
    filename: str | None = None
    purpose: str | None = None
    created_at: float | None = None
    expires_at: float | None = None


class _Files(msgspec.Struct, frozen=True):
    data: list[File] | None = None
    total: int | None = None


class _Answer(msgspec.Struct, frozen=True, gc=False):
    status_code: HttpStatus = 0
    body: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    custom_id: str | None = None
    response: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


# Lenient where a number comes as a text.
_READ_JOB = msgspec.json.Decoder(Job, strict=False)
_READ_PAGE = msgspec.json.Decoder(_Page, strict=False)
_READ_FILE = msgspec.json.Decoder(File, strict=False)
_READ_FILES = msgspec.json.Decoder(_Files, strict=False)
_READ_LINE = msgspec.json.Decoder(_Line, strict=False)
_READ_ANSWER = msgspec.json.Decoder(_Answer | None, strict=False)
_READ_TEXT = msgspec.json.Decoder(str)


def encode_line(wire_id: bytes, body: bytes) -> bytes:
    """Give a request, as it stands in a file and in a create alike."""
    return b'{"custom_id":%b,"body":%b}\n' % (wire_id, body)


def encode_create(submission: PreparedSubmission, facts: ProviderFacts) -> bytes:
    """Give the body of a create over an uploaded file."""
    return msgspec.json.encode({"input_files": [submission.input_ref], **_words(submission, facts)})


def encode_envelope(submission: PreparedSubmission, facts: ProviderFacts) -> tuple[bytes, bytes]:
    """Give what stands before and after the requests in the body of a create that carries them."""
    return msgspec.json.encode(_words(submission, facts))[:-1] + b',"requests":[', b"]}"


def _words(submission: PreparedSubmission, facts: ProviderFacts) -> dict[str, Any]:
    options = wire_options(submission.options)
    metadata = dict(options.pop("metadata", None) or {})
    if submission.tag:
        metadata[TAG_KEY] = submission.tag
    return {
        "endpoint": submission.endpoint,
        "model": submission.model,
        **({"metadata": metadata} if metadata else {}),
        "timeout_hours": facts.window_s // 3600,
        **options,
    }


def is_created(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer to a create is a job with an id, and made of our file where there is one."""
    try:
        job = _READ_JOB.decode(body)
    except UNREADABLE:
        return False
    is_ours = submission.input_ref is None or job.input_files in (None, [submission.input_ref])
    return bool(job.id) and job.object in (None, "batch") and is_ours


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read a job. Raises one of `UNREADABLE` where it is none."""
    job = _READ_JOB.decode(body)
    status, errors = facts.normalize_status(job.status), _decode_errors(job.errors)
    files = job.input_files or []
    return ProviderStatus(
        provider_batch_id=job.id,
        status=status,
        raw_status=job.status,
        # Zeros in the answer to a create, the total too.
        progress=Progress(
            total=job.total_requests or 0, completed=job.succeeded_requests or 0, failed=job.failed_requests or 0
        ),
        # A job that succeeded says here what its failed rows died of.
        error_message=errors[0].message if errors and status is not BatchStatus.COMPLETED else None,
        errors=errors,
        created_at=decode_time(job.created_at),
        completed_at=decode_time(job.completed_at),
        result_uris=without_empty((job.output_file, job.error_file)),
        endpoint=job.endpoint,
        input_ref=files[0] if len(files) == 1 else None,
        metadata=job.metadata or {},
    )


def _decode_errors(given: Any) -> tuple[BatchErrorItem, ...]:
    reasons: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given] if given else []
    reports = [decode_error(msgspec.json.encode(reason)) for reason in reasons]
    return tuple(BatchErrorItem(code=report.code or "", message=report.message) for report in reports)


def decode_job(body: bytes) -> Job:
    """Read a job's own words. Raises one of `UNREADABLE` where it is none."""
    return _READ_JOB.decode(body)


def decode_file(body: bytes) -> File:
    """Read the answer to an upload. Raises one of `UNREADABLE` where it is none."""
    return _READ_FILE.decode(body)


def encode_upload(expires_s: int | None) -> dict[str, str]:
    """Give the fields that stand beside the file; its time is counted in hours."""
    return {"purpose": "batch", **({} if expires_s is None else {"expiry": str(expires_s // 3600)})}


def decode_files(body: bytes, *, page: int, size: int) -> FilePage:
    """Read a page of the list of files, without those that are for other things."""
    found = _READ_FILES.decode(body)
    shown = found.data or []
    files = [_remote(file) for file in shown if file.purpose in ("batch", None)]
    return FilePage(files=tuple(files), cursor=_next_page(page, size, len(shown), found.total))


def _remote(file: File) -> RemoteFile:
    return RemoteFile(
        ref=file.id,
        name=file.filename or "",
        size=file.bytes,
        created_at=decode_time(file.created_at),
        expires_at=decode_time(file.expires_at),
    )


def _next_page(page: int, size: int, shown: int, total: int | None) -> str | None:
    is_last = page * size + shown >= total if total is not None else shown < size
    return None if is_last or not shown else str(page + 1)


def decode_page(body: bytes, facts: ProviderFacts, *, page: int, size: int) -> StatusPage:
    """Read a page of the list; the pages are numbered, and what is created meanwhile pushes jobs from one to the next."""
    found = _READ_PAGE.decode(body)
    statuses = tuple(decode_status(bytes(item), facts) for item in found.data or [])
    return StatusPage(statuses=statuses, cursor=_next_page(page, size, len(statuses), found.total))


def has_fewer_files(status: ProviderStatus) -> bool:
    """Whether a job names fewer files than its counts speak of: one for answers, one for errors, and one at the least."""
    counted = status.progress
    return len(status.result_uris) < max(1, (counted.completed > 0) + (counted.failed > 0))


def may_hold(status: ProviderStatus) -> bool:
    """Whether a job may hold answers itself: it names no file, or has no input file and names fewer than it should."""
    return not status.result_uris or (status.input_ref is None and has_fewer_files(status))


def is_early(status: ProviderStatus) -> bool:
    """Whether a job that succeeded may yet name further files, or give the answers that it holds itself."""
    is_short = has_fewer_files(status) and OUTPUTS not in status.result_uris
    return status.status is BatchStatus.COMPLETED and is_short


def match_of(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    if submission.tag and status.metadata.get(TAG_KEY) == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="tag", is_certain=True, status=status)
    if submission.input_ref and status.input_ref == submission.input_ref:
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


def decode_line(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a result; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _READ_LINE.decode(line)
        answer = _READ_ANSWER.decode(item.response) or _Answer()
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return undecodable(line, str(error))
    if answer.status_code >= _REFUSED:
        return _errored(item, answer.body if _is_given(answer.body) else item.error, answer.status_code, facts)
    if not answer.status_code and _is_given(item.error):
        return _errored(item, item.error, None, facts)
    # The answer itself in place of a response with a status is what some services write; it costs nothing to read it.
    body = answer.body if answer.status_code else item.response if answer.choices or answer.data else _NULL
    return _succeeded(item, body.copy(), format) if _is_given(body) else undecodable(line, "it holds no answer")


def _is_given(value: msgspec.Raw) -> bool:
    return bool(value) and value != _NULL


def _succeeded(item: _Line, body: msgspec.Raw, format: str) -> ProviderResultRow:  # noqa: A002
    usage = answers.usage(format, bytes(body))
    return _row(item, ResultStatus.SUCCEEDED, body=body, format=format, usage=usage)


def _errored(item: _Line, fault: msgspec.Raw, status: int | None, facts: ProviderFacts) -> ProviderResultRow:
    """Read why a request has no answer: an error object, a text, or that object written as a text inside of the JSON."""
    report = decode_error(_unwrapped(bytes(fault)) if _is_given(fault) else b"")
    code = report.code or report.kind or ("error" if status is None else f"http_{status}")
    found = facts.classify_batch_error(code) if status is None else facts.classify(status, report.code, report.kind)
    error = RowError(code=code, message=report.message, retryable=found is not ErrorClass.PERMANENT, status=status)
    return _row(
        item,
        _ENDS.get(code, ResultStatus.ERRORED),
        body=fault.copy() if _is_given(fault) else msgspec.Raw(),
        error=error,
    )


def _row(item: _Line, status: ResultStatus, **fields: Any) -> ProviderResultRow:
    metadata = {"provider_request_id": item.id} if item.id else {}
    # The service lets a request have no id.
    return ProviderResultRow(request_id=item.custom_id or "", status=status, metadata=metadata, **fields)


def _unwrapped(fault: bytes) -> bytes:
    try:
        return _READ_TEXT.decode(fault).encode()
    except UNREADABLE:
        return fault
