"""Anthropic's Message Batches: requests travel in the create, and one stream brings the answers of every kind of end.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing, and the official SDK's types (anthropic 2.14,
`types/messages`, `types/shared`). What is known of it and how surely: `docs/providers/anthropic.md`.
"""

from functools import partial
from typing import Any, cast

import msgspec

from asyncbatch import answers
from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.errors import decode_error
from asyncbatch.codec.lines import undecodable
from asyncbatch.codec.options import wire_options
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    RowError,
    StatusPage,
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.exceptions import ProviderPermanentError
from asyncbatch.transport import JsonArrayBody
from asyncbatch.unmarked_provider import PEEKED_BYTES, UnmarkedProvider
from asyncbatch.wire_provider import UNREADABLE

_BATCHES = "/v1/messages/batches"
_BATCH_PATH = f"{_BATCHES}/{{}}"
_RESULTS = f"{_BATCHES}/{{}}/results"

_TOO_LATE = frozenset({400, 409})
"""What may answer the cancel of a batch that is ending or over."""

_USUAL_PAGE = 100


class _Batch(msgspec.Struct, frozen=True):
    id: str
    processing_status: str
    type: Any = None
    request_counts: Any = None
    created_at: Any = None
    expires_at: Any = None
    ended_at: Any = None
    cancel_initiated_at: Any = None
    archived_at: Any = None
    results_url: Any = None


class _Page(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    has_more: bool | None = None
    last_id: str | None = None


class _Counts(msgspec.Struct, frozen=True):
    """All but `processing` stay 0 until the batch has ended; the sum is the number of requests from the start."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def unanswered(self) -> int:
        return self.errored + self.canceled + self.expired


class _Result(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, frozen=True, gc=False):
    custom_id: str
    result: _Result


class _Named(msgspec.Struct, frozen=True):
    """What names the call behind a row: a message its own id, an error that of the request."""

    id: str | None = None
    request_id: str | None = None


_BATCH = msgspec.json.Decoder(_Batch)
_PAGE = msgspec.json.Decoder(_Page)
_LINE = msgspec.json.Decoder(_Line)
_NAMED = msgspec.json.Decoder(_Named)


# Batches


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read a batch object. Raises one of `UNREADABLE` where it is none."""
    batch = _BATCH.decode(body)
    counts = _decode_counts(batch.request_counts)
    created_at, archived_at = decode_time(batch.created_at), decode_time(batch.archived_at)
    kept_s = facts.retention.output_s
    has_results = bool(batch.results_url) and archived_at is None
    return ProviderStatus(
        provider_batch_id=batch.id,
        status=_decode_word(batch, counts, facts),
        raw_status=batch.processing_status,
        progress=Progress(
            total=counts.processing + counts.succeeded + counts.unanswered,
            completed=counts.succeeded,
            failed=counts.unanswered,
        ),
        created_at=created_at,
        completed_at=decode_time(batch.ended_at),
        expires_at=decode_time(batch.expires_at),
        results_expire_at=created_at + kept_s if created_at and kept_s else None,
        # The address that the service names is not followed: ours goes to the configured host, and so does the key.
        result_uris=(_RESULTS.format(batch.id),) if has_results else (),
        endpoint=facts.endpoints[0].path,
        metadata={"archived_at": archived_at} if archived_at is not None else {},
    )


def _decode_counts(given: Any) -> _Counts:
    counts = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    return _Counts(**{name: _decode_count(counts.get(name)) for name in _Counts.__struct_fields__})


def _decode_count(value: Any) -> int:
    try:
        return max(int(value or 0), 0)
    except (ValueError, TypeError, OverflowError):
        return 0


def _decode_word(batch: _Batch, counts: _Counts, facts: ProviderFacts) -> BatchStatus:
    """Read the status; every end has the same word, and the counts tell them apart: a batch never fails as a whole."""
    status = facts.normalize_status(batch.processing_status)
    if not status.is_terminal or counts.succeeded:
        return status
    if batch.cancel_initiated_at:
        return BatchStatus.CANCELLED
    if counts.errored or not counts.unanswered:
        return status
    return BatchStatus.EXPIRED if counts.expired else BatchStatus.CANCELLED


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list."""
    page = _PAGE.decode(body)
    statuses = tuple(decode_status(bytes(item), facts) for item in page.data)
    last = page.last_id or (statuses[-1].provider_batch_id if statuses else None)
    return StatusPage(statuses=statuses, cursor=last if page.has_more else None)


def encode_frame(submission: PreparedSubmission) -> tuple[bytes, bytes]:
    """Give what stands before and after the rows, which stay in the spool."""
    options = msgspec.json.encode(wire_options(submission.options))
    return b'{"requests":[', b"]}" if options == b"{}" else b"]," + options[1:]


def is_created(body: bytes) -> bool:
    """Whether an answer to a create is a batch with an id."""
    try:
        batch = _BATCH.decode(body)
    except UNREADABLE:
        return False
    return bool(batch.id) and batch.type in (None, "message_batch")


# Rows


def encode_line(wire_id: bytes, body: bytes) -> bytes:
    """Give a request as it stands among the others."""
    return b'{"custom_id":%b,"params":%b}\n' % (wire_id, body)


def decode_line(line: bytes, *, facts: ProviderFacts) -> ProviderResultRow:
    """Read a line of the results; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _LINE.decode(line)
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return undecodable(line, str(error))
    match item.result.type:
        case "succeeded" if memoryview(item.result.message)[:1].tobytes() == b"{":
            return _succeeded(item, facts.endpoints[0].format)
        case "errored":
            return _errored(item, facts)
        case "canceled":
            return _never_ran(item, ResultStatus.CANCELLED, "the batch was cancelled before this request ran", facts)
        case "expired":
            return _never_ran(item, ResultStatus.EXPIRED, "the batch expired before this request ran", facts)
        case other:
            return undecodable(line, f"it holds no message, and its type is {other!r}")


def _succeeded(item: _Line, format: str) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read an answer; one that the model refused to give is an answer too."""
    body = item.result.message.copy()
    return ProviderResultRow(
        request_id=item.custom_id,
        status=ResultStatus.SUCCEEDED,
        body=body,
        format=format,
        usage=answers.usage(format, bytes(body)),
        metadata=_name_of(body),
    )


def _errored(item: _Line, facts: ProviderFacts) -> ProviderResultRow:
    """Read an error: a whole envelope, in which the error itself stands once more."""
    body = item.result.error.copy()
    report = decode_error(bytes(body))
    kind = report.kind or report.code or "unknown"
    meaning = facts.classify_batch_error(report.code if report.code in facts.batch_errors else kind)
    error = RowError(code=kind, message=report.message, retryable=meaning is not ErrorClass.PERMANENT)
    return ProviderResultRow(
        request_id=item.custom_id,
        status=ResultStatus.ERRORED,
        body=body,
        format=facts.endpoints[0].format,
        error=error,
        metadata=_name_of(body),
    )


def _name_of(body: msgspec.Raw) -> dict[str, str]:
    try:
        found = _NAMED.decode(body)
    except UNREADABLE:
        return {}
    name = found.id or found.request_id
    return {"provider_request_id": name} if name else {}


def _never_ran(item: _Line, status: ResultStatus, message: str, facts: ProviderFacts) -> ProviderResultRow:
    code = item.result.type
    is_retryable = facts.classify_batch_error(code) is not ErrorClass.PERMANENT
    error = RowError(code=code, message=message, retryable=is_retryable)
    return ProviderResultRow(request_id=item.custom_id, status=status, error=error)


# Whose a batch is


class AnthropicBatchProvider(UnmarkedProvider):
    """Batches of messages on Anthropic's API, and on whatever speaks it under another base URL."""

    PROVIDER_NAME = "anthropic"

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del endpoint, is_inline
        return encode_line(wire_id, body)

    def is_early(self, status: ProviderStatus) -> bool:
        return status.status.is_terminal and not status.result_uris and "archived_at" not in status.metadata

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # Anthropic bills each accepted POST and takes no idempotency key: it is sent once and never again by itself.
        head, tail = encode_frame(submission)
        body = JsonArrayBody(head, self.input_of(submission), tail)
        answer = await self.transport.create(_BATCHES, body, is_created=is_created)
        return self.submit_result(decode_status(answer, self.facts))

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path(_BATCH_PATH, provider_batch_id)
        answer = await self.transport.ask(path, profile=Profile.POLL)
        status = self.read(partial(decode_status, facts=self.facts), answer.body, f"GET {path}")
        self.check_of(status, provider_batch_id)
        return msgspec.structs.replace(status, retry_after=self.transport.retry_after(answer))

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path(f"{_BATCH_PATH}/cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already, or ending: the batch itself says where it stands
            return await self._status(provider_batch_id)
        return self.read(partial(decode_status, facts=self.facts), answer.body, f"POST {path}")

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit or _USUAL_PAGE, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        params = {"limit": str(self.page_size(limit)), **({"after_id": cursor} if cursor else {})}
        body = await self.transport.get(_BATCHES, params=params, profile=profile)
        decode = partial(decode_page, facts=self.facts)
        return await self.runtime.offload(self.read, decode, body, f"GET {_BATCHES}")

    async def first_id(self, status: ProviderStatus) -> str:
        if not status.result_uris:
            return ""
        first = await self.transport.peek(self.path(_RESULTS, status.provider_batch_id), PEEKED_BYTES)
        return decode_line(first.partition(b"\n")[0], facts=self.facts).request_id

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the batch with its answers, which is all that the provider keeps of it."""
        path = self.path(_BATCH_PATH, provider_batch_id)
        try:
            return int(await self.delete_at(path))
        except ProviderPermanentError as error:
            if error.status == 400:  # whatever else it may mean, most likely it runs
                self.check_ended(await self._status(provider_batch_id))
            raise

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Download the answers, whatever the end; a batch that names none, even later, has none."""
        status = await self.settled_status(partial(self._status, provider_batch_id))
        if "archived_at" in status.metadata:
            message = (
                f"{self.PROVIDER_NAME}: the answers of batch {provider_batch_id} are gone: they are kept for 29 days"
            )
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="results_expired")
        places = [self.path(_RESULTS, provider_batch_id)] if status.result_uris else []
        return await self.download_files(places, partial(decode_line, facts=self.facts))

    async def _status(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path(_BATCH_PATH, provider_batch_id)
        decode = partial(decode_status, facts=self.facts)
        return await self.get_status(path, decode, profile=Profile.CONTROL, of=provider_batch_id)
