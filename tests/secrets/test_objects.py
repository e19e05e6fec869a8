"""No object of ours shows a key, and none takes one along: into a copy that shows it, a pickle, another process."""

import base64
import copy
import inspect
import pickle

import pytest

import asyncbatch
from asyncbatch import (
    AsyncBatchError,
    BatchClient,
    BatchPoller,
    BatchProviderRegistry,
    Http,
    ProviderTransientError,
    SignedPost,
    batch_provider_registry,
    exceptions,
    load_catalog,
)
from asyncbatch.emulator import Emulator
from asyncbatch.emulator.upstream import Upstream
from asyncbatch.engine.payers import KeptKeys
from asyncbatch.secrecy import Hidden, Secret, Unseen
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.transport import Answer, Profile
from tests.secrets.canaries import canary, leaks, shown, taken_away

KEY, GATEWAY, ENV, PASSWORD = canary("sk-"), canary("gw-"), canary("sk-env-"), canary()
SIGNING = "whsec_" + base64.b64encode(canary().encode()).decode()
CANARIES = (KEY, GATEWAY, ENV, PASSWORD, SIGNING)
PROVIDERS = ("anthropic", "gemini", "mistral", "openai")
VALUES = (str, bytes, bool)


@pytest.fixture
async def things(monkeypatch):
    """One of everything that a program may hold in its hand, made with keys, and what stands behind it."""
    for name in PROVIDERS:
        monkeypatch.setenv(f"{name.upper()}_API_KEY", ENV)
    config = {"api_key": KEY, "headers": {"X-Gateway": GATEWAY}}
    catalog = load_catalog({"providers": dict.fromkeys(PROVIDERS, config)})
    http = Http(proxy=f"http://user:{PASSWORD}@127.0.0.1:9")
    clock = VirtualClock()
    runtime = virtual_runtime(clock)
    with Emulator(clock=clock.now) as emulator:
        monkeypatch.setenv("OPENAI_BASE_URL", emulator.base_url("openai"))
        accounts = {"acme": config, "own": KEY}
        async with (
            BatchProviderRegistry().open(catalog=catalog, http=http, runtime=runtime) as scope,
            BatchPoller(runtime=runtime) as poller,
            BatchClient(accounts=accounts, webhook_secrets={"openai": SIGNING}, runtime=runtime) as client,
        ):
            post = SignedPost(f"https://hooks.example/x?signature={KEY}", secret=SIGNING)
            client.on("job_ended", post)
            events = client.events()
            job = await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme", key="k")
            await job.wait()
            provider = scope.create("openai", config)
            transport = provider.transport
            yield {
                "catalog": catalog,
                "settings": catalog.settings("openai"),
                "http": http,
                "scope": scope,
                "context of a scope": scope.context,
                "sessions": scope.context.sessions,
                "options of a call": scope.context.sessions.options(Profile.POLL),
                "poller": poller,
                "client": client,
                "payers": client._payers,
                "payer's keys": KeptKeys(lambda name: KEY, runtime),
                "webhooks": client._webhooks,
                "desk": client._desk,
                "journal": client._journal,
                "owner": client._owner,
                "limits": client._limits,
                "events": events,
                "job": job,
                "status of a job": job.status(),
                "results": job.results(),
                "page": job.results(limit=5),
                "rows": [row async for row in job.results()],
                "record": job._run.record,
                "records": [part.record for part in job._run.parts],
                "runs": job._run,
                "receipt": await client.webhook({"webhook-id": "m", "webhook-signature": SIGNING}, b"{}"),
                "signed post": post,
                "registry": batch_provider_registry,
                "upstream": Upstream("http://127.0.0.1:9/v1", KEY),
                "emulator": emulator,
                "history": emulator.history,
                "an answer": Answer(401, {"x-request-id": "r"}, KEY.encode()),
                "a secret": [Secret(KEY)],
                "hidden": Hidden({"api_key": KEY}),
                "unseen": Unseen(KEY.encode()),
                "account": provider.account,
                "origin": provider.account.origin,
                "secrets": provider.account.origin.secrets,
                "transport": transport,
                "exchange": transport._exchange,
                "outset": transport._outset,
                "call": transport._outset.call("GET", "/batches"),
                "call to an address": transport._exchange.call_to("PUT", f"https://up.example/?s={KEY}", {}),
                "argument": provider._argument,
                "config": provider._config,
                **{f"provider {name}": scope.create(name, config) for name in PROVIDERS},
                **{f"handle {name}": poller.watch(scope.create(name, config), "b") for name in PROVIDERS},
                **{f"stream {name}": scope.create(name, config).fetch_results("b") for name in PROVIDERS},
            }


async def test_no_object_shows_a_secret(things):
    assert len(things) > 50
    for name, thing in things.items():
        for text in shown(thing) if name != "call to an address" else [repr(thing)]:
            assert leaks(text, *CANARIES) == [], (name, text)

    assert leaks(str(dict(things["origin"].secret_headers)), *CANARIES) == [KEY, GATEWAY], "they are there"


async def test_no_object_takes_a_secret_along(things):
    for name, thing in things.items():
        if name in ("unseen", "an answer", "call to an address"):  # what others sent, which is ours to hide alone
            continue
        for text in taken_away(thing):
            assert leaks(text, *CANARIES) == [], (name, text)


OF_THIS_PROCESS = (
    *(
        "client",
        "poller",
        "scope",
        "registry",
        "catalog",
        "job",
        "results",
        "page",
        "events",
        "signed post",
        "transport",
    ),
    *(f"{kind} {name}" for kind in ("provider", "handle", "stream") for name in PROVIDERS),
)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda take: take.__name__)
async def test_what_lives_in_a_process_says_so_when_it_is_to_leave_it(things, take):
    for name in OF_THIS_PROCESS:
        with pytest.raises(TypeError, match="cannot be pickled or copied: ") as caught:
            take(things[name])
        assert type(things[name]).__name__ in str(caught.value)


@pytest.mark.parametrize("name", ["http", "settings", "account", "origin", "call", "hidden", "a secret", "secrets"])
async def test_what_holds_a_key_is_not_pickled_and_says_why(things, name):
    with pytest.raises(TypeError, match="cannot be pickled or copied: "):
        pickle.dumps(things[name])


def test_what_holds_no_key_is_pickled_as_ever():
    http = Http(proxy="http://127.0.0.1:9", read_s=7.0)
    settings = load_catalog({"providers": {"openai": {"base_url": "http://127.0.0.1:9"}}}).settings("openai")

    assert pickle.loads(pickle.dumps(http)) == http
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert pickle.loads(pickle.dumps((Hidden(), Secret(), Unseen(b"x")))) == ({}, "", b"x")


def test_copies_of_what_holds_a_key_have_it_and_hide_it_as_well():
    http = Http(proxy=f"http://user:{PASSWORD}@127.0.0.1:9")
    hidden = Hidden({"api_key": Secret(KEY)})
    for take in (copy.copy, copy.deepcopy):
        again = take(http), take(hidden), take(Secret(KEY))
        assert again == (http, hidden, KEY)
        assert leaks(repr(again), *CANARIES) == []


async def test_what_users_hold_is_looked_at_here(things):
    """Whatever the package offers is a value without a key, an error, or among the things above."""
    looked_at = {type(thing) for thing in things.values()}
    for name in asyncbatch.__all__:
        offered = getattr(asyncbatch, name)
        if not inspect.isclass(offered) or issubclass(offered, AsyncBatchError) or inspect.isabstract(offered):
            continue
        holds_nothing = offered.__module__.startswith(("asyncbatch.dto", "asyncbatch.enums", "asyncbatch.planning"))
        is_event = offered.__module__ in ("asyncbatch.watching.events", "asyncbatch.watching.statistics")
        assert holds_nothing or is_event or offered in looked_at or name in KNOWN, name


KNOWN = {
    *("BatchView", "JobEvent", "RowProblem", "Runtime", "WebhookReceipt"),
    *("BatchErrorItem", "RowError", "ToolCall", "UsageInfo", "BatchProviderRegistry"),
}
"""Values whose fields are texts of the journal or of a row, and what makes others."""


def raised():
    for name, kind in vars(exceptions).items():
        if not inspect.isclass(kind) or not issubclass(kind, AsyncBatchError):
            continue
        if name == "InvalidRequestsError":
            yield kind([exceptions.RowProblem(0, "r", "nan", "it holds NaN")], hint="mend it")
        elif name == "BudgetExceededError":
            yield kind("too much", budget="usd_per_day", account="a", limit=1.0, used=1.0, asked=1.0, retry_after_s=7.0)
        elif issubclass(kind, exceptions.ProviderError):
            yield kind("m", provider="p", status=401, code="c", request_id="r", retry_after=1.0, hint="h", is_auth=True)
        else:
            yield kind("m", code="c", hint="h")


@pytest.mark.parametrize("error", list(raised()), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_comes_through_the_border_of_a_process_whole(error, protocol):
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.args == error.args


def test_an_error_with_notes_and_a_cause_leaves_the_traceback_behind():
    error = ProviderTransientError("m")
    error.add_note("seen")
    again = pickle.loads(pickle.dumps(error))

    assert again.__notes__ == ["seen"]
    assert again.__traceback__ is None
