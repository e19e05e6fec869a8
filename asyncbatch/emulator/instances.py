"""Small values that satisfy a JSON schema: what the echo model answers where structure is asked for."""

import math
from typing import Any

from asyncbatch.emulator.json_values import is_array, is_object, objects_in

MOST_CHARS = 1000  # of a text whose least length the schema gives
LARGEST = 2**53  # what every reader of JSON takes for a number; larger bounds are left alone
MOST_ITEMS = 100  # of an array, likewise


def make_instance(schema: Any, root: Any = None, open_refs: frozenset[str] = frozenset({"#"})) -> Any:
    """Give a small value that satisfies a JSON schema.

    It knows what structured outputs allow: types, enums, references, required properties, alternatives and the simple
    bounds, and the common formats of texts. Patterns are not honoured. Recursion ends where the schema first allows it.
    """
    root = schema if root is None else root
    if not is_object(schema):
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in open_refs:
            return None
        return make_instance(_find_ref(reference, root), root, open_refs | {reference})
    choices = [schema["const"]] if "const" in schema else _array(schema, "enum")
    if choices:
        return choices[0]
    alternatives = objects_in(schema.get("anyOf")) or objects_in(schema.get("oneOf"))
    if alternatives:
        ends = [part for part in alternatives if str(part.get("$ref")) not in open_refs]
        return make_instance(next(iter(ends), None), root, open_refs)
    return _instance_of_type(_merge_parts(schema, root), root, open_refs)


def _find_ref(reference: str, root: Any) -> Any:
    target = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(part) if is_object(target) else None
    return target


def _merge_parts(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged = schema
    for part in objects_in(schema.get("allOf")):
        found = _find_ref(part["$ref"], root) if isinstance(part.get("$ref"), str) else part
        part_schema: dict[str, Any] = found if is_object(found) else {}
        properties = {**_object(merged, "properties"), **_object(part_schema, "properties")}
        required = [*_array(merged, "required"), *_array(part_schema, "required")]
        merged = {**merged, **part_schema, "properties": properties, "required": required}
    return merged


def _object(schema: dict[str, Any], name: str) -> dict[str, Any]:
    value = schema.get(name)
    return value if is_object(value) else {}


def _array(schema: dict[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if is_array(value) else []


def _instance_of_type(schema: dict[str, Any], root: Any, open_refs: frozenset[str]) -> Any:
    kind = schema.get("type")
    if is_array(kind):
        kind = kind[0] if kind else None
    properties = _object(schema, "properties")
    if kind == "object" or (kind is None and properties):
        names = [name for name in _array(schema, "required") if isinstance(name, str)]
        return {name: make_instance(properties.get(name), root, open_refs) for name in names}
    if kind == "array":
        count = min(int(_number(schema, "minItems") or 0), MOST_ITEMS)
        return [make_instance(schema.get("items"), root, open_refs) for _ in range(count)]
    if kind == "string":
        return _instance_text(schema)
    if kind in ("integer", "number"):
        return _instance_number(schema)
    return False if kind == "boolean" else None


def _number(schema: dict[str, Any], name: str) -> float | None:
    value = schema.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST else None


_FORMATS = {
    "date-time": "2026-11-25T12:00:00Z",
    "date": "2026-11-25",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "echo@example.com",
    "hostname": "echo.example.com",
    "uri": "https://echo.example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def _instance_text(schema: dict[str, Any]) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    least, most = _number(schema, "minLength"), _number(schema, "maxLength")
    text = "echo".ljust(min(int(least or 0), MOST_CHARS), ".")
    return text if most is None else text[: max(0, int(most))]


def _instance_number(schema: dict[str, Any]) -> float:
    least, above = _number(schema, "minimum"), _number(schema, "exclusiveMinimum")
    most, below = _number(schema, "maximum"), _number(schema, "exclusiveMaximum")
    value: float = 0
    if least is not None and value < least:
        value = least
    if above is not None and value <= above:
        value = math.floor(above) + 1
    if most is not None and value > most:
        value = most
    if below is not None and value >= below:
        value = math.ceil(below) - 1
    step = _number(schema, "multipleOf")
    return math.ceil(value / step) * step if step else value
