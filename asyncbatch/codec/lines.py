"""What can still be learnt from a result line that cannot be read as a whole: whose it is, and the row that it becomes."""

import re
from functools import cache

import msgspec

from asyncbatch.dto import ProviderResultRow, RowError
from asyncbatch.enums import ResultStatus

_SEARCHED_BYTES = 64 * 1024


@cache
def _pattern(field: str) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"\s*:\s*("(?:[^"\\]|\\.)*")' % re.escape(field.encode()))


def salvage_id(line: bytes, field: str) -> str:
    """Give the request id in a broken line; empty where there is none to be found.

    Args:
        line: The line, or what there is of it.
        field: Where the provider puts the id, such as `custom_id`.
    """
    find = _pattern(field).search
    found = find(line[:_SEARCHED_BYTES]) or find(line[-_SEARCHED_BYTES:])
    if found is None:
        return ""
    try:
        return msgspec.json.decode(found[1], type=str)
    except ValueError:  # no text of JSON, or no UTF-8
        return ""


def undecodable(line: bytes, why: str, field: str = "custom_id") -> ProviderResultRow:
    """Give the row of a line that cannot be read: its raw bytes are kept, under its request's id where that can be made out."""
    error = RowError(code="undecodable", message=f"the answer cannot be read: {why}")
    return ProviderResultRow(
        request_id=salvage_id(line, field), status=ResultStatus.UNDECODABLE, body=msgspec.Raw(line), error=error
    )
