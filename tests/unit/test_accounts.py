"""Whose key pays: what overrides what, what is refused, and that no key is ever shown."""

import traceback

import pytest

from asyncbatch.accounts import Account, public_origin, resolve_account, settings_from_config
from asyncbatch.catalog import ProviderSettings, load_catalog
from asyncbatch.exceptions import ConfigError, MissingCredentialsError
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

FACTS = load_catalog().provider("openai")
KEY = "sk-test-0123456789abcdef"
NOTHING = ProviderSettings()


def account(config=None, *, file: ProviderSettings = NOTHING, env=None) -> Account:
    return resolve_account(FACTS, file, settings_from_config(config, FACTS), env=env or {})


def test_a_key_is_all_it_takes():
    found = account({"api_key": KEY})

    assert found.origin.base_url == "https://api.openai.com/v1"
    assert found.origin.secret_headers == {"authorization": f"Bearer {KEY}"}
    assert found.origin.headers == {}


FILE = ProviderSettings(
    api_key="sk-file", base_url="https://file.example/v1", headers={"x-gate": "file"}, options={"project": "p-file"}
)
ENV = {"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "https://env.example/v1", "OPENAI_PROJECT_ID": "p-env"}
CONFIG = {"api_key": "sk-arg", "base_url": "https://arg.example/v1/", "project": "p-arg", "headers": {"x-gate": "arg"}}


@pytest.mark.parametrize(
    ("config", "env", "key", "url", "project", "gate"),
    [
        ({}, {}, "sk-file", "https://file.example/v1", "p-file", "file"),
        ({}, ENV, "sk-env", "https://env.example/v1", "p-env", "file"),
        (CONFIG, ENV, "sk-arg", "https://arg.example/v1", "p-arg", "arg"),
        ({"api_key": None, "project": ""}, ENV, "sk-env", "https://env.example/v1", "p-env", "file"),
    ],
    ids=["file", "environment over file", "argument over both", "empty is absent"],
)
def test_an_argument_comes_over_the_environment_and_that_over_the_file(config, env, key, url, project, gate):
    found = account(config, file=FILE, env=env)

    assert found.origin.secret_headers == {"authorization": f"Bearer {key}", "x-gate": gate}
    assert found.origin.base_url == url
    assert found.origin.headers == {"openai-project": project}


def test_the_environment_of_the_process_is_read_when_nothing_else_is_given(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    assert resolve_account(FACTS, NOTHING, NOTHING).origin.secret_headers == {"authorization": f"Bearer {KEY}"}


def test_without_a_key_the_message_names_the_variable_to_set():
    with pytest.raises(MissingCredentialsError, match="OPENAI_API_KEY is not set") as caught:
        account()

    assert caught.value.code == "auth.missing"
    assert "export OPENAI_API_KEY=" in caught.value.hint


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\r\nx-evil: 1", "sk-é" + KEY, f"{KEY}\x00", "a  b"])
def test_a_key_that_is_no_header_value_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError, match="no header value") as caught:
        account({"api_key": key})

    assert caught.value.code == "auth.malformed"
    assert KEY not in str(caught.value)
    assert KEY[8:20] not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        "https://user:secret@api.example/v1",
        "https://api.example/v1?key=secret",
        "https://api.example/#x",
        "https://api.example/a b",
        "//api.example",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="is no address") as caught:
        account({"api_key": KEY, "base_url": url})

    assert caught.value.code == "config.base_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8400/v1", "https://gateway.example", "https://gateway.example/a/b/"])
def test_another_address_may_be_named(url):
    assert account({"api_key": KEY, "base_url": url}).origin.base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("config", "code", "says"),
    [
        ({"apikey": KEY}, "config.unknown", "config has no 'apikey' (it knows api_key, base_url"),
        ({"api_key": 17}, "config.type", "config api_key is int, not str"),
        ({"headers": "x: y"}, "config.type", "config headers is str, not mapping"),
        ({"allow_unknown_model": "yes"}, "config.type", "config allow_unknown_model is str, not bool"),
        ({"organization": ["o"]}, "config.type", "config organization is list, not str"),
    ],
)
def test_a_config_that_nobody_can_read_is_refused_and_no_value_is_shown(config, code, says):
    with pytest.raises(ConfigError) as caught:
        settings_from_config(config, FACTS)

    assert caught.value.code == code
    assert says in str(caught.value)
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-gate": 1},
        {1: "secret"},
        {"x-gate": "secret\r\nx-evil: 1"},
        {"x-gate": "secret\u00e9"},
        {"x gate": "secret"},
        {"x-evil: 1\r\nx": "secret"},
    ],
)
def test_a_header_that_cannot_travel_is_refused_without_its_value(headers):
    with pytest.raises(ConfigError, match="cannot be sent") as caught:
        account({"api_key": KEY, "headers": headers})

    assert caught.value.code == "config.header"
    assert repr(next(iter(headers))) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_option_that_cannot_travel_is_refused_too():
    with pytest.raises(ConfigError, match="'openai-project' cannot be sent"):
        account({"api_key": KEY, "project": "p\n"})


@pytest.mark.parametrize("config", ["sk-test-0123456789abcdef", 17, [("api_key", KEY)]])
def test_a_config_that_is_no_mapping_is_refused_without_being_shown(config):
    with pytest.raises(ConfigError, match="not a mapping") as caught:
        settings_from_config(config, FACTS)

    assert KEY not in str(caught.value)


def test_a_traceback_that_prints_local_variables_shows_no_key():
    try:
        account({"api_key": KEY, "headers": {"x gate": "gate-token-1"}})
    except ConfigError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    ours = "\n".join(part for part in shown.split("  File ") if "test_accounts" not in part)
    assert "accounts.py" in ours
    assert KEY not in ours
    assert "gate-token-1" not in ours


def test_no_config_says_nothing():
    assert settings_from_config(None, FACTS) == settings_from_config({}, FACTS) == ProviderSettings()


def test_a_fingerprint_tells_keys_addresses_and_projects_apart_and_is_none_of_them():
    configs = [
        {"api_key": KEY},
        {"api_key": KEY + "x"},
        {"api_key": KEY, "base_url": "https://gateway.example"},
        {"api_key": KEY, "project": "p"},
        {"api_key": KEY, "organization": "p"},
    ]
    prints = [account(config).fingerprint for config in configs]

    assert len(set(prints)) == len(configs)
    assert prints[0] == account({"api_key": KEY}).fingerprint
    assert all(len(fingerprint) == 16 and fingerprint not in KEY for fingerprint in prints)


def test_an_account_shows_no_secret():
    found = account({"api_key": KEY, "headers": {"x-gate": "gate-token-1"}})

    assert KEY not in repr(found)
    assert "gate-token-1" not in repr(found)
    assert set(found.origin.secrets) == {f"Bearer {KEY}", KEY, "gate-token-1"}


TEAM = {"providers": {"openai": {"api_key": "${TEAM_KEY}", "base_url": "${TEAM_URL}", "organization": "${TEAM_ORG}"}}}


def test_a_variable_of_the_file_need_not_be_set_where_the_environment_wins_over_it():
    env = {"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_ORG_ID": "org"}

    settings = load_catalog(TEAM, env=env).settings("openai")

    assert settings.api_key is None


def test_a_variable_of_the_file_need_not_be_set_where_an_argument_is_given(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    config = {"api_key": "sk-argument", "base_url": "http://127.0.0.1:1/v1", "organization": "mine"}
    provider = OpenAIBatchProvider(config, catalog=load_catalog(TEAM, env={}))

    assert provider.account.origin.base_url == "http://127.0.0.1:1/v1"


def test_a_variable_of_the_file_that_is_needed_and_not_set_is_named():
    with pytest.raises(ConfigError, match="TEAM_KEY is not set"):
        load_catalog(TEAM, env={}).settings("openai")


# A key is not sent in clear


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8000/v1", "https://a.b/v1"]
)
def test_plain_http_is_for_this_machine(url):
    assert account({"api_key": KEY, "base_url": url}).origin.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.internal:8000/v1",
        "HTTP://gateway.internal/v1",
        "http://10.0.0.7/v1",
        "http://localhost.evil.com/v1",
    ],
)
def test_to_another_machine_it_is_refused_unless_somebody_answers_for_the_wire(url):
    with pytest.raises(ConfigError, match="keys would travel in clear") as caught:
        account({"api_key": KEY, "base_url": url})
    assert caught.value.code == "config.plain_http"
    assert "allow_http" in str(caught.value.hint)
    assert account({"api_key": KEY, "base_url": url, "allow_http": True}).origin.base_url == url
    assert account({"api_key": KEY}, file=ProviderSettings(base_url=url, allow_http=True)).origin.base_url == url


@pytest.mark.parametrize("given", [{"env": {"OPENAI_BASE_URL": "http://10.0.0.7/v1"}}, {"base_url": "HTTP://a.b/v1"}])
def test_nor_are_keys_that_vouch_for_webhooks_fetched_in_clear(given):
    file, env = ProviderSettings(base_url=given.get("base_url")), given.get("env", {})
    with pytest.raises(ConfigError, match="keys would travel in clear"):
        public_origin(FACTS, file, env=env)
    allowed = public_origin(FACTS, ProviderSettings(base_url=file.base_url, allow_http=True), env=env)
    assert allowed.base_url.lower().startswith("http://")
    assert public_origin(FACTS, NOTHING, env={}).base_url == "https://api.openai.com/v1"


FIREWORKS = load_catalog().provider("fireworks")


def with_option(config, *, file: ProviderSettings = NOTHING, env=None) -> Account:
    return resolve_account(FIREWORKS, file, settings_from_config(config, FIREWORKS), env=env or {})


@pytest.mark.parametrize(
    ("config", "file", "env"),
    [
        ({"account_id": "acme"}, NOTHING, {}),
        ({}, ProviderSettings(options={"account_id": "acme"}), {}),
        ({}, NOTHING, {"FIREWORKS_ACCOUNT_ID": "acme"}),
    ],
    ids=["argument", "file", "environment"],
)
def test_an_option_that_is_needed_may_come_from_anywhere(config, file, env):
    found = with_option({"api_key": KEY, **config}, file=file, env=env)

    assert found.options == {"account_id": "acme"}
    assert "acme" not in str(found.origin.headers)


def test_without_an_option_that_is_needed_the_message_names_the_variable_to_set():
    with pytest.raises(MissingCredentialsError, match="there is no account_id for fireworks") as caught:
        with_option({"api_key": KEY})

    assert caught.value.code == "auth.missing"
    assert "FIREWORKS_ACCOUNT_ID" in caught.value.hint
    assert KEY not in str(caught.value)


def test_a_missing_key_is_told_before_a_missing_option():
    with pytest.raises(MissingCredentialsError, match="FIREWORKS_API_KEY"):
        with_option({})
