"""Moderations, classifications, documents and audio: answered in Mistral's shapes alone, by nobody but the echo model.

Each takes a row's ask, whose body has passed the checks. Source: https://docs.mistral.ai/api
"""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from asyncbatch.emulator.echo import count_tokens, echo_text
from asyncbatch.emulator.families.mistral_answers import encode_usage
from asyncbatch.emulator.families.mistral_bodies import MOST_PAGES
from asyncbatch.emulator.instances import make_instance
from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.model import Answer, Ask

HARMS = (
    "sexual",
    "hate_and_discrimination",
    "violence_and_threats",
    "dangerous_and_criminal_content",
    "selfharm",
    "health",
    "financial",
    "law",
    "pii",
)
FLAGGED = "violence_and_threats"  # what `[[flag]]` is taken for
SECONDS = 3  # of every recording


def encode_moderation(ask: Ask, _answer: Answer) -> dict[str, Any]:
    return {"id": ask.mark, "model": ask.model, "results": [_moderated(ask)] * _inputs(ask)}


def _moderated(ask: Ask) -> dict[str, Any]:
    flagged = FLAGGED if ask.marker("flag") is not None else None
    scores = {name: 0.9 if name == flagged else 0.01 for name in HARMS}
    return {"categories": {name: name == flagged for name in HARMS}, "category_scores": scores}


def encode_classification(ask: Ask, _answer: Answer) -> dict[str, Any]:
    scores = {"negative": 0.9, "positive": 0.1} if ask.marker("flag") else {"negative": 0.1, "positive": 0.9}
    return {"id": ask.mark, "model": ask.model, "results": [{"sentiment": {"scores": scores}}] * _inputs(ask)}


def _inputs(ask: Ask) -> int:
    """Count what is to be judged: texts, or conversations."""
    wanted = ask.body["input"]
    is_one_chat = is_array(wanted) and is_object(wanted[0]) and "messages" not in wanted[0]
    return len(wanted) if is_array(wanted) and not is_one_chat else 1


def encode_ocr(ask: Ask, _answer: Answer) -> dict[str, Any]:
    numbers = _page_numbers(ask.body.get("pages"))
    wanted = ask.body.get("document_annotation_format")
    return {
        "pages": [_page(ask, number) for number in numbers],
        "model": ask.model,
        "document_annotation": _annotation(wanted),
        "usage_info": {"pages_processed": len(numbers), "doc_size_bytes": _size_of(_source(ask))},
    }


def _page(ask: Ask, number: int) -> dict[str, Any]:
    markdown = f"# Page {number}\n\n{echo_text(_source(ask)[:100])}{ask.variant}"
    corners = {"top_left_x": 100, "top_left_y": 100, "bottom_right_x": 1600, "bottom_right_y": 2100}
    has_blocks = ask.body.get("include_blocks", True)
    return {
        "index": number,
        "markdown": markdown,
        "images": [],
        "tables": [],
        "hyperlinks": [],
        "header": None,
        "footer": None,
        "dimensions": {"dpi": 200, "height": 2200, "width": 1700},
        "blocks": [{"type": "text", "content": markdown, **corners}] if has_blocks else None,
    }


def _page_numbers(wanted: Any) -> list[int]:
    """Give the pages asked for, of a document that has one unless somebody asks for others."""
    if isinstance(wanted, str):
        return [number for part in wanted.split(",") for number in _span(part)][:MOST_PAGES]
    return wanted or [0]


def _span(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), min(int(last or first), int(first) + MOST_PAGES) + 1)


def _source(ask: Ask) -> str:
    document: dict[str, Any] = ask.body["document"]
    found = document.get("document_url") or document.get("image_url") or document.get("file_id") or ""
    return str(found.get("url", "")) if is_object(found) else str(found)


def _size_of(source: str) -> int | None:
    """Give the size of a document that came with the row."""
    head, _, data = source.partition(",")
    if not head.startswith("data:"):
        return None
    try:
        return len(base64.b64decode(data))
    except ValueError:
        return len(data)


def _annotation(wanted: Any) -> str | None:
    holder = wanted.get("json_schema") if is_object(wanted) else None
    if not is_object(holder):
        return None
    return msgspec.json.encode(make_instance(holder["schema"])).decode()


def count_transcription(ask: Ask) -> Answer:
    text = _spoken(ask)
    return Answer(text=text, input_tokens=count_tokens(text), output_tokens=count_tokens(text))


def _spoken(ask: Ask) -> str:
    return echo_text(str(ask.body.get("file_url") or ask.body.get("file_id"))) + ask.variant


def encode_transcription(ask: Ask, answer: Answer) -> dict[str, Any]:
    segment = {"type": "transcription_segment", "text": answer.text, "start": 0.0, "end": float(SECONDS)}
    has_segments = bool(ask.body.get("timestamp_granularities"))
    return {
        "model": ask.model,
        "text": answer.text,
        "language": ask.body.get("language"),
        "segments": [segment] if has_segments else [],
        "usage": {"prompt_audio_seconds": SECONDS, **encode_usage(answer)},
    }


MEDIA: dict[str, Callable[[Ask, Answer], dict[str, Any]]] = {
    "moderation": encode_moderation,
    "chat_moderation": encode_moderation,
    "classification": encode_classification,
    "chat_classification": encode_classification,
    "ocr": encode_ocr,
    "transcription": encode_transcription,
}
