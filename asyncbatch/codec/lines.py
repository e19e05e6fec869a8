"""What can still be learnt from a result line that cannot be read as a whole: whose it is."""

import re

import msgspec

_ID = re.compile(rb'"(?:custom_id|key|recordId|batch_request_id)"\s*:\s*("(?:[^"\\]|\\.)*")')
_SEARCHED_BYTES = 64 * 1024


def salvage_id(line: bytes) -> str:
    """Give the request id in a broken line; empty where there is none to be found."""
    found = _ID.search(line[:_SEARCHED_BYTES]) or _ID.search(line[-_SEARCHED_BYTES:])
    if found is None:
        return ""
    try:
        return msgspec.json.decode(found[1], type=str)
    except ValueError:  # no text of JSON, or no UTF-8
        return ""
