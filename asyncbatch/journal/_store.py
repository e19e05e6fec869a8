"""What a journal's calls do to its tables: each function is a piece of one transaction, or a question."""

import math
import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Union

import msgspec

from asyncbatch.exceptions import JournalError
from asyncbatch.journal import _files
from asyncbatch.journal._database import Database
from asyncbatch.journal._locks import check_job_id, is_job_id, this_process
from asyncbatch.journal._refusals import corrupt, no_job, not_writer, on_disk
from asyncbatch.journal.interface import REPLAYED_S, Allow, Opened, Payer, Wish
from asyncbatch.journal.records import (
    Accepted,
    Confirmed,
    CreateIntended,
    CreateUnknown,
    Disowned,
    Event,
    Fenced,
    Indeterminate,
    JobRecord,
    Refused,
    Retried,
    SubmissionRecord,
    SubmissionState,
    Voided,
    apply,
    known_of,
    spent_by,
)
from asyncbatch.planning.budgets import DAY_S, Spent
from asyncbatch.planning.tidying import Known

# Fields that a later version has added are passed over.
_JOB = msgspec.json.Decoder(JobRecord)
_SUBMISSION = msgspec.json.Decoder(SubmissionRecord)
_EVENT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[tuple(Event.__subclasses__())])  # noqa: UP007 made of what there is

_RESULTS: dict[type[Event], str] = {
    Accepted: "accepted",
    Confirmed: "accepted",
    CreateUnknown: "unknown",
    Disowned: "unknown",
    Fenced: "fenced",
    Indeterminate: "indeterminate",
    Refused: "refused",
    Voided: "voided",
}
"""What an event says of the attempt that was under way."""

_UPDATE = """UPDATE submission SET state = ?, attempt = ?, tag = ?, provider_batch_id = ?, record = ?
    WHERE job_id = ? AND idx = ?"""
_INTEND = """INSERT INTO attempt SELECT ?, ?, ?, ?, ?, provider || '/' || nullif(fingerprint, ''), NULL, 'open'
    FROM job WHERE job_id = ?"""
_RESULT = "UPDATE attempt SET result = ?, provider_batch_id = ? WHERE job_id = ? AND idx = ? AND n = ?"
_HAPPEN = "INSERT INTO event (at, job_id, idx, kind, data) VALUES (?, ?, ?, ?, ?)"

# A batch that was found by time and count is nobody's for certain until its answers are read: its attempt stays unknown.
_BATCHES = """SELECT provider_batch_id FROM submission WHERE provider_batch_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM attempt WHERE attempt.job_id = submission.job_id AND attempt.idx = submission.idx
        AND attempt.n = submission.attempt AND attempt.result = 'unknown')
    UNION SELECT provider_batch_id FROM attempt WHERE provider_batch_id IS NOT NULL AND result = 'retried'"""
# A batch whose answers are held; an attempt of which nobody will know is given up by whoever sends its requests again.
_RETRY = """UPDATE attempt SET result = 'retried' WHERE job_id = ? AND idx = ? AND n = ?
    AND result IN ('accepted', 'indeterminate')"""
_REMOTE = "SELECT CAST(data AS BLOB) FROM event WHERE kind IN ('Uploaded', 'CreateIntended', 'Accepted')"
_OPEN_JOBS = "SELECT DISTINCT job_id FROM submission WHERE state <> 'settled'"
_JOB_OF_BATCH = """SELECT job.job_id FROM attempt JOIN job ON job.job_id = attempt.job_id
    WHERE attempt.provider_batch_id = ? AND job.provider = ? AND attempt.result IN ('accepted', 'unknown', 'retried')
    ORDER BY job.seq DESC LIMIT 1"""
_WISHES = "SELECT seq, job_id, word FROM wish ORDER BY seq"

# As bytes: what is not UTF-8 in a damaged file is then found by whoever decodes it.
_SUBMISSIONS = "SELECT CAST(record AS BLOB) FROM submission WHERE job_id = ? ORDER BY idx"
_SUBMISSION_BY_INDEX = "SELECT CAST(record AS BLOB) FROM submission WHERE job_id = ? AND idx = ?"
_EVENTS = "SELECT CAST(data AS BLOB) FROM event WHERE job_id = ? AND idx = ? ORDER BY seq"
JOB_BY_ID = "SELECT CAST(record AS BLOB) FROM job WHERE job_id = ?"
JOB_BY_KEY = "SELECT CAST(record AS BLOB) FROM job WHERE key = ?"
ALL_JOBS = "SELECT CAST(record AS BLOB) FROM job ORDER BY created_at, seq"
_OF_SUBMISSIONS = """SELECT job.job_id, job.model, CAST(submission.record AS BLOB)
    FROM submission JOIN job ON job.job_id = submission.job_id WHERE submission.state <> 'settled' AND """
_OPENED = f"""{_OF_SUBMISSIONS} submission.state IN ('creating', 'create_unknown', 'submitted')
    AND job.provider = ? AND job.fingerprint = ?"""
_UNSETTLED = f"{_OF_SUBMISSIONS} job.account IS ?"
_JOBS_SINCE = "SELECT CAST(record AS BLOB) FROM job WHERE created_at > ? AND account IS ?"
_SUBMISSIONS_SINCE = """SELECT job_id, CAST(record AS BLOB) FROM submission
    WHERE job_id IN (SELECT job_id FROM job WHERE created_at > ? AND account IS ?)"""
_FORGOTTEN_SINCE = "SELECT CAST(value AS BLOB) FROM meta WHERE key > ? AND key < ?"
UNFINISHED_JOBS = """SELECT CAST(record AS BLOB) FROM job
    WHERE job_id IN (SELECT job_id FROM submission WHERE state <> 'settled')
    ORDER BY created_at, seq"""


class _Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What a job counts for that is not there any more, in the table `meta`."""

    account: str | None
    spent: Spent


_FORGOTTEN = msgspec.json.Decoder(_Forgotten)


def _spent_key(at: float, job_id: str = "") -> str:
    """Name a forgotten job so that names are in the order of time."""
    return f"spent {min(at, 1e12):017.3f} {job_id}"


def _json(record: msgspec.Struct) -> str:
    return msgspec.json.encode(record).decode()


class Store:
    """The tables and places of one journal object, in its thread."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._leases = database.leases
        self._owner = owner
        self._path = database.path
        self._places = database.directory / "jobs"

    # Changes.

    def accept(
        self,
        job: JobRecord,
        submissions: Sequence[SubmissionRecord],
        at: float,
        allow: Allow | None,
        connection: sqlite3.Connection,
        undo: ExitStack,
    ) -> None:
        if _has_job(connection, job.job_id):
            raise JournalError(f"job {job.job_id} was accepted before", code="journal.job_exists")
        if job.key is not None and connection.execute("SELECT 1 FROM job WHERE key = ?", (job.key,)).fetchone():
            raise JournalError(f"there is a job of the key {job.key!r} already", code="journal.key_exists")
        if allow is not None:  # in one transaction with what follows: nobody else accepts a job in between
            allow(self.spent(job.account, job.created_at - DAY_S, connection))
        if not self._take(job.job_id, undo):
            raise not_writer(job.job_id)
        row = (
            job.job_id,
            job.key,
            job.provider,
            job.model,
            job.account,
            job.fingerprint,
            job.created_at,
            job.request_count,
        )
        connection.execute("INSERT INTO job VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, _json(job)))
        rows = [(job.job_id, record.index, *_columns(record)) for record in submissions]
        connection.executemany("INSERT INTO submission VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._raise_epoch(connection, job.job_id, at)

    def claim(self, job_id: str, at: float, connection: sqlite3.Connection, undo: ExitStack) -> bool:
        if not _has_job(connection, job_id):
            raise no_job(job_id)
        if not self._take(job_id, undo):
            return False
        if not self._renew(connection, job_id, at):
            self._raise_epoch(connection, job_id, at)
        return True

    def move(
        self, job_id: str, index: int, event: Event, at: float, connection: sqlite3.Connection, _undo: ExitStack
    ) -> SubmissionRecord:
        if not self._renew(connection, job_id, at):
            raise not_writer(job_id) if _has_job(connection, job_id) else no_job(job_id)
        before = self._submission(connection, job_id, index)
        after = apply(before, event)
        connection.execute(_UPDATE, (*_columns(after), job_id, index))
        _note_attempt(connection, job_id, before, after, event)
        connection.execute(_HAPPEN, (at, job_id, index, type(event).__name__, _json(event)))
        return after

    def wish(self, job_id: str, word: str, at: float, connection: sqlite3.Connection, _undo: ExitStack) -> None:
        if not _has_job(connection, job_id):
            raise no_job(job_id)
        connection.execute("INSERT INTO wish (job_id, word, at) VALUES (?, ?, ?)", (job_id, word, at))

    def grant(self, seq: int, connection: sqlite3.Connection, _undo: ExitStack) -> None:
        connection.execute("DELETE FROM wish WHERE seq = ?", (seq,))

    def saw(self, webhook_id: str, at: float, connection: sqlite3.Connection, _undo: ExitStack) -> bool:
        connection.execute("DELETE FROM webhook WHERE at < ?", (at - REPLAYED_S,))
        return connection.execute("INSERT OR IGNORE INTO webhook VALUES (?, ?)", (webhook_id, at)).rowcount == 1

    def _take(self, job_id: str, undo: ExitStack) -> bool:
        """Lock a job for good, unless the change fails that wants it; one that was locked before stays so."""
        had = self._leases.holds(job_id)
        taken = self._leases.take(job_id)
        if taken and not had:
            undo.callback(self._leases.drop, job_id)
        return taken

    def _renew(self, connection: sqlite3.Connection, job_id: str, at: float) -> bool:
        """Say whether we are the latest writer of a job."""
        ours = (job_id, self._owner, self._leases.epoch(job_id))
        sql = "UPDATE lease SET renewed = ? WHERE job_id = ? AND owner = ? AND epoch = ?"
        return connection.execute(sql, (at, *ours)).rowcount == 1

    def _raise_epoch(self, connection: sqlite3.Connection, job_id: str, at: float) -> None:
        """Be the writer of a job: whoever was it before is not any more, even if it does not know yet."""
        found = connection.execute("SELECT epoch FROM lease WHERE job_id = ?", (job_id,)).fetchone()
        epoch = found[0] + 1 if found else 1
        row = (job_id, self._owner, *this_process(), epoch, at)
        connection.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._leases.set_epoch(job_id, epoch)

    # Steps.

    def make_place(self, job_id: str) -> Path:
        """Lock a job that is about to be accepted, or goes on, and make its directory."""
        if not self._leases.take(job_id):
            raise not_writer(job_id)
        place = self.place(job_id)
        with on_disk(place):
            _files.make_private(place)
        return place

    def place(self, job_id: str) -> Path:
        return self._places / check_job_id(job_id)

    def forget(self, job_id: str, at: float) -> None:
        """Remove the rows of a job, then its directory, then its lock."""
        with ExitStack() as undo:
            if not self._take(job_id, undo):
                raise not_writer(job_id)
            (answer,) = self._database.commit([partial(self._delete, job_id, at)])
            if answer.error is not None:
                raise answer.error
            place = self.place(job_id)
            with on_disk(place):
                if os.path.lexists(place):
                    shutil.rmtree(place)
                self._leases.drop(job_id, and_file=True)

    def _delete(self, job_id: str, at: float, connection: sqlite3.Connection, _undo: ExitStack) -> None:
        """Remove the rows of a job; what it counts for within its day is kept, or whoever forgets jobs had no budget."""
        for job in self.jobs(JOB_BY_ID, (job_id,), connection):
            spent = _Forgotten(account=job.account, spent=spent_by(job, self.submissions(job_id, connection)))
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (_spent_key(job.created_at, job_id), _json(spent))
            )
        connection.execute("DELETE FROM meta WHERE key > ? AND key < ?", (_spent_key(0.0), _spent_key(at - DAY_S)))
        connection.execute("DELETE FROM job WHERE job_id = ?", (job_id,))

    # Questions.

    def opened(self, payer: Payer, connection: sqlite3.Connection) -> tuple[Opened, ...]:
        """Give what a payer has open; one without a fingerprint is told by its account."""
        account = () if payer.fingerprint else (payer.account,)
        question = _OPENED + (" AND job.account IS ?" if account else "")
        return self._found(connection.execute(question, (payer.provider, payer.fingerprint, *account)))

    def unsettled(self, account: str | None, connection: sqlite3.Connection) -> tuple[Opened, ...]:
        """Give what is not settled of an account."""
        return self._found(connection.execute(_UNSETTLED, (account,)))

    def _found(self, cursor: sqlite3.Cursor) -> tuple[Opened, ...]:
        rows = cursor.fetchall()
        records = self._decoded(_SUBMISSION, [(row[2],) for row in rows])
        return tuple(Opened(row[0], row[1], record) for row, record in zip(rows, records, strict=True))

    def spent(self, account: str | None, since: float, connection: sqlite3.Connection) -> tuple[Spent, ...]:
        """Give what the jobs of an account count for that were accepted later than this."""
        jobs = self._decoded(_JOB, connection.execute(_JOBS_SINCE, (since, account)).fetchall())
        held: dict[str, list[SubmissionRecord]] = {job.job_id: [] for job in jobs}
        rows = connection.execute(_SUBMISSIONS_SINCE, (since, account)).fetchall()
        records = self._decoded(_SUBMISSION, [(row[1],) for row in rows])
        for (job_id, _), record in zip(rows, records, strict=True):
            held[job_id].append(record)
        keys = (_spent_key(since), _spent_key(math.inf))
        forgotten = self._decoded(_FORGOTTEN, connection.execute(_FORGOTTEN_SINCE, keys).fetchall())
        kept = (spent_by(job, held[job.job_id]) for job in jobs)
        return (*kept, *(item.spent for item in forgotten if item.account == account))

    def strays(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Name the places of jobs that were never accepted: their process died before."""
        if not self._places.exists():
            return ()
        with on_disk(self._places):
            names = sorted(place.name for place in self._places.iterdir())
        return tuple(name for name in names if is_job_id(name) and not _has_job(connection, name))

    def batches(self, connection: sqlite3.Connection) -> frozenset[str]:
        """Name every batch that is certainly some submission's."""
        found = connection.execute(_BATCHES)
        return frozenset(name for (name,) in found)

    def job_of_batch(self, provider: str, batch_id: str, connection: sqlite3.Connection) -> str | None:
        """Name the latest job of which an attempt became this batch."""
        found = connection.execute(_JOB_OF_BATCH, (batch_id, provider)).fetchone()
        return None if found is None else str(found[0])

    def known(self, connection: sqlite3.Connection) -> Known:
        """Give every mark, batch and upload that any job ever had."""
        happened = self._decoded(_EVENT, connection.execute(_REMOTE))
        return known_of(happened, (job_id for (job_id,) in connection.execute(_OPEN_JOBS).fetchall()))

    def wishes(self, connection: sqlite3.Connection) -> tuple[Wish, ...]:
        return tuple(Wish(*row) for row in connection.execute(_WISHES).fetchall())

    def jobs(self, question: str, values: tuple[str, ...], connection: sqlite3.Connection) -> tuple[JobRecord, ...]:
        return self._decoded(_JOB, connection.execute(question, values))

    def submissions(self, job_id: str, connection: sqlite3.Connection) -> tuple[SubmissionRecord, ...]:
        return self._decoded(_SUBMISSION, connection.execute(_SUBMISSIONS, (job_id,)))

    def events(self, job_id: str, index: int, connection: sqlite3.Connection) -> tuple[Event, ...]:
        return self._decoded(_EVENT, connection.execute(_EVENTS, (job_id, index)))

    def _submission(self, connection: sqlite3.Connection, job_id: str, index: int) -> SubmissionRecord:
        found: tuple[SubmissionRecord, ...]
        found = self._decoded(_SUBMISSION, connection.execute(_SUBMISSION_BY_INDEX, (job_id, index)))
        if not found:
            raise JournalError(f"job {job_id} has no submission {index}", code="journal.no_submission")
        return found[0]

    def _decoded(self, decoder: msgspec.json.Decoder[Any], rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
        texts = list(rows)  # to the end, whatever is in them: a question half answered keeps the file locked
        try:
            return tuple(decoder.decode(text) for (text,) in texts)
        except (ValueError, RecursionError) as error:  # of msgspec, or of what is not UTF-8, or of damage that nests
            raise corrupt(self._path, f"a record in it cannot be read: {error}") from error


def _columns(record: SubmissionRecord) -> tuple[Any, ...]:
    return (record.state.value, record.attempt, record.tag, record.provider_batch_id, _json(record))


def _note_attempt(
    connection: sqlite3.Connection, job_id: str, before: SubmissionRecord, after: SubmissionRecord, event: Event
) -> None:
    """Keep account of the attempt that this event begins or tells about."""
    here = (job_id, after.index, after.attempt)
    if isinstance(event, CreateIntended):
        connection.execute(_INTEND, (*here, event.mark, event.at, job_id))
        return
    if isinstance(event, Retried):
        connection.execute(_RETRY, here)
        return
    result = _RESULTS.get(type(event))
    if isinstance(event, Accepted) and not event.is_certain:
        result = "unknown"  # whoever has the answer to a create owns the batch, not who finds one that looks like it
    if result is None or (result == "refused" and before.state is not SubmissionState.CREATING):
        return  # nothing was under way
    batch_id = after.provider_batch_id or (before.provider_batch_id if result == "voided" else None)
    connection.execute(_RESULT, (result, batch_id, *here))


def _has_job(connection: sqlite3.Connection, job_id: str) -> bool:
    return connection.execute("SELECT 1 FROM job WHERE job_id = ?", (job_id,)).fetchone() is not None
