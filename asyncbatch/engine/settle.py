"""Answers of a batch that is over into the ledger of its submission, a slice at a time, in threads."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence

from asyncbatch.base_provider import BaseBatchProvider, ResultStream
from asyncbatch.dto import PreparedSubmission, ProviderResultRow, ProviderStatus
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.places import all_places_of
from asyncbatch.runtime import Runtime

_log = logging.getLogger("asyncbatch.engine")
_ROWS = 256


async def enter_answers(
    provider: BaseBatchProvider,
    status: ProviderStatus,
    whole: PreparedSubmission,
    sent: Sequence[int] | None,
    ledger: Ledger,
    runtime: Runtime,
) -> bool:
    """Read every answer of the batch; those that came before, in a try that failed, are the same and count once.

    Gives whether what was read proved itself whole.

    Args:
        provider: Whose batch.
        status: The batch.
        whole: All requests of the submission.
        sent: Positions of those that are in the batch; None for all.
        ledger: Where answers go.
        runtime: For the threads.
    """
    ids = await runtime.offload(list[str], whole.request_ids)
    places = await runtime.offload(all_places_of, whole, ids, sent)
    stream = provider.fetch_results(status.provider_batch_id)
    async for strays in _entered(stream, lambda rows: ledger.add(rows, places, ids), runtime):
        for stray in strays:
            _log.debug("batch %s answers %r, which is not ours", status.provider_batch_id, stray)
    return not isinstance(stream, ResultStream) or stream.is_verified


async def _entered(
    stream: AsyncIterable[ProviderResultRow], enter: Callable[[list[ProviderResultRow]], list[str]], runtime: Runtime
) -> AsyncGenerator[list[str], None]:
    """Give what a function says of each list of rows; where a stream of ours has read them, in the same hop."""
    if isinstance(stream, ResultStream):
        async with stream:
            async for said in stream.through(enter):
                yield said
        return
    async for rows in slices(stream):
        yield await runtime.offload(enter, rows)


async def slices(stream: AsyncIterable[ProviderResultRow]) -> AsyncGenerator[list[ProviderResultRow], None]:
    """Give rows in lists: a stream of ours has them at hand, one of another provider's is gathered."""
    if isinstance(stream, ResultStream):
        async with stream:
            async for rows in stream.slices():
                yield rows
        return
    gathered: list[ProviderResultRow] = []
    async for row in stream:
        gathered.append(row)
        if len(gathered) >= _ROWS:
            yield gathered
            gathered = []
    yield gathered
