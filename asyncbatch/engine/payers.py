"""The providers of a client: one object for each key, shared by all jobs that it pays for."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any
from weakref import WeakValueDictionary

import anyio

from asyncbatch.accounts import Accounts, Credentials, credentials_of, has_source
from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.engine.admission import text_of
from asyncbatch.exceptions import ConfigError
from asyncbatch.journal import JobRecord
from asyncbatch.registry import RegistryScope
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import hide

KEPT_S = 60.0
"""How long the answer of an `accounts=` function counts: a burst of submits asks once, a new key is taken within a minute."""


class KeptKeys:
    """An `accounts=` function, asked once for all who want an account's key at about the same time; it is one itself.

    Answers are in memory alone, and hidden there. An error is nobody's answer, and neither is nothing: the next one asks anew.

    Args:
        ask: The function of the application's.
        runtime: The clock.
    """

    def __init__(
        self, ask: Callable[[str], Awaitable[Credentials | None] | Credentials | None], runtime: Runtime
    ) -> None:
        self._ask = ask
        self._runtime = runtime
        self._kept: dict[str, tuple[float, Credentials]] = {}  # the oldest first, since all are kept for as long
        self._asking: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def __call__(self, account: str) -> Credentials | None:
        """Give the credentials of an account; whoever comes while they are looked up waits, and for no other account."""
        lock = self._asking.setdefault(account, anyio.Lock())
        async with lock:
            since = self._runtime.now()
            self._drop_old(since)
            if account in self._kept:
                return self._kept[account][1]
            answer = hide(self._ask(account))
            found: Credentials | None = hide(await answer) if isawaitable(answer) else answer
            if found:
                self._kept[account] = since + KEPT_S, found
            return found

    def forget(self, account: str) -> None:
        """Ask anew, however recent the answer is."""
        self._kept.pop(account, None)

    def _drop_old(self, now: float) -> None:
        while self._kept:
            account = next(iter(self._kept))
            if now < self._kept[account][0]:
                return
            del self._kept[account]


class Payers:
    """Who pays for what. Jobs keep their provider alive; a tenant whose jobs are over costs nothing."""

    def __init__(self, accounts: Accounts | None, scope: RegistryScope, runtime: Runtime) -> None:
        self._kept = KeptKeys(accounts, runtime) if callable(accounts) else None
        self._accounts: Accounts | None = self._kept or hide(accounts)
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
        account = text_of("account", account)
        try:
            return await self._of(name, account, allow_unknown_model=allow_unknown_model)
        except ConfigError:
            if self._kept is not None and account is not None:  # what cannot be used may have been put right by now
                self._kept.forget(account)
            raise

    async def _of(self, name: str, account: str | None, *, allow_unknown_model: bool) -> BaseBatchProvider:
        config = hide(await credentials_of(self._accounts, account, name) or {})
        if allow_unknown_model:
            config["allow_unknown_model"] = True
        provider = self._scope.create(name, config)
        fingerprint = await self._runtime.offload(_fingerprint, provider, account, config)
        known = self._providers.setdefault((type(provider), fingerprint, allow_unknown_model), provider)
        if known is not provider and has_source(config):
            known.take_tokens_of(provider)
        return known

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
