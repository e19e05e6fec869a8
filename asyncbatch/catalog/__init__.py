"""YAML facts to typed records, a user's file laid over them, and a file and line in every error.

What is known about a provider stands in `asyncbatch/providers/<name>.yaml`; a user's `llm_config.yaml` may add to it or
change it. Nothing else is opened, and nothing is opened at import. Everything here that opens a file is an ordinary
function: on an event loop, hand it to a thread.
"""

import functools
import os
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from asyncbatch.catalog._abilities import cannot_of
from asyncbatch.catalog._facts import (
    Credentials,
    EndpointFacts,
    ErrorRule,
    Limit,
    Limits,
    ModelFacts,
    Option,
    Polling,
    Price,
    ProviderFacts,
    is_url,
)
from asyncbatch.catalog._like import LIKE, WHOLE, base_for, note_without_address
from asyncbatch.catalog._origins import Origin, describe
from asyncbatch.catalog._read import fail, lower_status, overlay, read_facts, unknown_model_hint
from asyncbatch.catalog._retention import Expiry, Retention
from asyncbatch.catalog._settings import (
    ProviderSettings,
    check_settings,
    overridden,
    read_settings,
    split,
)
from asyncbatch.catalog._typed import kind_of, nearest, note_unknown
from asyncbatch.catalog._webhooks import WebhookFacts
from asyncbatch.catalog._wire import Windows, Wire
from asyncbatch.catalog._yaml import Mistake, Node, Place, from_python, parse
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ConfigError, ProviderNotRegisteredError
from asyncbatch.secrecy import Hidden, OfThisProcess, Veil

__all__ = [
    "Catalog",
    "Credentials",
    "EndpointFacts",
    "ErrorRule",
    "Expiry",
    "Limit",
    "Limits",
    "ModelFacts",
    "Option",
    "Origin",
    "Polling",
    "Price",
    "ProviderFacts",
    "ProviderSettings",
    "Retention",
    "WebhookFacts",
    "Windows",
    "Wire",
    "builtin_names",
    "cannot_of",
    "describe_origins",
    "find_config",
    "is_url",
    "load_catalog",
    "load_facts",
    "normalize_provider_status",
    "unknown_model_hint",
]

CONFIG_NAME = "llm_config.yaml"
CONFIG_VARIABLE = "ASYNCBATCH_CONFIG"

# So near to a built-in name that it is a slip of the pen and no provider of somebody else's.
_TYPO = 0.85

_PROVIDERS = resources.files("asyncbatch").joinpath("providers")


class _Entry(NamedTuple):
    """A provider as the catalog holds it: its facts, what they and the settings were read from, and whom it is like."""

    facts: ProviderFacts
    tree: Node
    settings: Mapping[str, Node]
    like: str | None = None


class Catalog(OfThisProcess):
    """The facts about every provider, with one user's file laid over them. Made by `load_catalog`; never changes.

    Variables in the file are looked up when `settings` is asked, so a file may name keys that only some machines have.
    """

    ELSEWHERE = "there may be keys in it; load_catalog(…) where it is needed"

    def __init__(self, entries: Mapping[str, _Entry], waiting: Mapping[str, Node], env: Mapping[str, str]) -> None:
        self._entries = entries
        self._waiting = waiting
        self._env = Veil(env)

    def names(self) -> tuple[str, ...]:
        """Name the providers whose facts are here."""
        return tuple(sorted({*builtin_names(), *self._entries}))

    @property
    def unused(self) -> tuple[str, ...]:
        """Providers that the user's file speaks of and nobody has brought facts for."""
        return tuple(self._waiting)

    def provider(self, name: str) -> ProviderFacts:
        """Give the facts about a provider, the user's changes applied.

        Raises:
            ConfigError: There are no facts under this name.
        """
        return self._entry(name).facts

    def like(self, name: str) -> str | None:
        """Name the provider whose protocol one speaks that only the user's file knows; None of any other."""
        entry = self._entries.get(name)
        return entry.like if entry is not None else None

    def settings(self, name: str, *, given: Collection[str] = ()) -> ProviderSettings:
        """Give what the user's file says about reaching a provider.

        Args:
            name: The provider.
            given: Settings that the caller has from elsewhere, and that need not be read. Those that the environment has
                are left out as well: it wins over the file, whose own variables then need not be set.

        Raises:
            ConfigError: There are no facts under this name, or a variable is not set.
        """
        entry = self._entry(name)
        known = {*given, *overridden(entry.facts, self._env)}
        wanted = {key: node for key, node in entry.settings.items() if key not in known}
        return read_settings(wanted, f"providers.{name}", Hidden(self._env))

    def with_facts(self, text: str, *, file: str) -> "Catalog":
        """Add a provider from elsewhere, whose YAML stands beside its own module; the user's file is laid over it.

        Args:
            text: The YAML.
            file: Its name, for errors.

        Raises:
            ConfigError: The YAML, or what the user's file says about this provider, is wrong.
        """
        base = _parse_facts(text, file)
        mistakes: list[Mistake] = []
        over = self._waiting.get(base.facts.name)
        entry = _overlaid(base, over, mistakes) if over else base
        fail(mistakes)
        waiting = {name: node for name, node in self._waiting.items() if name != base.facts.name}
        return Catalog({**self._entries, base.facts.name: entry}, waiting, self._env)

    def origins(self, name: str) -> tuple[Origin, ...]:
        """Give each setting and fact of a provider with the place it came from, fit to be shown."""
        entry = self._entry(name)
        return tuple(describe(entry.facts, entry.tree, entry.settings, self._env))

    def _entry(self, name: str) -> _Entry:
        if name in self._entries:
            return self._entries[name]
        if name in builtin_names():
            return _builtin(name)
        raise ConfigError(
            f"there are no facts about a provider {name!r}{nearest(name, self.names())}", code="provider.unknown"
        )


def load_catalog(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None, *, env: Mapping[str, str] | None = None
) -> Catalog:
    """Load the built-in facts, with a user's file laid over them.

    Args:
        config: A YAML file, or the same as a mapping. None: the built-in facts alone. No file is looked for.
        env: Where `${VARIABLE}` is looked up; the process's environment by default.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong. All its mistakes are named.
    """
    if isinstance(config, Mapping):
        config = Hidden(config)
    root, mistakes = _read_config(config)
    entries: dict[str, _Entry] = {}
    waiting: dict[str, Node] = {}
    for name, section in _sections(root, mistakes):
        if name in builtin_names():
            _note_like(name, section, mistakes)
            entries[name] = _overlaid(_builtin(name), section, mistakes)
        elif isinstance(section.value, dict) and LIKE in section.value:
            entry = _liked(name, section, mistakes)
            entries |= {name: entry} if entry is not None else {}
        elif near := get_close_matches(name, builtin_names(), n=1, cutoff=_TYPO):
            message = f"unknown provider; did you mean {near[0]!r}?"
            mistakes.append(Mistake(section.place, f"providers.{name}", message))
        else:
            waiting[name] = section
    fail(mistakes)
    return Catalog(entries, waiting, os.environ if env is None else env)


def load_facts(text: str, *, file: str) -> ProviderFacts:
    """Read a provider's YAML.

    Args:
        text: The YAML.
        file: Its name, for errors.

    Raises:
        ConfigError: Something in it is wrong. All its mistakes are named.
    """
    return _parse_facts(text, file).facts


@functools.cache
def builtin_names() -> tuple[str, ...]:
    """Name the providers whose YAML comes with the package."""
    names = (item.name for item in _PROVIDERS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def find_config(directory: str | os.PathLike[str], env: Mapping[str, str]) -> Path | None:
    """Find the file that the command line reads. The library itself never looks for one.

    Returns:
        What `ASYNCBATCH_CONFIG` names, whether it exists or not; else `llm_config.yaml` in the directory; else None.
    """
    if named := env.get(CONFIG_VARIABLE):
        return Path(named)
    path = Path(directory, CONFIG_NAME)
    return path if path.is_file() else None


def normalize_provider_status(provider: str, raw_status: str) -> BatchStatus:
    """Read a provider's word for where a batch stands, by the built-in facts. Case does not matter.

    Returns:
        The status; UNKNOWN, which is not terminal, for a word that nobody knows.

    Raises:
        ProviderNotRegisteredError: There are no built-in facts under this name.
    """
    if provider not in builtin_names():
        hint = f"built in are {', '.join(builtin_names())}"
        message = f"there are no facts about a provider {provider!r}"
        raise ProviderNotRegisteredError(message, provider=provider, code="provider.unknown", hint=hint)
    return _builtin(provider).facts.normalize_status(raw_status)


def describe_origins(catalog: Catalog, name: str) -> tuple[Origin, ...]:
    """Give each setting and fact of a provider with the place it came from, fit to be shown: no secret is in it."""
    return catalog.origins(name)


@functools.cache
def _builtin(name: str) -> _Entry:
    file = f"{name}.yaml"
    return _parse_facts(_PROVIDERS.joinpath(file).read_text("utf-8"), f"asyncbatch/providers/{file}")


@functools.lru_cache(maxsize=64)  # each account of a provider from elsewhere brings the same text again
def _parse_facts(text: str, file: str) -> _Entry:
    tree, mistakes = parse(text, file=file)
    if tree.value is None:
        fail(mistakes)
    tree = lower_status(tree, "", mistakes)
    facts = read_facts(tree, "", mistakes)
    fail(mistakes)
    assert facts is not None
    return _Entry(facts, tree, {})


def _note_like(name: str, section: Node, mistakes: list[Mistake]) -> None:
    assert isinstance(section.value, dict)
    if like := section.value.pop(LIKE, None):
        message = f"is for a provider that is not built in; {name} has facts of its own"
        mistakes.append(Mistake(like.place, f"providers.{name}.{LIKE}", message))


def _liked(name: str, section: Node, mistakes: list[Mistake]) -> _Entry | None:
    """Read a provider that only the user's file knows."""
    assert isinstance(section.value, dict)
    like, path = section.value[LIKE], f"providers.{name}"
    if like.value not in builtin_names():
        message = f"expected a provider that is built in, got {like.value!r}{nearest(str(like.value), builtin_names())}"
        mistakes.append(Mistake(like.place, f"{path}.{LIKE}", message))
        return None
    if "/" in name or name != name.strip():
        mistakes.append(
            Mistake(section.place, path, "no name of a provider: it stands before the / of `provider/model`")
        )
        return None
    note_without_address(name, section, mistakes)
    tree = base_for(name, _builtin(str(like.value)).tree, section)
    rest = Node({key: node for key, node in section.value.items() if key not in (LIKE, *WHOLE)}, section.place)
    facts = read_facts(tree, path, mistakes)
    return None if facts is None else _overlaid(_Entry(facts, tree, {}, str(like.value)), rest, mistakes)


def _overlaid(base: _Entry, section: Node, mistakes: list[Mistake]) -> _Entry:
    path = f"providers.{base.facts.name}"
    settings, facts_section = split(section, base.facts.options, path, mistakes)
    check_settings(settings, path, mistakes)
    tree, own = overlay(base.tree, facts_section, path, mistakes)
    facts = read_facts(tree, path, mistakes, own=own)
    return _Entry(facts or base.facts, tree, settings, base.like)


def _sections(root: Node, mistakes: list[Mistake]) -> Iterator[tuple[str, Node]]:
    """Give the sections of the user's file, one for each provider."""
    for key, node in _entries_of(root, "", mistakes):
        if key != "providers":
            note_unknown(node, key, ["providers"], mistakes)
            continue
        for name, section in _entries_of(node, "providers", mistakes):
            if isinstance(section.value, dict):
                yield name, section
            else:
                _entries_of(section, f"providers.{name}", mistakes)


def _entries_of(node: Node, path: str, mistakes: list[Mistake]) -> list[tuple[str, Node]]:
    """Give the entries of a mapping; an empty section has none."""
    if isinstance(node.value, dict):
        return list(node.value.items())
    if node.value is not None:
        mistakes.append(Mistake(node.place, path, f"expected a mapping, got {kind_of(node, secret=True)}"))
    return []


def _read_config(config: str | os.PathLike[str] | Mapping[str, Any] | None) -> tuple[Node, list[Mistake]]:
    if config is None:
        return Node(None, Place("")), []
    if isinstance(config, Mapping):
        return from_python(config, file="config")
    path = Path(config)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}", code="config.unreadable") from error
    try:
        return parse(data.decode("utf-8"), file=str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Node(None, Place(str(path))), [Mistake(Place(str(path), line), "", "not UTF-8 text")]
