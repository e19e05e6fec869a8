"""What a user hands in, made uniform: a prompt, a body, a Struct or a ready row becomes an id and a body.

A ready row has a `body` and perhaps `custom_id`, `method` and `url`, as the JSONL files of batch APIs have it. Anything else
that is an object is a bare body. A string is a prompt. Whatever cannot be sent raises a `RowFault` that names the value.
"""

import dataclasses
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn, cast

import msgspec

from asyncbatch.dto import BadRow
from asyncbatch.enums import BatchMode

ENVELOPE = frozenset({"custom_id", "method", "url", "body"})
_SHOWN = 80
_READ = msgspec.json.Decoder[Any]()
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, bool, type(None)})
_DEEP = 8


class RowFault(Exception):  # noqa: N818 a row is at fault; the error that users meet is InvalidRequestsError
    """One row cannot be sent; `code` is a stable word, the message names the value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request in one shape: its own id if it has one, its body, and the path it insists on if it does."""

    request_id: str | None
    body: dict[str, Any]
    url: str | None = None


class EncodedRow(msgspec.Struct, frozen=True, gc=False):
    """A request as it travels: its line, newline included, how many inputs it counts for, and what was left out of it."""

    line: bytes
    inputs: int = 1
    dropped: tuple[str, ...] = ()


def shown(value: object) -> str:
    """Quote a value in an error, cut to a readable length."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def decode_request(item: Any, mode: BatchMode) -> Request:
    """Make one item of the user's input uniform; the body is a new dict at its top level."""
    if type(item) is dict and _TEXT.issuperset(map(type, cast("dict[Any, Any]", item))):
        fields: dict[str, Any] = cast("dict[str, Any]", item).copy()
    elif isinstance(item, str):
        return Request(None, prompt_body(item, mode))
    elif isinstance(item, BadRow):
        raise RowFault(item.code, item.message)
    else:
        fields = _fields(item)
    if "body" in fields and fields.keys() <= ENVELOPE:
        return _ready(fields)
    if "custom_id" in fields:
        _refuse_half_envelope(fields)
    return Request(None, fields)


def peek_id(item: Any) -> str | None:
    """Give the id that a ready row names, whatever else is wrong with it; None where there is none to be read."""
    found: Any = cast("Mapping[Any, Any]", item).get("custom_id") if isinstance(item, Mapping) else None
    return found if isinstance(found, str) else None


def prompt_body(text: str, mode: BatchMode) -> dict[str, Any]:
    """Give the body that asks for the answer to a text."""
    match mode:
        case BatchMode.CHAT:
            return {"messages": [{"role": "user", "content": text}]}
        case BatchMode.COMPLETION:
            return {"prompt": text}
        case BatchMode.EMBEDDING:
            return {"input": text}
        case _:
            raise RowFault(
                "not_an_object", f"mode custom sends bodies as they are and cannot wrap the text {shown(text)}"
            )


def _fields(item: Any) -> dict[str, Any]:
    fields: dict[Any, Any]
    if type(item) is dict or isinstance(item, Mapping):
        fields = dict(cast("Mapping[Any, Any]", item))
    elif isinstance(item, msgspec.Struct) or (dataclasses.is_dataclass(item) and not isinstance(item, type)):
        fields = _builtins(item)
    elif hasattr(item, "model_dump") and not isinstance(item, type):
        fields = dump_model(item)
    else:
        raise RowFault("not_an_object", f"a request is an object or a text, not {type(item).__name__}: {shown(item)}")
    if not _TEXT.issuperset(map(type, fields)):
        _refuse_wrong_key(fields)
    return fields


def _refuse_wrong_key(fields: Mapping[Any, Any]) -> None:
    wrong = next((key for key in fields if not isinstance(key, str)), None)
    if wrong is not None:
        raise RowFault("not_json", f"the key {shown(wrong)} is no text")


def _builtins(item: Any) -> dict[Any, Any]:
    try:
        plain: Any = msgspec.to_builtins(item, str_keys=True, enc_hook=_foreign)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowFault("not_json", f"it is not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise RowFault("not_an_object", f"{type(item).__name__} does not become a JSON object")
    return cast("dict[Any, Any]", plain)


def dump_model(item: Any) -> dict[Any, Any]:
    """Dump a pydantic model; pydantic itself is never imported, unless the caller did."""
    try:
        return dict(item.model_dump(mode="json", exclude_unset=True))
    except (TypeError, ValueError) as error:
        raise RowFault("not_json", f"it is not JSON: {error}") from None


def _foreign(value: Any) -> Any:
    """Give a value that msgspec does not know: the objects of SDKs, which messages are made of, are pydantic models."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return dump_model(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _ready(fields: dict[str, Any]) -> Request:
    request_id, body, url = fields.get("custom_id"), fields["body"], fields.get("url")
    if request_id is not None and not isinstance(request_id, str):
        raise RowFault("bad_id", f"custom_id is {shown(request_id)}, not a text")
    if fields.get("method", "POST") != "POST":
        raise RowFault("bad_method", f"method is {shown(fields['method'])}; batches take POST")
    if url is not None and not isinstance(url, str):
        raise RowFault("bad_url", f"url is {shown(url)}, not a text")
    if isinstance(body, str):
        raise RowFault("not_an_object", f"body is the text {shown(body)}, not an object")
    return Request(request_id, _fields(body), url)


def _refuse_half_envelope(fields: dict[str, Any]) -> NoReturn:
    if "body" not in fields:
        raise RowFault("no_body", "it has a custom_id but no body: wrap the request as {custom_id, body: {…}}")
    extra = ", ".join(sorted(fields.keys() - ENVELOPE))
    raise RowFault("unknown_field", f"beside custom_id and body it has {extra}, which no batch file knows")


def encode_json(value: object) -> bytes:
    """Encode strictly, in one line: NaN, infinities, lone surrogates and values that are no JSON are refused by name."""
    try:
        data = _ENCODER.encode(value)
        if type(value) is str or is_plain(value):
            return data
        _READ.decode(data)  # a msgspec.Raw inside travels as it is, and may hold anything
    except UnicodeEncodeError as error:
        raise RowFault(
            "surrogate", f"a text holds the lone surrogate {error.object[error.start]!r}, no valid UTF-8"
        ) from None
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise RowFault("not_json", f"it is not JSON: {str(error) or type(error).__name__}") from None
    if b"null" in data:  # msgspec writes NaN as null, so only a body with a null can hide one
        _refuse_nan(value)
    return msgspec.json.format(data, indent=-1) if b"\n" in data else data


def is_plain(value: Any, deep: int = _DEEP) -> bool:
    """Whether it holds values of JSON's own types alone, and no number that JSON has no word for.

    What such a value is encoded to needs no second look. Of one that is nested deeper, nothing is said.
    """
    kind = cast("type[Any]", type(value))
    values: Any = value
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        values = value.values()
    elif kind is not list:
        return kind in _SCALARS or (kind is float and isfinite(value))
    if _SCALARS.issuperset(map(type, values)):  # most values of most requests, and no step of ours for each
        return True
    for inner in values if deep else ():
        if type(inner) not in _SCALARS and not is_plain(inner, deep - 1):
            return False
    return deep > 0


def _refuse_nan(value: object) -> None:
    try:
        json.dumps(value, allow_nan=False, default=_plain)
    except ValueError as error:
        raise RowFault("nan", f"it holds a number that JSON has no word for (NaN or infinity): {error}") from None
    except TypeError as error:  # a key that msgspec takes and the standard library does not: bytes, a UUID
        raise RowFault("not_json", f"it is not JSON: {error}") from None


_ENCODER = msgspec.json.Encoder(enc_hook=_foreign)


def _plain(value: object) -> Any:
    return _READ.decode(value) if isinstance(value, msgspec.Raw) else msgspec.to_builtins(value, enc_hook=_foreign)


def check_id(request_id: str, pattern: Any = None) -> None:
    """Refuse an id that cannot travel; `pattern` is a compiled expression that the provider's ids must match whole."""
    if not request_id:
        raise RowFault("bad_id", "custom_id is empty")
    if not request_id.isascii() and any("\ud800" <= char <= "\udfff" for char in request_id):
        raise RowFault("surrogate", f"custom_id {shown(request_id)} holds a lone surrogate")
    if pattern is not None and not pattern.fullmatch(request_id):
        raise RowFault("bad_id", f"custom_id {shown(request_id)} does not fit this provider's rule {pattern.pattern}")


def mint_id(row: int) -> str:
    """Give an absent id: the row's number, so that the same input has the same ids in every run."""
    return f"{row:07d}"
