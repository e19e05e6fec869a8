"""When an account may be asked again, by what its answers say of its quota: nothing left, and when there will be more.

Source: the headers of OpenAI and of those that speak its protocol (`x-ratelimit-*-requests`, durations such as `1m2.5s`) and of
Anthropic (`anthropic-ratelimit-requests-*`, RFC 3339).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from asyncbatch.planning.retry import MAX_RETRY_AFTER_S

_NAMES = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 40
"""Characters of a time that is meant."""
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def decode_rest(headers: Mapping[str, str], now: float) -> float | None:
    """Give the seconds until there are requests again, an hour at most; None while there are, or where nothing is said."""
    for remaining, reset in _NAMES:
        if headers.get(remaining) == "0":
            seconds = _seconds(headers.get(reset, ""), now)
            return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
    return None


def _seconds(text: str, now: float) -> float | None:
    if len(text) > _LONGEST:
        return None
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    except (ValueError, OverflowError):
        return None
