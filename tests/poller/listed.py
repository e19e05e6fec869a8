"""A provider with a list: its batches end by the clock, every request is counted, and the list may misbehave."""

from collections.abc import Callable
from typing import Any

import anyio

from asyncbatch.dto import Progress, ProviderStatus, StatusPage
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ProviderPermanentError
from tests.poller.scripted import ScriptedProvider

HOUR_S = 3600.0


class ListedProvider(ScriptedProvider):
    """Batches by name: when each was created and when it ends. `spoil` may change or refuse a page, `lag_s` hides new ones."""

    PROVIDER_NAME = "listed"
    PAGE = 100
    WHOLE = True

    def __init__(self, config: Any = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.batches: dict[str, tuple[float, float]] = {}
        self.pages: list[float] = []
        self.hidden: set[str] = set()
        self.lag_s = 0.0
        self._sorted: list[str] = []
        self.spoil: Callable[[StatusPage], Any] | None = None
        self.singly: dict[str, Any] = {}
        self.first_page = anyio.Event()

    def fill(
        self, count: int, *, prefix: str = "b", age_s: float = 0.0, lasts_s: float = HOUR_S, step_s: float = 1.0
    ) -> list[str]:
        """Add batches, some seconds between each two of them; gives their names."""
        now = self.runtime.now()
        names = [f"{prefix}{number}" for number in range(count)]
        self.batches |= {name: (now - age_s - step_s * number, now + lasts_s) for number, name in enumerate(names)}
        return names

    @property
    def list_page_size(self) -> int:
        return self.PAGE

    @property
    def is_list_whole(self) -> bool:
        return self.WHOLE

    @property
    def requests(self) -> int:
        return len(self.asked) + len(self.pages)

    def status_of(self, name: str) -> ProviderStatus:
        created_at, ends_at = self.batches[name]
        is_over = self.runtime.now() >= ends_at
        status = BatchStatus.COMPLETED if is_over else BatchStatus.IN_PROGRESS
        uris = ("answers",) if is_over else ()
        return ProviderStatus(
            provider_batch_id=name,
            status=status,
            raw_status=status.value,
            created_at=created_at,
            result_uris=uris,
            progress=Progress(),
        )

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        self.asked.append((provider_batch_id, self.runtime.now()))
        await self.runtime.sleep(0)
        special = self.singly.get(provider_batch_id)
        if special is not None:
            return await special()
        if provider_batch_id not in self.batches:
            raise ProviderPermanentError("no such batch", provider="listed", status=404)
        return self.status_of(provider_batch_id)

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        now = self.runtime.now()
        self.pages.append(now)
        shown = self._shown(now)
        start = int(cursor or 0)
        end = start + self.PAGE
        statuses = tuple(self.status_of(name) for name in shown[start:end])
        page = StatusPage(statuses=statuses, cursor=str(end) if end < len(shown) else None)
        await self.runtime.sleep(0)
        self.first_page.set()
        return page if self.spoil is None else await self.spoil(page)

    def _shown(self, now: float) -> list[str]:
        """The names on the list, newest first; sorted anew when batches were added."""
        if self.lag_s or self.hidden or len(self._sorted) != len(self.batches):
            shown = [
                name for name, (at, _) in self.batches.items() if at <= now - self.lag_s and name not in self.hidden
            ]
            self._sorted = sorted(shown, key=lambda name: -self.batches[name][0])
        return self._sorted
