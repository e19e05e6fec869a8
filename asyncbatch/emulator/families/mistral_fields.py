"""Checks of JSON values, put together from small ones; what is refused is named by kind, place and sentence.

A check takes a value and its place, and raises `FieldError` at the first thing that is wrong with it. The kinds are those
that the service's own answers carry in `detail`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from asyncbatch.emulator.json_values import is_array, is_object

SMALL_CHARS = 200  # of a value that a refusal repeats
_NAMES: dict[type[Any], str] = {str: "a string", list: "an array", dict: "an object"}

Loc: TypeAlias = tuple[str | int, ...]
Check: TypeAlias = Callable[[Any, Loc], None]


class FieldError(Exception):
    """One value is not as the service wants it.

    Attributes:
        kind: What is wrong, in one word, as in `missing`.
        loc: Where, as in `("body", "messages", 0, "role")`.
    """

    def __init__(self, kind: str, loc: Loc, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.loc = loc
        self.message = message
        self.value = value

    def encode(self) -> dict[str, Any]:
        """Give the item of `detail`. Large values are left out."""
        is_small = not is_object(self.value) and not is_array(self.value) and len(str(self.value)) <= SMALL_CHARS
        return {
            "type": self.kind,
            "loc": list(self.loc),
            "msg": self.message,
            "input": self.value if is_small else None,
        }


def anything(value: Any, loc: Loc) -> None:
    """Take whatever comes."""


def text(*, least: int = 0, most: int | None = None, pattern: str | None = None) -> Check:
    """Take text of this many characters."""

    def check(value: Any, loc: Loc) -> None:
        if not isinstance(value, str):
            raise FieldError("string_type", loc, "Expected a string.", value)
        if len(value) < least:
            raise FieldError("string_too_short", loc, f"Expected at least {least} characters.", value)
        if most is not None and len(value) > most:
            raise FieldError("string_too_long", loc, f"Expected at most {most} characters.", value)
        if pattern is not None and not re.fullmatch(pattern, value):
            raise FieldError("string_pattern_mismatch", loc, f"Expected text that matches {pattern!r}.", value)

    return check


def uuid(value: Any, loc: Loc) -> None:
    """Take text that is a UUID."""
    try:
        UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise FieldError("uuid_parsing", loc, "Expected a UUID.", value) from error


def number(*, least: float | None = None, most: float | None = None, above: float | None = None) -> Check:
    def check(value: Any, loc: Loc) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldError("float_type", loc, "Expected a number.", value)
        _check_bounds(value, loc, least=least, most=most, above=above)

    return check


def whole(*, least: int | None = None, most: int | None = None) -> Check:
    def check(value: Any, loc: Loc) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldError("int_type", loc, "Expected a whole number.", value)
        _check_bounds(value, loc, least=least, most=most, above=None)

    return check


def _check_bounds(value: float, loc: Loc, *, least: float | None, most: float | None, above: float | None) -> None:
    if least is not None and value < least:
        raise FieldError("greater_than_equal", loc, f"Expected at least {least}.", value)
    if above is not None and value <= above:
        raise FieldError("greater_than", loc, f"Expected more than {above}.", value)
    if most is not None and value > most:
        raise FieldError("less_than_equal", loc, f"Expected at most {most}.", value)


def flag(value: Any, loc: Loc) -> None:
    if not isinstance(value, bool):
        raise FieldError("bool_type", loc, "Expected true or false.", value)


def word(*allowed: Any) -> Check:
    """Take one of these words."""

    def check(value: Any, loc: Loc) -> None:
        if not any(value == item and type(value) is type(item) for item in allowed):
            raise FieldError("enum", loc, f"Expected one of {', '.join(map(repr, allowed))}.", value)

    return check


def nullable(inner: Check) -> Check:
    return lambda value, loc: None if value is None else inner(value, loc)


def items(inner: Check, *, least: int = 0, most: int | None = None) -> Check:
    """Take an array of these."""

    def check(value: Any, loc: Loc) -> None:
        if not is_array(value):
            raise FieldError("list_type", loc, "Expected an array.", value)
        if len(value) < least:
            raise FieldError("too_short", loc, f"Expected at least {least} items.", value)
        if most is not None and len(value) > most:
            raise FieldError("too_long", loc, f"Expected at most {most} items.", value)
        for index, item in enumerate(value):
            inner(item, (*loc, index))

    return check


def mapping(inner: Check = anything, *, key: Check = anything) -> Check:
    """Take an object of any names."""

    def check(value: Any, loc: Loc) -> None:
        for name, item in _must_be_object(value, loc).items():
            key(name, (*loc, name, "[key]"))
            inner(item, (*loc, name))

    return check


def record(fields: Mapping[str, Check], *, required: Sequence[str] = ()) -> Check:
    """Take an object of these fields, and no others."""

    def check(value: Any, loc: Loc) -> None:
        found = _must_be_object(value, loc)
        for name in required:
            if name not in found:
                raise FieldError("missing", (*loc, name), "This field is required.", value)
        for name, item in found.items():
            if name not in fields:
                raise FieldError("extra_forbidden", (*loc, name), "This field is not known here.", item)
            fields[name](item, (*loc, name))

    return check


def tagged(tag: str, variants: Mapping[str, Check], *, default: str | None = None) -> Check:
    """Take an object whose field `tag` says which of these it is."""

    def check(value: Any, loc: Loc) -> None:
        name = _must_be_object(value, loc).get(tag, default)
        if not isinstance(name, str) or name not in variants:
            message = f"Expected '{tag}' to be one of {', '.join(map(repr, variants))}."
            raise FieldError("union_tag_invalid", (*loc, tag), message, name)
        variants[name](value, loc)

    return check


def by_type(variants: Mapping[type[Any], Check]) -> Check:
    """Take text, an array or an object, each with its own check."""
    expected = " or ".join(_NAMES[kind] for kind in variants)

    def check(value: Any, loc: Loc) -> None:
        inner = next((inner for kind, inner in variants.items() if isinstance(value, kind)), None)
        if inner is None:
            raise FieldError("union_type", loc, f"Expected {expected}.", value)
        inner(value, loc)

    return check


def _must_be_object(value: Any, loc: Loc) -> dict[str, Any]:
    if not is_object(value):
        raise FieldError("dict_type", loc, "Expected an object.", value)
    return value
