"""xAI's batches: over a file, or requests are added to one; counters instead of a status, and results in pages of JSON.

The bytes are read and written in `_shapes/xai.py`; here are the calls.

Source: xai-org/xai-proto:batch.proto and files.proto, xai-sdk 1.21.0 (which speaks gRPC alone), and the behaviour noted in
`docs/providers/xai.md`.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.codec.options import wire_options
from asyncbatch.codec.slices import LineFrame
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import FilePage, Match, PreparedSubmission, ProviderStatus, ProviderSubmitResult, StatusPage
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ConfigError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.marks import encode_early_tag, encode_file_name
from asyncbatch.providers._shapes.openai import line_frame
from asyncbatch.providers._shapes.xai import (
    DAY_S,
    RESULTS,
    Steadiness,
    added_frame,
    decode_file,
    decode_files,
    decode_line,
    decode_name,
    decode_next,
    decode_page,
    decode_status,
    encode_create,
    encode_upload,
    is_added,
    is_created,
    match_of,
)
from asyncbatch.runtime import finish
from asyncbatch.spool import PIECE_BYTES, SpoolFile
from asyncbatch.transport import JsonArrayBody
from asyncbatch.wire_provider import GONE, UNREADABLE, WireProvider

_BATCHES, _BATCH, _ADDS, _FILES, _FILE = "/batches", "/batches/{}", "/batches/{}/requests", "/files", "/files/{}"
_BATCH_IDS = "batch_"
_TOO_LATE = frozenset({400, 409, 412})
"""What may be answered to the cancel of a batch that is over: none is documented."""
_FILES_PAGE = 100
_RESULTS_PAGE = 1000
_PAGES = 10_000
_NONCE = 16


class XAIBatchProvider(WireProvider):
    """Batches on xAI's API."""

    PROVIDER_NAME = "xai"

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        frame = self.line_frame(endpoint, is_inline=is_inline)
        return b"".join((frame.before, wire_id, frame.between, body, frame.after))

    def line_frame(self, endpoint: str, *, is_inline: bool) -> LineFrame:
        frame = added_frame(endpoint) if is_inline else line_frame(endpoint)
        if frame is None:
            message = f"{self.PROVIDER_NAME}: requests for {endpoint} travel in a file alone"
            raise ConfigError(message, code="input_mode.unsupported", hint='leave input_mode out, or take "file"')
        return frame

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        unknown = sorted(wire_options(options).keys() - {"metadata"})
        if unknown:
            message = f"{self.PROVIDER_NAME}: options name {', '.join(unknown)}, and a create takes a name alone, which is ours"
            raise ConfigError(message, code="config.value", hint="leave it out of the options")

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    def tag_of(self, status: ProviderStatus) -> str | None:
        return decode_name(status.metadata.get("name")).tag

    @property
    def names_inputs(self) -> bool:
        return True

    def is_early(self, status: ProviderStatus) -> bool:
        return not status.result_uris

    # Sending

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Upload the lines as a file, and compare the length that arrived; or make a batch to which they will be added."""
        if submission.is_inline:
            return await self._open(submission)
        spool, expires_s = self.input_of(submission), self.input_expiry_of(submission)
        name, fields = encode_file_name(submission), encode_upload(expires_s)
        answer = await self.transport.upload(_FILES, spool, filename=name, fields=fields)
        file = self.read(decode_file, answer, f"POST {_FILES}")
        if file.bytes is not None and file.bytes != spool.size:
            await self.delete_file(file.id)
            message = f"{self.PROVIDER_NAME}: {file.bytes} bytes of {spool.size} arrived"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")
        expires_at = self.input_end(decode_time(file.expires_at), expires_s)
        return submission.replace(input_ref=file.id, input_expires_at=expires_at)

    async def _open(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Make a batch without requests: nothing of it runs, so it may be made again where an answer is lost."""
        self.input_of(submission)
        tag = submission.tag or encode_early_tag(submission, self.runtime.nonce(_NONCE))
        answer = await self.transport.post(_BATCHES, encode_create(submission.replace(tag=tag)))
        status = self.read(self._decode_status, answer.body, f"POST {_BATCHES}")
        return submission.replace(input_ref=status.provider_batch_id, input_expires_at=status.expires_at)

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        if submission.is_inline:
            return await self._add(submission)
        # No idempotency key is known: two creates are two batches. So it is sent once and never again by itself.
        is_ours, now = partial(is_created, submission=submission), self.runtime.now()
        answer = await self.transport.create(_BATCHES, encode_create(submission), is_created=is_ours)
        result = self.submit_result(decode_status(answer, self.facts, now))
        return msgspec.structs.replace(result, submitted_at=now)  # the service tells the day alone

    async def _add(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        """Add the requests to the batch that was made for them: all in one call, which is taken or refused as a whole."""
        if submission.input_ref is None:
            message = f"{self.PROVIDER_NAME}: the submission has no batch to which its requests could be added; upload it first"
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="no_input")
        path, body = (
            self.path(_ADDS, submission.input_ref),
            JsonArrayBody(b'{"batch_requests":[', self.input_of(submission), b"]}"),
        )
        # To add the same again is said to change nothing. That is not relied on: it is sent once, and then looked for.
        await self.transport.create(path, body, is_created=partial(is_added, submission=submission))
        return ProviderSubmitResult(
            provider_batch_id=submission.input_ref, status=BatchStatus.QUEUED, submitted_at=self.runtime.now()
        )

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Cancel the batch that was made for requests: what is added late is refused. What came in a file has no such thing.

        One that has its requests after all is the submission itself, and one that cannot be read may be: both are left alone.
        """
        if not submission.is_inline or submission.input_ref is None:
            return False
        status = await self._status(submission.input_ref, Profile.CONTROL)
        if status.progress.total or status.status is BatchStatus.UNKNOWN:
            return False
        status = await self.cancel(submission.input_ref)
        return status.status in (BatchStatus.CANCELLING, BatchStatus.CANCELLED)

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Ask for the batch that was made for requests; else walk the list.

        It is read a day further back than where batches tell their moment: here they tell the day, as its beginning.
        """
        if submission.is_inline and submission.input_ref is not None:
            try:
                status = await self._status(submission.input_ref, Profile.CONTROL)
            except ProviderPermanentError as error:
                if error.status not in GONE:
                    raise
            else:  # the list may lag behind, and what it does not show yet would be cancelled while it runs
                match = self.match_of(submission, status)
                return [] if match is None else [match]
        return await super().find_submissions(submission, since=since - DAY_S)

    # Watching

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        path = self.path("/batches/{}:cancel", provider_batch_id)
        answer = await self.transport.post(path, also=_TOO_LATE)
        if answer.status in _TOO_LATE:  # over already, or a bad key: the batch itself says which
            return await self._status(provider_batch_id, Profile.CONTROL)
        return self.check_of(self.read(self._decode_status, answer.body, f"POST {path}"), provider_batch_id)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        params = _part_of_list(self.page_size(limit), cursor)
        body = await self.transport.get(_BATCHES, params=params, profile=profile)
        return self.read(partial(decode_page, facts=self.facts, now=self.runtime.now()), body, f"GET {_BATCHES}")

    async def _status(self, provider_batch_id: str, profile: Profile) -> ProviderStatus:
        path = self.path(_BATCH, provider_batch_id)
        return await self.get_status(path, self._decode_status, profile=profile, of=provider_batch_id)

    def _decode_status(self, body: bytes) -> ProviderStatus:
        return decode_status(body, self.facts, self.runtime.now())

    # Answers

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers, page by page, whatever the end; first the counters have to add up, or to stay as they are."""
        await self.settled_status(partial(self._look, provider_batch_id, Steadiness()))
        file = self.new_file()
        try:
            await self._fetch_pages(self.path(RESULTS, provider_batch_id), file)
            await self.runtime.offload(file.flush)
        except BaseException:
            await finish(file.discard)
            raise
        return Downloaded(files=(file,), decode=partial(decode_line, facts=self.facts))

    async def _look(self, provider_batch_id: str, steadiness: Steadiness) -> ProviderStatus:
        """Ask where a batch stands; one whose counters may still go back names no place of answers yet."""
        status = await self._status(provider_batch_id, Profile.CONTROL)
        is_steady = steadiness.is_steady(status, self.runtime.now())
        return status if is_steady else msgspec.structs.replace(status, result_uris=())

    async def _fetch_pages(self, path: str, file: SpoolFile) -> None:
        """Put the results of all pages into a file; a token that comes twice would lead round for ever."""
        cursor, seen = await self._fetch_page(path, None, file), set[str]()
        while cursor is not None:
            if cursor in seen or len(seen) >= _PAGES:
                message = f"{self.PROVIDER_NAME}: GET {path}: the pages of results do not end"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="endless_list")
            seen.add(cursor)
            cursor = await self._fetch_page(path, cursor, file)

    async def _fetch_page(self, path: str, cursor: str | None, file: SpoolFile) -> str | None:
        """Add a page of results to those that are there, a line each, and give the cursor of the next one."""
        document, cutter = self.new_file(), ItemCutter([("results",)])
        try:
            await self.transport.fetch(path, document, params=_part_of_list(_RESULTS_PAGE, cursor))
            for offset in range(0, document.size, PIECE_BYTES):
                await self.runtime.offload(_cut_piece, document, offset, cutter, file)
            return decode_next(cutter.end())
        except UNREADABLE as error:
            failure = self.foreign_answer(f"GET {path}", error)
        finally:
            await finish(document.discard)
        raise failure

    # Deleting

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the input of a batch that is over. The batch and its answers cannot be deleted."""
        try:
            status = await self._status(provider_batch_id, Profile.CONTROL)
        except ProviderPermanentError as error:
            if error.status in GONE:
                return 0
            raise
        self.check_ended(status)
        return int(await self.delete_file(status.input_ref)) if status.input_ref else 0

    async def delete_file(self, ref: str) -> bool:
        if ref.startswith(_BATCH_IDS):  # what was made for requests is no file, and stays
            return False
        return await self.delete_at(self.path(_FILE, ref))

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        params = _part_of_list(min(limit or _FILES_PAGE, _FILES_PAGE), cursor)
        return self.read(decode_files, await self.transport.get(_FILES, params=params), f"GET {_FILES}")

    def is_left(self, status: ProviderStatus, files: Collection[str]) -> bool:
        return status.input_ref in files


def _part_of_list(size: int, cursor: str | None) -> dict[str, str]:
    return {"limit": str(size), **({"pagination_token": cursor} if cursor else {})}


def _cut_piece(document: SpoolFile, offset: int, cutter: ItemCutter, file: SpoolFile) -> None:
    """Move the results in a piece of a page into a file, a line each. Blocks."""
    found = cutter.feed(document.read(offset, min(PIECE_BYTES, document.size - offset)))
    file.append(b"".join(item + b"\n" for _, item in found))
