"""What is known about webhooks stands in YAML, and where their secrets come from follows from it."""

import traceback
from importlib import resources

import pytest

from asyncbatch import BatchStatus, ConfigError
from asyncbatch.accounts import webhook_secrets
from asyncbatch.catalog import load_catalog, load_facts
from asyncbatch.secrecy import Hidden
from tests.webhooks.signing import OTHER, SECRET

CATALOG = load_catalog()
FACTS = {name: CATALOG.provider(name).webhooks for name in ("openai", "gemini")}
TEXT = (resources.files("asyncbatch") / "providers" / "openai.yaml").read_text("utf-8")


def test_three_providers_send_them_and_the_others_are_asked():
    senders = {name: CATALOG.provider(name).webhooks for name in CATALOG.names()}

    assert {name for name, facts in senders.items() if facts is not None} == {"openai", "gemini", "doubleword"}
    for facts in FACTS.values():
        assert set(facts.events.values()) == {status for status in BatchStatus if status.is_terminal}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_id: data.id", "batch_id: data..id", "webhooks.batch_id: expected names with dots between them"),
        ("batch.failed: FAILED", "batch.failed: QUEUED", "batch.failed means QUEUED"),
        ("batch.failed: FAILED", "batch.failed: DONE", "webhooks.events.batch.failed: expected one of"),
        ("  batch_id: data.id\n", "", "batch_id"),
        ("  env: OPENAI_WEBHOOK_SECRET", "  environment: OPENAI_WEBHOOK_SECRET", "environment"),
    ],
)
def test_a_mistake_in_the_facts_is_named_with_its_line(old, new, message):
    with pytest.raises(ConfigError) as caught:
        load_facts(TEXT.replace(old, new), file="openai.yaml")

    assert message in str(caught.value)
    assert "openai.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("url: webhookConfig.uris", "url: webhookConfig.", "webhooks.tokens.url: expected names with dots"),
        ("keys: /.well-known/jwks.json", "keys: https://keys.example", "webhooks.tokens.keys"),
        ("    audience_env: ", "    audience: ", "audience"),
    ],
)
def test_a_mistake_in_the_facts_about_tokens_is_named_with_its_line(old, new, message):
    text = (resources.files("asyncbatch") / "providers" / "gemini.yaml").read_text("utf-8")
    with pytest.raises(ConfigError) as caught:
        load_facts(text.replace(old, new), file="gemini.yaml")

    assert message in str(caught.value)
    assert "gemini.yaml:" in str(caught.value)


def test_a_webhook_without_events_is_a_mistake():
    head, _, rest = TEXT.partition("  events:\n")
    events = "".join(line for line in rest.splitlines(keepends=True)[:4])

    with pytest.raises(ConfigError, match="expected at least one event"):
        load_facts(f"{head}  events: {{}}\n{rest.removeprefix(events)}", file="openai.yaml")


def test_a_users_file_may_name_another_event():
    catalog = load_catalog({"providers": {"openai": {"webhooks": {"events": {"batch.done": "COMPLETED"}}}}})

    assert catalog.provider("openai").webhooks.events["batch.done"] is BatchStatus.COMPLETED
    assert catalog.provider("openai").webhooks.env == "OPENAI_WEBHOOK_SECRET"


def test_what_is_given_comes_over_the_environment_provider_by_provider():
    env = {"OPENAI_WEBHOOK_SECRET": OTHER, "GEMINI_WEBHOOK_SECRET": f"{SECRET} {OTHER}"}

    assert webhook_secrets({"openai": SECRET}, FACTS, env) == {"openai": [SECRET], "gemini": [SECRET, OTHER]}
    assert webhook_secrets({"openai": [SECRET, OTHER]}, FACTS, {}) == {"openai": [SECRET, OTHER]}
    assert webhook_secrets({"openai": []}, FACTS, env) == {"gemini": [SECRET, OTHER]}
    assert webhook_secrets(None, FACTS, {}) == {}


@pytest.mark.parametrize(
    ("given", "env", "code"),
    [
        ({"openai": "whsec_!"}, {}, "webhook.secret"),
        ({"openai": [SECRET, "sk-hidden"]}, {}, "webhook.secret"),
        ({"openai": [7]}, {}, "webhook.secret"),
        (None, {"OPENAI_WEBHOOK_SECRET": "sk-hidden"}, "webhook.secret"),
        ({"mistral": SECRET}, {}, "webhook.provider"),
        ({"opneai": SECRET}, {}, "webhook.provider"),
        (SECRET, {}, "webhook.secrets"),
    ],
)
def test_what_is_no_secret_or_nobodys_is_refused_and_not_shown(given, env, code):
    with pytest.raises(ConfigError) as caught:
        webhook_secrets(given, FACTS, env)

    error = caught.value
    assert error.code == code
    assert SECRET not in str(error)
    assert "hidden" not in str(error)


def test_a_traceback_that_shows_local_variables_shows_no_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", f"{SECRET} sk-hidden")

    with pytest.raises(ConfigError) as caught:
        webhook_secrets(Hidden({"gemini": OTHER}), FACTS)

    frames = list(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = "".join(frame for frame in frames if "accounts.py" in frame)
    assert "webhook_secrets" in ours
    assert SECRET not in ours
    assert OTHER not in ours
    assert "hidden" not in ours.replace("hidden values", "")
