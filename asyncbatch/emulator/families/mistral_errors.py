"""What Mistral refuses, and how it says so: three shapes for whole requests, and one for rows, which is JSON as text.

Source: the fact sheet of Mistral's batch jobs, "Limits and errors" and "Results".
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.mistral_chat import BAD_CALL_ID
from asyncbatch.emulator.families.mistral_fields import FieldError, Loc
from asyncbatch.emulator.rows import RowError

NO_KEY = "no_key"
_TYPES = {BAD_CALL_ID: "invalid_function_call", "1300": "rate_limited", "3310": "invalid_request_file"}
_ROW_CODES = {400: "3310", 429: "1300"}  # status -> the code of a row that has none of its own
_STATUS_TYPES = {404: "not_found", 413: "payload_too_large", 429: "rate_limited"}


class UnprocessableError(RefusalError):
    """A field of the request is not as it should be: 422, with its kind and place."""

    def __init__(self, field: FieldError) -> None:
        super().__init__(422, field.message, code=field.kind)
        self.field = field


class BadBodyError(RowError):
    """A field of a row's body is not as it should be: the row's own 422."""

    def __init__(self, field: FieldError) -> None:
        super().__init__(field.message, code=field.kind, status=422)
        self.field = field


@contextmanager
def unprocessable(loc: Loc) -> Generator[None]:
    """Make a 422 of fields, and of bodies that cannot be read, as this service does."""
    try:
        yield
    except FieldError as error:
        raise UnprocessableError(error) from error
    except RefusalError as error:
        if error.status != 400:
            raise
        raise UnprocessableError(FieldError("value_error", loc, error.message)) from error


def encode_error(error: RefusalError) -> dict[str, Any]:
    """Give the body of a refusal."""
    if isinstance(error, UnprocessableError):
        return {"detail": [error.field.encode()]}
    if error.code == NO_KEY:
        return {"message": error.message, "request_id": error.request_id}
    if error.status in {401, 422}:
        return {"detail": error.message}
    kind = "internal_server_error" if error.status >= 500 else _STATUS_TYPES.get(error.status, "invalid_request_error")
    code = "1300" if error.status == 429 else error.code
    return {"object": "error", "message": error.message, "type": kind, "param": error.param, "code": code}


def encode_row_error(error: RowError) -> dict[str, Any]:
    """Give the body of a failed row; of one that a schema refuses, the message is an object."""
    if isinstance(error, BadBodyError):
        return _row_error({"detail": [error.field.encode()]}, "invalid_request_error", None, error)
    code = error.code if error.code in _TYPES else _ROW_CODES.get(error.status)
    kind = "internal_server_error" if error.status >= 500 else _TYPES.get(code or "", "invalid_request_error")
    return _row_error(error.message, kind, code, error)


def _row_error(message: Any, kind: str, code: str | None, error: RowError) -> dict[str, Any]:
    status = error.status
    body = {"object": "error", "message": message, "type": kind, "param": error.param, "code": code}
    return {**body, "raw_status_code": status}


def message_of(line: bytes) -> str:
    """Give the message of a line of failed rows, however deep it lies."""
    body = msgspec.json.decode(msgspec.json.decode(line)["response"]["body"])
    message = body["message"]
    return message if isinstance(message, str) else str(message["detail"][0]["msg"])
