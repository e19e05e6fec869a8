"""`asyncbatch doctor`: what it says of accounts that are well, and of those that are not; it changes nothing."""

import pytest

from asyncbatch.emulator import faults
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.registry import BatchProviderRegistry, batch_provider_registry
from tests.cli.test_facts import Stranger

MODELS = {
    "anthropic": "claude-haiku-4-5-20251001",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "openai": "gpt-4.1-mini",
}
NAMES = {
    name: model
    for name in BatchProviderRegistry().available()
    if (model := MODELS.get(name) or next(iter(load_dialects()[name].protocol["listed"]), None))
}
"""A model of each whose service lists any."""


@pytest.fixture
def doctor(cli, asyncbatch_emulator):
    """Ask the doctor; gives the exit code and the findings by what was looked at, and holds that nothing was sent."""

    def ask(name, *more):
        done = cli("doctor", "-m", name, "--json", *more)
        assert {record.method for record in asyncbatch_emulator.history if record.kind == "request"} <= {"GET"}
        return done.code, {item["check"]: item for item in done.document["findings"]}

    return ask


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_with_an_account_that_is_well(doctor, name):
    code, found = doctor(f"{name}/{NAMES[name]}")

    assert code == 0
    assert {item["verdict"] for item in found.values()} == {"ok"}
    assert found["models"]["says"] == f"{NAMES[name]} is listed"
    assert {"model", "key", "batches", "models", "clock"} <= set(found)


@pytest.mark.parametrize("name", set(BatchProviderRegistry().available()) - set(NAMES))
def test_a_service_that_lists_no_models_has_an_account_that_is_well_all_the_same(doctor, name):
    code, found = doctor(f"{name}/my-deployment")

    assert code == 0
    assert {check for check, item in found.items() if item["verdict"] != "ok"} == {"models"}
    assert found["models"]["says"] == f"{name} has no list of them"


def test_an_account_without_an_address_is_said_with_the_variable_to_set(doctor, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    code, found = doctor("azure/my-deployment")

    assert code == 1
    assert "AZURE_OPENAI_ENDPOINT is not set" in found["settings"]["says"]
    assert "export AZURE_OPENAI_ENDPOINT=" in found["settings"]["hint"]


def test_it_says_so_line_by_line(cli):
    done = cli("doctor", "-m", "openai/gpt-4.1-mini")

    assert done.code == 0
    assert "ok    batches: the list of batches can be read\n" in done.out
    assert "nothing is wrong that can be seen without sending a batch" in done.err


def test_a_provider_alone_is_enough(doctor):
    code, found = doctor("openai")

    assert code == 0
    assert "model" not in found
    assert found["models"]["says"].endswith("are listed")


def test_without_a_key_there_is_nothing_to_ask(doctor, monkeypatch, asyncbatch_emulator):
    monkeypatch.delenv("OPENAI_API_KEY")
    code, found = doctor("openai/gpt-4.1-mini")

    assert code == 4
    assert list(found) == ["model", "key"]
    assert "OPENAI_API_KEY is not set" in found["key"]["says"]
    assert asyncbatch_emulator.history == []


def test_a_key_that_is_refused_with_a_word_for_it_is_no_key_that_may_not_list(doctor, monkeypatch):
    monkeypatch.setenv("FIREWORKS_API_KEY", "invalid-key-0123456789")
    code, found = doctor("fireworks")

    assert (code, found["key"]["verdict"]) == (4, "wrong")
    assert "FIREWORKS_API_KEY" in found["key"]["hint"]
    assert "batches" not in found


def test_an_option_that_is_needed_and_not_set_is_said_with_its_variable(doctor, monkeypatch):
    monkeypatch.delenv("FIREWORKS_ACCOUNT_ID")
    code, found = doctor("fireworks")

    assert (code, list(found)) == (4, ["key"])
    assert "FIREWORKS_ACCOUNT_ID is not set" in found["key"]["says"]


def test_a_key_that_is_refused_is_said_with_the_variable_to_look_at(doctor, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "invalid-key-0123456789")
    code, found = doctor("openai")

    assert (code, found["key"]["verdict"]) == (4, "wrong")
    assert found["key"]["says"].startswith("it is refused")
    assert "OPENAI_API_KEY" in found["key"]["hint"]
    assert "0123456789" not in str(found)


def test_a_key_that_may_not_list_is_a_note_for_batches_may_go_all_the_same(doctor, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(403, operation="list", times=None))
    code, found = doctor("openai")

    assert (code, found["batches"]["verdict"]) == (0, "note")
    assert "a lost create cannot be looked for" in found["batches"]["hint"]
    assert found["files"]["verdict"] == "ok"


def test_a_server_that_has_everything_but_batches_is_named_as_one(doctor, asyncbatch_emulator):
    asyncbatch_emulator.add(
        faults.refuse(404, operation="list", times=None), faults.refuse(405, operation="files", times=None)
    )
    code, found = doctor("openai/gpt-4.1-mini")

    assert code == 1
    assert found["batches"]["says"].startswith(
        f"there is no list of batches at {asyncbatch_emulator.base_url('openai')}"
    )
    assert found["files"]["says"].endswith("it was answered 405")
    assert "have no batches" in found["batches"]["hint"]
    assert found["models"]["verdict"] == "ok"


def test_where_nobody_listens_that_is_all_that_can_be_said(doctor, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    code, found = doctor("openai")

    assert code == 1
    assert list(found) == ["key", "batches"]
    assert "no connection" in found["batches"]["says"]


def test_a_throttled_account_is_a_note(doctor, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.rate_limited(0, operation="list", times=None))
    code, found = doctor("openai")

    assert (code, found["batches"]["verdict"]) == (0, "note")
    assert "throttled just now" in found["batches"]["says"]


def test_a_page_in_the_place_of_answers_is_wrong(doctor, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.html_200(operation="list", times=None))
    code, found = doctor("openai")

    assert (code, found["batches"]["verdict"]) == (1, "wrong")


def test_a_model_that_no_pattern_fits_is_said_with_the_lines_that_allow_it(doctor):
    code, found = doctor("openai/no-such-model")

    assert (code, found["model"]["verdict"]) == (1, "wrong")
    assert 'match: "no-such-model"' in found["model"]["hint"]
    assert found["models"]["verdict"] == "note"
    assert "is not among the" in found["models"]["says"]


def test_a_list_of_models_that_cannot_be_read_is_a_note(doctor, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(500, path="/models", times=None))
    code, found = doctor("openai")

    assert (code, found["models"]["verdict"]) == (0, "note")


def test_a_clock_that_is_off_is_said(doctor, monkeypatch):
    monkeypatch.setattr("asyncbatch.transport.calls.Transport.lag_s", property(lambda self: 95.0))
    code, found = doctor("openai")

    assert (code, found["clock"]["verdict"]) == (0, "note")
    assert found["clock"]["says"] == "ours is 95 s behind the server's"


def test_what_only_the_file_knows_is_looked_at_too(doctor, asyncbatch_emulator, tmp_path):
    url = asyncbatch_emulator.base_url("openai")
    path = tmp_path / "gateways.yaml"
    path.write_text(f"providers:\n  acme: {{like: openai, base_url: '{url}', api_key: k-of-acme}}\n")
    code, found = doctor("acme/gpt-4.1-mini", "--config", str(path))

    assert code == 0
    assert found["key"]["says"] == f"there is one, for {url}"


def test_of_a_provider_without_facts_only_that_can_be_said(doctor):
    batch_provider_registry.register(Stranger)
    try:
        code, found = doctor("stranger/any")
    finally:
        batch_provider_registry.unregister("stranger")

    assert (code, list(found)) == (0, ["facts"])


def test_a_provider_that_nobody_knows_is_no_finding_but_an_error(cli):
    done = cli("doctor", "-m", "opnai/gpt-4.1-mini")

    assert done.code == 2
    assert "did you mean 'openai'?" in done.err
