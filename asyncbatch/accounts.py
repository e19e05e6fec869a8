"""Whose key pays, and where its calls go: facts, the user's file, the environment and arguments become one account.

The only place that reads credentials from the environment, late, when a call needs them.
"""

import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from asyncbatch.catalog import ProviderFacts, ProviderSettings, WebhookFacts, is_url
from asyncbatch.exceptions import ConfigError, MissingCredentialsError
from asyncbatch.planning.webhooks import is_secret
from asyncbatch.secrecy import Hidden, Secret, hide, mask
from asyncbatch.transport import Origin
from asyncbatch.transport.addresses import is_loopback

_SWITCHES = {"allow_unknown_model": bool, "allow_http": bool}
_KNOWN = ("api_key", "base_url", "headers", *_SWITCHES)
_PRINTABLE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


Credentials: TypeAlias = str | Mapping[str, Any]
"""A key, or a provider's `config`; or several of them by the provider's name."""

Accounts: TypeAlias = Mapping[str, Credentials] | Callable[[str], Awaitable[Credentials | None] | Credentials | None]
"""Credentials by the account's name, or a function, async as a rule, that gives them when they are needed."""


WebhookSecrets: TypeAlias = Mapping[str, str | Sequence[str]]
"""The secret of a provider's webhooks by its name, or several while one takes the place of another."""

WebhookAudiences: TypeAlias = Mapping[str, str | Sequence[str]]
"""For whom the tokens of a provider's webhooks are made out, by its name."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account, resolved; its repr shows no secret.

    Attributes:
        origin: Where its calls go and what they carry.
        options: The provider's further settings, defaults included.
        fingerprint: Which key it is, without being it: the journal keeps this.
    """

    origin: Origin
    fingerprint: str
    options: Mapping[str, str] = {}


def settings_from_config(config: object, facts: ProviderFacts) -> ProviderSettings:
    """Read a provider's `config=` argument: api_key, base_url, headers, allow_unknown_model, allow_http, its own options.

    Raises:
        ConfigError: A key that nobody reads, or a value of the wrong type; the value of a key is never shown.
    """
    if config is not None and not isinstance(config, Mapping):
        message = f"{facts.name}: config is {type(config).__name__}, not a mapping"
        raise ConfigError(message, code="config.type", hint='config={"api_key": …}')
    config = given = Hidden(cast("Mapping[str, Any]", config or {}))
    for key in given:
        if key not in (*_KNOWN, *facts.options):
            known = ", ".join((*_KNOWN, *facts.options))
            raise ConfigError(f"{facts.name}: config has no {key!r}", code="config.unknown", hint=f"it knows {known}")
        wanted = {"headers": Mapping, **_SWITCHES}.get(key, str)
        if given[key] is not None and not isinstance(given[key], wanted):
            message = f"{facts.name}: config {key} is {type(given[key]).__name__}, not {wanted.__name__.lower()}"
            raise ConfigError(message, code="config.type")
    headers = cast("Mapping[object, object]", Hidden(given.get("headers") or {}))
    for name in headers:
        if not isinstance(name, str) or not isinstance(headers[name], str):
            raise _unfit_header(facts, name)
    return ProviderSettings(
        api_key=given.get("api_key"),
        base_url=(given.get("base_url") or "").rstrip("/") or None,
        headers=dict(cast("Mapping[str, str]", headers)),
        options={name: given[name] for name in facts.options if given.get(name)},
        **{name: bool(given.get(name)) for name in _SWITCHES},
    )


def resolve_account(
    facts: ProviderFacts,
    file: ProviderSettings,
    argument: ProviderSettings,
    *,
    env: Mapping[str, str] | None = None,
) -> Account:
    """Put an account together: an argument comes over the environment, that over the file, that over the facts.

    Raises:
        MissingCredentialsError: There is no key; the message names the variable to set.
        ConfigError: The key or the address cannot be one.
    """
    found = file.with_environment(facts, Hidden(os.environ if env is None else env))
    key = Secret(argument.api_key or found.api_key or "")
    if not key:
        variable = facts.credentials.env[0] if facts.credentials.env else "api_key"
        raise MissingCredentialsError(
            f"there is no API key for {facts.name}: {variable} is not set",
            code="auth.missing",
            hint=f'export {variable}=…, or pass config={{"api_key": …}}',
        )
    if not _PRINTABLE.fullmatch(key):
        hint = "a line break or a space around it is the usual cause"
        raise ConfigError(
            f"the API key for {facts.name} ({mask(key)}) is no header value", code="auth.malformed", hint=hint
        )
    base_url = _checked_url(facts, Secret(argument.base_url or found.base_url or facts.base_url))
    _check_encrypted(facts, base_url, is_allowed=argument.allow_http or found.allow_http)
    credentials = facts.credentials
    scheme = f"{credentials.scheme} " if credentials.scheme else ""
    defaults = {name: option.default for name, option in facts.options.items() if option.default}
    options = {**defaults, **found.options, **argument.options}
    carried = {
        option.header: options[name] for name, option in facts.options.items() if option.header and name in options
    }
    headers = {**facts.headers, **carried}
    # Headers of a user are treated as secrets too: a gateway's token travels in one.
    secret_headers = Hidden({**found.headers, **argument.headers, credentials.header: f"{scheme}{key}"})
    _check_headers(facts, Hidden({**headers, **secret_headers}))
    origin = Origin(base_url=base_url, headers=headers, secret_headers=secret_headers)
    digest = hashlib.sha256(f"{base_url}\n{key}\n{sorted(options.items())}".encode()).hexdigest()
    return Account(origin=origin, fingerprint=digest[:16], options=options)


def _checked_url(facts: ProviderFacts, url: str) -> str:
    if not is_url(url) or not url.isprintable() or " " in url:
        shown = mask(url) if "@" in url or "?" in url else url  # a password, or a key in a query
        hint = "it looks like https://host/v1, without user, query or fragment"
        raise ConfigError(f"{facts.name}: the base URL {shown!r} is no address", code="config.base_url", hint=hint)
    return str(url).rstrip("/")


def _check_encrypted(facts: ProviderFacts, url: str, *, is_allowed: bool) -> None:
    """Refuse to send a key in clear to another machine, unless somebody answers for the wire between."""
    found = urlsplit(url)  # its scheme comes in small letters, however it was written
    if found.scheme == "http" and not is_allowed and not is_loopback(found.hostname or ""):
        message = f"{facts.name}: the base URL {url!r} is not encrypted, and keys would travel in clear"
        hint = "use https; for a gateway in a network of your own set allow_http: true beside base_url"
        raise ConfigError(message, code="config.plain_http", hint=hint)


def _check_headers(facts: ProviderFacts, headers: Mapping[str, str]) -> None:
    """Refuse what no HTTP header can carry, before a call fails over it in the middle."""
    for name in headers:
        if not _HEADER_NAME.fullmatch(name) or not _PRINTABLE.fullmatch(headers[name] or "-"):
            raise _unfit_header(facts, name)


def _unfit_header(facts: ProviderFacts, name: object) -> ConfigError:
    hint = "headers are printable ASCII, without a line break or a space around them"
    return ConfigError(f"{facts.name}: the header {name!r} cannot be sent", code="config.header", hint=hint)


async def credentials_of(accounts: Accounts | None, account: str | None, provider: str) -> Mapping[str, Any] | None:
    """Give an account's `config` for a provider; None for the environment's own.

    Raises:
        ConfigError: There is no such account.
        MissingCredentialsError: It has no key for this provider.
    """
    if account is None:
        return None
    if accounts is None:
        message = f"account {account!r} was asked for, and the client knows no accounts"
        raise ConfigError(message, code="account.unknown", hint="BatchClient(accounts={name: key})")
    found: Credentials | None = hide(await _look_up(accounts, account))
    if isinstance(found, Mapping) and provider in found:  # a tenant with keys for several providers
        found = hide(found[provider])
    config: Any = hide({"api_key": found} if isinstance(found, str) else found)
    if config is not None and not isinstance(config, Mapping):
        message = f"account {account!r} has credentials of the type {type(config).__name__}"
        found = config = None  # which a traceback would show
        raise ConfigError(message, code="account.type", hint="they are a key, or a mapping with an api_key")
    given = cast("Mapping[str, Any]", config or {})
    if not given.get("api_key"):
        # The environment's key is somebody else's: it never pays for an account that has none.
        message = f"account {account!r} has no API key for {provider}"
        raise MissingCredentialsError(message, code="auth.missing", hint="give it one in accounts=")
    return given


async def _look_up(accounts: Accounts, account: str) -> Credentials | None:
    if callable(accounts):
        answer = accounts(account)
        return await answer if isawaitable(answer) else answer
    if account in accounts:
        return accounts[account]
    known = ", ".join(sorted(accounts)) or "none"
    raise ConfigError(f"there is no account {account!r}", code="account.unknown", hint=f"known are: {known}")


def webhook_secrets(
    given: Any, facts: Mapping[str, WebhookFacts], env: Mapping[str, str] | None = None
) -> Mapping[str, Sequence[str]]:
    """Give the secrets by provider: those that were given, and of the others those in their variable, with spaces between.

    Raises:
        ConfigError: One is no secret, or is of a provider without webhooks; it is not shown.
    """
    given = hide(given)
    if not isinstance(given, Mapping | None):
        message = f"webhook_secrets is {type(given).__name__}, not a mapping"
        raise ConfigError(message, code="webhook.secrets", hint='webhook_secrets={"provider": "whsec_…"}')
    named = Hidden(cast("Mapping[str, Any]", given or {}))
    variables = Hidden(os.environ if env is None else env)
    found = Hidden((name, _texts(variables.get(item.env, "").split())) for name, item in facts.items())
    for name in named:
        if name not in facts:
            known = ", ".join(facts) or "none"
            message = f"webhook_secrets has {name!r}, of which no webhooks are known"
            raise ConfigError(message, code="webhook.provider", hint=f"known are those of: {known}")
        found[name] = _texts(named[name])
    for name in found:
        if not all(isinstance(text, str) and is_secret(text) for text in found[name]):
            hint = f"it looks like whsec_MfKQ…, and comes from webhook_secrets or {facts[name].env}"
            raise ConfigError(f"the webhook secret of {name} is none", code="webhook.secret", hint=hint)
    return Hidden((name, found[name]) for name in found if found[name])


def webhook_audiences(
    given: object, facts: Mapping[str, WebhookFacts], env: Mapping[str, str] | None = None
) -> Mapping[str, Sequence[str]]:
    """Say for whom tokens may be made out, by provider: what was given, and of the others what their variable has.

    Raises:
        ConfigError: One is no text, or is of a provider whose webhooks no token vouches for.
    """
    if not isinstance(given, Mapping | None):
        message = f"webhook_audiences is {type(given).__name__}, not a mapping"
        raise ConfigError(message, code="webhook.audiences", hint='webhook_audiences={"provider": "…"}')
    named, variables = dict(cast("Mapping[str, Any]", given or {})), os.environ if env is None else env
    tokens = {name: item.tokens for name, item in facts.items() if item.tokens is not None}
    for name in named:
        if name not in tokens:
            message = f"webhook_audiences has {name!r}, which signs webhooks with no key of its own"
            hint = f"known are those of: {', '.join(tokens) or 'none'}"
            raise ConfigError(message, code="webhook.provider", hint=hint)
    found = {
        name: _texts(named[name]) if name in named else variables.get(item.audience_env, "").split()
        for name, item in tokens.items()
    }
    for name, texts in found.items():
        if not all(isinstance(text, str) and text for text in texts):
            raise ConfigError(f"the webhook audience of {name} is no text", code="webhook.audience")
    return {name: tuple(texts) for name, texts in found.items() if texts}


def public_origin(facts: ProviderFacts, file: ProviderSettings, *, env: Mapping[str, str] | None = None) -> Origin:
    """Give where a provider's public things stand: its address, as the file or the environment has it, and no key."""
    found = file.with_environment(facts, Hidden(os.environ if env is None else env))
    base_url = _checked_url(facts, Secret(found.base_url or facts.base_url))
    _check_encrypted(facts, base_url, is_allowed=found.allow_http)
    return Origin(base_url=base_url)


def _texts(given: Any) -> list[Any]:
    return [hide(text) for text in ([given] if given is None or isinstance(given, str) else given)]
