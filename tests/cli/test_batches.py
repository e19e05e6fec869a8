"""`asyncbatch status`, `results` and `cancel`: one batch by its name at the provider."""

import json

import pytest

from asyncbatch.emulator import faults
from tests.cli.words import rows_in


@pytest.fixture
def leave(run, write):
    """Submit requests, leave them running, and give the batch's name and the commands that go on with it."""

    def submit(*lines):
        write(*lines)
        done = run("requests.jsonl", "--timeout", "0.3", "-o", "out.jsonl", "--json", "--home", "memory")
        assert done.code == 8
        commands = done.document["commands"]
        return commands[0].split()[-1], [command.split()[1:] for command in commands]

    return submit


@pytest.fixture
def over(leave, asyncbatch_emulator):
    """The same, for a batch that has come to its end in the meantime."""

    def submit(*lines):
        name, commands = leave(*lines, "slow [[stall]]")
        asyncbatch_emulator.advance(100_000)
        return name, commands

    return submit


def turned_away(run, write, emulator):
    """Leave a job whose batch failed for want of room, and is to be sent again later; gives the batch's name."""
    emulator.add(faults.full_queue())
    write("hello")
    assert run("requests.jsonl", "--timeout", "1.5", "-o", "out.jsonl").code == 8
    (create,) = [record for record in emulator.history if record.kind == "create"]
    return create.object_id


def test_status_says_where_a_batch_stands(leave, cli):
    name, _ = leave("hello", "slow [[stall]]")

    done = cli("status", name)

    lines = dict(line.split(None, 1) for line in done.out.strip().split("\n"))
    assert done.code == 0
    assert lines["batch"] == name
    assert lines["status"] == "in_progress"
    assert "of 2 done" in lines["requests"]
    assert lines["created"].endswith("UTC")
    assert done.err == ""


def test_status_in_json_is_one_document(leave, cli):
    name, _ = leave("slow [[stall]]")

    document = cli("status", name, "--json").document

    assert (document["v"], document["type"], document["batch"]) == (1, "batch", name)
    assert document["status"] == "in_progress"
    assert document["progress"]["total"] == 1


def test_status_names_every_reason_why_a_batch_failed(cli, run, write, asyncbatch_emulator):
    batch = turned_away(run, write, asyncbatch_emulator)

    status = cli("status", f"openai/{batch}")

    assert "status        failed" in status.out
    assert "error         token_limit_exceeded: " in status.out


def test_the_command_that_run_prints_fetches_the_rows_under_their_own_ids(over, cli, place):
    mine = {"custom_id": "mine", "body": {"messages": [{"role": "user", "content": "hello"}]}}
    name, (_, results) = over("a prompt", mine)

    done = cli(*results)

    rows = {row["request_id"]: row for row in rows_in(place / "out-1.jsonl")}
    assert sorted(rows) == ["0000000", "0000002", "mine"]
    assert rows["mine"]["response"]["choices"][0]["message"]["content"] == "echo: hello"
    assert rows["0000002"]["status"] == "expired"
    assert done.code == 3
    assert f"{name} ended expired: 1 expired, 2 succeeded" in done.err


def test_rows_that_were_left_out_do_not_shift_the_names_of_the_others(run, write, cli, place, asyncbatch_emulator):
    def ready(name, text):
        return {"custom_id": name, "body": {"messages": [{"role": "user", "content": text}]}}

    write("zero", b"", ready("one", "one"), b"broken", "three", ready("one", "again"), ready("five", "five [[stall]]"))
    left = run("requests.jsonl", "--skip-bad", "--timeout", "0.3", "-o", "out.jsonl", "--json", "--home", "memory")
    asyncbatch_emulator.advance(100_000)

    done = cli(*left.document["commands"][1].split()[1:])

    rows = {row["request_id"]: row for row in rows_in(place / "out-1.jsonl")}
    assert left.code == 8
    assert done.code == 3
    assert sorted(rows) == ["0000000", "0000003", "five", "one"]
    answers = {
        name: row["response"] and row["response"]["choices"][0]["message"]["content"] for name, row in rows.items()
    }
    assert answers == {"0000000": "echo: zero", "0000003": "echo: three", "one": "echo: one", "five": None}
    assert "Take" not in left.err


def test_without_the_file_the_ids_are_those_on_the_wire_and_it_says_so(over, cli):
    name, _ = over("hello")

    done = cli("results", name)

    assert sorted(row["request_id"][8:] for row in done.rows) == ["-0000000", "-0000001"]
    assert "--requests FILE gives the requests' own" in done.err


def test_a_file_that_was_not_the_one_that_was_sent_is_noticed(over, cli, write):
    name, _ = over("hello")
    write("only one", name="other.jsonl")

    done = cli("results", name, "--requests", "other.jsonl")

    assert "1 rows have numbers that other.jsonl does not reach" in done.err


def test_results_of_a_batch_that_succeeded_give_exit_code_0(run, write, cli):
    write("hello")
    batch = run("requests.jsonl", "--json", "-o", "out.jsonl").document["batches"][0]["provider_batch_id"]

    done = cli("results", f"openai/{batch}", "-o", "again.jsonl", "--json")

    assert done.code == 0
    assert done.document["type"] == "results"
    assert done.document["outcomes"] == {"succeeded": 1}
    assert done.document["exit_code"] == 0


def test_results_say_how_many_requests_got_no_answer(run, write, cli):
    write("hello", "lost [[missing]]")
    batch = run("requests.jsonl", "--json", "-o", "out.jsonl").document["batches"][0]["provider_batch_id"]

    done = cli("results", f"openai/{batch}")

    assert done.code == 3
    assert "1 request got no answer" in done.err


def test_a_failed_batch_has_no_results_and_says_why(run, write, cli, asyncbatch_emulator):
    batch = turned_away(run, write, asyncbatch_emulator)

    done = cli("results", f"openai/{batch}")

    assert done.code == 3
    assert done.out == ""
    assert "token_limit_exceeded" in done.err


def test_results_of_a_batch_that_is_not_over_give_exit_code_8_and_no_file(leave, cli, place):
    name, _ = leave("slow [[stall]]")

    done = cli("results", name, "-o", "later.jsonl")

    assert done.code == 8
    assert "is not over yet: in_progress" in done.err
    assert "--wait" in done.err
    assert not list(place.glob("later*"))


def test_waiting_can_be_limited(leave, cli):
    name, _ = leave("slow [[stall]]")

    done = cli("results", name, "--wait", "--poll", "0.02", "--timeout", "0.3", "--jsonl", "-o", "later.jsonl")

    assert done.code == 8
    assert [event["type"] for event in done.rows] == ["batch_status", "error"]
    assert f"{name}: in_progress, 0/1" in done.err


def test_waiting_ends_with_the_batch(leave, cli, place):
    name, _ = leave("hello", "slow [[stall]]")
    cli("cancel", name, "--yes")

    done = cli("results", name, "--wait", "--poll", "0.02", "--requests", "requests.jsonl", "-o", "later.jsonl")

    assert done.code == 3
    assert f"{name} ended cancelled: 1 cancelled, 1 succeeded" in done.err
    assert {row["request_id"]: row["status"] for row in rows_in(place / "later.jsonl")} == {
        "0000000": "succeeded",
        "0000001": "cancelled",
    }


def test_cancel_asks_the_provider_and_shows_what_it_answers(leave, cli):
    name, _ = leave("slow [[stall]]")

    done = cli("cancel", name, "--yes")

    assert done.code == 0
    assert "status        cancelling" in done.out


def test_a_cancel_at_a_provider_that_has_none_says_what_happens_instead(run, write, cli):
    write("slow [[stall]]")
    done = run(
        *("requests.jsonl", "--timeout", "0.3", "-o", "out.jsonl", "--json", "--home", "memory"),
        model="openrouter/openai/gpt-4.1-mini",
    )
    name = done.document["commands"][0].split()[-1]

    done = cli("cancel", name, "--yes")

    assert done.code == 1
    assert f"cannot cancel batch {name.partition('/')[2]}: it goes on to its end, and is paid for" in done.err
    assert "hint: wait for it, or leave it" in done.err


def test_cancel_without_anybody_to_ask_needs_a_yes(leave, cli, asyncbatch_emulator):
    name, _ = leave("slow [[stall]]")

    done = cli("cancel", name)

    assert done.code == 2
    assert "hint: say --yes" in done.err
    assert "cancel" not in [record.kind for record in asyncbatch_emulator.history]


@pytest.mark.parametrize("command", ["status", "results", "cancel"])
@pytest.mark.parametrize("name", ["openai/", "/batch_1"])
def test_a_batch_needs_its_provider_s_name(cli, command, name):
    done = cli(command, name, *(["--yes"] if command == "cancel" else []))

    assert done.code == 2
    assert "names no batch" in done.err
    assert "PROVIDER/BATCH_ID" in done.err


@pytest.mark.parametrize("command", ["status", "results", "cancel"])
def test_a_batch_that_the_provider_does_not_know_gives_exit_code_1(cli, command):
    done = cli(command, "openai/batch_nobody", *(["--yes"] if command == "cancel" else []))

    assert done.code == 1
    assert "404" in done.err


def test_an_id_that_could_steer_the_path_elsewhere_is_refused(cli):
    assert "is no id of a batch" in cli("status", "openai/../files").err


def test_a_provider_that_nobody_knows_is_refused(cli):
    assert cli("status", "opnai/batch_1").code == 2


def test_without_a_key_the_variable_is_named(cli, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")

    done = cli("status", "openai/batch_1", "--json")

    assert done.code == 4
    assert json.loads(done.out)["error"]["code"] == "auth.missing"


def test_results_in_json_need_another_place_for_the_rows(cli):
    done = cli("results", "openai/batch_1", "--json")

    assert done.code == 2
    assert done.document["error"]["code"] == "output.missing"


def test_results_never_overwrite(over, cli, place):
    name, _ = over("hello")
    (place / "there.jsonl").write_text("precious")

    done = cli("results", name, "-o", "there.jsonl")

    assert done.code == 2
    assert (place / "there.jsonl").read_text() == "precious"
