"""Clock, sleep, randomness, the hop to a thread, and the one owner task: everything that a simulation replaces.

Nothing else in the library calls `time`, `random`, `to_thread` or `create_task`; a lint rule holds that. What code needs of
them it gets as one object, `Runtime`, so that a test can hand in another one and run a day in a second.
"""

import asyncio
import functools
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from asyncbatch.exceptions import ScopeError
from asyncbatch.secrecy import OfThisProcess
from asyncbatch.turns import Turns

T = TypeVar("T")

_log = logging.getLogger("asyncbatch.runtime")

OFFLOAD_THREADS = 4
"""Threads for our slices of work, apart from the application's own pool: neither can starve the other.

One account has no more of them, and there is one more: what an account with a large job does to disk takes seconds, and
another one's line is not to wait for it. Beyond that they take turns.
"""

_paying: ContextVar[str | None] = ContextVar("asyncbatch_paying", default=None)


@contextmanager
def working_for(account: str | None) -> Generator[None]:
    """Have the block, and tasks that it starts, take their turns as this account's."""
    token = _paying.set(account)
    try:
        yield
    finally:
        _paying.reset(token)


class _Threads:
    """The threads of one event loop, and whose turn it is."""

    def __init__(self) -> None:
        self.turns = Turns(OFFLOAD_THREADS + 1, most=OFFLOAD_THREADS)
        self.limiter = anyio.CapacityLimiter(OFFLOAD_THREADS + 1)  # never reached; anyio's own is the application's


_threads: anyio.lowlevel.RunVar[_Threads] = anyio.lowlevel.RunVar("asyncbatch_threads")


class Offload(Protocol):
    """Run a short piece of blocking work off the event loop and wait for it."""

    async def __call__(self, func: Callable[..., T], /, *args: Any) -> T: ...


async def _offload(func: Callable[..., T], /, *args: Any) -> T:
    try:
        threads = _threads.get()
    except LookupError:  # some for each event loop, made on their first use
        threads = _Threads()
        _threads.set(threads)
    async with threads.turns.place(_paying.get()):
        return await anyio.to_thread.run_sync(func, *args, limiter=threads.limiter)


async def to_its_end(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do something to its end, whatever cancels us meanwhile, and be cancelled then.

    For a thread that writes: it cannot be cancelled, and whoever tidies up must not do so before it has ended.
    """
    task = asyncio.create_task(work(), name="asyncbatch work")
    cancelled = await _outlast(task)
    if cancelled is not None:
        _ = task.cancelled() or task.exception()  # heard, so that the loop does not complain of it
        raise cancelled
    return task.result()


_LONG_S = 30.0
"""Leaving takes as long as creates are given to settle; whoever waits longer is told for what."""


async def _outlast(task: asyncio.Task[Any], *, told_s: float | None = None) -> asyncio.CancelledError | None:
    """Wait until a task has ended, whatever cancels us meanwhile, and give the cancellation.

    A shield holds against anyio's scopes, not against `Task.cancel()`, which would break the very thing that we wait for.
    Each `told_s` seconds, a warning says what has not ended: a disk that does not answer, code that does not let itself be
    cancelled. Neither can be left behind.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:  # unlike `await task`, it leaves the task alone when we are cancelled
                done, _ = await asyncio.wait((task,), timeout=told_s)
                if not done:
                    _log.warning("%s takes long; still at work: %s", task.get_name(), ", ".join(_at_work(task)))
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


def _at_work(task: asyncio.Task[Any]) -> list[str]:
    """Name our tasks on this loop, besides the one that waits for the others."""
    names = (other.get_name() for other in asyncio.all_tasks() if other is not task)
    return sorted(name for name in names if name.startswith("asyncbatch"))


def _anchored_clock() -> Callable[[], float]:
    """Give Unix seconds that never jump: the wall clock now, carried on by a clock that also runs while the host sleeps."""
    source = getattr(time, "CLOCK_BOOTTIME", None)
    ticks = time.monotonic if source is None else functools.partial(time.clock_gettime, source)
    start = time.time() - ticks()
    return lambda: start + ticks()


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """The four things that tie code to the real world.

    Attributes:
        now: Unix seconds; never goes backwards while the process lives.
        sleep: Wait so many seconds.
        random: A number in [0, 1).
        offload: Run a short piece of blocking work in a thread; with slices, since a thread cannot be cancelled.
        slice_bytes: How much of a large body is one piece of such work: about two milliseconds of it, during which the loop may
            have to wait for us.
    """

    now: Callable[[], float] = msgspec.field(default_factory=_anchored_clock)
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    # The system's generator: it also makes nonces, and forked workers must not make the same ones.
    random: Callable[[], float] = random.SystemRandom().random
    offload: Offload = _offload
    slice_bytes: int = 512 * 1024

    def nonce(self, digits: int) -> str:
        """Give so many random hexadecimal digits."""
        return "".join(f"{int(self.random() * 16):x}" for _ in range(digits))


GENTLE_BYTES = 48 * 1024
"""A slice of gentle work: a fraction of a millisecond, in which a thread keeps the interpreter from the event loop."""
_LONGEST_REST_S = 0.05


def gentle(runtime: Runtime) -> Runtime:
    """Give a runtime that leaves the interpreter to others: it works in small slices, and rests after each for as long."""
    return msgspec.structs.replace(
        runtime, offload=_Gently(runtime.offload, runtime.sleep), slice_bytes=min(GENTLE_BYTES, runtime.slice_bytes)
    )


class _Gently:
    """Whose work in threads takes turns with rests: a thread that works holds the interpreter, and with it the event loop."""

    def __init__(self, offload: Offload, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._offload = offload
        self._sleep = sleep
        self._rested_at = 0.0

    async def __call__(self, func: Callable[..., T], /, *args: Any) -> T:
        rest_s = self._rested_at - time.monotonic()
        if rest_s > 0:
            await self._sleep(rest_s)
        started = time.monotonic()
        try:
            return await self._offload(func, *args)
        finally:
            ended = time.monotonic()
            self._rested_at = ended + min(ended - started, _LONGEST_REST_S)


async def checkpoint() -> None:
    """Let other tasks run, and be cancelled if we are."""
    await anyio.lowlevel.checkpoint()


async def sleep_or(runtime: Runtime, delay_s: float, event: anyio.Event) -> None:
    """Wait so many seconds, or until the event is set."""
    async with anyio.create_task_group() as group:

        async def nap() -> None:
            await runtime.sleep(delay_s)
            group.cancel_scope.cancel()

        group.start_soon(nap)
        await event.wait()
        group.cancel_scope.cancel()


class Signal:
    """Wake everybody who waits now; whoever waits after that waits for the next time."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        self._event = self._event or anyio.Event()
        await self._event.wait()


class LoopBound(OfThisProcess):
    """Remember the event loop that something was opened on, and refuse every other one, and a fork's, in clear words."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def bind(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()

    def release(self) -> None:
        self._loop = None

    @property
    def is_bound(self) -> bool:
        return self._loop is not None

    def check(self, hint: str) -> None:
        """Raise `ScopeError` unless we are open, in this process, and on this loop."""
        if self._loop is None:
            raise ScopeError(f"{self._what} is not open", code="scope.closed", hint=hint)
        if self._pid != os.getpid():  # its threads are not here, and its connections are the other process's
            message = f"{self._what} was opened before a fork, and belongs to the parent process"
            raise ScopeError(message, code="scope.forked", hint="open one in each process, after the fork")
        if self._loop is not asyncio.get_running_loop():
            message = f"{self._what} was opened on another event loop than the one that uses it now"
            raise ScopeError(message, code="scope.other_loop", hint="open one for each event loop")


async def finish(*steps: Callable[[], Awaitable[object]]) -> None:
    """Run clean-up steps to their ends, one after the other, whatever cancels us meanwhile and whichever of them fails.

    The steps run in a task of their own. At the end the cancellation is raised, or else the first failure; what is not raised
    is logged.
    """
    failures: list[BaseException] = []
    task = asyncio.create_task(_each(steps, failures), name="asyncbatch clean-up")
    cancelled = await _outlast(task, told_s=_LONG_S)
    if task.cancelled():  # a loop that ends cancels every task, ours too
        cancelled = cancelled or asyncio.CancelledError()
    raised = cancelled or next(iter(failures), None)
    for failure in failures:
        if failure is not raised:
            _log.error("a clean-up failed, and another error was raised", exc_info=failure)
    if raised is not None:
        raise raised


async def _each(steps: Sequence[Callable[[], Awaitable[object]]], failures: list[BaseException]) -> None:
    for step in steps:
        try:
            await step()
        except BaseException as error:  # noqa: BLE001 -- kept for the caller, who raises it when the last step is done
            failures.append(error)


def _ends_program(error: BaseException) -> bool:
    """Whether it is nothing but Ctrl-C or `sys.exit`, which the event loop raises out of itself, whoever else sees it."""
    ends = (KeyboardInterrupt, SystemExit)
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(ends)[1] is None
    return isinstance(error, ends)


_owners: set[asyncio.Task[None]] = set()
"""Owner tasks still winding down: the loop itself keeps only weak references to its tasks."""


class Owner:
    """One asyncio task that holds an anyio task group for somebody who may be entered and left in different tasks.

    A task group or cancel scope held open across a user's block must be left in the task that entered it, which a fixture,
    a split start-up and shutdown hook or an exit stack does not do; and a crash of our child would cancel the user's own
    task. So the group lives in a task of its own: `start` makes it, `spawn` adds children, `stop` asks it to end and waits.
    A child that crashes ends the others; `on_crash` then hears why, and the user's task is left alone. Where the event loop
    ends first, `on_torn_down` may still close what is open.
    """

    def __init__(
        self,
        name: str,
        on_crash: Callable[[BaseException], None],
        on_torn_down: Callable[[], Awaitable[None]] | None = None,
        *,
        is_part: bool = False,
    ) -> None:
        self._name = name
        self._level = logging.DEBUG if is_part else logging.WARNING  # whoever has the whole says it
        self._on_crash = on_crash
        self._on_torn_down = on_torn_down
        self._group: anyio.abc.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = anyio.Event()
        self._stopping = anyio.Event()
        self._done = anyio.Event()

    @property
    def is_running(self) -> bool:
        return self._group is not None and not self._done.is_set()

    async def start(self) -> None:
        """Start the task. It inherits no cancel scope: nothing that cancels its maker reaches it."""
        self._task = task = asyncio.create_task(self._run(), name=self._name)
        _owners.add(task)
        task.add_done_callback(_owners.discard)
        with anyio.CancelScope(shield=True):
            try:
                await self._ready.wait()
            except BaseException:  # nobody will stop what nobody was given
                self._stopping.set()
                raise

    def spawn(self, func: Callable[..., Coroutine[Any, Any, object]], *args: object, name: str | None = None) -> None:
        """Run a coroutine function as a child."""
        if self._group is None or self._stopping.is_set():
            raise ScopeError(f"{self._name} is not open", code="scope.closed")
        self._group.start_soon(func, *args, name=name)

    async def stop(self) -> None:
        """Cancel the children and wait until each has cleaned up, whatever cancels the caller meanwhile."""
        self._stopping.set()
        cancelled = await _outlast(self._task, told_s=_LONG_S) if self._task is not None else None
        if cancelled is not None:
            raise cancelled

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._ready.set()
                await self._stopping.wait()
                group.cancel_scope.cancel()
        except asyncio.CancelledError as error:
            message = "%s: its event loop ended while it was open; leave it before, with `async with`"
            _log.log(self._level, message, self._name)
            self._on_crash(error)
            if self._on_torn_down is not None:
                await self._on_torn_down()
            raise
        except BaseException as error:
            self._on_crash(error)
            if not _ends_program(error):  # of that, the loop has told everybody
                _log.error("%s: a task of it crashed, and ended the others", self._name, exc_info=error)
                if not isinstance(error, Exception):
                    raise
        finally:
            self._stopping.set()
            self._ready.set()
            self._done.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
