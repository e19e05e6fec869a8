"""The limits of a client's accounts: its own, over what the catalog knows."""

from asyncbatch.catalog import Catalog, ProviderFacts, builtin_names
from asyncbatch.journal import JobRecord
from asyncbatch.planning.limits import Limits, LimitsGiven, check_limits, limits_of, own_limits
from asyncbatch.planning.room import AccountLimits


class OwnLimits:
    """What the client was given as `limits=`.

    Args:
        given: It.
        catalog: The catalog with the caller's own facts, if there is one: what its providers are called.

    Raises:
        ConfigError: These are no limits.
    """

    def __init__(self, given: LimitsGiven | None, catalog: Catalog | None) -> None:
        self._given = check_limits(given, catalog.names() if catalog is not None else builtin_names())

    def of(self, account: str | None, provider: str | None = None) -> AccountLimits:
        """Give the own limits of an account, at a provider or altogether."""
        return own_limits(self._given, account, provider)

    def of_job(self, record: JobRecord, facts: ProviderFacts | None) -> Limits:
        """Give what a job's account may have open, by these facts about its provider."""
        return limits_of(self.of(record.account, record.provider), facts, record.model)
