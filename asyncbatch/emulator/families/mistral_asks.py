"""What Mistral's bodies ask for, in the emulator's neutral words: read as OpenAI's, after what differs was renamed.

Each function takes a body that has passed the checks, and the model that the job runs on.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from asyncbatch.emulator.families import openai_asks
from asyncbatch.emulator.json_values import is_array, is_object, objects_in
from asyncbatch.emulator.model import Ask

AskReader: TypeAlias = Callable[[dict[str, Any], str], Ask]

_RENAMED = {"random_seed": "seed", "output_dimension": "dimensions"}  # Mistral's word -> OpenAI's


def ask_chat(body: dict[str, Any], model: str) -> Ask:
    return _spoken(body, body["messages"], body, model)


def ask_conversation(body: dict[str, Any], model: str) -> Ask:
    wanted = body["inputs"]
    said = [{"role": "user", "content": wanted}] if isinstance(wanted, str) else _entries(objects_in(wanted))
    if body.get("instructions"):
        said.insert(0, {"role": "system", "content": body["instructions"]})
    return _spoken(body, said, {**(body.get("completion_args") or {}), "tools": body.get("tools")}, model)


def ask_fim(body: dict[str, Any], model: str) -> Ask:
    """Ask for a completion; what stands behind the gap is seen by nobody but the readers of the body."""
    return _finished(openai_asks.ask_completion(_renamed({**body, "model": model})), body, body)


def ask_embedding(body: dict[str, Any], model: str) -> Ask:
    return replace(openai_asks.ask_embedding(_renamed({**body, "model": model})), body=body)


def _spoken(body: dict[str, Any], messages: list[Any], wishes: dict[str, Any], model: str) -> Ask:
    words = {**_renamed(wishes), "model": model, "messages": [_message(item) for item in objects_in(messages)]}
    if words.get("tool_choice") == "any":
        words["tool_choice"] = "required"
    return _finished(openai_asks.ask_chat(words), wishes, body)


def _finished(ask: Ask, wishes: dict[str, Any], body: dict[str, Any]) -> Ask:
    return replace(ask, max_tokens=wishes.get("max_tokens"), body=body)


def _renamed(body: dict[str, Any]) -> dict[str, Any]:
    """Give the body under OpenAI's names. Without `max_tokens`, which may be 0 here alone."""
    return {_RENAMED.get(name, name): value for name, value in body.items() if name != "max_tokens"}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if is_array(content):
        content = [_part(part) for part in objects_in(content)]
    return {
        **message,
        "content": content,
        "tool_calls": [_call(call) for call in objects_in(message.get("tool_calls"))],
    }


def _part(chunk: dict[str, Any]) -> dict[str, Any]:
    is_document = chunk.get("type") == "document_url"
    return {"type": "file", "file_url": chunk["document_url"]} if is_document else chunk


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function: dict[str, Any] = call["function"]
    arguments = function["arguments"]
    if is_object(arguments):
        arguments = msgspec.json.encode(arguments).decode()
    return {**call, "function": {**function, "arguments": arguments}}


def _entries(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the entries of a conversation as messages; what tools of the service did is nobody's speech."""
    found = (_entry(entry) for entry in entries)
    return [message for message in found if message is not None]


def _entry(entry: dict[str, Any]) -> dict[str, Any] | None:
    match entry.get("type", "message.input"):
        case "message.input":
            return {"role": entry["role"], "content": entry["content"]}
        case "message.output":
            return {"role": "assistant", "content": entry["content"]}
        case "function.call":
            function = {"name": entry["name"], "arguments": entry["arguments"]}
            return {"role": "assistant", "tool_calls": [{"id": entry["tool_call_id"], "function": function}]}
        case "function.result":
            return {"role": "tool", "content": entry["result"], "tool_call_id": entry["tool_call_id"]}
        case _:
            return None


ASKS: dict[str, AskReader] = {
    "chat": ask_chat,
    "conversation": ask_conversation,
    "fim": ask_fim,
    "embedding": ask_embedding,
}
"""By kind of endpoint, as the dialect has it; the other kinds are answered in Mistral's shapes alone."""
