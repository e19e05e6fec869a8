"""What a payer has open: here, as this process knows it, and in other processes, as the journal does."""

from collections import Counter
from typing import NamedTuple, TypeAlias

import anyio

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import ProviderFacts
from asyncbatch.engine.line import Key, load_of
from asyncbatch.journal import Journal, Opened, Payer
from asyncbatch.planning.room import Load
from asyncbatch.runtime import Runtime

LOOKED_S = 2.0
"""How often it is read what other processes have open, while somebody waits for it."""

_WINDOWS = 2
"""A batch whose end nobody has seen for so many of its windows is not open any more, whatever the journal says."""

Whose: TypeAlias = str | None
"""What counts together: a model, or None for all of an account."""


def facts_of(provider: BaseBatchProvider) -> ProviderFacts | None:
    """Give what the catalog knows about a provider; one of somebody else's need not be in it."""
    is_known = provider.has_facts and provider.PROVIDER_NAME in provider.catalog.names()
    return provider.facts if is_known else None


class Held(NamedTuple):
    """Room that somebody has. `is_try`: it was more than we believed possible."""

    model: str
    load: Load
    is_try: bool = False


class Occupancy:
    """What one payer has open.

    Args:
        payer: Whose key it is.
        journal: Where it stands what other processes have open.
        runtime: The clock.
        window_s: How long a batch may take; None where nobody says.
    """

    def __init__(self, payer: Payer, journal: Journal, runtime: Runtime, window_s: float | None) -> None:
        self._payer = payer
        self._journal = journal
        self._runtime = runtime
        self._window_s = window_s
        self._held: dict[Key, Held] = {}
        self._sums: dict[Whose, Load] = {}
        self._others: tuple[Opened, ...] = ()
        self._elsewhere: dict[Whose, Load] = {}
        self._seen = (-1, float("-inf"))
        self._looking = anyio.Lock()
        self.ours: set[Key] = set()
        """Submissions that this process drives: of these the journal is not asked."""
        self.by_job: Counter[str] = Counter()
        """How many of each job have room here."""
        self.tries: dict[Key, str] = {}
        """Those that were more than we believed possible, and of which nothing is known yet; with their models."""

    def held(self, key: Key) -> Held | None:
        """Give the room that a submission has here."""
        return self._held.get(key)

    def take(self, key: Key, held: Held) -> None:
        """Let a submission have room, instead of what it may have by now."""
        self.drop(key)
        self.ours.add(key)
        self._held[key] = held
        self.by_job[key[0]] += 1
        if held.is_try:
            self.tries[key] = held.model
        for whose in (None, held.model):
            self._sums[whose] = self._sums.get(whose, Load()).plus(held.load)

    def drop(self, key: Key) -> bool:
        """Take the room of a submission back; gives whether it had some."""
        held = self._held.pop(key, None)
        if held is None:
            return False
        self.by_job[key[0]] -= 1
        if not self.by_job[key[0]]:
            del self.by_job[key[0]]
        self.tries.pop(key, None)
        for whose in (None, held.model):
            self._sums[whose] = self._sums[whose].plus(held.load, -1)
        return True

    def opened(self, whose: Whose = None) -> Load:
        """Give what is open, as far as we know."""
        return self._sums.get(whose, Load()).plus(self._elsewhere.get(whose, Load()))

    @property
    def is_elsewhere(self) -> bool:
        """Whether other processes have something open."""
        return bool(self._elsewhere)

    async def look(self) -> None:
        """Read what other processes have open, unless that was done just now, or nothing was written since."""
        if not self._journal.is_shared:
            return
        async with self._looking:
            version, at = self._seen
            now = self._runtime.now()
            if now - at < LOOKED_S:
                return
            found = await self._journal.version()
            if found != version:
                self._others = await self._journal.opened(self._payer)
            self._seen = (found, now)
        self._elsewhere = self._sum_others(now)

    def _sum_others(self, now: float) -> dict[Whose, Load]:
        found: dict[Whose, Load] = {}
        for job_id, model, record in self._others:
            is_old = self._window_s is not None and now - (record.intended_at or now) > _WINDOWS * self._window_s
            if is_old or (job_id, record.index) in self.ours:
                continue
            for whose in (None, model):
                found[whose] = found.get(whose, Load()).plus(load_of(record))
        return found
