"""What stands before every dialect: scripted faults, keys, rate limits, errors in its shape, the history."""

import email.utils
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.desk import ACCOUNT, DOOM, Desk, ProblemError, RefusalError, fingerprint
from asyncbatch.emulator.effects import Act, Answer, Cut, Doom, Drop, EndlessList, Ghost, Neutral, Rewrite, Stall, When
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.faults import Call
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.replies import cut
from asyncbatch.emulator.routes import OPERATION, Guard, Route
from asyncbatch.emulator.script import ArmedFault, Script, spoil_document
from asyncbatch.emulator.uploads import Arrival, kept
from asyncbatch.emulator.wire_steps import act_before, act_when_accepted, act_while_sent

_REQUEST_ID = web.RequestKey("request_id", str)
_KEY = "key"
"""The parameter of a query in which Google's services take one."""


class _Dropped(web.Response):
    """Stands for no answer at all; the connection is gone by the time it would be sent."""


def make_guard(family: Family, find: Callable[[web.Request], Route | None], script: Callable[[], Script]) -> Guard:
    """Give what stands before all that a dialect answers; `find` says which of its paths a request asks for."""
    desk = family.desk

    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        key, route = family.read_key(request), find(request)
        request[ACCOUNT] = fingerprint(key) if key else ""
        request[OPERATION] = await family.operation_of(request, route) if route else "other"
        request[_REQUEST_ID] = family.new_request_id()
        is_welcome = bool(key) or (route is not None and not route.needs_key)
        ghost = desk.ghosts.find(request)
        if ghost is None:
            await desk.ghosts.settle()
            struck = script().strike(_call(desk, request), desk.clock.now())
            response = await _spoil_before(family, request, struck)
        else:
            struck, response = ghost.struck, None
        if response is None:
            response = await _answer(family, request, handler, struck, is_welcome=is_welcome)
            if ghost is None:
                response = await _spoil_after(family, request, response, struck)
        for name, value in family.headers(request[_REQUEST_ID]).items():
            response.headers.setdefault(name, value)
        response.headers["Date"] = email.utils.formatdate(desk.clock.client_wall(), usegmt=True)
        desk.note(_record(desk, request, response, struck))
        return response

    return guard


def _call(desk: Desk, request: web.Request) -> Call:
    path = desk.dialect.below(request.path)
    return Call(dialect=desk.dialect.name, operation=request[OPERATION], method=request.method, path=path)


async def _answer(
    family: Family, request: web.Request, handler: Handler, struck: Sequence[ArmedFault], *, is_welcome: bool
) -> web.StreamResponse:
    for effect in _effects(struck):
        if isinstance(effect, Doom):
            request[DOOM] = effect
    try:
        if not is_welcome:
            raise family.refuse_key(request)
        _take_turn(family.desk, request)
        family.check_call(request)
        return family.dressed(request, await handler(request))
    except RefusalError as error:
        return _refusal(family, request, error)
    except ProblemError as error:
        return _refusal(family, request, family.refuse_problem(error.problem))
    except ConnectionError:  # the client left in the middle of its request
        return _Dropped()
    except web.HTTPException as error:
        message = f"{error.reason} ({request.method} {request.path})"
        return _refusal(family, request, RefusalError(error.status, message))


def _take_turn(desk: Desk, request: web.Request) -> None:
    wait_s = desk.wait_for_turn(request[ACCOUNT]) if request[ACCOUNT] else 0.0
    if wait_s > 0:
        seconds = max(1, math.ceil(desk.clock.client_seconds(wait_s)))
        message = "Rate limit reached for requests."
        raise RefusalError(429, message, code="rate_limit_exceeded", retry_after_s=seconds)


def _refusal(family: Family, request: web.Request, error: RefusalError) -> web.Response:
    body = _encoded(family, request, error)
    has_header = family.has_retry_header and error.retry_after_s is not None
    headers = {"Retry-After": f"{error.retry_after_s:g}"} if has_header else {}
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)


def _encoded(family: Family, request: web.Request, error: RefusalError) -> bytes:
    error.request_id, error.path = request[_REQUEST_ID], request.path
    return family.encode_error(error)


def _effects(struck: Sequence[ArmedFault]) -> list[Any]:
    return [armed.fault.effect for armed in struck]


async def _spoil_before(family: Family, request: web.Request, struck: list[ArmedFault]) -> web.StreamResponse | None:
    for effect in _effects(struck):
        if isinstance(effect, EndlessList):  # before the handler, which would refuse a page that there is not
            body = msgspec.json.encode(family.as_endless({}))
            return web.Response(body=body, content_type="application/json")
        if isinstance(effect, Act):
            await act_before(request, effect)
        if isinstance(effect, Ghost):
            return await _take_aside(family, request, effect, struck)
        response = await _spoil(family, request, effect, "before")
        if response is not None:
            return response
    return None


async def _spoil_after(
    family: Family, request: web.Request, response: web.StreamResponse, struck: Sequence[ArmedFault]
) -> web.StreamResponse:
    acts = [] if isinstance(response, _Dropped) else [act for act in _effects(struck) if isinstance(act, Act)]
    await act_when_accepted(acts)
    for armed in struck:
        effect = armed.fault.effect
        if isinstance(effect, Rewrite | Neutral):
            response = _rewritten(family, response, armed)
        else:
            response = await _spoil(family, request, effect, "after") or response
    return response if isinstance(response, _Dropped) else _watched(response, struck, acts)


def _watched(response: web.StreamResponse, struck: Sequence[ArmedFault], acts: Sequence[Act]) -> web.StreamResponse:
    """Give the same answer as one that is cut, or while which something is done."""
    for effect in _effects(struck):
        if isinstance(effect, Cut):
            response = cut(response, effect.keep_bytes)
    return act_while_sent(response, acts)


async def _spoil(family: Family, request: web.Request, effect: object, when: When) -> web.StreamResponse | None:
    if not isinstance(effect, Drop | Answer | Stall) or effect.when != when:
        return None
    if isinstance(effect, Stall):
        await anyio.sleep(effect.seconds)
        return None
    return _drop(request) if isinstance(effect, Drop) else _instead(family, request, effect)


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return _Dropped()


async def _take_aside(
    family: Family, request: web.Request, effect: Ghost, struck: list[ArmedFault]
) -> web.StreamResponse:
    """Let the request arrive later; gives what its client gets meanwhile."""
    path = family.desk.store.new_path()
    try:
        async with kept(path):
            await Arrival(path, None).take_all(request)
    except ConnectionError:  # it has not come whole
        return _Dropped()
    ghost = family.desk.ghosts.send(request, path, effect.after_s, struck)
    if effect.meanwhile == "drop":
        return _drop(request)
    if effect.meanwhile == "error":
        return _instead(family, request, Answer(status=effect.status))
    await ghost.gone.wait()
    return ghost.answer or _drop(request)


def _instead(family: Family, request: web.Request, effect: Answer) -> web.Response:
    headers = {**effect.headers, **_retry_after(effect, family.desk.clock)}
    body = effect.body
    if body is None:
        error = RefusalError(effect.status, effect.message, code=effect.code, retry_after_s=effect.retry_after_s)
        body = _encoded(family, request, error)
    return web.Response(status=effect.status, body=body, content_type=effect.content_type, headers=headers)


def _retry_after(effect: Answer, clock: Clock) -> Mapping[str, str]:
    if effect.retry_after_s is None:
        return {}
    if effect.retry_after_as == "date":
        return {"Retry-After": email.utils.formatdate(clock.client_wall() + effect.retry_after_s, usegmt=True)}
    return {"Retry-After": f"{effect.retry_after_s:g}"}


def _rewritten(family: Family, response: web.StreamResponse, armed: ArmedFault) -> web.StreamResponse:
    if response.content_type != "application/json" or (response.status >= 300 and not _is_raw(armed)):
        return response
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    document = spoil_document(msgspec.json.decode(response.body), armed, family.desk.clock.now(), family)
    response.body = msgspec.json.encode(document)
    return response


def _is_raw(armed: ArmedFault) -> bool:
    return isinstance(armed.fault.effect, Rewrite)


def _without_key(request: web.Request) -> str:
    """Give what was asked for; some clients send their key in the query, and the history is kept."""
    rest = [(name, value) for name, value in request.query.items() if name != _KEY]
    return request.path_qs if _KEY not in request.query else str(request.rel_url.with_query(rest))


def _record(desk: Desk, request: web.Request, response: web.StreamResponse, struck: Sequence[ArmedFault]) -> Record:
    return Record(
        kind="request",
        at=desk.clock.now(),
        dialect=desk.dialect.name,
        account=request[ACCOUNT],
        method=request.method,
        path=_without_key(request),
        operation=request[OPERATION],
        status=None if isinstance(response, _Dropped) else response.status,
        faults=tuple(armed.fault.kind for armed in struck if not armed.fault.looks_at_answers),
    )
