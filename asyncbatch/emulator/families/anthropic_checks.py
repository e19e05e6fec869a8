"""What the service refuses in a row: such a row is errored when it runs, and the others go on.

Source: https://platform.claude.com/docs/en/api/messages/create, .../versioning and .../batch-processing
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct

from asyncbatch.emulator.families.anthropic_params import (
    CustomTool,
    EnabledThinking,
    Params,
    TextBlock,
    ToolChoice,
    ToolResultBlock,
)
from asyncbatch.emulator.families.anthropic_schemas import find_flaw
from asyncbatch.emulator.families.anthropic_turns import check_turns
from asyncbatch.emulator.rows import RowError

_ERROR = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_INDEX = re.compile(r"\[(.*?)\]")
_NAMES = frozenset(Params.__struct_fields__)

_Parsed = TypeVar("_Parsed", bound=Struct)


class Version(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version of the protocol refuses.

    Attributes:
        parameters: Those that may not be there at all.
        is_plain: Whether documents in what the assistant says, and citations in what the user says, are refused.
    """

    parameters: tuple[str, ...]
    is_plain: bool


class RowFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dialect's facts about rows.

    Attributes:
        most_tokens: The highest `max_tokens` of any model.
        beta_parameters: What a body may have besides, in a batch that was created with some beta.
        tool_types: The service's own tools.
    """

    most_tokens: int
    most_messages: int
    models: tuple[str, ...]
    beta_parameters: frozenset[str]
    tool_types: frozenset[str]


class Rules(Struct, frozen=True, kw_only=True):
    """What the rows of one batch have to satisfy."""

    facts: RowFacts
    version: Version
    has_betas: bool
    allows_model: Callable[[str], bool]


def check_params(body: Mapping[str, Any], rules: Rules) -> None:
    """Raise `RowError` if the service would not take this body."""
    _check_names(body, rules)
    params = read_params(body)
    if not rules.allows_model(params.model):
        raise RowError(f"model: {params.model}", status=404)
    if params.max_tokens > rules.facts.most_tokens:
        most = rules.facts.most_tokens
        raise RowError(f"max_tokens: {params.max_tokens} > {most}, which is the maximum allowed number of tokens")
    _check_texts(params)
    _check_tools(params, rules.facts.tool_types)
    _check_thinking(params)
    _check_format(params)
    if not 1 <= len(params.messages) <= rules.facts.most_messages:
        raise RowError(f"messages: expected 1 to {rules.facts.most_messages} messages, not {len(params.messages)}")
    check_turns(params.messages, is_plain=rules.version.is_plain)


def read_params(body: Mapping[str, Any]) -> Params:
    """Read a body; what only betas know is left out."""
    return convert({name: value for name, value in body.items() if name in _NAMES}, Params)


def convert(value: Any, type_: type[_Parsed], where: str = "") -> _Parsed:
    """Read a value as a type.

    Raises:
        RowError: It is none; the message names the place as the service does, as in `messages.0.content`.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise RowError(_worded(str(error), where)) from error


def _worded(text: str, where: str) -> str:
    found = _ERROR.fullmatch(text)
    what, path = (found["what"], found["where"] or "") if found else (text, "")
    place = ".".join(part for part in (where, _INDEX.sub(r".\1", path).lstrip(".")) if part)
    for pattern, words in ((_MISSING, "Field required"), (_UNKNOWN, "Extra inputs are not permitted")):
        name = pattern.fullmatch(what)
        if name is not None:
            return f"{place}.{name[1]}: {words}".lstrip(".")
    return f"{place}: {what}" if place else what


def _check_names(body: Mapping[str, Any], rules: Rules) -> None:
    """Look at what may not be there, whatever its value."""
    billing = body.get("billing_policy")
    if "fallbacks" in body:
        raise RowError("fallbacks: not supported in a batch")
    if isinstance(billing, dict) and "user_profile" in billing.values():
        raise RowError("billing_policy.bill_to: user_profile is not supported in a batch")
    if body.get("stream") is True:
        raise RowError("stream: streaming is not supported in a batch")
    if body.get("max_tokens") == 0 and body.get("max_tokens") is not False:
        raise RowError("max_tokens: 0 is not supported in a batch")
    known = _NAMES | rules.facts.beta_parameters if rules.has_betas else _NAMES
    for name in body:
        if name not in known:
            raise RowError(f"{name}: Extra inputs are not permitted")
        if name in rules.version.parameters:
            raise RowError(f"{name}: not supported by this version of the API")


def _check_texts(params: Params) -> None:
    """Look at texts that may not be blank."""
    if not isinstance(params.system, str):
        _check_blocks(params.system, "system")
    for number, message in enumerate(params.messages):
        if not message.content or (isinstance(message.content, str) and not message.content.strip()):
            raise RowError(f"messages.{number}: messages must have non-empty content")
        _check_blocks(message.blocks, f"messages.{number}.content")
    for number, stop in enumerate(params.stop_sequences):
        if not stop.strip():
            raise RowError(f"stop_sequences.{number}: each stop sequence must contain non-whitespace")


def _check_blocks(blocks: Iterable[object], where: str) -> None:
    for number, block in enumerate(blocks):
        if isinstance(block, TextBlock) and not block.text.strip():
            raise RowError(f"{where}.{number}: text content blocks must contain non-whitespace text")
        if isinstance(block, ToolResultBlock) and not isinstance(block.content, str):
            _check_blocks(block.content, f"{where}.{number}.tool_result.content")


def _check_tools(params: Params, types: frozenset[str]) -> None:
    names: set[Any] = set()
    for number, tool in enumerate(params.tools):
        name, where = _check_tool(tool, f"tools.{number}", types), f"tools.{number}"
        if name in names:
            raise RowError(f"{where}.name: tool names must be unique")
        names.add(name)
    if params.tool_choice is not UNSET and not params.tools:
        raise RowError("tool_choice: may only be specified while providing tools")
    if isinstance(params.tool_choice, ToolChoice) and params.tool_choice.name not in names:
        raise RowError(f"tool_choice: tool '{params.tool_choice.name}' not found in provided tools")


def _check_tool(tool: Mapping[str, Any], where: str, types: frozenset[str]) -> str:
    kind = tool.get("type")
    if kind is not None and kind != "custom":
        if not isinstance(kind, str) or kind not in types:
            raise RowError(f"{where}.type: {kind!r} is no type of a tool")
        return str(tool.get("name", kind))
    custom = convert(tool, CustomTool, f"{where}.custom")
    if custom.input_schema.get("type") != "object":
        raise RowError(f"{where}.custom.input_schema.type: Input should be 'object'")
    flaw = find_flaw(custom.input_schema) if custom.strict else None
    if flaw is not None:
        raise RowError(f"{where}.custom: {flaw}")
    return custom.name


def _check_thinking(params: Params) -> None:
    if isinstance(params.thinking, EnabledThinking) and params.thinking.budget_tokens >= params.max_tokens:
        raise RowError("max_tokens: must be greater than thinking.budget_tokens")


def _check_format(params: Params) -> None:
    wanted = params.output_config.format
    flaw = find_flaw(wanted.schema) if wanted is not None else None
    if flaw is not None:
        raise RowError(f"output_config.format.schema: {flaw}")
