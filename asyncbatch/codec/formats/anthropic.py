"""Anthropic's messages: a chat in OpenAI's shape becomes a Messages body, and a body of the caller's own stays as it is.

What a model refuses stands in the catalog, in these words: `temperature`, `top_p`, `top_k`, `temperature+top_p`, `prefill`,
`thinking.enabled`, `thinking.adaptive`, `thinking.disabled`, `effort.WORD`, and `tool_choice.forced` while it thinks.

Source: the types MessageCreateParams and JSONOutputFormat of Anthropic's official SDK (2.14), and its documentation of
extended thinking, effort and structured outputs.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, cast

from asyncbatch.codec.chat import Call, Chat, Media, Part, Text, Tool, Turn, decode_chat, fit_call_id
from asyncbatch.codec.content import typed
from asyncbatch.codec.formats import Wish, fill_model, refuse_stream
from asyncbatch.codec.formats._anthropic_schema import fit_schema
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.enums import BatchMode

_IMAGES = {"image/jpg": "image/jpeg"} | {kind: kind for kind in ("image/jpeg", "image/png", "image/gif", "image/webp")}
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_OWN = ("thinking", "cache_control")
"""Fields of Anthropic's own that need no `extra_body`."""

_NO_OPS: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),
    "service_tier": ("auto", "default"),  # in a batch there is no other
    "temperature": (1,),
    "top_p": (1,),
}
"""What says no more than its absence."""

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thinking for OpenAI's words, where a model wants a budget: the numbers that Google publishes for the same words."""
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def encode_body(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Translate a chat; in mode CUSTOM only the model is filled in."""
    fill_model(body, wish.model)
    if wish.mode is not BatchMode.CUSTOM:
        body = _encode(decode_chat(body, wish.unsupported), wish)
        fill_model(body, wish.model)  # once more: the caller's `extra_body` may have brought another
    refuse_stream(body)
    return body


def count_inputs(body: dict[str, Any], kind: str) -> int:
    """Say how many inputs a request has: a message is one."""
    del body, kind
    return 1


def _encode(chat: Chat, wish: Wish) -> dict[str, Any]:
    rest = {name: value for name, value in chat.rest.items() if not _is_no_op(name, value)}
    made: dict[str, Any] = {
        "model": wish.model,
        "max_tokens": _max_tokens(chat, wish),
        "system": _encode_system(chat.system),
        "messages": _encode_turns(chat.turns, wish),
        "stop_sequences": _encode_stop(chat.stop, wish),
        **_encode_sampling(rest, wish),
        "metadata": _encode_user(rest, wish),
        **_encode_own(rest, wish),
        "tools": [_encode_tool(tool, wish) for tool in chat.tools],
        "tool_choice": _encode_choice(chat),
    }
    made |= _encode_output(chat, wish)
    made = {name: value for name, value in made.items() if value not in (None, [], {})}
    _encode_effort(rest.pop("reasoning_effort", None), made, wish)
    _check_choice(made, wish)
    if rest.get("service_tier") == "standard_only":
        made["service_tier"] = rest.pop("service_tier")
    for name in rest:
        wish.unsupported(name)
    return _with_extra(made, chat.extra)


def _is_no_op(name: str, value: Any) -> bool:
    return not isinstance(value, bool) and value in _NO_OPS.get(name, ())


def _max_tokens(chat: Chat, wish: Wish) -> int:
    own: Any = chat.extra.get("max_tokens")
    most = own if isinstance(own, int) else chat.max_tokens or wish.max_tokens
    if most is None:
        message = (
            f"it needs max_tokens, for the catalog knows no longest answer of {wish.model!r}; is the model spelt so?"
        )
        raise RowFault("missing_field", message)
    return most


def _with_extra(made: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Lay the caller's own fields over the body; tools join the tools, and `output_config` goes into what is there."""
    added = dict(extra)
    if "tools" in made and isinstance(added.get("tools"), list):
        added["tools"] = [*made["tools"], *added["tools"]]
    if "output_config" in made and isinstance(added.get("output_config"), dict):
        added["output_config"] = made["output_config"] | added["output_config"]
    return made | added


# Messages


def _encode_system(texts: Iterable[Text]) -> Any:
    return _plain([_encode_text(text) for text in texts if text.text])


def _encode_turns(turns: tuple[Turn, ...], wish: Wish) -> list[dict[str, Any]]:
    """Give the messages; answers of tools, and what the user says right after them, become one message of the user's."""
    if turns[-1].role == "assistant" and "prefill" in wish.refuses:
        wish.unsupported("an assistant's last word", f"{wish.model} does not go on with {turns[-1].where}")
        turns = turns[:-1]
    messages: list[tuple[str, list[dict[str, Any]]]] = []
    former = ""
    for turn in turns:
        blocks = _encode_turn(turn, wish)
        if former == "tool" and turn.role != "assistant":
            messages[-1][1].extend(blocks)
        else:
            messages.append(("assistant" if turn.role == "assistant" else "user", blocks))
        former = turn.role
    if not messages:
        raise RowFault("empty_field", "of its messages none is left to answer")
    return [{"role": role, "content": _plain(blocks)} for role, blocks in messages]


def _encode_turn(turn: Turn, wish: Wish) -> list[dict[str, Any]]:
    if turn.name is not None and turn.role != "tool":  # a tool's name is known by the call that it answers
        wish.unsupported("name", "who speaks can be said in the text")
    parts = (_encode_part(part, turn, wish) for part in turn.parts)
    blocks = [block for block in parts if block is not None]
    if turn.role == "tool":
        content = {"content": _plain(blocks)} if blocks else {}
        blocks = [{"type": "tool_result", "tool_use_id": fit_call_id(turn.call_id or "", _CALL_ID, 24), **content}]
    blocks += [_encode_call(call, turn) for call in turn.calls]
    if not blocks:
        raise RowFault("empty_field", f"{turn.where}: nothing of its content is left")
    blocks[-1] = {**_cached(turn.cache), **blocks[-1]}  # a mark of the block's own comes first
    return blocks


def _plain(blocks: list[dict[str, Any]]) -> Any:
    """Give a single text as a text, and anything else as blocks."""
    only = blocks[0] if len(blocks) == 1 else {}
    return only["text"] if only.keys() == {"type", "text"} else blocks


def _encode_call(call: Call, turn: Turn) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": fit_call_id(call.id, _CALL_ID, 24),
        "name": call.name,
        "input": call.decode(turn.where),
    }


def _encode_part(part: Part, turn: Turn, wish: Wish) -> dict[str, Any] | None:
    """Give the block of a part; None for an empty text, which the service refuses, and for what is dropped."""
    if isinstance(part, Text):
        return _encode_text(part) if part.text else None
    if part.kind == "audio":
        wish.unsupported("input_audio")
        return None
    if turn.role == "assistant":
        wish.unsupported(f"an assistant's {part.kind}")
        return None
    if part.detail not in (None, "auto"):
        wish.unsupported("image_url.detail")
    source = _encode_image(part, wish) if part.kind == "image" else _encode_document(part, turn, wish)
    if source is None:
        return None
    title = {"title": part.name} if part.name and part.kind == "document" else {}
    return {"type": part.kind, "source": source, **title, **_cached(part.cache)}


def _encode_text(text: Text) -> dict[str, Any]:
    return {"type": "text", "text": text.text, **_cached(text.cache)}


def _cached(cache: Any) -> dict[str, Any]:
    return {} if cache is None else {"cache_control": cache}


def _encode_image(image: Media, wish: Wish) -> dict[str, Any] | None:
    if image.data is None:
        return _encode_place(image, wish)
    media_type = _IMAGES.get(image.media_type or "")
    if media_type is None:
        wish.unsupported(f"an image of type {image.media_type}", "it takes jpeg, png, gif and webp")
        return None
    return {"type": "base64", "media_type": media_type, "data": image.data}


def _encode_document(document: Media, turn: Turn, wish: Wish) -> dict[str, Any] | None:
    if document.data is None:
        return _encode_place(document, wish)
    match document.media_type:
        case "application/pdf":
            return {"type": "base64", "media_type": "application/pdf", "data": document.data}
        case "text/plain":
            return {"type": "text", "media_type": "text/plain", "data": _decode_text(document.data, turn)}
        case other:
            wish.unsupported(f"a file of type {other}", "it takes PDF and plain text")
            return None


def _decode_text(data: str, turn: Turn) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise RowFault("bad_data", f"{turn.where}: a file of plain text is no base64 of UTF-8: {error}") from None


def _encode_place(media: Media, wish: Wish) -> dict[str, Any] | None:
    if media.file_id is not None:
        return {"type": "file", "file_id": media.file_id}
    url = media.url or ""
    if not url.startswith("https://"):
        wish.unsupported("an address that is not https", shown(url))
        return None
    return {"type": "url", "url": url}


# Settings


def _encode_stop(stop: tuple[str, ...], wish: Wish) -> list[str]:
    kept = [text for text in stop if text.strip()]
    if len(kept) < len(stop):
        wish.unsupported("stop", "a text of white space alone ends no answer")
    return kept


def _encode_sampling(rest: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Give temperature, top_p and top_k; what has been looked at is taken out of `rest`."""
    given: dict[str, Any] = {
        name: _number(rest.pop(name), name) for name in ("temperature", "top_p", "top_k") if name in rest
    }
    for name in [name for name in given if name in wish.refuses]:
        wish.unsupported(name, f"{wish.model} chooses for itself")
        del given[name]
    if given.get("temperature", 0) > 1:
        wish.unsupported("temperature above 1")
        del given["temperature"]
    if given.keys() >= {"temperature", "top_p"} and "temperature+top_p" in wish.refuses:
        wish.unsupported("top_p", f"{wish.model} takes either temperature or top_p")
        del given["top_p"]
    return given


def _number(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RowFault("wrong_type", f"{name} is {shown(value)}, not a number")
    return value


def _encode_user(rest: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Give whom a request is for: Anthropic keeps one word of metadata, OpenAI has two fields for it, of which one is old."""
    metadata: Any = rest.pop("metadata", None) or {}
    own = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
    if metadata and own.keys() != {"user_id"}:
        wish.unsupported("metadata", "user_id is all that it takes")
        own = {}
    names = [name for name in ("safety_identifier", "user") if name in rest]
    words = [*own.values(), *(rest.pop(name) for name in names)]
    if any(word != words[0] for word in words):
        wish.unsupported(names[-1], "a request is for one user")
    return {"user_id": words[0]} if words else {}


def _encode_own(rest: dict[str, Any], wish: Wish) -> dict[str, Any]:
    own = {name: rest.pop(name) for name in _OWN if name in rest}
    kind = typed(own.get("thinking"), dict[str, Any] | None, "thinking") and own["thinking"].get("type")
    if f"thinking.{kind}" in wish.refuses:
        wish.unsupported(f"thinking {kind}", f"{wish.model} does not know it")
        del own["thinking"]
    return own


def _encode_tool(tool: Tool, wish: Wish) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {}, **(tool.parameters or {})}
    return {
        "name": tool.name,
        **({"description": tool.description} if tool.description else {}),
        "input_schema": fit_schema(schema, wish.unsupported) if tool.strict else schema,
        **({"strict": True} if tool.strict else {}),
        **_cached(tool.cache),
    }


def _encode_choice(chat: Chat) -> dict[str, Any] | None:
    """Give the choice; without tools there is none to be made, unless one is demanded."""
    if not chat.tools and "tools" not in chat.extra and chat.tool_choice != "required":
        return None
    if chat.tool_choice is None and chat.parallel_tool_calls is not False:
        return None
    choice: dict[str, Any] = {"type": _CHOICES[chat.tool_choice or "auto"]}
    if chat.tool_name is not None:
        choice = {"type": "tool", "name": chat.tool_name}
    if chat.parallel_tool_calls is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice


def _encode_output(chat: Chat, wish: Wish) -> dict[str, Any]:
    if chat.is_json:
        wish.unsupported("response_format json_object", "name a schema: json_schema")
    if chat.schema is None:
        return {}
    return {
        "output_config": {"format": {"type": "json_schema", "schema": fit_schema(chat.schema.schema, wish.unsupported)}}
    }


# Thinking


def _encode_effort(effort: Any, made: dict[str, Any], wish: Wish) -> None:
    """Put how hard the model thinks into the body: an effort where its thinking adapts to one, else a budget of tokens."""
    if effort is None:
        return
    if "thinking" in made:
        wish.unsupported("reasoning_effort", "thinking says it already")
    elif effort == "none":
        if "thinking.disabled" in wish.refuses:
            wish.unsupported("reasoning_effort none", f"{wish.model} always thinks")
        else:
            made["thinking"] = {"type": "disabled"}
    elif "thinking.adaptive" in wish.refuses:
        _encode_budget(effort, made, wish)
    else:
        word = "low" if effort == "minimal" else effort
        if word not in _EFFORTS or f"effort.{word}" in wish.refuses:
            wish.unsupported(f"reasoning_effort {effort}", f"{wish.model} does not know it")
        elif not _is_hindered(made, wish):
            made["thinking"] = {"type": "adaptive"}
            made["output_config"] = {**made.get("output_config", {}), "effort": word}


def _encode_budget(effort: Any, made: dict[str, Any], wish: Wish) -> None:
    budget = _BUDGETS.get(effort) if isinstance(effort, str) else None
    if budget is None or "thinking.enabled" in wish.refuses:
        wish.unsupported(f"reasoning_effort {effort}", f"{wish.model} does not know it")
    elif budget >= made["max_tokens"]:
        wish.unsupported(
            f"reasoning_effort {effort}", f"it takes up to {budget} tokens of max_tokens, which must be more"
        )
    elif not _is_hindered(made, wish):
        made["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _is_hindered(made: dict[str, Any], wish: Wish) -> bool:
    """Whether something else in the body forbids to think."""
    by: list[str] = [name for name in ("temperature", "top_k") if name in made]
    by += ["tool_choice"] if _is_forced(made) else []
    if by:
        wish.unsupported("reasoning_effort", f"{by[0]} forbids to think")
    return bool(by)


def _is_forced(made: dict[str, Any]) -> bool:
    return made.get("tool_choice", {}).get("type") in ("any", "tool")


def _check_choice(made: dict[str, Any], wish: Wish) -> None:
    is_off = made.get("thinking", {}).get("type") == "disabled"
    if _is_forced(made) and "tool_choice.forced" in wish.refuses and not is_off:
        wish.unsupported("tool_choice", f"{wish.model} thinks, and then cannot be made to call a tool")
        made["tool_choice"] = {**made["tool_choice"], "type": "auto"}
        made["tool_choice"].pop("name", None)
