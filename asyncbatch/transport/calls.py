"""Calls to one provider with one account's key: repeated when they may be, a create never."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import TypeVar

import aiohttp
import anyio
import msgspec
from yarl import URL

from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.errors import decode_error
from asyncbatch.dto import Blob
from asyncbatch.exceptions import ProviderError, ProviderPermanentError, ProviderTransientError, SubmissionUnknownError
from asyncbatch.planning.create import CreateProof, judge_create
from asyncbatch.planning.retry import Retry, RetryBudget, decode_lead, next_delay
from asyncbatch.runtime import Runtime
from asyncbatch.transport.bodies import StreamedPayload, multipart
from asyncbatch.transport.downloads import Answer, Sink, download
from asyncbatch.transport.errors import (
    WIRE_ERRORS,
    UnfitAnswerError,
    from_answer,
    from_wire,
    is_before_first_byte,
    ours_behind,
    request_id_of,
)
from asyncbatch.transport.sessions import SECRET_CHARS, USER_AGENT, Headers, Profile, Sessions

T = TypeVar("T")

ONCE = Retry(attempts=1)
"""For calls that somebody else repeats: the poller decides when to ask again, and one layer is enough."""

_THROTTLED = 429


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account's calls go and what they carry; its repr shows no header values.

    Attributes:
        base_url: The API's root, without a slash at its end.
        headers: Harmless headers for every call.
        secret_headers: Credentials; they leave for this origin only.
    """

    base_url: str
    headers: Mapping[str, str] = {}
    secret_headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Origin({self.base_url!r})"

    def __rich_repr__(self) -> Iterator[str]:  # type: ignore[override] # rich takes values too
        yield self.base_url

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not appear anywhere, with and without its scheme; longest first, whole values before parts."""
        values = [*self.secret_headers.values(), *(value.rpartition(" ")[2] for value in self.secret_headers.values())]
        found = {value for value in values if len(value) >= SECRET_CHARS}
        return tuple(sorted(found, key=len, reverse=True))


class Transport:
    """What a provider is handed to reach its service; it holds no connection of its own."""

    def __init__(
        self, *, sessions: Sessions, runtime: Runtime, facts: ProviderFacts, origin: Origin, retry: Retry | None = None
    ) -> None:
        self._sessions = sessions
        self._runtime = runtime
        self._facts = facts
        self._origin = origin
        self._retry = retry or Retry()
        self._budget = RetryBudget()
        self.lead_s = 0.0
        """Seconds by which our clock was ahead of the server's at its last answer; never negative."""

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, profile: Profile = Profile.CONTROL
    ) -> bytes:
        """Read a JSON answer. On the poll profile it is tried once: the poller decides when to ask again."""
        answer = await self._asked("GET", path, params=params, profile=profile)
        return answer.body

    async def post(self, path: str, body: bytes | None = None, *, also: Collection[int] = ()) -> Answer:
        """Send a POST that may be repeated, such as a cancel; the statuses in `also` are answers like any success."""
        return await self._asked("POST", path, body=body, also=also)

    async def delete(self, path: str) -> None:
        """Delete something; that it is gone already is as good."""
        try:
            await self._asked("DELETE", path)
        except ProviderPermanentError as error:
            if error.status not in (404, 410):
                raise

    async def create(self, path: str, body: bytes, *, is_created: Callable[[bytes], bool]) -> bytes:
        """Send the one call that spends money, exactly once.

        Args:
            path: Where to.
            body: The JSON body.
            is_created: Whether an answer's body is that of a created batch: readable, with an id.

        Raises:
            SubmissionUnknownError: The batch may or may not have been created.
            ProviderTransientError: It was not; the same submission may be tried again.
            ProviderPermanentError: It was not, and will not be.
        """
        what = f"POST {path}"
        try:
            answer = await self._once("POST", path, body=body, profile=Profile.CONTROL)
        except WIRE_ERRORS as error:
            ours, is_sent = self._from_wire(error, what), not is_before_first_byte(error)
        else:
            return self._judged(what, answer, is_created)
        # Raised out here, for then nothing of the wire's own error, which knows every header, hangs on ours.
        raise self._unknown(what, ours.message) if is_sent else ours

    def _judged(self, what: str, answer: Answer, is_created: Callable[[bytes], bool]) -> bytes:
        is_success = 200 <= answer.status < 300
        own = is_created(answer.body) if is_success else decode_error(answer.body).is_own_shape
        proof = judge_create(answer.status, is_own_shape=own)
        if proof is CreateProof.ACCEPTED:
            return answer.body
        if is_success:
            raise self._unknown(
                what, f"{self._facts.name}: {what} was answered {answer.status} without a batch id", answer
            )
        error = self._from_answer(what, answer)
        if proof is CreateProof.UNKNOWN:
            raise self._unknown(what, error.message, answer)
        raise error

    async def upload(self, path: str, blob: Blob, *, filename: str, fields: Mapping[str, str]) -> bytes:
        """Send a body as the one file of a multipart form; an upload costs no tokens and may be repeated."""

        async def send() -> Answer:
            boundary = f"asyncbatch-{self._runtime.nonce(24)}"
            head, tail = multipart(fields, filename, boundary)
            kind = f"multipart/form-data; boundary={boundary}"
            form = StreamedPayload(head, blob, tail, content_type=kind, stall_s=self._sessions.http.read_s)
            return await self._once("POST", path, body=form, profile=Profile.BULK)

        answer = await self._repeated(lambda: self._checked(f"POST {path}", send), self._retry)
        return answer.body

    async def download(self, path: str, sink: Sink) -> None:
        """Fetch a file into a sink: whole, or made again from its start."""
        what = f"GET {path}"

        async def fetch() -> None:
            await self._runtime.offload(sink.clear)
            url, headers = self._address(path), self._headers()
            try:
                refused = await download(self._sessions, self._runtime, url, headers, sink)
            except WIRE_ERRORS as error:
                failure = self._from_wire(error, what)
            else:
                if refused is None:
                    return
                failure = self._from_answer(what, refused)
            raise failure

        await self._repeated(fetch, self._retry)

    async def _asked(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        profile: Profile = Profile.CONTROL,
        also: Collection[int] = (),
    ) -> Answer:
        async def send() -> Answer:
            return await self._once(method, path, body=body, params=params, profile=profile)

        policy = ONCE if profile is Profile.POLL else self._retry
        return await self._repeated(lambda: self._checked(f"{method} {path}", send, also), policy)

    async def _checked(self, what: str, send: Callable[[], Awaitable[Answer]], also: Collection[int] = ()) -> Answer:
        try:
            answer = await send()
        except WIRE_ERRORS as error:
            failure = ours_behind(error) or self._from_wire(error, what)
        else:
            if 200 <= answer.status < 300 or answer.status in also:
                return answer
            failure = self._from_answer(what, answer)
        raise failure

    async def _repeated(self, call: Callable[[], Awaitable[T]], policy: Retry) -> T:
        """Repeat a call that may be repeated while its errors are transient and the budget lasts."""
        tried = paid = 0
        while True:
            tried += 1
            try:
                result = await call()
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

    async def _once(
        self,
        method: str,
        path: str,
        *,
        body: bytes | StreamedPayload | None = None,
        params: Mapping[str, str] | None = None,
        profile: Profile,
    ) -> Answer:
        session = self._sessions.get(profile)
        headers = self._headers()
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        url = self._address(path, params)
        options = self._sessions.options(profile)
        async with session.request(method, url, data=body, headers=headers, **options) as response:
            self.lead_s = decode_lead(response.headers, self._runtime.now(), self.lead_s)
            return Answer(response.status, response.headers, await self._read(response))

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        http, pieces, size = self._sessions.http, list[bytes](), 0
        with anyio.fail_after(http.control_total_s):  # an upload has no limit in all, but what answers it is small
            async for piece in response.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if size > http.answer_bytes:
                    raise UnfitAnswerError(f"the answer is larger than {http.answer_bytes} bytes")
        return b"".join(pieces)

    def _address(self, path: str, params: Mapping[str, str] | None = None) -> URL:
        url = URL(self._origin.base_url + path, encoded=True)
        return url.with_query(dict(params)) if params else url

    def _headers(self) -> Headers:
        return Headers({"User-Agent": USER_AGENT, **self._origin.headers, **self._origin.secret_headers})

    def _from_wire(self, error: BaseException, what: str) -> ProviderError:
        origin = str(URL(self._origin.base_url).origin()) if "://" in self._origin.base_url else self._origin.base_url
        return from_wire(error, provider=self._facts.name, what=what, origin=origin)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return *self._origin.secrets, *self._sessions.http.secrets

    def _from_answer(self, what: str, answer: Answer) -> ProviderError:
        now = self._runtime.now()
        return from_answer(*answer, facts=self._facts, what=what, now=now, secrets=self._secrets)

    def _unknown(self, what: str, why: str, answer: Answer | None = None) -> SubmissionUnknownError:
        return SubmissionUnknownError(
            f"{why}; whether {what} was accepted is not known",
            provider=self._facts.name,
            status=answer.status if answer else None,
            code="create_unknown",
            request_id=request_id_of(answer.headers, self._secrets) if answer else None,
            hint="look for it at the provider before you send it again: `find_submissions`",
        )
