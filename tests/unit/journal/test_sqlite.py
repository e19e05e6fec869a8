"""The journal on disk: private, in one piece, one writer to a job, and clear about everything that it refuses."""

import asyncio
import gc
import os
import sqlite3
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest

from asyncbatch.exceptions import JournalError
from asyncbatch.journal import (
    Accepted,
    Confirmed,
    CreateIntended,
    Disowned,
    Ended,
    Fenced,
    FenceIntended,
    Indeterminate,
    Refused,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Voided,
    _database,
    _files,
    _locks,
    _schema,
)
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.runtime import Runtime
from tests.engine.waiting import until
from tests.journal.journals import PARTS, folded, job, life, opened, tables


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def journal(state):
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
        yield journal


async def refusal(call) -> str:
    with pytest.raises(JournalError) as caught:
        await call
    return caught.value.code


async def code_of_opening(state) -> str:
    return await refusal(opened(state).__aenter__())


# --- what is kept ------------------------------------------------------------------------------------------------


async def test_a_journal_that_is_opened_again_knows_everything_and_goes_on(state):
    async with opened(state) as journal:
        await journal.accept(job(key="nightly"), PARTS)
        for event in life("a")[:4]:
            await journal.move("job-1", 0, event)

    async with opened(state) as journal:
        assert await journal.job("job-1") == await journal.job_of("nightly") == job(key="nightly")
        assert await journal.submissions("job-1") == (folded(PARTS[0], life("a")[:4]), PARTS[1])
        assert list(await journal.events("job-1", 0)) == life("a")[:4]
        assert await journal.claim("job-1") is True
        for event in life("a")[4:]:
            await journal.move("job-1", 0, event)
        assert (await journal.submissions("job-1"))[0].state is SubmissionState.SETTLED


async def test_one_object_can_be_opened_again(state):
    journal = SqliteJournal(state, Runtime())
    await journal.open()
    await journal.open()
    await journal.accept(job(), PARTS)
    await journal.close()
    await journal.close()

    assert await refusal(journal.job("job-1")) == "journal.closed"
    await journal.open()
    assert await journal.job("job-1") == job()
    await journal.close()


async def test_jobs_come_oldest_first_and_unfinished_ones_can_be_asked_for(journal):
    await journal.accept(job("job-0", created_at=9.0), PARTS[:1])
    await journal.accept(job("job-2", created_at=7.0), PARTS)
    await journal.accept(job("rejected", created_at=8.0), ())
    for event in life("b"):
        await journal.move("job-0", 0, event)

    assert [record.job_id for record in await journal.jobs()] == ["job-1", "job-2", "rejected", "job-0"]
    assert [record.job_id for record in await journal.jobs(unfinished=True)] == ["job-1", "job-2"]
    assert await journal.batches() == {"batch-b"}


async def test_what_we_ever_had_at_providers_is_known_whatever_became_of_it(journal, state):
    for event in life("a"):
        await journal.move("job-1", 0, event)
    for event in [*life("b")[:4], Accepted(provider_batch_id="batch-b", is_certain=False), Disowned()]:
        await journal.move("job-1", 1, event)
    known = await journal.known()
    async with opened(state) as other:
        assert await other.known() == known

    assert known.tags == {"mark-a", "mark-b"}
    assert known.batches == {"batch-a", "batch-b"}
    assert known.inputs == {"file-a", "file-b"}
    assert known.open_jobs == {"job-1"}
    await journal.move("job-1", 1, Indeterminate(why="nobody knows"))
    await journal.move("job-1", 1, life("b")[-1])
    assert (await journal.known()).open_jobs == frozenset()


async def test_a_wish_stays_until_it_is_granted_and_goes_with_its_job(journal, state):
    async with opened(state) as other:
        await other.wish("job-1", "cancel")
        await other.wish("job-1", "tidy")
    first, second = await journal.wishes()
    await journal.grant(first)
    await journal.grant(first)

    assert (first.word, second.word) == ("cancel", "tidy")
    assert await journal.wishes() == (second,)
    await journal.forget("job-1")
    assert await journal.wishes() == ()
    assert await refusal(journal.wish("job-1", "cancel")) == "journal.no_job"


async def test_the_version_differs_after_every_change_of_ours_or_of_others(journal, state):
    seen = [await journal.version()]
    assert await journal.version() == seen[0]
    await journal.move("job-1", 0, UploadIntended())
    seen.append(await journal.version())
    async with opened(state) as other:
        seen.append(await journal.version())
        await other.accept(job("job-2"), PARTS)
        seen.append(await journal.version())
    journal._database.disconnect()
    seen.append(await journal.version())

    assert seen[1] < seen[3] < seen[4]
    assert seen[0] < seen[1] <= seen[2] <= seen[3]


async def test_a_field_of_a_later_version_is_passed_over_and_an_unknown_event_is_not(journal, state):
    await journal.move("job-1", 0, UploadIntended())
    with tables(state) as sql:
        sql.execute("""UPDATE job SET record = json_set(record, '$.colour', 'blue')""")
        sql.execute("""UPDATE submission SET record = json_set(record, '$.colour', 'blue')""")
        assert await journal.job("job-1") == job()
        assert (await journal.submissions("job-1"))[1] == PARTS[1]

        sql.execute("INSERT INTO event VALUES (NULL, 1.0, 'job-1', 1, 'Novel', '{\"type\": \"Novel\"}')")
    assert await refusal(journal.events("job-1", 1)) == "journal.corrupt"
    assert await journal.events("job-1", 0) == (UploadIntended(),)


@pytest.mark.parametrize(
    "damage",
    [
        *(b"{", b"\xff", b'{"index": 0, "request_count": 2, "reason": "\xff"}', b'{"index": "zero"}'),
        b'{"index": 0, "colour": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
    ids=["cut", "no UTF-8", "no UTF-8 inside", "no number", "too deep"],
)
async def test_a_record_that_cannot_be_read_is_called_so_and_holds_up_nobody(journal, state, damage, monkeypatch):
    monkeypatch.setattr(_database, "_BUSY_S", 0.05)
    with tables(state) as sql:
        sql.execute("UPDATE submission SET record = CAST(? AS TEXT) WHERE idx = 0", (damage,))

    caught = pytest.raises(JournalError, match="a record in it cannot be read")
    with caught as reading:
        await journal.submissions("job-1")
    with caught as moving:
        await journal.move("job-1", 0, UploadIntended())

    assert {reading.value.code, moving.value.code} == {"journal.corrupt"}
    async with opened(state) as other:  # while the error still holds the frames in which it arose
        await other.accept(job("job-2"), PARTS)
    await journal.move("job-1", 1, UploadIntended())


# --- one writer to a job -----------------------------------------------------------------------------------------


async def test_two_journals_of_one_process_exclude_each_other_as_two_processes_do(journal, state):
    async with opened(state) as other:
        assert await other.claim("job-1") is False
        assert await refusal(other.move("job-1", 0, UploadIntended())) == "journal.not_writer"
        assert await refusal(other.forget("job-1")) == "journal.not_writer"
        assert await refusal(other.make_place("job-1")) == "journal.not_writer"

        await journal.release("job-1")
        await journal.release("job-1")
        assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.not_writer"
        assert await other.claim("job-1") is True
        await other.move("job-1", 0, UploadIntended())
        assert await journal.claim("job-1") is False

    assert await journal.claim("job-1") is True


async def test_a_job_is_claimed_by_whoever_is_first_and_again_by_the_same(journal):
    assert await journal.claim("job-1") is True
    await journal.release("job-1")
    assert await journal.claim("job-1") is True
    assert await journal.claim("job-1") is True
    await journal.move("job-1", 0, UploadIntended())


async def test_whoever_lost_its_lock_and_then_its_epoch_cannot_move_a_job(journal, state):
    (state / "locks/job-1").unlink()
    await journal.move("job-1", 0, UploadIntended())  # nobody has taken it yet
    async with opened(state) as heir:
        assert await heir.claim("job-1") is True

        assert await refusal(journal.move("job-1", 0, Uploaded(input_ref="f"))) == "journal.not_writer"
        assert await refusal(journal.move("job-1", 1, UploadIntended())) == "journal.not_writer"
        assert await journal.claim("job-1") is False
        await heir.move("job-1", 0, Uploaded(input_ref="f"))
    assert await refusal(journal.move("job-1", 1, UploadIntended())) == "journal.not_writer"
    assert await journal.claim("job-1") is True


async def test_a_lock_file_that_was_replaced_is_locked_anew(journal, state):
    (state / "locks/job-1").unlink()

    assert await journal.claim("job-1") is True
    async with opened(state) as other:
        assert await other.claim("job-1") is False


async def test_an_epoch_raised_by_others_stops_a_writer_that_still_has_its_lock(journal, state):
    with tables(state) as sql:
        sql.execute("UPDATE lease SET epoch = epoch + 1")

    assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.not_writer"
    assert await journal.claim("job-1") is True
    await journal.move("job-1", 0, UploadIntended())


async def test_epochs_only_rise(journal, state):
    epochs = []
    for _ in range(3):
        await journal.release("job-1")
        await journal.claim("job-1")
        with tables(state) as sql:
            epochs += sql.execute("SELECT epoch FROM lease").fetchone()

    assert epochs == [2, 3, 4]


async def test_the_lease_says_who_writes(journal, state):
    with tables(state) as sql:
        pid, started, boot_id = sql.execute("SELECT pid, started, boot_id FROM lease").fetchone()

    assert (pid, started, boot_id) == _locks.this_process()
    assert pid == os.getpid()


def test_a_process_has_no_start_where_the_system_tells_none(monkeypatch, tmp_path):
    monkeypatch.setattr(_locks, "_PROC", tmp_path)

    assert _locks.this_process() == (os.getpid(), 0, "")


async def test_a_job_that_another_is_about_to_accept_is_not_accepted(journal, state):
    async with opened(state) as other:
        await other.make_place("job-2")
        assert await refusal(journal.accept(job("job-2"), PARTS)) == "journal.not_writer"
        await other.accept(job("job-2"), PARTS)
        await other.move("job-2", 0, UploadIntended())

    assert await journal.job("job-2") == job("job-2")


async def test_a_refused_acceptance_leaves_no_lock_behind(journal, state):
    await journal.accept(job("job-2", key="k"), PARTS)
    assert await refusal(journal.accept(job("job-3", key="k"), PARTS)) == "journal.key_exists"
    assert await refusal(journal.accept(job("job-4"), (PARTS[0], PARTS[0]))) == "journal.refused"

    async with opened(state) as other:
        assert await refusal(other.accept(job("job-3", key="k"), PARTS)) == "journal.key_exists"
        await other.accept(job("job-4"), PARTS)


@pytest.mark.parametrize("job_id", ["", "../up", "a/b", ".hidden", "x" * 129, "nul\0"])
async def test_what_cannot_name_a_file_cannot_name_a_job(journal, job_id):
    for call in (
        journal.accept(job(job_id), PARTS),
        journal.claim(job_id),
        journal.forget(job_id),
        journal.make_place(job_id),
    ):
        assert await refusal(call) == "journal.no_job"
    with pytest.raises(JournalError):
        journal.place(job_id)


async def test_jobs_and_submissions_that_are_not_there_are_named(journal):
    assert await journal.job("job-2") is None
    assert await journal.job_of("k") is None
    assert await refusal(journal.claim("job-2")) == "journal.no_job"
    assert await refusal(journal.move("job-1", 7, UploadIntended())) == "journal.no_submission"


def test_a_lock_that_is_always_snatched_away_is_somebody_elses(tmp_path, monkeypatch):
    path, tries = tmp_path / "lock", []
    monkeypatch.setattr(_locks.Lock, "is_current", property(lambda lock: tries.append(lock) or False))

    assert _locks.try_lock(path) is None
    assert len(tries) == _locks._TRIES


@pytest.mark.parametrize(("number", "code"), [("ENOLCK", "journal.unsupported"), ("EIO", "journal.io")])
async def test_a_file_system_without_locks_is_refused(journal, monkeypatch, number, code):
    import errno
    import fcntl

    def flock(*_):
        raise OSError(getattr(errno, number), "no")

    descriptors = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(fcntl, "flock", flock)

    assert await refusal(journal.accept(job("job-2"), PARTS)) == code
    assert len(os.listdir("/dev/fd")) == descriptors


async def test_a_platform_without_locks_is_told_to_use_the_other_journal(state, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)

    with pytest.raises(JournalError, match="use the journal in memory") as caught:
        await SqliteJournal(state, Runtime()).open()

    assert caught.value.code == "journal.unsupported"
    assert not state.exists()


# --- places ------------------------------------------------------------------------------------------------------


async def test_a_place_is_private_and_goes_with_its_job(journal, state):
    place = await journal.make_place("job-1")
    (place / "raw").write_bytes(b"answers")

    assert place == journal.place("job-1") == state / "jobs/job-1"
    assert place.stat().st_mode & 0o777 == 0o700
    await journal.forget("job-1")
    await journal.forget("job-1")
    assert not place.exists()
    assert not (state / "locks/job-1").exists()
    assert await journal.job("job-1") is None
    with tables(state) as sql:
        rows = [
            sql.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("submission", "attempt", "event", "lease")
        ]
    assert rows == [0, 0, 0, 0]


async def test_places_of_jobs_that_were_never_accepted_are_found_and_cleared(journal, state):
    assert await journal.strays() == ()
    await journal.make_place("job-1")
    async with opened(state) as dying:
        await dying.make_place("stray")
    (state / "jobs/.not-a-job").mkdir()
    async with opened(state) as living:
        await living.make_place("soon")

        assert await journal.strays() == ("soon", "stray")
        assert await refusal(journal.forget("soon")) == "journal.not_writer"
        await journal.forget("stray")
        assert await journal.strays() == ("soon",)


async def test_a_forgotten_job_may_be_accepted_again(journal):
    await journal.forget("job-1")
    await journal.accept(job(), PARTS)
    await journal.move("job-1", 0, UploadIntended())


# --- private and trusted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_everything_is_private_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        async with opened(tmp_path / "a/b/state") as journal:
            await journal.accept(job(), PARTS)
            await journal.make_place("job-1")
            paths = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
            modes = {path: path.stat().st_mode & 0o777 for path in paths}
    finally:
        os.umask(before)

    assert len(modes) >= 9
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items()), modes


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
async def test_a_directory_that_others_can_write_to_is_refused(state, mode):
    state.mkdir()
    state.chmod(mode)

    with pytest.raises(JournalError, match="others can write to it") as caught:
        await SqliteJournal(state, Runtime()).open()

    assert caught.value.code == "journal.not_private"
    assert caught.value.hint == f"chmod go-w {state}"
    assert list(state.iterdir()) == []


async def test_a_file_that_others_can_write_to_is_refused(state):
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
    (state / "journal.sqlite3").chmod(0o666)

    assert await code_of_opening(state) == "journal.not_private"


async def test_a_link_in_the_place_of_the_file_is_refused(state, tmp_path):
    state.mkdir(mode=0o700)
    (tmp_path / "elsewhere").touch(mode=0o600)
    (state / "journal.sqlite3").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JournalError, match="not a plain file"):
        await SqliteJournal(state, Runtime()).open()
    assert (tmp_path / "elsewhere").read_bytes() == b""


async def test_a_link_of_ours_to_a_directory_of_ours_is_followed(tmp_path):
    (tmp_path / "large").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "large")
    async with opened(tmp_path / "link") as journal:
        await journal.accept(job(), PARTS)

    assert (tmp_path / "large/journal.sqlite3").exists()


async def test_a_file_in_the_place_of_the_directory_is_refused(state):
    state.touch(mode=0o600)

    assert await code_of_opening(state) == "journal.no_directory"


async def test_a_journal_of_a_newer_version_is_left_alone(state):
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
    with tables(state) as sql:
        sql.execute("PRAGMA user_version = 99")
    before = (state / "journal.sqlite3").read_bytes()

    with pytest.raises(JournalError, match=r"newer version of asyncbatch \(schema 99\)") as caught:
        await SqliteJournal(state, Runtime()).open()

    assert caught.value.code == "journal.newer"
    assert "nothing was changed" in caught.value.hint
    assert (state / "journal.sqlite3").read_bytes() == before


STRANGERS = {
    "text": lambda path: path.write_text("dear diary, " * 99),
    "somebody's tables": lambda path: run_sql(path, "CREATE TABLE t (x)"),
    "somebody's number": lambda path: run_sql(path, "PRAGMA application_id = 7"),
    "a version without an owner": lambda path: run_sql(path, "PRAGMA user_version = 1"),
    "ours without a version": lambda path: run_sql(path, f"PRAGMA application_id = {_schema.APPLICATION_ID}"),
    "ours without tables": lambda path: run_sql(
        path, f"PRAGMA application_id = {_schema.APPLICATION_ID}", "PRAGMA user_version = 1"
    ),
}


def run_sql(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_file_that_is_not_a_journal_is_left_alone(state, stranger):
    state.mkdir(mode=0o700)
    path = state / "journal.sqlite3"
    STRANGERS[stranger](path)
    path.chmod(0o600)
    before = path.read_bytes()

    with pytest.raises(JournalError, match="is not a journal that can be trusted") as caught:
        await SqliteJournal(state, Runtime()).open()

    assert caught.value.code == "journal.corrupt"
    assert str(path) in str(caught.value)
    assert "go on at their providers" in caught.value.hint
    assert path.read_bytes() == before


async def test_a_writer_that_has_stopped_takes_nothing_more(state):
    journal = SqliteJournal(state, Runtime())
    await journal.open()
    writer = journal._open
    await journal.close()

    assert await refusal(writer.read(journal._store.batches)) == "journal.closed"
    await writer.stop()


async def test_an_empty_file_becomes_a_journal(state):
    state.mkdir(mode=0o700)
    (state / "journal.sqlite3").touch(mode=0o600)
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)


def spoil(state):
    """Break an index, which no question would notice."""
    with tables(state) as sql:
        sql.execute("PRAGMA writable_schema = ON")
        root = sql.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_by_age'").fetchone()[0]
        size = sql.execute("PRAGMA page_size").fetchone()[0]
    with (state / "journal.sqlite3").open("r+b") as file:
        file.seek((root - 1) * size + 3)
        file.write(b"\x7f\x7f\x7f\x7f")


@pytest.mark.parametrize("loss", ["emptied", "removed"])
async def test_a_journal_that_is_gone_from_beside_its_jobs_is_not_begun_anew(state, loss):
    async with opened(state) as journal:
        await journal.make_place("0" * 32)
        await journal.accept(job("0" * 32), PARTS)
    path = state / "journal.sqlite3"
    path.write_bytes(b"") if loss == "emptied" else path.unlink()

    with pytest.raises(JournalError, match="holds the bodies of 1 jobs") as caught:
        await SqliteJournal(state, Runtime()).open()

    assert caught.value.code == "journal.corrupt"
    assert (state / "jobs" / ("0" * 32)).is_dir()


async def test_a_journal_that_was_not_left_in_order_is_checked(state, caplog):
    caplog.set_level("INFO", "asyncbatch.journal")
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
    with tables(state) as sql:
        assert sql.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("yes",)
        sql.execute("UPDATE meta SET value = 'no' WHERE key = 'clean'")
    async with opened(state) as journal:
        assert "it is checked" in caplog.text
    caplog.clear()
    async with opened(state) as journal:
        assert caplog.text == ""
    with tables(state) as sql:
        sql.execute("UPDATE meta SET value = 'no' WHERE key = 'clean'")
    spoil(state)

    assert await code_of_opening(state) == "journal.corrupt"


async def test_the_last_one_out_notes_that_the_journal_is_in_order(state):
    async with opened(state) as first:
        async with opened(state):
            pass
        with tables(state) as sql:
            assert sql.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("no",)
        await first.accept(job(), PARTS)

    with tables(state) as sql:
        assert sql.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("yes",)


async def test_a_note_that_cannot_be_written_costs_a_check_and_nothing_else(state, monkeypatch, caplog):
    monkeypatch.setattr(_database, "_BUSY_S", 0.01)
    with ExitStack() as stack:
        async with opened(state) as journal:
            await journal.accept(job(), PARTS)
            sql = stack.enter_context(tables(state))
            sql.execute("BEGIN IMMEDIATE")
    assert "locked by others" in caplog.text

    async with opened(state) as journal:
        assert await journal.job("job-1") == job()


# --- the tables refuse -------------------------------------------------------------------------------------------


async def unknown(journal):
    """Bring a submission to where nobody knows whether its create arrived."""
    for event in life("x")[:4]:
        await journal.move("job-1", 0, event)


@pytest.mark.parametrize("result", ["open", "unknown", "accepted", "indeterminate"])
@pytest.mark.parametrize("first", ["open", "unknown", "accepted", "indeterminate"])
async def test_the_database_itself_refuses_a_second_attempt_that_may_have_been_accepted(journal, state, first, result):
    await unknown(journal)
    with tables(state) as sql:
        sql.execute("UPDATE attempt SET result = ?, provider_batch_id = 'b1'", (first,))
        with pytest.raises(sqlite3.IntegrityError):
            sql.execute("INSERT INTO attempt VALUES ('job-1', 0, 2, 'another tag', 9.0, 'p', 'b2', ?)", (result,))
        sql.execute("INSERT INTO attempt VALUES ('job-1', 0, 2, 'another tag', 9.0, 'p', NULL, 'refused')")
        with pytest.raises(sqlite3.IntegrityError):
            sql.execute("UPDATE attempt SET result = ?, provider_batch_id = 'b2' WHERE n = 2", (result,))


async def test_code_that_forgets_an_attempt_is_stopped_by_the_database(journal, state):
    await unknown(journal)
    with tables(state) as sql:
        sql.execute("""UPDATE submission SET record = json_set(record, '$.state', 'uploaded') WHERE idx = 0""")

    with pytest.raises(JournalError, match="the journal itself refuses this") as caught:
        await journal.move("job-1", 0, CreateIntended(mark="again", at=9.0))

    assert caught.value.code == "journal.refused"
    assert len(await journal.events("job-1", 0)) == 4


async def test_two_submissions_cannot_own_one_batch(journal):
    for index in (0, 1):
        for event in life(f"{index}")[:4]:
            await journal.move("job-1", index, event)
    await journal.move("job-1", 0, Accepted(provider_batch_id="batch-7"))

    assert await refusal(journal.move("job-1", 1, Accepted(provider_batch_id="batch-7"))) == "journal.batch_taken"
    await journal.move("job-1", 1, Accepted(provider_batch_id="batch-8"))


async def test_a_batch_that_only_looks_like_ours_is_owned_by_whoever_confirms_it_first(journal):
    for index in (0, 1):
        for event in life(f"{index}")[:4]:
            await journal.move("job-1", index, event)
        await journal.move("job-1", index, Accepted(provider_batch_id="batch-7", is_certain=False))
    assert await journal.batches() == frozenset()
    await journal.move("job-1", 0, Confirmed())

    assert await journal.batches() == {"batch-7"}
    assert await refusal(journal.move("job-1", 1, Confirmed())) == "journal.batch_taken"
    await journal.move("job-1", 1, Disowned())
    assert await journal.batches() == {"batch-7"}


async def test_batches_of_other_accounts_and_of_providers_without_keys_may_share_a_name(journal):
    for job_id, fingerprint in (("job-1", None), ("other", "another key"), ("bare-1", ""), ("bare-2", "")):
        if fingerprint is not None:
            await journal.accept(job(job_id, fingerprint=fingerprint), PARTS)
        for event in life(job_id)[:3]:
            await journal.move(job_id, 0, event)
        await journal.move(job_id, 0, Accepted(provider_batch_id="batch-7"))


async def test_what_happened_is_not_changed_and_a_state_is_one_of_ours(journal, state):
    await unknown(journal)
    with tables(state) as sql:
        for statement in (
            "UPDATE event SET kind = 'Other'",
            "UPDATE submission SET state = 'lost'",
            "UPDATE submission SET state = 'submitted'",
            "UPDATE submission SET tag = NULL WHERE idx = 0",
            "UPDATE attempt SET result = 'perhaps'",
            "UPDATE attempt SET result = 'accepted'",
            "INSERT INTO attempt VALUES ('job-9', 0, 1, 't', 9.0, 'p', NULL, 'open')",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                sql.execute(statement)


async def test_each_attempt_is_kept_with_what_became_of_it(journal, state):
    await unknown(journal)
    again = [UploadIntended(), Uploaded(input_ref="f")]

    def create(mark):
        return CreateIntended(mark=mark, at=9.0)

    taken = Accepted(provider_batch_id="b")
    for event in (
        *(FenceIntended(), Fenced(), *again, create("2"), Refused(why="busy", is_final=False)),
        *(create("3"), taken, Voided(), *again, Refused(why="stale", is_final=False)),
        *(*again, create("4"), taken, Disowned(), Indeterminate(why="who knows")),
    ):
        await journal.move("job-1", 0, event)

    with tables(state) as sql:
        found = sql.execute("SELECT n, result, provider_batch_id FROM attempt ORDER BY n").fetchall()
    assert found == [(1, "fenced", None), (2, "refused", None), (3, "voided", "b"), (4, "indeterminate", None)]


# --- groups ------------------------------------------------------------------------------------------------------


async def test_a_thousand_changes_at_once_are_each_made_and_cost_a_few_commits(state):
    async with opened(state) as journal:
        ids = [f"job-{number}" for number in range(100)]
        async with asyncio.TaskGroup() as group:
            for job_id in ids:
                group.create_task(journal.accept(job(job_id), PARTS))
        before = journal._database._commits

        async def part(job_id, index):
            for event in life(f"{job_id}-{index}")[:5]:
                await journal.move(job_id, index, event)

        async with asyncio.TaskGroup() as group:
            for job_id in ids:
                group.create_task(part(job_id, 0))
                group.create_task(part(job_id, 1))
        commits = journal._database._commits - before

        for job_id in ids:
            for index in (0, 1):
                events = life(f"{job_id}-{index}")[:5]
                assert list(await journal.events(job_id, index)) == events
                assert (await journal.submissions(job_id))[index] == folded(PARTS[index], events)
    assert commits < 200, "of a thousand changes"


async def test_one_change_that_is_refused_harms_no_neighbour(journal):
    calls = [
        journal.move("job-1", 0, UploadIntended()),
        journal.move("job-1", 0, UploadIntended()),
        journal.accept(job("job-2", key="k"), PARTS),
        journal.accept(job("job-3", key="k"), PARTS),
        journal.accept(job("job-4", options={"what": object()}), PARTS),
        journal.accept(job("job-5", request_count=2**70), PARTS),
        journal.move("job-1", 1, UploadIntended()),
        journal.move("job-1", "no number", UploadIntended()),
        journal.accept(job("job-6"), (msgspec.structs.replace(PARTS[0], tag=b"x", provider_batch_id=7j), PARTS[0])),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [getattr(answer, "code", type(answer).__name__) for answer in answers] == [
        *("SubmissionRecord", "journal.illegal_move", "NoneType", "journal.key_exists", "TypeError"),
        *("OverflowError", "SubmissionRecord", "journal.no_submission", "TypeError"),
    ]
    assert [record.job_id for record in await journal.jobs()] == ["job-1", "job-2"]
    assert [part.state.value for part in await journal.submissions("job-1")] == ["uploading", "uploading"]


async def test_more_than_a_group_is_several_groups(journal, monkeypatch):
    from asyncbatch.journal import _writer

    monkeypatch.setattr(_writer, "_GROUP", 3)
    before = journal._database._commits
    with _locks.GATE:  # while nothing can be committed, everything gathers
        calls = [asyncio.ensure_future(journal.accept(job(f"more-{number}"), ())) for number in range(8)]
        while len(journal._open._asks) < 5:
            await asyncio.sleep(0)
    await asyncio.gather(*calls)

    assert journal._database._commits - before >= 3


async def test_each_of_those_who_hear_of_one_failure_has_an_error_of_its_own(journal, state, monkeypatch):
    fill(journal)
    calls = [journal.accept(large(f"large-{number}"), PARTS) for number in range(5)]
    errors = await asyncio.gather(*calls, return_exceptions=True)

    assert {error.code for error in errors} == {"journal.full"}
    assert len({id(error) for error in errors}) == 5
    assert all(isinstance(error.__cause__, sqlite3.OperationalError) for error in errors)


# --- bad disks ---------------------------------------------------------------------------------------------------


def fill(journal):
    """Let the file grow no further, for SQLite as if the disk were full."""
    connection = journal._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: connection.execute("PRAGMA max_page_count = 1000000")


def large(job_id):
    return job(job_id, options={"metadata": {"long": "x" * 100_000}})


async def test_a_full_disk_refuses_and_keeps_what_it_has(journal, state):
    make_room = fill(journal)

    with pytest.raises(JournalError, match="database or disk is full") as caught:
        await journal.accept(large("job-2"), PARTS)

    assert caught.value.code == "journal.full"
    assert "make room" in caught.value.hint
    assert await journal.job("job-2") is None
    assert await journal.submissions("job-1") == PARTS
    async with opened(state) as other:  # the lock of what was not accepted is free
        await other.make_place("job-2")
    make_room()
    await journal.accept(large("job-2"), PARTS)
    await journal.move("job-2", 0, UploadIntended())


async def test_a_claim_that_was_not_recorded_is_no_claim(journal, monkeypatch):
    await journal.release("job-1")
    monkeypatch.setattr(_database, "_transaction", failing(sqlite3.SQLITE_FULL))
    assert await refusal(journal.claim("job-1")) == "journal.full"
    monkeypatch.undo()

    assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.not_writer"
    assert await journal.claim("job-1") is True
    await journal.move("job-1", 0, UploadIntended())


def failing(number, *, is_ended=True):
    """Let a transaction do its work and fail at its end."""

    @contextmanager
    def transaction(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if is_ended:
            connection.execute("ROLLBACK")
        error = sqlite3.OperationalError("a bad disk")
        error.sqlite_errorcode = number
        raise error

    return transaction


@pytest.mark.parametrize("is_ended", [True, False])
@pytest.mark.parametrize("number", [sqlite3.SQLITE_CORRUPT, 0x40A])  # the second: SQLITE_IOERR_FSYNC
async def test_after_a_commit_that_failed_nothing_is_recorded_until_the_journal_is_opened_again(
    state, monkeypatch, caplog, number, is_ended
):
    caplog.set_level("INFO", "asyncbatch.journal")
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
        monkeypatch.setattr(_database, "_transaction", failing(number, is_ended=is_ended))
        first = await refusal(journal.move("job-1", 0, UploadIntended()))
        monkeypatch.undo()

        assert first in ("journal.io", "journal.corrupt")
        assert await refusal(journal.move("job-1", 0, UploadIntended())) == first
        assert await refusal(journal.accept(job("job-2"), PARTS)) == first
        assert await refusal(journal.forget("job-1")) == first
        assert await journal.submissions("job-1") == PARTS

    async with opened(state) as journal:
        await journal.claim("job-1")
        await journal.move("job-1", 1, UploadIntended())
        await journal.forget("job-1")
        await journal.accept(job(), PARTS)
        assert "it is checked" in caplog.text
        assert await journal.submissions("job-1") == PARTS


async def test_a_journal_that_others_hold_for_too_long_says_so(state, monkeypatch):
    monkeypatch.setattr(_database, "_BUSY_S", 0.01)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))  # in WAL mode no writer holds up a reader
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
        with tables(state) as sql:
            sql.execute("BEGIN EXCLUSIVE")
            assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.busy"
            assert await refusal(journal.jobs()) == "journal.busy"
            sql.execute("ROLLBACK")

        await journal.move("job-1", 0, UploadIntended())


async def test_a_file_that_vanished_is_not_made_again_under_way(journal, state):
    (state / "journal.sqlite3").unlink()
    journal._database.disconnect()

    assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.no_access"


async def test_a_directory_whose_names_cannot_be_synced_is_used_unless_its_disk_is_bad(state, monkeypatch):
    import errno

    def fsync(number):
        def fail(_):
            raise OSError(number, os.strerror(number))

        return fail

    monkeypatch.setattr(os, "fsync", fsync(errno.EIO))
    assert await code_of_opening(state / "bad") == "journal.io"
    monkeypatch.setattr(os, "fsync", fsync(errno.EINVAL))
    async with opened(state / "odd") as journal:
        await journal.accept(job(), PARTS)


# --- whoever waits is cancelled ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", range(6))
@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_change_is_made_whole_or_not_at_all_and_is_over_then(journal, tick, times):
    task = asyncio.ensure_future(journal.move("job-1", 0, UploadIntended()))
    for _ in range(tick):
        await asyncio.sleep(0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    (ended,) = await asyncio.gather(task, return_exceptions=True)

    events = await journal.events("job-1", 0)
    assert isinstance(ended, asyncio.CancelledError) or events
    assert (await journal.submissions("job-1"))[0] == folded(PARTS[0], events)
    if not events:
        await journal.move("job-1", 0, UploadIntended())


async def test_a_cancelled_scope_does_not_lose_the_answer_of_a_change(journal):
    with anyio.CancelScope() as scope:
        scope.cancel()
        moved = await journal.move("job-1", 0, UploadIntended())

    assert moved.state is SubmissionState.UPLOADING


async def test_a_change_that_fails_while_its_asker_is_cancelled_tells_the_reason(journal):
    with _locks.GATE:
        task = asyncio.ensure_future(journal.move("job-1", 0, Ended(status="completed")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    assert caught.value.__cause__.code == "journal.illegal_move"


async def test_a_cancelled_question_is_not_waited_for(journal):
    with _locks.GATE:
        task = asyncio.ensure_future(journal.jobs())
        await asyncio.sleep(0)
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert await journal.jobs() == (job(),)


async def test_a_cancelled_opening_leaves_nothing_open(state):
    before = set(threading.enumerate())
    journal = SqliteJournal(state, Runtime())
    task = asyncio.ensure_future(journal.open())
    await asyncio.sleep(0)
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert set(threading.enumerate()) == before
    assert await refusal(journal.jobs()) == "journal.closed"
    async with opened(state) as other:
        await other.accept(job(), PARTS)


async def test_a_cancelled_closing_does_what_was_asked_for_and_ends_the_thread(state):
    before = set(threading.enumerate())
    journal = SqliteJournal(state, Runtime())
    await journal.open()
    with _locks.GATE:
        accepting = asyncio.ensure_future(journal.accept(job(), PARTS))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(journal.close())
        await asyncio.sleep(0)
        assert await refusal(journal.jobs()) == "journal.closed"
        closing.cancel()
        await asyncio.sleep(0)
    ended = await asyncio.gather(accepting, closing, return_exceptions=True)

    assert ended[0] is None
    assert isinstance(ended[1], asyncio.CancelledError)
    assert set(threading.enumerate()) == before
    async with opened(state) as other:
        assert await other.claim("job-1") is True


async def test_what_is_asked_while_an_opening_fails_is_refused(state):
    state.mkdir(mode=0o700)
    (state / "journal.sqlite3").write_text("dear diary, " * 99)
    (state / "journal.sqlite3").chmod(0o600)
    journal = SqliteJournal(state, Runtime())
    with _locks.GATE:
        opening = asyncio.ensure_future(journal.open())
        await asyncio.sleep(0)
        asking = asyncio.ensure_future(journal.jobs())
        closing = asyncio.ensure_future(journal.close())
        await asyncio.sleep(0)
    ended = await asyncio.gather(opening, asking, closing, return_exceptions=True)

    assert [getattr(error, "code", error) for error in ended] == ["journal.corrupt", "journal.closed", None]


def test_an_answer_for_a_loop_that_is_gone_is_dropped(state):
    journal = SqliteJournal(state, Runtime())
    asyncio.run(journal.open())

    async def leave():
        journal._open._put("read", journal._store.strays)

    with _locks.GATE:
        asyncio.run(leave())
    assert asyncio.run(journal.jobs()) == ()
    asyncio.run(journal.close())


async def test_fifty_openings_leave_no_thread_and_no_descriptor(state):
    async def cycle(number):
        async with opened(state) as journal:
            await journal.accept(job(f"job-{number}"), PARTS)
            await journal.move(f"job-{number}", 0, UploadIntended())

    await cycle(0)
    gc.collect()
    before = (threading.active_count(), len(os.listdir("/dev/fd")))
    for number in range(1, 51):
        await cycle(number)

    assert (threading.active_count(), len(os.listdir("/dev/fd"))) == before


# --- forks (of real processes: tests/journal/test_faults.py) -----------------------------------------------------


async def test_before_a_fork_no_connection_is_open_and_afterwards_there_is_one_again(journal):
    _database._before_fork()
    connection = journal._database._connection
    _locks.GATE.release()

    assert connection is None
    await journal.move("job-1", 0, UploadIntended())
    assert journal._database._connection is not None


async def test_the_child_of_a_fork_holds_no_lock_and_is_told_that_the_journal_is_not_its_own(state):
    journal = SqliteJournal(state, Runtime())
    never_opened = _database.Database(state)
    await journal.open()
    await journal.accept(job(), PARTS)
    writer = journal._open
    _database._OPEN.add(never_opened)
    _database._before_fork()
    _database._after_fork()  # as in a child, where both would be copies
    writer._pid += 1

    assert await refusal(journal.jobs()) == "journal.forked"
    assert await refusal(journal.move("job-1", 0, UploadIntended())) == "journal.forked"
    assert await refusal(journal.release("job-1")) == "journal.forked"
    await journal.close()
    async with opened(state) as own:
        assert await own.claim("job-1") is True
    writer._pid -= 1
    journal._database._is_joined = False  # the parent's lock is gone, since there was no other process
    await writer.stop()
    _database._OPEN.discard(never_opened)


# --- modes, versions, networks -----------------------------------------------------------------------------------


@pytest.fixture
def sqlite_version(monkeypatch):
    return partial(monkeypatch.setattr, sqlite3, "sqlite_version_info")


def mode_of(state) -> str:
    with tables(state) as sql:
        return sql.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.parametrize(("version", "mode", "level"), [((3, 52, 0), "wal", 2), ((3, 40, 1), "truncate", 3)])
async def test_the_mode_is_what_this_sqlite_can_do_safely(state, sqlite_version, version, mode, level):
    sqlite_version(version)
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
        ask = journal._database._connection.execute
        pragmas = [ask(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]

    assert pragmas == [mode, level, 1]


async def test_whoever_is_alone_changes_the_mode_and_whoever_is_not_joins_it(state, sqlite_version):
    sqlite_version((3, 40, 1))
    async with opened(state) as old:
        await old.accept(job(), PARTS)
        sqlite_version((3, 52, 0))
        async with opened(state) as new:
            assert mode_of(state) == "delete"
            await new.accept(job("job-2"), PARTS)
    async with opened(state) as new:
        assert mode_of(state) == "wal"
        await new.accept(job("job-3"), PARTS)
        sqlite_version((3, 40, 1))
        assert await code_of_opening(state) == "journal.other_sqlite"
    async with opened(state) as old:
        assert mode_of(state) == "delete"
        assert len(await old.jobs()) == 3


async def test_in_wal_mode_several_write_too(state, sqlite_version):
    sqlite_version((3, 52, 0))
    async with opened(state) as one, opened(state) as two:
        calls = [
            journal.accept(job(f"{name}-{n}"), PARTS)
            for name, journal in (("one", one), ("two", two))
            for n in range(20)
        ]
        await asyncio.gather(*calls)
        before = await two.version()
        await one.move("one-3", 0, UploadIntended())
        assert await two.version() != before
        assert len(await two.jobs()) == 40


async def test_a_network_gets_a_warning_and_no_shared_memory(state, sqlite_version, monkeypatch, caplog, tmp_path):
    sqlite_version((3, 52, 0))
    (tmp_path / "mounts").write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 host:/home rw\n")
    monkeypatch.setattr(_files, "_MOUNTS", tmp_path / "mounts")
    async with opened(state):
        assert mode_of(state) == "delete"
    assert "lies on a network: one machine at a time" in caplog.text

    monkeypatch.setattr(_files, "_MOUNTS", tmp_path / "nothing tells")
    async with opened(state):
        assert mode_of(state) == "wal"


async def test_an_older_schema_is_brought_up_to_ours_by_whoever_is_alone(state, monkeypatch):
    async with opened(state) as old:
        await old.accept(job(), PARTS)
        monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, ("CREATE TABLE novelty (x)",)))
        with pytest.raises(JournalError, match="in use by an older version") as caught:
            await SqliteJournal(state, Runtime()).open()
        assert caught.value.code == "journal.busy"
        old._database.disconnect()
        assert await refusal(old.jobs()) == "journal.busy"

    async with opened(state) as new:
        assert await new.job("job-1") == job()
    with tables(state) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (len(_schema.MIGRATIONS),)
        assert sql.execute("SELECT count(*) FROM novelty").fetchone() == (0,)


async def test_a_migration_that_fails_changes_nothing(state, monkeypatch):
    async with opened(state) as journal:
        await journal.accept(job(), PARTS)
    monkeypatch.setattr(
        _schema, "MIGRATIONS", (*_schema.MIGRATIONS, ("CREATE TABLE novelty (x)", "CREATE TABLE job (x)"))
    )
    assert await code_of_opening(state) == "journal.corrupt"
    monkeypatch.undo()

    with tables(state) as sql:
        assert sql.execute("SELECT count(*) FROM sqlite_master WHERE name = 'novelty'").fetchone() == (0,)
    async with opened(state) as journal:
        assert await journal.job("job-1") == job()


def counted(flock, looks):
    """Tell when somebody asked for a share of a lock and did not get it."""

    def counting(descriptor, *, exclusive):
        is_ours = flock(descriptor, exclusive=exclusive)
        if not exclusive and not is_ours:
            looks.set()
        return is_ours

    return counting


async def test_while_somebody_prepares_the_journal_others_wait(state, monkeypatch):
    async with opened(state):
        pass
    preparing, looks = _locks.Presence(state / "journal.lock"), threading.Event()
    assert preparing.try_alone()
    monkeypatch.setattr(_locks, "_flock", counted(_locks._flock, looks))
    waiting = SqliteJournal(state, Runtime())
    opening = asyncio.ensure_future(waiting.open())
    await until(lambda: looks.is_set() or opening.done())
    assert not opening.done()
    preparing.close()
    preparing.close()
    await opening
    await waiting.close()


async def test_whoever_waits_for_too_long_is_told(state, monkeypatch):
    async with opened(state):
        pass
    monkeypatch.setattr(_locks, "WAIT_S", 0.05)
    preparing = _locks.Presence(state / "journal.lock")
    preparing.try_alone()
    code = await code_of_opening(state)
    preparing.close()

    assert code == "journal.busy"
