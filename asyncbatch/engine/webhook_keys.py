"""The public keys by which providers sign the webhooks of single batches: fetched when one is asked for, and kept."""

import logging
from collections.abc import Mapping
from typing import Any

import anyio

from asyncbatch.accounts import public_origin
from asyncbatch.catalog import Catalog
from asyncbatch.exceptions import ProviderError, ProviderTransientError
from asyncbatch.planning.retry import Retry
from asyncbatch.planning.webhook_tokens import read_keys
from asyncbatch.registry import RegistryScope
from asyncbatch.runtime import Runtime
from asyncbatch.transport import Transport

_log = logging.getLogger("asyncbatch.webhooks")

KEPT_S = 3600.0
"""How long a set of keys is taken as it is; a key that is not in it is looked for sooner."""

AGAIN_S = 60.0
"""A set is fetched once in so many seconds at most, however many webhooks name keys that nobody knows."""

_ANSWERED_S = 10.0
"""Longest wait for it, in real seconds: a sender of webhooks does not wait longer for us."""

_MOST_BYTES = 64 * 1024


class _KeySet:
    """One provider's keys, as they were when they were last fetched."""

    def __init__(self) -> None:
        self.keys: Mapping[str, Mapping[str, Any]] = {}
        self.fetched_at: float | None = None
        self.tried_at: float | None = None
        self.fetching = anyio.Lock()

    def is_due(self, kid: str, now: float) -> bool:
        """Whether it is worth fetching: the key is not there, or what is there is old."""
        if self.tried_at is not None and now - self.tried_at < AGAIN_S:
            return False
        return kid not in self.keys or self.fetched_at is None or now - self.fetched_at >= KEPT_S


class WebhookKeys:
    """The keys of all providers that sign with keys of their own.

    Args:
        scope: Whose connections.
        runtime: The clock.
    """

    def __init__(self, scope: RegistryScope, runtime: Runtime) -> None:
        self._scope = scope
        self._runtime = runtime
        self._sets: dict[str, _KeySet] = {}

    async def key(self, provider: str, kid: str, catalog: Catalog) -> Mapping[str, Any] | None:
        """Give a key by its name; None where the provider has none of this name.

        Raises:
            ProviderError: It cannot be asked for now.
        """
        known = self._sets.setdefault(provider, _KeySet())
        async with known.fetching:  # whoever comes meanwhile wants the same answer
            now = self._runtime.now()
            if known.is_due(kid, now):
                known.tried_at = now
                await self._refresh(provider, known, catalog)
        if kid not in known.keys and known.fetched_at != known.tried_at:  # the last try came to nothing
            message = f"{provider}: its keys could not be fetched a moment ago"
            raise ProviderTransientError(message, provider=provider, code="webhook.keys")
        return known.keys.get(kid)

    async def _refresh(self, provider: str, known: _KeySet, catalog: Catalog) -> None:
        try:
            known.keys = await self._fetched(provider, catalog)
            known.fetched_at = known.tried_at
        except ProviderError as error:  # what is there is better than nothing
            _log.warning("keys of webhooks cannot be fetched for now: %s", error)

    async def _fetched(self, provider: str, catalog: Catalog) -> Mapping[str, Mapping[str, Any]]:
        facts = catalog.provider(provider)
        path = facts.webhooks.tokens.keys if facts.webhooks and facts.webhooks.tokens else ""
        transport = Transport(
            sessions=self._scope.context.sessions,
            runtime=self._runtime,
            facts=facts,
            origin=public_origin(facts, catalog.settings(provider, given=("api_key",))),
            retry=Retry(attempts=1),
        )
        body = b""
        with anyio.move_on_after(_ANSWERED_S):
            body = await transport.peek(path, _MOST_BYTES)
        found = read_keys(body) if len(body) < _MOST_BYTES else None
        if found is None:
            message = f"{provider}: GET {path} was answered with no set of keys"
            raise ProviderTransientError(message, provider=provider, code="webhook.keys")
        return found
