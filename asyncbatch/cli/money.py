"""What a job costs: an estimate before it is sent, and the price of its tokens when it is over. Unknown is never shown as 0."""

import msgspec

from asyncbatch.catalog import Catalog, Price
from asyncbatch.cli.endings import CommandError
from asyncbatch.dto import UsageInfo

BYTES_PER_TOKEN = 4
"""Of English text, JSON around it included, by the usual rule of thumb: good enough to see an extra zero."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be spent without asking.

    Attributes:
        confirm_over_usd: Above this a person has to say yes.
        max_cost_usd: Above this nothing is sent; it is a yes to everything below.
        yes: A yes to any price.
    """

    confirm_over_usd: float = 10.0
    max_cost_usd: float | None = None
    yes: bool = False


def price_of(catalog: Catalog, provider: str, model: str) -> Price | None:
    """Give the batch price of a model; None where the catalog knows none."""
    return catalog.provider(provider).price_of(model) if provider in catalog.names() else None


def input_cost(price: Price, size: int) -> float:
    """Estimate what so many bytes of requests cost; the answers are not in it."""
    return size / BYTES_PER_TOKEN * price.input_usd / 1e6


def cost_of(price: Price | None, usage: UsageInfo) -> float | None:
    """Give the dollars that these tokens cost; None where a price is missing."""
    if price is None or (usage.completion_tokens and price.output_usd is None):
        return None
    cached = usage.cache_read_input_tokens
    cached_usd = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
    total = (usage.prompt_tokens - cached) * price.input_usd + cached * cached_usd
    return (total + usage.completion_tokens * (price.output_usd or 0.0)) / 1e6


def dollars(amount: float) -> str:
    """Write an amount so that small ones do not look like nothing."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount >= 0.0001 else "less than $0.0001"


def describe(price: Price, size: int) -> str:
    """Say what the input will cost, and that it is an estimate."""
    date = f" of {price.date}" if price.date else ""
    return f"≈ {dollars(input_cost(price, size))} for the input (batch price{date}; the answers come on top)"


def allow(price: Price | None, size: int, budget: Budget, *, can_ask: bool) -> bool:
    """Decide whether a price needs a yes that nobody has given yet; `can_ask` says whether there is anybody to give it.

    Raises:
        CommandError: It is too dear, or needs a yes and nobody can be asked.
    """
    if price is None:
        if budget.max_cost_usd is not None:
            hint = "give it a price in llm_config.yaml, or leave --max-cost out"
            raise CommandError(
                "the price of this model is not known, so --max-cost cannot be kept", code="cost.unknown", hint=hint
            )
        return True
    cost = input_cost(price, size)
    if budget.max_cost_usd is not None:
        if cost > budget.max_cost_usd:
            message = f"{describe(price, size)}: more than --max-cost {budget.max_cost_usd:g}"
            raise CommandError(message, code="cost.over", hint="send less, or allow more")
        return True
    if budget.yes or cost <= budget.confirm_over_usd:
        return True
    if not can_ask:
        message = f"{describe(price, size)}: more than --confirm-over {budget.confirm_over_usd:g}, so it needs a yes"
        raise CommandError(message, code="cost.unconfirmed", hint="say --yes, or set a limit with --max-cost")
    return False
