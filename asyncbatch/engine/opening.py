"""How a job comes to be: accepted anew, taken up where another process left it, or followed while another process has it."""

import logging
from collections.abc import Sequence

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.admission import submission_record
from asyncbatch.engine.keeping import Kept, error_of, keep, read_back, rows_at
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.part import Part
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import JobRecord, SubmissionRecord
from asyncbatch.spool import SpoolSpace

_log = logging.getLogger("asyncbatch.engine")

FOLLOWED_S = 1.0
"""How often a job of another process is looked at."""


async def new_run(
    record: JobRecord,
    provider: BaseBatchProvider,
    submissions: Sequence[PreparedSubmission],
    rejects: Rejects | None,
    tools: Tools,
    space: SpoolSpace,
) -> JobRun:
    """Give a job that is about to be accepted; with a durable journal, everything that it needs lies on disk then."""
    runtime = tools.runtime
    refused = await runtime.offload(rejects.end) if rejects is not None else None
    place = await tools.journal.make_place(record.job_id)
    if place is not None:
        submissions = await runtime.offload(keep, place, submissions, refused, space)
    parts = [
        Part(item, submission_record(index, item, place), Ledger(item.request_count, space.new()))
        for index, item in enumerate(submissions)
    ]
    return JobRun(record, provider, parts, refused, tools)


async def old_run(record: JobRecord, provider: BaseBatchProvider, tools: Tools, space: SpoolSpace) -> JobRun:
    """Give a job that was accepted before, as the journal knows it.

    Raises:
        JournalError, StorageError: Its bodies are gone, or do not add up.
    """
    place, runtime = tools.journal.place(record.job_id), tools.runtime
    if place is None:
        raise JournalError(f"job {record.job_id} kept nothing on disk", code="journal.no_place")
    records = await tools.journal.submissions(record.job_id)
    kept = await runtime.offload(read_back, place, record, records, space)
    return JobRun(record, provider, _parts(record, records, kept), kept.rejects, tools)


def _parts(job: JobRecord, records: Sequence[SubmissionRecord], kept: Kept) -> list[Part]:
    parts = [
        Part(submission, record, ledger)
        for submission, record, ledger in zip(kept.submissions, records, kept.ledgers, strict=True)
    ]
    for part in parts:
        part.error = error_of(job, part.record)
    return parts


async def follow(run: JobRun, tools: Tools, space: SpoolSpace) -> bool:
    """Keep a job up to date that another process has. Gives True when it is ours to go on with, False when it is over."""
    seen = -1
    while not run.is_over:
        if await tools.journal.claim(run.record.job_id):
            await _refresh(run, tools, space)
            return not run.is_over
        version = await tools.journal.version()
        if version != seen:
            seen = version
            await _refresh(run, tools, space)
        if not run.is_over:
            await tools.runtime.sleep(FOLLOWED_S)
    return False


async def _refresh(run: JobRun, tools: Tools, space: SpoolSpace) -> None:
    place = tools.journal.place(run.record.job_id)
    records = await tools.journal.submissions(run.record.job_id)
    if place is None or len(records) != len(run.parts):
        raise JournalError(f"job {run.record.job_id} is not in the journal any more", code="journal.no_job")
    for part, record in zip(run.parts, records, strict=True):
        was_settled = part.is_settled
        part.take(record, error_of(run.record, record))
        if part.is_settled and not was_settled:
            kept = await tools.runtime.offload(space.kept, rows_at(place, record.index))
            part.ledger = await tools.runtime.offload(Ledger.load, record.request_count, kept)
            run.settled.append(part.ledger)
    run.changed.notify()
