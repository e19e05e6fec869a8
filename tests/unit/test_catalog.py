"""The catalog: facts as shipped, a user's file laid over them, and what is said about mistakes."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import asyncbatch.catalog as catalog_module
from asyncbatch.catalog import (
    Limit,
    ProviderSettings,
    builtin_names,
    describe_origins,
    find_config,
    load_catalog,
    load_facts,
    normalize_provider_status,
    unknown_model_hint,
)
from asyncbatch.enums import BatchMode, BatchStatus, ErrorClass, SubmitSafety
from asyncbatch.exceptions import ConfigError, ProviderNotRegisteredError
from asyncbatch.secrecy import mask

ROOT = Path(catalog_module.__file__).parents[2]
OPENAI = load_catalog().provider("openai")

ACME = """\
name: acme
title: Acme
checked: 2026-11-20
docs: https://docs.acme.example/batches
base_url: https://api.acme.example/v1
credentials: {env: [ACME_API_KEY, ACME_TOKEN], header: x-api-key}
submit_safety: tagged
window_s: 3600
status: {queued: QUEUED, Working: IN_PROGRESS, paused: QUEUED}
limits:
  requests: {value: 10, source: "https://docs.acme.example"}
  file_bytes: 2000
endpoints:
  - {path: /v1/complete, mode: COMPLETION, format: acme.complete}
models:
  - {match: "acme-*", modes: completion}
polling: {min_interval_s: 30}
"""


def user_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "llm_config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_in(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_catalog(user_file(tmp_path, text), env={})
    assert caught.value.code == "config.invalid"
    return str(caught.value).replace(f"{tmp_path}{os.sep}", "").split("\n")


# --- the shipped facts ---------------------------------------------------------------------------------------------


def test_openai_is_found_by_listing_the_package():
    assert "openai" in builtin_names()
    assert load_catalog().names() == builtin_names()
    assert list(builtin_names()) == sorted(path.stem for path in (ROOT / "asyncbatch/providers").glob("*.yaml"))


def test_every_shipped_yaml_is_named_as_its_file():
    for name in builtin_names():
        assert load_catalog().provider(name).name == name


def test_built_in_facts_are_read_once():
    assert load_catalog().provider("openai") is load_catalog().provider("openai")


@pytest.mark.parametrize("name", builtin_names())
def test_each_shipped_fact_that_can_be_wrong_has_a_source(name):
    facts = load_catalog().provider(name)
    limits = {key: getattr(facts.limits, key) for key in facts.limits.__struct_fields__}
    sources = [
        facts.docs,
        *facts.sources.values(),
        *(limit.source for limit in limits.values() if limit),
        *(model.source for model in facts.models),
        *(model.price.source for model in facts.models if model.price),
        facts.retention.source,
        facts.polling.source,
    ]

    assert all(source and source.startswith("https://") for source in sources)
    assert all(model.price.date for model in facts.models if model.price)
    bare = {"base_url", "credentials", "submit_safety", "window_s", "status", "endpoints", "errors", "batch_errors"}
    assert bare <= facts.sources.keys()
    assert not facts.options or "options" in facts.sources


def test_openai_is_as_documented():
    assert OPENAI.base_url == "https://api.openai.com/v1"
    assert OPENAI.base_url_env == "OPENAI_BASE_URL"
    assert (OPENAI.credentials.env, OPENAI.credentials.header) == (("OPENAI_API_KEY",), "authorization")
    assert OPENAI.credentials.scheme == "Bearer"
    assert OPENAI.options["organization"].header == "openai-organization"
    assert OPENAI.submit_safety is SubmitSafety.TAGGED_FENCED
    assert OPENAI.limits.requests.value == 50_000
    assert OPENAI.limits.file_bytes.value == 200_000_000
    assert OPENAI.limits.line_bytes is None
    assert OPENAI.window_s == 86_400
    assert OPENAI.retention.output_s == 30 * 86_400


@pytest.mark.parametrize(
    ("model", "modes"),
    [
        ("gpt-4.1-mini", {BatchMode.CHAT}),
        ("gpt-9-something", {BatchMode.CHAT}),
        ("chatgpt-4o-latest", {BatchMode.CHAT}),
        ("o1", {BatchMode.CHAT}),
        ("o3", {BatchMode.CHAT}),
        ("o4-mini", {BatchMode.CHAT}),
        ("o3-pro", set()),
        ("gpt-5.5-pro-2026-04-23", set()),
        ("ft:gpt-4o-mini:acme::abc", {BatchMode.CHAT}),
        ("ft:babbage-002:acme::abc", {BatchMode.COMPLETION}),
        ("gpt-3.5-turbo", {BatchMode.CHAT}),
        ("gpt-3.5-turbo-instruct", {BatchMode.COMPLETION}),
        ("davinci-002", {BatchMode.COMPLETION}),
        ("text-embedding-3-small", {BatchMode.EMBEDDING}),
        ("text-embedding-ada-002", {BatchMode.EMBEDDING}),
        ("omni-moderation-latest", set()),
        ("gpt-image-1", set()),
        ("sora-2", set()),
    ],
)
def test_a_model_has_the_modes_of_the_most_specific_pattern_and_always_custom(model, modes):
    assert {mode for mode in BatchMode if OPENAI.supports(model, mode)} == modes | {BatchMode.CUSTOM}
    assert OPENAI.supports(model)


@pytest.mark.parametrize("model", ["claude-3", "GPT-4.1", "", "my-gpt-4", "o5"])
def test_a_model_that_no_pattern_fits_has_no_mode_at_all(model):
    assert OPENAI.model(model) is None
    assert OPENAI.price_of(model) is None
    assert not any(OPENAI.supports(model, mode) for mode in (None, *BatchMode))


@pytest.mark.parametrize(
    ("model", "input_usd", "output_usd"),
    [
        ("gpt-4.1-mini", 0.2, 0.8),
        ("gpt-4.1-mini-2025-04-14", 0.2, 0.8),
        ("gpt-4o", 1.25, 5),
        ("o3", 1, 4),
        ("text-embedding-3-small", 0.01, None),
    ],
)
def test_a_price_is_what_a_batch_costs(model, input_usd, output_usd):
    price = OPENAI.price_of(model)

    assert price is not None
    assert (price.input_usd, price.output_usd) == (input_usd, output_usd)


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "gpt-4o-2024-05-13", "gpt-9", "ft:gpt-4.1-mini:x::y"])
def test_a_price_that_is_not_known_is_none_and_not_a_neighbours(model):
    assert OPENAI.supports(model)
    assert OPENAI.price_of(model) is None


# --- status words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("validating", BatchStatus.VALIDATING),
        ("in_progress", BatchStatus.IN_PROGRESS),
        ("finalizing", BatchStatus.FINALIZING),
        ("completed", BatchStatus.COMPLETED),
        ("failed", BatchStatus.FAILED),
        ("expired", BatchStatus.EXPIRED),
        ("cancelling", BatchStatus.CANCELLING),
        ("cancelled", BatchStatus.CANCELLED),
        ("COMPLETED", BatchStatus.COMPLETED),
        (" In_Progress ", BatchStatus.IN_PROGRESS),
        ("canceled", BatchStatus.CANCELLED),
        ("CANCELING", BatchStatus.CANCELLING),
        ("PROGRESS", BatchStatus.IN_PROGRESS),
        ("in_queue", BatchStatus.QUEUED),
        ("queued", BatchStatus.QUEUED),
        ("JOB_STATE_CANCELED", BatchStatus.CANCELLED),
        ("BATCH_STATE_FAILED", BatchStatus.FAILED),
        ("batch_status_completed", BatchStatus.COMPLETED),
        ("JOB_STATE_UNSPECIFIED", BatchStatus.UNKNOWN),
        ("JOB_STATE_JOB_STATE_FAILED", BatchStatus.UNKNOWN),
        ("archived", BatchStatus.UNKNOWN),
        ("unknown", BatchStatus.UNKNOWN),
        ("", BatchStatus.UNKNOWN),
    ],
)
def test_status_words_are_read_without_case_and_a_new_one_is_unknown(raw, status):
    assert normalize_provider_status("openai", raw) is status


def test_the_providers_own_map_comes_before_the_common_rules():
    acme = load_facts(ACME, file="acme.yaml")

    assert acme.normalize_status("WORKING") is BatchStatus.IN_PROGRESS
    assert acme.normalize_status("JOB_STATE_PAUSED") is BatchStatus.QUEUED


def test_the_status_of_a_provider_nobody_knows_is_an_error_that_names_the_known():
    with pytest.raises(ProviderNotRegisteredError, match=r"'opnai' \(built in are .*openai") as caught:
        normalize_provider_status("opnai", "completed")

    assert (caught.value.provider, caught.value.code) == ("opnai", "provider.unknown")


# --- endpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "endpoint", "path", "body_format"),
    [
        (BatchMode.CHAT, None, "/v1/chat/completions", "openai.chat"),
        (BatchMode.COMPLETION, None, "/v1/completions", "openai.completion"),
        (BatchMode.EMBEDDING, None, "/v1/embeddings", "openai.embedding"),
        (BatchMode.CHAT, "/v1/chat/completions", "/v1/chat/completions", "openai.chat"),
        (BatchMode.CUSTOM, "/v1/responses", "/v1/responses", "openai.responses"),
        (BatchMode.CUSTOM, "/v1/chat/completions", "/v1/chat/completions", "openai.chat"),
    ],
)
def test_a_mode_means_an_endpoint(mode, endpoint, path, body_format):
    found = OPENAI.endpoint_for(mode, endpoint)

    assert (found.path, found.format) == (path, body_format)
    assert OPENAI.format_of(found.path) == body_format


def test_an_endpoint_that_is_not_listed_has_no_format():
    assert OPENAI.format_of("/v1/elsewhere") == ""


@pytest.mark.parametrize(
    ("mode", "endpoint", "message", "code"),
    [
        (BatchMode.CUSTOM, None, "mode custom needs an endpoint", "endpoint.missing"),
        (BatchMode.CUSTOM, "/v1/audio", "openai has no endpoint '/v1/audio' for batches", "endpoint.unknown"),
        (BatchMode.CHAT, "/v1/audio", "openai has no endpoint '/v1/audio' for batches", "endpoint.unknown"),
        (BatchMode.CHAT, "/v1/embeddings", "/v1/embeddings does not serve mode chat", "endpoint.mode"),
    ],
)
def test_an_endpoint_that_does_not_fit_is_refused_with_the_ones_that_do(mode, endpoint, message, code):
    with pytest.raises(ConfigError) as caught:
        OPENAI.endpoint_for(mode, endpoint)

    assert message in str(caught.value)
    assert caught.value.code == code
    assert "/v1/responses" in str(caught.value) or "mode=embedding" in str(caught.value)


def test_a_mode_that_a_provider_has_no_endpoint_for_is_refused():
    with pytest.raises(ConfigError, match=r"acme has no endpoint for mode chat \(it has /v1/complete\)"):
        load_facts(ACME, file="acme.yaml").endpoint_for(BatchMode.CHAT)


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "expected"),
    [
        *((status, None, None, ErrorClass.TRANSIENT) for status in (408, 409, 429, 500, 502, 503, 504)),
        *((status, None, None, ErrorClass.PERMANENT) for status in (400, 401, 402, 403, 404, 413, 415, 422)),
        (429, "rate_limit_exceeded", "requests", ErrorClass.TRANSIENT),
        (429, "insufficient_quota", "insufficient_quota", ErrorClass.PERMANENT),
        (429, None, "insufficient_quota", ErrorClass.PERMANENT),
        (400, "billing_hard_limit_reached", None, ErrorClass.PERMANENT),
        (500, "billing_hard_limit_reached", None, ErrorClass.PERMANENT),
        (425, None, None, ErrorClass.TRANSIENT),
        (529, None, None, ErrorClass.TRANSIENT),
        (501, None, None, ErrorClass.PERMANENT),
        (505, None, None, ErrorClass.PERMANENT),
        (418, None, None, ErrorClass.PERMANENT),
        (302, None, None, ErrorClass.PERMANENT),
    ],
)
def test_an_http_answer_is_classed_by_the_table_and_else_by_its_status(status, code, kind, expected):
    assert OPENAI.classify(status, code, kind) is expected


def test_a_rule_may_want_words_of_the_message_in_letters_of_any_size():
    rules = "errors:\n  - {status: 400, says: api key, class: permanent, auth: true}\n  - {status: 400, class: later}\n"
    acme = load_facts(ACME + rules, file="acme.yaml")

    assert acme.classify(400, message="Incorrect API key provided") is ErrorClass.PERMANENT
    assert acme.is_auth_error(400, message="Incorrect API key provided")
    assert acme.classify(400, message="a bad apikey") is ErrorClass.LATER
    assert not acme.is_auth_error(400, "api key", "api key", "a bad word"), "it is the message that has to say it"
    assert acme.classify(400) is ErrorClass.LATER


def test_without_a_table_the_status_alone_decides():
    acme = load_facts(ACME, file="acme.yaml")

    assert acme.classify(409) is ErrorClass.PERMANENT
    assert acme.classify(429, "insufficient_quota") is ErrorClass.TRANSIENT


def test_the_first_rule_that_fits_is_meant():
    rules = "errors:\n  - {status: 403, code: busy, class: transient}\n  - {status: 403, class: permanent}\n"
    acme = load_facts(ACME + rules, file="acme.yaml")

    assert acme.classify(403, "busy") is ErrorClass.TRANSIENT
    assert acme.classify(403, "other") is ErrorClass.PERMANENT
    assert acme.classify(500, "busy") is ErrorClass.TRANSIENT


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("token_limit_exceeded", ErrorClass.LATER),
        ("batch_expired", ErrorClass.LATER),
        ("batch_cancelled", ErrorClass.PERMANENT),
        ("invalid_json_line", ErrorClass.PERMANENT),
        ("billing_hard_limit_reached", ErrorClass.PERMANENT),
        ("never_heard_of", ErrorClass.PERMANENT),
        (None, ErrorClass.PERMANENT),
    ],
)
def test_the_code_of_a_failed_batch_says_whether_the_work_may_be_sent_again(code, expected):
    assert OPENAI.classify_batch_error(code) is expected


# --- a user's file -------------------------------------------------------------------------------------------------


def test_a_file_is_laid_over_the_facts_and_leaves_the_rest(tmp_path):
    path = user_file(
        tmp_path,
        """\
providers:
  openai:
    base_url: https://proxy.example/v1/
    api_key: ${TEAM_KEY}
    organization: org-1
    headers: {x-team: search}
    limits: {requests: 1000}
    models:
      - {match: "my-model", modes: [chat]}
    status: {paused: QUEUED}
    endpoints: {path: /v1/rerank, mode: custom, format: acme.rerank}
    errors:
      - {status: 409, class: permanent}
""",
    )
    catalog = load_catalog(path, env={"TEAM_KEY": "sk-team-0123456789"})
    facts, mine = catalog.provider("openai"), catalog.settings("openai")

    assert mine.base_url == "https://proxy.example/v1"
    assert mine.api_key == "sk-team-0123456789"
    assert mine.options == {"organization": "org-1"}
    assert mine.headers == {"x-team": "search"}
    assert mine.allow_unknown_model is False
    assert facts.limits.requests == Limit(value=1000, source=None)
    assert facts.limits.file_bytes == OPENAI.limits.file_bytes
    assert facts.supports("my-model", BatchMode.CHAT)
    assert facts.supports("gpt-4.1-mini", BatchMode.CHAT)
    assert facts.normalize_status("PAUSED") is BatchStatus.QUEUED
    assert facts.normalize_status("completed") is BatchStatus.COMPLETED
    assert facts.endpoint_for(BatchMode.CUSTOM, "/v1/rerank").format == "acme.rerank"
    assert facts.classify(409) is ErrorClass.PERMANENT
    assert facts.classify(429) is ErrorClass.TRANSIENT
    assert facts.base_url == "https://api.openai.com/v1"
    assert OPENAI is load_catalog().provider("openai")


def test_a_mapping_in_code_does_what_a_file_does():
    catalog = load_catalog({"providers": {"openai": {"api_key": "sk-1", "limits": {"requests": 5}}}})

    assert catalog.provider("openai").limits.requests.value == 5
    assert catalog.settings("openai").api_key == "sk-1"


@pytest.mark.parametrize(
    "text",
    ["", "providers:\n", "providers: {}\n", "providers:\n  openai: {models: , limits: {requests: , file_bytes: {}}}\n"],
)
def test_empty_sections_change_nothing(tmp_path, text):
    catalog = load_catalog(user_file(tmp_path, text), env={})

    assert catalog.provider("openai") == OPENAI
    assert catalog.settings("openai") == load_catalog().settings("openai")


def test_a_users_pattern_comes_before_ours_even_when_it_is_broader():
    mine = {"models": [{"match": "gpt-*", "modes": "custom"}, {"match": "gpt-4*", "modes": ["chat", "completion"]}]}
    facts = load_catalog({"providers": {"openai": mine}}).provider("openai")

    assert facts.model("gpt-5").modes == (BatchMode.CUSTOM,)
    assert facts.model("gpt-4.1-mini").modes == (BatchMode.CHAT, BatchMode.COMPLETION)
    assert facts.model("o3") == OPENAI.model("o3")


@pytest.mark.parametrize(
    ("patterns", "model", "expected"),
    [
        (["a*", "ab*"], "abc", "ab*"),
        (["abc", "abc*"], "abc", "abc"),
        (["abc*", "abc"], "abc", "abc"),
        (["a[bx]*", "ab*"], "abc", "ab*"),
        (["ab?", "a*"], "abc", "ab?"),
        (["*", "x*"], "abc", "*"),
        (["ab*", "*bc"], "abc", "ab*"),
    ],
)
def test_the_pattern_with_most_letters_of_its_own_is_meant(patterns, model, expected):
    mine = {"models": [{"match": pattern, "modes": ["chat"]} for pattern in patterns]}

    assert load_catalog({"providers": {"openai": mine}}).provider("openai").model(model).match == expected


def test_the_three_lines_that_allow_a_model_do_allow_it(tmp_path):
    for model in ("my-model", "a*b[c]?", 'quo"te: x', "ünï"):
        text = unknown_model_hint(OPENAI, model, BatchMode.EMBEDDING)
        facts = load_catalog(user_file(tmp_path, text)).provider("openai")

        assert text.count("\n") == 2
        assert facts.supports(model, BatchMode.EMBEDDING)
        assert not facts.supports(model + "x")
        assert not OPENAI.supports(model)


@pytest.mark.parametrize("value", ["true", "True"])
def test_unknown_models_can_be_allowed(tmp_path, value):
    text = f"providers:\n  openai:\n    allow_unknown_model: {value}\n"

    assert load_catalog(user_file(tmp_path, text)).settings("openai").allow_unknown_model is True


# --- variables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "env", "value"),
    [
        ("${K}", {"K": "v"}, "v"),
        ("a-${K}-${L}", {"K": "v", "L": "w"}, "a-v-w"),
        ("${K:-d}", {}, "d"),
        ("${K:-d}", {"K": ""}, "d"),
        ("${K:-d}", {"K": "v"}, "v"),
        ("${K:-}", {}, ""),
        ("$K", {"K": "v"}, "$K"),
        ("${K}", {"K": "${L}"}, "${L}"),
    ],
)
@pytest.mark.parametrize("place", ["api_key", "organization", "header"])
def test_variables_are_filled_in_where_secrets_and_addresses_stand(place, text, env, value):
    section = {"headers": {"x": text}} if place == "header" else {place: text}
    mine = load_catalog({"providers": {"openai": section}}, env=env).settings("openai")

    assert {"api_key": mine.api_key, "organization": mine.options.get("organization"), "header": mine.headers.get("x")}[
        place
    ] == value


def test_a_variable_in_an_address_is_filled_in_and_the_address_checked():
    catalog = load_catalog({"providers": {"openai": {"base_url": "https://${HOST}/v1"}}}, env={"HOST": "h.example"})
    assert catalog.settings("openai").base_url == "https://h.example/v1"

    bad = load_catalog({"providers": {"openai": {"base_url": "https://${HOST}/v1"}}}, env={"HOST": "u:pw@h"})
    with pytest.raises(ConfigError, match=r"config: providers\.openai\.base_url: expected http") as caught:
        bad.settings("openai")
    assert "pw" not in str(caught.value)


def test_a_missing_variable_names_file_line_and_path_when_it_is_needed(tmp_path):
    text = "providers:\n  openai:\n    api_key: ${TEAM_KEY}\n    headers:\n      x: ${OTHER}\n"
    catalog = load_catalog(user_file(tmp_path, text), env={"OTHER": ""})

    assert catalog.provider("openai") == OPENAI
    with pytest.raises(ConfigError) as caught:
        catalog.settings("openai")
    assert str(caught.value).replace(f"{tmp_path}{os.sep}", "").split("\n") == [
        "llm_config.yaml:3: providers.openai.api_key: the variable TEAM_KEY is not set, or empty",
        "llm_config.yaml:5: providers.openai.headers.x: the variable OTHER is not set, or empty",
    ]


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("ASYNCBATCH_TEST_KEY", "sk-env")

    assert (
        load_catalog({"providers": {"openai": {"api_key": "${ASYNCBATCH_TEST_KEY}"}}}).settings("openai").api_key
        == "sk-env"
    )


def test_the_providers_own_variables_come_over_the_file():
    section = {"api_key": "file", "base_url": "https://file.example", "organization": "file", "headers": {"x": "y"}}
    mine = load_catalog({"providers": {"openai": section}}).settings("openai")
    env = {"OPENAI_API_KEY": "env", "OPENAI_BASE_URL": "http://127.0.0.1:8400/v1/", "OPENAI_PROJECT_ID": "p"}

    assert mine.with_environment(OPENAI, {}) == mine
    found = mine.with_environment(OPENAI, env)
    assert (found.api_key, found.base_url) == ("env", "http://127.0.0.1:8400/v1")
    assert found.options == {"organization": "file", "project": "p"}
    assert found.headers == {"x": "y"}


def test_a_variable_that_holds_no_address_is_named_and_not_shown():
    with pytest.raises(ConfigError, match="variable OPENAI_BASE_URL: expected http") as caught:
        load_catalog().settings("openai").with_environment(OPENAI, {"OPENAI_BASE_URL": "sk-oops"})

    assert "sk-oops" not in str(caught.value)


def test_the_second_variable_is_read_where_the_first_is_not_set():
    acme = load_facts(ACME, file="acme.yaml")
    mine = load_catalog().settings("openai")

    assert mine.with_environment(acme, {"ACME_TOKEN": "t"}).api_key == "t"
    assert mine.with_environment(acme, {"ACME_TOKEN": "t", "ACME_API_KEY": "k"}).api_key == "k"


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("limit: {requests: 5}", "3: limit: unknown key; did you mean 'limits'?"),
        ("apikey: sk-secret", "3: apikey: unknown key; did you mean 'api_key'?"),
        ("organisation: x", "3: organisation: unknown key; did you mean 'organization'?"),
        ("limits: {request: 5}", "3: limits.request: unknown key; did you mean 'requests'?"),
        ("limits: {requests: many}", "3: limits.requests: expected int, got 'many'"),
        ("limits: {requests: 0}", "3: limits.requests: expected int >= 1, got 0"),
        ("limits: {requests: true}", "3: limits.requests: expected int, got True"),
        ("limits: {requests: 1.5}", "3: limits.requests: expected int, got 1.5"),
        ("limits: {requests: [1]}", "3: limits.requests: expected a mapping, got a list"),
        ("limits: {requests: {value: x}}", "3: limits.requests.value: expected int, got 'x'"),
        ("limits: 5", "3: limits: expected a mapping, got 5"),
        ("limits:\n      requests: x\n", "4: limits.requests: expected int, got 'x'"),
        ("models: [{match: a}]", "3: models[0]: the key 'modes' is missing"),
        ("models: [{modes: chat}]", "3: models[0]: the key 'match' is missing"),
        ("models: gpt-x", "3: models[0]: expected a mapping, got 'gpt-x'"),
        ("models: [{match: '', modes: chat}]", "3: models[0].match: expected str of length >= 1, got ''"),
        ("models: [{match: 4, modes: chat}]", "3: models[0].match: expected str, got 4"),
        ("models: [{match: a, modes: }]", "3: models[0].modes: expected a list, got nothing"),
        (
            "models:\n      - {match: a, modes: chat}\n      - {match: b, modes: [chat, chatt]}",
            f"5: models[1].modes[1]: expected one of {', '.join(BatchMode)}, got 'chatt'; did you mean 'chat'?",
        ),
        (
            "models: [{match: a, modes: [7]}]",
            "3: models[0].modes[0]: expected one of chat, completion, embedding, custom, got 7",
        ),
        (
            "models: [{match: a, modes: [zzz]}]",
            "3: models[0].modes[0]: expected one of chat, completion, embedding, custom, got 'zzz'",
        ),
        (
            "models:\n      - match: a\n        modes: chat\n        price:\n          input_usd: -1",
            "7: models[0].price.input_usd: expected a price from 0 up, got -1.0",
        ),
        (
            "models: [{match: a, modes: chat, price: {input_usd: 1, output_usd: .nan}}]",
            "3: models[0].price.output_usd: expected a price from 0 up, got nan",
        ),
        (
            "models: [{match: a, modes: chat, price: {input_usd: 1, date: soon}}]",
            "3: models[0].price.date: expected str matching regex '^\\\\d{4}-\\\\d{2}-\\\\d{2}$', got 'soon'",
        ),
        (
            "errors: [{class: tansient}]",
            f"3: errors[0].class: expected one of {', '.join(ErrorClass)}, got 'tansient'; did you mean 'transient'?",
        ),
        ("errors: [{code: x}]", "3: errors[0]: the key 'class' is missing"),
        (
            "status: {done: COMPLETE}",
            f"3: status.done: expected one of {', '.join(BatchStatus)}, got 'COMPLETE'; did you mean 'completed'?",
        ),
        ("status: [done]", "3: status: expected a mapping, got a list"),
        ("status:\n      Done: failed\n      done: failed", "5: status.done: this word stands already on line 4"),
        (
            "request_id_pattern: '['",
            "3: request_id_pattern: no regular expression: unterminated character set at position 0",
        ),
        ("polling: {min_interval_s: -1}", "3: polling.min_interval_s: expected float >= 0.0, got -1"),
        ("polling: {min_interval_s: .nan}", "3: polling.min_interval_s: expected float >= 0.0, got nan"),
        ("docs: ${HOME}", "3: docs: ${…} is read in api_key, base_url, headers and the options of an account only"),
        ("api_key: 12345", "3: api_key: expected str, got int"),
        ("api_key: [sk-secret]", "3: api_key: expected str, got a list"),
        ("headers: {x: 12345}", "3: headers.x: expected str, got int"),
        ("headers: sk-secret", "3: headers: expected a mapping, got str"),
        ("project: 5", "3: project: expected str, got int"),
        ("allow_unknown_model: sometimes", "3: allow_unknown_model: expected bool, got 'sometimes'"),
        (
            "base_url: api.example.com",
            "3: base_url: expected http:// or https:// and a host, without user, query or fragment",
        ),
        ("api_key: ${KEY", "3: api_key: ${ begins no ${VARIABLE} and no ${VARIABLE:-default}"),
        ("headers: {x: '${1}'}", "3: headers.x: ${ begins no ${VARIABLE} and no ${VARIABLE:-default}"),
        ("docs: a\n    docs: b", "4: docs: this key stands already on line 3"),
        (f"docs: [{'x' * 80}]", "3: docs: expected str, got a list"),
        (
            "windows: {least_s: 7200, most_s: 3600}",
            "3: windows.most_s: expected 7200 or more, which is least_s, got 3600",
        ),
        ("wire: {lines: short}", "3: wire.lines: expected one of whole, bare, got 'short'"),
        ("wire: {lines: bar}", "3: wire.lines: expected one of whole, bare, got 'bar'; did you mean 'bare'?"),
        (
            "wire: {idempotency_header: 'Idempotency Key'}",
            "3: wire.idempotency_header: expected str matching regex '^[A-Za-z0-9-]{1,64}$', got 'Idempotency Key'",
        ),
        ("wire: {first_line: 2}", "3: wire.first_line: expected one of 0, 1, got 2"),
        ("wire: {expiry: dot}", "3: wire.expiry: expected one of brackets, dots, got 'dot'; did you mean 'dots'?"),
        ("wire: {ready_states: {processed: 1}}", "3: wire.ready_states: expected str, got a mapping"),
        (f"window_s: {'x' * 80}", f"3: window_s: expected int, got '{'x' * 56}…"),
    ],
)
def test_a_mistake_in_a_users_file_names_line_path_and_what_is_wrong(tmp_path, section, expected):
    text = f"providers:\n  openai:\n    {section}\n"

    line, _, message = expected.partition(": ")
    assert mistakes_in(tmp_path, text) == [f"llm_config.yaml:{line}: providers.openai.{message}"]


def test_an_unknown_key_with_no_neighbour_is_told_the_keys_there_are(tmp_path):
    (line,) = mistakes_in(tmp_path, "providers:\n  openai:\n    name: other\n")

    assert line.startswith(
        "llm_config.yaml:3: providers.openai.name: unknown key; known are api_key, base_url, headers, "
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("provider: {}", "1: provider: unknown key; did you mean 'providers'?"),
        ("x: 1\nproviders: {}", "1: x: unknown key; known are providers"),
        ("[]", "1: expected a mapping, got a list"),
        ("text", "1: expected a mapping, got str"),
        ("providers: [openai]", "1: providers: expected a mapping, got a list"),
        ("providers:\n  openai: 5", "2: providers.openai: expected a mapping, got int"),
        ("providers:\n  opnai: {}", "2: providers.opnai: unknown provider; did you mean 'openai'?"),
        (
            "providers:\n  openai: {limits: &x {}, polling: *x}",
            "2: providers.openai.polling: an alias is not read here; write the value again",
        ),
    ],
)
def test_a_mistake_in_the_shape_of_the_file_is_named_too(tmp_path, text, expected):
    assert mistakes_in(tmp_path, text + "\n") == [f"llm_config.yaml:{expected}"]


def test_a_file_that_breaks_off_is_one_mistake(tmp_path):
    (line,) = mistakes_in(tmp_path, "providers: {openai: {\n")

    assert line.startswith("llm_config.yaml:2: not YAML: ")


def test_all_mistakes_of_a_file_come_in_one_error_in_the_order_of_its_lines(tmp_path):
    section = "    window_s: x\n    limits: {a: 1}\n    api_key: 5\n    docs: a\n    docs: b\n"
    text = f"providers:\n  openai:\n{section}other: 1\n"

    lines = [line.split(":")[1] for line in mistakes_in(tmp_path, text)]
    assert lines == ["3", "4", "5", "7", "8"]


def test_no_mistake_shows_a_secret(tmp_path):
    section = """\
    api_key: {k: sk-secret}
    headers: [sk-secret]
    base_url: ftp://u:sk-secret@h
    project: [sk-secret]
"""
    told = mistakes_in(tmp_path, f"providers:\n  openai:\n{section}")

    assert len(told) == 4
    assert "sk-secret" not in "\n".join(told)


def test_a_file_that_is_not_there_a_directory_and_a_name_no_file_can_have_are_errors(tmp_path):
    for path, reason in [(tmp_path / "none.yaml", "No such file"), (tmp_path, "directory"), ("a\0b", "null")]:
        with pytest.raises(ConfigError, match=reason) as caught:
            load_catalog(path)
        assert caught.value.code == "config.unreadable"


def test_a_file_that_is_no_utf_8_names_the_line(tmp_path):
    path = tmp_path / "llm_config.yaml"
    path.write_bytes(b"providers:\n  openai:\n    docs: \xff\n")

    with pytest.raises(ConfigError, match=r"llm_config\.yaml:3: not UTF-8 text"):
        load_catalog(str(path))


def test_a_mapping_in_code_names_no_line():
    with pytest.raises(ConfigError) as caught:
        load_catalog({"providers": {"openai": {"limits": {"requests": "x"}}}})

    assert str(caught.value) == "config: providers.openai.limits.requests: expected int, got 'x'"


# --- providers from elsewhere --------------------------------------------------------------------------------------


def test_a_provider_from_elsewhere_brings_its_own_yaml_and_takes_the_users_file():
    catalog = load_catalog({"providers": {"acme": {"api_key": "k", "limits": {"requests": 3}}, "zeta": {}}})
    assert catalog.unused == ("acme", "zeta")

    with_acme = catalog.with_facts(ACME, file="acme.yaml")

    assert with_acme.unused == ("zeta",)
    assert with_acme.names() == tuple(sorted(("acme", *builtin_names())))
    assert with_acme.provider("acme").limits.requests.value == 3
    assert with_acme.provider("acme").submit_safety is SubmitSafety.TAGGED
    assert with_acme.settings("acme").api_key == "k"
    assert with_acme.provider("openai") is OPENAI
    with pytest.raises(ConfigError):
        catalog.provider("acme")


def test_a_provider_from_elsewhere_needs_no_section_of_its_own():
    catalog = load_catalog().with_facts(ACME, file="acme.yaml")

    assert catalog.provider("acme") == load_facts(ACME, file="acme.yaml")
    assert catalog.settings("acme").api_key is None


def test_what_the_users_file_says_wrongly_about_a_provider_from_elsewhere_is_found_when_it_comes():
    catalog = load_catalog({"providers": {"acme": {"limits": {"requests": "x"}}}})

    with pytest.raises(ConfigError, match=r"config: providers\.acme\.limits\.requests: expected int, got 'x'"):
        catalog.with_facts(ACME, file="acme.yaml")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: acme\n", "", "acme.yaml:1: the key 'name' is missing"),
        ("checked: 2026-11-20", "checked: now", "acme.yaml:3: checked: expected str matching regex"),
        ("https://api.acme.example/v1", "api.acme.example", "acme.yaml:5: base_url: expected http:// or https://"),
        ("https://api.acme.example/v1", "null", "acme.yaml:5: base_url: expected http:// or https:// and a host"),
        ("base_url: https://api.acme.example/v1\n", "", "acme.yaml:1: the key 'base_url' is missing"),
        ("window_s: 3600", "window_s: 0", "acme.yaml:8: window_s: expected int >= 1, got 0"),
        ("  - {match", "  - {mach", "acme.yaml:16: models[0].mach: unknown key; did you mean 'match'?"),
        ("env: [ACME_API_KEY, ACME_TOKEN]", "env: 5", "acme.yaml:6: credentials.env: expected str, got 5"),
    ],
)
def test_a_mistake_in_a_providers_yaml_names_line_and_path(old, new, expected):
    with pytest.raises(ConfigError) as caught:
        load_facts(ACME.replace(old, new), file="acme.yaml")

    assert expected in str(caught.value)


OF_ONES_OWN = (
    ACME.replace("https://api.acme.example/v1", "null")
    + """\
base_url_env: ACME_ENDPOINT
base_url_env_path: /api/v2
options:
  old: {env: ACME_OLD, query: version, env_path: /api, endpoint_cut: /v1, usual: [newest]}
  older: {env: ACME_OLDER}
"""
)


@pytest.mark.parametrize(
    "address",
    [f"https://h.example{path}" for path in ("", "/api", "/api/v2")],
)
def test_an_address_of_ones_own_has_below_it_what_the_way_of_its_calls_wants(address):
    facts = load_facts(OF_ONES_OWN, file="acme.yaml")
    base = facts.below(address)

    assert facts.base_url is None
    assert base == "https://h.example/api/v2"
    assert facts.base_url_for(base, {}) == base
    assert facts.base_url_for(base, {"old": "newest", "older": "x"}) == base
    assert facts.base_url_for(base, {"old": "1"}) == "https://h.example/api"
    assert facts.base_url_for("https://gate.example", {"old": "1"}) == "https://gate.example"


def test_an_address_of_ones_own_is_shown_as_not_set_until_it_is():
    def shown(env):
        catalog = load_catalog(env=env).with_facts(OF_ONES_OWN, file="acme.yaml")
        return [origin[1:] for origin in catalog.origins("acme") if origin.path == "base_url"]

    assert shown({}) == [("", "not set; ACME_ENDPOINT would be read")]
    assert shown({"ACME_ENDPOINT": "https://h.example"}) == [("https://h.example", "variable ACME_ENDPOINT")]


def test_a_token_of_the_environment_goes_before_a_key_and_neither_is_shown():
    text = ACME.replace("header: x-api-key", "header: x-api-key, token_env: ACME_AD_TOKEN")
    catalog = load_catalog(env={"ACME_AD_TOKEN": "t-0123456789abcdef", "ACME_API_KEY": "k-0123456789abcdef"})
    catalog = catalog.with_facts(text, file="acme.yaml")
    settings = catalog.settings("acme").with_environment(catalog.provider("acme"), catalog._env)

    assert (settings.token, settings.api_key) == ("t-0123456789abcdef", "k-0123456789abcdef")
    assert "0123456789" not in repr(settings)
    assert [origin[1:] for origin in catalog.origins("acme") if origin.path == "api_key"] == [
        ("t-0…cdef", "variable ACME_AD_TOKEN")
    ]


def test_an_endpoint_may_be_spelled_shorter_by_one_way_and_is_known_by_either_name():
    facts = load_facts(OF_ONES_OWN, file="acme.yaml")

    assert [facts.endpoint_cut(options) for options in ({}, {"old": "newest"}, {"old": "1"})] == ["", "", "/v1"]
    found = [facts.endpoint_from_wire(path) for path in ("/complete", "/v1/complete", "/v1/v1/complete", None)]
    assert found == ["/v1/complete", "/v1/complete", "/v1/v1/complete", None]


@pytest.mark.parametrize("text", ["", "[]", "models:\n", "models: 5\n", "5"])
def test_a_providers_yaml_that_is_no_mapping_is_an_error(text):
    with pytest.raises(ConfigError, match=r"acme\.yaml:1: "):
        load_facts(text, file="acme.yaml")


def test_a_providers_yaml_that_breaks_off_is_one_mistake():
    with pytest.raises(ConfigError) as caught:
        load_facts(ACME + "options: [\n", file="acme.yaml")

    assert str(caught.value).startswith("acme.yaml:19: not YAML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8400/v1", "https://h", "HTTPS://[::1]:1/x"])
def test_an_address_with_a_host_is_one(url):
    assert load_catalog({"providers": {"openai": {"base_url": url}}}).settings("openai").base_url == url


@pytest.mark.parametrize(
    "url", ["", "h", "//h", "https://", "https:///v1", "https://h:port", "https://[h", "https://h?q=1", "https://h#f"]
)
def test_an_address_without_host_or_with_more_than_a_path_is_refused(url):
    with pytest.raises(ConfigError, match="base_url: expected http"):
        load_catalog({"providers": {"openai": {"base_url": url}}})


def test_an_unknown_provider_is_refused_with_the_nearest_name():
    for ask in (load_catalog().provider, load_catalog().settings, load_catalog().origins):
        with pytest.raises(ConfigError, match="'opnai'; did you mean 'openai'") as caught:
            ask("opnai")
        assert caught.value.code == "provider.unknown"


# --- what may be shown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "shown"),
    [("sk-proj-abcdefgh9f2c", "sk-…9f2c"), ("sk-0123456789abc", "sk-…9abc"), ("sk-0123456789ab", "…"), ("", "…")],
)
def test_a_secret_is_shown_by_its_ends_and_a_short_one_not_at_all(secret, shown):
    assert mask(secret) == shown


def test_settings_never_show_the_key_or_a_header():
    section = {"api_key": "sk-proj-abcdefgh9f2c", "headers": {"x-key": "another-secret-value"}, "project": "p"}
    mine = load_catalog({"providers": {"openai": section}}).settings("openai")

    for text in (repr(mine), str(mine), f"{mine}", str(list(mine.__rich_repr__()))):
        assert "abcdefgh" not in text
        assert "secret" not in text
        assert "sk-…9f2c" in text
    assert "hidden" not in repr(ProviderSettings(base_url="https://u:hidden-password@h"))
    assert repr(load_catalog().settings("openai")) == (
        "ProviderSettings(api_key=None, base_url=None, headers={}, options={}, allow_unknown_model=False, allow_http=False)"
    )


def test_each_setting_and_fact_has_an_origin(tmp_path):
    path = user_file(
        tmp_path,
        """\
providers:
  openai:
    api_key: ${TEAM_KEY:-sk-hidden-default-value}
    project: proj-1
    headers: {x-gate: literal-secret-token}
    allow_unknown_model: true
    limits: {requests: 10}
    models: [{match: mine, modes: [chat], source: "https://x"}]
    credentials: {env: [MY_KEY]}
""",
    )
    env = {"OPENAI_ORG_ID": "org-env", "OPENAI_BASE_URL": "http://127.0.0.1:1"}
    rows = {row.path: row for row in describe_origins(load_catalog(path, env=env), "openai")}

    assert (rows["api_key"].value, rows["api_key"].where) == ("${TEAM_KEY}", f"{path}:3")
    assert (rows["base_url"].value, rows["base_url"].where) == ("http://127.0.0.1:1", "variable OPENAI_BASE_URL")
    assert (rows["organization"].value, rows["organization"].where) == ("org-env", "variable OPENAI_ORG_ID")
    assert (rows["project"].value, rows["project"].where) == ("proj-1", f"{path}:4")
    assert (rows["headers.x-gate"].value, rows["headers.x-gate"].where) == ("lit…oken", f"{path}:5")
    assert (rows["allow_unknown_model"].value, rows["allow_unknown_model"].where) == ("True", f"{path}:6")
    assert (rows["limits.requests"].value, rows["limits.requests"].where) == ("10", f"{path}:7")
    assert rows["limits.file_bytes"].value == "200000000"
    assert rows["limits.file_bytes"].where.startswith("asyncbatch/providers/openai.yaml:")
    assert (rows["models[0]"].value, rows["models[0]"].where) == ("{match: mine, modes: [chat]}", f"{path}:8")
    assert (rows["credentials.env"].value, rows["credentials.env"].where) == ("[MY_KEY]", f"{path}:9")
    assert not any(path.startswith("sources.") for path in rows)


def test_a_key_that_is_nowhere_says_where_it_would_be_read_from():
    rows = {row.path: row for row in describe_origins(load_catalog(env={}), "openai")}

    assert (rows["api_key"].value, rows["api_key"].where) == ("", "not set; OPENAI_API_KEY would be read")
    assert rows["base_url"].where.startswith("asyncbatch/providers/openai.yaml:")
    assert "organization" not in rows


def test_origins_show_neither_a_key_nor_an_address_with_a_password():
    env = {"OPENAI_API_KEY": "sk-proj-abcdefgh9f2c", "OPENAI_BASE_URL": "https://u:hidden@h.example.com"}
    rows = describe_origins(load_catalog(env=env), "openai")

    assert "hidden" not in str(rows)
    assert "abcdefgh" not in str(rows)
    assert rows[0] == ("api_key", "sk-…9f2c", "variable OPENAI_API_KEY")


def test_a_provider_without_a_variable_for_its_address_shows_the_one_of_its_facts():
    catalog = load_catalog({"providers": {"acme": {"base_url": None}}}, env={}).with_facts(ACME, file="acme.yaml")
    rows = {row.path: row for row in catalog.origins("acme")}

    assert rows["api_key"].where == "not set; ACME_API_KEY or ACME_TOKEN would be read"
    assert (rows["base_url"].value, rows["base_url"].where) == ("https://api.acme.example/v1", "acme.yaml:5")


# --- finding the file ----------------------------------------------------------------------------------------------


def test_the_command_line_finds_the_named_file_then_the_one_in_the_directory(tmp_path):
    assert find_config(tmp_path, {}) is None

    path = user_file(tmp_path, "")
    assert find_config(tmp_path, {}) == path
    assert find_config(tmp_path, {"ASYNCBATCH_CONFIG": ""}) == path
    assert find_config(tmp_path, {"ASYNCBATCH_CONFIG": "/elsewhere/x.yaml"}) == Path("/elsewhere/x.yaml")


def test_the_library_never_looks_for_a_file_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("ASYNCBATCH_CONFIG", str(user_file(tmp_path, "nonsense: [")))
    monkeypatch.chdir(tmp_path)

    assert load_catalog().provider("openai") is OPENAI


# --- for all texts -------------------------------------------------------------------------------------------------

_WORDS = """\
providers openai models match modes chat limits requests value price input_usd status errors class headers api_key
base_url https://h ${X} ${X 1e999 .nan -1 0x99999999999999999999 true null ~ [ ] { } : , - & * ! | > ? ' " # \t
request_id_pattern a{9999999999} 99999999999999999999"""
_PIECES = st.sampled_from([*_WORDS.split(), ": ", " ", "\t", "\n", "\n  ", "\n    ", "\n      - "])
_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("chat"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "llm_config.yaml"


@settings(deadline=None)
@given(text=st.lists(_PIECES, max_size=40).map("".join))
@example(text="providers: {openai: {request_id_pattern: 'a{9999999999999}'}}")
@example(text="providers: {openai: {limits: {requests: 0xFFFFFFFFFFFFFFFFFFFFFFFF}}}")
@example(text="providers: {openai: {models: [{match: '[', modes: []}]}}")
def test_no_text_makes_anything_but_a_config_error(config_path, text):
    config_path.write_text(text, encoding="utf-8")
    try:
        catalog = load_catalog(config_path, env={})
        catalog.provider("openai").supports("gpt-4.1")
        catalog.settings("openai")
        catalog.origins("openai")
        catalog.with_facts(text, file="x.yaml")
    except ConfigError:
        pass


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*OPENAI.__struct_fields__, "api_key", "headers", "project", "allow_unknown_model"]), _TREES)
def test_no_value_of_any_section_makes_anything_but_a_config_error(key, value):
    try:
        catalog = load_catalog({"providers": {"openai": {key: value}}}, env={})
        catalog.provider("openai").classify(500, "x")
        catalog.settings("openai")
        catalog.origins("openai")
    except ConfigError:
        pass


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.heavy  # it reads the page
def test_the_example_of_the_configuration_page_loads(tmp_path):
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n", 1)[1].split("```", 1)[0]

    catalog = load_catalog(user_file(tmp_path, text), env={"TEAM_KEY": "sk-1"})

    assert catalog.settings("openai").api_key == "sk-1"
    assert catalog.provider("openai").supports("my-model", BatchMode.CHAT)


@pytest.mark.parametrize("given", ["/", "///", "https:///v1"])
def test_an_address_that_is_nothing_but_slashes_is_none_and_not_left_out(given):
    with pytest.raises(ConfigError, match="variable OPENAI_BASE_URL: expected http"):
        load_catalog().settings("openai").with_environment(OPENAI, {"OPENAI_BASE_URL": given})
