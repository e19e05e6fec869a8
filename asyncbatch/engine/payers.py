"""The providers of a client: one object for each key, shared by all jobs that it pays for."""

import hashlib
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from asyncbatch.accounts import Accounts, credentials_of, hide
from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.journal import JobRecord
from asyncbatch.registry import RegistryScope
from asyncbatch.runtime import Runtime


class Payers:
    """Who pays for what. Jobs keep their provider alive; a tenant whose jobs are over costs nothing."""

    def __init__(self, accounts: Accounts | None, scope: RegistryScope, runtime: Runtime) -> None:
        self._accounts = hide(accounts)
        self._scope = scope
        self._runtime = runtime
        self._providers: WeakValueDictionary[tuple[type[BaseBatchProvider], str, bool], BaseBatchProvider] = (
            WeakValueDictionary()
        )

    async def of(self, name: str, account: str | None, *, allow_unknown_model: bool = False) -> BaseBatchProvider:
        """Give the provider of an account; one whose key is the same as before is the same object, and shares its limits.

        Raises:
            ConfigError: The provider or the account is not known, or there is no key.
        """
        config = hide(await credentials_of(self._accounts, account, name) or {})
        if allow_unknown_model:
            config["allow_unknown_model"] = True
        provider = self._scope.create(name, config)
        fingerprint = await self._runtime.offload(_fingerprint, provider, account, config)
        return self._providers.setdefault((type(provider), fingerprint, allow_unknown_model), provider)

    async def of_job(self, record: JobRecord, needs_key: bool) -> BaseBatchProvider:
        """Give the provider that a job was sent with; without a key where none is needed."""
        is_unknown = bool(record.options.get("allow_unknown_model"))
        if not needs_key:
            return self._scope.create(record.provider, {"allow_unknown_model": True} if is_unknown else {})
        return await self.of(record.provider, record.account, allow_unknown_model=is_unknown)


def _fingerprint(provider: BaseBatchProvider, account: str | None, config: Mapping[str, Any]) -> str:
    """Say which key it is; raises where there is none. A provider without facts is told apart by what it was given."""
    if provider.has_facts:
        return provider.account.fingerprint
    given = sorted((key, str(value)) for key, value in config.items())
    return hashlib.sha256(f"{account}\n{given}".encode()).hexdigest()
