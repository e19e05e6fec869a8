"""Where calls go and what they carry: an account's own address, and addresses that a server hands out."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

import msgspec
from yarl import URL

from asyncbatch.secrecy import Secret
from asyncbatch.transport.addresses import is_loopback
from asyncbatch.transport.proxies import SECRET_CHARS
from asyncbatch.transport.sessions import USER_AGENT, Headers
from asyncbatch.transport.tokens import Tokens

_PRINTABLE = re.compile(r"[!-~]+")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account's calls go and what they carry; its repr shows no header values.

    Attributes:
        base_url: The API's root, without a slash at its end.
        headers: Harmless headers for every call.
        secret_headers: Credentials; they leave for this origin only.
        params: The query of every call, before its own.
        tokens: What gives the credential, where it is not the same for ever.
    """

    base_url: str
    headers: Mapping[str, str] = {}
    secret_headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    tokens: Tokens | None = None

    def __repr__(self) -> str:
        return f"Origin({self.base_url!r})"

    def __rich_repr__(self) -> Iterator[str]:  # type: ignore[override] # rich takes values too
        yield self.base_url

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not appear anywhere, with and without its scheme; longest first, whole values before parts."""
        values = [*self.secret_headers.values(), *(value.rpartition(" ")[2] for value in self.secret_headers.values())]
        return _longest_first([*values, *(self.tokens.secrets if self.tokens else ())])


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call, ready to be sent; its repr shows neither headers nor address.

    Attributes:
        what: How errors name it.
        where: The host that errors show.
        secrets: What must not appear in an error, whatever the server says.
        has_key: Whether it carries the account's credentials.
        home: Where the server is that gave its address; None where we made it.
    """

    method: str
    url: URL
    headers: Headers
    what: str
    where: str
    secrets: tuple[str, ...] = ()
    has_key: bool = True
    home: URL | None = None

    def __repr__(self) -> str:
        return f"Call({self.what!r})"

    def __rich_repr__(self) -> Iterator[str]:  # type: ignore[override] # rich takes values too
        yield self.what


class Outset:
    """What all calls of an account have in common, worked out once: nobody changes the headers of a call."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Make a call to a path below the account's base URL, with its credentials; no header of the call replaces those."""
        url = URL(self._origin.base_url + path, encoded=True)
        if self._origin.params:
            params = {**self._origin.params, **(params or {})}
        return Call(
            method=method,
            url=url.with_query(dict(params)) if params else url,
            headers=self._merged(headers) if headers else self._headers,
            what=f"{method} {path}",
            where=self._where,
            secrets=self._secrets,
        )

    def _merged(self, headers: Mapping[str, str]) -> Headers:
        origin = self._origin
        return Headers.merged({"User-Agent": USER_AGENT}, origin.headers, headers, origin.secret_headers)

    @cached_property
    def _headers(self) -> Headers:
        return self._merged({})

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        return self._origin.secrets

    @cached_property
    def _where(self) -> str:
        base_url = self._origin.base_url
        return str(URL(base_url).origin()) if "://" in base_url else base_url


def call_to_server_url(origin: Origin, method: str, text: str, headers: Mapping[str, str] | None = None) -> Call:
    """Make a call to an address that a server handed out: it carries no credential of ours, for the address itself is one.

    Raises:
        ValueError: The address is none that may be trusted with a body; the message does not show it.
    """
    url = _server_url(text, is_plain_allowed=origin.base_url.startswith("http://"))
    where = url.host_port_subcomponent or ""
    values = (text, str(url), url.raw_path_qs, url.raw_path, url.raw_query_string, *url.query.values())
    return Call(
        method=method,
        url=url,
        headers=Headers.merged({"User-Agent": USER_AGENT}, headers or {}),
        what=f"{method} to {where}",
        where=where,
        secrets=(*origin.secrets, *_longest_first(values)),
        has_key=False,
    )


def _server_url(text: str, *, is_plain_allowed: bool) -> URL:
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("it is no address")
    try:
        url = URL(text, encoded=True).with_fragment(None)
        has_user = url.user is not None or url.password is not None  # ValueError: a port that is none …
        (url.host or "").encode("idna")  # … or a host that no name server can be asked for
    except ValueError:
        raise ValueError("it is no address") from None
    if has_user:
        raise ValueError("it brings credentials of its own")
    if not url.host or not (
        url.scheme == "https" or (is_plain_allowed and url.scheme == "http" and is_loopback(url.host))
    ):
        raise ValueError("it is no https address")
    return url


def _longest_first(values: Iterator[str] | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    found = {Secret(value) for value in values if len(value) >= SECRET_CHARS}
    return tuple(sorted(found, key=len, reverse=True))
