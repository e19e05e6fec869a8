"""Batches in Quart. `pip install 'asyncbatch[quart]' hypercorn`, set OPENAI_API_KEY, and in this file's directory:

ASYNCBATCH_HOME=state hypercorn quart_app:app --workers 4
"""

import math
import os
from typing import Any

import msgspec
from quart import Quart, Response, abort, request

from asyncbatch import BudgetExceededError, ConfigError, InvalidRequestsError, Job, ProviderError
from asyncbatch.integrations.quart import batches_while_serving, current_batches, webhook_route

DAY_S = 86_400


class Work(msgspec.Struct):
    prompts: list[str | dict[str, Any]]  # texts, or whole request bodies
    key: str | None = None  # the same key with the same prompts is the same job, however often it is sent


async def key_of(tenant: str) -> str | None:
    """Whose key pays: here that of ACME_OPENAI_KEY for acme. Yours come from where you keep secrets; None is nobody's."""
    return os.environ.get(f"{tenant.upper()}_OPENAI_KEY")


app = Quart(__name__)
app.while_serving(batches_while_serving(accounts=key_of))
app.register_blueprint(webhook_route("/webhooks/batches"))


def tenant_now() -> str | None:
    """Who asks; yours comes from the caller's session or token."""
    return request.headers.get("x-tenant")


async def find(job_id: str) -> Job:
    try:
        job = await current_batches().job(job_id)
    except ConfigError:
        abort(404)
    if job.status().account != tenant_now():  # somebody else's
        abort(404)
    return job


@app.post("/jobs")
async def submit() -> tuple[dict[str, Any], int]:
    try:
        work = msgspec.json.decode(await request.get_data(), type=Work)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {"detail": str(error)}, 400
    tenant = tenant_now()
    key = None if work.key is None else f"{tenant!r}/{work.key}"
    try:
        job = await current_batches().submit(work.prompts, model="openai/gpt-4.1-mini", key=key, account=tenant)
    except InvalidRequestsError as error:
        return {"detail": [str(problem) for problem in error.problems] or [str(error)]}, 422
    except BudgetExceededError as error:  # this tenant has used up its day
        return {"detail": str(error)}, 429, {"Retry-After": str(math.ceil(error.retry_after_s or DAY_S))}
    except ConfigError as error:  # an unknown tenant, or a key that stands for other prompts
        return {"detail": str(error)}, 409
    return {"job": job.id}, 202


@app.get("/jobs/<job_id>")
async def status(job_id: str) -> dict[str, Any]:
    now = (await find(job_id)).status()
    outcomes = {outcome.value: count for outcome, count in now.outcomes.items()}
    return {"job": job_id, "requests": now.requests, "outcomes": outcomes, "is_over": now.is_over}


@app.get("/jobs/<job_id>/results")
async def results(job_id: str) -> tuple[dict[str, Any], int]:
    job, asked = await find(job_id), request.args
    try:
        page = job.results(after=asked.get("after"), limit=min(int(asked.get("limit", "100")), 1000))
        rows = [{"id": row.request_id, "status": row.status.value, "text": row.text} for row in await page]
    except (ConfigError, ValueError) as error:  # no cursor of this job, one from before a retry, or no limit
        return {"detail": str(error)}, 410 if getattr(error, "code", None) == "cursor.outdated" else 400
    except ProviderError as error:  # nothing could be sent
        return {"detail": str(error)}, 502
    return {"rows": rows, "after": page.cursor, "is_over": page.is_over}, 200


@app.get("/jobs/<job_id>/events")
async def events(job_id: str) -> Response:
    job = await find(job_id)
    stream = (event.encode() async for event in job.stream_events(last_event_id=request.headers.get("last-event-id")))
    response = Response(stream, content_type="text/event-stream", headers={"cache-control": "no-store"})
    response.timeout = None  # Quart ends others after a minute
    return response
