"""Anthropic's objects on the wire: batches, pages and errors, made from what the store holds. Pure.

Source: https://platform.claude.com/docs/en/api/messages/batches and .../api/errors
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from asyncbatch.emulator.clock import write_time
from asyncbatch.emulator.counts import count_rows
from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.life import Phase, Stand
from asyncbatch.emulator.looks import AGAIN
from asyncbatch.emulator.store import StoredBatch

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FOREIGN_CODES = {"invalid_value", "rate_limit_exceeded", "server_error"}  # the emulator's own, in another's words


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_Item = TypeVar("_Item", bound=_Named)


def encode_failure(status: int, message: str, code: str | None, request_id: str | None) -> dict[str, Any]:
    """Give the envelope that errors of calls and of rows have in common."""
    kind = _ERROR_TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    details = None if code is None or code in _FOREIGN_CODES else {"error_code": code}
    error = {"details": details, "type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": request_id}


def archived_at(batch: StoredBatch, lifetime_s: float, now: float) -> float | None:
    """Give when the results went; None if they are there, or yet to come."""
    at = batch.course.created_at + lifetime_s
    return at if now >= at and batch.stand(now).is_over else None


def encode_batch(
    batch: StoredBatch, words: Mapping[Phase, str], now: float, *, results_url: str, lifetime_s: float
) -> dict[str, Any]:
    stand = batch.stand(now)
    ended_at = stand.since[stand.phase] if stand.is_over else None
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": words[stand.phase],
        "request_counts": _encode_counts(batch, stand, now),
        "ended_at": _encode_time(ended_at),
        "created_at": write_time(batch.course.created_at),
        "expires_at": write_time(batch.course.expires_at),
        "cancel_initiated_at": _encode_time(batch.course.cancel_at),
        "archived_at": _encode_time(archived_at(batch, lifetime_s, now)),
        "results_url": results_url if stand.is_over else None,
    }


def _encode_time(at: float | None) -> str | None:
    return None if at is None else write_time(at)


def _encode_counts(batch: StoredBatch, stand: Stand, now: float) -> dict[str, int]:
    """Count rows; until the end of the batch all of them are being processed."""
    counts = count_rows(batch, now)
    if not stand.is_over:
        return {"processing": counts.total, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    return {
        "processing": 0,
        "succeeded": counts.succeeded,
        "errored": counts.errored,
        "canceled": counts.cancelled,
        "expired": counts.expired,
    }


def cut_page(items: Sequence[_Item], query: Mapping[str, str], bounds: Sequence[int]) -> tuple[list[_Item], bool]:
    """Give the page that a query asks for, newest first, and whether there is more in its direction."""
    after, before, most = query.get("after_id"), query.get("before_id"), _read_limit(query.get("limit"), *bounds)
    if after is not None and before is not None:
        raise RefusalError(400, "before_id: cannot be combined with after_id")
    if before is not None:
        end = _find(items, before, "before_id")
        start = max(0, end - most)
        return list(items[start:end]), start > 0
    start = 0 if after is None or after == AGAIN else _find(items, after, "after_id") + 1
    return list(items[start : start + most]), len(items) > start + most


def _find(items: Sequence[_Item], wanted: str, name: str) -> int:
    number = next((number for number, item in enumerate(items) if item.id == wanted), None)
    if number is None:
        raise RefusalError(400, f"{name}: there is nothing with the id '{wanted}'")
    return number


def _read_limit(limit: str | None, default: int, most: int) -> int:
    if limit is None:
        return default
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= most:
        raise RefusalError(400, f"limit: expected a whole number from 1 to {most}, not {limit!r}")
    return int(limit)


def encode_page(items: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "data": list(items),
        "has_more": has_more,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
    }
