"""A batch of the soak: when it was created, when it ends and how, and what was seen of it."""

from typing import Any

from asyncbatch.dto import Progress, ProviderStatus
from asyncbatch.enums import BatchStatus

ENDS = (*[BatchStatus.COMPLETED] * 17, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)

HOUR_S = 3600.0
SPANS_S = (60.0, 600.0, HOUR_S, HOUR_S, 2 * HOUR_S, 2 * HOUR_S, 24 * HOUR_S)


class Life:
    """One batch.

    Attributes:
        watches: How many handles there are for it.
        seen: How often somebody was told that it is over.
        told: How often an event said so.
        missed: Questions about it after its end that did not tell it.
        woken_at: When a webhook said that it is over; None if none did.
        lost_until: Until when nobody at its provider seems to know it.
    """

    __slots__ = (
        "created_at", "end", "ends_at", "lost_until", "missed", "name", "seen", "shown_at", "told", "total", "watches",
        "woken_at",
    )  # fmt: skip

    def __init__(self, name: str, created_at: float, span_s: float, dice: Any) -> None:
        self.name = name
        self.created_at = created_at
        self.ends_at = created_at + span_s
        self.end = dice.choice(ENDS)
        self.total = dice.choice((1, 10, 1000, 50_000))
        self.shown_at = created_at + dice.choice((0.0, 0.0, dice.uniform(0.0, 120.0)))
        self.lost_until = created_at + dice.choice((0.0, 0.0, 0.0, dice.uniform(0.0, 60.0)))
        self.woken_at: float | None = None
        self.watches = self.seen = self.told = self.missed = 0

    def status_at(self, at: float) -> ProviderStatus:
        is_over = at >= self.ends_at
        status = self.end if is_over else BatchStatus.IN_PROGRESS
        share = min(max((at - self.created_at) / (self.ends_at - self.created_at), 0.0), 1.0)
        return ProviderStatus(
            provider_batch_id=self.name,
            status=status,
            raw_status=status.value,
            created_at=self.created_at,
            completed_at=self.ends_at if is_over else None,
            result_uris=("answers",) if is_over else (),
            progress=Progress(total=self.total, completed=int(self.total * share)),
        )
