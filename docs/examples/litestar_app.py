"""Batches in Litestar. `pip install 'asyncbatch[litestar]' uvicorn`, set OPENAI_API_KEY, and in this file's directory:

ASYNCBATCH_HOME=state uvicorn litestar_app:app --workers 4 --timeout-graceful-shutdown 5
"""

import math
import os
from typing import Annotated, Any

from litestar import Litestar, Request, Response, get, post
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.params import Parameter
from litestar.response import Stream
from msgspec import Struct

from asyncbatch import BatchClient, BudgetExceededError, ConfigError, InvalidRequestsError, Job, ProviderError
from asyncbatch.integrations.litestar import BatchesPlugin, webhook_route

DAY_S = 86_400


async def key_of(tenant: str) -> str | None:
    """Whose key pays: here that of ACME_OPENAI_KEY for acme. Yours come from where you keep secrets; None is nobody's."""
    return os.environ.get(f"{tenant.upper()}_OPENAI_KEY")


Tenant = Annotated[str | None, Parameter(header="X-Tenant")]  # yours comes from the caller's session or token


class Work(Struct):
    prompts: list[str | dict[str, Any]]  # texts, or whole request bodies
    key: str | None = None  # the same key with the same prompts is the same job, however often it is sent


async def find(job_id: str, batches: BatchClient, tenant: Tenant = None) -> Job:
    try:
        job = await batches.job(job_id)
    except ConfigError:
        raise HTTPException("no such job", status_code=404) from None
    if job.status().account != tenant:  # somebody else's
        raise HTTPException("no such job", status_code=404)
    return job


@post("/jobs", status_code=202)
async def submit(data: Work, batches: BatchClient, tenant: Tenant = None) -> Response[dict[str, Any]]:
    key = None if data.key is None else f"{tenant!r}/{data.key}"
    try:
        job = await batches.submit(data.prompts, model="openai/gpt-4.1-mini", key=key, account=tenant)
    except InvalidRequestsError as error:
        problems = [str(problem) for problem in error.problems] or [str(error)]
        return Response({"detail": problems}, status_code=422)
    except BudgetExceededError as error:  # this tenant has used up its day
        wait = {"Retry-After": str(math.ceil(error.retry_after_s or DAY_S))}
        raise HTTPException(str(error), status_code=429, headers=wait) from None
    except ConfigError as error:  # an unknown tenant, or a key that stands for other prompts
        raise HTTPException(str(error), status_code=409) from None
    return Response({"job": job.id})


@get("/jobs/{job_id:str}")
async def status(job: Job) -> dict[str, Any]:
    now = job.status()
    return {"job": job.id, "requests": now.requests, "outcomes": now.outcomes, "is_over": now.is_over}


@get("/jobs/{job_id:str}/results")
async def results(
    job: Job, after: str | None = None, limit: Annotated[int, Parameter(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    page = job.results(after=after, limit=limit)
    try:
        rows = [{"id": row.request_id, "status": row.status, "text": row.text} for row in await page]
    except ConfigError as error:  # no cursor of this job, or one from before a retry
        raise HTTPException(str(error), status_code=410 if error.code == "cursor.outdated" else 400) from None
    except ProviderError as error:  # nothing could be sent
        raise HTTPException(str(error), status_code=502) from None
    return {"rows": rows, "after": page.cursor, "is_over": page.is_over}


@get("/jobs/{job_id:str}/events")
async def events(job: Job, seen: Annotated[str | None, Parameter(header="Last-Event-ID")] = None) -> Stream:
    stream = (event.encode() async for event in job.stream_events(last_event_id=seen))
    return Stream(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})


def unreadable(_request: Request[Any, Any, Any], _error: Exception) -> Response[dict[str, str]]:
    """Answer a body that the decoder stumbles over in a way that Litestar takes for our fault."""
    return Response({"detail": "the body is no JSON"}, status_code=400)


app = Litestar(
    [submit, status, results, events, webhook_route("/webhooks/batches")],
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    dependencies={"job": Provide(find)},
    plugins=[BatchesPlugin(accounts=key_of)],
)
