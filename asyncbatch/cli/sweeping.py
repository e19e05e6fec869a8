"""`asyncbatch gc` and `sql`: room on the disk, and the tables themselves."""

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from asyncbatch import BatchClient, JobStatus
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.home import Home, short
from asyncbatch.cli.reporting import age, bytes_of, count_of, word_of_job
from asyncbatch.cli.talk import Talk
from asyncbatch.exceptions import JournalError

_DAY_S = 86_400.0

_TABLES = {
    "job": "what was accepted: job_id, key, provider, model, account, fingerprint, created_at, requests",
    "submission": "how far each batch of a job has come: job_id, idx, state, attempt, tag, provider_batch_id",
    "attempt": (
        "every create that was about to be sent, and what is known of it: result, intended_at, provider_batch_id"
    ),
    "event": "everything that happened, in order: at, job_id, idx, kind, data",
    "lease": "which process wrote to a job last: pid, epoch, renewed",
    "wish": "what a process asked of another one that had the job: at, job_id, word",
    "webhook": "webhooks of the last days, so that one that comes again does nothing: webhook_id, at",
}


def collect_garbage(days: float, home: str | None, talk: Talk, *, is_dry: bool) -> int:
    """Forget jobs that have long been over, and what dead processes left behind."""
    place = Home(home)
    if not place.is_begun:
        talk.say(f"there are no jobs in {place.where}")
        talk.document("swept", jobs=[], strays=[], bytes=0, dry_run=is_dry)
        return Exit.OK
    return anyio.run(_sweep, place, days, talk, is_dry)


async def _sweep(home: Home, days: float, talk: Talk, is_dry: bool) -> int:
    now, freed = time.time(), 0
    async with home.open(load_config(None)) as client:
        old = [job for job in await client.records() if job.is_over and now - job.created_at >= days * _DAY_S]
        strays = list(await client.strays())
        for job in old:
            size = await _size(home, job.job_id)
            talk.say(f"job {short(job.job_id)}, {word_of_job(job)}, {age(now - job.created_at)} old: {bytes_of(size)}")
            freed += size
            await _forget(client, home, job, is_dry=is_dry)
        freed += await _sweep_strays(client, home, strays, talk, is_dry=is_dry)
    what = f"{count_of(len(old), 'job')} and {count_of(len(strays), 'leftover')}, {bytes_of(freed)}"
    talk.say(f"{what}: would be removed" if is_dry else f"{what}: removed")
    talk.document("swept", jobs=[job.job_id for job in old], strays=strays, bytes=freed, dry_run=is_dry)
    return Exit.OK


async def _forget(client: BatchClient, home: Home, job: JobStatus, *, is_dry: bool) -> None:
    if is_dry:
        return
    await client.forget(job.job_id)
    if home.claims is not None:
        await anyio.to_thread.run_sync(home.claims.drop_of, job.job_id)


async def _sweep_strays(client: BatchClient, home: Home, strays: list[str], talk: Talk, *, is_dry: bool) -> int:
    freed = 0
    for stray in list(strays):
        size = await _size(home, stray)
        try:
            if not is_dry:
                await client.forget(stray)
        except JournalError:  # somebody is just accepting it
            strays.remove(stray)
            continue
        talk.say(f"left behind by a process that ended before its job was accepted: {bytes_of(size)}")
        freed += size
    return freed


async def _size(home: Home, job_id: str) -> int:
    return await anyio.to_thread.run_sync(_size_of, home.path / "jobs" / job_id)


def _size_of(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())


def open_tables(query: str | None, home: str | None, talk: Talk) -> int:
    """Answer a question to the tables, or open the shell of SQLite on them; nothing can be changed that way."""
    place = Home(home)
    if not place.is_begun:
        raise CommandError(f"there are no jobs in {place.where}", code="home.empty", hint="--home names another place")
    if query is not None:
        return _answer(query, place, talk)
    shell = shutil.which("sqlite3")
    if talk.form != "text":
        tables = [{"name": name, "what": what} for name, what in _TABLES.items()]
        talk.document("tables", path=str(place.database), tables=tables)
        return Exit.OK
    told = "\n".join(f"{name:<12}{what}" for name, what in _TABLES.items())
    if shell is None or not talk.can_ask:
        talk.tell(f"{place.database}\n\n{told}")
        return Exit.OK
    talk.say(f"{told}\n")
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the shell's own business
    try:
        return subprocess.run([shell, "-readonly", str(place.database)], check=False).returncode  # noqa: S603 found on the path
    finally:
        signal.signal(signal.SIGINT, ours)


def _answer(query: str, home: Home, talk: Talk) -> int:
    try:
        connection = sqlite3.connect(f"{home.database.absolute().as_uri()}?mode=ro", uri=True)
        try:
            found = connection.execute(query)
            columns = [column[0] for column in found.description or ()]
            rows: list[Any] = found.fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise CommandError(
            f"SQLite says: {error}", code="sql.error", hint="`asyncbatch sql` names the tables"
        ) from None
    if talk.form != "text":
        talk.document("rows", columns=columns, rows=json.loads(json.dumps(rows, default=repr)))
        return Exit.OK
    for row in (columns, *rows):
        talk.tell("\t".join("" if value is None else str(value) for value in row))
    return Exit.OK
