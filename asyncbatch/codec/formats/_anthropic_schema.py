"""A JSON schema in the words that Anthropic's structured outputs and strict tools know.

Source: `transform_schema` of Anthropic's official SDK (2.14), and its documentation of structured outputs.
"""

from typing import Any, cast

from asyncbatch.codec.chat import Unsupported
from asyncbatch.codec.requests import RowFault, encode_json
from asyncbatch.codec.schema import lone_reference

_KEPT = frozenset({"$ref", "type", "enum", "const", "title", "required"})
_NAMED = frozenset({"properties", "$defs", "definitions"})
_CHOICES = frozenset({"anyOf", "oneOf", "allOf"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)


def fit_schema(schema: dict[str, Any], unsupported: Unsupported) -> dict[str, Any]:
    """Say in a description what these schemas have no word for, as the vendor's own SDK does: the model reads it there.

    Every object is closed, as the service wants it; one that is open for names of any kind cannot be expressed.
    """
    try:
        fitted: dict[str, Any] = _fit(schema, unsupported)
    except RecursionError:
        raise RowFault("not_json", "a schema in it is nested too deeply") from None
    return fitted


def _fit(given: Any, unsupported: Unsupported) -> Any:
    if not isinstance(given, dict):
        return given
    schema = cast("dict[str, Any]", given)
    is_object = schema.get("type") == "object" or (isinstance(schema.get("type"), list) and "object" in schema["type"])
    if schema.get("additionalProperties", is_object and "properties" not in schema) is not False:
        unsupported("additionalProperties in a schema", "every property needs its name")
    made: dict[str, Any] = {}
    untold: list[str] = []
    for word, value in schema.items():
        if word in ("description", "additionalProperties", "$schema"):
            continue
        if _is_known(word, value):
            made["anyOf" if word == "oneOf" else word] = _fit_value(word, value, unsupported)
        else:
            untold.append(f"{word}: {encode_json(value).decode()}")
    if is_object:
        made["additionalProperties"] = False
    notes = [str(schema["description"])] if schema.get("description") else []
    notes += [f"({', '.join(untold)})"] if untold else []
    return lone_reference(made | ({"description": " ".join(notes)} if notes else {}))


def _is_known(word: str, value: Any) -> bool:
    if word == "format":
        return isinstance(value, str) and value in _FORMATS
    return value in (0, 1) if word == "minItems" else word in _KEPT | _NAMED | _CHOICES | {"items"}


def _fit_value(word: str, value: Any, unsupported: Unsupported) -> Any:
    if word in _NAMED and isinstance(value, dict):
        return {name: _fit(item, unsupported) for name, item in cast("dict[str, Any]", value).items()}
    if word in _CHOICES and isinstance(value, list):
        return [_fit(item, unsupported) for item in cast("list[Any]", value)]
    return _fit(value, unsupported) if word == "items" else value
