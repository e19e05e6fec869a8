"""The end of a job in words: the result table, and the commands that go on with batches that were left running."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncbatch import BatchView, JobStatus
from asyncbatch.catalog import Price
from asyncbatch.cli.endings import Exit
from asyncbatch.cli.following import Followed
from asyncbatch.cli.money import cost_of, dollars
from asyncbatch.cli.talk import Talk, printable, program
from asyncbatch.cli.writing import OutFile, Tally
from asyncbatch.enums import ResultStatus

if TYPE_CHECKING:
    from rich.table import Table

_FAULTS = 5

UNSENT = frozenset({"planned", "uploading"})
CREATING = frozenset({"uploaded", "creating", "create_unknown"})
"""An uploaded input is created from at once: whoever leaves in between cannot say whether the create was sent."""


def count_of(number: int, what: str) -> str:
    """Write a number and its noun, the plural's too."""
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


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
    cost = cost_of(price, tally.usage)
    if not talk.quiet:
        talk.show(_table(status, tally, seconds, cost))
    path = str(followed.sink.path) if isinstance(followed.sink, OutFile) else None
    if path:
        talk.say(f"{count_of(tally.total, 'row')} in {path}")
    fields = _fields(status, tally) | {"cost_usd": cost, "seconds": round(seconds, 3), "out": path}
    talk.document("job_ended", **fields, exit_code=int(code))
    return code


def _fields(status: JobStatus, tally: Tally) -> dict[str, Any]:
    return {
        "job": status.job_id,
        "provider": status.provider,
        "model": status.model,
        "requests": status.requests,
        **tally.as_dict(),
        "retryable": tally.retryable,
        "batches": [
            {
                "index": batch.index,
                "provider_batch_id": batch.provider_batch_id,
                "status": batch.status.value if batch.status else None,
                "requests": batch.requests,
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
    usage = tally.usage
    spent = f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out" if usage.total_tokens else "no tokens"
    money = f" · {dollars(cost)}" if cost is not None else ""
    over = count_of(len(status.batches), "batch")
    table.add_row("all", f"{tally.total:,}", Text(f"{over} · {spent}{money} · {seconds:.1f} s"))
    return table


def _faults(outcome: ResultStatus, tally: Tally) -> Iterator[str]:
    found = [(count, code) for (status, code), count in tally.faults.items() if status is outcome]
    for count, code in sorted(found, reverse=True)[:_FAULTS]:
        message = printable(tally.samples[outcome, code]).replace("\n", " ")
        yield f"{count:,} {code}: {message[:160]}"
    if len(found) > _FAULTS:
        yield f"and {len(found) - _FAULTS} more codes"


def report_detached(status: JobStatus, followed: Followed, talk: Talk, *, requests: str, config: str | None) -> None:
    """Say what goes on without us, and how to come back to it."""
    kept = followed.sink.leave()
    created = [batch for batch in status.batches if batch.provider_batch_id is not None]
    running = [batch for batch in created if batch.state != "settled"]
    if _rows_of_settled(status) <= followed.tally.total:
        created = running
    commands = [
        command for batch in created for command in _commands(status, batch, followed, requests=requests, config=config)
    ]
    if created:
        left = f"{count_of(len(running), 'batch')} left running"
        lost = f"{count_of(len(created), 'batch')} left, whose rows are not all written"
        talk.say(f"{left if created == running else lost}. Come back with:")
        for command in commands:
            talk.say(f"  {command}")
        if running:
            tail = f" --config {shlex.quote(config)}" if config else ""
            talk.say(f"or end them, one by one: {program()} cancel {status.provider}/BATCH_ID{tail}")
    _say_unsent(status, talk)
    if kept:
        talk.say(f"{count_of(followed.tally.total, 'row')} of batches that ended before are in {kept}")
    fields = _fields(status, followed.tally) | {"partial": kept, "commands": commands}
    talk.document("detached", **fields)


def _rows_of_settled(status: JobStatus) -> int:
    """Count the rows that could have been written: whoever is stopped while they are written has not got them all."""
    rejected = status.outcomes.get(ResultStatus.REJECTED, 0)
    return rejected + sum(batch.requests for batch in status.batches if batch.state == "settled")


def _commands(
    status: JobStatus, batch: BatchView, followed: Followed, *, requests: str, config: str | None
) -> Iterator[str]:
    name = shlex.quote(f"{status.provider}/{batch.provider_batch_id}")
    tail = f" --config {shlex.quote(config)}" if config else ""
    yield f"{program()} status {name}{tail}"
    out = _out_of(batch, followed)
    ids = f" --requests {shlex.quote(requests)}" if requests != "-" else ""
    yield f"{program()} results {name} --wait{ids}{out}{tail}"


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
