"""Opening and leaving what holds tasks and connections, cancelled at every turn of the loop: it is open, or nothing is left."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from asyncbatch import BatchPoller, BatchProviderRegistry
from asyncbatch.registry import batch_provider_registry
from tests.cancel.scene import PROMPTS
from tests.cancel.test_jobs import CLOSELY, IN_PART, LONG, UNLIKE, nothing, on_its_way, over, submitted
from tests.cancel.turns import WAYS, cancelled_at, run_counted, sweep
from tests.poller.scripted import ScriptedProvider

WAY = pytest.mark.parametrize("way", WAYS)
LEFT = {
    "nothing": nothing,
    "a job just accepted": submitted,
    "a batch under way": on_its_way,
    "a job that is over": over,
}


def swept(scene, play, at):
    """Sweep a coroutine that takes a scene, the turns of its loop, and the turn."""
    return sweep(lambda turn: run_counted(lambda turns: play(scene(), turns, turn)), at)


def turns_of(name, way):
    """Give most turns to what has most to lose, in the ways that differ most."""
    if name != "a job just accepted":
        return IN_PART[::2]
    return CLOSELY if way in UNLIKE else IN_PART


def left(name, way):
    async def play(scene, turns, turn):
        before = asyncio.all_tasks()
        client = scene.client()
        await client.__aenter__()
        await LEFT[name](scene, client, None)
        end = await cancelled_at(turns, way, turn, client.aclose)
        if not end.has_begun:
            await client.aclose()
        scene.check_closed(client, before)
        await scene.check_journal()
        await scene.come_back()
        return end

    return play


@WAY
@pytest.mark.parametrize("name", LEFT)
def test_leaving_a_client_is_done_to_its_end_whatever_cancels_it(scene, name, way):
    swept(scene, left(name, way), turns_of(name, way))


@pytest.mark.long
@pytest.mark.timeout(3600)
@WAY
@pytest.mark.parametrize("name", LEFT)
def test_leaving_a_client_is_done_to_its_end_at_whatever_turn_it_is_cancelled(scene, name, way):
    swept(scene, left(name, way), LONG)


def opened(name, way):
    async def play(scene, turns, turn):
        before = asyncio.all_tasks()
        async with scene.client() as client:
            await LEFT[name](scene, client, None)
        client = scene.client()
        end = await cancelled_at(turns, way, turn, client.__aenter__)
        if not end.is_cancelled:
            await client.aclose()
        if end.has_begun:
            scene.check_closed(client, before)
        await scene.check_journal()
        await scene.come_back()
        return end

    return play


@WAY
@pytest.mark.parametrize("name", LEFT)
def test_a_client_whose_opening_is_cancelled_is_closed_and_its_jobs_are_anybodys(scene, name, way):
    assert swept(scene, opened(name, way), turns_of(name, way)) > 2


@pytest.mark.long
@pytest.mark.timeout(3600)
@WAY
@pytest.mark.parametrize("name", LEFT)
def test_a_client_whose_opening_is_cancelled_at_any_turn_is_closed(scene, name, way):
    assert swept(scene, opened(name, way), LONG) > 3


SCOPES = {
    "a registry's scope": lambda scene: BatchProviderRegistry().open(runtime=scene.runtime),
    "the shared scope": lambda scene: batch_provider_registry,
    "a provider on its own": lambda scene: batch_provider_registry.get("openai")(runtime=scene.runtime),
    "a poller": lambda scene: BatchPoller(runtime=scene.runtime),
}


@WAY
@pytest.mark.parametrize("name", SCOPES)
def test_a_scope_whose_opening_is_cancelled_leaves_nothing_open(scene, name, way):
    async def play(scene, turns, turn):
        before = asyncio.all_tasks()
        scope = SCOPES[name](scene)
        end = await cancelled_at(turns, way, turn, scope.__aenter__)
        if not end.is_cancelled:
            await scope.__aexit__(None, None, None)
        assert asyncio.all_tasks() == before
        async with scope:  # and may be opened again
            pass
        return end

    swept(scene, play, IN_PART)


@WAY
@pytest.mark.parametrize("name", SCOPES)
def test_leaving_a_scope_is_done_to_its_end_whatever_cancels_it(scene, name, way):
    async def play(scene, turns, turn):
        before = asyncio.all_tasks()
        scope = SCOPES[name](scene)
        await scope.__aenter__()
        end = await cancelled_at(turns, way, turn, lambda: scope.__aexit__(None, None, None))
        if not end.has_begun:
            await scope.__aexit__(None, None, None)
        assert asyncio.all_tasks() == before
        return end

    swept(scene, play, IN_PART)


async def first_of(completed):
    return await anext(completed)


@WAY
@pytest.mark.parametrize("name", ["wait", "as_completed"])
def test_a_cancelled_wait_for_a_batch_ends_no_watch(scene, name, way):
    async def play(scene, turns, turn):
        provider = ScriptedProvider(runtime=scene.runtime)
        async with provider, BatchPoller(runtime=scene.runtime) as poller:
            submission = await provider.prepare_payloads(batch_id=None, model="any", mode=None, requests=PROMPTS)
            batch = (await provider.submit(submission[0])).provider_batch_id
            handle = poller.watch(provider, batch)
            completed = poller.as_completed([handle])
            end = await cancelled_at(turns, way, turn, handle.wait if name == "wait" else lambda: first_of(completed))
            assert (await handle.wait()).status.is_terminal
            if name == "as_completed" and end.is_cancelled:
                assert await anext(completed) is handle
        return end

    assert swept(scene, play, IN_PART) > 0


@WAY
def test_a_stack_of_clients_is_left_to_its_end(scene, way):
    """As in an application: several clients in one exit stack, on one journal, and the whole of it is cancelled."""

    async def play(scene, turns, turn):
        before = asyncio.all_tasks()
        stack, clients = AsyncExitStack(), [scene.client() for _ in range(3)]
        for client in clients:
            await stack.enter_async_context(client)
        await scene.submit(clients[0])
        end = await cancelled_at(turns, way, turn, stack.aclose)
        if not end.has_begun:
            await stack.aclose()
        for client in clients:
            scene.check_closed(client, before)
        await scene.check_journal()
        await scene.come_back()
        return end

    swept(scene, play, IN_PART)
