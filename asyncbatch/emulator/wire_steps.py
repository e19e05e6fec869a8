"""Steps of a call, as they are seen from the service's side, and what a fault does at them."""

import functools
from collections.abc import Sequence

import anyio
import anyio.to_thread
from aiohttp import web

from asyncbatch.emulator.effects import Act
from asyncbatch.emulator.replies import as_download

LOOK_S = 0.001  # real seconds between two looks at how much of a body is there


async def act_before(request: web.Request, effect: Act) -> None:
    """Act if the step is one that comes before the request is carried out. Nothing of the body is read."""
    if effect.step == "arrived":
        await _do(effect)
    elif effect.step == "reading":
        while request.content.total_bytes < effect.after_bytes and not request.content.is_eof():
            if request.content.exception() is not None:
                return  # the client left before
            await anyio.sleep(LOOK_S)
        await _do(effect)


async def act_when_accepted(effects: Sequence[Act]) -> None:
    """Do what is to be done between the call's consequences and its answer."""
    for effect in effects:
        if effect.step == "accepted":
            await _do(effect)


def act_while_sent(response: web.StreamResponse, effects: Sequence[Act]) -> web.StreamResponse:
    """Give the same answer, while which is sent the rest is done."""
    for effect in effects:
        if effect.step in {"headers", "sent"}:
            response = as_download(response)
            acts = response.on_headers if effect.step == "headers" else response.on_sent
            acts.append(functools.partial(_do, effect))
    return response


async def _do(effect: Act) -> None:
    await anyio.to_thread.run_sync(effect.do)
