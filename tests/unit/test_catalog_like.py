"""A provider that only a user's file knows: what it shares with the one whose protocol it speaks, and what it does not."""

import pytest

from asyncbatch import BatchMode, BatchProviderRegistry, ConfigError, ProviderNotRegisteredError, SubmitSafety
from asyncbatch.catalog import builtin_names, describe_origins, load_catalog
from asyncbatch.enums import BatchStatus

URL = "https://llm.acme.example/v1"


def acme(like="openai", **section):
    return load_catalog({"providers": {"acme": {"like": like, "base_url": URL, **section}}}, env={})


def facts_of(like="openai", **section):
    return acme(like, **section).provider("acme")


def mistakes_of(tmp_path, text):
    path = tmp_path / "llm_config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalog(path)
    return str(caught.value).replace(f"{path}:", "")


@pytest.mark.parametrize("like", builtin_names())
def test_what_belongs_to_the_protocol_is_shared(like):
    theirs, ours = load_catalog().provider(like), facts_of(like)

    assert ours.status == theirs.status
    assert ours.endpoints == theirs.endpoints
    assert ours.errors == theirs.errors
    assert (ours.inputs, ours.answers_after, ours.window_s) == (theirs.inputs, theirs.answers_after, theirs.window_s)
    assert (ours.takes_metadata, ours.cancels) == (theirs.takes_metadata, theirs.cancels)
    assert (ours.limits.requests, ours.limits.file_bytes) == (theirs.limits.requests, theirs.limits.file_bytes)
    assert ours.headers == theirs.headers
    assert {name for name, option in theirs.options.items() if option.default or option.is_needed} == set(ours.options)


@pytest.mark.parametrize("like", builtin_names())
def test_what_belongs_to_the_others_service_is_not(like):
    theirs, ours = load_catalog().provider(like), facts_of(like)

    assert (ours.name, ours.title, ours.base_url) == ("acme", "acme", URL)
    assert (ours.credentials.env, ours.base_url_env) == (("ACME_API_KEY",), "ACME_BASE_URL")
    assert (ours.credentials.header, ours.credentials.scheme) == (theirs.credentials.header, theirs.credentials.scheme)
    others = ("token_env", "token_scope", "token_class")
    assert [getattr(ours.credentials, name) for name in others] == [(), None, None], "a token is for nobody else"
    assert (ours.discount, ours.webhooks, ours.retention.input_expiry) == (None, None, None)
    assert (ours.limits.creates_per_hour, ours.limits.open_requests) == (None, None)
    assert [model.match for model in ours.models] == ["*"]
    assert ours.price_of("gpt-4.1-mini") is None
    assert ours.sureness == "yours"


def test_a_late_create_is_not_trusted_to_fail_where_nobody_has_tried_it():
    assert load_catalog().provider("openai").submit_safety is SubmitSafety.TAGGED_FENCED

    assert facts_of().submit_safety is SubmitSafety.TAGGED
    assert not facts_of().polling.is_list_whole
    assert facts_of(submit_safety="tagged_fenced").submit_safety is SubmitSafety.TAGGED_FENCED


def test_every_model_is_taken_in_every_mode_of_an_endpoint_unless_the_file_says_which():
    every = {endpoint.mode for endpoint in facts_of().endpoints}
    chat = {"path": "/v1/chat/completions", "mode": "chat", "format": "openai.chat"}

    assert set(facts_of().models[0].modes) == every
    assert facts_of(endpoints=chat).models[0].modes == (BatchMode.CHAT,)
    assert not facts_of(endpoints=[chat]).supports("anything", BatchMode.EMBEDDING)
    for nothing in (None, []):
        assert facts_of(models=nothing).supports("anything", BatchMode.CHAT)
    own = facts_of(models=[{"match": "large-*", "modes": ["chat"]}])
    assert own.model("large-1").match == "large-*"
    assert own.model("small-1") is None


def test_endpoints_of_a_gateway_are_all_there_are_and_everything_else_is_laid_over():
    chat = {"path": "/chat", "mode": "chat", "format": "openai.chat"}
    facts = facts_of(endpoints=[chat], status={"paused": "queued"}, limits={"requests": 7})

    assert [endpoint.path for endpoint in facts.endpoints] == ["/chat"]
    assert facts.normalize_status("paused") is BatchStatus.QUEUED
    assert facts.normalize_status("completed") is BatchStatus.COMPLETED
    assert (facts.limits.requests.value, facts.limits.file_bytes.value) == (7, 200_000_000)


@pytest.mark.parametrize(
    ("name", "variable"), [("acme", "ACME_API_KEY"), ("my-gate.way", "MY_GATE_WAY_API_KEY"), ("größe", "GR__E_API_KEY")]
)
def test_the_key_is_read_from_a_variable_of_the_providers_name(name, variable):
    catalog = load_catalog({"providers": {name: {"like": "openai", "base_url": URL}}}, env={})

    assert catalog.provider(name).credentials.env == (variable,)


def test_an_address_may_come_from_a_variable():
    section = {"like": "openai", "base_url": "${GATE:-https://one.example/v1}", "api_key": "${KEY}"}
    catalog = load_catalog({"providers": {"acme": section}}, env={"KEY": "k-secret", "GATE": "https://two.example/v1"})
    settings = catalog.settings("acme")

    assert (settings.base_url, settings.api_key) == ("https://two.example/v1", "k-secret")


def test_where_each_value_comes_from_is_told_the_file_first(tmp_path):
    path = tmp_path / "llm_config.yaml"
    path.write_text(f"providers:\n  acme:\n    like: openai\n    base_url: {URL}\n    limits: {{requests: 7}}\n")
    told = {
        origin.path: (origin.value, origin.where) for origin in describe_origins(load_catalog(path, env={}), "acme")
    }

    assert told["limits.requests"] == ("7", f"{path}:5")
    assert told["base_url"] == (URL, f"{path}:4")
    assert told["limits.file_bytes"][1].startswith("asyncbatch/providers/openai.yaml:")
    assert told["api_key"] == ("", "not set; ACME_API_KEY would be read")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "providers:\n  acme: {like: opnai, base_url: https://a.example}",
            "2: providers.acme.like: expected a provider that is built in, got 'opnai'; did you mean 'openai'?",
        ),
        ("providers:\n  acme: {like: }", "2: providers.acme.like: expected a provider that is built in, got None"),
        ("providers:\n  acme:\n    like: openai", "2: providers.acme.base_url: missing: where is it?"),
        ("providers:\n  acme: {like: openai, base_url: nowhere}", "2: providers.acme.base_url: expected http"),
        ("providers:\n  acme: {like: openai, base_url: 7}", "2: providers.acme.base_url: expected str, got int"),
        (
            "providers:\n  acme: {like: openai, base_url: https://a.example, limit: 3}",
            "2: providers.acme.limit: unknown key; did you mean 'limits'?",
        ),
        (
            "providers:\n  acme: {like: openai, base_url: https://a.example, limits: {requests: none}}",
            "2: providers.acme.limits.requests: expected int",
        ),
        (
            "providers:\n  a/b: {like: openai, base_url: https://a.example}",
            "2: providers.a/b: no name of a provider: it stands before the / of `provider/model`",
        ),
        ("providers:\n  openai: {like: mistral}", "2: providers.openai.like: is for a provider that is not built in"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_to_do(tmp_path, text, message):
    assert message in mistakes_of(tmp_path, text)


def test_every_mistake_is_told_at_once(tmp_path):
    text = "providers:\n  one: {like: nobody}\n  two:\n    like: openai\n    limit: 3"
    told = mistakes_of(tmp_path, text)

    assert "providers.one.like" in told
    assert "providers.two.base_url" in told
    assert "providers.two.limit" in told


async def test_only_a_scope_whose_catalog_knows_it_gives_the_provider():
    registry = BatchProviderRegistry()
    async with registry.open(catalog=acme()) as scope:
        assert scope.create("acme").PROVIDER_NAME == "acme"
        assert "acme" in scope.available()
    async with registry.open() as scope:
        with pytest.raises(ProviderNotRegisteredError):
            scope.create("acme")
        assert not scope.is_registered("acme")


async def test_a_class_that_is_registered_under_the_name_comes_first():
    registry = BatchProviderRegistry()
    ours = type("Ours", (registry.get("openai"),), {"PROVIDER_NAME": "acme"})
    registry.register(ours)
    async with registry.open(catalog=acme()) as scope:
        assert scope.get("acme") is ours
