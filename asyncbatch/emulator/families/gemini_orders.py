"""What the create of a Gemini batch takes, but for the rows in it.

Source: https://ai.google.dev/api/batch-api#method:-models.batchgeneratecontent
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.gemini_messages import Messages, ShapeError
from asyncbatch.emulator.families.gemini_rows import Method

ROWS = (("batch",), ("inputConfig", "input_config"), "requests", "requests")
"""Where the rows lie in the body of a create, if they lie there."""

_CHANGEABLE = {"displayName", "priority"}


@dataclass(kw_only=True, eq=False)
class Order:
    """A batch as it was asked for, and what its owner has made of it since.

    Attributes:
        file_name: Of the input; empty if the requests came in the body.
    """

    method: Method
    model: str
    display_name: str
    priority: int
    file_name: str
    webhook: Mapping[str, Any]
    is_deleted: bool = False

    @property
    def is_inline(self) -> bool:
        return not self.file_name


def read_message(messages: Messages, name: str, document: Any) -> dict[str, Any]:
    """Read a message of a request; `RefusalError` says what is wrong with it."""
    try:
        return messages.read(name, document)
    except ShapeError as error:
        message = f"Invalid JSON payload received. {error.message}"
        raise RefusalError(400, message, param=error.where or None) from error


def read_order(batch: dict[str, Any], method: Method, model: str, *, has_rows: bool) -> Order:
    """Read the batch of a create. `has_rows` says whether requests stood in it."""
    source = batch.get("inputConfig", {})
    file_name = str(source.get("fileName", ""))
    if not batch.get("displayName"):
        raise RefusalError(400, "batch.display_name is required.", param="batch.display_name")
    if batch.get("model", model).removeprefix("models/") != model:
        raise RefusalError(400, "batch.model is not the model of the path.", param="batch.model")
    if bool(file_name) == has_rows:
        message = "batch.input_config needs either requests or a file_name."
        raise RefusalError(400, message, param="batch.input_config")
    return Order(
        method=method,
        model=model,
        display_name=batch["displayName"],
        priority=batch.get("priority", 0),
        file_name=file_name,
        webhook=batch.get("webhookConfig", {}),
    )


def change_order(order: Order, batch: dict[str, Any], mask: str) -> None:
    """Change what the mask names; without one, all that the batch has."""
    names = {_camel(name) for name in mask.split(",") if name} or set(batch)
    fixed = next(iter(sorted(names - _CHANGEABLE)), None)
    if fixed is not None:
        raise RefusalError(400, f"The field {fixed} of a batch cannot be changed.", param="update_mask")
    if "displayName" in names:
        order.display_name = batch.get("displayName", "")
    if "priority" in names:
        order.priority = batch.get("priority", 0)


def _camel(name: str) -> str:
    first, *others = name.strip().split("_")
    return first + "".join(word.capitalize() for word in others)
