"""One request, from a uniform shape to the line that travels: its format makes the body, its provider the line around it."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from asyncbatch.codec.chat import Unsupported
from asyncbatch.codec.formats import Wish, format_of, usual_of
from asyncbatch.codec.requests import EncodedRow, Request, RowFault, encode_json, shown
from asyncbatch.codec.slices import Usual, are_plain, encode_all
from asyncbatch.enums import BatchMode

OPENAI_URLS = {
    BatchMode.CHAT: "/v1/chat/completions",
    BatchMode.COMPLETION: "/v1/completions",
    BatchMode.EMBEDDING: "/v1/embeddings",
}
"""The url of a ready row says which shape its body has: the one that is read, wherever it goes."""


class RowRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of one job have in common.

    Attributes:
        title: The provider's name, for errors.
        endpoint: The provider's path.
        format: The body format of the endpoint, such as `openai.chat`.
        mode: What the requests ask for.
        model: The model of them all.
        max_tokens: The longest answer that the catalog knows of.
        refuses: What the catalog says that the model refuses.
        is_dropping: Leave out what the provider cannot express, instead of refusing the row.
        is_replacing_model: Send rows that name another model to this one, instead of refusing them.
        line: Makes a line of the id and the body, both JSON.
    """

    title: str
    endpoint: str
    format: str
    mode: BatchMode
    model: str
    max_tokens: int | None = None
    refuses: tuple[str, ...] = ()
    is_dropping: bool = False
    is_replacing_model: bool = False
    line: Callable[[bytes, bytes], bytes]


class RowEncoder:
    """Makes requests of one job lines, one after the other."""

    def __init__(self, rules: RowRules) -> None:
        self._rules = rules
        self._made = format_of(rules.format)
        self._kind = rules.format.partition(".")[2]
        self._is_counted = self._kind == "embedding"
        self._urls = frozenset({None, rules.endpoint, OPENAI_URLS.get(rules.mode)})
        self._usual = None if rules.is_replacing_model else usual_of(rules.format)
        self._wish = self._new_wish()

    def __call__(self, request: Request, wire_id: str) -> EncodedRow:
        """Make a request a line, or raise the `RowFault` that says why it cannot be one."""
        rules, wish = self._rules, self._wish
        if request.url not in self._urls:
            raise RowFault("bad_url", f"its url is {shown(request.url)}, but this job goes to {rules.endpoint}")
        try:
            body = request.body if not rules.is_replacing_model else _with_model(request.body, rules)
            body = self._made.encode_body(body, wish)
        except RowFault:
            self._end(wish.unsupported)  # what went wrong may only be that something is left out
            raise
        dropped = () if wish.unsupported.is_unused else self._end(wish.unsupported)
        line = rules.line(encode_json(wire_id), encode_json(body))
        return EncodedRow(line, self._made.count_inputs(body, self._kind) if self._is_counted else 1, dropped)

    def encode_usual(self, requests: Usual) -> list[bytes] | None:
        """Give the bodies of requests as JSON, or None: then one of them may be unusual, and each is made a line by itself."""
        if self._usual is None or not requests.urls <= self._urls:
            return None
        filled = self._usual(requests.bodies, self._wish)
        return encode_all(filled.bodies) if filled is not None and are_plain(filled.values) else None

    def _end(self, unsupported: Unsupported) -> tuple[str, ...]:
        """Refuse a row for what it asked for in vain, or give what was left out of it; the next one begins anew."""
        if unsupported.is_unused:
            return ()
        self._wish = self._new_wish()
        unsupported.refuse_all()
        return tuple(unsupported.dropped)

    def _new_wish(self) -> Wish:
        rules = self._rules
        return Wish(
            kind=self._kind,
            mode=rules.mode,
            model=rules.model,
            max_tokens=rules.max_tokens,
            refuses=rules.refuses,
            unsupported=Unsupported(rules.title, drop=rules.is_dropping, collect=True),
        )


def encode_row(request: Request, wire_id: str, rules: RowRules) -> EncodedRow:
    """Make one request a line; see `RowEncoder`."""
    return RowEncoder(rules)(request, wire_id)


def _with_model(body: dict[str, Any], rules: RowRules) -> dict[str, Any]:
    """Give a body whose own model, if it names one, is the job's."""
    made = _replaced(body, rules.model)
    extra = made.get("extra_body")
    if rules.mode is not BatchMode.CUSTOM and isinstance(extra, dict):
        made["extra_body"] = _replaced(cast("dict[str, Any]", extra), rules.model)
    return made


def _replaced(fields: dict[str, Any], model: str) -> dict[str, Any]:
    return {**fields, "model": model} if "model" in fields else dict(fields)
