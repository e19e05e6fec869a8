"""Every JSON answer is what Anthropic's specification says, and where that is not at hand, what its SDK's types say.

The specification lies beside the repository, in `shared/specs`.
"""

import json
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from anthropic.pagination import SyncPage
from anthropic.types import ModelInfo
from anthropic.types.messages import DeletedMessageBatch, MessageBatch, MessageBatchIndividualResponse
from anthropic.types.shared import ErrorResponse
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from asyncbatch.emulator import faults
from tests.conformance.anthropic_rows import PARAMS, SCHEMA, message, requests_of

pytestmark = pytest.mark.conformance

SPEC = Path(__file__).parents[2].parent / "shared" / "specs" / "anthropic-batch.openapi.yaml"
BATCHES = "/v1/messages/batches"
TYPES = {  # name in the specification, or of what it leaves out -> the SDK's type
    "MessageBatch": MessageBatch,
    "MessageBatchList": SyncPage[MessageBatch],
    "DeletedMessageBatch": DeletedMessageBatch,
    "MessageBatchIndividualResponse": MessageBatchIndividualResponse,
    "ErrorResponse": ErrorResponse,
    "models": SyncPage[ModelInfo],
}
FIELDS = {  # all that an answer has; neither the types nor the specification forbid others
    "MessageBatch": set(MessageBatch.model_fields),
    "MessageBatchList": set(SyncPage.model_fields),
    "DeletedMessageBatch": set(DeletedMessageBatch.model_fields),
    "MessageBatchIndividualResponse": set(MessageBatchIndividualResponse.model_fields),
    "ErrorResponse": set(ErrorResponse.model_fields),
    "models": set(SyncPage.model_fields),
}


@cache
def specification(name):
    """Give a validator for one of the specification's schemas; None where the specification is not at hand."""
    if not SPEC.is_file():
        return None
    document = yaml.load(SPEC.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if name not in document["components"]["schemas"]:
        return None
    registry = Registry().with_resource("urn:spec", Resource(document, DRAFT202012))
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    schema = {"$ref": f"urn:spec#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=checker)


def check(name, value):
    """Hold the value against the SDK's type, strictly, and against the specification where it is at hand."""
    TYPES[name].model_validate_json(json.dumps(value), strict=True)
    assert set(value) == FIELDS[name] - {"_request_id"}
    validator = specification(name)
    if validator is not None:
        validator.validate(value)


class Wire:
    """The emulator's answers as they are."""

    def __init__(self, emulator):
        self.emulator = emulator
        self._base = emulator.base_url("anthropic")

    def send(self, method, path, document=None, key="k"):
        headers = {"x-api-key": key, "anthropic-version": "2026-10-21", "Content-Type": "application/json"}
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._base + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()

    def call(self, method, path, document=None):
        return json.loads(self.send(method, path, document))

    def refuse(self, method, path, document=None, key="k"):
        """Give the body of an error."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.send(method, path, document, key)
        with caught.value as error:
            return json.loads(error.read())

    def create(self, params):
        body = {"requests": requests_of(params)}
        validator = specification("CreateMessageBatchParams")
        if validator is not None:
            validator.validate(body)
        return self.call("POST", BATCHES, body)

    def show(self, batch):
        return self.call("GET", f"{BATCHES}/{batch['id']}")

    def lines(self, batch):
        return [json.loads(line) for line in self.send("GET", f"{BATCHES}/{batch['id']}/results").splitlines()]


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


def test_a_batch_keeps_to_its_schema_in_every_state(wire, emulator):
    rows = {str(number): message("[[error:400]]" if number % 7 == 0 else "hi") for number in range(100)}
    done, cancelled, late = wire.create(rows), wire.create(rows), wire.create({"a": message("[[stall]]")})
    emulator.advance(1)
    seen = [done, wire.show(done), wire.call("POST", f"{BATCHES}/{cancelled['id']}/cancel")]
    for seconds in (60, 90_000, 29 * 86_400):
        emulator.advance(seconds)
        seen += [wire.show(batch) for batch in (done, cancelled, late)]

    assert {item["processing_status"] for item in seen} == {"in_progress", "canceling", "ended"}
    assert {item["archived_at"] is None for item in seen} == {True, False}
    for item in seen:
        check("MessageBatch", item)
        assert sum(item["request_counts"].values()) == (1 if item["id"] == late["id"] else 100)


def test_lists_models_and_deletions_keep_to_their_schemas(wire, emulator):
    check("MessageBatchList", wire.call("GET", BATCHES))
    batch = wire.create({"a": message()})
    wire.create({"a": message()})
    emulator.advance(60)

    check("MessageBatchList", wire.call("GET", f"{BATCHES}?limit=1"))
    check("DeletedMessageBatch", wire.call("DELETE", f"{BATCHES}/{batch['id']}"))
    check("models", wire.call("GET", "/v1/models"))
    for model in wire.call("GET", "/v1/models")["data"]:
        assert set(model) == set(ModelInfo.model_fields)


def test_every_answer_keeps_to_its_schema(wire, emulator):
    batch = wire.create(PARAMS)
    emulator.advance(60)

    lines = wire.lines(batch)

    assert {line["custom_id"] for line in lines} == set(PARAMS)
    for line in lines:
        check("MessageBatchIndividualResponse", line)
        assert line["result"]["type"] == "succeeded"


def test_every_other_line_keeps_to_its_schema(wire, emulator):
    errors = [f"[[error:{status}]]" for status in (400, 401, 402, 403, 404, 429, 500, 504, 529)]
    batch = wire.create({str(number): message(marker) for number, marker in enumerate([*errors, "[[expire]]"])})
    cancelled = wire.create({"a": message()})
    wire.call("POST", f"{BATCHES}/{cancelled['id']}/cancel")
    emulator.advance(60)

    lines = [*wire.lines(batch), *wire.lines(cancelled)]

    assert {line["result"]["type"] for line in lines} == {"errored", "expired", "canceled"}
    for line in lines:
        check("MessageBatchIndividualResponse", line)
        if line["result"]["type"] == "errored":
            check("ErrorResponse", line["result"]["error"])


def test_every_error_keeps_to_its_schema(wire, emulator):
    batch = wire.create({"a": message()})
    path = f"{BATCHES}/{batch['id']}"
    seen = [
        wire.refuse("GET", f"{BATCHES}/none"),
        wire.refuse("GET", f"{path}/results"),
        wire.refuse("DELETE", path),
        wire.refuse("POST", BATCHES, {"requests": []}),
        wire.refuse("GET", BATCHES, key="invalid"),
        wire.refuse("PUT", path, {}),
    ]
    for status in (402, 403, 429, 500, 503, 504, 529):
        emulator.add(faults.refuse(status))
        seen.append(wire.refuse("GET", BATCHES))

    for item in seen:
        check("ErrorResponse", item)
        assert item["request_id"].startswith("req_")


def test_structured_answers_satisfy_the_schema_that_was_asked_for(wire, emulator):
    batch = wire.create({"schema": PARAMS["schema"]})
    emulator.advance(60)

    (line,) = wire.lines(batch)

    jsonschema.validate(json.loads(line["result"]["message"]["content"][0]["text"]), SCHEMA)


def test_the_validation_would_notice_a_wrong_answer(wire):
    batch = wire.create({"a": message()})

    with pytest.raises((jsonschema.ValidationError, ValueError), match="created_at"):
        check("MessageBatch", {**batch, "created_at": 1})
    with pytest.raises((jsonschema.ValidationError, ValueError), match="status"):
        check("MessageBatch", {**batch, "processing_status": "paused"})
    with pytest.raises(AssertionError):
        check("MessageBatch", {**batch, "status": "in_progress"})
