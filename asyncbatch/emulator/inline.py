"""Creates that carry their requests: the body goes to disk, its array becomes a file of rows, one a line.

So whatever comes after, validation, answers, history, does not know the difference.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import anyio.to_thread
import msgspec
from aiohttp import web

from asyncbatch.emulator.desk import ACCOUNT, Desk, RefusalError
from asyncbatch.emulator.store import StoredFile
from asyncbatch.emulator.uploads import Arrival, kept, too_large

KeyPath: TypeAlias = Sequence[str | tuple[str, ...]]
"""Where the array lies, as in `("batch", "requests")`; a step may have several spellings."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw] | None)  # null is as good as nothing
_ANY = msgspec.json.Decoder()


class Inline(NamedTuple):
    """The body of a create.

    Attributes:
        order: The body without the array of rows.
        rows: The rows, one a line, as a file that is none of the account's; None if the body has no such array.
    """

    order: dict[str, Any]
    rows: StoredFile | None


async def read_inline(
    request: web.Request, desk: Desk, keys: KeyPath, check: Callable[[Sequence[str]], None] | None = None
) -> Inline:
    """Read a body of up to `limits.inline_bytes`, and make a file of the array that lies at `keys`.

    A service that reads as the body comes looks at the order of its fields: `check` is called with their names, and refuses.

    Raises:
        RefusalError: The body is too large (413; it is not read to its end), or no JSON object, or what lies there is no
            array (400).
    """
    most = desk.limits.inline_bytes
    if most is not None and (request.content_length or 0) > most:
        raise too_large(most, "body of the request")
    body, rows = desk.store.new_path(), desk.store.new_path()
    async with kept(body), kept(rows):
        arrival = Arrival(body, most, "body of the request")
        await arrival.take(request.content)
        order, is_inline, size, sha256 = await anyio.to_thread.run_sync(_split, body, rows, keys, check)
        await anyio.to_thread.run_sync(body.unlink)
    if not is_inline:
        return Inline(order, None)
    return Inline(order, _stored(desk, request[ACCOUNT], rows, size, sha256))


def _stored(desk: Desk, account: str, path: Path, size: int, sha256: str) -> StoredFile:
    return StoredFile(
        id="",
        account=account,
        purpose="batch",
        filename="",
        path=path,
        size=size,
        sha256=sha256,
        created_at=desk.clock.now(),
        expires_at=None,
        is_inline=True,
    )


class _Split(NamedTuple):
    order: dict[str, Any]
    is_inline: bool
    size: int
    sha256: str


def _split(body: Path, rows: Path, keys: KeyPath, check: Callable[[Sequence[str]], None] | None) -> _Split:
    try:
        data = body.read_bytes()
        if check is not None:
            check(list(_FIELDS.decode(data)))
        order, array = _cut_out(data, keys)
        items = None if array is None else _ITEMS.decode(array)
    except msgspec.ValidationError as error:
        raise RefusalError(400, f"The body of the request is not as expected: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusalError(400, "We could not parse the JSON body of your request.") from error
    if items is None:
        return _Split(order, is_inline=False, size=0, sha256="")
    size, sha256 = _write_lines(rows, items)
    return _Split(order, is_inline=True, size=size, sha256=sha256)


def _cut_out(body: "bytes | msgspec.Raw", keys: KeyPath) -> tuple[dict[str, Any], msgspec.Raw | None]:
    """Take the array out of the body, level by level; what lies beside it is decoded, the array is not."""
    fields = _FIELDS.decode(body)
    names = (keys[0],) if isinstance(keys[0], str) else keys[0]
    name = next((name for name in names if name in fields), None)
    inner = fields.pop(name) if name is not None else None
    order = {key: _ANY.decode(value) for key, value in fields.items()}
    if name is None or inner is None or len(keys) == 1:
        return order, inner
    if bytes(memoryview(inner)[:1]) != b"{":
        return {**order, name: _ANY.decode(inner)}, None
    order[name], array = _cut_out(inner, keys[1:])
    return order, array


def _write_lines(path: Path, items: Sequence[msgspec.Raw]) -> tuple[int, str]:
    """Write the rows without needless blanks, so that no line feed is left in any; gives size and digest."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb", buffering=1024 * 1024) as file:
        for item in items:
            line = msgspec.json.format(item, indent=-1) + b"\n"
            digest.update(line)
            size += file.write(line)
    return size, digest.hexdigest()
