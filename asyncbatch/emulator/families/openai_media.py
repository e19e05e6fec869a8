"""Moderations, images and videos: answered in OpenAI's shapes alone, by nobody but the echo model.

Each takes a row's ask, whose body has passed the checks. Source: https://platform.openai.com/docs/api-reference
"""

from collections.abc import Callable
from typing import Any

from asyncbatch.emulator.echo import count_tokens
from asyncbatch.emulator.families.openai_checks import texts_in, whole_number
from asyncbatch.emulator.model import Answer, Ask

PIXEL = (  # a transparent PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
HARMS = {  # category -> the kinds of input that the model looks at for it
    "harassment": ["text"],
    "harassment/threatening": ["text"],
    "hate": ["text"],
    "hate/threatening": ["text"],
    "illicit": ["text"],
    "illicit/violent": ["text"],
    "self-harm": ["text", "image"],
    "self-harm/intent": ["text", "image"],
    "self-harm/instructions": ["text", "image"],
    "sexual": ["text", "image"],
    "sexual/minors": ["text"],
    "violence": ["text", "image"],
    "violence/graphic": ["text", "image"],
}


def count_image(ask: Ask) -> Answer:
    """Give the price of the pictures that the ask is for."""
    return Answer(input_tokens=count_tokens(str(ask.body["prompt"])), output_tokens=_pictures(ask))


def _pictures(ask: Ask) -> int:
    return whole_number(dict(ask.body), "n") or 1


def encode_moderation(ask: Ask, _answer: Answer) -> dict[str, Any]:
    is_flagged = ask.marker("flag") is not None
    result = {
        "flagged": is_flagged,
        "categories": {name: is_flagged and name == "violence" for name in HARMS},
        "category_scores": {name: 0.9 if is_flagged and name == "violence" else 0.01 for name in HARMS},
        "category_applied_input_types": {name: ["text"] for name in HARMS},
    }
    return {"id": f"modr-{ask.mark}", "model": ask.model, "results": [result] * len(texts_in(ask.body["input"]))}


def encode_image(ask: Ask, answer: Answer) -> dict[str, Any]:
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"text_tokens": answer.input_tokens, "image_tokens": 0},
        "output_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    return {"created": int(ask.at), "data": [{"b64_json": PIXEL}] * _pictures(ask), "usage": usage}


def encode_video(ask: Ask, _answer: Answer) -> dict[str, Any]:
    return {
        "id": f"video_{ask.mark}",
        "object": "video",
        "created_at": int(ask.at),
        "completed_at": int(ask.at),
        "expires_at": None,
        "error": None,
        "model": ask.model,
        "progress": 100,
        "prompt": ask.body["prompt"],
        "remixed_from_video_id": None,
        "seconds": str(ask.body.get("seconds", "4")),
        "size": ask.body.get("size", "720x1280"),
        "status": "completed",
    }


MEDIA: dict[str, Callable[[Ask, Answer], dict[str, Any]]] = {
    "moderation": encode_moderation,
    "image": encode_image,
    "video": encode_video,
}
