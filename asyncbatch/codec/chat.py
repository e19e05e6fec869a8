"""A chat request in OpenAI's shape, read into parts that every format can be made of.

What a format cannot express is refused by name, or left out where the caller asked for that; nothing goes in silence. Null
and a field's own default (`n: 1`, `stream: false`) mean the same as its absence.

Source: openai/openai-openapi:openapi.yaml (CreateChatCompletionRequest). Three words beside it are read because users of
other providers know no others: `cache_control` on a message, a part or a tool (Anthropic's), `top_k`, and `extra_body` (the
OpenAI SDK's name for fields that go into the body as they are).
"""

from typing import Any, cast

import msgspec

from asyncbatch.codec.content import Media, Part, Text, decode_content, object_of, typed
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.codec.schema import JsonSchema, decode_response_format
from asyncbatch.codec.tools import Call, Tool, decode_calls, decode_tool_choice, decode_tools, fit_call_id
from asyncbatch.codec.unsupported import REFUSING, Unsupported, report_others

__all__ = [
    "Call",
    "Chat",
    "Media",
    "Part",
    "Text",
    "Tool",
    "Turn",
    "Unsupported",
    "decode_chat",
    "fit_call_id",
]

_DEFAULTS: dict[str, Any] = {
    "n": 1,
    "stream": False,
    "store": False,
    "logprobs": False,
    "top_logprobs": 0,
    "verbosity": "medium",
    "logit_bias": {},
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "modalities": ["text"],
}


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message that is not of the system's.

    Attributes:
        role: `user`, `assistant` or `tool`.
        where: Its place, for errors: `messages[2]`.
        parts: Its content.
        calls: Tools that the assistant called.
        call_id: Of a tool's answer: which call it answers.
        name: The speaker's or the tool's name, where one is given.
        cache: The message's own `cache_control`, which is meant for the last of what it holds.
    """

    role: str
    where: str
    parts: tuple[Part, ...] = ()
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    name: str | None = None
    cache: Any = None


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request.

    Attributes:
        system: What system and developer messages say, in order.
        turns: The other messages, in order.
        tools: Functions.
        tool_choice: `auto`, `none`, `required`, or None where nothing is said.
        tool_name: The one function that has to be called.
        parallel_tool_calls: Whether several calls at once are welcome.
        schema: The schema that the answer must fit.
        is_json: Whether the answer must be some JSON object.
        max_tokens: Longest answer.
        stop: Texts that end the answer.
        extra: Fields for the body as they are (`extra_body`).
        rest: Every other field by name: a format takes what it can express and refuses the others.
    """

    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    tool_name: str | None = None
    parallel_tool_calls: bool | None = None
    schema: JsonSchema | None = None
    is_json: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: dict[str, Any] = {}
    rest: dict[str, Any] = {}

    def tool_of(self, call_id: str | None) -> str | None:
        """Name the tool that an earlier turn called with this id."""
        calls = (call for turn in self.turns for call in turn.calls)
        return next((call.name for call in calls if call.id == call_id), None)


def decode_chat(body: dict[str, Any], unsupported: Unsupported | None = None) -> Chat:
    """Read a chat request, or raise the `RowFault` that names what is wrong with it.

    Args:
        body: In OpenAI's shape.
        unsupported: Hears what is in it and is not read; None refuses that.
    """
    unsupported = unsupported or REFUSING
    fields = {name: value for name, value in body.items() if value is not None and not _is_default(name, value)}
    fields.pop("model", None)
    messages = fields.pop("messages", None)
    if messages is None:
        has = ", ".join(sorted(fields)) or "nothing"
        raise RowFault("missing_field", f"a chat request needs messages; this one has {has}")
    if not isinstance(messages, list):
        raise RowFault("wrong_type", f"messages is {shown(messages)}, not a list")
    system, turns = _decode_messages(cast("list[Any]", messages), unsupported)
    if fields.pop("stream", None):
        raise RowFault("streaming", "it asks for stream, which no batch can give: remove it")
    schema, is_json = decode_response_format(fields.pop("response_format", None), unsupported)
    extra = typed(fields.pop("extra_body", {}), dict[str, Any], "extra_body")
    longest = fields.pop("max_completion_tokens", None), fields.pop("max_tokens", None)
    return Chat(
        system=system,
        turns=turns,
        **_decode_calling(fields, unsupported, has_others="tools" in extra),
        schema=schema,
        is_json=is_json,
        max_tokens=_positive(next((most for most in longest if most is not None), None), "max_tokens"),
        stop=_decode_stop(fields.pop("stop", None)),
        extra=extra,
        rest=fields,
    )


def _is_default(name: str, value: Any) -> bool:
    default = _DEFAULTS.get(name)
    return name in _DEFAULTS and value == default and isinstance(value, bool) is isinstance(default, bool)


def _positive(value: Any, where: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise RowFault("wrong_type", f"{where} is {shown(value)}, not a whole number from 1 up")
    return value


def _decode_stop(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else typed([] if stop is None else stop, tuple[str, ...], "stop")


def _decode_calling(fields: dict[str, Any], unsupported: Unsupported, *, has_others: bool) -> dict[str, Any]:
    """Take what is said of tools out of the fields; where none of them is left, neither is there a choice among them."""
    given = fields.pop("tools", None)
    tools = decode_tools(given, unsupported)
    choice, name = decode_tool_choice(fields.pop("tool_choice", None), unsupported)
    parallel = typed(fields.pop("parallel_tool_calls", None), bool | None, "parallel_tool_calls")
    if given and not tools and not has_others:
        if choice is not None:
            unsupported("tool_choice", "no tool is left")
        return {}
    return {"tools": tools, "tool_choice": choice, "tool_name": name, "parallel_tool_calls": parallel}


# Messages

_OF_ALL = ("role", "content", "name", "cache_control")
_OF = {
    "system": _OF_ALL,  # a name says who of the system speaks, which changes nothing
    "user": _OF_ALL,
    "assistant": (*_OF_ALL, "refusal", "tool_calls"),
    "tool": (*_OF_ALL, "tool_call_id"),
}


def _decode_messages(messages: list[Any], unsupported: Unsupported) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    if not messages:
        raise RowFault("empty_field", "its messages is empty: []")
    system: list[Text] = []
    turns: list[Turn] = []
    lost: set[str] = set()
    for number, given in enumerate(messages):
        where = f"messages[{number}]"
        message = object_of(given, where)
        role = message.pop("role", None)
        if role in ("system", "developer"):
            system += _decode_system(message, where, unsupported)
        elif role in ("user", "assistant", "tool"):
            turn = _decode_turn(role, message, where, unsupported, lost)
            if turn.call_id in lost:
                unsupported("the answer to a call that is left out")
            else:
                turns.append(turn)
        else:
            raise RowFault(
                "bad_role", f"{where}.role is {shown(role)}; it is system, developer, user, assistant or tool"
            )
    if not turns:
        raise RowFault("empty_field", "its messages are the system's alone: there is nothing to answer")
    return tuple(system), tuple(turns)


def _decode_system(message: dict[str, Any], where: str, unsupported: Unsupported) -> list[Text]:
    texts: list[Text] = []
    for part in decode_content(message.pop("content", None), f"{where}.content", unsupported):
        if not isinstance(part, Text):
            raise RowFault("wrong_type", f"{where}: the system speaks in words alone, not in {part.kind}s")
        texts.append(part)
    report_others(message, _OF["system"], where, unsupported)
    last = max((at for at, text in enumerate(texts) if text.text), default=None)
    if last is not None and texts[last].cache is None:
        texts[last] = msgspec.structs.replace(texts[last], cache=message.get("cache_control"))
    return texts


_ECHOED = ("annotations", "audio", "function_call", "tool_calls", "refusal", "prefix")
"""What stands empty in an answer that is handed back as it came."""


def _decode_turn(role: str, message: dict[str, Any], where: str, unsupported: Unsupported, lost: set[str]) -> Turn:
    content = message.pop("content", None)
    parts = decode_content(content, f"{where}.content", unsupported)
    name = typed(message.pop("name", None), str | None, f"{where}.name")
    calls, said, call_id = tuple[Call, ...](), "", None
    given: Any = message.pop("tool_calls", []) if role == "assistant" else []
    if role == "assistant":
        calls = decode_calls(given, f"{where}.tool_calls", unsupported, lost)
        said = typed(message.pop("refusal", ""), str, f"{where}.refusal")
    if role == "tool":
        call_id = typed(message.pop("tool_call_id", None), str | None, f"{where}.tool_call_id")
        if call_id is None:
            raise RowFault("missing_field", f"{where}: a tool's message needs tool_call_id, the call that it answers")
    others = {key: value for key, value in message.items() if value or key not in _ECHOED}
    report_others(others, _OF[role], where, unsupported)
    parts = (*parts, Text(text=said)) if said else parts  # a refusal is said in words, in a field of its own
    if not parts and not calls and role != "tool":
        once = ", once what cannot be expressed is left out" if content or given else ""
        raise RowFault("empty_field", f"{where}.content is empty{once}")
    cache = message.get("cache_control")
    return Turn(role=role, where=where, parts=parts, calls=calls, call_id=call_id, name=name, cache=cache)
