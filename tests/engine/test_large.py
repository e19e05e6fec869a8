"""Two hundred megabytes of requests: memory is bounded by the slice, and the event loop gets its turns."""

import json
import subprocess
import sys

import pytest

PREPARE = """
import asyncio, json, resource, sys
from uuid import uuid4
import msgspec
from asyncbatch import BatchMode, Runtime
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

ROWS, ROW_BYTES = 50_000, 4_000
real = Runtime()
calls, turns = [], 0

async def offload(func, *args):
    calls.append(func)
    return await real.offload(func, *args)

async def count_turns():
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)

def rows():
    for number in range(ROWS):
        yield {"messages": [{"role": "user", "content": f"{number} " + "x" * ROW_BYTES}]}

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def main():
    runtime = msgspec.structs.replace(real, offload=offload)
    async with OpenAIBatchProvider(config={"api_key": "k"}, runtime=runtime) as provider:
        await provider.prepare_payloads(batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=["warm up"])
        calls.clear()
        before = peak_mb()
        watcher = asyncio.create_task(count_turns())
        submissions = await provider.prepare_payloads(
            batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=rows(), wire_ids="minted"
        )
        prepared, turns_in_all = len(calls), turns
        watcher.cancel()
        read = 0
        for submission in submissions:
            async for piece in submission.spool.chunks():
                read += len(piece)
        print(json.dumps({
            "rows": [submission.request_count for submission in submissions], "bytes": read,
            "declared": sum(submission.spool.size for submission in submissions),
            "growth_mb": peak_mb() - before, "slices": prepared, "turns": turns_in_all,
            "in_memory": sum(len(submission.payloads) for submission in submissions),
        }))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def measured():
    """A process of its own: the peak of a process that ran other tests before would hide the growth."""
    done = subprocess.run([sys.executable, "-c", PREPARE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_fifty_thousand_rows_of_four_kilobytes_need_memory_for_a_slice_only(measured):
    assert measured["bytes"] == measured["declared"] > 200_000_000
    assert measured["in_memory"] == 0
    assert measured["growth_mb"] < 40


def test_they_are_cut_at_the_bytes_that_a_file_may_have(measured):
    assert sum(measured["rows"]) == 50_000
    assert len(measured["rows"]) == 2, "the first file is full at 200 MB"


def test_the_work_is_done_in_slices_of_about_a_megabyte_with_turns_for_others_between_them(measured):
    assert 200 <= measured["slices"] <= 800
    assert measured["turns"] >= measured["slices"]


REJECT = """
import asyncio, json, resource
from asyncbatch import BatchClient, ResultStatus
from asyncbatch.emulator import Emulator
import os

def rows(count):
    for number in range(count):
        yield {"messages": [], "note": "x" * 200}
    yield "good"

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def main():
    with Emulator(speed=600) as emulator:
        os.environ.update(emulator.env("openai"))
        async with BatchClient() as client:
            await client.submit(rows(100), model="openai/gpt-4.1-mini", on_bad_row="reject")
            before = peak_mb()
            job = await client.submit(rows(60_000), model="openai/gpt-4.1-mini", on_bad_row="reject")
            refused = job.status().outcomes[ResultStatus.REJECTED]
            print(json.dumps({"refused": refused, "growth_mb": peak_mb() - before}))

asyncio.run(main())
"""


def test_refused_rows_are_written_down_and_need_no_memory_either():
    done = subprocess.run([sys.executable, "-c", REJECT], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)

    assert measured["refused"] == 60_000
    assert measured["growth_mb"] < 15
