"""What a decoded JSON value is, in words that type checkers follow."""

from typing import Any, TypeGuard


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Give the objects of an array; none if it is no array."""
    return [item for item in value if is_object(item)] if is_array(value) else []
