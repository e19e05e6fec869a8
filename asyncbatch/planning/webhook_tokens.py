"""Webhooks that a token vouches for: a JSON Web Token in place of the signature, signed by RS256 with a key of the sender's.

The token is made out for somebody, and says until when it holds; whether it covers the body is not documented. So a body that
comes with a good one is known to be sent to us by that service's senders, and is believed as little as any webhook.

Sources: https://ai.google.dev/gemini-api/docs/webhooks, and RFC 7515, 7517, 7519 and 8725.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.webhooks import TOLERANCE_S, Refusal, header
from asyncbatch.secrecy import Secret

_TOKEN = re.compile(
    r"([A-Za-z0-9_-]{1,2000})\.([A-Za-z0-9_-]{1,8000})\.([A-Za-z0-9_-]{0,2000})"
)  # the last is empty for alg "none"
_KID = re.compile(r"[\x21-\x7e]{1,200}")
_LEAST_BITS = 2048
_FOREVER_S = 1e12
"""No token is of a time beyond; with a NaN every comparison fails."""
_ONLY = "RS256"

MOST_KEYS = 32
"""In a set of keys; a sender has one, and the next."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token that nobody has checked yet; its repr shows none of it.

    Attributes:
        kid: The key by which it says to be signed.
        replay_id: A name by which it is known again, whatever headers it comes with.
    """

    text: str
    kid: str
    replay_id: str

    def __repr__(self) -> str:
        return f"Token(kid={self.kid!r})"


def read_token(headers: Mapping[str, str]) -> Token | Refusal | None:
    """Read the token that stands in place of a signature; None where there is none."""
    text = header(headers, "webhook-signature")
    if not _TOKEN.fullmatch(text):
        return None
    jwt = _library()
    try:
        said = jwt.get_unverified_header(text)
    except (jwt.InvalidTokenError, RecursionError):
        return Refusal(status=401, reason="its token has no header")
    kid = said.get("kid")
    if said.get("alg") != _ONLY:  # "none" and HS256 with a public key as secret are how tokens are forged
        return Refusal(status=401, reason=f"its token is not signed by {_ONLY}")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        return Refusal(status=401, reason="its token does not say by which key it is signed")
    return Token(text=Secret(text), kid=kid, replay_id=f"jwt_{hashlib.sha256(text.encode()).hexdigest()}")


def check_token(
    token: Token, key: Mapping[str, Any], audiences: Sequence[str], now: float
) -> Mapping[str, Any] | Refusal:
    """Give what a token claims, if it was signed by this key, for us, and now.

    Args:
        token: As it came.
        key: The sender's, as a JWK.
        audiences: For whom it may be made out.
        now: Unix seconds.
    """
    jwt = _library()
    # The clock is ours: the library would read its own.
    checked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["aud"]}
    try:
        public = jwt.PyJWK(dict(key), algorithm=_ONLY)
        if public.key.key_size < _LEAST_BITS:
            return Refusal(status=401, reason="the key of its token is too short to be one")
        claims = jwt.decode(token.text, public, algorithms=[_ONLY], audience=list(audiences), options=checked)
    except jwt.InvalidAudienceError:
        return Refusal(status=401, reason="its token is made out for somebody else")
    except jwt.MissingRequiredClaimError:
        return Refusal(status=401, reason="its token is made out for nobody")
    except (jwt.PyJWTError, RecursionError):
        return Refusal(status=401, reason="its token is not signed by the key that it names")
    late = _is_late(claims, now)
    return cast("Mapping[str, Any]", claims) if late is None else Refusal(status=401, reason=late)


def _is_late(claims: Mapping[str, Any], now: float) -> str | None:
    """Say what is wrong with a token's times; one that says none would hold for ever."""
    until, since, begin = (_moment(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if until is None and since is None:
        return "its token does not say of when it is"
    if until is not None and now > until + TOLERANCE_S:
        return "its token has expired"
    if until is None and since is not None and now > since + TOLERANCE_S:
        return "its token is an old one"
    ahead = [moment for moment in (since, begin) if moment is not None and moment > now + TOLERANCE_S]
    return "its token is of a time to come" if ahead else None


def _moment(value: Any) -> float | None:
    """Read a time; a NaN is none, for it is neither past nor to come, and neither is what no float can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _FOREVER_S else None


def read_keys(body: bytes) -> Mapping[str, Mapping[str, Any]] | None:
    """Read a set of public keys, by name; None where it is none. What is no RSA key is passed over."""
    try:
        found = msgspec.json.decode(body, type=_KeySet).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    named = [(key.get("kid"), key) for key in found[:MOST_KEYS] if key.get("kty") == "RSA"]
    return {kid: key for kid, key in named if isinstance(kid, str) and _KID.fullmatch(kid)}


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def check_library() -> None:
    """Say what has to be installed, unless it is.

    Raises:
        ConfigError: It is not.
    """
    _library()


def _library() -> Any:
    try:
        import jwt
        import jwt.algorithms

        has_keys = jwt.algorithms.has_crypto
    except ImportError:
        has_keys = False
    if not has_keys:
        message = "webhooks of a single batch are signed by RS256, which needs PyJWT and cryptography"
        raise ConfigError(message, code="webhook.extra", hint="pip install 'asyncbatch[webhooks]'")
    return jwt  # pyright: ignore[reportPossiblyUnboundVariable]
