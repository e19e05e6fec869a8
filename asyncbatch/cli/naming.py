"""The requests' own names for rows that carry ours: on the wire an id is eight random digits and the row's number.

`run` maps them back by itself. A batch that is fetched by its name alone knows only the wire's ids; with the file of requests
at hand, the number leads to the row that it was. Refused rows count, so it is the row's place in the file.
"""

import re
from typing import Any, cast

import msgspec

from asyncbatch.cli.reading import RequestFile
from asyncbatch.dto import ProviderResultRow

_WIRE = re.compile(r"[0-9a-f]{8}-([0-9]{7,})")


class WireNames:
    """Maps ids on the wire to the ids of the requests in a file.

    Attributes:
        foreign: Rows whose wire ids had to stay.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._ids: list[str | None] = []
        self.foreign = 0

    async def read(self) -> None:
        """Read the ids of the file, where there is one."""
        if self._path is None:
            return
        source = RequestFile(self._path)
        source.open()
        try:
            async for item in source.requests():
                self._ids.append(_own_id(item))
        finally:
            source.close()

    def own(self, row: ProviderResultRow) -> ProviderResultRow:
        """Give the row under its request's own id, where that can be told."""
        found = _WIRE.fullmatch(row.request_id)
        if found is None:
            return row
        number = int(found[1])
        if number >= len(self._ids):
            self.foreign += 1
            return row
        return msgspec.structs.replace(row, request_id=self._ids[number] or f"{number:07d}")

    def note(self, path: str | None) -> str:
        """Say what the ids mean that had to stay."""
        if path is None:
            number = "the number in them is the request's place in its file, from 0"
            return f"the ids are those on the wire; {number}: --requests FILE gives the requests' own"
        return f"{self.foreign:,} rows have numbers that {path} does not reach: is it the file that was sent?"


def _own_id(item: Any) -> str | None:
    """Give the id that a ready row carries; other requests are named by their number."""
    if not isinstance(item, dict):
        return None
    request_id = cast("dict[str, Any]", item).get("custom_id")
    return request_id if isinstance(request_id, str) else None
