"""What does preparing a full batch (50,000 rows of 4 KB) cost, and how long does it hold the event loop?

Beside it what people write today around a vendor's SDK: a loop over `json.dumps` into a file, inside the coroutine. A second
comparison runs that same loop in a thread. The figures are medians over several runs; ratios are to ours.
"""

import asyncio
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from importlib.metadata import version
from uuid import uuid4

from asyncbatch import BatchMode
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

ROWS = int(os.environ.get("BENCH_ROWS", "50000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
TEXT = "x" * 3900
TICK_S = 0.001


def rows():
    for number in range(ROWS):
        yield {"messages": [{"role": "user", "content": f"{number} {TEXT}"}], "max_tokens": 16}


def write_naively(path):
    with open(path, "w", encoding="utf-8") as file:
        for number, body in enumerate(rows()):
            line = {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**line, "body": {**body, "model": "gpt-4.1-mini"}}) + "\n")


async def naive_on_the_loop(directory):
    write_naively(os.path.join(directory, "a.jsonl"))


async def naive_in_a_thread(directory):
    await asyncio.to_thread(write_naively, os.path.join(directory, "b.jsonl"))


async def asyncbatch_(_directory):
    async with OpenAIBatchProvider(config={"api_key": "none"}) as provider:
        await provider.prepare_payloads(
            batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=rows(), wire_ids="minted"
        )


async def longest_hold(stop):
    """Measure the longest time that the loop did not come round; it sleeps in between, so that it costs nothing itself."""
    longest, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(TICK_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last - TICK_S), now
    return longest


async def measure(work):
    with tempfile.TemporaryDirectory() as directory:
        stop = asyncio.Event()
        watcher = asyncio.create_task(longest_hold(stop))
        await asyncio.sleep(0)
        wall, cpu = time.perf_counter(), time.process_time()
        await work(directory)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        stop.set()
        return {"longest_hold_s": await watcher, "wall_s": wall, "cpu_s": cpu}


def main():
    ways = {"asyncbatch": asyncbatch_, "json.dumps on the loop": naive_on_the_loop, "json.dumps in a thread": naive_in_a_thread}
    asyncio.run(measure(asyncbatch_))  # warm: imports and the catalog
    answers = {}
    for name, work in ways.items():
        runs = [asyncio.run(measure(work)) for _ in range(RUNS)]
        answers[name] = {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}
    ours = answers["asyncbatch"]
    ratios = {name: {key: round(value / ours[key], 2) for key, value in found.items()} for name, found in answers.items()}
    print(
        json.dumps(
            {
                "question": " ".join(__doc__.split("\n\n")[0].split()),
                "rows": ROWS,
                "runs": RUNS,
                "medians": answers,
                "ratio_to_asyncbatch": ratios,
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "versions": {"python": platform.python_version(), **{p: version(p) for p in ("aiohttp", "anyio", "msgspec")}},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
