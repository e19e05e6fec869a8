"""Tokens as a sender makes them, by hand and with keys of our own: the second opinion that the library's is held against."""

import base64
import hashlib
import hmac
import json
from functools import cache
from itertools import count

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "my-project"
_numbers = count(1)


@cache
def key(name, bits=2048):
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(name, bits=2048, **changes):
    numbers = key(name, bits).public_key().public_numbers()
    whole = {
        part: encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        for part, value in zip("ne", (numbers.n, numbers.e), strict=True)
    }
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, **whole, **changes}


def token(claims, by="one", header=None, bits=2048):
    """Give a token, signed by the key of this name."""
    header = {"alg": "RS256", "typ": "JWT", "kid": by} if header is None else header
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    if header.get("alg") == "none":
        return f"{signed}."
    if header.get("alg") == "HS256":  # the public key as a secret: the oldest forgery there is
        secret = json.dumps(jwk(by)).encode()
        return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
    return f"{signed}.{encoded(key(by, bits).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims(at, **changes):
    made = {"aud": AUDIENCE, "iat": int(at), "exp": int(at) + 300, **changes}
    return {name: value for name, value in made.items() if value is not None}


def vouched(body, at, text=None, **named):
    """Give headers and body of a new webhook with a token in place of its signature."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    text = token(claims(at)) if text is None else text
    headers = {"webhook-id": f"msg_t{next(_numbers)}", "webhook-timestamp": str(int(at)), "webhook-signature": text}
    return {**headers, **named}, body
