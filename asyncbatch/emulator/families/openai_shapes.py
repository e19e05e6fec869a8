"""OpenAI's objects on the wire: files, batches, pages and errors, made from what the store holds. Pure.

Source: https://platform.openai.com/docs/api-reference/batch/object and .../files/object
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.openai_manners import Manners
from asyncbatch.emulator.life import Phase, Stand
from asyncbatch.emulator.store import Problem, StoredBatch, StoredFile, Written

_TIMES = {  # field of a batch -> the phase whose beginning it tells
    "in_progress_at": Phase.IN_PROGRESS,
    "finalizing_at": Phase.FINALIZING,
    "completed_at": Phase.COMPLETED,
    "failed_at": Phase.FAILED,
    "expired_at": Phase.EXPIRED,
    "cancelling_at": Phase.CANCELLING,
    "cancelled_at": Phase.CANCELLED,
}

_Item = TypeVar("_Item", StoredFile, StoredBatch)


def encode_error(error: RefusalError, manners: Manners, *, is_older: bool = False) -> bytes:
    """Give the body of a refusal, in the shape that the service has for it."""
    if manners.refuses_keys_in_words and error.status == 401:
        return b"Unauthorized. Invalid token format."
    return msgspec.json.encode(_refusal(error, manners, is_older=is_older))


def _refusal(error: RefusalError, manners: Manners, *, is_older: bool) -> dict[str, Any]:
    match manners.refusals:
        case "number":
            return {"code": 20_000 + error.status % 100, "message": error.message, "data": ""}
        case "detail":
            return {"detail": {"error": error.message}}
        case "message":
            wait = {"error": "too_many_requests", "retry_after_seconds": error.retry_after_s or 30}
            return {"message": error.message, **(wait if error.status == 429 else {})}
        case "word":
            return {"error": error.message, "request_id": error.request_id}
        case "target":
            said = {"code": error.code or str(error.status), "message": error.message}
            older: dict[str, Any] = {"target": error.param, "details": [], "innererror": {}}
            return {"error": {**said, **(older if is_older else {"param": error.param, "type": None})}}
        case "openai":
            kind = "server_error" if error.status >= 500 else "invalid_request_error"
            kind = "requests" if error.status == 429 else kind
            return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def encode_event(batch: StoredBatch, stand: Stand, event_id: str, event: str) -> dict[str, Any]:
    """Give what a webhook says. Source: https://platform.openai.com/docs/api-reference/webhook-events."""
    created_at = int(stand.since[stand.phase])
    return {"id": event_id, "object": "event", "created_at": created_at, "type": event, "data": {"id": batch.id}}


def encode_model(name: str) -> dict[str, Any]:
    """Give a model of the list. Source: https://platform.openai.com/docs/api-reference/models/object."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}


def encode_file(file: StoredFile, manners: Manners, *, is_processed: bool = True) -> dict[str, Any]:
    expires_at = None if file.expires_at is None else int(file.expires_at)
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "createdAt" if manners.wraps_files else "created_at": int(file.created_at),
        **({"expires_at": expires_at} if manners.takes_expiry or expires_at else {}),
        "filename": file.filename,
        "purpose": file.purpose,
        **(
            {"status": "processed" if is_processed else "pending", "status_details": None}
            if manners.takes_expiry
            else {}
        ),
        **manners.file_fields,
    }


def wrap_files(document: dict[str, Any], manners: Manners) -> dict[str, Any]:
    """Give what is answered about files, in its envelope where the service has one."""
    return {"code": 20_000, "message": "Ok", "status": True, "data": document} if manners.wraps_files else document


def encode_batch(batch: StoredBatch, words: Mapping[Phase, str], now: float, manners: Manners) -> dict[str, Any]:
    stand = batch.stand(now)
    written = batch.written if batch.written and stand.is_over else Written()
    document = _whole_batch(batch, stand, written, words, now)
    if stand.phase is Phase.COMPLETED and manners.fails_without_success and written.output is None:
        at = document["completed_at"]
        document |= {"status": words[Phase.FAILED], "failed_at": at, "completed_at": None}
    if stand.phase is Phase.VALIDATING and not manners.counts_at_once:
        document["request_counts"] = None
    if batch.problem and stand.phase is Phase.FAILED:
        document["errors"] = _encode_problem(batch.problem, manners)
    if manners.errors != "list":
        document["errors"] = _other_errors(batch.problem if stand.phase is Phase.FAILED else None, manners)
    document |= dict.fromkeys(manners.nulls) | dict.fromkeys(manners.blank, "")
    if manners.promised_s is not None:
        document["expires_at"] = document["created_at"] + manners.promised_s
    if manners.blanks_failed and stand.phase is Phase.FAILED:
        counts = dict.fromkeys(("total", "completed", "failed"))
        at = document["failed_at"]
        document |= {"output_file_id": "", "error_file_id": "", "request_counts": counts, "completed_at": at}
    if manners.shape == "flat":
        document = _flat(document)
    if manners.shape == "job":
        document = _job(document, batch, counted=stand.rows_done)
    without = {name for name in document if name in manners.omits or (manners.omits_null and document[name] is None)}
    return {name: value for name, value in document.items() if name not in without}


def _other_errors(problem: Problem | None, manners: Manners) -> Any:
    if manners.errors == "text":
        return problem.message if problem else ""
    return _encode_problem(problem, manners)["data"] if problem else []


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """Give an object with counts beside its status, and with moments as texts, or as objects where there is none."""
    counts = document.pop("request_counts") or {"total": 0, "completed": 0, "failed": 0}
    moments: dict[str, Any] = {
        name: datetime.fromtimestamp(at, UTC).isoformat() if at is not None else {}
        for name, at in document.items()
        if name.endswith("_at")
    }
    own: dict[str, Any] = {
        "version": 1,
        "created_by": "echo",
        "created_by_key_id": "",
        "remark": "",
        "updated_at": moments["created_at"],
    }
    return {**document, **moments, **counts, **own}


def _job(document: dict[str, Any], batch: StoredBatch, *, counted: int) -> dict[str, Any]:
    """Give an object that says how far it is in per cent, and has no counts."""
    rows, over = batch.examined.rows if batch.examined else 0, document["completed_at"]
    kept = ("id", "input_file_id", "status", "endpoint", "output_file_id", "error_file_id")
    return {
        **{name: document[name] for name in kept},
        "user_id": "u_1",
        "file_size_bytes": batch.input.size if batch.input else 0,
        "job_deadline": _iso(document["expires_at"]),
        "created_at": _iso(document["created_at"]),
        "completed_at": _iso(over) if over is not None else None,
        "progress": 100 * counted / rows if rows else 0,
        "model_id": "",
        "error": document["errors"] or None,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _whole_batch(
    batch: StoredBatch, stand: Stand, written: Written, words: Mapping[Phase, str], now: float
) -> dict[str, Any]:
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.order.endpoint,
        "model": batch.examined.model if batch.examined and stand.phase is not Phase.VALIDATING else None,
        "errors": None,
        "input_file_id": batch.order.input_file_id,
        "completion_window": batch.order.completion_window,
        "status": words[stand.phase],
        "output_file_id": written.output.id if written.output else None,
        "error_file_id": written.errors.id if written.errors else None,
        "created_at": int(batch.course.created_at),
        "expires_at": int(batch.course.expires_at),
        **{name: int(stand.since[phase]) if phase in stand.since else None for name, phase in _TIMES.items()},
        "request_counts": _encode_counts(batch, stand, now),
        "usage": _encode_usage(written),
        "metadata": batch.order.metadata,
    }


def _encode_problem(problem: Problem, manners: Manners) -> dict[str, Any]:
    line = problem.line and problem.line - 1 + manners.first_line
    item = {
        "code": manners.codes.get(problem.code, problem.code),
        "message": problem.message,
        "param": problem.param,
        "line": line,
    }
    return {"object": "list", "data": [item]}


def _encode_counts(batch: StoredBatch, stand: Stand, now: float) -> dict[str, int]:
    """Count rows; zeros until validation ends. In the end, what was never run has failed."""
    if stand.phase is Phase.VALIDATING:
        return {"total": 0, "completed": 0, "failed": 0}
    counts = count_rows(batch, now)
    failed = counts.errored + counts.expired + counts.cancelled
    return {"total": counts.total, "completed": counts.succeeded, "failed": failed}


def _encode_usage(written: Written) -> dict[str, Any]:
    return {
        "input_tokens": written.input_tokens,
        "input_tokens_details": {"cached_tokens": written.cached_tokens},
        "output_tokens": written.output_tokens,
        "output_tokens_details": {"reasoning_tokens": written.reasoning_tokens},
        "total_tokens": written.input_tokens + written.output_tokens,
    }


def cut_page(
    items: Sequence[_Item], after: str | None, limit: str | None, bounds: Sequence[int]
) -> tuple[list[_Item], bool]:
    """Give the page that begins after this id, and whether there is more. Bounds: the default limit and the highest."""
    start = 0
    if after is not None:
        start = next((number for number, item in enumerate(items, start=1) if item.id == after), -1)
        if start < 0:
            raise RefusalError(400, f"Invalid 'after': no object found with id '{after}'.", param="after")
    most = _read_limit(limit, *bounds)
    return list(items[start : start + most]), len(items) > start + most


def _read_limit(limit: str | None, default: int, most: int) -> int:
    if limit is None:
        return default
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= most:
        code = "integer_above_max_value" if limit.isdigit() and int(limit) > most else "integer_below_min_value"
        raise RefusalError(400, f"Invalid 'limit': {limit!r}, expected 1 to {most}.", param="limit", code=code)
    return int(limit)


def encode_page(items: Sequence[dict[str, Any]], manners: Manners, *, has_more: bool) -> dict[str, Any]:
    page: dict[str, Any] = {"object": "list", "data": list(items)}
    if manners.pages and manners.names_ends:
        page |= {"first_id": items[0]["id"] if items else None, "last_id": items[-1]["id"] if items else None}
    return {**page, "has_more": has_more} if manners.pages else page
