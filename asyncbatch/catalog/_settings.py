"""What a user's file says besides facts: key, address, headers, account. The only place where variables are read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from asyncbatch.catalog._facts import NOT_A_URL, ProviderFacts, is_url
from asyncbatch.catalog._read import fail
from asyncbatch.catalog._typed import fields_of, note_unknown, read
from asyncbatch.catalog._yaml import Mistake, Node, join, leaves
from asyncbatch.exceptions import ConfigError
from asyncbatch.secrecy import Hidden, Secret, mask

_KINDS: Mapping[str, Any] = {
    "api_key": str | None,
    "base_url": str | None,
    "headers": dict[str, str] | None,
    "allow_unknown_model": bool,
    "allow_http": bool,
}
SWITCHES = ("allow_unknown_model", "allow_http")
"""Settings that are no secret and no text."""
VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """How a user reaches a provider. None and empty: the file says nothing about it. Never shows a secret.

    Attributes:
        api_key: The key that pays.
        base_url: Another address than the provider's own, without a slash at its end.
        headers: Sent with every call.
        options: The provider's further settings of an account, such as `organization` and `project`.
        allow_unknown_model: Send models that no pattern of the catalog fits.
        allow_http: Send the key over plain http to another machine too.
        token: A token in the key's place, from a variable.
        source: What gives tokens in the key's place, from the caller.
        owner: The account that the source is of.
    """

    api_key: str | None = None
    base_url: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    options: dict[str, str] = field(default_factory=dict[str, str])
    allow_unknown_model: bool = False
    allow_http: bool = False
    token: str | None = None
    source: Any = None
    owner: str = ""

    def __post_init__(self) -> None:
        if self.api_key is not None:
            force_setattr(self, "api_key", Secret(self.api_key))
        if self.token is not None:
            force_setattr(self, "token", Secret(self.token))
        force_setattr(self, "headers", Hidden(self.headers))

    def with_environment(self, facts: ProviderFacts, env: Mapping[str, str]) -> "ProviderSettings":
        """Lay the provider's own variables over the file. What the caller passes as an argument comes over both.

        Raises:
            ConfigError: The variable for the address holds none.
        """
        given = Secret(_first(env, [facts.base_url_env or ""]))
        if given and not is_url(given):
            raise ConfigError(f"variable {facts.base_url_env}: {NOT_A_URL}", code="config.invalid")
        url = Secret(given and facts.below(given.rstrip("/")))
        options = {name: env[option.env] for name, option in facts.options.items() if env.get(option.env)}
        return ProviderSettings(
            api_key=_first(env, facts.credentials.env) or self.api_key,
            base_url=str(url) or self.base_url,
            headers=self.headers,
            options={**self.options, **options},
            allow_unknown_model=self.allow_unknown_model,
            allow_http=self.allow_http,
            token=_first(env, facts.credentials.token_env) or None,
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"ProviderSettings({shown})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override] # rich takes pairs too
        yield "api_key", self.api_key and mask(self.api_key)
        yield "base_url", self.base_url and (self.base_url if is_url(self.base_url) else mask(self.base_url))
        yield "headers", {name: mask(value) for name, value in self.headers.items()}
        yield "options", self.options
        yield "allow_unknown_model", self.allow_unknown_model
        yield "allow_http", self.allow_http


def _first(env: Mapping[str, str], names: Iterable[str]) -> str:
    return next((env[name] for name in names if env.get(name)), "")


def overridden(facts: ProviderFacts, env: Mapping[str, str]) -> set[str]:
    """Name the settings that the provider's own variables have."""
    keys = (*facts.credentials.token_env, *facts.credentials.env)
    variables = {"api_key": keys, "base_url": (facts.base_url_env or "",)}
    variables |= {name: (option.env,) for name, option in facts.options.items()}
    return {key for key, names in variables.items() if any(env.get(name) for name in names)}


def split(section: Node, options: Iterable[str], path: str, mistakes: list[Mistake]) -> tuple[dict[str, Node], Node]:
    """Part a user's section into settings and facts; note the keys that are neither."""
    assert isinstance(section.value, dict)
    names, fields = [*_KINDS, *options], fields_of(ProviderFacts).keys() - {"name"}
    settings: dict[str, Node] = {}
    facts: dict[str, Node] = {}
    for key, node in section.value.items():
        if key in names:
            settings[key] = node
        elif key in fields:
            facts[key] = node
        else:
            note_unknown(node, key, dict.fromkeys((*names, *sorted(fields))), mistakes, at=path)
    return settings, Node(facts, section.place)


def check_settings(settings: Mapping[str, Node], path: str, mistakes: list[Mistake]) -> None:
    """Find what is wrong without looking at any variable."""
    for key, node in settings.items():
        where = join(path, key)
        read(node, _KINDS.get(key, str | None), where, mistakes, secret=key not in SWITCHES)
        for leaf_path, leaf in leaves(node, where):
            if isinstance(leaf.value, str) and "${" in VARIABLE.sub("", leaf.value):
                mistakes.append(Mistake(leaf.place, leaf_path, "${ begins no ${VARIABLE} and no ${VARIABLE:-default}"))
        if key == "base_url" and isinstance(node.value, str) and "${" not in node.value and not is_url(node.value):
            mistakes.append(Mistake(node.place, where, NOT_A_URL))


def read_settings(settings: Mapping[str, Node], path: str, env: Mapping[str, str]) -> ProviderSettings:
    """Read settings that `check_settings` has passed, with their variables filled in.

    Raises:
        ConfigError: A variable is not set, or the address is none.
    """
    mistakes: list[Mistake] = []
    texts = Hidden()
    for key, node in settings.items():
        for where, leaf in leaves(node, key):
            if isinstance(leaf.value, str):
                texts[where] = _fill(leaf.value, env, Mistake(leaf.place, join(path, where), ""), mistakes)
    url = texts.pop("base_url", None)
    if url is not None and not mistakes and not is_url(url):
        mistakes.append(Mistake(settings["base_url"].place, join(path, "base_url"), NOT_A_URL))
    fail(mistakes)
    return ProviderSettings(
        api_key=texts.pop("api_key", None),
        base_url=url and url.rstrip("/"),
        headers={name[8:]: texts.pop(name) for name in list(texts) if name.startswith("headers.")},
        options=dict(texts),
        allow_unknown_model=_is_on(settings, "allow_unknown_model"),
        allow_http=_is_on(settings, "allow_http"),
    )


def _is_on(settings: Mapping[str, Node], name: str) -> bool:
    return name in settings and settings[name].value is True


def _fill(text: str, env: Mapping[str, str], at: Mistake, mistakes: list[Mistake]) -> str:
    def value_of(match: re.Match[str]) -> str:
        value = env.get(match["name"]) or match["default"]
        if value is None:
            mistakes.append(at._replace(message=f"the variable {match['name']} is not set, or empty"))
        return value or ""

    return VARIABLE.sub(value_of, text)
