"""Fireworks' objects on the wire: jobs, datasets, pages and errors, made from what the store holds. Pure.

Source: the fact sheet of Fireworks' batch inference, "Create", "Status", "Limits and errors".
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncbatch.emulator.clock import write_time
from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.life import Phase, Stand
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 412: 9, 429: 8, 500: 13, 501: 12, 503: 14, 504: 4}
_WORDS = {"ALREADY_EXISTS": 6, "FAILED_PRECONDITION": 9, "ABORTED": 10}
_REASONS = {"token_limit_exceeded": "RESOURCE_EXHAUSTED"}  # why a batch is doomed -> the word for it
_FINE = {"code": "OK", "message": ""}
_CREATED_BY = "echo@acme.io"
_COUNTED = {Phase.IN_PROGRESS, Phase.FINALIZING, Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELLING}


@dataclass(kw_only=True, eq=False)
class Dataset(StoredFile):
    """Rows of an account; the file that it is has no bytes until they are uploaded.

    Attributes:
        ready_at: When it may be used; None while it waits for its rows.
        has_bytes: Whether they are there; those that came to a signed address are looked at first.
    """

    display_name: str
    example_count: int
    ready_at: float | None = None
    has_bytes: bool = False

    def is_ready(self, now: float) -> bool:
        return self.ready_at is not None and now >= self.ready_at


class Item(NamedTuple):
    """What stands on a list: its full name, when it was made, and how it is shown."""

    name: str
    created_at: float
    shown: Callable[[], dict[str, Any]]


def encode_error(error: RefusalError) -> dict[str, Any]:
    if error.code == "UNAUTHORIZED":
        told = {"message": error.message, "param": None, "code": error.code, "type": "error"}
        return {"error": told, "request_id": error.request_id}
    code = _WORDS.get(error.code or "", _CODES.get(error.status, 2))
    return {"code": code, "message": error.message, "details": []}


def encode_model(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "displayName": name.rpartition("/")[2],
        "state": "READY",
        "kind": "HF_BASE_MODEL",
        "public": True,
    }


# Datasets


def encode_dataset(dataset: Dataset, now: float) -> dict[str, Any]:
    return {
        **_frame(dataset.id, dataset.display_name, dataset.created_at, dataset.ready_at or dataset.created_at),
        "state": "READY" if dataset.is_ready(now) else "UPLOADING",
        "exampleCount": str(dataset.example_count),
        "userUploaded": {},
    }


def encode_results(batch: StoredBatch, now: float) -> dict[str, Any]:
    """Give the dataset that holds the answers of a batch."""
    at = max(batch.stand(now).since.values())
    rows = 0 if batch.examined is None else batch.examined.rows
    frame = _frame(batch.order.output, "", at, at)
    return {**frame, "state": "READY", "exampleCount": str(rows), "sourceJobName": batch.id}


def _frame(name: str, display_name: str, created_at: float, updated_at: float) -> dict[str, Any]:
    return {
        "name": name,
        "displayName": display_name,
        "createTime": write_time(created_at),
        "updateTime": write_time(updated_at),
        "createdBy": _CREATED_BY,
        "status": _FINE,
        "format": "CHAT",
        "externalUrl": "",
        "estimatedTokenCount": "0",
    }


# Jobs


def encode_job(batch: StoredBatch, words: Mapping[Phase, str], now: float) -> dict[str, Any]:
    stand, order = batch.stand(now), batch.order
    since = stand.since
    return {
        "name": batch.id,
        "displayName": order.display_name,
        "createTime": write_time(batch.course.created_at),
        "createdBy": _CREATED_BY,
        "expireTime": write_time(batch.course.expires_at),
        "state": _word(batch, stand, words, now),
        "status": _encode_status(batch.problem) if stand.phase is Phase.FAILED and batch.problem else _FINE,
        "model": order.model,
        "inputDatasetId": order.input,
        "outputDatasetId": order.output,
        "inferenceParameters": order.parameters,
        "jobProgress": _encode_progress(batch, now) if stand.phase in _COUNTED else None,
        "updateTime": write_time(max(since.values())),
        "precision": order.precision,
        "continuedFromJobName": "",
        "lifecycle": {
            "validatedTime": _moment(since.get(Phase.IN_PROGRESS)),
            "runStartTime": _moment(since.get(Phase.IN_PROGRESS)),
            "endTime": _moment(since[stand.phase] if stand.is_over else None),
        },
    }


def _moment(at: float | None) -> str | None:
    return None if at is None else write_time(at)


def _word(batch: StoredBatch, stand: Stand, words: Mapping[Phase, str], now: float) -> str:
    if stand.phase is Phase.CANCELLING and now >= stand.since[Phase.CANCELLING] + batch.course.pace.cancelling_s / 2:
        return "JOB_STATE_DELETING_CLEANING_UP"
    return words[stand.phase]


def _encode_status(problem: Problem) -> dict[str, str]:
    code = problem.code if problem.code.isupper() else _REASONS.get(problem.code, "INVALID_ARGUMENT")
    where = "" if problem.line is None else f"row {problem.line}: "
    return {"code": code, "message": f"{where}{problem.message}"}


def _encode_progress(batch: StoredBatch, now: float) -> dict[str, Any]:
    """Count rows; how many there are in all is what the dataset was said to have."""
    counts, written = count_rows(batch, now), batch.written
    processed, total = counts.succeeded + counts.errored, batch.order.example_count
    return {
        "percent": min(100, 100 * processed // max(total, 1)),
        "epoch": 0,
        "totalInputRequests": total,
        "totalProcessedRequests": processed,
        "successfullyProcessedRequests": counts.succeeded,
        "failedRequests": counts.errored,
        "outputRows": counts.succeeded,
        "inputTokens": written.input_tokens if written else 0,
        "outputTokens": written.output_tokens if written else 0,
        "cachedInputTokenCount": written.cached_tokens if written else 0,
    }


# Lists


def encode_page(word: str, items: Sequence[Item], query: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give the page that the query wants; the items come in the order in which they were made."""
    order = query.get("orderBy", "")
    ordered = _ordered(items, order, facts["orders"])
    size, start = _read_size(query.get("pageSize", "0"), *facts["page_size"]), 0
    if query.get("pageToken"):
        start = _read_start(ordered, query["pageToken"], order)
    page = ordered[start : start + size]
    token = _write_token(page[-1].name, order) if len(ordered) > start + size else ""
    return {word: [item.shown() for item in page], "nextPageToken": token, "totalSize": len(ordered)}


def _ordered(items: Sequence[Item], order: str, known: Sequence[str]) -> list[Item]:
    field, _, direction = order.strip().partition(" ")
    if not field:
        return list(items)
    if field not in known or direction not in ("", "desc"):
        raise RefusalError(400, f"invalid order_by {order!r}")
    ordered = list(items) if direction == "" else list(reversed(items))
    by_name = field == "name"
    return sorted(ordered, key=lambda item: item.name if by_name else item.created_at, reverse=direction == "desc")


def _read_size(text: str, default: int, most: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise RefusalError(400, f"invalid page_size {text!r}")
    return min(int(text) or default, most)


def _write_token(name: str, order: str) -> str:
    return base64.urlsafe_b64encode(f"{order}\n{name}".encode()).decode()


def _read_start(items: Sequence[Item], token: str, order: str) -> int:
    try:
        asked, _, name = base64.urlsafe_b64decode(token.encode()).decode().partition("\n")
    except (binascii.Error, ValueError):
        raise RefusalError(400, "invalid page_token") from None
    start = next((number for number, item in enumerate(items, start=1) if item.name == name), None)
    if start is None or asked != order:
        raise RefusalError(400, "page_token is of another call: the other parameters must be the same")
    return start
