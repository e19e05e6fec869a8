"""Rows that were refused before anything was sent: written down as they come, so that a million of them need no memory."""

from asyncbatch.codec.requests import mint_id
from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.outcomes import rejected
from asyncbatch.exceptions import RowProblem
from asyncbatch.spool import SpoolSpace

_HELD = 256


class Rejects:
    """Takes problems, gives the ledger of their rows. Everything but `discard` blocks."""

    def __init__(self, space: SpoolSpace) -> None:
        self._ledger = Ledger(0, space.new())
        self._held: list[ProviderResultRow] = []

    def __len__(self) -> int:
        return len(self._ledger) + len(self._held)

    def take(self, problem: RowProblem) -> None:
        """Hear of a row that cannot be sent."""
        self._held.append(rejected(problem, _id_of(problem)))
        if len(self._held) >= _HELD:
            self._write()

    def end(self) -> Ledger:
        """Give the account of all of them."""
        self._write()
        self._ledger.close(_never_asked, ())
        return self._ledger

    async def discard(self) -> None:
        await self._ledger.discard()

    def _write(self) -> None:
        self._ledger.grow(self._held)
        self._held = []


def _id_of(problem: RowProblem) -> str:
    """Name a refused row: by its own id, with its number where another row has the same, or by its number alone."""
    if not problem.request_id:
        return mint_id(problem.row)
    return f"{problem.request_id}#{problem.row}" if problem.code == "duplicate_id" else problem.request_id


def _never_asked(position: int, request_id: str) -> ProviderResultRow:
    raise AssertionError(f"row {position} ({request_id}) has no outcome, though each came with one")
