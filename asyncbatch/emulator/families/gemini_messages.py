"""JSON as Google's services read it: camelCase or snake_case, numbers that may be strings, and not one unknown name. Pure.

Source: https://protobuf.dev/programming-guides/json/
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from asyncbatch.emulator.json_values import is_array, is_object

Read: TypeAlias = Callable[[Any], Any]

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_CAPITAL = re.compile(r"([A-Z])")
_STANDARD = str.maketrans("-_", "+/")  # both alphabets are read


class ShapeError(Exception):
    """The JSON is not what the message allows.

    Attributes:
        path: Where, from the outside in.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    @property
    def where(self) -> str:
        return ".".join(self.path).replace(".[", "[")


class Field(NamedTuple):
    name: str
    read: Read


class Messages:
    """The messages of a dialect, each read from JSON to a dictionary with camelCase names and true types.

    Args:
        messages: By message the kinds of its fields: `string`, `bool`, `bytes`, `float`, `int32`, `int64`, `object`, `any`,
            the name of a message, `enum Name`; `map …` of any of them, and `…[]`.
        enums: The words of each enum.
        oneofs: By message the fields of which at most one is set.
    """

    def __init__(
        self,
        messages: Mapping[str, Mapping[str, str]],
        enums: Mapping[str, Sequence[str]],
        oneofs: Mapping[str, Sequence[str]],
    ) -> None:
        self._enums = {name: frozenset(words) for name, words in enums.items()}
        self._oneofs = oneofs
        self._fields = {name: self._spelt(kinds) for name, kinds in messages.items()}

    def _spelt(self, kinds: Mapping[str, str]) -> dict[str, Field]:
        fields = [Field(name, self._reader(kind)) for name, kind in kinds.items()]
        return {spelling: field for field in fields for spelling in (field.name, _snake(field.name))}

    def _reader(self, kind: str) -> Read:
        if kind.endswith("[]"):
            return partial(_read_array, self._reader(kind.removesuffix("[]")))
        form, _, inner = kind.rpartition(" ")
        if form == "map":
            return partial(_read_map, self._reader(inner))
        if form == "enum":
            return partial(_read_enum, self._enums[inner])
        return _PLAIN.get(kind) or partial(self.read, kind)

    def read(self, name: str, value: Any) -> dict[str, Any]:
        """Read a message.

        Raises:
            ShapeError: It has an unknown name or a wrong type.
        """
        fields, found = self._fields[name], dict[str, Any]()
        for spelling, item in _object(value).items():
            field = fields.get(spelling)
            if field is None:
                raise ShapeError(f'Unknown name "{spelling}": the message has no such field.')
            if field.name in found:
                raise ShapeError(f'The field "{field.name}" is given twice, in two spellings.')
            if item is not None:  # null is the same as nothing
                found[field.name] = _read_at(spelling, field.read, item)
        self._check_oneof(name, found)
        return found

    def _check_oneof(self, name: str, found: Mapping[str, Any]) -> None:
        given = [field for field in self._oneofs.get(name, ()) if field in found]
        if len(given) > 1:
            raise ShapeError(f'Only one of "{given[0]}" and "{given[1]}" can be set.')


def _snake(name: str) -> str:
    return _CAPITAL.sub(r"_\1", name).lower()


def _read_at(step: str, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except ShapeError as error:
        error.path.insert(0, step)
        raise


def _bad(expected: str, value: Any) -> ShapeError:
    return ShapeError(f"Invalid value: expected {expected}, not {str(value)[:100]!r}.")


def _object(value: Any) -> dict[str, Any]:
    if not is_object(value):
        raise _bad("an object", value)
    return value


def _read_array(read: Read, value: Any) -> list[Any]:
    if not is_array(value):
        raise _bad("an array", value)
    return [_read_at(f"[{index}]", read, item) for index, item in enumerate(value)]


def _read_map(read: Read, value: Any) -> dict[str, Any]:
    return {key: _read_at(key, read, item) for key, item in _object(value).items()}


def _read_enum(words: frozenset[str], value: Any) -> str:
    word = value.upper() if isinstance(value, str) else ""
    if word not in words:
        raise _bad(f"one of {', '.join(sorted(words))}", value)
    return word


def _read_string(value: Any) -> str:
    if not isinstance(value, str):
        raise _bad("a string", value)
    return value


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad("true or false", value)
    return value


def _read_int(bits: int, value: Any) -> int:
    number = int(value) if _is_whole(value) else None
    if number is None or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise _bad(f"a whole number of {bits} bits", value)
    return number


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None
    is_even = isinstance(value, float) and value.is_integer()
    return is_even or (isinstance(value, int) and not isinstance(value, bool))


def _read_float(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _bad("a number", value)
    return number


def _read_bytes(value: Any) -> str:
    """Check that it is base64, which stays as it is."""
    text = _read_string(value).translate(_STANDARD).rstrip("=")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("base64", value) from error
    return str(value)


_PLAIN: dict[str, Read] = {
    "any": lambda value: value,
    "bool": _read_bool,
    "bytes": _read_bytes,
    "float": _read_float,
    "int32": partial(_read_int, 32),
    "int64": partial(_read_int, 64),
    "object": _object,
    "string": _read_string,
}
