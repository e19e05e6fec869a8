"""Provider classes by name, and scopes that share connections: on their own loop, and never longer than they are entered."""

import asyncio
import contextlib
import gc
import threading
from importlib.metadata import EntryPoint

import aiohttp
import anyio
import pytest

from asyncbatch import registry as registry_module
from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import load_catalog
from asyncbatch.dto import ProviderStatus, ProviderSubmitResult
from asyncbatch.enums import BatchMode, BatchStatus, SubmitSafety
from asyncbatch.exceptions import ConfigError, ProviderNotRegisteredError, ScopeError
from asyncbatch.planning.retry import Retry
from asyncbatch.registry import BatchProviderRegistry, RegistryScope, batch_provider_registry
from asyncbatch.testing.runtime import virtual_runtime
from asyncbatch.transport import Http, Profile


class Six(BaseBatchProvider):
    """A provider with the six specified methods and no more."""

    PROVIDER_NAME = "six"

    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        return True

    async def prepare_payloads(self, **_):
        return []

    async def submit(self, submission):
        return ProviderSubmitResult(provider_batch_id="b")

    async def poll_status(self, provider_batch_id):
        return ProviderStatus(provider_batch_id=provider_batch_id, status=BatchStatus.COMPLETED)

    async def fetch_results(self, provider_batch_id):
        return
        yield

    async def cancel(self, provider_batch_id):
        return await self.poll_status(provider_batch_id)


class OtherSix(Six):
    pass


class Unfinished(BaseBatchProvider):
    PROVIDER_NAME = "unfinished"

    def supports_model(self, model, mode=None):
        return True


def named(name: object) -> type[Six]:
    return type("Named", (Six,), {"PROVIDER_NAME": name})


@pytest.fixture
def registry() -> BatchProviderRegistry:
    return BatchProviderRegistry()


# --- the class table ---------------------------------------------------------------------------------------------------


def test_a_class_of_six_methods_registers_and_is_found(registry):
    assert registry.register(Six) is Six

    assert registry.get("six") is Six
    assert registry.is_registered("six")
    assert registry.list() == ["six"]
    assert {"six", "openai"} <= set(registry.available())


def test_register_is_a_decorator(registry):
    @registry.register
    class Mine(Six):
        PROVIDER_NAME = "mine"

    assert registry.get("mine") is Mine


def test_the_same_class_again_is_fine_and_another_one_needs_to_say_so(registry):
    registry.register(Six)
    registry.register(Six)

    with pytest.raises(ValueError, match=r"'six' is taken by .*\.Six; say replace=True"):
        registry.register(OtherSix)
    assert registry.get("six") is Six

    registry.register(OtherSix, replace=True)
    assert registry.get("six") is OtherSix


@pytest.mark.parametrize(
    ("candidate", "error", "says"),
    [
        (int, TypeError, r"<class 'int'> is no class that derives from BaseBatchProvider"),
        (Six(), TypeError, r"is no class that derives from"),
        ("six", TypeError, r"'six' is no class"),
        (None, TypeError, r"None is no class"),
        (BaseBatchProvider, TypeError, r"BaseBatchProvider does not implement cancel, fetch_results, poll_status"),
        (Unfinished, TypeError, r"Unfinished does not implement cancel, fetch_results, poll_status, prepare_payloads"),
        (named(""), ValueError, r"Named has no PROVIDER_NAME"),
        (named(None), ValueError, r"Named has no PROVIDER_NAME"),
        (named("a/b"), ValueError, r"Named: 'a/b' is no name"),
        (named(" a"), ValueError, r"Named: ' a' is no name"),
    ],
)
def test_what_cannot_be_registered_is_refused_and_says_why(registry, candidate, error, says):
    with pytest.raises(error, match=says):
        registry.register(candidate)

    assert registry.list() == []


def test_built_in_providers_are_found_without_being_registered(registry):
    found = registry.get("openai")

    assert found.PROVIDER_NAME == "openai"
    assert registry.is_registered("openai")
    assert registry.list() == []


def test_a_registered_class_comes_before_a_built_in_one_and_unregistering_brings_that_back(registry):
    built_in = registry.get("openai")
    mine = registry.register(named("openai"))
    assert registry.get("openai") is mine

    registry.unregister("openai")

    assert registry.get("openai") is built_in


@pytest.mark.parametrize("name", ["opneai", "", "openai/gpt", "_openai_wire", "../openai", "base_provider", "OpenAI"])
def test_a_name_that_nobody_has_is_an_error_that_lists_those_there_are(registry, name):
    registry.register(Six)

    assert not registry.is_registered(name)
    with pytest.raises(
        ProviderNotRegisteredError, match=r"there is no provider .*; there are: .*openai.*six"
    ) as caught:
        registry.get(name)

    assert (caught.value.provider, caught.value.code) == (name, "provider.unknown")


def test_unregister_and_clear_forget_what_was_registered(registry):
    registry.register(Six)
    registry.register(named("seven"))

    registry.unregister("six")
    assert registry.list() == ["seven"]
    with pytest.raises(ProviderNotRegisteredError):
        registry.unregister("six")
    registry.clear()
    registry.clear()

    assert registry.list() == []
    assert registry.is_registered("openai")


@pytest.fixture
def entry_points(monkeypatch):
    """Names that installed packages bring: an entry point cannot be made without installing one."""
    points = [
        EntryPoint("six", f"{__name__}:Six", "asyncbatch.providers"),
        EntryPoint("seven", f"{__name__}:Six", "asyncbatch.providers"),
        EntryPoint("broken", f"{__name__}:registry", "asyncbatch.providers"),
        EntryPoint("unfinished", f"{__name__}:Unfinished", "asyncbatch.providers"),
        EntryPoint("gone", f"{__name__}:Gone", "asyncbatch.providers"),
    ]
    asked = []

    def found(*, group: str, name: str | None = None) -> list[EntryPoint]:
        asked.append(name)
        return [point for point in points if point.group == group and name in (None, point.name)]

    monkeypatch.setattr(registry_module, "entry_points", found)
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.attr])
    return asked


def test_providers_of_other_packages_are_found_by_their_entry_point(registry, entry_points):
    assert registry.get("six") is Six
    assert {"six", "openai"} <= set(registry.available())
    assert registry.list() == []


def test_the_packages_are_looked_through_once_for_a_provider_that_is_there(registry, entry_points):
    for _ in range(3):
        assert registry.get("six") is Six
    assert entry_points == ["six"]

    registry.clear()
    for _ in range(2):
        assert not registry.is_registered("eight")
    assert registry.get("six") is Six
    assert entry_points == ["six", "eight", "eight", "six"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", r"'broken' cannot be loaded from .*:registry: TypeError: .* derives from BaseBatchProvider"),
        ("unfinished", r"'unfinished' cannot be loaded .*: TypeError: Unfinished does not implement cancel"),
        ("gone", r"'gone' cannot be loaded from .*:Gone: KeyError: 'Gone'"),
        ("seven", r"the entry point 'seven' names .*:Six, whose PROVIDER_NAME is 'six' \(both have to be the same\)"),
    ],
)
def test_an_entry_point_that_brings_no_provider_of_its_name_is_an_error_that_says_why(
    registry, entry_points, name, says
):
    with pytest.raises(ConfigError, match=says) as caught:
        registry.get(name)

    assert caught.value.code == "provider.broken"
    assert name in registry.available()
    assert registry.get("openai")


# --- scopes ------------------------------------------------------------------------------------------------------------


async def test_a_scope_lends_its_providers_the_same_connections(registry):
    registry.register(Six)

    async with registry.open() as scope:
        one, other = scope.create("openai", {"api_key": "sk-a"}), scope.create("openai", {"api_key": "sk-b"})
        six = scope.create("six")

        sessions = scope.context.sessions
        assert one._use_context() is other._use_context() is six._use_context() is scope.context
        assert len({id(sessions.get(profile)) for profile in Profile}) == 3
        assert one.account.origin != other.account.origin
        assert six.submit_safety() is SubmitSafety.NONE
        async with one:
            pass
        assert not sessions.get(Profile.POLL).closed  # a provider that leaves does not close what is lent

        open_sessions = [sessions.get(profile) for profile in Profile]
    assert all(session.closed for session in open_sessions)
    assert not scope.is_open


async def test_a_scope_knows_what_its_registry_knows(registry):
    registry.register(Six)

    async with registry.open() as scope:
        assert scope.get("six") is Six
        assert scope.list() == ["six"]
        assert scope.is_registered("openai")
        assert scope.available() == registry.available()
        with pytest.raises(ProviderNotRegisteredError):
            scope.create("nobody")


async def test_a_scope_takes_what_it_is_given(registry):
    catalog, runtime, retry = load_catalog({"providers": {"openai": {"window_s": 3600}}}), virtual_runtime(), Retry()

    async with registry.open(catalog=catalog, runtime=runtime, retry=retry, http=Http(limit_per_host=3)) as scope:
        assert scope.catalog is catalog
        assert scope.context.runtime is scope.runtime is runtime
        assert scope.context.retry is retry
        assert scope.context.sessions.http.limit_per_host == 3
        assert scope.create("openai", {"api_key": "k"}).facts.window_s == 3600


async def test_an_applications_own_session_serves_and_stays_open(registry):
    async with aiohttp.ClientSession() as session:
        async with registry.open(session=session) as scope:
            assert all(scope.context.sessions.get(profile) is session for profile in Profile)

        assert not session.closed


async def test_outside_of_its_scope_nothing_works_and_says_what_to_do(registry):
    scope = registry.open()

    for use in (lambda: scope.create("openai"), lambda: scope.context, lambda: scope.catalog):
        with pytest.raises(ScopeError, match=r"not open \(open it first: `async with registry\.open\(\) as scope`\)"):
            use()

    async with scope:
        provider = scope.create("openai", {"api_key": "k"})
    with pytest.raises(ScopeError, match="not open") as caught:
        await provider.poll_status("batch_1")
    assert caught.value.code == "scope.closed"
    with pytest.raises(ScopeError, match="not open"):
        scope.create("openai")


async def test_a_scope_is_entered_once_at_a_time_and_may_be_entered_again(registry):
    scope = registry.open()

    async with scope:
        with pytest.raises(ScopeError, match="open already") as caught:
            await scope.__aenter__()
        assert scope.is_open
    async with scope:
        assert scope.create("openai")

    assert caught.value.code == "scope.open"


async def test_a_scope_may_be_entered_in_one_task_and_left_in_another_and_twice(registry):
    scope = registry.open()

    await asyncio.create_task(scope.__aenter__())
    assert scope.create("openai")
    await asyncio.create_task(scope.aclose())
    await scope.aclose()

    assert not scope.is_open


async def test_a_scope_is_closed_whole_even_when_its_task_is_cancelled(registry):
    scope = registry.open()

    with anyio.CancelScope() as cancelled:
        async with scope:
            sessions = [scope.context.sessions.get(profile) for profile in Profile]
            cancelled.cancel()
            await anyio.sleep(0)

    assert all(session.closed for session in sessions)


async def test_a_scope_that_could_not_be_opened_is_closed(registry, tmp_path):
    scope = registry.open(http=Http(ca_file=str(tmp_path / "none.pem")))

    with pytest.raises(ConfigError, match=r"none\.pem"):
        await scope.__aenter__()

    assert not scope.is_open
    with pytest.raises(ScopeError, match="not open"):
        scope.create("openai")


def test_a_scope_of_one_loop_refuses_another_in_clear_words(registry):
    scope = registry.open()

    async def enter() -> BaseBatchProvider:
        await scope.__aenter__()
        return scope.create("openai", {"api_key": "k"})

    async def use(provider: BaseBatchProvider) -> None:
        with pytest.raises(ScopeError, match="another event loop") as caught:
            await provider.poll_status("batch_1")
        assert caught.value.code == "scope.other_loop"
        with pytest.raises(ScopeError, match="another event loop"):
            scope.create("openai")

    with asyncio.Runner() as first, asyncio.Runner() as second:
        provider = first.run(enter())
        second.run(use(provider))
        first.run(scope.aclose())


# --- the registry itself, entered --------------------------------------------------------------------------------------


async def test_whoever_enters_the_registry_on_one_loop_shares_a_scope_that_closes_with_the_last(registry):
    async with registry as outer:
        async with registry as inner:
            assert inner is outer
        assert outer.is_open
        assert outer.create("openai")

    assert not outer.is_open
    async with registry as later:
        assert later is not outer
        assert later.is_open


async def test_entered_by_many_tasks_at_once_it_is_opened_once(registry):
    opened: list[RegistryScope] = []
    all_in = anyio.Event()

    async def enter() -> None:
        async with registry as scope:
            assert scope.create("openai")
            opened.append(scope)
            if len(opened) == 20:
                all_in.set()
            await all_in.wait()

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(enter)

    assert len({id(scope) for scope in opened}) == 1
    assert not opened[0].is_open


async def test_two_scopes_at_once_do_not_share(registry):
    async with registry.open() as one, registry.open() as other, registry as shared:
        contexts = [one.context, other.context, shared.context]

        assert len({id(context.sessions) for context in contexts}) == 3
        assert len({id(context.space) for context in contexts}) == 3


def test_one_loop_after_the_other_each_has_a_scope_of_its_own(registry):
    async def use() -> RegistryScope:
        async with registry as scope:
            assert scope.create("openai", {"api_key": "k"})
            return scope

    first, second = asyncio.run(use()), asyncio.run(use())

    assert first is not second
    gc.collect()  # a session that was left open would warn now


def test_two_loops_in_two_threads_do_not_meet(registry):
    scopes: list[RegistryScope] = []
    both_in = threading.Barrier(2)

    async def use() -> None:
        async with registry as scope:
            scopes.append(scope)
            await asyncio.to_thread(both_in.wait, 60)
            assert scope.create("openai")

    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(scope) for scope in scopes}) == 2


async def test_leaving_what_was_never_entered_here_is_an_error(registry):
    with pytest.raises(ScopeError, match="not entered on this event loop"):
        await registry.__aexit__(None, None, None)


async def test_entering_that_is_cancelled_leaves_nothing_open(registry):
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await registry.__aenter__()

    assert cancelled.cancelled_caught
    async with registry as scope:
        assert scope.is_open
    assert not scope.is_open


async def test_it_stands_on_an_exit_stack_and_closes_when_the_block_fails(registry):
    entered: list[RegistryScope] = []

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            entered.append(await stack.enter_async_context(registry))
            assert entered[0].is_open
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert not entered[0].is_open


def test_the_process_has_one_registry_and_nobody_has_registered_in_it():
    assert isinstance(batch_provider_registry, BatchProviderRegistry)
    assert batch_provider_registry.get("openai") is BatchProviderRegistry().get("openai")
