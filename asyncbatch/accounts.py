"""Whose key pays, and where its calls go: facts, the user's file, the environment and arguments become one account.

The only place that reads credentials from the environment, late, when a call needs them.
"""

import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from asyncbatch.catalog import ProviderFacts, ProviderSettings, WebhookFacts, is_url
from asyncbatch.exceptions import ConfigError, MissingCredentialsError
from asyncbatch.planning.webhooks import is_secret
from asyncbatch.secrecy import Hidden, OfThisProcess, Secret, hide, mask
from asyncbatch.transport import Origin
from asyncbatch.transport.addresses import is_loopback
from asyncbatch.transport.tokens import Source, Tokens, TokenSource, found_by_itself

_SOURCES = ("api_key", "credential")
_DEFAULT = "default"
_BEARER = ("authorization", "Bearer ")
_ONE = "leave one of them out"
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
    source, owner = _taken_out(given, facts)
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
        source=source,
        owner=owner,
        allow_unknown_model=bool(given.get("allow_unknown_model")),
        allow_http=bool(given.get("allow_http")),
    )


class Owned(OfThisProcess):
    """What gives tokens, and the account that it is of: an account is known by its name where its key changes by the hour."""

    __slots__ = ("given", "owner")

    def __init__(self, given: Any, owner: str) -> None:
        self.given = given
        self.owner = owner


def has_source(config: Mapping[str, Any]) -> bool:
    """Whether a config has something that gives tokens, in a key's place or as a credential."""
    return any(config.get(name) and not isinstance(config[name], str) for name in _SOURCES)


def _taken_out(given: Hidden, facts: ProviderFacts) -> tuple[TokenSource | None, str]:
    """Take what gives tokens out of a config: an async function in the key's place, or a credential object."""
    owner, found = "", list[tuple[str, TokenSource]]()
    for name in _SOURCES:
        value = given.get(name)
        if isinstance(value, Owned):
            value, owner = value.given, value.owner
        if name == "api_key" and callable(value):
            found.append((name, Source(cast("TokenSource", value))))
        elif name == "credential" and value is not None and callable(getattr(value, "get_token", None)):
            scope = facts.credentials.token_scope
            if scope is None:
                hint = "an async function in the place of api_key may give tokens"
                message = f"{facts.name} does not know what to ask a credential for"
                raise ConfigError(message, code="config.credential", hint=hint)
            found.append((name, Source(partial(value.get_token, scope))))
        elif name in given:
            given[name] = value
            continue
        given.pop(name, None)
    if len(found) > 1 or (found and any(given.get(name) for name in _SOURCES)):
        raise ConfigError(f"{facts.name}: config has api_key and credential", code="config.credential", hint=_ONE)
    return (found[0][1] if found else None), owner


def resolve_account(
    facts: ProviderFacts,
    file: ProviderSettings,
    argument: ProviderSettings,
    *,
    env: Mapping[str, str] | None = None,
) -> Account:
    """Put an account together: an argument comes over the environment, that over the file, that over the facts.

    Raises:
        MissingCredentialsError: There is no key, or no option without which no call can be made; the message names the variable
            to set.
        ConfigError: The key or the address cannot be one.
    """
    found = file.with_environment(facts, Hidden(os.environ if env is None else env))
    options = _options(facts, found, argument)
    paid = _pay(facts, found, argument, options)
    _check_needed(facts, options)
    base_url = facts.base_url_for(_checked_url(facts, Secret(argument.base_url or found.base_url or "")), options)
    _check_encrypted(facts, base_url, is_allowed=argument.allow_http or found.allow_http)
    chosen = [(option, options[name]) for name, option in facts.options.items() if name in options]
    carried = {option.header: value for option, value in chosen if option.header}
    params = {option.query: value for option, value in chosen if option.query}
    headers = {**facts.headers, **carried}
    # Headers of a user are treated as secrets too: a gateway's token travels in one.
    secret_headers = Hidden({**found.headers, **argument.headers, **paid.headers})
    _check_headers(facts, Hidden({**headers, **secret_headers}))
    origin = Origin(
        base_url=base_url, headers=headers, secret_headers=secret_headers, params=params, tokens=paid.tokens
    )
    # Where tokens come from is no matter of whose they are: that stands in the name.
    told = sorted((name, value) for name, value in options.items() if name not in _SOURCES)
    digest = hashlib.sha256(f"{base_url}\n{paid.name}\n{told}".encode()).hexdigest()
    return Account(origin=origin, fingerprint=digest[:16], options=options)


class _Paid(NamedTuple):
    """What an account pays with: a header that is the same for ever, or what gives one; and the name of that."""

    name: str
    headers: Mapping[str, str] = Hidden()
    tokens: Tokens | None = None


def _pay(
    facts: ProviderFacts, found: ProviderSettings, argument: ProviderSettings, options: Mapping[str, str]
) -> _Paid:
    credentials = facts.credentials
    before = f"{credentials.scheme} " if credentials.scheme else ""
    bearer = credentials.token_scope is not None or bool(credentials.token_env)
    carrier = _BEARER if bearer else (credentials.header, before)
    source = argument.source
    if source is None and not argument.api_key and options.get("credential") and credentials.token_class:
        source = _by_itself(facts, options["credential"])
    if source is not None:
        header, before = carrier
        tokens = Tokens(source, provider=facts.name, header=header, before=before)
        return _Paid(f"tokens of {argument.owner}", tokens=tokens)
    if found.token and not argument.api_key:
        header, before = carrier
        return _Paid("tokens of ", Hidden({header: f"{before}{_checked_key(facts, Secret(found.token))}"}))
    key = _checked_key(facts, Secret(argument.api_key or found.api_key or ""))
    return _Paid(key, Hidden({credentials.header: f"{before}{key}"}))


def _by_itself(facts: ProviderFacts, named: str) -> TokenSource:
    """Give a source for the credentials that the provider's own package looks for by itself."""
    if named != _DEFAULT:
        hint = f'it is "{_DEFAULT}", or in Python an object with get_token'
        raise ConfigError(f"{facts.name}: credential is {named!r}", code="config.credential", hint=hint)
    assert facts.credentials.token_class is not None
    return partial(found_by_itself, facts.name, facts.credentials.token_class, facts.credentials.token_scope)


def _checked_key(facts: ProviderFacts, key: Secret) -> Secret:
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
    return key


def options_of(
    facts: ProviderFacts, file: ProviderSettings, argument: ProviderSettings, *, env: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Give an account's further settings, defaults included, which are known without its key."""
    return _options(facts, file.with_environment(facts, Hidden(os.environ if env is None else env)), argument)


def _options(facts: ProviderFacts, found: ProviderSettings, argument: ProviderSettings) -> dict[str, str]:
    defaults = {name: option.default for name, option in facts.options.items() if option.default}
    return {**defaults, **found.options, **argument.options}


def _check_needed(facts: ProviderFacts, options: Mapping[str, str]) -> None:
    for name, option in facts.options.items():
        if option.is_needed and not options.get(name):
            message = f"there is no {name} for {facts.name}: {option.env} is not set"
            hint = f'export {option.env}=…, or pass config={{"{name}": …}}'
            raise MissingCredentialsError(message, code="auth.missing", hint=hint)


def _checked_url(facts: ProviderFacts, given: str) -> str:
    url = given or facts.base_url
    if url is None:
        message = f"there is no address for {facts.name}: {facts.base_url_env} is not set"
        hint = f'export {facts.base_url_env}=https://…, or pass config={{"base_url": "https://…{facts.base_url_env_path}"}}'
        raise ConfigError(message, code="config.no_base_url", hint=hint)
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
    sources = {name: given[name] for name in _SOURCES if given.get(name) and not isinstance(given[name], str)}
    given = Hidden({**given, **{name: Owned(source, account) for name, source in sources.items()}})
    if not any(given.get(name) for name in _SOURCES):
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
    base_url = _checked_url(facts, Secret(found.base_url or ""))
    _check_encrypted(facts, base_url, is_allowed=found.allow_http)
    return Origin(base_url=base_url)


def _texts(given: Any) -> list[Any]:
    return [hide(text) for text in ([given] if given is None or isinstance(given, str) else given)]
