"""An event loop in virtual time: when nobody has anything to do, the clock stands at the next moment at which somebody has.

`asyncbatch.testing` has a virtual clock that runs on any loop; two sleepers on it wake together at the later moment. Here every
sleeper wakes at its own, which is what a race between a late create and the end of a window needs.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(RuntimeError):
    """Every task waits for another one."""


class _Waiting(selectors.SelectSelector):
    """Waits for no descriptor, and spends no time."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckError("nobody has anything to do, now or later")
        self.loop.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_s = 0.0
        self.faults: list[BaseException] = []
        waiting = _Waiting()
        waiting.loop = self
        super().__init__(waiting)

    def time(self) -> float:
        return self.now_s

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raises; it would only be logged."""
        self.faults.append(context.get("exception") or StuckError(context["message"]))


def run(work: Callable[[], Awaitable[T]], *, dying: tuple[type[BaseException], ...] = ()) -> T:
    """Run a coroutine function to its end, in an instant; what is `dying` when the loop ends is no fault."""

    async def main() -> T:
        return await work()

    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main())
    faults = [error for error in loop.faults if not isinstance(error, dying)]
    if faults:
        raise faults[0]
    return result
