"""What one piece of work costs: processor, time, memory, and how long it held the event loop."""

import asyncio
import gc
import resource
import sys
import time

TICK_S = 0.001
_noted: dict[str, float] = {}


def note(name: str, value: float) -> None:
    """Add a figure of a contender's own to those of the present run."""
    _noted[name] = value


class Stall:
    """The longest time for which the loop did not come round, by the clock and by the work of this process in it.

    The second is what the process itself is to blame for, on a machine that others use too.
    """

    def __init__(self):
        self.wall_s = self.cpu_s = 0.0
        self._task = None

    async def _watch(self):
        wall, cpu = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(TICK_S)
            now, spent = time.perf_counter(), time.process_time()
            self.wall_s, self.cpu_s = max(self.wall_s, now - wall - TICK_S), max(self.cpu_s, spent - cpu)
            wall, cpu = now, spent

    async def __aenter__(self):
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        await asyncio.sleep(2 * TICK_S)  # so that a hold at the very end is seen
        self._task.cancel()


def _status(word):
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(word)) / 1024


def resident_mb():
    """Give what the process holds in memory now."""
    if sys.platform != "linux":
        return peak_mb()
    return _status("VmRSS")


def peak_mb():
    """Give the most that it held since `forget_peak`, or ever where the system cannot forget."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return _status("VmHWM")


def forget_peak():
    if sys.platform == "linux":
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")


async def measure(work):
    """Run a coroutine function; gives its figures, and what it returned."""
    _noted.clear()
    gc.collect()
    forget_peak()
    before = resident_mb()
    async with Stall() as stall:
        wall, cpu = time.perf_counter(), time.process_time()
        returned = await work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    figures = {
        "cpu_s": cpu,
        "wall_s": wall,
        "stall_ms": stall.wall_s * 1000,
        "held_ms": stall.cpu_s * 1000,
        "rss_before_mb": before,
        "rss_peak_mb": peak_mb(),
        **_noted,
    }
    return figures, returned
