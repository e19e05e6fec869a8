"""What a fault has to know about a dialect's answers, with the shapes that most services imitate. Pure."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.life import Phase

Which: TypeAlias = Literal["all", "errors"]
"""Which results: all of them, or those alone that lie in a file of errors."""

AGAIN = "batch_again"  # where an endless list says that it goes on


class Looks:
    """The looks of batches and lists on the wire. An item is a batch as it stands in a list, and as a poll shows it."""

    words: Mapping[Phase, str]

    def items_of(self, document: dict[str, Any]) -> list[Any] | None:
        """Give the items of a list; None if the answer is no list."""
        items = document.get("data")
        return items if is_array(items) else None

    def with_items(self, document: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        return {**document, "data": items}

    def as_endless(self, document: dict[str, Any]) -> dict[str, Any]:
        """Give the list as one that is empty, and names the same next page for ever."""
        return {**self.with_items(document, []), "first_id": None, "last_id": AGAIN, "has_more": True}

    def created_at_of(self, item: dict[str, Any]) -> float:
        """Give the time of creation in seconds since the epoch; 0 if the item does not tell."""
        at = item.get("created_at")
        return at if isinstance(at, int | float) else 0.0

    def is_completed(self, item: dict[str, Any]) -> bool:
        """Say whether the item is a batch that has ended and should have answers."""
        return bool(item.get("status") == self.words[Phase.COMPLETED])

    def with_status(self, item: dict[str, Any], word: str) -> dict[str, Any]:
        return {**item, "status": word}

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        """Give the batch without the places where its results lie."""
        hidden: dict[str, Any] = {"error_file_id": None}
        return {**item, **hidden} if which == "errors" else {**item, **hidden, "output_file_id": None}

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "request_counts": None}


def find_value(document: Any, path: str) -> Any:
    """Give what lies at a dotted path.

    Raises:
        KeyError: Nothing lies there.
    """
    for name in path.split("."):
        if not is_object(document):
            raise KeyError(path)
        document = document[name]
    return document


def with_value(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Give the document with another value at a dotted path. A path through what is no object changes nothing."""
    name, _, rest = path.partition(".")
    if not rest:
        return {**document, name: value}
    inner = document.get(name, {})
    return {**document, name: with_value(inner, rest, value)} if is_object(inner) else document


def without_value(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Give the document without what lies at a dotted path."""
    name, _, rest = path.partition(".")
    if not rest:
        return {key: value for key, value in document.items() if key != name}
    inner = document.get(name)
    return {**document, name: without_value(inner, rest)} if is_object(inner) else document
