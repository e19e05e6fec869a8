"""The judge of cancels: once somebody was told that the end of a job was heard, nothing is sent, and the provider is asked."""

from collections import Counter
from collections.abc import Iterator

from asyncbatch import SubmitSafety
from tests.simulation.accounts import order_of
from tests.simulation.service import Batch
from tests.simulation.world import World

SENT_ON = "was sent after the end of its job was asked for"
UNHEARD = "runs on, and the provider was not asked for its end"


def of_cancels(world: World) -> Iterator[str]:
    for job, asked_at in world.asked.items():
        known_at, prompts = asked_at + world.plan.heard_s, set(world.plan.jobs[job])
        for order in world.service.orders:
            if order.sent_at > known_at and prompts & {text for _, text in order.lines}:
                yield f"{order.lines[0][1]} {SENT_ON}"
        for batch in world.service.batches.values():
            if prompts & {text for _, text in batch.lines} and _is_unheard(world, batch, known_at):
                yield f"{batch.name} {UNHEARD}"


def _is_unheard(world: World, batch: Batch, known_at: float) -> bool:
    """Whether somebody who knew that the end was asked for looked at a running batch twice, and let it run."""
    looks = Counter(who for who, at in batch.seen if at > known_at)
    return not batch.is_asked_to_end and max(looks.values(), default=0) > 1 and _is_surely_ours(world, batch)


def _is_surely_ours(world: World, batch: Batch) -> bool:
    """Whether nobody can take a batch for somebody else's: one that was found by time and number is not cancelled."""
    order = order_of(world, batch.tag) if batch.tag is not None else None
    is_known = order is not None and order.is_answered and not world.lives[order.sender].is_dead
    return world.safety is not SubmitSafety.INFERRED or is_known
