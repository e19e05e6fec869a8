"""What OpenAI's bodies ask for, in the emulator's neutral words. They have passed the checks."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from asyncbatch.emulator.families.openai_checks import texts_in, whole_number
from asyncbatch.emulator.json_values import is_array, is_object, objects_in
from asyncbatch.emulator.model import Ask, Message, Tool, ToolCall

_SETTINGS = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "reasoning_effort")


def ask_chat(body: dict[str, Any]) -> Ask:
    messages: list[dict[str, Any]] = body["messages"]
    wanted = body.get("response_format")
    return Ask(
        kind="chat",
        model=str(body["model"]),
        system=_system_text(messages),
        messages=_read_messages(messages),
        tools=_read_tools(body.get("tools")),
        tool_choice=_read_choice(body.get("tool_choice")),
        wanted_tool=_wanted_tool(body.get("tool_choice")),
        schema=_schema(wanted, "json_schema"),
        json_object=_is_json_object(wanted),
        max_tokens=whole_number(body, "max_completion_tokens", "max_tokens"),
        stop=_read_stop(body.get("stop")),
        n=whole_number(body, "n") or 1,
        settings=_read_settings(body),
        body=body,
    )


def ask_response(body: dict[str, Any]) -> Ask:
    items: list[dict[str, Any]] = _response_items(body.get("input", ""))
    settings = body.get("text")
    wanted = settings.get("format") if is_object(settings) else None
    instructions = str(body.get("instructions") or "")
    return Ask(
        kind="chat",
        model=str(body["model"]),
        system="\n".join(part for part in (instructions, _system_text(items)) if part),
        messages=_read_messages(items),
        tools=_read_tools(body.get("tools")),
        tool_choice=_read_choice(body.get("tool_choice")),
        wanted_tool=_wanted_tool(body.get("tool_choice")),
        schema=_schema(wanted, None),
        json_object=_is_json_object(wanted),
        max_tokens=whole_number(body, "max_output_tokens"),
        settings=_read_settings(body),
        body=body,
    )


def ask_agent(body: dict[str, Any]) -> Ask:
    """Read what an agent is asked: as a response, but for the wanted format, and perhaps no one model."""
    models, wanted = body.get("models"), body.get("response_format")
    name = body.get("model") or (models[0] if is_array(models) and models else body.get("preset"))
    ask = ask_response({**body, "model": name})
    return replace(ask, schema=_schema(wanted, "json_schema"), json_object=_is_json_object(wanted), body=body)


def ask_completion(body: dict[str, Any]) -> Ask:
    return Ask(
        kind="completion",
        model=str(body["model"]),
        inputs=_read_inputs(body["prompt"]),
        max_tokens=whole_number(body, "max_tokens"),
        stop=_read_stop(body.get("stop")),
        settings=_read_settings(body),
        body=body,
    )


def ask_embedding(body: dict[str, Any]) -> Ask:
    return Ask(
        kind="embedding",
        model=str(body["model"]),
        inputs=_read_inputs(body["input"]),
        dimensions=whole_number(body, "dimensions"),
        body=body,
    )


def text_of(content: Any) -> str:
    """Give the text of a message's content: a string, or parts of which some are text."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in objects_in(content) if "text" in part)


def _system_text(messages: Sequence[dict[str, Any]]) -> str:
    return "\n".join(text_of(item.get("content")) for item in messages if item.get("role") in ("system", "developer"))


def _read_messages(messages: Sequence[dict[str, Any]]) -> tuple[Message, ...]:
    found = (_read_message(item) for item in messages)
    return tuple(message for message in found if message is not None)


def _read_message(item: dict[str, Any]) -> Message | None:
    """Read a message of chat, or an item of responses; None for what is said elsewhere, and what nobody knows."""
    role, kind = item.get("role"), item.get("type")
    if kind == "function_call":
        return Message(role="assistant", tool_calls=(_read_call(item),))
    if kind == "function_call_output":
        return Message(role="tool", text=text_of(item.get("output")), tool_call_id=str(item.get("call_id", "")))
    content = item.get("content")
    if role in ("tool", "function"):
        name = item.get("tool_call_id") or item.get("name") or ""
        return Message(role="tool", text=text_of(content), tool_call_id=str(name))
    if role == "assistant":
        calls = tuple(_read_call(call) for call in objects_in(item.get("tool_calls")))
        return Message(role="assistant", text=text_of(content), tool_calls=calls)
    if role != "user":
        return None
    parts = objects_in(content)
    return Message(role="user", text=text_of(content), images=_urls(parts, "image_url"), documents=_files(parts))


def _read_call(call: dict[str, Any]) -> ToolCall:
    function = _function(call)
    name, arguments = str(function.get("name", "")), str(function.get("arguments", "{}"))
    return ToolCall(name=name, arguments=arguments, id=str(call.get("call_id") or call.get("id") or ""))


def _urls(parts: Sequence[dict[str, Any]], name: str) -> tuple[str, ...]:
    found = (part[name] for part in parts if name in part)
    return tuple(str(item.get("url", "")) if is_object(item) else str(item) for item in found)


def _files(parts: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Give the files among the parts: nested in chat, flat in responses."""
    found = [part.get("file", part) for part in parts if part.get("type") in ("file", "input_file")]
    return tuple(str(item.get("file_data") or item.get("file_url") or item.get("file_id") or "") for item in found)


def _read_tools(tools: Any) -> tuple[Tool, ...]:
    functions = [_function(tool) for tool in objects_in(tools)]
    return tuple(
        Tool(name=str(item["name"]), description=str(item.get("description") or ""), parameters=item.get("parameters"))
        for item in functions
        if "name" in item
    )


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    """Give the function in a tool: nested, as in chat, or flat, as in responses."""
    nested = tool.get("function")
    return nested if is_object(nested) else tool


def _read_choice(choice: Any) -> Literal["auto", "none", "required"]:
    return choice if choice in ("none", "required") else "auto"


def _wanted_tool(choice: Any) -> str | None:
    name = _function(choice).get("name") if is_object(choice) else None
    return None if name is None else str(name)


def _schema(wanted: Any, nested: str | None) -> Any:
    """Give the schema of a wanted format, nested as in chat or flat as in responses."""
    if not is_object(wanted) or wanted.get("type") != "json_schema":
        return None
    holder = wanted.get(nested) if nested else wanted
    return holder.get("schema") if is_object(holder) else None


def _is_json_object(wanted: Any) -> bool:
    """Say whether JSON is wanted without a schema that would tell which."""
    return is_object(wanted) and wanted.get("type") in ("json_object", "json_schema")


def _read_stop(stop: Any) -> tuple[str, ...]:
    items = stop if is_array(stop) else [stop]
    return tuple(str(item) for item in items if item is not None)


def _read_settings(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _SETTINGS if body.get(name) is not None}


def _response_items(wanted: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": wanted}] if isinstance(wanted, str) else objects_in(wanted)


def _read_inputs(wanted: Any) -> tuple[str | tuple[int, ...], ...]:
    return tuple(item if isinstance(item, str) else tuple(item) for item in texts_in(wanted))


ASKS: dict[str, Callable[[dict[str, Any]], Ask]] = {
    "chat": ask_chat,
    "completion": ask_completion,
    "embedding": ask_embedding,
    "response": ask_response,
    "agent": ask_agent,
}
"""By kind of endpoint, as the dialect has it; the other kinds are answered in OpenAI's shapes alone."""
