"""Scripted faults: which calls they touch, and what those calls get instead.

A `Fault` is a match (operation, method, path, which of the matching calls, what the answer says) and an effect. Effects
compose: every fault that matches a call is applied, in the order of the script, but for acts, which are done at their step,
and cuts, which come last. The functions at the end name the common
ones, for every dialect alike.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, get_args

from msgspec import Struct

from asyncbatch.emulator.effects import (
    Act,
    Answer,
    Cut,
    Deliver,
    Doom,
    Drop,
    Effect,
    EndlessList,
    Ghost,
    HideCounts,
    HideResults,
    Lag,
    Neutral,
    Rewrite,
    ShowStatus,
    Stall,
    Step,
    When,
)
from asyncbatch.emulator.routes import Operation

__all__ = [  # of `effects`, so that one import is enough
    "Act",
    "Answer",
    "Cut",
    "Deliver",
    "Doom",
    "Drop",
    "EndlessList",
    "Fault",
    "Ghost",
    "HideCounts",
    "HideResults",
    "Lag",
    "Rewrite",
    "ShowStatus",
    "Stall",
]

_OPERATIONS = ("*", *get_args(Operation), "webhook")

SIGKILL = 9  # the module `signal` has no name for it on Windows, where the number ends a process as well


class Call(NamedTuple):
    """What a fault can tell calls apart by; `path` is the one below the dialect's base URL."""

    dialect: str
    operation: str
    method: str
    path: str


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    Attributes:
        operation: What the call is for, in any dialect: `upload`, `create`, `poll`, `list`, `cancel`, `results`,
            `delete`, `file`, `files`, `other`; `*` for any. `webhook` is what the service sends itself: only `Deliver`
            touches it, and touches nothing else.
        method: The HTTP method; `*` for any.
        path: A pattern of the path below the dialect's base URL, as in `/batches/*/cancel`; of a webhook, of its event.
        dialect: The dialect's name; `*` for any.
        first: The first matching call that is touched, counted from 1.
        times: How many matching calls are touched from there on; None for all.
        for_s: How many seconds of the emulator's clock the fault lasts once it has begun; None for ever.
        chance: How likely a call that would be touched is touched.
        where: Fields that a JSON answer must have, by name or dotted path. Calls with other answers are not touched and
            not counted.
        completed: Touch, and count, only answers that show a batch which has ended and should have results.
    """

    effect: Effect
    operation: str = "*"
    method: str = "*"
    path: str = "*"
    dialect: str = "*"
    first: int = 1
    times: int | None = 1
    for_s: float | None = None
    chance: float = 1.0
    where: Mapping[str, Any] | None = None
    completed: bool = False

    def __post_init__(self) -> None:
        if self.operation not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            raise ValueError(
                f"no call is for the operation {self.operation!r}, so nothing would go wrong; there are {known}"
            )
        if self.looks_at_answers and not isinstance(self.effect, Rewrite | Neutral):
            raise ValueError(f"`where` and `completed` choose answers to be changed, and {self.kind!r} changes none")

    @property
    def kind(self) -> str:
        return str(self.effect.__struct_config__.tag)

    @property
    def looks_at_answers(self) -> bool:
        return self.where is not None or self.completed

    def is_for(self, call: Call) -> bool:
        if isinstance(self.effect, Deliver) != (call.operation == "webhook"):
            return False
        is_there = self.dialect in {"*", call.dialect} and self.operation in {"*", call.operation}
        return is_there and self.method in {"*", call.method} and fnmatchcase(call.path.rstrip("/"), self.path)


class Match(TypedDict, total=False):
    """Which calls a fault touches; the fields of `Fault`."""

    operation: str
    method: str
    path: str
    dialect: str
    first: int
    times: int | None
    for_s: float | None
    chance: float
    where: Mapping[str, Any] | None
    completed: bool


def _fault(effect: Effect, usual: Match, match: Match) -> Fault:
    """Make a fault for the calls that it usually concerns. Who names other calls means those and no others."""
    merged: Match = {**usual, **match}
    if "path" in match and "operation" not in match:
        merged.pop("operation", None)
    if "operation" in match and "method" not in match:
        merged.pop("method", None)
    return Fault(effect=effect, **merged)


_CREATE: Match = {"operation": "create", "method": "POST"}
_POLL: Match = {"operation": "poll", "method": "GET"}
_LIST: Match = {"operation": "list", "method": "GET"}


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
    """Send the beginning of an answer, and close: a create's, or a download's with `operation="results"`."""
    return _fault(Cut(keep_bytes=keep_bytes), {"operation": "create"}, match)


def missing_output(*, polls: int | None = None, seconds: float | None = None, **match: Unpack[Match]) -> Fault:
    """Show a completed batch without its results, for this many looks or seconds; for ever without either."""
    usual: Match = {**_POLL, "times": polls, "for_s": seconds, "completed": True}
    return _fault(HideResults(), usual, match)


def list_lag(seconds: float, **match: Unpack[Match]) -> Fault:
    """Leave new batches out of lists until they are this old."""
    return _fault(Lag(seconds=seconds), {**_LIST, "times": None}, match)


def endless_list(**match: Unpack[Match]) -> Fault:
    """Let lists be empty and name the same next page for ever."""
    return _fault(EndlessList(), {**_LIST, "times": None}, match)


def flap404(polls: int = 1, **match: Unpack[Match]) -> Fault:
    """Answer 404 to polls of what exists, this many times."""
    return _fault(Answer(status=404, message="No batch found."), {**_POLL, "times": polls}, match)


def unknown_status(word: str = "paused", **match: Unpack[Match]) -> Fault:
    """Show a status that no documentation names."""
    return _fault(ShowStatus(word=word), _POLL, match)


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


def ghost(
    after_s: float,
    *,
    meanwhile: Literal["drop", "stall", "error"] = "drop",
    status: int = 504,
    **match: Unpack[Match],
) -> Fault:
    """Let a create arrive late: the client is not answered, and it is carried out after this many emulated seconds.

    It is judged as of then, so an input that was deleted meanwhile makes it fail. With `meanwhile="stall"` the client is
    kept waiting, and gets the answer if it has not given up by then; with `meanwhile="error"` it gets an error of this
    status at once, as from a gateway that has given up.
    """
    return _fault(Ghost(after_s=after_s, meanwhile=meanwhile, status=status), _CREATE, match)


def webhook(
    *,
    copies: int = 1,
    delay_s: float = 0.0,
    behind: int = 0,
    signature: Literal["good", "bad", "missing"] = "good",
    age_s: float = 0.0,
    **match: Unpack[Match],
) -> Fault:
    """Deliver a webhook twice, late, after later ones, badly signed, as an old one, or (`copies=0`) never; see `Deliver`."""
    effect = Deliver(copies=copies, delay_s=delay_s, behind=behind, signature=signature, age_s=age_s)
    return _fault(effect, {"operation": "webhook"}, match)


def act(do: Callable[[], object], step: Step = "accepted", *, after_bytes: int = 1, **match: Unpack[Match]) -> Fault:
    """Call a function when a create has come this far: see `Act`."""
    return _fault(Act(do=do, step=step, after_bytes=after_bytes), _CREATE, match)


def kill(
    pid: int, step: Step = "accepted", *, signal: int = SIGKILL, after_bytes: int = 1, **match: Unpack[Match]
) -> Fault:
    """Send a process a signal when a create has come this far: see `Act`. The call itself goes on."""
    if pid <= 0:
        raise ValueError(f"{pid} is not the id of a process")

    def strike() -> None:
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(pid, signal)

    return act(strike, step, after_bytes=after_bytes, **match)
