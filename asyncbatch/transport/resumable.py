"""A file sent in pieces over a session that the server opens: a piece that is lost costs no more than itself.

The protocol is that of Google's upload services. A first call opens the session and is answered with its address, which is
the only credential of what follows. Pieces go there with their offsets; each is answered `active`, and the last `final`, with
what the file has become. After a piece without such an answer the server is asked how much it has.

Source: googleapis/python-genai 3.6 (_api_client.py, files.py); the question, and `finalize` alone, are known from Google's
other resumable uploads only, and a server that does not answer it gets the file anew.
"""

from collections.abc import Mapping

from asyncbatch.dto import Blob
from asyncbatch.exceptions import ProviderTransientError
from asyncbatch.planning.retry import Retry, next_delay
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import Secret
from asyncbatch.transport.bodies import BlobSlice
from asyncbatch.transport.calls import Transport
from asyncbatch.transport.downloads import Answer

PIECE_OF_UPLOAD = 8 * 1024 * 1024
"""As the official SDK sends; pieces but the last must be multiples of 256 KiB."""

_SESSIONS = 3
_LOSSES = Retry(attempts=9)
"""Of pieces, in one session."""
_REFUSED = frozenset({400, 404, 409, 410, 412, 416})
"""A session that is over, or an offset that is not the one the server waits for; which of them, it is asked."""


async def send_resumable(
    transport: Transport, runtime: Runtime, path: str, blob: Blob, *, media_type: str, metadata: bytes
) -> bytes | None:
    """Send a file whole and give what the server makes of it, or None where it did not arrive; it may be repeated.

    Args:
        transport: The account's.
        runtime: Clock and randomness.
        path: Where sessions are opened.
        blob: The file.
        media_type: What it is.
        metadata: JSON that says more of it.

    Raises:
        ProviderTransientError: No session can be opened now.
        ProviderPermanentError: It is refused.
        StorageError: Our own disk cannot be read.
    """
    for _ in range(_SESSIONS):
        url = await _open(transport, path, blob, media_type, metadata)
        answer = await _Session(transport, runtime, url, blob).send() if url else None
        if answer is not None:
            return answer
    return None


async def _open(transport: Transport, path: str, blob: Blob, media_type: str, metadata: bytes) -> Secret | None:
    headers = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(blob.size),
        "X-Goog-Upload-Header-Content-Type": media_type,
    }
    answer = await transport.send("POST", path, headers=headers, body=metadata)
    url = Secret(answer.headers.get("x-goog-upload-url", ""))
    return url or None


class _Session:
    """One session of an upload."""

    def __init__(self, transport: Transport, runtime: Runtime, url: Secret, blob: Blob) -> None:
        self._transport = transport
        self._runtime = runtime
        self._url = url
        self._blob = blob

    async def send(self) -> bytes | None:
        """Send the pieces; gives the last answer, or None where the session is of no more use."""
        offset: int | None = 0
        lost = 0
        while offset is not None:
            command, size = next_piece(offset, self._blob.size)
            answer = await self._call({"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}, size)
            if answer is not None and state_of(answer) == "final":
                return answer.body
            if answer is not None and state_of(answer) == "active" and command == "upload":
                offset += size
                continue
            lost += 1
            delay = next_delay(_LOSSES, lost, self._runtime.random())
            if delay is None:
                return None
            await self._runtime.sleep(delay)
            answer = await self._call({"X-Goog-Upload-Command": "query"})
            if answer is not None and state_of(answer) == "final":
                return answer.body or None
            offset = offset if answer is None else received_of(answer, self._blob.size)
        return None

    async def _call(self, headers: Mapping[str, str], size: int = 0) -> Answer | None:
        """Send a command, with so many bytes from its offset on; None where nobody knows what became of it."""
        offset = int(headers.get("X-Goog-Upload-Offset", 0))
        body = BlobSlice(self._blob, offset, size) if size else None
        try:
            return await self._transport.send_to(self._url, headers=headers, body=body, also=_REFUSED, retry=False)
        except ProviderTransientError:
            return None


def next_piece(offset: int, size: int) -> tuple[str, int]:
    """Give the command for what comes next of a file, and how many bytes it is."""
    rest = size - offset
    if rest > PIECE_OF_UPLOAD:
        return "upload", PIECE_OF_UPLOAD
    return ("upload, finalize" if rest else "finalize"), rest


def received_of(answer: Answer, size: int) -> int | None:
    """Read how much of a file has arrived; None for a session that is over."""
    said = answer.headers.get("x-goog-upload-size-received", "")
    received = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None
    is_open = state_of(answer) == "active" and received is not None and received <= size
    return received if is_open else None


def state_of(answer: Answer) -> str:
    """Read where a session stands: `active`, `final`, `cancelled`, or nothing, for an answer that is not of the protocol."""
    return answer.headers.get("x-goog-upload-status", "").lower()
