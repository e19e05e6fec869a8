"""A process that submits fifty batches of one account, of which four may be open: `python -m tests.kill.room_worker HOME`.

Done once more after a kill, it goes on with the same job, and prints how its requests ended.
"""

import json
import sys

import anyio

from asyncbatch import AccountLimits, BatchClient, load_catalog
from asyncbatch.planning.recovery import Recovery
from tests.kill.worker import POLLING, RECOVERY

FACTS = {"providers": {"openai": {"limits": {"requests": 1}, "polling": {"min_interval_s": 0.02}}}}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(home: str) -> None:
    async with BatchClient(
        journal=home,
        catalog=load_catalog(FACTS),
        limits=AccountLimits(open_batches=4),
        polling=POLLING,
        recovery=Recovery(**RECOVERY),
    ) as client:
        tell("open")
        job = await client.submit([f"prompt {n}" for n in range(50)], model="openai/gpt-4.1-mini", key="nightly")
        status = await job.wait()
        tell(json.dumps({outcome.value: count for outcome, count in status.outcomes.items()}))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
