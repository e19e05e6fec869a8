"""The judge of rounds: what is sent again is what is worth it, and nothing is that has its answer."""

from collections.abc import Iterator

from asyncbatch import BatchStatus, ResultStatus
from tests.simulation.accounts import LOSSES, attempts_of, place_of, prompts_of, rounds_begun
from tests.simulation.service import Batch, Order
from tests.simulation.world import Told, World

ANSWERED = "had its answer, and was sent again"
NOT_WORTH_IT = "are sent again, and worth it were"
TOO_OFTEN = "times at most, and went out"
FORGOTTEN = "might have had another try"


def of_rounds(world: World) -> Iterator[str]:
    for order in world.service.orders:
        yield from _of_order(world, order)
    for prompt in prompts_of(world):
        rounds = {order.round for order in world.service.orders_of(prompt)}
        if len(rounds) > world.plan.max_attempts:
            yield f"{prompt} is sent {world.plan.max_attempts} {TOO_OFTEN} {len(rounds)} times"
    begun = rounds_begun(world)
    for told in world.told:
        yield from _of_chances(world, told, begun)


def _of_order(world: World, order: Order) -> Iterator[str]:
    texts = {text for _, text in order.lines}
    for prompt in texts:
        if any(_has_succeeded(world, batch, prompt, order) for batch in world.service.paid(prompt)):
            yield f"{prompt} {ANSWERED}"
    if order.round:
        wanted = _worth_it(world, order)
        if texts != wanted:
            yield f"in round {order.round} {sorted(texts)} {NOT_WORTH_IT} {sorted(wanted)}"


def _has_succeeded(world: World, batch: Batch, prompt: str, order: Order) -> bool:
    """Whether a request was answered well before a create left that asks for it."""
    is_before = batch.tag != order.tag and batch.ends[0] < order.sent_at
    return is_before and world.service.outcome_of(batch, prompt)[0] is ResultStatus.SUCCEEDED


def _worth_it(world: World, order: Order) -> set[str]:
    """Give what a round has to ask for: of the same submission, what the batch of the round before did not answer for now."""
    place = place_of(world, order.lines[0][1])
    here = [prompt for prompt in prompts_of(world) if place_of(world, prompt) == place]
    before = [(prompt, batch) for prompt in here for batch in _in_round(world, prompt, order.round - 1)]
    return {prompt for prompt, batch in before if is_worth_it(world, batch, prompt)}


def _in_round(world: World, prompt: str, number: int) -> list[Batch]:
    return [batch for batch in world.service.paid(prompt) if batch.round == number]


def is_worth_it(world: World, batch: Batch, prompt: str) -> bool:
    if world.plan.retry == "transient":
        return world.service.may_pass(batch, prompt)
    is_expired = world.service.outcome_of(batch, prompt)[0] is ResultStatus.EXPIRED
    return world.plan.retry == "expired" and is_expired and batch.ends[1] is BatchStatus.EXPIRED


def _of_chances(world: World, told: Told, begun: dict[tuple[int, int], int]) -> Iterator[str]:
    """What ended in a way that may pass has had all its tries; unless the end was asked for, or the last was not wanted."""
    if world.plan.retry is None or world.plan.cancels_at is not None:
        return
    for row in told.rows:
        prompt = world.plan.jobs[told.job][int(row.request_id)]
        tries = begun.get(place_of(world, prompt), 0) + 1
        paid = world.service.paid(prompt)
        last = [batch for batch in paid if batch.round == max(each.round for each in paid)]
        has_more = tries < world.plan.max_attempts and row.status is not ResultStatus.INDETERMINATE
        if (
            has_more
            and not _is_unwanted(world, prompt, tries - 1)
            and any(is_worth_it(world, batch, prompt) for batch in last)
        ):
            yield f"{prompt} is {row.status}, and {FORGOTTEN}"


def _is_unwanted(world: World, prompt: str, number: int) -> bool:
    """Whether the create of a round was refused for good, or lost so often that it was given up."""
    orders = [order for order in world.service.orders_of(prompt) if order.round == number]
    lost = [each for each in attempts_of(world, prompt) if each.result == "fenced"]
    return any(order.is_unwanted for order in orders) or len(lost) >= LOSSES
