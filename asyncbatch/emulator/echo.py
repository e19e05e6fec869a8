"""The echo model: deterministic text, arguments, vectors and token counts for any ask."""

import array
import base64
import hashlib
import math
import sys
from typing import Any

import msgspec
from msgspec.structs import replace

from asyncbatch.emulator.instances import make_instance
from asyncbatch.emulator.model import Answer, Ask, ToolCall

ECHO_CHARS = 1000  # longer prompts are echoed up to here, so that 50,000 long ones do not make a file of 200 MB
REFUSAL = "I cannot help with that."
DIMENSIONS = 1536  # of an embedding, where neither the row nor the family says how many


def answer(ask: Ask) -> Answer:
    """Answer anything but the asks that are the family's own."""
    if ask.kind == "embedding":
        return _answer_embedding(ask)
    return _answer_completion(ask) if ask.kind == "completion" else _answer_chat(ask)


def _answer_chat(ask: Ask) -> Answer:
    choice = _choose(ask)
    made = count_tokens(choice.text or choice.refusal or "".join(call.arguments for call in choice.tool_calls))
    return _counted(ask, (choice,) * ask.n, used=count_asked(ask), made=made * ask.n)


def _choose(ask: Ask) -> Answer:
    if ask.marker("refuse"):
        return Answer(refusal=REFUSAL, finish="refusal")
    call = _call(ask)
    if call is not None:
        return Answer(tool_calls=(call,), finish="tool_calls")
    text, is_cut = cut_to_tokens(_structured(ask) or echo_text(ask.prompt) + ask.variant, ask.max_tokens)
    return Answer(text=text, finish="length" if is_cut else "stop")


def _call(ask: Ask) -> ToolCall | None:
    """Give the call that the answer is, where a marker or the caller wants one."""
    parameters = {tool.name: tool.parameters for tool in ask.tools}
    marker = ask.marker("tool")
    name = marker.value if marker is not None else ""
    name = name or ask.wanted_tool or (next(iter(parameters), "") if ask.tool_choice == "required" else "")
    if not name:
        return None
    arguments: Any = make_instance(parameters.get(name)) or {}
    return ToolCall(name=name, arguments=msgspec.json.encode(arguments).decode())


def _structured(ask: Ask) -> str | None:
    if ask.schema:
        return msgspec.json.encode(make_instance(ask.schema)).decode()
    return '{"echo":true}' if ask.json_object else None


def _answer_completion(ask: Ask) -> Answer:
    texts = [echo_text(item if isinstance(item, str) else "tokens") + ask.variant for item in ask.inputs]
    cut = [cut_to_tokens(text, ask.max_tokens) for text in texts]
    choices = tuple(Answer(text=text, finish="length" if is_cut else "stop") for text, is_cut in cut)
    made = sum(count_tokens(text) for text, _ in cut)
    return _counted(ask, choices, used=count_asked(ask), made=made)


def _counted(ask: Ask, choices: tuple[Answer, ...], *, used: int, made: int) -> Answer:
    """Give the first choice with the others and the bill, to which markers may add tokens of a cache or of reasoning."""
    cached, thought = _number(ask, "cached"), _number(ask, "think")
    return replace(
        choices[0],
        others=choices[1:],
        input_tokens=used + cached,
        output_tokens=made + thought,
        cached_tokens=cached,
        reasoning_tokens=thought,
    )


def _number(ask: Ask, name: str) -> int:
    marker = ask.marker(name)
    return (marker.number or 0) if marker is not None else 0


def _answer_embedding(ask: Ask) -> Answer:
    dimensions = ask.dimensions or ask.model_dimensions or DIMENSIONS
    vectors = [make_vector(f"{_written(item)}{ask.variant}", dimensions) for item in ask.inputs]
    return Answer(vectors=tuple(vectors), input_tokens=count_asked(ask))


def _written(item: str | tuple[int, ...]) -> str:
    return item if isinstance(item, str) else str(list(item))


def echo_text(prompt: str) -> str:
    return f"echo: {prompt[:ECHO_CHARS]}"


def count_asked(ask: Ask) -> int:
    """Count what goes in: every text of a conversation but tools' results, which protocols wrap each in their way.

    Line breaks are left out, so that it does not matter how a protocol joins what it cannot keep apart.
    """
    if ask.kind != "chat":
        return sum(count_tokens(item) if isinstance(item, str) else len(item) for item in ask.inputs)
    said = (item.text for item in ask.messages if item.role != "tool")
    return count_tokens("".join((ask.system, *said)).replace("\n", ""))


def count_tokens(text: str) -> int:
    """Estimate: a quarter of the bytes, and at least one."""
    return max(1, (len(text.encode("utf-8", "surrogatepass")) + 3) // 4)


def cut_to_tokens(text: str, most: int | None) -> tuple[str, bool]:
    """Cut the text to this many tokens, and say whether anything was lost."""
    if most is None or count_tokens(text) <= most:
        return text, False
    return text.encode()[: most * 4].decode("utf-8", "ignore"), True


def make_vector(text: str, dimensions: int) -> list[float]:
    """Give the unit vector of a text: the same text, the same vector."""
    noise = array.array("h", hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions))
    if sys.byteorder == "big":
        noise.byteswap()
    length = math.sqrt(sum(value * value for value in noise)) or 1.0
    return [value / length for value in noise]


def encode_vector(vector: list[float]) -> str:
    """Give the vector as base64 of little-endian 32-bit floats."""
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
