"""The sessions of one registry scope: three profiles, shared by all providers and accounts.

Credentials travel with each call and never live in a session, cookies are not kept, and redirects are not followed by
themselves. What changes something goes over a fresh connection, a create above all: on one that is kept alive, "the server
closed it before we wrote" and "the server took it and the answer was lost" look the same.
"""

import ssl
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, SupportsIndex
from weakref import WeakValueDictionary

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from yarl import URL

from asyncbatch._version import __version__
from asyncbatch.exceptions import ConfigError
from asyncbatch.runtime import LoopBound, Runtime, finish
from asyncbatch.secrecy import Secret, refuse_to_leave
from asyncbatch.transport.addresses import PublicResolver, is_public
from asyncbatch.transport.proxies import Proxies, secrets_of, without_user
from asyncbatch.transport.trust import check_verifying, environments_context, named_context
from asyncbatch.turns import Turns

USER_AGENT = f"asyncbatch/{__version__}"
_ABROAD = "abroad"
_HINT = "open it first: `async with registry.open() as scope`, or `async with provider`"


class Headers(dict[str, str]):
    """Headers of a call, which tracebacks that print local variables name without what they say, and that are in no pickle."""

    @classmethod
    def merged(cls, *sources: Mapping[str, str]) -> Self:
        """Put headers together; a later source replaces what an earlier one says of the same name, however that is written."""
        found = {name.lower(): (name, value) for source in sources for name, value in source.items()}
        return cls(found.values())

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_to_leave(self, "there may be a key in them")


class Options(dict[str, Any]):
    """What is set on a call, perhaps a proxy with its password: tracebacks that print local variables show no values."""

    def __repr__(self) -> str:
        return f"<options {', '.join(self)}>"


class Opened:
    """An answer under way, which tracebacks that print local variables name without its address and headers."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def __aenter__(self) -> Self:
        await self.response.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.response.__aexit__(kind, error, trace)


class Profile(StrEnum):
    """What a call is for; each has a session of its own."""

    CONTROL = "control"
    """Creates, cancels, file operations: each on a fresh connection, but for those that only read."""
    POLL = "poll"
    """Status and lists: connections are kept, a few for each host."""
    BULK = "bulk"
    """Uploads and downloads: no limit in all, but one for each silence."""


class Http(msgspec.Struct, frozen=True, kw_only=True):
    """How bytes move.

    Attributes:
        control_total_s: Longest life of a control call, but for a create that streams its requests.
        create_answer_s: Longest wait for the answer to such a create, once the last of it has been sent: the server reads up to
            256 MB of requests before it says anything.
        poll_total_s: Longest life of a status or list call.
        connect_s: Longest wait for a connection.
        header_s: Longest wait for the beginning of a download, with the wait for a free connection.
        read_s: Longest silence in an upload or download.
        limit_per_account: Calls of one account under way, for each profile: a customer whose calls all hang keeps no other
            from a connection.
        limit_per_host: Calls to one host under way, for each profile, beyond one for each account: that one never waits for
            other accounts, and these are handed out among them in turn.
        answer_bytes: Largest JSON answer that is read.
        file_bytes: Largest download.
        inflation: Bytes that one byte of a compressed download may become, beyond its first 16 MiB.
        slowest_bytes: A transfer that moves less than this ...
        slowest_s: ... in this many seconds is given up and made again.
        redirects: Hops followed by hand, for downloads only.
        allow_private: Follow them from a public host to addresses that are not public, too.
        proxy: A proxy for everything; the environment is not asked. What stands before its `@` is not shown anywhere.
        env_proxies: Go through the proxies that HTTPS_PROXY and HTTP_PROXY name, but for the hosts in NO_PROXY; read when the
            scope is opened. No password file is looked into, whatever it says.
        ca_file: A file of certificate authorities to trust instead of the system's (which are those of SSL_CERT_FILE and
            SSL_CERT_DIR, where the environment has these).
        ssl_context: Whom to trust, and with which certificate of our own; one that does not verify is refused.
    """

    control_total_s: float = 60.0
    create_answer_s: float = 300.0
    poll_total_s: float = 30.0
    connect_s: float = 15.0
    header_s: float = 900.0
    read_s: float = 60.0
    limit_per_account: int = 8
    limit_per_host: int = 64
    answer_bytes: int = 8 * 1024 * 1024
    file_bytes: int = 4 * 1024 * 1024 * 1024
    inflation: int = 200
    slowest_bytes: int = 16 * 1024
    slowest_s: float = 30.0
    redirects: int = 3
    allow_private: bool = False
    proxy: str | None = None
    env_proxies: bool = False
    ca_file: str | None = None
    ssl_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        for name in ("limit_per_account", "limit_per_host"):
            if getattr(self, name) < 1:
                message = f"{name} is {getattr(self, name)}: nothing could be sent"
                raise ConfigError(message, code="config.value", hint="it is 1 or more")
        if self.proxy is not None and "@" in self.proxy:
            msgspec.structs.force_setattr(self, "proxy", Secret(self.proxy))
        if self.env_proxies and self.proxy is not None:
            message = "proxy is for everything, and with env_proxies the environment would be asked, too"
            raise ConfigError(message, code="config.value", hint="give one of them")
        if self.ssl_context is not None:
            if self.ca_file is not None:
                hint = "load the file into the context: ssl_context.load_verify_locations(ca_file)"
                raise ConfigError("ca_file and ssl_context both say whom to trust", code="config.value", hint=hint)
            check_verifying(self.ssl_context)

    def __repr__(self) -> str:
        return f"Http({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override] # msgspec declares none
        for name, value in msgspec.structs.asdict(self).items():
            yield name, without_user(value) if name == "proxy" and value else value

    @property
    def secrets(self) -> tuple[str, ...]:
        """What stands before the proxy's `@`, as it is written and as it is sent: it must not appear anywhere."""
        return secrets_of(self.proxy)

    def timeout(self, profile: Profile) -> aiohttp.ClientTimeout:
        """Give the time limits of a profile."""
        if profile is Profile.BULK:
            return self.streaming(self.read_s)
        total = self.poll_total_s if profile is Profile.POLL else self.control_total_s
        return aiohttp.ClientTimeout(total=total, sock_connect=self.connect_s)

    def streaming(self, silence_s: float) -> aiohttp.ClientTimeout:
        """Give the time limits of a body that may take long: one for each silence, none in all."""
        return aiohttp.ClientTimeout(total=None, sock_connect=self.connect_s, sock_read=silence_s)

    def header_limit_s(self, profile: Profile) -> float | None:
        """Give the longest wait for the beginning of a body that streams to us: on other profiles than bulk, their total."""
        return self.header_s if profile is Profile.BULK else self.timeout(profile).total


class Sessions(LoopBound):
    """The aiohttp sessions of one scope; opened and closed on one event loop.

    An application's own session may be handed in: it serves every profile, with the time limits, redirects and decompression
    set on each call, and stays open when we leave.
    """

    def __init__(self, http: Http | None = None, session: aiohttp.ClientSession | None = None) -> None:
        super().__init__("the registry scope")
        self.http = http or Http()
        self._given = session
        self._proxies = Proxies(self.http.proxy)
        self._context: ssl.SSLContext | None = None
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._timeouts = {profile: self.http.timeout(profile) for profile in Profile}
        self._turns: WeakValueDictionary[tuple[Profile, str], Turns] = WeakValueDictionary()

    async def open(self, runtime: Runtime | None = None) -> None:
        # Certificates lie in files, and hundreds take tens of milliseconds to read.
        offload = (runtime or Runtime()).offload
        if self.http.env_proxies:
            self._proxies = Proxies.of_environment()
        self._context = await offload(named_context, self.http.ca_file, self.http.ssl_context)
        if self._given is None:
            named: ssl.SSLContext | bool | None = self._context
            context = await offload(environments_context) if named is None else named
            self._sessions = {profile: self._make(profile, context) for profile in Profile}
            if not self.http.allow_private:
                self._sessions[_ABROAD] = self._make(Profile.BULK, context, resolver=PublicResolver())
        self.bind()

    async def close(self) -> None:
        """Close what we opened, whatever cancels us meanwhile; harmless when repeated."""
        self.release()
        await finish(*(partial(self._close, profile) for profile in self._sessions))

    async def _close(self, profile: str) -> None:
        session = self._sessions.get(profile)
        if session is not None:
            await session.close()
            self._sessions.pop(profile, None)

    def get(self, profile: Profile) -> aiohttp.ClientSession:
        """Give the session of a profile, or say clearly why there is none."""
        self.check(_HINT)
        return self._given or self._sessions[profile]

    def abroad(self, home: URL, target: URL) -> aiohttp.ClientSession:
        """Give the session for where a redirect of a host leads: a public one leads to no address of our own network."""
        self.check(_HINT)
        is_guarded = is_public(home.host or "") and not self.has_proxy(target)  # it looks names up by itself
        guarded = self._sessions.get(_ABROAD) if is_guarded else None
        return guarded or self.get(Profile.BULK)

    def turns(self, profile: Profile, url: URL) -> Turns:
        """Give the places for calls of a profile to a host; they last while somebody has one or waits for one."""
        host = profile, url.raw_authority
        places = self._turns.get(host)
        if places is None:
            places = self._turns[host] = Turns(self.http.limit_per_host, has_own=True)
        return places

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the proxies must not appear anywhere."""
        return self._proxies.secrets

    def has_proxy(self, url: URL) -> bool:
        """Whether calls to an address go through a proxy."""
        return self._proxies.towards(url) is not None

    def options(self, profile: Profile, url: URL | None = None, *, silence_s: float | None = None) -> Options:
        """Give what is set on each call to an address, so that a session of the application's behaves like ours.

        With `silence_s` the call streams: whatever its profile, there is a limit for each silence and none in all.
        """
        timeout = self._timeouts[profile] if silence_s is None else self.http.streaming(silence_s)
        options = Options(timeout=timeout, allow_redirects=False, raise_for_status=False, auto_decompress=True)
        if proxy := self._proxies.towards(url):
            options.update(proxy=Secret(proxy), timeout=self._through_proxy(timeout))
        if self._context is not None:
            options["ssl"] = self._context
        return options

    def _through_proxy(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
        """Bound the wait for a proxy that takes the connection and says nothing, which is neither connecting nor reading."""
        # With a session of the application's, the wait for a free connection is in it.
        limit_s = self.http.connect_s if self._given is None else self.http.header_s
        return aiohttp.ClientTimeout(
            total=timeout.total, connect=limit_s, sock_connect=timeout.sock_connect, sock_read=timeout.sock_read
        )

    def _make(
        self, profile: Profile, context: ssl.SSLContext | bool, resolver: AbstractResolver | None = None
    ) -> aiohttp.ClientSession:
        # It would serve whoever asked first, and so those whose calls hang: `turns` counts instead.
        connector = aiohttp.TCPConnector(
            limit=0, force_close=profile is Profile.CONTROL, ssl=context, resolver=resolver
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
