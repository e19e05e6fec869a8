"""`asyncbatch ls`, `show` and `status JOB`: what a journal remembers of its jobs."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import msgspec
from rich.table import Table
from rich.text import Text

from asyncbatch import BatchClient, JobStatus, ProviderStatus, batch_provider_registry
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import Exit
from asyncbatch.cli.home import Home, JobOptions, short
from asyncbatch.cli.money import cost_of, dollars, price_of
from asyncbatch.cli.reporting import age, count_of, counts_of, counts_so_far, moment, word_of_job
from asyncbatch.cli.talk import Talk, printable
from asyncbatch.cli.watching import answered, sent_of
from asyncbatch.exceptions import ConfigError

_SETTLED = "settled"


def list_jobs(home: str | None, config: str | None, talk: Talk) -> int:
    """Show every job of a home, the latest last."""
    place = Home(home)
    jobs = anyio.run(_listed, place, config) if place.is_begun else []
    if talk.form != "text":
        talk.document("jobs", home=place.where, jobs=[job_fields(job) for job in jobs])
        return Exit.OK
    if not jobs:
        talk.say(f"there are no jobs in {place.where}")
        return Exit.OK
    table = Table(box=None, show_edge=False, pad_edge=False)
    again = any(_rounds(job) > 1 for job in jobs)
    for column in ("job", "model", "state", "done", "age", *(["rounds"] if again else [])):
        table.add_column(column, no_wrap=True)
    now = time.time()
    for job in jobs:
        done = f"{job.done:,}/{job.requests:,}"
        cells = (short(job.job_id), _model(job), word_of_job(job), done, age(now - job.created_at), str(_rounds(job)))
        table.add_row(*(Text(printable(cell)) for cell in cells[: len(table.columns)]))
    talk.table(table)
    return Exit.OK


def _rounds(job: JobStatus) -> int:
    """Say how often the request was sent that was sent the most."""
    return max((batch.round for batch in job.batches), default=0) + 1


async def _listed(home: Home, config: str | None) -> list[JobStatus]:
    async with home.open(load_config(config)) as client:
        return await client.records()


def _model(job: JobStatus) -> str:
    return f"{job.provider}/{job.model}"


def show_job(name: str, home: str | None, config: str | None, talk: Talk) -> int:
    """Show everything about one job, without asking anybody."""
    options = JobOptions(name=name, home=home, config=config)

    async def shown() -> JobStatus:
        async with options.open() as (client, known):
            return await _counted(client, known)

    job = anyio.run(shown)
    cost = cost_of(price_of(options.catalog, job.provider, job.model), job.usage) if job.is_over else None
    if talk.form != "text":
        talk.document("job", **job_fields(job), **_usage(job), cost_usd=cost)
        return Exit.OK
    _tell(job, talk, cost, {})
    return Exit.OK


async def _counted(client: BatchClient, known: JobStatus) -> JobStatus:
    """Give a job that is over with its tokens; one that is not would be taken up by that."""
    return (await client.job(known.job_id)).status() if known.is_over else known


def _usage(job: JobStatus) -> dict[str, Any]:
    """Give the tokens of every round of a job that is over, and null before that: they were not counted."""
    return {"usage": msgspec.to_builtins(job.usage) if job.is_over else None}


def show_job_status(name: str, home: str | None, config: str | None, talk: Talk) -> int:
    """Ask once where the batches of a job stand; the job itself is not taken up."""
    options = JobOptions(name=name, home=home, config=config)

    async def asked() -> tuple[JobStatus, dict[int, ProviderStatus]]:
        async with options.open() as (client, known):
            job = await _counted(client, known)
            return job, await _ask(job, options)

    job, readings = anyio.run(asked)
    if talk.form != "text":
        found = {str(index): msgspec.to_builtins(reading, str_keys=True) for index, reading in readings.items()}
        talk.document("job", **job_fields(job), **_usage(job), readings=found)
        return Exit.OK
    _tell(job, talk, None, readings)
    return Exit.OK


async def _ask(job: JobStatus, options: JobOptions) -> dict[int, ProviderStatus]:
    running = [batch for batch in job.batches if batch.provider_batch_id is not None and batch.state != _SETTLED]
    if not running:
        return {}
    async with batch_provider_registry.open(catalog=options.catalog) as scope:
        provider = scope.create(job.provider)
        if provider.has_facts and provider.account.fingerprint != job.fingerprint:
            message = f"job {job.job_id} was sent with another key of {job.provider}, or to another address"
            raise ConfigError(message, code="auth.scope_mismatch")
        return {batch.index: await provider.poll_status(batch.provider_batch_id or "") for batch in running}


def _tell(job: JobStatus, talk: Talk, cost: float | None, readings: Mapping[int, ProviderStatus]) -> None:
    usage = job.usage
    lines = {
        "job": job.job_id,
        "model": _model(job),
        "mode": f"{job.mode.value} at {job.endpoint}" if job.endpoint else job.mode.value,
        "account": job.account,
        "key": job.key,
        "accepted": moment(job.created_at),
        "policy": ", ".join(f"{name} {value}" for name, value in job.policy.items()) or None,
        "state": f"{word_of_job(job)}: {counts_so_far(job)}",
        "outcomes": counts_of(job.outcomes) or None,
        "left out": ", ".join(f"{field} in {count_of(rows, 'request')}" for field, rows in job.dropped.items()) or None,
        "tokens": f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out" if usage.total_tokens else None,
        "cost": dollars(cost) if cost else None,
    }
    for label, value in lines.items():
        if value is not None:
            talk.tell(f"{label:<14}{value}")
    for batch in job.batches:
        talk.tell("  ".join(_words(job, batch.index, readings.get(batch.index))))


def _words(job: JobStatus, index: int, reading: ProviderStatus | None) -> Iterator[str]:
    batch = job.batches[index]
    yield f"{f'batch {index + 1}':<12}"
    yield f"{job.provider}/{batch.provider_batch_id}" if batch.provider_batch_id else "no batch"
    if batch.round:
        yield f"round {batch.round + 1}: {sent_of(batch)} sent again"
    else:
        yield count_of(batch.requests, "request")
    if reading is not None:
        yield f"{reading.status.value}, {answered(reading.status, reading.progress):,}/{batch.sent:,}"
    else:
        yield f"{batch.state.replace('_', ' ')}{f' ({batch.status.value})' if batch.status else ''}"
    if batch.error or batch.note:
        yield str(batch.error or batch.note)
    if batch.tag and batch.state != _SETTLED:
        yield f"tag {batch.tag}"
    if batch.earlier:
        yield f"before that {', '.join(batch.earlier)}"


def job_fields(job: JobStatus) -> dict[str, Any]:
    """Give a job as programs get it; its tokens are no part of it, since a list does not count them."""
    return {
        "job": job.job_id,
        "provider": job.provider,
        "model": job.model,
        "mode": job.mode.value,
        "endpoint": job.endpoint,
        "account": job.account,
        "key": job.key,
        "created_at": job.created_at,
        "state": word_of_job(job),
        "is_over": job.is_over,
        "cancel_asked": job.cancel_asked,
        "policy": dict(job.policy),
        "requests": job.requests,
        "done": job.done,
        "outcomes": {outcome.value: count for outcome, count in sorted(job.outcomes.items())},
        "dropped": dict(job.dropped),
        "batches": [
            {
                "index": batch.index,
                "requests": batch.requests,
                "state": batch.state,
                "provider_batch_id": batch.provider_batch_id,
                "status": batch.status.value if batch.status else None,
                "note": batch.note,
                "error": batch.error,
                "tag": batch.tag,
                "round": batch.round,
                "sent": batch.sent,
                "earlier": list(batch.earlier),
            }
            for batch in job.batches
        ],
    }
