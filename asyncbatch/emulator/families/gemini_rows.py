"""The rows of Gemini's batches: what a line of a file or an inlined request has to be, and how each of them ends.

Malformed JSON, as Google's reader of messages sees it, refuses the whole batch; what only the model refuses is an error of the
row. Source: https://ai.google.dev/gemini-api/docs/batch-api
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator.families.gemini_answers import encode_chat, encode_embedding
from asyncbatch.emulator.families.gemini_asks import ask_chat, ask_embedding
from asyncbatch.emulator.families.gemini_checks import check_chat, check_embedding
from asyncbatch.emulator.families.gemini_messages import Messages, ShapeError
from asyncbatch.emulator.families.gemini_shapes import rpc_code
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

Method: TypeAlias = Literal["batchGenerateContent", "asyncBatchEmbedContent"]

_LINES = {"batchGenerateContent": "GenerateContent", "asyncBatchEmbedContent": "EmbedContent"}
_UNFINISHED = {
    "cancelled": (1, "The batch was cancelled before this request was processed."),
    "expired": (4, "This request could not be processed in time."),
}


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of one batch have to be.

    Attributes:
        model: The one that the path names; a row may repeat it.
        dimensions: Of an embedding whose row does not say.
    """

    method: Method
    model: str
    is_inline: bool
    messages: Messages
    dimensions: int


class Rows(RowKind):
    """The rows of one batch. Nobody minds two keys that are the same."""

    unique_ids = False
    in_order = True

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._message = _LINES[rules.method] + ("Inlined" if rules.is_inline else "Line")
        self.model = rules.model

    def read(self, line: dict[str, Any]) -> Row:
        try:
            item = self._rules.messages.read(self._message, line)
        except ShapeError as error:
            raise _invalid(error.message, error.where) from error
        request = item.get("request")
        if request is None:
            raise _invalid("A row needs a request.", "request")
        if request.get("model", self._rules.model).removeprefix("models/") != self._rules.model:
            raise _invalid(f"All rows are for the batch's model, {self._rules.model}.", "request.model")
        return Row(self._name(item), request, line)

    def _name(self, item: dict[str, Any]) -> str | None:
        key = item.get("metadata", {}).get("key") if self._rules.is_inline else item.get("key")
        return key if isinstance(key, str) and key else None

    def check(self, row: Row) -> None:
        check_chat(row.body) if self._is_chat else check_embedding(row.body)

    @property
    def _is_chat(self) -> bool:
        return self._rules.method == "batchGenerateContent"

    def ask(self, row: Row) -> Ask:
        if self._is_chat:
            return ask_chat(self._rules.model, row.body)
        ask = ask_embedding(self._rules.model, row.body)
        return replace(ask, dimensions=ask.dimensions or self._rules.dimensions)

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        encode: Callable[[Ask, Answer], dict[str, Any]] = encode_chat if self._is_chat else encode_embedding
        return {**self._named(row), "response": encode(ask, answer)}

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:  # noqa: ARG002  such rows have no ids of their own
        where = f"{error.param}: " if error.param else ""
        return {**self._named(row), "error": {"code": rpc_code(error.status), "message": f"{where}{error.message}"}}

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  the same
        code, message = _UNFINISHED[reason]
        return {**self._named(row), "error": {"code": code, "message": message}}

    def _named(self, row: Row) -> dict[str, Any]:
        """Give what tells the row: its key, or all of its metadata as it came."""
        if not self._rules.is_inline:
            return {} if row.id is None else {"key": row.id}
        metadata = row.line.get("metadata")
        if not is_object(metadata):
            metadata = {}
        if row.id is not None:
            metadata = {**metadata, "key": row.id}
        return {"metadata": metadata} if metadata else {}

    # In Google's words

    def bad_json(self) -> InvalidError:
        return _invalid("Invalid JSON payload received. The row is not a JSON object.", "")

    def too_many_bytes(self, size: int, most: int) -> InvalidError:
        return _invalid(f"The input has {size} bytes; {most} are allowed.", "")

    def no_rows(self) -> InvalidError:
        return _invalid("The batch has no requests.", "")


def _invalid(message: str, where: str) -> InvalidError:
    return InvalidError("INVALID_ARGUMENT", message, param=where or None)
