"""Which JSON schemas the service can hold an answer to.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, and what the official SDK takes out of a
schema before it sends it.
"""

from collections.abc import Iterator
from typing import Any

from asyncbatch.emulator.json_values import is_array, is_object, objects_in

_UNSUPPORTED = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties", "patternProperties"),
}
_UNSUPPORTED["integer"] = _UNSUPPORTED["number"]


def find_flaw(schema: dict[str, Any]) -> str | None:
    """Say what the service would not take in a schema; None if nothing."""
    return next((flaw for part in _walk(schema) if (flaw := _flaw_of(part)) is not None), None)


def _walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the schema and every schema in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        for name in ("properties", "$defs", "definitions"):
            inner = part.get(name)
            waiting += objects_in(list(inner.values())) if is_object(inner) else []
        for name in ("anyOf", "allOf", "prefixItems"):
            waiting += objects_in(part.get(name))
        waiting += objects_in([part.get("items")])


def _flaw_of(part: dict[str, Any]) -> str | None:
    kind = part.get("type")
    kinds: list[Any] = kind if is_array(kind) else [kind]
    if "oneOf" in part:
        return "'oneOf' is not supported"
    if ("object" in kinds or "properties" in part) and part.get("additionalProperties") is not False:
        return "for 'object' type, 'additionalProperties' must be explicitly set to false"
    for name in kinds:
        unsupported = [field for field in _UNSUPPORTED.get(str(name), ()) if field in part]
        if unsupported:
            return f"for '{name}' type, {', '.join(unsupported)} are not supported"
    if "array" in kinds and part.get("minItems", 0) not in (0, 1):
        return "for 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if any(is_object(value) or is_array(value) for value in _choices(part)):
        return "'enum' and 'const' may hold texts, numbers, booleans and null only"
    return None


def _choices(part: dict[str, Any]) -> list[Any]:
    choices = part.get("enum")
    return [*(choices if is_array(choices) else []), part.get("const")]
