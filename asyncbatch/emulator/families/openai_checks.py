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


# Agents. Source: perplexityai 0.46.1, types/response_create_params.py and input_item_param.py

_ITEMS = {
    "message": {"role", "content"},
    "function_call": {"call_id", "name", "arguments"},
    "function_call_output": {"call_id", "output"},
}
_OPTIONAL = {"type", "name", "thought_signature"}
_PARTS = {"input_text": "text", "input_image": "image_url"}
_TOOLS = {"web_search", "fetch_url", "people_search", "finance_search", "sandbox", "mcp", "function"}
_EFFORTS = {"minimal", "low", "medium", "high", "xhigh"}
_OF_AN_AGENT = {"tools": list, "models": list, "reasoning": dict, "response_format": dict}
MOST_STEPS = 100
MOST_MODELS = 5


def _check_agent(body: dict[str, Any]) -> None:
    given = body["input"]
    if not given or not isinstance(given, str | list):
        raise RowError("Invalid 'input': expected text, or items.", param="input", code="invalid_type")
    for number, item in enumerate(given if is_array(given) else []):
        _check_item(item, f"input[{number}]")
    for name, kinds in _OF_AN_AGENT.items():
        if not isinstance(body.get(name), kinds | None):
            raise RowError(f"Invalid '{name}'.", param=name, code="invalid_type")
    for number, tool in enumerate(body.get("tools") or []):
        kind = str(tool.get("type")) if is_object(tool) else None
        if kind not in _TOOLS or (kind == "function" and not isinstance(tool.get("name"), str)):
            raise RowError("Invalid tool.", param=f"tools[{number}]", code="invalid_value")
    reasoning = body.get("reasoning")
    effort = reasoning.get("effort", "low") if is_object(reasoning) else "low"
    if not isinstance(effort, str) or effort not in _EFFORTS:
        raise RowError(f"Invalid effort: {effort!r}.", param="reasoning.effort", code="invalid_value")
    wanted = body.get("response_format")
    schema = wanted.get("json_schema") if is_object(wanted) and wanted.get("type") == "json_schema" else None
    if wanted is not None and not (is_object(schema) and schema.get("name") and is_object(schema.get("schema"))):
        raise RowError("Expected a named json_schema.", param="response_format", code="invalid_value")
    whole_number(body, "max_output_tokens")
    whole_number(body, "max_steps", most=MOST_STEPS)
    if len(body.get("models") or []) > MOST_MODELS:
        raise RowError(f"At most {MOST_MODELS} models.", param="models", code="invalid_value")


def _check_item(item: Any, where: str) -> None:
    kind = item.get("type") if is_object(item) else None
    needed = _ITEMS.get(kind) if isinstance(kind, str) else None
    if needed is None or not needed <= item.keys() <= needed | _OPTIONAL:
        raise RowError(f"Invalid item of type {kind!r}.", param=where, code="invalid_value")
    texts = [item[name] for name in needed if name != "content"]
    if not all(isinstance(text, str) for text in texts):
        raise RowError("Invalid item: expected texts.", param=where, code="invalid_type")
    if kind == "message":
        _check_agent_message(item, where)


def _check_agent_message(item: dict[str, Any], where: str) -> None:
    if str(item["role"]) not in {"user", "assistant", "system", "developer"}:
        raise RowError(f"Invalid role: {item['role']!r}.", param=f"{where}.role", code="invalid_value")
    content = item["content"]
    for part in content if is_array(content) else []:
        field = _PARTS.get(str(part.get("type"))) if is_object(part) else None
        if field is None or part.keys() != {"type", field}:
            raise RowError("Invalid part.", param=f"{where}.content", code="invalid_value")
    if not content or not isinstance(content, str | list):
        raise RowError("Invalid content: expected text or parts.", param=f"{where}.content", code="invalid_type")


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "chat": _check_chat,
    "completion": _check_completion,
    "embedding": _check_embedding,
    "response": _check_response,
    "image": _check_image,
    "agent": _check_agent,
}
