"""Tools of a chat request, the choice among them, and the calls that the assistant made, read from OpenAI's shape."""

import base64
import hashlib
import re
from typing import Any, cast

import msgspec

from asyncbatch.codec.content import object_of, typed
from asyncbatch.codec.requests import RowFault, encode_json, shown
from asyncbatch.codec.unsupported import Unsupported, report_others, without_index


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the assistant made; the arguments are JSON text, as the model wrote it.

    `extra` is its `extra_content`: what a provider wants back with the call, such as the signature of a thought.
    """

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] = {}

    def decode(self, where: str) -> dict[str, Any]:
        """Give the arguments as an object, which most formats want."""
        try:
            return msgspec.json.decode(self.arguments or "{}", type=dict[str, Any])
        except msgspec.MsgspecError as error:
            message = f"{where}: the arguments of {shown(self.name)} are no JSON object: {error}"
            raise RowFault("bad_arguments", message) from None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache: Any = None


def fit_call_id(call_id: str, pattern: re.Pattern[str], length: int) -> str:
    """Give the id of a tool call in a form that a service takes: another provider's becomes letters and digits.

    The same id gives the same ones, so that a call and its result still belong together.
    """
    if pattern.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest)[:length].decode()


# Calls


def decode_calls(given: Any, where: str, unsupported: Unsupported, lost: set[str]) -> tuple[Call, ...]:
    """Read the calls of a message; the ids of those that are left out join the lost ones."""
    calls: list[Any] = typed(given, list[Any], where)
    found = (_decode_call(call, f"{where}[{number}]", unsupported, lost) for number, call in enumerate(calls))
    return tuple(call for call in found if call is not None)


def _decode_call(given: Any, where: str, unsupported: Unsupported, lost: set[str]) -> Call | None:
    call = object_of(given, where)
    call_id, kind = typed(call.get("id"), str, f"{where}.id"), typed(call.get("type", "function"), str, f"{where}.type")
    if kind != "function":
        message = f"{where} is {shown(call)}; calls of functions alone can be translated"
        unsupported.tell(f"{without_index(where)} of type {kind}", "unsupported", message)
        lost.add(call_id)
        return None
    report_others(call, ("id", "type", "function", "index", "extra_content"), where, unsupported)
    function = object_of(call.get("function"), f"{where}.function")
    report_others(function, ("name", "arguments"), f"{where}.function", unsupported)
    arguments = function.get("arguments", "{}")
    return Call(
        id=call_id,
        name=typed(function.get("name"), str, f"{where}.function.name"),
        arguments=arguments if isinstance(arguments, str) else encode_json(arguments).decode(),
        extra=typed(call.get("extra_content", {}), dict[str, Any], f"{where}.extra_content"),
    )


# Tools


def decode_tools(given: Any, unsupported: Unsupported) -> tuple[Tool, ...]:
    """Read the functions that may be called; other tools are reported."""
    tools: list[Any] = typed([] if given is None else given, list[Any], "tools")
    found = (_decode_tool(tool, f"tools[{number}]", unsupported) for number, tool in enumerate(tools))
    return tuple(tool for tool in found if tool is not None)


def _decode_tool(given: Any, where: str, unsupported: Unsupported) -> Tool | None:
    tool = object_of(given, where)
    kind = typed(tool.get("type"), str, f"{where}.type")
    if kind != "function":
        message = f"{where} is of type {shown(kind)}; functions alone can be translated (others: mode custom)"
        unsupported.tell(f"{without_index(where)} of type {kind}", "unsupported", message)
        return None
    report_others(tool, ("type", "function", "cache_control"), where, unsupported)
    where = f"{where}.function"
    function = object_of(tool.get("function"), where)
    report_others(function, ("name", "description", "parameters", "strict", "cache_control"), where, unsupported)
    return Tool(
        name=typed(function.get("name"), str, f"{where}.name"),
        description=typed(function.get("description"), str | None, f"{where}.description"),
        parameters=typed(function.get("parameters"), dict[str, Any] | None, f"{where}.parameters"),
        strict=typed(function.get("strict"), bool | None, f"{where}.strict"),
        cache=tool.get("cache_control") or function.get("cache_control"),
    )


def decode_tool_choice(given: Any, unsupported: Unsupported) -> tuple[str | None, str | None]:
    """Give whether tools are called, and the name of the one that has to be."""
    if given is None or given in ("auto", "none", "required"):
        return given, None
    known = 'auto, none, required or {"type": "function", "function": {"name": …}}'
    message = f"tool_choice is {shown(given)}; it is {known}"
    choice = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    kind = choice.get("type", "function")
    if not isinstance(kind, str) or (kind == "function" and not isinstance(choice.get("function"), dict)):
        raise RowFault("bad_tool_choice", message)
    if kind != "function":
        unsupported.tell(f"tool_choice of type {kind}", "bad_tool_choice", message)
        return None, None
    function: dict[str, Any] = choice["function"]
    if not isinstance(function.get("name"), str):
        raise RowFault("bad_tool_choice", message)
    report_others(choice, ("type", "function"), "tool_choice", unsupported)
    report_others(function, ("name",), "tool_choice.function", unsupported)
    return "required", function["name"]
