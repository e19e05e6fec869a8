"""Gemini's body formats: a chat in OpenAI's shape becomes contents of parts, and a text to embed becomes a content.

Proto JSON is strict about types, and a line that it cannot read costs the whole file: so what has a place here also has its
type checked.

Sources: the types GenerateContentRequest and EmbedContentRequest of Google's official SDK (3.6);
https://ai.google.dev/gemini-api/docs/openai (what an effort means for which model) and
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

import re
from typing import Any, cast

from asyncbatch.codec.chat import Call, Chat, Tool, Turn, Unsupported, decode_chat
from asyncbatch.codec.content import Media, Part, Text, typed
from asyncbatch.codec.formats import Wish, refuse_other_model, refuse_stream
from asyncbatch.codec.formats._gemini_schema import fit_schema
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.enums import BatchMode

_NEEDED = {"generate": ("contents", list[Any]), "embed": ("content", dict[str, Any])}

# OpenAI's field, or a known extension: the field of generationConfig and its type.
_SETTINGS: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", float),
    "top_p": ("topP", float),
    "top_k": ("topK", int),
    "n": ("candidateCount", int),
    "presence_penalty": ("presencePenalty", float),
    "frequency_penalty": ("frequencyPenalty", float),
    "logprobs": ("responseLogprobs", bool),
    "top_logprobs": ("logprobs", int),
}
_NO_OPS: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),
    "metadata": ({},),
    "functions": ([],),
    "service_tier": ("auto", "default"),  # in a batch there is no other
}
"""What says no more than its absence. Another field may say much by being empty: `web_search_options`."""
_SEEDS = range(-(2**31), 2**31)
_MODALITIES = ("text", "image", "audio")
_TOOL_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
# No field says these names in the documentation of Gemini's media types.
_MEDIA_TYPES = {"image/jpg": "image/jpeg", "audio/mpeg": "audio/mp3", "audio/x-wav": "audio/wav"}
_SUFFIXES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
}
_SUFFIX = re.compile(r"\.([A-Za-z]{3,4})(?:[?#].*)?$")

_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_THINKS_BY_BUDGET = re.compile(r"gemini-2\.5-")
_THINKS_BY_LEVEL = re.compile(r"gemini-3(?:\.\d+)?-")
_NEVER_THINKS = re.compile(r"gemini-(?:1\.\d|2\.0)-|gemma-")

FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""What stands for the signature of a call that another model made: Gemini 3 refuses the first call of a turn without one."""


def encode_body(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Give the body of one request; the model stands in the create's path, and in no request."""
    _refuse_others(body, wish)
    if wish.mode is BatchMode.CUSTOM:
        return _checked(body, wish.kind)
    made = _encode_text(body, wish) if wish.kind == "embed" else _encode_chat(decode_chat(body, wish.unsupported), wish)
    _refuse_others(made, wish)  # once more: the caller's `extra_body` may say anything
    return made


def _refuse_others(body: dict[str, Any], wish: Wish) -> None:
    refuse_other_model(body.get("model"), (wish.model, None, f"models/{wish.model}"))
    refuse_stream(body)


def count_inputs(body: dict[str, Any], kind: str) -> int:
    """Say how many texts a request embeds: each has one content."""
    del body, kind
    return 1


def _checked(body: dict[str, Any], kind: str) -> dict[str, Any]:
    needed, wanted = _NEEDED[kind]
    if not body.get(needed):
        has = ", ".join(sorted(body.keys() - {"model"})) or "nothing"
        raise RowFault("missing_field", f"a request of Gemini's needs {needed}; this one has {has}")
    typed(body[needed], wanted, needed)
    return body


def _with_extra(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Lay the caller's own fields over a body; an object goes into the object that is there."""
    both = dict(body)
    for name, value in extra.items():
        there = both.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            value = _with_extra(cast("dict[str, Any]", there), cast("dict[str, Any]", value))  # noqa: PLW2901 merged
        both[name] = value
    return both


# Chat


def _encode_chat(chat: Chat, wish: Wish) -> dict[str, Any]:
    system = [_encode_text_part(part, wish.unsupported) for part in chat.system]
    settings = _encode_settings(chat, wish)
    body: dict[str, Any] = {
        "contents": _encode_turns(chat, wish),
        **({"systemInstruction": {"parts": system}} if system else {}),
        **_encode_tools(chat, wish.unsupported),
        **({"generationConfig": settings} if settings else {}),
    }
    return _with_extra(body, chat.extra)


def _encode_turns(chat: Chat, wish: Wish) -> list[dict[str, Any]]:
    """Give the contents; answers of tools that were called together stand in one, as the calls did."""
    contents: list[dict[str, Any]] = []
    was_tool = False
    for turn in chat.turns:
        _refuse_cache(turn.cache, wish.unsupported)
        if turn.role == "tool":
            part = _encode_tool_answer(turn, chat, wish.unsupported)
            if was_tool:
                contents[-1]["parts"].append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
        else:
            contents.append(_encode_turn(turn, wish))
        was_tool = turn.role == "tool"
    return contents


def _encode_turn(turn: Turn, wish: Wish) -> dict[str, Any]:
    if turn.name is not None:
        wish.unsupported("name", "a message has a role alone")
    parts = [_encode_part(part, wish.unsupported) for part in turn.parts if part != Text(text="")]
    parts += [_encode_call(call, turn.where, wish.model, is_first=not at) for at, call in enumerate(turn.calls)]
    if not parts:
        raise RowFault("empty_field", f"{turn.where}.content is empty")
    return {"role": "model" if turn.role == "assistant" else "user", "parts": parts}


def _encode_part(part: Part, unsupported: Unsupported) -> dict[str, Any]:
    return _encode_text_part(part, unsupported) if isinstance(part, Text) else _encode_media(part, unsupported)


def _encode_text_part(part: Text, unsupported: Unsupported) -> dict[str, Any]:
    _refuse_cache(part.cache, unsupported)
    return {"text": part.text}


def _refuse_cache(cache: Any, unsupported: Unsupported) -> None:
    if cache is not None:
        unsupported("cache_control", "prompts are cached by themselves, or named in cachedContent")


def _encode_media(media: Media, unsupported: Unsupported) -> dict[str, Any]:
    """Give bytes inline, and an address or a file at the service by its address; a file's name says nothing to the model."""
    _refuse_cache(media.cache, unsupported)
    if media.detail not in (None, "auto"):
        unsupported("image_url.detail", "not every model takes a resolution for one part")
    kind = _MEDIA_TYPES.get(media.media_type or "", media.media_type)
    if media.data is not None:
        return {"inlineData": {"mimeType": kind, "data": media.data}}
    uri = media.url or media.file_id or ""
    suffix = _SUFFIX.search(uri)
    kind = kind or (_SUFFIXES.get(suffix[1].lower()) if suffix else None)
    return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": uri}}


def _encode_call(call: Call, where: str, model: str, *, is_first: bool) -> dict[str, Any]:
    made = {"id": call.id, "name": call.name, "args": call.decode(where)}
    google = typed(call.extra.get("google") or {}, dict[str, Any], f"{where}.tool_calls[].extra_content.google")
    signature = typed(google.get("thought_signature"), str | None, f"{where}.tool_calls[] thought_signature")
    if signature is None and is_first and _THINKS_BY_LEVEL.match(model):
        signature = FOREIGN_SIGNATURE
    return {"functionCall": made, **({"thoughtSignature": signature} if signature else {})}


def _encode_tool_answer(turn: Turn, chat: Chat, unsupported: Unsupported) -> dict[str, Any]:
    name = chat.tool_of(turn.call_id) or turn.name
    if name is None:
        message = (
            f"{turn.where}: no earlier message calls a tool as {shown(turn.call_id)}, and Gemini needs the tool's name"
        )
        raise RowFault("missing_field", message)
    texts: list[str] = []
    for part in turn.parts:
        _refuse_cache(part.cache, unsupported)
        if isinstance(part, Text):
            texts.append(part.text)
        else:
            unsupported(f"{part.kind} in a tool's answer", "a tool answers in words")
    return {"functionResponse": {"id": turn.call_id, "name": name, "response": {"output": "".join(texts)}}}


# Tools


def _encode_tools(chat: Chat, unsupported: Unsupported) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if chat.tools:
        made["tools"] = [{"functionDeclarations": [_encode_tool(tool, unsupported) for tool in chat.tools]}]
    has_tools = chat.tools or "tools" in chat.extra
    if chat.tool_choice == "required" or (chat.tool_choice is not None and has_tools):  # a mode alone is refused
        config: dict[str, Any] = {"mode": _TOOL_MODES[chat.tool_choice]}
        if chat.tool_name is not None:
            config["allowedFunctionNames"] = [chat.tool_name]
        made["toolConfig"] = {"functionCallingConfig": config}
    if chat.parallel_tool_calls is False:
        unsupported("parallel_tool_calls", "several calls at once cannot be forbidden")
    return made


def _encode_tool(tool: Tool, unsupported: Unsupported) -> dict[str, Any]:
    """Give a declaration; `strict` has no field, for a call that is asked for fits its schema anyway."""
    _refuse_cache(tool.cache, unsupported)
    schema = None if tool.parameters is None else fit_schema(tool.parameters)
    fields = {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema}
    return {name: value for name, value in fields.items() if value is not None}


# Settings


def _encode_settings(chat: Chat, wish: Wish) -> dict[str, Any]:
    """Give the generationConfig, and refuse every field that has no place in it, by name."""
    made: dict[str, Any] = {}
    if chat.max_tokens is not None:
        made["maxOutputTokens"] = chat.max_tokens
    if chat.stop:
        made["stopSequences"] = list(chat.stop)
    if chat.is_json or chat.schema is not None:
        made["responseMimeType"] = "application/json"
    if chat.schema is not None:
        made["responseJsonSchema"] = fit_schema(chat.schema.schema)
    for field, value in chat.rest.items():
        made |= _encode_setting(field, value, wish)
    return made


def _encode_setting(field: str, value: Any, wish: Wish) -> dict[str, Any]:
    if field in _SETTINGS:
        native, kind = _SETTINGS[field]
        return {native: typed(value, kind, field)}
    if field == "seed" and (seed := typed(value, int, field)) in _SEEDS:
        return {"seed": seed}
    if field == "reasoning_effort":
        return _encode_effort(typed(value, str, field), wish)
    if field == "modalities":
        words = typed(value, list[str], field)
        if all(word in _MODALITIES for word in words):
            return {"responseModalities": [word.upper() for word in words]}
    if value in _NO_OPS.get(field, ()):
        return {}
    wish.unsupported(field, "a seed has 32 bits" if field == "seed" else "")
    return {}


def _encode_effort(effort: str, wish: Wish) -> dict[str, Any]:
    """Give what an effort means for a model: tokens to think with, or a level, or nothing for one that never thinks."""
    model = wish.model
    if _NEVER_THINKS.match(model) and effort == "none":
        return {}
    if _THINKS_BY_BUDGET.match(model) and effort in _BUDGETS and not ("-pro" in model and effort == "none"):
        return {"thinkingConfig": {"thinkingBudget": _BUDGETS[effort]}}
    level = _level_of(effort, model) if _THINKS_BY_LEVEL.match(model) else None
    if level is not None:
        return {"thinkingConfig": {"thinkingLevel": level}}
    wish.unsupported("reasoning_effort", f"{effort!r} has no meaning for {model}")
    return {}


def _level_of(effort: str, model: str) -> str | None:
    if "-pro" not in model:
        return _LEVELS.get(effort)
    if effort == "medium" and model.startswith("gemini-3-pro"):  # it knows low and high
        return None
    return "LOW" if effort == "minimal" else _LEVELS.get(effort)


# Embeddings


def _encode_text(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    fields = {name: value for name, value in body.items() if value is not None and name != "model"}
    made: dict[str, Any] = {"content": {"parts": [{"text": _one_text(fields)}]}}
    for field, native, kind in (
        ("dimensions", "outputDimensionality", int),
        ("task_type", "taskType", str),
        ("title", "title", str),
    ):
        if field in fields:
            made[native] = typed(fields.pop(field), kind, field)
    if fields.get("encoding_format") == "float":  # the only one there is
        fields.pop("encoding_format")
    extra = typed(fields.pop("extra_body", {}), dict[str, Any], "extra_body")
    for field in fields:
        wish.unsupported(field)
    return _with_extra(made, extra)


def _one_text(fields: dict[str, Any]) -> str:
    if "input" not in fields:
        has = ", ".join(sorted(fields)) or "nothing"
        raise RowFault("missing_field", f"an embedding request needs input; this one has {has}")
    given = fields.pop("input")
    texts = cast("list[Any]", given) if isinstance(given, list) else [given]
    what = shown(cast("Any", given))
    if len(texts) > 1 and all(isinstance(text, str) for text in texts):
        message = f"its input has {len(texts)} texts, and Gemini takes one in a request: make each a request"
        raise RowFault("too_many_inputs", message)
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise RowFault("wrong_type", f"input is {what}, not a text, which is all that Gemini takes")
    if not texts[0]:
        raise RowFault("empty_field", f"its input is empty: {what}")
    return texts[0]
