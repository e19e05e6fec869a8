"""What happened at the emulator, for a checker to judge: every request, and everything that was accepted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct, field


class Record(Struct, frozen=True, kw_only=True):
    """One request, one thing that was accepted, or one webhook that was sent.

    An accepted upload, create, cancel or delete has a record of its own, written at the moment of acceptance; the
    record of the request that brought it follows when the answer is known, even if it never reached the client.

    Attributes:
        path: Of a webhook: its event.
        operation: What the request was for, in a word that all dialects share; see `Fault.operation`.
        input_sha256: Of an uploaded file its digest; of inline requests that of their lines.
        status: The HTTP status that was sent, or that a webhook was answered with; None where there was no answer.
        account: A fingerprint of the key that was used; empty without one.
        is_paid: Of a create: whether rows run for it. Only a batch that fails validation, or is cancelled before its
            first row, costs nothing.
        faults: The kinds of the scripted faults that touched this request, but for those that looked at its answer.
    """

    kind: Literal["request", "upload", "create", "cancel", "delete", "webhook"]
    at: float
    dialect: str
    account: str
    method: str
    path: str
    operation: str = "other"
    status: int | None = None
    object_id: str | None = None
    input_file_id: str | None = None
    input_sha256: str | None = None
    file_bytes: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    is_paid: bool = False
    faults: tuple[str, ...] = ()


_DECODER = msgspec.json.Decoder(list[Record])


def encode_history(history: Iterable[Record]) -> bytes:
    """Encode records as `GET /history` of an emulator gives them."""
    return msgspec.json.encode(list(history))


def decode_history(data: bytes) -> list[Record]:
    """Read what `GET /history` of an emulator gives, such as one in another process."""
    return _DECODER.decode(data)


def paid_twice(history: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Group the paid creates that bought the same input for the same account more than once.

    Returns:
        Account and SHA-256 of the input, with the creates that paid for it. Empty when nothing was bought twice.
    """
    bought: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in history:
        if record.kind == "create" and record.is_paid and record.input_sha256:
            bought[record.account, record.input_sha256].append(record)
    return {key: records for key, records in bought.items() if len(records) > 1}
