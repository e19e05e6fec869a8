"""Lines out of bytes that arrive in pieces, cut at 0x0A and nowhere else.

`splitlines`, text readers and most line iterators also cut at U+2028, U+0085, a vertical tab or a lone carriage return,
all of which are legal inside a JSON string; so the cut is made on bytes, before anything is decoded.
"""

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A line beyond this is cut: its row ends UNDECODABLE, and the rows after it are read as usual."""


class LineSplitter:
    """Feed pieces, get whole lines; blank lines and a byte order mark at the start of the file are dropped."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the file and give the lines that it completes."""
        if b"\n" not in data:
            self._keep(data)
            return []
        head, *lines, tail = data.split(b"\n")
        self._keep(head)
        first = self._take()
        self._keep(tail)
        return [line for line in (first, *(line[: self._max] for line in lines)) if line.strip()]

    def end(self) -> list[bytes]:
        """Give the last line, where the file does not end with a newline."""
        line = self._take()
        return [line] if line.strip() else []

    def _keep(self, data: bytes) -> None:
        room = self._max - self._rest_size
        if data and room > 0:
            self._rest.append(data[:room])
            self._rest_size += len(self._rest[-1])

    def _take(self) -> bytes:
        line = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        return line
