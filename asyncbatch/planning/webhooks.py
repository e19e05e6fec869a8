"""Who sent a webhook: the signature of Standard Webhooks, checked over the bytes as they came.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from asyncbatch.catalog import WebhookFacts

MOST_BYTES = 1_000_000
"""Of a body; an event has some hundreds."""

TOLERANCE_S = 300
"""How far the sender's clock may be from ours, either way. What is older is a recording."""

_PREFIX = "whsec_"
_ID = re.compile(r"[\x21-\x7e]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,256}")  # goes into logs
_MOST_SIGNATURES = 32  # a sender has one, and a second while its secret is changed


class Genuine(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of somebody who knows a secret.

    Attributes:
        webhook_id: Its name; a repetition has the same.
        senders: Whose secrets verify it. Several, where several have the same secret.
        token_id: The name of the token that vouches for it, which it is known by under any other `webhook_id` as well.
        claims: What that token says.
    """

    webhook_id: str
    senders: tuple[str, ...]
    token_id: str | None = None
    claims: Mapping[str, Any] | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is not believed.

    Attributes:
        status: What to answer: 400 for what is malformed, 401 for what is not signed, or not now, 413 for what is too large,
            503 where that cannot be found out for now.
        reason: Why, in words without anything of the body.
    """

    status: int
    reason: str


def is_secret(text: str) -> bool:
    """Whether a text is a secret as senders give them out: `whsec_` and base64."""
    try:
        return text.startswith(_PREFIX) and bool(_key(text))
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False


def verify(
    headers: Mapping[str, str], body: bytes, secrets: Mapping[str, Sequence[str]], now: float
) -> Genuine | Refusal:
    """Say who sent this.

    Args:
        headers: Those of the request; upper and lower case mean the same.
        body: Its bytes, as they came: what was decoded and encoded again has another signature.
        secrets: By sender. While a secret is changed, a sender has several.
        now: Unix seconds.
    """
    envelope = open_envelope(headers, body)
    if isinstance(envelope, Refusal):
        return envelope
    senders = _senders(f"{envelope.webhook_id}.{envelope.sent_at}.".encode() + body, envelope.signatures, secrets)
    if not senders:
        return Refusal(status=401, reason="no signature of it is one of ours")
    return check_time(envelope, now) or Genuine(webhook_id=envelope.webhook_id, senders=senders)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a webhook say, before anybody knows who wrote them.

    Attributes:
        sent_at: Unix seconds, as digits.
    """

    webhook_id: str
    sent_at: str
    signatures: str


def open_envelope(headers: Mapping[str, str], body: bytes) -> Envelope | Refusal:
    """Read the headers that every webhook has."""
    if len(body) > MOST_BYTES:
        return Refusal(status=413, reason=f"it has {len(body):,} bytes, and {MOST_BYTES:,} are read at most")
    webhook_id, sent_at, signatures = (header(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    malformed = _malformed(webhook_id, sent_at, signatures)
    if malformed is not None:
        return Refusal(status=400, reason=malformed)
    return Envelope(webhook_id=webhook_id, sent_at=sent_at, signatures=signatures)


def check_time(envelope: Envelope, now: float) -> Refusal | None:
    """Refuse what was not sent in these minutes."""
    off = now - int(envelope.sent_at)
    if abs(off) <= TOLERANCE_S:
        return None
    return Refusal(status=401, reason=f"its timestamp is {off:+,.0f} s away from our clock")


def sign(secret: str, webhook_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """Give the headers of a webhook of ours."""
    digest = hmac.digest(_key(secret), f"{webhook_id}.{sent_at}.".encode() + body, hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": webhook_id, "webhook-timestamp": str(sent_at), "webhook-signature": signature}


def header(headers: Mapping[Any, Any], name: str) -> str:
    """Find a header; one that is no text, as some servers give them, is none."""
    found = (value for key, value in headers.items() if isinstance(key, str) and key.lower() == name)
    return next((value.strip() for value in found if isinstance(value, str)), "")


def _malformed(webhook_id: str, sent_at: str, signatures: str) -> str | None:
    if not (webhook_id and sent_at and signatures):
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not _ID.fullmatch(webhook_id):
        return "webhook-id is no name"
    return None if _SECONDS.fullmatch(sent_at) else "webhook-timestamp is no number of seconds"


def _senders(signed: bytes, signatures: str, secrets: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Name those of whom a secret made one of the signatures; how long that takes tells nothing of which."""
    given = [entry.encode("utf-8", "replace") for entry in signatures.split(" ")[:_MOST_SIGNATURES]]
    return tuple(name for name, held in secrets.items() if sum([_is_by(secret, signed, given) for secret in held]))


def _is_by(secret: str, signed: bytes, given: Sequence[bytes]) -> bool:
    ours = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
    return sum([hmac.compare_digest(ours, entry) for entry in given]) > 0


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(_PREFIX)
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)  # some leave the padding out


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook says.

    Attributes:
        name: What happened, in the sender's word.
        batch_id: To which batch; None where the event is none that the sender's facts name.
    """

    name: str
    batch_id: str | None = None


def read_event(body: bytes, facts: WebhookFacts, claims: Any = None) -> Event | None:
    """Read what a webhook says; None where it says nothing that could be read.

    What a token claims about it comes over what stands in the body.
    """
    try:
        document = claims if _text_at(claims, facts.event) is not None else msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    name = _text_at(document, facts.event)
    if name is None or name not in facts.events:
        return None if name is None else Event(name=name)
    batch_id = _text_at(document, facts.batch_id)
    return None if batch_id is None else Event(name=name, batch_id=batch_id)


def _text_at(document: Any, path: str) -> str | None:
    for key in path.split("."):
        document = cast("dict[str, Any]", document).get(key) if isinstance(document, dict) else None
    return document if isinstance(document, str) and _TEXT.fullmatch(document) else None
