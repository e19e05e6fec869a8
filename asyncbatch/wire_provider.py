"""What providers with a YAML have in common: rows made by their format, the list walked for a lost create, files downloaded.

A subclass says what is its own: a line, the calls, and how their answers are read. Providers of others may derive from it too.
"""

import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar, cast
from uuid import UUID

import anyio
import msgspec

from asyncbatch.base_provider import (
    BaseBatchProvider,
    Downloaded,
    InputChoice,
    IntakeRules,
    OnUnsupported,
    Profile,
    RejectHook,
    Requests,
    ResultStream,
    WireIds,
)
from asyncbatch.codec.errors import clear, clear_all, redact
from asyncbatch.codec.models_list import decode_models
from asyncbatch.codec.options import INPUT_EXPIRES, check_expiry, check_metadata, check_webhook, plan_input_expiry
from asyncbatch.codec.rows import RowEncoder, RowRules
from asyncbatch.codec.slices import LineFrame
from asyncbatch.dto import (
    Match,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.enums import BatchMode, InputMode, SubmitSafety
from asyncbatch.exceptions import AsyncBatchError, ConfigError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.planning.looking import next_look
from asyncbatch.result_stream import DecodeAll
from asyncbatch.runtime import finish
from asyncbatch.spool import SpoolFile

_log = logging.getLogger("asyncbatch.providers")

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)
"""What reading JSON may raise: a ValueError comes of bytes that are no UTF-8."""

HttpStatus: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=999)]
"""The status of one answer in a file; what is none makes its row unreadable, and goes no further."""

GONE = frozenset({404, 410})
"""What is answered where something is not, or not any more."""

SKEW_S = 300.0
"""The list is read back to this long before a create, and further where the provider's clock is known to be behind ours."""
_GIVE_UP_S = 10.0
"""As long as somebody who has cancelled us waits for a deletion."""
_PAGES = 10_000
_MODEL_PAGES = 100
_AN_ADDRESS = "an address of its own"
_SHOWN = 80


class WireProvider(BaseBatchProvider):
    """A provider whose facts stand in a YAML and whose bodies a format of `codec/formats` makes."""

    ENVELOPE_BYTES = 1024
    """Of the body of an inline create: what may stand around its rows."""
    TAG_FIELD = "asyncbatch_tag"
    """Where our tag stands in a batch's `metadata`."""

    # What a provider says for itself.

    @abstractmethod
    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        """Give the line of one request, newline included; `wire_id` and `body` are JSON, in one line each."""

    def line_frame(self, endpoint: str, *, is_inline: bool) -> LineFrame | None:
        """Give what `encode_line` puts around every id and body, where that is all it does: many lines are made at once then.

        By default None: each line is made by `encode_line`.
        """
        del endpoint, is_inline
        return None

    @abstractmethod
    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers of a batch that is over into the spool."""

    def inline_line(self, line: bytes) -> bytes:
        """Give the line of a file as it travels inline; both without newline. By default they are the same."""
        return line

    def match_of(self, submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
        """Say whether a batch of the list is this submission."""
        raise AssertionError(f"{self.PROVIDER_NAME} says how {submission.chunk_index} and {status} match")

    def is_early(self, status: ProviderStatus) -> bool:
        """Whether a batch that is over may yet name further places of answers."""
        del status
        return False

    def tag_of(self, status: ProviderStatus) -> str | None:
        tag = status.metadata.get(self.TAG_FIELD)
        return tag if isinstance(tag, str) else None

    # From requests to submissions.

    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        return self.facts.supports(model, mode)

    async def prepare_payloads(  # noqa: PLR0913 the contract of the base class
        self,
        *,
        batch_id: UUID,
        model: str,
        mode: BatchMode,
        requests: Requests,
        endpoint: str | None = None,
        wire_ids: WireIds = "own",
        on_reject: RejectHook | None = None,
        on_unsupported: OnUnsupported = "error",
        input_mode: InputChoice = "auto",
        options: Mapping[str, Any] | None = None,
        replace_model: bool = False,
    ) -> list[PreparedSubmission]:
        self.check_model(model, mode)
        self.check_options(options or {})
        target = self.facts.endpoint_for(mode, endpoint)
        if (options or {}).get(INPUT_EXPIRES) is not None:
            input_mode = self._filed(input_mode)
        travels = self._input_of(input_mode)
        rows = RowRules(
            title=self.facts.title,
            endpoint=target.path,
            format=target.format,
            mode=mode,
            model=model,
            max_tokens=self.facts.max_tokens_of(model),
            refuses=self.facts.refuses_of(model),
            is_dropping=_is_drop(on_unsupported),
            is_replacing_model=replace_model,
            line=partial(self.encode_line, endpoint=target.path, is_inline=travels is InputMode.INLINE),
        )
        submissions = await self.cut(
            requests,
            self._rules(rows, wire_ids, travels),
            batch_id=batch_id,
            model=model,
            endpoint=target.path,
            on_reject=on_reject,
            options=options,
        )
        if submissions and submissions[0].dropped:
            _log.warning(
                "%s: left out, as on_unsupported asks: %s", self.PROVIDER_NAME, _listed(submissions[0].dropped)
            )
        if travels is InputMode.INLINE:
            return [item.replace(is_inline=True) for item in submissions]
        try:
            return [await self._inlined(item) if self._is_small(item, input_mode) else item for item in submissions]
        except BaseException:
            await finish(partial(self.discard, submissions))
            raise

    def _input_of(self, choice: InputChoice) -> InputMode:
        """Give how rows travel, as far as it is known before they are counted."""
        inputs = self.facts.inputs
        if choice == "auto":
            return inputs[0]
        if choice not in inputs:
            known = " or ".join(("auto", *inputs))
            message = f"{self.PROVIDER_NAME}: input_mode is {choice!r}"
            raise ConfigError(message, code="input_mode.unsupported", hint=f"it can be {known}")
        return InputMode(choice)

    def _filed(self, choice: InputChoice) -> InputChoice:
        """Let requests whose stay is to be limited travel in a file, which can be given an end."""
        if choice == "inline":
            message = (
                f"{self.PROVIDER_NAME}: {INPUT_EXPIRES} is for a file, and requests that travel inline are in none"
            )
            raise ConfigError(message, code="expiry.unsupported", hint='leave it out, or let them travel with "file"')
        return "file"

    def _is_small(self, submission: PreparedSubmission, choice: InputChoice) -> bool:
        small = self.facts.inline_up_to
        if small is None or choice != "auto" or submission.spool is None or not submission.payloads:
            return False
        return submission.request_count <= small.requests and submission.spool.size <= small.bytes

    async def _inlined(self, submission: PreparedSubmission) -> PreparedSubmission:
        return await self.respooled(submission.replace(is_inline=True), self.inline_line)

    def _rules(self, rows: RowRules, wire_ids: WireIds, travels: InputMode) -> IntakeRules:
        limits = self.facts.limits
        kind = rows.format.partition(".")[2]
        inputs = limits.embedding_inputs.value if kind == "embedding" and limits.embedding_inputs else None
        most, size = limits.requests, limits.file_bytes
        if travels is InputMode.INLINE:
            most, size = limits.inline_requests or most, limits.inline_bytes or size
        envelope = self.ENVELOPE_BYTES if travels is InputMode.INLINE else 0
        encoder = RowEncoder(rows)
        return IntakeRules(
            mode=rows.mode,
            encode=encoder,
            encode_usual=encoder.encode_usual,
            frame=self.line_frame(rows.endpoint, is_inline=travels is InputMode.INLINE),
            limits=ChunkLimits(
                rows=most.value if most else None, file_bytes=size.value - envelope if size else None, inputs=inputs
            ),
            line_bytes=limits.line_bytes.value if limits.line_bytes else None,
            id_pattern=re.compile(self.facts.request_id_pattern),
            wire_prefix=f"{self.runtime.nonce(8)}-" if wire_ids == "minted" else None,
        )

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse words for the create that the provider would refuse once everything is uploaded."""
        self.check_metadata(options.get("metadata"))
        check_expiry(self.facts, options, self.window_of(options))
        check_webhook(self.facts, options)

    def check_metadata(self, metadata: Any) -> None:
        """Refuse metadata that the provider would refuse, leaving room for our tag."""
        check_metadata(self.facts, metadata)

    def window_of(self, options: Mapping[str, Any]) -> int:
        """Give the seconds that a batch with these words may take."""
        del options
        return self.facts.window_s

    def input_expiry_of(self, submission: PreparedSubmission) -> int | None:
        """Give the seconds after which the upload of a submission may go; None: nothing is asked for."""
        return plan_input_expiry(self.facts, submission.options, self.window_of(submission.options))

    def input_end(self, told: float | None, asked_s: int | None) -> float | None:
        """Say when an upload of this moment goes, Unix seconds: as the provider tells, else as it was asked or always does."""
        kept_s = asked_s or self.facts.retention.input_s
        return told or (self.runtime.now() + kept_s if kept_s else None)

    # Sending, and finding what was sent.

    async def submit(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        return await self.create(await self.upload(submission))

    def submit_result(self, status: ProviderStatus) -> ProviderSubmitResult:
        """Give what a create's answer says, read as a batch."""
        status = self.cleared(status)
        return ProviderSubmitResult(
            provider_batch_id=status.provider_batch_id,
            status=status.status,
            raw_status=status.raw_status,
            submitted_at=status.created_at or self.runtime.now(),
            metadata=status.metadata,
        )

    def input_of(self, submission: PreparedSubmission) -> Any:
        """Give the spooled rows, or say that there are none."""
        if submission.spool is None:
            message = f"{self.PROVIDER_NAME}: the submission carries no spooled input; make it with prepare_payloads"
            raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="no_input")
        return submission.spool

    def submit_safety(self, submission: PreparedSubmission | None = None) -> SubmitSafety:
        facts = self.facts
        is_inline = submission.is_inline if submission else facts.inputs[0] is InputMode.INLINE
        return facts.inline_submit_safety or facts.submit_safety if is_inline else facts.submit_safety

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Walk the list back to shortly before `since`; see `match_of` for what is certain."""
        matches: list[Match] = []
        cursor, seen = None, set[str]()
        for _ in range(_PAGES):
            page = await self.list_statuses(cursor=cursor)
            back_to = since - self.transport.lead_s - SKEW_S  # each answer tells anew how far its clock is behind ours
            matches += self.matches_in(page, submission, back_to)
            created = [status.created_at or since for status in page.statuses] or [since]
            is_newest_first = created[0] >= created[-1]  # as every service does it, and not all of them document
            if page.cursor is None or (is_newest_first and min(created) < back_to):
                return matches
            if page.cursor in seen:
                message = f"{self.PROVIDER_NAME}: the list of batches names {page.cursor!r} as its own next page"
                raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="endless_list")
            seen.add(page.cursor)
            cursor = page.cursor
        message = f"{self.PROVIDER_NAME}: the list of batches does not end"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="endless_list")

    def matches_in(self, page: StatusPage, submission: PreparedSubmission, back_to: float) -> list[Match]:
        """Give what matches on a page; a mark of ours is certain however old a clock says that it is."""
        del back_to
        return [match for status in page.statuses if (match := self.match_of(submission, status))]

    def page_size(self, limit: int | None) -> int:
        """Give how many batches to ask for: never more than the provider gives."""
        most = self.list_page_size
        return min(limit or most, most)

    async def list_models(self) -> tuple[str, ...] | None:
        known = self.facts.models_list
        if known is None:
            return None
        path, params, names = known.path.format_map(self.account.options), dict(known.params), list[str]()
        for _ in range(_MODEL_PAGES):
            page = self.read(decode_models, await self.transport.get(path, params=params), f"GET {path}")
            names += page.names
            if page.cursor is None or known.cursor is None or params.get(known.cursor) == page.cursor:
                break
            params[known.cursor] = page.cursor
        return tuple(dict.fromkeys(names))

    async def delete_at(self, path: str, gone: Collection[int] = GONE) -> bool:
        """Delete something; gives whether it was still there."""
        return (await self.transport.send("DELETE", path, also=gone)).status not in gone

    async def give_up(self, path: str) -> None:
        """Delete what nobody will use, whatever cancels us meanwhile; that it stays is no error: why we gave up says more."""
        await finish(partial(self._give_up, path))

    async def _give_up(self, path: str) -> None:
        with suppress(AsyncBatchError), anyio.move_on_after(_GIVE_UP_S):
            await self.transport.send("DELETE", path, also=GONE, retry=False)

    # Answers.

    def fetch_results(self, provider_batch_id: str) -> ResultStream:
        return ResultStream(partial(self.download, provider_batch_id), self.runtime)

    async def download_files(
        self,
        places: Sequence[str],
        decode: Callable[[bytes], ProviderResultRow],
        decode_all: DecodeAll | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Downloaded:
        """Download files by their paths below the base URL; one that is gone takes no other with it. See `Downloaded`.

        Args:
            places: The paths, or whatever else `download_into` knows.
            decode: Reads a line.
            decode_all: Reads many.
            headers: Of each download.
        """
        files: list[SpoolFile] = []
        is_verified, lost = True, None
        try:
            for place in places:
                try:
                    is_verified &= await self._download_file(place, files, headers)
                except ProviderPermanentError as error:
                    if error.is_auth:  # a key may be mended, and then every file is there
                        raise
                    lost = lost or error
        except BaseException:
            await finish(*(file.discard for file in files))
            raise
        return Downloaded(files=tuple(files), decode=decode, decode_all=decode_all, lost=lost, is_verified=is_verified)

    async def _download_file(self, place: str, files: list[SpoolFile], headers: Mapping[str, str] | None) -> bool:
        """Add a file to those that are there; gives whether it proved itself whole."""
        file = self.new_file()
        try:
            is_verified = await self.download_into(place, file, headers)
        except BaseException:
            await finish(file.discard)
            raise
        files.append(file)
        if not is_verified and file.size:
            shown = _AN_ADDRESS if "://" in place else place  # which may be signed, and open to whoever reads it
            _log.warning("%s: nothing proves that GET %s came whole; it came twice alike", self.PROVIDER_NAME, shown)
        return is_verified or not file.size

    async def download_into(self, place: str, file: SpoolFile, headers: Mapping[str, str] | None) -> bool:
        """Fetch one of the files of `download_files`; gives whether it proved itself whole. By default a place is a path."""
        return await self.transport.download(place, file, headers=headers)

    async def settled_status(self, ask: Callable[[], Any]) -> ProviderStatus:
        """Give the status once its answers are named: a completed batch may show them some seconds late.

        Args:
            ask: Asks once where the batch stands.

        Raises:
            ProviderTransientError: It is not over yet.
        """
        since, looks = self.runtime.now(), 0
        while True:
            status: ProviderStatus = await ask()
            self.check_ended(status)
            wait = (
                next_look(looks, self.runtime.now() - since, self.runtime.random()) if self.is_early(status) else None
            )
            if wait is None:
                return status
            looks += 1
            await self.runtime.sleep(wait)

    def check_ended(self, status: ProviderStatus) -> None:
        """Say of a batch that runs that it does: neither are its answers there, nor may its input be taken away."""
        if not status.status.is_terminal:
            batch = f"batch {status.provider_batch_id} is {status.raw_status}"
            message = f"{self.PROVIDER_NAME}: {batch}, its answers come at its end"
            raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="not_ended", hint="wait for it")

    # Reading.

    def read(self, decode: Callable[[bytes], T], body: bytes, what: str) -> T:
        """Read an answer; one that is something else than expected is a foreign page, and may be another the next time."""
        try:
            return self.cleared(decode(body))
        except UNREADABLE as error:
            failure = self.foreign_answer(what, error)
        raise failure

    def cleared(self, found: T) -> T:
        """Give what was read, without our key in what it says went wrong."""
        secrets = self.account.origin.secrets
        if isinstance(found, ProviderStatus):
            return cast("T", clear(found, secrets))
        if isinstance(found, StatusPage):
            return cast("T", msgspec.structs.replace(found, statuses=clear_all(found.statuses, secrets)))
        return found

    def foreign_answer(self, what: str, error: Exception) -> ProviderTransientError:
        """Say that a call was answered with something else than expected; what cannot be read may quote our key."""
        said = redact(str(error), self.account.origin.secrets)
        message = f"{self.PROVIDER_NAME}: {what} was answered with something else than expected: {said}"
        return ProviderTransientError(message, provider=self.PROVIDER_NAME, code="foreign_answer")

    async def get_status(
        self,
        path: str,
        decode: Callable[[bytes], ProviderStatus],
        *,
        profile: Profile = Profile.POLL,
        of: str | None = None,
    ) -> ProviderStatus:
        """Ask for a batch object that fits into memory; `of` is the id that it has to have."""
        status = self.read(decode, await self.transport.get(path, profile=profile), f"GET {path}")
        return status if of is None else self.check_of(status, of)

    def check_of(self, status: ProviderStatus, provider_batch_id: str) -> ProviderStatus:
        """Give a status that is this batch's: one of another, as a cache may give it, must not end it."""
        if status.provider_batch_id.rpartition("/")[2] == provider_batch_id.rpartition("/")[2]:
            return status
        found = redact(status.provider_batch_id, self.account.origin.secrets)[:_SHOWN] or "none"
        message = f"{self.PROVIDER_NAME}: asked about batch {provider_batch_id}, and told about {found!r}"
        raise ProviderTransientError(message, provider=self.PROVIDER_NAME, code="foreign_answer")


def _is_drop(choice: str) -> bool:
    if choice not in ("error", "drop"):
        raise ConfigError(f"on_unsupported is {choice!r}", code="config.value", hint='it is "error" or "drop"')
    return choice == "drop"


def _listed(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{field} (in {rows:,} requests)" for field, rows in dropped.items())


def without_empty(places: Collection[str | None]) -> tuple[str, ...]:
    """Give the places that are named: an empty name means the same as none."""
    return tuple(filter(None, places))
