"""Unfinished jobs, taken up when a client is opened: an account's in their order, and no account waits for another's key."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.exceptions import AsyncBatchError
from asyncbatch.journal import JobRecord
from asyncbatch.runtime import Owner

_log = logging.getLogger("asyncbatch.client")

PATIENCE_S = 2.0
"""How long, in real seconds, opening a client waits for keys; what has its key is taken up before the client is open."""

_AT_ONCE = 32
"""How many keys are asked for at once, at what is perhaps one vault; whose is late is not counted any more."""

ProviderOf = Callable[[JobRecord, bool], Awaitable[BaseBatchProvider]]


class _Queue:
    """The unfinished jobs of one account at one provider, oldest first."""

    def __init__(self) -> None:
        self.records: list[JobRecord] = []
        self.has_key = anyio.Event()
        """Or has none: it has been asked for."""
        self.is_done = anyio.Event()


class Resuming:
    """Takes up what is unfinished and nobody's.

    Args:
        owner: Whose tasks do it, also when the client is open by then.
        provider_of: Gives the provider that a job was sent with; it may wait for the application to say whose key that is.
        take_up: Goes on with a job by its name, as that provider's; it waits for no key.
    """

    def __init__(
        self, owner: Owner, provider_of: ProviderOf, take_up: Callable[[str, BaseBatchProvider], Awaitable[object]]
    ) -> None:
        self._owner = owner
        self._provider_of = provider_of
        self._take_up = take_up
        self._places = anyio.CapacityLimiter(_AT_ONCE)

    async def start(self, records: Iterable[JobRecord]) -> None:
        """Take up jobs; gives back when all have been whose keys came soon, and lets the others follow."""
        queues: dict[object, _Queue] = {}
        for record in records:
            queues.setdefault(_payer(record), _Queue()).records.append(record)
        for queue in queues.values():
            self._owner.spawn(self._in_turn, queue, name="asyncbatch unfinished jobs")
        with anyio.move_on_after(PATIENCE_S):
            for queue in queues.values():
                await queue.has_key.wait()
        for queue in queues.values():
            if queue.has_key.is_set():
                await queue.is_done.wait()
            else:
                _log.warning("%s: its key is not there after %g s; they wait for it", _named(queue), PATIENCE_S)

    async def _in_turn(self, queue: _Queue) -> None:
        async with self._places:
            self._owner.spawn(partial(self._resume, queue), name="asyncbatch unfinished jobs of an account")
            with anyio.move_on_after(PATIENCE_S):
                await queue.has_key.wait()

    async def _resume(self, queue: _Queue) -> None:
        try:
            provider = await self._provider_of(queue.records[0], True)
            queue.has_key.set()
            for record in queue.records:
                await self._one(record.job_id, provider)
        except Exception as error:  # noqa: BLE001 the caller's own accounts may fail too; no other account is left over it
            for record in queue.records:
                _log.warning("job %s is left as it is: %s", record.job_id, _words_of(error))
        finally:
            queue.has_key.set()
            queue.is_done.set()

    async def _one(self, job_id: str, provider: BaseBatchProvider) -> None:
        try:
            await self._take_up(job_id, provider)
        except Exception as error:  # noqa: BLE001 no other job is left over it
            _log.warning("job %s is left as it is: %s", job_id, error)


def _words_of(error: Exception) -> str:
    """Give what may stand in a log: an error of the application's, whose function looks keys up, may quote one."""
    return (
        str(error) if isinstance(error, AsyncBatchError) else f"looking its key up failed with {type(error).__name__}"
    )


def _payer(record: JobRecord) -> object:
    return record.provider, record.account, bool(record.options.get("allow_unknown_model"))


def _named(queue: _Queue) -> str:
    first, jobs = queue.records[0], ", ".join(record.job_id for record in queue.records[:3])
    more = f" and {len(queue.records) - 3} more" if len(queue.records) > 3 else ""
    return f"jobs of account {first.account!r} at {first.provider} ({jobs}{more})"
