"""The judge of a world: what the journal and the rows say, held against what the service did."""

from collections import Counter
from collections.abc import Iterator

from asyncbatch import ProviderResultRow, ResultStatus, SubmitSafety
from tests.simulation.accounts import LOSSES, all_attempts, attempts_of, order_of, prompts_of, tables
from tests.simulation.cancels import of_cancels
from tests.simulation.provider import LATEST_S, MARKED
from tests.simulation.rounds import of_rounds
from tests.simulation.service import SKEW_S, Batch, Order
from tests.simulation.world import Told, World


def problems(world: World) -> list[str]:
    """Say everything that is not as it was promised."""
    if not world.is_over:
        return ["the job does not come to its end"]
    if world.faults:
        return world.faults
    found = [*_of_senders(world), *_of_payments(world), *of_rounds(world), *of_cancels(world)]
    found += [*_of_rows(world), *_of_errors(world)]
    return found or [*_of_journal(world), *_of_outcomes(world)]


def outcomes_of(world: World) -> dict[str, ProviderResultRow]:
    """Give how each prompt ended, as clients were told; a job of which nothing was sent has no rows."""
    outcomes: dict[str, ProviderResultRow] = {}
    for told in world.told:
        prompts = world.plan.jobs[told.job]
        outcomes |= {prompts[int(row.request_id)]: row for row in told.rows if int(row.request_id) < len(prompts)}
    return outcomes


# What was sent, and what it cost.


def _of_senders(world: World) -> Iterator[str]:
    yield from world.service.breaches


def _of_payments(world: World) -> Iterator[str]:
    """Of each round one create is paid for at most; and where the wire has doubled it, nobody says that all is well."""
    outcomes = outcomes_of(world)
    for prompt in prompts_of(world):
        status = outcomes[prompt].status if prompt in outcomes else None
        for paid in _by_round(world, prompt):
            if len({batch.tag for batch in paid}) > 1:
                yield f"{prompt} was sent and paid for {len(paid)} times, and is {status}"
            elif len(paid) > 1 and status is not ResultStatus.INDETERMINATE:
                yield f"{prompt} was doubled on the wire, paid for {len(paid)} times, and is {status}"


def _by_round(world: World, prompt: str) -> list[list[Batch]]:
    """Give the batches that were paid for a request, those of each round together, the latest last."""
    paid = world.service.paid(prompt)
    numbers = sorted({batch.round for batch in paid})
    return [[batch for batch in paid if batch.round == number] for number in numbers]


# What clients were told.


def _of_rows(world: World) -> Iterator[str]:
    first: dict[int, Told] = {}
    for told in world.told:
        expected = Counter(f"{index:07d}" for index in range(len(world.plan.jobs[told.job])))
        counted = Counter(row.request_id for row in told.rows)
        if told.error is None and counted != expected:
            yield f"outcomes for {dict(counted)}"
        if _by_id(told) != _by_id(first.setdefault(told.job, told)):
            yield "two clients were told different things"
        for row in told.rows:
            if row.status is ResultStatus.INDETERMINATE and (row.error is None or not row.error.message):
                yield f"{row.request_id} is INDETERMINATE, and nobody says why"
    if len(world.told) != world.plan.clients:
        yield f"{len(world.told)} clients of {world.plan.clients} were told"


def _of_errors(world: World) -> Iterator[str]:
    """A client hears an error in place of rows only if nothing of its job was sent."""
    for told in world.told:
        prompts = world.plan.jobs[told.job]
        if told.error is not None and any(world.service.paid(prompt) for prompt in prompts):
            yield f"it was told {told.error}, and something was paid for"
        if told.error is not None and not any(_may_be_unsent(world, each, ResultStatus.ERRORED) for each in prompts):
            yield f"it was told {told.error}, and nothing stood against sending it"


def _by_id(told: Told) -> object:
    return {row.request_id: row for row in told.rows} if told.error is None else str(told.error)


def _of_outcomes(world: World) -> Iterator[str]:
    for prompt, row in outcomes_of(world).items():
        paid, ended = world.service.paid(prompt), (row.status, bytes(row.body))
        if row.status is ResultStatus.INDETERMINATE:
            if not _may_be_unknowable(world, prompt):
                yield f"{prompt} is INDETERMINATE, though it could be known"
        elif paid:
            expected = [world.service.outcome_of(batch, prompt) for batch in _by_round(world, prompt)[-1]]
            if ended not in expected:
                yield f"{prompt} is {ended}, and the service answered {expected}"
        elif not _may_be_unsent(world, prompt, row.status):
            yield f"{prompt} is {row.status}, and was never paid for"


# What is permitted.


def _may_be_unknowable(world: World, prompt: str) -> bool:
    """Whether the answer to its last create was lost, and nothing that can be looked up tells what became of it."""
    attempts = [each for each in attempts_of(world, prompt) if each.result == "indeterminate"]
    return any(_is_in_doubt(world, each.tag) and _is_untraceable(world, prompt, each.tag) for each in attempts)


def _is_in_doubt(world: World, tag: str) -> bool:
    """Whether nobody heard the answer to a create: it was lost, or its process ended before it wrote it down."""
    order = order_of(world, tag)
    if order is None:
        return any(life.is_dead or life.was_asked for life in world.lives)
    sender = world.lives[order.sender]
    return not order.is_answered or sender.is_dead or sender.was_asked


def _is_untraceable(world: World, prompt: str, tag: str) -> bool:
    if world.safety is SubmitSafety.NONE:
        return True
    order = order_of(world, tag)
    if world.safety in MARKED:
        return order is not None and order.copies > 1
    ours = [batch for batch in world.service.batches.values() if _is_of_job(world, batch, prompt)]
    are_mute = any(not world.service.rows_of(batch) for batch in ours)
    return are_mute or any(_looks_like(batch, order) for batch in world.service.batches.values() if batch not in ours)


def _looks_like(batch: Batch, order: Order | None) -> bool:
    """Whether somebody else's batch may be taken for that of a create, by its time and number of requests."""
    if order is None:  # it never left, and somebody else's came at the same time
        return True
    is_near = order.sent_at - 3 * SKEW_S <= batch.created_at <= order.sent_at + LATEST_S + SKEW_S
    return is_near and len(batch.lines) == len(order.lines)


def _may_be_unsent(world: World, prompt: str, status: ResultStatus) -> bool:
    if status is ResultStatus.CANCELLED:
        return world.plan.cancels_at is not None
    lost = [each for each in attempts_of(world, prompt) if each.result == "fenced"]
    is_unwanted = any(order.is_unwanted for order in world.service.orders_of(prompt))
    return status is ResultStatus.ERRORED and (is_unwanted or len(lost) >= LOSSES)


# What the journal says.


def _of_journal(world: World) -> Iterator[str]:
    with tables(world) as found:
        states = {state for (state,) in found.execute("SELECT state FROM submission")}
        if states != {"settled"}:
            yield f"submissions are {sorted(states)}"
        (jobs,) = found.execute("SELECT count(*) FROM job").fetchone()
        if jobs != len(world.plan.jobs):
            yield f"there are {jobs} jobs"
    places = len(list((world.place / "jobs").iterdir()))
    if places != len(world.plan.jobs):
        yield f"there are places of {places} jobs"
    yield from _of_attempts(world)


def _of_attempts(world: World) -> Iterator[str]:
    """The journal owns up to every create that was sent, and to the batch that was paid for."""
    attempts = all_attempts(world)
    owned = ("accepted",) if world.plan.retry is None else ("accepted", "retried")
    for order in world.service.orders:
        if order.tag not in {each.tag for each in attempts}:
            yield f"a create was sent of which the journal does not know: {order.tag}"
    for each in attempts:
        if each.result in ("open", "unknown"):
            yield f"the account of {each.tag} is {each.result} in the end"
        paid = [batch for batch in world.service.batches.values() if batch.tag == each.tag and batch.is_paid]
        if paid and each.result not in (*owned, "indeterminate"):
            yield f"{each.tag} was paid for, and the journal calls it {each.result}"
        if paid and each.result in owned and each.batch not in {batch.name for batch in paid}:
            yield f"{each.tag} was paid for as {paid[0].name}, and the journal knows {each.batch}"


def _is_of_job(world: World, batch: Batch, prompt: str) -> bool:
    prompts = next(prompts for prompts in world.plan.jobs if prompt in prompts)
    return any(text in prompts for _, text in batch.lines)
