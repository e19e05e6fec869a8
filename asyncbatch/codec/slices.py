"""Many requests at once, where all of them are as most requests are: what is asked of each is asked of all in a few calls.

Here nothing is refused. Whatever looks unusual, one row of hundreds, is answered with None, and then each row of the slice is
looked at on its own (`decode_request`, `encode_body`), which knows what is wrong with it and says so.
"""

import re
from collections.abc import Sequence
from itertools import chain, repeat
from math import isfinite
from operator import itemgetter
from typing import Any

import msgspec

from asyncbatch.codec.requests import ENVELOPE, prompt_body
from asyncbatch.enums import BatchMode

_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, bool, type(None)})
_NESTED = frozenset({dict, list, float})
_OF_OURS = frozenset({"body", "custom_id"})
_POST = frozenset({"POST"})
_VALUES, _GET = dict[Any, Any].values, dict[str, Any].get
_BODY, _ID = itemgetter("body"), itemgetter("custom_id")
_DEEP = 8
_ENCODER = msgspec.json.Encoder()
_NO_JSON = (TypeError, ValueError, msgspec.MsgspecError, RecursionError, OverflowError)


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """Requests in one shape.

    Attributes:
        bodies: Their bodies, which are the caller's own objects.
        ids: Their own ids, one for each; None where none has one.
        urls: The paths that they insist on, None among them where one insists on nothing.
    """

    bodies: Sequence[dict[str, Any]]
    ids: Sequence[str] | None = None
    urls: frozenset[str | None] = frozenset({None})


class LineFrame(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around the id and the body of a line, which are JSON: the same in every line of a job.

    Attributes:
        before: Up to the id.
        between: From the id to the body.
        after: From the body to the newline, which is part of it.
    """

    before: bytes
    between: bytes
    after: bytes


class UsualLines(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of a slice, in the parts that they are joined of.

    Attributes:
        frame: What stands around the ids and bodies.
        prefix: What each id on the wire begins with, and is no part of `ids`.
        names: The requests' own ids, in UTF-8.
        ids: What travels as the id, as the frame wants it.
        bodies: The bodies, JSON.
        has_own_ids: Whether the names are the caller's.
    """

    frame: LineFrame
    prefix: bytes
    names: Sequence[bytes]
    ids: Sequence[bytes]
    bodies: Sequence[bytes]
    has_own_ids: bool

    def lines(self) -> bytes:
        """Give the lines as they travel."""
        frame = self.frame
        before = frame.before + self.prefix
        parts = zip(repeat(before), self.ids, repeat(frame.between), self.bodies, repeat(frame.after))
        return b"".join(chain.from_iterable(parts))

    def noted(self) -> bytes:
        """Give each line after its request's id and a newline, without the prefix: what is the same in each run."""
        frame = self.frame
        before = b"\n" + frame.before
        parts = zip(self.names, repeat(before), self.ids, repeat(frame.between), self.bodies, repeat(frame.after))
        return b"".join(chain.from_iterable(parts))

    def sizes(self) -> list[int]:
        """Give the length of each line."""
        frame = self.frame
        around = len(frame.before) + len(self.prefix) + len(frame.between) + len(frame.after)
        return [around + len(name) + len(body) for name, body in zip(self.ids, self.bodies, strict=True)]


def frame_lines(
    frame: LineFrame,
    bodies: Sequence[bytes],
    numbers: Sequence[bytes],
    own: Sequence[str] | None,
    *,
    prefix: str | None,
    pattern: re.Pattern[str] | None,
) -> UsualLines | None:
    """Put ids and bodies into their frames; None where an id may be one that cannot travel, or is not usual.

    Args:
        frame: What stands around.
        bodies: JSON.
        numbers: The ids that are minted for these rows.
        own: The requests' own ids, if each has one.
        prefix: What stands before the numbers where they travel; None lets the requests' own ids travel.
        pattern: What an id that travels must match, whole, if it is the request's own.
    """
    names = numbers if own is None else encode_names(own)
    if names is None or (prefix is None and not fit_all(pattern, names)):
        return None
    if own is not None and prefix is None:
        return UsualLines(
            frame=frame, prefix=b"", names=names, ids=list(map(_ENCODER.encode, own)), bodies=bodies, has_own_ids=True
        )
    quoted = LineFrame(before=frame.before + b'"', between=b'"' + frame.between, after=frame.after)
    return UsualLines(
        frame=quoted,
        prefix=(prefix or "").encode(),
        names=names,
        ids=numbers,
        bodies=bodies,
        has_own_ids=own is not None,
    )


def decode_usual(items: Sequence[Any], mode: BatchMode) -> Usual | None:
    """Read items of the user's input that are all of one kind: prompts, bodies, or ready rows with an id each or with none."""
    kinds = set(map(type, items))
    if kinds == {str} and mode is not BatchMode.CUSTOM:
        return Usual(bodies=[prompt_body(text, mode) for text in items])
    if kinds != {dict}:
        return None
    keys = keys_of(items)
    if keys is None or not keys.isdisjoint(_OF_OURS):
        return None if keys is None else _decode_ready(items, keys)
    return Usual(bodies=items)


def _decode_ready(rows: Sequence[dict[str, Any]], keys: set[str]) -> Usual | None:
    if not keys <= ENVELOPE:
        return None
    try:
        bodies, ids = list(map(_BODY, rows)), list(map(_ID, rows)) if "custom_id" in keys else None
        is_posted = "method" not in keys or _POST.issuperset(row.get("method", "POST") for row in rows)
        urls = frozenset(row.get("url") for row in rows) if "url" in keys else frozenset[str | None]({None})
    except (KeyError, TypeError):  # one has none, or one that is a list
        return None
    if not is_posted or set(map(type, bodies)) != {dict} or (ids is not None and set(map(type, ids)) != {str}):
        return None
    return Usual(bodies=bodies, ids=ids, urls=urls)


def keys_of(objects: Sequence[dict[Any, Any]]) -> set[str] | None:
    """Give every key of some objects; None where one is no text."""
    keys = set[Any]().union(*objects)
    return keys if _TEXT.issuperset(map(type, keys)) else None


def values_of(objects: Sequence[dict[Any, Any]]) -> list[Any]:
    """Give every value of some objects."""
    return list(chain.from_iterable(map(_VALUES, objects)))


def column(objects: Sequence[dict[str, Any]], key: str) -> list[Any]:
    """Give the value of one key of each object, None where there is none."""
    return list(map(_GET, objects, repeat(key)))


def encode_all(values: Sequence[Any]) -> list[bytes] | None:
    """Encode values that are plain, each in one line; None where one cannot be: a lone surrogate is not plain to see."""
    try:
        return list(map(_ENCODER.encode, values))
    except _NO_JSON:
        return None


def are_plain(values: Sequence[Any], deep: int = _DEEP) -> bool:
    """Whether all hold values of JSON's own types alone, and no number that JSON has no word for; see `is_plain`.

    Level by level rather than value by value: the types on a level are a handful, however many values there are.
    """
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return True
    if not deep or not kinds <= _SCALARS | _NESTED:
        return False
    if float in kinds and not all(map(isfinite, _of(float, values, kinds))):
        return False
    inner: list[Any] = []
    if dict in kinds:
        objects = _of(dict, values, kinds)
        if keys_of(objects) is None:
            return False
        inner += values_of(objects)
    if list in kinds:
        inner += chain.from_iterable(_of(list, values, kinds))
    return are_plain(inner, deep - 1)


def _of(kind: type, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def are_texts(values: Sequence[Any]) -> bool:
    """Whether all are texts, and none is empty."""
    return set(map(type, values)) == {str} and all(values)


def number_ids(first: int, count: int) -> list[bytes]:
    """Give the ids that are minted for a run of rows; see `mint_id`."""
    return [b"%07d" % row for row in range(first, first + count)]


def encode_names(ids: Sequence[str]) -> list[bytes] | None:
    """Give ids in UTF-8; None where one of them is empty, or may hold half a character."""
    if not all(ids) or not "".join(ids).isascii():
        return None
    return [request_id.encode() for request_id in ids]


def fit_all(pattern: re.Pattern[str] | None, names: Sequence[bytes]) -> bool:
    """Whether each matches, whole."""
    return pattern is None or all(pattern.fullmatch(name.decode()) for name in names)
