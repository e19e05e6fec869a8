"""What a provider's error body says, whatever shape it comes in: a code, a message, and whether the provider wrote it.

The last matters for a create: a 403 in the provider's own JSON proves a refusal, the same 403 as a firewall's page proves
nothing. Shapes seen: `{"error": {…}}`, `{"error": "text"}`, `{"code", "message"}`, `{"detail": …}`, `{"message"}`, plain text,
HTML, nothing.
"""

import re
from typing import Any, NamedTuple, cast

import msgspec

_SHOWN_BYTES = 512
_READ_CHARS = 8 * _SHOWN_BYTES
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Words that look like keys, whoever wrote them into the message: providers echo the key they refuse. After "Bearer" a word
# without a digit or a star is prose ("Bearer authentication").
_SECRET = re.compile(r"\b(?:(?:sk|pk|gsk|xai|key)[-_]|Bearer\s+(?=[^\s\d*]*[\d*]))[A-Za-z0-9_\-*.]{6,}")


class ErrorReport(NamedTuple):
    """An error body, read.

    Attributes:
        code: The provider's code, as a text; None where it gives none.
        kind: The provider's class of errors (`type`); None where it gives none.
        message: Its words, in one line, at most 512 bytes, with whatever looks like a key removed.
        is_own_shape: Whether the body is a JSON error that a provider's API writes, rather than a portal or a proxy.
    """

    code: str | None = None
    kind: str | None = None
    message: str = ""
    is_own_shape: bool = False


def decode_error(body: bytes, secrets: tuple[str, ...] = ()) -> ErrorReport:
    """Read an error body; never raises. Secrets go first of all: once a message is cut, half of one is not recognised."""
    for secret in secrets:
        body = body.replace(secret.encode(), b"[secret]")
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ErrorReport(message=_one_line(body[:_READ_CHARS].decode("utf-8", "replace")))
    items = cast("list[Any]", value) if isinstance(value, list) else []
    if len(items) == 1:  # Google wraps its envelope into a list now and then
        value = items[0]
    if isinstance(value, dict):
        return _from_object(cast("dict[str, Any]", value))
    return ErrorReport(message=_one_line(str(cast("Any", value))))


def _from_object(value: dict[str, Any]) -> ErrorReport:
    error: Any = value.get("error")
    if isinstance(error, dict):
        error = cast("dict[str, Any]", error)
        return _report(error.get("code"), error.get("type") or error.get("status"), error.get("message"))
    if isinstance(error, str):
        return _report(value.get("code"), None, error)
    message = value.get("message") or value.get("Message") or value.get("detail")
    if message is not None:
        return _report(value.get("code"), value.get("type"), message)
    return ErrorReport(message=_one_line(str(value)))


def _report(code: object, kind: object, message: object) -> ErrorReport:
    text = message if isinstance(message, str) else "" if message is None else str(message)
    return ErrorReport(_word(code), _word(kind), _one_line(text), is_own_shape=True)


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _one_line(text: str) -> str:
    plain = redact(_SPACE.sub(" ", _TAGS.sub(" ", text[:_READ_CHARS])).strip())
    return plain.encode("utf-8", "replace")[:_SHOWN_BYTES].decode("utf-8", "ignore")


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Take out the given secrets and whatever looks like a key."""
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return _SECRET.sub("[secret]", text)
