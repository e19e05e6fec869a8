"""OpenAI's files-and-batches protocol, which a whole family of providers speaks; what differs is in each provider's YAML.

The bytes are read and written in `_shapes/openai.py`; here are the calls.
"""

from functools import partial

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.dto import (
    Match,
    PreparedSubmission,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.exceptions import ProviderTransientError
from asyncbatch.providers._shapes.openai import (
    decode_file,
    decode_line,
    decode_page,
    decode_status,
    encode_create,
    encode_line,
    is_created,
    is_early,
    match_of,
)
from asyncbatch.wire_provider import WireProvider

_TOO_LATE = frozenset({400, 409})
"""What the family answers to the cancel of a batch that is ending or over."""


class OpenAICompatibleProvider(WireProvider):
    """A provider that takes a file and a create, and gives an output and an error file."""

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del is_inline
        return encode_line(wire_id, body, endpoint)

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    def is_early(self, status: ProviderStatus) -> bool:
        return is_early(status)

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Upload the lines as a file, and compare the length that arrived."""
        spool = self.input_of(submission)
        name = f"{submission.tag or submission.batch_id}-{submission.chunk_index:04d}.jsonl"
        answer = await self.transport.upload("/files", spool, filename=name, fields={"purpose": "batch"})
        file = self.read(decode_file, answer, "POST /files")
        if file.bytes is not None and file.bytes != spool.size:
            await self.transport.delete(self.path("/files/{}", file.id))
            message = f"{self.PROVIDER_NAME}: {file.bytes} bytes of {spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")
        return submission.replace(input_ref=file.id)

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # OpenAI bills each accepted POST and takes no idempotency key: it is sent once and never again by itself.
        body = encode_create(submission, self.facts)
        is_ours = partial(is_created, submission=submission)
        status = decode_status(await self.transport.create("/batches", body, is_created=is_ours), self.facts)
        return self.submit_result(status)

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path("/batches/{}/cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already, or ending: the batch itself says where it stands
            return await self._status(provider_batch_id, Profile.CONTROL)
        return self.read(partial(decode_status, facts=self.facts), answer.body, f"POST {path}")

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        params = {"limit": str(self.page_size(limit)), **({"after": cursor} if cursor else {})}
        body = await self.transport.get("/batches", params=params)
        return self.read(partial(decode_page, facts=self.facts), body, "GET /batches")

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

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Download every file the batch names, error file too, whatever its end."""
        status = await self.settled_status(partial(self._status, provider_batch_id, Profile.CONTROL))
        decode = partial(decode_line, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
        return await self.download_files([self.path("/files/{}/content", uri) for uri in status.result_uris], decode)

    async def _status(self, provider_batch_id: str, profile: Profile) -> ProviderStatus:
        decode = partial(decode_status, facts=self.facts)
        return await self.get_status(self.path("/batches/{}", provider_batch_id), decode, profile=profile)
