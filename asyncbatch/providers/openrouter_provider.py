"""OpenRouter's batches: requests travel in the create, answers stand in the batch itself; none is marked, none is cancelled.

The bytes are read and written in `_shapes/openrouter.py`; here are the calls.

Source: https://openrouter.ai/docs/batch-quickstart, openrouter 1.3.84 (`batch.py`, `components/batch*.py`), and what is noted
in `docs/providers/openrouter.md`.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from asyncbatch.base_provider import Downloaded, Profile
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.codec.lines import salvage_id
from asyncbatch.codec.options import check_window
from asyncbatch.dto import PreparedSubmission, ProviderStatus, ProviderSubmitResult, StatusPage
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import (
    UNCANCELLABLE,
    ConfigError,
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
)
from asyncbatch.providers._shapes.openrouter import (
    RESULTS,
    decode_page,
    decode_result,
    decode_status,
    encode_envelope,
    encode_line,
    is_created,
)
from asyncbatch.runtime import finish
from asyncbatch.secrecy import Unseen
from asyncbatch.spool import PIECE_BYTES, SpoolFile
from asyncbatch.transport import JsonArrayBody
from asyncbatch.unmarked_provider import PEEKED_BYTES, UnmarkedProvider
from asyncbatch.wire_provider import UNREADABLE

_BATCHES, _BATCH = "/batches", "/batches/{}"
_HELD = [(RESULTS,)]
_OURS = frozenset({"endpoint", "model", "requests"})

_PAYMENT_DUE = 402
_NEW_S = 60.0
"""So long after its create a batch that is not shown may simply be new; half of it has been seen."""
_CREATED = re.compile(r"batch-([0-9]{9,11})-", re.ASCII)
_SMALL_BYTES = 64 * 1024
"""What is read in less time than the way to a thread and back takes."""
_HAS_ANSWERS = frozenset({BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED})

Items = list[tuple[int, bytes]]


class OpenRouterBatchProvider(UnmarkedProvider):
    """Batches on OpenRouter, one model of one maker each."""

    PROVIDER_NAME = "openrouter"

    def encode_line(self, wire_id: bytes, body: bytes, endpoint: str, *, is_inline: bool) -> bytes:
        del endpoint, is_inline  # the create names the one, and there is no other way
        return encode_line(wire_id, body)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        ours = sorted(_OURS & options.keys())
        if ours:
            message = f"{self.PROVIDER_NAME}: options name {', '.join(ours)}, which the job itself says"
            raise ConfigError(message, code="config.value", hint="leave it out of the options")
        check_window(self.facts, options)

    def is_early(self, status: ProviderStatus) -> bool:
        return status.status in _HAS_ANSWERS and not status.result_uris

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        # Each accepted POST is billed, and neither a key nor a mark is taken: it is sent once and never again by itself.
        head, tail = encode_envelope(submission, self.facts)
        body = JsonArrayBody(head, self.input_of(submission), tail)
        answer = await self.transport.create(_BATCHES, body, is_created=is_created)
        return self.submit_result(decode_status(answer, self.facts))

    # Watching

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        try:
            return await self._status(provider_batch_id, Profile.POLL)
        except ProviderPermanentError as error:
            if error.status != 404 or not self._is_new(provider_batch_id):
                raise
            hint = "a new batch is shown some seconds late: ask again"
            failure = ProviderPermanentError(error.message, provider=self.PROVIDER_NAME, status=404, hint=hint)
        raise failure

    def _is_new(self, provider_batch_id: str) -> bool:
        """Whether a batch was created just now, by the moment in its id and the server's clock."""
        found = _CREATED.match(provider_batch_id)
        now = self.runtime.now() - self.transport.lead_s + self.transport.lag_s
        return found is not None and now - float(found[1]) < _NEW_S

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        """Refuse, for a batch that runs cannot be stopped; one that is over is shown."""
        status = await self._status(provider_batch_id)
        if status.status.is_terminal:
            return status
        message = (
            f"{self.PROVIDER_NAME} cannot cancel batch {provider_batch_id}: it goes on to its end, and is paid for"
        )
        hint = "wait for it, or leave it: nothing more is sent"
        raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code=UNCANCELLABLE, hint=hint)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        return await self._page(cursor, limit, Profile.CONTROL)

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        return await self._page(cursor, None, Profile.POLL)

    async def _page(self, cursor: str | None, limit: int | None, profile: Profile) -> StatusPage:
        params = {"limit": str(self.page_size(limit)), **({"after": cursor} if cursor else {})}
        body = await self.transport.get(_BATCHES, params=params, profile=profile)
        return self.read(partial(decode_page, facts=self.facts), body, f"GET {_BATCHES}")

    async def _status(
        self, provider_batch_id: str, profile: Profile = Profile.CONTROL, rows: SpoolFile | None = None
    ) -> ProviderStatus:
        """Ask where a batch stands; one that is over holds its answers, which go into a file or are passed over."""
        path = self.path(_BATCH, provider_batch_id)
        async with self._fetched(path, profile) as document:
            rest = await self._cut(document, _pass_over if rows is None else partial(_keep, rows), f"GET {path}")
        return self.check_of(
            self.read(partial(decode_status, facts=self.facts), rest, f"GET {path}"), provider_batch_id
        )

    @asynccontextmanager
    async def _fetched(self, path: str, profile: Profile) -> AsyncGenerator[SpoolFile, None]:
        """Lend a batch, which may be of any size."""
        document = self.new_file()
        try:
            try:
                await self.transport.fetch(path, document, profile=profile)
            except ProviderPermanentError as error:
                if error.status != _PAYMENT_DUE:
                    raise
                failure = self._payment_due(error)
            else:
                yield document
                return
            raise failure
        finally:
            await finish(document.discard)

    def _payment_due(self, error: ProviderError) -> ProviderTransientError:
        """Say that answers are withheld: they are computed and kept, and are there once they are paid for."""
        hint = "add credits: the answers are there, and nothing is run again"
        name = self.PROVIDER_NAME
        return ProviderTransientError(error.message, provider=name, status=_PAYMENT_DUE, code="payment_due", hint=hint)

    async def _cut(self, document: SpoolFile, take: Callable[[Items], object], what: str) -> bytes:
        """Hand the answers in a batch over, in a thread, and give what is left of it."""
        cutter = ItemCutter(_HELD)
        try:
            if document.size <= _SMALL_BYTES:
                _cut_piece(document, 0, cutter, take)
                return Unseen(cutter.end())
            for offset in range(0, document.size, PIECE_BYTES):
                await self.runtime.offload(_cut_piece, document, offset, cutter, take)
            return Unseen(cutter.end())
        except UNREADABLE as error:
            failure = self.foreign_answer(what, error)
        raise failure

    # A create whose answer is lost

    async def first_id(self, status: ProviderStatus) -> str:
        if not status.status.is_terminal:
            return ""
        first = await self.transport.peek(self.path(_BATCH, status.provider_batch_id), PEEKED_BYTES)
        return salvage_id(first, "custom_id")

    # Answers, and what is left

    async def download(self, provider_batch_id: str) -> Downloaded:
        """Bring the answers out of the batch that holds them, whatever its end."""
        rows = self.new_file()
        try:
            status = await self.settled_status(partial(self._status, provider_batch_id, Profile.CONTROL, rows))
            await self.runtime.offload(rows.flush)
        except BaseException:
            await finish(rows.discard)
            raise
        decode = partial(decode_result, format=self.facts.format_of(status.endpoint or ""), facts=self.facts)
        return Downloaded(files=(rows,), decode=decode)

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete a batch that is over, with its requests and its answers; bills are kept."""
        try:
            return int(await self.delete_at(self.path(_BATCH, provider_batch_id)))
        except ProviderPermanentError as error:
            if error.status == 409:
                self.check_ended(await self._status(provider_batch_id))
            raise


def _cut_piece(document: SpoolFile, offset: int, cutter: ItemCutter, take: Callable[[Items], object]) -> None:
    """Hand over the answers that end in a piece of a batch. Blocks."""
    take(cutter.feed(document.read(offset, min(PIECE_BYTES, document.size - offset))))


def _keep(rows: SpoolFile, items: Items) -> None:
    """Put answers into a file, a line each. Blocks."""
    rows.append(b"".join(item + b"\n" for _, item in items))


def _pass_over(items: Items) -> None:
    """Take answers that nobody asked for yet."""
    del items
