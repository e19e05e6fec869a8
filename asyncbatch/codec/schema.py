"""The schema that an answer must fit, from `response_format`: OpenAI's own object, or a type.

A type is a msgspec Struct, a dataclass, a TypedDict or a pydantic model; its schema is made strict, as structured output wants
it: every property is required, none beside them is allowed, and the root is an object and no reference.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec

from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.codec.unsupported import REFUSING, Unsupported, report_others

_UNFIT, _NAME_CHARS = re.compile(r"[^A-Za-z0-9_-]"), 64
"""What a schema's name may not hold, such as the brackets of a generic class, and how long it may be."""


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON schema with its name."""

    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


def decode_response_format(given: Any, unsupported: Unsupported = REFUSING) -> tuple[JsonSchema | None, bool]:
    """Give the schema, if one is asked for, and whether any JSON object will do."""
    if given is None:
        return None, False
    if isinstance(given, type):
        return schema_of(given), False
    if not isinstance(given, dict):
        raise RowFault("wrong_type", f"response_format is {shown(given)}, neither an object nor a type")
    wanted = {name: value for name, value in cast("dict[str, Any]", given).items() if value is not None}
    kind = wanted.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        message = f"response_format.type is {shown(kind)}; it is text, json_object or json_schema"
        if not isinstance(kind, str):
            raise RowFault("bad_response_format", message)
        unsupported.tell(f"response_format of type {kind}", "bad_response_format", message)
        return None, False
    known = ("type", "json_schema") if kind == "json_schema" else ("type",)
    report_others(wanted, known, "response_format", unsupported)
    schema = _named(wanted.get("json_schema"), unsupported) if kind == "json_schema" else None
    return schema, kind == "json_object"


def _named(given: Any, unsupported: Unsupported) -> JsonSchema:
    if isinstance(given, type):
        return schema_of(given)
    if isinstance(given, dict):
        known = JsonSchema.__struct_fields__
        report_others(cast("dict[str, Any]", given), known, "response_format.json_schema", unsupported)
        given = {name: value for name, value in cast("dict[str, Any]", given).items() if name in known}
    try:
        return msgspec.convert(given, JsonSchema)
    except msgspec.ValidationError as error:
        message = f"response_format.json_schema is {shown(given)}: {error}"
        raise RowFault("bad_response_format", message) from None


def encode_response_format(schema: JsonSchema) -> dict[str, Any]:
    """Give OpenAI's own object."""
    fields = {name: value for name, value in msgspec.structs.asdict(schema).items() if value is not None}
    return {"type": "json_schema", "json_schema": fields}


@functools.lru_cache(maxsize=256)
def schema_of(kind: type) -> JsonSchema:
    """Make the strict schema of a type."""
    make: Any = getattr(kind, "model_json_schema", None)  # pydantic, which is never imported unless the caller did
    try:
        schema: dict[str, Any] = make() if make is not None else msgspec.json.schema(kind)
    except (TypeError, ValueError, RuntimeError, NameError) as error:  # pydantic's own are RuntimeErrors
        raise RowFault("bad_response_format", f"no JSON schema can be made of {kind.__name__}: {error}") from None
    root = _without_reference(schema)
    if root.get("type") != "object":
        message = f"the schema of {kind.__name__} is no object, which structured output needs: wrap it in a Struct"
        raise RowFault("bad_response_format", message)
    return JsonSchema(
        name=_UNFIT.sub("_", kind.__name__)[:_NAME_CHARS],
        schema=cast("dict[str, Any]", rewrite(root, _strict)),
        strict=True,
    )


def _without_reference(schema: dict[str, Any]) -> dict[str, Any]:
    reference: str = schema.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return schema
    definitions: dict[str, Any] = schema["$defs"]
    name = reference.removeprefix("#/$defs/")
    root: dict[str, Any] = definitions[name]
    others = {key: value for key, value in definitions.items() if key != name or _mentions(definitions, reference)}
    return {**root, "$defs": others} if others else dict(root)


def _mentions(schema: Any, reference: str) -> bool:
    return b'"%b"' % reference.encode() in msgspec.json.encode(schema)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    # Every property is required, so no default can apply; the services refuse the word. They also refuse oneOf, and what
    # tells its members apart is written in them.
    made = {_STRICT.get(word, word): value for word, value in schema.items() if word not in _NOT_STRICT}
    if made.get("type") == "object" and "properties" in made:
        made["required"] = list(made["properties"])
        made["additionalProperties"] = False
    return lone_reference(made)


_STRICT = {"oneOf": "anyOf"}
_NOT_STRICT = frozenset({"default", "discriminator"})
_DATA = frozenset({"enum", "const", "required", "examples", "discriminator", "default"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def lone_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """Put a reference into an `anyOf` where words stand beside it, which the services do not take; a lone `allOf` likewise."""
    if "anyOf" in schema:
        return schema
    words = {word: value for word, value in schema.items() if word not in ("$ref", "allOf")}
    whole: Any = schema.get("allOf")
    if isinstance(whole, list) and len(cast("list[Any]", whole)) == 1 and "$ref" not in schema:
        return {"anyOf": whole, **words}
    beside = any(not word.startswith("$") and word != "definitions" for word in words)
    is_crowded = "$ref" in schema and "allOf" not in schema and beside
    return {"anyOf": [{"$ref": schema["$ref"]}], **words} if is_crowded else schema


def rewrite(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change every schema that stands in a schema, the inner ones first; names of the user's and data are none."""
    if isinstance(schema, list):
        return [rewrite(item, change) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("dict[str, Any]", schema)
    return change({word: _rewrite_value(word, value, change) for word, value in found.items()})


def _rewrite_value(word: str, value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if word in _NAMED and isinstance(value, dict):  # names of the user's, any word
        return {name: rewrite(item, change) for name, item in cast("dict[str, Any]", value).items()}
    return value if word in _DATA else rewrite(value, change)
