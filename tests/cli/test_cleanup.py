"""`--cleanup` of `run` and `submit`: files at the provider go once the outcomes are on disk, and only if that was wanted."""

import pytest

from tests.cli.words import MODEL, rows_in, sent


def deleted(emulator):
    return [record.kind for record in emulator.history].count("delete")


@pytest.mark.parametrize(
    ("policy", "prompts", "count"),
    [
        (None, ["a"], 0),
        ("never", ["a"], 0),
        ("succeeded", ["a"], 2),
        ("succeeded", ["a", "b [[error:400]]"], 0),
        ("settled", ["a", "b [[error:400]]"], 3),
        ("settled", ["a", "[[missing]]"], 0),
    ],
)
def test_input_and_answers_go_as_far_as_the_policy_says(run, write, place, asyncbatch_emulator, policy, prompts, count):
    write(*prompts)

    done = run("requests.jsonl", "-o", "out.jsonl", *(["--cleanup", policy] if policy else []))

    assert done.code in (0, 3)
    assert len(rows_in(place / "out.jsonl")) == len(prompts)
    assert deleted(asyncbatch_emulator) == count


def test_the_rows_are_answered_from_the_journal_afterwards(run, write, place, asyncbatch_emulator):
    write("a")
    run("requests.jsonl", "-o", "1.jsonl", "--cleanup", "succeeded")

    done = run("requests.jsonl", "-o", "2.jsonl")

    assert done.code == 0
    assert (place / "2.jsonl").read_bytes() == (place / "1.jsonl").read_bytes()
    assert sent(asyncbatch_emulator).count("create") == 1


def test_a_job_that_was_submitted_with_it_keeps_it_for_whoever_watches(cli, write, asyncbatch_emulator):
    write("a")
    cli("submit", "requests.jsonl", "-m", MODEL, "--cleanup", "succeeded")
    before = deleted(asyncbatch_emulator)

    assert cli("watch", "last", "--poll", "0.02").code == 0
    assert (before, deleted(asyncbatch_emulator)) == (0, 2)


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["submit"]])
def test_where_nothing_is_remembered_it_is_refused_and_nothing_is_sent(cli, write, asyncbatch_emulator, command):
    write("a")

    done = cli(*command, "requests.jsonl", "-m", MODEL, "--cleanup", "settled", "--home", "memory")

    assert done.code == 2
    assert "--cleanup settled deletes answers at the provider, and --home memory keeps none here" in done.err
    assert "hint: name a directory, or leave --home out" in done.err
    assert not asyncbatch_emulator.history


def test_what_is_no_policy_is_refused(cli, write):
    write("a")

    done = cli("run", "requests.jsonl", "-m", MODEL, "--cleanup", "always")

    assert done.code == 2
    assert "'always' is not one of 'never', 'succeeded', 'settled'" in done.err
