"""`Emulator`: the server in a thread of its own, for tests and demonstrations; and `serve`, for a process of its own.

The thread has an event loop of its own, so the emulator is to its caller what the real service is: somewhere else. It
can be entered in one task and left in another, it serves code without a loop just as well, and it never runs on the
caller's loop, not even when it validates 200 MB.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from asyncbatch.emulator.app import Service
from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.dialect import Dialect, load_dialects
from asyncbatch.emulator.elsewhere import AnswerFunction, Elsewhere, FunctionModel
from asyncbatch.emulator.faults import Fault
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.hooks import read_target
from asyncbatch.emulator.tokens import AUDIENCE
from asyncbatch.emulator.upstream import Upstream

KEY = "emulator-key"  # what `env` hands out; any other key is an account as well
PORT = 8400


class Emulator:
    """A batch server on loopback, for the length of a block: `with` and `async with` both do.

    Args:
        port: 0 takes a free one.
        speed: Emulated seconds for each real one.
        clock: A function that gives the time in seconds, such as a test's virtual clock; it then replaces `speed`.
        faults: What goes wrong; see `asyncbatch.emulator.faults`.
        limits: Changes to the documented limits, such as `{"rows": 100, "requests_per_min": 60}`.
        pace: Changes to how long things take, such as `{"validating_s": 0, "row_s": 60, "run_cap_s": None}`.
        models: Patterns of models that the services should know besides their own.
        seed: Decides the order of results, and the dice of faults that strike by chance.
        answer: A function that answers in the echo model's place: it takes an `Ask`, and gives an `Answer`, or its text, or
            an object that becomes JSON text, or None for what the echo model says. It may be asynchronous. An exception
            is an error of that row.
        upstream: The base URL of a live server that speaks OpenAI's protocol, to answer in the echo model's place. Which
            models there are is then for it to say, and every dialect takes any.
        upstream_key: What it takes as a bearer token.
        upstream_model: The model to ask there, whatever a row names.
        data_dir: A directory in which everything outlives the process: who starts an emulator there again, even after a
            kill, has the same files, batches and history, and the clock has gone on meanwhile. One emulator at a time.
        webhook_url: Where it tells of the end of each batch, in the dialects whose services do so.
        webhook_secret: What it signs that with: `whsec_` and base64.
        webhook_audience: For whom the tokens are made out that vouch for webhooks of single batches.
    """

    def __init__(  # noqa: PLR0913  each is a setting of its own, and none is needed
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        clock: Callable[[], float] | None = None,
        faults: Iterable[Fault] = (),
        limits: Mapping[str, Any] | None = None,
        pace: Mapping[str, Any] | None = None,
        models: Sequence[str] = (),
        seed: int = 0,
        answer: AnswerFunction | None = None,
        upstream: str | None = None,
        upstream_key: str | None = None,
        upstream_model: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        webhook_audience: str = AUDIENCE,
    ) -> None:
        self._data_dir = data_dir
        self._target = read_target(webhook_url, webhook_secret)
        self._audience = webhook_audience
        self._elsewhere = _choose(answer, upstream, upstream_key, upstream_model)
        self._host = host
        self._port = port
        self._clock = Clock(speed=speed, source=clock)
        self._faults = tuple(faults)
        self._limits = dict(limits or {})
        self._pace = dict(pace or {})
        self._models = _allowed(models, upstream)
        self._seed = seed
        self._stack = ExitStack()
        self._running: _Running | None = None
        self._last_history: list[Record] = []

    @property
    def url(self) -> str:
        """The server's origin, such as `http://127.0.0.1:8400`."""
        return self._must_run().url

    def base_url(self, dialect: str) -> str:
        """Give what an SDK takes as base URL."""
        return _base_url(self.url, _dialect(dialect))

    def env(self, dialect: str) -> dict[str, str]:
        """Give the environment variables that lead an SDK here."""
        return _environment(self.url, _dialect(dialect))

    @property
    def dialects(self) -> tuple[str, ...]:
        """The names of the protocols that it speaks."""
        return tuple(load_dialects())

    @property
    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Let this much time pass at once."""
        self._clock.advance(seconds)

    def add(self, *faults: Fault) -> None:
        """Let more go wrong, from now on."""
        self._must_run().service.script.add(*faults)

    def remove(self, *faults: Fault) -> None:
        """Let these go wrong no more, whatever is left of their `times` and `for_s`; one that is not there is no error."""
        self._must_run().service.script.remove(*faults)

    def reset(self) -> None:
        """Forget files, batches, history, advances of the clock, and faults added since the start; in `data_dir` too."""
        running = self._must_run()
        running.portal.call(running.service.reset)

    @property
    def history(self) -> list[Record]:
        """Every request and everything that was accepted, in order of time; after the end, all there was."""
        if self._running is not None:
            self._last_history = self._running.portal.call(self._running.service.read_history)
        return list(self._last_history)

    def start(self) -> None:
        """Start the thread, and return when the server listens."""
        if self._running is not None:
            raise RuntimeError("the emulator is running already")
        service = Service(
            clock=self._clock,
            faults=self._faults,
            limits=self._limits,
            pace=self._pace,
            models=self._models,
            seed=self._seed,
            elsewhere=self._elsewhere,
            data_dir=self._data_dir,
            target=self._target,
            audience=self._audience,
        )
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="asyncbatch-emulator"))
            task, url = portal.start_task(self._serve, service)
            stack.callback(_end, task)
            self._stack = stack.pop_all()
        self._running = _Running(service, portal, url)

    def stop(self) -> None:
        """Stop the server, and return when its thread has ended and its files are gone, but for those in `data_dir`."""
        if self._running is not None:
            self._last_history = self.history
            self._running = None
            self._stack.close()

    async def _serve(self, service: Service, *, task_status: TaskStatus[str]) -> None:
        await service.run(self._host, self._port, task_status.started)

    def _must_run(self) -> "_Running":
        if self._running is None:
            raise RuntimeError("the emulator is not running: enter it with `with` or `async with`")
        return self._running

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)


class _Running(NamedTuple):
    service: Service
    portal: BlockingPortal
    url: str


def _end(task: "Future[None]") -> None:
    """Stop the server's task; if it had died on its own, say why."""
    if not task.cancel():
        task.result()


async def serve(  # noqa: PLR0913  the settings of `Emulator`
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    speed: float = 60.0,
    clock: Callable[[], float] | None = None,
    faults: Iterable[Fault] = (),
    limits: Mapping[str, Any] | None = None,
    pace: Mapping[str, Any] | None = None,
    models: Sequence[str] = (),
    seed: int = 0,
    answer: AnswerFunction | None = None,
    upstream: str | None = None,
    upstream_key: str | None = None,
    upstream_model: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    webhook_audience: str = AUDIENCE,
    on_ready: Callable[[str, dict[str, dict[str, str]]], None] | None = None,
) -> None:
    """Serve every dialect on the running loop, until cancelled.

    The settings are those of `Emulator`. `on_ready` is called once, with the URL, and with the environment variables
    that lead an SDK here, by dialect.
    """
    service = Service(
        clock=Clock(speed=speed, source=clock),
        faults=faults,
        limits=limits,
        pace=pace,
        models=_allowed(models, upstream),
        seed=seed,
        elsewhere=_choose(answer, upstream, upstream_key, upstream_model),
        data_dir=data_dir,
        target=read_target(webhook_url, webhook_secret),
        audience=webhook_audience,
    )

    def tell(url: str) -> None:
        if on_ready is not None:
            on_ready(url, {dialect.name: _environment(url, dialect) for dialect in load_dialects().values()})

    await service.run(host, port, tell)


def _choose(
    answer: AnswerFunction | None, upstream: str | None, key: str | None, model: str | None
) -> Elsewhere | None:
    """Say who answers in the echo model's place."""
    if answer is not None and upstream is not None:
        raise ValueError("answers come from a function or from an upstream server, not from both")
    if upstream is None and (key is not None or model is not None):
        raise ValueError("upstream_key and upstream_model mean nothing without upstream")
    if answer is not None:
        return FunctionModel(answer)
    return None if upstream is None else Upstream(upstream, key, model)


def _allowed(models: Sequence[str], upstream: str | None) -> tuple[str, ...]:
    return tuple(models) if upstream is None else (*models, "*")


def _dialect(name: str) -> Dialect:
    dialects = load_dialects()
    if name not in dialects:
        raise ValueError(f"the emulator has no dialect {name!r}; it speaks {', '.join(dialects)}")
    return dialects[name]


def _base_url(url: str, dialect: Dialect) -> str:
    return f"{url}{dialect.mount}"


def _environment(url: str, dialect: Dialect) -> dict[str, str]:
    base_url = _base_url(url, dialect)
    values = {"base_url": base_url, "root": base_url.removesuffix(dialect.prefix), "key": KEY}
    return {name: value.format_map(values) for name, value in dialect.environment.items()}
