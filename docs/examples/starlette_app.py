"""Batches in Starlette. `pip install 'asyncbatch[starlette]' uvicorn`, set OPENAI_API_KEY, and in this file's directory:

ASYNCBATCH_HOME=state uvicorn starlette_app:app --workers 4 --timeout-graceful-shutdown 5
"""

import math
import os
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from asyncbatch import BudgetExceededError, ConfigError, InvalidRequestsError, Job, ProviderError
from asyncbatch.integrations.starlette import batches_lifespan, get_client, webhook_route

DAY_S = 86_400


class Work(msgspec.Struct):
    prompts: list[str | dict[str, Any]]  # texts, or whole request bodies
    key: str | None = None  # the same key with the same prompts is the same job, however often it is sent


async def key_of(tenant: str) -> str | None:
    """Whose key pays: here that of ACME_OPENAI_KEY for acme. Yours come from where you keep secrets; None is nobody's."""
    return os.environ.get(f"{tenant.upper()}_OPENAI_KEY")


def tenant_of(request: Request) -> str | None:
    """Who asks; yours comes from the caller's session or token."""
    return request.headers.get("x-tenant")


async def find(request: Request) -> Job:
    try:
        job = await get_client(request).job(request.path_params["job_id"])
    except ConfigError:
        raise HTTPException(404, "no such job") from None
    if job.status().account != tenant_of(request):  # somebody else's
        raise HTTPException(404, "no such job")
    return job


async def submit(request: Request) -> Response:
    try:
        work = msgspec.json.decode(await request.body(), type=Work)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, str(error)) from None
    tenant = tenant_of(request)
    key = None if work.key is None else f"{tenant!r}/{work.key}"
    try:
        job = await get_client(request).submit(work.prompts, model="openai/gpt-4.1-mini", key=key, account=tenant)
    except InvalidRequestsError as error:
        problems = [str(problem) for problem in error.problems] or [str(error)]
        return JSONResponse({"detail": problems}, status_code=422)
    except BudgetExceededError as error:  # this tenant has used up its day
        raise HTTPException(429, str(error), {"Retry-After": str(math.ceil(error.retry_after_s or DAY_S))}) from None
    except ConfigError as error:  # an unknown tenant, or a key that stands for other prompts
        raise HTTPException(409, str(error)) from None
    return JSONResponse({"job": job.id}, status_code=202)


async def status(request: Request) -> Response:
    now = (await find(request)).status()
    outcomes = {outcome.value: count for outcome, count in now.outcomes.items()}
    return JSONResponse({"job": now.job_id, "requests": now.requests, "outcomes": outcomes, "is_over": now.is_over})


async def results(request: Request) -> Response:
    job, asked = await find(request), request.query_params
    try:
        page = job.results(after=asked.get("after"), limit=min(int(asked.get("limit", "100")), 1000))
        rows = [{"id": row.request_id, "status": row.status.value, "text": row.text} for row in await page]
    except (ConfigError, ValueError) as error:  # no cursor of this job, one from before a retry, or no limit
        is_outdated = getattr(error, "code", None) == "cursor.outdated"
        raise HTTPException(410 if is_outdated else 400, str(error)) from None
    except ProviderError as error:  # nothing could be sent
        raise HTTPException(502, str(error)) from None
    return JSONResponse({"rows": rows, "after": page.cursor, "is_over": page.is_over})


async def events(request: Request) -> Response:
    job = await find(request)
    stream = (event.encode() async for event in job.stream_events(last_event_id=request.headers.get("last-event-id")))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})


app = Starlette(
    lifespan=batches_lifespan(accounts=key_of),
    routes=[
        Route("/jobs", submit, methods=["POST"]),
        Route("/jobs/{job_id}", status),
        Route("/jobs/{job_id}/results", results),
        Route("/jobs/{job_id}/events", events),
        webhook_route("/webhooks/batches"),
    ],
)
