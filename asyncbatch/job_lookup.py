"""The row of one request, found by its id without reading the others."""

from collections.abc import Sequence
from typing import Any

from asyncbatch.codec.requests import mint_id
from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.order import REJECTS
from asyncbatch.engine.run import JobRun
from asyncbatch.exceptions import ConfigError

_BLOCK = 4096
_PICKED = 256
_LONGEST_NUMBER = 18


async def find_row(run: JobRun, desk: Desk, request_id: str) -> ProviderResultRow | None:
    """Give the row of a request; None while it has no outcome.

    Raises:
        ConfigError: The job has no such request.
    """
    run = desk.runs.get(run.record.job_id, run)
    run.check_readable()
    if run.is_over:  # another process may have sent some of it again since, or discarded it
        run = await desk.attach(run.record.job_id)
    found = await _by_number(run, request_id) or await _by_name(run, request_id)
    if found is None:
        raise ConfigError(f"job {run.record.job_id} has no request {request_id!r}", code="request.unknown")
    source, position = found
    rows = await run.runtime.offload(
        run.ledger_of(source).take_positions, range(position, position + 1), run.final().get(source, 0), 1
    )
    part = run.parts[source] if source != REJECTS else None
    if not rows and part is not None and part.is_stopped and part.error is not None:
        raise part.error.with_traceback(None)
    return rows[0] if rows else None


async def _by_number(run: JobRun, request_id: Any) -> tuple[int, int] | None:
    """Find a request that was given none, and so has the name of its place; the one that stands there says whether it does."""
    if not isinstance(request_id, str) or len(request_id) > _LONGEST_NUMBER or not request_id.isdecimal():
        return None
    place = int(request_id)
    if mint_id(place) != request_id or place >= len(run.order):
        return None
    source, position, _ = run.order.stretch(place, 1)
    known = await run.runtime.offload(_names, run, source, position, 1)
    return (source, position) if known == [request_id] else None


async def _by_name(run: JobRun, request_id: Any) -> tuple[int, int] | None:
    """Find a request by looking through all names, a block in a thread at a time; those that were refused come last."""
    counts = [(part.record.index, part.record.request_count, _BLOCK) for part in run.parts]
    if run.rejects is not None:
        counts.append((REJECTS, len(run.rejects), _PICKED))
    for source, count, block in counts:
        for first in range(0, count, block):
            known = await run.runtime.offload(_names, run, source, first, block)
            if request_id in known:
                return source, first + known.index(request_id)
    return None


def _names(run: JobRun, source: int, first: int, count: int) -> Sequence[str]:
    """Give the names of some requests. Blocks."""
    if source == REJECTS:
        ledger = run.ledger_of(source)
        return [row.request_id for row in ledger.pick(range(first, min(first + count, len(ledger))))]
    return list(run.parts[source].whole.request_ids[first : first + count])
