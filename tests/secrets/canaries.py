"""Keys that nobody has seen before, and how they are looked for: plain, encoded, quoted, cut and wrapped.

Each run makes its own, so that none is in a fixture, a recording or a product by accident.
"""

import base64
import copy
import pickle
import re
import secrets
import string
import traceback
import urllib.parse
from pathlib import Path

import asyncbatch

LETTERS = string.ascii_letters + string.digits
PRODUCT = str(Path(asyncbatch.__file__).parent)
TESTS = str(Path(__file__).parents[1])
_SHARD = 8


def canary(before=""):
    """Give a key of 32 letters and digits; what it begins with may be seen."""
    return before + "".join(secrets.choice(LETTERS) for _ in range(32))


def shards(secret):
    """Give pieces of which one is whole in any 15 characters of the secret: half a key is a key for whoever has the other."""
    body = secret[-32:]
    return [body[at : at + _SHARD] for at in range(0, len(body), _SHARD)]


def encoded(secret):
    """Give what base64 makes of the secret behind nought, one or two bytes, without what depends on its neighbours."""
    found = [base64.b64encode(b"\0" * lead + secret.encode()).decode() for lead in range(3)]
    return [text[4:-4] for text in found]


def forms(secret):
    return [*shards(secret), *encoded(secret), urllib.parse.quote(secret, safe=""), secret.encode().hex(), secret[::-1]]


def leaks(text, *secrets_):
    """Name the secrets of which anything is in a text: in letters of any size, wrapped as in a log, escaped as in JSON."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    plain = re.sub(r"\\u00([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    texts = {given.lower() for given in (text, plain, re.sub(r"\\?\s+", "", plain), urllib.parse.unquote(plain))}
    return [secret for secret in secrets_ if any(form.lower() in given for form in forms(secret) for given in texts)]


def everything_about(error, seen=None, *, only=None):
    """Give all that can be read off an error: words, fields, a pickle, and what frames hold, with all that hangs on it.

    The tests' own frames hold the canaries, of course. With `only`, no frames but those of these files are looked at.
    """
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return []
    seen.add(id(error))
    texts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    summary = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts += [
        f"{frame.locals}"
        for frame in summary.stack
        if not frame.filename.startswith(TESTS) and (only is None or frame.filename.startswith(only))
    ]
    texts += list(summary.format_exception_only())
    if isinstance(error, asyncbatch.AsyncBatchError):
        texts += carried(error)
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        texts += everything_about(other, seen, only=only)
    return texts


def carried(error):
    """Give what is left of an error behind the border of a process, and of copies; it has to survive all of them."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again).keys()) == (type(error), str(error), vars(error).keys())
    return [repr(vars(item)) for item in (again, copy.copy(error), copy.deepcopy(error))] + [
        pickle.dumps(error, protocol=0).decode("latin-1")
    ]


def shown(thing):
    """Give all texts in which an object shows itself."""
    texts = [repr(thing), f"{thing!s}", f"{thing}", repr([thing]), repr(getattr(thing, "__dict__", ""))]
    if hasattr(thing, "__rich_repr__"):
        texts.append(repr(list(thing.__rich_repr__())))
    if hasattr(type(thing), "__struct_fields__"):
        texts.append(repr({name: getattr(thing, name) for name in type(thing).__struct_fields__}))
    return texts


def taken_away(thing):
    """Give what copies show and pickles hold, and why there are none."""
    texts = []
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        try:
            again = take(thing)
        except Exception as error:
            texts.append(f"refused: {error!r}")
        else:
            texts += [again.decode("latin-1")] if isinstance(again, bytes) else shown(again)
    return texts


def files_below(folder):
    """Give the names and bytes of everything in a directory."""
    paths = sorted(path for path in Path(folder).rglob("*"))
    return [str(path) for path in paths] + [path.read_bytes() for path in paths if path.is_file()]
