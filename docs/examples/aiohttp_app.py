"""Batches in aiohttp. `pip install asyncbatch`, set OPENAI_API_KEY, and in this file's directory:

ASYNCBATCH_HOME=state python -m aiohttp.web -P 8000 aiohttp_app:make_app
"""

import asyncio
import contextlib
import math
import os
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from asyncbatch import BudgetExceededError, ConfigError, InvalidRequestsError, Job, ProviderError
from asyncbatch.integrations.aiohttp import BATCHES, batches_context, webhook_route

DAY_S = 86_400
STREAMS = web.AppKey("streams", set[asyncio.Timeout])


class Work(msgspec.Struct):
    prompts: list[str | dict[str, Any]]  # texts, or whole request bodies
    key: str | None = None  # the same key with the same prompts is the same job, however often it is sent


async def key_of(tenant: str) -> str | None:
    """Whose key pays: here that of ACME_OPENAI_KEY for acme. Yours come from where you keep secrets; None is nobody's."""
    return os.environ.get(f"{tenant.upper()}_OPENAI_KEY")


def tenant_of(request: web.Request) -> str | None:
    """Who asks; yours comes from the caller's session or token."""
    return request.headers.get("x-tenant")


async def find(request: web.Request) -> Job:
    try:
        job = await request.app[BATCHES].job(request.match_info["job_id"])
    except ConfigError:
        raise web.HTTPNotFound(text="no such job") from None
    if job.status().account != tenant_of(request):  # somebody else's
        raise web.HTTPNotFound(text="no such job")
    return job


async def submit(request: web.Request) -> web.Response:
    try:
        work = msgspec.json.decode(await request.read(), type=Work)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text=str(error)) from None
    tenant = tenant_of(request)
    key = None if work.key is None else f"{tenant!r}/{work.key}"
    try:
        job = await request.app[BATCHES].submit(work.prompts, model="openai/gpt-4.1-mini", key=key, account=tenant)
    except InvalidRequestsError as error:
        problems = [str(problem) for problem in error.problems] or [str(error)]
        return web.json_response({"detail": problems}, status=422)
    except BudgetExceededError as error:  # this tenant has used up its day
        wait = {"Retry-After": str(math.ceil(error.retry_after_s or DAY_S))}
        return web.json_response({"detail": str(error)}, status=429, headers=wait)
    except ConfigError as error:  # an unknown tenant, or a key that stands for other prompts
        return web.json_response({"detail": str(error)}, status=409)
    return web.json_response({"job": job.id}, status=202)


async def status(request: web.Request) -> web.Response:
    now = (await find(request)).status()
    outcomes = {outcome.value: count for outcome, count in now.outcomes.items()}
    return web.json_response(
        {"job": now.job_id, "requests": now.requests, "outcomes": outcomes, "is_over": now.is_over}
    )


async def results(request: web.Request) -> web.Response:
    job, asked = await find(request), request.query
    try:
        page = job.results(after=asked.get("after"), limit=min(int(asked.get("limit", "100")), 1000))
        rows = [{"id": row.request_id, "status": row.status.value, "text": row.text} for row in await page]
    except (ConfigError, ValueError) as error:  # no cursor of this job, one from before a retry, or no limit
        refusal = web.HTTPGone if getattr(error, "code", None) == "cursor.outdated" else web.HTTPBadRequest
        raise refusal(text=str(error)) from None
    except ProviderError as error:  # nothing could be sent
        raise web.HTTPBadGateway(text=str(error)) from None
    return web.json_response({"rows": rows, "after": page.cursor, "is_over": page.is_over})


async def events(request: web.Request) -> web.StreamResponse:
    job = await find(request)
    stream = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-store"})
    await stream.prepare(request)
    with contextlib.suppress(ConnectionResetError, TimeoutError):  # the viewer left, or the server is about to
        async with asyncio.timeout(None) as until:
            request.app[STREAMS].add(until)
            try:
                async for event in job.stream_events(last_event_id=request.headers.get("last-event-id")):
                    await stream.write(event.encode())
            finally:
                request.app[STREAMS].discard(until)
    return stream


async def end_streams(app: web.Application) -> None:
    """Let nobody who still looks hold the shutdown: a browser comes back by itself, and finds the next process."""
    for until in list(app[STREAMS]):
        until.reschedule(0)


def make_app(_argv: Sequence[str] = ()) -> web.Application:
    app = web.Application()
    app[STREAMS] = set()
    app.cleanup_ctx.append(batches_context(accounts=key_of))
    app.on_shutdown.append(end_streams)
    app.add_routes(
        [
            web.post("/jobs", submit),
            web.get("/jobs/{job_id}", status),
            web.get("/jobs/{job_id}/results", results),
            web.get("/jobs/{job_id}/events", events),
            webhook_route("/webhooks/batches"),
        ]
    )
    return app
