"""One provider against its dialect of the emulator, on a virtual clock: a day passes in a moment and nothing sleeps."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

from asyncbatch import BatchMode
from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import load_catalog
from asyncbatch.dto import PreparedSubmission, ProviderResultRow, ProviderStatus, ProviderSubmitResult
from asyncbatch.emulator import Emulator
from asyncbatch.registry import BatchProviderRegistry, RegistryScope
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime

MODEL = "echo-1"
"""A model that the emulator and the catalog of a test both know, in every mode that a provider has."""

DAY_S = 86_400
JOB = UUID("6f1c0c0a-58a3-4b52-9a0c-3a7f6a3a0d11")
KEY = "emulator-key"

BODIES = {
    "openai.chat": {"messages": [{"role": "user", "content": "hello"}]},
    "openai.completion": {"prompt": "hello"},
    "openai.embedding": {"input": "hello"},
    "openai.responses": {"input": "hello"},
    "openai.moderation": {"input": "hello"},
    "openai.image": {"prompt": "a lighthouse"},
    "openai.video": {"prompt": "a lighthouse"},
}
"""A small request in each body format, by the format's name and never by a provider's."""


class World(NamedTuple):
    name: str
    clock: VirtualClock
    emulator: Emulator
    scope: RegistryScope
    provider: BaseBatchProvider

    async def prepare(
        self, requests: Any, mode: BatchMode = BatchMode.CHAT, **options: Any
    ) -> list[PreparedSubmission]:
        return await self.provider.prepare_payloads(batch_id=JOB, model=MODEL, mode=mode, requests=requests, **options)

    async def prepare_one(self, requests: Any, **options: Any) -> PreparedSubmission:
        (submission,) = await self.prepare(requests, **options)
        return submission

    async def start(self, requests: Any, **options: Any) -> ProviderSubmitResult:
        return await self.provider.submit(await self.prepare_one(requests, **options))

    async def end(self, batch_id: str) -> ProviderStatus:
        """Let enough time pass for any end, the window's too."""
        self.clock.advance(2 * DAY_S)
        return await self.provider.poll_status(batch_id)

    async def run(self, requests: Any, **options: Any) -> tuple[ProviderStatus, list[ProviderResultRow]]:
        """Take requests to their answers."""
        batch = await self.start(requests, **options)
        return await self.end(batch.provider_batch_id), await self.rows(batch.provider_batch_id)

    async def rows(self, batch_id: str) -> list[ProviderResultRow]:
        return [row async for row in self.provider.fetch_results(batch_id)]

    def calls(self, method: str, path: str) -> list[int | None]:
        """Give the statuses of the requests that the emulator got, for paths that end so."""
        return [
            record.status
            for record in self.emulator.history
            if record.kind == "request" and record.method == method and record.path.partition("?")[0].endswith(path)
        ]

    def accepted(self, kind: str) -> list[str | None]:
        return [record.object_id for record in self.emulator.history if record.kind == kind]


def small_catalog(name: str, rows: int | None = None, **changes: Any) -> Any:
    """Give a catalog in which the provider knows `MODEL`, perhaps with a small limit of rows."""
    facts = load_catalog().provider(name)
    modes = sorted({endpoint.mode.name for endpoint in facts.endpoints})
    section = {"models": [{"match": "echo-*", "modes": modes}], **changes}
    if rows is not None:
        section["limits"] = {"requests": rows, **section.get("limits", {})}
    return load_catalog({"providers": {name: section}})


@asynccontextmanager
async def world(
    name: str,
    *,
    rows: int | None = None,
    facts: Mapping[str, Any] | None = None,
    faults: Sequence[Any] = (),
    key: str = KEY,
    http: Any = None,
    behind_s: float = 0.0,
    **emulator_options: Any,
) -> AsyncIterator[World]:
    clock = VirtualClock()
    catalog = small_catalog(name, rows, **(facts or {}))
    with Emulator(
        clock=lambda: clock.now() - behind_s, models=["echo-*"], faults=faults, **emulator_options
    ) as emulator:
        registry = BatchProviderRegistry()
        async with registry.open(catalog=catalog, runtime=virtual_runtime(clock), http=http) as scope:
            provider = scope.create(name, {"api_key": key, "base_url": emulator.base_url(name)})
            yield World(name, clock, emulator, scope, provider)


def statuses(rows: Sequence[ProviderResultRow]) -> dict[str, str]:
    return {row.request_id: row.status.value for row in rows}
