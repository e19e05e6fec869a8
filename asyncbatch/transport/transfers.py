"""One file on its way into a sink, over as many answers as it takes: resumed where the server can, and proved whole."""

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from asyncbatch.transport.codings import KNOWN, Inflater
from asyncbatch.transport.errors import RefusedAnswerError, UnfitAnswerError
from asyncbatch.transport.sessions import Http

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_DIGITS = re.compile(r"[0-9]{1,18}")
_RATIO_FROM = 16 * 1024 * 1024
"""What is smaller may be as repetitive as it likes."""

_HEAD_BYTES = 256
_SHOWN = 40
"""Letters of a coding that nobody knows."""


class Sink(Protocol):
    """Where a download goes; every call blocks and is made in a thread."""

    @property
    def size(self) -> int: ...
    def append(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def clear(self) -> None: ...


class Mark(NamedTuple):
    """By what a server knows the file again whose beginning we have."""

    etag: str
    total: int


class Transfer:
    """A download, with what is remembered of its earlier answers.

    Attributes:
        sink: Where it goes.
        is_lines: Whether it is a file of lines, whose last byte is a newline.
        is_verified: Whether the last answer proved itself whole: by its length, its chunks or the end of a deflate.
    """

    def __init__(self, sink: Sink, *, is_lines: bool) -> None:
        self.sink = sink
        self.is_lines = is_lines
        self.is_verified = False
        self._mark: Mark | None = None
        self._digest: bytes | None = None

    def headers(self) -> dict[str, str]:
        """Give the headers that ask for the rest of what broke off, where that was possible; the sink is empty otherwise."""
        if self._mark is None or not 0 < self.sink.size < self._mark.total:
            return {}
        return {"Range": f"bytes={self.sink.size}-", "If-Range": self._mark.etag}

    def forget(self) -> bool:
        """Ask for all of it the next time; gives whether a part was asked for."""
        mark, self._mark = self._mark, None
        return mark is not None

    def begin(self, status: int, headers: Mapping[str, str], http: Http) -> "Pouring":
        """Take the head of an answer that may be the file, or the rest of it. Blocks.

        Raises:
            UnfitAnswerError: It is neither.
        """
        mark, self._mark = self._mark, None
        pouring = Pouring(self.sink, _frame(headers), http)
        if status == 206:
            if mark is None or pouring.frame.inflater is not None or not self._is_rest(headers, mark):
                raise UnfitAnswerError("another part of the file came than was asked for")
            pouring.total = mark.total
            self._mark = mark
            return pouring
        self.sink.clear()
        self._mark = _mark_of(headers) if pouring.frame.inflater is None else None
        return pouring

    def end(self, pouring: "Pouring") -> bool:
        """Take the end of an answer; False if the same has to come once more, because nothing else proves it whole. Blocks.

        Raises:
            UnfitAnswerError: It is not whole.
        """
        self._mark = None  # there is no rest to ask for
        self.sink.flush()
        pouring.check(is_lines=self.is_lines)
        self.is_verified = pouring.is_proved and (self.sink.size > 0 or not self.is_lines)
        if self.is_verified or not self.is_lines:
            return True
        before, self._digest = self._digest, pouring.digest
        return before == self._digest

    def _is_rest(self, headers: Mapping[str, str], mark: Mark) -> bool:
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        wanted = (self.sink.size, mark.total - 1, mark.total)
        is_same = headers.get("ETag", mark.etag) == mark.etag
        return found is not None and tuple(map(int, found.groups())) == wanted and is_same


class Frame(NamedTuple):
    """What the head of an answer says of its body: its length on the wire, whether it comes in chunks, its coding."""

    length: int | None
    is_chunked: bool
    inflater: Inflater | None


class Pouring:
    """The body of one answer on its way into the sink: decoded, counted, capped. Every call blocks.

    Attributes:
        total: The size of the whole file, of which this is the rest; None if it is all of it.
    """

    def __init__(self, sink: Sink, frame: Frame, http: Http) -> None:
        self.frame = frame
        self.total: int | None = None
        self._sink = sink
        self._http = http
        self._wire = 0
        self._first = b""
        self._last = b""
        # Only where nothing else tells that a file is whole: it costs as much as everything else together.
        has_end = frame.inflater is not None and not frame.inflater.may_go_on
        is_framed = frame.length is not None or frame.is_chunked or has_end
        self._sha = None if is_framed else hashlib.sha256()

    def take(self, data: bytes) -> None:
        """Take a piece of the body as it came.

        Raises:
            RefusedAnswerError: It is larger than we take.
            UnfitAnswerError: It is not in the coding that it says.
        """
        self._wire += len(data)
        inflater = self.frame.inflater
        try:
            for piece in (data,) if inflater is None else inflater.feed(data):
                self._put(piece)
        except zlib.error as error:
            raise UnfitAnswerError(f"the answer is compressed, and damaged: {error}") from None

    def _put(self, piece: bytes) -> None:
        http, size = self._http, self._sink.size + len(piece)
        if size > http.file_bytes:
            raise RefusedAnswerError(f"the file is larger than {http.file_bytes} bytes, the cap of Http(file_bytes=…)")
        if self.frame.inflater is not None and size > max(_RATIO_FROM, http.inflation * self._wire):
            raise RefusedAnswerError(
                f"the file is compressed more than {http.inflation} to 1: that is no file of answers"
            )
        if self._sha is not None:
            self._sha.update(piece)
        self._sink.append(piece)
        self._first = self._first or piece[:_HEAD_BYTES]
        self._last = piece[-1:] or self._last

    @property
    def is_proved(self) -> bool:
        """Whether the body says itself that it is whole; `check` has found nothing that says the contrary."""
        return self._sha is None

    @property
    def digest(self) -> bytes:
        """Tell it apart from other readings; what is framed needs no digest, and is empty where it is asked for."""
        return b"" if self._sha is None else self._sha.digest()

    def check(self, *, is_lines: bool) -> None:
        """Compare what came with what was to come.

        Raises:
            UnfitAnswerError: They differ.
        """
        length, _, inflater = self.frame
        if length is not None and length != self._wire:
            raise UnfitAnswerError(f"{self._wire} bytes came of {length}")
        if self.total is not None and self.total != self._sink.size:
            raise UnfitAnswerError(f"{self._sink.size} bytes came of {self.total}")
        if inflater is not None and not inflater.is_whole and length != 0:
            raise UnfitAnswerError("the answer is compressed, and was cut off")
        if is_lines and self.total is None and self._first.lstrip()[:1] == b"<":
            raise UnfitAnswerError("a page came in place of the file")
        if is_lines and not self.is_proved and not self._last == b"\n":
            # A body that ends with the connection carries no proof that it is whole; a JSONL file ends with a newline,
            # and a provider names no empty one. That a JSON document is whole says its last bracket, to whoever parses it.
            raise UnfitAnswerError("the connection ended in the middle of a line")


def _frame(headers: Mapping[str, str]) -> Frame:
    coding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if coding != "identity" and coding not in KNOWN:
        # Never a part of it: it may be our key, and the half of one is not seen to be one.
        shown = repr(coding) if len(coding) <= _SHOWN else f"of {len(coding)} letters"
        raise RefusedAnswerError(f"the file came in the coding {shown} though identity was asked for")
    declared = headers.get("Content-Length", "")
    return Frame(
        length=_length(declared),
        is_chunked="chunked" in headers.get("Transfer-Encoding", "").lower(),
        inflater=None if coding == "identity" else Inflater(coding),
    )


def _mark_of(headers: Mapping[str, str]) -> Mark | None:
    """Say by what the rest could be asked for: a strong tag alone, for a weak one lets bytes differ (RFC 9110, 13.1.5)."""
    etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
    is_strong = etag.startswith('"') and etag.isascii() and etag.isprintable()
    takes_ranges = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    total = _length(length)
    return Mark(etag, total) if is_strong and takes_ranges and total is not None else None


def _length(text: str) -> int | None:
    """Read a length; what has more digits than any file's is none."""
    return int(text) if _DIGITS.fullmatch(text) else None
