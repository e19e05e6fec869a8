"""A JSON schema in the words that Gemini's structured outputs and functions know.

Source: https://ai.google.dev/api/generate-content (GenerationConfig.responseJsonSchema): a `$ref` has nothing beside it but
what starts with a `$`, and neither `const` nor `allOf` is among the words that are supported.
"""

from typing import Any, cast

from asyncbatch.codec.requests import RowFault
from asyncbatch.codec.schema import lone_reference, rewrite


def fit_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Say with other words what these schemas have no word for; what has none at all stays as it is, and is not enforced."""
    try:
        return cast("dict[str, Any]", rewrite(schema, _fit))
    except RecursionError:
        raise RowFault("not_json", "a schema in it is nested too deeply") from None


def _fit(schema: dict[str, Any]) -> dict[str, Any]:
    made = lone_reference(schema)
    only = made.get("const")
    if isinstance(only, str | int | float) and not isinstance(only, bool):  # an enum holds texts and numbers
        made = {"enum": [only], **{word: value for word, value in made.items() if word != "const"}}
    return made
