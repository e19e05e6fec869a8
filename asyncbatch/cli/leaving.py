"""A command that ends before its job does: what goes on without it, and the commands that come back."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

from asyncbatch import BatchView, JobStatus
from asyncbatch.cli.following import Followed
from asyncbatch.cli.home import Home, short
from asyncbatch.cli.reporting import count_of, fields_of, is_unsent
from asyncbatch.cli.sinks import OutFile
from asyncbatch.cli.talk import Talk, program
from asyncbatch.enums import ResultStatus

UNSENT = frozenset({"planned", "uploading"})
CREATING = frozenset({"uploaded", "creating", "create_unknown"})
"""An uploaded input is created from at once: whoever leaves in between cannot say whether the create was sent."""


SENDING = UNSENT | {"uploaded", "creating"}
RETRIED = (ResultStatus.ERRORED, ResultStatus.EXPIRED, ResultStatus.MISSING)
"""What `retry` sends again without `--only`."""


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """What a command that comes back has to be told.

    Attributes:
        home: Where the job is remembered.
        config: What `--config` named.
        requests: The file that was sent.
    """

    home: Home
    config: str | None = None
    requests: str | None = None

    @property
    def tail(self) -> str:
        return self.home.words + (f" --config {shlex.quote(self.config)}" if self.config else "")

    def commands(self, job_id: str, out: str | None) -> list[str]:
        """Give the commands that go on with a job."""
        where = f" -o {shlex.quote(out)}" if out is not None else ""
        return [f"{program()} watch {short(job_id)}{where}{self.tail}"]


def is_sending(status: JobStatus) -> bool:
    """Whether a request is on its way out, or waits for its turn."""
    return any(batch.state in SENDING and batch.error is None for batch in status.batches)


def say_retry(followed: Followed, talk: Talk, back: Return) -> None:
    """Say how what may succeed the next time is sent again, once a job is over."""
    job, tally = followed.job, followed.tally
    worth = +tally.retryable
    if job is None or not worth or not back.home.is_kept:
        return
    total = sum(tally.outcomes[status] for status in worth)
    names = sorted(status.value for status in worth)
    usual = {status for status in RETRIED if tally.outcomes[status]}
    only = f" --only {','.join(names)}" if usual != worth.keys() else ""
    what = f"{worth.total():,} may succeed the next time"
    if total != worth.total():
        what += f"; this sends all {total:,} again that are {' or '.join(names)}"
    talk.say(f"{what}: {program()} retry {short(job.id)}{only}{back.tail}")


def report_left(status: JobStatus, followed: Followed, talk: Talk, back: Return, *, is_failing: bool = False) -> None:
    """Say what goes on without us, and how to come back to it; an error that is about to be told is the one document then."""
    kept = followed.sink.leave()
    commands = _kept(status, followed, talk, back) if back.home.is_kept else _forgotten(status, followed, talk, back)
    if kept:
        talk.say(f"{count_of(followed.tally.total, 'row')} of batches that ended before are in {kept}")
    if not is_failing:
        talk.document("detached", **fields_of(status, followed.tally), partial=kept, commands=commands)


def _kept(status: JobStatus, followed: Followed, talk: Talk, back: Return) -> list[str]:
    """Tell of a job that is remembered: whoever comes back has all of it."""
    if is_unsent(status):
        talk.say("nothing of it was sent; the same command begins anew")
        return []
    unsent = sum(batch.sent for batch in status.batches if batch.state in UNSENT)
    out = str(followed.sink.path) if isinstance(followed.sink, OutFile) else None
    commands = back.commands(status.job_id, out)
    running = sum(batch.provider_batch_id is not None and batch.state != "settled" for batch in status.batches)
    left = f"with {count_of(running, 'batch')} left running"
    gone = "is over" if status.is_over else f"is being cancelled, {left}" if status.cancel_asked else f"goes on, {left}"
    talk.say(f"job {short(status.job_id)} {gone}. Come back with the same command, or with:")
    for command in commands:
        talk.say(f"  {command}")
    if not (status.is_over or status.cancel_asked):
        talk.say(f"or end it: {program()} cancel {short(status.job_id)}{back.tail}")
    if unsent and not status.cancel_asked:
        talk.say(f"{count_of(unsent, 'request')} had no batch yet, and will be sent by whoever goes on.")
    for batch in status.batches:
        if batch.state in CREATING:
            what = f"batch {batch.index + 1} with its {count_of(batch.sent, 'request')}"
            talk.say(f"Whether {what} was created is not known: whoever goes on looks for it, and pays nothing twice.")
    return commands


def _forgotten(status: JobStatus, followed: Followed, talk: Talk, back: Return) -> list[str]:
    """Tell of a job that nobody remembers: its batches can be had one by one."""
    created = [batch for batch in status.batches if batch.provider_batch_id is not None]
    running = [batch for batch in created if batch.state != "settled"]
    if _rows_of_settled(status) <= followed.tally.total:
        created = running
    commands = [command for batch in created for command in _commands(status, batch, followed, back)]
    if created:
        left = f"{count_of(len(running), 'batch')} left running"
        lost = f"{count_of(len(created), 'batch')} left, whose rows are not all written"
        talk.say(f"{left if created == running else lost}. Come back with:")
        for command in commands:
            talk.say(f"  {command}")
        if running:
            talk.say(f"or end them, one by one: {program()} cancel {status.provider}/BATCH_ID{_config(back)}")
    _say_unsent(status, talk)
    return commands


def _rows_of_settled(status: JobStatus) -> int:
    """Count the rows that could have been written: whoever is stopped while they are written has not got them all."""
    rejected = status.outcomes.get(ResultStatus.REJECTED, 0)
    return rejected + sum(batch.requests for batch in status.batches if batch.state == "settled")


def _config(back: Return) -> str:
    return f" --config {shlex.quote(back.config)}" if back.config else ""


def _commands(status: JobStatus, batch: BatchView, followed: Followed, back: Return) -> Iterator[str]:
    name = shlex.quote(f"{status.provider}/{batch.provider_batch_id}")
    tail = _config(back)
    yield f"{program()} status {name}{tail}"
    ids = f" --requests {shlex.quote(back.requests)}" if back.requests not in ("-", None) else ""
    yield f"{program()} results {name} --wait{ids}{_out_of(batch, followed)}{tail}"


def _out_of(batch: BatchView, followed: Followed) -> str:
    if not isinstance(followed.sink, OutFile):
        return ""
    path: Path = followed.sink.path
    return f" -o {shlex.quote(str(path.with_name(f'{path.stem}-{batch.index + 1}{path.suffix}')))}"


def _say_unsent(status: JobStatus, talk: Talk) -> None:
    unsent = sum(batch.requests for batch in status.batches if batch.state in UNSENT)
    unknown = [batch for batch in status.batches if batch.state in CREATING]
    if unsent:
        talk.say(f"{count_of(unsent, 'request')} had no batch yet and will not be sent.")
    for batch in unknown:
        talk.say(
            f"Whether batch {batch.index + 1} with its {count_of(batch.requests, 'request')} was created is not known: "
            f"look at {status.provider}'s own list of batches before you send them again."
        )
