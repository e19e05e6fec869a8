"""Days of watching, in virtual time: accounts with batches that come and end all the time, and a poller that lives through it.

    python -m tests.soak.days [BATCHES [HOURS]] | month

prints what there was, hour by hour, how late ends were seen, and what was wrong.
"""

import asyncio
import logging
import random
import sys
from array import array
from collections import Counter
from functools import partial
from typing import Any

import msgspec

from asyncbatch import BatchEnded, BatchPoller, EventsMissed, Polling
from asyncbatch.poller import BatchHandle
from asyncbatch.runtime import Runtime
from tests.simulation.loop import run
from tests.simulation.process import now
from tests.soak.lives import HOUR_S, Life
from tests.soak.stock import Stock, Stocks, take_stock
from tests.soak.tenants import RATE_PER_S, Closed, ListedTenant, ReservedTenant, Tenant

KINDS = (ListedTenant, ReservedTenant, ListedTenant, Tenant)
SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of all batches, for the accounts of each four: by single questions alone, hundreds are not watched within a budget."""
GUESTS, GUESTS_BATCHES = 3, 4
"""Accounts that come each hour, with a few batches, and are never seen again."""
SLACK_S = 60.0
"""For answers that are slow or never come."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How large, how long, and with which luck.

    Attributes:
        batches: Watched at once.
        stretch: By how much batches take longer than some hours.
        naps: Hours at which the host falls asleep, and for how many.
        outages: Hours at which the first account is not answered, for an hour.
    """

    seed: int = 1
    batches: int = 1000
    accounts: int = 8
    hours: int = 24
    polling: Polling = Polling()
    stretch: float = 1.0
    naps: tuple[tuple[float, float], ...] = ((9.3, 2.0),)
    outages: tuple[float, ...] = (5.0, 17.5)

    def latest_s(self, missed: int, size: int) -> float:
        """Give how late an end is seen at most: a longest wait, one more for each question that failed, and a turn of all."""
        longest_s = self.polling.max_s * (1 + self.polling.jitter)
        return (1 + missed) * (longest_s + SLACK_S) + size / RATE_PER_S


class Days:
    """A plan that is carried out.

    Attributes:
        stock: What there was before, and at the end of each hour.
        after: What there is when the poller was left.
        late_s: How late each end was seen, without the time in which nobody could have seen it.
        woken_s: The same, of those that a webhook told of in time and about which no question went wrong.
        wrong: What must not happen, and did.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = random.Random(f"days {plan.seed}")
        self.runtime = Runtime(now=now, sleep=asyncio.sleep, random=random.Random(f"poller {plan.seed}").random)
        self.poller = BatchPoller(plan.polling, runtime=self.runtime)
        self.stock = Stocks()
        self.after: Stock | None = None
        self.late_s, self.woken_s = array("d"), array("d")
        self.wrong: list[str] = []
        self.missed_events = 0
        self.requests = 0
        self.mishaps: Counter[str] = Counter()
        self._is_on = True
        self._slept = Closed()
        self._guests: list[Tenant] = []
        self._lives: dict[str, Life] = {}
        self._due: asyncio.Queue[Any] = asyncio.Queue()

    async def live(self) -> None:
        """Live through all of it."""
        self.stock.append(take_stock(self.poller))
        tenants = [self._tenant(KINDS[number % 4], f"tenant-{number}") for number in range(self.plan.accounts)]
        async with self.poller as poller:
            others = [
                asyncio.create_task(work) for work in (self._read(poller.events()), self._dawdle(poller.events()))
            ]
            doer = asyncio.create_task(self._do())
            for number, tenant in enumerate(tenants):
                for _ in range(int(self.plan.batches * SHARES[number % 4] * 4 / self.plan.accounts)):
                    self._later(self.dice.uniform(0.0, HOUR_S), partial(self._begin, tenant))
            for hour in range(self.plan.hours):
                await self._hour(hour, tenants)
            await self._drain()
            doer.cancel()
        await asyncio.gather(*others)
        for tenant in (*tenants, *self._guests):
            self._add_up(tenant)
        await asyncio.sleep(14 * 24 * HOUR_S)  # until nothing is left that was meant to be done later
        self._due = asyncio.Queue()

    async def _hour(self, hour: int, tenants: list[Tenant]) -> None:
        for at, hours in self.plan.naps:
            if int(at) == hour:
                self._later((at - hour) * HOUR_S, partial(self._nap, hours * HOUR_S))
        for at in self.plan.outages:
            if int(at) == hour:
                self._later((at - hour) * HOUR_S, partial(tenants[0].fall, HOUR_S))
        for number in range(GUESTS):
            self._guests.append(guest := self._tenant(Tenant, f"guest-{hour}-{number}"))
            for _ in range(GUESTS_BATCHES):
                self._watch(guest, guest.begin(longest_s=HOUR_S))
        await asyncio.sleep(HOUR_S)
        for tenant in tenants:
            tenant.forget(now())
        for guest in [guest for guest in self._guests if guest.is_over]:
            self._guests.remove(guest)
            self._add_up(guest)
        self.stock.append(take_stock(self.poller))

    def _tenant(self, kind: type[Tenant], name: str) -> Tenant:
        return kind(name, seed=self.plan.seed, stretch=self.plan.stretch, runtime=self.runtime)

    # Batches

    def _begin(self, tenant: Tenant) -> None:
        if self._is_on:
            self._watch(tenant, tenant.begin())

    def _watch(self, tenant: Tenant, life: Life) -> None:
        self._lives[life.name] = life
        for _ in range(2 if self.dice.random() < 0.01 else 1):
            life.watches += 1
            handle = self.poller.watch(tenant, life.name)
            handle.on_done(partial(self._over, tenant, life, handle))
        left_s = life.ends_at - now()
        if self.dice.random() < 0.5:  # of all webhooks arrive, and some twice
            for _ in range(self.dice.choice((1, 1, 2))):
                self._later(left_s + self.dice.uniform(0.0, 5.0), partial(self._wake, life))
        if self.dice.random() < 0.05:  # and some are somebody's idea
            self._later(self.dice.uniform(0.0, left_s), partial(self.poller.wake, life.name))

    def _wake(self, life: Life) -> None:
        if self.poller.wake(life.name) and life.woken_at is None:
            life.woken_at = now()

    def _over(self, tenant: Tenant, life: Life, handle: BatchHandle) -> None:
        life.seen += 1
        if handle.error is not None or handle.status is not life.end:
            self.wrong.append(f"{life.name} was seen as {handle.status} {handle.error!r}, and was {life.end}")
        if now() < life.ends_at or life.seen > life.watches:
            self.wrong.append(f"{life.name} was seen {life.seen} times, {now() - life.ends_at:.0f} s after its end")
        if life.seen > 1:
            return
        self._measure(tenant, life)
        if not tenant.name.startswith("guest"):
            self._later(self.dice.uniform(0.0, 60.0), partial(self._begin, tenant))

    def _measure(self, tenant: Tenant, life: Life) -> None:
        span = life.ends_at, now()
        late_s = span[1] - span[0] - tenant.closed.within(*span) - self._slept.within(*span)
        self.late_s.append(late_s)
        if life.woken_at is not None and life.woken_at < life.ends_at + 10.0 and not life.missed:
            self.woken_s.append(late_s)
        if late_s > self.plan.latest_s(life.missed, len(tenant.lives)):
            self.wrong.append(f"{life.name} was seen {late_s:.0f} s late, with {life.missed} questions that went wrong")

    async def _read(self, events: Any) -> None:
        async for event in events:
            if isinstance(event, EventsMissed):
                self.wrong.append("a reader that keeps up missed events")
            elif isinstance(event, BatchEnded):
                self._hear(event.provider_batch_id)

    def _hear(self, name: str) -> None:
        life = self._lives.get(name)
        if life is None:
            self.wrong.append(f"{name} was told to end once more than it was watched")
            return
        life.told += 1
        if life.told == life.watches:
            del self._lives[name]

    async def _dawdle(self, events: Any) -> None:
        """Read one event a minute: whoever is slow misses some, and costs nobody anything."""
        async for event in events:
            self.missed_events += event.count if isinstance(event, EventsMissed) else 0
            await asyncio.sleep(60.0)

    async def _drain(self) -> None:
        """Let everything come to its end, and nothing new begin."""
        self._is_on = False
        for life in self._lives.values():
            life.ends_at = min(life.ends_at, now() + HOUR_S)
        await asyncio.sleep(5 * HOUR_S + 10 * self.plan.polling.max_s)
        if left := self.poller.statistics().watched:
            self.wrong.append(f"{left} batches are over, and nobody saw it")
        if self._lives:
            self.wrong.append(f"{len(self._lives)} batches are over, and nobody told it")

    def _add_up(self, tenant: Tenant) -> None:
        self.requests += tenant.requests
        self.mishaps.update(tenant.mishaps)
        if tenant.budget.most_over > 0.01:
            self.wrong.append(f"{tenant.name} was asked {tenant.budget.most_over:.1f} times beyond its budget")
        if tenant.hasty:
            self.wrong.append(f"{tenant.name} was asked {tenant.hasty} times when it had asked not to be")

    # The world

    def _nap(self, seconds: float) -> None:
        """Let the host sleep: the clock jumps, and nobody has done anything."""
        self._slept.add(now(), now() + seconds)
        loop: Any = asyncio.get_running_loop()
        loop.now_s += seconds

    def _later(self, seconds: float, what: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, self._due.put_nowait, what)

    async def _do(self) -> None:
        while True:
            (await self._due.get())()


def lived(plan: Plan) -> Days:
    """Live through a plan, in an instant."""
    days: list[Days] = []

    async def live() -> None:
        days.append(Days(plan))
        await days[0].live()
        days[0].after = take_stock(days[0].poller)

    run(live)
    return days[0]


def month() -> Plan:
    """Ten thousand batches for thirty days; with longer waits, which make it an hour or two in place of a night."""
    naps = tuple((24.0 * day + 9.3, 8.0) for day in range(2, 30, 5))
    outages = tuple(24.0 * day + 17.5 for day in range(30))
    polling = Polling(first_s=120.0, max_s=7200.0)
    return Plan(batches=10_000, accounts=16, hours=30 * 24, polling=polling, stretch=4.0, naps=naps, outages=outages)


def main(*what: str) -> None:
    logging.disable()
    days = lived(
        month() if what == ("month",) else Plan(**dict(zip(("batches", "hours"), map(int, what), strict=False)))
    )
    for stock in (*days.stock, days.after):
        print(stock)
    for name, seconds in (("all", sorted(days.late_s)), ("woken", sorted(days.woken_s))):
        print(
            name, len(seconds), {part: round(seconds[int(len(seconds) * part)], 1) for part in (0.5, 0.9, 0.99, 0.999)}
        )
    print(days.requests, days.missed_events, days.mishaps, days.poller.statistics(), *days.wrong[:20], sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
