"""OpenAI's body formats: what chat, completion and embedding requests must hold.

Source: OpenAI's batch guide and openai/openai-openapi:openapi.yaml (BatchRequestInput), as of 2026-11-22.
"""

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, cast

from asyncbatch.codec.chat import Unsupported
from asyncbatch.codec.formats import Filled, Wish, refuse_other_model, refuse_stream
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.codec.schema import decode_response_format, encode_response_format
from asyncbatch.codec.slices import are_texts, column, keys_of, values_of
from asyncbatch.enums import BatchMode

_MARKED = frozenset({"response_format", "top_k", "cache_control", "tools"})
_UNUSUAL = _MARKED | {"stream", "extra_body"}
_VALUES = (str, int, float, list, type(None))
_NEEDED = {"chat": "messages", "completion": "prompt", "embedding": "input"}


def encode_body(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Fill in the model and refuse what the service would refuse the whole file for."""
    if wish.mode is not BatchMode.CUSTOM and "extra_body" in body:
        body = _with_extra(body)
    if body.setdefault("model", wish.model) != wish.model:
        refuse_other_model(body["model"], (wish.model,))
    if "stream" in body:
        refuse_stream(body)
    needed = _NEEDED.get(wish.kind)
    if needed is not None and needed in body and not body[needed]:
        raise RowFault("empty_field", f"its {needed} is empty: {shown(body[needed])}")
    if needed is not None and needed not in body:
        has = ", ".join(sorted(body.keys() - {"model"})) or "nothing"
        raise RowFault("missing_field", f"a {wish.kind} request needs {needed}; this one has {has}")
    if wish.kind == "chat" and not isinstance(body["messages"], list):
        raise RowFault("wrong_type", f"messages is {shown(body['messages'])}, not a list")
    if wish.mode is not BatchMode.CUSTOM and wish.kind == "chat" and not _is_usual(body):
        body = _in_own_words(body, wish)
    return body


def _is_usual(body: dict[str, Any]) -> bool:
    """Whether a chat request holds nothing but what OpenAI reads itself: no word of others, no marks, no tools."""
    return _MARKED.isdisjoint(body) and all(map(_is_text, body["messages"]))


def encode_usual(bodies: Sequence[dict[str, Any]], wish: Wish) -> Filled | None:
    """Fill in the model of requests that `encode_body` would let pass as they are; None where one of them may be another."""
    keys = keys_of(bodies)
    if keys is None or wish.mode is BatchMode.CUSTOM or wish.kind not in _NEEDED or not keys.isdisjoint(_UNUSUAL):
        return None
    needed = _NEEDED[wish.kind]
    try:
        given = list(map(itemgetter(needed), bodies))
        models = set(map(itemgetter("model"), bodies)) if "model" in keys else {wish.model}
    except (KeyError, TypeError):  # one names none, or a list
        return None
    inner = _usual_messages(given) if wish.kind == "chat" else given if are_texts(given) else None
    if inner is None or models != {wish.model}:
        return None
    filled = {"model": wish.model}
    others = (column(bodies, key) for key in keys - {needed, "model"})
    return Filled(bodies=[body | filled for body in bodies], values=[*inner, *chain.from_iterable(others)])


def _usual_messages(given: Sequence[Any]) -> Sequence[Any] | None:
    """Give what is in the messages of many requests, or None where one is not as `_is_usual` has it."""
    if set(map(type, given)) != {list} or not all(given):
        return None
    messages = list[Any](chain.from_iterable(given))
    keys = keys_of(messages) if set(map(type, messages)) == {dict} else None
    if keys is None or "cache_control" in keys or {type(message.get("content")) for message in messages} != {str}:
        return None
    return values_of(messages)


def _in_own_words(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Put what is read for every provider, and is no field of OpenAI's, into OpenAI's own words."""
    if _is_type(body.get("response_format")):
        schema, _ = decode_response_format(body["response_format"], wish.unsupported)
        body["response_format"] = encode_response_format(schema) if schema else {"type": "text"}
    if body.pop("top_k", None) is not None:
        wish.unsupported("top_k")
    body = _uncached(body, wish.unsupported)
    body["messages"] = [_without_cache(message, "content", wish.unsupported) for message in body["messages"]]
    if isinstance(body.get("tools"), list):
        body["tools"] = [_without_cache(tool, "function", wish.unsupported) for tool in body["tools"]]
    return body


def _is_text(message: Any) -> bool:
    """Whether a message is as most of them are: a text, and no marks at all."""
    return type(message) is dict and "cache_control" not in message and type(cast("Any", message).get("content")) is str


def _with_extra(body: dict[str, Any]) -> dict[str, Any]:
    extra = body.pop("extra_body", None)
    if extra is not None and not isinstance(extra, dict):
        raise RowFault("wrong_type", f"extra_body is {shown(extra)}, not an object")
    return body | cast("dict[str, Any]", extra or {})


def _is_type(wanted: Any) -> bool:
    """Whether it is no JSON value: a type, or what was meant for one, such as `list[City]`."""
    if isinstance(wanted, dict):
        return _is_type(cast("dict[str, Any]", wanted).get("json_schema"))
    return not isinstance(wanted, _VALUES)


def _without_cache(given: Any, inner: str, unsupported: Unsupported) -> Any:
    """Give a message or a tool without marks for the cache, on itself and on what stands in it."""
    whole: Any = _uncached(given, unsupported)
    if not isinstance(whole, dict):
        return whole
    outer = cast("dict[str, Any]", whole)
    found: Any = outer.get(inner)
    parts = cast("list[Any]", found) if isinstance(found, list) else [found]
    kept = [_uncached(part, unsupported) for part in parts]
    if all(a is b for a, b in zip(kept, parts, strict=True)):
        return outer
    return {**outer, inner: kept if isinstance(found, list) else kept[0]}


def _uncached(given: Any, unsupported: Unsupported) -> Any:
    part: dict[str, Any] = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if "cache_control" not in part:
        return cast("Any", given)
    unsupported("cache_control", "prompts are cached by themselves")
    return {key: value for key, value in part.items() if key != "cache_control"}


def count_inputs(body: dict[str, Any], kind: str) -> int:
    """Say how many texts one embedding request asks for: a list of texts or of token lists counts each."""
    given: Any = body.get("input") if kind == "embedding" else None
    items = cast("list[Any]", given) if isinstance(given, list) else []
    return len(items) if items and not isinstance(items[0], int) else 1
