"""Tokens that vouch for webhooks of single batches: a JSON Web Token signed by RS256, and the public keys for receivers.

Sources: https://ai.google.dev/gemini-api/docs/webhooks, and RFC 7515, 7517 and 7519, in the few lines that a signer needs.
"""

import base64
from importlib.util import find_spec
from typing import Any

import msgspec

AUDIENCE = "emulator"
"""For whom tokens are made out, unless somebody else is named."""

VALID_S = 300.0
"""How long a token holds, emulated seconds."""


class Signer:
    """Whoever signs tokens, with a key that is made when the first is wanted.

    Args:
        audience: For whom they are made out.
    """

    def __init__(self, audience: str) -> None:
        self._audience = audience
        self._keys: dict[str, Any] = {}

    def key_set(self) -> dict[str, Any]:
        """Give the public keys, as a JWKS. Blocks."""
        self._key()
        return {"keys": [_public(name, key) for name, key in self._keys.items()]}

    def token(self, at: float, *, is_good: bool = True) -> str:
        """Make a token of this time, or one that names a key that has not signed it. Blocks."""
        name, key = self._key()
        header = {"alg": "RS256", "typ": "JWT", "kid": name}
        claims = {"iss": "asyncbatch-emulator", "aud": self._audience, "iat": int(at), "exp": int(at + VALID_S)}
        signed = b".".join(_encode(msgspec.json.encode(part)) for part in (header, claims))
        return b".".join((signed, _encode(_signature(key if is_good else _new_key(), signed)))).decode()

    def _key(self) -> tuple[str, Any]:
        if not self._keys:
            self._keys["emulator-1"] = _new_key()
        return next(iter(self._keys.items()))


def can_sign() -> bool:
    """Whether the library that makes signatures is installed."""
    try:
        return find_spec("cryptography") is not None
    except ValueError:  # something stands in its place that is no module
        return False


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _signature(key: Any, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature: bytes = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return signature


def _public(name: str, key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    whole = {"n": _number(numbers.n), "e": _number(numbers.e)}
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, **whole}


def _number(value: int) -> str:
    return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
