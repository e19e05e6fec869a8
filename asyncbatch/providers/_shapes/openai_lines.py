"""The lines of OpenAI's output and error files, and the rows that they become.

Source: openai/openai-openapi:openapi.yaml (BatchRequestOutput), and the behaviour noted in `docs/providers/openai.md`.
"""

import re
from collections.abc import Sequence

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.lines import undecodable
from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.enums import ErrorClass, ResultStatus
from asyncbatch.providers._shapes.openai import Fault, word
from asyncbatch.wire_provider import UNREADABLE, HttpStatus

_NULL, _EMPTY = msgspec.Raw(b"null"), msgspec.Raw(b"{}")
_SUCCEEDED = ResultStatus.SUCCEEDED  # a look at an enum for each row costs as much as reading its id


class _Answer(msgspec.Struct, frozen=True, gc=False):
    status_code: HttpStatus = 0
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, frozen=True, gc=False):
    custom_id: str
    id: str | None = None
    response: _Answer | None = None
    error: Fault | str | None = None


class _Refusal(msgspec.Struct, frozen=True, gc=False):
    error: Fault | str | None = None


class _Named(msgspec.Struct, frozen=True, gc=False):
    object: str | None = None


_OBJECTS = {
    "chat.completion": "openai.chat",
    "response": "openai.responses",
    "text_completion": "openai.completion",
}
_NAMED = msgspec.json.Decoder(_Named)
_LINE = msgspec.json.Decoder(_Line)
_REFUSAL = msgspec.json.Decoder(_Refusal, strict=False)


def decode_line(line: bytes, *, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002 the design's word
    """Read a line of an output or error file; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _read_line(line)
    except UNREADABLE as error:
        return undecodable(line, str(error))
    format = format or _format_of(_body(item))  # noqa: A001
    return _answered(item, answers.usage(format, _body(item)), format) or _unanswered(item, line, format, facts)


def decode_lines(lines: Sequence[bytes], *, format: str, facts: ProviderFacts) -> list[ProviderResultRow]:  # noqa: A002
    """Read many lines, each as `decode_line` would; what most of them are is read together."""
    try:
        items = [_read_line(line) for line in lines] if format else None
    except UNREADABLE:
        items = None
    if items is None:
        return [decode_line(line, format=format, facts=facts) for line in lines]
    usages = answers.usages(format, [_body(item) for item in items])
    return [
        _answered(item, usage, format) or _unanswered(item, line, format, facts)
        for item, usage, line in zip(items, usages, lines, strict=True)
    ]


def _read_line(line: bytes) -> _Line:
    if not line.isascii():
        line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    return _LINE.decode(line)


def _format_of(body: msgspec.Raw) -> str:
    """Give the format of an answer whose batch does not tell its endpoint: it says itself what it is."""
    try:
        return _OBJECTS.get(_NAMED.decode(body).object or "", "")
    except UNREADABLE:
        return ""


def _body(item: _Line) -> msgspec.Raw:
    """Give the answer that stands in a line, for whoever adds tokens up; an empty object where there is none."""
    answer = item.response
    return answer.body if answer is not None and len(answer.body) > len(_NULL) else _EMPTY


def _answered(item: _Line, usage: UsageInfo | None, format: str) -> ProviderResultRow | None:  # noqa: A002
    """Give the row of an answer; None where there is none."""
    answer = item.response
    if answer is None or not 200 <= answer.status_code < 300:
        return None
    body = answer.body  # a part of its line, which is little more than this, and is kept by it
    if not body or (len(body) == len(_NULL) and body == _NULL):
        return None
    metadata = {"provider_request_id": answer.request_id} if answer.request_id else {}
    return ProviderResultRow(
        request_id=item.custom_id, status=_SUCCEEDED, body=body, format=format, usage=usage, metadata=metadata
    )


def _unanswered(item: _Line, line: bytes, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002
    answer = item.response
    if answer is not None and answer.status_code:
        return _refused(item.custom_id, answer, format, facts)
    if item.error is not None:
        return _never_ran(item.custom_id, _fault(item.error), facts)
    return undecodable(line, "it holds neither a response nor an error")


def _refused(request_id: str, answer: _Answer, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002
    fault = _refusal(bytes(answer.body))
    code = word(fault.code)
    is_retryable = facts.classify(answer.status_code, code or None) is not ErrorClass.PERMANENT
    error = RowError(
        code=code or f"http_{answer.status_code}",
        message=word(fault.message),
        retryable=is_retryable,
        status=answer.status_code,
    )
    metadata = {"provider_request_id": answer.request_id} if answer.request_id else {}
    return ProviderResultRow(
        request_id=request_id,
        status=ResultStatus.ERRORED,
        body=answer.body,
        format=format,
        error=error,
        metadata=metadata,
    )


def _refusal(body: bytes) -> Fault:
    try:
        return _fault(_REFUSAL.decode(body).error)
    except UNREADABLE:
        return Fault(message=body[:200].decode("utf-8", "replace"))


def _fault(error: Fault | str | None) -> Fault:
    return Fault(message=error) if isinstance(error, str) else error or Fault()


_HTTP = re.compile(r"[45][0-9]{2}", re.ASCII)
_ENDS = {"batch_expired": ResultStatus.EXPIRED, "batch_cancelled": ResultStatus.CANCELLED}


def _never_ran(request_id: str, fault: Fault, facts: ProviderFacts) -> ProviderResultRow:
    code = word(fault.code)
    status = int(code) if _HTTP.fullmatch(code) else None  # what others write beside the answer stands in it here
    meaning = facts.classify_batch_error(code) if status is None else facts.classify(status)
    error = RowError(
        code=code, message=word(fault.message), retryable=meaning is not ErrorClass.PERMANENT, status=status
    )
    return ProviderResultRow(request_id=request_id, status=_ENDS.get(code, ResultStatus.ERRORED), error=error)
