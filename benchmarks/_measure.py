"""What the benchmarks share: how long the event loop was held while some work ran, and how an answer is printed."""

import asyncio
import json
import platform
import resource
import time
from importlib.metadata import version

TICK_S = 0.001


async def _longest_hold(stop):
    """Measure the longest time that the loop did not come round; it sleeps in between, so that it costs nothing itself."""
    longest, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(TICK_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last - TICK_S), now
    return longest


async def measure(work):
    """Run a coroutine function; gives its figures and what it returned."""
    stop = asyncio.Event()
    watcher = asyncio.create_task(_longest_hold(stop))
    await asyncio.sleep(0)
    wall, cpu = time.perf_counter(), time.process_time()
    returned = await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stop.set()
    return {"longest_hold_s": await watcher, "wall_s": wall, "cpu_s": cpu}, returned


def report(doc, ours, answers, **facts):
    """Print the medians of each way, and their ratios to ours."""
    base = answers[ours]
    ratios = {
        name: {key: round(value / base[key], 2) for key, value in found.items()} for name, found in answers.items()
    }
    versions = {package: version(package) for package in ("aiohttp", "anyio", "msgspec")}
    answer = {
        "question": " ".join(doc.split("\n\n")[0].split()),
        **facts,
        "medians": answers,
        f"ratio_to_{ours}": ratios,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "versions": {"python": platform.python_version(), **versions},
    }
    print(json.dumps(answer, indent=2))
