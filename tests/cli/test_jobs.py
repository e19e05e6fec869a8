"""The verbs about jobs: submit, watch, results, ls, show, status, cancel, resume, gc, sql."""

import json
import os
import sqlite3
from contextlib import closing

import anyio
import pytest

from asyncbatch import BatchClient, load_catalog
from asyncbatch.cli import sweeping
from asyncbatch.cli.endings import ending_of
from asyncbatch.emulator import faults
from asyncbatch.exceptions import JournalError
from tests.cli.words import MODEL, ONE_EACH, QUICK, rows_in, sent

STALL = "slow [[stall]]"


@pytest.fixture
def submit(cli, write):
    """Submit requests; gives the job's id."""

    def submit_lines(*lines, name="requests.jsonl"):
        write(*lines, name=name)
        done = cli("submit", name, "-m", MODEL)
        assert done.code == 0, done.err
        return done.out.strip()

    return submit_lines


@pytest.fixture
def over(submit, cli):
    """The same, watched to its end."""

    def submit_and_watch(*lines, name="requests.jsonl"):
        job = submit(*lines, name=name)
        assert cli("watch", job, "--poll", "0.02", "--quiet").code in (0, 3)
        return job

    return submit_and_watch


class TestSubmit:
    """`asyncbatch submit`"""

    def test_it_prints_the_id_and_says_how_to_go_on(self, cli, write, asyncbatch_emulator):
        write(STALL)

        done = cli("submit", "requests.jsonl", "-m", MODEL)

        job = done.out.strip()
        assert done.code == 0
        assert len(job) == 32
        assert f"  asyncbatch watch {job[:8]} -o results.jsonl" in done.err
        assert sent(asyncbatch_emulator) == ["upload", "create"]

    def test_the_same_file_is_the_same_job_for_submit_and_run(self, submit, run, asyncbatch_emulator):
        first, again = submit("hello"), submit("hello")
        done = run("requests.jsonl", "--json", "-o", "out.jsonl")

        assert first == again == done.document["job"]
        assert done.code == 0
        assert sent(asyncbatch_emulator).count("create") == 1

    def test_json_names_the_batches(self, cli, write):
        write(STALL)

        document = cli("submit", "requests.jsonl", "-m", MODEL, "--json").document

        assert (document["type"], document["requests"], len(document["batches"])) == ("job_submitted", 1, 1)

    def test_what_is_refused_is_told(self, cli, write, asyncbatch_emulator):
        asyncbatch_emulator.add(faults.refuse(400, method="POST", path="*/batches", times=None))
        write("hello")

        done = cli("submit", "requests.jsonl", "-m", MODEL)

        assert done.code == 1
        assert done.out == ""
        assert "400" in done.err

    def test_in_memory_it_makes_no_sense(self, cli, write, asyncbatch_emulator):
        write("hello")

        done = cli("submit", "requests.jsonl", "-m", MODEL, "--home", "memory")

        assert done.code == 2
        assert "remembers nothing" in done.err
        assert not sent(asyncbatch_emulator)


class TestWatch:
    """`asyncbatch watch`"""

    def test_it_goes_to_the_end_and_writes_the_rows(self, submit, cli, place):
        job = submit("hello", "bad [[error:400]]")

        done = cli("watch", job[:6], "-o", "out.jsonl", "--poll", "0.02")

        assert done.code == 3
        assert "going on with job " in done.err
        assert len(rows_in(place / "out.jsonl")) == 2

    def test_without_an_output_it_says_where_the_rows_are(self, submit, cli):
        job = submit("hello")

        done = cli("watch", "last", "--poll", "0.02")

        assert (done.code, done.out) == (0, "")
        assert f"its rows: asyncbatch results {job[:8]} -o results.jsonl" in done.err

    def test_it_stops_in_time_and_says_how_to_come_back(self, submit, cli):
        job = submit(STALL)

        done = cli("watch", job, "--timeout", "0.2", "--json")

        assert done.code == 8
        assert (done.document["type"], done.document["job"]) == ("detached", job)
        assert done.document["commands"] == [f"asyncbatch watch {job[:8]}"]

    def test_another_key_than_the_one_it_was_sent_with_is_refused(self, submit, cli, monkeypatch):
        submit(STALL)
        monkeypatch.setenv("OPENAI_API_KEY", "another")

        done = cli("watch", "last", "--json")

        assert done.code == 2
        assert done.document["error"]["code"] == "auth.scope_mismatch"
        assert "nothing was asked or sent" in done.err


class TestResults:
    """`asyncbatch results JOB`"""

    def test_they_come_from_the_journal_and_nobody_is_asked(self, over, cli, place, monkeypatch, asyncbatch_emulator):
        over("hello", "world")
        calls = len(asyncbatch_emulator.history)
        monkeypatch.delenv("OPENAI_API_KEY")

        to_stdout, to_file = cli("results", "last"), cli("results", "last", "-o", "out.jsonl")

        assert (to_stdout.code, to_file.code) == (0, 0)
        assert {row["request_id"] for row in to_stdout.rows} == {"0000000", "0000001"}
        assert rows_in(place / "out.jsonl") == to_stdout.rows
        assert len(asyncbatch_emulator.history) == calls

    def test_of_a_job_that_is_not_over_they_give_exit_code_8_and_its_progress(self, submit, cli, place):
        job = submit(STALL, "hello")

        done = cli("results", job, "-o", "out.jsonl")

        assert done.code == 8
        assert "is not over yet: 0 of 1 batch done, 0 of 2 requests" in done.err
        assert f"asyncbatch watch {job[:8]}" in done.err
        assert not list(place.glob("out*"))

    def test_they_can_be_waited_for(self, submit, cli):
        submit("hello")

        assert len(cli("results", "last", "--wait", "--poll", "0.02").rows) == 1

    def test_in_json_they_need_another_place_for_the_rows(self, over, cli):
        over("hello")

        done = cli("results", "last", "--json")

        assert done.document["error"]["code"] == "output.missing"


class TestLists:
    """`asyncbatch ls`, `show` and `status`"""

    def test_ls_shows_each_job_the_latest_last(self, over, submit, cli):
        first = over("hello", "world")
        second = submit(STALL, name="slow.jsonl")

        done = cli("ls")

        lines = [line.split() for line in done.out.strip().split("\n")]
        assert lines[0] == ["job", "model", "state", "done", "age"]
        assert lines[1][:4] == [first[:8], MODEL, "succeeded", "2/2"]
        assert lines[2][:4] == [second[:8], MODEL, "running", "0/1"]

    def test_ls_in_json_is_one_document(self, over, cli):
        job = over("hello")

        (found,) = cli("ls", "--json").document["jobs"]

        assert (found["job"], found["state"], found["outcomes"]) == (job, "succeeded", {"succeeded": 1})

    @pytest.mark.parametrize("command", ["ls", "resume", "gc"])
    def test_where_there_never_was_a_job_it_says_so_and_makes_nothing(self, cli, place, command):
        done = cli(command)

        assert done.code == 0
        assert "home" in done.err
        assert not (place / "home").exists()

    def test_show_tells_all_and_no_secret(self, over, cli, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
        job = over("hello", "bad [[error:400]]")

        text, document = cli("show", job).out, cli("show", job, "--json").document

        assert job in text
        assert "1 errored, 1 succeeded" in text
        assert "tokens" in text
        assert "openai/batch_" in text
        assert (document["type"], document["batches"][0]["status"]) == ("job", "completed")
        assert document["cost_usd"] > 0
        assert document["usage"]["total_tokens"] > 0
        assert "secret" not in text + json.dumps(document)

    def test_show_asks_nobody_and_takes_nothing_up(self, submit, cli, asyncbatch_emulator):
        submit(STALL)
        calls = len(asyncbatch_emulator.history)

        done = cli("show", "last")

        assert "running: 0 of 1 batch done, 0 of 1 request" in done.out
        assert "tag ab1-" in done.out
        assert len(asyncbatch_emulator.history) == calls

    def test_status_asks_once_for_each_batch_that_runs(self, submit, cli, asyncbatch_emulator):
        submit(STALL)
        calls = len(asyncbatch_emulator.history)

        text, document = cli("status", "last").out, cli("status", "last", "--json").document

        assert "in_progress, 0/1" in text
        assert document["readings"]["0"]["status"] == "in_progress"
        assert len(asyncbatch_emulator.history) == calls + 2

    @pytest.mark.parametrize("change", [("OPENAI_API_KEY", "another"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")])
    def test_status_with_another_key_or_at_another_address_asks_nobody(
        self, submit, cli, monkeypatch, asyncbatch_emulator, change
    ):
        job = submit(STALL)
        calls = len(asyncbatch_emulator.history)
        monkeypatch.setenv(*change)

        done = cli("status", "last", "--json")

        assert done.code == 2
        assert done.document["error"]["code"] == "auth.scope_mismatch"
        assert f"job {job} was sent with another key of openai, or to another address" in done.err
        assert "nothing was asked or sent" in done.err
        assert len(asyncbatch_emulator.history) == calls

    def test_status_of_a_job_that_is_over_needs_no_key_and_tells_what_show_tells(self, over, cli, monkeypatch):
        over("hello")
        monkeypatch.delenv("OPENAI_API_KEY")

        asked, shown = cli("status", "last", "--json").document, cli("show", "last", "--json").document

        assert asked["usage"] == shown["usage"]
        assert (asked["state"], asked["readings"]) == ("succeeded", {})

    def test_the_policy_that_a_job_was_begun_with_is_named(self, cli, write, over):
        write(STALL)
        options = ("--retry", "expired", "--max-attempts", "2", "--cleanup", "settled")
        cli("submit", "requests.jsonl", "-m", MODEL, *options)
        begun, text = cli("show", "last", "--json").document, cli("show", "last").out
        over("hello", name="other.jsonl")

        assert begun["policy"] == {"retry": "expired", "max_attempts": 2, "cleanup": "settled"}
        assert "policy        retry expired, max_attempts 2, cleanup settled\n" in text
        assert cli("show", "last", "--json").document["policy"] == {}
        assert "policy" not in cli("show", "last").out

    def test_ls_counts_no_tokens(self, over, cli):
        over("hello")

        (found,) = cli("ls", "--json").document["jobs"]

        assert "usage" not in found

    @pytest.mark.parametrize(
        "command", ["ls", "resume", "gc", "show last", "run requests.jsonl -m openai/gpt-4.1-mini"]
    )
    @pytest.mark.parametrize("home", ["file", "file/below"])
    def test_a_home_that_is_a_file_is_refused(self, cli, place, write, command, home):
        write("hello")
        (place / "file").write_text("not a directory")

        done = cli(*command.split(), "--home", home)

        assert done.code == 2
        assert f"error: {'file' if home == 'file' else 'file, above file/below,'} is no directory" in done.err
        assert (place / "file").read_text() == "not a directory"

    def test_a_home_that_may_only_be_read_is_refused_with_the_reason(self):
        error = JournalError("readonly", code="journal.no_access", hint="nothing was changed; give another directory")

        hint = ending_of(error).hint

        assert hint.startswith("nothing was changed; give another directory: --home DIR; ")
        assert "reading takes the right to write as well" in hint

    @pytest.mark.parametrize("command", ["show", "status", "watch", "results", "cancel"])
    def test_a_job_that_nobody_knows_is_told_with_near_ids(self, submit, cli, command):
        job = submit(STALL)
        options = ["--yes"] if command == "cancel" else []

        done = cli(command, f"{job[:7]}-", *options)
        other = cli(command, "batch_1", *options)

        assert (done.code, other.code) == (2, 2)
        assert f"there is no job '{job[:7]}-'" in done.err
        assert f"did you mean {job[:8]}?" in done.err
        assert "a batch is named PROVIDER/BATCH_ID" in other.err

    def test_without_any_job_it_says_where_it_looked(self, cli):
        done = cli("show", "last")

        assert done.code == 2
        assert "--home, else ASYNCBATCH_HOME" in done.err

    def test_a_beginning_of_several_ids_is_refused(self, submit, cli):
        jobs = [submit(STALL + str(number), name=f"{number}.jsonl") for number in range(17)]
        first = next(letter for letter in "0123456789abcdef" if sum(job.startswith(letter) for job in jobs) > 1)

        done = cli("show", first, "--json")

        assert done.code == 2
        assert done.document["error"]["code"] == "job.ambiguous"
        assert f"jobs begin with '{first}'" in done.err


class TestCancel:
    """`asyncbatch cancel JOB`"""

    def test_the_provider_is_asked_and_what_it_answered_is_kept(self, submit, cli, asyncbatch_emulator):
        submit(STALL)

        done = cli("cancel", "last", "--yes")

        assert done.code == 0
        assert "the end of 1 batch was asked for" in done.err
        assert [record.kind for record in asyncbatch_emulator.history].count("cancel") == 1
        assert cli("watch", "last", "--poll", "0.02", "--json").document["outcomes"] == {"cancelled": 1}

    def test_what_was_not_sent_is_sent_by_nobody_any_more(self, run, cli, write, place, asyncbatch_emulator):
        (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {requests: 1}, "))
        asyncbatch_emulator.add(faults.refuse(429, method="POST", path="*/batches", times=None))
        write("one", "two")
        assert run("requests.jsonl", "--timeout", "0.5").code == 8

        done = cli("cancel", "last", "--yes")
        watched = cli("watch", "last", "--poll", "0.02", "--json")

        assert done.code == 0
        assert " is over: 2 cancelled" in done.err
        assert watched.document["outcomes"] == {"cancelled": 2}
        assert "create" not in sent(asyncbatch_emulator)

    def test_until_it_is_over_everything_that_shows_the_job_says_so(self, submit, cli):
        job = submit(STALL)

        cancelled = cli("cancel", job, "--yes", "--json").document

        assert (cancelled["job"], cancelled["followed"], cancelled["heard"]) == (job, False, True)
        assert cli("ls").out.split("\n")[1].split()[2] == "cancelling"
        for command in ("show", "status"):
            assert "cancelling: 0 of 1 batch done" in cli(command, job).out
            document = cli(command, job, "--json").document
            assert (document["state"], document["cancel_asked"]) == ("cancelling", True)
        assert cli("watch", job, "--poll", "0.02").code == 3
        assert cli("show", job, "--json").document["state"] == "ended"

    def test_only_what_was_answered_is_counted_once_it_is_cancelled(self, submit, cli):
        submit("hello", STALL, STALL + " too")

        cli("cancel", "last", "--yes")
        done = cli("watch", "last", "--poll", "0.02")

        assert ": cancelled, 3/3" not in done.err
        (line,) = [line for line in done.err.splitlines() if ": cancelled, " in line]
        assert line.partition(": cancelled, ")[2] in ("0/3", "1/3", "3 requests")  # as many as were answered by then

    def test_whoever_leaves_it_then_is_not_told_to_cancel_it(self, submit, cli, asyncbatch_emulator):
        job = submit(STALL)
        asyncbatch_emulator.add(faults.refuse(503, path="/batches/*/cancel", times=None))
        cli("cancel", job, "--yes")

        done = cli("watch", job, "--poll", "0.02", "--timeout", "0.3")

        assert done.code == 8
        assert f"job {job[:8]} is being cancelled, with 1 batch left running. Come back" in done.err
        assert "or end it" not in done.err

    def test_one_that_the_provider_refuses_is_asked_for_again_by_whoever_goes_on(
        self, submit, cli, asyncbatch_emulator
    ):
        job = submit(STALL)
        asyncbatch_emulator.add(faults.refuse(403, path="/batches/*/cancel", times=3))

        done = cli("cancel", job, "--yes")
        watched = cli("watch", job, "--poll", "0.02", "--json")

        assert done.code == 4
        assert f"the end of job {job[:8]} is written down, and asked for again by whoever goes on with it" in done.err
        assert f": asyncbatch watch {job[:8]}\nerror: " in done.err
        assert watched.document["outcomes"] == {"cancelled": 1}

    def test_one_that_is_over_has_nothing_to_cancel(self, over, cli):
        over("hello")

        done = cli("cancel", "last", "--yes")

        assert done.code == 2
        assert "is over" in done.err

    def test_what_cannot_be_cancelled_is_told_before_a_yes_is_asked_for(self, over, cli):
        over("hello")

        nope, is_over, no_batch = cli("cancel", "nope"), cli("cancel", "last"), cli("cancel", "openai/")

        assert "there is no job 'nope'" in nope.err
        assert "there is nothing to cancel" in is_over.err
        assert "'openai/' names no batch" in no_batch.err

    def test_without_anybody_to_ask_it_needs_a_yes(self, submit, cli, asyncbatch_emulator):
        submit(STALL)

        done = cli("cancel", "last")

        assert done.code == 2
        assert "hint: say --yes" in done.err
        assert "cancel" not in [record.kind for record in asyncbatch_emulator.history]


class TestResume:
    """`asyncbatch resume`"""

    def test_everything_that_is_unfinished_is_watched_to_its_end(self, over, submit, cli, asyncbatch_emulator):
        over("done before", name="0.jsonl")
        jobs = [submit("hello", "world", name="1.jsonl"), submit(STALL, name="2.jsonl")]
        asyncbatch_emulator.advance(100_000)

        done = cli("resume", "--poll", "0.02", "--json")

        assert done.code == 3
        assert {job["job"]: job["outcomes"] for job in done.document["jobs"]} == {
            jobs[0]: {"succeeded": 2},
            jobs[1]: {"expired": 1},
        }
        assert f"job {jobs[0][:8]} is over: 2 succeeded" in done.err
        assert sent(asyncbatch_emulator).count("create") == 3

    def test_it_stops_in_time(self, submit, cli):
        submit(STALL)

        done = cli("resume", "--timeout", "0.3")

        assert done.code == 8
        assert "1 job still running after 0.3 s" in done.err

    def test_a_job_that_cannot_be_taken_up_is_named_and_gives_exit_code_1(self, submit, cli, monkeypatch):
        job = submit(STALL)
        monkeypatch.setenv("OPENAI_API_KEY", "another")

        done = cli("resume", "--json")

        assert done.code == 1
        assert f"job {job[:8]} is left as it is" in done.err
        assert list(done.document["errors"]) == [job]


class TestGc:
    """`asyncbatch gc`"""

    def test_old_jobs_and_leftovers_go_and_running_ones_stay(self, over, submit, cli, place):
        old, running = over("hello", name="1.jsonl"), submit(STALL, name="2.jsonl")
        stray = place / "home" / "jobs" / "deadbeef"
        stray.mkdir()
        (stray / "input").write_bytes(b"x" * 1000)

        young, dry = cli("gc", "--days", "1", "--dry-run"), cli("gc", "--days", "0", "--dry-run", "--json")
        kept = [job["job"] for job in cli("ls", "--json").document["jobs"]]
        done = cli("gc", "--days", "0", "--json")

        assert "0 jobs and 1 leftover" in young.err
        assert dry.document["jobs"] == [old]
        assert kept == [old, running]
        assert done.document["jobs"] == [old]
        assert done.document["bytes"] == dry.document["bytes"] > 1000
        assert [job["job"] for job in cli("ls", "--json").document["jobs"]] == [running]
        assert not stray.exists()

    def test_a_file_whose_job_was_forgotten_is_sent_anew(self, run, cli, write, place, asyncbatch_emulator):
        write("hello")
        run("requests.jsonl", "-o", "out.jsonl")
        cli("gc", "--days", "0")

        assert run("requests.jsonl", "-o", "new.jsonl").code == 0
        assert sent(asyncbatch_emulator).count("create") == 2
        assert len(list((place / "home" / "outputs").iterdir())) == 1


class TestSql:
    """`asyncbatch sql`"""

    def test_a_question_is_answered(self, over, cli):
        job = over("hello")

        text = cli("sql", "SELECT job_id, requests, account FROM job")
        document = cli("sql", "SELECT state FROM submission", "--json").document

        assert text.out == f"job_id\trequests\taccount\n{job}\t1\t\n"
        assert (document["columns"], document["rows"]) == (["state"], [["settled"]])

    def test_nothing_can_be_changed(self, over, cli, place):
        over("hello")

        done = cli("sql", "DELETE FROM job")

        assert done.code == 2
        assert "readonly" in done.err
        with closing(sqlite3.connect(place / "home" / "journal.sqlite3")) as journal:
            assert journal.execute("SELECT count(*) FROM job").fetchone() == (1,)

    def test_without_a_terminal_it_names_the_file_and_every_table(self, over, cli, place):
        over("hello")

        done = cli("sql")

        with closing(sqlite3.connect(place / "home" / "journal.sqlite3")) as journal:
            names = {name for (name,) in journal.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert str(place / "home" / "journal.sqlite3") in done.out
        told = set(sweeping._TABLES)
        assert told == {line.split()[0] for line in done.out.strip().split("\n")[2:]}
        assert told == {name for name in names if not name.startswith("sqlite_")} - {"meta"}

    def test_the_columns_that_it_names_are_there(self, over, cli, place):
        over("hello")
        with closing(sqlite3.connect(place / "home" / "journal.sqlite3")) as journal:
            for table, what in sweeping._TABLES.items():
                columns = what.rpartition(": ")[2]
                journal.execute(f"SELECT {columns} FROM {table}")

    def test_a_program_gets_the_tables_by_name(self, over, cli):
        over("hello")

        tables = cli("sql", "--json").document["tables"]

        assert [set(table) for table in tables] == [{"name", "what"}] * len(sweeping._TABLES)
        assert tables[0] == {"name": "job", "what": sweeping._TABLES["job"]}

    def test_a_question_that_is_none_is_refused(self, over, cli):
        over("hello")

        assert cli("sql", "SELEC").code == 2

    def test_on_a_terminal_the_shell_is_opened(self, over, cli, place, monkeypatch):
        over("hello")
        shell = place / "bin" / "sqlite3"
        shell.parent.mkdir()
        shell.write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/called"\nexit 5\n')
        shell.chmod(0o755)
        monkeypatch.setenv("PATH", f"{shell.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr("asyncbatch.cli.talk._is_terminal", lambda _stream: True)

        assert cli("sql").code == 5
        assert (place / "bin" / "called").read_text().split() == ["-readonly", str(place / "home" / "journal.sqlite3")]


class TestWaiting:
    """What waits for room in its account."""

    @pytest.fixture
    def waiting(self, place, asyncbatch_emulator):
        """Leave a job of which nothing is sent, since another one fills its account."""
        (place / "llm_config.yaml").write_text(ONE_EACH.replace("requests: 1", "requests: 1, open_batches: 1"))

        async def leave():
            catalog = load_catalog(place / "llm_config.yaml")
            async with BatchClient(journal=place / "home", catalog=catalog) as client:
                first = await client.submit([STALL], model=MODEL)
                await first.submitted()
                second = await client.submit(["hello"], model=MODEL)
                while not second.status().batches[0].note:
                    await anyio.lowlevel.checkpoint()
                return second.id

        return anyio.run(leave)

    def test_ls_status_and_show_say_that_it_waits_and_for_what(self, cli, waiting):
        why = "waiting for room: 1 of 1 batches of this account are open"

        listed, status, shown = cli("ls"), cli("status", waiting), cli("show", waiting, "--json")

        assert "waiting" in listed.out
        assert why in status.out
        assert shown.document["state"] == "waiting"
        assert shown.document["batches"][0]["note"] == why
