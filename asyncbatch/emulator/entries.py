"""What an emulator writes down of its state, and how that becomes files and batches again. Pure.

An entry stands for a thing as it now is; the last one of a thing counts.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from asyncbatch.emulator.history import Record
from asyncbatch.emulator.life import Course
from asyncbatch.emulator.store import Examined, Problem, Store, StoredBatch, StoredFile, Written


class ClockEntry(Struct, frozen=True, kw_only=True, tag="clock"):
    """Where the clock stood.

    Attributes:
        wall: The real time then, in seconds since the epoch.
        at: The emulated time then.
        offset_s: By how much a caller's own clock was advanced; None if there was none.
    """

    wall: float
    at: float
    speed: float
    offset_s: float | None


class StoreEntry(Struct, frozen=True, kw_only=True, tag="store"):
    """The directory that a dialect's files lie in. What was said of the dialect before is forgotten."""

    dialect: str
    directory: str


class FileEntry(Struct, frozen=True, kw_only=True, tag="file"):
    """A file; the name of its bytes in the directory tells it from all others.

    Attributes:
        kind: The name of its class.
        is_listed: Whether it is one of the account's files, and not only part of a batch.
    """

    dialect: str
    key: str
    kind: str
    fields: dict[str, Any]
    is_listed: bool


class Totals(Struct, frozen=True, kw_only=True):
    """What a batch cost, in tokens: see `store.Written`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class BatchEntry(Struct, frozen=True, kw_only=True, tag="batch"):
    """A batch. Its files are named by their keys.

    Attributes:
        offsets: Of what validation found: see `store.Examined`.
        totals: The tokens, if its results are written.
    """

    dialect: str
    id: str
    account: str
    order: Any
    course: Course
    input: str | None = None
    problem: Problem | None = None
    fates: bytes | None = None
    offsets: bytes = b""
    model: str | None = None
    is_stalled: bool = False
    output: str | None = None
    errors: str | None = None
    totals: Totals | None = None


class RecordEntry(Struct, frozen=True, kw_only=True, tag="record"):
    """A call, or something that was accepted."""

    record: Record


Entry: TypeAlias = ClockEntry | StoreEntry | FileEntry | BatchEntry | RecordEntry


@dataclass
class Kept:
    """What is known of one dialect."""

    directory: str
    files: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])
    batches: dict[str, BatchEntry] = field(default_factory=dict[str, BatchEntry])
    records: list[RecordEntry] = field(default_factory=list[RecordEntry])

    def entries(self, dialect: str) -> list[Entry]:
        store = StoreEntry(dialect=dialect, directory=self.directory)
        return [store, *self.files.values(), *self.batches.values(), *self.records]


def fold(entries: Iterable[Entry]) -> tuple[ClockEntry | None, dict[str, Kept]]:
    """Give where the clock stood, and the last word about everything, by dialect."""
    clock: ClockEntry | None = None
    kept: dict[str, Kept] = {}
    for entry in entries:
        match entry:
            case ClockEntry():
                clock = entry
            case StoreEntry(dialect=dialect, directory=directory):
                kept[dialect] = Kept(directory)
            case FileEntry():
                kept[entry.dialect].files[entry.key] = entry
            case BatchEntry():
                kept[entry.dialect].batches[entry.id] = entry
            case _:
                kept[entry.record.dialect].records.append(entry)
    return clock, kept


# Files


def encode_file(dialect: str, file: StoredFile, *, is_listed: bool) -> FileEntry:
    """Encode a file, whichever family's it is."""
    described = {item.name: getattr(file, item.name) for item in fields(file) if item.name != "path"}
    return FileEntry(
        dialect=dialect,
        key=file.path.name,
        kind=type(file).__name__,
        fields=msgspec.to_builtins(described),
        is_listed=is_listed,
    )


def decode_file(entry: FileEntry, directory: Path, kinds: Mapping[str, type[StoredFile]]) -> StoredFile:
    def locate(wanted: type, value: str) -> Path:  # noqa: ARG001  a path is all that JSON does not know
        return directory / value

    return msgspec.convert({**entry.fields, "path": entry.key}, kinds[entry.kind], dec_hook=locate)


# Batches


def encode_batch(dialect: str, batch: StoredBatch) -> BatchEntry:
    examined, written = batch.examined, batch.written
    return BatchEntry(
        dialect=dialect,
        id=batch.id,
        account=batch.account,
        order=msgspec.to_builtins(batch.order),
        course=batch.course,
        problem=batch.problem,
        input=_key(batch.input),
        fates=examined.fates if examined else None,
        offsets=examined.offsets.tobytes() if examined else b"",
        model=examined.model if examined else None,
        is_stalled=bool(examined and examined.is_stalled),
        output=_key(written.output) if written else None,
        errors=_key(written.errors) if written else None,
        totals=msgspec.convert(written, Totals, from_attributes=True) if written else None,
    )


def _key(file: StoredFile | None) -> str | None:
    return file.path.name if file else None


def decode_batch(entry: BatchEntry, order: Any, files: Mapping[str, StoredFile]) -> StoredBatch:
    """Make a batch whose files are these, and whose order is this type's."""

    def find(key: str | None) -> StoredFile | None:
        return None if key is None else files[key]

    batch = StoredBatch(
        id=entry.id,
        account=entry.account,
        order=msgspec.convert(entry.order, order),
        course=entry.course,
        input=find(entry.input),
        problem=entry.problem,
        examined=None if entry.fates is None else _examined(entry, entry.fates),
    )
    if entry.totals is not None:
        batch.has_writer = True
        totals = msgspec.structs.asdict(entry.totals)
        batch.written = Written(output=find(entry.output), errors=find(entry.errors), **totals)
        batch.written_event.set()
    return batch


def _examined(entry: BatchEntry, fates: bytes) -> Examined:
    offsets = array("Q")
    offsets.frombytes(entry.offsets)
    return Examined(offsets=offsets, fates=fates, model=entry.model, is_stalled=entry.is_stalled)


def fill(store: Store, kept: Kept, kinds: Iterable[type[StoredFile]], order: Any) -> None:
    """Put into an empty store what is kept of a dialect."""
    by_name = {kind.__name__: kind for kind in kinds}
    files = {key: decode_file(entry, store.directory, by_name) for key, entry in kept.files.items()}
    store.files.update({files[key].id: files[key] for key, entry in kept.files.items() if entry.is_listed})
    store.batches.update({name: decode_batch(entry, order, files) for name, entry in kept.batches.items()})
