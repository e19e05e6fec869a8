"""Scripted faults: which calls they touch, and what those calls get instead.

A `Fault` is a match (method, path, which of the matching calls, what the answer says) and an effect. Effects compose:
every fault that matches a call is applied, in the order of the script. The functions at the end name the common ones.
"""

import random
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from msgspec import Struct

from asyncbatch.emulator.json_values import is_array, is_object

When: TypeAlias = Literal["before", "after"]
"""Before: the request is not looked at. After: it has been accepted and its consequences stand."""


class Drop(Struct, frozen=True, kw_only=True, tag="drop"):
    """Close the connection without an answer."""

    when: When = "after"


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """Answer with this instead; without a body, with an error in the dialect's own shape."""

    status: int
    when: When = "before"
    code: str | None = None
    message: str = "The server had an error while processing your request."
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    retry_after_s: float | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"


class Cut(Struct, frozen=True, kw_only=True, tag="cut"):
    """Promise the whole body, send this much of it, and close."""

    keep_bytes: int = 16


class Rewrite(Struct, frozen=True, kw_only=True, tag="rewrite"):
    """Change fields of a JSON answer; of a list, in each item that matches. Fields in `remove` disappear."""

    fields: Mapping[str, Any] = {}
    remove: tuple[str, ...] = ()


class Lag(Struct, frozen=True, kw_only=True, tag="lag"):
    """Leave out of a list what is younger than this."""

    seconds: float


class Stall(Struct, frozen=True, kw_only=True, tag="stall"):
    """Keep the client waiting, in real seconds."""

    seconds: float
    when: When = "before"


class Doom(Struct, frozen=True, kw_only=True, tag="doom"):
    """Let the batch that this call creates fail, such as for a full queue."""

    code: str
    message: str = "The batch cannot run."
    after_s: float | None = None


Effect: TypeAlias = Drop | Answer | Cut | Rewrite | Lag | Stall | Doom


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    Attributes:
        method: The HTTP method; `*` for any.
        path: A pattern of the path below the dialect's base URL, as in `/batches/*/cancel`.
        dialect: The dialect's name; `*` for any.
        first: The first matching call that is touched, counted from 1.
        times: How many matching calls are touched from there on; None for all.
        for_s: How many seconds of the emulator's clock the fault lasts once it has begun; None for ever.
        chance: How likely a call that would be touched is touched.
        where: Fields that a JSON answer must have. Calls with other answers are not touched and not counted.
    """

    effect: Effect
    method: str = "*"
    path: str = "*"
    dialect: str = "*"
    first: int = 1
    times: int | None = 1
    for_s: float | None = None
    chance: float = 1.0
    where: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        return str(self.effect.__struct_config__.tag)

    def is_for(self, dialect: str, method: str, path: str) -> bool:
        return (
            self.dialect in {"*", dialect} and self.method in {"*", method} and fnmatchcase(path.rstrip("/"), self.path)
        )


class ArmedFault:
    """A fault of the running script, with what it has counted so far."""

    def __init__(self, fault: Fault, dice: random.Random) -> None:
        self.fault = fault
        self._dice = dice
        self._calls = 0
        self._began_at: float | None = None

    def strikes(self, now: float) -> bool:
        """Count one matching call, and say whether it is touched."""
        self._calls += 1
        fault = self.fault
        if self._calls < fault.first or (fault.times is not None and self._calls >= fault.first + fault.times):
            return False
        self._began_at = now if self._began_at is None else self._began_at
        is_past = fault.for_s is not None and now > self._began_at + fault.for_s
        return not is_past and self._dice.random() < fault.chance

    def strikes_answer(self, document: Mapping[str, Any], now: float) -> bool:
        """Say whether an answer that says this is touched."""
        where = self.fault.where
        if where is None:
            return True
        return all(name in document and document[name] == value for name, value in where.items()) and self.strikes(now)


class Script:
    """The faults that are armed; added to at any time, from any thread."""

    def __init__(self, faults: Iterable[Fault], *, seed: int = 0) -> None:
        self._dice = random.Random(seed)
        self._armed: list[ArmedFault] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        self._armed += [ArmedFault(fault, self._dice) for fault in faults]

    def strike(self, dialect: str, method: str, path: str, now: float) -> list[ArmedFault]:
        """Give the faults that touch this call; those with a `where` come along, and are counted at the answer."""
        matching = [armed for armed in self._armed if armed.fault.is_for(dialect, method, path)]
        return [armed for armed in matching if armed.fault.where is not None or armed.strikes(now)]


def rewrite(document: Any, armed: ArmedFault, now: float) -> Any:
    """Give the JSON answer as the fault leaves it."""
    effect = armed.fault.effect
    if not is_object(document):
        return document
    items = document.get("data")
    if is_array(items):
        if isinstance(effect, Lag):
            items = [item for item in items if item.get("created_at", 0) < now - effect.seconds]
        return {**document, "data": [rewrite(item, armed, now) for item in items]}
    if isinstance(effect, Rewrite) and armed.strikes_answer(document, now):
        changed = {**document, **effect.fields}
        return {name: value for name, value in changed.items() if name not in effect.remove}
    return document


class Match(TypedDict, total=False):
    """Which calls a fault touches; the fields of `Fault`."""

    method: str
    path: str
    dialect: str
    first: int
    times: int | None
    for_s: float | None
    chance: float
    where: Mapping[str, Any] | None


def _fault(effect: Effect, usual: Match, match: Match) -> Fault:
    merged: Match = {**usual, **match}
    return Fault(effect=effect, **merged)


_CREATE: Match = {"method": "POST", "path": "/batches"}
_POLL: Match = {"method": "GET", "path": "/batches/*"}


def accept_then_drop(**match: Unpack[Match]) -> Fault:
    """Accept a create, and close the connection without an answer."""
    return _fault(Drop(), _CREATE, match)


def accept_then_error(status: int = 500, **match: Unpack[Match]) -> Fault:
    """Accept a create, and say that it failed."""
    return _fault(Answer(status=status, when="after"), _CREATE, match)


def drop(**match: Unpack[Match]) -> Fault:
    """Close the connection without having looked at the request."""
    return _fault(Drop(when="before"), {}, match)


def refuse(status: int, *, code: str | None = None, **match: Unpack[Match]) -> Fault:
    """Answer with an error of this status, without having looked at the request."""
    return _fault(Answer(status=status, code=code), {}, match)


def rate_limited(retry_after_s: float = 1.0, *, as_date: bool = False, **match: Unpack[Match]) -> Fault:
    """Answer 429 with a `Retry-After`, in seconds or as an HTTP date."""
    effect = Answer(
        status=429,
        code="rate_limit_exceeded",
        message="Rate limit reached.",
        retry_after_s=retry_after_s,
        retry_after_as="date" if as_date else "seconds",
    )
    return _fault(effect, {}, match)


def html_200(*, when: When = "before", **match: Unpack[Match]) -> Fault:
    """Answer a create as a captive portal does: 200, in HTML."""
    page = b"<!doctype html><title>Sign in</title><p>Please sign in to use this network."
    return _fault(Answer(status=200, when=when, body=page, content_type="text/html"), _CREATE, match)


def cut_body(keep_bytes: int = 16, **match: Unpack[Match]) -> Fault:
    """Send the beginning of an answer, and close: a create's, or a download's with `path="/files/*/content"`."""
    return _fault(Cut(keep_bytes=keep_bytes), {"path": "/batches"}, match)


def missing_output(*, polls: int | None = None, seconds: float | None = None, **match: Unpack[Match]) -> Fault:
    """Show a completed batch without its files, for this many looks or seconds; for ever without either."""
    effect = Rewrite(fields={"output_file_id": None, "error_file_id": None})
    return _fault(effect, {**_POLL, "times": polls, "for_s": seconds, "where": {"status": "completed"}}, match)


def list_lag(seconds: float, **match: Unpack[Match]) -> Fault:
    """Leave new batches out of lists until they are this old."""
    return _fault(Lag(seconds=seconds), {"method": "GET", "path": "/batches", "times": None}, match)


def flap404(polls: int = 1, **match: Unpack[Match]) -> Fault:
    """Answer 404 to polls of what exists, this many times."""
    return _fault(Answer(status=404, message="No batch found."), {**_POLL, "times": polls}, match)


def unknown_status(word: str = "paused", **match: Unpack[Match]) -> Fault:
    """Show a status that no documentation names."""
    return _fault(Rewrite(fields={"status": word}), _POLL, match)


def redirect(to: str, status: int = 307, **match: Unpack[Match]) -> Fault:
    """Send the client to another address."""
    effect = Answer(status=status, body=b"", content_type="text/plain", headers={"Location": to})
    return _fault(effect, {}, match)


def stall(seconds: float, *, when: When = "before", **match: Unpack[Match]) -> Fault:
    """Keep the client waiting for this many real seconds."""
    return _fault(Stall(seconds=seconds, when=when), {}, match)


def full_queue(after_s: float | None = None, **match: Unpack[Match]) -> Fault:
    """Accept the batch, and let it fail later because too many tokens are enqueued."""
    effect = Doom(code="token_limit_exceeded", message="Enqueued token limit reached.", after_s=after_s)
    return _fault(effect, _CREATE, match)
