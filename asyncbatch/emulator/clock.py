"""The emulator's clock: real time, sped up, or the caller's own, and movable in either case."""

import datetime as dt
import math
import time
from collections.abc import Callable

import anyio

from asyncbatch.emulator.entries import ClockEntry

TICK_S = 0.02  # real seconds between two looks at a clock that somebody else may move


def write_time(at: float) -> str:
    """Write seconds since the epoch as RFC 3339 in UTC, as in `2026-11-22T10:00:00.250000Z`."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_time(text: str) -> float:
    """Read RFC 3339 as seconds since the epoch."""
    return dt.datetime.fromisoformat(text).timestamp()


class Clock:
    """Seconds since the epoch, as the emulated service sees them.

    Args:
        speed: Emulated seconds for each real one.
        source: Somebody else's clock, such as a test's virtual one; `speed` then means nothing.
    """

    def __init__(self, *, speed: float = 1.0, source: Callable[[], float] | None = None) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"speed is {speed!r}, but must be a number above 0")
        self.speed = 1.0 if source else speed
        self._source = source
        self._watcher: Callable[[], object] | None = None
        self.restart()

    def restart(self) -> None:
        """Forget every `advance`, and begin again at the present."""
        self._offset_s = 0.0
        self._epoch = time.time()
        self._started = time.monotonic()

    def now(self) -> float:
        if self._source is not None:
            return self._source() + self._offset_s
        return self._epoch + (time.monotonic() - self._started) * self.speed + self._offset_s

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds!r} seconds: an emulated service's clock never runs backwards")
        self._offset_s += seconds
        if self._watcher is not None:
            self._watcher()

    def watch(self, watcher: Callable[[], object] | None) -> None:
        """Let somebody know of every `advance`."""
        self._watcher = watcher

    def position(self) -> ClockEntry:
        """Say where the clock stands, for another process to go on from."""
        offset_s = None if self._source is None else self._offset_s
        return ClockEntry(wall=time.time(), at=self.now(), speed=self.speed, offset_s=offset_s)

    def go_on(self, entry: ClockEntry, least: float) -> None:
        """Stand where the clock of an earlier life would stand now, and at `least` there."""
        if self._source is not None:
            self._offset_s = entry.offset_s or 0.0
            return
        passed_s = max(0.0, time.time() - entry.wall) * entry.speed
        self.restart()
        self._epoch = max(entry.at + passed_s, least)

    async def reach(self, at: float, sooner: anyio.Event) -> None:
        """Wait until it is `at`, or somebody says that it is."""
        while not sooner.is_set() and (left_s := at - self.now()) > 0:
            with anyio.move_on_after(min(self.client_seconds(left_s), TICK_S)):
                await sooner.wait()

    def client_wall(self) -> float:
        """Give the time of day as a client sees it, for dates that are meant for its clock."""
        return self.now() if self._source is not None else time.time()

    def client_seconds(self, seconds: float) -> float:
        """Turn emulated seconds into the seconds that a client has to wait for them."""
        return seconds / self.speed
