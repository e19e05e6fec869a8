"""The rows of Fireworks' jobs: an id and a body. One that the schema does not know makes the whole job fail.

Rows that were not run stand in no file. Source: the fact sheet of Fireworks' batch inference, "Status" and "Results".
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from asyncbatch.emulator.families.openai_answers import encode_chat
from asyncbatch.emulator.families.openai_asks import ask_chat
from asyncbatch.emulator.families.openai_checks import Endpoint, check_body
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

_CHAT = Endpoint(answer="chat", requires=("messages",), models=(), parameters=None)
_FIELDS = {"custom_id", "body"}
_OF_OPENAI_ALONE = ("service_tier", "system_fingerprint")


class Rows(RowKind):
    """The rows of one job, which has the model of them all, and what they say nothing of themselves."""

    def __init__(self, model: str, system_prompt: str, defaults: Mapping[str, Any]) -> None:
        self._model = model
        self._system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self._defaults = defaults

    def read(self, line: dict[str, Any]) -> Row:
        custom_id, body = line.get("custom_id"), line.get("body")
        unknown = next((name for name in line if name not in _FIELDS), None)
        if unknown is not None:
            raise _invalid(f"unknown field {unknown!r}")
        if not isinstance(custom_id, str) or not custom_id:
            raise _invalid("custom_id is missing")
        if not is_object(body):
            raise _invalid("body is missing")
        body = {**self._defaults, **body, "model": self._model}
        self._check(body)
        return Row(custom_id, {**body, "messages": [*self._system, *body["messages"]]}, line)

    def _check(self, body: dict[str, Any]) -> None:
        if body.get("stream"):
            raise _invalid("stream is not supported")
        try:
            check_body(_CHAT, body)
        except RowError as error:
            raise _invalid(error.message) from error

    def check(self, row: Row) -> None:
        """Look no closer: what is wrong with a body is found when it is read."""

    def ask(self, row: Row) -> Ask:
        return replace(ask_chat(row.body), is_openai=True)

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        whole = encode_chat(ask, answer)
        response = {name: value for name, value in whole.items() if name not in _OF_OPENAI_ALONE}
        return {"custom_id": row.id, "response": response}

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:  # noqa: ARG002  rows are not numbered
        return {"custom_id": row.id, "error": {"message": error.message, "code": error.status}}

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  it stands in no file
        return None

    # What is wrong with the rows as a whole

    def bad_json(self) -> InvalidError:
        return _invalid("it is no JSON object")

    def duplicate_id(self, name: str) -> InvalidError:
        return _invalid(f"duplicate custom_id {name!r}")

    def too_many_rows(self, most: int) -> InvalidError:
        return _invalid(f"the dataset has more than {most} rows")

    def too_many_bytes(self, size: int, most: int) -> InvalidError:
        return _invalid(f"the dataset has {size} bytes; {most} are allowed")

    def no_rows(self) -> InvalidError:
        return _invalid("the dataset is empty")


def _invalid(message: str) -> InvalidError:
    return InvalidError("INVALID_ARGUMENT", message)
