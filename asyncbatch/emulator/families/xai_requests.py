"""Requests that are added to a batch without a file, and what is told of each. Runs in threads.

Source: the fact sheet of xAI's batches, "Input and create" and "Results".
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from asyncbatch.emulator.desk import RefusalError
from asyncbatch.emulator.families.xai_rows import Rows
from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.life import Phase, Stand
from asyncbatch.emulator.rows import Fate, read_row
from asyncbatch.emulator.store import Examined

_JSON = msgspec.json.Decoder()
_ENCODE = msgspec.json.Encoder().encode
_STATES = {Fate.ANSWER: "succeeded", Fate.MISSING: "succeeded", Fate.ERROR: "failed", Fate.EXPIRE: "failed"}


class Merged(NamedTuple):
    """What a batch has after requests were added.

    Attributes:
        size: Of the file with all of them.
        sha256: Of those that are new; None if none is.
    """

    size: int
    sha256: str | None


def merge(old: Path | None, added: Path, target: Path, new_id: Callable[[], str]) -> Merged:
    """Write the requests that a batch has and those that come to it, without those that it has already.

    Raises:
        RefusalError: One comes twice (400), or is there and different (412).
    """
    known = dict(_named(old, new_id)) if old is not None else {}
    fresh = dict[str, bytes]()
    for name, line in _named(added, new_id):
        if name in fresh:
            raise RefusalError(400, f"Duplicate batch_request_id '{name}'.")
        fresh[name] = line
    changed = next((name for name, line in fresh.items() if known.get(name, line) != line), None)
    if changed is not None:
        raise RefusalError(412, f"The batch has a request '{changed}' already, and it is another one.")
    new = b"".join(line for name, line in fresh.items() if name not in known)
    size = target.write_bytes(b"".join(known.values()) + new)
    return Merged(size, hashlib.sha256(new).hexdigest() if new else None)


def _named(path: Path, new_id: Callable[[], str]) -> Iterator[tuple[str, bytes]]:
    """Give the requests by their names; one without gets one."""
    with path.open("rb") as file:
        for line in file:
            request = _JSON.decode(line)
            if not is_object(request):
                raise RefusalError(400, "A request is no object.")
            name = request.get("batch_request_id") or f"batch_request_{new_id()}"
            yield str(name), _ENCODE({**request, "batch_request_id": name}) + b"\n"


def describe(path: Path, examined: Examined, kind: Rows, stand: Stand) -> list[dict[str, Any]]:
    """Tell of each request of a batch where it goes, and how it ended."""
    with path.open("rb") as file:
        rows = [read_row(line, kind) for line in file if line.strip()]
    return [
        {
            "batch_request_id": row.id,
            "endpoint": kind.endpoint_of(row).answer,
            "model": row.body["model"],
            "state": _state_of(number, Fate(examined.fates[number]), stand),
        }
        for number, row in enumerate(rows)
    ]


def _state_of(number: int, fate: Fate, stand: Stand) -> str:
    if number < stand.rows_done and fate is not Fate.STALL:
        return _STATES[fate]
    return "cancelled" if stand.phase is Phase.CANCELLED else "pending"
