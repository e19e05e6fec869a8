"""One provider against its dialect of the emulator, on a virtual clock: a day passes in a moment and nothing sleeps."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from asyncbatch import BatchMode, InputMode
from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import EndpointFacts, ProviderFacts, load_catalog
from asyncbatch.dto import PreparedSubmission, ProviderResultRow, ProviderStatus, ProviderSubmitResult
from asyncbatch.emulator import Emulator
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.registry import BatchProviderRegistry, RegistryScope
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime

MODEL = "echo-1"
"""A model that the emulator and the catalog of a test both know, in every mode that a provider has."""

GATEWAYS = {
    "gateway": {"like": "openai"},
    "seventeenth": {
        "like": "openai",
        "endpoints": [{"path": "/v1/chat/completions", "mode": "CHAT", "format": "openai.chat"}],
        "status": {"in_queue": "QUEUED"},
        "wire": {"upload_key": "data"},
        "windows": {"least_s": 86_400, "most_s": 1_209_600},
    },
}
"""Providers that only a user's file knows, with the lines of it that make them one, but for the address."""
SPOKEN = {"gateway": "openai", "seventeenth": "siliconflow"}
"""What they speak at the emulator."""

DAY_S = 86_400
JOB = UUID("6f1c0c0a-58a3-4b52-9a0c-3a7f6a3a0d11")
KEY = "emulator-key"
CHAT = {"messages": [{"role": "user", "content": "hello"}]}

BODIES = {
    "openai.chat": CHAT,
    "openai.completion": {"prompt": "hello"},
    "openai.embedding": {"input": "hello"},
    "openai.responses": {"input": "hello"},
    "openai.moderation": {"input": "hello"},
    "responses.agent": {"input": "hello"},
    "openai.image": {"prompt": "a lighthouse"},
    "openai.video": {"prompt": "a lighthouse"},
    "anthropic.messages": {**CHAT, "max_tokens": 100},
    "gemini.generate": {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
    "gemini.embed": {"content": {"parts": [{"text": "hello"}]}},
    "mistral.chat": CHAT,
    "mistral.fim": {"prompt": "hello"},
    "mistral.embedding": {"input": ["hello"]},
    "mistral.moderation": {"input": "hello"},
    "mistral.classification": {"input": "hello"},
    "mistral.ocr": {"document": {"type": "document_url", "document_url": "https://papers.example/one.pdf"}},
    "mistral.conversation": {"inputs": "hello"},
    "mistral.transcription": {"file_url": "https://sounds.example/one.mp3"},
}
"""A small request in each body format, by the format's name and never by a provider's."""

CONVERSATIONS = {
    "/v1/chat/moderations": {"input": [{"role": "user", "content": "hello"}]},
    "/v1/chat/classifications": {"input": {"messages": [{"role": "user", "content": "hello"}]}},
}
"""The same by path, where a path wants another body than its format's usual one."""


def body_for(endpoint: EndpointFacts) -> dict[str, Any]:
    return dict(CONVERSATIONS.get(endpoint.path) or BODIES[endpoint.format])


class World(NamedTuple):
    name: str
    way: InputMode
    clock: VirtualClock
    emulator: Emulator
    scope: RegistryScope
    provider: BaseBatchProvider

    @property
    def base_url(self) -> str:
        return self.emulator.base_url(dialect_of(self.name))

    async def prepare(
        self, requests: Any, mode: BatchMode = BatchMode.CHAT, **options: Any
    ) -> list[PreparedSubmission]:
        return await self.provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=mode, requests=requests, **{"input_mode": self.way.value, **options}
        )

    async def prepare_one(self, requests: Any, **options: Any) -> PreparedSubmission:
        (submission,) = await self.prepare(requests, **options)
        return submission

    async def start(self, requests: Any, *, tag: str | None = None, **options: Any) -> ProviderSubmitResult:
        batch = await self.provider.submit((await self.prepare_one(requests, **options)).replace(tag=tag))
        self.clock.slept_s.clear()  # a service may take a moment for an upload, which is no matter of what follows
        return batch

    async def end(self, batch_id: str) -> ProviderStatus:
        """Let enough time pass for any end, the window's too."""
        self.pass_window()
        return await self.provider.poll_status(batch_id)

    def pass_window(self) -> None:
        self.clock.advance(1.5 * self.provider.facts.window_s)

    async def run(self, requests: Any, **options: Any) -> tuple[ProviderStatus, list[ProviderResultRow]]:
        """Take requests to their answers."""
        batch = await self.start(requests, **options)
        return await self.end(batch.provider_batch_id), await self.rows(batch.provider_batch_id)

    async def rows(self, batch_id: str) -> list[ProviderResultRow]:
        return [row async for row in self.provider.fetch_results(batch_id)]

    def calls(self, *operations: str) -> list[int | None]:
        """Give the statuses of the requests that the emulator got, of these operations."""
        history = self.emulator.history
        return [item.status for item in history if item.kind == "request" and item.operation in operations]

    def accepted(self, kind: str) -> list[str]:
        """Give what was accepted, by its name; some services write a collection before it."""
        history = self.emulator.history
        return [str(item.object_id).rpartition("/")[2] for item in history if item.kind == kind]


def short(batch_id: str) -> str:
    """Give a batch's name without its collection."""
    return batch_id.rpartition("/")[2]


def dialect_of(name: str) -> str:
    """Name the dialect that a provider speaks at the emulator."""
    return SPOKEN.get(name, name)


def section_of(name: str) -> dict[str, Any]:
    """Give what a user's file has to say before the provider is there at all."""
    return {**GATEWAYS[name], "base_url": "https://llm.example/v1"} if name in GATEWAYS else {}


def facts_of(name: str) -> ProviderFacts:
    return load_catalog({"providers": {name: section_of(name)}}).provider(name)


def small_catalog(name: str, rows: int | None = None, **changes: Any) -> Any:
    """Give a catalog in which the provider knows `MODEL`, perhaps with a small limit of rows."""
    modes = sorted({endpoint.mode.name for endpoint in facts_of(name).endpoints})
    section = {**section_of(name), "models": [{"match": "echo-*", "modes": modes, "max_tokens": 1000}], **changes}
    if rows is not None:
        section["limits"] = {"requests": rows, "inline_requests": rows, **section.get("limits", {})}
    return load_catalog({"providers": {name: section}})


@asynccontextmanager
async def world(
    name: str,
    way: InputMode | None = None,
    *,
    rows: int | None = None,
    facts: Mapping[str, Any] | None = None,
    faults: Sequence[Any] = (),
    key: str = KEY,
    http: Any = None,
    behind_s: float = 0.0,
    **emulator_options: Any,
) -> AsyncIterator[World]:
    """Open a provider, whose requests travel as `way` says, or as they usually do."""
    clock = VirtualClock()
    catalog = small_catalog(name, rows, **(facts or {}))
    with (
        needed_options(name),
        Emulator(
            clock=lambda: clock.now() - behind_s, models=["echo-*"], faults=faults, **emulator_options
        ) as emulator,
    ):
        registry = BatchProviderRegistry()
        async with registry.open(catalog=catalog, runtime=virtual_runtime(clock), http=http) as scope:
            provider = scope.create(name, {"api_key": key, "base_url": emulator.base_url(dialect_of(name))})
            yield World(name, way or provider.facts.inputs[0], clock, emulator, scope, provider)


@contextmanager
def needed_options(name: str) -> Iterator[None]:
    """Set what an account has to say besides its key, as the emulator's dialect has it, where the provider needs anything."""
    variables = load_dialects()[dialect_of(name)].environment
    needed = [option.env for option in facts_of(name).options.values() if option.is_needed]
    with pytest.MonkeyPatch.context() as environment:
        for variable in needed:
            environment.setenv(variable, variables[variable])
        yield


def statuses(rows: Sequence[ProviderResultRow]) -> dict[str, str]:
    return {row.request_id: row.status.value for row in rows}
