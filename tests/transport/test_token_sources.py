"""Tokens in a key's place: when they are fetched, what happens to one that is refused, and that nobody gets to see any."""

import logging
import pickle
import sys
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import anyio
import pytest
from aioresponses import aioresponses

from asyncbatch import (
    BatchClient,
    BatchStatus,
    ConfigError,
    MissingCredentialsError,
    ProviderPermanentError,
    ProviderTransientError,
    load_catalog,
)
from asyncbatch.accounts import resolve_account, settings_from_config
from asyncbatch.catalog import ProviderSettings
from asyncbatch.emulator import Emulator, faults
from asyncbatch.providers.anthropic_provider import AnthropicBatchProvider
from asyncbatch.providers.azure_provider import AzureBatchProvider
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.transport import Answer
from asyncbatch.transport import tokens as tokens_module
from asyncbatch.transport.tokens import Tokens
from tests.providers.world import statuses, world
from tests.secrets.canaries import canary, everything_about, leaks, shown, taken_away

AZURE, OPENAI = (load_catalog().provider(name) for name in ("azure", "openai"))
SCOPE = "https://cognitiveservices.azure.com/.default"
RESOURCE = "https://res.openai.azure.com/openai/v1"
HOUR_S = 3600.0


class AccessToken(NamedTuple):
    """As azure.core.credentials has it."""

    token: str
    expires_on: int


class Credential:
    """A credential as azure.identity.aio has them: it gives what stands in a list, and counts."""

    def __init__(self, clock, *given, lives_s=HOUR_S):
        self.clock = clock
        self.given = list(given) or [canary("t-") for _ in range(9)]
        self.lives_s = lives_s
        self.scopes = []

    async def get_token(self, *scopes):
        await anyio.sleep(0)
        self.scopes.append(scopes)
        given = self.given[min(len(self.scopes), len(self.given)) - 1]
        if isinstance(given, Exception):
            raise given
        return AccessToken(given, int(self.clock.now() + self.lives_s)) if isinstance(given, str) else given


def of(here, credential, **config):
    """Give a world whose account has a credential rather than a key."""
    config = {"credential": credential, "base_url": here.base_url, **config}
    return here._replace(provider=here.scope.create("azure", config))


def source_of(*given):
    """Give an async function as a key: it gives what stands in a list."""
    asked = []

    async def source():
        asked.append(given[min(len(asked), len(given) - 1)])
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return asked[-1]

    source.asked = asked
    return source


def account(config=None, *, facts=AZURE, file=None, env=None):
    given = {"base_url": RESOURCE, **(config or {})} if facts is AZURE else config
    return resolve_account(facts, file or ProviderSettings(), settings_from_config(given, facts), env=env or {})


# When they are fetched


async def test_a_whole_life_needs_one_token_for_each_hour():
    async with world("azure") as here:
        credential = Credential(here.clock)
        entra = of(here, credential)
        since = here.clock.now()
        batch = await entra.start(["a"])
        early = len(credential.scopes)
        here.clock.advance(since + HOUR_S - 301 - here.clock.now())
        await entra.provider.poll_status(batch.provider_batch_id)
        before = len(credential.scopes)
        here.clock.advance(2)
        await entra.provider.poll_status(batch.provider_batch_id)
        after = len(credential.scopes)
        rows = await entra.rows(batch.provider_batch_id)

    assert (early, before, after) == (1, 1, 2)
    assert set(credential.scopes) == {(SCOPE,)}
    assert statuses(rows) == {"0000000": "succeeded"}


async def test_a_token_of_a_short_life_is_replaced_at_half_of_it():
    async with world("azure") as here:
        credential = Credential(here.clock, lives_s=100.0)
        entra = of(here, credential)
        for seconds in (49, 2):
            here.clock.advance(seconds)
            await entra.provider.list_statuses()

    assert len(credential.scopes) == 1
    async with world("azure") as here:
        credential = Credential(here.clock, lives_s=100.0)
        entra = of(here, credential)
        for _ in range(2):
            await entra.provider.list_statuses()
            here.clock.advance(51)

    assert len(credential.scopes) == 2


async def test_a_token_that_does_not_say_when_it_ends_is_kept_for_half_a_minute():
    source = source_of("one", "two")
    async with world("azure") as here:
        provider = here.scope.create("azure", {"api_key": source, "base_url": here.base_url})
        for seconds in (0, 29, 2):
            here.clock.advance(seconds)
            await provider.list_statuses()

    assert source.asked == ["one", "two"]


async def test_whoever_calls_while_a_token_is_fetched_waits_for_the_same_one():
    async with world("azure") as here:
        credential = Credential(here.clock)
        entra = of(here, credential)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(entra.provider.list_statuses)

    assert len(credential.scopes) == 1
    assert here.calls("list") == [200] * 20


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (AzureBatchProvider, {"authorization": "Bearer a-token"}),
        (OpenAIBatchProvider, {"authorization": "Bearer a-token"}),
        (AnthropicBatchProvider, {"x-api-key": "a-token"}),
    ],
)
async def test_a_function_in_the_place_of_a_key_is_good_for_any_provider(kind, headers):
    config = {"api_key": source_of("a-token"), "base_url": "https://h.example/v1"}
    with aioresponses() as server:
        server.get("https://h.example/v1/batches/b", status=404, body=b"{}")
        server.get("https://h.example/v1/v1/messages/batches/b", status=404, body=b"{}")
        server.get("https://h.example/v1/messages/batches/b", status=404, body=b"{}")
        async with kind(config) as provider:
            with pytest.raises(ProviderPermanentError):
                await provider.poll_status("b")
        ((call,),) = server.requests.values()
    sent = {name.lower(): value for name, value in call.kwargs["headers"].items()}

    assert {name: sent.get(name) for name in headers} == headers
    assert sent.keys() & {"api-key", "x-api-key", "authorization"} == headers.keys()


# What happens to one that is refused


async def test_a_call_whose_token_is_refused_goes_once_more_with_another_one():
    async with world("azure") as here:
        credential = Credential(here.clock, "invalid-token-0123456789", "good-token-0123456789")
        entra = of(here, credential)
        batch = await entra.start(["a"])
        await entra.provider.poll_status(batch.provider_batch_id)
        calls = here.calls("upload", "file", "create", "poll")

    assert calls[:2] == [401, 200]
    assert 401 not in calls[1:]
    assert len(credential.scopes) == 2


@pytest.mark.parametrize("operation", ["upload", "poll", "list", "results", "cancel", "file"])
async def test_that_goes_for_calls_of_every_kind(operation):
    async with world("azure", faults=[faults.refuse(401, operation=operation)]) as here:
        credential = Credential(here.clock)
        entra = of(here, credential)
        status, rows = await entra.run(["a"])
        await entra.provider.list_statuses()
        await entra.provider.cancel(status.provider_batch_id)
        calls = here.calls(operation)

    assert statuses(rows) == {"0000000": "succeeded"}
    assert calls[:2] == [401, 409 if operation == "cancel" else 200]
    assert len(credential.scopes) >= 2
    assert here.clock.slept_s == [], "another token is better than waiting"


async def test_a_call_that_is_refused_with_another_token_too_is_refused():
    async with world("azure") as here:
        credential = Credential(here.clock, "invalid-token-1", "invalid-token-2", "invalid-token-3")
        with pytest.raises(ProviderPermanentError) as caught:
            await of(here, credential).provider.list_statuses()
        again = here.calls("list")
        with pytest.raises(ProviderPermanentError):
            await of(here, credential).provider.list_statuses()

    assert (caught.value.status, caught.value.is_auth) == (401, True)
    assert "where its tokens come from" in caught.value.hint
    assert again == [401, 401]


async def test_calls_that_are_refused_at_once_do_not_take_back_each_others_new_token():
    async with world("azure") as here:
        credential = Credential(here.clock, "invalid-token-0123456789", "good-token-0123456789")
        entra = of(here, credential)
        async with anyio.create_task_group() as group:
            for _ in range(9):
                group.start_soon(entra.provider.list_statuses)

    assert len(credential.scopes) == 2
    assert here.calls("list").count(200) == 9
    assert here.calls("list").count(401) > 1


async def test_a_create_whose_token_is_refused_is_not_repeated_by_itself_and_may_be_by_others():
    async with world("azure", faults=[faults.refuse(401, operation="create")]) as here:
        credential = Credential(here.clock)
        entra = of(here, credential)
        submission = await entra.provider.upload(await entra.prepare_one(["a"]))
        with pytest.raises(ProviderTransientError, match="another token") as caught:
            await entra.provider.create(submission)
        sent = here.calls("create")
        batch = await entra.provider.create(submission)

    assert (caught.value.status, caught.value.is_auth) == (401, False)
    assert sent == [401]
    assert batch.status is BatchStatus.VALIDATING
    assert len(credential.scopes) == 2


async def test_creates_that_are_refused_with_every_token_are_refused_for_good():
    async with world("azure", faults=[faults.refuse(401, operation="create", times=2)]) as here:
        entra = of(here, Credential(here.clock))
        submission = await entra.provider.upload(await entra.prepare_one(["a"]))
        with pytest.raises(ProviderTransientError):
            await entra.provider.create(submission)
        with pytest.raises(ProviderPermanentError) as caught:
            await entra.provider.create(submission)

    assert (caught.value.status, caught.value.is_auth) == (401, True)


@pytest.mark.parametrize("between", ["list", "create"])
async def test_a_token_that_was_good_in_between_may_be_replaced_again(between):
    async with world("azure") as here:
        entra = of(here, Credential(here.clock))
        submission = await entra.provider.upload(await entra.prepare_one(["a"]))
        for _ in range(3):
            here.emulator.add(faults.refuse(401, operation="create"))
            with pytest.raises(ProviderTransientError):
                await entra.provider.create(submission)
            await (entra.provider.list_statuses() if between == "list" else entra.provider.create(submission))


async def test_a_create_that_a_portal_refuses_is_unknown_whatever_the_token():
    page = faults.Fault(
        effect=faults.Answer(status=401, body=b"<html>Sign in", content_type="text/html"), operation="create"
    )
    async with world("azure", faults=[page]) as here:
        entra = of(here, Credential(here.clock))
        submission = await entra.provider.upload(await entra.prepare_one(["a"]))
        with pytest.raises(Exception, match="is not known") as caught:
            await entra.provider.create(submission)

    assert caught.value.code == "create_unknown"


async def test_a_key_that_is_refused_is_no_token_and_is_not_tried_again():
    async with world("azure", faults=[faults.refuse(401, operation="list", times=2)]) as here:
        with pytest.raises(ProviderPermanentError):
            await here.provider.list_statuses()

    assert here.calls("list") == [401]


# Where there is none


async def test_a_source_that_fails_is_asked_again_and_its_error_is_not_shown():
    secret = canary()
    async with world("azure") as here:
        credential = Credential(here.clock, ValueError(f"client_secret={secret}"), "good-token")
        page = await of(here, credential).provider.list_statuses()
        slept = list(here.clock.slept_s)
        failing = Credential(here.clock, ValueError(f"client_secret={secret}"))
        with pytest.raises(ProviderTransientError, match="no token could be had: ValueError") as caught:
            await of(here, failing).provider.list_statuses()
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        with pytest.raises(ProviderTransientError) as unsent:
            await of(here, failing).provider.create(submission)
        created = here.calls("create")

    assert page.statuses == ()
    assert len(slept) == 1
    assert (caught.value.code, unsent.value.code, created) == ("no_token", "no_token", [])
    for error in (caught.value, unsent.value):
        assert leaks("".join(everything_about(error)), secret) == []


async def test_a_token_that_cannot_be_replaced_is_used_until_its_end():
    async with world("azure") as here:
        credential = Credential(here.clock, "good-token", OSError("no network"))
        entra = of(here, credential)
        await entra.provider.list_statuses()
        here.clock.advance(HOUR_S - 10)
        await entra.provider.list_statuses()
        here.clock.advance(11)
        with pytest.raises(ProviderTransientError) as caught:
            await entra.provider.list_statuses()

    assert caught.value.code == "no_token"
    assert here.calls("list") == [200, 200]


async def test_an_error_of_ours_that_a_source_raises_comes_as_it_is():
    said = ProviderPermanentError("the tenant is gone", provider="azure", code="tenant.gone")
    async with world("azure") as here:
        with pytest.raises(ProviderPermanentError, match="the tenant is gone"):
            await of(here, Credential(here.clock, said)).provider.list_statuses()


async def test_a_source_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(tokens_module, "_FETCH_S", 0.01)

    async def hang():
        await anyio.sleep_forever()

    tokens = Tokens(hang, provider="azure", header="authorization", before="Bearer ")
    with pytest.raises(ProviderTransientError, match="TimeoutError"):
        await tokens.headers(0.0)


async def asked_by_many(tokens, now):
    """Ask eight times at once; gives what each of them got."""
    got = []

    async def ask():
        try:
            got.append(dict(await tokens.headers(now)))
        except ProviderTransientError as error:
            got.append(error.code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(ask)
    return got


async def test_whoever_waits_for_a_token_that_does_not_come_waits_once(monkeypatch):
    monkeypatch.setattr(tokens_module, "_FETCH_S", 0.01)
    asked = []

    async def hang():
        asked.append(1)
        await anyio.sleep_forever()

    tokens = Tokens(hang, provider="azure", header="authorization", before="Bearer ")

    assert await asked_by_many(tokens, 0.0) == ["no_token"] * 8
    assert len(asked) == 1, "the others take that for their answer"
    assert await asked_by_many(tokens, 1.0) == ["no_token"] * 8
    assert len(asked) == 2, "and who comes later asks anew"


async def test_a_source_that_hangs_while_the_token_is_good_for_some_minutes_holds_up_one_call_and_no_other(monkeypatch):
    monkeypatch.setattr(tokens_module, "_FETCH_S", 0.01)
    asked = []

    async def source():
        asked.append(1)
        if len(asked) > 1:
            await anyio.sleep_forever()
        return AccessToken("good-token", 3600)

    tokens = Tokens(source, provider="azure", header="authorization", before="Bearer ")
    await tokens.headers(0.0)
    good = {"authorization": "Bearer good-token"}

    assert await asked_by_many(tokens, 3500.0) == [good] * 8
    assert len(asked) == 2
    assert await asked_by_many(tokens, 3529.0) == [good] * 8
    assert len(asked) == 2, "it is left alone for half a minute"
    assert await asked_by_many(tokens, 3530.0) == [good] * 8
    assert len(asked) == 3
    assert await asked_by_many(tokens, 3590.0) == [good] * 8
    assert await asked_by_many(tokens, 3600.0) == ["no_token"] * 8, "and no longer than the token is good"


async def test_where_an_account_gets_its_tokens_now_is_asked_for_a_job_that_it_had_before(monkeypatch):
    """An application makes a new source with each answer, and closes the one before."""
    clock, given, is_closed = VirtualClock(), [], []

    def accounts(_):
        number = len(given)

        async def source():
            if number in is_closed:
                raise OSError("the client has been closed")
            return "emulator-key"

        given.append(source)
        return {"api_key": source, "base_url": emulator.base_url("openai")}

    with Emulator(clock=clock.now) as emulator:
        async with BatchClient(runtime=virtual_runtime(clock), accounts=accounts) as client:
            first = await client.submit(["one [[stall]]"], model="openai/gpt-4.1-mini", account="acme")
            await first.submitted()
            is_closed.append(0)
            clock.advance(600)
            second = await client.submit(["two"], model="openai/gpt-4.1-mini", account="acme")
            (row,) = await second.results()
            await first.cancel()

    assert row.status == "succeeded"
    assert len(given) > 1


@pytest.mark.parametrize(
    "given",
    [None, 5, "", "two words", "line\nbreak", b"bytes", SimpleNamespace(token=None), SimpleNamespace(token="é")],
)
async def test_what_is_no_token_is_refused_and_not_shown(given):
    async with world("azure") as here:
        config = {"api_key": source_of(given), "base_url": here.base_url}
        with pytest.raises(ProviderPermanentError, match="gave none that can be sent") as caught:
            await here.scope.create("azure", config).list_statuses()

    assert caught.value.is_auth
    assert "two words" not in str(caught.value)
    assert here.calls("list") == []


async def test_a_function_that_is_not_async_is_refused():
    async with world("azure") as here:
        config = {"api_key": lambda: "a-token", "base_url": here.base_url}
        with pytest.raises(ProviderPermanentError, match="gave none that can be sent") as caught:
            await here.scope.create("azure", config).list_statuses()

    assert "async function" in caught.value.hint


# Whose account it is


def test_an_account_stays_the_same_whatever_its_tokens_are():
    first, second = [account({"credential": Credential(None)}).fingerprint for _ in range(2)]
    static = [account(env={"AZURE_OPENAI_AD_TOKEN": token}).fingerprint for token in ("one", "two")]
    elsewhere = account({"credential": Credential(None), "base_url": "https://other.example"}).fingerprint
    keys = [account({"api_key": key}).fingerprint for key in ("one", "two")]

    by_itself = [account(env={"AZURE_OPENAI_CREDENTIAL": "default"}), account({"credential": "default"})]
    beside_a_key = account({"api_key": "one"}, env={"AZURE_OPENAI_CREDENTIAL": "default"})

    assert {first, second, *static, *(item.fingerprint for item in by_itself)} == {first}
    assert beside_a_key.fingerprint == keys[0]
    assert len({first, elsewhere, *keys}) == 4


@pytest.mark.parametrize(
    ("config", "env", "headers"),
    [
        ({}, {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_AD_TOKEN": "t"}, {"authorization": "Bearer t"}),
        ({"api_key": "own"}, {"AZURE_OPENAI_AD_TOKEN": "t"}, {"api-key": "own"}),
        ({"credential": Credential(None)}, {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_AD_TOKEN": "t"}, {}),
        ({"credential": "default"}, {"AZURE_OPENAI_API_KEY": "k"}, {}),
        ({}, {"AZURE_OPENAI_CREDENTIAL": "default", "AZURE_OPENAI_API_KEY": "k"}, {}),
        ({"api_key": "own", "credential": None}, {"AZURE_OPENAI_CREDENTIAL": "default"}, {"api-key": "own"}),
    ],
    ids=["token over key", "an own key over all", "a credential", "named", "named outside", "an own key over a name"],
)
def test_what_pays_is_what_is_said_most_clearly(config, env, headers):
    found = account(config, env=env).origin

    assert found.secret_headers == headers
    assert (found.tokens is None) is bool(headers)


@pytest.mark.parametrize("token", ["t\n", "two words\r\nx: y", "é"])
def test_a_token_of_the_environment_that_is_no_header_value_is_refused(token):
    with pytest.raises(ConfigError, match="no header value"):
        account(env={"AZURE_OPENAI_AD_TOKEN": token})


@pytest.mark.parametrize(
    ("config", "facts", "says"),
    [
        ({"api_key": "k", "credential": Credential(None)}, AZURE, "config has api_key and credential"),
        ({"api_key": source_of("a"), "credential": Credential(None)}, AZURE, "config has api_key and credential"),
        ({"credential": Credential(None)}, OPENAI, "does not know what to ask a credential for"),
        ({"credential": "managed"}, AZURE, "credential is 'managed'"),
        ({"credential": 5}, AZURE, "config credential is int, not str"),
        ({"credential": "default"}, OPENAI, "config has no 'credential'"),
        ({"api_key": 5}, AZURE, "config api_key is int, not str"),
    ],
)
def test_what_cannot_be_meant_is_refused(config, facts, says):
    with pytest.raises(ConfigError) as caught:
        account(config, facts=facts)

    assert says in str(caught.value)


def test_without_anything_the_message_names_the_key():
    with pytest.raises(MissingCredentialsError, match="AZURE_OPENAI_API_KEY is not set"):
        account()


async def test_tenants_pay_with_tokens_of_their_own_and_are_told_apart_by_their_names():
    with Emulator(models=["echo-*"], pace={"validating_s": 0, "row_s": 0, "finalizing_s": 0}) as emulator:
        base_url = emulator.base_url("openai")
        sources = {name: source_of(f"token-of-{name}") for name in ("acme", "best")}
        accounts = {name: {"api_key": source, "base_url": base_url} for name, source in sources.items()}
        models = {"providers": {"openai": {"models": [{"match": "echo-*", "modes": ["chat"]}]}}}
        async with BatchClient(accounts=accounts, catalog=load_catalog(models)) as client:
            jobs = [await client.submit(["a"], model="openai/echo-1", account=name) for name in sources]
            for job in jobs:
                await job.wait()
            fingerprints = {job.status().fingerprint for job in jobs}
        creates = {record.account for record in emulator.history if record.kind == "create"}

    assert len(creates) == 2
    assert len(fingerprints) == 2
    assert all(source.asked for source in sources.values())


async def test_an_account_with_neither_key_nor_source_is_refused():
    async with BatchClient(accounts={"acme": {"base_url": RESOURCE, "credential": None}}) as client:
        with pytest.raises(MissingCredentialsError, match="account 'acme' has no API key"):
            await client.submit(["a"], model="azure/d", account="acme")


async def test_what_an_account_has_in_a_keys_place_is_named_by_its_own_kind():
    async with BatchClient(accounts={"acme": {"base_url": RESOURCE, "api_key": 5}}) as client:
        with pytest.raises(ConfigError, match="config api_key is int, not str"):
            await client.submit(["a"], model="azure/d", account="acme")


def test_a_key_of_a_file_is_not_looked_up_where_a_source_or_a_token_is_given(monkeypatch):
    catalog = load_catalog({"providers": {"azure": {"api_key": "${KEY_THAT_IS_NOT_SET}", "base_url": RESOURCE}}})
    sourced = AzureBatchProvider({"credential": Credential(None)}, catalog=catalog).account.origin
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "a-token")
    static = AzureBatchProvider(catalog=catalog).account.origin

    assert sourced.tokens is not None
    assert static.secret_headers == {"authorization": "Bearer a-token"}


async def test_a_credential_may_belong_to_an_account():
    with Emulator(speed=600) as emulator:
        clock = VirtualClock()
        credential = Credential(clock)
        accounts = {"acme": {"credential": credential, "base_url": emulator.base_url("azure")}}
        facts = {"providers": {"azure": {"polling": {"min_interval_s": 1}}}}
        async with BatchClient(accounts=accounts, catalog=load_catalog(facts)) as client:
            job = await client.submit(["hello"], model="azure/d", account="acme")
            rows = [row.text async for row in job.results()]

    assert rows == ["echo: hello"]
    assert credential.scopes


# Credentials that look for themselves


@pytest.fixture
def identity(monkeypatch):
    """A package `azure.identity.aio` whose credentials say when they are opened and closed."""
    life = []

    class DefaultAzureCredential:
        async def __aenter__(self):
            life.append("opened")
            return self

        async def __aexit__(self, *_):
            life.append("closed")

        async def get_token(self, *scopes):
            life.append(scopes)
            return AccessToken("a-token-of-entra", 2_000_000_000)

    module = ModuleType("azure.identity.aio")
    module.DefaultAzureCredential = DefaultAzureCredential
    for name in ("azure", "azure.identity"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "azure.identity.aio", module)
    return life


async def test_what_is_found_by_itself_is_opened_for_each_token_and_closed(identity):
    async with world("azure") as here:
        entra = here._replace(provider=here.scope.create("azure", {"credential": "default", "base_url": here.base_url}))
        _, rows = await entra.run(["a"])

    assert statuses(rows) == {"0000000": "succeeded"}
    assert identity == ["opened", (SCOPE,), "closed"]


async def test_without_its_package_the_extra_is_named_and_nothing_is_sent(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    async with world("azure") as here:
        provider = here.scope.create("azure", {"credential": "default", "base_url": here.base_url})
        with pytest.raises(ProviderPermanentError, match="not installed") as caught:
            await provider.list_statuses()

    assert 'pip install "asyncbatch[azure]"' in caught.value.hint
    assert here.calls("list") == []


async def test_an_address_that_a_server_names_gets_no_token():
    async with world("azure") as here:
        exchange = of(here, Credential(here.clock)).provider.transport._exchange
        call = exchange.call_to("PUT", "https://up.example/x?sig=0123456789", {})
        signed = await exchange.signed(call)
        refused = exchange.can_renew(signed, Answer(401, {}, b""))

    assert signed is call
    assert "authorization" not in {name.lower() for name in signed.headers}
    assert refused is False


# That nobody gets to see one


async def test_no_token_is_seen_anywhere(caplog):
    caplog.set_level(logging.DEBUG)
    former, token = canary("t-"), canary("t-")
    clock = VirtualClock()
    async with world("azure") as here:
        credential = Credential(here.clock, former, token, token)
        entra = of(here, credential)
        provider = entra.provider
        await provider.list_statuses()
        here.clock.advance(HOUR_S)
        await provider.list_statuses()
        things = [
            provider,
            provider.account,
            provider.account.origin,
            provider.account.origin.tokens,
            provider.account.origin.secrets,
            provider.transport,
            provider.transport._exchange,
            await provider.transport._exchange.signed(provider.transport._outset.call("GET", "/batches")),
            provider._argument,
            provider._config,
        ]
        texts = [text for thing in things for text in (*shown(thing), *taken_away(thing))]
        history = repr(here.emulator.history)

    assert virtual_runtime(clock)
    assert leaks("".join(texts), former, token) == []
    assert leaks(caplog.text, former, token) == []
    assert leaks(history, former, token) == []
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(provider.account.origin.tokens)


@pytest.mark.parametrize("age", ["the token", "the one before"])
async def test_a_server_that_quotes_a_token_does_not_get_it_into_an_error(age):
    former, token = canary("t-"), canary("t-")
    said = former if age == "the one before" else token
    quoting = faults.Fault(
        effect=faults.Answer(status=400, body=b'{"error":{"code":"x","message":"no %b"}}' % said.encode()),
        operation="poll",
        times=None,
    )
    async with world("azure", faults=[quoting]) as here:
        entra = of(here, Credential(here.clock, former, token, token))
        await entra.provider.list_statuses()
        here.clock.advance(HOUR_S)
        with pytest.raises(ProviderPermanentError, match=r"no \[secret\]") as caught:
            await entra.provider.poll_status("batch_1")

    assert leaks("".join(everything_about(caught.value)), former, token) == []


async def test_a_failed_batch_that_quotes_a_token_does_not_either():
    token = canary("t-")
    quoting = faults.Fault(
        effect=faults.Rewrite(fields={"errors": {"data": [{"code": "x", "message": f"who is {token}?"}]}}),
        operation="poll",
    )
    async with world("azure", faults=[quoting]) as here:
        entra = of(here, Credential(here.clock, token))
        batch = await entra.start(["a"])
        status = await entra.provider.poll_status(batch.provider_batch_id)

    assert status.error_message == "who is [secret]?"
