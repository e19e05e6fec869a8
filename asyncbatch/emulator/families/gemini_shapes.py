"""Gemini's objects on the wire: operations, files, pages and errors, made from what the store holds. Pure.

64-bit numbers are strings, and what is zero is left out. Source: https://ai.google.dev/api/batch-api
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from asyncbatch.emulator.clock import write_time
from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.life import Phase, Stand
from asyncbatch.emulator.store import StoredBatch, StoredFile

TYPES = "type.googleapis.com/google.ai.generativelanguage.v1beta."
_RPC = "type.googleapis.com/google.rpc."
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OTHER_WORDS = {"FAILED_PRECONDITION", "ALREADY_EXISTS", *_WORDS.values()}  # what may stand as the code of a refusal
_REASONS = {"token_limit_exceeded": 429}  # why a batch fails -> as if it had been refused with this


@dataclass(kw_only=True, eq=False)
class UploadedFile(StoredFile):
    """A file that the account has uploaded; its results are others, of which nobody gets to see more than their bytes."""

    mime_type: str
    active_at: float
    uri: str

    def is_active(self, now: float) -> bool:
        return now >= self.active_at


class Listed(NamedTuple):
    """A model as an item of a list."""

    id: str


_Item = TypeVar("_Item", UploadedFile, StoredBatch, Listed)


def rpc_code(status: int) -> int:
    """Give the number that Google's RPCs have for an HTTP status; 2 is unknown."""
    return _CODES.get(status, 2)


def encode_error(error: RefusalError) -> dict[str, Any]:
    word = error.code if error.code in _OTHER_WORDS else _WORDS.get(error.status, "UNKNOWN")
    found: dict[str, Any] = {"code": error.status, "message": error.message, "status": word}
    details = _encode_details(error)
    return {"error": {**found, "details": details} if details else found}


def _encode_details(error: RefusalError) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if error.code is not None and error.code.isupper() and error.code not in _OTHER_WORDS:
        details.append({"@type": f"{_RPC}ErrorInfo", "reason": error.code, "domain": "googleapis.com"})
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    if error.retry_after_s is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{error.retry_after_s:g}s"})
    return details


def encode_file(file: UploadedFile, now: float) -> dict[str, Any]:
    is_active = file.is_active(now)
    return {
        "name": file.id,
        **({"displayName": file.filename} if file.filename else {}),
        "mimeType": file.mime_type,
        **({"sizeBytes": str(file.size)} if file.size else {}),
        "createTime": write_time(file.created_at),
        "updateTime": write_time(file.active_at if is_active else file.created_at),
        **({} if file.expires_at is None else {"expirationTime": write_time(file.expires_at)}),
        "sha256Hash": base64.b64encode(bytes.fromhex(file.sha256)).decode(),
        "uri": file.uri,
        "state": "ACTIVE" if is_active else "PROCESSING",
        "source": "UPLOADED",
    }


# Batches


def encode_event(batch: StoredBatch, stand: Stand, event: str) -> dict[str, Any]:
    """Give what a registered webhook says. Source: https://ai.google.dev/gemini-api/docs/webhooks."""
    output = batch.written.output if batch.written and stand.phase is Phase.COMPLETED else None
    file = {"output_file_uri": output.id} if output is not None and not batch.order.is_inline else {}
    at = write_time(stand.since[stand.phase])
    return {"type": event, "version": "v1", "timestamp": at, "data": {"id": batch.id, **file}}


def encode_operation(
    batch: StoredBatch, words: Mapping[Phase, str], now: float, rows: Sequence[msgspec.Raw] | None
) -> dict[str, Any]:
    """Give the operation that a batch is. `rows` are the results that stand in it, if any do."""
    stand = batch.stand(now)
    output = _encode_output(batch, rows) if stand.phase is Phase.COMPLETED else {}
    operation: dict[str, Any] = {"name": batch.id, "metadata": encode_batch(batch, words, now, output)}
    if not stand.is_over:
        return operation
    operation["done"] = True
    if stand.phase is Phase.COMPLETED:
        return {**operation, "response": {"@type": f"{TYPES}{_type_name(batch)}Output", **output}}
    return {**operation, "error": _encode_end(batch, stand)}


def encode_batch(
    batch: StoredBatch, words: Mapping[Phase, str], now: float, output: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the batch itself, which stands in the metadata of its operation."""
    stand, order = batch.stand(now), batch.order
    last = max(stand.since.values())
    return {
        "@type": f"{TYPES}{_type_name(batch)}",
        "model": f"models/{order.model}",
        "displayName": order.display_name,
        **({"output": output} if output else {}),
        "createTime": write_time(batch.course.created_at),
        **({"endTime": write_time(last)} if stand.is_over else {}),
        "updateTime": write_time(last),
        "batchStats": _encode_stats(batch, stand, now),
        "state": words[stand.phase],
        "name": batch.id,
        **({"priority": str(order.priority)} if order.priority else {}),
        **({"webhookConfig": order.webhook} if order.webhook else {}),
    }


def _type_name(batch: StoredBatch) -> str:
    return "GenerateContentBatch" if batch.order.method == "batchGenerateContent" else "EmbedContentBatch"


def _encode_output(batch: StoredBatch, rows: Sequence[msgspec.Raw] | None) -> dict[str, Any]:
    if rows:
        return {"inlinedResponses": {"inlinedResponses": rows}}
    results = batch.written.output if batch.written else None
    return {"responsesFile": results.id} if results and not batch.order.is_inline else {}


def _encode_stats(batch: StoredBatch, stand: Stand, now: float) -> dict[str, str]:
    """Count rows. Those of a batch that ends before its time are pending for ever."""
    counts, rows = count_rows(batch, now), batch.examined.rows if batch.examined else 0
    never_run = counts.expired if stand.phase is Phase.EXPIRED else 0
    failed = counts.errored + counts.expired - never_run
    numbers = {
        "requestCount": rows,
        "successfulRequestCount": counts.succeeded,
        "failedRequestCount": failed,
        "pendingRequestCount": rows - counts.succeeded - failed,
    }
    return {name: str(number) for name, number in numbers.items() if number}


def _encode_end(batch: StoredBatch, stand: Stand) -> dict[str, Any]:
    """Say why there are no results."""
    if stand.phase is Phase.FAILED and batch.problem:
        return {"code": rpc_code(_REASONS.get(batch.problem.code, 400)), "message": batch.problem.message}
    if stand.phase is Phase.EXPIRED:
        return {"code": rpc_code(504), "message": "The batch was not finished in time, and has expired."}
    return {"code": rpc_code(499), "message": "The batch was cancelled."}


# Lists


def cut_page(items: Sequence[_Item], query: Mapping[str, str], bounds: Sequence[int]) -> tuple[list[_Item], str]:
    """Give the page that the query wants, and the token of the next; no token if there is none."""
    size, token, start = _read_size(query.get("pageSize", "0"), *bounds), query.get("pageToken"), 0
    if token:
        last = _read_token(token)
        start = next((number for number, item in enumerate(items, start=1) if item.id == last), -1)
        if start < 0:
            raise RefusalError(400, "The page token is not one of this list.", param="page_token")
    page = list(items[start : start + size])
    has_more = len(items) > start + size
    return page, base64.urlsafe_b64encode(page[-1].id.encode()).decode() if has_more else ""


def _read_size(text: str, default: int, most: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise RefusalError(400, f"Invalid page size {text!r}: expected a whole number.", param="page_size")
    return min(int(text) or default, most)


def _read_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, ValueError):
        return ""


def encode_model(model: Listed) -> dict[str, Any]:
    """Give a model of the list. Source: https://ai.google.dev/api/models."""
    kinds = (
        ["embedContent", "asyncBatchEmbedContent"]
        if "embedding" in model.id
        else ["generateContent", "batchGenerateContent"]
    )
    return {
        "name": f"models/{model.id}",
        "version": "001",
        "displayName": model.id,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": kinds,
    }


def encode_page(name: str, items: Sequence[dict[str, Any]], token: str) -> dict[str, Any]:
    return {**({name: list(items)} if items else {}), **({"nextPageToken": token} if token else {})}
