"""The dialects: one YAML file of facts each, found by looking, and the limits that a caller may change."""

import datetime as dt
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Struct

from asyncbatch.emulator.life import Pace, Phase


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the emulated service allows; as documented, unless the caller says otherwise. None is no limit.

    Attributes:
        rows: Requests in one batch, however they come.
        file_bytes: The size of one batch's requests.
        upload_bytes: The size of a file, whatever it is for.
        embedding_inputs: Texts in one batch, over all its rows.
        inline_rows: Requests in the body of a create.
        inline_bytes: The size of such a body.
        open_batches: Unfinished batches of one account.
        open_rows: Requests in them.
        enqueued_tokens: Tokens in them, of which a row has one for every four bytes.
        requests_per_min: HTTP requests for each account in a minute of the emulator's clock.
    """

    rows: int | None = None
    file_bytes: int | None = None
    upload_bytes: int | None = None
    embedding_inputs: int | None = None
    inline_rows: int | None = None
    inline_bytes: int | None = None
    open_batches: int | None = None
    open_rows: int | None = None
    enqueued_tokens: int | None = None
    requests_per_min: int | None = None


class Dialect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's protocol, in facts.

    Attributes:
        family: The module below `families` that speaks the protocol.
        prefix: What stands between the dialect's name and the paths, as in `/openai/v1`.
        older_prefix: The same for an older version of the protocol, which is served as well.
        environment: What an SDK reads to find the service; filled in are `{base_url}`, `{root}` without the prefix, `{key}`.
        status: The service's word for each phase. Phases that the service does not tell apart have the same word.
        pace: A phase that the service does not have takes 0 seconds.
        protocol: Facts that only the family understands.
    """

    name: str
    family: str
    checked: dt.date
    sources: tuple[str, ...]
    prefix: str
    environment: dict[str, str]
    status: dict[Phase, str]
    pace: Pace
    limits: Limits
    protocol: dict[str, Any]
    older_prefix: str | None = None

    @property
    def mount(self) -> str:
        """The path that all paths of the dialect begin with."""
        return f"/{self.name}{self.prefix}"

    @property
    def mounts(self) -> tuple[str, ...]:
        """The same, and that of the older version where there is one; the longest first."""
        found = {self.mount, *([f"/{self.name}{self.older_prefix}"] if self.older_prefix is not None else [])}
        return tuple(sorted(found, key=len, reverse=True))

    def below(self, path: str) -> str:
        """Give the path below the base URL, whichever it is."""
        return path.removeprefix(next((mount for mount in self.mounts if path.startswith(f"{mount}/")), ""))


_Record = TypeVar("_Record", Pace, Limits)


def change(record: _Record, changes: Mapping[str, Any] | None) -> _Record:
    """Give the record with some fields changed; an unknown field or a wrong type is a `msgspec.ValidationError`."""
    return msgspec.convert({**msgspec.structs.asdict(record), **(changes or {})}, type(record))


@cache
def load_dialects() -> dict[str, Dialect]:
    """Read every dialect that is there, by name."""
    folder = files("asyncbatch.emulator") / "dialects"
    found = [_load(entry.read_bytes()) for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {dialect.name: dialect for dialect in sorted(found, key=lambda dialect: dialect.name)}


def _load(text: bytes) -> Dialect:
    return msgspec.convert(yaml.safe_load(text), Dialect)
