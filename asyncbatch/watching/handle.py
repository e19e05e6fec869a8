"""A batch that is watched: what its owner holds, and what the lane remembers about it between two questions."""

import logging
from collections.abc import AsyncIterable, Callable, Generator
from datetime import datetime
from typing import Any

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import ProviderResultRow, ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.planning.schedule import PollState
from asyncbatch.runtime import checkpoint
from asyncbatch.secrecy import OfThisProcess

_log = logging.getLogger("asyncbatch.poller")


def _no_one(_: object) -> None:
    """Whoever watches a batch is told once there is somebody."""


class BatchHandle(OfThisProcess):
    """A batch that is watched. `await` it for its last status.

    Attributes:
        provider: Whom to ask.
        provider_batch_id: The batch's name there.
        last: The latest reading; None before the first.
        is_overdue: Whether it runs on past the end that its provider promised; it is watched on all the same.
        job_id: The job that it belongs to, where a client watches it.
    """

    # Whoever watches ten thousand pays for each object that the garbage collector has to look at: it holds the event loop.
    __slots__ = (
        "_done", "_error", "_is_done", "_on_end", "_on_reading", "_trouble", "_wake", "_watch", "is_overdue", "job_id", "last",
        "provider", "provider_batch_id",
    )  # fmt: skip

    def __init__(self, provider: BaseBatchProvider, provider_batch_id: str) -> None:
        self.provider = provider
        self.provider_batch_id = provider_batch_id
        self.last: ProviderStatus | None = None
        self.is_overdue = False
        self.job_id: str | None = None
        self._trouble: str | None = None
        self._error: BaseException | None = None
        self._is_done = False
        self._done: anyio.Event | None = None  # made for who waits: of ten thousand handles most are never awaited
        self._on_end: tuple[Callable[[BatchHandle], None], ...] = ()
        self._on_reading: tuple[Callable[[], None], ...] = ()
        self._wake: Callable[[Any], None] = _no_one
        self._watch: object = None

    def __repr__(self) -> str:
        return f"<BatchHandle {self.provider.PROVIDER_NAME}/{self.provider_batch_id} {self.status.value}>"

    @property
    def status(self) -> BatchStatus:
        """Where the batch stood when it was last asked about; UNKNOWN before that."""
        return self.last.status if self.last else BatchStatus.UNKNOWN

    @property
    def trouble(self) -> str | None:
        """What is not as it should be: it cannot be asked about, since when and why, or is overdue; None while all is well."""
        if self._trouble is None and self.is_overdue and not self.is_done:
            return "overdue: it runs on past the end that its provider promised"
        return self._trouble

    @property
    def is_done(self) -> bool:
        """Whether watching is over: the batch ended, or asking cannot help any more."""
        return self._is_done

    @property
    def error(self) -> BaseException | None:
        """Why watching ended without the batch's end; None otherwise."""
        return self._error

    def __await__(self) -> Generator[Any, None, ProviderStatus]:
        return self.wait().__await__()

    async def wait(self) -> ProviderStatus:
        """Wait for the end of the batch.

        Raises:
            ProviderPermanentError: What polling cannot outlive: the key is refused, or the batch stays unknown.
            PollerClosedError: The poller was left first.
        """
        if not self._is_done:
            self._done = self._done or anyio.Event()
            await self._done.wait()
        else:
            await checkpoint()
        if self._error is not None:
            # Without the traces of those who waited before: they would pile up on the one error.
            raise self._error.with_traceback(None)
        assert self.last is not None
        return self.last

    def results(self) -> AsyncIterable[ProviderResultRow]:
        """Give the answers; see `BaseBatchProvider.fetch_results`."""
        return self.provider.fetch_results(self.provider_batch_id)

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call back, on the event loop, when watching is over; at once if it is already."""
        self.on_end((lambda _: callback(),))

    def on_end(self, listeners: "tuple[Callable[[BatchHandle], None], ...]") -> None:
        """Call each with this handle when watching is over; at once if it is already. Many handles may share the tuple."""
        if self._is_done:
            for listener in listeners:
                listener(self)
        else:
            self._on_end = (*self._on_end, *listeners) if self._on_end else listeners

    def on_reading(self, callback: Callable[[], None]) -> None:
        """Call back, on the event loop, after each reading of the batch's status, and when it cannot be read any more."""
        self._on_reading = (*self._on_reading, callback)

    def wake(self) -> bool:
        """Ask about the batch now, or as soon as its provider lets us; False if watching is over.

        However often it is woken before that, it is asked about once.
        """
        if not self.is_done:
            self._wake(self._watch)
        return not self.is_done

    def watched_as(self, watch: "Watch", wake: "Callable[[Watch], None]") -> None:
        """Say who asks about it; called by the poller."""
        self._watch, self._wake = watch, wake

    def read(self, status: ProviderStatus) -> None:
        """Take a reading; called by the poller."""
        self.last, self._trouble = status, None
        for callback in self._on_reading:
            self._call(callback)

    def miss(self, error: BaseException, at: float) -> bool:
        """Take it that the batch could not be asked about; True if that is news. Called by the poller."""
        if self._trouble is not None:
            return False
        since = datetime.fromtimestamp(at).astimezone()
        self._trouble = f"cannot be asked about since {since:%H:%M:%S}: {error}"
        for callback in self._on_reading:
            self._call(callback)
        return True

    def finish(self, error: BaseException | None = None) -> None:
        """End the watch; called by the poller, once."""
        if self.is_done:
            return
        self._error, self._is_done = error, True
        if self._done is not None:
            self._done.set()
        listeners, self._on_end = self._on_end, ()
        for listener in listeners:
            self._call(listener, self)

    def _call(self, callback: Callable[..., None], *given: object) -> None:
        try:
            callback(*given)
        except Exception:  # noqa: BLE001 a listener's fault is not the batch's: it is logged, and the watch goes on
            _log.exception("%r: a callback failed; the watch goes on", self)


class Watch:
    """What the lane keeps about a handle between two questions.

    Attributes:
        since: When the watch began, Unix seconds.
        due: When it is asked about next; None while it is.
        soonest: Before when its provider does not want to be asked.
        entry: The number of its place on the agenda; others of it there mean nothing any more.
        twin: The next one that watches the same batch.
        stamp: The number of the last answer to a question about it, or of what woke it: a page asked for before that is older.
        is_woken: Whether it was woken while it was asked about: the answer may be older than what woke it.
        is_urgent: Whether somebody said that it is worth asking about it.
        misses: How often in a row a walk through the list did not find it.
        skips: Single questions before a walk is made for its sake again.
    """

    __slots__ = (
        "due", "entry", "floor_s", "handle", "is_fault_logged", "is_unknown_logged", "is_urgent", "is_woken", "misses", "since",
        "skips", "soonest", "stamp", "state", "twin",
    )  # fmt: skip

    def __init__(self, handle: BatchHandle, floor_s: float, since: float) -> None:
        self.handle = handle
        self.floor_s = floor_s
        self.since = since
        self.state = PollState()
        self.due: float | None = None
        self.soonest = 0.0
        self.entry = -1
        self.twin: Watch | None = None
        self.stamp = 0
        self.is_woken = False
        self.is_urgent = False
        self.misses = 0
        self.skips = 0
        self.is_unknown_logged = False
        self.is_fault_logged = False

    @property
    def batch_id(self) -> str:
        return self.handle.provider_batch_id

    @property
    def created_at(self) -> float | None:
        """When the batch was created, by its provider's clock."""
        return self.handle.last.created_at if self.handle.last is not None else None
