"""The library's own client at an emulator, and every way in which requests travel."""

from typing import NamedTuple

import anyio
import pytest

from asyncbatch import BatchClient, Polling, Recovery
from asyncbatch.runtime import Runtime


class Way(NamedTuple):
    """A provider, and how requests travel to it.

    Attributes:
        is_fenced: Whether deleting the input makes a late create fail.
    """

    dialect: str
    model: str
    mode: str
    is_fenced: bool

    def __str__(self):
        return f"{self.dialect}-{self.mode}"


WAYS = [
    Way("openai", "openai/gpt-4.1-mini", "file", is_fenced=True),
    Way("anthropic", "anthropic/claude-sonnet-4-5", "inline", is_fenced=False),
    Way("gemini", "gemini/gemini-2.5-flash", "file", is_fenced=True),
    Way("gemini", "gemini/gemini-2.5-flash", "inline", is_fenced=False),
    Way("mistral", "mistral/mistral-small-latest", "file", is_fenced=True),
    Way("mistral", "mistral/mistral-small-latest", "inline", is_fenced=False),
]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
every_fenced_way = pytest.mark.parametrize("way", [way for way in WAYS if way.is_fenced], ids=str)

SHORT = Recovery(window_s=0.2, reads=2, gap_s=0.05, watch_s=0.1, settle_s=1.0)
BRISK = Polling(first_s=0.02, factor=1.0, max_s=0.05, jitter=0.0)


async def briefly(seconds):
    await anyio.sleep(min(seconds, 0.05))


def brisk_client(**options):
    """Make a client that waits for nobody longer than it must."""
    return BatchClient(polling=BRISK, recovery=SHORT, runtime=Runtime(sleep=briefly), **options)


PROMPTS = [f"hello {n}" for n in range(3)]
ECHOES = [f"echo: {prompt}" for prompt in PROMPTS]


async def submit(client, way, prompts=PROMPTS, **options):
    return await client.submit(prompts, model=way.model, input_mode=way.mode, **options)


async def texts(job):
    return sorted([row.text async for row in job.results()])


def creates(history):
    return [record for record in history if record.kind == "create"]


def lead(monkeypatch, environments):
    """Let environment variables lead to an emulator, at every dialect."""
    for environment in environments:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
