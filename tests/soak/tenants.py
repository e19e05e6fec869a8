"""An account of the soak: its batches come and end, its service has bad moments, and it counts what it is asked."""

import inspect
import random
from collections import Counter, deque
from math import inf
from typing import Any

from asyncbatch.dto import ProviderStatus, StatusPage
from asyncbatch.planning.pace import BURST
from tests.poller.scripted import ScriptedProvider
from tests.soak.lives import HOUR_S, SPANS_S, Life
from tests.soak.mishaps import PAGES, QUESTIONS, SHARE, busy, unknown_batch

RATE_PER_S = 1.0
"""What an account may be asked by default."""
LATENCY_S = 0.2
LISTED_S = HOUR_S
"""How long a batch that is over stays on the list."""


class Budget:
    """Whether the requests within every stretch of time, however long, are no more than a burst and what the stretch allows.

    A bucket that is never empty says exactly that, and remembers two numbers.
    """

    def __init__(self, rate_per_s: float) -> None:
        self.rate_per_s = rate_per_s
        self.most_over = 0.0
        self._left, self._at = BURST, 0.0

    def take(self, now: float) -> None:
        self._left = min(BURST, self._left + (now - self._at) * self.rate_per_s) - 1.0
        self._at = now
        self.most_over = max(self.most_over, -self._left)


class Closed:
    """The spans in which an account could not be asked, whoever is to blame; the last few hundred of them."""

    def __init__(self) -> None:
        self._spans: deque[list[float]] = deque(maxlen=500)

    def add(self, begin: float, end: float) -> None:
        if self._spans and begin <= self._spans[-1][1]:
            self._spans[-1][1] = max(self._spans[-1][1], end)
        else:
            self._spans.append([begin, end])

    def within(self, begin: float, end: float) -> float:
        return sum(max(min(end, to) - max(begin, since), 0.0) for since, to in self._spans)


class Tenant(ScriptedProvider):
    """A provider object with a key of its own.

    Attributes:
        lives: Its batches by name, those that are over for a while longer.
        requests: How often it was asked, pages among it.
        hasty: Requests that left although a Retry-After had said not to.
        mishaps: How often each kind of trouble was met.
    """

    PROVIDER_NAME = "soak"

    def __init__(self, name: str, *, seed: int, stretch: float, runtime: Any) -> None:
        super().__init__(runtime=runtime)
        self.name = name
        self.dice = random.Random(f"{seed} {name}")
        self.lives: dict[str, Life] = {}
        self.requests = 0
        self.hasty = 0
        self.mishaps: Counter[str] = Counter()
        self.budget = Budget(RATE_PER_S)
        self.closed = Closed()
        self._stretch = stretch
        self._made = 0
        self._paused_until = self._down_until = 0.0

    def begin(self, longest_s: float = inf) -> Life:
        """Create a batch, now."""
        self._made += 1
        span_s = min(self.dice.choice(SPANS_S) * self.dice.uniform(0.5, 1.5) * self._stretch, longest_s)
        life = Life(f"{self.name}-{self._made}", self.runtime.now(), span_s, self.dice)
        self.lives[life.name] = life
        return life

    @property
    def is_over(self) -> bool:
        """Whether each of its batches was seen to end."""
        return all(life.seen == life.watches for life in self.lives.values())

    def forget(self, now: float) -> None:
        """Take off the list what was over long ago, and was seen."""
        gone = [
            life.name for life in self.lives.values() if life.seen == life.watches and life.ends_at < now - LISTED_S
        ]
        for name in gone:
            del self.lives[name]

    def pause(self, seconds: float) -> None:
        """Ask not to be asked for so long."""
        now = self.runtime.now()
        self._paused_until = max(self._paused_until, now + seconds)
        self.closed.add(now, now + seconds)

    def fall(self, seconds: float) -> None:
        """Answer nobody for so long."""
        now = self.runtime.now()
        self._down_until = now + seconds
        self.closed.add(now, now + seconds)

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        life = self.lives[provider_batch_id]
        asked_at = self._come()
        try:
            status: Any = await self._answer(life)
        except BaseException:
            life.missed += asked_at >= life.ends_at
            raise
        is_told = isinstance(status, ProviderStatus) and status.status.is_terminal
        life.missed += asked_at >= life.ends_at and not is_told
        return status  # type: ignore[no-any-return]

    async def _answer(self, life: Life) -> Any:
        await self.runtime.sleep(LATENCY_S)
        if self.runtime.now() < self._down_until:
            raise busy(None)
        if self.runtime.now() < life.lost_until:
            raise unknown_batch()
        if self.dice.random() < SHARE:
            return await self._mishap(self.dice.choice(QUESTIONS), life)
        return life.status_at(self.runtime.now())

    async def _mishap(self, kind: Any, what: Any) -> Any:
        self.mishaps[kind.__name__.strip("_")] += 1
        found = kind(self, what)
        return await found if inspect.isawaitable(found) else found

    def _come(self) -> float:
        now = self.runtime.now()
        self.requests += 1
        self.hasty += now < self._paused_until
        self.budget.take(now)
        return now


class ListedTenant(Tenant):
    """One whose provider has a list, a hundred batches a page, newest first."""

    PAGE = 100
    is_list_whole = True

    @property
    def list_page_size(self) -> int:
        return self.PAGE

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        now, start = self._come(), int(cursor or 0)
        await self.runtime.sleep(LATENCY_S)
        if now < self._down_until:
            raise busy(None)
        shown = [life for life in reversed(self.lives.values()) if life.shown_at <= now]
        statuses = tuple(life.status_at(now) for life in shown[start : start + self.PAGE])
        end = start + self.PAGE
        page = StatusPage(statuses=statuses, cursor=str(end) if end < len(shown) else None)
        if self.dice.random() < SHARE:
            page = await self._mishap(self.dice.choice(PAGES), page)
        return page


class ReservedTenant(ListedTenant):
    """One whose list does not say all: each end is asked about."""

    is_list_whole = False
