"""Values that know their place to frozen Structs: every mistake of a tree is found, each at its own line.

`msgspec.convert` stops at the first mistake and knows neither file nor line. So the tree is walked along the type, and
msgspec judges only the leaves. Two shorthands hold everywhere: a list of one may be written without brackets, and a
Struct whose first field is `value` may be written as that value alone.
"""

import difflib
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec

from asyncbatch.catalog._yaml import Mistake, Node, join

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

_KINDS: Mapping[type, str] = {dict: "a mapping", list: "a list", type(None): "nothing"}


class FieldError(ValueError):
    """What a Struct's own check says about one of its fields."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class _Missing(NamedTuple):
    """Stands for a value that could not be read; its mistake is noted."""


MISSING: Final = _Missing()


def read(node: Node, kind: Any, path: str, mistakes: list[Mistake], *, secret: bool = False) -> Any:
    """Read a node as a type, noting each mistake.

    Args:
        node: What was written.
        kind: A Struct, an Enum, `dict[str, T]`, `tuple[T, ...]`, `T | None`, or what msgspec can judge by itself.
        path: The node's name, for the mistakes.
        mistakes: Mistakes are added here.
        secret: Never show the value.

    Returns:
        The value, or `MISSING` where a mistake was noted.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(item for item in arguments if item is not types.NoneType)
        return None if node.value is None else read(node, inner, path, mistakes, secret=secret)
    if origin is dict:
        return _read_mapping(node, arguments[1], path, mistakes, secret=secret)
    if origin is tuple:
        return _read_list(node, arguments[0], path, mistakes, secret=secret)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _read_struct(node, kind, path, mistakes)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_word(node, kind, path, mistakes)
    return _read_leaf(node, kind, path, mistakes, secret=secret)


def nearest(word: str, known: Iterable[str]) -> str:
    """Give "; did you mean 'x'?", or the known words where none is near."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(words)}" if words else ""


@functools.cache  # annotations are evaluated anew each time, which was half the price of a file
def fields_of(kind: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Name the keys that a Struct takes, as they are written."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _read_struct(node: Node, kind: type[msgspec.Struct], path: str, mistakes: list[Mistake]) -> Any:
    fields = fields_of(kind)
    if not isinstance(node.value, dict | list | None) and next(iter(fields)) == "value":
        value = read(node, fields["value"].type, path, mistakes)
        return value if value is MISSING else kind(value=value)
    if not isinstance(node.value, dict):
        return _wrong(node, "a mapping", path, mistakes)
    before = len(mistakes)
    for key in node.value.keys() - fields.keys():
        note_unknown(node.value[key], key, fields, mistakes, at=path)
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in node.value:
            values[field.name] = read(node.value[key], field.type, join(path, key), mistakes)
        elif field.required:
            mistakes.append(Mistake(node.place, path, f"the key {key!r} is missing"))
    if len(mistakes) > before:
        return MISSING
    try:
        return kind(**values)
    except FieldError as error:
        place = node.value[error.key].place if error.key in node.value else node.place
        mistakes.append(Mistake(place, join(path, error.key), str(error)))
        return MISSING


def note_unknown(node: Node, key: str, known: Iterable[str], mistakes: list[Mistake], *, at: str = "") -> None:
    """Note a key that nobody reads, with the key it may have meant."""
    mistakes.append(Mistake(node.place, join(at, key), f"unknown key{nearest(key, known)}"))


def _read_mapping(node: Node, kind: Any, path: str, mistakes: list[Mistake], *, secret: bool) -> Any:
    if not isinstance(node.value, dict):
        return _wrong(node, "a mapping", path, mistakes, secret=secret)
    return {key: read(item, kind, join(path, key), mistakes, secret=secret) for key, item in node.value.items()}


def _read_list(node: Node, kind: Any, path: str, mistakes: list[Mistake], *, secret: bool) -> Any:
    if node.value is None:
        return _wrong(node, "a list", path, mistakes)
    if not isinstance(node.value, list):
        return (read(node, kind, path, mistakes, secret=secret),)
    return tuple(read(item, kind, f"{path}[{i}]", mistakes, secret=secret) for i, item in enumerate(node.value))


def _read_word(node: Node, kind: type[Enum], path: str, mistakes: list[Mistake]) -> Any:
    words = [str(member.value) for member in kind]
    if isinstance(node.value, str) and node.value.lower() in words:
        return kind(node.value.lower())
    guess = nearest(node.value.lower(), words) if isinstance(node.value, str) else ""
    return _wrong(node, f"one of {', '.join(words)}", path, mistakes, end=guess if "mean" in guess else "")


def _read_leaf(node: Node, kind: Any, path: str, mistakes: list[Mistake], *, secret: bool) -> Any:
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    if choices and node.value not in choices:
        known = [str(choice) for choice in choices]
        guess = nearest(node.value, known) if isinstance(node.value, str) else ""
        end = guess if "mean" in guess else ""
        return _wrong(node, f"one of {', '.join(known)}", path, mistakes, secret=secret, end=end)
    try:
        return msgspec.convert(node.value, kind)
    except msgspec.ValidationError as error:
        wanted = str(error).replace("`", "").partition(", got")[0].removeprefix("Expected ")
        return _wrong(node, wanted, path, mistakes, secret=secret)


def _wrong(
    node: Node, wanted: str, path: str, mistakes: list[Mistake], *, secret: bool = False, end: str = ""
) -> _Missing:
    mistakes.append(Mistake(node.place, path, f"expected {wanted}, got {kind_of(node, secret=secret)}{end}"))
    return MISSING


def kind_of(node: Node, *, secret: bool = False) -> str:
    """Show what was found, shortly; of a secret only its type."""
    kind = type(node.value)
    if kind in _KINDS or secret:
        return _KINDS.get(kind, kind.__name__)
    text = repr(node.value)
    return text if len(text) <= 60 else f"{text[:57]}…"
