"""A job as a stream of events, for a browser that watches it: each is the whole state, so none of them is ever missed."""

import hashlib
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

import anyio
import msgspec

from asyncbatch.engine.run import JobRun
from asyncbatch.exceptions import ConfigError
from asyncbatch.runtime import checkpoint

HEARTBEAT_S = 15.0


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell whoever watches a job.

    Attributes:
        type: `status`: the job as it stands. `heartbeat`: nothing has changed for a while. `ended`: nothing more will come.
        id: A digest of the state, whichever process tells it; what a browser sends as `Last-Event-ID` when it comes back.
        data: `job.status()` as JSON would have it, with `done` and `succeeded`; empty for a heartbeat.
    """

    type: Literal["status", "heartbeat", "ended"]
    id: str
    data: Mapping[str, Any] = {}

    def encode(self) -> bytes:
        """Write it as a server-sent event: `text/event-stream`."""
        return b"event: %b\nid: %b\ndata: %b\n\n" % (
            self.type.encode(),
            self.id.encode(),
            msgspec.json.encode(self.data),  # in one line: JSON has no line break that is not escaped
        )


class JobEvents(AsyncIterator[JobEvent]):
    """What one viewer is told of a job. It holds nothing between two events, so a viewer may leave at any time.

    Args:
        run: The job.
        look: Gives it as it stands.
        heartbeat_s: After so many seconds without an event comes one that says that we are still there.
        last_event_id: The id of the last event that the viewer has seen: a state that it knows is not told again.
    """

    def __init__(
        self, run: JobRun, look: Callable[[], Mapping[str, Any]], *, heartbeat_s: float, last_event_id: str | None
    ) -> None:
        _check_heartbeat(heartbeat_s)
        self._run = run
        self._look = look
        self._heartbeat_s = heartbeat_s
        self._seen = last_event_id
        self._due = -math.inf
        self._has_ended = False

    async def __anext__(self) -> JobEvent:
        await checkpoint()  # a job that changes all the time must not keep others from their turn
        now = self._run.runtime.now
        if self._due == -math.inf:
            self._due = now() + self._heartbeat_s
        while not self._has_ended and not self._is_gone:
            event = self._next_of(self._look())
            if event is None and now() >= self._due:
                event = JobEvent(type="heartbeat", id=self._seen or "")
            if event is not None:
                self._due = now() + self._heartbeat_s
                return event
            await _change(self._run, self._due - now())
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it; for `contextlib.aclosing`."""
        self._has_ended = True

    @property
    def _is_gone(self) -> bool:
        """Whether nobody will hear any more of it here: the client was closed, or the job discarded."""
        run = self._run
        return run.is_discarded or (run.closed_by is not None and not run.is_over)

    def _next_of(self, data: Mapping[str, Any]) -> JobEvent | None:
        """Give what the viewer does not know yet."""
        state, end = _ids_of(data)
        if self._seen not in (state, end):
            self._seen = state
            return JobEvent(type="status", id=state, data=data)
        if data["is_over"]:
            self._seen, self._has_ended = end, True
            return JobEvent(type="ended", id=end, data=data)
        return None


def _check_heartbeat(heartbeat_s: Any) -> None:
    if not isinstance(heartbeat_s, int | float) or isinstance(heartbeat_s, bool) or not heartbeat_s > 0:
        message = f"heartbeat_s is {heartbeat_s!r}"
        raise ConfigError(message, code="config.value", hint="it is a number of seconds, more than 0")


def _ids_of(data: Mapping[str, Any]) -> tuple[str, str]:
    """Name a state, and the end in it."""
    digest = hashlib.blake2b(msgspec.json.encode(data, order="deterministic"), digest_size=9).hexdigest()
    return digest, f"{digest}.end"


async def _change(run: JobRun, within_s: float) -> None:
    """Wait until something happens to a job, for so many seconds at most."""
    async with anyio.create_task_group() as group:

        async def nap() -> None:
            await run.runtime.sleep(within_s)
            group.cancel_scope.cancel()

        group.start_soon(nap)
        await run.changed.wait()
        group.cancel_scope.cancel()
