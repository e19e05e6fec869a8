"""Large files into a sink: nothing decoded on the way, redirects by hand without the key, and no silent truncation."""

from collections.abc import Mapping
from typing import Protocol

import aiohttp
from yarl import URL

from asyncbatch.runtime import Runtime
from asyncbatch.transport.sessions import USER_AGENT, Profile, Sessions

_PIECE = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ERROR_BYTES = 64 * 1024


class Sink(Protocol):
    """Where a download goes; every call blocks and is made in a thread."""

    @property
    def size(self) -> int: ...
    def append(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def clear(self) -> None: ...


async def download(
    sessions: Sessions, runtime: Runtime, url: URL, headers: Mapping[str, str], sink: Sink
) -> tuple[int, Mapping[str, str], bytes] | None:
    """Fetch a file into an empty sink; gives None, or the answer that refuses it.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The wire failed, or the file is not whole; it may be fetched again.
    """
    asked = {**headers, "Accept-Encoding": "identity", "Accept": "*/*"}
    session, options = sessions.get(Profile.BULK), sessions.options(Profile.BULK)
    for _ in range(sessions.http.redirects + 1):
        async with session.get(url, headers=asked, **options) as response:
            if response.status in _REDIRECTS:
                url, asked = _next_hop(url, response, asked)
                continue
            if not 200 <= response.status < 300:
                return response.status, response.headers, await response.content.read(_ERROR_BYTES)
            await _pour(response, sink, sessions, runtime)
            return None
    raise aiohttp.ClientPayloadError(f"more than {sessions.http.redirects} redirects")


def _next_hop(url: URL, response: aiohttp.ClientResponse, asked: dict[str, str]) -> tuple[URL, dict[str, str]]:
    """Follow a redirect: to another origin go only headers that carry nothing, and never from https to http."""
    target = url.join(URL(response.headers.get("Location", ""), encoded=True))
    if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme != "https"):
        raise aiohttp.ClientPayloadError(f"a redirect to {target.scheme or 'nowhere'}, which is not followed")
    if target.origin() == url.origin():
        return target, asked
    return target, {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}


async def _pour(response: aiohttp.ClientResponse, sink: Sink, sessions: Sessions, runtime: Runtime) -> None:
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise aiohttp.ClientPayloadError(f"the file came in the coding {coding!r} though identity was asked for")
    http, pieces, held = sessions.http, list[bytes](), 0
    since, moved, last = runtime.now(), 0, b"\n"
    async for piece in response.content.iter_any():
        pieces.append(piece)
        held, moved, last = held + len(piece), moved + len(piece), piece
        if held >= _PIECE:
            await runtime.offload(sink.append, b"".join(pieces))
            pieces, held = [], 0
        if sink.size + held > http.file_bytes:
            raise aiohttp.ClientPayloadError(f"the file is larger than {http.file_bytes} bytes")
        since, moved = _keep_pace(http.slowest_bytes, http.slowest_s, runtime.now(), since, moved)
    await runtime.offload(sink.append, b"".join(pieces))
    await runtime.offload(sink.flush)
    _check_whole(response, sink.size, last)


def _keep_pace(least: int, window_s: float, now: float, since: float, moved: int) -> tuple[float, int]:
    """Give up a transfer that drips: it would stay below every limit of silence for ever."""
    if now - since < window_s:
        return since, moved
    if moved < least:
        raise TimeoutError(f"less than {least} bytes in {window_s:.0f} s")
    return now, 0


def _check_whole(response: aiohttp.ClientResponse, size: int, last: bytes) -> None:
    declared = response.headers.get("Content-Length")
    if declared is not None:
        if declared.isdigit() and int(declared) != size:
            raise aiohttp.ClientPayloadError(f"{size} bytes came of {declared}")
        return
    is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if not is_chunked and not last.endswith(b"\n"):
        # A body that ends with the connection carries no proof that it is whole; a JSONL file ends with a newline.
        raise aiohttp.ClientPayloadError("the connection ended in the middle of a line")
