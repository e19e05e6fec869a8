"""OpenAI's SDK, as Azure's users have it, goes through the life of a batch by both ways."""

import json

import openai
import pytest
from openai.types import Batch, FileObject
from openai.types.chat import ChatCompletion

from asyncbatch.emulator import faults
from asyncbatch.emulator.emulator import KEY
from tests.conformance.rows import chat, encode_rows

pytestmark = pytest.mark.conformance

VERSION = "2024-10-21"
WAYS = {"v1": "/v1/chat/completions", "classic": "/chat/completions"}
"""What rows name, by the way."""


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
async def sdk(emulator, way, monkeypatch):
    """The SDK as anybody would make it: the classic one from the environment, the other with a base URL."""
    for name, value in emulator.env("azure").items():
        monkeypatch.setenv(name, value)
    if way == "classic":
        client = openai.AsyncAzureOpenAI(api_version=VERSION, max_retries=0)
    else:
        client = openai.AsyncOpenAI(api_key=KEY, base_url=emulator.base_url("azure"), max_retries=0)
    async with client:
        yield client


def body(prompt="hello"):
    return {**chat(prompt), "model": "my-gpt41-batch"}


async def upload(sdk, rows, url):
    return await sdk.files.create(file=("in.jsonl", encode_rows(url, rows)), purpose="batch")


async def create(sdk, emulator, way, rows, **more):
    file = await upload(sdk, rows, WAYS[way])
    emulator.advance(10)
    return await sdk.batches.create(input_file_id=file.id, endpoint=WAYS[way], completion_window="24h", **more)


async def test_a_batch_goes_from_upload_to_answers(sdk, emulator, way):
    batch = await create(sdk, emulator, way, {"a": body(), "b": body("[[filter]]")}, metadata={"tag": "t"})
    emulator.advance(600)
    done = await sdk.batches.retrieve(batch.id)
    files = [(await sdk.files.content(name)).text for name in (done.output_file_id, done.error_file_id)]
    lines = {line["custom_id"]: line for text in files for line in map(json.loads, text.splitlines())}

    assert isinstance(done, Batch)
    assert done.status.lower() == "completed"
    assert done.metadata == {"tag": "t"}
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    assert {"id"}.isdisjoint(lines["a"])
    answer = ChatCompletion.model_validate(lines["a"]["response"]["body"])
    assert answer.choices[0].message.content == "echo: hello"
    assert lines["b"]["response"]["body"]["error"]["code"] == "content_filter"


async def test_a_file_is_pending_then_processed_and_deleted(sdk, emulator, way):
    file = await upload(sdk, {"a": body()}, WAYS[way])
    with pytest.raises(openai.BadRequestError, match="not processed yet"):
        await sdk.batches.create(input_file_id=file.id, endpoint=WAYS[way], completion_window="24h")
    emulator.advance(10)
    later = await sdk.files.retrieve(file.id)
    await sdk.files.delete(file.id)

    assert isinstance(file, FileObject)
    assert (file.status, later.status) == ("pending", "processed")
    with pytest.raises(openai.NotFoundError):
        await sdk.files.retrieve(file.id)


async def test_a_batch_is_cancelled_and_listed(sdk, emulator, way):
    batch = await create(sdk, emulator, way, {"a": body("[[stall]]")})
    emulator.advance(60)
    cancelling = await sdk.batches.cancel(batch.id)
    emulator.advance(60)
    listed = await sdk.batches.list()

    assert cancelling.status.lower() == "cancelling"
    assert (await sdk.batches.retrieve(batch.id)).status == ("Canceled" if way == "classic" else "cancelled")
    found = [item["id"] for item in listed.model_dump().get("value") or listed.model_dump()["data"]]
    assert found == [batch.id], "the SDK has no word for `value`, and hands it on"


async def test_the_rows_of_one_way_are_none_of_the_other(sdk, emulator, way):
    (other,) = {*WAYS.values()} - {WAYS[way]}
    file = await upload(sdk, {"a": body()}, other)
    emulator.advance(10)
    batch = await sdk.batches.create(input_file_id=file.id, endpoint=WAYS[way], completion_window="24h")
    emulator.advance(60)
    failed = await sdk.batches.retrieve(batch.id)

    assert failed.status.lower() == "failed"
    assert failed.errors.data[0].code == "url_mismatch"
    assert (failed.output_file_id, failed.request_counts.total) == ("", None)
    assert failed.completed_at


async def test_a_refusal_is_the_sdks_own_error(sdk, emulator, way):
    emulator.add(faults.refuse(400, code="token_limit_exceeded", operation="create"))
    with pytest.raises(openai.BadRequestError) as caught:
        await create(sdk, emulator, way, {"a": body()})

    assert caught.value.code == "token_limit_exceeded"


async def test_the_key_may_be_a_bearer_token_and_a_bad_one_is_refused(emulator, way):
    url = emulator.env("azure")["AZURE_OPENAI_ENDPOINT"]
    tokens = {"good": "a-token-of-entra", "bad": "invalid-token"}
    found = {}
    for name, token in tokens.items():
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=url, azure_ad_token=token, api_version=VERSION, max_retries=0
        ) as client:
            try:
                found[name] = (await client.batches.list()).model_extra["value"]
            except openai.AuthenticationError as error:
                found[name] = error.status_code

    assert found == {"good": [], "bad": 401}


async def test_a_classic_call_without_a_version_finds_nothing(emulator):
    url = f"{emulator.env('azure')['AZURE_OPENAI_ENDPOINT']}/openai"
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="Resource not found") as caught:
            await client.batches.list()

    assert caught.value.code == "404"
