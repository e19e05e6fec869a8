"""How one account's calls are sent: once, or repeated while that may help; what comes back is an answer or an error of ours."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

import aiohttp
import anyio
from msgspec import structs
from yarl import URL

from asyncbatch.catalog import ProviderFacts
from asyncbatch.exceptions import ELSEWHERE, ProviderError, ProviderPermanentError, ProviderTransientError
from asyncbatch.planning.quota import decode_rest
from asyncbatch.planning.retry import Retry, RetryBudget, decode_lag, decode_lead, decode_retry_after, next_delay
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import OfThisProcess, Unseen
from asyncbatch.transport.addresses import is_public
from asyncbatch.transport.bodies import StreamedPayload
from asyncbatch.transport.downloads import Answer, download
from asyncbatch.transport.errors import (
    PRIVATE_HINT,
    WIRE_ERRORS,
    UnfitAnswerError,
    from_answer,
    from_wire,
    ours_behind,
)
from asyncbatch.transport.origin import Call, Origin, call_to_server_url
from asyncbatch.transport.sessions import Headers, Http, Opened, Profile, Sessions
from asyncbatch.transport.transfers import Transfer

T = TypeVar("T")

ONCE = Retry(attempts=1)
"""For calls that somebody else repeats: the poller decides when to ask again, and one layer is enough."""

_THROTTLED = 429
_NOT_KNOWN = 401


class _UnderWay:
    """A call that is under way: one of its account's, and one of the host's."""

    __slots__ = ("_place", "_share")

    def __init__(self, share: anyio.Semaphore, place: AbstractAsyncContextManager[None]) -> None:
        self._share = share
        self._place = place

    async def __aenter__(self) -> None:
        try:
            self._share.acquire_nowait()
        except anyio.WouldBlock:
            await self._share.acquire()
        try:
            await self._place.__aenter__()
        except BaseException:
            self._share.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._share.release()
        await self._place.__aexit__(kind, error, trace)


class Exchange(OfThisProcess):
    """The way of one account's calls to its provider and back; it holds no connection of its own."""

    def __init__(
        self, *, sessions: Sessions, runtime: Runtime, facts: ProviderFacts, origin: Origin, retry: Retry
    ) -> None:
        self._sessions = sessions
        self._runtime = runtime
        self.facts = facts
        self._origin = origin
        self._retry = retry
        self._budget = RetryBudget()
        # An account waits for its own calls here, and only then for a place at the host, which it shares with all others.
        limit = sessions.http.limit_per_account
        self._shares = {profile: anyio.Semaphore(limit, fast_acquire=True) for profile in Profile}
        self.lead_s = 0.0
        """Seconds by which our clock was ahead of the server's at its last answer; never negative."""
        self.lag_s = 0.0
        """Seconds by which it was behind; never negative."""
        self.rests_until = 0.0
        """When the account has requests again, Unix seconds, by the last answer that said that it has none."""

    @property
    def http(self) -> Http:
        return self._sessions.http

    def _place(self, profile: Profile, call: Call) -> _UnderWay:
        """Be one of the calls that are under way."""
        return _UnderWay(self._shares[profile], self._sessions.turns(profile, call.url).place(self))

    def _session(self, profile: Profile, method: str) -> aiohttp.ClientSession:
        """Give a session; what only reads may use a connection that is kept: one that was just closed is met once more."""
        return self._sessions.get(Profile.POLL if profile is Profile.CONTROL and method == "GET" else profile)

    async def once(
        self,
        call: Call,
        body: bytes | StreamedPayload | None = None,
        *,
        profile: Profile = Profile.CONTROL,
        silence_s: float | None = None,
    ) -> Answer:
        """Send a call and read its answer, whatever it says; `silence_s` limits each silence instead of the whole."""
        options = self._sessions.options(profile, call.url, silence_s=silence_s)
        async with self._place(profile, call):
            session = self._session(profile, call.method)
            asked = session.request(call.method, call.url, data=body, headers=call.headers, **options)
            is_limited = options["timeout"].total is not None
            async with Opened(await (asked if is_limited else self._begun(asked, body))) as opened:
                self._take_note(call, opened.response.headers)
                content = await self._read(opened, is_limited=is_limited)
                return Answer(opened.response.status, opened.response.headers, content)

    async def _begun(
        self, asked: Awaitable[aiohttp.ClientResponse], body: bytes | StreamedPayload | None
    ) -> aiohttp.ClientResponse:
        """Wait for an answer to begin: so long once all has been sent, for hints without end are no silence."""
        if not isinstance(body, StreamedPayload):
            with anyio.fail_after(self.http.header_s):
                return await asked
        with anyio.fail_after(None) as scope:
            before = body.on_whole

            def limit() -> None:
                scope.deadline = anyio.current_time() + self.http.header_s
                if before is not None:
                    before()

            body.on_whole = limit
            try:
                return await asked
            finally:
                body.on_whole = before

    async def asked(
        self,
        call: Call,
        body: bytes | StreamedPayload | None,
        *,
        profile: Profile,
        also: Collection[int],
        retry: bool,
    ) -> Answer:
        """Send a call that may be repeated until its answer is a success, or one of the statuses in `also`."""

        async def send(signed: Call) -> Answer:
            return await self.once(signed, body, profile=profile)

        if retry:
            return await self.repeated(lambda: self.checked(call, send, also))
        answer = await self.checked(call, send, also)
        self._budget.give(0)
        return answer

    async def signed(self, call: Call) -> Call:
        """Give a call with a token of this moment, where the account has no key that is the same for ever."""
        tokens = self._origin.tokens
        if tokens is None or not call.has_key:
            return call
        return structs.replace(call, headers=Headers.merged(call.headers, await tokens.headers(self._runtime.now())))

    def can_renew(self, signed: Call, answer: Answer) -> bool:
        """Whether a call was refused for its token, and may go with another one; that one will be fetched."""
        tokens = self._origin.tokens
        if tokens is None or not signed.has_key:
            return False
        if answer.status == _NOT_KNOWN:
            return tokens.renew(signed.headers)
        tokens.note_taken()
        return False

    async def checked(
        self, call: Call, send: Callable[[Call], Awaitable[Answer]], also: Collection[int] = ()
    ) -> Answer:
        """Send, and make an error of whatever is no success; the statuses in `also` are answers like any.

        A call whose token is refused is sent once more, with another one.
        """
        signed = await self.signed(call)
        try:
            answer = await send(signed)
            if self.can_renew(signed, answer):
                signed = await self.signed(call)
                answer = await send(signed)
                self.can_renew(signed, answer)
        except WIRE_ERRORS as error:
            failure = ours_behind(error) or self.from_wire(call, error)
        else:
            if 200 <= answer.status < 300 or answer.status in also:
                return answer
            failure = self.from_answer(call, answer)
        # Raised out here, for then nothing of the wire's own error, which knows every header, hangs on ours.
        raise failure

    async def peek(self, call: Call, size: int) -> Answer:
        """Read no more of an answer than its beginning, and hang up."""
        options = self._sessions.options(Profile.CONTROL, call.url)
        async with self._place(Profile.CONTROL, call):
            session = self._session(Profile.CONTROL, call.method)
            asked = session.request(call.method, call.url, headers=call.headers, **options)
            async with Opened(await asked) as opened:
                self._set_clock(call, opened.response.headers)
                beginning = await self._read(opened, size)
                opened.response.close()  # the rest is not waited for
                return Answer(opened.response.status, opened.response.headers, beginning)

    async def repeated(self, send: Callable[[], Awaitable[T]], *, retry: bool = True) -> T:
        """Repeat what may be repeated while its errors are transient and the budget lasts."""
        policy = self._retry if retry else ONCE
        tried = paid = 0
        while True:
            tried += 1
            try:
                result = await send()
            except ProviderTransientError as error:
                delay = next_delay(policy, tried, self._runtime.random(), error.retry_after)
                cost = 0 if delay is None else self._budget.take(is_throttled=error.status == _THROTTLED)
                if delay is None or not cost:
                    raise
                paid += cost
                await self._runtime.sleep(delay)
            else:
                self._budget.give(paid)
                return result

    async def pour(self, call: Call, transfer: Transfer, *, profile: Profile) -> Answer:
        """Fetch a body into its sink: from its start, or the rest of what broke off."""

        async def send(signed: Call) -> Answer:
            async with self._place(profile, call):
                answer = await download(self._sessions, self._runtime, signed, transfer, profile=profile)
            if not transfer.is_lines:  # a file may come from elsewhere, by a redirect
                self._set_clock(call, answer.headers)
            return answer

        return await self.checked(call, send)

    def call_to(self, method: str, url: str, headers: dict[str, str]) -> Call:
        """Make a call to an address that the server gave."""
        try:
            return call_to_server_url(self._origin, method, url, headers)
        except ValueError as error:
            message = f"{self.facts.name}: the server names an upload address that is not taken: {error}"
        raise ProviderPermanentError(message, provider=self.facts.name, code="bad_upload_url")

    def call_for_answers(self, url: str) -> Call:
        """Make a call to an address that the server gave for a file of answers."""
        home, hint = URL(self._origin.base_url), None
        try:
            call = call_to_server_url(self._origin, "GET", url)
        except ValueError as error:
            why = str(error)
        else:
            if self.http.allow_private or not is_public(home.host or "") or is_public(call.url.host or ""):
                return structs.replace(call, home=home)
            why, hint = "it is no public address", PRIVATE_HINT
        message = f"{self.facts.name}: the server names an address of answers that is not called: {why}"
        raise ProviderPermanentError(message, provider=self.facts.name, code=ELSEWHERE, hint=hint)

    def from_wire(self, call: Call, error: BaseException) -> ProviderError:
        secrets = self.secrets_of(call)
        return from_wire(error, provider=self.facts.name, what=call.what, origin=call.where, secrets=secrets)

    def from_answer(self, call: Call, answer: Answer) -> ProviderError:
        now, secrets = self._runtime.now(), self.secrets_of(call)
        error = from_answer(*answer, facts=self.facts, what=call.what, now=now, secrets=secrets)
        if not call.has_key:  # neither the key is at fault nor the base URL, of which a hint would speak
            error.hint, error.is_auth = None, False
        elif error.is_auth and self._origin.tokens is not None:
            error.hint = "look at where its tokens come from, and at what they are allowed"
        return error

    def secrets_of(self, call: Call) -> tuple[str, ...]:
        tokens = self._origin.tokens
        return *call.secrets, *(tokens.secrets if tokens else ()), *self._sessions.secrets

    def is_tunnelled(self, call: Call) -> bool:
        """Whether a call goes through a proxy that has to make way first."""
        return call.url.scheme == "https" and self._sessions.has_proxy(call.url)

    def retry_after(self, answer: Answer) -> float | None:
        """Give the seconds that an answer asks us to wait."""
        return decode_retry_after(answer.headers, self._runtime.now())

    def _take_note(self, call: Call, headers: Mapping[str, str]) -> None:
        self._set_clock(call, headers)
        now = self._runtime.now()
        rest_s = decode_rest(headers, now) if call.has_key else None
        if rest_s is not None:
            self.rests_until = now + rest_s

    def _set_clock(self, call: Call, headers: Mapping[str, str]) -> None:
        if call.has_key:  # a stranger's clock says nothing
            now = self._runtime.now()
            self.lead_s, self.lag_s = decode_lead(headers, now, self.lead_s), decode_lag(headers, now, self.lag_s)

    async def _read(self, opened: Opened, beginning: int | None = None, *, is_limited: bool = False) -> bytes:
        """Read an answer, or so many bytes of it at most."""
        if is_limited:  # by the call's own limit, in which its answer is
            return await self._pieces(opened, beginning)
        with anyio.fail_after(self.http.control_total_s):  # an upload has no limit in all, but what answers it is small
            return await self._pieces(opened, beginning)

    async def _pieces(self, opened: Opened, beginning: int | None) -> bytes:
        content, pieces, size = opened.response.content, list[bytes](), 0
        while piece := await content.readany():
            pieces.append(piece)
            size += len(piece)
            if beginning is not None and size >= beginning:
                break
            if size > self.http.answer_bytes:
                raise UnfitAnswerError(f"the answer is larger than {self.http.answer_bytes} bytes")
        return Unseen(b"".join(pieces)[:beginning])
