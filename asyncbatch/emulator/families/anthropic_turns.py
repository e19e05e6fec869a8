"""Who may say what in a conversation, and that calls of tools and their results belong together.

Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview and .../api/versioning
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from asyncbatch.emulator.families.anthropic_params import (
    Block,
    DocumentBlock,
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from asyncbatch.emulator.rows import RowError

_FOREIGN = {  # who may not say it
    "user": (ToolUseBlock, ThinkingBlock, RedactedThinkingBlock),
    "assistant": (ToolResultBlock,),
}


class _Turn(NamedTuple):
    """What one side says until the other speaks.

    Attributes:
        number: Of the message that it begins with.
    """

    role: str
    number: int
    blocks: list[Block]


def check_turns(messages: Sequence[Message], *, is_plain: bool) -> None:
    """Raise `RowError` if the conversation is not one that the service takes."""
    for number, message in enumerate(messages):
        _check_blocks(message, f"messages.{number}", is_plain=is_plain)
    calls: set[str] = set()
    for turn in _turns(messages):
        calls = _check_turn(turn, calls)
    if calls:
        raise RowError(f"messages.{len(messages) - 1}: {_unanswered(calls)}")


def _check_blocks(message: Message, where: str, *, is_plain: bool) -> None:
    for number, block in enumerate(message.blocks):
        place = f"{where}.content.{number}"
        if message.role == "system" and not isinstance(block, TextBlock):
            raise RowError(f"{place}: a system message has text alone")
        if isinstance(block, _FOREIGN.get(message.role, ())):
            raise RowError(f"{place}: blocks of this type cannot be in {message.role} messages")
        if is_plain and message.role == "assistant" and isinstance(block, DocumentBlock):
            raise RowError(f"{place}: documents in assistant messages are not supported by this version of the API")
        if is_plain and message.role == "user" and isinstance(block, TextBlock) and block.citations:
            raise RowError(f"{place}.citations: not supported in user messages by this version of the API")


def _turns(messages: Sequence[Message]) -> Iterator[_Turn]:
    """Join what one side says in several messages in a row; what the system says in between is no turn."""
    turn: _Turn | None = None
    for number, message in enumerate(messages):
        if message.role == "system":
            continue
        if turn is not None and turn.role == message.role:
            turn.blocks.extend(message.blocks)
            continue
        if turn is not None:
            yield turn
        turn = _Turn(message.role, number, list(message.blocks))
    if turn is not None:
        yield turn


def _check_turn(turn: _Turn, calls: set[str]) -> set[str]:
    """Hold a turn's results against the calls of the turn before; gives the calls of this one."""
    where = f"messages.{turn.number}"
    if turn.role == "assistant":
        ids = [block.id for block in turn.blocks if isinstance(block, ToolUseBlock)]
        if len(set(ids)) < len(ids):
            raise RowError(f"{where}: `tool_use` ids must be unique")
        return set(ids)
    answered = [block.tool_use_id for block in turn.blocks if isinstance(block, ToolResultBlock)]
    stranger = next((name for name in answered if name not in calls), None)
    if stranger is not None:
        wanted = "each `tool_result` block must have a corresponding `tool_use` block in the previous message"
        raise RowError(f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {stranger}; {wanted}")
    if len(set(answered)) < len(answered):
        raise RowError(f"{where}: each `tool_use` must have a single result")
    if calls - set(answered):
        raise RowError(f"{where}: {_unanswered(calls - set(answered))}")
    return set()


def _unanswered(calls: set[str]) -> str:
    return f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(sorted(calls))}"
