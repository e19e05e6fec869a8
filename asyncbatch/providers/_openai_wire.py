"""OpenAI's files-and-batches protocol, which a whole family of providers speaks: shapes, codecs, and the provider over them.

What differs from one to the next is in each provider's YAML. Source: openai/openai-openapi:openapi.yaml (Batch, OpenAIFile,
BatchRequestOutput), and the behaviour noted in `docs/providers/openai.md`.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from asyncbatch import answers
from asyncbatch.base_provider import (
    BaseBatchProvider,
    Downloaded,
    IntakeRules,
    Profile,
    RejectHook,
    Requests,
    ResultStream,
    WireIds,
)
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.formats.openai import encode_request
from asyncbatch.codec.lines import salvage_id
from asyncbatch.codec.requests import EncodedRow, Request
from asyncbatch.dto import (
    BatchErrorItem,
    Match,
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    RowError,
    StatusPage,
    UsageInfo,
)
from asyncbatch.enums import BatchMode, BatchStatus, ErrorClass, ResultStatus
from asyncbatch.exceptions import ConfigError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.planning.looking import next_look
from asyncbatch.spool import SpoolFile

TAG_KEY = "asyncbatch_tag"
_SKEW_S = 300.0
"""The list is read back to this long before a create, and further where the provider's clock is known to be behind ours."""
_PAGES = 10_000
_NULL = msgspec.Raw(b"null")
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)
"""What reading JSON may raise: a ValueError comes of bytes that are no UTF-8."""
_TOO_LATE = frozenset({400, 409})
"""What the family answers to the cancel of a batch that is ending or over."""


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


class _File(msgspec.Struct, frozen=True):
    id: str
    bytes: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    status_code: int = 0
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
_FILE = msgspec.json.Decoder(_File, strict=False)
_LINE = msgspec.json.Decoder(_Line)
_REFUSAL = msgspec.json.Decoder(_Refusal, strict=False)


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read a batch object. Raises `msgspec.DecodeError` where it is none."""
    batch = _BATCH.decode(body)
    counts = batch.request_counts or _Counts()
    errors = tuple(_error_item(fault) for fault in (batch.errors.data or [] if batch.errors else []))
    ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    return ProviderStatus(
        provider_batch_id=batch.id,
        status=facts.normalize_status(batch.status),
        raw_status=batch.status,
        progress=Progress(total=counts.total or 0, completed=counts.completed or 0, failed=counts.failed or 0),
        error_message=errors[0].message if errors else None,
        errors=errors,
        created_at=batch.created_at,
        completed_at=ended,
        expires_at=batch.expires_at,
        results_expire_at=ended + facts.retention.output_s if ended and facts.retention.output_s else None,
        # An empty id means the same as none.
        result_uris=tuple(uri for uri in (batch.output_file_id, batch.error_file_id) if uri),
        usage=_batch_usage(body),
        endpoint=batch.endpoint,
        input_ref=batch.input_file_id or None,
        metadata=batch.metadata or {},
    )


def _error_item(fault: _Fault) -> BatchErrorItem:
    line = fault.line if isinstance(fault.line, int) else None
    return BatchErrorItem(
        code=_word(fault.code), message=_word(fault.message), line=line, param=_word(fault.param) or None
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _batch_usage(body: bytes) -> UsageInfo | None:
    usage = answers.usage("openai.responses", body)
    return usage if usage and usage.total_tokens else None  # zeros until the batch is over: nothing is known yet


def is_created(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer to a create is a batch with an id, and made of our input where it says of which."""
    try:
        batch = _BATCH.decode(body)
    except _UNREADABLE:
        return False
    return bool(batch.id) and batch.object in (None, "batch") and batch.input_file_id in (None, submission.input_ref)


def decode_page(body: bytes, facts: ProviderFacts) -> StatusPage:
    """Read a page of the list."""
    page = _PAGE.decode(body)
    statuses = tuple(decode_status(bytes(item), facts) for item in page.data)
    last = page.last_id or (statuses[-1].provider_batch_id if statuses else None)
    return StatusPage(statuses=statuses, cursor=last if page.has_more else None)


def decode_line(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a line of an output or error file; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _LINE.decode(line)
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except _UNREADABLE as error:
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
    body = answer.body.copy()
    metadata = {"provider_request_id": answer.request_id} if answer.request_id else {}
    if 200 <= answer.status_code < 300 and body and body != _NULL:
        usage = answers.usage(format, bytes(body))
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
    except _UNREADABLE:
        return _Fault(message=body[:200].decode("utf-8", "replace"))


def _fault(error: _Fault | str | None) -> _Fault:
    return _Fault(message=error) if isinstance(error, str) else error or _Fault()


_ENDS = {"batch_expired": ResultStatus.EXPIRED, "batch_cancelled": ResultStatus.CANCELLED}


def _never_ran(request_id: str, fault: _Fault, facts: ProviderFacts) -> ProviderResultRow:
    code = _word(fault.code)
    retryable = facts.classify_batch_error(code) is not ErrorClass.PERMANENT
    error = RowError(code=code, message=_word(fault.message), retryable=retryable)
    return ProviderResultRow(request_id=request_id, status=_ENDS.get(code, ResultStatus.ERRORED), error=error)


def encode_create(submission: PreparedSubmission, facts: ProviderFacts) -> bytes:
    """Give the body of a create: input, endpoint, window, and our tag among the caller's metadata."""
    options = dict(submission.options)
    metadata = dict(options.pop("metadata", None) or {})
    if submission.tag:
        metadata[TAG_KEY] = submission.tag
    body = {
        "input_file_id": submission.input_ref,
        "endpoint": submission.endpoint,
        "completion_window": f"{facts.window_s // 3600}h",
        **({"metadata": metadata} if metadata else {}),
        **options,
    }
    return msgspec.json.encode(body)


def check_metadata(metadata: Any, facts: ProviderFacts) -> None:
    """Refuse metadata that the provider would refuse, leaving room for our tag."""
    if metadata is None:
        return
    try:
        pairs_given = msgspec.convert(metadata, dict[str, str])
    except msgspec.ValidationError:
        message = f"{facts.name}: metadata is {metadata!r}, not a mapping of texts to texts"
        raise ConfigError(message, code="bad_metadata") from None
    limits = facts.limits
    pairs = limits.metadata_pairs.value - 1 if limits.metadata_pairs else None
    if pairs is not None and len(pairs_given) > pairs:
        raise ConfigError(f"{facts.name}: metadata has {len(pairs_given)} pairs; {pairs} are free", code="bad_metadata")
    longest_key = limits.metadata_key_chars.value if limits.metadata_key_chars else None
    longest_value = limits.metadata_value_chars.value if limits.metadata_value_chars else None
    for key, value in pairs_given.items():
        if (longest_key and len(key) > longest_key) or (longest_value and len(value) > longest_value):
            message = f"{facts.name}: metadata {key[:80]!r} is too long: a key may have {longest_key} characters"
            raise ConfigError(f"{message}, a value {longest_value}", code="bad_metadata")


class OpenAICompatibleProvider(BaseBatchProvider):
    """A provider that takes a file and a create, and gives an output and an error file."""

    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        return self.facts.supports(model, mode)

    async def prepare_payloads(
        self,
        *,
        batch_id: UUID,
        model: str,
        mode: BatchMode,
        requests: Requests,
        endpoint: str | None = None,
        wire_ids: WireIds = "own",
        on_reject: RejectHook | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[PreparedSubmission]:
        self.check_model(model, mode)
        check_metadata((options or {}).get("metadata"), self.facts)
        target = self.facts.endpoint_for(mode, endpoint)
        kind = target.format.partition(".")[2]

        def encode(request: Request, wire_id: str) -> EncodedRow:
            return encode_request(request, wire_id=wire_id, model=model, endpoint=target.path, kind=kind)

        rules = self._rules(mode, kind, wire_ids, encode)
        return await self.cut(
            requests,
            rules,
            batch_id=batch_id,
            model=model,
            endpoint=target.path,
            on_reject=on_reject,
            options=options,
        )

    def _rules(self, mode: BatchMode, kind: str, wire_ids: WireIds, encode: Any) -> IntakeRules:
        limits = self.facts.limits
        inputs = limits.embedding_inputs.value if kind == "embedding" and limits.embedding_inputs else None
        return IntakeRules(
            mode=mode,
            encode=encode,
            limits=ChunkLimits(rows=limits.requests.value, file_bytes=limits.file_bytes.value, inputs=inputs),
            line_bytes=limits.line_bytes.value if limits.line_bytes else None,
            id_pattern=re.compile(self.facts.request_id_pattern),
            wire_prefix=f"{self.runtime.nonce(8)}-" if wire_ids == "minted" else None,
        )

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Upload the lines as a file, and compare the length that arrived."""
        if submission.spool is None:
            message = f"{self.PROVIDER_NAME}: the submission carries no spooled input; make it with prepare_payloads"
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="no_input")
        name = f"{submission.tag or submission.batch_id}-{submission.chunk_index:04d}.jsonl"
        answer = await self.transport.upload("/files", submission.spool, filename=name, fields={"purpose": "batch"})
        file = self._decoded(_FILE, answer, "POST /files")
        if file.bytes is not None and file.bytes != submission.spool.size:
            await self.transport.delete(self.path("/files/{}", file.id))
            message = f"{self.PROVIDER_NAME}: {file.bytes} bytes of {submission.spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")
        return submission.replace(input_ref=file.id)

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # OpenAI bills each accepted POST and takes no idempotency key: it is sent once and never again by itself.
        body = encode_create(submission, self.facts)
        is_ours = partial(is_created, submission=submission)
        status = decode_status(await self.transport.create("/batches", body, is_created=is_ours), self.facts)
        return ProviderSubmitResult(
            provider_batch_id=status.provider_batch_id,
            status=status.status,
            raw_status=status.raw_status,
            submitted_at=status.created_at or self.runtime.now(),
            metadata=status.metadata,
        )

    async def submit(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        return await self.create(await self.upload(submission))

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path("/batches/{}/cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already, or ending: the batch itself says where it stands
            return await self._status(provider_batch_id, Profile.CONTROL)
        return self._decoded_status(answer.body, f"POST {path}")

    def fetch_results(self, provider_batch_id: str) -> ResultStream:
        return ResultStream(partial(self._download, provider_batch_id), self.runtime)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        most = self.facts.limits.list_page.value if self.facts.limits.list_page else 100
        params = {"limit": str(min(limit or most, most)), **({"after": cursor} if cursor else {})}
        body = await self.transport.get("/batches", params=params)
        try:
            return decode_page(body, self.facts)
        except _UNREADABLE as error:
            raise self._foreign("GET /batches", error) from None

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Walk the list back to shortly before `since`; our tag is certain, and so is an input that only this attempt uses."""
        matches: list[Match] = []
        cursor, seen = None, set[str]()
        back_to = since - self.transport.lead_s - _SKEW_S
        for _ in range(_PAGES):
            page = await self.list_statuses(cursor=cursor)
            matches += [match for status in page.statuses if (match := _match(submission, status))]
            oldest = min((status.created_at or since for status in page.statuses), default=since)
            if page.cursor is None or oldest < back_to:
                return matches
            if page.cursor in seen:
                message = f"{self.PROVIDER_NAME}: the list of batches names {page.cursor!r} as its own next page"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="endless_list")
            seen.add(page.cursor)
            cursor = page.cursor
        message = f"{self.PROVIDER_NAME}: the list of batches does not end"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="endless_list")

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Delete the input that only this attempt uses: a create that arrives late then fails validation."""
        if submission.input_ref is None:
            return False
        await self.transport.delete(self.path("/files/{}", submission.input_ref))
        return True

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        status = await self._status(provider_batch_id, Profile.CONTROL)
        files = [uri for uri in (status.input_ref, *status.result_uris) if uri]
        for file in files:
            await self.transport.delete(self.path("/files/{}", file))
        return len(files)

    async def _status(self, provider_batch_id: str, profile: Profile) -> ProviderStatus:
        path = self.path("/batches/{}", provider_batch_id)
        return self._decoded_status(await self.transport.get(path, profile=profile), f"GET {path}")

    async def _download(self, provider_batch_id: str) -> Downloaded:
        """Download every file the batch names, error file too, whatever its end."""
        status = await self._settled_status(provider_batch_id)
        file_format = self.facts.format_of(status.endpoint or "")
        files: list[SpoolFile] = []
        try:
            for uri in status.result_uris:
                files.append(self.new_file())
                await self.transport.download(self.path("/files/{}/content", uri), files[-1])
        except BaseException:
            for file in files:
                await self.runtime.offload(file.clear)
            raise
        return Downloaded(files=tuple(files), decode=partial(decode_line, format=file_format, facts=self.facts))

    async def _settled_status(self, provider_batch_id: str) -> ProviderStatus:
        """Give the status once its result files are named: a completed batch may show them some seconds late."""
        since, looks = self.runtime.now(), 0
        while True:
            status = await self._status(provider_batch_id, Profile.CONTROL)
            if not status.status.is_terminal:
                message = f"{self.PROVIDER_NAME}: batch {provider_batch_id} is {status.raw_status}, its answers come at its end"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="not_ended", hint="wait for it")
            wait = next_look(looks, self.runtime.now() - since, self.runtime.random()) if _is_early(status) else None
            if wait is None:
                return status
            looks += 1
            await self.runtime.sleep(wait)

    def _decoded_status(self, body: bytes, what: str) -> ProviderStatus:
        try:
            return decode_status(body, self.facts)
        except _UNREADABLE as error:
            raise self._foreign(what, error) from None

    def _decoded(self, decoder: "msgspec.json.Decoder[_File]", body: bytes, what: str) -> _File:
        try:
            return decoder.decode(body)
        except _UNREADABLE as error:
            raise self._foreign(what, error) from None

    def _foreign(self, what: str, error: Exception) -> ProviderTransientError:
        message = f"{self.PROVIDER_NAME}: {what} was answered with something else than expected: {error}"
        return ProviderTransientError(message, provider=self.PROVIDER_NAME, code="foreign_answer")


def _match(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    if submission.tag and status.metadata.get(TAG_KEY) == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="tag", is_certain=True, status=status)
    if submission.input_ref and status.input_ref == submission.input_ref:
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


def _is_early(status: ProviderStatus) -> bool:
    """Whether a completed batch names fewer files than its counts speak of: one for successes, one for failures."""
    counted = status.progress
    expected = (counted.completed > 0) + (counted.failed > 0)
    return status.status is BatchStatus.COMPLETED and len(status.result_uris) < expected
