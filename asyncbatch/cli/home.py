"""Where jobs are remembered: `--home`, else ASYNCBATCH_HOME, else `.asyncbatch` here; and which of them a name means."""

import os
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from asyncbatch import BatchClient, JobStatus, Polling
from asyncbatch.catalog import Catalog
from asyncbatch.cli.claims import Claims
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import KEEP_NOTHING, CommandError
from asyncbatch.cli.talk import program

MEMORY = "memory"
LATEST = "last"
_DEFAULT = ".asyncbatch"
_SHORT = 8


class Home:
    """The state directory of a command.

    Raises:
        CommandError: It is, or lies in, something that is no directory.

    Attributes:
        named: What `--home` said, if it was given.
        where: The directory, or `memory`.
    """

    def __init__(self, named: str | None) -> None:
        self.named = named
        self.where = named or os.environ.get("ASYNCBATCH_HOME") or _DEFAULT
        if self.is_kept:
            _check_directory(Path(self.where))

    @property
    def is_kept(self) -> bool:
        """Whether jobs outlive the command."""
        return self.where != MEMORY

    @property
    def path(self) -> Path:
        """The directory.

        Raises:
            CommandError: There is none.
        """
        if not self.is_kept:
            message = "--home memory remembers nothing, and so there is nothing to be found"
            raise CommandError(message, code="home.memory", hint="name a directory, or leave --home out")
        return Path(self.where)

    @property
    def database(self) -> Path:
        return self.path / "journal.sqlite3"

    @property
    def is_begun(self) -> bool:
        """Whether there ever was a job."""
        return self.database.exists()

    @property
    def claims(self) -> Claims | None:
        """The notes of which outputs are ours; None where nothing is remembered.

        Raises:
            CommandError: Nothing can be remembered on this platform.
        """
        if not self.is_kept:
            return None
        if find_spec("fcntl") is None:
            message = "jobs that outlive the command need file locks, which this platform lacks"
            raise CommandError(message, code="journal.unsupported", hint=KEEP_NOTHING)
        return Claims(self.path)

    @property
    def words(self) -> str:
        """What has to be added to a command that comes back here."""
        return f" --home {shlex.quote(self.named)}" if self.named else ""

    @asynccontextmanager
    async def open(self, catalog: Catalog, *, poll_s: float | None = None) -> AsyncGenerator[BatchClient, None]:
        """Open a client that takes up only what it is told to."""
        polling = Polling() if poll_s is None else Polling(first_s=poll_s)
        async with BatchClient(catalog=catalog, polling=polling, journal=self.where, resume=False) as client:
            yield client


def _check_directory(path: Path) -> None:
    """Refuse a file in a directory's place: what is below it looks as if it did not exist yet."""
    nearest = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    if os.path.lexists(nearest) and not nearest.is_dir():
        above = "" if nearest == path else f", above {path},"
        hint = "jobs are remembered in a directory: name it with --home, or in ASYNCBATCH_HOME"
        raise CommandError(f"{nearest}{above} is no directory", code="home.no_directory", hint=hint)


class JobOptions:
    """What the commands about a job have in common: which one, in which home, with which facts."""

    def __init__(self, *, name: str, home: str | None, config: str | None) -> None:
        self.name = name
        self.home = Home(home)
        self.config = config
        self.catalog = load_config(config)

    @property
    def tail(self) -> str:
        """What has to be added to a command that goes on with the job."""
        return self.home.words + (f" --config {shlex.quote(self.config)}" if self.config else "")

    @asynccontextmanager
    async def open(self, *, poll_s: float | None = None) -> AsyncGenerator[tuple[BatchClient, JobStatus], None]:
        """Open a client, and find the job."""
        if not self.home.is_begun:
            raise _unknown(self.name, (), self.home)
        async with self.home.open(self.catalog, poll_s=poll_s) as client:
            yield client, find(self.name, await client.records(), self.home)


def short(job_id: str) -> str:
    """Give the beginning of a job's id, enough to name it."""
    return job_id[:_SHORT]


def find(name: str, jobs: Sequence[JobStatus], home: Home) -> JobStatus:
    """Give the job that is meant by its id, the beginning of it, or `last`.

    Raises:
        CommandError: There is none, or there are several.
    """
    found = list(jobs[-1:]) if name == LATEST else [job for job in jobs if name and job.job_id.startswith(name)]
    if not found:
        raise _unknown(name, [job.job_id for job in jobs], home)
    if len(found) > 1:
        ids = ", ".join(job.job_id for job in found[-3:])
        message = f"{len(found)} jobs begin with {name!r}: {ids}{' and more' if len(found) > 3 else ''}"
        raise CommandError(message, code="job.ambiguous", hint="write more of it")
    return found[0]


def _unknown(name: str, known: Sequence[str], home: Home) -> CommandError:
    near = get_close_matches(name, [job_id[: max(len(name), _SHORT)] for job_id in known], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"`{program()} ls{home.words}` lists them"
    hint = hint if known else "jobs are remembered in --home, else ASYNCBATCH_HOME, else .asyncbatch in this directory"
    return CommandError(
        f"there is no job {name!r} in {home.where}",
        code="job.unknown",
        hint=f"{hint}; a batch is named PROVIDER/BATCH_ID",
    )
