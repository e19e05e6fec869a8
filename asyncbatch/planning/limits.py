"""Which limits hold for an account: the provider's, your own over them, and which of them count by model. Pure."""

from collections.abc import Collection, Mapping
from typing import TypeAlias

import msgspec

from asyncbatch.catalog import ProviderFacts
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.room import AccountLimits, Most

EVERYBODY = "*"
"""The name of limits that hold for every account."""

LimitsGiven: TypeAlias = AccountLimits | Mapping[str, AccountLimits]
"""Limits of every account; or by the name of an account or a provider, `*` for all."""

_DIMENSIONS = {"open_batches": "batches", "open_requests": "requests", "enqueued_tokens": "tokens"}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be open at once: of an account as a whole, and of a model.

    Attributes:
        account: The limits of the account as a whole.
        model: The limits of the model.
        by_model: Which limits the provider counts by model.
    """

    account: Most = Most()
    model: Most = Most()
    by_model: Collection[str] = ()

    @property
    def is_limited(self) -> bool:
        return self.account.is_limited or self.model.is_limited


def check_limits(given: object, providers: Collection[str]) -> Mapping[str, AccountLimits]:
    """Give limits by name.

    Raises:
        ConfigError: They are none, or those of a provider speak of a day: a budget is an account's.
    """
    if given is None:
        return {}
    if isinstance(given, AccountLimits):
        return {EVERYBODY: given}
    if not isinstance(given, Mapping):
        hint = "AccountLimits(open_batches=4), or {name of an account or provider: AccountLimits(…)}"
        raise ConfigError(f"limits is {type(given).__name__}", code="config.type", hint=hint)
    named: dict[str, AccountLimits] = {}
    for name, item in given.items():  # pyright: ignore[reportUnknownVariableType] whatever a caller hands in
        if not isinstance(name, str) or not isinstance(item, AccountLimits):
            message = f"limits[{name!r}] is {type(item).__name__}"  # pyright: ignore[reportUnknownArgumentType]
            raise ConfigError(message, code="config.type", hint="by the name of an account, AccountLimits(…)")
        if name in providers and item.has_budget:
            message = f"limits[{name!r}] has a budget for a day, and {name} is a provider"
            raise ConfigError(
                message, code="config.value", hint="a budget is an account's: give it under its name or '*'"
            )
        named[name] = item
    return named


def own_limits(given: Mapping[str, AccountLimits], account: str | None, provider: str | None = None) -> AccountLimits:
    """Give the caller's own limits of an account: under its name, else the provider's, else everybody's, each by itself."""
    nothing = AccountLimits()
    general = given.get(EVERYBODY, nothing)
    of_provider = given.get(provider, nothing) if provider is not None else nothing
    of_account = given.get(account, nothing) if account is not None else nothing
    return of_account.over(of_provider.over(general))


def limits_of(own: AccountLimits, facts: ProviderFacts | None, model: str) -> Limits:
    """Say what may be open: the caller's own limits go before the catalog's."""
    by_model = facts.limits_by_model if facts is not None else ()
    account: dict[str, int] = {}
    of_model: dict[str, int] = {}
    for name, dimension in _DIMENSIONS.items():
        value = getattr(own, name)
        if value is None and facts is not None:
            value = _known(facts, name, model)
        if value is not None:
            (of_model if name in by_model else account)[dimension] = value
    return Limits(account=Most(**account), model=Most(**of_model), by_model=by_model)


def _known(facts: ProviderFacts, name: str, model: str) -> int | None:
    """Give a limit as the catalog has it: the model's, else the provider's."""
    found = facts.model(model)
    of_model = getattr(found, name, None) if name in facts.limits_by_model else None
    general = getattr(facts.limits, name)
    return of_model if of_model is not None else general.value if general is not None else None
