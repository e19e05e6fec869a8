"""What Gemini's requests ask for, in the emulator's neutral words. They have been read and have passed the checks. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.model import Ask, Message, Tool, ToolCall

_SETTINGS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_DIALECT_OF_SCHEMA = {"ref": "$ref", "defs": "$defs"}  # field of Google's schema -> JSON Schema's
_OUTPUTS = ("output", "result")  # where a function's result stands, if it stands alone


def ask_chat(model: str, body: dict[str, Any]) -> Ask:
    config: dict[str, Any] = body.get("generationConfig", {})
    choice: dict[str, Any] = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed: Sequence[str] = choice.get("allowedFunctionNames", [])
    return Ask(
        kind="chat",
        model=model,
        system=text_of(body.get("systemInstruction", {})),
        messages=tuple(message for content in body["contents"] for message in _read_content(content)),
        tools=tuple(_read_tools(body.get("tools", []))),
        tool_choice=_read_choice(choice.get("mode"), allowed),
        wanted_tool=allowed[0] if allowed and choice.get("mode") == "ANY" else None,
        schema=_read_schema(config),
        json_object=config.get("responseMimeType") == "application/json",
        max_tokens=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences", [])),
        n=config.get("candidateCount", 1),
        settings=_read_settings(config),
        body=body,
    )


def ask_embedding(model: str, body: dict[str, Any]) -> Ask:
    dimensions = body.get("outputDimensionality")
    return Ask(kind="embedding", model=model, inputs=(text_of(body["content"]),), dimensions=dimensions, body=body)


def text_of(content: dict[str, Any]) -> str:
    """Give what is said in a content; the model's thoughts are not."""
    parts = content.get("parts", [])
    return "\n".join(part["text"] for part in parts if "text" in part and not part.get("thought"))


def _read_content(content: dict[str, Any]) -> Iterator[Message]:
    """Give the results of functions, a message each, and then what else the turn says."""
    parts: list[dict[str, Any]] = content["parts"]
    yield from (_read_result(part["functionResponse"]) for part in parts if "functionResponse" in part)
    text, media = text_of(content), [item for part in parts for item in _read_media(part)]
    if content.get("role") == "model":
        calls = tuple(_read_call(part["functionCall"]) for part in parts if "functionCall" in part)
        yield Message(role="assistant", text=text, tool_calls=calls)
    elif text or media or any("functionResponse" not in part for part in parts):
        images = tuple(url for mime_type, url in media if mime_type.startswith("image/"))
        documents = tuple(url for mime_type, url in media if not mime_type.startswith("image/"))
        yield Message(role="user", text=text, images=images, documents=documents)


def _read_media(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give type and URL of a picture or another file."""
    if "inlineData" in part:
        mime_type, data = part["inlineData"]["mimeType"], part["inlineData"]["data"]
        yield mime_type, f"data:{mime_type};base64,{data}"
    if "fileData" in part:
        yield part["fileData"].get("mimeType", ""), part["fileData"]["fileUri"]


def _read_result(result: dict[str, Any]) -> Message:
    said = result["response"]
    alone = next((said[name] for name in _OUTPUTS if name in said and len(said) == 1), None)
    text = alone if isinstance(alone, str) else msgspec.json.encode(said).decode()
    return Message(role="tool", text=text, tool_call_id=result.get("id") or result["name"])


def _read_call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(name=call["name"], arguments=_write(call.get("args", {})), id=call.get("id", ""))


def _write(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _read_tools(tools: Sequence[dict[str, Any]]) -> Iterator[Tool]:
    for tool in tools:
        for item in tool.get("functionDeclarations", []):
            parameters = item.get("parametersJsonSchema", as_json_schema(item.get("parameters")))
            yield Tool(name=item["name"], description=item.get("description", ""), parameters=parameters)


def _read_choice(mode: str | None, allowed: Sequence[str]) -> Literal["auto", "none", "required"]:
    """A single function that has to be called is the wanted one, and no choice is left."""
    if mode == "NONE":
        return "none"
    return "required" if mode == "ANY" and len(allowed) != 1 else "auto"


def _read_schema(config: dict[str, Any]) -> Any:
    return config.get("responseJsonSchema", as_json_schema(config.get("responseSchema")))


def as_json_schema(schema: Any) -> Any:
    """Turn Google's subset of OpenAPI's schemas into JSON Schema."""
    if not is_object(schema):
        return schema
    found = {_DIALECT_OF_SCHEMA.get(name, name): _schema_field(name, value) for name, value in schema.items()}
    is_nullable = found.pop("nullable", False)
    return {"anyOf": [found, {"type": "null"}]} if is_nullable else found


def _schema_field(name: str, value: Any) -> Any:
    if name == "type":
        return str(value).lower()
    if name in {"properties", "defs"}:
        return {key: as_json_schema(item) for key, item in value.items()}
    if name in {"items", "additionalProperties"}:
        return as_json_schema(value)
    return [as_json_schema(item) for item in value] if name == "anyOf" and is_array(value) else value


def _read_settings(config: dict[str, Any]) -> dict[str, Any]:
    thinking: dict[str, Any] = config.get("thinkingConfig", {})
    settings = {ours: config[name] for name, ours in _SETTINGS.items() if name in config}
    if "thinkingLevel" in thinking:
        settings["reasoning_effort"] = thinking["thinkingLevel"].lower()
    if "thinkingBudget" in thinking:
        settings["thinking_budget"] = thinking["thinkingBudget"]
    return settings
