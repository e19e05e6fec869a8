"""The end of a job in words: the result table."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from asyncbatch import JobStatus
from asyncbatch.catalog import Price
from asyncbatch.cli.endings import Exit
from asyncbatch.cli.following import Followed
from asyncbatch.cli.money import cost_of, dollars
from asyncbatch.cli.sinks import OutFile
from asyncbatch.cli.talk import Talk, printable
from asyncbatch.cli.writing import Tally
from asyncbatch.enums import ResultStatus

if TYPE_CHECKING:
    from rich.table import Table

_FAULTS = 5
_WAITING = "waiting for room"
_UNSENT = frozenset({"refused", "refused_for_now", "withdrawn"})


def count_of(number: int, what: str) -> str:
    """Write a number and its noun, the plural's too."""
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def counts_of(outcomes: Mapping[ResultStatus, int]) -> str:
    """Write how many requests ended how."""
    return ", ".join(f"{count:,} {outcome.value}" for outcome, count in sorted(outcomes.items()))


def bytes_of(size: int) -> str:
    """Write a size in the largest unit that leaves a number above 1."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} bytes"


def exit_code_of(tally: Tally) -> Exit:
    return Exit.OK if tally.outcomes[ResultStatus.SUCCEEDED] == tally.total else Exit.UNSUCCESSFUL


def report_end(status: JobStatus, followed: Followed, price: Price | None, talk: Talk) -> Exit:
    """Show how a job ended, and give the exit code for it."""
    tally, code = followed.tally, exit_code_of(followed.tally)
    seconds = followed.watch.seconds
    cost = cost_of(price, status.usage)
    if not talk.quiet:
        talk.show(_table(status, tally, seconds, cost))
    path = str(followed.sink.path) if isinstance(followed.sink, OutFile) else None
    if path:
        talk.say(f"{count_of(tally.total, 'row')} in {path}")
    fields = fields_of(status, tally) | {"cost_usd": cost, "seconds": round(seconds, 3), "out": path}
    talk.document("job_ended", **fields, exit_code=int(code))
    return code


def fields_of(status: JobStatus, tally: Tally) -> dict[str, Any]:
    return {
        "job": status.job_id,
        "provider": status.provider,
        "model": status.model,
        "requests": status.requests,
        "outcomes": tally.counts(),
        "usage": msgspec.to_builtins(status.usage),  # of every round: the rows alone know the last
        "retryable": tally.retryable.total(),
        "batches": [
            {
                "index": batch.index,
                "provider_batch_id": batch.provider_batch_id,
                "status": batch.status.value if batch.status else None,
                "requests": batch.requests,
                "round": batch.round,
                "earlier": list(batch.earlier),
            }
            for batch in status.batches
        ],
    }


def _table(status: JobStatus, tally: Tally, seconds: float, cost: float | None) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{status.provider}/{status.model}"), title_justify="left", show_edge=False)
    table.add_column("outcome")
    table.add_column("requests", justify="right")
    table.add_column("what it says", overflow="fold")
    for outcome in ResultStatus:
        if tally.outcomes[outcome]:
            style = "green" if outcome.is_success else "yellow"
            words = Text("\n".join(_faults(outcome, tally)))
            table.add_row(Text(outcome.value, style=style), f"{tally.outcomes[outcome]:,}", words)
    table.add_section()
    usage = status.usage
    spent = f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out" if usage.total_tokens else "no tokens"
    money = f" · {dollars(cost)}" if cost is not None else ""
    over = count_of(sum(len(batch.earlier) + 1 for batch in status.batches), "batch")
    table.add_row("all", f"{tally.total:,}", Text(f"{over} · {spent}{money} · {seconds:.1f} s"))
    return table


def _faults(outcome: ResultStatus, tally: Tally) -> Iterator[str]:
    found = [(count, code) for (status, code), count in tally.faults.items() if status is outcome]
    for count, code in sorted(found, reverse=True)[:_FAULTS]:
        message = printable(tally.samples[outcome, code]).replace("\n", " ")
        yield f"{count:,} {code}: {message[:160]}"
    if len(found) > _FAULTS:
        yield f"and {len(found) - _FAULTS} more codes"


def moment(seconds: float) -> str:
    """Write a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def age(seconds: float) -> str:
    """Write how long ago something was, in its largest unit."""
    for unit, step in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= step:
            return f"{int(seconds // step)} {unit}"
    return f"{max(0, int(seconds))} s"


def word_of_job(job: JobStatus) -> str:
    """Say in a word where a job stands, as the journal knows it."""
    states = {batch.state for batch in job.batches}
    if job.is_over:
        return "succeeded" if job.succeeded == job.requests else "not sent" if is_unsent(job) else "ended"
    if job.cancel_asked:
        return "cancelling"
    if states & {"creating", "create_unknown"}:
        return "checking" if "create_unknown" in states else "sending"
    is_begun = states & {"submitted", "ended"} or any(batch.round for batch in job.batches)
    if not is_begun and any((batch.note or "").startswith(_WAITING) for batch in job.batches):
        return "waiting"
    return "running" if is_begun else "not sent yet"


def is_unsent(job: JobStatus) -> bool:
    """Whether it is certain that no batch of a job that is over was ever created."""
    return bool(job.batches) and all(
        batch.ending in _UNSENT and batch.provider_batch_id is None and not batch.earlier for batch in job.batches
    )


def counts_so_far(job: JobStatus) -> str:
    """Say how far a job is; the notes of its batches stand on their own lines."""
    over = sum(batch.state == "settled" for batch in job.batches)
    return (
        f"{over:,} of {count_of(len(job.batches), 'batch')} done, {job.done:,} of {count_of(job.requests, 'request')}"
    )


def progress_of(job: JobStatus) -> str:
    """Say how far a job is and what is going on, where no lines of its batches follow."""
    notes = [batch.note for batch in job.batches if batch.note]
    return f"{counts_so_far(job)} ({notes[0]})" if notes else counts_so_far(job)


def tell_known(status: JobStatus, talk: Talk, *, is_followed: bool) -> None:
    """Say that a job is gone on with that was begun before."""
    over = sum(batch.state == "settled" for batch in status.batches)
    batches, name = len(status.batches), status.job_id[:8]
    talk.event("job_resumed", job=status.job_id, batches=batches, settled=over, followed=is_followed)
    if status.is_over:
        told = f"answered from the journal of job {name} of {moment(status.created_at)}"
    else:
        told = f"going on with job {name}, {over:,} of {count_of(batches, 'batch')} done"
    talk.say(told + ("; another process has it, and is watched" if is_followed else ""))
