"""`asyncbatch orphans`: what lies at a provider, carries our mark, and is known to no job here."""

import shlex
import time
from typing import Any

import anyio
import msgspec
from rich.table import Table
from rich.text import Text

from asyncbatch import BatchClient, Orphan, Orphans
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.home import MEMORY, Home
from asyncbatch.cli.reporting import age, bytes_of, count_of
from asyncbatch.cli.talk import Talk, printable, program

_DAY_S = 86_400.0
_DAYS = 2.0
_NAME_IT = "--home names the directory that remembers them"
_WHY = {
    "running": "runs",
    "young": "too young",
    "open_job": "its job goes on here",
    "unknown_home": "nothing is known here",
    None: "may be deleted",
}


class OrphanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    provider: str
    delete: bool = False
    days: float = _DAYS
    yes: bool = False
    home: str | None = None
    config: str | None = None

    @property
    def tail(self) -> str:
        """What has to be added to a command that asks the same provider."""
        return f" --config {shlex.quote(self.config)}" if self.config else ""


def show_orphans(options: OrphanOptions, talk: Talk) -> int:
    """List what nobody here knows, and delete it if that is wanted."""
    home = Home(options.home)
    if options.delete and not _is_known(home):
        raise CommandError(_nothing_known(home), code="home.empty", hint=f"{_NAME_IT}; nothing was deleted")
    return anyio.run(_shown, home, options, talk)


def _is_known(home: Home) -> bool:
    """Whether a home tells orphans from what its jobs have; in one that knows nothing, everything looks like an orphan."""
    return home.is_kept and home.is_begun


def _nothing_known(home: Home) -> str:
    return f"there are no jobs in {home.where}, so whatever is ours looks like an orphan"


async def _shown(home: Home, options: OrphanOptions, talk: Talk) -> int:
    is_known = _is_known(home)
    async with (home if is_known else Home(MEMORY)).open(load_config(options.config)) as client:
        found = await client.orphans(options.provider, older_than_s=options.days * _DAY_S)
        notes = [*found.notes, *([] if is_known else [_nothing_known(home)])]
        if talk.form == "text" and (found.batches or found.files):
            talk.table(_table(found, is_known=is_known))
        for note in notes:
            talk.say(note)
        _explain(found, home, options, talk)
        deleted, errors = 0, tuple[str, ...]()
        if options.delete and found.deletable:
            deleted, errors = await _delete(client, found, options, talk)
    code = Exit.FAILED if errors else Exit.OK
    rows = [_fields(orphan, is_known=is_known) for orphan in (*found.batches, *found.files)]
    fields: dict[str, Any] = {"provider": found.provider, "orphans": rows, "notes": notes}
    talk.document("orphans", **fields, deleted=deleted, errors=list(errors), exit_code=int(code))
    return code


def _keeps(orphan: Orphan, *, is_known: bool) -> str | None:
    """Say what keeps it from being deleted; None where nothing does."""
    return orphan.keeps if is_known or orphan.keeps is not None else "unknown_home"


def _table(found: Orphans, *, is_known: bool) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False)
    for column in ("what", "name", "job", "state", "age", ""):
        table.add_column(column, no_wrap=True)
    now = time.time()
    for orphan in (*found.batches, *found.files):
        cells = (
            "file" if orphan.is_file else "batch",
            orphan.ref,
            orphan.job,
            _state(orphan),
            age(now - orphan.created_at) if orphan.created_at else "",
            _WHY[_keeps(orphan, is_known=is_known)],
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _state(orphan: Orphan) -> str:
    if orphan.status is None:
        return "uploaded" if orphan.size is None else f"uploaded, {bytes_of(orphan.size)}"
    return f"{orphan.status.value}, {count_of(orphan.requests, 'request')}" if orphan.requests else orphan.status.value


def _explain(found: Orphans, home: Home, options: OrphanOptions, talk: Talk) -> None:
    what = f"{count_of(len(found.batches), 'batch')} and {count_of(len(found.files), 'file')}"
    where = f"no job in {home.where}" if home.is_kept else "nobody"
    talk.say(f"{what} at {found.provider} with our mark are known to {where}")
    if not found.batches and not found.files:
        return
    talk.say("jobs of other directories and machines, and forgotten ones, look the same")
    over = next((orphan for orphan in found.batches if orphan.keeps != "running"), None)
    if over is not None:
        name = f"{found.provider}/{over.ref}"
        talk.say(f"answers that nobody has fetched: {program()} results {name} -o answers.jsonl{options.tail}")
    if not _is_known(home):
        talk.say(f"{_NAME_IT}; from here nothing is deleted")
    elif found.deletable and not options.delete:
        days = f" --days {options.days:g}" if options.days != _DAYS else ""
        command = f"{program()} orphans {found.provider} --delete{days}{home.words}{options.tail}"
        talk.say(f"{len(found.deletable):,} of them may be deleted: {command}")


async def _delete(
    client: BatchClient, found: Orphans, options: OrphanOptions, talk: Talk
) -> tuple[int, tuple[str, ...]]:
    batches = sum(not orphan.is_file for orphan in found.deletable)
    files = len(found.deletable) - batches
    what = f"{count_of(batches, 'batch')} with their files and {count_of(files, 'file')}"
    if not options.yes:
        if not talk.can_ask:
            raise CommandError(f"deleting {what} needs a yes", code="orphans.unconfirmed", hint="say --yes")
        if not talk.ask(f"Delete {what} at {found.provider}? Answers that nobody has fetched go too."):
            raise CommandError("no yes, so nothing was deleted", code="orphans.declined")
    done = await client.delete_orphans(found)
    for error in done.errors:
        talk.say(f"not deleted: {error}")
    talk.say(f"{count_of(done.deleted, 'thing')} deleted at {found.provider}")
    return done.deleted, done.errors


def _fields(orphan: Orphan, *, is_known: bool) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(orphan, str_keys=True)
    return fields | {"keeps": _keeps(orphan, is_known=is_known)}
