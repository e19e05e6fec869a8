"""What Mistral's endpoints take in a row's body: every field, its range, and what may not be left out.

`model` may always be left out: the job has one. Source: https://docs.mistral.ai/api, whose request schemas take no field
that they do not name.
"""

from typing import Any

from asyncbatch.emulator.families.mistral_chat import (
    CHOICE,
    CHOICE_WORD,
    CONTENT,
    DOCUMENT,
    FILE,
    IMAGE,
    INSTRUCT,
    MESSAGES,
    TOOL,
    check_format,
    check_speech,
)
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
    number,
    record,
    tagged,
    text,
    whole,
    word,
)
from asyncbatch.emulator.json_values import is_array, objects_in

MOST_CHOICES = 128  # no limit is known; somewhere there is one
MOST_DIMENSIONS = 3072  # of the largest model
MOST_PAGES = 1000  # of a document

_TEXTS = by_type({str: text(), list: items(text())})
_INPUTS = by_type({str: text(least=1), list: items(text(least=1), least=1)})
_MODEL = {"model": nullable(text())}


def _sampling(temperature: float) -> dict[str, Check]:
    """Give the fields of sampling, with the highest temperature."""
    return {
        "temperature": nullable(number(least=0, most=temperature)),
        "top_p": nullable(number(above=0, most=1)),
        "max_tokens": nullable(whole(least=0)),
        "stop": nullable(_TEXTS),
        "random_seed": nullable(whole(least=0)),
    }


def _penalties() -> dict[str, Check]:
    return dict.fromkeys(("presence_penalty", "frequency_penalty"), nullable(number(least=-2, most=2)))


_STREAM = word(False)  # nothing can be streamed in a batch
_EFFORT = nullable(word("none", "minimal", "low", "medium", "high", "xhigh", "max"))
_PREDICTION = record({"type": word("content"), "content": text()})
_GENERATION: dict[str, Check] = {
    **_MODEL,
    **_sampling(1.5),
    **_penalties(),
    "stream": _STREAM,
    "metadata": nullable(mapping()),
    "response_format": check_format,
    "tools": nullable(items(TOOL)),
    "tool_choice": CHOICE,
    "n": nullable(whole(least=1, most=MOST_CHOICES)),
    "prediction": _PREDICTION,
    "parallel_tool_calls": flag,
    "reasoning_effort": _EFFORT,
    "prompt_mode": nullable(word("reasoning")),
    "guardrails": nullable(items(mapping())),
    "prompt_cache_key": nullable(text()),
    "service_tier": nullable(word("auto", "standard_only")),
    "safe_prompt": flag,
    "min_tokens": nullable(whole(least=0)),
    "repetition_penalty": nullable(number(above=0)),
    "top_k": nullable(whole(least=0)),
    **dict.fromkeys(("logprobs", "prompt_logprobs"), nullable(flag)),
    **dict.fromkeys(("top_logprobs", "top_prompt_logprobs"), nullable(whole(least=0))),
}
_CHAT_BODY = record({**_GENERATION, "messages": MESSAGES}, required=("messages",))


def _check_chat(value: Any, loc: Loc) -> None:
    _CHAT_BODY(value, loc)
    for message in objects_in(value["messages"]):
        check_speech(message)


# Conversations

_ENTRY = dict.fromkeys(("object", "type", "created_at", "completed_at", "id"), anything)
_SAID = {**_ENTRY, "role": word("assistant", "user"), "content": CONTENT, "prefix": flag}
_ENTRIES = items(
    tagged(
        "type",
        {
            "message.input": record(_SAID, required=("role", "content")),
            "message.output": record({**_SAID, "agent_id": anything, "model": anything}, required=("content",)),
            "function.result": record(
                {**_ENTRY, "tool_call_id": text(), "result": text()}, required=("tool_call_id", "result")
            ),
            "function.call": record(
                {
                    **_ENTRY,
                    "tool_call_id": text(),
                    "name": text(),
                    "arguments": by_type({str: text(), dict: mapping()}),
                    **dict.fromkeys(("agent_id", "model", "confirmation_status"), anything),
                },
                required=("tool_call_id", "name", "arguments"),
            ),
            "tool.execution": mapping(),
            "agent.handoff": mapping(),
        },
        default="message.input",
    ),
    least=1,
)
_COMPLETION_ARGS = record(
    {
        **_sampling(1),
        **_penalties(),
        "prediction": nullable(_PREDICTION),
        "response_format": nullable(check_format),
        "tool_choice": CHOICE_WORD,
        "reasoning_effort": _EFFORT,
    }
)
_CONVERSATION = record(
    {
        **_MODEL,
        "inputs": by_type({str: text(), list: _ENTRIES}),
        "stream": _STREAM,
        "store": nullable(flag),
        "handoff_execution": nullable(word("client", "server")),
        "instructions": nullable(text()),
        "tools": nullable(items(TOOL)),
        "completion_args": nullable(_COMPLETION_ARGS),
        "guardrails": nullable(items(mapping())),
        "metadata": nullable(mapping()),
        "agent_version": anything,
        **dict.fromkeys(("name", "description", "agent_id"), nullable(text())),
    },
    required=("inputs",),
)

# The others

_EMBEDDING = record(
    {
        **_MODEL,
        "input": _INPUTS,
        "metadata": nullable(mapping()),
        "output_dimension": nullable(whole(least=1, most=MOST_DIMENSIONS)),
        "output_dtype": word("float", "int8", "uint8", "binary", "ubinary"),
        "encoding_format": word("float", "base64"),
    },
    required=("input",),
)
_FIM = record(
    {
        **_MODEL,
        **_sampling(1.5),
        "prompt": text(),
        "suffix": nullable(text()),
        "stream": _STREAM,
        "metadata": nullable(mapping()),
        "min_tokens": nullable(whole(least=0)),
        "prompt_cache_key": nullable(text()),
    },
    required=("prompt",),
)
_CLASSIFICATION = record({**_MODEL, "input": _INPUTS, "metadata": nullable(mapping())}, required=("input",))
_CHAT_CLASSIFICATION = record(
    {**_MODEL, "input": by_type({dict: INSTRUCT, list: items(INSTRUCT, least=1)})}, required=("input",)
)
_OCR = record(
    {
        **_MODEL,
        "document": tagged("type", {"document_url": DOCUMENT, "image_url": IMAGE, "file": FILE}),
        "pages": nullable(
            by_type({str: text(pattern=r"\d+(-\d+)?(,\d+(-\d+)?)*"), list: items(whole(least=0), most=MOST_PAGES)})
        ),
        "include_image_base64": nullable(flag),
        "image_limit": nullable(whole()),
        "image_min_size": nullable(whole()),
        "bbox_annotation_format": nullable(check_format),
        "document_annotation_format": nullable(check_format),
        "document_annotation_prompt": nullable(text()),
        "table_format": nullable(word("markdown", "html")),
        **dict.fromkeys(("extract_header", "extract_footer", "include_blocks"), flag),
        "confidence_scores_granularity": nullable(word("word", "page", "block")),
    },
    required=("document",),
)
_TRANSCRIPTION_FIELDS = record(
    {
        **_MODEL,
        "file_url": nullable(text(least=1, most=2083)),
        "file_id": nullable(text()),
        "language": nullable(text(pattern=r"\w{2}")),
        "temperature": nullable(number()),
        "stream": _STREAM,
        "diarize": flag,
        "context_bias": items(text(pattern=r"[^,\s]+")),
        "speaker_references": mapping(text()),
        "timestamp_granularities": items(word("segment", "word")),
    }
)


def _check_transcription(value: Any, loc: Loc) -> None:
    _TRANSCRIPTION_FIELDS(value, loc)
    if (value.get("file_url") is None) == (value.get("file_id") is None):
        raise FieldError("value_error", loc, "Expected either 'file_url' or 'file_id'.")


def _check_chat_moderation(value: Any, loc: Loc) -> None:
    conversations = items(MESSAGES, least=1) if is_many_chats(value.get("input")) else MESSAGES
    record({**_MODEL, "input": conversations}, required=("input",))(value, loc)


def is_many_chats(wanted: Any) -> bool:
    """Say whether these are conversations, each an array of messages, or the messages of one."""
    return is_array(wanted) and bool(wanted) and is_array(wanted[0])


CHECKS: dict[str, Check] = {
    "chat": _check_chat,
    "embedding": _EMBEDDING,
    "fim": _FIM,
    "moderation": _CLASSIFICATION,
    "chat_moderation": _check_chat_moderation,
    "classification": _CLASSIFICATION,
    "chat_classification": _CHAT_CLASSIFICATION,
    "ocr": _OCR,
    "conversation": _CONVERSATION,
    "transcription": _check_transcription,
}
"""By kind of endpoint, as the dialect has it. A check raises `FieldError`, or `RowError` for what the schema allows."""
