"""Every coroutine of every provider, cancelled at turns of the loop: the caller hears of it, and the provider works on."""

import asyncio
from uuid import uuid4

import pytest

from asyncbatch import BatchMode
from asyncbatch.registry import batch_provider_registry
from tests.cancel.scene import MODELS, PROMPTS
from tests.cancel.test_jobs import IN_PART
from tests.cancel.turns import cancelled_at, run_counted, sweep

WAYS = {"openai": "file", "anthropic": "inline", "gemini": "inline", "mistral": "file", "xai": "file"}


class Desk:
    """A provider on a scene, with a submission that is uploaded, and one that is a batch."""

    def __init__(self, name, provider):
        self.provider = provider
        self.model = MODELS[name].partition("/")[2]
        self.way = WAYS[name]
        self.uploaded = self.batch = None

    async def prepare_payloads(self, prompts=PROMPTS):
        return await self.provider.prepare_payloads(
            batch_id=uuid4(), model=self.model, mode=BatchMode.CHAT, requests=list(prompts), input_mode=self.way
        )

    async def start(self):
        (submission,) = await self.prepare_payloads()
        (other,) = await self.prepare_payloads(["another"])
        self.prepared = submission.replace(tag="ab1-12345678-0-1-aaaaaaaaaaaaaaaa")
        self.uploaded = await self.provider.upload(self.prepared)
        self.other = await self.provider.upload(other.replace(tag="ab1-12345678-1-1-bbbbbbbbbbbbbbbb"))
        self.batch = (await self.provider.create(self.other)).provider_batch_id
        while not (await self.provider.poll_status(self.batch)).status.is_terminal:
            await asyncio.sleep(0)

    async def fetch_results(self):
        return [row async for row in self.provider.fetch_results(self.batch)]


CREATES = ("create", "submit")
CALLS = {
    "prepare_payloads": lambda desk: desk.prepare_payloads(),
    "upload": lambda desk: desk.provider.upload(desk.prepared),
    "create": lambda desk: desk.provider.create(desk.uploaded),
    "submit": lambda desk: desk.provider.submit(desk.prepared),
    "poll_status": lambda desk: desk.provider.poll_status(desk.batch),
    "fetch_results": lambda desk: desk.fetch_results(),
    "cancel": lambda desk: desk.provider.cancel(desk.batch),
    "list_statuses": lambda desk: desk.provider.list_statuses(),
    "fence": lambda desk: desk.provider.fence(desk.uploaded),
    "find_submissions": lambda desk: desk.provider.find_submissions(desk.other, since=desk.provider.runtime.now()),
    "find_submission": lambda desk: desk.provider.find_submission(desk.uploaded, since=desk.provider.runtime.now()),
    "delete_artifacts": lambda desk: desk.provider.delete_artifacts(desk.batch),
}
MAY_NOT_WAIT = ("upload", "fence", "delete_artifacts")
"""Where requests travel inline there is nothing to do."""


async def play(scene, name, call, turns, way, turn):
    before = asyncio.all_tasks()
    async with batch_provider_registry.open(runtime=scene.runtime) as scope:
        desk = Desk(name, scope.create(name))
        await desk.start()
        creates = _creates(scene)
        end = await cancelled_at(turns, way, turn, lambda: CALLS[call](desk))
        if call not in CREATES:
            again = await CALLS[call](desk)  # no lock is held, no connection lost
            if call == "prepare_payloads":
                await desk.provider.discard([*again, *(end.value or ())])
            assert _creates(scene) == creates
        else:
            assert creates <= _creates(scene) <= creates + 1
    assert asyncio.all_tasks() == before
    return end


def _creates(scene):
    return len([record for record in scene.emulator.history if record.kind == "create"])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", MODELS)
def test_a_call_that_is_cancelled_leaves_the_provider_as_it_was(scene, name, call):
    def sweep_by(way, at):
        return sweep(lambda turn: run_counted(lambda turns: play(scene(name), name, call, turns, way, turn)), at)

    found = sweep_by("task.cancel", IN_PART) + sweep_by("anyio scope", IN_PART[::2])

    assert found > 1 or call in MAY_NOT_WAIT
