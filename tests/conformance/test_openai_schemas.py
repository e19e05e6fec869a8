"""Every JSON answer is what OpenAI's specification says, and where that is not at hand, what its SDK's types say.

The specification lies beside the repository, in `shared/specs`. It calls some fields plain strings that the wire shows as
null, so nulls of files, batches and lists are dropped first; the bodies of result lines are validated as they are.
"""

import json
import urllib.request
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from openai.pagination import SyncCursorPage
from openai.types import Batch, CreateEmbeddingResponse, FileDeleted, FileObject, ModerationCreateResponse
from openai.types.chat import ChatCompletion
from openai.types.completion import Completion
from openai.types.responses import Response
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.conformance.rows import BODIES, CHAT, SCHEMA, chat, encode_rows

pytestmark = pytest.mark.conformance

SPECS = Path(__file__).parents[2].parent / "shared" / "specs"
TYPES = {  # name in the specification -> the SDK's type
    "Batch": Batch,
    "OpenAIFile": FileObject,
    "DeleteFileResponse": FileDeleted,
    "ListBatchesResponse": SyncCursorPage[Batch],
    "ListFilesResponse": SyncCursorPage[FileObject],
    "CreateChatCompletionResponse": ChatCompletion,
    "CreateCompletionResponse": Completion,
    "CreateEmbeddingResponse": CreateEmbeddingResponse,
    "CreateModerationResponse": ModerationCreateResponse,
    "Response": Response,
}
BODY_TYPES = {
    CHAT: "CreateChatCompletionResponse",
    "/v1/completions": "CreateCompletionResponse",
    "/v1/embeddings": "CreateEmbeddingResponse",
    "/v1/responses": "Response",
    "/v1/moderations": "CreateModerationResponse",
}
LINE = {  # a result line, in the documentation's words
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^batch_req_"},
        "custom_id": {"type": "string"},
        "response": {
            "type": ["object", "null"],
            "properties": {
                "status_code": {"type": "integer"},
                "request_id": {"type": "string"},
                "body": {"type": "object"},
            },
            "required": ["status_code", "request_id", "body"],
            "additionalProperties": False,
        },
        "error": {
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
            "additionalProperties": False,
        },
    },
    "required": ["id", "custom_id", "response", "error"],
    "additionalProperties": False,
}


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@cache
def specification(name):
    """Give a validator for one of the specification's schemas; None where the specification is not at hand."""
    file = "openai-responses-bodies.openapi.yaml" if name == "Response" else "openai-batch.openapi.yaml"
    if not (SPECS / file).is_file():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load((SPECS / file).read_text(encoding="utf-8"), loader)
    registry = Registry().with_resource("urn:spec", Resource(document, DRAFT202012))
    schema = {"$ref": f"urn:spec#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=registry)


def check(name, value, *, drop_nulls=True):
    """Hold the value against the SDK's type, strictly, and against the specification where it is at hand."""
    if name in TYPES:
        TYPES[name].model_validate_json(json.dumps(value), strict=True)
    validator = specification(name)
    if validator is not None:
        validator.validate(without_nulls(value) if drop_nulls else value)


class Wire:
    """The emulator's answers as they are."""

    def __init__(self, emulator):
        self._base = emulator.base_url("openai")

    def send(self, method, path, data=None, content_type="application/json"):
        headers = {"Authorization": "Bearer k", "Content-Type": content_type}
        request = urllib.request.Request(self._base + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()

    def call(self, method, path, data=None, **more):
        return json.loads(self.send(method, path, data, **more))

    def upload(self, content):
        purpose = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
        parts = (purpose, head, content, b"\r\n--b--\r\n")
        return self.call("POST", "/files", b"".join(parts), content_type="multipart/form-data; boundary=b")

    def create(self, file_id, endpoint=CHAT):
        order = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", "metadata": {"a": "b"}}
        return self.call("POST", "/batches", json.dumps(order).encode())

    def lines(self, file_id):
        return [json.loads(line) for line in self.send("GET", f"/files/{file_id}/content").splitlines()]


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


def run(wire, emulator, content, endpoint=CHAT):
    batch = wire.create(wire.upload(content)["id"], endpoint)
    emulator.advance(600)
    return wire.call("GET", f"/batches/{batch['id']}")


def test_a_batch_keeps_to_its_schema_in_every_state(wire, emulator):
    rows = {str(number): chat("[[error:400]]" if number % 7 == 0 else "hi") for number in range(100)}
    file = wire.upload(encode_rows(CHAT, rows))
    batch, doomed, cancelled = (wire.create(file_id) for file_id in (file["id"], "file-unknown", file["id"]))
    path = f"/batches/{batch['id']}"
    seen = [batch]
    for seconds in (6, 2, 600):
        emulator.advance(seconds)
        seen.append(wire.call("GET", path))
        if seconds == 6:
            seen.append(wire.call("POST", f"/batches/{cancelled['id']}/cancel"))
    seen += [wire.call("GET", f"/batches/{item['id']}") for item in (doomed, cancelled)]
    stalled = wire.create(wire.upload(encode_rows(CHAT, {"a": chat("[[stall]]"), "b": chat()}))["id"])
    emulator.advance(90_000)
    seen.append(wire.call("GET", f"/batches/{stalled['id']}"))

    assert {item["status"] for item in seen} == {
        "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
    }  # fmt: skip
    for item in seen:
        check("Batch", item)


def test_files_and_lists_keep_to_their_schemas(wire, emulator):
    done = run(wire, emulator, encode_rows(CHAT, {"a": chat(), "b": chat("[[error]]")}))

    check("OpenAIFile", wire.upload(b"x"))
    for file_id in (done["input_file_id"], done["output_file_id"], done["error_file_id"]):
        check("OpenAIFile", wire.call("GET", f"/files/{file_id}"))
    check("ListFilesResponse", wire.call("GET", "/files"))
    check("ListBatchesResponse", wire.call("GET", "/batches"))
    check("DeleteFileResponse", wire.call("DELETE", f"/files/{done['input_file_id']}"))


@pytest.mark.parametrize("endpoint", BODIES)
def test_every_answer_keeps_to_its_schema(wire, emulator, endpoint):
    done = run(wire, emulator, encode_rows(endpoint, BODIES[endpoint]), endpoint)

    lines = wire.lines(done["output_file_id"])

    assert len(lines) == len(BODIES[endpoint])
    for line in lines:
        jsonschema.validate(line, LINE)
        check("BatchRequestOutput", line, drop_nulls=False)
        check(BODY_TYPES[endpoint], line["response"]["body"], drop_nulls=False)


def test_every_error_line_keeps_to_its_schema(wire, emulator):
    rows = {"a": chat("[[error:400]]"), "b": chat("[[expire]]"), "c": chat(messages=[])}
    done = run(wire, emulator, encode_rows(CHAT, rows))

    lines = wire.lines(done["error_file_id"])

    assert len(lines) == 3
    for line in lines:
        jsonschema.validate(line, LINE)
        check("BatchRequestOutput", line, drop_nulls=False)
        assert (line["response"] is None) != (line["error"] is None)
        if line["response"] is not None:
            check("ErrorResponse", line["response"]["body"], drop_nulls=False)


def test_structured_answers_satisfy_the_schema_that_was_asked_for(wire, emulator):
    done = run(wire, emulator, encode_rows(CHAT, BODIES[CHAT]))

    bodies = {line["custom_id"]: line["response"]["body"] for line in wire.lines(done["output_file_id"])}

    message = bodies["schema"]["choices"][0]["message"]
    (call,) = bodies["tool"]["choices"][0]["message"]["tool_calls"]
    jsonschema.validate(json.loads(message["content"]), SCHEMA)
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "number"}}, "required": ["a"]},
        {"type": "array", "items": {"type": "string", "minLength": 9}, "minItems": 3},
        {"type": "integer", "minimum": 7, "multipleOf": 5},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}},
        {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
            "required": ["next"],
        },
        {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}]},
    ],
)
def test_an_instance_satisfies_its_schema(schema):
    from asyncbatch.emulator.instances import make_instance

    jsonschema.validate(make_instance(schema), schema)


def test_the_validation_would_notice_a_wrong_answer(wire, emulator):
    batch = run(wire, emulator, encode_rows(CHAT, {"a": chat()}))

    with pytest.raises((jsonschema.ValidationError, ValueError), match="created_at"):
        check("Batch", {**batch, "created_at": "today"})
    with pytest.raises((jsonschema.ValidationError, ValueError), match="status"):
        check("Batch", {**batch, "status": "paused"})
