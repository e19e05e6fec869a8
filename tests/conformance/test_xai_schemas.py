"""Every JSON answer is what a description of xAI's REST paths says, and has no field that it does not know.

xAI's published specification leaves batches out, and its SDK speaks gRPC alone, for which `test_xai_sdk.py` has a door: the
description was put together from its protocol files, its documentation and what third parties saw. It lies beside the
repository, in `shared/specs`; where it is not at hand, there is nothing to hold answers against.
"""

import io
import json
from functools import cache
from pathlib import Path

import aiohttp
import jsonschema
import pytest
import yaml

from asyncbatch.emulator import Emulator

SPEC = Path(__file__).parents[2].parent / "shared" / "specs" / "xai-batch.openapi.yaml"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not SPEC.is_file(), reason="the description is not at hand"),
]
CHAT = {"model": "grok-4.3", "messages": [{"role": "user", "content": "hi"}]}
BAD = {"model": "grok-4.3", "messages": [{"role": "user", "content": "[[error:400]]"}]}


@cache
def specification():
    return yaml.safe_load(SPEC.read_text(encoding="utf-8"))


def resolved(schema):
    while "$ref" in schema:
        schema = specification()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def check(schema, value):
    """Hold a value against a schema, in which every field is known whose fields are told."""
    whole = {**schema, "components": specification()["components"]}  # which its references lead to
    jsonschema.Draft202012Validator(whole).validate(value)
    assert list(unknown(schema, value)) == []


def unknown(schema, value, at=""):
    schema = resolved(schema)
    if isinstance(value, list):
        for item in value:
            yield from unknown(schema.get("items", {}), item, f"{at}[]")
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name not in schema["properties"]:
                yield f"{at}.{name}"
            yield from unknown(schema["properties"].get(name, {}), inner, f"{at}.{name}")


class Api:
    """The service over HTTP; each answer is held against what the description has for its path."""

    def __init__(self, emulator, session):
        self.base = emulator.base_url("xai")
        self.session = session
        self.seen = set()

    async def call(self, method, template, *, status=200, query="", data=None, **ids):
        url = f"{self.base}{template.format(**ids)}{query}"
        body = data if data is None or isinstance(data, aiohttp.FormData) else json.dumps(data)
        async with self.session.request(method, url, data=body) as response:
            answer = await response.json()
            assert response.status == status, answer
        told = specification()["paths"][template][method.lower()]["responses"]
        found = told.get(str(status)) or told.get("4XX")
        if found is not None:  # some paths have no word for errors, which are the same everywhere
            check(found["content"]["application/json"]["schema"], answer)
        else:
            check({"$ref": "#/components/schemas/Error"}, answer)
        self.seen.add((method, template))
        return answer


@pytest.fixture
async def api():
    now = [1_800_000_000.0]
    with Emulator(clock=lambda: now[0]) as emulator:
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer xai-k"}) as session:
            api = Api(emulator, session)
            api.emulator = emulator
            yield api


def upload(rows, **fields):
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": url, "body": body} for n, (url, body) in enumerate(rows)]
    form.add_field(
        "file", io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines)), filename="b.jsonl"
    )
    return form


async def test_every_answer_is_as_described_and_every_path_of_the_description_is_there(api):
    rows = [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", BAD),
        ("/v1/images/generations", {"model": "grok-imagine-image", "prompt": "a sea"}),
        ("/v1/videos/generations", {"model": "grok-imagine-video", "prompt": "a sea"}),
    ]
    file = await api.call("POST", "/files", data=upload(rows, expires_after="3600", purpose="batch"))
    await api.call("GET", "/files")
    await api.call("GET", "/files/{file_id}", file_id=file["id"])
    made = await api.call("POST", "/batches", data={"name": "n", "input_file_id": file["id"]})
    empty = await api.call("POST", "/batches", data={"name": "e"})
    added = {"batch_requests": [{"batch_request_id": "a", "batch_request": {"chat_get_completion": CHAT}}]}
    paths = specification()["paths"]["/batches/{batch_id}/requests"]["post"]
    check(paths["requestBody"]["content"]["application/json"]["schema"], added)
    await api.call("POST", "/batches/{batch_id}/requests", batch_id=empty["batch_id"], data=added)
    await api.call("GET", "/batches/{batch_id}", batch_id=made["batch_id"])
    await api.call("POST", "/batches/{batch_id}:cancel", batch_id=empty["batch_id"])
    api.emulator.advance(3600)
    for batch in (made, empty):
        await api.call("GET", "/batches/{batch_id}", batch_id=batch["batch_id"])
        await api.call("GET", "/batches/{batch_id}/results", batch_id=batch["batch_id"], query="?limit=1")
        await api.call("GET", "/batches/{batch_id}/results", batch_id=batch["batch_id"])
        await api.call("GET", "/batches/{batch_id}/requests", batch_id=batch["batch_id"])
    await api.call("GET", "/batches", query="?limit=1")
    await api.call("DELETE", "/files/{file_id}", file_id=(await uploaded(api))["id"])

    described = {
        (method.upper(), path)
        for path, operations in specification()["paths"].items()
        for method in operations
        if method in ("get", "post", "delete")
    }
    assert api.seen == described


async def uploaded(api):
    return await api.call("POST", "/files", data=upload([("/v1/chat/completions", CHAT)]))


async def test_every_refusal_is_as_described(api):
    await api.call("POST", "/files", status=400, data=upload([], expires_after="1"))
    await api.call("GET", "/files/{file_id}", status=404, file_id="file_none")
    await api.call("POST", "/batches", status=422, data={})
    await api.call("POST", "/batches", status=404, data={"name": "n", "input_file_id": "file_none"})
    await api.call("GET", "/batches/{batch_id}", status=404, batch_id="batch_none")
    await api.call("GET", "/batches/{batch_id}/results", status=404, batch_id="batch_none")
    file = await uploaded(api)
    made = await api.call("POST", "/batches", data={"name": "n", "input_file_id": file["id"]})
    added = {"batch_requests": [{"batch_request_id": "a", "batch_request": {"chat_get_completion": CHAT}}]}
    await api.call("POST", "/batches/{batch_id}/requests", status=412, batch_id=made["batch_id"], data=added)
    api.emulator.advance(3600)
    await api.call("POST", "/batches/{batch_id}:cancel", status=400, batch_id=made["batch_id"])


async def test_a_field_that_nobody_described_would_be_noticed(api):
    made = await api.call("POST", "/batches", data={"name": "n"})

    assert list(unknown({"$ref": "#/components/schemas/Batch"}, {**made, "status": "done"})) == [".status"]
