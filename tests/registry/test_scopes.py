"""Scopes over real HTTP: who shares connections, for how long, and on which event loop."""

import asyncio
import threading
from contextlib import AsyncExitStack

import anyio
import pytest

from asyncbatch import BatchMode, BatchProviderRegistry, BatchStatus, ScopeError
from asyncbatch.emulator import Emulator
from asyncbatch.registry import batch_provider_registry
from asyncbatch.transport import Profile
from tests.transport.test_create import BATCH
from tests.transport.wire import answer, serve

KEPT = answer(BATCH, keep=True)


@pytest.fixture
def registry():
    return BatchProviderRegistry()


def config_of(url, key="k-0123456789"):
    return {"api_key": key, "base_url": f"{url}/v1"}


def sessions_of(scope):
    return [scope.context.sessions.get(profile) for profile in Profile]


async def test_everybody_who_enters_the_registry_on_one_loop_shares_a_scope_until_the_last_leaves(registry):
    async with registry as outer:
        sessions = sessions_of(outer)
        async with registry as inner:
            shared = inner is outer
        open_after_inner = not any(session.closed for session in sessions)

    assert shared
    assert open_after_inner
    assert all(session.closed for session in sessions)
    assert not outer.is_open


async def test_entering_again_after_the_last_has_left_opens_a_new_scope(registry):
    async with registry as first:
        pass
    async with registry as second:
        assert second is not first
        assert second.is_open


async def test_many_tasks_that_enter_at_once_open_one_scope(registry):
    seen = []

    async def enter():
        async with registry as scope:
            seen.append((id(scope), scope.is_open))
            await anyio.lowlevel.checkpoint()

    async with registry, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(enter)

    assert len(seen) == 20
    assert len(set(seen)) == 1
    assert seen[0][1]


async def test_a_scope_of_ones_own_is_apart_from_others(registry):
    async with serve(KEPT) as server, registry.open() as one:
        async with registry.open() as other:
            apart = set(map(id, sessions_of(one))).isdisjoint(map(id, sessions_of(other)))
        provider = one.create("openai", config_of(server.url))
        status = await provider.poll_status("batch_1")

    assert apart
    assert status.status is BatchStatus.VALIDATING


async def test_a_scope_is_entered_once_at_a_time(registry):
    scope = registry.open()
    async with scope:
        with pytest.raises(ScopeError, match="open already"):
            await scope.__aenter__()
    async with scope:
        assert scope.is_open


async def test_providers_of_a_scope_share_connections_and_each_sends_its_own_key(registry):
    async with serve(KEPT) as server, registry.open() as scope:
        providers = [scope.create("openai", config_of(server.url, key)) for key in ("key-of-blue", "key-of-green")]
        for provider in (*providers, *providers):
            await provider.poll_status("batch_1")

    assert server.connections == 1
    assert [asked.headers["authorization"] for asked in server.asked] == [
        "Bearer key-of-blue",
        "Bearer key-of-green",
    ] * 2


async def test_leaving_a_provider_of_a_scope_closes_nothing(registry):
    async with serve(KEPT) as server, registry.open() as scope:
        async with scope.create("openai", config_of(server.url)) as provider:
            await provider.poll_status("batch_1")
        status = await provider.poll_status("batch_1")

    assert status.provider_batch_id == "batch_1"


async def test_outside_of_the_scope_there_is_a_clear_error(registry):
    scope = registry.open()
    with pytest.raises(ScopeError, match=r"not open.*registry\.open"):
        scope.create("openai", config_of("http://127.0.0.1:9"))
    async with scope:
        provider = scope.create("openai", config_of("http://127.0.0.1:9"))
    with pytest.raises(ScopeError, match="not open"):
        await provider.poll_status("batch_1")


async def test_a_failure_in_the_block_closes_the_scope(registry):
    sessions = []

    async def fail():
        async with registry as scope:
            sessions.extend(sessions_of(scope))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert len(sessions) == 3
    assert all(session.closed for session in sessions)


async def test_a_scope_may_be_opened_in_one_task_and_closed_in_another(registry):
    scope = registry.open()
    async with anyio.create_task_group() as group:
        group.start_soon(scope.__aenter__)
    sessions = sessions_of(scope)
    async with anyio.create_task_group() as group:
        group.start_soon(scope.aclose)

    assert all(session.closed for session in sessions)


async def test_a_scope_lives_in_an_exit_stack(registry):
    async with AsyncExitStack() as stack:
        scope = await stack.enter_async_context(registry)
        sessions = sessions_of(scope)

    assert all(session.closed for session in sessions)


async def test_large_bodies_go_with_the_scope(registry):
    async with registry.open() as scope:
        provider = scope.create("openai", config_of("http://127.0.0.1:9"))
        from uuid import uuid4

        (submission,) = await provider.prepare_payloads(
            batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=("x" * 10_000 for _ in range(200))
        )
        path = submission.spool._file.path
        was_there = path.is_file()

    assert was_there
    assert not path.parent.exists()


# Event loops


async def poll(registry, url):
    async with registry as scope:
        return await scope.create("openai", config_of(url)).poll_status("batch_1")


def test_one_registry_serves_event_loops_one_after_the_other(registry):
    async def life():
        async with serve(KEPT) as server:
            return await poll(registry, server.url)

    assert [asyncio.run(life()).provider_batch_id for _ in range(3)] == ["batch_1"] * 3


def test_one_registry_serves_two_event_loops_at_once(registry):
    together = threading.Barrier(2, timeout=10)
    seen = []

    async def life():
        async with serve(KEPT) as server, registry as scope:
            await anyio.to_thread.run_sync(together.wait)
            status = await scope.create("openai", config_of(server.url)).poll_status("batch_1")
            seen.append((id(scope), status.provider_batch_id))
            await anyio.to_thread.run_sync(together.wait)

    threads = [threading.Thread(target=asyncio.run, args=(life(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == len(dict(seen)) == 2


async def test_a_scope_used_on_another_loop_says_so(registry):
    async with registry.open() as scope:
        provider = scope.create("openai", config_of("http://127.0.0.1:9"))

        def elsewhere():
            with pytest.raises(ScopeError, match="another event loop") as caught:
                asyncio.run(provider.poll_status("batch_1"))
            return caught.value.code

        code = await anyio.to_thread.run_sync(elsewhere)

    assert code == "scope.other_loop"


async def test_leaving_a_registry_that_was_not_entered_here_is_an_error(registry):
    with pytest.raises(ScopeError, match="not entered on this event loop"):
        await registry.__aexit__(None, None, None)


async def test_an_opening_that_fails_leaves_the_registry_as_it_was(registry, monkeypatch):
    from asyncbatch.exceptions import ConfigError

    def broken():
        raise ConfigError("no facts today")

    with monkeypatch.context() as patch:
        patch.setattr("asyncbatch.registry._load_catalog", broken)
        with pytest.raises(ConfigError, match="no facts today"):
            async with registry:
                pass
    async with registry as scope:
        assert scope.is_open


# The registry of the process


async def test_the_registry_of_the_process_needs_no_registration_for_what_is_built_in(monkeypatch):
    with Emulator() as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        async with batch_provider_registry as registry:
            page = await registry.create("openai").list_statuses()

    assert page.statuses == ()
