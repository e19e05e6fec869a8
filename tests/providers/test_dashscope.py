"""DashScope: what Alibaba's Model Studio (Qwen) does otherwise than OpenAI, which it imitates.

Source: help.aliyun.com/zh/model-studio/batch-interfaces-compatible-with-openai and the OpenAPI block of its page "List Batch";
compared on 2026-11-22. The samples have the documented shape; the fact sheet quotes none, so their values are made up.
"""

import json
from itertools import pairwise

import pytest
from aioresponses import aioresponses

from asyncbatch import (
    BatchMode,
    BatchPoller,
    BatchStatus,
    ProviderPermanentError,
    ResultStatus,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.codec.errors import decode_error
from asyncbatch.providers._shapes.openai import decode_status
from asyncbatch.providers._shapes.openai_lines import decode_line
from asyncbatch.providers.dashscope_provider import DashScopeBatchProvider
from asyncbatch.testing.runtime import virtual_runtime
from tests.providers.world import DAY_S, JOB, world

FACTS = load_catalog().provider("dashscope")
BASE = "https://dashscope.aliyuncs.com/compatible-mode/v1"
TEST_ENDPOINT = "/v1/chat/ds-test"

ENDED = (
    b'{"id":"batch_e30fa8f5","object":"batch","endpoint":"/v1/chat/ds-test","errors":null,"input_file_id":"file-batch-5b1",'
    b'"completion_window":"24h","status":"completed","output_file_id":"file-batch_output-cf4","error_file_id":null,'
    b'"created_at":1795300010,"in_progress_at":1795300070,"expires_at":1795386410,"finalizing_at":1795301000,'
    b'"completed_at":1795301030,"failed_at":null,"expired_at":null,"cancelling_at":null,"cancelled_at":null,'
    b'"request_counts":{"total":2,"completed":2,"failed":0},"metadata":{"ds_name":"test","ds_description":"of the wire"}}'
)
ANSWERED = (
    b'{"id":"73291560-7616-97bf-87f2-7d747bbe84fd","custom_id":"1","response":{"status_code":200,'
    b'"request_id":"73291560-7616-97bf-87f2-7d747bbe84fd","body":{"created":1795300500,"usage":{"completion_tokens":7,'
    b'"prompt_tokens":26,"total_tokens":33},"model":"qwen-max","id":"chatcmpl-73291560-7616-97bf-87f2-7d747bbe84fd",'
    b'"choices":[{"finish_reason":"stop","index":0,"message":{"content":"2+2 equals 4."}}],"object":"chat.completion"}},'
    b'"error":null}'
)
LIKE_OPENAI = (
    b'{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error","param":null,'
    b'"code":"invalid_api_key"}}'
)
ITS_OWN = b'{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"fb53c4ec-1c12-4fc4-a580-cdb7c3261fc1"}'


# What it writes


def test_a_batch_that_is_over_has_no_usage_and_its_answers_stay_for_30_days():
    status = decode_status(ENDED, FACTS)

    assert (status.status, status.endpoint) == (BatchStatus.COMPLETED, TEST_ENDPOINT)
    assert (status.input_ref, status.result_uris) == ("file-batch-5b1", ("file-batch_output-cf4",))
    assert status.results_expire_at == 1795301030 + 30 * DAY_S
    assert (status.usage, status.metadata["ds_name"]) == (None, "test")


def test_an_answer_is_known_by_a_uuid_and_its_message_may_have_no_role():
    answered = decode_line(ANSWERED, format="openai.chat", facts=FACTS)

    assert (answered.request_id, answered.status, answered.text) == ("1", ResultStatus.SUCCEEDED, "2+2 equals 4.")
    assert answered.usage.total_tokens == 33
    assert answered.metadata == {"provider_request_id": "73291560-7616-97bf-87f2-7d747bbe84fd"}


# Windows, and a polite distance


async def test_a_batch_is_asked_about_no_oftener_than_once_a_minute():
    async with world("dashscope", pace={"row_s": 300, "run_cap_s": None}) as here:
        batch = await here.start(["a", "b"])
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)
        asked = [record.at for record in here.emulator.history if record.operation == "poll"]

    assert status.status is BatchStatus.COMPLETED
    assert len(asked) > 3
    assert min(later - earlier for earlier, later in pairwise(asked)) >= 60


# The endpoint that costs nothing


async def test_the_free_test_endpoint_stands_in_every_line_and_in_the_create():
    async with world("dashscope") as here:
        submission = await here.prepare_one(["a"], endpoint=TEST_ENDPOINT)
        batch = await here.provider.submit(submission)
        status = await here.end(batch.provider_batch_id)
        (row,) = await here.rows(batch.provider_batch_id)

    assert json.loads(bytes(submission.payloads[0]))["url"] == status.endpoint == TEST_ENDPOINT
    assert (row.status, row.format, row.text) == (ResultStatus.SUCCEEDED, "openai.chat", "echo: a")


async def test_its_model_is_known_and_chat_goes_elsewhere_unless_it_is_asked_for():
    provider = DashScopeBatchProvider({"api_key": "sk-test"})
    asked = {"batch_id": JOB, "mode": BatchMode.CHAT, "requests": ["a"]}
    (free,) = await provider.prepare_payloads(model="batch-test-model", endpoint=TEST_ENDPOINT, **asked)
    (paid,) = await provider.prepare_payloads(model="qwen-plus", **asked)

    assert (free.endpoint, paid.endpoint) == (TEST_ENDPOINT, "/v1/chat/completions")


# Errors, of both shapes


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (LIKE_OPENAI, "invalid_api_key", "Incorrect API key provided."),
        (ITS_OWN, "InvalidApiKey", "Invalid API-key provided."),
    ],
    ids=["like OpenAI", "its own"],
)
async def test_a_refused_key_is_understood_whichever_way_it_is_said(body, code, message):
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_e30fa8f5", status=401, body=body)
        async with DashScopeBatchProvider({"api_key": "sk-test"}) as provider:
            with pytest.raises(ProviderPermanentError, match="check the key: DASHSCOPE_API_KEY") as caught:
                await provider.poll_status("batch_e30fa8f5")

    assert (caught.value.status, caught.value.code) == (401, code)
    assert message in str(caught.value)
    assert decode_error(body).is_own_shape, "so that a create which is refused like this was not accepted"
