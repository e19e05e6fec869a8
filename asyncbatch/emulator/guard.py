"""What stands before every dialect: scripted faults, keys, rate limits, errors in its shape, the history."""

import email.utils
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.desk import ACCOUNT, DOOM, Desk, RefusalError, fingerprint
from asyncbatch.emulator.families import Family
from asyncbatch.emulator.faults import Answer, ArmedFault, Cut, Doom, Drop, Lag, Rewrite, Script, Stall, When, rewrite
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.replies import cut


class _Dropped(web.Response):
    """Stands for no answer at all; the connection is gone by the time it would be sent."""


def make_guard(family: Family, script: Callable[[], Script]) -> Middleware:
    """Give the middleware of one dialect."""
    desk = family.desk

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = family.read_key(request)
        request[ACCOUNT] = fingerprint(key) if key else ""
        struck = script().strike(desk.dialect.name, request.method, _path_below(request, desk), desk.clock.now())
        response = await _spoil_before(family, request, struck)
        if response is None:
            response = await _answer(family, request, handler, struck, has_key=bool(key))
            response = await _spoil_after(family, request, response, struck)
        response.headers.setdefault("x-request-id", f"req_{uuid.uuid4().hex}")
        response.headers["Date"] = email.utils.formatdate(desk.clock.client_wall(), usegmt=True)
        desk.note(_record(desk, request, response, struck))
        return response

    return guard


def _path_below(request: web.Request, desk: Desk) -> str:
    return request.path.removeprefix(f"/{desk.dialect.name}{desk.dialect.prefix}")


async def _answer(
    family: Family, request: web.Request, handler: Handler, struck: Sequence[ArmedFault], *, has_key: bool
) -> web.StreamResponse:
    if not has_key:
        message = "Incorrect API key provided, or none. Send any other key as a bearer token."
        return _error(family, 401, message, code="invalid_api_key")
    wait_s = family.desk.wait_for_turn(request[ACCOUNT])
    if wait_s > 0:
        seconds = max(1, math.ceil(family.desk.clock.client_seconds(wait_s)))
        response = _error(family, 429, "Rate limit reached for requests.", code="rate_limit_exceeded")
        response.headers["Retry-After"] = str(seconds)
        return response
    for effect in _effects(struck):
        if isinstance(effect, Doom):
            request[DOOM] = effect
    try:
        return await handler(request)
    except RefusalError as error:
        return _error(family, error.status, error.message, code=error.code, param=error.param)
    except ConnectionError:  # the client left in the middle of its request
        return _Dropped()
    except web.HTTPException as error:
        return _error(family, error.status, f"{error.reason} ({request.method} {request.path})")


def _error(
    family: Family, status: int, message: str, *, code: str | None = None, param: str | None = None
) -> web.Response:
    body = family.encode_error(status, message, code=code, param=param)
    return web.Response(status=status, body=body, content_type="application/json")


def _effects(struck: Sequence[ArmedFault]) -> list[Any]:
    return [armed.fault.effect for armed in struck]


async def _spoil_before(
    family: Family, request: web.Request, struck: Sequence[ArmedFault]
) -> web.StreamResponse | None:
    for effect in _effects(struck):
        response = await _spoil(family, request, effect, "before")
        if response is not None:
            return response
    return None


async def _spoil_after(
    family: Family, request: web.Request, response: web.StreamResponse, struck: Sequence[ArmedFault]
) -> web.StreamResponse:
    for armed in struck:
        effect = armed.fault.effect
        if isinstance(effect, Rewrite | Lag):
            response = _rewritten(response, armed, family.desk.clock.now())
        elif isinstance(effect, Cut):
            response = cut(response, effect.keep_bytes)
        else:
            response = await _spoil(family, request, effect, "after") or response
    return response


async def _spoil(family: Family, request: web.Request, effect: object, when: When) -> web.StreamResponse | None:
    if not isinstance(effect, Drop | Answer | Stall) or effect.when != when:
        return None
    if isinstance(effect, Stall):
        await anyio.sleep(effect.seconds)
        return None
    if isinstance(effect, Drop):
        if request.transport is not None:
            request.transport.abort()
        return _Dropped()
    return _instead(family, effect)


def _instead(family: Family, effect: Answer) -> web.Response:
    headers = {**effect.headers, **_retry_after(effect, family.desk.clock)}
    body = effect.body
    if body is None:
        body = family.encode_error(effect.status, effect.message, code=effect.code)
    return web.Response(status=effect.status, body=body, content_type=effect.content_type, headers=headers)


def _retry_after(effect: Answer, clock: Clock) -> Mapping[str, str]:
    if effect.retry_after_s is None:
        return {}
    if effect.retry_after_as == "date":
        return {"Retry-After": email.utils.formatdate(clock.client_wall() + effect.retry_after_s, usegmt=True)}
    return {"Retry-After": f"{effect.retry_after_s:g}"}


def _rewritten(response: web.StreamResponse, armed: ArmedFault, now: float) -> web.StreamResponse:
    if not isinstance(response, web.Response) or response.content_type != "application/json":
        return response
    assert isinstance(response.body, bytes)
    response.body = msgspec.json.encode(rewrite(msgspec.json.decode(response.body), armed, now))
    return response


def _record(desk: Desk, request: web.Request, response: web.StreamResponse, struck: Sequence[ArmedFault]) -> Record:
    return Record(
        kind="request",
        at=desk.clock.now(),
        dialect=desk.dialect.name,
        account=request[ACCOUNT],
        method=request.method,
        path=request.path_qs,
        status=None if isinstance(response, _Dropped) else response.status,
        faults=tuple(armed.fault.kind for armed in struck if armed.fault.where is None),
    )
