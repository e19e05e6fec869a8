"""The rows of xAI's batches: each line of a file says where it goes, and each result is one object, good or bad.

Source: the fact sheet of xAI's batches, "Input and create" and "Results".
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from asyncbatch.emulator.families.openai_asks import ASKS
from asyncbatch.emulator.families.openai_checks import Endpoint, check_body
from asyncbatch.emulator.families.xai_answers import ENCODERS, PLACES
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.markers import find_markers
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

_UNFINISHED = {"cancelled": "Batch cancelled", "expired": "Batch expired"}


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of a batch have to satisfy.

    Attributes:
        wrappers: The paths of requests that are added to a batch, by the word they stand under; empty for the lines of a file.
        ticks_per_token: What a token costs.
    """

    endpoints: Mapping[str, Endpoint]
    wrappers: Mapping[str, str] = {}
    allows_model: Callable[[str, Endpoint], bool]
    ticks_per_token: int


class Rows(RowKind):
    """The rows of one batch, lines of a file or requests that were added; they may be for several endpoints and models.

    Args:
        rules: What they have to satisfy.
        is_over: Whether what was not run has a result; else it has none yet.
    """

    def __init__(self, rules: Rules, *, is_over: bool = True) -> None:
        self._rules = rules
        self._is_over = is_over

    def read(self, line: dict[str, Any]) -> Row:
        return self._read_added(line) if self._rules.wrappers else self._read_line(line)

    def _read_line(self, line: dict[str, Any]) -> Row:
        custom_id, url = line.get("custom_id"), line.get("url")
        if not isinstance(custom_id, str) or not custom_id:
            raise InvalidError("invalid_argument", "A line has no custom_id.")
        if line.get("method") != "POST":
            raise InvalidError("invalid_argument", f"The method of '{custom_id}' is not POST.")
        if not isinstance(url, str) or url not in self._rules.endpoints:
            raise InvalidError("invalid_argument", f"The url of '{custom_id}' is not supported: {url!r}.")
        return self._checked(custom_id, line.get("body"), url, line)

    def _read_added(self, line: dict[str, Any]) -> Row:
        name, wrapped = line.get("batch_request_id"), line.get("batch_request")
        if not isinstance(name, str) or not is_object(wrapped) or len(wrapped) != 1:
            raise InvalidError("invalid_argument", "A request is not one object below batch_request.")
        ((word, body),) = wrapped.items()
        if word not in self._rules.wrappers:
            raise InvalidError("invalid_argument", f"'{name}' is of an unknown kind: {word!r}.")
        return self._checked(name, body, self._rules.wrappers[word], line)

    def _checked(self, name: str, body: Any, url: str, line: dict[str, Any]) -> Row:
        if not is_object(body):
            raise InvalidError("invalid_argument", f"'{name}' has no body.")
        model = body.get("model")
        if not isinstance(model, str) or not self._rules.allows_model(model, self._rules.endpoints[url]):
            raise InvalidError("invalid_argument", f"Model {model} is not supported for batch processing.")
        return Row(name, body, line)

    def endpoint_of(self, row: Row) -> Endpoint:
        url = row.line["url"] if "url" in row.line else self._rules.wrappers[next(iter(row.line["batch_request"]))]
        return self._rules.endpoints[url]

    def check(self, row: Row) -> None:
        check_body(self.endpoint_of(row), row.body)

    def ask(self, row: Row) -> Ask:
        kind = self.endpoint_of(row).answer
        read = ASKS.get(kind)
        return read(row.body) if read else Ask(kind="other", model=str(row.body["model"]), body=row.body)

    def answer_other(self, ask: Ask) -> Answer:
        return Answer(input_tokens=len(str(ask.body["prompt"]).split()), output_tokens=1)

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        kind = self.endpoint_of(row).answer
        body = ENCODERS[kind](ask, answer, self._rules.ticks_per_token)
        return _result(row, {"response": {PLACES[kind]: body}})

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:  # noqa: ARG002  an error has no name of its own
        return _result(row, {"error": error.message})

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  see above
        """Give what a cancel has prevented, and what its prompt wants; the rest stays pending and has no result."""
        is_wanted = any(marker.name == "expire" for marker in find_markers(msgspec.json.encode(row.line)))
        if not self._is_over or (reason == "expired" and not is_wanted):
            return None
        return _result(row, {"error": _UNFINISHED[reason]})

    # What is wrong with an input as a whole

    def bad_json(self) -> InvalidError:
        return InvalidError("invalid_argument", "A line is no JSON object.")

    def duplicate_id(self, name: str) -> InvalidError:
        return InvalidError("invalid_argument", f"Duplicate batch_request_id '{name}'.")

    def too_many_rows(self, most: int) -> InvalidError:
        return InvalidError("invalid_argument", f"The file has more than {most} lines.")

    def too_many_bytes(self, size: int, most: int) -> InvalidError:
        return InvalidError("invalid_argument", f"The file has {size} bytes; {most} are allowed.")

    def no_rows(self) -> InvalidError:
        return InvalidError("invalid_argument", "There are no lines, and no requests.")


def _result(row: Row, result: dict[str, Any]) -> dict[str, Any]:
    return {"batch_request_id": row.id, "batch_result": result}
