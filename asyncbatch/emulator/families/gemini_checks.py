"""What Gemini's models refuse in a request that is well formed: such a row ends with an error of its own.

What is malformed, an unknown name or a wrong type, is found before, and refuses the whole batch. Bodies have camelCase names
and true types by now. Source: https://ai.google.dev/api/generate-content and https://ai.google.dev/api/embeddings
"""

import re
from collections.abc import Sequence
from typing import Any

from asyncbatch.emulator.rows import RowError

ROLES = ("user", "model")
DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 2**31),
    "candidateCount": (1, 8),
    "maxOutputTokens": (1, 2**31),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "logprobs": (0, 20),
}
MOST_STOPS = 5
MIME_TYPES = ("text/plain", "application/json", "text/x.enum")
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
MOST_DIMENSIONS = 3072


def check_chat(body: dict[str, Any]) -> None:
    """Raise `RowError` if the model would not take this GenerateContentRequest."""
    contents = body.get("contents")
    if not contents:
        raise RowError("contents is not specified.", param="contents")
    for index, content in enumerate(contents):
        _check_content(content, f"contents[{index}]")
    _check_calls(contents)
    if "systemInstruction" in body:
        _check_system(body["systemInstruction"])
    _check_config(body.get("generationConfig", {}))
    declared = _check_tools(body.get("tools", []))
    _check_choice(body.get("toolConfig", {}).get("functionCallingConfig", {}), declared)
    _check_safety(body.get("safetySettings", []))


def check_embedding(body: dict[str, Any]) -> None:
    """Raise `RowError` if the model would not take this EmbedContentRequest."""
    parts = body.get("content", {}).get("parts")
    if not parts:
        raise RowError("content must have parts.", param="content.parts")
    for index, part in enumerate(parts):
        if not part.get("text"):
            raise RowError("Only text can be embedded, and no empty one.", param=f"content.parts[{index}]")
    if body.get("title") and body.get("taskType") != "RETRIEVAL_DOCUMENT":
        raise RowError("A title is for the task type RETRIEVAL_DOCUMENT only.", param="title")
    size = body.get("outputDimensionality")
    if size is not None and not 1 <= size <= MOST_DIMENSIONS:
        raise RowError(f"output_dimensionality must be from 1 to {MOST_DIMENSIONS}.", param="outputDimensionality")


# Contents


def _check_content(content: dict[str, Any], where: str) -> None:
    if content.get("role", "user") not in ROLES:
        raise RowError("Please use a valid role: user, model.", param=f"{where}.role")
    if not content.get("parts"):
        raise RowError("parts must not be empty.", param=f"{where}.parts")
    for index, part in enumerate(content["parts"]):
        _check_part(part, f"{where}.parts[{index}]")


def _check_part(part: dict[str, Any], where: str) -> None:
    data = next((name for name in DATA if name in part), None)
    if data is None:
        raise RowError("A part must have data: text, inline_data, or the like.", param=where)
    for name in _NEEDS.get(data, ()):
        if part[data].get(name, "") == "":
            raise RowError(f"{data}.{name} is required.", param=f"{where}.{data}.{name}")


_NEEDS = {
    "inlineData": ("mimeType", "data"),
    "fileData": ("fileUri",),
    "functionCall": ("name",),
    "functionResponse": ("name", "response"),
}


def _check_calls(contents: Sequence[dict[str, Any]]) -> None:
    """Every turn of results has to follow the turn of calls that it answers, result by result."""
    for index, content in enumerate(contents):
        results = _count(content, "functionResponse")
        calls = _count(contents[index - 1], "functionCall") if index else 0
        if results and results != calls:
            message = f"{results} function responses do not match the {calls} function calls of the turn before."
            raise RowError(message, param=f"contents[{index}]")


def _count(content: dict[str, Any], name: str) -> int:
    return sum(name in part for part in content["parts"])


def _check_system(content: dict[str, Any]) -> None:
    parts = content.get("parts")
    if not parts or any("text" not in part for part in parts):
        raise RowError("system_instruction must have parts of text, and nothing else.", param="systemInstruction.parts")


# Settings


def _check_config(config: dict[str, Any]) -> None:
    for name, (least, most) in RANGES.items():
        value = config.get(name)
        if value is not None and not least <= value <= most:
            raise RowError(f"{name} must be from {least} to {most}, not {value}.", param=f"generationConfig.{name}")
    if len(config.get("stopSequences", [])) > MOST_STOPS:
        raise RowError(f"At most {MOST_STOPS} stop sequences are allowed.", param="generationConfig.stopSequences")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise RowError("logprobs needs response_logprobs.", param="generationConfig.logprobs")
    thinking = config.get("thinkingConfig", {})
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise RowError("Set either a thinking budget or a thinking level.", param="generationConfig.thinkingConfig")
    if thinking.get("thinkingBudget", 0) < -1:
        raise RowError("The thinking budget is out of range.", param="generationConfig.thinkingConfig.thinkingBudget")
    _check_format(config)


def _check_format(config: dict[str, Any]) -> None:
    mime_type, where = config.get("responseMimeType") or "text/plain", "generationConfig.responseMimeType"
    if mime_type not in MIME_TYPES:
        raise RowError(f"response_mime_type must be one of {', '.join(MIME_TYPES)}.", param=where)
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if len(schemas) > 1:
        raise RowError("Set either response_schema or response_json_schema.", param="generationConfig.responseSchema")
    if schemas and mime_type == "text/plain":
        raise RowError(f"{schemas[0]} needs the response_mime_type application/json.", param=where)


# Tools


def _check_tools(tools: Sequence[dict[str, Any]]) -> set[str]:
    """Check the declarations, and give their names."""
    names = set[str]()
    for number, tool in enumerate(tools):
        for index, function in enumerate(tool.get("functionDeclarations", [])):
            where = f"tools[{number}].functionDeclarations[{index}]"
            name = _check_function(function, where)
            if name in names:
                raise RowError(f"The function {name} is declared twice.", param=where)
            names.add(name)
    return names


def _check_function(function: dict[str, Any], where: str) -> str:
    name = str(function.get("name", ""))
    if not FUNCTION_NAME.fullmatch(name):
        message = (
            f"Invalid function name {name!r}: it begins with a letter or an underscore, and has at most 128 characters."
        )
        raise RowError(message, param=f"{where}.name")
    if "parameters" in function and "parametersJsonSchema" in function:
        raise RowError("Set either parameters or parameters_json_schema.", param=where)
    return name


def _check_choice(choice: dict[str, Any], declared: set[str]) -> None:
    mode, allowed = choice.get("mode", "AUTO"), choice.get("allowedFunctionNames", [])
    where = "toolConfig.functionCallingConfig"
    if allowed and mode not in {"ANY", "VALIDATED"}:
        raise RowError("allowed_function_names is for the modes ANY and VALIDATED only.", param=where)
    unknown = next((name for name in allowed if name not in declared), None)
    if unknown is not None:
        raise RowError(f"The allowed function {unknown!r} is not declared.", param=where)
    if mode == "ANY" and not declared:
        raise RowError("The mode ANY needs function declarations.", param=where)


def _check_safety(settings: Sequence[dict[str, Any]]) -> None:
    seen = set[str]()
    for index, setting in enumerate(settings):
        category = str(setting.get("category", "HARM_CATEGORY_UNSPECIFIED"))
        if category == "HARM_CATEGORY_UNSPECIFIED" or category in seen:
            message = "Each safety setting needs a category of its own."
            raise RowError(message, param=f"safetySettings[{index}].category")
        seen.add(category)
