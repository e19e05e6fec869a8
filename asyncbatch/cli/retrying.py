"""`asyncbatch retry`: send requests of a job that is over again, those alone, and give all of the job's rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import anyio

from asyncbatch import BatchClient, Job, JobStatus
from asyncbatch.cli.claims import rounds_of
from asyncbatch.cli.collecting import Collecting, CollectOptions, collect
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.home import short
from asyncbatch.cli.leaving import is_sending
from asyncbatch.cli.money import cost_of, dollars, price_of
from asyncbatch.cli.reporting import count_of, counts_of, progress_of
from asyncbatch.cli.talk import Talk, program
from asyncbatch.enums import ResultStatus

_LOOK_S = 0.05
_FOR_GOOD = frozenset({ResultStatus.SUCCEEDED, ResultStatus.REJECTED})


class RetryOptions(CollectOptions, frozen=True, kw_only=True):
    """What was asked for on the command line; `detach` ends the command once everything is sent."""

    only: str = "errored,expired,missing"
    detach: bool = False
    yes: bool = False


def retry_job(options: RetryOptions, talk: Talk) -> int:
    """Send requests of a job again, and give its outcomes; gives the exit code."""
    if options.detach and (options.out is not None or options.ordered or options.timeout_s is not None):
        message = "--detach leaves once everything is sent, so -o, --ordered and --timeout mean nothing with it"
        raise CommandError(message, code="detach.waits", hint=f"leave it out, or {program()} watch the job later")
    return collect(_Retrying(options, _read_only(options.only), talk))


def _read_only(text: str) -> frozenset[ResultStatus]:
    """Read the outcomes that are to be bettered."""
    can = [status.value for status in ResultStatus if status not in _FOR_GOOD]
    found = [word.strip().lower() for word in text.split(",")]
    for word in found:
        if word not in can:
            known = word in [status.value for status in _FOR_GOOD]
            what = f"a request that is {word} is not sent again" if known else f"{word!r} is no outcome"
            raise CommandError(f"--only: {what}", code="retry.only", hint=f"there are {', '.join(can)}")
    return frozenset(map(ResultStatus, found))


class _Retrying(Collecting):
    def __init__(self, options: RetryOptions, only: frozenset[ResultStatus], talk: Talk) -> None:
        super().__init__(options, talk)
        self._asked = options
        self._only = only

    async def _take_up(self, client: BatchClient, known: JobStatus) -> Job | None:
        if not known.is_over:
            return await self._go_on(client, known)
        found = {status: known.outcomes[status] for status in sorted(self._only) if status in known.outcomes}
        job = await client.job(known.job_id)
        if not found:
            await self._say_nothing_to_send(job)
            return None
        self._confirm(job.status(), found)
        before = rounds_of(known)
        await self._begin(known.job_id, before + 1)
        sent = await job.retry(only=self._only)
        self._followed.job = job
        self._announce(job.status(), sent)
        return await self._unless_detached(job)

    async def _go_on(self, client: BatchClient, known: JobStatus) -> Job | None:
        """Go on where the same command was stopped: some of the job was sent again, and is not over."""
        if not any(batch.round for batch in known.batches):
            message = f"job {short(known.job_id)} is not over yet: {progress_of(known)}"
            hint = f"retry it then; meanwhile: {program()} watch {short(known.job_id)}{self._job.tail}"
            raise CommandError(message, code="job.running", hint=hint, exit_code=Exit.STILL_RUNNING)
        job = await super()._take_up(client, known)
        return await self._unless_detached(job) if job is not None else None

    async def _unless_detached(self, job: Job) -> Job | None:
        if not self._asked.detach:
            return job
        await self._leave_sent(job)
        return None

    async def _say_nothing_to_send(self, job: Job) -> None:
        """Say so; an output that was asked for is written all the same."""
        status, only = job.status(), " or ".join(sorted(self._only))
        self._talk.say(f"nothing of job {short(job.id)} is {only}, so nothing is sent again")
        path = None
        if self._asked.out is not None:
            await self._begin(job.id, rounds_of(status))
            await self._followed.collect(job, self._talk)
            path = self._asked.out
            self._talk.say(f"{count_of(status.requests, 'row')} in {path}")
        self._talk.document("job_retried", **_fields(status, 0), out=path)

    def _confirm(self, status: JobStatus, found: Mapping[ResultStatus, int]) -> None:
        """Ask for a yes, where none was given."""
        name, talk = f"job {short(status.job_id)}", self._talk
        doubtful = found.get(ResultStatus.INDETERMINATE, 0)
        warning = f"whether {count_of(doubtful, 'request')} arrived is not known: what did is paid for twice"
        if self._asked.yes:
            if doubtful:
                talk.say(f"note: {warning}")
            return
        if not talk.can_ask:
            raise CommandError(f"retrying {name} needs a yes", code="retry.unconfirmed", hint="say --yes")
        count = sum(found.values())
        what = f"{count:,} of {count_of(status.requests, 'request')} of {name} ({counts_of(found)})"
        doubt = f" Beware: {warning}." if doubtful else ""
        question = f"{what}, {self._price(status, count)}.{doubt} Send {'it' if count == 1 else 'them'} again?"
        if not talk.ask(question):  # it holds the loop, on which nothing has begun yet
            raise CommandError(f"no yes, so {name} stays as it is", code="retry.declined")

    def _price(self, status: JobStatus, count: int) -> str:
        """Say what requests cost if they cost what those did that were answered."""
        cost = cost_of(price_of(self._job.catalog, status.provider, status.model), status.usage)
        if not (cost and status.succeeded):
            return "price not known"
        return f"≈ {dollars(cost / status.succeeded * count)} if they cost what the answered ones did"

    def _announce(self, status: JobStatus, sent: int) -> None:
        name, held = f"job {short(status.job_id)}", count_of(status.requests - sent, "outcome")
        self._talk.say(f"{name}: {count_of(sent, 'request')} sent again, {held} held and not asked for again")
        self._talk.event("job_retried", **_fields(status, sent))

    async def _leave_sent(self, job: Job) -> None:
        """Wait until everything has its batch, and say how to come back."""
        while is_sending(job.status()):  # noqa: ASYNC110 a job tells of its end, not of its steps
            await anyio.sleep(_LOOK_S)
        status = job.status()
        for error in _refusals(status):
            raise CommandError(error, code="retry.refused", exit_code=Exit.FAILED)
        self._talk.say("sent. Collect the outcomes with:")
        for command in self._return.commands(job.id, "results.jsonl"):
            self._talk.say(f"  {command}")
        sent = sum(batch.sent for batch in status.batches if batch.round and batch.state != "settled")
        self._talk.document("job_retried", **_fields(status, sent))


def _fields(status: JobStatus, sent: int) -> dict[str, Any]:
    what = {"job": status.job_id, "provider": status.provider, "model": status.model, "requests": status.requests}
    left = [batch.provider_batch_id for batch in status.batches if batch.state != "settled"]
    known = [batch_id for batch_id in left if batch_id is not None]
    return what | {"sent": sent} | ({"batches": known} if known or not left else {})


def _refusals(status: JobStatus) -> Iterator[str]:
    """Tell of rounds that got no batch."""
    return (batch.error for batch in status.batches if batch.round and batch.error and batch.provider_batch_id is None)
