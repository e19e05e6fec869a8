"""Requests in Mistral's own words: chat, fill-in-the-middle and embeddings out of OpenAI's shapes, other bodies as they are.

The model stands in the create and rules there, so a row need not carry it.

Source: mistralai/platform-docs-public:openapi.yaml (BatchRequest), and mistralai/client-python 3.7 (ChatCompletionRequest,
FIMCompletionRequest, EmbeddingRequest, the content chunks).
"""

import re
from typing import Any, cast

import msgspec

from asyncbatch.codec.chat import Call, Chat, Media, Part, Text, Tool, Turn, decode_chat, fit_call_id
from asyncbatch.codec.formats import Wish, fill_model, refuse_stream
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.codec.schema import encode_response_format
from asyncbatch.enums import BatchMode

_HOTTEST = 1.5
_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")  # mistral-common refuses all others
_DETAILS = frozenset({"low", "auto", "high"})
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_RENAMED = {"seed": "random_seed", "dimensions": "output_dimension"}

# Fields that travel: those of OpenAI's that mean the same, and Mistral's own, which OpenAI does not know.
_OF_ALL = frozenset({"temperature", "top_p", "seed", "metadata", "prompt_cache_key", "random_seed", "min_tokens"})
_OF_CHAT = _OF_ALL | {
    *{"n", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"},
    *{"reasoning_effort", "prediction", "service_tier", "top_k", "repetition_penalty"},
    *{"prompt_mode", "safe_prompt", "guardrails", "prompt_logprobs", "top_prompt_logprobs"},
}
_OF_COMPLETION = _OF_ALL | {"suffix", "max_tokens", "stop"}
_OF_EMBEDDING = frozenset({"dimensions", "encoding_format", "metadata", "output_dimension", "output_dtype"})

_HINTS = {
    "temperature": f"it goes from 0 to {_HOTTEST}",
    "service_tier": "it knows auto and standard_only",
    "prediction": "it is one text",
    "user": "metadata may say it",
    "safety_identifier": "metadata may say it",
    "cache_control": "prompt_cache_key is what it has",
}
_NO_OPS: dict[str, Any] = {"n": 1, "best_of": 1, "echo": False, "stream": False, "store": False, "logit_bias": {}}
"""What OpenAI's other requests may say and mean nothing by."""


class _Text(msgspec.Struct, frozen=True):
    text: str


class _Prediction(msgspec.Struct, frozen=True):
    content: str | list[_Text]


def encode_body(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Translate a body; in mode CUSTOM it is the caller's business, but for the model and the stream."""
    if wish.mode is BatchMode.CUSTOM:
        return _checked(body, wish)
    _checked({key: value for key, value in body.items() if value is not None}, wish)
    encode = {
        BatchMode.CHAT: _encode_chat,
        BatchMode.COMPLETION: _encode_completion,
        BatchMode.EMBEDDING: _encode_embedding,
    }[wish.mode]
    return _checked(encode(body, wish), wish)  # once more: `extra_body` may say anything


def _checked(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    if "model" in body:
        fill_model(body, wish.model)
    refuse_stream(body)
    return body


def count_inputs(body: dict[str, Any], kind: str) -> int:
    """Say how many texts one embedding request asks for."""
    given: Any = body.get("input") if kind == "embedding" else None
    return max(1, len(cast("list[Any]", given))) if isinstance(given, list) else 1


def _encode_rest(fields: dict[str, Any], known: frozenset[str], wish: Wish) -> dict[str, Any]:
    """Take the fields that travel, some under another name, and report every other one."""
    made: dict[str, Any] = {}
    for name, given in fields.items():
        value = _VALUES[name](given) if name in _VALUES else given
        if name in known and value is not None:
            made[_RENAMED.get(name, name)] = value
        else:
            wish.unsupported(name, _HINTS.get(name, ""))
    return made


def _encode_temperature(value: Any) -> Any:
    return None if isinstance(value, int | float) and value > _HOTTEST else value


def _encode_tier(value: Any) -> str | None:
    return _TIERS.get(value) if isinstance(value, str) else None


def _encode_prediction(value: Any) -> dict[str, Any] | None:
    """Give the predicted text, whose parts, if it has several, are one text here."""
    try:
        content = msgspec.convert(value, _Prediction).content
    except msgspec.ValidationError:
        return None
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return {"type": "content", "content": text}


_VALUES = {"temperature": _encode_temperature, "service_tier": _encode_tier, "prediction": _encode_prediction}


# Chat


def _encode_chat(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    chat = decode_chat(body, wish.unsupported)
    system = [{"role": "system", "content": _plain(_encode_parts(chat.system, wish))}] if chat.system else []
    made: dict[str, Any] = {"messages": [*system, *(_encode_turn(turn, wish) for turn in chat.turns)]}
    made |= _encode_tools(chat, wish)
    if chat.schema is not None:
        made["response_format"] = encode_response_format(chat.schema)
    elif chat.is_json:
        made["response_format"] = {"type": "json_object"}
    if chat.max_tokens is not None:
        made["max_tokens"] = chat.max_tokens
    if chat.stop:
        made["stop"] = list(chat.stop)
    return made | _encode_rest(chat.rest, _OF_CHAT, wish) | chat.extra


def _encode_turn(turn: Turn, wish: Wish) -> dict[str, Any]:
    _refuse_cache(turn.cache, wish)
    message: dict[str, Any] = {"role": turn.role}
    chunks = _encode_parts(turn.parts, wish)
    if not chunks and not turn.calls and turn.role != "tool":
        raise RowFault("empty_field", f"{turn.where}: nothing of its content is left")
    if chunks or turn.role == "tool":
        message["content"] = _plain(chunks)
    if turn.calls:
        message["tool_calls"] = [_encode_call(call) for call in turn.calls]
    if turn.call_id is not None:
        message["tool_call_id"] = fit_call_id(turn.call_id, _CALL_ID, 9)
    if turn.name is not None and turn.role == "tool":
        message["name"] = turn.name
    elif turn.name is not None:
        wish.unsupported("name", "of all messages a tool's alone has one")
    return message


def _encode_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": fit_call_id(call.id, _CALL_ID, 9), "type": "function", "function": function}


def _encode_parts(parts: tuple[Part, ...], wish: Wish) -> list[dict[str, Any]]:
    return [chunk for part in parts if (chunk := _encode_part(part, wish)) is not None]


def _plain(chunks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Give a single text, or none, as a text, and everything else as chunks."""
    if not chunks:
        return ""
    return chunks if len(chunks) > 1 or chunks[0]["type"] != "text" else chunks[0]["text"]


def _encode_part(part: Part, wish: Wish) -> dict[str, Any] | None:
    _refuse_cache(part.cache, wish)
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.url is not None and part.url.startswith("gs://"):
        wish.unsupported("a gs:// address", "it reads https addresses and data URLs")
        return None
    match part.kind:
        case "image":
            return {"type": "image_url", "image_url": _encode_image(part, wish)}
        case "audio":
            return {"type": "input_audio", "input_audio": part.data}
        case _:
            return _encode_document(part, wish)


def _refuse_cache(cache: Any, wish: Wish) -> None:
    if cache is not None:
        wish.unsupported("cache_control", _HINTS["cache_control"])


def _address(media: Media) -> str | None:
    return media.url if media.data is None else f"data:{media.media_type};base64,{media.data}"


def _encode_image(image: Media, wish: Wish) -> Any:
    if image.detail in _DETAILS:
        return {"url": _address(image), "detail": image.detail}
    if image.detail is not None:
        wish.unsupported("image_url.detail", f"it knows low, auto and high, not {shown(image.detail)}")
    return _address(image)


def _encode_document(document: Media, wish: Wish) -> dict[str, Any]:
    if document.file_id is not None:
        if document.name is not None:
            wish.unsupported("file.filename", "a file that lies there already has its name")
        return {"type": "file", "file_id": document.file_id}
    name = {"document_name": document.name} if document.name is not None else {}
    return {"type": "document_url", "document_url": _address(document), **name}


def _encode_tools(chat: Chat, wish: Wish) -> dict[str, Any]:
    made: dict[str, Any] = {"tools": [_encode_tool(tool, wish) for tool in chat.tools]} if chat.tools else {}
    if chat.tool_name is not None:
        made["tool_choice"] = {"type": "function", "function": {"name": chat.tool_name}}
    elif chat.tool_choice is not None:
        made["tool_choice"] = chat.tool_choice
    if chat.parallel_tool_calls is not None:
        made["parallel_tool_calls"] = chat.parallel_tool_calls
    return made


def _encode_tool(tool: Tool, wish: Wish) -> dict[str, Any]:
    _refuse_cache(tool.cache, wish)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    # OpenAI takes a function without parameters; here they are required.
    function["parameters"] = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


# Fill in the middle, and embeddings


def _encode_completion(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    prompt, fields, extra = _take(body, "prompt", wish.kind)
    if isinstance(prompt, list) and len(cast("list[Any]", prompt)) == 1:
        prompt = cast("list[Any]", prompt)[0]
    if not isinstance(prompt, str):
        raise RowFault("unsupported", f"prompt is {shown(cast('object', prompt))}; a request completes one text here")
    return {"prompt": prompt} | _encode_rest(fields, _OF_COMPLETION, wish) | extra


def _encode_embedding(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    given, fields, extra = _take(body, "input", wish.kind)
    texts = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise RowFault("unsupported", f"input is {shown(cast('object', given))}; texts alone are embedded here")
    made: dict[str, Any] = {"input": given}
    return made | _encode_rest(fields, _OF_EMBEDDING, wish) | extra


def _take(body: dict[str, Any], needed: str, kind: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Give the field that a request cannot do without, its other fields, and what `extra_body` adds to them."""
    fields = {name: value for name, value in body.items() if value is not None and not _is_no_op(name, value)}
    fields.pop("model", None)
    has = ", ".join(sorted(fields)) or "nothing"
    extra: Any = fields.pop("extra_body", {})
    if not isinstance(extra, dict):
        raise RowFault("wrong_type", f"extra_body is {shown(cast('object', extra))}, not an object")
    if needed not in fields:
        raise RowFault("missing_field", f"a {kind} request needs {needed}; this one has {has}")
    value = fields.pop(needed)
    if not value:
        raise RowFault("empty_field", f"its {needed} is empty: {shown(value)}")
    return value, fields, cast("dict[str, Any]", extra)


def _is_no_op(name: str, value: Any) -> bool:
    if name in ("presence_penalty", "frequency_penalty"):
        return bool(value == 0)
    return name in _NO_OPS and type(value) is type(_NO_OPS[name]) and value == _NO_OPS[name]
