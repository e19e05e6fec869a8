"""Webhooks as a sender makes them, with the standard library alone: the second opinion that ours is held against."""

import base64
import hashlib
import hmac
import json
from itertools import count

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(b"another one, of somebody else...").decode()
NOW = 1_800_000_000.0
_numbers = count(1)


def signature(body, webhook_id, at, secret=SECRET):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed(body, at=NOW, secret=SECRET, webhook_id=None):
    """Give headers and body, of a new webhook unless it has an id."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    webhook_id, at = webhook_id or f"msg_{next(_numbers)}", str(int(at))
    named = {"id": webhook_id, "timestamp": at, "signature": signature(body, webhook_id, at, secret)}
    return {"content-type": "application/json", **{f"webhook-{name}": value for name, value in named.items()}}, body


def event(batch_id, name="batch.completed"):
    return {"id": "evt_1", "object": "event", "type": name, "created_at": int(NOW), "data": {"id": batch_id}}
