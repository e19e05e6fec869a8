"""Tell somebody's web server of the end of a job: a signed POST, as Standard Webhooks says, to addresses that are public."""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from asyncbatch.exceptions import AsyncBatchError, ConfigError
from asyncbatch.job import Job, JobStatus
from asyncbatch.planning.webhooks import is_secret, sign
from asyncbatch.runtime import Runtime
from asyncbatch.secrecy import OfThisProcess, hide
from asyncbatch.transport.addresses import PublicResolver, is_public

_TIMEOUT_S = 15.0
_GONE = 410
_FULL = 300


class NotTakenError(AsyncBatchError):
    """A web server did not take what we told it; it is told again."""


class SignedPost(OfThisProcess):
    """A handler for `client.on("job_ended", …)` that posts how the job ended, signed, to an address.

    The body is `{"type": "job.ended", "timestamp": …, "data": {"job_id", "key", "account", "model", "requests", "outcomes"}}`:
    no prompts, no answers. `webhook-id` is the same however often it has to be sent, so the receiver can tell a repetition; any
    answer but a 2xx has it sent again, later and later, and a 410 ends it. Redirects are not followed.

    Args:
        url: Where to; or a function of the job that gives it, None for nowhere.
        secret: What it is signed with, `whsec_…`; or a function of the job that gives it. One secret for several customers lets
            each of them forge what another one is told.
        allow_private: Also post to addresses that are not public, and by plain http. Leave it off for addresses that your
            users give you: they could reach into your own network.
        timeout_s: For the whole exchange, in seconds.
        now: Unix seconds, for the signature; for tests.

    Raises:
        ConfigError: The secret is none, or the address cannot be posted to.
    """

    def __init__(
        self,
        url: str | Callable[[Job], str | None],
        *,
        secret: str | Callable[[Job], str],
        allow_private: bool = False,
        timeout_s: float = _TIMEOUT_S,
        now: Callable[[], float] | None = None,
    ) -> None:
        # Tracebacks that print local variables shall show neither.
        self._url = url = hide(url)
        self._secret = secret = hide(secret)
        if isinstance(secret, str):
            _check_secret(secret)
        if isinstance(url, str):
            check_address(url, allow_private=allow_private)
        self._allow_private = allow_private
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._now = now or Runtime().now

    def __repr__(self) -> str:
        return f"<SignedPost {'by job' if callable(self._url) else _place_of(self._url)}>"

    async def __call__(self, job: Job) -> None:
        """Post it. Raises `NotTakenError` where it has to be sent again."""
        url: str | None = hide(self._url(job)) if callable(self._url) else self._url
        if url is None:
            return
        check_address(url, allow_private=self._allow_private)
        secret: str = hide(self._secret(job)) if callable(self._secret) else self._secret
        _check_secret(secret)
        status, at = job.status(), int(self._now())
        name = f"{job.id}.{sum(batch.round for batch in status.batches)}"
        body = msgspec.json.encode({"type": "job.ended", "timestamp": at, "data": _told(status)})
        headers = {"content-type": "application/json", **sign(secret, name, at, body)}
        answer = await self._post(url, headers, body)
        if answer != _GONE and not 200 <= answer < _FULL:
            raise NotTakenError(f"{_place_of(url)} answered {answer}", code="webhook.not_taken")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        resolver = None if self._allow_private else PublicResolver()
        connector = aiohttp.TCPConnector(resolver=resolver, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = NotTakenError(f"{_place_of(url)} cannot be reached: {_reason(error)}", code="webhook.not_taken")
        # Raised out here: on the wire's own error hang the whole address and the signature.
        raise failure


def _reason(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    said = str(cause) if isinstance(cause, OSError) and not isinstance(cause, aiohttp.ClientError) else ""
    return said or type(error).__name__


def _check_secret(secret: str) -> None:
    if not is_secret(secret):
        raise ConfigError("the secret is none", code="webhook.secret", hint="it looks like whsec_MfKQ…")


def _told(status: JobStatus) -> dict[str, Any]:
    return {
        "job_id": status.job_id,
        "key": status.key,
        "account": status.account,
        "model": f"{status.provider}/{status.model}",
        "requests": status.requests,
        "outcomes": {outcome.value: count for outcome, count in status.outcomes.items()},
    }


def check_address(url: str, *, allow_private: bool) -> None:
    """Refuse an address that is none, or leads into the network that we stand in; names are looked at when they resolve."""
    place = _place_of(url)
    if not place.scheme or not place.host or place.has_user:
        message = "what was given is no address to post to"
        raise ConfigError(message, code="webhook.url", hint="give https://host/path")
    if allow_private:
        return
    if place.scheme != "https":
        hint = "give an https address, or allow_private=True for one of your own"
        raise ConfigError(f"{place} is not https", code="webhook.url", hint=hint)
    if not is_public(place.host):
        hint = "allow_private=True, if it is one of your own"
        raise ConfigError(f"{place} is not a public address", code="webhook.private", hint=hint)


class _Place(NamedTuple):
    """What of an address may be shown: all else of it may be what keeps others from using it."""

    scheme: str = ""
    host: str = ""
    port: int | None = None
    has_user: bool = False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{f':{self.port}' if self.port else ''}"


def _place_of(url: str) -> _Place:
    """Read an address; nothing of one that is none."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme if parts.scheme in ("https", "http") else ""
        return _Place(
            scheme, parts.hostname or "", parts.port, parts.username is not None or parts.password is not None
        )
    except ValueError:  # a port that is none, or brackets around what is no number of an address
        return _Place()
