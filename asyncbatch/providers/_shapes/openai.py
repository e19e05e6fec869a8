"""The shapes of OpenAI's files-and-batches protocol, and the pure functions between them and ours.

Tolerant on the way in: an empty id means none, counts may be absent, codes may be numbers. Source: openai/openai-openapi:
openapi.yaml (Batch, OpenAIFile, BatchRequestOutput), and the behaviour noted in `docs/providers/openai.md`.
"""

from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.options import plan_output_expiry, wire_options
from asyncbatch.codec.rpc import decode_count
from asyncbatch.codec.slices import LineFrame
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    BatchErrorItem,
    FilePage,
    Match,
    PreparedSubmission,
    Progress,
    ProviderStatus,
    RemoteFile,
    StatusPage,
    UsageInfo,
)
from asyncbatch.enums import BatchStatus
from asyncbatch.wire_provider import UNREADABLE, without_empty

TAG_KEY = "asyncbatch_tag"
_PURPOSES = ("batch", "batch_output", "batch_error", None)
"""Of the files that batches read and write; members of the family may have no word for it."""
_NULL = msgspec.Raw(b"null")
_NO_ENDS = (None, None, None, None)
_EXPIRY = {
    "brackets": ("expires_after[anchor]", "expires_after[seconds]"),
    "dots": ("expires_after.anchor", "expires_after.seconds"),
}

_T = TypeVar("_T")


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Of any types: members of the family write codes as numbers, and a reason that cannot be read must not hide an end."""

    code: Any = None
    message: Any = None
    line: Any = None
    param: Any = None


class _Counts(msgspec.Struct, frozen=True, gc=False):
    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class _Batch(msgspec.Struct, frozen=True, gc=False):
    id: str
    status: str
    object: str | None = None
    endpoint: str | None = None
    errors: Any = None
    error: Any = None  # as one text
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: Any = None  # moments: numbers, texts, or what is none
    expires_at: Any = None
    job_deadline: Any = None
    completed_at: Any = None
    failed_at: Any = None
    expired_at: Any = None
    cancelled_at: Any = None
    request_counts: _Counts | None = None
    total: Any = None  # beside the status, where there are no counts of their own
    completed: Any = None
    failed: Any = None
    metadata: dict[str, Any] | None = None
    usage: msgspec.Raw = _NULL


class _Page(msgspec.Struct, frozen=True):
    data: list[_Batch] | None = None
    value: list[_Batch] | None = None  # as OData has it
    has_more: bool | None = None
    last_id: str | None = None


class File(msgspec.Struct, frozen=True):
    id: str
    bytes: int | None = None
    filename: str | None = None
    purpose: str | None = None
    created_at: Any = None
    camel_created_at: Any = msgspec.field(name="createdAt", default=None)
    expires_at: Any = None
    status: Any = None
    status_details: Any = None


class _Files(msgspec.Struct, frozen=True):
    data: list[File] | None = None
    value: list[File] | None = None
    has_more: bool | None = None
    last_id: str | None = None


# Lenient where a provider of the family writes a number as a text.
_BATCH = msgspec.json.Decoder(_Batch, strict=False)
_PAGE = msgspec.json.Decoder(_Page, strict=False)
_BARE_LIST = msgspec.json.Decoder(list[_Batch], strict=False)
_FILE = msgspec.json.Decoder(File, strict=False)
_FILES = msgspec.json.Decoder(_Files, strict=False)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_status(body: bytes | msgspec.Raw, facts: ProviderFacts) -> ProviderStatus:
    """Read a batch object. Raises `msgspec.DecodeError` where it is none."""
    return _status_of(_BATCH.decode(body), facts)


def _status_of(batch: _Batch, facts: ProviderFacts) -> ProviderStatus:
    status, counts = facts.normalize_status(batch.status), batch.request_counts or _counts_beside(batch)
    errors = _errors_of(batch.errors or batch.error, facts.wire.first_line)
    ends = (batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at)
    ended = None if ends == _NO_ENDS else next((at for at in map(decode_time, ends) if at is not None), None)
    return ProviderStatus(
        provider_batch_id=batch.id,
        status=status,
        raw_status=batch.status,
        progress=Progress(total=counts.total or 0, completed=counts.completed or 0, failed=counts.failed or 0),
        error_message=errors[0].message if errors else _unsaid(status, facts),
        errors=errors,
        created_at=decode_time(batch.created_at),
        completed_at=ended,
        expires_at=decode_time(batch.expires_at or batch.job_deadline),
        results_expire_at=ended + facts.retention.output_s if ended and facts.retention.output_s else None,
        # An empty id means the same as none.
        result_uris=without_empty((batch.output_file_id, batch.error_file_id)),
        usage=_batch_usage(batch.usage) if status.is_terminal else None,
        endpoint=facts.endpoint_from_wire(batch.endpoint),
        input_ref=batch.input_file_id or None,
        metadata=batch.metadata or {},
    )


def _unsaid(status: BatchStatus, facts: ProviderFacts) -> str | None:
    """Say that a failed batch gives no reason, where none is ever given; else it may have one that cannot be read."""
    is_unsaid = status is BatchStatus.FAILED and not facts.wire.has_reasons
    return (
        f"{facts.title} does not say why: its input may be unfit, or the model not this account's"
        if is_unsaid
        else None
    )


def _counts_beside(batch: _Batch) -> _Counts:
    found = map(decode_count, (batch.total, batch.completed, batch.failed))
    return _Counts(*found)


def _errors_of(given: Any, first_line: int) -> tuple[BatchErrorItem, ...]:
    """Read the reasons of a failure: an object with a list of them, a list, one object, or one text."""
    if not given:
        return ()
    if isinstance(given, dict):
        inside = cast("dict[str, Any]", given)
        given = inside.get("data") if "data" in inside else inside
    faults = cast("list[Any]", given) if isinstance(given, list) else [given]
    return tuple([_error_item(_as_fault(fault), first_line) for fault in faults if fault])


def _as_fault(given: Any) -> Fault:
    if not isinstance(given, dict):
        return Fault(message=given if isinstance(given, str) else msgspec.json.encode(given).decode())
    words = cast("dict[str, Any]", given)
    return Fault(**{name: words.get(name) for name in Fault.__struct_fields__})


def is_address(place: str) -> bool:
    """Whether a place of answers is no id of a file but an address, as one of the family may give it."""
    return "://" in place


def decode_file(body: bytes, facts: ProviderFacts) -> File:
    """Read a file object. Raises one of `UNREADABLE` where it is none."""
    return _FILE.decode(_unwrapped(body, facts))


def _unwrapped(body: bytes, facts: ProviderFacts) -> bytes | msgspec.Raw:
    """Give what an answer about files holds; it may be the answer itself, whatever the facts say."""
    return unwrapped(body, facts.wire.upload_key)


def unwrapped(body: bytes, key: str | None) -> bytes | msgspec.Raw:
    """Give the object that stands under a word in an answer, or the answer itself where there is none."""
    held = _MEMBERS.decode(body).get(key, _NULL) if key is not None else _NULL
    return held if bytes(held)[:1] == b"{" else body


def decode_files(body: bytes, facts: ProviderFacts) -> FilePage:
    """Read a page of the list of files, without those that are for other things."""
    page = _FILES.decode(_unwrapped(body, facts))
    found, purposes = _listed(page.data, page.value), (*_PURPOSES, facts.wire.upload_fields.get("purpose"))
    files = [_remote(file) for file in found if file.purpose in purposes]
    last = page.last_id or (found[-1].id if found else None)
    return FilePage(files=tuple(files), cursor=last if page.has_more else None)


def _listed(*lists: list[_T] | None) -> list[_T]:
    """Give what a list holds, under whichever word. What has none of them is no list: a batch would be taken for none."""
    found = next((items for items in lists if items is not None), None)
    if found is None:
        raise msgspec.ValidationError("Object missing required field `data`")
    return found


def is_ready(file: File, facts: ProviderFacts) -> bool:
    """Whether a batch can be made of an upload; one that does not say where it stands is taken as it is."""
    ready, state = facts.wire.ready_states, word(file.status).lower()
    return not ready or not state or state in ready


def why_lost(file: File, facts: ProviderFacts) -> str | None:
    """Say why no batch will ever be made of an upload; None where one may."""
    state, why = word(file.status).lower(), word(file.status_details)
    if state not in facts.wire.lost_states:
        return None
    return f"the upload is {state}: {why}" if why else f"the upload is {state}, and nothing says why"


def _remote(file: File) -> RemoteFile:
    return RemoteFile(
        ref=file.id,
        name=file.filename or "",
        size=file.bytes,
        created_at=decode_time(file.created_at or file.camel_created_at),
        expires_at=decode_time(file.expires_at),
    )


def places_of(status: ProviderStatus) -> tuple[str, ...]:
    """Name every file of a batch: what it was made of, and what came of it."""
    return without_empty((status.input_ref, *status.result_uris))


def _error_item(fault: Fault, first_line: int) -> BatchErrorItem:
    told = decode_count(fault.line)
    line = None if told is None else told + 1 - first_line
    return BatchErrorItem(
        code=word(fault.code), message=word(fault.message), line=line, param=word(fault.param) or None
    )


def word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _batch_usage(given: msgspec.Raw) -> UsageInfo | None:
    if given == _NULL:
        return None
    usage = answers.usage("openai.responses", b'{"usage":%b}' % bytes(given))
    return usage if usage and usage.total_tokens else None  # zeros: nothing is known


def is_created(body: bytes, submission: PreparedSubmission, facts: ProviderFacts) -> bool:
    """Whether an answer to a create is a batch with an id, and made of our input where it says of which."""
    try:
        batch = _BATCH.decode(unwrapped(body, facts.wire.create_key))
    except UNREADABLE:
        return False
    return (
        bool(batch.id) and batch.object in (None, "batch") and batch.input_file_id in ("", None, submission.input_ref)
    )


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list."""
    if facts.wire.is_bare_list:
        return StatusPage(statuses=tuple([_status_of(batch, facts) for batch in _BARE_LIST.decode(body)]))
    page = _PAGE.decode(body)
    statuses = tuple([_status_of(batch, facts) for batch in _listed(page.data, page.value)])
    last = page.last_id or (statuses[-1].provider_batch_id if statuses else None)
    return StatusPage(statuses=statuses, cursor=last if page.has_more else None)


def encode_line(wire_id: bytes, body: bytes, endpoint: str, facts: ProviderFacts) -> bytes:
    """Give a line of an input file."""
    frame = frame_of(endpoint, facts)
    return b"".join((frame.before, wire_id, frame.between, body, frame.after))


def frame_of(endpoint: str, facts: ProviderFacts) -> LineFrame:
    """Give what stands around the id and the body of each line."""
    return _BARE if facts.wire.lines == "bare" else line_frame(endpoint)


_BARE = LineFrame(before=b'{"custom_id":', between=b',"body":', after=b"}\n")


@cache
def line_frame(endpoint: str) -> LineFrame:
    """Give what stands around the id and the body of a line that says where it goes."""
    between = b',"method":"POST","url":%b,"body":' % msgspec.json.encode(endpoint)
    return LineFrame(before=b'{"custom_id":', between=between, after=b"}\n")


def encode_upload(name: str, expires_s: int | None, facts: ProviderFacts) -> dict[str, str]:
    """Give the fields that stand beside the file."""
    fields = {key: text.replace("{name}", name) for key, text in facts.wire.upload_fields.items()}
    if expires_s is None:
        return fields
    anchor, seconds = _EXPIRY[facts.wire.expiry]
    return {**fields, anchor: "created_at", seconds: str(expires_s)}


def encode_create(submission: PreparedSubmission, facts: ProviderFacts) -> bytes:
    """Give the body of a create: input, endpoint, window, and our tag among the caller's metadata."""
    options = wire_options(submission.options)
    metadata = dict(options.pop("metadata", None) or {})
    if submission.tag and facts.takes_metadata:
        metadata[TAG_KEY] = submission.tag
    expires_s = plan_output_expiry(facts, submission.options)
    body = {
        "input_file_id": submission.input_ref,
        "endpoint": submission.endpoint,
        **({"completion_window": f"{facts.window_s // 3600}h"} if facts.wire.has_window else {}),
        **facts.wire.create_fields,
        **({"metadata": metadata} if metadata else {}),
        **({"output_expires_after": {"anchor": "created_at", "seconds": expires_s}} if expires_s else {}),
        **options,
    }
    return msgspec.json.encode(body)


def encode_key(submission: PreparedSubmission, facts: ProviderFacts) -> dict[str, str] | None:
    """Give the header of a create by which a repeat of it is known: its tag, which is another one for every attempt."""
    header = facts.wire.idempotency_header
    return {header: submission.tag} if header and submission.tag else None


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
