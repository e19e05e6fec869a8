"""OpenAI's objects on the wire: files, batches, pages and errors, made from what the store holds. Pure.

Source: https://platform.openai.com/docs/api-reference/batch/object and .../files/object
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import RefusalError
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


def encode_error(error: RefusalError) -> dict[str, Any]:
    kind = "requests" if error.status == 429 else "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def encode_event(batch: StoredBatch, stand: Stand, event_id: str, event: str) -> dict[str, Any]:
    """Give what a webhook says. Source: https://platform.openai.com/docs/api-reference/webhook-events."""
    created_at = int(stand.since[stand.phase])
    return {"id": event_id, "object": "event", "created_at": created_at, "type": event, "data": {"id": batch.id}}


def encode_model(name: str) -> dict[str, Any]:
    """Give a model of the list. Source: https://platform.openai.com/docs/api-reference/models/object."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}


def encode_file(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def encode_batch(batch: StoredBatch, words: Mapping[Phase, str], now: float) -> dict[str, Any]:
    stand = batch.stand(now)
    written = batch.written if batch.written and stand.is_over else Written()
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.order.endpoint,
        "model": batch.examined.model if batch.examined and stand.phase is not Phase.VALIDATING else None,
        "errors": _encode_problem(batch.problem) if batch.problem and stand.phase is Phase.FAILED else None,
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


def _encode_problem(problem: Problem) -> dict[str, Any]:
    item = {"code": problem.code, "message": problem.message, "param": problem.param, "line": problem.line}
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


def encode_page(items: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
