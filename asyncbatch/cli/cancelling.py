"""`asyncbatch cancel JOB`: ask for the end of a job, whoever has it, and say what has become of that."""

from collections import Counter

import anyio

from asyncbatch import BatchClient, Job, JobStatus
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.home import JobOptions, short
from asyncbatch.cli.jobs import job_fields
from asyncbatch.cli.leaving import SENDING, is_sending
from asyncbatch.cli.reporting import count_of, counts_of, progress_of
from asyncbatch.cli.talk import Talk, program
from asyncbatch.exceptions import ProviderError

_LOOK_S = 0.05
_HEARD_S = 5.0
"""A process that has a job hears within about a second of what others ask, and so do we of what it did."""
_ENDING = frozenset({"submitted", "ended"})


def cancel_job(name: str, home: str | None, config: str | None, talk: Talk, *, yes: bool) -> int:
    """Ask the provider to end the batches of a job, and send no more of it."""
    options = JobOptions(name=name, home=home, config=config)
    return anyio.run(_cancel, options, talk, yes)


async def _cancel(options: JobOptions, talk: Talk, yes: bool) -> int:
    async with options.open() as (client, known):
        name = f"job {short(known.job_id)}"
        if known.is_over:
            raise CommandError(f"{name} is over", code="job.over", hint="there is nothing to cancel")
        if not yes and not talk.can_ask:
            raise CommandError(f"cancelling {name} needs a yes", code="cancel.unconfirmed", hint="say --yes")
        question = f"Cancel {name}, {progress_of(known)}? Requests that were not reached are not answered."
        if not yes and not talk.ask(question):  # it holds the loop, on which nothing has begun yet
            raise CommandError(f"no yes, so {name} goes on", code="cancel.declined")
        job = await client.job(known.job_id)
        try:
            await _end(job, client)
        except ProviderError:
            again = f"{program()} watch {short(job.id)}{options.tail}"
            talk.say(f"the end of {name} is written down, and asked for again by whoever goes on with it: {again}")
            raise
        status, is_followed = job.status(), client.follows(job.id)
    return _report(status, options, talk, is_followed=is_followed)


async def _end(job: Job, client: BatchClient) -> None:
    """Ask for the end, and stay until it was asked of the provider and nothing is on its way out any more."""
    before, is_followed = _created(job), client.follows(job.id)
    await job.cancel()
    with anyio.move_on_after(_HEARD_S):
        while client.follows(job.id) and not _is_heard(job.status()):  # noqa: ASYNC110 a job tells of its end, not of its steps
            await anyio.sleep(_LOOK_S)
    if client.follows(job.id):
        return
    while is_sending(job.status()):  # noqa: ASYNC110 as above
        await anyio.sleep(_LOOK_S)
    if is_followed or _created(job) != before:  # its process ended, and it is ours now; or one was just being created
        await job.cancel()
    with anyio.move_on_after(_HEARD_S):
        while _is_withdrawn(job.status()):  # noqa: ASYNC110 as above
            await anyio.sleep(_LOOK_S)


def _is_withdrawn(status: JobStatus) -> bool:
    """Whether requests that are sent no more are about to get their outcomes; nobody is asked for those."""
    return any(batch.state == "ended" and batch.provider_batch_id is None for batch in status.batches)


def _is_heard(status: JobStatus) -> bool:
    """Whether whoever has the job has put down that it ends."""
    return status.cancel_heard or status.is_over


def _created(job: Job) -> frozenset[str | None]:
    return frozenset(batch.provider_batch_id for batch in job.status().batches if batch.state == "submitted")


def _report(status: JobStatus, options: JobOptions, talk: Talk, *, is_followed: bool) -> int:
    states, is_heard = Counter(batch.state for batch in status.batches), _is_heard(status)
    unknown = states["create_unknown"]
    talk.say(f"job {short(status.job_id)}{_told(status, states, is_followed=is_followed)}")
    if unknown:
        talk.say(f"whether {count_of(unknown, 'batch')} came to be is not known yet; what is found is ended as well")
    talk.say(f"what was answered is kept: {program()} watch {short(status.job_id)}{options.tail}")
    talk.document("job_cancelled", **job_fields(status), followed=is_followed, heard=is_heard)
    return Exit.OK if is_heard and not unknown else Exit.STILL_RUNNING


def _told(status: JobStatus, states: Counter[str], *, is_followed: bool) -> str:
    """Say what became of it: done by us, done by whoever has the job, or written down for whoever goes on with it."""
    if status.is_over:
        return f" is over: {counts_of(status.outcomes)}"
    if not _is_heard(status):
        return (
            ": its end is written down. The process that has the job does not answer yet: it ends the job as soon as it does, "
            "and otherwise whoever goes on with it"
        )
    asked = sum(batch.provider_batch_id is not None and batch.state in _ENDING for batch in status.batches)
    unsent = sum(states[state] for state in SENDING)
    by = " by the process that has the job" if is_followed else ""
    what = [f"the end of {count_of(asked, 'batch')} {'is' if is_followed else 'was'} asked for{by}"] if asked else []
    what += [f"{count_of(unsent, 'batch')} will not be sent"] if unsent else []
    return f": {', '.join(what) or 'nothing more of it is sent'}"
