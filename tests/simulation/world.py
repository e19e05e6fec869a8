"""One world, made from one integer: a job, a service, and as many lives of the program as it takes to end the job."""

import asyncio
import contextlib
import functools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec

from asyncbatch import (
    BatchClient,
    BatchProviderRegistry,
    Polling,
    ProviderError,
    ProviderResultRow,
    SubmitSafety,
    load_catalog,
)
from tests.simulation.fates import Fates
from tests.simulation.loop import run
from tests.simulation.process import Dangers, DeadError, Process, now
from tests.simulation.provider import bound
from tests.simulation.service import Answers, Service
from tests.simulation.shortcuts import shortcuts

LISTENED_S, SELDOM_LISTENED_S = 120.0, 3600.0
LIVES = 4
"""Crashes in one world at most: the last life is granted its end."""
SAFETIES = (
    *[SubmitSafety.TAGGED_FENCED] * 7,
    *[SubmitSafety.TAGGED] * 4,
    *[SubmitSafety.INFERRED] * 8,
    SubmitSafety.NONE,
)


SELDOM = Polling(first_s=10.0, factor=2.0, max_s=900.0)
"""How often a batch is asked about has no bearing on what is tried here, and costs most of the time."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed says about its world.

    Attributes:
        jobs: The requests of each job; clients beyond the last ask for the first once more.
        is_kind: The service makes no mistakes, and so the job has to end as if nothing had ever crashed.
        crash: How likely a step is to be the last of its process.
        trouble: How likely a call is to meet with trouble.
        leaves: How likely a step is to be the one at which the process is asked to end, and does so in good order.
        clients: Processes at once.
        cancels_at: When the user asks for the end, seconds from the beginning.
        fatal: The event right after whose record the first process dies.
        asks: Which of the clients that is; it asks once, unless its program died before it was told that it was heard.
        forgets: How likely the service is to forget an answer.
        retry: Which requests the job wants to have sent again; None for none.
        max_attempts: How often at most.
        passing: How likely a request is to meet with an error that passes.
        overruns: How likely a batch is not to end before it expires.
        longest_s: When it has to be over.
        strangers: How many batches of others are created, where they cannot be told from ours at once.
        skew_s: How wrong the clocks of its processes are at most, each in its own way.
    """

    seed: int
    safety: SubmitSafety
    jobs: tuple[tuple[str, ...], ...]
    chunk_rows: int
    is_kind: bool
    crash: float
    trouble: float
    leaves: float
    clients: int
    cancels_at: float | None = None
    asks: int = 0
    strangers: int = 0
    skew_s: float = 0.0
    fatal: str = ""
    forgets: float = 0.0
    retry: Literal["transient", "expired"] | None = None
    max_attempts: int = 1
    passing: float = 0.0
    overruns: float = 0.1
    longest_s: float = 14 * 86_400.0

    @property
    def heard_s(self) -> float:
        """Within how many seconds of a wish for the end of a job whoever has it knows."""
        return 0.0 if self.clients == 1 else LISTENED_S + 300.0


def plan(seed: int) -> Plan:
    dice = random.Random(f"plan {seed}")
    safety = dice.choice(SAFETIES)
    is_kind = dice.random() < 0.2 and safety is not SubmitSafety.NONE
    rows, chunks = dice.choice((1, 2, 3)), dice.choice((1, 1, 2, 3))
    count = max(1, rows * chunks - int(dice.random() < 0.3))
    clients = 2 if dice.random() < 0.25 else 1
    jobs = dice.choice((1, clients))
    if is_kind and safety is SubmitSafety.INFERRED:  # two at once may look like each other, and wait for a human
        jobs = 1
    strangers = dice.choice((0, 0, 1, 3)) if safety is SubmitSafety.INFERRED and not is_kind else 0
    which = Plan(
        seed=seed,
        safety=safety,
        jobs=tuple(tuple(f"prompt {job}-{n} of {seed}" for n in range(count)) for job in range(jobs)),
        chunk_rows=rows,
        is_kind=is_kind,
        crash=dice.choice((0.0, 0.02, 0.04, 0.08)) if not is_kind else dice.choice((0.03, 0.08)),
        trouble=0.0 if is_kind else dice.choice((0.0, 0.2, 0.4, 0.6)),
        leaves=dice.choice((0.0, 0.0, 0.04)),
        clients=clients,
        cancels_at=dice.uniform(0.0, 2000.0) if dice.random() < 0.08 and not is_kind else None,
        strangers=strangers,
        skew_s=0.0 if is_kind else dice.choice((0.0, 60.0)),
        forgets=0.0 if is_kind else 0.04,
    )
    return _with_rounds(which, random.Random(f"rounds {seed}"))


def _with_rounds(which: Plan, dice: random.Random) -> Plan:
    """Let some worlds send again what failed for now, and more fail there; and let one of the clients ask for the end."""
    which = msgspec.structs.replace(which, asks=dice.randrange(which.clients))
    if dice.random() > 0.3:
        return which
    which = msgspec.structs.replace(which, **rounds(dice, is_kind=which.is_kind))
    is_cancelled = dice.random() < 0.2 and not which.is_kind
    return msgspec.structs.replace(which, cancels_at=dice.uniform(0.0, 9000.0)) if is_cancelled else which


def rounds(dice: random.Random, *, is_kind: bool = False) -> dict[str, Any]:
    """What makes a world one of several rounds."""
    rough = {} if is_kind else {"overruns": 0.3, "forgets": 0.1}
    retry = dice.choice(("transient", "transient", "transient", "expired"))
    return {"retry": retry, "max_attempts": dice.choice((2, 2, 3)), "passing": 0.35, **rough}


def changed(which: Plan, **changes: Any) -> Plan:
    """Give a plan with changes, and no more jobs or askers than clients."""
    which = msgspec.structs.replace(which, **changes)
    return msgspec.structs.replace(which, jobs=which.jobs[: which.clients], asks=min(which.asks, which.clients - 1))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a client was told of a job: its rows, or why there are none."""

    job: int
    rows: Sequence[ProviderResultRow] = ()
    error: Exception | None = None


class World:
    """A plan that is carried out.

    Attributes:
        lives: Every process, in the order of their beginnings.
        told: What each client was told in the end.
        asked: When the end of a job was asked for, and whoever asked was told that it was heard.
    """

    def __init__(self, plan: Plan, place: Path) -> None:
        self.plan = plan
        self.place = place
        self.safety = plan.safety
        self.chunk_rows = plan.chunk_rows
        is_inferred = plan.safety is SubmitSafety.INFERRED
        self.service = Service(
            Answers(plan.seed, plan.forgets, plan.passing),
            self.dice("service"),
            is_kind=plan.is_kind,
            names_all=is_inferred,
            overruns=plan.overruns,
        )
        self.fates = Fates(self.dice("fates"), plan.trouble)
        self.lives: list[Process] = []
        self.told: list[Told] = []
        self.asked: dict[int, float] = {}
        self.faults: list[str] = []
        self.is_over = False

    def dice(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {name}")

    async def play(self) -> None:
        with anyio.move_on_after(self.plan.longest_s):
            async with anyio.create_task_group() as group:
                group.start_soon(self._strangers)
                async with anyio.create_task_group() as clients:
                    for number in range(self.plan.clients):
                        clients.start_soon(self._client, self.dice(f"client {number}"), number)
                self.is_over = True
                group.cancel_scope.cancel()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if self.is_over and left:
            self.faults.append(
                f"tasks are left of clients that were closed: {sorted(task.get_name() for task in left)}"
            )

    async def _strangers(self) -> None:
        dice = self.dice("strangers")
        for number in range(self.plan.strangers):
            await anyio.sleep(dice.uniform(0.0, 900.0))
            rows = dice.choice((self.chunk_rows, self.chunk_rows, self.chunk_rows + 1))
            lines = tuple((f"stranger-{index:07d}", f"their prompt {number}-{index}") for index in range(rows))
            self.service.take(lines).is_strangers = True

    async def _client(self, dice: random.Random, number: int) -> None:
        """Start the program again and again, as a user would, until it says what became of the job."""
        await anyio.sleep(dice.choice((0.0, dice.uniform(0.0, 400.0))) * number)
        job = number % len(self.plan.jobs)
        while (told := await self._life(self._born(), job, asks=number == self.plan.asks)) is None:
            await anyio.sleep(dice.choice((0.0, 1.0, dice.uniform(0.0, 60.0), dice.uniform(0.0, 2000.0))))
        self.told.append(told)

    def _born(self) -> Process:
        number = len(self.lives)
        fatal = self.plan.fatal if number == 0 else ""
        dangers = Dangers(self.plan.crash, self.plan.leaves, fatal) if number < LIVES else Dangers()
        luck = self.dice(f"process {number}"), self.dice(f"disk {number}")
        skew_s = self.plan.skew_s
        clock_s = self.dice(f"clock {number}").uniform(-skew_s, skew_s)
        process = Process(number, *luck, dangers, clock_s, self.place)
        self.lives.append(process)
        return process

    async def _life(self, process: Process, job: int, *, asks: bool) -> Told | None:
        life = _Life(self, process, job, asks=asks)
        async with anyio.create_task_group() as group:
            group.start_soon(life.live)
            await process.ended.wait()
            group.cancel_scope.cancel()
        if process.is_dead:
            return None
        if life.fault is not None:
            self.faults.append(f"process {process.number} ended with {life.fault!r}")
            return Told(job=job, error=life.fault)
        return life.told


class _Life:
    """What one process does: it submits the job, or finds it again, and waits for its rows."""

    def __init__(self, world: World, process: Process, job: int, *, asks: bool) -> None:
        self.world = world
        self.process = process
        self.job = job
        self.asks = asks
        self.told: Told | None = None
        self.fault: Exception | None = None

    async def live(self) -> None:
        try:
            await self._run()
        except Exception as error:  # what a dead process makes of it is nobody's business
            self.fault = error
        finally:
            self.process.ended.set()

    async def _run(self) -> None:
        prompts = list(self.world.plan.jobs[self.job])
        async with self._client() as client:
            self.process.space = client._scope.context.space
            job = await client.submit(prompts, model="sim/m", key=f"job {self.job}", **self._policy())
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel, job)
                told = await self._hear(job)
                group.cancel_scope.cancel()
            self.process.check()
            self.told = told

    async def _hear(self, job: Any) -> Told:
        try:
            return Told(job=self.job, rows=[row async for row in job.results()])
        except ProviderError as error:
            return Told(job=self.job, error=error)

    def _client(self) -> BatchClient:
        registry = BatchProviderRegistry()
        registry.register(bound(self.process, self.world))
        return BatchClient(
            registry=registry,
            catalog=_catalog(),
            session=_NO_SESSION,
            journal=self.process.journal,
            runtime=self.process.runtime,
            polling=SELDOM,
        )

    async def _cancel(self, job: Any) -> None:
        """Ask for the end, once: it holds whatever becomes of the program; a user whose program died meanwhile asks again."""
        at = self.world.plan.cancels_at
        if at is None or not self.asks or self.job in self.world.asked:
            return
        await anyio.sleep(max(at - anyio.current_time(), 0.0))
        try:
            with contextlib.suppress(ProviderError):  # what the provider says to it is the engine's business
                await job.cancel()
            self.process.check()
        except DeadError:
            return
        self.world.asked[self.job] = now()

    def _policy(self) -> dict[str, Any]:
        plan = self.world.plan
        return {"retry": plan.retry, "max_attempts": plan.max_attempts} if plan.retry is not None else {}


_NO_SESSION: Any = object()
"""Nothing here goes over a network; whatever tried to would fail."""


@functools.cache
def _catalog() -> Any:
    return load_catalog()


def played(which: Plan, place: Path) -> World:
    """Carry out a plan to its end."""
    world = World(which, place)
    is_heard = which.cancels_at is not None and which.clients > 1
    with shortcuts(LISTENED_S if is_heard else SELDOM_LISTENED_S):
        run(
            world.play, dying=(DeadError,)
        )  # what a dead process leaves open is looked for in the end, and cannot close itself
    return world
