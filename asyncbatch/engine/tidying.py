"""What is deleted at a provider, and what lies there that no journal knows. Nothing here changes how a request ended.

Deleting is opt-in: by the policy of a job, once its outcomes are on disk, or by a person, of what was listed as nobody's. All
of it may be repeated, and what fails is logged and tried again when somebody asks again.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import FilePage, StatusPage
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError
from asyncbatch.journal import (
    Accepted,
    Event,
    Indeterminate,
    Retried,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    Voided,
)
from asyncbatch.planning.tidying import OLD_S, Cleanup, Known, Orphan, Orphans, Survey, Tidied, may_delete

_log = logging.getLogger("asyncbatch.engine")

_PAGES = 10_000
_SLACK_S = 86_400.0

Page = TypeVar("Page", StatusPage, FilePage)


class Uploads(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of one submission, over all of its attempts.

    Attributes:
        used: Those that a batch was made of.
        left: Those that no batch came of: refused, fenced, or uploaded anew before they were used.
    """

    used: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def uploads_of(events: Iterable[Event]) -> Uploads:
    """Tell from what happened to a submission which inputs a batch was made of and which are left over.

    The input of an attempt of which nobody will know is neither: a batch that nobody has found may be reading it.
    """
    used, left, held = list[str](), list[str](), set[str]()
    now: str | None = None
    for event in events:
        if isinstance(event, Uploaded) and event.input_ref is not None:
            now = event.input_ref
            left.append(now)
        elif isinstance(event, Retried):
            now = None
        elif now is None:
            continue
        elif isinstance(event, Accepted):
            used.append(now)
        elif isinstance(event, Voided):
            used.remove(now)
        elif isinstance(event, Indeterminate):
            held.add(now)
    return Uploads(
        used=tuple(dict.fromkeys(used)),
        left=tuple(ref for ref in dict.fromkeys(left) if ref not in used and ref not in held),
    )


async def tidy(
    provider: BaseBatchProvider, record: SubmissionRecord, events: Iterable[Event], cleanup: Cleanup
) -> Tidied:
    """Delete what a settled submission has at the provider, as far as the policy goes.

    Inputs that no batch came of go with any policy but `"never"`. A batch that was only taken for ours, and not proved to be,
    is left alone. Cancellation passes; everything else that goes wrong is in the answer.

    Args:
        provider: Of the account that the submission was sent with.
        record: The submission; while it is not settled, nothing happens.
        events: Everything that happened to it, in order.
        cleanup: The policy of its job.
    """
    if cleanup == "never" or record.state is not SubmissionState.SETTLED:
        return Tidied()
    uploads, sweep = uploads_of(events), _Sweep(provider)
    if record.is_certain and may_delete(cleanup, record.outcomes, record.request_count):
        for batch_id in (*record.earlier, record.provider_batch_id):
            if batch_id is not None:
                await sweep.batch(batch_id)
        for ref in uploads.used:  # not every batch names its input
            await sweep.file(ref)
    for ref in uploads.left:
        await sweep.file(ref)
    return sweep.done()


class _Sweep:
    """Deletions, one after the other; one that fails takes no other with it."""

    def __init__(self, provider: BaseBatchProvider) -> None:
        self._provider = provider
        self._deleted = 0
        self._errors: list[str] = []

    async def batch(self, batch_id: str) -> None:
        await self._try(f"batch {batch_id}", self._provider.delete_artifacts, batch_id)

    async def file(self, ref: str) -> None:
        await self._try(f"file {ref}", self._provider.delete_file, ref)

    async def _try(self, what: str, delete: Callable[[str], Awaitable[int]], ref: str) -> None:
        try:
            self._deleted += await delete(ref)
        except Exception as error:  # noqa: BLE001 whatever it is, it is reported, and every outcome stands
            _log.warning("%s: %s is not deleted: %s", self._provider.PROVIDER_NAME, what, error)
            self._errors.append(f"{what}: {error}")

    def done(self) -> Tidied:
        return Tidied(deleted=self._deleted, errors=tuple(self._errors))


async def find_orphans(
    provider: BaseBatchProvider, known: Known, *, now: float, older_than_s: float = OLD_S
) -> Orphans:
    """List the batches and files of an account that carry our mark and that the journal does not know; nothing is changed.

    Those of other state directories and machines look the same. Raises what the provider's lists raise.

    Args:
        provider: Of the account that is meant.
        known: What the journal knows.
        now: Unix seconds.
        older_than_s: What ended, or was uploaded, within so many seconds is not for deletion; 0: whatever is over may go.
    """
    survey, notes, name = Survey(known), list[str](), provider.PROVIDER_NAME
    before = now - older_than_s if older_than_s > 0 else None
    if not provider.has_tags:
        notes.append(f"{name} keeps no mark with a batch, so nobody can tell which of them are ours")
    if provider.has_tags or provider.names_inputs:  # whose they are, or which files they are reading
        oldest = _oldest(provider, now)
        async for page in _pages(provider.list_statuses, name):
            survey.add_batches(page.statuses, provider.tag_of)
            if page.statuses and all((status.created_at or now) < oldest for status in page.statuses):
                break
    try:
        async for files in _pages(provider.list_files, name):
            survey.add_files(files.files)
    except ProviderPermanentError as error:
        if error.code != "unsupported":
            raise
        notes.append(error.message)
    return Orphans(
        provider=name,
        batches=tuple(survey.batches(before, provider.is_left)),
        files=tuple(survey.files(before)),
        notes=tuple(notes),
    )


def _oldest(provider: BaseBatchProvider, now: float) -> float:
    """Say from when on a batch can have left anything: earlier ones are gone by themselves, where the provider tells."""
    kept = provider.facts.retention if provider.has_facts else None
    if kept is None or kept.input_s is None or kept.output_s is None:
        return float("-inf")
    return now - max(kept.input_s, kept.output_s) - provider.facts.longest_s - _SLACK_S


async def _pages(ask: Callable[..., Awaitable[Page]], name: str) -> AsyncIterator[Page]:
    """Walk a list to its end."""
    cursor, seen = None, set[str]()
    for _ in range(_PAGES):
        page = await ask(cursor=cursor)
        yield page
        cursor = page.cursor
        if cursor is None:
            return
        if cursor in seen:
            break
        seen.add(cursor)
    message = f"{name}: a list does not end"
    raise ProviderTransientError(message, provider=name, code="endless_list")


async def delete_orphans(provider: BaseBatchProvider, found: Orphans, known: Known) -> Tidied:
    """Delete what was listed and may be, unless the journal has come to know it meanwhile.

    Args:
        provider: Of the account that was listed.
        found: What `find_orphans` gave.
        known: What the journal knows now.
    """
    sweep = _Sweep(provider)
    for orphan in found.deletable:
        if not _is_known(orphan, known):
            await (sweep.file(orphan.ref) if orphan.is_file else sweep.batch(orphan.ref))
    return sweep.done()


def _is_known(orphan: Orphan, known: Known) -> bool:
    if orphan.job in known.open_jobs:
        return True
    if orphan.is_file:
        return orphan.ref in known.inputs
    return orphan.mark in known.tags or known.has_batch(orphan.ref)
