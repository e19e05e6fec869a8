"""The account of requests of one submission: every one of them against exactly one outcome.

Nine bytes a request in memory; the rows themselves lie in a spooled body, each as a frame of four bytes of length and a
msgpack record. A row that is replaced (a conflict, a real answer after a notice of expiry, one of a later round) leaves its old
frame behind, which readers skip because the ledger points elsewhere.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import msgspec

from asyncbatch.answers import added
from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.engine.frames import Page, Stored, damaged, frames_in, read_at, read_piece, row_of
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.spool import PIECE_BYTES, SpoolFile

_NOTHING = 2**64 - 1
_OPEN = frozenset({_NOTHING})
_STATUSES = tuple(ResultStatus)
_CODES = {status: code for code, status in enumerate(_STATUSES)}
_SUCCEEDED = _CODES[ResultStatus.SUCCEEDED]  # a look at the hash of an enum's member is a call of its own
_NEVER_RAN = frozenset({ResultStatus.EXPIRED, ResultStatus.CANCELLED})
_PICKED = 256


class Taken(NamedTuple):
    """Some rows, in the order in which they lie in the file.

    Attributes:
        rows: They.
        following: Where the next ones begin.
        is_end: Whether there are no next ones, for now.
    """

    rows: list[ProviderResultRow]
    following: int
    is_end: bool


class Ledger:
    """Outcomes of `count` requests, and where their rows lie in `file`. All but `counts` blocks: call it in a thread."""

    def __init__(self, count: int, file: SpoolFile) -> None:
        self._file = file
        self._outcomes = bytearray(b"\xff" * count)
        self._offsets = array("Q", [_NOTHING]) * count
        self._former: dict[int, int] = {}
        self._round = 0
        self._order: tuple[int, int, Sequence[int]] = (0, 0, ())
        self.usage = UsageInfo()
        self.strays = 0
        self.is_closed = False

    @classmethod
    def load(cls, count: int, file: SpoolFile, size: int | None = None) -> "Ledger":
        """Read an account that was closed back from its rows, or from so many bytes of them.

        Raises:
            JournalError: They do not add up.
        """
        if size is not None and size < file.size:
            file.cut(size)
        ledger, offset = cls(count, file), 0
        with file.reader() as reader:
            while offset < file.size:
                following = offset
                for at, end, stored in frames_in(read_piece(reader, offset)):
                    ledger._note(offset + at, stored)
                    following = offset + end
                if following == offset:
                    raise damaged(f"{file.path} is cut off")
                offset = following
        ledger._check()
        return ledger

    def __len__(self) -> int:
        return len(self._outcomes)

    def counts(self) -> dict[ResultStatus, int]:
        """How many requests ended how; those without an outcome yet are not counted."""
        found = ((status, self._outcomes.count(code)) for status, code in _CODES.items())
        return {status: n for status, n in found if n}

    def counts_without(self, positions: Iterable[int]) -> dict[ResultStatus, int]:
        """How many requests ended how, but for these."""
        counts = Counter(self.counts())
        counts.subtract(_STATUSES[self._outcomes[position]] for position in positions)
        return {status: n for status, n in counts.items() if n}

    def add(
        self,
        rows: Sequence[ProviderResultRow],
        places: Callable[[Sequence[ProviderResultRow]], Sequence[int | None]],
        ids: Sequence[str],
    ) -> list[str]:
        """Enter answers as they came: all of them, or none if the disk refuses, and then they may be added again.

        Args:
            rows: The answers, named by the ids that travelled.
            places: Gives the positions of such rows, None for one that is not ours.
            ids: The requests' own ids, by position.

        Returns:
            Ids that are not ours.
        """
        page = Page(self._file.size, self._round)
        positions = places(rows)
        if self._are_new(positions):
            page.enter_all(positions, rows, ids)
            self._write(page)
            return []
        strays: list[str] = []
        fresh: dict[int, ProviderResultRow] = {}
        for row, position in zip(rows, positions, strict=True):
            if position is None:
                strays.append(row.request_id)
                continue
            held = fresh.get(position)
            if held is None and self._offsets[position] == _NOTHING:
                page.enter(position, row, None, ids[position])
                fresh[position] = row
                continue
            held = self._held(position) if held is None else _named(held, ids[position])
            kept = _reconciled(held, _named(row, ids[position]))
            if kept is not held:
                page.enter(position, kept, held)
                fresh[position] = kept
        self._write(page)
        self.strays += len(strays)
        return strays

    def _are_new(self, positions: Sequence[int | None]) -> TypeGuard[Sequence[int]]:
        """Whether these are requests that have no answer yet, each once."""
        found = set(positions)
        return (
            None not in found
            and len(found) == len(positions)
            and {self._offsets[position] for position in found if position is not None} <= _OPEN
        )

    def grow(self, rows: Sequence[ProviderResultRow]) -> None:
        """Add requests at the end, each with its row."""
        first, page = len(self), Page(self._file.size, self._round)
        for index, row in enumerate(rows):
            page.enter(first + index, row, None)
        self._outcomes += b"\xff" * len(rows)
        self._offsets.extend([_NOTHING] * len(rows))
        self._write(page)

    def close(self, fill: Callable[[int, str], ProviderResultRow], ids: Sequence[str]) -> None:
        """Give every request without an answer its outcome, and see that the account adds up.

        Raises:
            JournalError: It does not.
            StorageError: The disk refuses; it may be closed again later.
        """
        page = Page(self._file.size, self._round)
        position = self._outcomes.find(b"\xff")
        while position >= 0:
            page.enter(position, fill(position, ids[position]), None)
            position = self._outcomes.find(b"\xff", position + 1)
            if len(page.frames) > PIECE_BYTES:
                self._write(page)
                page = Page(self._file.size, self._round)
        self._write(page)
        self._file.flush()
        self._check()

    def rows(self, positions: Sequence[int] | None = None) -> Iterator[ProviderResultRow]:
        """Give the row of each request, in order, or of each of some."""
        wanted = range(len(self)) if positions is None else positions
        for first in range(0, len(wanted), _PICKED):
            yield from self.pick(wanted[first : first + _PICKED])

    def reopen(self, positions: Sequence[int]) -> None:
        """Begin another round: these requests have no outcome until they are answered again. Tokens stay counted."""
        self._former = {}
        for position in positions:
            self._former[position] = self._offsets[position]
            self._outcomes[position], self._offsets[position] = 0xFF, _NOTHING
        self._round += 1  # last: `_order_to` in another thread may be looking at offsets meanwhile
        self.is_closed = False

    def restore(self) -> None:
        """Give requests whose round was not sent, and that have no new outcome, the one back that they had before."""
        with self._file.reader() as reader:
            former = [read_at(reader, offset) for position, offset in self._former.items() if self._is_open(position)]
        page = Page(self._file.size, self._round)
        for stored in former:
            page.copy(stored)
        self._write(page)
        self._former = {}

    def pick(self, positions: Sequence[int]) -> list[ProviderResultRow]:
        """Give the rows of some requests, each of which has its outcome."""
        with self._file.reader() as reader:
            return [row_of(read_at(reader, self._offsets[position])) for position in positions]

    def read(self, offset: int, until: int | None = None) -> tuple[list[ProviderResultRow], int]:
        """Give the rows in a piece of the file, and where the next piece begins; that is `until`, or the size, at the end."""
        rows: list[ProviderResultRow] = []
        with self._file.reader() as reader:
            data = read_piece(reader, offset)
        if until is not None:
            data = data[: until - offset]
        following = offset
        for at, end, stored in frames_in(data):
            if self._offsets[stored.position] == offset + at:
                rows.append(row_of(stored))
            following = offset + end
        return rows, following

    def take(self, offset: int, until: int, limit: int, room: int) -> Taken:
        """Give so many rows of those that lie from here on, in the order of the file, or fewer once their bodies fill the room.

        An offset may be any number: nothing is read from where no row begins.
        """
        order = self._order_to(until)
        first = bisect_left(order, offset)
        rows = self._rows_at(order[first : first + limit], room)
        end = first + len(rows)
        return Taken(rows, order[end - 1] + 1 if rows else offset, end >= len(order))

    def take_positions(self, positions: range, until: int, room: int) -> list[ProviderResultRow]:
        """Give the rows of these requests, up to the first whose row does not lie before `until`, as far as there is room."""
        offsets = self._offsets[positions.start : positions.stop]
        return self._rows_at(takewhile(lambda offset: offset < until, offsets), room)

    def _rows_at(self, offsets: Iterable[int], room: int) -> list[ProviderResultRow]:
        rows: list[ProviderResultRow] = []
        with self._file.reader() as reader:
            for offset in offsets:
                rows.append(row_of(read_at(reader, offset)))
                room -= len(rows[-1].body)
                if room <= 0:
                    break
        return rows

    def _order_to(self, until: int) -> Sequence[int]:
        """Give where the rows that count begin, ascending: those that lie before `until`, which no later round moves."""
        number = self._round
        order = self._order
        if order[:2] != (number, until):
            order = (number, until, array("Q", sorted(offset for offset in self._offsets if offset < until)))
            self._order = order
        return order[2]

    def _is_open(self, position: int) -> bool:
        return self._outcomes[position] == 0xFF

    @property
    def size(self) -> int:
        return self._file.size

    def keep_at(self, path: Path) -> None:
        """Let the rows lie under this path from now on. Blocks."""
        self._file.keep_at(path)

    async def discard(self) -> None:
        await self._file.discard()

    def _check(self) -> None:
        self.is_closed = True
        counted = sum(self.counts().values())
        if counted != len(self) or _NOTHING in self._offsets:
            raise JournalError(f"{counted} outcomes for {len(self)} requests", code="ledger.mismatch")

    def _note(self, offset: int, stored: Stored) -> None:
        """Account for a row that lies in the file already; a later one of the same request replaces an earlier one."""
        if not 0 <= stored.position < len(self):
            raise damaged(f"a row of position {stored.position} among {len(self)}")
        held = self._stored(stored.position)
        # That of a request counts once, and once more for each round in which it was paid for.
        if stored.usage is not None and (held is None or held.usage is None or held.round < stored.round):
            self.usage += stored.usage
        self._round = max(self._round, stored.round)
        self._offsets[stored.position] = offset
        self._outcomes[stored.position] = _CODES[stored.status]

    def _write(self, page: "Page") -> None:
        """Write first, and account for it then: a write that fails changes nothing."""
        self._file.append(page.frames)
        offsets, outcomes = self._offsets, self._outcomes
        for position, offset, status in page.entries:
            offsets[position] = offset
            outcomes[position] = _SUCCEEDED if status is ResultStatus.SUCCEEDED else _CODES[status]
        if page.usages:
            self.usage += added(page.usages)

    def _held(self, position: int) -> ProviderResultRow:
        stored = self._stored(position)
        assert stored is not None, f"request {position} has no row"
        return row_of(stored)

    def _stored(self, position: int) -> Stored | None:
        offset = self._offsets[position]
        if offset == _NOTHING:
            return None
        with self._file.reader() as reader:
            return read_at(reader, offset)


def _named(row: ProviderResultRow, request_id: str) -> ProviderResultRow:
    """Give a row under its request's own id."""
    return row if row.request_id == request_id else msgspec.structs.replace(row, request_id=request_id)


def _reconciled(held: ProviderResultRow, row: ProviderResultRow) -> ProviderResultRow:
    """Make one outcome of two answers to one request; gives `held` itself where the second adds nothing."""
    same_error = (held.error and held.error.code) == (row.error and row.error.code)
    if held.status is ResultStatus.CONFLICT or (held.status is row.status and held.body == row.body and same_error):
        return held
    # Some providers list a request that was answered once more among those that expired or were cancelled.
    if row.status in _NEVER_RAN and held.status not in _NEVER_RAN:
        return held
    if held.status in _NEVER_RAN and row.status not in _NEVER_RAN:
        return row
    message = f"two different answers came: one {held.status.value}, one {row.status.value}; both are in the body"
    return ProviderResultRow(
        request_id=row.request_id,
        status=ResultStatus.CONFLICT,
        body=msgspec.Raw(msgspec.json.encode([_as_json(held), _as_json(row)])),
        format="",
        error=RowError(code="conflict", message=message),
        usage=held.usage,
    )


def _as_json(row: ProviderResultRow) -> Any:
    """Give an answer as a JSON value: as it came where it is JSON, else as a text."""
    if not row.body:
        return None if row.error is None else {"code": row.error.code, "message": row.error.message}
    if row.status is ResultStatus.UNDECODABLE:
        return bytes(row.body).decode("utf-8", "replace")
    return row.body
