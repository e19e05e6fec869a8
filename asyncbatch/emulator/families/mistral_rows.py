"""The rows of Mistral's jobs: what a line has to be, and the lines of both result files.

Names may be missing, and the same one may come twice. What was not run leaves no line. Source: the fact sheet of Mistral's
batch jobs, "Input" and "Results".
"""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncbatch.emulator.families.mistral_answers import BODIES
from asyncbatch.emulator.families.mistral_asks import ASKS
from asyncbatch.emulator.families.mistral_bodies import CHECKS
from asyncbatch.emulator.families.mistral_errors import BadBodyError, encode_row_error
from asyncbatch.emulator.families.mistral_fields import Check, FieldError, anything, mapping, nullable, record, text
from asyncbatch.emulator.families.mistral_media import MEDIA, count_transcription
from asyncbatch.emulator.model import Answer, Ask
from asyncbatch.emulator.rows import InvalidError, Reason, Row, RowError, RowKind

_ENCODERS = {**BODIES, **MEDIA}
_LINE = record({"custom_id": nullable(text()), "body": mapping()}, required=("body",))
_LINE_FIELDS = ("custom_id", "body")
_JOB_CHARS = 8  # of a job's id, in the ids of its lines
_MARK_CHARS = 32  # of a job's id in a mark


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of one job have to satisfy, and what answers them.

    Attributes:
        answer: The kind of body that goes in and comes out.
        dimensions: Of a vector, where the row does not say.
    """

    answer: str
    check: Check
    model: str
    dimensions: int


UPLOADED = Rules(answer="", check=anything, model="", dimensions=0)
"""What the lines of a file have to satisfy before anybody knows what they are for."""


def rules_for(answer: str, model: str, dimensions: int) -> Rules:
    return Rules(answer=answer, check=CHECKS[answer], model=model, dimensions=dimensions)


class Rows(RowKind):
    """The rows of one job: one endpoint, and one model, whatever a row says."""

    unique_ids = False

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def read(self, line: dict[str, Any]) -> Row:
        try:
            _LINE({name: line[name] for name in _LINE_FIELDS if name in line}, ())
        except FieldError as error:
            param = ".".join(map(str, error.loc)) or None
            raise InvalidError(error.kind, error.message, param=param) from error
        return Row(line.get("custom_id"), line["body"], line)

    def check(self, row: Row) -> None:
        try:
            self._rules.check(row.body, ("body",))
        except FieldError as error:
            raise BadBodyError(error) from error

    def ask(self, row: Row) -> Ask:
        read = ASKS.get(self._rules.answer)
        if read is None:
            return Ask(kind="other", model=self._rules.model, body=row.body)
        ask = read(row.body, self._rules.model)
        return replace(ask, dimensions=ask.dimensions or self._rules.dimensions) if ask.kind == "embedding" else ask

    def answer_other(self, ask: Ask) -> Answer:
        return count_transcription(ask) if self._rules.answer == "transcription" else Answer()

    def encode_answer(self, row: Row, ask: Ask, answer: Answer) -> Any:
        return _line(row, ask.mark, 200, _ENCODERS[self._rules.answer](ask, answer))

    def encode_error(self, row: Row, mark: str, error: RowError) -> Any:
        return _line(row, mark, error.status, msgspec.json.encode(encode_row_error(error)).decode())

    def encode_unfinished(self, row: Row, mark: str, reason: Reason) -> Any:  # noqa: ARG002  the same for all
        return None

    # What is wrong with an input as a whole

    def bad_json(self) -> InvalidError:
        return InvalidError("json_invalid", "This line is no JSON object.")

    def too_many_rows(self, most: int) -> InvalidError:
        return InvalidError("too_long", f"Expected at most {most} requests.")

    def too_many_bytes(self, size: int, most: int) -> InvalidError:
        return InvalidError("value_error", f"The requests have {size} bytes; {most} are allowed.")

    def no_rows(self) -> InvalidError:
        return InvalidError("too_short", "Expected at least 1 request.")


def _line(row: Row, mark: str, status: int, body: dict[str, Any] | str) -> dict[str, Any]:
    index = int(mark[_MARK_CHARS:])
    return {
        "id": f"batch-{mark[:_JOB_CHARS]}-{index}-{row.id}",
        "custom_id": row.id,
        "response": {"status_code": status, "body": body},
        "error": None,
    }
