"""Zhipu: what GLM's service does otherwise than OpenAI, which it imitates.

Source: docs.bigmodel.cn/cn/guide/tools/batch, docs.bigmodel.cn/cn/api/api-code, zhipuai 2.1.5 and zai-sdk 0.0.3.4; compared on
2026-11-22. Samples have the documented shape; their values and messages are made up.
"""

import json

import pytest
from aioresponses import CallbackResult, aioresponses

from asyncbatch import (
    BatchMode,
    BatchStatus,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.providers._shapes.openai import encode_create
from asyncbatch.providers.zhipu_provider import ZhipuBatchProvider
from tests.providers.world import JOB, world

FACTS = load_catalog().provider("zhipu")
BASE = "https://open.bigmodel.cn/api/paas/v4"

CREATED = (
    b'{"id":"batch_1791490810192076800","object":"batch","endpoint":"/v4/chat/completions","errors":null,'
    b'"input_file_id":"file-1715851268_1","completion_window":"24h","status":"validating","output_file_id":null,'
    b'"error_file_id":null,"created_at":1795300010,"request_counts":{"total":0,"completed":0,"failed":0},"metadata":null}'
)


async def prepared(mode=BatchMode.CHAT, model="glm-4-flash", requests=("hello",)):
    provider = ZhipuBatchProvider({"api_key": "id.secret"})
    (submission,) = await provider.prepare_payloads(batch_id=JOB, model=model, mode=mode, requests=list(requests))
    return submission


async def files_after(here, batch):
    """Give the files that are left once a batch is over."""
    await here.end(batch.provider_batch_id)
    return {file.ref for file in (await here.provider.list_files()).files}


# Addresses below /v4


@pytest.mark.parametrize(
    ("mode", "model", "path"),
    [
        (BatchMode.CHAT, "glm-4-flash", "/v4/chat/completions"),
        (BatchMode.EMBEDDING, "embedding-3", "/v4/embeddings"),
    ],
)
async def test_lines_and_create_name_the_address_of_its_fourth_version(mode, model, path):
    submission = await prepared(mode, model)
    line = json.loads(bytes(submission.payloads[0]))

    assert line["url"] == json.loads(encode_create(submission, FACTS))["endpoint"] == path
    assert len(line["custom_id"]) >= 6, "which some versions of its documentation ask for"


async def test_a_file_holds_a_fifth_of_the_embeddings():
    texts = {"input": ["a"] * 5_000}
    async with world("zhipu") as here:
        submissions = await here.prepare([texts] * 3, mode=BatchMode.EMBEDDING)
        with pytest.raises(InvalidRequestsError, match="a batch may have 10,000"):
            await here.prepare([{"input": ["a"] * 10_001}], mode=BatchMode.EMBEDDING)

    assert [submission.request_count for submission in submissions] == [2, 1]


# What it deletes by itself


async def test_an_input_is_kept_by_every_create():
    assert json.loads(encode_create((await prepared()).replace(input_ref="file-1", tag="t"), FACTS)) == {
        "input_file_id": "file-1",
        "endpoint": "/v4/chat/completions",
        "completion_window": "24h",
        "auto_delete_input_file": False,
        "metadata": {"asyncbatch_tag": "t"},
    }


async def test_an_input_is_still_there_when_its_batch_is_over():
    async with world("zhipu") as here:
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        files = await files_after(here, await here.provider.create(sent))

    assert sent.input_ref in files
    assert len(files) == 2


async def test_who_wants_it_gone_gets_what_the_service_does_by_itself_and_deleting_is_no_error():
    async with world("zhipu") as here:
        submission = await here.prepare_one(["a"], options={"auto_delete_input_file": True})
        sent = await here.provider.upload(submission)
        batch = await here.provider.create(sent)
        files = await files_after(here, batch)
        deleted = await here.provider.delete_artifacts(batch.provider_batch_id)
        asked = here.calls("delete")

    assert sent.input_ref not in files
    assert (deleted, sorted(asked)) == (1, [200, 404])


# Errors, whose codes are numbers in quotes


def refusal(code):
    return b'{"error":{"code":"%s","message":"as its documentation says"}}' % code.encode()


async def refused(code, status):
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", status=status, body=refusal(code))
        async with ZhipuBatchProvider({"api_key": "id.secret"}) as provider:
            await provider.poll_status("batch_1")


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_an_empty_purse_is_not_asked_again_whatever_the_status(status):
    with pytest.raises(ProviderPermanentError, match="as its documentation says") as caught:
        await refused("1113", status)

    assert (caught.value.status, caught.value.code) == (status, "1113")


@pytest.mark.parametrize("status", [400, 403, 429])
@pytest.mark.parametrize("code", ["1302", "1303", "1305"])
async def test_what_is_too_much_for_now_may_be_asked_again_whatever_the_status(code, status):
    with pytest.raises(ProviderTransientError) as caught:
        await refused(code, status)

    assert (caught.value.status, caught.value.code) == (status, code)


# Keys


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"ZAI_API_KEY": "new.key"}, "new.key"),
        ({"ZHIPUAI_API_KEY": "old.key"}, "old.key"),
        ({"ZAI_API_KEY": "new.key", "ZHIPUAI_API_KEY": "old.key"}, "new.key"),
    ],
    ids=["new", "old", "both"],
)
async def test_the_key_comes_from_either_variable_and_travels_as_it_is(variables, key, monkeypatch):
    seen = []

    def note(url, **request):
        seen.append(request["headers"]["authorization"])
        return CallbackResult(body=CREATED)

    for name in ("ZAI_API_KEY", "ZHIPUAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1791490810192076800", callback=note)
        async with ZhipuBatchProvider() as provider:
            status = await provider.poll_status("batch_1791490810192076800")

    assert (status.status, status.endpoint) == (BatchStatus.VALIDATING, "/v4/chat/completions")
    assert seen == [f"Bearer {key}"]
