"""OpenAI's files-and-batches protocol, which a whole family of providers speaks; what differs is in each provider's YAML.

The bytes are read and written in `_shapes/openai.py`; here are the calls.
"""

from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import Any

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.codec.errors import redact
from asyncbatch.codec.options import OUTPUT_EXPIRES, WINDOW, check_window, decode_window
from asyncbatch.codec.slices import LineFrame
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    FilePage,
    Match,
    PreparedSubmission,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.exceptions import (
    ConfigError,
    ProviderPermanentError,
    ProviderTransientError,
)
from asyncbatch.planning.looking import UPLOAD_PATIENCE_S, next_look
from asyncbatch.planning.marks import encode_file_name
from asyncbatch.providers._shapes.openai import (
    File,
    decode_file,
    decode_files,
    decode_page,
    decode_status,
    encode_create,
    encode_key,
    encode_line,
    encode_upload,
    frame_of,
    is_address,
    is_created,
    is_early,
    is_ready,
    match_of,
    places_of,
    unwrapped,
    why_lost,
)
from asyncbatch.providers._shapes.openai_lines import decode_line, decode_lines
from asyncbatch.spool import SpoolFile
from asyncbatch.wire_provider import GONE, WireProvider

_TOO_LATE = frozenset({400, 409})
"""What the family answers to the cancel of a batch that is ending or over."""
_FILES_PAGE = 1000
"""Files asked for at once: up to 10,000 are given, in one answer that is read in one piece."""


class OpenAICompatibleProvider(WireProvider):
    """A provider that takes a file and a create, and gives an output and an error file."""

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del is_inline
        return encode_line(wire_id, body, self.endpoint_as_sent(endpoint), self.facts)

    def line_frame(self, endpoint: str, *, is_inline: bool) -> LineFrame | None:
        del is_inline
        is_ours = (
            type(self).encode_line is OpenAICompatibleProvider.encode_line
        )  # who remakes bodies there wants to see each
        return frame_of(self.endpoint_as_sent(endpoint), self.facts) if is_ours else None

    def endpoint_as_sent(self, endpoint: str) -> str:
        """Give an endpoint's path as lines and creates of this account spell it."""
        return endpoint.removeprefix(self._endpoint_cut)

    @cached_property
    def _endpoint_cut(self) -> str:
        return self.facts.endpoint_cut(self.account_options)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        if OUTPUT_EXPIRES in options and "output_expires_after" in options:
            message = f"{self.PROVIDER_NAME}: {OUTPUT_EXPIRES} and output_expires_after say the same thing"
            raise ConfigError(message, code="config.value", hint="leave one of them out")
        check_window(self.facts, options)

    def window_of(self, options: Mapping[str, Any]) -> int:
        return decode_window(options.get(WINDOW)) or self.facts.window_s

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    @property
    def has_tags(self) -> bool:
        return super().has_tags and self.facts.takes_metadata

    @property
    def names_inputs(self) -> bool:
        return True

    def is_early(self, status: ProviderStatus) -> bool:
        return is_early(status)

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Upload the lines as a file, and compare the length that arrived."""
        spool, expires_s = self.input_of(submission), self.input_expiry_of(submission)
        name = encode_file_name(submission)
        path, fields = self.facts.wire.upload_path, encode_upload(name, expires_s, self.facts)
        answer = await self.transport.upload(path, spool, filename=name, fields=fields)
        file = self.read(partial(decode_file, facts=self.facts), answer, f"POST {path}")
        if file.bytes is not None and file.bytes != spool.size:
            await self.delete_file(file.id)
            message = f"{self.PROVIDER_NAME}: {file.bytes} bytes of {spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")
        try:
            await self._make_sure_of(file)
        except BaseException:
            await self.give_up(self.path("/files/{}", file.id))
            raise
        return submission.replace(
            input_ref=file.id, input_expires_at=self.input_end(decode_time(file.expires_at), expires_s)
        )

    async def _make_sure_of(self, file: File) -> None:
        """Wait until a batch can be made of an upload, where the service looks through it first."""
        since, looks, path = self.runtime.now(), 0, self.path("/files/{}", file.id)
        while not is_ready(file, self.facts):
            if (why := why_lost(file, self.facts)) is not None:
                message = redact(f"{self.PROVIDER_NAME}: {why}", self.account.origin.secrets)
                raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="upload_refused")
            waited_s = self.runtime.now() - since
            wait_s = next_look(looks, waited_s, self.runtime.random(), UPLOAD_PATIENCE_S)
            if wait_s is None:
                message = f"{self.PROVIDER_NAME}: after {waited_s:.0f} s no batch can be made of the upload yet"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_not_ready")
            looks += 1
            await self.runtime.sleep(wait_s)
            file = self.read(partial(decode_file, facts=self.facts), await self.transport.get(path), f"GET {path}")

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # OpenAI bills each accepted POST and takes no idempotency key: it is sent once and never again by itself. Where a key
        # is taken, a create that something on the way repeats is one batch all the same.
        endpoint = self.endpoint_as_sent(submission.endpoint)
        body = encode_create(submission.replace(endpoint=endpoint), self.facts)
        is_ours = partial(is_created, submission=submission, facts=self.facts)
        answer = await self.transport.create(
            "/batches", body, is_created=is_ours, headers=encode_key(submission, self.facts)
        )
        return self.submit_result(decode_status(unwrapped(answer, self.facts.wire.create_key), self.facts))

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path("/batches/{}/cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already, or ending: the batch itself says where it stands
            return await self._status(provider_batch_id, Profile.CONTROL)
        return self.read(partial(decode_status, facts=self.facts), answer.body, f"POST {path}")

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        params = self._part_of_list(self.page_size(limit), cursor)
        body = await self.transport.get("/batches", params=params, profile=profile)
        return self.read(partial(decode_page, facts=self.facts), body, "GET /batches")

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Delete the input that only this attempt uses: a create that arrives late then fails validation."""
        if submission.input_ref is None:
            return False
        await self.delete_file(submission.input_ref)
        return True

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the files of a batch that is over: its input and its answers. The batch itself cannot be deleted."""
        try:
            status = await self._status(provider_batch_id, Profile.CONTROL)
        except ProviderPermanentError as error:
            if error.status in GONE:
                return 0
            raise
        self.check_ended(status)
        return sum([await self.delete_file(file) for file in places_of(status) if not is_address(file)])

    async def delete_file(self, ref: str) -> bool:
        return await self.delete_at(self.path("/files/{}", ref))

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        params = self._part_of_list(min(limit or _FILES_PAGE, _FILES_PAGE), cursor)
        answer = await self.transport.get("/files", params=params)
        return self.read(partial(decode_files, facts=self.facts), answer, "GET /files")

    def _part_of_list(self, size: int, cursor: str | None) -> dict[str, str]:
        """Give the query for a page; a list that comes whole takes none."""
        return {"limit": str(size), **({"after": cursor} if cursor else {})} if self.facts.wire.pages else {}

    def is_left(self, status: ProviderStatus, files: Collection[str]) -> bool:
        return any(place in files for place in places_of(status))

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Download every file the batch names, error file too, whatever its end."""
        status = await self.settled_status(partial(self._status, provider_batch_id, Profile.CONTROL))
        places = [uri if is_address(uri) else self.path("/files/{}/content", uri) for uri in status.result_uris]
        kind, facts = self.facts.format_of(status.endpoint or ""), self.facts
        decode, decode_all = (
            partial(decode_line, format=kind, facts=facts),
            partial(decode_lines, format=kind, facts=facts),
        )
        accept = self.facts.wire.content_accept
        return await self.download_files(places, decode, decode_all, headers={"Accept": accept} if accept else None)

    async def download_into(self, place: str, file: SpoolFile, headers: Mapping[str, str] | None) -> bool:
        if not is_address(place):
            return await super().download_into(place, file, headers)

        async def address() -> str:  # the batch has just named it; the next look at the batch may name another
            return place

        return await self.transport.download_from(address, file)

    async def _status(self, provider_batch_id: str, profile: Profile) -> ProviderStatus:
        decode = partial(decode_status, facts=self.facts)
        path = self.path("/batches/{}", provider_batch_id)
        return await self.get_status(path, decode, profile=profile, of=provider_batch_id)
