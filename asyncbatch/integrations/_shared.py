"""What the integrations share: the client's options with their types, the answer to a webhook, and a missing extra."""

import logging
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import anyio

from asyncbatch import BatchClient, ConfigError, ScopeError

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("asyncbatch.webhooks")

BODY_BYTES = 1 << 20
"""Reading stops beyond this; `client.webhook` then refuses what there is as too large."""


BODY_S = 10.0
"""Longest wait for the whole body, in seconds; a sender has it ready, and one who drips keeps no connection of ours."""


def options_of(_client: Callable[P, BatchClient]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Type a function that passes `**options` on as the one that takes them: a checker then finds a misspelt one."""
    return lambda function: cast("Callable[P, T]", function)


def initialised_with(
    _client: Callable[P, BatchClient],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Do the same for an `__init__`."""
    return lambda function: cast("Callable[Concatenate[Any, P], None]", function)


async def answer_to(headers: Mapping[str, str], chunks: AsyncIterable[bytes], client: BatchClient) -> int:
    """Take a webhook in, and give the status to answer with, which is all that a sender is told."""
    body = None
    with anyio.move_on_after(BODY_S):
        body = await read_capped(chunks)
    if body is None:
        return 408
    try:
        return (await client.webhook(headers, body)).status
    except ConfigError as error:  # there is no secret; senders try again, and somebody may have set one by then
        _log.error("a webhook cannot be checked: %s", error)
        return 500


async def read_capped(chunks: AsyncIterable[bytes]) -> bytes:
    """Read a body to its end, or until it is longer than any webhook may be: no sender decides how much memory it takes."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES:
            break
    return bytes(body)


def opened(client: Any, how: str) -> BatchClient:
    """Give the application's client, or say how it gets one."""
    if isinstance(client, BatchClient):
        return client
    raise ScopeError("this application has no batch client, or is not running", code="scope.closed", hint=how)


def missing(extra: str) -> ImportError:
    """Say what has to be installed."""
    install = f"pip install 'asyncbatch[{extra}]'"
    return ImportError(f"asyncbatch.integrations.{extra} needs {extra.capitalize()}; do: {install}", name=extra)
