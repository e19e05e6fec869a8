"""Requests in the shape of Responses, OpenAI's younger interface, out of its chat shape; other bodies as they are.

`responses.chat` is the shape as OpenAI has it. `responses.agent` is that of services that let agents of theirs answer under the
same path: input is words and images, a schema stands in `response_format`, and neither sampling nor a choice of tools is known.

Source: openai/openai-openapi:openapi.yaml (CreateResponse), and the types of perplexityai 0.46.1 (`response_create_params.py`,
`input_item_param.py`), compared on 2026-11-26.
"""

import re
from typing import Any, cast

from asyncbatch.codec.chat import Chat, Media, Part, Text, Tool, Turn, decode_chat, fit_call_id
from asyncbatch.codec.content import typed
from asyncbatch.codec.formats import Wish, fill_model, refuse_other_model, refuse_stream
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.codec.schema import encode_response_format
from asyncbatch.enums import BatchMode

AGENT = "agent"
_CALL_ID = re.compile(r".{1,64}", re.DOTALL)
_LEAST_TOKENS = 16
"""Fewer are refused by OpenAI."""
_DETAILS = frozenset({"low", "high", "auto", "original"})
_CHOOSERS = frozenset({"model", "models", "preset"})
"""Each of them says which model answers."""
_LOGPROBS = "message.output_text.logprobs"

# Fields that travel as they are: those that mean the same in both shapes, and some that only this one knows.
_FIELDS = {
    AGENT: frozenset({"store", "language_preference", "max_steps"}),
    "chat": frozenset(
        {
            *("temperature", "top_p", "top_logprobs", "user", "metadata", "store", "service_tier", "moderation"),
            *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier"),
            *("truncation", "max_tool_calls"),
        }
    ),
}
_EFFORTS = {
    AGENT: frozenset({"minimal", "low", "medium", "high", "xhigh"}),
    "chat": frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
}
_HINTS = {
    "stop": "no text ends an answer",
    "n": "each request has one answer",
    "web_search_options": "searching is a tool: extra_body may bring it",
    "cache_control": "prompts are cached by themselves",
}


def encode_body(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Translate a body; in mode CUSTOM it is the caller's business, but for the model and the stream."""
    if wish.mode is not BatchMode.CUSTOM:
        if body.get("model") is not None:
            refuse_other_model(body["model"], (wish.model,))
        body = _encode_chat(decode_chat(body, wish.unsupported), wish)
    if "model" in body or _CHOOSERS.isdisjoint(body):
        fill_model(body, wish.model)
    refuse_stream(body)
    return body


def count_inputs(body: dict[str, Any], kind: str) -> int:
    """Say that each request is one."""
    del body, kind
    return 1


def _encode_chat(chat: Chat, wish: Wish) -> dict[str, Any]:
    made: dict[str, Any] = {"input": [item for turn in chat.turns for item in _encode_turn(turn, chat, wish)]}
    rest = dict(chat.rest)
    for text in chat.system:
        _refuse_cache(text.cache, wish)
    if chat.system:
        made["instructions"] = "\n\n".join(text.text for text in chat.system)
    made |= _encode_length(chat, wish)
    made |= _encode_tools(chat, wish)
    made |= _encode_output(chat, rest, wish)
    made |= _encode_effort(rest.pop("reasoning_effort", None), wish)
    if chat.stop:
        wish.unsupported("stop", _HINTS["stop"])
    for name, value in rest.items():
        if name in _FIELDS[_kind(wish)]:
            made[name] = value
        else:
            wish.unsupported(name, _HINTS.get(name, ""))
    return _with_extra(made, chat.extra)


def _kind(wish: Wish) -> str:
    return AGENT if wish.kind == AGENT else "chat"


def _with_extra(made: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Lay the caller's own fields over the body; tools join the tools, and an object goes into the one that is there."""
    added = dict(extra)
    for name, value in extra.items():
        there = made.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            added[name] = cast("dict[str, Any]", there) | cast("dict[str, Any]", value)
        elif name == "tools" and isinstance(there, list) and isinstance(value, list):
            added[name] = [*cast("list[Any]", there), *cast("list[Any]", value)]
    return made | added


# Messages


def _encode_turn(turn: Turn, chat: Chat, wish: Wish) -> list[dict[str, Any]]:
    """Give the items of a message: what it says, and each call that it makes, is one of its own."""
    _refuse_cache(turn.cache, wish)
    if turn.name is not None and turn.role != "tool":
        wish.unsupported("name", "who speaks can be said in the text")
    parts = [part for given in turn.parts if (part := _encode_part(given, turn, wish)) is not None]
    if turn.role == "tool":
        return [_encode_result(turn, parts, chat)]
    items: list[dict[str, Any]] = []
    if parts:
        # What an assistant said is one text: parts of it would have to be those of an answer, with its id.
        content = _joined(parts) if turn.role == "assistant" else _plain(parts)
        items.append({"type": "message", "role": turn.role, "content": content})
    items += [
        {
            "type": "function_call",
            "call_id": fit_call_id(call.id, _CALL_ID, 24),
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in turn.calls
    ]
    if not items:
        raise RowFault("empty_field", f"{turn.where}: nothing of its content is left")
    return items


def _encode_result(turn: Turn, parts: list[dict[str, Any]], chat: Chat) -> dict[str, Any]:
    name = turn.name or chat.tool_of(turn.call_id)
    return {
        "type": "function_call_output",
        "call_id": fit_call_id(turn.call_id or "", _CALL_ID, 24),
        "output": _joined(parts) if all(part["type"] == "input_text" for part in parts) else parts,
        **({"name": name} if name else {}),
    }


def _joined(parts: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for part in parts)


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Give a single text as a text, and anything else as parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "input_text" else parts


def _encode_part(part: Part, turn: Turn, wish: Wish) -> dict[str, Any] | None:
    """Give a part of the input; None for what is left out."""
    _refuse_cache(part.cache, wish)
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if part.kind == "audio":
        wish.unsupported("input_audio", "it reads words and images")
    elif turn.role == "assistant" or (turn.role == "tool" and wish.kind == AGENT):
        wish.unsupported(f"the {turn.role}'s {part.kind}", "it speaks in words alone")
    elif part.url is not None and part.url.startswith("gs://"):
        wish.unsupported("a gs:// address", "it reads https addresses and data URLs")
    elif part.kind == "image":
        return {"type": "input_image", "image_url": _address(part), **_encode_detail(part, wish)}
    elif wish.kind == AGENT:
        wish.unsupported("a file", "it reads words and images")
    else:
        return _encode_file(part)
    return None


def _address(media: Media) -> str | None:
    return media.url if media.data is None else f"data:{media.media_type};base64,{media.data}"


def _encode_detail(image: Media, wish: Wish) -> dict[str, str]:
    """Say how closely an image is looked at, which OpenAI wants to know of each."""
    if wish.kind == AGENT:
        if image.detail not in (None, "auto"):
            wish.unsupported("image_url.detail")
        return {}
    if image.detail is not None and image.detail not in _DETAILS:
        wish.unsupported("image_url.detail", f"it knows {', '.join(sorted(_DETAILS))}, not {shown(image.detail)}")
        return {"detail": "auto"}
    return {"detail": image.detail or "auto"}


def _encode_file(document: Media) -> dict[str, Any]:
    name = {"filename": document.name} if document.name is not None else {}
    if document.file_id is not None:
        return {"type": "input_file", "file_id": document.file_id, **name}
    place = "file_url" if document.data is None else "file_data"
    return {"type": "input_file", place: _address(document), **name}


def _refuse_cache(cache: Any, wish: Wish) -> None:
    if cache is not None:
        wish.unsupported("cache_control", _HINTS["cache_control"])


# Settings


def _encode_length(chat: Chat, wish: Wish) -> dict[str, Any]:
    if chat.max_tokens is None:
        return {}
    if chat.max_tokens < _LEAST_TOKENS and wish.kind != AGENT:
        wish.unsupported(f"max_tokens below {_LEAST_TOKENS}", f"it is {chat.max_tokens}")
        return {}
    return {"max_output_tokens": chat.max_tokens}


def _encode_tools(chat: Chat, wish: Wish) -> dict[str, Any]:
    made: dict[str, Any] = {"tools": [_encode_tool(tool, wish) for tool in chat.tools]} if chat.tools else {}
    if wish.kind == AGENT:
        if chat.tool_choice not in (None, "auto"):
            wish.unsupported("tool_choice", "the model chooses")
        if chat.parallel_tool_calls is False:
            wish.unsupported("parallel_tool_calls", "several calls at once cannot be forbidden")
        return made
    if chat.tool_name is not None:
        made["tool_choice"] = {"type": "function", "name": chat.tool_name}
    elif chat.tool_choice is not None:
        made["tool_choice"] = chat.tool_choice
    if chat.parallel_tool_calls is not None:
        made["parallel_tool_calls"] = chat.parallel_tool_calls
    return made


def _encode_tool(tool: Tool, wish: Wish) -> dict[str, Any]:
    _refuse_cache(tool.cache, wish)
    return {
        "type": "function",
        "name": tool.name,
        **({"description": tool.description} if tool.description is not None else {}),
        "parameters": {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters,
        "strict": bool(tool.strict),  # what chat does by itself; here a function is strict unless it says otherwise
    }


def _encode_output(chat: Chat, rest: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Give what the answer is to look like; what has been looked at is taken out of `rest`."""
    if wish.kind == AGENT:
        if chat.is_json:
            wish.unsupported("response_format json_object", "name a schema: json_schema")
        return {"response_format": encode_response_format(chat.schema)} if chat.schema is not None else {}
    text: dict[str, Any] = {}
    if chat.schema is not None:
        text["format"] = {"type": "json_schema", **encode_response_format(chat.schema)["json_schema"]}
    elif chat.is_json:
        text["format"] = {"type": "json_object"}
    if "verbosity" in rest:
        text["verbosity"] = rest.pop("verbosity")
    made: dict[str, Any] = {"text": text} if text else {}
    if typed(rest.pop("logprobs", False), bool, "logprobs"):
        made["include"] = [_LOGPROBS]
    return made


def _encode_effort(effort: Any, wish: Wish) -> dict[str, Any]:
    if effort is None:
        return {}
    if not isinstance(effort, str) or effort not in _EFFORTS[_kind(wish)]:
        wish.unsupported(f"reasoning_effort {effort}", f"it knows {', '.join(sorted(_EFFORTS[_kind(wish)]))}")
        return {}
    return {"reasoning": {"effort": effort}}
