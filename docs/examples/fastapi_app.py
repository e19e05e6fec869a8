"""Batches in FastAPI. `pip install 'asyncbatch[fastapi]' uvicorn`, set OPENAI_API_KEY, and in this file's directory:

ASYNCBATCH_HOME=state uvicorn fastapi_app:app --workers 4 --timeout-graceful-shutdown 5
"""

import math
import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from asyncbatch import BatchClient, BudgetExceededError, ConfigError, InvalidRequestsError, Job, ProviderError
from asyncbatch.integrations.starlette import batches_lifespan, get_client, webhook_route

DAY_S = 86_400


async def key_of(tenant: str) -> str | None:
    """Whose key pays: here that of ACME_OPENAI_KEY for acme. Yours come from where you keep secrets; None is nobody's."""
    return os.environ.get(f"{tenant.upper()}_OPENAI_KEY")


app = FastAPI(lifespan=batches_lifespan(accounts=key_of))
app.router.routes.append(webhook_route("/webhooks/batches"))

Batches = Annotated[BatchClient, Depends(get_client)]
Tenant = Annotated[str | None, Header(alias="X-Tenant")]  # yours comes from the caller's session or token


class Work(BaseModel):
    prompts: list[str | dict[str, Any]]  # texts, or whole request bodies
    key: str | None = None  # the same key with the same prompts is the same job, however often it is sent


async def find(job_id: str, batches: Batches, tenant: Tenant = None) -> Job:
    try:
        job = await batches.job(job_id)
    except ConfigError:
        raise HTTPException(404, "no such job") from None
    if job.status().account != tenant:  # somebody else's
        raise HTTPException(404, "no such job")
    return job


Found = Annotated[Job, Depends(find)]


@app.post("/jobs", status_code=202)
async def submit(work: Work, batches: Batches, tenant: Tenant = None) -> dict[str, str]:
    key = None if work.key is None else f"{tenant!r}/{work.key}"
    try:
        job = await batches.submit(work.prompts, model="openai/gpt-4.1-mini", key=key, account=tenant)
    except InvalidRequestsError as error:
        raise HTTPException(422, [str(problem) for problem in error.problems] or [str(error)]) from None
    except BudgetExceededError as error:  # this tenant has used up its day
        raise HTTPException(429, str(error), {"Retry-After": str(math.ceil(error.retry_after_s or DAY_S))}) from None
    except ConfigError as error:  # an unknown tenant, or a key that stands for other prompts
        raise HTTPException(409, str(error)) from None
    return {"job": job.id}


@app.get("/jobs/{job_id}")
async def status(job: Found) -> dict[str, Any]:
    now = job.status()
    return {"job": job.id, "requests": now.requests, "outcomes": now.outcomes, "is_over": now.is_over}


@app.get("/jobs/{job_id}/results")
async def results(
    job: Found, after: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    page = job.results(after=after, limit=limit)
    try:
        rows = [{"id": row.request_id, "status": row.status, "text": row.text} for row in await page]
    except ConfigError as error:  # no cursor of this job, or one from before a retry
        raise HTTPException(410 if error.code == "cursor.outdated" else 400, str(error)) from None
    except ProviderError as error:  # nothing could be sent
        raise HTTPException(502, str(error)) from None
    return {"rows": rows, "after": page.cursor, "is_over": page.is_over}


@app.get("/jobs/{job_id}/events")
async def events(job: Found, last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
    stream = (event.encode() async for event in job.stream_events(last_event_id=last_event_id))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})
