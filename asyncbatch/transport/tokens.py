"""Tokens in a key's place: fetched when a call needs one, kept until shortly before they end, and fetched anew once refused."""

import re
from collections.abc import Awaitable, Callable
from importlib import import_module
from inspect import isawaitable
from typing import Any, TypeAlias

import anyio

from asyncbatch.exceptions import (
    AsyncBatchError,
    ProviderError,
    ProviderPermanentError,
    ProviderTransientError,
)
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import OfThisProcess, Secret
from asyncbatch.transport.sessions import Headers

TokenSource: TypeAlias = Callable[[], Awaitable[Any]]
"""An async function that gives a token: a text, or an object with `token` and, as Unix seconds, `expires_on`."""

_MARGIN_S = 300.0
"""So long before its end, and never more than half its life, a token is replaced."""
_UNDATED_S = 60.0
"""So long is a token kept that does not say when it ends; whoever gives it may keep it, too."""
_FETCH_S = 60.0
_REST_S = 30.0
"""So long is a source that failed left alone while the token before it is good."""
_PRINTABLE = re.compile(r"[!-~]+")


class Source(OfThisProcess):
    """What gives tokens, which may know how more of them are made: it is in no pickle, and its repr shows nothing."""

    __slots__ = ("_ask",)

    def __init__(self, ask: TokenSource) -> None:
        self._ask = ask

    def __call__(self) -> Awaitable[Any]:
        return self._ask()


class Tokens(OfThisProcess):
    """The tokens of one account, of which one at a time is good.

    Args:
        source: Gives a token.
        provider: Whose name errors bear.
        header: What carries it.
        before: What stands before it there, such as `Bearer `.
    """

    def __init__(self, source: TokenSource, *, provider: str, header: str, before: str) -> None:
        self.source: Callable[[], Any] = source
        self._provider = provider
        self._header = header
        self._before = before
        self._token: Secret | None = None
        self._former: Secret | None = None
        self._replace_at = self._ends_at = 0.0
        self._refused = 0
        self._failures = 0
        self._lock = anyio.Lock()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The token, and the one before it, which answers that are under way may quote."""
        return tuple(token for token in (self._token, self._former) if token is not None)

    async def headers(self, now: float) -> Headers:
        """Give the header of a call that is sent now; whoever comes while a token is fetched waits for the same one.

        Raises:
            ProviderTransientError: There is none just now.
            ProviderPermanentError: What is given in its place is none.
        """
        failures = self._failures
        async with self._lock:
            if (
                self._token is None and self._failures > failures
            ):  # whoever waited for that need not wait for another one
                raise self._failure("it failed just now")
            if self._token is None or now >= self._replace_at:
                await self._fetch(now)
            return Headers({self._header: Secret(f"{self._before}{self._token or ''}")})

    def take_source_of(self, other: "Tokens") -> None:
        """Ask another source from now on; the token that there is stays until its end, or until it is refused."""
        self.source = other.source

    def renew(self, sent: Headers) -> bool:
        """Take back a token with which a call was refused; gives whether another one may be better."""
        if sent.get(self._header) == f"{self._before}{self._token}":
            self._former, self._token = self._token, None
            self._refused += 1
        return self._refused <= 1

    def note_taken(self) -> None:
        """Hear that a call was not refused."""
        self._refused = 0

    async def _fetch(self, now: float) -> None:
        try:
            with anyio.fail_after(_FETCH_S):
                token, ends_at = await self._ask()
        except AsyncBatchError:
            raise
        except Exception as error:  # noqa: BLE001 the source is the caller's, and may raise whatever there is
            if self._token is not None and now < self._ends_at:  # the one that there is, is good for some minutes yet
                self._replace_at = min(now + _REST_S, self._ends_at)
                return
            self._failures += 1
            failure = self._failure(type(error).__name__)
        else:
            if token is not None:
                self._take(token, now, now + _UNDATED_S if ends_at is None else ends_at)
                return
            failure = self._unfit()
        # Raised out here, for then nothing of the source's own error, which may quote a secret, hangs on ours.
        raise failure

    async def _ask(self) -> tuple[Secret | None, float | None]:
        asked = self.source()
        return _read(await asked) if isawaitable(asked) else (None, None)

    def _take(self, token: Secret, now: float, ends_at: float) -> None:
        if self._token is not None and token != self._token:
            self._former = self._token
        self._token, self._ends_at = token, ends_at
        self._replace_at = ends_at - min(_MARGIN_S, max(0.0, ends_at - now) / 2)

    def _failure(self, kind: str) -> ProviderError:
        message = f"{self._provider}: no token could be had: {kind}"
        hint = "ask where it comes from by itself, which says why"
        return ProviderTransientError(message, provider=self._provider, code="no_token", hint=hint)

    def _unfit(self) -> ProviderError:
        message = f"{self._provider}: what gives tokens gave none that can be sent"
        hint = "it is an async function that gives a text, or an object with `token` and `expires_on`"
        return ProviderPermanentError(message, provider=self._provider, code="no_token", hint=hint, is_auth=True)


async def found_by_itself(provider: str, name: str, scope: str | None) -> Any:
    """Ask credentials that look for themselves, which need a package of their own; opened and closed each time."""
    module, _, kind = name.partition(":")
    try:
        found = await Runtime().offload(import_module, module)  # which takes a second
    except ImportError:
        message = f"{provider}: the package for its credentials is not installed"
        failure = ProviderPermanentError(
            message, provider=provider, code="no_token", hint=f'pip install "asyncbatch[{provider}]"', is_auth=True
        )
    else:
        async with getattr(found, kind)() as credential:
            return await credential.get_token(scope)
    raise failure


def _read(given: Any) -> tuple[Secret | None, float | None]:
    """Give a token, and when it ends; None for what is none. Never raises, so that no traceback shows what was given."""
    text, ends_at = (
        given if isinstance(given, str) else getattr(given, "token", None),
        getattr(given, "expires_on", None),
    )
    is_token = isinstance(text, str) and _PRINTABLE.fullmatch(text) is not None
    return Secret(text) if is_token else None, float(ends_at) if isinstance(ends_at, int | float) else None
