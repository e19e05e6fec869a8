"""What Mistral takes for messages, tools and formats of answers, in whichever endpoint they come.

Source: https://docs.mistral.ai/api, whose request schemas take no field that they do not name.
"""

import re
from collections.abc import Mapping
from typing import Any

from asyncbatch.emulator.families.mistral_fields import (
    Check,
    FieldError,
    Loc,
    anything,
    by_type,
    flag,
    items,
    mapping,
    nullable,
    record,
    tagged,
    text,
    uuid,
    whole,
    word,
)
from asyncbatch.emulator.json_values import objects_in
from asyncbatch.emulator.rows import RowError

BAD_CALL_ID = "3280"  # the service's code for a call's id that is not nine letters and digits
_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")


def _typed(name: str, fields: Mapping[str, Check], *required: str) -> Check:
    return record({"type": word(name), **fields}, required=required)


_TEXT = _typed("text", {"text": text()}, "text")
IMAGE = _typed(
    "image_url",
    {
        "image_url": by_type(
            {
                str: text(),
                dict: record({"url": text(), "detail": nullable(word("low", "auto", "high"))}, required=("url",)),
            }
        )
    },
    "image_url",
)
DOCUMENT = _typed("document_url", {"document_url": text(), "document_name": nullable(text())}, "document_url")
FILE = _typed("file", {"file_id": uuid}, "file_id")
_REFERENCE = _typed("reference", {"reference_ids": items(anything)}, "reference_ids")
_THINKING = _typed(
    "thinking",
    {
        "thinking": items(tagged("type", {"text": _TEXT, "reference": _REFERENCE, "tool_reference": anything})),
        "signature": nullable(text()),
        "closed": flag,
    },
    "thinking",
)
_CHUNKS: dict[str, Check] = {
    "text": _TEXT,
    "image_url": IMAGE,
    "document_url": DOCUMENT,
    "reference": _REFERENCE,
    "file": FILE,
    "thinking": _THINKING,
    "input_audio": _typed("input_audio", {"input_audio": text()}, "input_audio"),
    "resource": _typed("resource", {"uri": text(), "content": anything}, "uri", "content"),
    "resource_link": _typed("resource_link", {"uri": text(), "metadata": nullable(mapping())}, "uri"),
}
CONTENT = by_type({str: text(), list: items(tagged("type", _CHUNKS))})
_SYSTEM_CONTENT = by_type({str: text(), list: items(tagged("type", {"text": _TEXT, "thinking": _THINKING}))})
_CALL = record(
    {
        "id": text(),
        "type": word("function"),
        "index": whole(),
        "function": record(
            {"name": text(), "arguments": by_type({str: text(), dict: mapping()})}, required=("name", "arguments")
        ),
    },
    required=("function",),
)
_MESSAGE = tagged(
    "role",
    {
        "system": record({"role": anything, "content": _SYSTEM_CONTENT}, required=("content",)),
        "user": record({"role": anything, "content": nullable(CONTENT)}, required=("content",)),
        "assistant": record(
            {"role": anything, "content": nullable(CONTENT), "tool_calls": nullable(items(_CALL)), "prefix": flag}
        ),
        "tool": record(
            {
                "role": anything,
                "content": nullable(CONTENT),
                "tool_call_id": nullable(text()),
                "name": nullable(text()),
            },
            required=("content",),
        ),
    },
)
MESSAGES = items(_MESSAGE, least=1)
INSTRUCT = record({"messages": MESSAGES}, required=("messages",))

# What may be asked for

_FUNCTION = record(
    {"name": text(least=1), "description": text(), "strict": flag, "parameters": mapping()},
    required=("name", "parameters"),
)
TOOL = tagged(
    "type",
    {
        "function": record({"type": anything, "function": _FUNCTION}, required=("function",)),
        **dict.fromkeys(
            ("web_search", "web_search_premium", "code_interpreter", "image_generation", "document_library"), mapping()
        ),
        "connector": mapping(),
    },
    default="function",
)
CHOICE_WORD = word("auto", "none", "any", "required")
CHOICE = by_type(
    {
        str: CHOICE_WORD,
        dict: record(
            {"type": word("function"), "function": record({"name": text(least=1)}, required=("name",))},
            required=("function",),
        ),
    }
)
_SCHEMA = record(
    {"name": text(least=1), "description": nullable(text()), "schema": mapping(), "strict": flag},
    required=("name", "schema"),
)
_FORMAT_FIELDS = record({"type": word("text", "json_object", "json_schema"), "json_schema": nullable(_SCHEMA)})


def check_format(value: Any, loc: Loc) -> None:
    _FORMAT_FIELDS(value, loc)
    if value.get("type") == "json_schema" and value.get("json_schema") is None:
        raise FieldError("missing", (*loc, "json_schema"), "This field is required with the type 'json_schema'.")


def check_speech(message: dict[str, Any]) -> None:
    """Look at what the schema does not tell: ids of calls, and assistants who say nothing.

    Raises:
        RowError: The model refuses it, which is a 400 and not the schema's 422.
    """
    calls = objects_in(message.get("tool_calls"))
    if message["role"] == "assistant" and not calls and not message.get("content"):
        raise RowError("An assistant's message needs content or tool calls.")
    for name in (*(call.get("id") for call in calls), message.get("tool_call_id")):
        if name is not None and not _CALL_ID.fullmatch(name):
            what = "a-z, A-Z, 0-9, with a length of 9"
            raise RowError(f"The id of a tool call was {name}, but must be {what}.", code=BAD_CALL_ID)
