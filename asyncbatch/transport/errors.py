"""Foreign exceptions and HTTP answers become ours here, once; nothing that carries a request header gets out.

aiohttp's own response errors print every request header in their repr and the whole URL in their str, keys included: so
none of them is raised on or chained.
"""

import ssl
from collections.abc import Mapping

import aiohttp

from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.errors import ErrorReport, decode_error, redact, without
from asyncbatch.enums import ErrorClass
from asyncbatch.exceptions import (
    ELSEWHERE,
    AsyncBatchError,
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
)
from asyncbatch.planning.retry import MAX_RETRY_AFTER_S, decode_retry_after, wants_retry
from asyncbatch.transport.addresses import PrivateAddressError


class UnfitAnswerError(aiohttp.ClientPayloadError):
    """An answer that we do not take; the text is ours, and may be shown."""


class RefusedAnswerError(UnfitAnswerError):
    """One that will be no other the next time: too large, in a coding that was not asked for, a redirect that leads astray."""


WIRE_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, UnicodeError)
"""What a call may raise besides cancellation (a UnicodeError: a host that no name server can be asked for); anything else is a
fault of ours and stays as it is."""

_NEVER_LEFT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    UnicodeError,
)
"""Raised before the first byte of a request left: refused, no such host, no TLS, no connection in time."""

PRIVATE_HINT = "if it is one of your own, Http(allow_private=True) lets downloads go there"
_PROXY_HINT = "look at Http(proxy=…), or at HTTPS_PROXY and NO_PROXY with env_proxies=True"
_CLOCK_HINT = "is the clock of this machine right? Otherwise the server needs a new certificate"
_HOST_HINT = "the base URL has to name the host that the certificate is for"
_CERTIFICATE_HINTS = {9: _CLOCK_HINT, 10: _CLOCK_HINT, 62: _HOST_HINT, 64: _HOST_HINT}
"""By OpenSSL's verify codes (x509_vfy.h): not valid yet, expired, another host, another address."""
_AUTHORITY_HINT = "name the authority to trust with Http(ca_file=…), Http(ssl_context=…) or SSL_CERT_FILE"

_WORDS: tuple[tuple[type[BaseException], str, str, str | None], ...] = (
    (aiohttp.ClientConnectorDNSError, "no such host", "unreachable", "look at the base URL and the network"),
    (aiohttp.ClientSSLError, "TLS: {}", "tls", "does the server speak https at all?"),
    (aiohttp.ClientProxyConnectionError, "no connection to the proxy: {}", "proxy", _PROXY_HINT),
    (aiohttp.ClientConnectorError, "no connection: {}", "unreachable", "is anything listening there?"),
    (aiohttp.ClientHttpProxyError, "the proxy refuses", "proxy", _PROXY_HINT),
    (TimeoutError, "no answer in time", "timeout", None),
    (aiohttp.ServerDisconnectedError, "the server closed the connection without an answer", "disconnected", None),
    (UnfitAnswerError, "{}", "unfit_answer", None),
    (aiohttp.ClientPayloadError, "the answer was cut off", "cut", None),
)


def is_before_first_byte(error: BaseException) -> bool:
    """Whether the error proves that the server saw nothing of the request."""
    return isinstance(error, _NEVER_LEFT)


def from_wire(
    error: BaseException, *, provider: str, what: str, origin: str, secrets: tuple[str, ...] = ()
) -> ProviderError:
    """Make an error of the wire ours: what failed, towards which host; no URL, and nothing of a header that quotes our key."""
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | UnicodeError):
        return ProviderPermanentError(f"{provider}: {origin!r} is no address", provider=provider, code="bad_url")
    message, code, hint = _describe(error)
    message = without(message, secrets)
    is_final = isinstance(error, RefusedAnswerError) or code == ELSEWHERE
    cls = ProviderPermanentError if is_final else ProviderTransientError
    return cls(f"{provider}: {what} failed: {message} ({origin})", provider=provider, code=code, hint=hint)


def ours_behind(error: BaseException) -> AsyncBatchError | None:
    """Give an error of our own that the wire only passed on: aiohttp wraps what the body of a request raises."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, AsyncBatchError):
        cause = cause.__cause__
    return cause


def _describe(error: BaseException) -> tuple[str, str, str | None]:
    cause = getattr(error, "certificate_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {cause.verify_message}", "tls", _CERTIFICATE_HINTS.get(cause.verify_code, _AUTHORITY_HINT)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddressError):
        return str(error.os_error), ELSEWHERE, PRIVATE_HINT  # only answers are looked for at addresses of others
    for kind, message, code, hint in _WORDS:  # the most special kind comes first
        if isinstance(error, kind):
            return message.format(_reason(error)), code, hint
    return _reason(error), "connection", None


def _reason(error: BaseException) -> str:
    if isinstance(error, UnfitAnswerError):
        return str(error)
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (isinstance(cause, OSError) and cause.strerror) or type(cause).__name__


def from_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    facts: ProviderFacts,
    what: str,
    now: float,
    secrets: tuple[str, ...] = (),
) -> ProviderError:
    """Make an HTTP answer that is no success an error, by the provider's own table."""
    report = decode_error(body, secrets)
    retry = wants_retry(headers)
    kind = facts.classify(status, report.code, report.kind, report.message)
    is_transient = kind is not ErrorClass.PERMANENT if retry is None else retry
    cls = ProviderTransientError if is_transient else ProviderPermanentError
    code = report.code or report.kind
    return cls(
        redact(_message(facts.name, what, status, report), secrets),
        provider=facts.name,
        status=status,
        code=without(code, secrets) if code else None,  # which may well be called `key_expired`
        request_id=request_id_of(headers, secrets),
        retry_after=_wait(decode_retry_after(headers, now), report.retry_after),
        hint=_hint(status, report, facts),
        is_auth=facts.is_auth_error(status, report.code, report.kind, report.message),
    )


def request_id_of(headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> str | None:
    """Give the provider's own name for a call, which its support asks for."""
    found = headers.get("x-request-id") or headers.get("request-id") or headers.get("apim-request-id")
    return without(found, secrets)[:200] if found else None


def _message(provider: str, what: str, status: int, report: ErrorReport) -> str:
    code = f" {report.code}" if report.code else ""
    return f"{provider}: {what} was answered {status}{code}: {report.message or 'no explanation'}"


def _wait(header_s: float | None, body_s: float | None) -> float | None:
    """The header's wait goes before the body's."""
    if header_s is not None or body_s is None:
        return header_s
    return min(body_s, MAX_RETRY_AFTER_S)


def _hint(status: int, report: ErrorReport, facts: ProviderFacts) -> str | None:
    if facts.is_auth_error(status, report.code, report.kind, report.message):
        names = " or ".join(facts.credentials.env) or "api_key"
        return f"check the key: {names}"
    if 300 <= status < 400:
        return "the base URL points elsewhere: check it"
    return None
