"""From a provider's tree to its facts, and a user's section laid over them."""

import json
import re
from collections.abc import Iterable, Sequence

import msgspec

from asyncbatch.catalog._facts import ModelFacts, Price, ProviderFacts
from asyncbatch.catalog._typed import Count, Text, read
from asyncbatch.catalog._yaml import Mistake, Node, join, leaves, merge
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ConfigError

# In these sections the order decides: a user's entries come before ours. All other lists are replaced.
_ORDERED = ("models", "endpoints", "errors")

_INTERPOLATION = re.compile(r"\$\{[A-Za-z_]")


class _ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """As `ModelFacts` is written: several patterns may share an entry."""

    match: tuple[Text, ...]
    modes: tuple[BatchMode, ...]
    price: Price | None = None
    max_tokens: Count | None = None
    open_requests: Count | None = None
    enqueued_tokens: Count | None = None
    refuses: tuple[Text, ...] = ()
    source: Text | None = None


def fail(mistakes: Sequence[Mistake]) -> None:
    """Raise all mistakes as one error, if there are any."""
    if mistakes:
        raise ConfigError("\n".join(str(item) for item in sorted(mistakes)), code="config.invalid")


def overlay(base: Node, over: Node, path: str, mistakes: list[Mistake]) -> tuple[Node, int]:
    """Lay a user's section over a provider's facts.

    Returns:
        The whole, and how many of its models are the user's.
    """
    over = lower_status(over, path, mistakes)
    both = merge(base, over)
    assert isinstance(base.value, dict)
    assert isinstance(both.value, dict)
    assert isinstance(over.value, dict)
    own = {section: _rows(over.value[section]) for section in _ORDERED if section in over.value}
    for section, rows in own.items():
        ours = _rows(base.value[section]) if section in base.value else []
        both.value[section] = Node([*rows, *ours], over.value[section].place)
    return both, len(own.get("models", ()))


def _rows(node: Node) -> list[Node]:
    """A list of one may stand without brackets; an empty section has none."""
    if isinstance(node.value, list):
        return node.value
    return [] if node.value is None else [node]


def lower_status(node: Node, path: str, mistakes: list[Mistake]) -> Node:
    """Status words are compared without case, so they are merged without case."""
    if not isinstance(node.value, dict):
        return node
    status = node.value.get("status")
    if status is None or not isinstance(status.value, dict):
        return node
    words: dict[str, Node] = {}
    for word, item in status.value.items():
        first = words.setdefault(word.lower(), item)
        if first is not item:
            where = join(path, f"status.{word}")
            mistakes.append(Mistake(item.place, where, f"this word stands already on line {first.place.line}"))
    return Node({**node.value, "status": Node(words, status.place)}, node.place)


def read_facts(tree: Node, path: str, mistakes: list[Mistake], *, own: int = 0) -> ProviderFacts | None:
    """Read a whole tree of facts; the first `own` models are the user's.

    Returns:
        The facts, or None where a mistake was noted.
    """
    before = len(mistakes)
    note_interpolation(tree, path, mistakes)
    rows: tuple[_ModelEntry, ...] = ()
    if isinstance(tree.value, dict) and "models" in tree.value:
        rows = read(tree.value["models"], tuple[_ModelEntry, ...], join(path, "models"), mistakes)
        tree = Node({**tree.value, "models": Node([], tree.value["models"].place)}, tree.place)
    facts: ProviderFacts = read(tree, ProviderFacts, path, mistakes)
    if len(mistakes) > before:
        return None
    models = (*by_specificity(rows[:own]), *by_specificity(rows[own:]))
    return msgspec.structs.replace(facts, models=models)


def note_interpolation(tree: Node, path: str, mistakes: list[Mistake]) -> None:
    """Facts are the same on every machine: a variable among them is a mistake."""
    for where, node in leaves(tree, path):
        if isinstance(node.value, str) and _INTERPOLATION.search(node.value):
            places = "api_key, base_url, headers and the options of an account"
            mistakes.append(Mistake(node.place, where, f"${{…}} is read in {places} only"))


def by_specificity(rows: Iterable[_ModelEntry]) -> list[ModelFacts]:
    """Put the pattern with the most letters of its own first; without a wildcard before with one."""
    models = [
        ModelFacts(
            match=match,
            modes=row.modes,
            price=row.price,
            max_tokens=row.max_tokens,
            open_requests=row.open_requests,
            enqueued_tokens=row.enqueued_tokens,
            refuses=row.refuses,
            source=row.source,
        )
        for row in rows
        for match in row.match
    ]
    return sorted(models, key=_vagueness)


def _vagueness(model: ModelFacts) -> tuple[int, bool]:
    letters = re.sub(r"\[.[^\]]*\]|[*?]", "", model.match)
    return -len(letters), letters != model.match


def unknown_model_hint(facts: ProviderFacts, model: str, mode: BatchMode) -> str:
    """Give the three lines of a user's file that would allow a model."""
    pattern = json.dumps(re.sub(r"([*?\[])", r"[\1]", model), ensure_ascii=False)
    entry = f"{{match: {pattern}, modes: [{mode.value}]}}"
    return f"providers:\n  {facts.name}:\n    models: [{entry}]"
