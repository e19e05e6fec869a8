"""What an account has used within a day, and whether another job fits: pure decisions over what the journal knows.

A job counts from when it was accepted, for 24 hours. Its requests count once. Its tokens and dollars are first what was
estimated, and once a submission is settled what its answers were counted with, those of every round: what is paid for again
counts again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from asyncbatch.catalog import Price
from asyncbatch.exceptions import BudgetExceededError, ConfigError
from asyncbatch.planning.room import AccountLimits

DAY_S = 86_400.0

PriceOf: TypeAlias = Callable[[str, str], Price | None]
"""Gives the batch price of a provider's model; None where none is known."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one job counts for.

    Attributes:
        at: When it was accepted, Unix seconds.
        provider: Its provider.
        model: Its model.
        requests: Its requests.
        tokens: What was estimated for those that have no outcome yet.
        usd: The same in dollars; None where nobody estimated it.
        usage: Tokens of those that have: what went in, of that from a cache, what came out.
    """

    at: float
    provider: str
    model: str
    requests: int
    tokens: int = 0
    usd: float | None = None
    usage: tuple[int, int, int] = (0, 0, 0)


class AccountUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has open now, and what it has used within 24 hours, as the journal knows it: every process's.

    Attributes:
        account: Its name; None for the environment's key.
        limits: Its limits, as far as the client was given some.
        open_batches: Batches that are not over.
        open_requests: Requests in them.
        enqueued_tokens: Tokens in their inputs, estimated.
        waiting_batches: Batches that are not sent yet.
        requests: Requests of the jobs that were accepted within 24 hours.
        tokens: Tokens of these: as counted by the provider where they are over, else as estimated when they were accepted.
        usd: What they cost; None where a price is not known.
    """

    account: str | None = None
    limits: AccountLimits = AccountLimits()
    open_batches: int = 0
    open_requests: int = 0
    enqueued_tokens: int = 0
    waiting_batches: int = 0
    requests: int = 0
    tokens: int = 0
    usd: float | None = 0.0


class Used(NamedTuple):
    """A sum of what jobs count for. `usd` is None where a price is missing."""

    requests: int = 0
    tokens: int = 0
    usd: float | None = 0.0


def dollars_of(price: Price | None, usage: tuple[int, int, int]) -> float | None:
    """Give what tokens cost in dollars; None where a price is missing."""
    taken, cached, given = usage
    if not (taken or given):
        return 0.0
    if price is None or (given and price.output_usd is None):
        return None
    cached_usd = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
    total = (taken - cached) * price.input_usd + cached * cached_usd + given * (price.output_usd or 0.0)
    return total / 1e6


def used_by(spent: Iterable[Spent], price_of: PriceOf) -> Used:
    """Add up what jobs count for."""
    requests, tokens, usd = 0, 0, 0.0
    is_known = True
    for item in spent:
        requests += item.requests
        tokens += item.tokens + item.usage[0] + item.usage[2]
        paid = dollars_of(price_of(item.provider, item.model), item.usage)
        is_known &= paid is not None
        usd += (paid or 0.0) + (item.usd or 0.0)
    return Used(requests, tokens, usd if is_known else None)


def check_budget(
    limits: AccountLimits, spent: Sequence[Spent], asked: Spent, price_of: PriceOf, *, account: str | None
) -> None:
    """Refuse a job that does not fit into what is left of a day's budget.

    Args:
        limits: The account's.
        spent: What its jobs of the last 24 hours count for.
        asked: What the new one would.
        price_of: For dollars.
        account: Its name, for the message.

    Raises:
        BudgetExceededError: It does not fit; says when it would.
        ConfigError: Dollars are limited, and what a job of today costs is not known.
    """
    for name, unit, field in _BUDGETS:
        limit: float | None = getattr(limits, name)
        if limit is None:
            continue
        wants, has = _one(asked, field, price_of), _of(used_by(spent, price_of), field)
        if has + wants > limit:
            raise BudgetExceededError(
                f"{_whose(account)} may use {limit:,} {unit} in 24 hours: {_rounded(has)} are used, "
                f"and this job wants {_rounded(wants)}",
                budget=name,
                account=account,
                limit=limit,
                used=has,
                asked=wants,
                retry_after_s=_frees_in(spent, field, has + wants - limit, asked.at, price_of),
            )


_BUDGETS = (
    ("requests_per_day", "requests", "requests"),
    ("tokens_per_day", "tokens", "tokens"),
    ("usd_per_day", "dollars", "usd"),
)


def _one(item: Spent, field: str, price_of: PriceOf) -> float:
    return _of(used_by((item,), price_of), field)


def _of(used: Used, field: str) -> float:
    value: Any = getattr(used, field)
    if value is None:
        hint = "give its model a price in llm_config.yaml, or take usd_per_day away"
        raise ConfigError("what a job within these 24 hours costs is not known", code="budget.price", hint=hint)
    return float(value)


def _frees_in(spent: Sequence[Spent], field: str, missing: float, now: float, price_of: PriceOf) -> float | None:
    """Say after how many seconds so much of the budget is free again; None if it never will be: the job alone is too large."""
    for item in sorted(spent, key=lambda item: item.at):
        missing -= _one(item, field, price_of)
        if missing <= 0:
            return max(0.0, item.at + DAY_S - now)
    return None


def _whose(account: str | None) -> str:
    return f"account {account!r}" if account is not None else "the environment's account"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4f}"
