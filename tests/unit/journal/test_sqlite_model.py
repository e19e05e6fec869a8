"""The journal on disk against the one in memory: whatever is done in whatever order, both say the same."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asyncbatch.exceptions import JournalError
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    JobRecord,
    MemoryJournal,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    UploadIntended,
    _schema,
)
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.runtime import Runtime
from tests.journal.journals import job, tables
from tests.unit.journal.test_records import EVENTS

JOBS = st.sampled_from(["job-a", "job-b", "job-c"])
KEYS = st.sampled_from([None, "nightly", "weekly"])
INDEXES = st.integers(0, 1)
ORDERS = st.sampled_from([1.0, 2.0])
LIVE = ("open", "unknown", "accepted", "indeterminate")
MAY_BE_PAID = (SubmissionState.CREATING, SubmissionState.CREATE_UNKNOWN, SubmissionState.SUBMITTED)


class TwoJournals(RuleBasedStateMachine):
    """Do everything to both, in one process that now and then starts anew."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.memory = MemoryJournal()
        self.disk = self.open()
        self.count = 0
        self.at = 1_800_000_000.0

    def open(self) -> SqliteJournal:
        journal = SqliteJournal(self.base / "state", Runtime())
        self.runner.run(journal.open())
        return journal

    def teardown(self) -> None:
        self.runner.run(self.disk.close())
        self.runner.close()
        shutil.rmtree(self.base)

    def both(self, verb: str, *args, **options):
        """Ask both the same; they must answer, or refuse, alike."""
        answers = [self.outcome(journal, verb, *args, **options) for journal in (self.memory, self.disk)]
        assert answers[0] == answers[1]
        return answers[0]

    def outcome(self, journal, verb, *args, **options):
        try:
            return self.runner.run(getattr(journal, verb)(*args, **options))
        except JournalError as error:
            return error.code, error.message

    @rule(job_id=JOBS, key=KEYS, created_at=ORDERS, count=st.integers(0, 2))
    def accept(self, job_id, key, created_at, count):
        record: JobRecord = job(job_id, key=key, created_at=created_at)
        self.both("accept", record, [SubmissionRecord(index=index, request_count=1) for index in range(count)])

    def has(self, job_id, index) -> bool:
        return len(self.runner.run(self.memory.submissions(job_id))) > index

    @rule(job_id=JOBS, index=INDEXES, name=st.sampled_from(sorted(set(EVENTS) - {"create intended", "accepted"})))
    def any_event(self, job_id, index, name):
        self.move(job_id, index, EVENTS[name])

    @rule(job_id=JOBS, index=INDEXES)
    def create(self, job_id, index):
        self.count += 1
        for event in (UploadIntended(), Uploaded(input_ref="f"), CreateIntended(mark=f"mark-{self.count}", at=1.0)):
            self.move(job_id, index, event)

    @rule(job_id=JOBS, index=INDEXES, is_certain=st.booleans())
    def become_a_batch(self, job_id, index, is_certain):
        self.count += 1
        self.move(job_id, index, Accepted(provider_batch_id=f"batch-{self.count}", is_certain=is_certain))

    def move(self, job_id, index, event):
        if self.has(job_id, index) or self.runner.run(self.memory.job(job_id)) is None:
            self.both("move", job_id, index, event)
            self.both("events", job_id, index)

    @rule(webhook_id=st.sampled_from(["msg-1", "msg-2", "msg-3"]), days=st.floats(0, 3))
    def hear(self, webhook_id, days):
        self.at += days * 86_400.0
        self.both("saw", webhook_id, self.at)

    @rule(job_id=JOBS)
    def forget(self, job_id):
        self.both("forget", job_id)

    @rule(job_id=JOBS)
    def hand_over(self, job_id):
        self.both("release", job_id)
        self.both("claim", job_id)

    @rule()
    def start_anew(self):
        self.runner.run(self.disk.close())
        self.disk = self.open()
        for record in self.both("jobs"):
            self.both("claim", record.job_id)

    @invariant()
    def both_know_the_same(self):
        for record in self.both("jobs"):
            self.both("submissions", record.job_id)
        self.both("jobs", unfinished=True)
        self.both("batches")
        self.both("known")
        for key in ("nightly", "weekly"):
            self.both("job_of", key)
        for number in range(self.count + 1):
            self.both("job_of_batch", "openai", f"batch-{number}")
            self.both("job_of_batch", "mistral", f"batch-{number}")

    @invariant()
    def the_attempts_tell_what_the_records_tell(self):
        with tables(self.base / "state") as sql:
            rows = sql.execute("SELECT job_id, idx, result FROM attempt").fetchall()
        for record in self.runner.run(self.memory.jobs()):
            for part in self.runner.run(self.memory.submissions(record.job_id)):
                mine = [result for job_id, index, result in rows if (job_id, index) == (record.job_id, part.index)]
                assert len(mine) == part.attempt
                may_be_paid = part.state in MAY_BE_PAID or part.end is not None or part.ending == "indeterminate"
                assert sum(result in LIVE for result in mine) == may_be_paid


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """What reaches the disk when is tested elsewhere, and would be most of the time that this takes."""
    monkeypatch.setattr(_schema, "SYNCHRONOUS", {"wal": "OFF", "truncate": "OFF"})
    monkeypatch.setattr(os, "fsync", lambda _: None)


TestTwoJournals = TwoJournals.TestCase
TestTwoJournals.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
