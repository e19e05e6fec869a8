"""What a world's journal accounts for, read from its tables as anybody may, and which request lies where."""

import sqlite3
from contextlib import closing
from typing import NamedTuple

from tests.simulation.service import Order
from tests.simulation.world import World

LOSSES = 5
"""After so many creates that were lost and proved absent, a submission is given up."""


class Attempt(NamedTuple):
    """A create, as the journal accounts for it."""

    job_key: str
    index: int
    tag: str
    result: str
    batch: str | None


class Place(NamedTuple):
    """Where a request lies."""

    job: int
    index: int


def tables(world: World) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(world.place / "journal.sqlite3"))


def all_attempts(world: World) -> list[Attempt]:
    sql = "SELECT key, idx, tag, result, provider_batch_id FROM attempt JOIN job USING (job_id) ORDER BY job_id, idx, n"
    with tables(world) as found:
        return [Attempt(*row) for row in found.execute(sql)]


def attempts_of(world: World, prompt: str) -> list[Attempt]:
    """Give the creates of the submission that this prompt is in, as the journal accounts for them."""
    job, index = place_of(world, prompt)
    return [each for each in all_attempts(world) if (each.job_key, each.index) == (f"job {job}", index)]


def rounds_begun(world: World) -> dict[Place, int]:
    """Give how often requests of each submission were to be sent again; those of which none were are left out."""
    sql = "SELECT key, idx, count(*) FROM event JOIN job USING (job_id) WHERE kind = 'Retried' GROUP BY key, idx"
    with tables(world) as found:
        return {Place(int(key.removeprefix("job ")), index): count for key, index, count in found.execute(sql)}


def prompts_of(world: World) -> list[str]:
    return [prompt for prompts in world.plan.jobs for prompt in prompts]


def place_of(world: World, prompt: str) -> Place:
    for job, prompts in enumerate(world.plan.jobs):
        if prompt in prompts:
            return Place(job, prompts.index(prompt) // world.chunk_rows)
    raise ValueError(f"nobody wants {prompt}")


def order_of(world: World, tag: str) -> Order | None:
    return next((order for order in world.service.orders if order.tag == tag), None)
