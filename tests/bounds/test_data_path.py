"""What must stay bounded however many rows there are: hops, writes, bytes held, tasks alive. Counted, never timed.

Each bound is a whole job of some rows, and the same of four times as many: what may grow grows with the rows and no faster, and
what must not stays where it was. How long it all takes is asked in `benchmarks/`.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

import asyncbatch.spool
from asyncbatch import BatchClient, Polling, ResultStatus, load_catalog
from asyncbatch.emulator import Emulator
from asyncbatch.runtime import Runtime
from asyncbatch.spool import IN_MEMORY_BYTES, PIECE_BYTES, SENT_BYTES

FEW, MANY = 3_000, 12_000
ROW_BYTES = 1_000


class Counted(NamedTuple):
    """What one job took.

    Attributes:
        hops: Pieces of work that went to a thread.
        writes: Writes to a file, each with its bytes.
        turns: How often somebody else had the loop.
        most_tasks: Tasks alive at once.
        most_rows: Rows that were read back at once, at most.
    """

    hops: int
    writes: list[int]
    turns: int
    most_tasks: int
    most_rows: int


def requests(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"messages": [{"role": "user", "content": f"{number} " + "x" * ROW_BYTES}]}


async def run_job(count: int) -> Counted:
    """Send so many requests and read their answers, while everything is counted."""
    real, writes = Runtime(), []
    hops = turns = most_tasks = most_rows = 0
    write_all = asyncbatch.spool._write_all

    def counting_write(writer: Any, data: bytes | bytearray) -> None:
        writes.append(len(data))
        write_all(writer, data)

    async def offload(func: Any, /, *args: Any) -> Any:
        nonlocal hops, most_tasks, most_rows
        hops += 1
        most_tasks = max(most_tasks, len(asyncio.all_tasks()))
        done = await real.offload(func, *args)
        if getattr(func, "__name__", "") == "read" and isinstance(done, tuple):
            most_rows = max(most_rows, len(done[0]))
        return done

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    runtime = msgspec.structs.replace(real, offload=offload)
    catalog = load_catalog({"providers": {"openai": {"polling": {"min_interval_s": 0.01}}}})
    polling = Polling(first_s=0.01, max_s=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncbatch.spool, "_write_all", counting_write)
        async with BatchClient(runtime=runtime, catalog=catalog, polling=polling) as client:
            others = asyncio.create_task(count_turns())
            job = await client.submit(requests(count), model="openai/gpt-4.1-mini")
            rows = [row.status async for row in job.results()]
            others.cancel()
    assert rows == [ResultStatus.SUCCEEDED] * count
    return Counted(hops, writes, turns, most_tasks, most_rows)


@pytest.fixture(scope="module")
def jobs():
    with Emulator(speed=100_000) as emulator, pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.env("openai").items():
            patch.setenv(name, value)
        return asyncio.run(run_job(FEW)), asyncio.run(run_job(MANY))


def test_work_goes_to_threads_by_the_slice_and_not_by_the_row(jobs):
    few, many = jobs

    assert many.hops - few.hops <= (MANY - FEW) // 48
    assert few.hops <= 40 + FEW // 48


def test_others_have_the_loop_at_least_once_for_each_of_those_slices(jobs):
    assert all(job.turns >= job.hops for job in jobs)


def test_files_are_written_by_the_slice_and_nothing_larger_than_what_one_body_may_hold_is_written_at_once(jobs):
    few, many = jobs

    assert len(many.writes) - len(few.writes) <= (MANY - FEW) // 96
    assert max(few.writes + many.writes) <= IN_MEMORY_BYTES + 2 * max(Runtime().slice_bytes, PIECE_BYTES, SENT_BYTES)


def test_as_many_tasks_live_as_a_job_has_parts_however_many_rows_it_has(jobs):
    few, many = jobs

    assert many.most_tasks <= few.most_tasks + 1
    assert many.most_tasks <= 12


def test_rows_are_handed_out_by_the_piece(jobs):
    _, many = jobs

    assert 0 < many.most_rows <= PIECE_BYTES // 500
