"""How much an account has unfinished, and what one batch more gets where the service allows no more.

A service refuses the create with 429, or takes the batch and lets it fail at validation, before anything ran.
"""

from collections.abc import Sequence

import msgspec

from asyncbatch.emulator.desk import Desk, RefusalError
from asyncbatch.emulator.dialect import Limits
from asyncbatch.emulator.store import Problem, StoredBatch

BYTES_PER_TOKEN = 4
"""Of a row as it is written: services count tokens, and nobody here has their tokenizers."""


async def take_room(desk: Desk, batch: StoredBatch, *, tells_tokens_late: bool = False) -> None:
    """Let a batch that is about to be opened be counted; open it before anything else is awaited.

    Args:
        desk: Whose limits hold.
        batch: The new one.
        tells_tokens_late: Whether a batch for whose tokens there is no room is accepted, and fails.

    Raises:
        RefusalError: There is no room for it until others are over.
    """
    limits = desk.limits
    if limits.open_batches is None and limits.open_rows is None and limits.enqueued_tokens is None:
        return
    await desk.work.settle(*desk.store.batches_of(batch.account))
    now, batches = desk.clock.now(), desk.store.batches_of(batch.account)  # nothing is awaited from here on
    batch.course = msgspec.structs.replace(batch.course, created_at=now)  # it begins where it is counted, not before
    unfinished = [item for item in batches if not item.course.is_refused and not item.stand(now).is_over]
    refusal = _too_many(limits, unfinished, batch)
    tokens = _too_large(limits, unfinished, batch)
    if refusal is None and tokens is not None and tells_tokens_late:
        batch.refuse(Problem(code="token_limit_exceeded", message=tokens))
    elif refusal or tokens:
        if batch.input is not None and batch.input.is_inline:
            await desk.discard(batch.input)
        raise RefusalError(429, refusal or tokens or "", code="rate_limit_exceeded")


def _too_many(limits: Limits, unfinished: Sequence[StoredBatch], batch: StoredBatch) -> str | None:
    if limits.open_batches is not None and len(unfinished) >= limits.open_batches:
        return f"You have {len(unfinished)} unfinished batches, and can have no more."
    if limits.open_rows is not None and sum(map(_rows, [*unfinished, batch])) > limits.open_rows:
        return f"Not more than {limits.open_rows} requests can be unfinished."
    return None


def _too_large(limits: Limits, unfinished: Sequence[StoredBatch], batch: StoredBatch) -> str | None:
    most = limits.enqueued_tokens
    if most is None or sum(map(_tokens, [*unfinished, batch])) <= most:
        return None
    return f"Enqueued token limit reached. Limit: {most:,} enqueued tokens. Please try again later."


def _rows(batch: StoredBatch) -> int:
    if batch.examined is not None:
        return batch.examined.rows
    return batch.input.path.read_bytes().count(b"\n") if batch.input is not None else 0


def _tokens(batch: StoredBatch) -> int:
    return batch.input.size // BYTES_PER_TOKEN if batch.input is not None else 0
