"""What OpenAI's endpoints refuse in a row: such a row ends with a 400 of its own, and the others go on.

Source: https://platform.openai.com/docs/api-reference, and the error bodies that the API answers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.rows import RowError

ROLES = {"developer", "system", "user", "assistant", "tool", "function"}
MOST_CHOICES = 128
MOST_IMAGES = 10
MOST_DIMENSIONS = 3072  # of the largest model


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts about one endpoint.

    Attributes:
        answer: The kind of body that goes in and comes out.
        requires: Fields that a body must have.
        parameters: All fields that a body may have; None where the list is not known.
    """

    answer: str
    requires: tuple[str, ...]
    models: tuple[str, ...]
    parameters: frozenset[str] | None


def check_body(endpoint: Endpoint, body: dict[str, Any]) -> None:
    """Raise `RowError` if the endpoint would not take this body."""
    for name in endpoint.requires:
        if body.get(name) is None:
            code = "missing_required_parameter"
            raise RowError(f"Missing required parameter: '{name}'.", param=name, code=code)
    if endpoint.parameters is not None:
        unknown = next((name for name in body if name not in endpoint.parameters), None)
        if unknown is not None:
            raise RowError(f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    check = _CHECKS.get(endpoint.answer)
    if check is not None:
        check(body)


def whole_number(body: dict[str, Any], *names: str, most: int | None = None) -> int | None:
    """Give the first of these fields that is set; at least 1 and at most this, or the row is refused."""
    for name in names:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                message = f"Invalid value for '{name}': {value!r}, expected a whole number of at least 1."
                raise RowError(message, param=name, code="integer_below_min_value")
            if most is not None and value > most:
                message = f"Invalid value for '{name}': {value}, expected at most {most}."
                raise RowError(message, param=name, code="integer_above_max_value")
            return value
    return None


def texts_in(wanted: Any) -> Sequence[Any]:
    """Give the texts, or lists of tokens, of a field that takes one or many."""
    is_many = is_array(wanted) and not (wanted and isinstance(wanted[0], int))
    return wanted if is_many else [wanted]


def _check_temperature(body: dict[str, Any]) -> None:
    value = body.get("temperature")
    if value is not None and not (isinstance(value, int | float) and 0 <= value <= 2):
        message = f"Invalid 'temperature': {value!r}, expected a number from 0 to 2."
        raise RowError(message, param="temperature", code="invalid_value")


def _check_chat(body: dict[str, Any]) -> None:
    messages = body["messages"]
    if not is_array(messages) or not messages:
        message = "Invalid 'messages': expected a list of at least one message."
        raise RowError(message, param="messages", code="invalid_type")
    for number, message in enumerate(messages):
        _check_message(message, f"messages[{number}]")
    _check_temperature(body)
    whole_number(body, "n", most=MOST_CHOICES)
    whole_number(body, "max_completion_tokens", "max_tokens")


def _check_message(message: Any, where: str) -> None:
    role = message.get("role") if is_object(message) else None
    if not isinstance(role, str) or role not in ROLES:
        raise RowError(f"Invalid value: {role!r} is not a role.", param=f"{where}.role", code="invalid_value")
    content = message.get("content")
    if not isinstance(content, str | list) and not (content is None and role == "assistant"):
        raise RowError("Invalid content: expected text or parts.", param=f"{where}.content", code="invalid_type")


def _check_completion(body: dict[str, Any]) -> None:
    prompts = texts_in(body["prompt"])
    if not prompts or any(not isinstance(item, str | list) for item in prompts):
        raise RowError("Invalid 'prompt': expected text, or lists of tokens.", param="prompt", code="invalid_type")
    _check_temperature(body)
    whole_number(body, "max_tokens")


def _check_embedding(body: dict[str, Any]) -> None:
    inputs = texts_in(body["input"])
    if not inputs or any(not isinstance(item, str | list) or not item for item in inputs):
        message = "Invalid 'input': expected text or lists of tokens, none of them empty."
        raise RowError(message, param="input", code="invalid_type")
    whole_number(body, "dimensions", most=MOST_DIMENSIONS)


def _check_response(body: dict[str, Any]) -> None:
    if not isinstance(body.get("input", ""), str | list):
        raise RowError("Invalid 'input': expected text, or a list of items.", param="input", code="invalid_type")
    _check_temperature(body)
    whole_number(body, "max_output_tokens")


def _check_image(body: dict[str, Any]) -> None:
    whole_number(body, "n", most=MOST_IMAGES)


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "chat": _check_chat,
    "completion": _check_completion,
    "embedding": _check_embedding,
    "response": _check_response,
    "image": _check_image,
}
