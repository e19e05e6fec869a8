"""The same command again goes on with the same job, however the first one ended; a job that is over is never paid for again."""

import io
import os
import signal
import sqlite3
import sys
from contextlib import closing

import pytest

from asyncbatch.emulator import Emulator, faults
from tests.cli.words import MODEL, ONE_EACH, read_until, rows_in, sent


def creates(emulator):
    return sent(emulator).count("create")


def count_of(place, state):
    """Count the batches of which the journal says this."""
    with closing(sqlite3.connect(place / "home" / "journal.sqlite3")) as journal:
        return journal.execute("SELECT count(*) FROM submission WHERE state = ?", (state,)).fetchone()[0]


@pytest.fixture
def killed(start, write, place, asyncbatch_emulator):
    """Start a run of two batches, wait for the first one's row, and kill it; gives the command that was running."""
    (place / "llm_config.yaml").write_text(ONE_EACH)
    write("quick", "slow [[stall]]")
    command = ("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
    process = start(*command)
    read_until(process.stderr, b"batch 1/2 batch_")
    partial = place / "out.jsonl.partial"
    while not rows_in(partial) or count_of(place, "settled") != 1:
        assert process.poll() is None, process.stderr.read()
    process.kill()
    process.wait()
    return command


class TestKilled:
    """SIGKILL, in the middle of things."""

    def test_the_same_command_goes_on_with_the_same_batches(self, killed, cli, place, asyncbatch_emulator):
        asyncbatch_emulator.advance(100_000)

        done = cli(*killed)

        assert done.code == 3
        assert "going on with job " in done.err
        assert ", 1 of 2 batches done" in done.err
        rows = {row["request_id"]: row["status"] for row in rows_in(place / "out.jsonl")}
        assert rows == {"0000000": "succeeded", "0000001": "expired"}
        assert creates(asyncbatch_emulator) == 2
        assert not (place / "out.jsonl.partial").exists()

    def test_going_on_is_told_to_programs_too(self, killed, cli, asyncbatch_emulator):
        asyncbatch_emulator.advance(100_000)

        events = cli(*killed, "--jsonl").rows

        assert (events[0]["type"], events[0]["batches"], events[0]["settled"]) == ("job_resumed", 2, 1)
        assert events[-1]["type"] == "job_ended"

    def test_without_an_output_every_row_comes_again(self, killed, cli, asyncbatch_emulator):
        asyncbatch_emulator.advance(100_000)

        done = cli(*[word for word in killed if word not in ("-o", "out.jsonl")])

        assert len(done.rows) == 2

    def kill_in(self, start, write, emulator, arrived, *, when, path):
        """Kill a run while a request of it is under way, before or after the emulator has acted on it."""
        emulator.add(faults.stall(60, when=when, method="POST", path=path, times=1))
        write("hello")
        command = ("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
        process = start(*command)
        arrived(process)
        process.kill()
        process.wait()
        return command

    @pytest.mark.parametrize("operation", ["upload", "create"])
    def test_after_an_upload_or_a_create_had_arrived_it_is_paid_for_once(
        self, start, write, cli, place, asyncbatch_emulator, operation
    ):
        def arrived(process):
            while operation not in sent(asyncbatch_emulator):
                assert process.poll() is None

        path = "*/files" if operation == "upload" else "*/batches"
        command = self.kill_in(start, write, asyncbatch_emulator, arrived, when="after", path=path)

        done = cli(*command)

        assert done.code == 0, done.err
        assert len(rows_in(place / "out.jsonl")) == 1
        assert creates(asyncbatch_emulator) == 1

    def test_in_an_upload_that_had_not_arrived_it_is_uploaded_anew(self, start, write, cli, place, asyncbatch_emulator):
        def arrived(process):
            read_until(process.stderr, b"uploading")

        command = self.kill_in(start, write, asyncbatch_emulator, arrived, when="before", path="*/files")
        asyncbatch_emulator.reset()

        assert cli(*command).code == 0
        assert creates(asyncbatch_emulator) == 1

    def test_in_a_create_that_had_not_arrived_it_looks_for_it_says_so_and_sends_no_other_meanwhile(
        self, start, write, cli, place, asyncbatch_emulator
    ):
        def arrived(process):
            read_until(process.stderr, b"creating")
            while count_of(place, "creating") != 1:
                assert process.poll() is None

        command = self.kill_in(start, write, asyncbatch_emulator, arrived, when="before", path="*/batches")

        left = cli(*command, "--timeout", "1")

        assert left.code == 8
        assert "checking whether a create arrived, " in left.err
        assert " left)" in left.err
        assert creates(asyncbatch_emulator) == 0
        shown = cli("show", "last").out
        assert "checking: 0 of 1 batch done" in shown
        assert "checking whether a create arrived, " in shown
        assert "checking whether a create arrived, " in cli("watch", "last", "--timeout", "0.5").err

    def test_before_the_job_was_accepted_the_same_command_begins_it(self, start, cli, place, asyncbatch_emulator):
        process = start("run", "-", "-m", MODEL, "-o", "out.jsonl")
        process.stdin.write(b'"one"\n')
        process.stdin.flush()
        while not (place / "out.jsonl.partial").exists():
            assert process.poll() is None
        process.kill()
        process.wait()
        (place / "requests.jsonl").write_text('"one"\n')

        done = cli("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")

        assert done.code == 0
        assert creates(asyncbatch_emulator) == 1


class TestDetached:
    """Ctrl-C and time limits."""

    def test_ctrl_c_says_how_to_come_back_and_both_ways_go_on(self, start, cli, write, place, asyncbatch_emulator):
        write("slow [[stall]]")
        command = ("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
        process = start(*command)
        read_until(process.stderr, b"in_progress")

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert process.returncode == 130
        assert b"goes on, with 1 batch left running. Come back with the same command, or with:" in err
        (watch,) = [line.split()[1:] for line in err.decode().split("\n") if line.startswith("  asyncbatch watch ")]
        assert "cancel" not in [record.kind for record in asyncbatch_emulator.history]
        asyncbatch_emulator.advance(100_000)
        assert cli(*watch).code == 3
        assert rows_in(place / "out.jsonl")[0]["status"] == "expired"
        assert cli(*command).code == 3
        assert creates(asyncbatch_emulator) == 1

    def test_what_had_no_batch_yet_is_sent_by_whoever_goes_on(self, start, cli, write, asyncbatch_emulator):
        asyncbatch_emulator.add(faults.stall(60, method="POST", path="*/files", times=1))
        write("hello", "world")
        command = ("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
        process = start(*command)
        read_until(process.stderr, b"uploading")

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert b"2 requests had no batch yet, and will be sent by whoever goes on" in err
        asyncbatch_emulator.reset()
        assert cli(*command).code == 0

    def test_the_price_is_not_asked_for_again(self, run, write):
        write("slow [[stall]]")
        run("requests.jsonl", "--timeout", "0.3", "--confirm-over", "0", "--yes")

        assert run("requests.jsonl", "--timeout", "0.3", "--confirm-over", "0").code == 8

    def test_a_program_is_told_the_command_that_comes_back(self, run, cli, write, place):
        write("slow [[stall]]")

        done = run("requests.jsonl", "--timeout", "0.3", "-o", "out.jsonl", "--json", "--home", "elsewhere")

        (command,) = done.document["commands"]
        job = done.document["job"]
        assert command == f"asyncbatch watch {job[:8]} -o out.jsonl --home elsewhere"
        assert cli(*command.split()[1:], "--timeout", "0.3").code == 8
        assert not (place / "home").exists()


class TestFinished:
    """A job that is over is answered from the journal."""

    def test_nobody_is_asked_and_it_says_so(self, run, write, place, asyncbatch_emulator, monkeypatch):
        write("hello", "bad [[error:400]]")
        first = run("requests.jsonl", "-o", "out.jsonl")
        calls = len(asyncbatch_emulator.history)
        monkeypatch.delenv("OPENAI_API_KEY")

        again = run("requests.jsonl", "-o", "again.jsonl")

        assert (first.code, again.code) == (3, 3)
        assert "answered from the journal of job " in again.err
        assert "--again sends it once more, and pays again" in again.err
        assert (place / "again.jsonl").read_bytes() == (place / "out.jsonl").read_bytes()
        assert len(asyncbatch_emulator.history) == calls

    def test_an_output_that_holds_its_rows_already_is_left_as_it_is(self, run, write, place):
        write("hello")
        run("requests.jsonl", "-o", "out.jsonl")
        before = (place / "out.jsonl").stat()

        done = run("requests.jsonl", "-o", "out.jsonl", "--json")

        assert (done.code, done.document["outcomes"]) == (0, {"succeeded": 1})
        after = (place / "out.jsonl").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert "1 row in out.jsonl" in done.err

    @pytest.mark.parametrize("change", ["touched", "of another job", "replaced"])
    def test_an_output_that_is_anything_else_is_refused(self, run, write, place, asyncbatch_emulator, change):
        write("hello")
        run("requests.jsonl", "-o", "out.jsonl")
        if change == "touched":
            with (place / "out.jsonl").open("a") as file:
                file.write("mine\n")
        elif change == "replaced":
            data = (place / "out.jsonl").read_bytes()
            (place / "out.jsonl").rename(place / "old.jsonl")
            (place / "out.jsonl").write_bytes(data)
            made = (place / "old.jsonl").stat()
            os.utime(place / "out.jsonl", ns=(made.st_atime_ns, made.st_mtime_ns))
        else:
            write("another")
        before = (place / "out.jsonl").read_bytes()
        calls = len(asyncbatch_emulator.history)

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert "out.jsonl exists" in done.err
        assert (place / "out.jsonl").read_bytes() == before
        assert len(asyncbatch_emulator.history) == calls

    def test_again_pays_again_and_the_latest_answers_from_then_on(self, run, write, asyncbatch_emulator):
        write("hello")
        jobs = [
            run("requests.jsonl", "-o", f"{number}.jsonl", "--json", *option).document["job"]
            for number, option in enumerate([[], ["--again"], [], ["--again"], []])
        ]

        assert jobs[1] == jobs[2] != jobs[0]
        assert jobs[3] == jobs[4]
        assert len(set(jobs)) == 3
        assert creates(asyncbatch_emulator) == 3

    def test_again_goes_on_with_a_job_that_is_not_over(self, run, write, asyncbatch_emulator):
        write("slow [[stall]]")
        run("requests.jsonl", "--timeout", "0.3")

        again = run("requests.jsonl", "--timeout", "0.3", "--again")

        assert "going on with job " in again.err
        assert creates(asyncbatch_emulator) == 1

    def test_a_job_of_which_nothing_was_sent_is_begun_anew(self, run, write, asyncbatch_emulator):
        asyncbatch_emulator.add(faults.refuse(400, method="POST", path="*/batches", times=1))
        write("hello")
        first = run("requests.jsonl", "-o", "out.jsonl")

        again = run("requests.jsonl", "-o", "out.jsonl")

        assert first.code == 1
        assert "nothing of it was sent; the same command begins anew" in first.err
        assert "was ever sent; this is a new one" in again.err
        assert again.code == 0

    def test_standard_input_is_known_by_what_it_holds(self, run, monkeypatch, asyncbatch_emulator):
        found = []
        for text in (b'"one"\n"two"\n', b'"one"\n"two"\n', b'"one"\n'):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
            found.append(len(run("-").rows))

        assert found == [2, 2, 1]
        assert creates(asyncbatch_emulator) == 2

    @pytest.mark.parametrize(
        "option", [["--metadata", "a=b"], ["--endpoint", "/v1/chat/completions"], ["--home", "elsewhere"]]
    )
    def test_anything_that_decides_what_is_sent_makes_another_job(self, run, write, asyncbatch_emulator, option):
        write("hello")
        run("requests.jsonl")

        run("requests.jsonl", *option)

        assert creates(asyncbatch_emulator) == 2

    @pytest.mark.parametrize("option", [["--skip-bad"], ["--any-model"], ["--on-unsupported", "drop"], ["--yes"]])
    def test_what_only_decides_whether_it_is_sent_does_not(self, run, write, asyncbatch_emulator, option):
        write("hello")
        run("requests.jsonl")

        assert run("requests.jsonl", *option).code == 0
        assert creates(asyncbatch_emulator) == 1

    def test_what_an_emulator_answered_is_no_answer_of_another_address(self, run, write, monkeypatch):
        write("hello")
        run("requests.jsonl")
        with Emulator(speed=3600) as other:
            for name, value in other.env("openai").items():
                monkeypatch.setenv(name, value)
            done = run("requests.jsonl")

            assert done.code == 0
            assert creates(other) == 1

    def test_in_memory_nothing_is_remembered(self, run, write, place, asyncbatch_emulator):
        write("hello")

        for _ in range(2):
            assert run("requests.jsonl", "--home", "memory").code == 0

        assert creates(asyncbatch_emulator) == 2
        assert not (place / "home").exists()
        assert not (place / "memory").exists()


class TestAtOnce:
    """Two commands about one job."""

    @pytest.fixture
    def running(self, start, write, asyncbatch_emulator):
        write("slow [[stall]]")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
        read_until(process.stderr, b"in_progress")
        return process

    def test_the_second_one_watches_and_sends_nothing(self, running, run, place, asyncbatch_emulator):
        left = run("requests.jsonl", "-o", "other.jsonl", "--timeout", "0.3")
        asyncbatch_emulator.advance(100_000)
        done = run("requests.jsonl", "-o", "other.jsonl")
        running.communicate()

        assert left.code == 8
        assert "; another process has it, and is watched" in left.err
        assert (done.code, running.returncode) == (3, 3)
        assert rows_in(place / "out.jsonl") == rows_in(place / "other.jsonl")
        assert creates(asyncbatch_emulator) == 1

    def test_two_cannot_write_one_output(self, running, run, place, asyncbatch_emulator):
        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert "out.jsonl.partial is being written by another command" in done.err
        assert (place / "out.jsonl.partial").exists()

    def test_a_cancel_asks_the_provider_whoever_has_the_job(self, running, cli, asyncbatch_emulator):
        done = cli("cancel", "last", "--yes")
        running.communicate()

        assert done.code == 0
        assert running.returncode == 3
        assert [record.kind for record in asyncbatch_emulator.history].count("cancel") == 1

    def test_a_cancel_says_who_does_it(self, start, cli, write, asyncbatch_emulator):
        write("slow [[stall]]")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "600")
        read_until(process.stderr, b"submitted")

        done = cli("cancel", "last", "--yes", "--json")

        assert done.code == 0
        assert ": the end of 1 batch is asked for by the process that has the job\n" in done.err
        assert (done.document["followed"], done.document["heard"]) == (True, True)
        assert (done.document["state"], done.document["cancel_asked"]) == ("cancelling", True)

    @pytest.fixture
    def stopped(self, running, monkeypatch):
        """A process that has a job and does nothing."""
        monkeypatch.setattr("asyncbatch.cli.cancelling._HEARD_S", 0.2)
        running.send_signal(signal.SIGSTOP)
        yield running
        running.send_signal(signal.SIGCONT)

    def test_a_cancel_that_is_not_heard_is_written_down_and_heard_later(self, stopped, cli, asyncbatch_emulator):
        done = cli("cancel", "last", "--yes", "--json")
        unheard = [record.kind for record in asyncbatch_emulator.history]
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate()

        assert done.code == 8
        assert ": its end is written down. The process that has the job does not answer yet" in done.err
        assert (done.document["followed"], done.document["heard"]) == (True, False)
        assert "cancel" not in unheard
        assert stopped.returncode == 3
        assert "cancel" in [record.kind for record in asyncbatch_emulator.history]

    def test_a_cancel_that_was_not_heard_is_done_by_whoever_goes_on(self, stopped, cli, asyncbatch_emulator):
        cli("cancel", "last", "--yes")
        stopped.kill()
        stopped.communicate()

        watched = cli("watch", "last", "--poll", "0.02", "--json")

        assert watched.document["outcomes"] == {"cancelled": 1}
        assert "cancel" in [record.kind for record in asyncbatch_emulator.history]

    def test_a_cancel_whose_hearer_dies_asks_the_provider_itself(self, stopped, start, place, asyncbatch_emulator):
        asyncbatch_emulator.add(
            faults.stall(0.5, path="/batches/*/cancel", times=1)
        )  # not so quick that it goes by itself
        process = start("cancel", "last", "--yes")
        with closing(sqlite3.connect(place / "home" / "journal.sqlite3")) as journal:
            while not journal.execute("SELECT count(*) FROM wish").fetchone()[0]:
                assert process.poll() is None
        stopped.kill()
        stopped.communicate()

        _, err = process.communicate()

        assert process.returncode == 0
        # On a busy machine the batch may have come to its end before it is looked at.
        assert b": the end of 1 batch was asked for\n" in err or b" is over: 1 cancelled\n" in err
        assert "cancel" in [record.kind for record in asyncbatch_emulator.history]


class TestPartial:
    """What lies at `OUT.partial`."""

    def test_rows_of_another_job_are_not_overwritten(self, killed, cli, write, place, asyncbatch_emulator):
        write("another")
        before = (place / "out.jsonl.partial").read_bytes()

        done = cli(*killed)

        assert done.code == 2
        assert "out.jsonl.partial exists" in done.err
        assert (place / "out.jsonl.partial").read_bytes() == before
        assert creates(asyncbatch_emulator) == 2

    def test_a_file_of_somebody_else_is_not_overwritten(self, killed, cli, place):
        with (place / "out.jsonl.partial").open("r+b") as file:  # the same file on the disk, with other words in it
            file.write(b"precious")

        done = cli(*killed)

        assert done.code == 2
        assert (place / "out.jsonl.partial").read_bytes().startswith(b"precious")

    def test_a_link_is_not_followed(self, run, write, place):
        write("hello")
        (place / "out.jsonl.partial").symlink_to("target")

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert not (place / "target").exists()


class TestHome:
    """Where jobs are remembered."""

    def test_by_default_it_is_a_private_directory_beside_the_work(self, run, write, place, monkeypatch):
        monkeypatch.delenv("ASYNCBATCH_HOME")
        write("hello")

        run("requests.jsonl")

        assert (place / ".asyncbatch").stat().st_mode & 0o777 == 0o700

    def test_one_that_others_can_write_to_is_refused_and_nothing_is_sent(self, run, write, place, asyncbatch_emulator):
        (place / "shared").mkdir()
        os.chmod(place / "shared", 0o777)
        write("hello")

        done = run("requests.jsonl", "--home", "shared", "-o", "out.jsonl")

        assert done.code == 1
        assert "shared is not private: others can write to it" in done.err
        assert "--home DIR" in done.err
        assert not sent(asyncbatch_emulator)
        assert not (place / "out.jsonl.partial").exists()

    def test_one_that_is_no_directory_is_refused(self, run, write, place, asyncbatch_emulator):
        (place / "file").write_text("")
        write("hello")

        assert run("requests.jsonl", "--home", "file").code == 2
        assert not sent(asyncbatch_emulator)

    def test_without_file_locks_it_says_what_to_do(self, run, write, monkeypatch):
        monkeypatch.setitem(sys.modules, "fcntl", None)
        write("hello")

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert "hint: --home memory goes without" in done.err

    def test_a_file_that_changes_while_it_is_read_is_refused(self, run, write, place, monkeypatch, asyncbatch_emulator):
        from asyncbatch.cli.reading import RequestFile

        write("hello")
        ahead = RequestFile.read_ahead

        async def change(source):
            digest = await ahead(source)
            (place / "requests.jsonl").write_text('"other"\n')
            return digest

        monkeypatch.setattr(RequestFile, "read_ahead", change)

        done = run("requests.jsonl")

        assert done.code == 2
        assert "has changed while it was read" in done.err
        assert not sent(asyncbatch_emulator)
