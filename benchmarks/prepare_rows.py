"""What does preparing a full batch (50,000 rows of 4 KB) cost, and how long does it hold the event loop?

Beside it what people write today around a vendor's SDK: a loop over `json.dumps` into a file, inside the coroutine. A second
comparison runs that same loop in a thread. The figures are medians over several runs; ratios are to ours.
"""

import asyncio
import json
import os
import statistics
import tempfile
from uuid import uuid4

from asyncbatch import BatchMode
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from benchmarks._measure import measure, report

ROWS = int(os.environ.get("BENCH_ROWS", "50000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
TEXT = "x" * 3900


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


def in_a_directory(work):
    async def run():
        with tempfile.TemporaryDirectory() as directory:
            await work(directory)

    return run


def main():
    ways = {
        "asyncbatch": asyncbatch_,
        "json.dumps on the loop": naive_on_the_loop,
        "json.dumps in a thread": naive_in_a_thread,
    }
    asyncio.run(asyncbatch_(None))  # warm: imports and the catalog
    answers = {}
    for name, work in ways.items():
        runs = [asyncio.run(measure(in_a_directory(work)))[0] for _ in range(RUNS)]
        answers[name] = {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}
    report(__doc__, "asyncbatch", answers, rows=ROWS, runs=RUNS)


if __name__ == "__main__":
    main()
