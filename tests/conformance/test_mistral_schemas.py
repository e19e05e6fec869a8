"""Every JSON answer is what Mistral's specification says, and what the types of its SDK know, field by field.

The specification lies beside the repository, in `shared/specs`; where it is not at hand, the SDK's types are what is left. It
says nothing of the bodies of result lines: they are held against the SDK's types alone.
"""

import json
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from mistralai.client import models
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from asyncbatch.emulator import faults
from tests.conformance.mistral_rows import BODIES, CHAT, MODELS, SCHEMA, chat, encode_rows, requests

pytestmark = pytest.mark.conformance

SPEC = Path(__file__).parents[2].parent / "shared" / "specs" / "mistral-batch.openapi.yaml"
TYPES = {  # name in the specification -> the SDK's type
    "BatchJob": models.BatchJob,
    "ListBatchJobsResponse": models.ListBatchJobsResponse,
    "DeleteBatchJobResponse": models.DeleteBatchJobResponse,
    "CreateFileResponse": models.CreateFileResponse,
    "GetFileResponse": models.GetFileResponse,
    "ListFilesResponse": models.ListFilesResponse,
    "DeleteFileResponse": models.DeleteFileResponse,
    "GetSignedUrlResponse": models.GetSignedURLResponse,
}
BODY_TYPES = {
    CHAT: models.ChatCompletionResponse,
    "/v1/embeddings": models.EmbeddingResponse,
    "/v1/fim/completions": models.FIMCompletionResponse,
    "/v1/moderations": models.ModerationResponse,
    "/v1/chat/moderations": models.ModerationResponse,
    "/v1/classifications": models.ClassificationResponse,
    "/v1/chat/classifications": models.ClassificationResponse,
    "/v1/ocr": models.OCRResponse,
    "/v1/conversations": models.ConversationResponse,
    "/v1/audio/transcriptions": models.TranscriptionResponse,
}
NOBODY = "00000000-0000-4000-8000-000000000000"


@cache
def specification():
    """Give the specification's schemas; None where it is not at hand."""
    if not SPEC.is_file():
        return None
    return yaml.load(SPEC.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def validator(name):
    registry = Registry().with_resource("urn:spec", Resource(specification(), DRAFT202012))
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    schema = {"$ref": f"urn:spec#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=checker)


def check(name, value):
    """Hold the value against the SDK's type and against the specification where it is at hand; no field may be unknown."""
    if name in TYPES:
        check_type(TYPES[name], value)
    if specification() is not None:
        validator(name).validate(value)
        assert set(value) <= set(specification()["components"]["schemas"][name]["properties"])


def check_type(kind, value):
    """The SDK drops what it does not know, so whatever it gives back has to be all there was."""
    read = kind.model_validate_json(json.dumps(value), strict=True).model_dump(mode="json", by_alias=True)
    assert list(lost(value, read)) == []


def lost(value, read, path=""):
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in read and item is not None:
                yield f"{path}.{name}"
            elif name in read:
                yield from lost(item, read[name], f"{path}.{name}")
    elif isinstance(value, list):
        for index, (item, other) in enumerate(zip(value, read, strict=True)):
            yield from lost(item, other, f"{path}.{index}")


class Wire:
    """The emulator's answers as they are."""

    def __init__(self, emulator):
        self._base = emulator.base_url("mistral")

    def send(self, method, path, data=None, content_type="application/json", key="k"):
        headers = {"Content-Type": content_type, **({"Authorization": f"Bearer {key}"} if key else {})}
        request = urllib.request.Request(self._base + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()

    def call(self, method, path, document=None, **more):
        data = None if document is None else json.dumps(document).encode()
        return json.loads(self.send(method, path, data, **more))

    def refused(self, method, path, document=None, **more):
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.call(method, path, document, **more)
        with caught.value as error:
            return error.code, json.loads(error.read())

    def upload(self, content, purpose="batch", filename="in.jsonl"):
        field = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode() + b"\r\n"
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'.encode()
        body = b"".join((field, head, content, b"\r\n--b--\r\n"))
        return json.loads(self.send("POST", "/v1/files", body, content_type="multipart/form-data; boundary=b"))

    def create(self, endpoint=CHAT, **order):
        more = {"metadata": {"a": "b"}, "model": MODELS[endpoint], **order}
        return self.call("POST", "/v1/batch/jobs", {"endpoint": endpoint, **more})

    def job(self, job, query=""):
        return self.call("GET", f"/v1/batch/jobs/{job['id']}{query}")

    def lines(self, file_id):
        return [json.loads(line) for line in self.send("GET", f"/v1/files/{file_id}/content").splitlines()]


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


def run(wire, emulator, bodies, endpoint=CHAT, query=""):
    job = wire.create(endpoint, input_files=[wire.upload(encode_rows(bodies))["id"]])
    emulator.advance(600)
    return wire.job(job, query)


def test_a_job_keeps_to_its_schema_in_every_state(wire, emulator):
    bodies = {str(number): chat("[[error:400]]" if number % 7 == 0 else "hi") for number in range(100)}
    job, stopped, stalled = (
        wire.create(requests=requests(rows)) for rows in (bodies, bodies, {"a": chat("[[stall]]"), "b": chat()})
    )
    emulator.add(faults.full_queue())
    seen = [job, wire.create(requests=requests(bodies))]
    for seconds in (6, 2, 600):
        emulator.advance(seconds)
        seen += [wire.job(item) for item in (job, stopped, seen[1])]
        if seconds == 6:
            seen.append(wire.call("POST", f"/v1/batch/jobs/{stopped['id']}/cancel"))
    emulator.advance(90_000)
    seen += [wire.job(stalled), wire.job(job, "?inline=true")]

    words = {"QUEUED", "RUNNING", "SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLATION_REQUESTED", "CANCELLED"}
    assert {item["status"] for item in seen} == words
    for item in seen:
        check("BatchJob", item)


def test_files_and_lists_keep_to_their_schemas(wire, emulator):
    done = run(wire, emulator, {"a": chat(), "b": chat("[[error]]")})
    (given,), results = done["input_files"], (done["output_file"], done["error_file"])

    check("CreateFileResponse", wire.upload(b'{"body": {}}'))
    check("CreateFileResponse", wire.upload(b"x", purpose="ocr", filename="a.pdf"))
    for file_id in (given, *results):
        check("GetFileResponse", wire.call("GET", f"/v1/files/{file_id}"))
    check("ListFilesResponse", wire.call("GET", "/v1/files"))
    check("ListFilesResponse", wire.call("GET", "/v1/files?include_total=false"))
    check("GetSignedUrlResponse", wire.call("GET", f"/v1/files/{given}/url"))
    check("ListBatchJobsResponse", wire.call("GET", "/v1/batch/jobs"))
    check("DeleteFileResponse", wire.call("DELETE", f"/v1/files/{given}"))
    check("DeleteBatchJobResponse", wire.call("DELETE", f"/v1/batch/jobs/{done['id']}"))


@pytest.mark.parametrize("endpoint", BODIES)
def test_every_answer_keeps_to_its_schema(wire, emulator, endpoint):
    done = run(wire, emulator, BODIES[endpoint], endpoint, "?inline=true")

    lines = wire.lines(done["output_file"])

    assert (done["error_file"], len(lines)) == (None, len(BODIES[endpoint]))
    for line in lines:
        check("BatchResultLine", line)
        check_type(BODY_TYPES[endpoint], line["response"]["body"])
    assert sorted(done["outputs"], key=str) == sorted(lines, key=str)


def test_every_error_line_keeps_to_its_schema(wire, emulator):
    done = run(wire, emulator, {"a": chat("[[error:429]]"), "b": chat("[[error:500]]"), "c": {}, "d": chat(x=1)})

    lines = wire.lines(done["error_file"])

    assert (done["output_file"], len(lines)) == (None, 4)
    for line in lines:
        check("BatchResultLine", line)
        check("ApiError", json.loads(line["response"]["body"]))


def test_every_refusal_keeps_to_its_schema(wire, emulator):
    emulator.add(faults.rate_limited(1, operation="files"), faults.refuse(500, operation="list"))
    refused = [
        wire.refused("GET", "/v1/files"),
        wire.refused("GET", "/v1/batch/jobs"),
        wire.refused("GET", f"/v1/files/{NOBODY}"),
        wire.refused("GET", f"/v1/batch/jobs/{NOBODY}"),
        wire.refused("GET", "/v1/files/x"),
        wire.refused("GET", "/v1/nothing"),
        wire.refused("GET", "/v1/files", key="invalid"),
        wire.refused("GET", "/v1/files", key=None),
        wire.refused("POST", "/v1/batch/jobs", {"endpoint": "/v1/x"}),
        wire.refused("POST", "/v1/batch/jobs", {"endpoint": CHAT, "model": "m", "input_files": [NOBODY]}),
        wire.refused("POST", "/v1/files", {}),
    ]

    assert [status for status, _ in refused] == [429, 500, 404, 404, 422, 404, 401, 401, 422, 422, 422]
    for _, answer in refused:
        check("ApiError", answer)


def test_structured_answers_satisfy_the_schema_that_was_asked_for(wire, emulator):
    done = run(wire, emulator, BODIES[CHAT])

    bodies = {line["custom_id"]: line["response"]["body"] for line in wire.lines(done["output_file"])}

    jsonschema.validate(json.loads(bodies["schema"]["choices"][0]["message"]["content"]), SCHEMA)
    for name in ("tool", "named"):
        (call,) = bodies[name]["choices"][0]["message"]["tool_calls"]
        jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)


@pytest.mark.parametrize("endpoint", BODIES)
def test_the_rows_of_these_tests_are_what_the_sdk_would_send(endpoint):
    """A row that the emulator takes, and the SDK could not have made, would prove nothing."""
    kinds = {
        CHAT: models.ChatCompletionRequest,
        "/v1/embeddings": models.EmbeddingRequest,
        "/v1/fim/completions": models.FIMCompletionRequest,
        "/v1/moderations": models.ClassificationRequest,
        "/v1/chat/moderations": models.ChatModerationRequest,
        "/v1/classifications": models.ClassificationRequest,
        "/v1/chat/classifications": models.ChatClassificationRequest,
        "/v1/ocr": models.OCRRequest,
        "/v1/conversations": models.ConversationRequest,
        "/v1/audio/transcriptions": models.AudioTranscriptionRequest,
    }
    for body in BODIES[endpoint].values():
        check_type(kinds[endpoint], {"model": MODELS[endpoint], **body})


def test_the_validation_would_notice_a_wrong_answer(wire, emulator):
    done = run(wire, emulator, {"a": chat()})
    (line,) = wire.lines(done["output_file"])

    for change in ({"created_at": "today"}, {"status": 7}, {"more": 1}, {"output_file": 7}):
        with pytest.raises((jsonschema.ValidationError, ValueError, AssertionError)):
            check("BatchJob", {**done, **change})
    with pytest.raises(AssertionError):
        check_type(models.ChatCompletionResponse, {**line["response"]["body"], "more": 1})
