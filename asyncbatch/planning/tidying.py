"""What may be deleted at a provider once its answers are held, and what lies there that nobody knows: pure decisions.

Everything here errs on the side of leaving things: what is not certainly ours, over and old enough stays.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from asyncbatch.dto import ProviderStatus, RemoteFile
from asyncbatch.enums import BatchStatus, ResultStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.marks import job_of_file, job_of_tag

Cleanup: TypeAlias = Literal["never", "succeeded", "settled"]
"""When the input and the answers of a batch are deleted at the provider: `"never"`; `"succeeded"`, once every request of it has
an answer; `"settled"`, once every request has its outcome, unless one is missing, unreadable, contradictory or in doubt."""

Keeps: TypeAlias = Literal["running", "young", "open_job"]
"""Why something that nobody knows is not deleted: it is not over, not old enough, or of a job that is not over here."""

OLD_S = 2 * 86_400.0
"""A batch may take a day, and whoever sent it from another machine gets another one to fetch its answers."""

_POLICIES = ("never", "succeeded", "settled")
_UNCLEAR = (ResultStatus.MISSING, ResultStatus.UNDECODABLE, ResultStatus.CONFLICT, ResultStatus.INDETERMINATE)


def check_cleanup(cleanup: Any, *, is_durable: bool) -> None:
    """Refuse what is no policy, and any that would leave the only copy of what was paid for in the memory of a process."""
    if cleanup not in _POLICIES:
        message = f"cleanup is {cleanup!r}"
        raise ConfigError(message, code="config.value", hint='it is "never", "succeeded" or "settled"')
    if cleanup != "never" and not is_durable:
        hint = "give the client a directory: BatchClient(journal='.asyncbatch')"
        message = f"cleanup={cleanup!r} deletes answers at the provider, and a journal in memory ends with its process"
        raise ConfigError(message, code="cleanup.memory", hint=hint)


def may_delete(cleanup: Cleanup, outcomes: Mapping[str, int], requests: int) -> bool:
    """Say whether the policy lets the input and the answers of a batch go, whose requests ended like this."""
    if sum(outcomes.values()) != requests:
        return False
    if cleanup == "succeeded":
        return outcomes.get(ResultStatus.SUCCEEDED, 0) == requests
    return cleanup == "settled" and not any(outcomes.get(status) for status in _UNCLEAR)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal knows of providers, of all jobs that it ever accepted and has not forgotten.

    Attributes:
        tags: The mark of every attempt, whatever became of it.
        batches: Every batch that was taken for ours.
        inputs: Every uploaded input.
        open_jobs: What the marks of jobs carry of their ids, of those that are not over.
    """

    tags: frozenset[str] = frozenset()
    batches: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    open_jobs: frozenset[str] = frozenset()

    def has_batch(self, ref: str) -> bool:
        """Whether it knows a batch: as one that was taken for ours, or as one that was made for requests to be added to."""
        return ref in self.batches or ref in self.inputs


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """A batch or a file that carries our mark and that the journal does not know.

    Attributes:
        ref: What the provider calls it.
        mark: Our tag, or the name of the file.
        job: The beginning of the id of the job that it was for.
        is_file: Whether it is a file; else it is a batch, with its files.
        status: Where a batch stands.
        requests: How many requests a batch has, where the provider tells.
        size: Length of a file in bytes.
        created_at: Unix seconds.
        expires_at: When the provider deletes a file, Unix seconds.
        keeps: Why it is not deleted; None where it may be.
    """

    ref: str
    mark: str
    job: str
    is_file: bool = False
    status: BatchStatus | None = None
    requests: int = 0
    size: int | None = None
    created_at: float | None = None
    expires_at: float | None = None
    keeps: Keeps | None = None


class Orphans(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider shows of ours that the journal does not know.

    Attributes:
        provider: Which one.
        account: Whose key was asked with; None for the environment's.
        batches: Batches.
        files: Files that are no part of these batches.
        notes: What could not be looked at.
    """

    provider: str
    account: str | None = None
    batches: tuple[Orphan, ...] = ()
    files: tuple[Orphan, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def deletable(self) -> tuple[Orphan, ...]:
        """Those that are over and old enough; a batch before the files that may be its own."""
        return tuple(orphan for orphan in (*self.batches, *self.files) if orphan.keeps is None)


class Tidied(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted.

    Attributes:
        deleted: How many files and batches were there and are gone.
        errors: What could not be deleted, and why; it may be tried again.
    """

    deleted: int = 0
    errors: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return not self.errors


class Survey:
    """The lists of a provider, page by page: who carries our mark, and what is in use."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._batches: list[tuple[ProviderStatus, str, str]] = []
        self._files: list[tuple[RemoteFile, str]] = []
        self._places: set[str] | None = None
        self._busy: set[str] = set()
        self._busy_jobs: set[str] = set(known.open_jobs)

    def add_batches(self, statuses: Iterable[ProviderStatus], tag_of: Callable[[ProviderStatus], str | None]) -> None:
        for status in statuses:
            tag = tag_of(status) or ""
            job = job_of_tag(tag)
            if not status.status.is_terminal:
                self._busy.update(place for place in (status.input_ref, *status.result_uris) if place)
                self._busy_jobs.update((job,) if job else ())
            if job and tag not in self._known.tags and not self._known.has_batch(status.provider_batch_id):
                self._batches.append((status, tag, job))

    def add_files(self, files: Iterable[RemoteFile]) -> None:
        self._places = set() if self._places is None else self._places
        for file in files:
            self._places.add(file.ref)
            job = job_of_file(file.name)
            if job and file.ref not in self._known.inputs:
                self._files.append((file, job))

    def batches(self, before: float | None, is_left: Callable[[ProviderStatus, Collection[str]], bool]) -> list[Orphan]:
        """Give the batches that nobody knows, without those of which nothing is left.

        Args:
            before: What ended later is too young to be deleted; None where nothing is.
            is_left: Whether anything of a batch that is over lies at the provider, given the files that do.
        """
        return [
            self._batch(status, tag, job, before)
            for status, tag, job in self._batches
            if not status.status.is_terminal or self._places is None or is_left(status, self._places)
        ]

    def files(self, before: float | None) -> list[Orphan]:
        """Give the files that nobody knows, without those that go with a batch or are being read by one."""
        taken = {place for status, _, _ in self._batches for place in (status.input_ref, *status.result_uris)}
        return [
            self._file(file, job, before)
            for file, job in self._files
            if file.ref not in taken and file.ref not in self._busy
        ]

    def _batch(self, status: ProviderStatus, tag: str, job: str, before: float | None) -> Orphan:
        ended_at = status.completed_at or status.created_at
        keeps = self._keeps(job in self._known.open_jobs, ended_at, before)
        return Orphan(
            ref=status.provider_batch_id,
            mark=tag,
            job=job,
            status=status.status,
            requests=status.progress.total,
            created_at=status.created_at,
            keeps=keeps if status.status.is_terminal else "running",
        )

    def _file(self, file: RemoteFile, job: str, before: float | None) -> Orphan:
        return Orphan(
            ref=file.ref,
            mark=file.name,
            job=job,
            is_file=True,
            size=file.size,
            created_at=file.created_at,
            expires_at=file.expires_at,
            keeps=self._keeps(job in self._busy_jobs, file.created_at, before),
        )

    @staticmethod
    def _keeps(is_open: bool, since: float | None, before: float | None) -> Keeps | None:
        if is_open:
            return "open_job"
        return "young" if before is not None and (since is None or since > before) else None
