"""Signed addresses: whoever has one may bring or fetch one file for ten minutes, and must not say who he is besides.

They lead to another name of the same machine, as those of the service lead to another host.
"""

import hashlib
from typing import Literal

from aiohttp import web
from yarl import URL

from asyncbatch.emulator.desk import Desk

_ALGORITHM = "GOOG4-RSA-SHA256"
_LOOPBACK = "127.0.0.1"


class Storage:
    """The storage of one desk, as far as addresses go."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def sign(
        self, request: web.Request, method: Literal["GET", "PUT"], key: str, name: str, *, size: int | None = None
    ) -> str:
        """Give an address for one file, and to bring it for one of this size."""
        path, lifetime_s = f"/storage/{key}/{name}", self._desk.protocol("url_lifetime_s")
        query = {
            "X-Goog-Algorithm": _ALGORITHM,
            "X-Goog-Date": f"{self._desk.clock.now():.3f}",
            "X-Goog-Expires": str(lifetime_s),
            **({} if size is None else {"size": str(size)}),
        }
        url = URL(self._desk.url(request, path)).with_query(
            {**query, "X-Goog-Signature": self._sign(method, path, query)}
        )
        return str(url.with_host("localhost" if url.host != "localhost" else _LOOPBACK))

    def refuse(self, request: web.Request) -> web.Response | None:
        """Say why a call to an address is refused; None where it is not."""
        query = dict(request.query)
        signature = query.pop("X-Goog-Signature", "")
        path = request.path.removeprefix(self._desk.dialect.mount)
        if "Authorization" in request.headers:
            return _refusal(400, "InvalidArgument", "Only one form of authentication is allowed.")
        if signature != self._sign(request.method, path, query):
            return _refusal(403, "SignatureDoesNotMatch", "The signature does not match.")
        if self._desk.clock.now() > float(query["X-Goog-Date"]) + float(query["X-Goog-Expires"]):
            return _refusal(400, "ExpiredToken", "The provided token has expired.")
        return None

    def _sign(self, method: str, path: str, query: dict[str, str]) -> str:
        secret = self._desk.store.directory.name
        return hashlib.sha256(f"{secret}\n{method}\n{path}\n{sorted(query.items())}".encode()).hexdigest()


def _refusal(status: int, code: str, message: str) -> web.Response:
    """Refuse as services of storage do, in XML."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


def refuse_upload(message: str) -> web.Response:
    return _refusal(400, "InvalidArgument", message)
