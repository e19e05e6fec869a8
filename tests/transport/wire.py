"""A server that says exactly the bytes it is told, and remembers what it was asked: for HTTP that no framework would write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from asyncbatch import BatchMode
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.transport import Transport

JOB = "6f1c0c0a-58a3-4b52-9a0c-3a7f6a3a0d11"
KEY = "sk-canary-4f1d7c2e9b8a"


class Asked(NamedTuple):
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Talk:
    """One connection, as a scripted answer sees it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def hang_up(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


Answer = bytes | Callable[[Talk, Asked], Awaitable[None]]


class Server:
    """Answers request after request from a script; the last answer is repeated. Bytes are sent as they are."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.connections = 0
        self.url = ""

    def count(self, method: str, path: str | None = None) -> int:
        return sum(asked.method == method and path in (None, asked.path) for asked in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while not writer.is_closing() and (asked := await read_request(reader)):
            self.asked.append(asked)
            answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            talk = Talk(writer)
            await (talk.say(answer) if isinstance(answer, bytes) else answer(talk, asked))


async def read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    names = tuple(line.partition(":")[0].lower() for line in lines)
    return Asked(method, target, headers, body, names)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listen(handler: Handler, *, ssl: Any = None, limit: int = 2**16) -> AsyncIterator[str]:
    """Serve connections on loopback and give the URL; at the end every connection is gone."""
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=ssl, limit=limit)
    host, port = listener.sockets[0].getsockname()[:2]
    try:
        yield f"{'https' if ssl else 'http'}://{host}:{port}"
    finally:
        listener.close()
        for writer in list(writers):
            writer.transport.abort()
        await listener.wait_closed()
        for _ in range(10):  # those on the other side hear of it
            await asyncio.sleep(0)


@asynccontextmanager
async def serve(*answers: Answer, ssl: Any = None) -> AsyncIterator[Server]:
    server = Server(answers)
    async with listen(server.serve, ssl=ssl) as server.url:
        yield server


def answer(
    body: bytes = b"{}", status: int = 200, *headers: str, content_type: str = "application/json", keep: bool = False
) -> bytes:
    """Write a whole answer with a true Content-Length."""
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *([] if keep else ["Connection: close"]),
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def closing(data: bytes) -> Callable[[Talk, Asked], Awaitable[None]]:
    """Say this and hang up: what a connection that dies looks like from outside."""

    async def say(talk: Talk, asked: Asked) -> None:
        await talk.say(data)
        talk.hang_up()

    return say


async def hang_up(talk: Talk, asked: Asked) -> None:
    talk.hang_up()


async def reset(talk: Talk, asked: Asked) -> None:
    talk.reset()


async def silence(talk: Talk, asked: Asked) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


class Here(NamedTuple):
    clock: VirtualClock
    provider: Any
    scope: Any

    @property
    def transport(self) -> Transport:
        return self.provider.transport

    def new_file(self) -> Any:
        return self.provider.new_file()

    async def fetch(self, path: str = "/files/file-1/content") -> bytes:
        """Download into a fresh body and give it."""
        sink = self.new_file()
        await self.transport.download(path, sink)
        return sink.read()

    async def prepared(self, requests: Any = ("hello",)) -> Any:
        from uuid import UUID

        (submission,) = await self.provider.prepare_payloads(
            batch_id=UUID(JOB), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=list(requests)
        )
        return submission

    async def create(self, **changes: Any) -> Any:
        submission = await self.prepared()
        return await self.provider.create(submission.replace(input_ref="file-in", tag="tag-1", **changes))

    async def calls(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        """Give a call of each kind, by what it does."""
        prepared = await self.prepared()
        return {
            "create": self.create,
            "poll": lambda: self.provider.poll_status("batch_1"),
            "upload": lambda: self.provider.upload(prepared),
            "download": self.fetch,
        }


@asynccontextmanager
async def here(base_url: str, *, config: dict[str, Any] | None = None, **scope_options: Any) -> AsyncIterator[Here]:
    """Give OpenAI's provider towards an address, on a virtual clock."""
    clock = VirtualClock()
    options = {"runtime": virtual_runtime(clock), **scope_options}
    async with BatchProviderRegistry().open(**options) as scope:
        yield Here(
            clock, scope.create("openai", {"api_key": KEY, "base_url": f"{base_url}/v1", **(config or {})}), scope
        )
