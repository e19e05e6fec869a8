"""What an older version of OpenAI's protocol answers otherwise, at the service that still has one. Pure.

Words begin with capitals, a cancelled batch is spelled with one `l`, moments are texts, lists stand under `value`, and a
batch does not say for which endpoint it is. Source: the fact sheet of the service, which its dialect names.
"""

from datetime import UTC, datetime
from typing import Any

_CREATED = 201
_GONE = 204
VERSION = "api-version"
"""The parameter that each call has to have."""


def as_older(document: dict[str, Any]) -> dict[str, Any]:
    """Give a batch, a file or a list as the older version has it."""
    if document.get("object") == "list":
        return {"value": [as_older(item) for item in document["data"]], "has_more": document["has_more"]}
    if document.get("object") == "batch":
        word = str(document["status"]).replace("cancelled", "canceled").capitalize()
        document = {**document, "status": word, "endpoint": None}
    return {name: _moment(value) if name.endswith("_at") else value for name, value in document.items()}


def older_status(method: str, path: str, status: int) -> int:
    """Give the status of a success as the older version has it: what was made is 201, what was deleted leaves nothing."""
    if method == "DELETE":
        return _GONE
    return _CREATED if method == "POST" and not path.endswith("/cancel") else status


def url_of(endpoint: str) -> str:
    """Give the path that rows name, which has no version of its own there."""
    return endpoint.removeprefix("/v1")


def _moment(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z") if isinstance(value, int) else value
