"""A process whose table of descriptors is full while its batch ends: run by `test_leaks.py`, prints what became of it."""

import asyncio
import os
import resource
import sys
from contextlib import suppress

from asyncbatch import BatchClient, Polling

PATIENCE_S = 60


async def noted(job):
    """Wait until something cannot be done for now."""
    while not any(
        "Too many" in (batch.note or "") or "waiting" in (batch.note or "") for batch in job.status().batches
    ):
        await asyncio.sleep(0.01)


async def main():
    async with BatchClient(polling=Polling(first_s=0.05, max_s=0.2), journal="memory") as client:
        job = await client.submit(["a", "b"], model="openai/gpt-4.1-mini")
        await job.submitted()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = []
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        await asyncio.wait_for(noted(job), PATIENCE_S)
        sys.stdout.write(f"full {len(taken) <= soft <= hard} {job.status().is_over}\n")
        for number in taken:
            os.close(number)
        rows = await asyncio.wait_for(collect(job), PATIENCE_S)
        sys.stdout.writelines(f"{text}\n" for text in sorted(rows))


async def collect(job):
    return [row.text async for row in job.results()]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sys.exit(asyncio.run(main()))
