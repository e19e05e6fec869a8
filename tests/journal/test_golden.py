"""Journals of released versions are resumed by this one."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from asyncbatch.journal import SubmissionRecord, SubmissionState, _schema
from tests.journal.golden.make import LIVES, LIVES_AT, named
from tests.journal.journals import folded, job, life, opened, tables

GOLDEN = sorted(Path(__file__).parent.glob("golden/*.sql"))


@pytest.fixture(params=GOLDEN, ids=[path.stem for path in GOLDEN])
def golden(request):
    return request.param


@pytest.fixture
def lives(golden):
    """Give the lives that its schema could hold."""
    return {name: LIVES[name] for name in LIVES_AT[int(golden.stem.removeprefix("schema-"))]}


@pytest.fixture
def state(golden, tmp_path) -> Path:
    """Give the directory of a journal as that version left it."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(directory / "journal.sqlite3")) as connection:
        connection.executescript(golden.read_text(encoding="utf-8"))
    (directory / "journal.sqlite3").chmod(0o600)
    return directory


def test_there_is_one_for_every_schema():
    assert [path.stem for path in GOLDEN] == [f"schema-{number + 1}" for number in range(len(_schema.MIGRATIONS))]


async def test_the_tables_of_the_latest_are_those_that_are_made_today(tmp_path):
    async with opened(tmp_path / "state"):
        pass
    latest = GOLDEN[-1].read_text(encoding="utf-8")
    with tables(tmp_path / "state") as sql:
        made = [
            row[0]
            for row in sql.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        ]

    assert len(made) >= 12
    assert [statement for statement in made if statement not in latest] == []


async def test_a_golden_journal_is_read_whole(state, lives):
    part = SubmissionRecord(index=0, request_count=3, wire_prefix="w-")
    async with opened(state) as journal:
        known = await journal.jobs()
        unfinished = await journal.jobs(unfinished=True)

        assert [record.key for record in known] == [f"key of {name}" for name in lives]
        assert [record.job_id for record in known if record not in unfinished] == ["settled"]
        for number, (record, (name, lived)) in enumerate(zip(known, lives.items(), strict=True)):
            events = [named(event, name) for event in lived]
            assert record == job(name.replace(" ", "-"), key=f"key of {name}", created_at=float(number))
            assert list(await journal.events(record.job_id, 0)) == events
            assert await journal.submissions(record.job_id) == (folded(part, events),)


async def test_what_a_golden_journal_has_seen_and_whose_its_batches_are_is_known(golden, state, lives):
    number = int(golden.stem.removeprefix("schema-"))
    async with opened(state) as journal:
        assert await journal.saw("msg_golden", 1_800_000_001.0) is (number < 3)
        assert await journal.saw("msg_golden", 1_800_000_002.0) is False
        for name in ("submitted", "ended", "settled", "retried", "cancel asked"):
            job_id = name.replace(" ", "-") if name in lives else None
            assert await journal.job_of_batch("openai", f"batch-{name}") == job_id


async def test_a_golden_journal_goes_on(state):
    async with opened(state) as journal:
        for name in list(LIVES)[:8]:
            job_id = name.replace(" ", "-")
            assert await journal.claim(job_id) is True
            for event in life("golden")[len(LIVES[name]) :]:
                await journal.move(job_id, 0, named(event, name))
            assert (await journal.submissions(job_id))[0].state is SubmissionState.SETTLED
    with tables(state) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (len(_schema.MIGRATIONS),)
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
