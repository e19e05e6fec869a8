"""What the echo model answers in OpenAI's shapes: one function for each kind of endpoint.

Each takes a row's body, which has passed the checks, and what its markers ask for, and gives the body of a 200. Source:
https://platform.openai.com/docs/api-reference
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from asyncbatch.emulator.echo import (
    Marker,
    count_tokens,
    cut_to_tokens,
    echo_text,
    encode_vector,
    make_vector,
)
from asyncbatch.emulator.families.openai_checks import texts_in, whole_number
from asyncbatch.emulator.instances import make_instance
from asyncbatch.emulator.json_values import is_array, is_object, objects_in

REFUSAL = "I cannot help with that."
PIXEL = (  # a transparent PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
HARMS = {  # category -> the kinds of input that the model looks at for it
    "harassment": ["text"],
    "harassment/threatening": ["text"],
    "hate": ["text"],
    "hate/threatening": ["text"],
    "illicit": ["text"],
    "illicit/violent": ["text"],
    "self-harm": ["text", "image"],
    "self-harm/intent": ["text", "image"],
    "self-harm/instructions": ["text", "image"],
    "sexual": ["text", "image"],
    "sexual/minors": ["text"],
    "violence": ["text", "image"],
    "violence/graphic": ["text", "image"],
}


class Ask(Struct, frozen=True, kw_only=True):
    """One row as an endpoint sees it: the body, its markers, a mark that ids are made of, the time, and a few facts."""

    body: dict[str, Any]
    mark: str
    created: int
    markers: Sequence[Marker] = ()
    dimensions: int = 1536
    variant: str = ""

    def marker(self, name: str) -> Marker | None:
        return next((marker for marker in self.markers if marker.name == name), None)

    @property
    def model(self) -> str:
        return str(self.body["model"])


class Reply(Struct, frozen=True, kw_only=True):
    """An answer's body, and what it costs."""

    body: dict[str, Any]
    input_tokens: int = 0
    output_tokens: int = 0


def _text_of(content: Any) -> str:
    """Give the text of a message's content: a string, or parts of which some are text."""
    if isinstance(content, str):
        return content
    parts = content if is_array(content) else []
    return "\n".join(str(part["text"]) for part in parts if is_object(part) and "text" in part)


def _wanted_tool(body: dict[str, Any], marker: Marker | None) -> tuple[str, Any] | None:
    """Give name and parameters of the function that the answer calls, if it calls one."""
    functions = [_function(tool) for tool in objects_in(body.get("tools"))]
    parameters = {str(function.get("name")): function.get("parameters") for function in functions}
    choice = body.get("tool_choice")
    if marker is not None and marker.value:
        name = marker.value
    elif is_object(choice) and "name" in _function(choice):
        name = str(_function(choice)["name"])
    elif choice == "required" and parameters:
        name = next(iter(parameters))
    else:
        return None
    return name, parameters.get(name)


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    """Give the function in a tool: nested, as in chat, or flat, as in responses."""
    nested = tool.get("function")
    return nested if is_object(nested) else tool


def _arguments(parameters: Any) -> str:
    return msgspec.json.encode(make_instance(parameters) or {}).decode()


def _structured(wanted: Any) -> str | None:
    """Give JSON in the wanted format, in chat's nested form or the flat one of responses; None for plain text."""
    if not is_object(wanted) or wanted.get("type") not in ("json_schema", "json_object"):
        return None
    nested = wanted.get("json_schema")
    schema = (nested if is_object(nested) else wanted).get("schema")
    return msgspec.json.encode(make_instance(schema) if schema else {"echo": True}).decode()


def answer_chat(ask: Ask) -> Reply:
    messages = ask.body["messages"]
    choices = whole_number(ask.body, "n") or 1
    most = whole_number(ask.body, "max_completion_tokens", "max_tokens")
    asked = "\n".join(_text_of(message.get("content")) for message in messages)
    prompt = next((_text_of(m["content"]) for m in reversed(messages) if m["role"] == "user" and m.get("content")), "")
    message, finish, spent = _chat_message(ask, prompt, most)
    used, made = count_tokens(asked), spent * choices
    body = {
        "id": f"chatcmpl-{ask.mark}",
        "object": "chat.completion",
        "created": ask.created,
        "model": ask.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish} for index in range(choices)
        ],
        "usage": {
            "prompt_tokens": used,
            "completion_tokens": made,
            "total_tokens": used + made,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_echo",
    }
    return Reply(body=body, input_tokens=used, output_tokens=made)


def _chat_message(ask: Ask, prompt: str, most: int | None) -> tuple[dict[str, Any], str, int]:
    if ask.marker("refuse"):
        return {"role": "assistant", "content": None, "refusal": REFUSAL}, "stop", count_tokens(REFUSAL)
    tool = _wanted_tool(ask.body, ask.marker("tool"))
    if tool is not None:
        arguments = _arguments(tool[1])
        function = {"name": tool[0], "arguments": arguments}
        calls: list[Any] = [{"id": f"call_{ask.mark}", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
        return message, "tool_calls", count_tokens(arguments)
    text = _structured(ask.body.get("response_format")) or echo_text(prompt) + ask.variant
    text, is_cut = cut_to_tokens(text, most)
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": list[Any]()}
    return message, "length" if is_cut else "stop", count_tokens(text)


def answer_completion(ask: Ask) -> Reply:
    prompts = texts_in(ask.body["prompt"])
    most = whole_number(ask.body, "max_tokens")
    texts = [
        cut_to_tokens(echo_text(item if isinstance(item, str) else "tokens") + ask.variant, most) for item in prompts
    ]
    used = sum(count_tokens(item) if isinstance(item, str) else len(item) for item in prompts)
    made = sum(count_tokens(text) for text, _ in texts)
    body = {
        "id": f"cmpl-{ask.mark}",
        "object": "text_completion",
        "created": ask.created,
        "model": ask.model,
        "choices": [
            {"index": index, "text": text, "logprobs": None, "finish_reason": "length" if is_cut else "stop"}
            for index, (text, is_cut) in enumerate(texts)
        ],
        "usage": {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made},
    }
    return Reply(body=body, input_tokens=used, output_tokens=made)


def answer_embedding(ask: Ask) -> Reply:
    inputs = texts_in(ask.body["input"])
    dimensions = whole_number(ask.body, "dimensions") or ask.dimensions
    vectors = [make_vector(f"{item}{ask.variant}", dimensions) for item in inputs]
    is_base64 = ask.body.get("encoding_format") == "base64"
    used = sum(count_tokens(item) if isinstance(item, str) else len(item) for item in inputs)
    body = {
        "object": "list",
        "model": ask.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode_vector(vector) if is_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }
    return Reply(body=body, input_tokens=used)


def answer_response(ask: Ask) -> Reply:
    asked = _input_text(ask.body.get("input", ""))
    most = whole_number(ask.body, "max_output_tokens")
    item, text, is_cut = _response_item(ask, asked, most)
    used, made = count_tokens(asked + str(ask.body.get("instructions") or "")), count_tokens(text)
    body = {
        "id": f"resp_{ask.mark}",
        "object": "response",
        "created_at": ask.created,
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": ask.body.get("instructions"),
        "max_output_tokens": most,
        "model": ask.model,
        "output": [item],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": ask.body.get("temperature", 1.0),
        "text": ask.body.get("text") or {"format": {"type": "text"}},
        "tool_choice": ask.body.get("tool_choice", "auto"),
        "tools": ask.body.get("tools") or [],
        "top_p": ask.body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": used,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used + made,
        },
        "metadata": ask.body.get("metadata") or {},
    }
    return Reply(body=body, input_tokens=used, output_tokens=made)


def _input_text(wanted: Any) -> str:
    """Give the last thing that the user says."""
    if isinstance(wanted, str):
        return wanted
    said = [_text_of(item.get("content")) for item in wanted if is_object(item) and item.get("role") == "user"]
    return said[-1] if said else ""


def _response_item(ask: Ask, asked: str, most: int | None) -> tuple[dict[str, Any], str, bool]:
    tool = _wanted_tool(ask.body, ask.marker("tool"))
    if tool is not None:
        arguments = _arguments(tool[1])
        call = {"id": f"fc_{ask.mark}", "type": "function_call", "call_id": f"call_{ask.mark}", "name": tool[0]}
        return {**call, "arguments": arguments, "status": "completed"}, arguments, False
    message = {"id": f"msg_{ask.mark}", "type": "message", "role": "assistant", "status": "completed"}
    if ask.marker("refuse"):
        return {**message, "content": [{"type": "refusal", "refusal": REFUSAL}]}, REFUSAL, False
    settings = ask.body.get("text")
    wanted = settings.get("format") if is_object(settings) else None
    text, is_cut = cut_to_tokens(_structured(wanted) or echo_text(asked) + ask.variant, most)
    part = {"type": "output_text", "text": text, "annotations": list[Any](), "logprobs": list[Any]()}
    return {**message, "status": "incomplete" if is_cut else "completed", "content": [part]}, text, is_cut


def answer_moderation(ask: Ask) -> Reply:
    is_flagged = ask.marker("flag") is not None
    result = {
        "flagged": is_flagged,
        "categories": {name: is_flagged and name == "violence" for name in HARMS},
        "category_scores": {name: 0.9 if is_flagged and name == "violence" else 0.01 for name in HARMS},
        "category_applied_input_types": {name: ["text"] for name in HARMS},
    }
    return Reply(
        body={"id": f"modr-{ask.mark}", "model": ask.model, "results": [result] * len(texts_in(ask.body["input"]))}
    )


def answer_image(ask: Ask) -> Reply:
    pictures = [{"b64_json": PIXEL}] * (whole_number(ask.body, "n") or 1)
    used = count_tokens(str(ask.body["prompt"]))
    usage = {
        "input_tokens": used,
        "input_tokens_details": {"text_tokens": used, "image_tokens": 0},
        "output_tokens": len(pictures),
        "total_tokens": used + len(pictures),
    }
    body = {"created": ask.created, "data": pictures, "usage": usage}
    return Reply(body=body, input_tokens=used, output_tokens=len(pictures))


def answer_video(ask: Ask) -> Reply:
    video = {
        "id": f"video_{ask.mark}",
        "object": "video",
        "created_at": ask.created,
        "completed_at": ask.created,
        "expires_at": None,
        "error": None,
        "model": ask.model,
        "progress": 100,
        "prompt": ask.body["prompt"],
        "remixed_from_video_id": None,
        "seconds": str(ask.body.get("seconds", "4")),
        "size": ask.body.get("size", "720x1280"),
        "status": "completed",
    }
    return Reply(body=video)


ANSWERS: dict[str, Callable[[Ask], Reply]] = {
    "chat": answer_chat,
    "completion": answer_completion,
    "embedding": answer_embedding,
    "response": answer_response,
    "moderation": answer_moderation,
    "image": answer_image,
    "video": answer_video,
}
