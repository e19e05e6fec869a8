"""Every JSON answer is what Gemini's specification says, and where that is not at hand, what Google's SDK reads.

The specification lies beside the repository, in `shared/specs`. It is a reconstruction and allows much, so the bodies of result
lines and files are held against the types of the SDK as well, which know no field but their own.
"""

import json
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from google.genai import batches, types
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from asyncbatch.emulator import faults
from tests.conformance.gemini_rows import (
    BODIES,
    EMBEDDER,
    EMBEDDINGS,
    GOOGLE_SCHEMA,
    MODEL,
    SCHEMA,
    chat,
    encode_rows,
    inline,
)

pytestmark = pytest.mark.conformance

SPEC = Path(__file__).parents[2].parent / "shared" / "specs" / "gemini-batch.openapi.yaml"
READERS = {  # name in the specification -> how the SDK reads it
    "BatchOperation": lambda value: types.BatchJob.model_validate(batches._BatchJob_from_mldev(value)),
    "File": types.File.model_validate,
    "GenerateContentResponse": types.GenerateContentResponse.model_validate,
    "EmbedContentResponse": types.SingleEmbedContentResponse.model_validate,
    "Status": types.JobError.model_validate,
}
CHANGES = ({"createTime": "today"}, {"batchStats": {"requestCount": 1}})
KEYS = {"candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId"}


@cache
def specification(name):
    """Give a validator for one of the specification's schemas; None where the specification is not at hand."""
    if not SPEC.is_file():
        return None
    document = yaml.load(SPEC.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    registry = Registry().with_resource("urn:spec", Resource(document, DRAFT202012))
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    schema = {"$ref": f"urn:spec#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=checker)


def check(name, value):
    if name in READERS:
        READERS[name](json.loads(json.dumps(value)))
    validator = specification(name)
    if validator is not None:
        validator.validate(value)


class Wire:
    """The emulator's answers as they are."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.base = emulator.base_url("gemini")

    def send(self, method, path, data=None, **headers):
        url = path if path.startswith("http") else self.base + path
        headers = {"x-goog-api-key": "k", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def call(self, method, path, document=None, **headers):
        data = None if document is None else json.dumps(document).encode()
        return json.loads(self.send(method, path, data, **headers)[2])

    def upload(self, content):
        headers = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(content)),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }
        url = self.send("POST", "/upload/v1/files", b"{}", **headers)[1]["x-goog-upload-url"]
        last = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
        sent = json.loads(self.send("POST", url, content, **last)[2])
        self.emulator.advance(1)
        return sent

    def create(self, source, model=MODEL, method="batchGenerateContent"):
        body = {"batch": {"displayName": "tag", "inputConfig": source}}
        name = "BatchGenerateContentRequest" if method == "batchGenerateContent" else "AsyncBatchEmbedContentRequest"
        validator = specification(name)
        if validator is not None:
            validator.validate(body)
        return self.call("POST", f"/v1/models/{model}:{method}", body)

    def finish(self, source, **more):
        batch = self.create(source, **more)
        self.emulator.advance(600)
        return self.call("GET", f"/v1/{batch['name']}")

    def lines(self, batch):
        path = f"/v1/{batch['response']['responsesFile']}:download?alt=media"
        return [json.loads(line) for line in self.send("GET", path)[2].splitlines()]


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


def from_file(wire, bodies):
    return {"fileName": wire.upload(encode_rows(bodies))["file"]["name"]}


def in_body(bodies):
    return {"requests": {"requests": inline(bodies)}}


def test_a_batch_keeps_to_its_schema_in_every_state(wire, emulator):
    rows = {str(number): chat("[[error:400]]" if number % 7 == 0 else "hi") for number in range(100)}
    batch, cancelled = (wire.create(from_file(wire, rows)) for _ in range(2))
    emulator.add(faults.full_queue())
    doomed, stalled = wire.create(in_body(rows)), wire.create(in_body({"a": chat("[[stall]]")}))
    seen = [batch, cancelled]
    for seconds in (5, 2, 600):
        emulator.advance(seconds)
        seen.append(wire.call("GET", f"/v1/{batch['name']}"))
        wire.call("POST", f"/v1/{cancelled['name']}:cancel", {})
    seen += [wire.call("GET", f"/v1/{item['name']}") for item in (doomed, cancelled)]
    emulator.advance(48 * 3600)
    seen.append(wire.call("GET", f"/v1/{stalled['name']}"))

    assert {item["metadata"]["state"].removeprefix("BATCH_STATE_") for item in seen} == {
        "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED",
    }  # fmt: skip
    for item in seen:
        check("BatchOperation", item)
        assert item.get("done", False) == ("response" in item or "error" in item)
        if "error" in item:
            check("Status", item["error"])


def test_files_and_lists_keep_to_their_schemas(wire):
    sent = wire.upload(b"x")
    wire.finish(in_body({"a": chat()}))
    wire.finish(from_file(wire, {"a": chat()}))
    files = wire.call("GET", "/v1/files?pageSize=1")

    check("UploadFileResponse", sent)
    check("File", sent["file"])
    check("File", wire.call("GET", f"/v1/{sent['file']['name']}"))
    assert set(files) == {"files", "nextPageToken"}
    for item in files["files"]:
        check("File", item)
    check("ListOperationsResponse", wire.call("GET", "/v1/batches?pageSize=1"))
    check("ListOperationsResponse", wire.call("GET", "/v1/batches"))


@pytest.mark.parametrize("is_inline", [False, True])
@pytest.mark.parametrize(
    ("bodies", "schema", "target"),
    [
        (BODIES, "GenerateContentResponse", {}),
        (EMBEDDINGS, "EmbedContentResponse", {"model": EMBEDDER, "method": "asyncBatchEmbedContent"}),
    ],
)
def test_every_answer_keeps_to_its_schema(wire, bodies, schema, target, is_inline):
    done = wire.finish(in_body(bodies) if is_inline else from_file(wire, bodies), **target)
    rows = done["response"]["inlinedResponses"]["inlinedResponses"] if is_inline else wire.lines(done)

    check("BatchOperation", done)
    assert done["metadata"]["output"].items() <= done["response"].items()
    assert [row["metadata"]["key"] if is_inline else row["key"] for row in rows] == list(bodies)
    for row in rows:
        check("InlinedResponse" if is_inline else "GeminiOutputLine", row)
        check(schema, row["response"])
        if schema == "GenerateContentResponse":
            assert row["response"].keys() <= KEYS


def test_every_error_row_keeps_to_its_schema(wire):
    bodies = {"a": chat("[[error:400]]"), "b": chat("[[expire]]"), "c": {"contents": []}}

    rows = wire.lines(wire.finish(from_file(wire, bodies)))

    assert [row["error"]["code"] for row in rows] == [3, 4, 3]
    for row in rows:
        check("GeminiOutputLine", row)
        check("Status", row["error"])


def test_every_refusal_keeps_to_its_schema(wire, emulator):
    emulator.add(faults.rate_limited(2, first=6))
    refusals = [
        wire.call("GET", "/v1/batches/none"),
        wire.call("GET", "/v1/batches", **{"x-goog-api-key": "invalid"}),
        wire.call("GET", "/v1/files/none"),
        wire.call("POST", f"/v1/models/{MODEL}:batchGenerateContent", {"batch": {"x": 1}}),
        wire.call("GET", "/v1/nothing"),
        wire.call("GET", "/v1/batches"),
    ]

    for refusal in refusals:
        check("ApiError", refusal)
    assert [refusal["error"]["code"] for refusal in refusals] == [404, 400, 403, 400, 404, 429]


def test_a_changed_batch_keeps_to_its_schema(wire):
    batch = wire.create(in_body({"a": chat()}))
    path = f"/v1/{batch['name']}:updateGenerateContentBatch?updateMask=displayName"

    changed = wire.call("PATCH", path, {"displayName": "other"})

    check("GenerateContentBatch", changed)
    assert changed["displayName"] == "other"


def test_structured_answers_satisfy_the_schema_that_was_asked_for(wire):
    rows = {row["key"]: row["response"] for row in wire.lines(wire.finish(from_file(wire, BODIES)))}

    def parts(name):
        return rows[name]["candidates"][0]["content"]["parts"]

    assert GOOGLE_SCHEMA["required"] == SCHEMA["required"]
    for name in ("schema", "googleschema"):
        jsonschema.validate(json.loads(parts(name)[0]["text"]), SCHEMA)
    for name in ("tool", "googletool"):
        jsonschema.validate(parts(name)[0]["functionCall"]["args"], SCHEMA)


def test_the_validation_would_notice_a_wrong_answer(wire):
    batch = wire.create(in_body({"a": chat()}))
    late, number = ({**batch, "metadata": {**batch["metadata"], **change}} for change in CHANGES)

    check("BatchOperation", batch)
    with pytest.raises((jsonschema.ValidationError, ValueError), match="today"):
        check("BatchOperation", late)
    with pytest.raises(ValueError, match="strange"):
        check("GenerateContentResponse", {"strange": 1})
    if specification("BatchOperation") is not None:
        with pytest.raises(jsonschema.ValidationError):
            check("BatchOperation", number)
