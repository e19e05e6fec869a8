"""The rows of a message batch: what an item of a create has to be, and the lines of the results.

Source: https://platform.claude.com/docs/en/api/messages/batches
"""

import re
from typing import Any

from asyncbatch.emulator.families.anthropic_answers import encode_message
from asyncbatch.emulator.families.anthropic_asks import ask_message
from asyncbatch.emulator.families.anthropic_checks import Rules, check_params
from asyncbatch.emulator.families.anthropic_shapes import encode_failure
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

LIST = "requests"  # the `param` of what is wrong with the list, and not with one of its items
_FIELDS = ("custom_id", "params")
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_UNFINISHED = {"cancelled": "canceled", "expired": "expired"}


class Rows(RowKind):
    """The rows of one batch. Their parameters are looked at when they run, and not before."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def read(self, line: dict[str, Any]) -> Row:
        for name in _FIELDS:
            if name not in line:
                raise _invalid("Field required", param=name)
        for name in line:
            if name not in _FIELDS:
                raise _invalid("Extra inputs are not permitted", param=name)
        custom_id, params = line["custom_id"], line["params"]
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise _invalid("String should match pattern '^[a-zA-Z0-9_-]{1,64}$'", param="custom_id")
        if not is_object(params):
            raise _invalid("Input should be an object", param="params")
        return Row(custom_id, params, line)

    def check(self, row: Row) -> None:
        check_params(row.body, self._rules)

    def ask(self, row: Row) -> Ask:
        return ask_message(row.body)

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        return _line(row, {"type": "succeeded", "message": encode_message(ask, answer)})

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:  # noqa: ARG002  a row's error has no id
        failure = encode_failure(error.status, error.message, error.code, None)
        return _line(row, {"type": "errored", "error": failure})

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  nor has this
        return _line(row, {"type": _UNFINISHED[reason]})

    # What makes a whole create unfit

    def bad_json(self) -> InvalidError:
        return _invalid("Input should be an object")

    def duplicate_id(self, name: str) -> InvalidError:
        return _invalid(f"'{name}' is not unique in this batch", param="custom_id")

    def too_many_rows(self, most: int) -> InvalidError:
        return _invalid(f"List should have at most {most} items", param=LIST)

    def no_rows(self) -> InvalidError:
        return _invalid("List should have at least 1 item", param=LIST)


def _invalid(message: str, *, param: str | None = None) -> InvalidError:
    return InvalidError("invalid_request_error", message, param=param)


def _line(row: Row, result: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": row.id, "result": result}
