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
        find, most = data.find, self._max  # `split` looks at each byte by itself, `find` at many at once
        end = find(b"\n")
        if end < 0:
            self._keep(data)
            return []
        self._keep(data[:end])
        lines, at = [self._take()], end + 1
        while (end := find(b"\n", at)) >= 0:
            lines.append(data[at : min(end, at + most)])
            at = end + 1
        self._keep(data[at:])
        return [line for line in lines if line and not line.isspace()]

    def end(self) -> list[bytes]:
        """Give the last line, where the file does not end with a newline."""
        line = self._take()
        return [line] if line and not line.isspace() else []

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
