"""A proxy that tunnels (CONNECT), or refuses to, and remembers what it was asked."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.transport.wire import Asked, Talk, answer, listen, read_request

Refusal = bytes | Callable[[Talk, Asked], Awaitable[None]]


class Tunnel:
    """Leads wherever it is told, which is always this machine; `names` are looked up here, as a proxy does."""

    def __init__(self, user: str | None, refusal: Refusal | None, names: dict[str, int]) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._user = user
        self._refusal = refusal
        self._names = names

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await read_request(reader)
        if asked is None:
            return
        self.asked.append(asked)
        talk = Talk(writer)
        if self._user is not None and asked.headers.get("proxy-authorization") != basic(self._user):
            await talk.say(answer(b"who is asking?", 407, content_type="text/plain"))
        elif isinstance(self._refusal, bytes):
            await talk.say(self._refusal)
        elif self._refusal is not None:
            await self._refusal(talk, asked)
        else:
            await self._lead(asked, reader, talk)

    async def _lead(self, asked: Asked, reader: asyncio.StreamReader, talk: Talk) -> None:
        host, _, port = asked.target.rpartition(":")
        there, back = await asyncio.open_connection("127.0.0.1", self._names.get(host, int(port)))
        await talk.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            ways = asyncio.ensure_future(pass_on(reader, back)), asyncio.ensure_future(pass_on(there, talk.writer))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        finally:
            back.transport.abort()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


@asynccontextmanager
async def tunnel(*, user: str | None = None, refusal: Refusal | None = None, **names: int) -> AsyncIterator[Tunnel]:
    """Serve a proxy on loopback; with `user`, which is `name:password`, to that one alone."""
    proxy = Tunnel(user, refusal, {name.replace("_", "."): port for name, port in names.items()})
    async with listen(proxy.serve) as proxy.url:
        yield proxy
