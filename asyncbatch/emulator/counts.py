"""How many rows of a batch have ended how, at one moment. Pure."""

from msgspec import Struct

from asyncbatch.emulator.rows import Fate
from asyncbatch.emulator.store import StoredBatch


class Counts(Struct, frozen=True, kw_only=True):
    """Rows by how they ended; together they are the total.

    Attributes:
        succeeded: Answered rows, those that are then missing from the results among them.
        expired: Rows that were not run because time was up; once the batch is over, or for a row that asked for it.
    """

    total: int = 0
    succeeded: int = 0
    errored: int = 0
    expired: int = 0
    cancelled: int = 0
    pending: int = 0


def count_rows(batch: StoredBatch, now: float) -> Counts:
    """Count the rows; there are none until the input has been examined, and none in a batch that failed."""
    if batch.examined is None or batch.course.is_refused:
        return Counts()
    stand, fates = batch.stand(now), batch.examined.fates
    done = fates[: stand.rows_done]
    errored, expired, stalled = done.count(Fate.ERROR), done.count(Fate.EXPIRE), done.count(Fate.STALL)
    rest = len(fates) - len(done) + stalled
    is_cancelled = batch.course.cancel_at is not None
    return Counts(
        total=len(fates),
        succeeded=len(done) - errored - expired - stalled,
        errored=errored,
        expired=expired + (rest if stand.is_over and not is_cancelled else 0),
        cancelled=rest if stand.is_over and is_cancelled else 0,
        pending=0 if stand.is_over else rest,
    )
