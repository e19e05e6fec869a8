"""What `POST /batches` takes, read strictly: the little that OpenAI checks before it answers.

A missing or unsuitable input file is not among it: such a batch is accepted, and fails while it validates.
Source: https://platform.openai.com/docs/api-reference/batch/create
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.json_values import is_object

_FIELDS = {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}


class Order(Struct, frozen=True, kw_only=True):
    """A batch as it was asked for."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_lifetime_s: int | None = None


def read_order(body: bytes, protocol: Mapping[str, Any]) -> Order:
    """Read the body of a create, by the facts of the dialect's protocol."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusalError(400, "We could not parse the JSON body of your request.") from error
    if not is_object(document):
        raise RefusalError(400, "The body of the request must be a JSON object.")
    unknown = next((name for name in document if name not in _FIELDS), None)
    if unknown is not None:
        raise RefusalError(400, f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    return Order(
        input_file_id=_text(document, "input_file_id"),
        endpoint=_choice(document, "endpoint", protocol["endpoints"]),
        completion_window=_choice(document, "completion_window", protocol["completion_windows"]),
        metadata=_metadata(document.get("metadata"), protocol["metadata"]),
        output_lifetime_s=_lifetime(document.get("output_expires_after"), protocol["expiry_s"]),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        raise RefusalError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if not isinstance(value, str):
        raise RefusalError(400, f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    return value


def _choice(document: Mapping[str, Any], name: str, allowed: Any) -> str:
    value = _text(document, name)
    if value not in allowed:
        message = f"Invalid value: '{value}'. Supported values are: {', '.join(repr(word) for word in allowed)}."
        raise RefusalError(400, message, param=name, code="invalid_value")
    return value


def _metadata(value: Any, most: Mapping[str, int]) -> dict[str, str] | None:
    if value is None:
        return None
    if not is_object(value) or any(not isinstance(item, str) for item in value.values()):
        raise RefusalError(400, "Invalid 'metadata': expected strings by name.", param="metadata", code="invalid_type")
    is_within = len(value) <= most["pairs"]
    is_within &= all(len(key) <= most["key_chars"] and len(item) <= most["value_chars"] for key, item in value.items())
    if not is_within:
        message = f"Invalid 'metadata': at most {most['pairs']} pairs, and short ones."
        raise RefusalError(400, message, param="metadata", code="object_above_max_properties")
    return value


def _lifetime(value: Any, bounds: Any) -> int | None:
    if value is None:
        return None
    least, most = bounds
    if not is_object(value) or value.get("anchor") != "created_at":
        message = "Invalid 'output_expires_after': the anchor must be 'created_at'."
        raise RefusalError(400, message, param="output_expires_after.anchor", code="invalid_value")
    seconds = value.get("seconds")
    if not isinstance(seconds, int) or not least <= seconds <= most:
        message = f"Invalid 'output_expires_after': expected {least} to {most} seconds."
        raise RefusalError(400, message, param="output_expires_after.seconds", code="invalid_value")
    return seconds
