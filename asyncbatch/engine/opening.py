"""How a job comes to be: accepted anew, taken up where another process left it, or followed while another process has it."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.admission import submission_record
from asyncbatch.engine.keeping import Kept, error_of, keep, read_back, read_ledger, read_round
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.part import Part
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.steps import Release
from asyncbatch.engine.tools import Tools
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import JobRecord, SubmissionRecord, SubmissionState
from asyncbatch.planning.rounds import RetryRows
from asyncbatch.runtime import checkpoint, to_its_end

_log = logging.getLogger("asyncbatch.engine")

FOLLOWED_S = 1.0
"""How often a job of another process is looked at."""
_TURN = 128
"""Parts of a job that are made before others on the event loop get their turn."""


async def new_run(
    record: JobRecord,
    provider: BaseBatchProvider,
    submissions: Sequence[PreparedSubmission],
    rejects: Rejects | None,
    tools: Tools,
    retry: RetryRows | None = None,
) -> JobRun:
    """Give a job that is about to be accepted; with a durable journal, everything that it needs lies on disk then."""
    runtime, space = tools.runtime, tools.space
    refused = await to_its_end(partial(runtime.offload, rejects.end)) if rejects is not None else None
    place = await tools.journal.make_place(record.job_id)
    if place is not None:
        submissions = await to_its_end(partial(runtime.offload, keep, place, submissions, refused, space))
    parts = list[Part]()
    for index, item in enumerate(submissions):
        ledger = Ledger(item.request_count, space.new(is_one_of_many=True))
        parts.append(Part(item, submission_record(index, item, place), ledger))
        if len(parts) % _TURN == 0:
            await checkpoint()
    return JobRun(record, provider, parts, refused, tools, retry)


async def old_run(record: JobRecord, provider: BaseBatchProvider, tools: Tools) -> JobRun:
    """Give a job that was accepted before, as the journal knows it.

    Raises:
        JournalError, StorageError: Its bodies are gone, or do not add up.
    """
    place, runtime = tools.journal.place(record.job_id), tools.runtime
    if place is None:
        raise JournalError(f"job {record.job_id} kept nothing on disk", code="journal.no_place")
    records = await tools.journal.submissions(record.job_id)
    kept = await runtime.offload(read_back, place, record, records, tools.space)
    return JobRun(record, provider, _parts(record, records, kept), kept.rejects, tools)


def _parts(job: JobRecord, records: Sequence[SubmissionRecord], kept: Kept) -> list[Part]:
    parts = [
        Part(submission, record, ledger)
        for submission, record, ledger in zip(kept.submissions, records, kept.ledgers, strict=True)
    ]
    for part, present in zip(parts, kept.rounds, strict=True):
        if present is not None:
            part.begin_round(*present)
        part.error = error_of(job, part.record)
    return parts


async def follow(run: JobRun, tools: Tools) -> bool:
    """Keep a job up to date that another process has. Gives True when it is ours to go on with, False when it is over."""
    seen = -1
    while not run.is_over:
        if await tools.journal.claim(run.record.job_id):
            await _refresh(run, tools)
            return not run.is_over
        version = await tools.journal.version()
        if version != seen:
            seen = version
            await _refresh(run, tools)
        if not run.is_over:
            await tools.runtime.sleep(FOLLOWED_S)
    return False


async def _refresh(run: JobRun, tools: Tools) -> None:
    place = tools.journal.place(run.record.job_id)
    records = await tools.journal.submissions(run.record.job_id)
    if place is None or len(records) != len(run.parts):
        raise JournalError(f"job {run.record.job_id} is not in the journal any more", code="journal.no_job")
    epoch = run.epoch
    for part, record in zip(run.parts, records, strict=True):
        before = part.record
        if record.round != before.round or _is_settled(record) != _is_settled(before):
            await _reload(part, record, place, tools)
        part.take(record, error_of(run.record, record))
        if part.is_settled and not _is_settled(before):
            run.released.append(Release(record.index, part.ledger.size))
        elif record.round != before.round:
            run.released.append(Release(record.index, record.rows_bytes))
    if run.epoch != epoch:  # it ended and was sent again by hand, between two looks
        run.renew()
    run.changed.notify()


def _is_settled(record: SubmissionRecord) -> bool:
    return record.state is SubmissionState.SETTLED


async def _reload(part: Part, record: SubmissionRecord, place: Path, tools: Tools) -> None:
    """Take the rows that are new, and what the present round sends."""
    runtime, present = tools.runtime, None
    if record.round and record.state is not SubmissionState.SETTLED:
        present = await runtime.offload(read_round, place, part.whole, record, tools.space)
        part.begin_round(*present)
    part.ledger = await runtime.offload(read_ledger, place, record, present, tools.space)
