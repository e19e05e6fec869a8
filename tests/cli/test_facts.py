"""`asyncbatch providers`, `models` and `config`."""

from importlib.metadata import EntryPoint

import pytest

from asyncbatch import BaseBatchProvider, batch_provider_registry
from asyncbatch import registry as registry_module


class Stranger(BaseBatchProvider):
    """A provider from elsewhere, with six methods and no facts."""

    PROVIDER_NAME = "stranger"

    def supports_model(self, model, mode=None):
        return True

    async def prepare_payloads(self, **options):
        return []

    async def submit(self, submission):
        raise AssertionError

    async def poll_status(self, provider_batch_id):
        raise AssertionError

    def fetch_results(self, provider_batch_id):
        raise AssertionError

    async def cancel(self, provider_batch_id):
        raise AssertionError


@pytest.fixture
def stranger():
    batch_provider_registry.register(Stranger)
    yield
    batch_provider_registry.unregister("stranger")


def test_a_provider_that_only_the_file_knows_is_shown_and_used_like_any_other(cli, asyncbatch_emulator, tmp_path):
    url = asyncbatch_emulator.base_url("openai")
    (tmp_path / "llm_config.yaml").write_text(
        f"providers:\n  acme: {{like: openai, base_url: '{url}', api_key: k-of-acme}}\n"
    )
    (tmp_path / "in.jsonl").write_text('{"messages": [{"role": "user", "content": "hello"}]}\n')
    where = ("--config", str(tmp_path / "llm_config.yaml"))
    checked = cli("config", "check", *where, "--json").document
    (acme,) = [row for row in cli("providers", *where, "--json").document["providers"] if row["name"] == "acme"]
    done = cli("run", str(tmp_path / "in.jsonl"), "-m", "acme/gpt-4.1-mini", "-o", str(tmp_path / "out.jsonl"), *where)

    assert checked["unused"] == []
    assert (acme["key_variable"], acme["has_key"], acme["submit_safety"]) == ("ACME_API_KEY", True, "tagged")
    assert done.code == 0
    assert '"text":"echo: hello"' in (tmp_path / "out.jsonl").read_text()


def test_providers_are_shown_with_their_key_and_limits(cli, asyncbatch_emulator):
    done = cli("providers")

    (line,) = [line for line in done.out.split("\n") if line.split()[:1] == ["openai"]]
    assert done.code == 0
    assert "OPENAI_API_KEY (set)" in line
    assert "50,000" in line
    assert asyncbatch_emulator.base_url("openai") in line


def test_what_an_account_needs_beside_its_key_is_told(cli):
    shown, others = cli("providers", "fireworks").out, cli("providers", "openai").out
    (row,) = cli("providers", "fireworks", "--json").document["providers"]

    assert row["needs"] == ["FIREWORKS_ACCOUNT_ID"]
    assert "FIREWORKS_ACCOUNT_ID" in shown
    assert " needs " not in others


def test_a_key_that_is_missing_is_told_and_a_key_never_shown(cli, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    document = cli("providers", "--json").document
    monkeypatch.delenv("OPENAI_API_KEY")

    assert "OPENAI_API_KEY (not set)" in cli("providers").out
    (openai,) = [row for row in document["providers"] if row["name"] == "openai"]
    assert openai["has_key"] is True
    assert "secret" not in str(document)


def test_a_provider_without_an_address_of_its_own_says_which_variable_has_one(cli, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    before = cli("providers").out
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")

    assert "AZURE_OPENAI_ENDPOINT (not set)" in before
    assert "https://res.openai.azure.com/openai/v1" in cli("providers").out


def test_a_provider_from_elsewhere_is_listed_too(cli, stranger):
    names = [row["name"] for row in cli("providers", "--json").document["providers"]]

    assert names == sorted(names)
    assert {"openai", "stranger"} <= set(names)
    assert "stranger" in cli("providers").out


def test_what_a_provider_can_do_stands_in_the_table_and_all_of_it_in_the_document(cli):
    (row,) = [row for row in cli("providers", "--json").document["providers"] if row["name"] == "gemini"]

    assert row["modes"] == ["chat", "embedding", "custom"]
    assert row["inputs"] == ["file", "inline"]
    assert (row["submit_safety"], row["inline_submit_safety"]) == ("tagged_fenced", "tagged")
    assert (row["discount"], row["max_requests"]) == (0.5, None)
    assert "50%" in cli("providers").out


def test_a_file_that_names_a_missing_variable_does_not_hide_the_providers(cli, place):
    (place / "llm_config.yaml").write_text("providers: {openai: {api_key: '${NOBODY_SET_THIS}'}}\n")

    assert cli("providers").code == 0


def test_models_are_shown_with_modes_and_batch_prices(cli):
    done = cli("models", "openai")

    (line,) = [line for line in done.out.split("\n") if line.split()[:1] == ["openai/gpt-4.1-mini"]]
    assert line.split()[1:4] == ["chat", "0.2", "0.8"]


def test_models_in_json_have_no_price_where_none_is_known(cli):
    models = {row["match"]: row for row in cli("models", "--json").document["models"]}

    assert models["gpt-*"]["price"] is None
    assert models["gpt-4.1-mini"]["price"]["input_usd"] == 0.2


def test_models_of_a_provider_that_is_not_known(cli):
    done = cli("models", "opnai")

    assert done.code == 2
    assert "'opnai'" in done.err


def test_the_user_s_file_is_laid_over_the_facts_and_its_lines_are_named(cli, place):
    (place / "llm_config.yaml").write_text("providers:\n  openai:\n    limits:\n      requests: 7\n")

    done = cli("config", "show", "openai", "--origin")

    (line,) = [line for line in done.out.split("\n") if line.split()[:1] == ["openai.limits.requests"]]
    assert line.split()[1:] == ["7", "llm_config.yaml:4"]
    assert "built-in facts, with llm_config.yaml over them" in done.err


def test_config_show_masks_secrets(cli, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")

    done = cli("config", "show", "--json")

    assert "secret" not in done.out
    assert {"path": "api_key", "value": "sk-…6789", "where": "variable OPENAI_API_KEY", "provider": "openai"} in (
        done.document["values"]
    )


def test_config_show_without_origins_has_two_columns(cli):
    assert "variable OPENAI_API_KEY" not in cli("config", "show").out


def test_the_file_is_found_through_the_variable_or_the_option(cli, place, monkeypatch):
    (place / "llm_config.yaml").unlink()
    (place / "mine.yaml").write_text("providers: {openai: {limits: {requests: 5}}}\n")
    by_option = cli("config", "show", "--config", "mine.yaml", "--json").document
    nothing = cli("config", "show", "--json").document
    monkeypatch.setenv("ASYNCBATCH_CONFIG", "mine.yaml")

    assert by_option["file"] == "mine.yaml"
    assert nothing["file"] is None
    assert cli("config", "show", "--json").document["file"] == "mine.yaml"


def test_a_good_file_is_in_order(cli):
    done = cli("config", "check", "--json")

    assert done.code == 0
    assert "llm_config.yaml is in order" in done.err
    assert done.document == {"v": 1, "type": "config_checked", "file": "llm_config.yaml", "unused": []}


def test_no_file_is_in_order_too(cli, place):
    (place / "llm_config.yaml").unlink()

    done = cli("config", "check")

    assert done.code == 0
    assert "there is no llm_config.yaml here" in done.err


def test_config_check_finds_every_mistake(cli, place):
    (place / "llm_config.yaml").write_text(
        "providers:\n  openai:\n    limts: {}\n    limits: {requests: many}\n    base_url: nowhere\n"
    )

    done = cli("config", "check")

    assert done.code == 2
    assert [line in done.err for line in ("llm_config.yaml:3:", "llm_config.yaml:4:", "llm_config.yaml:5:")] == [
        True
    ] * 3


def test_config_check_names_variables_that_are_not_set(cli, place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    (place / "llm_config.yaml").write_text("providers: {openai: {api_key: '${NOBODY_SET_THIS}'}}\n")

    done = cli("config", "check", "--json")

    assert done.code == 2
    assert "NOBODY_SET_THIS" in done.document["error"]["message"]


def test_config_check_warns_of_providers_that_nobody_brings(cli, place):
    (place / "llm_config.yaml").write_text("providers: {acme: {api_key: x}, mistrall-2: {api_key: x}}\n")

    done = cli("config", "check", "--json")

    assert done.code == 0
    assert done.document["unused"] == ["acme", "mistrall-2"]
    assert "speaks of acme, and no provider of that name is installed\n" in done.err
    assert "did you mean 'mistral'?" in done.err
    assert "as in `like: openai`" in done.err
    assert "is in order, but for what was warned of" in done.err


def test_config_check_warns_beside_mistakes_too(cli, place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    (place / "llm_config.yaml").write_text('providers: {acme: {api_key: x}, openai: {api_key: "${NOBODY_SET_THIS}"}}\n')

    done = cli("config", "check")

    assert done.code == 2
    assert "speaks of acme" in done.err


@pytest.fixture
def broken(monkeypatch):
    """A package that is installed and cannot be imported."""
    point = EntryPoint("torn", "torn_package.provider:Torn", "asyncbatch.providers")
    monkeypatch.setattr(
        registry_module, "entry_points", lambda *, group, name="torn": [point] if name == "torn" else []
    )


@pytest.mark.parametrize("command", [["providers"], ["models"], ["config", "show"]])
def test_a_package_that_is_broken_is_told_and_takes_nothing_from_the_others(cli, broken, command):
    done = cli(*command)

    assert done.code == 0
    assert "warning: the provider 'torn' cannot be loaded from torn_package.provider:Torn: ModuleNotFound" in done.err
    assert "openai" in done.out


def test_a_package_that_is_broken_is_an_error_where_it_is_asked_for(cli, place, write, broken):
    (place / "llm_config.yaml").write_text("providers: {torn: {api_key: x}}\n")
    asked = [
        cli("models", "torn"),
        cli("config", "check"),
        cli("run", write("hello"), "-m", "torn/m", "--dry-run"),
    ]

    assert [done.code for done in asked] == [2, 2, 2]
    assert all("torn_package" in done.err for done in asked)
    assert cli("run", "requests.jsonl", "-m", "openai/gpt-4.1-mini", "--dry-run").code == 0


def test_config_check_knows_providers_from_elsewhere(cli, place, stranger):
    (place / "llm_config.yaml").write_text("providers: {stranger: {api_key: x}}\n")

    done = cli("config", "check", "--json")

    assert (done.code, done.document["unused"]) == (0, [])


def test_one_provider_is_shown_whole_with_what_it_cannot_do(cli):
    done = cli("providers", "groq")
    (row,) = cli("providers", "groq", "--json").document["providers"]

    assert "tell of an end by a webhook" in done.out
    assert (row["window_hours"], row["least_window_hours"], row["most_window_hours"]) == (24, 24, 168)
    assert "tell of an end by a webhook" in row["cannot"]
    assert "keep metadata with a batch" not in row["cannot"]


def test_a_provider_that_is_not_there_is_named_with_its_nearest(cli):
    done = cli("providers", "grok")

    assert done.code == 2
    assert "groq" in done.err


def test_the_variable_of_an_sdk_that_adds_the_path_itself_leads_to_the_same_place(cli, monkeypatch):
    for given in ("https://proxy.example", "https://proxy.example/openai/v1/"):
        monkeypatch.setenv("GROQ_BASE_URL", given)
        (row,) = cli("providers", "groq", "--json").document["providers"]
        assert row["base_url"] == "https://proxy.example/openai/v1"


@pytest.mark.usefixtures("stranger")
def test_a_provider_without_facts_is_shown_by_its_name(cli):
    done = cli("providers", "stranger")
    (row,) = cli("providers", "stranger", "--json").document["providers"]

    assert done.code == 0
    assert "stranger" in done.out
    assert {key for key, value in row.items() if value is not None} == {"name"}


def test_which_windows_there_are_is_told_as_they_are_asked_for(cli):
    (pair,) = cli("providers", "doubleword", "--json").document["providers"]

    assert pair["windows"] == "1h or 24h"
    assert "24 (12h to 168h)" in cli("providers").out
