"""The shapes of OpenRouter's batches, and the pure functions between them and ours.

Source: openrouter 1.3.84 (`components/batch*.py`), and the behaviour noted in `docs/providers/openrouter.md`.
"""

from typing import Any, cast

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.options import wire_options
from asyncbatch.codec.rpc import decode_count
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    BatchErrorItem,
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    RowError,
    StatusPage,
    UsageInfo,
)
from asyncbatch.enums import ErrorClass, ResultStatus
from asyncbatch.providers._shapes.openai_lines import decode_line
from asyncbatch.wire_provider import UNREADABLE

VARIANT = ":batch"
"""What the name of a model ends with in a create; the service's own answers name it without."""
RESULTS = "results"
"""The place of answers, which is the batch itself."""


class _Batch(msgspec.Struct, frozen=True):
    id: str
    status: str
    object: Any = None
    endpoint: str | None = None
    created_at: Any = None
    expires_at: Any = None
    finalized_at: Any = None
    request_counts: Any = None
    error: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    results: Any = None


class _Page(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    has_more: bool | None = None
    last_id: str | None = None


class _Fault(msgspec.Struct, frozen=True):
    """What a request died of: OpenRouter's own word stands beside that of whoever served it."""

    error_type: Any = None
    type: Any = None
    code: Any = None


class _Faulty(msgspec.Struct, frozen=True):
    error: _Fault | str | None = None


_READ_BATCH = msgspec.json.Decoder(_Batch, strict=False)
_READ_PAGE = msgspec.json.Decoder(_Page)
_READ_FAULTY = msgspec.json.Decoder(_Faulty)
_READ_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])


# Batches


def encode_line(wire_id: bytes, body: bytes) -> bytes:
    """Give a request as it stands among the others. The model is the batch's, whose name is another one than its own."""
    members = _READ_BODY.decode(body)
    if members.pop("model", None) is not None:
        body = msgspec.json.encode(members)
    return b'{"custom_id":%b,"body":%b}\n' % (wire_id, body)


def encode_envelope(submission: PreparedSubmission, facts: ProviderFacts) -> tuple[bytes, bytes]:
    """Give what stands before and after the requests; the service reads as it comes, and wants everything else first."""
    model = submission.model.removesuffix(VARIANT) + VARIANT
    words = {
        "endpoint": submission.endpoint,
        "model": model,
        "completion_window": f"{facts.window_s // 3600}h",
        **wire_options(submission.options),
    }
    return msgspec.json.encode(words)[:-1] + b',"requests":[', b"]}"


def is_created(body: bytes) -> bool:
    """Whether an answer to a create is a batch with an id."""
    try:
        batch = _READ_BATCH.decode(body)
    except UNREADABLE:
        return False
    return bool(batch.id) and batch.object in (None, "batch")


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read a batch, whose answers may have been taken out. Raises one of `UNREADABLE` where it is none."""
    batch = _READ_BATCH.decode(body)
    ended, kept_s = decode_time(batch.finalized_at), facts.retention.output_s
    status, errors = facts.normalize_status(batch.status), _decode_errors(batch.error)
    return ProviderStatus(
        provider_batch_id=batch.id,
        status=status,
        raw_status=batch.status,
        progress=_decode_counts(batch.request_counts),
        error_message=errors[0].message if errors else None,
        errors=errors,
        created_at=decode_time(batch.created_at),
        completed_at=ended,
        expires_at=decode_time(batch.expires_at),
        results_expire_at=ended + kept_s if ended and kept_s else None,
        result_uris=(RESULTS,) if isinstance(batch.results, list) else (),
        usage=_decode_usage(batch.usage) if status.is_terminal else None,
        endpoint=batch.endpoint,
    )


def _decode_counts(given: Any) -> Progress:
    counts = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    total, completed, failed = (decode_count(counts.get(name)) or 0 for name in ("total", "completed", "failed"))
    return Progress(total=total, completed=completed, failed=failed)


def _decode_errors(given: Any) -> tuple[BatchErrorItem, ...]:
    if not given:
        return ()
    words = cast("dict[str, Any]", given) if isinstance(given, dict) else {"message": given}
    return (BatchErrorItem(code=str(words.get("code") or ""), message=str(words.get("message") or "")),)


def _decode_usage(given: msgspec.Raw) -> UsageInfo | None:
    usage = answers.usage("openai.chat", b'{"usage":%b}' % bytes(given)) if given else None
    return usage if usage is not None and usage.total_tokens else None  # zeros: nothing is known


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list, whose items have no answers."""
    page = _READ_PAGE.decode(body)
    statuses = tuple(decode_status(bytes(item), facts) for item in page.data)
    last = page.last_id or (statuses[-1].provider_batch_id if statuses else None)
    return StatusPage(statuses=statuses, cursor=last if page.has_more else None)


def decode_result(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a result as OpenAI has them; an error has no code here, but a word for its kind."""
    row = decode_line(line, format=format, facts=facts)
    if row.error is None or row.error.status is not None or row.status is ResultStatus.UNDECODABLE:
        return row
    word = next((word for word in _words_for(line) if word and isinstance(word, str)), "error")
    retryable = facts.classify_batch_error(word) is not ErrorClass.PERMANENT
    return msgspec.structs.replace(row, error=RowError(code=word, message=row.error.message, retryable=retryable))


def _words_for(line: bytes) -> tuple[Any, ...]:
    """Give what an error is called, the most general word first: it says the same of everybody who serves requests."""
    try:
        fault = _READ_FAULTY.decode(line).error
    except UNREADABLE:
        return ()
    return (fault.error_type, fault.type, fault.code) if isinstance(fault, _Fault) else ()
