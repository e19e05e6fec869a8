"""xAI's objects on the wire: batches with counters, files, pages with tokens, errors with a sentence for a code. Pure.

Source: the fact sheet of xAI's batches, and xai-org/xai-proto:batch.proto.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.life import Phase
from asyncbatch.emulator.rows import Fate
from asyncbatch.emulator.store import StoredBatch, StoredFile

_Item = TypeVar("_Item")
_SENTENCES = {
    400: "Client specified an invalid argument",
    401: "The request does not have valid authentication credentials",
    403: "The caller does not have permission to execute the specified operation",
    404: "Some requested entity was not found",
    412: "The system is not in a state required for the operation's execution",
    413: "Client specified an invalid argument",
    422: "Client specified an invalid argument",
    429: "Some resource has been exhausted",
    500: "Internal error",
}
"""What tonic calls a status of gRPC (https://docs.rs/tonic/latest/tonic/enum.Code.html): 400 and 401 were seen to say it so."""
_BROKEN = "The service is currently unavailable"


class Counters(NamedTuple):
    """How many rows a batch has, by how they ended."""

    num_requests: int = 0
    num_pending: int = 0
    num_success: int = 0
    num_error: int = 0
    num_cancelled: int = 0


def encode_error(error: RefusalError) -> bytes:
    return msgspec.json.encode({"code": _SENTENCES.get(error.status, _BROKEN), "error": error.message})


def count(batch: StoredBatch, now: float, revert_s: float) -> Counters:
    """Count rows as the service shows them.

    They become more while a file is read, and half of them may have been answered before the others are there. What nobody
    runs stays pending. For a while after a cancel all are shown as cancelled, those with an answer too.
    """
    stand = batch.stand(now)
    if batch.examined is None or stand.phase is Phase.FAILED:
        return Counters()
    rows = batch.examined.rows
    if stand.phase is Phase.VALIDATING:
        if batch.order.input_file_id is None:  # what is added is there at once
            return Counters(num_requests=rows, num_pending=rows)
        known = rows // 2 if is_half_read(batch, now) else 0
        return Counters(num_requests=known, num_success=known)
    if stand.phase is Phase.CANCELLED and now < stand.since[Phase.CANCELLED] + revert_s:
        return Counters(num_requests=rows, num_cancelled=rows)
    done = batch.examined.fates[: stand.rows_done]
    bad = done.count(Fate.ERROR) + done.count(Fate.EXPIRE)
    good = len(done) - bad - done.count(Fate.STALL)
    if not stand.is_over and good + bad == rows:  # the last one ends with the batch
        good, bad = (good - 1, bad) if good else (good, bad - 1)
    rest = rows - good - bad
    is_cancelled = stand.phase is Phase.CANCELLED
    return Counters(
        num_requests=rows,
        num_pending=0 if is_cancelled else rest,
        num_success=good,
        num_error=bad,
        num_cancelled=rest if is_cancelled else 0,
    )


def is_half_read(batch: StoredBatch, now: float) -> bool:
    """Say whether half of the time is over in which a file is read."""
    return 2 * (now - batch.course.created_at) >= batch.course.pace.validating_s


def encode_batch(batch: StoredBatch, now: float, *, revert_s: float, ticks_per_token: int) -> dict[str, Any]:
    stand, written = batch.stand(now), batch.written
    ended_at = stand.since.get(Phase.FAILED, batch.course.cancel_at)  # who ended it makes no difference
    cost = None
    if written is not None and stand.is_over:
        ticks = ticks_per_token * (written.input_tokens + written.output_tokens)
        counted = count(batch, now, 0).num_success
        costs = [{"endpoint": "chat", "cost_usd_ticks": ticks, "request_count": counted}]
        cost = {"total_cost_usd_ticks": ticks, "endpoint_costs": costs, "calculation_time": _moment(now)}
    return {
        "batch_id": batch.id,
        "name": batch.order.name,
        "create_time": _day(batch.course.created_at),
        "expire_time": _day(batch.course.expires_at),
        "create_api_key_id": f"key_{batch.account}",
        "cancel_time": None if ended_at is None else _day(ended_at),
        "cancel_by_xai_message": batch.problem.message if batch.problem and stand.phase is Phase.FAILED else None,
        "state": count(batch, now, revert_s)._asdict(),
        "cost_breakdown": cost,
        "input_file_id": batch.order.input_file_id,
    }


def _day(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).date().isoformat()


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_file(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
    }


def encode_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_776_000_000, "owned_by": "xai"}


def read_limit(query: Mapping[str, str], bounds: Sequence[int]) -> int:
    """Give how many items a page may have; bounds are what it is by itself and at most."""
    default, most = bounds
    given = query.get("limit") or str(default)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= most:
        raise RefusalError(400, f"limit must be between 1 and {most}, got {given!r}")
    return int(given)


def cut_page(items: Sequence[_Item], query: Mapping[str, str], bounds: Sequence[int]) -> tuple[list[_Item], str | None]:
    """Give a page, and the token of the next one; items that are added in front push others to it."""
    limit, start = read_limit(query, bounds), read_token(query)
    end = start + limit
    return list(items[start:end]), write_token(end) if end < len(items) else None


def write_token(place: int) -> str:
    return f"t{place:08x}"


def read_token(query: Mapping[str, str]) -> int:
    """Give the place where a page begins."""
    token = query.get("pagination_token")
    if not token:
        return 0
    try:
        return int(token.removeprefix("t"), 16)
    except ValueError as error:
        raise RefusalError(400, f"Invalid pagination_token {token!r}") from error
