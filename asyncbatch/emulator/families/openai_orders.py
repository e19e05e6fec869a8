"""What `POST /batches` takes, read strictly: the little that OpenAI checks before it answers.

A missing or unsuitable input file is not among it: such a batch is accepted, and fails while it validates.
Source: https://platform.openai.com/docs/api-reference/batch/create
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.json_values import is_object

_FIELDS = {"input_file_id", "endpoint", "completion_window", "metadata"}
_EXPIRY = "output_expires_after"
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")
_UNIT_H = {"h": 1, "d": 24}


class Order(Struct, frozen=True, kw_only=True):
    """A batch as it was asked for."""

    input_file_id: str
    endpoint: str
    completion_window: str | None
    flags: dict[str, bool] = {}
    metadata: dict[str, str] | None = None
    output_lifetime_s: int | None = None
    url: str | None = None
    """What its rows have to name, where that is something else than its endpoint."""
    idempotency_key: str | None = None


def read_order(body: bytes, protocol: Mapping[str, Any], manners: Manners) -> Order:
    """Read the body of a create, by the facts of the dialect's protocol."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusalError(400, "We could not parse the JSON body of your request.") from error
    if not is_object(document):
        raise RefusalError(400, "The body of the request must be a JSON object.")
    known = {*_FIELDS, *manners.create_fields, *manners.create_objects, *([_EXPIRY] if manners.takes_expiry else [])}
    known -= set() if protocol["metadata"] else {"metadata"}
    unknown = next((name for name in document if name not in known), None)
    if unknown is not None:
        raise RefusalError(400, f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    return Order(
        input_file_id=_text(document, "input_file_id"),
        endpoint=_choice(document, "endpoint", protocol["endpoints"], manners.refused_word),
        completion_window=None
        if manners.takes_any_window
        else _window(document, protocol["completion_windows"], manners),
        flags={name: _flag(document, name) for name in manners.create_fields if name in document},
        metadata=_metadata(document.get("metadata"), protocol["metadata"]),
        output_lifetime_s=_lifetime(document.get(_EXPIRY), protocol.get("expiry_s")),
    )


def window_s_of(order: Order) -> float | None:
    """Give the seconds that an order wants its batch to have; None where it says nothing."""
    found = _WINDOW.fullmatch(order.completion_window or "")
    return float(found[1]) * _UNIT_H[found[2]] * 3600 if found else None


def _window(document: Mapping[str, Any], known: Any, manners: Manners) -> str | None:
    """Read the window: one of a few words, or hours and days between two bounds; a service may do without."""
    if not is_object(known):
        return _choice(document, "completion_window", known, manners.refused_word)
    if document.get("completion_window") is None and not known.get("required", True):
        return known.get("default")
    value = _text(document, "completion_window")
    found = _WINDOW.fullmatch(value)
    if (
        found is None
        or not known["least_h"] <= int(found[1]) * _UNIT_H[found[2]] <= known["most_h"]
        or found[2] not in known.get("units", "hd")
    ):
        message = f"Invalid value: '{value}'. It may be {known['least_h']}h to {known['most_h']}h."
        raise RefusalError(400, message, param="completion_window", code="invalid_value")
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document[name]
    if not isinstance(value, bool):
        raise RefusalError(400, f"Invalid type for '{name}': expected true or false.", param=name, code="invalid_type")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        raise RefusalError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if not isinstance(value, str):
        raise RefusalError(400, f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    return value


def _choice(document: Mapping[str, Any], name: str, allowed: Any, status: int) -> str:
    value = _text(document, name)
    if value not in allowed:
        message = f"Invalid value: '{value}'. Supported values are: {', '.join(repr(word) for word in allowed)}."
        raise RefusalError(status, message, param=name, code="invalid_value")
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
