"""`asyncbatch orphans`: what lies at a provider and is known to no job here is shown, and goes only when somebody says so."""

import pytest

from tests.cli.words import sent


@pytest.fixture
def over(run, write):
    """Take a file of requests to its end, in a home of its own."""

    def take(*requests, home):
        write(*requests)
        assert run("requests.jsonl", "-o", f"{home}.jsonl", "--home", home).code in (0, 3)

    return take


def deleted(emulator):
    return [item.object_id for item in emulator.history if item.kind == "delete"]


def created(emulator):
    return [item.object_id for item in emulator.history if item.kind == "create"]


@pytest.fixture
def two(over, asyncbatch_emulator):
    """Take one job in the home `here` to its end, and another one elsewhere; gives the name of the other batch."""
    over("hello", home="here")
    over("hello", home="elsewhere")
    return created(asyncbatch_emulator)[-1]


def test_where_everything_is_known_nothing_is_shown(over, cli):
    over("hello", home="here")

    done = cli("orphans", "openai", "--home", "here", "--days", "0")

    assert (done.code, done.out) == (0, "")
    assert "0 batches and 0 files at openai with our mark are known to no job in here" in done.err


def test_a_batch_of_another_directory_is_shown_and_left_alone(two, cli, asyncbatch_emulator):
    done = cli("orphans", "openai", "--home", "here", "--days", "0")

    assert done.code == 0
    (_, line) = done.out.splitlines()
    assert line.split()[:2] == ["batch", two]
    assert "completed, 1 request" in line
    assert "may be deleted" in line
    assert "jobs of other directories and machines, and forgotten ones, look the same" in done.err
    assert f"asyncbatch results openai/{two} -o answers.jsonl" in done.err
    assert "1 of them may be deleted: asyncbatch orphans openai --delete --days 0 --home here\n" in done.err
    assert deleted(asyncbatch_emulator) == []


def test_what_is_young_is_said_to_be(two, cli):
    done = cli("orphans", "openai", "--home", "here")

    assert "too young" in done.out
    assert "may be deleted" not in done.out + done.err


def test_with_a_yes_what_is_over_goes_with_its_files_and_is_not_shown_again(two, cli, asyncbatch_emulator):
    done = cli("orphans", "openai", "--home", "here", "--days", "0", "--delete", "--yes")
    again = cli("orphans", "openai", "--home", "here", "--days", "0")

    assert done.code == 0
    assert "2 things deleted at openai" in done.err
    assert len(deleted(asyncbatch_emulator)) == 2
    assert again.out == ""


def test_nothing_goes_without_a_yes(two, cli, asyncbatch_emulator):
    done = cli("orphans", "openai", "--home", "here", "--days", "0", "--delete")

    assert done.code == 2
    assert "deleting 1 batch with their files and 0 files needs a yes" in done.err
    assert deleted(asyncbatch_emulator) == []


def test_nothing_young_goes_even_with_a_yes(two, cli, asyncbatch_emulator):
    done = cli("orphans", "openai", "--home", "here", "--delete", "--yes")

    assert done.code == 0
    assert deleted(asyncbatch_emulator) == []


@pytest.mark.parametrize("home", ["nowhere", "memory"])
def test_where_nothing_is_remembered_everything_is_shown_and_nothing_may_go(two, cli, place, asyncbatch_emulator, home):
    shown = cli("orphans", "openai", "--home", home, "--days", "0", "--json")
    done = cli("orphans", "openai", "--home", home, "--days", "0", "--delete", "--yes")

    assert [orphan["keeps"] for orphan in shown.document["orphans"]] == ["unknown_home"] * 2
    assert done.code == 2
    assert "looks like an orphan" in done.err
    assert deleted(asyncbatch_emulator) == []
    assert not (place / home).exists()


@pytest.mark.parametrize("home", ["nowhere", "memory"])
def test_such_a_list_says_what_the_refusal_says_and_offers_no_deletion(two, cli, home):
    shown = cli("orphans", "openai", "--home", home, "--days", "0")
    program = cli("orphans", "openai", "--home", home, "--days", "0", "--json").document
    refused = cli("orphans", "openai", "--home", home, "--days", "0", "--delete", "--yes")

    words = f"there are no jobs in {home}, so whatever is ours looks like an orphan"
    assert words in refused.err
    assert words in shown.err
    assert words in program["notes"]
    assert "may be deleted" not in shown.out + shown.err
    assert shown.out.count("nothing is known here") == 2
    assert "--delete" not in shown.err
    if home != "memory":
        assert "memory" not in shown.err


def test_a_forgotten_job_leaves_orphans(over, cli, asyncbatch_emulator):
    over("hello", home="here")
    cli("gc", "--days", "0", "--home", "here")

    done = cli("orphans", "openai", "--home", "here", "--days", "0", "--json")

    assert [orphan["ref"] for orphan in done.document["orphans"]] == created(asyncbatch_emulator)


def test_a_program_gets_it_all(two, cli):
    shown = cli("orphans", "openai", "--home", "here", "--days", "0", "--json").document
    done = cli("orphans", "openai", "--home", "here", "--days", "0", "--delete", "-y", "--json").document

    assert (shown["type"], shown["provider"], shown["deleted"], shown["errors"]) == ("orphans", "openai", 0, [])
    (orphan,) = shown["orphans"]
    assert orphan["ref"] == two
    assert orphan["mark"].startswith(f"ab1-{orphan['job']}-")
    assert (orphan["is_file"], orphan["status"], orphan["keeps"]) == (False, "completed", None)
    assert (done["deleted"], done["exit_code"]) == (2, 0)


def test_a_provider_without_marks_says_so(over, cli):
    over("hello", home="here")

    done = cli("orphans", "anthropic", "--home", "here")

    assert done.code == 0
    assert "anthropic keeps no mark with a batch" in done.err


def test_a_provider_that_nobody_knows_is_refused(over, cli, asyncbatch_emulator):
    over("hello", home="here")
    calls = len(asyncbatch_emulator.history)

    done = cli("orphans", "nobody", "--home", "here")

    assert done.code == 2
    assert "nobody" in done.err
    assert len(asyncbatch_emulator.history) == calls


def test_a_running_batch_of_somebody_else_stays(run, write, cli, start, place, asyncbatch_emulator):
    write("[[stall]]")
    cli("submit", "requests.jsonl", "-m", "openai/gpt-4.1-mini", "--home", "elsewhere", "--yes")
    write("hello", name="other.jsonl")
    run("other.jsonl", "-o", "out.jsonl", "--home", "here")

    done = cli("orphans", "openai", "--home", "here", "--days", "0", "--delete", "--yes", "--json")

    assert [orphan["keeps"] for orphan in done.document["orphans"]] == ["running"]
    assert deleted(asyncbatch_emulator) == []
    assert sent(asyncbatch_emulator).count("create") == 2
