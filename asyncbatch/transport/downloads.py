"""Large bodies into a sink: nothing decoded on the way, redirects by hand without the key, and no silent truncation."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import anyio
import msgspec
from yarl import URL

from asyncbatch.runtime import Runtime
from asyncbatch.transport.errors import RefusedAnswerError, UnfitAnswerError
from asyncbatch.transport.origin import Call
from asyncbatch.transport.sessions import USER_AGENT, Headers, Opened, Profile, Sessions

_PIECE = 1024 * 1024
"""What is written at once: a hop to a thread costs as much as the writing of a quarter of it."""
_BUFFERED = 512 * 1024
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
    sessions: Sessions, runtime: Runtime, call: Call, sink: Sink, *, profile: Profile, is_lines: bool
) -> Answer:
    """Fetch a body into an empty sink; gives the answer without it, or the answer that refuses it.

    Args:
        sessions: Where the connections are.
        runtime: The clock, and the hop to a thread.
        call: What to fetch.
        sink: Where to.
        profile: Whose connections; the limits are those of a bulk transfer, and on any other profile its beginning has to come
            within the total of that profile.
        is_lines: Whether it is a file of lines, whose last byte is a newline.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The wire failed, or the body is not whole; it may be fetched again, unless
            it is a `RefusedAnswerError`.
        StorageError: The sink cannot be written.
    """
    http, session = sessions.http, sessions.get(profile)
    options = sessions.options(profile, silence_s=http.read_s)
    # Identity is asked for; and what was decoded on the way would have no length to compare.
    options["auto_decompress"] = False
    options["read_bufsize"] = _BUFFERED
    asked = Headers.merged({"Accept": "*/*"}, call.headers, {"Accept-Encoding": "identity"})
    hop = msgspec.structs.replace(call, headers=asked)  # an address that a redirect names may be a secret, too
    for _ in range(http.redirects + 1):
        with anyio.fail_after(http.header_limit_s(profile)):  # early hints without end are no silence
            opened = Opened(await session.get(hop.url, headers=hop.headers, **options))
        async with opened:
            status = opened.response.status
            if status in _REDIRECTS:
                hop = _next_hop(hop, opened)
                continue
            if not 200 <= status < 300:
                return Answer(status, opened.response.headers, await _read_refusal(opened, http.control_total_s))
            last = await _pour(opened, sink, sessions, runtime)
            _check_whole(opened, sink.size, last, is_lines=is_lines)
            return Answer(status, opened.response.headers, b"")
    raise RefusedAnswerError(f"more than {http.redirects} redirects")


def _next_hop(hop: Call, opened: Opened) -> Call:
    """Follow a redirect: to another origin go only headers that carry nothing, and never from https to http."""
    try:
        target = hop.url.join(URL(opened.response.headers["Location"], encoded=True))
        has_user = target.user is not None or target.password is not None  # ValueError: a port that is none …
        (target.host or "").encode("idna")  # … or a host that no name server can be asked for
    except (KeyError, ValueError):
        raise RefusedAnswerError("a redirect to nowhere") from None
    if target.scheme not in ("http", "https") or (hop.url.scheme == "https" and target.scheme != "https"):
        raise RefusedAnswerError(f"a redirect to {target.scheme}, which is not followed")
    if has_user:
        raise RefusedAnswerError("a redirect that brings credentials of its own, which is not followed")
    asked = hop.headers
    if target.origin() != hop.url.origin():
        asked = Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"})
    return msgspec.structs.replace(hop, url=target, headers=asked)


async def _read_refusal(opened: Opened, limit_s: float) -> bytes:
    body = b""
    with anyio.fail_after(limit_s):
        async for piece in opened.response.content.iter_any():
            body += piece
            if len(body) >= _ERROR_BYTES:
                break
    return body


async def _pour(opened: Opened, sink: Sink, sessions: Sessions, runtime: Runtime) -> bytes:
    """Move a body into a sink, and give its last piece."""
    coding = opened.response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise RefusedAnswerError(f"the file came in the coding {coding[:40]!r} though identity was asked for")
    http, pieces, held = sessions.http, list[bytes](), 0
    since, moved, last = runtime.now(), 0, b""
    async for piece in opened.response.content.iter_any():
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
    return last


def _keep_pace(least: int, window_s: float, now: float, since: float, moved: int) -> tuple[float, int]:
    """Give up a transfer that drips: it would stay below every limit of silence for ever."""
    if now - since < window_s:
        return since, moved
    if moved < least:
        raise TimeoutError(f"less than {least} bytes in {window_s:.0f} s")
    return now, 0


def _check_whole(opened: Opened, size: int, last: bytes, *, is_lines: bool) -> None:
    declared = opened.response.headers.get("Content-Length")
    if declared is not None:
        if declared.isdigit() and int(declared) != size:
            raise UnfitAnswerError(f"{size} bytes came of {declared}")
        return
    is_chunked = "chunked" in opened.response.headers.get("Transfer-Encoding", "").lower()
    if is_lines and not is_chunked and not last.endswith(b"\n"):
        # A body that ends with the connection carries no proof that it is whole; a JSONL file ends with a newline,
        # and a provider names no empty one. That a JSON document is whole says its last bracket, to whoever parses it.
        raise UnfitAnswerError("the connection ended in the middle of a line")
