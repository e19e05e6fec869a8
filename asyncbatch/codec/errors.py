"""What a provider's error body says, whatever shape it comes in: a code, a message, and whether the provider wrote it.

The last matters for a create: a 403 in the provider's own JSON proves a refusal, the same 403 as a firewall's page proves
nothing. Shapes seen: `{"error": {…}}`, with Anthropic's or Google's `details`, `{"error": "text"}`, `{"code", "message"}`,
`{"message"}`, `{"detail": "text"}`, `{"detail": [{"loc", "msg"}]}`, plain text, HTML, nothing.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import structs

from asyncbatch.dto import ProviderStatus

_SHOWN_BYTES = 512
_READ_CHARS = 8 * _SHOWN_BYTES
_SHOWN_FINDINGS = 8
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Words that look like keys, whoever wrote them into the message: providers echo the key they refuse. After "Bearer" a word
# without a digit or a star is prose ("Bearer authentication").
_SECRET = re.compile(
    r"\b(?:(?:(?:sk|pk|gsk|xai|key)[-_]|Bearer\s+(?=[^\s\d*]*[\d*]))[A-Za-z0-9_\-*.]{6,}|AIza[A-Za-z0-9_\-*.]{6,})"
)
_LONGEST_S = 1e9
_NAME = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
"""A length of time as Google writes it in JSON."""


class ErrorReport(NamedTuple):
    """An error body, read.

    Attributes:
        code: The provider's code, as a text; None where it gives none.
        kind: The provider's class of errors (`type`, `status`); None where it gives none.
        message: Its words, in one line, at most 512 bytes, with whatever looks like a key removed.
        is_own_shape: Whether the body is a JSON error that a provider's API writes, rather than a portal or a proxy.
        retry_after: Seconds that the body asks us to wait.
    """

    code: str | None = None
    kind: str | None = None
    message: str = ""
    is_own_shape: bool = False
    retry_after: float | None = None


def decode_error(body: bytes, secrets: tuple[str, ...] = ()) -> ErrorReport:
    """Read an error body; never raises. Secrets go first of all: once a message is cut, half of one is not recognised."""
    for secret in secrets:
        body = re.sub(re.escape(secret.encode()), b"[secret]", body, flags=re.IGNORECASE)
    try:
        return _from_value(msgspec.json.decode(body))
    except (
        msgspec.MsgspecError,
        ValueError,
        RecursionError,
    ):  # the last: what can just be read may be too deep to be shown
        return ErrorReport(message=_one_line(body[:_READ_CHARS].decode("utf-8", "replace")))


def _from_value(value: Any) -> ErrorReport:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    if len(items) == 1:  # Google wraps its envelope into a list now and then
        value = items[0]
    if isinstance(value, dict):
        return _from_object(cast("dict[str, Any]", value))
    return ErrorReport(message=_one_line(str(cast("Any", value))))


def _from_object(value: dict[str, Any]) -> ErrorReport:
    error: Any = value.get("error")
    if isinstance(error, dict):
        return _from_envelope(cast("dict[str, Any]", error))
    if isinstance(error, str):
        words, code = value.get("message"), value.get("code")
        is_name = bool(words) and not code and _NAME.fullmatch(error) is not None
        report = _report(error, None, words) if is_name else _report(code, None, error)
        return report._replace(retry_after=_number(value.get("retry_after_seconds")))
    message = value.get("message") or value.get("Message") or value.get("detail")
    if message is not None:
        return _report(value.get("code"), value.get("type"), message)
    return ErrorReport(message=_one_line(str(value)))


def _from_envelope(error: dict[str, Any]) -> ErrorReport:
    """Read what stands in `{"error": {…}}`: the most exact word becomes the code."""
    code, kind = error.get("code"), error.get("type") or error.get("status")
    if isinstance(code, int) and isinstance(error.get("status"), str):
        code = error["status"]  # Google's number only repeats the HTTP status
    details = _objects(error.get("details"))
    words = (_word(detail.get("error_code")) or _word(detail.get("reason")) for detail in details)
    waits = (_seconds(detail.get("retryDelay")) for detail in details)
    report = _report(next(filter(None, words), code), kind, error.get("message"))
    return report._replace(retry_after=next((wait for wait in waits if wait is not None), None))


def _objects(value: Any) -> list[dict[str, Any]]:
    """Give the objects of a list, or the one object there is."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _report(code: object, kind: object, message: object) -> ErrorReport:
    return ErrorReport(_word(code), _word(kind), _one_line(_text(message)), is_own_shape=True)


def _text(message: Any) -> str:
    """Give a message as a text; a list of what a validation found names the place of each finding."""
    if isinstance(message, dict):
        words = cast("dict[str, Any]", message)
        message = words.get("detail") or words.get("message") or words.get("error") or str(words)
    findings = _objects(message) if isinstance(message, list) else []
    if findings and all(isinstance(finding.get("msg"), str) for finding in findings):
        return "; ".join(_finding(finding) for finding in findings[:_SHOWN_FINDINGS])
    return "" if message is None else str(cast("Any", message))


def _finding(finding: dict[str, Any]) -> str:
    loc = finding.get("loc")
    place = ".".join(str(step) for step in cast("list[Any]", loc)) if isinstance(loc, list) else ""
    return f"{place}: {finding['msg']}" if place else str(finding["msg"])


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LONGEST_S else None


def _seconds(value: object) -> float | None:
    found = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found else None


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _one_line(text: str) -> str:
    plain = redact(_SPACE.sub(" ", _TAGS.sub(" ", text[:_READ_CHARS])).strip())
    return plain.encode("utf-8", "replace")[:_SHOWN_BYTES].decode("utf-8", "ignore")


def clear(status: ProviderStatus, secrets: tuple[str, ...]) -> ProviderStatus:
    """Take the secrets out of what a provider says of a batch in words: that is kept in the journal, and logged.

    Ids and addresses stay as they are, whatever is in them: a batch under another name would be lost.
    """
    (found,) = clear_all((status,), secrets)
    return found


def clear_all(statuses: Sequence[ProviderStatus], secrets: tuple[str, ...]) -> tuple[ProviderStatus, ...]:
    """Do so with those of a page, of which most say the same word and nothing besides."""
    words = {status.raw_status for status in statuses}
    quoting = {word for word in words if any(secret.casefold() in word.casefold() for secret in secrets)}
    return tuple(
        [
            _cleared(status, secrets, is_quoting=status.raw_status in quoting)
            if status.errors or status.error_message or status.raw_status in quoting
            else status
            for status in statuses
        ]
    )


def _cleared(status: ProviderStatus, secrets: tuple[str, ...], *, is_quoting: bool) -> ProviderStatus:
    errors = tuple(
        structs.replace(item, code=redact(item.code, secrets), message=redact(item.message, secrets))
        for item in status.errors
    )
    message = status.error_message and redact(status.error_message, secrets)
    raw_status = redact(status.raw_status, secrets) if is_quoting else status.raw_status
    return structs.replace(status, raw_status=raw_status, errors=errors, error_message=message)


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Take out the given secrets and whatever looks like a key."""
    return _SECRET.sub("[secret]", without(text, secrets))


def without(text: str, secrets: tuple[str, ...]) -> str:
    """Take out the secrets, in small letters too, as names of codings and schemes are read; what only looks like one stays."""
    for secret in secrets:
        text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
    return text
