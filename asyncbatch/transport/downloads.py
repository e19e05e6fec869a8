"""Large files into a sink: nothing decoded on the way, redirects by hand without the key, and no silent truncation."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import aiohttp
import anyio
from yarl import URL

from asyncbatch.runtime import Runtime
from asyncbatch.transport.errors import RefusedAnswerError, UnfitAnswerError
from asyncbatch.transport.sessions import USER_AGENT, Headers, Profile, Sessions

_PIECE = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ERROR_BYTES = 64 * 1024


class Answer(NamedTuple):
    """A whole answer of moderate size; its repr shows no body, since a server may echo the key it refuses."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"


class Sink(Protocol):
    """Where a download goes; every call blocks and is made in a thread."""

    @property
    def size(self) -> int: ...
    def append(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def clear(self) -> None: ...


async def download(
    sessions: Sessions, runtime: Runtime, url: URL, headers: Mapping[str, str], sink: Sink
) -> Answer | None:
    """Fetch a file into an empty sink; gives None, or the answer that refuses it.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The wire failed, or the file is not whole; it may be fetched again, unless
            it is a `RefusedAnswerError`.
        StorageError: The sink cannot be written.
    """
    asked = Headers({**headers, "Accept-Encoding": "identity", "Accept": "*/*"})
    session, options = sessions.get(Profile.BULK), sessions.options(Profile.BULK)
    for _ in range(sessions.http.redirects + 1):
        with anyio.fail_after(sessions.http.header_s):  # early hints without end are no silence
            response = await session.get(url, headers=asked, **options)
        async with response:
            if response.status in _REDIRECTS:
                url, asked = _next_hop(url, response, asked)
                continue
            if not 200 <= response.status < 300:
                return Answer(response.status, response.headers, await response.content.read(_ERROR_BYTES))
            await _pour(response, sink, sessions, runtime)
            return None
    raise RefusedAnswerError(f"more than {sessions.http.redirects} redirects")


def _next_hop(url: URL, response: aiohttp.ClientResponse, asked: Headers) -> tuple[URL, Headers]:
    """Follow a redirect: to another origin go only headers that carry nothing, and never from https to http."""
    try:
        target = url.join(URL(response.headers["Location"], encoded=True))
        has_user = target.user is not None or target.password is not None  # ValueError: a port that is none …
        (target.host or "").encode("idna")  # … or a host that no name server can be asked for
    except (KeyError, ValueError):
        raise RefusedAnswerError("a redirect to nowhere") from None
    if target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme != "https"):
        raise RefusedAnswerError(f"a redirect to {target.scheme}, which is not followed")
    if has_user:
        raise RefusedAnswerError("a redirect that brings credentials of its own, which is not followed")
    if target.origin() == url.origin():
        return target, asked
    return target, Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"})


async def _pour(response: aiohttp.ClientResponse, sink: Sink, sessions: Sessions, runtime: Runtime) -> None:
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise RefusedAnswerError(f"the file came in the coding {coding[:40]!r} though identity was asked for")
    http, pieces, held = sessions.http, list[bytes](), 0
    since, moved, last = runtime.now(), 0, b""
    async for piece in response.content.iter_any():
        pieces.append(piece)
        held, moved, last = held + len(piece), moved + len(piece), piece
        if held >= _PIECE:
            await runtime.offload(sink.append, b"".join(pieces))
            pieces, held = [], 0
        if sink.size + held > http.file_bytes:
            raise RefusedAnswerError(f"the file is larger than {http.file_bytes} bytes, the cap of Http(file_bytes=…)")
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
            raise UnfitAnswerError(f"{size} bytes came of {declared}")
        return
    is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if not is_chunked and not last.endswith(b"\n"):
        # A body that ends with the connection carries no proof that it is whole; a JSONL file ends with a newline,
        # and a provider names no empty one.
        raise UnfitAnswerError("the connection ended in the middle of a line")
