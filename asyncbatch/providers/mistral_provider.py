"""Mistral's batch jobs: requests in a file or in the create itself, answers in two files or in the job itself.

The bytes are read and written in `_shapes/mistral.py`; here are the calls.

Source: mistralai/platform-docs-public:openapi.yaml (batch, files), mistralai/client-python 3.7, and the behaviour noted in
`docs/providers/mistral.md`.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.dto import FilePage, Match, PreparedSubmission, ProviderStatus, ProviderSubmitResult, StatusPage
from asyncbatch.exceptions import ConfigError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.marks import encode_file_name
from asyncbatch.providers._shapes.mistral import (
    OUTPUTS,
    decode_file,
    decode_files,
    decode_job,
    decode_line,
    decode_page,
    decode_status,
    encode_create,
    encode_envelope,
    encode_line,
    encode_upload,
    has_fewer_files,
    is_created,
    is_early,
    match_of,
    may_hold,
)
from asyncbatch.runtime import finish
from asyncbatch.secrecy import Unseen
from asyncbatch.spool import PIECE_BYTES, SpoolFile
from asyncbatch.transport import JsonArrayBody
from asyncbatch.wire_provider import GONE, UNREADABLE, WireProvider, without_empty

_JOBS, _JOB, _FILES = "/v1/batch/jobs", "/v1/batch/jobs/{}", "/v1/files/{}"
_OURS = frozenset({"endpoint", "model", "agent_id", "input_files", "requests"})
_LONGEST_HOURS = 168
_TOO_LATE = frozenset({400, 409, 422})
"""What may be answered to the cancel of a job that is over: none is documented."""


class MistralBatchProvider(WireProvider):
    """Batches on Mistral's API."""

    PROVIDER_NAME = "mistral"

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del endpoint, is_inline  # the create names the one, and the other makes no difference
        return encode_line(wire_id, body)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        ours = sorted(_OURS & options.keys())
        if ours:
            message = f"{self.PROVIDER_NAME}: options name {', '.join(ours)}, which the job itself says"
            raise ConfigError(message, code="config.value", hint="leave it out of the options")
        metadata: Mapping[str, str] = options.get("metadata") or {}
        if not all((*metadata.keys(), *metadata.values())):
            raise ConfigError(f"{self.PROVIDER_NAME}: metadata has an empty key or value", code="bad_metadata")
        hours = options.get("timeout_hours", 1)
        if type(hours) is not int or not 1 <= hours <= _LONGEST_HOURS:
            message = f"{self.PROVIDER_NAME}: timeout_hours is {hours!r}"
            raise ConfigError(message, code="config.value", hint=f"it is a whole number from 1 to {_LONGEST_HOURS}")

    def window_of(self, options: Mapping[str, Any]) -> int:
        hours = options.get("timeout_hours")
        return hours * 3600 if type(hours) is int else self.facts.window_s

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    def is_early(self, status: ProviderStatus) -> bool:
        return is_early(status)

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Upload the requests as a file, and compare the length that arrived; what travels inline has nothing to upload."""
        if submission.is_inline:
            return submission
        spool, expires_s = self.input_of(submission), self.input_expiry_of(submission)
        name = encode_file_name(submission)
        answer = await self.transport.upload("/v1/files", spool, filename=name, fields=encode_upload(expires_s))
        file = self.read(decode_file, answer, "POST /v1/files")
        if file.bytes is not None and file.bytes != spool.size:
            await self.delete_file(file.id)
            message = f"{self.PROVIDER_NAME}: {file.bytes} bytes of {spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")
        return submission.replace(input_ref=file.id, input_expires_at=self.input_end(file.expires_at, expires_s))

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # Each accepted POST is a job that is billed, and no idempotency key is taken: it is sent once and not repeated.
        is_ours = partial(is_created, submission=submission)
        body: bytes | JsonArrayBody
        if submission.is_inline:
            head, tail = encode_envelope(submission, self.facts)
            body = JsonArrayBody(head, self.input_of(submission), tail)
        else:
            body = encode_create(submission, self.facts)
        answer = await self.transport.create(_JOBS, body, is_created=is_ours)
        return self.submit_result(decode_status(answer, self.facts))

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path("/v1/batch/jobs/{}/cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already: the job itself says where it stands
            return await self._status(provider_batch_id, Profile.CONTROL)
        return self.read(partial(decode_status, facts=self.facts), answer.body, f"POST {path}")

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        page, size = int(cursor or 0), self.page_size(limit)
        params = {"page": str(page), "page_size": str(size), "order_by": "-created"}
        body = await self.transport.get(_JOBS, params=params, profile=profile)
        return self.read(partial(decode_page, facts=self.facts, page=page, size=size), body, f"GET {_JOBS}")

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Delete the input that only this attempt uses: a create that arrives late then names a file that is not there."""
        if submission.input_ref is None:
            return False
        await self.delete_file(submission.input_ref)
        return True

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the files of a job that is over; where it has none, the record itself, which holds requests and answers."""
        path = self.path(_JOB, provider_batch_id)
        try:
            body = await self.transport.get(path)
        except ProviderPermanentError as error:
            if error.status in GONE:
                return 0
            raise
        status = self.read(partial(decode_status, facts=self.facts), body, f"GET {path}")
        self.check_ended(self.check_of(status, provider_batch_id))
        inputs = self.read(decode_job, body, f"GET {path}").input_files or ()
        files = without_empty((*inputs, *status.result_uris))
        return sum([await self.delete_file(file) for file in files]) if files else int(await self.delete_at(path))

    async def delete_file(self, ref: str) -> bool:
        return await self.delete_at(self.path(_FILES, ref))

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        page, size = int(cursor or 0), self.page_size(limit)
        body = await self.transport.get("/v1/files", params={"page": str(page), "page_size": str(size)})
        return self.read(partial(decode_files, page=page, size=size), body, "GET /v1/files")

    def is_left(self, status: ProviderStatus, files: Collection[str]) -> bool:
        places = without_empty((status.input_ref, *status.result_uris))
        return not places or any(place in files for place in places)

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers: from every file that the job names, whatever its end, or out of the job where it names none."""
        outputs = list[SpoolFile]()
        try:
            status = await self.settled_status(partial(self._look, provider_batch_id, outputs))
            if not outputs and may_hold(status):
                status = await self._fetch_outputs(provider_batch_id, outputs)
            decode = partial(decode_line, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
            files = [self.path("/v1/files/{}/content", uri) for uri in status.result_uris if uri != OUTPUTS]
            found = await self.download_files(files, decode)
        except BaseException:
            await finish(*(file.discard for file in outputs))
            raise
        return msgspec.structs.replace(found, files=(*found.files, *outputs))

    async def _look(self, provider_batch_id: str, outputs: list[SpoolFile]) -> ProviderStatus:
        """Ask where a job stands, and one that has no input file and names too few others also for what it holds itself."""
        if outputs:
            return await self._fetch_outputs(provider_batch_id, outputs)
        status = await self._status(provider_batch_id, Profile.CONTROL)
        if is_early(status) and status.input_ref is None:
            outputs.append(self.new_file())  # for the next look
        return status

    async def _fetch_outputs(self, provider_batch_id: str, outputs: list[SpoolFile]) -> ProviderStatus:
        """Put the results in a job's own JSON, which may be of any size, into the file of the list; it has one from then on."""
        path, document, cutter = self.path(_JOB, provider_batch_id), self.new_file(), ItemCutter([("outputs",)])
        file = outputs[0] if outputs else self.new_file()
        outputs[:] = [file]
        try:
            await self.transport.fetch(path, document, params={"inline": "true"})
            for offset in range(0, document.size, PIECE_BYTES):
                await self.runtime.offload(_cut_piece, document, offset, cutter, file)
            status = self.cleared(decode_status(Unseen(cutter.end()), self.facts))
        except UNREADABLE as error:
            failure = self.foreign_answer(f"GET {path}", error)
        else:
            if not has_fewer_files(status):  # they were named meanwhile, and hold the same
                await self.runtime.offload(file.clear)
            places = (*status.result_uris, OUTPUTS) if file.size else status.result_uris
            return msgspec.structs.replace(status, result_uris=places)
        finally:
            await finish(document.discard)
        raise failure

    async def _status(self, provider_batch_id: str, profile: Profile) -> ProviderStatus:
        decode = partial(decode_status, facts=self.facts)
        return await self.get_status(self.path(_JOB, provider_batch_id), decode, profile=profile, of=provider_batch_id)


def _cut_piece(document: SpoolFile, offset: int, cutter: ItemCutter, file: SpoolFile) -> None:
    """Move the results in a piece of a job's JSON into a file, a line each. Blocks."""
    found = cutter.feed(document.read(offset, min(PIECE_BYTES, document.size - offset)))
    file.append(b"".join(item + b"\n" for _, item in found))
