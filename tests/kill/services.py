"""The services of the sweep, one for each way in which a lost create is found again, and what each of them has sent.

What a service sent is read past the library, with the standard library alone: the second opinion that rows are held against.
"""

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from asyncbatch.emulator import Emulator

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class Service(NamedTuple):
    """A provider, and the way in which requests travel to it."""

    name: str
    model: str
    way: str
    batches: str
    read: Callable[["Service", Emulator], Iterator[tuple[str, bytes]]]
    """Gives the id and the answer of each row that was sent, of all batches."""

    def __repr__(self) -> str:
        return f"{self.name} {self.way}"

    def sent(self, emulator: Emulator) -> dict[str, str]:
        """Give the digest of each answer, by the id that the request has with us: its row number."""
        rows = {f"{int(wire_id.rpartition('-')[2]):07d}": body for wire_id, body in self.read(self, emulator)}
        return {request_id: hashlib.sha256(body).hexdigest() for request_id, body in rows.items()}

    def call(self, emulator: Emulator, path: str, body: Any = None) -> bytes:
        """Call the service with the key of the scene."""
        key = emulator_key(emulator, self.name)
        headers = {"authorization": f"Bearer {key}", "x-api-key": key, "x-goog-api-key": key}
        headers |= {"anthropic-version": "2023-06-01", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(emulator.base_url(self.name) + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def listed(self, emulator: Emulator) -> list[dict[str, Any]]:
        found = json.loads(self.call(emulator, self.batches))
        return found.get("data") or found.get("operations") or []


def emulator_key(emulator: Emulator, name: str) -> str:
    return next(value for variable, value in emulator.env(name).items() if variable.endswith("_KEY"))


def _dug(data: bytes | msgspec.Raw, *names: str) -> msgspec.Raw:
    """Give the very bytes of a field within fields."""
    found = msgspec.Raw(bytes(data))
    for name in names:
        found = _FIELDS.decode(found)[name]
    return found


def _text(data: bytes, *names: str) -> str:
    return json.loads(bytes(_dug(data, *names)))


def _openai(service: Service, emulator: Emulator) -> Iterator[tuple[str, bytes]]:
    for batch in service.listed(emulator):
        if batch["output_file_id"] is not None:
            yield from _lines(service, emulator, f"/files/{batch['output_file_id']}/content")


def _mistral(service: Service, emulator: Emulator) -> Iterator[tuple[str, bytes]]:
    for batch in service.listed(emulator):
        if batch["output_file"]:
            yield from _lines(service, emulator, f"/v1/files/{batch['output_file']}/content")


def _lines(service: Service, emulator: Emulator, path: str) -> Iterator[tuple[str, bytes]]:
    for line in service.call(emulator, path).splitlines():
        yield _text(line, "custom_id"), bytes(_dug(line, "response", "body"))


def _anthropic(service: Service, emulator: Emulator) -> Iterator[tuple[str, bytes]]:
    for batch in service.listed(emulator):
        for line in service.call(emulator, f"{service.batches}/{batch['id']}/results").splitlines():
            if _text(line, "result", "type") == "succeeded":
                yield _text(line, "custom_id"), bytes(_dug(line, "result", "message"))


def _gemini(service: Service, emulator: Emulator) -> Iterator[tuple[str, bytes]]:
    for batch in service.listed(emulator):
        whole = service.call(emulator, f"/v1beta/{batch['name']}")
        for item in _ITEMS.decode(_dug(whole, "response", "inlinedResponses", "inlinedResponses")):
            if "response" in _FIELDS.decode(item):
                yield _text(bytes(item), "metadata", "key"), bytes(_dug(item, "response"))


OPENAI = Service("openai", "openai/gpt-4.1-mini", "file", "/batches", _openai)
"""TAGGED_FENCED: our mark is in the list, and the input can be deleted."""
GEMINI = Service("gemini", "gemini/gemini-2.5-flash", "inline", "/v1beta/batches", _gemini)
"""TAGGED: our mark is in the list."""
ANTHROPIC = Service("anthropic", "anthropic/claude-sonnet-4-5", "inline", "/v1/messages/batches", _anthropic)
"""INFERRED: nothing of ours is in the list."""
MISTRAL = Service("mistral", "mistral/mistral-small-latest", "file", "/v1/batch/jobs", _mistral)
"""TAGGED_FENCED, in another protocol."""

SERVICES = (OPENAI, GEMINI, ANTHROPIC, MISTRAL)
