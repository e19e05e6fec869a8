"""Where each setting and fact came from, in a form that may be shown."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from asyncbatch.catalog._facts import ProviderFacts, is_url
from asyncbatch.catalog._settings import SWITCHES, VARIABLE
from asyncbatch.catalog._yaml import Node, join, leaves
from asyncbatch.secrecy import mask


class Origin(NamedTuple):
    """A setting or a fact, its value fit to be shown, and where it came from: a file and line, or a variable."""

    path: str
    value: str
    where: str


def describe(
    facts: ProviderFacts, tree: Node, settings: Mapping[str, Node], env: Mapping[str, str]
) -> Iterator[Origin]:
    """Walk over the settings first, then the facts, in the order of their files."""
    keys = (*facts.credentials.token_env, *facts.credentials.env)
    variables = {"api_key": keys, "base_url": (facts.base_url_env,) if facts.base_url_env else ()}
    variables |= {name: (option.env,) for name, option in facts.options.items()}
    told = {name: _setting(name, names, settings, env) for name, names in variables.items()}
    needed = ("api_key", "base_url") if facts.base_url is None else ("api_key",)
    yield from (origin for name, origin in told.items() if origin.value or name in needed)
    if "headers" in settings:
        for where, node in leaves(settings["headers"], "headers"):
            yield Origin(where, _shown("headers", str(node.value)), str(node.place))
    for name in SWITCHES:
        if name in settings:
            yield Origin(name, str(settings[name].value), str(settings[name].place))
    for where, node in _flat(tree):
        if not where.startswith("sources.") and (
            where != "base_url" or not (told["base_url"].value or "base_url" in needed)
        ):
            yield Origin(where, _inline(node), str(node.place))


def _setting(name: str, variables: Iterable[str], settings: Mapping[str, Node], env: Mapping[str, str]) -> Origin:
    """The provider's own variable comes over the file."""
    for variable in variables:
        if env.get(variable):
            return Origin(name, _shown(name, env[variable]), f"variable {variable}")
    if name in settings and settings[name].value is not None:
        node = settings[name]
        return Origin(name, _shown(name, str(node.value)), str(node.place))
    return Origin(name, "", f"not set; {' or '.join(variables)} would be read")


def _shown(name: str, text: str) -> str:
    """A `${VARIABLE}` is shown by its name: what it holds, and its default too, may be secret."""
    variable = VARIABLE.fullmatch(text)
    if variable:
        return f"${{{variable['name']}}}"
    if name in ("api_key", "headers") or (name == "base_url" and not is_url(text)):
        return mask(text)
    return text


def _flat(tree: Node) -> Iterator[tuple[str, Node]]:
    """Give one row for each fact: a list, and a mapping with a `value`, is one."""
    assert isinstance(tree.value, dict)
    for key, node in tree.value.items():
        if isinstance(node.value, dict) and "value" not in node.value:
            yield from ((join(key, where), child) for where, child in _flat(node))
        elif isinstance(node.value, list) and any(isinstance(item.value, dict) for item in node.value):
            yield from ((f"{key}[{index}]", item) for index, item in enumerate(node.value))
        else:
            yield key, node


def _inline(node: Node) -> str:
    if isinstance(node.value, dict):
        if "value" in node.value:
            return _inline(node.value["value"])
        return f"{{{', '.join(f'{key}: {_inline(item)}' for key, item in node.value.items() if key != 'source')}}}"
    if isinstance(node.value, list):
        return f"[{', '.join(_inline(item) for item in node.value)}]"
    return str(node.value)
