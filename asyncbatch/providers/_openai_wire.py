"""OpenAI's files-and-batches protocol, which a whole family of providers speaks; what differs is in each provider's YAML.

The bytes are read and written in `_openai_shapes.py`; here are the calls.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

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
from asyncbatch.codec.formats.openai import encode_request
from asyncbatch.codec.requests import EncodedRow, Request
from asyncbatch.dto import (
    Match,
    PreparedSubmission,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.planning.looking import next_look
from asyncbatch.providers._openai_shapes import (
    UNREADABLE,
    check_metadata,
    decode_file,
    decode_line,
    decode_page,
    decode_status,
    encode_create,
    is_created,
    is_early,
    match_of,
)
from asyncbatch.runtime import finish
from asyncbatch.spool import SpoolFile

T = TypeVar("T")

_SKEW_S = 300.0
"""The list is read back to this long before a create, and further where the provider's clock is known to be behind ours."""
_PAGES = 10_000
_REFUSED_KEY = frozenset({401, 403})
_TOO_LATE = frozenset({400, 409})
"""What the family answers to the cancel of a batch that is ending or over."""


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
        file = self._read(decode_file, answer, "POST /files")
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
        return self._read_status(answer.body, f"POST {path}")

    def fetch_results(self, provider_batch_id: str) -> ResultStream:
        return ResultStream(partial(self._download, provider_batch_id), self.runtime)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        most = self.facts.limits.list_page.value if self.facts.limits.list_page else 100
        params = {"limit": str(min(limit or most, most)), **({"after": cursor} if cursor else {})}
        body = await self.transport.get("/batches", params=params)
        return self._read(partial(decode_page, facts=self.facts), body, "GET /batches")

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Walk the list back to shortly before `since`; our tag is certain, and so is an input that only this attempt uses."""
        matches: list[Match] = []
        cursor, seen = None, set[str]()
        for _ in range(_PAGES):
            page = await self.list_statuses(cursor=cursor)
            back_to = since - self.transport.lead_s - _SKEW_S  # each answer tells anew how far its clock is behind ours
            matches += [match for status in page.statuses if (match := match_of(submission, status))]
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
        return self._read_status(await self.transport.get(path, profile=profile), f"GET {path}")

    async def _download(self, provider_batch_id: str) -> Downloaded:
        """Download every file the batch names, error file too, whatever its end; one that is gone takes no other with it."""
        status = await self._settled_status(provider_batch_id)
        files: list[SpoolFile] = []
        lost: ProviderPermanentError | None = None
        try:
            for uri in status.result_uris:
                try:
                    await self._download_file(uri, files)
                except ProviderPermanentError as error:
                    if error.status in _REFUSED_KEY:  # a key may be mended, and then every file is there
                        raise
                    lost = lost or error
        except BaseException:
            await finish(*(file.discard for file in files))
            raise
        decode = partial(decode_line, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
        return Downloaded(files=tuple(files), decode=decode, lost=lost)

    async def _download_file(self, uri: str, files: list[SpoolFile]) -> None:
        """Add a file to those that are there whole."""
        file = self.new_file()
        try:
            await self.transport.download(self.path("/files/{}/content", uri), file)
        except BaseException:
            await finish(file.discard)
            raise
        files.append(file)

    async def _settled_status(self, provider_batch_id: str) -> ProviderStatus:
        """Give the status once its result files are named: a completed batch may show them some seconds late."""
        since, looks = self.runtime.now(), 0
        while True:
            status = await self._status(provider_batch_id, Profile.CONTROL)
            if not status.status.is_terminal:
                message = f"{self.PROVIDER_NAME}: batch {provider_batch_id} is {status.raw_status}, its answers come at its end"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="not_ended", hint="wait for it")
            wait = next_look(looks, self.runtime.now() - since, self.runtime.random()) if is_early(status) else None
            if wait is None:
                return status
            looks += 1
            await self.runtime.sleep(wait)

    def _read_status(self, body: bytes, what: str) -> ProviderStatus:
        return self._read(partial(decode_status, facts=self.facts), body, what)

    def _read(self, decode: Callable[[bytes], T], body: bytes, what: str) -> T:
        try:
            return decode(body)
        except UNREADABLE as error:
            message = f"{self.PROVIDER_NAME}: {what} was answered with something else than expected: {error}"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="foreign_answer")
