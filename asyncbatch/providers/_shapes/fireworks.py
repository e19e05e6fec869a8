"""The shapes of Fireworks' batch inference jobs and datasets, and the pure functions between them and ours.

Tolerant on the way in: int64s are texts, progress may be null, and what a failed row looks like is documented nowhere. Source:
the Gateway REST API of docs.fireworks.ai (version 4.259.0), fw-ai-external/python-sdk 1.2, and the behaviour noted in
`docs/providers/fireworks.md`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.errors import decode_error
from asyncbatch.codec.lines import undecodable
from asyncbatch.codec.options import wire_options
from asyncbatch.codec.rpc import Fault, decode_count
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
    UsageInfo,
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.planning.marks import job_of_file, job_of_tag
from asyncbatch.secrecy import Hidden, Secret
from asyncbatch.wire_provider import UNREADABLE, HttpStatus, without_empty

OURS = frozenset({"model", "inputDatasetId", "outputDatasetId", "continuedFromJobName"})
"""Words of a create that a batch of ours says itself."""

_PUBLIC = "accounts/fireworks/models/"
_ANSWERS, _ERRORS = "BIJOutputSet", "error-data"
"""How the names of the two files of answers begin."""
_OUTPUT = "-out"
_GONE = "JOB_STATE_DELETED"
_DELETIONS = frozenset({_GONE, "JOB_STATE_DELETING", "JOB_STATE_DELETING_CLEANING_UP"})
_FINE, _UNSAID = "OK", "UNKNOWN"
_MODEL = b',"model":"'
_REFUSED = 400
_HTTP = re.compile(r"[45][0-9]{2}", re.ASCII)
_NULL = msgspec.Raw(b"null")


class _Progress(msgspec.Struct, frozen=True, rename="camel"):
    """Counts, of any types."""

    total_input_requests: Any = None
    total_processed_requests: Any = None
    successfully_processed_requests: Any = None
    failed_requests: Any = None
    input_tokens: Any = None
    output_tokens: Any = None
    cached_input_token_count: Any = None


class _Lifecycle(msgspec.Struct, frozen=True, rename="camel"):
    end_time: Any = None


class _Job(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    state: str
    status: Fault | None = None
    input_dataset_id: str | None = None
    output_dataset_id: str | None = None
    create_time: Any = None
    update_time: Any = None
    expire_time: Any = None
    job_progress: _Progress | None = None
    lifecycle: _Lifecycle | None = None


class _Jobs(msgspec.Struct, frozen=True, rename="camel"):
    """A page of the list; an empty one is an empty object."""

    batch_inference_jobs: list[_Job] | None = None
    next_page_token: str | None = None


class Dataset(msgspec.Struct, frozen=True, rename="camel"):
    """Rows at the service, which may be used once their state is `READY`."""

    name: str
    state: str | None = None
    status: Fault | None = None
    display_name: str | None = None
    create_time: Any = None


class _Datasets(msgspec.Struct, frozen=True, rename="camel"):
    datasets: list[Dataset] | None = None
    next_page_token: str | None = None


class _Uploaded(msgspec.Struct, frozen=True):
    bytes: Any = None


class _Addresses(msgspec.Struct, frozen=True, rename={"urls": "filenameToSignedUrls"}):
    urls: dict[str, str] | None = None


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """What stands for a response: the answer itself, or perhaps a status and a body, as others write it."""

    choices: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    status_code: HttpStatus = 0
    body: msgspec.Raw = _NULL


class _Line(msgspec.Struct, frozen=True, gc=False):
    custom_id: str
    response: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


_READ_JOB = msgspec.json.Decoder(_Job)
_READ_JOBS = msgspec.json.Decoder(_Jobs)
_READ_DATASET = msgspec.json.Decoder(Dataset)
_READ_DATASETS = msgspec.json.Decoder(_Datasets)
_READ_UPLOADED = msgspec.json.Decoder(_Uploaded)
_READ_ADDRESSES = msgspec.json.Decoder(_Addresses)
_READ_LINE = msgspec.json.Decoder(_Line)
_READ_ANSWER = msgspec.json.Decoder(_Answer)
_READ_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])


# Going out


def encode_line(wire_id: bytes, body: bytes) -> bytes:
    """Give a request: an id and a body, of which the model is a matter of the batch."""
    return b'{"custom_id":%b,"body":%b}\n' % (wire_id, _without_model(body))


def _without_model(body: bytes) -> bytes:
    """Give a body without its model, which mostly stands at its end."""
    at = body.rfind(_MODEL)
    name = body[at + len(_MODEL) : -2]
    if at > 0 and b'"' not in name:  # the next one is that of its end, and after it comes that of the body
        return body[:at] + b"}"
    fields = _READ_BODY.decode(body)
    fields.pop("model", None)
    return msgspec.json.encode(fields)


def model_of(name: str) -> str:
    """Give the full name of a model: one without a slash is Fireworks' own."""
    return name if "/" in name else f"{_PUBLIC}{name}"


def output_of(name: str) -> str:
    """Name the dataset that the answers of a batch go to."""
    return f"{name}{_OUTPUT}"


def encode_create(submission: PreparedSubmission, name: str, account: str) -> bytes:
    """Give the body of a create; its name travels in the query."""
    body = {
        "displayName": name,
        **wire_options(submission.options),
        "model": model_of(submission.model),
        "inputDatasetId": f"accounts/{account}/datasets/{submission.input_ref}",
        "outputDatasetId": f"accounts/{account}/datasets/{output_of(name)}",
    }
    return msgspec.json.encode(body)


def encode_dataset(dataset_id: str, display_name: str, rows: int) -> bytes:
    """Give the body that makes a dataset; its count is an int64, and so a text."""
    dataset: dict[str, Any] = {"displayName": display_name, "userUploaded": {}, "exampleCount": str(rows)}
    return msgspec.json.encode({"datasetId": dataset_id, "dataset": dataset})


# Jobs


def short(resource: str) -> str:
    """Give the last name of a resource, which is what a path wants."""
    return resource.rpartition("/")[2]


def is_created(body: bytes, name: str) -> bool:
    """Whether an answer to a create is a job of this name."""
    try:
        return short(_READ_JOB.decode(body).name) == name
    except UNREADABLE:
        return False


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read a job. Raises one of `UNREADABLE` where it is none."""
    return _status_of(_READ_JOB.decode(body), facts)


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list."""
    page = _READ_JOBS.decode(body)
    statuses = tuple(_status_of(job, facts) for job in page.batch_inference_jobs or ())
    return StatusPage(statuses=statuses, cursor=page.next_page_token or None)


def is_deletion(status: ProviderStatus) -> bool:
    """Whether a batch is being deleted, by whomever: soon nobody knows it any more."""
    return status.raw_status in _DELETIONS


def gone_status(name: str, facts: ProviderFacts) -> ProviderStatus:
    """Give where a batch stands that was deleted: what it had written by then may be left."""
    return ProviderStatus(
        provider_batch_id=name,
        status=BatchStatus.CANCELLED,
        raw_status=_GONE,
        result_uris=(output_of(name),),
        endpoint=facts.endpoints[0].path,
    )


def _status_of(job: _Job, facts: ProviderFacts) -> ProviderStatus:
    status, counted = facts.normalize_status(job.state), job.job_progress or _Progress()
    errors = _errors_of(job.status)
    ended = (job.lifecycle.end_time if job.lifecycle else None) or job.update_time
    return ProviderStatus(
        provider_batch_id=short(job.name),
        status=status,
        raw_status=job.state,
        progress=_progress_of(counted),
        error_message=errors[0].message if errors and status is not BatchStatus.COMPLETED else None,
        errors=errors,
        created_at=decode_time(job.create_time),
        completed_at=decode_time(ended) if status.is_terminal else None,
        expires_at=decode_time(job.expire_time),
        result_uris=without_empty((short(job.output_dataset_id or ""),)),
        usage=_usage_of(counted) if status.is_terminal else None,
        endpoint=facts.endpoints[0].path,  # there is no other
        input_ref=short(job.input_dataset_id or "") or None,
    )


def _progress_of(counted: _Progress) -> Progress:
    done = decode_count(counted.total_processed_requests) or 0
    return Progress(
        total=max(
            decode_count(counted.total_input_requests) or 0, done
        ),  # the former is what the dataset was said to have
        completed=decode_count(counted.successfully_processed_requests) or 0,
        failed=decode_count(counted.failed_requests) or 0,
    )


def _usage_of(counted: _Progress) -> UsageInfo | None:
    came, went = decode_count(counted.input_tokens) or 0, decode_count(counted.output_tokens) or 0
    if not came + went:  # zeros: nothing is known
        return None
    return UsageInfo(
        prompt_tokens=came,
        completion_tokens=went,
        total_tokens=came + went,
        cache_read_input_tokens=decode_count(counted.cached_input_token_count) or 0,
    )


def _errors_of(fault: Fault | None) -> tuple[BatchErrorItem, ...]:
    if fault is None or fault.word == _FINE or (fault.word == _UNSAID and not fault.text):
        return ()
    return (BatchErrorItem(code=fault.word, message=fault.text or fault.word),)


def match_of(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    if submission.tag and status.provider_batch_id == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="name", is_certain=True, status=status)
    if submission.input_ref and status.input_ref == submission.input_ref:
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


# Datasets


def decode_dataset(body: bytes) -> Dataset:
    """Read a dataset. Raises one of `UNREADABLE` where it is none."""
    return _READ_DATASET.decode(body)


def decode_size(body: bytes) -> int | None:
    """Read how many bytes of an upload arrived; None where the answer does not say. Raises one of `UNREADABLE`."""
    return decode_count(_READ_UPLOADED.decode(body).bytes)


def decode_datasets(body: bytes) -> FilePage:
    """Read a page of the list of datasets, without those that are no batch's of ours: many are for other things."""
    page = _READ_DATASETS.decode(body)
    files = [_remote(dataset) for dataset in page.datasets or ()]
    return FilePage(files=tuple(file for file in files if _is_ours(file)), cursor=page.next_page_token or None)


def _remote(dataset: Dataset) -> RemoteFile:
    return RemoteFile(
        ref=short(dataset.name), name=dataset.display_name or "", created_at=decode_time(dataset.create_time)
    )


def _is_ours(file: RemoteFile) -> bool:
    return bool(job_of_file(file.name) or job_of_tag(file.ref.removesuffix(_OUTPUT)))


def decode_addresses(body: bytes) -> Hidden:
    """Read addresses of files by the files' names; each is a credential. Raises one of `UNREADABLE`."""
    found = _READ_ADDRESSES.decode(body).urls or {}
    return Hidden((name, Secret(url)) for name, url in found.items())


def address_of(addresses: Mapping[str, str], name: str) -> str:
    """Give the address of a file, under its name or with folders before it; an empty text where there is none."""
    found = (address for other, address in addresses.items() if short(other) == short(name))
    return addresses.get(name) or next(found, "")


def answer_files(names: Iterable[str]) -> list[str]:
    """Give the names of the files of answers, those of answers before those of errors, whatever folders they are in."""
    known = [name for name in names if short(name).startswith((_ANSWERS, _ERRORS))]
    return sorted(known, key=lambda name: (short(name).startswith(_ERRORS), name))


# Answers


def decode_line(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a line of either file; what cannot be read becomes an UNDECODABLE row with its raw bytes.

    A response is the answer itself. An error may be an object or a text, of the line or of its response: none is documented.
    """
    try:
        item = _READ_LINE.decode(line)
        answer = _READ_ANSWER.decode(item.response) if bytes(item.response)[:1] == b"{" else _Answer()
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return undecodable(line, str(error))
    if _is_given(answer.choices):
        return _succeeded(item.custom_id, item.response.copy(), format)
    if 0 < answer.status_code < _REFUSED and _is_given(answer.body):
        return _succeeded(item.custom_id, answer.body.copy(), format)
    fault = next(filter(_is_given, (item.error, answer.error, answer.body, item.response)), None)
    if fault is None:
        return undecodable(line, "it holds neither an answer nor an error")
    return _errored(item.custom_id, bytes(fault), answer.status_code, line, facts)


def _is_given(value: msgspec.Raw) -> bool:
    return value != _NULL


def _succeeded(request_id: str, body: msgspec.Raw, format: str) -> ProviderResultRow:  # noqa: A002
    usage = answers.usage(format, bytes(body))
    return ProviderResultRow(
        request_id=request_id, status=ResultStatus.SUCCEEDED, body=body, format=format, usage=usage
    )


def _errored(request_id: str, fault: bytes, status: int, line: bytes, facts: ProviderFacts) -> ProviderResultRow:
    report = decode_error(fault)
    code = Fault(code=report.code).word if report.code else report.kind or (f"http_{status}" if status else "error")
    if not status and _HTTP.fullmatch(code):
        status = int(code)
    found = facts.classify(status, report.code, report.kind) if status else facts.classify_batch_error(code)
    error = RowError(
        code=code, message=report.message, retryable=found is not ErrorClass.PERMANENT, status=status or None
    )
    return ProviderResultRow(request_id=request_id, status=ResultStatus.ERRORED, body=msgspec.Raw(line), error=error)
