"""What can still be learnt from a result line that cannot be read as a whole: whose it is."""

import re
from functools import cache

import msgspec

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
