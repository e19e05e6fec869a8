"""Bodies that came compressed although identity was asked for: decoded in pieces, and whole only with their own end.

What comes over HTTP in gzip or deflate can be cut without anybody noticing: the frame is whole, and what was decoded so far
looks like a shorter file. Both codings say themselves where they end, so that is what is believed; only whether a gzip has
another member, none of its members says.
"""

import zlib
from collections.abc import Iterator
from typing import Any

PIECE_BYTES = 256 * 1024
"""As much is decoded at a time: a bomb is looked at piece by piece."""
KNOWN = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Inflater:
    """A compressed body, piece by piece.

    Attributes:
        is_whole: Whether what was fed so far ends where the coding says that it ends.
        may_go_on: Whether more might have followed that end.
    """

    def __init__(self, coding: str) -> None:
        self.may_go_on = self._is_gzip = coding != "deflate"
        self._held = b""
        self._stream: Any = None  # typeshed names its class, and privately
        self._is_over = False
        self.is_whole = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what a piece decodes to, in pieces.

        Raises:
            zlib.error: It is not what the coding says.
        """
        data, is_full = self._held + data, False
        self._held = b""
        while data or is_full:
            stream = self._stream or self._begin(data)
            if stream is None:
                return
            piece = stream.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
            data, is_full = stream.unconsumed_tail, len(piece) == PIECE_BYTES
            if stream.eof:
                data, is_full = stream.unused_data, False
                self._stream, self._is_over, self.is_whole = None, not self._is_gzip, True

    def _begin(self, data: bytes) -> Any:
        """Begin a member of gzip, of which there may be several, or the one stream of a deflate."""
        if self._is_over:
            raise zlib.error("something follows the end")
        if len(data) < 2:
            self._held, self.is_whole = data, False
            return None
        # RFC 9110 means zlib's format by `deflate`, and some servers send the bare one.
        is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        self._stream = zlib.decompressobj(_GZIP if self._is_gzip else _ZLIB if is_zlib else _RAW)
        self.is_whole = False
        return self._stream
