"""Requests of any kind come in here: read to their end, checked, encoded, spooled, and cut into submissions.

The user's iterator runs on the event loop, where it was made, a couple of milliseconds at a time; encoding and writing run
in a thread, about a megabyte at a time. What is held in memory is one such slice, nine bytes an id, and the cuts.
"""

import hashlib
import re
import sys
import threading
from array import array
from collections import Counter
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import msgspec

from asyncbatch.codec.requests import EncodedRow, Request, RowFault, check_id, decode_request, mint_id, peek_id, shown
from asyncbatch.codec.slices import LineFrame, Usual, UsualLines, decode_usual, frame_lines, number_ids
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import InvalidRequestsError, RowProblem
from asyncbatch.planning.chunking import Chunk, Chunker, ChunkLimits
from asyncbatch.planning.duplicates import SeenIds
from asyncbatch.pulling import Requests, slices_of
from asyncbatch.request_ids import IdIndex
from asyncbatch.runtime import finish
from asyncbatch.spool import SpoolFile, SpoolSpace

_FIRST_SLICE, _LARGEST_SLICE = 32, 256
"""More rows at once cost more each: the garbage collector comes by, and what was just made has left the cache by then."""
_FASTER = 2
"""A slice of usual rows costs less than half of what others cost, and may be so much larger for the same time."""

_is_told_apart: ContextVar[bool] = ContextVar("asyncbatch_told_apart", default=False)


@contextmanager
def told_apart(*, wanted: bool = True) -> Generator[None]:
    """Have requests that come in within the block hashed, for whoever compares them with others; it costs as encoding does."""
    token = _is_told_apart.set(wanted)
    try:
        yield
    finally:
        _is_told_apart.reset(token)


class IntakeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider asks of the rows of one job.

    Attributes:
        mode: How a bare prompt is wrapped.
        encode: Makes a request a line, or raises `RowFault`; gets the id that it carries on the wire.
        limits: Where to cut.
        line_bytes: Largest line; None where the provider names none.
        id_pattern: What ids on the wire must match, whole; None for any.
        wire_prefix: Ids on the wire are this and the row's number; None sends the requests' own ids.
        encode_usual: Makes the bodies of many requests JSON at once, to what `encode` would make of each; None where one of
            them has to be looked at by itself, or where there is no such way.
        frame: What `encode` puts around the ids and bodies that `encode_usual` makes; None lets it make each line.
    """

    mode: BatchMode
    encode: Callable[[Request, str], EncodedRow]
    limits: ChunkLimits
    line_bytes: int | None = None
    id_pattern: re.Pattern[str] | None = None
    wire_prefix: str | None = None
    encode_usual: Callable[[Usual], list[bytes] | None] | None = None
    frame: LineFrame | None = None


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What came in: one body with all lines, the ids in order, and where to cut.

    Attributes:
        file: All lines.
        ids: The request ids, in the order of the lines.
        chunks: The cuts; none if every row was refused.
        refused: Rows that were refused, ascending.
        dropped: Fields that were left out because the provider cannot express them, with the number of rows.
        digest: A hash of ids and bodies: the same requests give the same one, whatever ids travel. Empty where nobody asked
            for it; see `told_apart`.
    """

    file: SpoolFile
    ids: IdIndex
    chunks: tuple[Chunk, ...]
    refused: Sequence[int] = ()
    dropped: Mapping[str, int] = {}
    digest: str = ""

    async def discard(self) -> None:
        await self.file.discard()
        await self.ids.discard()


async def take_in(
    requests: Requests,
    rules: IntakeRules,
    space: SpoolSpace,
    on_reject: Callable[[RowProblem], None] | None = None,
) -> Intake:
    """Read requests to their end.

    Args:
        requests: See `Requests`.
        rules: What the provider asks.
        space: Where the lines are kept; whoever owns it owns them.
        on_reject: Hears of each bad row, in a thread, and the others go on. Without it, bad rows are an error.

    Raises:
        InvalidRequestsError: A row is bad, or there is none at all. Nothing is kept.
    """
    _refuse_single(requests)
    reader = _Reader(rules, space, on_reject)
    try:
        async with aclosing(slices_of(requests, space.runtime, reader.slice_rows)) as slices:
            async for items in slices:
                await space.runtime.offload(reader.read, items)
        return await space.runtime.offload(reader.end)
    except BaseException:
        await finish(partial(space.runtime.offload, reader.stop), reader.discard)
        raise


def _refuse_single(given: Any) -> None:
    requests: object = given
    if isinstance(requests, str | bytes | Mapping | msgspec.Struct) or not isinstance(
        requests, Iterable | AsyncIterable
    ):
        what = f"requests is {type(given).__name__} {shown(given)}, not a list or an iterator of requests"
        raise InvalidRequestsError([RowProblem(0, None, "not_a_list", what)], hint="wrap it in a list")


class _Reader:
    """Checks, encodes and writes slices of rows. Everything but `slice_rows` and `discard` blocks."""

    def __init__(self, rules: IntakeRules, space: SpoolSpace, on_reject: Callable[[RowProblem], None] | None) -> None:
        self._rules = rules
        self._slice_bytes = space.runtime.slice_bytes
        self._on_reject = on_reject
        self._file = space.new()
        self._ids = IdIndex.new(space)
        self._seen = SeenIds(space.runtime.nonce(16).encode())
        self._chunker = Chunker(rules.limits)
        self._row = 0
        self._problems: list[RowProblem] = []
        self._refused = array("Q")
        self._dropped: Counter[str] = Counter()
        self._digest = hashlib.sha256() if _is_told_apart.get() else None
        self._were_usual = False
        self._noted: list[bytes] = []
        self._prefix = (rules.wire_prefix or "").encode()
        self._most = min(
            (most for most in (rules.limits.file_bytes, rules.line_bytes) if most is not None),
            default=sys.maxsize,
        )
        self._has_own_ids = False
        self._nameless = array("Q")
        """Rows that came before the first id of the user's own, and got no id at all."""
        self._lock = threading.Lock()
        self._is_stopped = False

    def slice_rows(self) -> int:
        """How many rows make about a megabyte, judged by those so far."""
        taken = len(self._ids)
        if not taken:
            return _FIRST_SLICE
        size = self._slice_bytes * _FASTER if self._were_usual else self._slice_bytes
        return max(1, min(_LARGEST_SLICE, size * taken // max(1, self._file.size)))

    def read(self, items: list[Any]) -> None:
        """Take a slice of the input."""
        with self._lock:
            if not self._is_stopped:
                self._read(items)

    def stop(self) -> None:
        """Wait for a slice that a cancelled task left behind in its thread, and take no more."""
        with self._lock:
            self._is_stopped = True

    def _read(self, items: list[Any]) -> None:
        self._were_usual = self._read_usual(items)
        if not self._were_usual:
            self._read_each(items)

    def _read_usual(self, items: list[Any]) -> bool:
        """Take rows that are all as most are, or none of them: one may be bad, or of another kind."""
        rows = self._usual(items) if items else None
        if rows is None:
            return False
        lines = rows.lines()
        if (len(lines) > self._most and max(rows.sizes()) > self._most) or not self._are_new(rows):
            return False
        if not self._chunker.add_run(len(items), len(lines)):
            for size in rows.sizes():
                self._chunker.add(size)
        if self._digest is not None:
            self._digest.update(rows.noted())
        self._file.append(lines)
        self._ids.extend_encoded(rows.names)
        self._row += len(items)
        return True

    def _usual(self, items: list[Any]) -> UsualLines | None:
        rules = self._rules
        if rules.encode_usual is None or rules.frame is None or (rules.limits.inputs or 1) < 1:
            return None
        requests = decode_usual(items, rules.mode)
        bodies = None if requests is None else rules.encode_usual(requests)
        if requests is None or bodies is None:
            return None
        numbers = number_ids(self._row, len(items))
        return frame_lines(
            rules.frame, bodies, numbers, requests.ids, prefix=rules.wire_prefix, pattern=rules.id_pattern
        )

    def _are_new(self, rows: UsualLines) -> bool:
        """Remember ids, unless one of them may have been there before."""
        if not rows.has_own_ids and not self._has_own_ids:
            return True
        self._begin_own_ids()
        return self._seen.add_all([name.decode() for name in rows.names])

    def _read_each(self, items: list[Any]) -> None:
        lines: list[bytes] = []
        ids: list[str] = []
        prefix = self._prefix
        for item in items:
            try:
                request_id, encoded = self._encode(item, ids)
            except RowFault as fault:
                self._refuse(RowProblem(self._row, peek_id(item), fault.code, fault.message))
            else:
                line = encoded.line
                lines.append(line)
                ids.append(request_id)
                self._chunker.add(len(line), encoded.inputs)
                if encoded.dropped:
                    self._dropped.update(encoded.dropped)
                # The prefix is made anew each time, and no part of what was handed in.
                if self._digest is not None:
                    self._noted += (request_id.encode(), b"\n", line.replace(prefix, b"", 1) if prefix else line)
            self._row += 1
        if self._digest is not None:
            self._digest.update(b"".join(self._noted))
            self._noted.clear()
        self._file.append(b"".join(lines))
        self._ids.extend(ids)

    def _encode(self, item: Any, ids: list[str]) -> tuple[str, EncodedRow]:
        rules, minted = self._rules, mint_id(self._row)
        try:
            request = decode_request(item, rules.mode)
            request_id = minted if request.request_id is None else request.request_id
            if request_id is not minted or rules.wire_prefix is None:
                check_id(request_id, rules.id_pattern if rules.wire_prefix is None else None)
        except RowFault:
            self._nameless.append(self._row)
            raise
        is_own = request_id is not minted
        if (is_own or self._has_own_ids) and self._was_seen(request_id):
            self._refuse_duplicate(request_id, ids)
        encoded = rules.encode(request, request_id if rules.wire_prefix is None else rules.wire_prefix + minted)
        size = len(encoded.line)
        if size > self._most or rules.limits.inputs is not None:
            self._check_size(size, encoded.inputs)
        return request_id, encoded

    def _was_seen(self, request_id: str) -> bool:
        self._begin_own_ids()
        return self._seen.add(request_id)

    def _begin_own_ids(self) -> None:
        """Numbers of rows all differ, so they are remembered only once there is an id of another kind."""
        if not self._has_own_ids:
            self._has_own_ids, nameless = True, set(self._nameless)
            for row in range(self._row):
                if row not in nameless:
                    self._seen.add(mint_id(row))

    def _refuse_duplicate(self, request_id: str, ids: list[str]) -> None:
        if len(self._refused) >= InvalidRequestsError.SHOWN:
            raise RowFault("duplicate_id", f"custom_id {shown(request_id)} was used before")
        # Few enough to look at the ids themselves: the hash of another one may be equal, and the first use has a place.
        first = len(self._ids) + ids.index(request_id) if request_id in ids else self._ids.find(request_id)
        if first is not None or self._refused:
            where = f"row {first}" if first is not None and not self._refused else "an earlier row"
            raise RowFault("duplicate_id", f"custom_id {shown(request_id)} was used before, by {where}")

    def _check_size(self, size: int, inputs: int) -> None:
        if size > self._most:
            raise RowFault("too_large", f"it is {size:,} bytes long; a request may have {self._most:,}")
        limits = self._rules.limits
        if limits.inputs is not None and not limits.fits_alone(size, inputs):
            raise RowFault("too_many_inputs", f"it has {inputs:,} inputs; a batch may have {limits.inputs:,}")

    def _refuse(self, problem: RowProblem) -> None:
        self._refused.append(problem.row)
        if self._digest is not None:
            self._noted.append(b"refused %d\n" % problem.row)
        if len(self._problems) < InvalidRequestsError.SHOWN:
            self._problems.append(problem)
        if self._on_reject is not None:
            self._on_reject(problem)

    def end(self) -> Intake:
        if not self._row:
            raise InvalidRequestsError([], hint="hand in at least one request")
        if self._refused and self._on_reject is None:
            hint = 'mend them, or let the others go with on_bad_row="reject"'
            raise InvalidRequestsError(self._problems, count=len(self._refused), hint=hint)
        self._file.flush()
        return Intake(
            file=self._file,
            ids=self._ids,
            chunks=self._chunker.end(),
            refused=self._refused,
            dropped=dict(self._dropped),
            digest="" if self._digest is None else self._digest.hexdigest(),
        )

    async def discard(self) -> None:
        await self._file.discard()
        await self._ids.discard()
