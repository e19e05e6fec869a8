"""Clock, sleep, threads, and the owner task that keeps a crash or a cancellation where it belongs."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from asyncbatch.exceptions import ScopeError
from asyncbatch.runtime import OFFLOAD_THREADS, LoopBound, Owner, Runtime, Signal, finish, sleep_or, working_for
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


# --- the four things ---------------------------------------------------------------------------------------------------


def test_the_clock_tells_unix_seconds_and_is_carried_on_when_somebody_sets_the_wall_clock(monkeypatch):
    runtime = Runtime()
    before = runtime.now()
    assert abs(before - time.time()) < 60

    monkeypatch.setattr(time, "time", lambda: 0.0)

    readings = [runtime.now() for _ in range(1000)]
    assert readings == sorted(readings)
    assert readings[0] >= before


def test_the_clock_falls_back_where_the_system_has_none_that_runs_on_in_sleep(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    runtime = Runtime()

    assert abs(runtime.now() - time.time()) < 60


def test_nonces_are_random_hexadecimal_digits():
    runtime = Runtime()
    nonces = {runtime.nonce(16) for _ in range(100)}

    assert len(nonces) == 100
    assert all(len(nonce) == 16 and set(nonce) <= set("0123456789abcdef") for nonce in nonces)
    assert virtual_runtime(seed=1).nonce(16) == virtual_runtime(seed=1).nonce(16)


async def test_blocking_work_runs_in_another_thread_and_its_errors_come_back():
    runtime = Runtime()

    assert await runtime.offload(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await runtime.offload(divmod, 1, 0)


async def test_no_more_threads_than_ours_work_at_once():
    runtime = Runtime()
    together = threading.Barrier(OFFLOAD_THREADS)
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=60)  # needs as many threads as we have: fewer would break the barrier
        with lock:
            running -= 1
        together.wait(timeout=60)

    async with anyio.create_task_group() as group:
        for _ in range(3 * OFFLOAD_THREADS):
            group.start_soon(runtime.offload, work)

    assert most == OFFLOAD_THREADS


async def test_one_account_leaves_a_thread_to_the_others_who_take_turns_with_it():
    runtime, done, let_go = Runtime(), [], threading.Event()

    async def work(account, what, *given):
        with working_for(account):
            await runtime.offload(what, *given)
        done.append(account)

    async with anyio.create_task_group() as group:
        try:
            for _ in range(OFFLOAD_THREADS):
                group.start_soon(work, "flood", let_go.wait)
            for _ in range(50):
                group.start_soon(work, "flood", int)
            await anyio.lowlevel.checkpoint()
            for _ in range(3):
                await work("quick", int)
        finally:  # the group waits for its threads, whatever becomes of the test
            let_go.set()

    assert done[:3] == ["quick"] * 3
    assert len(done) == 3 + OFFLOAD_THREADS + 50


def test_threads_serve_one_event_loop_after_the_other():
    runtime = Runtime()

    async def work() -> int:
        return await runtime.offload(len, "abc")

    assert [asyncio.run(work()) for _ in range(2)] == [3, 3]


# --- waiting -----------------------------------------------------------------------------------------------------------


async def test_a_sleep_ends_when_its_time_has_come():
    clock = VirtualClock()

    await sleep_or(virtual_runtime(clock), 3600.0, anyio.Event())

    assert clock.slept_s == [3600.0]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_virtual_sleep_gives_other_threads_the_interpreter_where_there_are_any(others, monkeypatch):
    paused = []
    monkeypatch.setattr(threading, "active_count", lambda: 1 + others)
    monkeypatch.setattr(time, "sleep", paused.append)
    clock = VirtualClock(1_000.0)
    for _ in range(3):
        await clock.sleep(60)

    assert clock.now() == 1_180.0
    assert paused == [0.0001] * 3 * others


@pytest.mark.parametrize("is_set_before", [True, False])
async def test_a_sleep_ends_when_the_event_is_set(is_set_before):
    event = anyio.Event()
    if is_set_before:
        event.set()

    async with anyio.create_task_group() as group:
        group.start_soon(sleep_or, Runtime(sleep=lambda _: anyio.sleep_forever()), 3600.0, event)
        await turns()
        event.set()


async def test_a_sleep_can_be_cancelled():
    with anyio.move_on_after(0) as scope:
        await sleep_or(Runtime(), 3600.0, anyio.Event())

    assert scope.cancelled_caught


async def test_a_signal_wakes_those_who_wait_now_and_nobody_later():
    signal, woken = Signal(), []

    async def wait(name: str) -> None:
        await signal.wait()
        woken.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "first")
        group.start_soon(wait, "second")
        await turns()
        signal.notify()
        await turns()
        group.start_soon(wait, "late")
        await turns()
        assert sorted(woken) == ["first", "second"]
        signal.notify()

    assert woken[-1] == "late"


# --- one loop ----------------------------------------------------------------------------------------------------------


def test_what_is_bound_to_one_loop_refuses_another_in_clear_words():
    bound = LoopBound("the thing")

    async def bind() -> None:
        bound.bind()
        bound.check("hint")

    async def use() -> None:
        bound.check("hint")

    with pytest.raises(ScopeError, match=r"the thing is not open \(open it\)") as closed:
        bound.check("open it")
    asyncio.run(bind())
    with pytest.raises(ScopeError, match="another event loop") as elsewhere:
        asyncio.run(use())

    assert closed.value.code == "scope.closed"
    assert elsewhere.value.code == "scope.other_loop"


async def test_what_was_released_is_closed():
    bound = LoopBound("the thing")
    bound.bind()
    assert bound.is_bound

    bound.release()

    assert not bound.is_bound
    with pytest.raises(ScopeError, match="not open"):
        bound.check("")


# --- the owner task ----------------------------------------------------------------------------------------------------


class Child:
    """A coroutine that runs until it is cancelled, and then takes a few turns to clean up."""

    def __init__(self) -> None:
        self.started = self.cleaned_up = False

    async def __call__(self) -> None:
        self.started = True
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await turns()
                self.cleaned_up = True


@pytest.fixture
def crashes() -> list[BaseException]:
    return []


async def in_another_task(func: Callable[[], Awaitable[None]]) -> None:
    await asyncio.create_task(func())


async def test_an_owner_may_be_opened_in_one_task_and_closed_in_another(crashes):
    owner, child = Owner("the owner", crashes.append), Child()

    await in_another_task(owner.start)
    owner.spawn(child)
    await until(lambda: child.started)
    assert owner.is_running
    await in_another_task(owner.stop)

    assert child.cleaned_up
    assert not owner.is_running
    assert crashes == []


async def test_an_owner_may_stand_on_an_exit_stack_and_outlive_the_scope_it_was_made_in(crashes):
    child = Child()

    async with contextlib.AsyncExitStack() as stack:
        with anyio.CancelScope() as scope:
            owner = await stack.enter_async_context(Owner("the owner", crashes.append))
            owner.spawn(child)
            scope.cancel()
        await turns(50)
        assert child.started
        assert owner.is_running

    assert child.cleaned_up


async def test_a_child_that_crashes_ends_the_others_and_never_the_users_task(crashes, caplog):
    sibling = Child()

    async def crash() -> None:
        await until(lambda: sibling.started)
        raise ZeroDivisionError("boom")

    async with Owner("the owner", crashes.append) as owner:
        owner.spawn(sibling)
        owner.spawn(crash)
        await until(lambda: bool(crashes))
        await turns(50)

        assert sibling.cleaned_up
        assert not owner.is_running
        with pytest.raises(ScopeError, match="the owner is not open"):
            owner.spawn(sibling)

    (group,) = crashes
    assert "the owner: a task of it crashed" in caplog.text
    assert isinstance(group, ExceptionGroup)
    assert [str(error) for error in group.exceptions] == ["boom"]


async def test_a_child_that_ends_leaves_the_others_alone(crashes):
    child = Child()

    async with Owner("the owner", crashes.append) as owner:
        owner.spawn(turns, 1)
        owner.spawn(child)
        await turns(50)
        assert child.started
        assert not child.cleaned_up

    assert crashes == []


async def test_nothing_can_be_spawned_before_the_start_or_after_the_stop(crashes):
    owner = Owner("the owner", crashes.append)
    with pytest.raises(ScopeError, match="the owner is not open"):
        owner.spawn(turns)

    await owner.stop()  # harmless: it never ran
    await owner.start()
    await owner.stop()
    await owner.stop()

    with pytest.raises(ScopeError, match="the owner is not open"):
        owner.spawn(turns)


async def test_a_stop_waits_for_the_clean_up_of_the_children_under_a_cancelled_scope(crashes):
    owner, child = Owner("the owner", crashes.append), Child()
    await owner.start()
    owner.spawn(child)
    await until(lambda: child.started)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await owner.stop()
        assert child.cleaned_up


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_stop_waits_for_the_clean_up_of_the_children_however_often_its_task_is_cancelled(crashes, cancels):
    owner, child, order = Owner("the owner", crashes.append), Child(), []
    await owner.start()
    owner.spawn(child)
    await until(lambda: child.started)

    async def stop() -> None:
        try:
            await owner.stop()
        finally:
            order.append(child.cleaned_up)

    task = asyncio.create_task(stop())
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert order == [True]
    assert not owner.is_running


async def test_a_time_limit_around_a_stop_is_kept_once_the_children_have_cleaned_up(crashes):
    owner, child = Owner("the owner", crashes.append), Child()
    await owner.start()
    owner.spawn(child)
    await until(lambda: child.started)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await owner.stop()

    assert child.cleaned_up


async def test_a_start_whose_task_is_cancelled_leaves_no_task_behind(crashes):
    owner = Owner("the owner", crashes.append)
    before = asyncio.all_tasks()

    task = asyncio.create_task(owner.start())
    await asyncio.sleep(0)  # it waits for the owner's task, which has not run yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: asyncio.all_tasks() == before)

    assert not owner.is_running
    assert crashes == []


async def test_a_torn_down_loop_is_told_as_a_crash_and_stays_a_cancellation(crashes):
    owner = Owner("the owner", crashes.append)
    await owner.start()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "the owner"]

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await owner.stop()

    assert [type(error) for error in crashes] == [asyncio.CancelledError]


# --- clean-up that comes to its end ------------------------------------------------------------------------------------


class Steps:
    """Clean-up steps that take some turns of the loop, and say when they are done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def named(self, name: str, *, fails: BaseException | None = None) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            await turns(3)
            self.done.append(name)
            if fails is not None:
                raise fails

        return step


async def test_steps_run_one_after_the_other():
    steps = Steps()

    await finish(steps.named("a"), steps.named("b"))
    await finish()

    assert steps.done == ["a", "b"]


@pytest.mark.parametrize("wait", range(12))
async def test_a_native_cancel_at_any_moment_breaks_no_step_and_comes_out_at_the_end(wait):
    steps = Steps()
    task = asyncio.create_task(finish(steps.named("a"), steps.named("b")))
    await turns(wait)
    early = task.done()
    task.cancel()
    results = await asyncio.wait((task,))

    assert task in results[0]
    assert steps.done == (
        [] if wait == 0 else ["a", "b"]
    )  # a task that is cancelled before its first turn does nothing
    assert task.cancelled() is not early


async def test_a_scope_that_is_cancelled_lets_the_steps_come_to_their_end():
    steps = Steps()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await finish(steps.named("a"), steps.named("b"))

    assert steps.done == ["a", "b"]


async def test_a_step_that_fails_keeps_no_later_one_from_running_and_the_first_failure_is_raised(caplog):
    steps = Steps()

    with pytest.raises(ZeroDivisionError, match="first"):
        await finish(
            steps.named("a", fails=ZeroDivisionError("first")),
            steps.named("b", fails=OSError("second")),
            steps.named("c"),
        )

    assert steps.done == ["a", "b", "c"]
    assert "second" in caplog.text, "what is not raised is logged"
    assert "first" not in caplog.text


async def test_a_cancellation_comes_before_a_failure_which_is_logged(caplog):
    steps = Steps()
    task = asyncio.create_task(finish(steps.named("a", fails=OSError("the failure")), steps.named("b")))
    await turns(1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.done == ["a", "b"]
    assert "the failure" in caplog.text


def test_a_loop_that_ends_meanwhile_is_no_success():
    ends = []

    async def never() -> None:
        await asyncio.Event().wait()

    async def clean_up() -> None:
        try:
            await finish(never)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(clean_up())
        await turns()
        ends.append(task.done())

    asyncio.run(main())

    assert ends == [False, "cancelled"]
