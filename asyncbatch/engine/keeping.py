"""The large bodies of a job that outlive its process: what was handed in, what the requests are called, how they ended.

They lie in the job's own directory, and are whole before the journal promises the job; rows of outcomes are whole before it
says that a submission is settled. Everything here blocks.
"""

from array import array
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.ledger import Ledger
from asyncbatch.exceptions import (
    ConfigError,
    JournalError,
    ProviderPermanentError,
    ProviderTransientError,
    SubmissionUnknownError,
)
from asyncbatch.journal import JobRecord, SubmissionRecord, SubmissionState
from asyncbatch.request_ids import IdIndex, PickedIds, RequestIds
from asyncbatch.spool import SpoolFile, SpoolSpace, SpoolView, sync_directory

_REFUSED, _REJECTS = "refused", "rejects"


def rows_at(place: Path, index: int) -> Path:
    """Say where the outcomes of a submission lie."""
    return place / f"rows-{index:04d}"


def _round_at(place: Path, index: int, number: int) -> tuple[Path, Path]:
    """Say where the requests of a later round lie: which they are, and their lines."""
    name = f"round-{index:04d}-{number:04d}"
    return place / name, place / f"{name}.input"


def keep(
    place: Path, submissions: Sequence[PreparedSubmission], rejects: Ledger | None, space: SpoolSpace
) -> list[PreparedSubmission]:
    """Let everything that a job needs lie in its place, safe against a power failure.

    Raises:
        ConfigError: A provider of somebody else's gives submissions whose requests are nowhere.
    """
    views = [_spooled(item, space) for item in submissions]
    files = {id(view.file): view.file for view in views}
    for number, file in enumerate(files.values()):
        file.keep_at(place / f"input-{number:04d}")
    _keep_ids(place, submissions, space)
    if rejects is not None:
        rejects.keep_at(place / _REJECTS)
    sync_directory(place.parent)
    return [item.replace(spool=view, payloads=()) for item, view in zip(submissions, views, strict=True)]


def _spooled(submission: PreparedSubmission, space: SpoolSpace) -> SpoolView:
    if isinstance(submission.spool, SpoolView):
        return submission.spool
    if not submission.payloads:
        message = f"{submission.provider_name}: its submissions keep their requests nowhere, so no journal can"
        raise ConfigError(message, code="provider.submission", hint='use BatchClient(journal="memory")')
    file = space.new()
    file.append(b"".join(bytes(line) + b"\n" for line in submission.payloads))
    return file.view()


def _keep_ids(place: Path, submissions: Sequence[PreparedSubmission], space: SpoolSpace) -> None:
    known = [item.request_ids for item in submissions if isinstance(item.request_ids, RequestIds)]
    if known:
        index = known[0].whole
    else:
        index = IdIndex.new(space)
        for item in submissions:
            index.extend(list(item.request_ids))
    index.keep_in(place)
    file = space.new()
    file.append(array("Q", submissions[0].refused_rows if submissions else ()).tobytes())
    file.keep_at(place / _REFUSED)


def input_of(submission: PreparedSubmission, place: Path | None) -> tuple[str, int, int]:
    """Say in which body the input of a submission lies, where it begins there, and its length."""
    view = submission.spool
    if not isinstance(view, SpoolView):
        return "", 0, view.size if view is not None else 0
    name = view.file.path.name if place is not None and view.file.path is not None else ""
    return name, view.offset, view.size


def keep_round(place: Path, index: int, number: int, sent: Sequence[int], lines: SpoolFile, space: SpoolSpace) -> None:
    """Let what a later round needs lie in the place of its job, safe against a power failure."""
    where, body = _round_at(place, index, number)
    positions = space.new()
    positions.append(array("Q", sent).tobytes())
    positions.keep_at(where)
    lines.keep_at(body)


def read_round(
    place: Path, whole: PreparedSubmission, record: SubmissionRecord, space: SpoolSpace
) -> tuple[PreparedSubmission, Sequence[int]]:
    """Read the requests of the present round back, and which they are."""
    where, body = _round_at(place, record.index, record.round)
    sent = array("Q")
    sent.frombytes(space.kept(where).read())
    return round_of(whole, sent, space.kept(body).view(), record), sent


def round_of(
    whole: PreparedSubmission, sent: Sequence[int], lines: SpoolView, record: SubmissionRecord | None = None
) -> PreparedSubmission:
    """Give what a later round sends: some of the requests, under the ids that they have on the wire."""
    changes = {
        "spool": lines,
        "payloads": (),
        "request_count": len(sent),
        "request_ids": PickedIds(whole.request_ids, sent),
        "row_span": whole.request_count,
    }
    fresh = {"tag": None, "input_ref": None, "input_expires_at": None}
    known = {name: getattr(record, name) for name in fresh} if record is not None else fresh
    return whole.replace(**changes, **known)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A job, read back.

    Attributes:
        submissions: As they were accepted, with what has become of them since.
        rounds: Of each, what its present round sends; None in the first.
        ledgers: How their requests ended: closed where a submission is settled, else with what earlier rounds brought.
        rejects: The requests that were refused before anything was sent.
    """

    submissions: list[PreparedSubmission]
    rounds: list[tuple[PreparedSubmission, Sequence[int]] | None]
    ledgers: list[Ledger]
    rejects: Ledger | None


def _refuse_lost(place: Path, job: JobRecord, records: Sequence[SubmissionRecord]) -> None:
    names = {_REFUSED, *(record.input_name for record in records), *([_REJECTS] if job.rejected_count else [])}
    settled = (rows_at(place, record.index).name for record in records if record.state is SubmissionState.SETTLED)
    gone = sorted(name for name in names.union(settled) if not (place / name).exists())
    if gone:
        hint = (
            "nothing was changed; its answers may still lie at the provider, where its batches are found by their ids"
        )
        message = f"of job {job.job_id}, {', '.join(gone)} in {place} is gone"
        raise JournalError(message, code="journal.body_lost", hint=hint)


def read_back(place: Path, job: JobRecord, records: Sequence[SubmissionRecord], space: SpoolSpace) -> Kept:
    """Read a job back that another process accepted.

    Raises:
        StorageError: A body of it cannot be read.
        JournalError: One is gone, or its rows do not add up.
    """
    _refuse_lost(place, job, records)
    ids, refused = IdIndex.kept(space, place), array("Q")
    refused.frombytes(space.kept(place / _REFUSED).read())
    files: dict[str, SpoolFile] = {}
    submissions: list[PreparedSubmission] = []
    position = 0
    for record in records:
        if record.input_name not in files:
            files[record.input_name] = space.kept(place / record.input_name)
        view = files[record.input_name].view(record.input_offset, record.input_bytes)
        run = RequestIds(ids, position, record.request_count)
        frame = _submission(job, record, len(records))
        submissions.append(frame.replace(spool=view, request_ids=run, refused_rows=refused))
        position += record.request_count
    rounds = [
        read_round(place, whole, record, space)
        if record.round and record.state is not SubmissionState.SETTLED
        else None
        for whole, record in zip(submissions, records, strict=True)
    ]
    ledgers = [read_ledger(place, record, sent, space) for record, sent in zip(records, rounds, strict=True)]
    rejects = Ledger.load(job.rejected_count, space.kept(place / _REJECTS)) if job.rejected_count else None
    return Kept(submissions=submissions, rounds=rounds, ledgers=ledgers, rejects=rejects)


def _submission(job: JobRecord, record: SubmissionRecord, total: int) -> PreparedSubmission:
    return PreparedSubmission(
        batch_id=UUID(hex=job.job_id),
        provider_name=job.provider,
        model=job.model,
        mode=job.mode,
        endpoint=job.endpoint,
        chunk_index=record.index,
        total_chunks=total,
        request_count=record.request_count,
        first_row=record.first_row,
        wire_prefix=record.wire_prefix,
        tag=record.tag,
        is_inline=record.is_inline,
        input_ref=record.input_ref,
        input_expires_at=record.input_expires_at,
        dropped=job.options.get("dropped", {}),
        options=job.options.get("create", {}),
    )


def read_ledger(
    place: Path,
    record: SubmissionRecord,
    present: tuple[PreparedSubmission, Sequence[int]] | None,
    space: SpoolSpace,
) -> Ledger:
    """Read the account of a submission back, as far as it is known to be whole."""
    if record.state is not SubmissionState.SETTLED and present is None:
        return Ledger(record.request_count, space.new(is_one_of_many=True))
    file = space.kept(rows_at(place, record.index))
    if present is None:
        return Ledger.load(record.request_count, file)
    ledger = Ledger.load(record.request_count, file, record.rows_bytes)
    ledger.reopen(present[1])
    return ledger


def error_of(job: JobRecord, record: SubmissionRecord) -> Exception | None:
    """Say why a submission has no batch, as whoever waited for it was told."""
    why = record.reason or "it was refused"
    match record.ending:
        case "indeterminate":
            return SubmissionUnknownError(why, provider=job.provider, code="create_unknown")
        case "refused":
            return ProviderPermanentError(why, provider=job.provider, code="refused")
        case "refused_for_now":
            return ProviderTransientError(why, provider=job.provider, code="refused_for_now")
        case _:
            return None
