"""The canaries are found wherever they are: a search that finds nothing proves nothing otherwise."""

import base64
import json
import textwrap
import urllib.parse

import pytest

from asyncbatch import ProviderPermanentError
from tests.secrets.canaries import canary, everything_about, leaks, taken_away

KEY = canary("sk-")
WAYS = {
    "plain": KEY,
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in base64 behind a name": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "in a URL": urllib.parse.quote(f"https://h/?key={KEY}", safe=""),
    "percent for percent": "".join(f"%{byte:02x}" for byte in KEY.encode()),
    "wrapped": "\n    ".join(textwrap.wrap(f"the key is {KEY}, is it not?", 20)),
    "wrapped with backslashes": "\\\n".join(textwrap.wrap(KEY, 5)),
    "escaped": "".join(f"\\u{ord(character):04x}" for character in KEY),
    "in JSON": json.dumps({"a": [KEY]}),
    "its first half": KEY[:20],
    "its second half": KEY[-16:],
    "backwards": KEY[::-1],
    "in bytes": b"\x00" + KEY.encode() + b"\xff",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_canary_is_found(way):
    assert leaks(WAYS[way], KEY) == [KEY]


def test_what_is_none_is_not_found():
    assert leaks(f"{KEY[:7]}…{KEY[-4:]} {canary('sk-')}", KEY) == []


def raises(key, error):
    held = {"a": [key]}
    if held:
        raise error


@pytest.mark.parametrize(
    "error",
    [
        ProviderPermanentError(f"refused: {KEY}"),
        ProviderPermanentError("refused", code=KEY),
        ProviderPermanentError("refused", request_id=KEY),
        ExceptionGroup("several", [ValueError(KEY)]),
    ],
)
def test_an_error_that_holds_one_is_found(error):
    with pytest.raises(type(error)) as caught:
        raises("", error)

    assert leaks("\n".join(everything_about(caught.value)), KEY) == [KEY]


def raises_behind(key):
    try:
        raise ValueError(key)
    except ValueError:
        raise ProviderPermanentError("refused") from None


def test_one_behind_an_error_is_found():
    with pytest.raises(ProviderPermanentError) as caught:
        raises_behind(KEY)

    assert leaks("\n".join(everything_about(caught.value)), KEY) == [KEY]


def test_one_in_a_pickle_or_a_copy_is_found():
    assert leaks("\n".join(taken_away({"a": KEY})), KEY) == [KEY]
