"""Whatever a user gets wrong, and wherever a key stands by mistake, the error names the place and never the key."""

import asyncio
import base64
import logging

import pytest

from asyncbatch import (
    AsyncBatchError,
    BatchClient,
    BatchMode,
    BatchPoller,
    BatchProviderRegistry,
    Http,
    SignedPost,
    load_catalog,
)
from asyncbatch.accounts import webhook_secrets
from asyncbatch.planning.webhooks import Genuine, verify
from tests.providers.world import JOB
from tests.secrets.canaries import canary, everything_about, leaks

KEY, OTHER, ENV = canary("sk-"), canary("sk-"), canary("sk-env-")
SIGNING = "whsec_" + base64.b64encode(canary().encode()).decode()
CANARIES = (KEY, OTHER, ENV, SIGNING)
PROVIDERS = {"anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash", "mistral": "mistral-small-latest"}
NOWHERE = "http://127.0.0.1:9"


async def use(name, config, catalog=None):
    async with BatchProviderRegistry().open(catalog=catalog) as scope:
        await scope.create(name, config).poll_status("b1")


def config_mistakes(name):
    """What may stand in a provider's `config=`, with a key in the wrong place or shape."""
    fine = {"api_key": KEY, "base_url": NOWHERE}
    return {
        "an unknown word": {**fine, "apikey": OTHER},
        "a key in a list": {"api_key": [KEY]},
        "a key in bytes": {"api_key": KEY.encode()},
        "a key with a line break": {**fine, "api_key": f"{KEY}\n"},
        "a key with a space": {**fine, "api_key": f" {KEY}"},
        "a key beyond ASCII": {**fine, "api_key": f"{KEY}é"},
        "a key with a null": {**fine, "api_key": f"{KEY}\0"},
        "headers that are a text": {**fine, "headers": OTHER},
        "headers in a list": {**fine, "headers": [OTHER]},
        "a header in bytes": {**fine, "headers": {"X": OTHER.encode()}},
        "a header with a line break": {**fine, "headers": {"X": f"{OTHER}\r\nY: z"}},
        "a header with a half character": {**fine, "headers": {"X": f"{OTHER}\ud800"}},
        "a key as a header's name": {**fine, "headers": {f"X {OTHER[:3]}": OTHER}},
        "a password in the address": {**fine, "base_url": f"https://u:{KEY}@127.0.0.1/v1"},
        "a user in the address": {**fine, "base_url": f"https://{KEY}@127.0.0.1/v1"},
        "a key in the query": {**fine, "base_url": f"https://127.0.0.1/v1?key={KEY}"},
        "a key behind a hash": {**fine, "base_url": f"https://127.0.0.1/v1#{KEY}"},
        "an address with a space": {**fine, "base_url": f"https://u:{KEY}@127.0.0.1/ v1"},
        "an address in clear": {**fine, "base_url": "http://192.0.2.1/v1"},
        "nobody listens": fine,
        "a key alone": KEY,
    }


def file_mistakes(name):
    """What may stand in a user's file."""

    def section(**words):
        return {"providers": {name: words}}

    return {
        "an unknown word": section(apikey=KEY),
        "a key in a list": section(api_key=[KEY]),
        "a key in a mapping": section(api_key={KEY: KEY}),
        "a key that is a number": section(api_key=7, headers={"x": KEY}),
        "an open variable": section(api_key=f"${{{KEY}"),
        "a password in the address": section(base_url=f"https://u:{KEY}@h"),
        "headers that are a text": section(headers=KEY),
        "a section that is a key": {"providers": {name: KEY}},
        "providers that are a key": {"providers": KEY},
    }


YAML = {
    "a quote that is open": 'providers:\n  openai:\n    api_key: "{key}\n',
    "a tab": "providers:\n\topenai: {{api_key: {key}}}\n",
    "an unknown tag": "providers: {{openai: {{api_key: !!python/object:os.system {key}}}}}\n",
    "a key twice": "providers:\n  openai:\n    api_key: {key}\n    api_key: {key}\n",
    "an alias": "providers:\n  openai: {{api_key: *{key}}}\n",
    "a bracket that is open": "providers: {{openai: {{api_key: {key}\n",
    "a list": "- {key}\n",
    "a control character": "providers: {{openai: {{api_key: {key}\x07}}}}\n",
    "no UTF-8": b"providers: {{openai: {{api_key: {key}\xff}}}}\n",
    "a key as the key of a key": "providers: {{openai: {{? {{{key}: x}} : y}}}}\n",
}


def bad_secret(secret):
    return lambda: webhook_secrets({"openai": secret}, {"openai": load_catalog().provider("openai").webhooks})


WEBHOOKS = {
    "a secret without a prefix": bad_secret(KEY),
    "a secret that is no base64": bad_secret(f"whsec_{KEY}!"),
    "a secret in bytes": bad_secret(SIGNING.encode()),
    "one of two is none": bad_secret([SIGNING, KEY]),
    "a provider without webhooks": lambda: webhook_secrets({"nobody": SIGNING}, {}),
    "secrets that are a text": lambda: webhook_secrets(SIGNING, {}),
    "a post without a secret": lambda: SignedPost("https://hooks.example/x", secret=KEY),
    "a post to a key": lambda: SignedPost(KEY, secret=SIGNING),
    "a post with a password": lambda: SignedPost(f"https://u:{KEY}@hooks.example/", secret=SIGNING),
    "a post in clear with a key": lambda: SignedPost(f"http://hooks.example/{KEY}?k={KEY}", secret=SIGNING),
    "a post inside with a key": lambda: SignedPost(f"https://10.0.0.1/{KEY}?k={KEY}", secret=SIGNING),
    "a post to brackets": lambda: SignedPost(f"https://[{KEY}]/", secret=SIGNING),
    "a proxy with a password and no place": lambda: Http(proxy=f"http://u:{KEY}@h", limit_per_host=0),
}


async def refuse(name):
    raise AsyncBatchError(f"no account {name}")


class Vault:
    """Gives nonsense, as an application's `accounts=` may."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, name):
        return self.answer


NONSENSE = {
    "a key with a line break": f"{KEY}\n",
    "a key in bytes": KEY.encode(),
    "a key in a list": [KEY],
    "a key in a tuple": (KEY, KEY),
    "a key under another name": {"key": KEY},
    "a key of another provider": {"mistral": KEY},
    "a key that is a mapping": {"api_key": {"value": KEY}},
    "a key with unknown words": {"api_key": KEY, "secret": OTHER},
    "a header that cannot be": {"api_key": KEY, "headers": {"X": f"{OTHER}\n"}},
    "an address that is none": {"api_key": KEY, "base_url": f"https://{OTHER}@h/"},
    "a mapping of texts": {"openai": {"api_key": KEY, "nested": {"api_key": OTHER}}},
    "a set": {KEY},
    "an object": Http(proxy=f"http://u:{KEY}@h"),
}


async def ask(accounts):
    async with BatchClient(accounts=accounts) as client:
        await client.submit(["hi"], model="openai/gpt-4.1-mini", account="acme")


async def outside_of_its_scope():
    async with BatchProviderRegistry().open() as scope:
        provider = scope.create("openai", {"api_key": KEY})
    await provider.poll_status("b1")


async def unknown_provider():
    async with BatchProviderRegistry().open() as scope:
        scope.create("opnai", {"api_key": KEY})


async def after_the_poller():
    async with BatchProviderRegistry().open() as scope, BatchPoller() as poller:
        handle = poller.watch(scope.create("openai", {"api_key": KEY, "base_url": NOWHERE}), "b1")
    await handle


async def unfit_requests(name, model):
    async with BatchProviderRegistry().open() as scope:
        provider = scope.create(name, {"api_key": KEY})
        await provider.prepare_payloads(batch_id=JOB, model=model, mode=BatchMode.CHAT, requests=[7, {"model": None}])


def _all():
    models = {**PROVIDERS, "openai": "gpt-4.1-mini"}
    for name, model in models.items():
        for what, config in config_mistakes(name).items():
            yield f"{name}: config: {what}", lambda name=name, config=config: use(name, config)
        for what, config in file_mistakes(name).items():
            yield f"{name}: file: {what}", lambda config=config: load_catalog(config)
        yield f"{name}: unfit requests", lambda name=name, model=model: unfit_requests(name, model)
        for steers in ("../b", "b/../../x", "b?x=1", "b#x", "", "b\r\nX: y"):
            yield f"{name}: an id that steers, {steers!r}", lambda name=name, id_=steers: steered(name, id_)
    for what, call in WEBHOOKS.items():
        yield f"webhooks: {what}", call
    for what, answer in NONSENSE.items():
        yield f"accounts: {what}", lambda answer=answer: ask(Vault(answer))
        yield f"accounts by name: {what}", lambda answer=answer: ask({"acme": answer})
    yield "accounts: another name", lambda: ask({"other": KEY})
    yield "accounts: an error of ours", lambda: ask(refuse)
    yield "scope: outside of it", outside_of_its_scope
    yield "scope: an unknown provider", unknown_provider
    yield "poller: after it", after_the_poller


async def steered(name, batch_id):
    async with BatchProviderRegistry().open() as scope:
        await scope.create(name, {"api_key": KEY, "base_url": NOWHERE}).poll_status(batch_id)


MISTAKES = dict(_all())


async def made(mistake):
    found = mistake()
    if asyncio.iscoroutine(found):
        await found


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_no_mistake_shows_a_secret(mistake, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", ENV)
    with pytest.raises(AsyncBatchError) as caught:
        await made(MISTAKES[mistake])

    for text in [*everything_about(caught.value), caplog.text]:
        assert leaks(text, *CANARIES) == [], text


@pytest.mark.parametrize("what", YAML)
def test_no_file_that_cannot_be_read_shows_a_key_that_stands_in_it(what, tmp_path):
    text = YAML[what]
    path = tmp_path / "llm_config.yaml"
    if isinstance(text, bytes):
        path.write_bytes(text.replace(b"{{", b"{").replace(b"}}", b"}").replace(b"{key}", KEY.encode()))
    else:
        path.write_text(text.format(key=KEY), encoding="utf-8")
    with pytest.raises(AsyncBatchError) as caught:
        load_catalog(path)

    for shown in everything_about(caught.value):
        assert leaks(shown, *CANARIES) == [], shown


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "MISTRAL_BASE_URL"])
async def test_an_address_of_the_environment_with_a_password_is_not_shown(variable, monkeypatch):
    name = variable.partition("_")[0]
    monkeypatch.setenv(f"{name}_API_KEY", ENV)
    facts = load_catalog().provider(name.lower())
    monkeypatch.setenv(facts.base_url_env or variable, f"https://u:{KEY}@127.0.0.1/")
    with pytest.raises(AsyncBatchError) as caught:
        await use(name.lower(), {})

    for shown in everything_about(caught.value):
        assert leaks(shown, *CANARIES) == [], shown


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff", b"[" * 100_000])
def test_a_webhook_that_is_refused_shows_neither_the_secret_nor_what_it_was_signed_with(body):
    headers = {"webhook-id": KEY, "webhook-timestamp": "1800000000", "webhook-signature": f"v1,{OTHER} v1,{SIGNING}"}
    found = verify(headers, body, {"openai": [SIGNING]}, 1_800_000_000.0)

    assert not isinstance(found, Genuine)
    assert leaks(repr(found), *CANARIES) == []
