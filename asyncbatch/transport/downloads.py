"""Large bodies into a sink: nothing decoded on the way, redirects by hand without the key, and no silent truncation."""

from collections.abc import Mapping
from typing import NamedTuple

import anyio
import msgspec
from yarl import URL

from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import Unseen
from asyncbatch.transport.addresses import is_public
from asyncbatch.transport.errors import RefusedAnswerError, UnfitAnswerError
from asyncbatch.transport.origin import Call
from asyncbatch.transport.sessions import USER_AGENT, Headers, Http, Opened, Options, Profile, Sessions
from asyncbatch.transport.transfers import Pouring, Transfer

_PIECE = 1024 * 1024
"""What is written at once: a hop to a thread costs as much as the writing of a quarter of it."""
_BUFFERED = 512 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_SUCH_RANGE = 416
_ERROR_BYTES = 64 * 1024
_READINGS = 3
"""Of a file that nothing proves whole: two of them have to be alike, one after the other."""


class Answer(NamedTuple):
    """A whole answer of moderate size; its repr shows no body, since a server may echo the key it refuses."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"


async def download(sessions: Sessions, runtime: Runtime, call: Call, transfer: Transfer, *, profile: Profile) -> Answer:
    """Fetch a file, or the rest of it; gives the answer without its body, or the answer that refuses it.

    One that nothing proves whole is fetched until it came twice alike.

    Args:
        sessions: Where the connections are.
        runtime: The clock, and the hop to a thread.
        call: What to fetch.
        transfer: What is known of it, and where it goes.
        profile: Whose connections; the limits are those of a bulk transfer, and on any other profile its beginning has to come
            within the total of that profile.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The wire failed, or the body is not whole; it may be fetched again, unless
            it is a `RefusedAnswerError`.
        StorageError: The sink cannot be written.
    """
    for _ in range(_READINGS):
        answer, is_done = await _read_once(sessions, runtime, call, transfer, profile)
        if is_done:
            return answer
    raise UnfitAnswerError("the file came differently each time, and nothing says where it ends")


async def _read_once(
    sessions: Sessions, runtime: Runtime, call: Call, transfer: Transfer, profile: Profile
) -> tuple[Answer, bool]:
    http, home = sessions.http, call.home or call.url
    asked = Headers.merged({"Accept": "*/*"}, call.headers, {"Accept-Encoding": "identity"}, transfer.headers())
    hop = msgspec.structs.replace(call, headers=asked)  # an address that a redirect names may be a secret, too
    for _ in range(http.redirects + 1):
        session = sessions.get(profile) if hop.url.origin() == home.origin() else sessions.abroad(home, hop.url)
        options = _options(sessions, profile, hop.url)
        with anyio.fail_after(http.header_limit_s(profile)):  # early hints without end are no silence
            opened = Opened(await session.get(hop.url, headers=hop.headers, **options))
        async with opened:
            status = opened.response.status
            if status in _REDIRECTS:
                is_inside = http.allow_private or not is_public(home.host or "")
                hop = _next_hop(hop, opened, is_inside=is_inside)
                continue
            if status == _NO_SUCH_RANGE and transfer.forget():
                raise UnfitAnswerError("the rest of the file cannot be had alone")
            if not 200 <= status < 300:
                return Answer(status, opened.response.headers, await _read_refusal(opened, http.control_total_s)), True
            pouring = await runtime.offload(transfer.begin, status, opened.response.headers, http)
            await _pour(opened, pouring, http, runtime)
            return Answer(status, opened.response.headers, b""), await runtime.offload(transfer.end, pouring)
    raise RefusedAnswerError(f"more than {http.redirects} redirects")


def _options(sessions: Sessions, profile: Profile, url: URL) -> Options:
    options = sessions.options(profile, url, silence_s=sessions.http.read_s)
    # Identity is asked for; and what was decoded on the way would have no length to compare.
    options["auto_decompress"] = False
    options["read_bufsize"] = _BUFFERED
    return options


def _next_hop(hop: Call, opened: Opened, *, is_inside: bool) -> Call:
    """Follow a redirect: to another origin go only headers that carry nothing, and never from https to http.

    Nor from outside to an address of the network that we stand in.
    """
    try:
        target = hop.url.join(URL(opened.response.headers["Location"], encoded=True))
        has_user = target.user is not None or target.password is not None  # ValueError: a port that is none …
        (target.host or "").encode("idna")  # … or a host that no name server can be asked for
    except (KeyError, ValueError):
        raise RefusedAnswerError("a redirect to nowhere") from None
    if target.scheme not in ("http", "https") or (hop.url.scheme == "https" and target.scheme != "https"):
        raise RefusedAnswerError(f"a redirect to {target.scheme}, which is not followed")
    if not is_inside and not is_public(target.host or ""):
        raise RefusedAnswerError("a redirect to an address that is not public, which is not followed")
    if has_user:
        raise RefusedAnswerError("a redirect that brings credentials of its own, which is not followed")
    asked = hop.headers
    if target.origin() != hop.url.origin():
        harmless = {name: asked[name] for name in ("Range", "If-Range") if name in asked}
        asked = Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*", **harmless})
    return msgspec.structs.replace(hop, url=target, headers=asked)


async def _read_refusal(opened: Opened, limit_s: float) -> bytes:
    body = b""
    with anyio.fail_after(limit_s):
        async for piece in opened.response.content.iter_any():
            body += piece
            if len(body) >= _ERROR_BYTES:
                break
    return Unseen(body)


async def _pour(opened: Opened, pouring: Pouring, http: Http, runtime: Runtime) -> None:
    """Move a body into its sink."""
    pieces, held = list[bytes](), 0
    since, moved = runtime.now(), 0
    while piece := await _piece(opened, http.read_s):
        pieces.append(piece)
        held, moved = held + len(piece), moved + len(piece)
        if held >= _PIECE:
            await runtime.offload(pouring.take, b"".join(pieces))
            pieces, held = [], 0
        since, moved = _keep_pace(http.slowest_bytes, http.slowest_s, runtime.now(), since, moved)
    await runtime.offload(pouring.take, b"".join(pieces))


async def _piece(opened: Opened, limit_s: float) -> bytes:
    """Wait for the next piece of a body: frames without any of it, however many, are silence too."""
    with anyio.fail_after(limit_s):
        return await opened.response.content.readany()


def _keep_pace(least: int, window_s: float, now: float, since: float, moved: int) -> tuple[float, int]:
    """Give up a transfer that drips: it would stay below every limit of silence for ever."""
    if now - since < window_s:
        return since, moved
    if moved < least:
        raise TimeoutError(f"less than {least} bytes in {window_s:.0f} s")
    return now, 0
