"""What goes wrong with a question about one batch, and with a page of the list: each kind of the catalogue, by lot."""

from collections.abc import Callable
from typing import Any, TypeAlias

from asyncbatch.dto import Progress, ProviderStatus, StatusPage
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError
from tests.soak.lives import Life

SHARE = 0.01
"""Of all questions, and of all pages, goes wrong."""
LONGEST_FLAP_S = 1500.0
"""A batch that is not known for longer may be given up."""
STALE_S = 300.0
PATIENCE_S = 30.0
"""How long an answer is waited for that does not come: what our own transport grants a poll."""

Mishap: TypeAlias = Callable[[Any, Life], Any]


def busy(status: int | None, retry_after: float | None = None) -> ProviderTransientError:
    return ProviderTransientError("busy", provider="soak", status=status, retry_after=retry_after)


def unknown_batch() -> ProviderPermanentError:
    return ProviderPermanentError("no such batch", provider="soak", status=404)


def _throttled(tenant: Any, _life: Life) -> Any:
    wish = tenant.dice.choice((None, None, 0.0, 5.0, 60.0, 300.0))
    tenant.pause(wish or 0.0)
    raise busy(429, wish)


def _failed(tenant: Any, _life: Life) -> Any:
    raise busy(tenant.dice.choice((500, 502, 503, 504, 529)))


async def _timed_out(tenant: Any, _life: Life) -> Any:
    await tenant.runtime.sleep(PATIENCE_S)
    raise busy(None)


def _lost_from_sight(tenant: Any, life: Life) -> Any:
    life.lost_until = tenant.runtime.now() + tenant.dice.uniform(1.0, LONGEST_FLAP_S)
    raise unknown_batch()


def _new_word(_tenant: Any, life: Life) -> Any:
    return ProviderStatus(provider_batch_id=life.name, status=BatchStatus.UNKNOWN, raw_status="pondering")


def _stale(tenant: Any, life: Life) -> Any:
    return life.status_at(tenant.runtime.now() - tenant.dice.uniform(1.0, STALE_S))


def _counts_move_back(tenant: Any, life: Life) -> Any:
    status = life.status_at(min(tenant.runtime.now(), life.ends_at - 1.0))
    return status.replace(progress=Progress(total=life.total, completed=tenant.dice.randrange(3)))


def _own_fault(_tenant: Any, _life: Life) -> Any:
    raise OSError("a socket of its own broke")


def _nonsense(_tenant: Any, _life: Life) -> Any:
    return {"status": "in_progress"}


QUESTIONS: tuple[Mishap, ...] = (
    _throttled,
    _failed,
    _timed_out,
    _lost_from_sight,
    _new_word,
    _stale,
    _counts_move_back,
    _own_fault,
    _nonsense,
)


# Pages


def _page_throttled(tenant: Any, _page: StatusPage) -> Any:
    return _throttled(tenant, None)  # type: ignore[arg-type]


def _page_failed(tenant: Any, _page: StatusPage) -> Any:
    raise busy(tenant.dice.choice((500, 503, 404)))


async def _page_hangs(tenant: Any, _page: StatusPage) -> Any:
    await tenant.runtime.sleep(600.0)
    raise AssertionError("nobody waits so long for a page")


def _oldest_first(_tenant: Any, page: StatusPage) -> Any:
    return StatusPage(statuses=page.statuses[::-1], cursor=page.cursor)


def _endless(_tenant: Any, page: StatusPage) -> Any:
    return StatusPage(statuses=page.statuses, cursor="0")


def _with_holes(tenant: Any, page: StatusPage) -> Any:
    return StatusPage(statuses=tuple(each for each in page.statuses if tenant.dice.random() < 0.7), cursor=page.cursor)


def _unreadable(_tenant: Any, _page: StatusPage) -> Any:
    raise ValueError("no JSON at all")


PAGES = (_page_throttled, _page_failed, _page_hangs, _oldest_first, _endless, _with_holes, _unreadable)
