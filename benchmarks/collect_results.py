"""What does collecting the answers of a full batch (50,000 rows) cost, and how long does it hold the event loop?

Beside it what people write today around a vendor's SDK: read the whole file, then a loop over `json.loads` in the coroutine.
Both fetch the same file from the emulator, which runs in a thread of its own; each row's text is looked at.
"""

import asyncio
import json
import os
import statistics
from functools import partial
from uuid import uuid4

import aiohttp

from asyncbatch import BatchMode, BatchPoller, Polling
from asyncbatch.emulator import Emulator
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from benchmarks._measure import measure, report

ROWS = int(os.environ.get("BENCH_ROWS", "50000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))


async def make_batch(config):
    """Run one batch to its end."""
    async with OpenAIBatchProvider(config=config) as provider, BatchPoller(Polling(first_s=0.2, max_s=1)) as poller:
        prompts = (f"{number} " + "word " * 100 for number in range(ROWS))
        (submission,) = await provider.prepare_payloads(
            batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=prompts
        )
        return await poller.watch(provider, (await provider.submit(submission)).provider_batch_id)


async def asyncbatch_(config, status):
    texts = 0
    async with OpenAIBatchProvider(config=config) as provider:
        async for row in provider.fetch_results(status.provider_batch_id):
            texts += len(row.text)
    return texts


async def naive(config, status):
    texts = 0
    url = f"{config['base_url']}/files/{status.result_uris[0]}/content"
    headers = {"Authorization": f"Bearer {config['api_key']}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        content = await response.text()
    for line in content.splitlines():
        texts += len(json.loads(line)["response"]["body"]["choices"][0]["message"]["content"])
    return texts


def main():
    ways = {"asyncbatch": asyncbatch_, "whole file and json.loads on the loop": naive}
    with Emulator(speed=600) as emulator:
        config = {"api_key": "bench", "base_url": emulator.base_url("openai")}
        status = asyncio.run(make_batch(config))
        answers, texts = {}, set()
        for name, work in ways.items():
            runs = [asyncio.run(measure(partial(work, config, status))) for _ in range(RUNS)]
            texts |= {text for _, text in runs}
            answers[name] = {key: round(statistics.median(run[key] for run, _ in runs), 4) for key in runs[0][0]}
    if len(texts) != 1:
        raise SystemExit(f"the ways disagree about the answers: {texts}")
    report(__doc__, "asyncbatch", answers, rows=ROWS, runs=RUNS)


if __name__ == "__main__":
    main()
