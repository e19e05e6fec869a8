"""Answers in xAI's shapes: OpenAI's for texts, with another bill, and addresses for pictures and films.

Reasoning is not among the tokens of a completion; it is in the total. Source: the fact sheet of xAI's batches, "Results"
and "Usage".
"""

from collections.abc import Callable
from typing import Any

from asyncbatch.emulator.families.openai_answers import encode_chat, encode_response
from asyncbatch.emulator.model import Answer, Ask

PLACES = {
    "chat": "chat_get_completion",
    "response": "chat_get_completion",  # here too
    "image": "image_generation",
    "video": "video_generation",
}
"""Where the body of an answer stands in a result, by kind."""

_MEDIA = "https://media.x.ai.example"


def _cost(answer: Answer, ticks: int) -> dict[str, Any]:
    return {"cost_in_usd_ticks": ticks * (answer.input_tokens + answer.output_tokens)}


def _chat(ask: Ask, answer: Answer, ticks: int) -> dict[str, Any]:
    body = encode_chat(ask, answer)
    usage = {**body["usage"], "completion_tokens": answer.output_tokens - answer.reasoning_tokens}
    choices = [{**choice, "message": _without_annotations(choice["message"])} for choice in body["choices"]]
    return {**body, "choices": choices, "usage": usage | _cost(answer, ticks)}


def _without_annotations(message: dict[str, Any]) -> dict[str, Any]:
    """Leave out what OpenAI alone has in a message: xAI names the pages it has read beside the choices."""
    return {name: value for name, value in message.items() if name != "annotations"}


def _response(ask: Ask, answer: Answer, ticks: int) -> dict[str, Any]:
    body = encode_response(ask, answer)
    return {**body, "usage": body["usage"] | _cost(answer, ticks)}


def _image(ask: Ask, answer: Answer, ticks: int) -> dict[str, Any]:
    return {
        "data": [{"url": f"{_MEDIA}/{ask.mark}.jpeg", "revised_prompt": ""}],
        "model": ask.model,
        "usage": _cost(answer, ticks),
    }


def _video(ask: Ask, answer: Answer, ticks: int) -> dict[str, Any]:
    film = {"url": f"{_MEDIA}/{ask.mark}.mp4", "duration": 6, "respect_moderation": True}
    return {"status": "done", "video": film, "model": ask.model, "usage": _cost(answer, ticks)}


ENCODERS: dict[str, Callable[[Ask, Answer, int], dict[str, Any]]] = {
    "chat": _chat,
    "response": _response,
    "image": _image,
    "video": _video,
}
