"""What happens to batches that are watched, as a stream of typed events for progress bars, logs and traces.

Nobody who reads slowly holds up the watching: a reader keeps its last events, and is told how many it missed.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias
from weakref import ref

import msgspec

from asyncbatch.dto import Progress
from asyncbatch.enums import BatchStatus
from asyncbatch.planning.breaker import BreakerState
from asyncbatch.runtime import Signal
from asyncbatch.secrecy import OfThisProcess

BUFFER = 1024
"""Events that wait for a reader."""


class BatchEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something about one batch.

    Attributes:
        at: Unix seconds.
        provider: The provider's name.
        provider_batch_id: The batch's name there.
        job_id: The job that it belongs to, where a client watches it.
    """

    at: float
    provider: str
    provider_batch_id: str
    job_id: str | None = None


class BatchSubmitted(BatchEvent, frozen=True, kw_only=True, tag="submitted"):
    """A submission of a job has a batch. Told by a client."""


class BatchProgressed(BatchEvent, frozen=True, kw_only=True, tag="progress"):
    """A batch has another status than before, or other counts.

    Attributes:
        status: Where it stands.
        progress: Its counts.
    """

    status: BatchStatus
    progress: Progress


class BatchOverdue(BatchEvent, frozen=True, kw_only=True, tag="overdue"):
    """A batch runs on past the end that its provider promised; told once, and it is watched on.

    Attributes:
        promised_at: When it should have ended, with some slack, Unix seconds.
    """

    promised_at: float


class BatchUnreadable(BatchEvent, frozen=True, kw_only=True, tag="unreadable"):
    """A batch cannot be asked about just now; told once, until it can be again.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


class BatchEnded(BatchEvent, frozen=True, kw_only=True, tag="ended"):
    """A batch came to its end.

    Attributes:
        status: Which.
        progress: Its counts.
    """

    status: BatchStatus
    progress: Progress


class BatchGivenUp(BatchEvent, frozen=True, kw_only=True, tag="given_up"):
    """The watch of a batch ended without the batch's end: the key is refused, or it stays unknown.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


class BatchFetched(BatchEvent, frozen=True, kw_only=True, tag="fetched"):
    """The answers of a batch are on disk, and each of its requests has its outcome. Told by a client."""


class SubmissionFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """A submission of a job cannot go on. Told by a client.

    Attributes:
        at: Unix seconds.
        provider: The provider's name.
        job_id: The job.
        reason: Why, in one line.
    """

    at: float
    provider: str
    job_id: str
    reason: str


class AccountChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="account"):
    """Nobody of an account answers any more, or somebody does again.

    Attributes:
        at: Unix seconds.
        provider: The provider's name.
        state: `open`: its batches are not asked about for a while. `closed`: they are again.
    """

    at: float
    provider: str
    state: BreakerState


class EventsMissed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="missed"):
    """This reader was slow, and the oldest events that waited for it are gone.

    Attributes:
        count: How many.
    """

    count: int


PollEvent: TypeAlias = (
    BatchSubmitted
    | BatchProgressed
    | BatchOverdue
    | BatchUnreadable
    | BatchEnded
    | BatchGivenUp
    | BatchFetched
    | SubmissionFailed
    | AccountChanged
    | EventsMissed
)
"""Everything that may be told; `event` names its kind in JSON."""


class EventReader(AsyncIterator[PollEvent], OfThisProcess):
    """One reader's view of the events from now on. Whoever drops it has left; nothing else is held."""

    def __init__(self) -> None:
        self._waiting: deque[PollEvent] = deque(maxlen=BUFFER)
        self._missed = 0
        self._arrived = Signal()
        self._is_closed = False

    def take(self, event: PollEvent) -> None:
        """Keep an event; called by the feed."""
        if self._is_closed:  # left, and still held by somebody
            return
        self._missed += len(self._waiting) == BUFFER
        self._waiting.append(event)
        self._arrived.notify()

    def close(self) -> None:
        """Let the iteration end after what waits; called by the feed."""
        self._is_closed = True
        self._arrived.notify()

    async def aclose(self) -> None:
        """Leave; for `contextlib.aclosing`. Not needed: a reader that nobody holds any more has left."""
        self._waiting.clear()
        self._missed = 0
        self.close()

    async def __anext__(self) -> PollEvent:
        while not self._waiting:
            if self._is_closed:
                raise StopAsyncIteration
            await self._arrived.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(count=missed)
        return self._waiting.popleft()


class Feed:
    """Hands events to whoever reads; without a reader an event is not even made."""

    def __init__(self) -> None:
        self._readers: dict[int, ref[EventReader]] = {}

    @property
    def is_read(self) -> bool:
        return bool(self._readers)

    def open(self) -> EventReader:
        """Give a reader of what is told from now on."""
        reader, readers = EventReader(), self._readers
        name = id(reader)
        readers[name] = ref(reader, lambda _: readers.pop(name, None))
        return reader

    def tell(self, make: Callable[[], PollEvent]) -> None:
        """Make an event and hand it over, if anybody reads."""
        if not self._readers:
            return
        event = make()
        for reader in self._all():
            reader.take(event)

    def close(self) -> None:
        """Let every reader come to the end."""
        for reader in self._all():
            reader.close()
        self._readers.clear()

    def _all(self) -> list[EventReader]:
        return [reader for held in list(self._readers.values()) if (reader := held()) is not None]
