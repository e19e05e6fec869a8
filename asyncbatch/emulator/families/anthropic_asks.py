"""What a message's parameters ask for, in the emulator's neutral words. They have passed the checks."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from asyncbatch.emulator.families.anthropic_checks import convert, read_params
from asyncbatch.emulator.families.anthropic_params import (
    AnyChoice,
    Base64Image,
    Base64Pdf,
    ContentSource,
    CustomTool,
    DocumentBlock,
    FileSource,
    ImageBlock,
    NoneChoice,
    Params,
    PlainText,
    TextBlock,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from asyncbatch.emulator.families.anthropic_params import Message as Turn
from asyncbatch.emulator.model import Ask, Message, Tool, ToolCall


def ask_message(body: Mapping[str, Any]) -> Ask:
    params = read_params(body)
    wanted, choice = params.output_config.format, params.tool_choice
    return Ask(
        kind="chat",
        model=params.model,
        system=_system_text(params),
        messages=tuple(message for turn in params.messages for message in _read_turn(turn)),
        tools=tuple(_read_tools(params)),
        tool_choice=_read_choice(params),
        wanted_tool=choice.name if isinstance(choice, ToolChoice) else None,
        schema=wanted.schema if wanted is not None else None,
        json_object=wanted is not None,
        max_tokens=params.max_tokens,
        stop=tuple(params.stop_sequences),
        settings=_read_settings(params),
        body=body,
    )


def text_of(content: str | Iterable[object]) -> str:
    """Give the text of a content: a text alone, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block, TextBlock))


def _system_text(params: Params) -> str:
    said = [params.system, *(turn.content for turn in params.messages if turn.role == "system")]
    return "\n".join(text for text in map(text_of, said) if text)


def _read_turn(turn: Turn) -> Iterator[Message]:
    """Give what a turn says; first the results of tools, each as a message of its own."""
    blocks = turn.blocks
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    for block in results:
        yield Message(role="tool", text=text_of(block.content), tool_call_id=block.tool_use_id)
    if turn.role == "assistant":
        calls = tuple(_read_call(block) for block in blocks if isinstance(block, ToolUseBlock))
        yield Message(role="assistant", text=text_of(blocks), tool_calls=calls)
    if turn.role == "user" and len(results) < len(blocks):
        images = tuple(_address(block.source) for block in blocks if isinstance(block, ImageBlock))
        documents = tuple(_address(block.source) for block in blocks if isinstance(block, DocumentBlock))
        yield Message(role="user", text=text_of(blocks), images=images, documents=documents)


def _read_call(block: ToolUseBlock) -> ToolCall:
    return ToolCall(name=block.name, arguments=msgspec.json.encode(block.input).decode(), id=block.id)


def _address(source: Base64Image | Base64Pdf | PlainText | ContentSource | UrlSource | FileSource) -> str:
    """Give where a picture or document lies, or the thing itself as a `data:` URL."""
    match source:
        case UrlSource():
            return source.url
        case FileSource():
            return source.file_id
        case ContentSource():
            return _data_url("text/plain", text_of(source.content).encode())
        case PlainText():
            return _data_url(source.media_type, source.data.encode())
        case _:
            return _data_url(source.media_type, source.data)


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _read_tools(params: Params) -> Iterator[Tool]:
    """Give the caller's tools; the service's own run where the model runs."""
    for number, tool in enumerate(params.tools):
        if tool.get("type") in (None, "custom"):
            custom = convert(tool, CustomTool, f"tools.{number}.custom")
            yield Tool(name=custom.name, description=custom.description, parameters=custom.input_schema)


def _read_choice(params: Params) -> Literal["auto", "none", "required"]:
    """Say whether some tool has to be called; a tool that is named is wanted anyway."""
    if isinstance(params.tool_choice, AnyChoice):
        return "required"
    return "none" if isinstance(params.tool_choice, NoneChoice) else "auto"


def _read_settings(params: Params) -> dict[str, Any]:
    given = {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not UNSET}
    effort = params.output_config.effort
    return settings if effort is None else {**settings, "reasoning_effort": effort}
