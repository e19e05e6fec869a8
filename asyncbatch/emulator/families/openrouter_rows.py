"""The rows of OpenRouter's batches: what a request has to be, and what stands among the results.

Source: openrouter 1.3.84 (`components/batchsubmitbody.py`, `components/batchobject.py`, `components/apierrortype.py`)
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator.families import openai_checks
from asyncbatch.emulator.families.anthropic_answers import encode_message
from asyncbatch.emulator.families.anthropic_asks import ask_message
from asyncbatch.emulator.families.anthropic_checks import read_params
from asyncbatch.emulator.families.openai_answers import BODIES
from asyncbatch.emulator.families.openai_asks import ASKS
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
}
_LONGEST_ID = 64
_MORE: Mapping[str, Mapping[str, Any]] = {
    "response": {"completed_at": None, "frequency_penalty": 0, "presence_penalty": 0}
}
"""What it says besides, of whose models it does not say more."""


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts about one endpoint."""

    answer: Literal["chat", "response", "embedding", "message"]
    requires: tuple[str, ...]
    models: tuple[str, ...]


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of one batch have in common."""

    endpoint: Endpoint
    model: str
    dimensions: Mapping[str, int]


class Rows(RowKind):
    """The rows of one batch: a row may name the batch's model, and need not."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def read(self, line: dict[str, Any]) -> Row:
        custom_id, body = line.get("custom_id"), line.get("body")
        if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _LONGEST_ID:
            raise _invalid(f"custom_id: expected 1 to {_LONGEST_ID} characters")
        if not is_object(body) or line.keys() != {"custom_id", "body"}:
            raise _invalid(f"request {custom_id}: expected a custom_id and a body")
        if body.get("model", self._rules.model) != self._rules.model:
            raise _invalid(f"request {custom_id}: its model is not the batch's, {self._rules.model}")
        if body.get("stream"):
            raise _invalid(f"request {custom_id}: streaming is not supported")
        return Row(custom_id, {**body, "model": self._rules.model.removesuffix(":batch")}, line)

    def check(self, row: Row) -> None:
        endpoint = self._rules.endpoint
        if endpoint.answer == "message":
            read_params(row.body)
            return
        own = openai_checks.Endpoint(
            answer=endpoint.answer, requires=endpoint.requires, models=endpoint.models, parameters=None
        )
        openai_checks.check_body(own, row.body)

    def ask(self, row: Row) -> Ask:
        if self._rules.endpoint.answer == "message":
            return ask_message(row.body)
        ask = ASKS[self._rules.endpoint.answer](row.body)
        sizes = self._rules.dimensions
        size = next(size for pattern, size in sizes.items() if fnmatchcase(ask.model, pattern))
        return replace(ask, is_openai=True, model_dimensions=size if ask.kind == "embedding" else None)

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        kind = self._rules.endpoint.answer
        body = encode_message(ask, answer) if kind == "message" else BODIES[kind](ask, answer)
        body |= _MORE.get(kind, {})
        for choice in body.get("choices", ()):
            choice["native_finish_reason"] = choice["finish_reason"]
        for block in body.get("content", ()):
            if block["type"] == "text":
                block["citations"] = None
        return _line(row, ask.mark, {"status_code": 200, "request_id": f"gen-{ask.mark}", "body": body}, None)

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:
        word = _TYPES.get(error.status) or ("server" if error.status >= 500 else "invalid_request")
        shown = {"message": error.message, "type": word, "param": error.param, "error_type": word}
        return _line(row, mark, None, shown)

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  what was not run has no result
        return None

    def duplicate_id(self, name: str) -> InvalidError:
        return _invalid(f"custom_id: {name} is a duplicate")

    def too_many_rows(self, most: int) -> InvalidError:
        return _invalid(f"requests: at most {most}")

    def no_rows(self) -> InvalidError:
        return _invalid("requests: at least one")


def _invalid(message: str) -> InvalidError:
    return InvalidError("invalid_request", message)


def _line(row: Row, mark: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> dict[str, Any]:
    return {"id": f"batch_req_{mark}", "custom_id": row.id, "response": response, "error": error}
