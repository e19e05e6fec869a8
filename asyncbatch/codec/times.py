"""A moment, whichever way a provider writes it: seconds, milliseconds, a number as text, or ISO 8601."""

import re
from datetime import datetime
from typing import Any

_NUMBER = re.compile(r"\d{1,18}(?:\.\d*)?", re.ASCII)
# The fraction stands apart: nine digits, as protobuf writes them, are more than `datetime` keeps.
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{0,9})\d*)?\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_MILLISECONDS_FROM = 1e11
"""As seconds this is the year 5138, as milliseconds 1973: no batch is of either."""
_LATEST = 253_402_300_800.0
"""The end of the year 9999."""


def decode_time(value: Any) -> float | None:
    """Give a moment as Unix seconds; None for anything that is none. Never raises.

    A moment without a zone is UTC, and a day alone means its beginning. Nothing before 1970 is a moment of a batch: services
    write 0, or the year 1, where they mean none.
    """
    if value is None:  # of the moments of a batch, most have not come
        return None
    if isinstance(value, str):
        text = value.strip()
        return _from_number(float(text)) if _NUMBER.fullmatch(text) else _from_iso(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    return None


def _from_iso(text: str) -> float | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{offset}")
        whole = moment.timestamp()
    except (ValueError, OverflowError):  # the 31st of February, an hour 25, a zone that leads out of the calendar
        return None
    return _plausible(whole + float(f"0.{fraction or 0}"))


def _from_number(number: float) -> float | None:
    if not 0 < number < _LATEST * 1000:  # a NaN is neither; a whole number beyond it may be too large for a float
        return None
    return _plausible(number / 1000 if number >= _MILLISECONDS_FROM else float(number))


def _plausible(seconds: float) -> float | None:
    return seconds if 0 < seconds < _LATEST else None
