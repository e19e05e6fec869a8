"""How a job is watched: a live picture on a terminal, a line for each change elsewhere, events for programs.

All are drawn from the job's state a few times a second, never once for each event.
"""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import anyio

from asyncbatch import BatchView, Job, JobStatus
from asyncbatch.cli.talk import Talk, printable
from asyncbatch.dto import Progress
from asyncbatch.enums import BatchStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

FRAME_S = 0.25
_OLDEST = 3
_COUNTDOWN = re.compile(r", \d+:\d\d left$")
_ENDED_EARLY = frozenset({BatchStatus.CANCELLING, BatchStatus.CANCELLED, BatchStatus.EXPIRED, BatchStatus.FAILED})


class View(Protocol):
    """One way to show a job."""

    def draw(self, status: JobStatus) -> None: ...
    def close(self) -> None: ...


async def watch(job: Job, view: View) -> None:
    """Show a job until cancelled; the last picture shows how it stands then."""
    try:
        while True:
            view.draw(job.status())
            await anyio.sleep(FRAME_S)
    finally:
        view.draw(job.status())
        view.close()


def view_for(talk: Talk) -> View:
    """Give the view that fits where the talk goes."""
    return LiveView(talk) if talk.is_live else LinesView(talk)


def word_of(batch: BatchView) -> str:
    """Say in a word where a batch stands: the provider's status while it runs, else how far we are with it."""
    if batch.state == "submitted" and batch.status not in (None, BatchStatus.UNKNOWN):
        return str(batch.status)
    if batch.state in ("ended", "settled") and batch.status is not None:
        return batch.status.value
    if batch.state == "create_unknown" and not batch.note:  # another process looks for it
        return "checking whether a create arrived"
    if batch.state == "planned" and batch.round:
        return "waiting"
    return batch.raw_status or ("creating" if batch.state == "uploaded" else batch.state.replace("_", " "))


def sent_of(batch: BatchView) -> str:
    """Say how many requests its present round has."""
    all_of_them = f"{batch.requests:,} request{'' if batch.requests == 1 else 's'}"
    return f"{batch.sent:,} of {all_of_them}" if batch.round else all_of_them


def answered(status: BatchStatus | None, progress: Progress) -> int:
    """Count answers: in a batch that was ended early, providers count among the failed what nobody got to."""
    return progress.completed if status in _ENDED_EARLY else progress.done


class _Told(NamedTuple):
    """What the last line of a batch said."""

    batch: tuple[int, str | None]
    word: str
    note: str | None
    error: str | None


class LinesView:
    """A line for each change of status."""

    def __init__(self, talk: Talk, name: str = "") -> None:
        self._talk = talk
        self._name = f"{name} " if name else ""
        self._known: dict[int, object] = {}
        self._told: dict[int, _Told] = {}

    def draw(self, status: JobStatus) -> None:
        for batch in self._changed(status):
            if self._is_news(batch):
                self._say(batch, len(status.batches))
            self._talk.event(
                "batch_status",
                job=status.job_id,
                index=batch.index,
                provider=status.provider,
                provider_batch_id=batch.provider_batch_id,
                state=batch.state,
                status=batch.status.value if batch.status else None,
                requests=batch.requests,
                round=batch.round,
                sent=batch.sent,
                completed=batch.progress.completed,
                failed=batch.progress.failed,
                note=batch.note,
                error=batch.error,
            )

    def _changed(self, status: JobStatus) -> Iterator[BatchView]:
        for batch in status.batches:
            now = (batch.round, batch.provider_batch_id, word_of(batch), batch.note, batch.error)
            is_begun = batch.state != "planned" or batch.round
            if self._known.get(batch.index) != now and (is_begun or batch.note or batch.error):
                self._known[batch.index] = now
                yield batch

    def _is_news(self, batch: BatchView) -> bool:
        """Whether a line would say what the last one did not: neither a clock in a note nor the end of fetching is that."""
        note = _COUNTDOWN.sub("", batch.note) if batch.note else None
        now = _Told((batch.round, batch.provider_batch_id), word_of(batch), note, batch.error)
        last, self._told[batch.index] = self._told.get(batch.index), now
        if last is not None and batch.state == "settled" and not (batch.note or batch.error):
            return (last.batch, last.word) != (now.batch, now.word)
        return last != now

    def _say(self, batch: BatchView, batches: int) -> None:
        name = batch.provider_batch_id or "not created yet"
        which = f"batch {batch.index + 1}/{batches}{f' round {batch.round + 1}' if batch.round else ''}"
        count = answered(batch.status, batch.progress)
        done = f"{count:,}/{batch.sent:,}" if batch.progress.done else sent_of(batch)
        note = f" ({batch.error or batch.note})" if batch.error or batch.note else ""
        self._talk.say(f"{self._name}{which} {name}: {word_of(batch)}, {done}{note}")

    def close(self) -> None: ...


class LiveView:
    """A bar for the job, and under it the oldest batches that are not over. Never a bar for each batch."""

    def __init__(self, talk: Talk) -> None:
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self._lines = LinesView(Talk(talk.form, quiet=True))  # for its events
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[batches]}", markup=False),
            TimeElapsedColumn(),
            console=talk.console,
            auto_refresh=False,
        )
        self._bar = self._bars.add_task("", total=None, batches="")
        self._live = Live(console=talk.console, auto_refresh=False, transient=True)
        self._live.start()

    def draw(self, status: JobStatus) -> None:
        self._lines.draw(status)
        done = max(status.done, sum(_done(batch) for batch in status.batches))
        over = sum(batch.state == "settled" for batch in status.batches)
        self._bars.update(
            self._bar,
            description=f"{status.provider}/{status.model}",
            completed=min(done, status.requests),
            total=status.requests,
            batches=f"{over}/{len(status.batches)} batches",
        )
        self._live.update(self._picture(status), refresh=True)

    def _picture(self, status: JobStatus) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        live = [batch for batch in status.batches if batch.state != "settled"]
        lines = [Text(f"  {_line(batch)}", style="dim", no_wrap=True, overflow="ellipsis") for batch in live[:_OLDEST]]
        if len(live) > _OLDEST:
            lines.append(Text(f"  and {len(live) - _OLDEST} more", style="dim"))
        return Group(self._bars, *lines)

    def close(self) -> None:
        self._live.stop()


def _done(batch: BatchView) -> int:
    return batch.requests - batch.sent + answered(batch.status, batch.progress)


def _line(batch: BatchView) -> str:
    name = batch.provider_batch_id or f"batch {batch.index + 1}"
    what = batch.error or batch.note or word_of(batch)
    count = answered(batch.status, batch.progress)
    return printable(f"{name}  {what}  {count:,}/{batch.sent:,}").replace("\n", " ")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since
