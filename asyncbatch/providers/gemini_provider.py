"""Gemini's batches: a file that goes up in pieces, or requests in the create itself; answers in a file, or in the batch itself.

The bytes are read and written in `_shapes/gemini.py`; here are the calls.

Sources: https://ai.google.dev/api/batch-api, googleapis/python-genai 3.6 (batches.py, files.py), and the behaviour noted in
`docs/providers/gemini.md`.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.codec.rpc import Fault, decode_count
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    Blob,
    FilePage,
    Match,
    PreparedSubmission,
    ProviderStatus,
    ProviderSubmitResult,
    RemoteFile,
    StatusPage,
)
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ConfigError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.marks import encode_file_name
from asyncbatch.providers._shapes.gemini import (
    EMBED,
    HELD,
    InlineAnswers,
    decode_line,
    decode_status,
    encode_create,
    encode_envelope,
    encode_line,
    inline_line,
    is_created,
    match_of,
)
from asyncbatch.runtime import finish
from asyncbatch.secrecy import Unseen
from asyncbatch.spool import PIECE_BYTES, SpoolFile
from asyncbatch.transport import JsonArrayBody
from asyncbatch.transport.resumable import send_resumable
from asyncbatch.wire_provider import GONE, UNREADABLE, WireProvider

MEDIA_TYPE = "application/jsonl"
"""Of an input file, as the guide has it; googleapis/python-genai issue 1248 tells of trouble with other spellings."""

_LOOKS, _LONGEST_LOOK_S = 40, 10.0
"""At a file that is not ready: six minutes in all."""
_TOO_LATE = frozenset({400, 409})
"""What may be answered to the cancel of a batch that is over: none is documented."""
_GONE_FILE = GONE | {403}
"""The delete of an uploaded file that is not there is answered 403."""
_VERSION = re.compile(r"[a-z0-9]+")

_FILES_PAGE = 100
"""The most files that are given at once."""

_SMALL_BYTES = 64 * 1024
"""What is read in less time than the way to a thread and back takes."""

Items = list[tuple[int, bytes]]


class _File(msgspec.Struct, frozen=True, rename="camel"):
    """A file at the service, which may be used once its state is `ACTIVE`."""

    name: str
    display_name: str | None = None
    size_bytes: Any = None
    create_time: Any = None
    expiration_time: Any = None
    state: str | None = None
    error: Fault | None = None


class _Uploaded(msgspec.Struct, frozen=True):
    file: _File


class _Files(msgspec.Struct, frozen=True, rename="camel"):
    """A page of files; an empty one is an empty object."""

    files: list[_File] | None = None
    next_page_token: str | None = None


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    """What a page of the list says beside its operations; an empty one is an empty object."""

    next_page_token: str | None = None


_READ_PAGE = msgspec.json.Decoder(_Page)
_READ_FILE = msgspec.json.Decoder(_File)
_READ_FILES = msgspec.json.Decoder(_Files)
_READ_UPLOADED = msgspec.json.Decoder(_Uploaded)


class GeminiBatchProvider(WireProvider):
    """Batches on the Gemini Developer API."""

    PROVIDER_NAME = "gemini"
    TAG_FIELD = "displayName"

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del endpoint  # the path of the create says what all requests are for
        return encode_line(wire_id, body, is_inline=is_inline)

    def inline_line(self, line: bytes) -> bytes:
        return inline_line(line)

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        return match_of(submission, status)

    def is_early(self, status: ProviderStatus) -> bool:
        return status.status is BatchStatus.COMPLETED and not status.result_uris

    # Sending

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Send the lines as a file, compare the length that arrived, and wait until the file may be used."""
        if submission.is_inline:
            return submission
        self._create_path(submission)  # a model that no path can carry is refused before its file goes up
        spool = self.input_of(submission)
        about = {
            "file": {"display_name": encode_file_name(submission), "mime_type": MEDIA_TYPE, "size_bytes": spool.size}
        }
        file = await self._ready(await self._sent(spool, msgspec.json.encode(about)))
        expires_at = self.input_end(decode_time(file.expiration_time), self.input_expiry_of(submission))
        return submission.replace(input_ref=file.name, input_expires_at=expires_at)

    async def _sent(self, spool: Blob, about: bytes) -> _File:
        path = f"/upload/{self._version}/files"
        answer = await send_resumable(self.transport, self.runtime, path, spool, media_type=MEDIA_TYPE, metadata=about)
        if answer is None:
            message = f"{self.PROVIDER_NAME}: POST {path}: the upload did not come to its end"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_lost")
        file = self.read(_READ_UPLOADED.decode, answer, f"POST {path}").file
        size = decode_count(file.size_bytes)
        if size in (None, spool.size):
            return file
        await self.delete_file(file.name)
        message = f"{self.PROVIDER_NAME}: {size} bytes of {spool.size} arrived"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_cut")

    async def _ready(self, file: _File) -> _File:
        path = self._place("files", file.name)
        for look in range(_LOOKS):
            if file.state == "ACTIVE":
                return file
            if file.state == "FAILED":
                why = file.error.text if file.error else ""
                message = f"{self.PROVIDER_NAME}: the uploaded file cannot be used: {why or 'no explanation'}"
                raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="upload_failed")
            await self.runtime.sleep(min(2.0**look, _LONGEST_LOOK_S))
            file = self.read(_READ_FILE.decode, await self.transport.get(path), f"GET {path}")
        message = f"{self.PROVIDER_NAME}: the uploaded file is still not ready: {file.state or 'no state'}"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="upload_processing")

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # Documented as not idempotent: two creates are two batches. So it is sent once and never again by itself.
        body: bytes | JsonArrayBody
        if submission.is_inline:
            head, tail = encode_envelope(submission, self.facts)
            body = JsonArrayBody(head, self.input_of(submission), tail)
        else:
            body = encode_create(submission, {"fileName": submission.input_ref}, self.facts)
        is_ours = partial(is_created, submission=submission)
        answer = await self.transport.create(self._create_path(submission), body, is_created=is_ours)
        return self.submit_result(decode_status(answer, self.facts))

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Delete the input that only this attempt uses: a create that arrives late then names a file that is not there."""
        if submission.input_ref is None:
            return False
        await self.delete_file(submission.input_ref)
        return True

    # Watching

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        return await self._status(provider_batch_id, Profile.POLL)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        """Ask for the end; the answer is empty, and the batch has no word for a wish that was taken: that one is ours."""
        path = self._place("batches", provider_batch_id, ":cancel")
        answer = await self.transport.post(path, b"{}", also=_TOO_LATE)
        status = await self._status(provider_batch_id)
        if status.status.is_terminal or answer.status in _TOO_LATE:
            return status
        return msgspec.structs.replace(status, status=BatchStatus.CANCELLING)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._listed(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._listed(cursor, None, Profile.POLL)

    async def _listed(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        """Give a page; an operation that holds its answers is emptied by itself, so that the page becomes small."""
        params = {"pageSize": str(self.page_size(limit)), **({"pageToken": cursor} if cursor else {})}
        found: list[bytes] = []
        async with self._fetched(f"/{self._version}/batches", profile, params=params) as document:
            cutter = ItemCutter([("operations",)], within=HELD)
            rest = await self._cut(document, cutter, lambda items: found.extend(item for _, item in items))
        return self.read(partial(self._page, found), rest, "GET /batches")

    def _page(self, operations: list[bytes], rest: bytes) -> StatusPage:
        statuses = tuple(decode_status(operation, self.facts) for operation in operations)
        return StatusPage(statuses=statuses, cursor=_READ_PAGE.decode(rest).next_page_token or None)

    async def _status(self, provider_batch_id: str, profile: Profile = Profile.CONTROL) -> ProviderStatus:
        """Ask where a batch stands; one that is over may hold all of its answers, which are passed over."""
        path = self._place("batches", provider_batch_id)
        async with self._fetched(path, profile) as document:
            rest = await self._cut(document, ItemCutter(HELD), _pass_over)
        status = self.read(partial(decode_status, facts=self.facts), rest, f"GET {path}")
        return self.check_of(status, provider_batch_id)

    # Answers

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers: from the file that the batch names, or out of the batch that holds them."""
        status = await self.settled_status(partial(self._status, provider_batch_id))
        decode = partial(decode_line, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
        files = [uri for uri in status.result_uris if uri.startswith("files/")]
        if status.result_uris and not files:
            return await self._held(provider_batch_id, decode)
        # The name of an output file is longer than `files.get` takes: it is downloaded, and never asked about.
        return await self.download_files([self._place("files", uri, ":download?alt=media") for uri in files], decode)

    async def _held(self, provider_batch_id: str, decode: Callable[..., Any]) -> Downloaded:
        file, found = self.new_file(), InlineAnswers()
        try:
            async with self._fetched(self._place("batches", provider_batch_id)) as document:
                await self._cut(document, ItemCutter(HELD), lambda items: file.append(found.lines(items)))
            await self.runtime.offload(file.flush)
        except BaseException:
            await finish(file.discard)
            raise
        return Downloaded(files=(file,), decode=partial(decode, unkeyed=found.unkeyed))

    # Deleting

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete a batch that is over, with which its answers go, and its input where it names one."""
        try:
            status = await self._status(provider_batch_id)
        except ProviderPermanentError as error:
            if error.status in GONE:  # deleted before
                return 0
            raise
        self.check_ended(status)
        deleted = await self.delete_file(status.input_ref) if status.input_ref else False
        return deleted + await self.delete_at(self._place("batches", provider_batch_id))

    async def delete_file(self, ref: str) -> bool:
        return await self.delete_at(self._place("files", ref), _GONE_FILE)

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        """Give a page of the files that were uploaded; those of answers are not listed, and go with their batch."""
        size = str(min(limit or _FILES_PAGE, _FILES_PAGE))
        params = {"pageSize": size, **({"pageToken": cursor} if cursor else {})}
        path = f"/{self._version}/files"
        page = self.read(_READ_FILES.decode, await self.transport.get(path, params=params), f"GET {path}")
        return FilePage(files=tuple(map(_remote, page.files or ())), cursor=page.next_page_token or None)

    # Calls

    @property
    def _version(self) -> str:
        """The version in every path, which is a setting of the account."""
        version = self.account.options["api_version"]
        if not _VERSION.fullmatch(version):
            message = f"{self.PROVIDER_NAME}: api_version is {version!r}"
            raise ConfigError(message, code="config.value", hint="it looks like v1, v1beta or v1alpha")
        return version

    def _place(self, kind: str, name: str, suffix: str = "") -> str:
        """Give the path of a batch or a file, whose name may carry its kind in front."""
        return self.path(f"/{self._version}/{kind}/{{}}{suffix}", name.removeprefix(f"{kind}/"))

    def _create_path(self, submission: PreparedSubmission) -> str:
        verb = "asyncBatchEmbedContent" if submission.endpoint == EMBED else "batchGenerateContent"
        return self.path(f"/{self._version}/models/{{}}:{verb}", submission.model)

    @asynccontextmanager
    async def _fetched(
        self, path: str, profile: Profile = Profile.CONTROL, *, params: Mapping[str, str] | None = None
    ) -> AsyncGenerator[SpoolFile, None]:
        """Lend a JSON document of any size."""
        document = self.new_file()
        try:
            await self.transport.fetch(path, document, params=params, profile=profile)
            yield document
        finally:
            await finish(document.discard)

    async def _cut(self, document: SpoolFile, cutter: ItemCutter, take: Callable[[Items], object]) -> bytes:
        """Hand the elements of a document's large arrays over, in a thread, and give what is left of it."""
        try:
            if document.size <= _SMALL_BYTES:
                _cut_piece(document, 0, cutter, take)
                return Unseen(cutter.end())
            for offset in range(0, document.size, PIECE_BYTES):
                await self.runtime.offload(_cut_piece, document, offset, cutter, take)
            return Unseen(cutter.end())
        except UNREADABLE as error:
            failure = self.foreign_answer("a batch", error)
        raise failure


def _remote(file: _File) -> RemoteFile:
    return RemoteFile(
        ref=file.name,
        name=file.display_name or "",
        size=decode_count(file.size_bytes),
        created_at=decode_time(file.create_time),
        expires_at=decode_time(file.expiration_time),
    )


def _cut_piece(document: SpoolFile, offset: int, cutter: ItemCutter, take: Callable[[Items], object]) -> None:
    """Hand over the elements that end in a piece of a document. Blocks."""
    take(cutter.feed(document.read(offset, min(PIECE_BYTES, document.size - offset))))


def _pass_over(items: Items) -> None:
    """Take answers that nobody asked for yet."""
    del items
