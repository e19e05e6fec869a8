"""Calls to one provider with one account's key: repeated when they may be, a create never."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from asyncbatch.catalog import ProviderFacts
from asyncbatch.dto import Blob
from asyncbatch.exceptions import ELSEWHERE, ProviderPermanentError
from asyncbatch.planning.retry import Retry
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import OfThisProcess
from asyncbatch.transport.bodies import Body, Streamed, StreamedPayload, multipart
from asyncbatch.transport.creates import send_create
from asyncbatch.transport.downloads import Answer
from asyncbatch.transport.exchange import Exchange
from asyncbatch.transport.origin import Call, Origin, Outset
from asyncbatch.transport.sessions import Headers, Profile, Sessions
from asyncbatch.transport.transfers import Sink, Transfer

_JSON = "application/json"
_TOO_OLD = frozenset({400, 403})
"""What services of storage answer to an address whose time is over."""
_ADDRESSES = 3
"""Of one file, one after the other, by which nothing more of it comes."""
_GONE = frozenset({404, 410})


class Transport(OfThisProcess):
    """What a provider is handed to reach its service; it holds no connection of its own.

    A path stands below the account's base URL. `params` are the query. `headers` are those of one call: they replace harmless
    ones of the account, and never its credentials. On the poll profile, and with `retry=False`, a call is tried once; else it
    is repeated while its errors are transient and the policy allows.
    """

    def __init__(
        self, *, sessions: Sessions, runtime: Runtime, facts: ProviderFacts, origin: Origin, retry: Retry | None = None
    ) -> None:
        self._runtime = runtime
        self._outset = Outset(origin)
        self._exchange = Exchange(
            sessions=sessions, runtime=runtime, facts=facts, origin=origin, retry=retry or Retry()
        )

    @property
    def lead_s(self) -> float:
        """Seconds by which our clock was ahead of the server's at its last answer; never negative."""
        return self._exchange.lead_s

    @property
    def lag_s(self) -> float:
        """Seconds by which our clock was behind the server's at its last answer; never negative."""
        return self._exchange.lag_s

    @property
    def rests_until(self) -> float:
        """When the account has requests again, Unix seconds, by the last answer that said that it has none; else 0."""
        return self._exchange.rests_until

    def retry_after(self, answer: Answer) -> float | None:
        """Give the seconds that an answer, a success too, asks us to wait."""
        return self._exchange.retry_after(answer)

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        profile: Profile = Profile.CONTROL,
        retry: bool = True,
    ) -> bytes:
        """Read a JSON answer."""
        return (await self.ask(path, params=params, headers=headers, profile=profile, retry=retry)).body

    async def ask(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        profile: Profile = Profile.CONTROL,
        retry: bool = True,
    ) -> Answer:
        """Read a JSON answer with the headers that came with it."""
        return await self._send(self._call("GET", path, params, headers), profile=profile, retry=retry)

    async def peek(
        self,
        path: str,
        size: int,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Read the first bytes of something that may be large, and no more; fewer than asked for are all there is."""
        call = self._call("GET", path, params, {**(headers or {}), "Accept-Encoding": "identity"})
        answer = await self._exchange.repeated(
            lambda: self._exchange.checked(call, lambda signed: self._exchange.peek(signed, size))
        )
        return answer.body

    async def post(
        self,
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        also: Collection[int] = (),
    ) -> Answer:
        """Send a POST that may be repeated, such as a cancel; the statuses in `also` are answers like any success."""
        return await self._send(self._call("POST", path, params, headers, body), body, also=also)

    async def delete(self, path: str) -> None:
        """Delete something; that it is gone already is as good."""
        await self._send(self._call("DELETE", path), also=(404, 410))

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        params: Mapping[str, str] | None = None,
        also: Collection[int] = (),
        profile: Profile | None = None,
        retry: bool = True,
    ) -> Answer:
        """Send any call but a create, for protocols that are more than JSON over GET and POST.

        Bytes are JSON and a streamed body is opaque, unless `headers` name another `Content-Type`. A streamed body goes over
        the bulk profile, everything else over control, unless a profile is named.
        """
        call = self._call(method, path, params, headers, body)
        return await self._send(call, body, also=also, profile=profile, retry=retry)

    async def send_to(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        also: Collection[int] = (),
        retry: bool = True,
    ) -> Answer:
        """Send a call to an address that the server gave, such as that of an upload; the address itself is the credential.

        Nothing of the account travels there, no redirect is followed, and errors name the host alone.

        Raises:
            ProviderPermanentError: With code `bad_upload_url`: the address is not https. Plain http is taken on loopback, where
                the base URL is http too.
        """
        url = _Unshown(url)
        call = self._exchange.call_to(method, url, _with_kind(headers, body))
        return await self._send(call, body, also=also, retry=retry)

    async def create(
        self,
        path: str,
        body: bytes | Streamed,
        *,
        is_created: Callable[[bytes], bool],
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        refusals: Collection[str] = (),
    ) -> bytes:
        """Send the one call that spends money, exactly once.

        A streamed body may take as long as it needs, while it moves; then the answer has `Http.create_answer_s` seconds. When
        the wire, or our own disk, fails before the last piece of it has left, nothing was accepted.

        Args:
            path: Where to.
            body: The JSON body: bytes, or, of any size, a streamed one such as `JsonArrayBody`.
            is_created: Whether an answer's body is that of a created batch: readable, with an id.
            params: The query.
            headers: Headers of this call.
            refusals: Codes by which the provider says that this call has created nothing, whatever the status.

        Raises:
            SubmissionUnknownError: The batch may or may not have been created.
            ProviderTransientError: It was not; the same submission may be tried again.
            ProviderPermanentError: It was not, and will not be.
            StorageError: It was not: the streamed body cannot be read to its end.
        """
        call = self._call("POST", path, params, {"Content-Type": _JSON, **(headers or {})})
        return await send_create(self._exchange, call, body, is_created, refusals)

    async def upload(self, path: str, blob: Blob, *, filename: str, fields: Mapping[str, str]) -> bytes:
        """Send a body as the one file of a multipart form; an upload costs no tokens and may be repeated."""
        boundary = f"asyncbatch-{self._runtime.nonce(24)}"
        head, tail = multipart(fields, filename, boundary)
        kind = f"multipart/form-data; boundary={boundary}"
        form = StreamedPayload(head, blob, tail, content_type=kind, stall_s=self._exchange.http.read_s)
        return (await self._send(self._call("POST", path), form, profile=Profile.BULK)).body

    async def download(
        self,
        path: str,
        sink: Sink,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bool:
        """Fetch a file of lines into an empty sink: whole, or made again, from where it broke off if the server can do that.

        Gives whether it proved itself whole: by a length, by chunks or by the end of a deflate. What did not, and what is
        empty, came twice alike.
        """
        call, transfer = self._call("GET", path, params, headers), Transfer(sink, is_lines=True)
        await self._exchange.repeated(lambda: self._exchange.pour(call, transfer, profile=Profile.BULK))
        return transfer.is_verified

    async def download_from(self, address: Callable[[], Awaitable[str]], sink: Sink) -> bool:
        """Fetch a file of lines from an address that the server gave, as `download` fetches one; the address is the credential.

        One that is refused as too old is asked for anew, and what has come so far is kept where the server can go on. Nothing
        of the account travels there, and from a public base URL none leads to an address that is not public.

        Args:
            address: Asks the server for the address.
            sink: Where the file goes.

        Raises:
            ProviderPermanentError: With code `answers_elsewhere`: the address is none that is called, or the file is refused
                there. One that is gone keeps its own code.
        """
        transfer, furthest, refused = Transfer(sink, is_lines=True), 0, 0
        while True:
            call = self._exchange.call_for_answers(_Unshown(await address()))
            try:
                await self._exchange.repeated(partial(self._exchange.pour, call, transfer, profile=Profile.BULK))
            except ProviderPermanentError as error:
                # Never by less than before: a file that cannot be gone on with is begun anew, and may break off anywhere.
                furthest, refused = (sink.size, 1) if sink.size > furthest else (furthest, refused + 1)
                if error.status in _TOO_OLD and refused < _ADDRESSES:
                    continue
                if error.status not in _GONE:  # the answers are there, and to send the requests again would cost again
                    error.code = ELSEWHERE
                raise
            return transfer.is_verified

    async def fetch(
        self,
        path: str,
        sink: Sink,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        profile: Profile = Profile.BULK,
        retry: bool = True,
    ) -> Answer:
        """Fetch a JSON document of any size into a sink, as `download` fetches a file, and give the answer without its body.

        That it is whole is known for certain only once it has been parsed: a body without a length ends where its connection
        ends. On the poll profile only its beginning has to come as fast as a poll's answer.
        """
        call, transfer = self._call("GET", path, params, headers), Transfer(sink, is_lines=False)
        return await self._exchange.repeated(
            lambda: self._exchange.pour(call, transfer, profile=profile),
            retry=retry and profile is not Profile.POLL,
        )

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Call:
        return self._outset.call(method, path, params=params, headers=_with_kind(headers, body))

    async def _send(
        self,
        call: Call,
        body: Body | StreamedPayload = None,
        *,
        also: Collection[int] = (),
        profile: Profile | None = None,
        retry: bool = True,
    ) -> Answer:
        data = body if body is None or isinstance(body, bytes | StreamedPayload) else self._opaque(body)
        over = profile or (Profile.BULK if isinstance(data, StreamedPayload) else Profile.CONTROL)
        again = retry and over is not Profile.POLL
        return await self._exchange.asked(call, data, profile=over, also=also, retry=again)

    def _opaque(self, body: Streamed) -> StreamedPayload:
        kind = "application/octet-stream"
        return StreamedPayload(body, content_type=kind, stall_s=self._exchange.http.read_s)


class _Unshown(str):
    """An address that tracebacks which print local variables name without what it says."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<an address>"


def _with_kind(headers: Mapping[str, str] | None, body: Body) -> dict[str, str]:
    """Say of bytes that they are JSON, unless the caller says what they are."""
    if body is None and not headers:
        return Headers()
    return Headers.merged({"Content-Type": _JSON} if isinstance(body, bytes) else {}, headers or {})
