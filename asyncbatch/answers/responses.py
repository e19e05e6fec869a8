"""Answers in the shape of Responses, whoever gives them; OpenAI's own have the same one.

Source: openai/openai-openapi:openapi.yaml (Response), and the types of perplexityai 0.46.1 (`response_create_response.py`).
"""

from collections.abc import Sequence

import msgspec

from asyncbatch.answers import ToolCall, UsageInfo, openai

_KIND = "responses"


def text(kind: str, body: bytes) -> str | None:
    del kind
    return openai.text(_KIND, body)


def tool_calls(kind: str, body: bytes) -> tuple[ToolCall, ...]:
    del kind
    return openai.tool_calls(_KIND, body)


def embedding(kind: str, body: bytes) -> list[float] | None:
    del kind, body
    return None


def embeddings(kind: str, body: bytes) -> list[list[float]]:
    del kind, body
    return []


def usage(kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None:
    del kind
    return openai.usage(_KIND, body)


def usages(kind: str, bodies: Sequence[msgspec.Raw]) -> list[UsageInfo | None]:
    del kind
    return openai.usages(_KIND, bodies)
