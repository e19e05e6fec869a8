"""`asyncbatch doctor`: looks at an account with questions that change nothing, and says in words what is wrong.

It sends nothing but GETs: no file, no batch. What cannot be known without a create, it does not say.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, NamedTuple

import anyio

from asyncbatch import (
    BaseBatchProvider,
    BatchMode,
    ConfigError,
    MissingCredentialsError,
    Retry,
    batch_provider_registry,
)
from asyncbatch.catalog import Catalog, unknown_model_hint
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import Exit
from asyncbatch.cli.talk import Talk
from asyncbatch.enums import InputMode
from asyncbatch.exceptions import ProviderError

_NO_ROUTE = frozenset({404, 405, 501})
_NO_BATCHES = (
    "a server may speak the rest of the protocol and have no batches; does the base URL end as it should, in /v1?"
)
_SKEW_S = 30.0
"""A clock that is off by more costs waiting for a lost create, and makes the times that are shown wrong."""


class Finding(NamedTuple):
    """What one look found.

    Attributes:
        check: What was looked at.
        verdict: `ok`; `note`: it works, and should be known; `wrong`: batches will not go.
        says: In words.
        hint: What to do.
    """

    check: str
    verdict: Literal["ok", "note", "wrong"]
    says: str
    hint: str | None = None


def examine_account(name: str, config: str | None, talk: Talk) -> int:
    """Look at the account of a provider, and at a model if one is named."""
    provider, _, model = name.partition("/")
    catalog = load_config(config)
    findings = anyio.run(_examined, catalog, provider, model, talk)
    if talk.form != "text":
        talk.document("doctor", provider=provider, model=model or None, findings=[item._asdict() for item in findings])
    wrong = [item.check for item in findings if item.verdict == "wrong"]
    if not wrong:
        talk.say("nothing is wrong that can be seen without sending a batch")
        return Exit.OK
    return Exit.NOT_AUTHENTICATED if wrong == ["key"] else Exit.FAILED


async def _examined(catalog: Catalog, name: str, model: str, talk: Talk) -> list[Finding]:
    found: list[Finding] = []
    async with batch_provider_registry.open(catalog=catalog, retry=Retry(attempts=2)) as scope:
        async for finding in examine(scope.create(name), model):
            found.append(finding)
            if talk.form == "text":
                sign = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[finding.verdict]
                talk.tell(f"{sign} {finding.check}: {finding.says}")
                if finding.hint:
                    talk.tell(f"      {finding.hint}".replace("\n", "\n      "))
    return found


async def examine(provider: BaseBatchProvider, model: str = "") -> AsyncIterator[Finding]:
    """Look at one thing after the other; what makes the rest pointless ends it."""
    if not provider.has_facts:
        yield Finding(
            "facts", "note", f"there are none about {provider.PROVIDER_NAME}: only its own code knows its account"
        )
        return
    if model:
        yield _model_in_catalog(provider, model)
    key = _key(provider)
    yield key
    if key.verdict == "wrong":
        return
    batches = await _route(provider, "batches", lambda: provider.list_statuses(limit=1))
    yield batches
    if batches.check == "key" or (batches.verdict == "wrong" and batches.hint != _NO_BATCHES):
        return
    if InputMode.FILE in provider.facts.inputs:
        yield await _route(provider, "files", lambda: provider.list_files(limit=1))
    yield await _models(provider, model)
    yield _clock(provider)


def _model_in_catalog(provider: BaseBatchProvider, model: str) -> Finding:
    facts = provider.facts
    known = facts.model(model)
    if known is None:
        hint = unknown_model_hint(facts, model, BatchMode.CHAT)
        return Finding(
            "model", "wrong", f"no pattern fits {model}: it is refused before anything is sent", f"allow it:\n{hint}"
        )
    price = facts.price_of(model)
    cost = f"${price.input_usd:g} for a million tokens in" if price else "its price is not known"
    return Finding("model", "ok", f"{model} takes {', '.join(mode.value for mode in known.modes)}; {cost}")


def _key(provider: BaseBatchProvider) -> Finding:
    try:
        origin = provider.account.origin
    except MissingCredentialsError as error:
        return Finding("key", "wrong", error.message, error.hint)
    except ConfigError as error:
        return Finding("settings", "wrong", error.message, error.hint)
    return Finding("key", "ok", f"there is one, for {origin.base_url}")


async def _route(provider: BaseBatchProvider, what: str, ask: Callable[[], Awaitable[Any]]) -> Finding:
    try:
        await ask()
    except ProviderError as error:
        return _trouble(provider, what, error)
    return Finding(what, "ok", f"the list of {what} can be read")


def _trouble(provider: BaseBatchProvider, what: str, error: ProviderError) -> Finding:
    address = provider.account.origin.base_url
    if error.code == "unsupported":
        return Finding(what, "note", error.message)
    if error.status == 403 and not _is_about_the_key(provider, error):
        hint = "a key may be allowed to create batches and not to list them; a lost create cannot be looked for with it then"
        return Finding(what, "note", f"the key may not list {what}: {error.message}", hint)
    if error.is_auth:
        return Finding("key", "wrong", f"it is refused: {error.message}", error.hint)
    if error.status in _NO_ROUTE:
        return Finding(
            what, "wrong", f"there is no list of {what} at {address}: it was answered {error.status}", _NO_BATCHES
        )
    if error.status == 429:
        return Finding(what, "note", f"the account is throttled just now: {error.message}", error.hint)
    return Finding(what, "wrong", error.message, error.hint)


def _is_about_the_key(provider: BaseBatchProvider, error: ProviderError) -> bool:
    """Whether the provider says by a word of its own that the key is no key; a 403 alone may mean what it may not do."""
    rules = provider.facts.errors
    return any(rule.auth and rule.fits(error.status or 0, error.code, None) for rule in rules)


async def _models(provider: BaseBatchProvider, model: str) -> Finding:
    try:
        names = await provider.list_models()
    except ProviderError as error:
        return Finding("models", "note", f"their list cannot be read: {error.message}", error.hint)
    if names is None:
        return Finding("models", "note", f"{provider.PROVIDER_NAME} has no list of them")
    if model and model not in names:
        hint = "an alias, a fine-tune or a deployment may not be listed; otherwise look at the name and at what the key may use"
        return Finding("models", "note", f"{model} is not among the {len(names)} that this key is shown", hint)
    return Finding("models", "ok", f"{model} is listed" if model else f"{len(names)} are listed")


def _clock(provider: BaseBatchProvider) -> Finding:
    transport = provider.transport
    off_s = max(transport.lead_s, transport.lag_s)
    if off_s > _SKEW_S:
        side = "ahead of" if transport.lead_s > transport.lag_s else "behind"
        return Finding("clock", "note", f"ours is {off_s:.0f} s {side} the server's", "set the clock of this machine")
    return Finding("clock", "ok", "it agrees with the server's")
