"""Do the cost of a row and the memory stay the same when a job has ten, a hundred or a thousand batches?

The limit of requests per batch is set to 50, so that 500, 5,000 and 50,000 requests become 10, 100 and 1,000 batches, each with
an upload, a create, polls and a download of its own; the figures are per batch.
"""

import os

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._work import IN_FLIGHT, MODEL, polling, requests

PER_BATCH = 50


async def ours(place: Place):
    from asyncbatch import BatchClient
    from asyncbatch.transport import Http

    rows = 0
    os.environ.update(OPENAI_API_KEY="bench", OPENAI_BASE_URL=f"{place.url}/v1")
    async with BatchClient(
        journal="memory",
        polling=polling(first_s=0.05, max_s=0.2),
        http=Http(limit_per_account=IN_FLIGHT),
        catalog=small_batches(),
    ) as client:
        job = await client.submit(requests(place.case.count * PER_BATCH, 1000), model=f"openai/{MODEL}")
        async for row in job.results():
            rows += row.status == "succeeded"
    return rows


def small_batches(made=[]):  # noqa: B006 read once, as a program does
    from asyncbatch import load_catalog

    if not made:
        facts = {"polling": {"min_interval_s": 0}, "limits": {"requests": PER_BATCH}}
        made.append(load_catalog({"providers": {"openai": facts}}))
    return made[0]


BENCH = Bench(
    question=__doc__,
    unit="batch",
    warm=2,
    cases=tuple(Case(name=f"{count:,} batches", count=count) for count in (10, 100, 1000)),
    contenders=(Contender(name="asyncbatch", run=ours),),
    targets=(Target(measure="memory_mb", limit=60), Target(measure="stall_ms", limit=20)),
    flat=(("cpu_us", 1.5),),
)
