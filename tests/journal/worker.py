"""A process that uses the journal, for tests in which it is killed, stopped, forked, or given a bad disk.

`serve DIR` does what it is told, one JSON array a line, and answers each with a line. `live DIR LOG` lets two jobs live and
logs every change once it was acknowledged. `sweep DIR` lets them live again and again, killed before every statement in turn.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from asyncbatch.exceptions import JournalError
from asyncbatch.journal import SubmissionState, _schema
from tests.journal.journals import PARTS, folded, job, life, opened


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def log_into(path: Path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def log(*what: Any) -> None:
        os.write(descriptor, json.dumps(what).encode() + b"\n")

    return log


async def live(directory: Path, log) -> None:
    """Accept two jobs, let both parts of each live at once, and forget the second. What fails is tried once more, then left."""
    async with opened(directory) as journal:
        for job_id in ("job-1", "job-2"):
            await attempt(log, ("accept", job_id), lambda job_id=job_id: journal.accept(job(job_id), PARTS))

        async def part(job_id: str, index: int) -> None:
            for step, event in enumerate(life(f"{job_id}-{index}")):
                what = ("move", job_id, index, step)
                await attempt(log, what, lambda event=event: journal.move(job_id, index, event))

        async with asyncio.TaskGroup() as group:
            for job_id in ("job-1", "job-2"):
                for index in (0, 1):
                    group.create_task(part(job_id, index))
        await attempt(log, ("forget", "job-2"), lambda: journal.forget("job-2"))


async def attempt(log, what, change) -> None:
    for _ in range(2):
        try:
            await change()
        except JournalError as error:
            log("failed", error.code, *what)
        else:
            log(*what)
            return


# --- the sweep ---------------------------------------------------------------------------------------------------


class Deadly(sqlite3.Connection):
    """A connection that kills its process before a certain statement."""

    left = -1

    def execute(self, *args):
        Deadly.left -= 1
        if Deadly.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*args)


def die_at(statement: int, directory: Path, log) -> bool:
    """Live in a child that is killed before this statement; say whether it was."""
    child = os.fork()
    if child == 0:
        Deadly.left = statement
        connect = sqlite3.connect
        sqlite3.connect = lambda *args, **options: connect(*args, factory=Deadly, **options)
        try:
            asyncio.run(live(directory, log))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def sweep(base: Path) -> None:
    # A kill loses nothing that the system was given: whether that has reached the disk yet only costs time here.
    _schema.SYNCHRONOUS.update(wal="OFF", truncate="OFF")
    os.fsync = lambda _: None
    for statement in range(1, 100_000):
        directory, log = base / str(statement), base / f"{statement}.log"
        was_killed = die_at(statement, directory, log_into(log))
        problem = asyncio.run(judge(directory, log))
        say([statement, was_killed, problem])
        if not was_killed:
            return


async def judge(directory: Path, log: Path) -> str | None:
    """Compare a journal with what was acknowledged before its writer died; None if it holds that and at most what was asked."""
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    async with opened(directory) as journal:
        known = {record.job_id for record in await journal.jobs()}
        for job_id in ("job-1", "job-2"):
            may_be_gone = job_id == "job-2" and all(["move", job_id, index, 6] in done for index in (0, 1))
            if ["accept", job_id] in done and job_id not in known and not may_be_gone:
                return f"{job_id} is lost"
            if ["forget", job_id] in done and job_id in known:
                return f"{job_id} is back"
        for job_id in known:
            if not await journal.claim(job_id):
                return f"{job_id} is still locked"
            for index in (0, 1):
                acknowledged = sum(what[:3] == ["move", job_id, index] for what in done)
                problem = await judge_part(journal, job_id, index, acknowledged)
                if problem:
                    return problem
    with sqlite3.connect(directory / "journal.sqlite3") as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return None if verdict == "ok" else verdict


async def judge_part(journal, job_id: str, index: int, acknowledged: int) -> str | None:
    events = list(await journal.events(job_id, index))
    whole = life(f"{job_id}-{index}")
    if events != whole[: len(events)] or len(events) - acknowledged not in (0, 1):
        return f"{job_id}/{index} has {events}, of which {acknowledged} were acknowledged"
    record = (await journal.submissions(job_id))[index]
    if record != folded(PARTS[index], events):
        return f"{job_id}/{index} is {record} after {events}"
    for event in whole[len(events) :]:
        record = await journal.move(job_id, index, event)
    return None if record.state is SubmissionState.SETTLED else f"{job_id}/{index} ended as {record.state}"


# --- a servant ---------------------------------------------------------------------------------------------------


async def serve(directory: Path) -> None:
    async with opened(directory) as journal:
        verbs = {
            "claim": journal.claim,
            "release": journal.release,
            "forget": journal.forget,
            "accept": lambda job_id: journal.accept(job(job_id), PARTS),
            "move": lambda job_id, index, step: journal.move(job_id, index, life(f"{job_id}-{index}")[step]),
        }
        say("open")
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            verb, *args = json.loads(line)
            try:
                answer = await verbs[verb](*args)
            except JournalError as error:
                answer = error.code
            say(answer if isinstance(answer, bool | str) else None)


if __name__ == "__main__":
    mode, *args = sys.argv[1:]
    if mode == "serve":
        asyncio.run(serve(Path(args[0])))
    elif mode == "live":
        asyncio.run(live(Path(args[0]), log_into(Path(args[1]))))
    else:
        sweep(Path(args[0]))
