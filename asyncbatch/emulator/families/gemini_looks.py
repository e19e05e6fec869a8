"""How Gemini's batches and lists look to a fault: operations, whose metadata are the batches. Pure."""

from typing import Any

from asyncbatch.emulator.clock import read_time
from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.life import Phase
from asyncbatch.emulator.looks import Looks, Which, with_value, without_value

AGAIN = "YmF0Y2hlcy9hZ2Fpbg=="  # the token of the page that an endless list names


class GeminiLooks(Looks):
    """Looks, in Google's shapes."""

    def items_of(self, document: dict[str, Any]) -> list[Any] | None:
        """Give the items of a list. An empty object is a list of none, because what is empty is left out."""
        items = document.get("operations", [] if not document or "nextPageToken" in document else None)
        return items if is_array(items) else None

    def with_items(self, document: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        rest = without_value(document, "operations")
        return {**rest, "operations": items} if items else rest

    def as_endless(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**self.with_items(document, []), "nextPageToken": AGAIN}

    def created_at_of(self, item: dict[str, Any]) -> float:
        at = _metadata(item).get("createTime")
        return read_time(at) if isinstance(at, str) else 0.0

    def is_completed(self, item: dict[str, Any]) -> bool:
        return bool(_metadata(item).get("state") == self.words[Phase.COMPLETED])

    def with_status(self, item: dict[str, Any], word: str) -> dict[str, Any]:
        return with_value(item, "metadata.state", word)

    def without_results(self, item: dict[str, Any], which: Which) -> dict[str, Any]:
        """Hide both places where results are named; results that failed have none of their own."""
        return item if which == "errors" else without_value(without_value(item, "response"), "metadata.output")

    def without_counts(self, item: dict[str, Any]) -> dict[str, Any]:
        return without_value(item, "metadata.batchStats")


def _metadata(item: dict[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata")
    return metadata if is_object(metadata) else {}
