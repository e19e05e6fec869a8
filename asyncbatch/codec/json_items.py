"""The elements of the long arrays in one JSON document, cut out while the document arrives in pieces.

A batch's answers may come inside of the JSON that describes the batch: hundreds of megabytes that nobody wants to hold. What is
held here is one element, and the document without its elements, the skeleton: a few hundred bytes that any parser reads.

The cut is made at brackets and quotes, which regular expressions find; nothing is decoded but the keys on the way. An element
is not looked into further than to find its end: whoever decodes it will see.
"""

import json
import re
from collections.abc import Collection
from enum import Enum

from asyncbatch.codec.jsonl import BOM, MAX_LINE_BYTES

SKELETON_BYTES = 8 * 1024 * 1024
"""What describes a batch is small; a document with more than this outside of its arrays is not the expected one."""

_QUOTE, _COMMA, _COLON = b'",:'
_LIST, _LIST_END, _OBJECT, _OBJECT_END = b"[]{}"
_NO_VALUE = frozenset(b",:]}")
_SPACE = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb'[^ \t\r\n,:"\[\]{}]*')
_LITERAL = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_NEWLINE = re.compile(rb"\n[ \t\r\n]*")
"""With the indentation behind it; there is none inside of a string."""
# A string from somewhere inside to before its quote, or to before a backslash that is the last byte of its piece.
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
# A bracket, or a string, whose own brackets are none; group 1 is missing where the piece ends before the string does.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(")?|[\[\]{}]', re.DOTALL)


class TooLargeError(ValueError):
    """An element, or the document without its elements, is larger than what is taken."""


class _Next(Enum):
    """What has to come next."""

    VALUE = "a value"
    REST = "the rest of a value"
    FIRST_KEY = "a key or the end of the object"
    KEY = "a key"
    COLON = "a colon"
    FIRST_ITEM = "an element or the end of the array"
    ITEM = "an element"
    AFTER = "a comma or an end"
    NOTHING = "nothing more"


class _Value:
    """One value that arrives in pieces: passed over to its end, and kept as it is."""

    def __init__(self, first: int, most: int, complaint: str) -> None:
        self._most = most
        self._complaint = complaint
        self._parts: list[bytes] = []
        self._size = 0
        self._brackets = 0
        self._in_string = self._after_backslash = False
        self._is_new = True
        self.is_scalar = first not in (_QUOTE, _LIST, _OBJECT)
        self.is_whole = False

    def read(self, piece: bytes, at: int) -> int:
        """Take what belongs to the value and give the position behind."""
        end = self._end(piece, at)
        self._parts.append(piece[at:end])
        self._size += end - at
        if self._size > self._most:
            raise TooLargeError(self._complaint)
        return end

    def take(self, *, is_item: bool) -> bytes:
        """Give it; of an element whoever decodes it will see whether it is a value: a NaN costs no other element."""
        data = b"".join(self._parts)
        if self.is_scalar and not is_item and not _LITERAL.fullmatch(data):
            raise ValueError(f"the document is no JSON: {data[:40]!r} is no value")
        return data

    def _end(self, piece: bytes, at: int) -> int:
        if self.is_scalar:
            at = _skip(_SCALAR, piece, at)
            self.is_whole = at < len(piece)
            return at
        if self._is_new:
            self._is_new = False
            self._in_string, self._brackets = piece[at] == _QUOTE, int(piece[at] != _QUOTE)
            at += 1
        if self._in_string:
            at = self._pass_string(piece, at)
        if self._brackets:
            at = self._pass_brackets(piece, at)
        self.is_whole = not self._in_string and not self._brackets
        return at

    def _pass_string(self, piece: bytes, at: int) -> int:
        if self._after_backslash and at < len(piece):
            self._after_backslash = False
            at += 1
        at = _skip(_TEXT, piece, at)
        if at == len(piece):
            return at
        self._in_string = self._after_backslash = piece[at] != _QUOTE
        return at + 1

    def _pass_brackets(self, piece: bytes, at: int) -> int:
        for token in _TOKEN.finditer(piece, at):
            if token.lastindex:
                continue
            byte = piece[token.start()]
            if byte == _QUOTE:
                self._in_string, self._after_backslash = True, token.end() < len(piece)
                break
            self._brackets += 1 if byte in (_OBJECT, _LIST) else -1
            if not self._brackets:
                return token.end()
        return len(piece)


class _Emptied(_Value):
    """One value that is kept without the elements of its own long arrays, and so may be of any size."""

    def __init__(self, first: int, cutter: "ItemCutter") -> None:
        super().__init__(first, 0, "")
        self._cutter = cutter

    def read(self, piece: bytes, at: int) -> int:
        end = self._end(piece, at)
        self._cutter.feed(piece[at:end])
        return end

    def take(self, *, is_item: bool) -> bytes:
        del is_item
        return self._cutter.end()


class ItemCutter:
    """Feed pieces of a document, get the elements of the arrays that stand at the given paths of keys.

    Where an array stands twice, at two of the paths or under a key that is repeated, its elements come twice.

    Args:
        paths: The keys from the root to each array. What stands there and is no array stays in the skeleton.
        within: The keys from each element to long arrays of its own. Their elements are left out, and do not count.
        max_item_bytes: The largest element.
        max_skeleton_bytes: The most that may stand outside of the elements.

    Raises:
        TooLargeError: From `feed`: one of the two is exceeded.
        ValueError: From `feed` or `end`: this is no JSON, or not all of it.
    """

    def __init__(
        self,
        paths: Collection[tuple[str, ...]],
        *,
        within: Collection[tuple[str, ...]] = (),
        max_item_bytes: int = MAX_LINE_BYTES,
        max_skeleton_bytes: int = SKELETON_BYTES,
    ) -> None:
        self._within = within
        self._paths = {path: index for index, path in enumerate(paths)}
        self._ways = {path[:keys] for path in paths for keys in range(len(path))}
        self._max_item = max_item_bytes
        self._max_skeleton = max_skeleton_bytes
        self._too_much_outside = f"more than {max_skeleton_bytes} bytes stand outside of the arrays"
        self._next = _Next.VALUE
        self._here: tuple[str, ...] = ()
        """The path of the value that comes next, outside of the arrays."""
        self._objects: list[tuple[str, ...]] = []
        """The paths of the open objects that lead to an array; never more than there are keys in a path."""
        self._array: int | None = None
        """Which path's array is open."""
        self._value = _Value(_QUOTE, 0, "")
        self._is_key = False
        self._items: list[tuple[int, bytes]] = []
        self._skeleton: list[bytes] = []
        self._skeleton_size = 0
        self._passed = 0
        self._beginning: bytes | None = b""
        """What has come while it may be a byte order mark; None afterwards."""

    def feed(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Take a piece and give the elements that it completes: the index of the path, and the bytes without a newline."""
        piece, at = self._without_mark(piece), 0
        while at < len(piece):
            if self._next is _Next.REST:
                at = self._value.read(piece, at)
                if self._value.is_whole:
                    self._end_value()
            elif (at := _skip(_SPACE, piece, at)) < len(piece):
                at = self._step(piece, at)
        self._passed += len(piece)
        items, self._items = self._items, []
        return items

    def end(self) -> bytes:
        """Give the document with its arrays emptied."""
        if self._next is _Next.REST and self._value.is_scalar and not self._objects and self._array is None:
            self._end_value()  # a number may be a whole document, and has no end of its own
        if self._next is not _Next.NOTHING:
            raise ValueError(f"the document is cut off: {self._next.value} is missing")
        return b"".join(self._skeleton)

    def _without_mark(self, piece: bytes) -> bytes:
        if self._beginning is None:
            return piece
        piece = self._beginning + piece
        if len(piece) < len(BOM) and BOM.startswith(piece):
            self._beginning = piece
            return b""
        self._beginning = None
        return piece.removeprefix(BOM)

    def _step(self, piece: bytes, at: int) -> int:
        """Take the byte that begins or ends something, and give the position to go on from."""
        byte = piece[at]
        match self._next:
            case _Next.FIRST_KEY | _Next.KEY if byte == _QUOTE:
                return self._begin_value(byte, at, is_key=True)
            case _Next.COLON if byte == _COLON:
                self._next = _Next.VALUE
                return self._keep(b":", at)
            case _Next.FIRST_ITEM | _Next.ITEM if byte not in _NO_VALUE:
                return self._begin_value(byte, at)
            case _Next.VALUE if byte not in _NO_VALUE:
                return self._begin_value_outside(byte, at)
            case _Next.AFTER if byte == _COMMA:
                self._next = _Next.KEY if self._array is None else _Next.ITEM
                return self._keep(b"," if self._array is None else b"", at)
            case _Next.AFTER | _Next.FIRST_KEY | _Next.FIRST_ITEM if byte == self._closing:
                return self._close(at)
            case _:
                found = f"byte {self._passed + at} is {piece[at : at + 1]!r}"
                raise ValueError(f"the document is no JSON: {found}, and not {self._next.value}")

    @property
    def _closing(self) -> int:
        return _OBJECT_END if self._array is None else _LIST_END

    def _close(self, at: int) -> int:
        ending = b"]" if self._array is not None else b"}"
        if self._array is None:
            self._objects.pop()
        self._array = None
        self._next = _Next.AFTER if self._objects else _Next.NOTHING
        return self._keep(ending, at)

    def _begin_value_outside(self, byte: int, at: int) -> int:
        """Begin a value that may be one of the arrays, or an object on the way to one."""
        if byte == _OBJECT and self._here in self._ways:
            self._objects.append(self._here)
            self._next = _Next.FIRST_KEY
            return self._keep(b"{", at)
        if byte == _LIST and self._here in self._paths:
            self._array = self._paths[self._here]
            self._next = _Next.FIRST_ITEM
            return self._keep(b"[", at)
        return self._begin_value(byte, at)

    def _begin_value(self, byte: int, at: int, *, is_key: bool = False) -> int:
        if self._array is None:
            self._value = _Value(byte, self._max_skeleton - self._skeleton_size, self._too_much_outside)
        elif self._within:
            self._value = _Emptied(byte, ItemCutter(self._within, max_item_bytes=self._max_item))
        else:
            self._value = _Value(byte, self._max_item, f"an element is larger than {self._max_item} bytes")
        self._is_key = is_key
        self._next = _Next.REST
        return at

    def _end_value(self) -> None:
        data = self._value.take(is_item=self._array is not None)
        if self._array is not None:
            self._items.append((self._array, _NEWLINE.sub(b" ", data)))
            self._next = _Next.AFTER
            return
        self._keep(data, 0)
        self._next = _Next.COLON if self._is_key else _Next.AFTER if self._objects else _Next.NOTHING
        if self._is_key:
            self._here = (*self._objects[-1], json.loads(data))

    def _keep(self, data: bytes, at: int) -> int:
        """Add to the skeleton, and give the position behind one byte."""
        self._skeleton.append(data)
        self._skeleton_size += len(data)
        if self._skeleton_size > self._max_skeleton:
            raise TooLargeError(self._too_much_outside)
        return at + 1


def _skip(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    """Give the position behind what fits; each of the patterns fits nothing, too."""
    found = pattern.match(piece, at)
    return found.end() if found else at
