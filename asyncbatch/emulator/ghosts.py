"""Requests that arrive late: kept aside when they come, and sent again from here when their time has come.

What comes then is a request like any other, over a connection of its own, so handlers know nothing of it; a header tells
the guard which one it is. On a clock that somebody else moves, whoever calls next waits until those have arrived that are
due: a batch that a ghost has made is there when the clock says so.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import anyio
import anyio.to_thread
from aiohttp import web
from anyio.abc import TaskGroup
from multidict import CIMultiDict
from yarl import URL

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.script import ArmedFault

MARK = "X-Emulator-Ghost"
PATIENCE_S = 5.0  # real seconds that another call waits for those that are due

_OF_THE_CONNECTION = {"connection", "content-encoding", "content-length", "expect", "keep-alive", "transfer-encoding"}
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Ghost:
    """One request on its way.

    Attributes:
        struck: The faults that struck it, when it was sent.
        gone: Set when it has arrived, or never will.
        answer: What it was answered, and nobody heard.
    """

    def __init__(self, request: web.Request, body: Path, due: float, struck: list[ArmedFault]) -> None:
        self.mark = secrets.token_hex(16)
        self.due = due
        self.struck = struck
        self.is_due = anyio.Event()
        self.gone = anyio.Event()
        self.answer: web.Response | None = None
        self._method = request.method
        self._address = _address(request)
        self._headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _OF_THE_CONNECTION
        )
        self._headers[MARK] = self.mark
        self._body = body

    async def arrive(self) -> None:
        """Send it, and keep what comes back."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout, skip_auto_headers=_NOT_ADDED) as session:
            with await anyio.to_thread.run_sync(self._body.open, "rb") as body:
                call = session.request(
                    self._method, self._address, headers=self._headers, data=body, allow_redirects=False
                )
                async with call as response:
                    headers = _for_the_client(response.headers)
                    self.answer = web.Response(status=response.status, body=await response.read(), headers=headers)

    def leave(self) -> None:
        self._body.unlink(missing_ok=True)
        self.gone.set()


class Ghosts:
    """The requests of one dialect that are on their way."""

    def __init__(self, tasks: TaskGroup, clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._pending: dict[str, Ghost] = {}

    def send(self, request: web.Request, body: Path, after_s: float, struck: list[ArmedFault]) -> Ghost:
        """Let a request arrive later, whose body lies here."""
        ghost = Ghost(request, body, self._clock.now() + after_s, struck)
        self._pending[ghost.mark] = ghost
        self._tasks.start_soon(self._carry, ghost)
        return ghost

    def find(self, request: web.Request) -> Ghost | None:
        """Say whether the request is one of those that come late, and which."""
        return self._pending.get(request.headers.get(MARK, ""))

    async def settle(self) -> None:
        """Let those arrive that are due."""
        now = self._clock.now()
        with anyio.move_on_after(PATIENCE_S):
            for ghost in [ghost for ghost in self._pending.values() if ghost.due <= now]:
                ghost.is_due.set()
                await ghost.gone.wait()

    def forget(self) -> None:
        """Let none of them arrive any more."""
        forgotten, self._pending = self._pending, {}
        for ghost in forgotten.values():
            ghost.leave()
            ghost.is_due.set()

    async def _carry(self, ghost: Ghost) -> None:
        try:
            await self._clock.reach(ghost.due, ghost.is_due)
            if ghost.mark in self._pending:
                await ghost.arrive()
        except (aiohttp.ClientError, FileNotFoundError):
            return  # the server is stopping, or was reset meanwhile
        finally:
            self._pending.pop(ghost.mark, None)
            ghost.leave()


def _address(request: web.Request) -> URL:
    """Give the address at which this client has reached us."""
    host, port = request.get_extra_info("sockname")[:2]
    origin = f"[{host}]" if ":" in host else host
    return URL(f"http://{origin}:{port}{request.raw_path}", encoded=True)


def _for_the_client(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION)
