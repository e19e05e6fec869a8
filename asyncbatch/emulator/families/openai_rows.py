"""The rows of OpenAI's batches: what a line has to be, and the lines of both result files.

Source: https://platform.openai.com/docs/guides/batch, and the codes that `batch.errors` was seen to carry.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.openai_answers import BODIES
from asyncbatch.emulator.families.openai_asks import ASKS
from asyncbatch.emulator.families.openai_checks import Endpoint, check_body, texts_in
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.families.openai_media import MEDIA, count_image
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind
from asyncbatch.emulator.store import Problem

_UNFINISHED = {
    "cancelled": ("batch_cancelled", "This request was cancelled."),
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
}
_FILTERED = "[[filter]]"
_ENCODERS = {**BODIES, **MEDIA}


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of one batch have to satisfy, and how long their vectors are."""

    url: str
    endpoint: Endpoint
    embedding_inputs: int | None
    allows_model: Callable[[str], bool]
    dimensions: Callable[[str], int]
    manners: Manners = Manners()


class Rows(RowKind):
    """The rows of one batch: one endpoint, and one model."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inputs = 0

    def read(self, line: dict[str, Any]) -> Row:
        custom_id, body = line.get("custom_id"), line.get("body")
        if not isinstance(custom_id, str) or not custom_id:
            raise _missing("custom_id")
        if self._rules.manners.lines == "whole":
            self._check_target(line)
        if not is_object(body):
            raise _missing("body")
        if self._rules.endpoint.answer != "agent" or "model" in body or not _names_models(body):
            self._check_model(body.get("model"))
        if body.get("stream"):
            raise InvalidError("streaming_unsupported", "Streaming is not supported in a batch.", param="body.stream")
        self._count_inputs(body)
        return Row(custom_id, body, line)

    def _check_target(self, line: dict[str, Any]) -> None:
        if line.get("method") != "POST":
            message = f"Invalid method: {line.get('method')!r}, expected 'POST'."
            raise InvalidError("invalid_request", message, param="method")
        if line.get("url") != self._rules.url:
            message = f"The URL provided for this request does not match the batch endpoint '{self._rules.url}'."
            raise InvalidError("invalid_url", message, param="url")

    def _check_model(self, model: Any) -> None:
        if not isinstance(model, str) or not model:
            raise _missing("body.model")
        if self.model is None and not self._rules.allows_model(model):
            message = f"The provided model '{model}' does not exist, or not for this endpoint."
            raise InvalidError("model_not_found", message, param="body.model")
        if self.model is not None and model != self.model:
            message = f"All requests of a batch must have the same model: '{self.model}', not '{model}'."
            raise InvalidError("mismatched_model", message, param="body.model")
        self.model = model

    def _count_inputs(self, body: dict[str, Any]) -> None:
        most = self._rules.embedding_inputs
        if self._rules.endpoint.answer != "embedding" or most is None:
            return
        self._inputs += len(texts_in(body.get("input")))
        if self._inputs > most:
            raise InvalidError("too_many_tasks", f"The input file has more than {most} embedding inputs.")

    def check(self, row: Row) -> None:
        if self._rules.manners.filters and _FILTERED in str(row.body):
            raise RowError("The response was filtered.", param="prompt", code="content_filter")
        check_body(self._rules.endpoint, row.body)

    def ask(self, row: Row) -> Ask:
        read = ASKS.get(self._rules.endpoint.answer)
        if read is None:
            return Ask(kind="other", model=str(row.body["model"]), body=row.body)
        ask = replace(read(row.body), is_openai=True)
        return replace(ask, model_dimensions=self._rules.dimensions(ask.model)) if ask.kind == "embedding" else ask

    def answer_other(self, ask: Ask) -> Answer:
        return count_image(ask) if self._rules.endpoint.answer == "image" else Answer()

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        whole = _ENCODERS[self._rules.endpoint.answer](ask, answer)
        body = {name: value for name, value in whole.items() if name not in self._rules.manners.omits_in_answers}
        if self._rules.manners.filters:
            body = _with_filters(body)
        response = {"status_code": 200, "request_id": f"req_{ask.mark}", "body": body}
        return self._named(_line(row, ask.mark, response, None))

    def _named(self, line: dict[str, Any]) -> dict[str, Any]:
        return line if self._rules.manners.names_lines else {name: line[name] for name in line if name != "id"}

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:
        if self._rules.manners.row_errors == "code":
            refused = {"code": str(error.status), "message": error.message, "param": None, "type": None}
            return _line(row, mark, None, refused)
        if self._rules.manners.row_errors == "word":
            word = "batch_client_error" if error.status < 500 else "batch_server_error"
            return {"id": f"br_{mark}", "custom_id": row.id, "error": {"code": word, "message": error.message}}
        kind = {429: "requests", 401: "authentication_error"}.get(error.status)
        kind = kind or ("server_error" if error.status >= 500 else "invalid_request_error")
        refusal: dict[str, Any] = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
        body = {"error": refusal}
        if self._rules.manners.filters:
            body["error"] |= {"type": None, "status": error.status}
        response = {"status_code": error.status, "request_id": f"req_{mark}", "body": body}
        return self._named(_line(row, mark, response, None))

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:
        code, message = _UNFINISHED[reason]
        return self._named(_line(row, mark, None, {"code": code, "message": message}))


class StrictRows(Rows):
    """The rows of a file that is looked at when it comes: a body that its endpoint would refuse is refused with all others."""

    def check(self, row: Row) -> None:
        try:
            super().check(row)
        except RowError as error:
            raise InvalidError(error.code or "invalid_request", error.message, param=error.param) from error


def at_line(problem: Problem) -> RefusalError:
    """Say at once what is wrong with a file, and where."""
    where = f"Line {problem.line}: " if problem.line else ""
    return RefusalError(400, f"{where}{problem.message}", code=problem.code, param=problem.param)


def _names_models(body: dict[str, Any]) -> bool:
    """Say whether a body for an agent says in another way than by one model who is to answer."""
    return bool(body.get("preset") or body.get("models"))


def _missing(name: str) -> InvalidError:
    return InvalidError("missing_required_parameter", f"Missing required parameter: '{name}'.", param=name)


def _with_filters(body: dict[str, Any]) -> dict[str, Any]:
    """Give an answer with what was found when it was looked through."""
    if "choices" not in body:
        return body
    found = {"hate": {"filtered": False, "severity": "safe"}}
    choices = [{**choice, "content_filter_results": found} for choice in body["choices"]]
    return {**body, "choices": choices, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}


def _line(row: Row, mark: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> dict[str, Any]:
    return {"id": f"batch_req_{mark}", "custom_id": row.id, "response": response, "error": error}
