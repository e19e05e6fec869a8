"""Requests that ended without a good answer are sent again: by a policy of `run`, or by `retry`. Nothing else ever is."""

import json
import os
import signal
import threading
from functools import partial

import pytest

from asyncbatch import Patience, Polling, Recovery
from asyncbatch.emulator import faults
from tests.cli.words import MODEL, ONE_EACH, Done, read_until, rows_in, sent

RUN = ("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
RETRY = ("retry", "last", "--yes", "-o", "out.jsonl", "--poll", "0.02")
SLOW = "slow [[stall]]"
LATE = "late fails 1 then waits"


class Flaky:
    """Answers a prompt that says `fails N` only when it is asked for the N+1st time, and with `then waits` only once it may."""

    def __init__(self):
        self.asked = []
        self.may_answer = threading.Event()

    def __call__(self, ask):
        self.asked.append(ask.prompt)
        name, _, rest = ask.prompt.partition(" fails ")
        times, _, then = rest.partition(" then ")
        if times and self.asked.count(ask.prompt) <= int(times):
            raise RuntimeError("overloaded")
        if then:
            self.may_answer.wait()
        return f"echo: {name}"


@pytest.fixture
def flaky():
    flaky = Flaky()
    yield flaky
    flaky.may_answer.set()  # its thread would wait for ever


@pytest.fixture
def asyncbatch_emulator_options(flaky):
    return {"speed": 3600.0, "answer": flaky}


@pytest.fixture
def in_a_hurry(monkeypatch):
    """Rounds follow each other without a wait."""
    monkeypatch.setattr("asyncbatch.client.Patience", partial(Patience, again_s=0.01))


@pytest.fixture
def over(cli, write):
    """Run requests to their end, into `out.jsonl`; gives the job's id."""

    def run_to_the_end(*lines):
        write(*lines)
        done = cli(*RUN, "--json")
        assert done.code in (0, 3), done.err
        return done.document["job"]

    return run_to_the_end


def rows_of_last(cli):
    return cli("results", "last").rows


def creates(emulator):
    return sent(emulator).count("create")


def statuses(rows):
    """Give each request's status, once a request: none may come twice."""
    found = {row["request_id"]: row["status"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.usefixtures("in_a_hurry")
class TestPolicy:
    """`asyncbatch run --retry`"""

    def test_what_failed_for_now_is_sent_again_in_a_batch_of_its_own(
        self, run, write, place, flaky, asyncbatch_emulator
    ):
        write("a", "b fails 1", "c", "d fails 2")

        done = run("requests.jsonl", "--retry", "transient", "-o", "out.jsonl")

        assert done.code == 0
        assert set(statuses(rows_in(place / "out.jsonl")).values()) == {"succeeded"}
        assert creates(asyncbatch_emulator) == 3
        assert [flaky.asked.count(prompt) for prompt in ("a", "b fails 1", "c", "d fails 2")] == [1, 2, 1, 3]
        assert "batch 1/1 round 3 batch_" in done.err
        assert "3 batches" in done.err

    def test_max_attempts_ends_it(self, run, write, place, flaky, asyncbatch_emulator):
        write("a", "b fails 9")

        done = run("requests.jsonl", "--retry", "transient", "--max-attempts", "2", "-o", "out.jsonl")

        assert done.code == 3
        assert statuses(rows_in(place / "out.jsonl")) == {"0000000": "succeeded", "0000001": "errored"}
        assert flaky.asked.count("b fails 9") == 2

    def test_it_is_three_without_being_told(self, run, write, flaky):
        write("b fails 9")

        run("requests.jsonl", "--retry", "transient")

        assert flaky.asked == ["b fails 9"] * 3

    def test_expired_leaves_errors_as_they_are(self, run, write, flaky, asyncbatch_emulator):
        write("a fails 1", "[[expire]]")

        done = run("requests.jsonl", "--retry", "expired", "--max-attempts", "2")

        assert statuses(done.rows) == {"0000000": "errored", "0000001": "expired"}
        assert flaky.asked.count("a fails 1") == 1
        assert creates(asyncbatch_emulator) == 2

    def test_without_it_nothing_is_sent_again_and_the_way_is_told(self, run, write, asyncbatch_emulator):
        write("a fails 1", "b [[error:400]]")

        done = run("requests.jsonl", "-o", "out.jsonl", "--json")

        assert creates(asyncbatch_emulator) == 1
        told = "1 may succeed the next time; this sends all 2 again that are errored: "
        assert f"{told}asyncbatch retry {done.document['job'][:8]}\n" in done.err

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            (["a fails 1", "b"], "1 may succeed the next time: asyncbatch retry {}\n"),
            (["b [[error:400]]", "c [[expire]]"], "1 may succeed the next time: asyncbatch retry {} --only expired\n"),
            (["a fails 1", "c [[expire]]"], "2 may succeed the next time: asyncbatch retry {}\n"),
            (
                ["a fails 1", "b [[error:400]]", "c [[expire]]"],
                "2 may succeed the next time; this sends all 3 again that are errored or expired: asyncbatch retry {}\n",
            ),
        ],
    )
    def test_the_command_that_is_named_sends_as_many_as_are_named(
        self, run, cli, write, asyncbatch_emulator, lines, told
    ):
        write(*lines)

        done = run("requests.jsonl", "-o", "out.jsonl", "--json")
        told = told.format(done.document["job"][:8])
        command = told.rpartition("asyncbatch ")[2].split()
        sent_again = cli(*command, "--yes", "--detach", "--json").document["sent"]

        assert told in done.err
        assert f"all {sent_again} again" in told or told.startswith(f"{sent_again} may")

    def test_what_every_round_cost_is_counted_alike_by_every_command(self, over, cli):
        over("a", "b [[conflict]]")

        retried = cli(*RETRY, "--only", "conflict", "--json").document
        others = [
            cli("show", "last", "--json").document,
            cli("results", "last", "-o", "again.jsonl", "--json").document,
            cli("run", *RUN[1:-4], "-o", "once-more.jsonl", "--json").document,
            cli("watch", "last", "--json").document,
            cli("status", "last", "--json").document | {"cost_usd": retried["cost_usd"]},
        ]

        final = [row["usage"]["total_tokens"] for row in rows_of_last(cli)]
        assert retried["usage"]["total_tokens"] > sum(final)
        assert [(each["usage"], each["cost_usd"]) for each in others] == [(retried["usage"], retried["cost_usd"])] * 5
        assert (
            f"{retried['usage']['prompt_tokens']:,} in, {retried['usage']['completion_tokens']:,} out"
            in cli("show", "last").out
        )
        assert f"{retried['usage']['prompt_tokens']:,} tokens in" in cli("watch", "last").err

    def test_it_makes_no_other_job(self, run, write, asyncbatch_emulator):
        write("a fails 1")
        first = run("requests.jsonl", "--json", "-o", "1.jsonl")

        again = run("requests.jsonl", "--json", "-o", "2.jsonl", "--retry", "transient")

        assert again.document["job"] == first.document["job"]
        assert creates(asyncbatch_emulator) == 1

    def test_a_job_that_was_submitted_with_it_keeps_it_for_whoever_watches(self, cli, write, flaky):
        write("a fails 1")
        cli("submit", "requests.jsonl", "-m", MODEL, "--retry", "transient")

        assert cli("watch", "last", "--poll", "0.02").code == 0
        assert len(flaky.asked) == 2

    def test_killed_in_a_round_the_same_command_goes_on_with_it(
        self, start, cli, write, place, flaky, asyncbatch_emulator
    ):
        write("quick", SLOW)
        command = (*RUN, "--retry", "expired", "--max-attempts", "2")
        process = start(*command, again_s=0.01)
        read_until(process.stderr, b"in_progress")
        asyncbatch_emulator.advance(100_000)
        read_until(process.stderr, b"round 2 batch_")
        process.kill()
        process.wait()
        assert statuses(rows_in(place / "out.jsonl.partial")) == {"0000000": "succeeded"}
        asyncbatch_emulator.advance(100_000)

        done = cli(*command)

        assert done.code == 3
        assert "going on with job " in done.err
        assert statuses(rows_in(place / "out.jsonl")) == {"0000000": "succeeded", "0000001": "expired"}
        assert creates(asyncbatch_emulator) == 2
        assert flaky.asked.count("quick") == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--max-attempts", "2"], "--max-attempts means nothing without --retry"),
            (["--retry", "sometimes"], "'sometimes' is not one of 'transient', 'expired'"),
            (["--retry", "expired", "--max-attempts", "0"], "0 is not in the range x>=1"),
            (["--retry", "expired", "--max-attempts", "many"], "'many' is not a valid integer"),
        ],
    )
    @pytest.mark.parametrize("command", ["run", "submit"])
    def test_what_makes_no_sense_is_refused_and_nothing_is_sent(
        self, cli, write, asyncbatch_emulator, command, options, words
    ):
        write("a")

        done = cli(command, "requests.jsonl", "-m", MODEL, *options)

        assert done.code == 2
        assert words in done.err
        assert not sent(asyncbatch_emulator)


class TestBetweenRounds:
    """Before requests are sent again, some time passes."""

    @pytest.fixture
    def left(self, start, write):
        """Leave a job there; gives the command's code, and what it said on stdout and stderr."""

        def leave(*options):
            write("a", "b fails 1")
            process = start(*RUN, "--retry", "transient", *options)
            read = read_until(process.stderr, b"waiting")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
            return Done(process.returncode, out.decode(), (read + err).decode())

        return leave

    def test_everything_that_shows_the_job_says_so(self, left, cli, asyncbatch_emulator):
        done = left()

        assert done.code == 130
        assert "batch 1/1 round 2 not created yet: waiting, 1 of 2 requests (1 request is sent again, 0:" in done.err
        assert "1 request had no batch yet, and will be sent by whoever goes on" in done.err
        for command in ("show", "status"):
            shown = cli(command, "last").out
            assert "running: 0 of 1 batch done, 1 of 2 requests\n" in shown
            assert "  round 2: 1 of 2 requests sent again  planned  1 request is sent again, 0:" in shown
            assert "  before that batch_" in shown
        assert "(1 request is sent again, 0:" in cli("results", "last").err
        (names, listed, _) = cli("ls").out.split("\n")
        assert listed.split()[2:4] == ["running", "1/2"]
        assert (names.split()[-1], listed.split()[-1]) == ("rounds", "2")
        assert creates(asyncbatch_emulator) == 1

    def test_programs_are_told_too(self, left, cli):
        events = left("--jsonl").rows
        (batch,) = cli("show", "last", "--json").document["batches"]
        (listed,) = cli("ls", "--json").document["jobs"]

        told = [event for event in events if event["type"] == "batch_status" and event["round"] == 1]
        assert [(event["sent"], event["requests"]) for event in told] == [(1, 2)]
        assert told[0]["note"].startswith("1 request is sent again, 0:")
        assert (batch["round"], batch["sent"], batch["state"], len(batch["earlier"])) == (1, 1, "planned", 1)
        assert (listed["batches"][0]["round"], listed["cancel_asked"]) == (1, False)

    def test_a_cancel_ends_the_wait_and_the_outcomes_stay(self, left, cli, asyncbatch_emulator):
        left()

        done = cli("cancel", "last", "--yes")
        rows = cli("watch", "last", "-o", "new.jsonl", "--json").document

        assert done.code == 0
        assert " is over: 1 errored, 1 succeeded" in done.err
        assert rows["outcomes"] == {"errored": 1, "succeeded": 1}
        assert creates(asyncbatch_emulator) == 1


class TestRetry:
    """`asyncbatch retry JOB`"""

    def test_only_what_failed_is_sent_and_every_row_is_there_once(self, over, cli, place, flaky, asyncbatch_emulator):
        over("a", "b fails 1", "[[missing]]", "c [[error:400]]")

        done = cli("retry", "last", "--only", "errored", "--yes", "-o", "new.jsonl", "--poll", "0.02")

        assert done.code == 3
        rows = rows_in(place / "new.jsonl")
        assert list(statuses(rows).values()).count("succeeded") == 2
        assert statuses(rows)["0000002"] == "missing"
        assert [flaky.asked.count(prompt) for prompt in ("a", "b fails 1")] == [1, 2]
        assert creates(asyncbatch_emulator) == 2
        assert ": 2 requests sent again, 2 outcomes held and not asked for again" in done.err

    def test_the_output_of_the_same_job_gives_way_in_one_step_and_then_stays(self, over, cli, place):
        over("a", "b fails 1")
        before = (place / "out.jsonl").stat().st_ino

        assert cli(*RETRY).code == 0
        made = (place / "out.jsonl").stat()
        again = cli(*RUN)

        assert set(statuses(rows_in(place / "out.jsonl")).values()) == {"succeeded"}
        assert made.st_ino != before
        after = (place / "out.jsonl").stat()
        assert (after.st_ino, after.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
        assert again.code == 0
        assert not (place / "out.jsonl.partial").exists()

    def test_an_output_from_before_it_is_written_anew_by_any_command(self, over, cli, place):
        over("a", "b fails 1")
        cli("retry", "last", "--yes", "--poll", "0.02")
        assert statuses(rows_in(place / "out.jsonl"))["0000001"] == "errored"

        done = cli(*RUN)

        assert done.code == 0
        assert statuses(rows_in(place / "out.jsonl"))["0000001"] == "succeeded"

    @pytest.mark.parametrize("change", ["touched", "of another job"])
    def test_an_output_that_is_anything_else_is_refused_and_nothing_is_sent(
        self, over, run, cli, write, place, asyncbatch_emulator, change
    ):
        job = over("a", "b fails 1")
        if change == "touched":
            with (place / "out.jsonl").open("a") as file:
                file.write("mine\n")
        else:
            (place / "out.jsonl").unlink()
            write("another")
            run("requests.jsonl", "-o", "out.jsonl")
        before = (place / "out.jsonl").read_bytes()
        calls = creates(asyncbatch_emulator)

        done = cli("retry", job, "--yes", "-o", "out.jsonl")

        assert done.code == 2
        assert "out.jsonl exists" in done.err
        assert (place / "out.jsonl").read_bytes() == before
        assert creates(asyncbatch_emulator) == calls

    def test_an_output_that_changes_meanwhile_is_not_overwritten(self, over, start, place, flaky):
        over("a", LATE)
        process = start(*RETRY)
        read_until(process.stderr, b"round 2 batch_")
        (place / "out.jsonl").write_text("mine\n")
        flaky.may_answer.set()

        _, err = process.communicate()

        assert process.returncode == 1
        assert b"out.jsonl came into being meanwhile; the rows are in out.jsonl.partial" in err
        assert (place / "out.jsonl").read_text() == "mine\n"
        assert len(rows_in(place / "out.jsonl.partial")) == 2

    def test_without_an_output_it_says_where_the_rows_are(self, over, cli):
        job = over("a fails 1")

        done = cli("retry", "last", "--yes", "--poll", "0.02")

        assert (done.code, done.out) == (0, "")
        assert f"its rows: asyncbatch results {job[:8]} -o results.jsonl" in done.err

    def test_with_nothing_to_send_it_says_so(self, over, cli, monkeypatch, place, asyncbatch_emulator):
        job = over("a", "b [[error:400]]")
        calls = len(asyncbatch_emulator.history)
        monkeypatch.delenv("OPENAI_API_KEY")

        text = cli("retry", "last", "--only", "expired,missing", "-o", "new.jsonl")
        document = cli("retry", "last", "--only", "expired", "--json").document

        assert text.code == 0
        assert f"nothing of job {job[:8]} is expired or missing, so nothing is sent again" in text.err
        assert len(rows_in(place / "new.jsonl")) == 2
        assert (document["type"], document["sent"]) == ("job_retried", 0)
        assert len(asyncbatch_emulator.history) == calls

    def test_without_anybody_to_ask_it_needs_a_yes(self, over, cli, asyncbatch_emulator):
        over("a fails 1")

        done = cli("retry", "last")

        assert done.code == 2
        assert "hint: say --yes" in done.err
        assert creates(asyncbatch_emulator) == 1

    def test_a_job_that_is_not_over_is_left_alone(self, cli, write, asyncbatch_emulator):
        write(SLOW)
        job = cli("submit", "requests.jsonl", "-m", MODEL).out.strip()

        done = cli("retry", "last", "--yes")

        assert done.code == 8
        assert f"job {job[:8]} is not over yet: 0 of 1 batch done, 0 of 1 request" in done.err
        assert f"asyncbatch watch {job[:8]}" in done.err
        assert creates(asyncbatch_emulator) == 1

    @pytest.mark.parametrize(
        ("only", "words"),
        [
            ("errorred", "'errorred' is no outcome"),
            ("errored,succeeded", "a request that is succeeded is not sent again"),
            ("rejected", "a request that is rejected is not sent again"),
            ("", "'' is no outcome"),
        ],
    )
    def test_outcomes_that_are_none_or_cannot_be_bettered_are_refused(
        self, over, cli, asyncbatch_emulator, only, words
    ):
        over("a fails 1")

        done = cli("retry", "last", "--yes", "--only", only)

        assert done.code == 2
        assert words in done.err
        assert "hint: there are errored, expired, cancelled, missing," in done.err
        assert creates(asyncbatch_emulator) == 1

    def test_a_job_that_nobody_knows_is_told(self, cli, over):
        over("a")

        assert "there is no job 'xyz'" in cli("retry", "xyz", "--yes").err
        assert cli("retry", "openai/batch_1", "--yes").code == 2

    def test_without_the_key_nothing_is_sent(self, over, cli, place, monkeypatch, asyncbatch_emulator):
        over("a fails 1")
        before = (place / "out.jsonl").read_bytes()
        monkeypatch.delenv("OPENAI_API_KEY")

        done = cli(*RETRY)

        assert done.code == 4
        assert (place / "out.jsonl").read_bytes() == before
        assert not (place / "out.jsonl.partial").exists()
        assert creates(asyncbatch_emulator) == 1

    def test_a_round_that_is_refused_leaves_the_outcomes_as_they_were(self, over, cli, place, asyncbatch_emulator):
        over("a", "b fails 1")
        asyncbatch_emulator.add(faults.refuse(400, method="POST", path="*/batches", times=None))

        done = cli(*RETRY)

        assert done.code == 3
        assert statuses(rows_in(place / "out.jsonl")) == {"0000000": "succeeded", "0000001": "errored"}
        assert "400" in done.err

    def test_detached_it_leaves_once_everything_is_sent(self, over, cli, flaky, asyncbatch_emulator):
        job = over("a", "b fails 1")

        done = cli("retry", "last", "--yes", "--detach", "--json")

        assert done.code == 0
        assert (done.document["type"], done.document["sent"], len(done.document["batches"])) == ("job_retried", 1, 1)
        assert f"  asyncbatch watch {job[:8]} -o results.jsonl" in done.err
        assert creates(asyncbatch_emulator) == 2
        assert cli("watch", "last", "--poll", "0.02").code == 0
        assert creates(asyncbatch_emulator) == 2

    def test_detached_a_refusal_is_told(self, over, cli, asyncbatch_emulator):
        over("a", "b fails 1")
        asyncbatch_emulator.add(faults.refuse(400, method="POST", path="*/batches", times=None))

        done = cli("retry", "last", "--yes", "--detach", "--json")

        assert done.code == 1
        assert done.document["error"]["code"] == "retry.refused"

    @pytest.mark.parametrize("option", [["-o", "new.jsonl"], ["--ordered"], ["--timeout", "1"]])
    def test_detached_it_waits_for_nothing(self, over, cli, asyncbatch_emulator, option):
        over("a fails 1")

        done = cli("retry", "last", "--yes", "--detach", *option)

        assert done.code == 2
        assert "mean nothing with it" in done.err
        assert creates(asyncbatch_emulator) == 1

    def test_programs_hear_of_each_step(self, over, cli):
        job = over("a", "b fails 1")

        events = cli(*RETRY, "--jsonl").rows

        assert (events[0]["type"], events[0]["job"], events[0]["sent"]) == ("job_retried", job, 1)
        assert "batches" not in events[0]
        assert {event["round"] for event in events if event["type"] == "batch_status"} == {1}
        assert (events[-1]["type"], events[-1]["outcomes"]) == ("job_ended", {"succeeded": 2})
        (batch,) = events[-1]["batches"]
        assert (batch["round"], len(batch["earlier"])) == (1, 1)

    def test_several_batches_are_retried_at_once(self, cli, write, place, flaky, asyncbatch_emulator):
        (place / "llm_config.yaml").write_text(ONE_EACH)
        write("a", "b fails 1", "c fails 1")
        cli(*RUN)

        assert cli(*RETRY, "--ordered").code == 0
        assert [row["text"] for row in rows_in(place / "out.jsonl")] == ["echo: a", "echo: b", "echo: c"]
        assert creates(asyncbatch_emulator) == 5
        assert flaky.asked.count("a") == 1

    def test_what_nobody_knows_comes_with_a_warning(self, cli, write, monkeypatch, asyncbatch_emulator):
        quick = partial(Recovery, window_s=0.1, gap_s=0.01, watch_s=0.1)
        monkeypatch.setattr("asyncbatch.client.Recovery", quick)
        monkeypatch.setattr("asyncbatch.engine.recover.Polling", partial(Polling, not_found_grace_s=0.1))
        asyncbatch_emulator.add(
            faults.accept_then_drop(method="POST", path="*/batches", times=1),
            faults.refuse(403, method="GET", path="*/batches", times=None),
        )
        write("a")
        assert cli(*RUN, "--json").document["outcomes"] == {"indeterminate": 1}
        asyncbatch_emulator.reset()

        usual = cli("retry", "last", "--yes")
        done = cli(*RETRY, "--only", "indeterminate")

        assert "so nothing is sent again" in usual.err
        assert done.code == 0
        assert "note: whether 1 request arrived is not known: what did is paid for twice" in done.err
        assert creates(asyncbatch_emulator) == 1  # since the reset


class TestKilledRetry:
    """SIGKILL and Ctrl-C in the middle of `retry`."""

    @pytest.fixture
    def killed(self, over, start, place, asyncbatch_emulator):
        """Kill it while the round runs; a request of it is answered when the test says so."""
        command = (*RETRY, "--only", "errored")
        over("a", "[[missing]]", "b fails 9", LATE)
        process = start(*command)
        read_until(process.stderr, b"round 2 batch_")
        process.kill()
        process.wait()
        return command

    def test_the_same_command_goes_on_and_sends_nothing_more(self, killed, cli, place, flaky, asyncbatch_emulator):
        assert len(rows_in(place / "out.jsonl")) == 4
        flaky.may_answer.set()

        done = cli(*[word for word in killed if word != "--yes"])

        assert done.code == 3
        assert "going on with job " in done.err
        found = statuses(rows_in(place / "out.jsonl"))
        assert found == {"0000000": "succeeded", "0000001": "missing", "0000002": "errored", "0000003": "succeeded"}
        assert creates(asyncbatch_emulator) == 2
        assert not (place / "out.jsonl.partial").exists()

    @pytest.mark.parametrize("command", [RUN, ("watch", "last", "-o", "out.jsonl", "--poll", "0.02")])
    def test_so_do_run_and_watch(self, killed, cli, place, flaky, asyncbatch_emulator, command):
        before = (place / "out.jsonl").stat().st_ino
        flaky.may_answer.set()

        assert cli(*command).code == 3
        assert len(statuses(rows_in(place / "out.jsonl"))) == 4
        assert (place / "out.jsonl").stat().st_ino != before
        assert creates(asyncbatch_emulator) == 2

    def test_detached_it_goes_on_too(self, killed, cli, asyncbatch_emulator):
        done = cli("retry", "last", "--yes", "--detach", "--json")

        assert (done.code, done.document["sent"]) == (0, 2)
        assert creates(asyncbatch_emulator) == 2

    def test_the_rows_of_another_job_are_refused_there(self, killed, run, write, place):
        write("another")
        before = (place / "out.jsonl").read_bytes()

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert (place / "out.jsonl").read_bytes() == before

    def test_ctrl_c_says_how_to_come_back(self, over, start, cli, place, flaky, asyncbatch_emulator):
        over("a", LATE, "b [[error:400]]")
        process = start(*RETRY)
        read_until(process.stderr, b"round 2 batch_")

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert process.returncode == 130
        (watch,) = [line.split()[1:] for line in err.decode().split("\n") if line.startswith("  asyncbatch watch ")]
        flaky.may_answer.set()
        assert cli(*watch).code == 3
        assert len(rows_in(place / "out.jsonl")) == 3
        assert creates(asyncbatch_emulator) == 2

    def test_another_command_watches_it_and_sends_nothing(self, over, start, cli, place, flaky, asyncbatch_emulator):
        over("a", LATE, "b [[error:400]]")
        process = start("retry", "last", "--yes", "--poll", "0.02")
        read_until(process.stderr, b"round 2 batch_")

        left = cli("retry", "last", "--yes", "--timeout", "0.3")
        flaky.may_answer.set()
        process.communicate()

        assert left.code == 8
        assert "; another process has it, and is watched" in left.err
        assert creates(asyncbatch_emulator) == 2


class TestOrdered:
    """`--ordered`"""

    PROMPTS = tuple(f"number {number}" for number in range(40))

    @pytest.mark.parametrize("limit", [None, 7, 1])
    def test_rows_come_in_the_order_of_the_requests(self, run, write, place, limit):
        if limit is not None:
            (place / "llm_config.yaml").write_text(ONE_EACH.replace("requests: 1", f"requests: {limit}"))
        prompts = self.PROMPTS[:8] if limit == 1 else self.PROMPTS
        write(*prompts)

        to_file, to_stdout = run("requests.jsonl", "--ordered", "-o", "out.jsonl"), run("requests.jsonl", "--ordered")

        expected = [f"echo: {prompt}" for prompt in prompts]
        assert (to_file.code, to_stdout.code) == (0, 0)
        assert [row["text"] for row in rows_in(place / "out.jsonl")] == expected
        assert [row["text"] for row in to_stdout.rows] == expected

    def test_without_it_they_do_not(self, run, write):
        write(*self.PROMPTS)

        rows = run("requests.jsonl").rows

        assert [row["request_id"] for row in rows] != sorted(row["request_id"] for row in rows)

    def test_refused_rows_stand_at_their_places(self, run, write):
        write("a", {"messages": 3}, b"no json", "b", "c fails 9", b"[]")

        done = run("requests.jsonl", "--ordered", "--skip-bad")

        assert [row["status"] for row in done.rows] == [
            "succeeded", "rejected", "rejected", "succeeded", "errored", "rejected"
        ]  # fmt: skip

    def test_watch_results_and_retry_know_it_too(self, cli, write, place):
        prompts = (*self.PROMPTS, "last fails 1")
        write(*prompts)
        cli("submit", "requests.jsonl", "-m", MODEL)

        cli("watch", "last", "--ordered", "-o", "1.jsonl", "--poll", "0.02")
        results = cli("results", "last", "--ordered")
        cli("retry", "last", "--yes", "--ordered", "-o", "2.jsonl", "--poll", "0.02")

        for rows in (rows_in(place / "1.jsonl"), results.rows, rows_in(place / "2.jsonl")):
            assert [row["request_id"] for row in rows] == [f"{number:07d}" for number in range(41)]

    def test_an_output_of_the_same_job_in_another_order_gives_way_and_the_other_way_round_it_stays(
        self, run, write, place
    ):
        write(*self.PROMPTS)
        run("requests.jsonl", "-o", "out.jsonl")
        first = (place / "out.jsonl").stat().st_ino

        run("requests.jsonl", "-o", "out.jsonl", "--ordered")
        second = (place / "out.jsonl").stat().st_ino
        run("requests.jsonl", "-o", "out.jsonl")

        assert second != first
        assert (place / "out.jsonl").stat().st_ino == second
        assert [row["text"] for row in rows_in(place / "out.jsonl")] == [f"echo: {prompt}" for prompt in self.PROMPTS]

    def test_killed_while_the_first_is_awaited_it_goes_on_in_order(self, start, cli, write, place, asyncbatch_emulator):
        (place / "llm_config.yaml").write_text(ONE_EACH)
        write(SLOW, "quick", "quick too")
        command = (*RUN, "--ordered")
        process = start(*command)
        if b"batch 1/3 batch_" not in read_until(process.stderr, b"completed"):
            read_until(process.stderr, b"batch 1/3 batch_")  # it was created while the clock had not moved yet
        process.kill()
        process.wait()
        assert rows_in(place / "out.jsonl.partial") == []
        asyncbatch_emulator.advance(100_000)

        assert cli(*command).code == 3
        assert [row["status"] for row in rows_in(place / "out.jsonl")] == ["expired", "succeeded", "succeeded"]
        assert creates(asyncbatch_emulator) == 3

    def test_a_batch_by_its_name_has_no_order(self, cli):
        done = cli("results", "openai/batch_1", "--ordered")

        assert done.code == 2
        assert "--ordered is for jobs" in done.err

    def test_without_rows_there_is_nothing_to_order(self, cli, write):
        write("a")
        cli("submit", "requests.jsonl", "-m", MODEL)

        for command in (["watch", "last"], ["retry", "last", "--yes"]):
            done = cli(*command, "--ordered")
            assert done.code == 2
            assert "hint: add -o results.jsonl" in done.err


def test_a_note_of_an_earlier_version_is_still_read(over, run, place):
    """Notes beside the journal have grown since: what is not in one is as it was then."""
    over("a")
    (note,) = (place / "home" / "outputs").glob("*.json")
    known = json.loads(note.read_bytes())
    for name in ("rounds", "is_ordered", "replaces"):
        del known[name]
    note.write_text(json.dumps(known))
    before = (place / "out.jsonl").stat().st_ino

    assert run("requests.jsonl", "-o", "out.jsonl").code == 0
    assert os.stat(place / "out.jsonl").st_ino == before
