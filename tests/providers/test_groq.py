"""Groq: its samples, word for word as the service writes them, and what it does otherwise than OpenAI.

Source of the samples: "Specification of the Groq cloud API" v2.1 (console.groq.com/docs/api-reference), groq-python 1.7.0
types, and console.groq.com/docs/batch; compared on 2026-11-22.
"""

import pytest
from aioresponses import aioresponses

from asyncbatch import BatchStatus, ProviderPermanentError, ResultStatus, UsageInfo
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import faults
from asyncbatch.providers._shapes.openai import decode_files, decode_page, decode_status
from asyncbatch.providers._shapes.openai_lines import decode_line
from asyncbatch.providers.groq_provider import GroqBatchProvider
from tests.providers.world import world

FACTS = load_catalog().provider("groq")
BASE = "https://api.groq.com/openai/v1"

FILE = (
    b'{"id":"file_01jh6x76wtemjr74t1fh0faj5t","object":"file","bytes":966,"created_at":1795300000,"filename":"b.jsonl",'
    b'"purpose":"batch"}'
)
CREATED = (
    b'{"id":"batch_01jh6xa7reempvjyh6n3yst2zw","object":"batch","endpoint":"/v1/chat/completions","errors":null,'
    b'"input_file_id":"file_01jh6x76wtemjr74t1fh0faj5t","completion_window":"24h","status":"validating",'
    b'"output_file_id":null,"error_file_id":null,"created_at":1795300010,"in_progress_at":null,"expires_at":1795386410,'
    b'"finalizing_at":null,"completed_at":null,"failed_at":null,"expired_at":null,"cancelling_at":null,'
    b'"cancelled_at":null,"request_counts":{"total":0,"completed":0,"failed":0},"metadata":null}'
)
ANSWERED = (
    b'{"id":"batch_req_01","custom_id":"r1","response":{"status_code":200,"request_id":"req_01","body":{"id":"chatcmpl-1",'
    b'"object":"chat.completion","created":1795300400,"model":"llama-3.3-70b-versatile","choices":[{"index":0,"message":{'
    b'"role":"assistant","content":"hi"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
    b'"completion_tokens":2,"total_tokens":11},"x_groq":{"id":"req_01"}}},"error":null}'
)
REFUSED = (
    b'{"id":"batch_req_02","custom_id":"r2","response":{"status_code":400,"request_id":"req_02","body":{"error":{'
    b'"message":"...","type":"invalid_request_error","code":"model_not_found"}}},"error":null}'
)


def listed(item):
    return b'{"object":"list","data":[' + item + b"]}"


def row(line):
    return decode_line(line, format="openai.chat", facts=FACTS)


# What it writes


def test_a_batch_has_neither_model_nor_usage_and_its_ids_have_an_underscore():
    status = decode_status(CREATED, FACTS)

    assert status.provider_batch_id == "batch_01jh6xa7reempvjyh6n3yst2zw"
    assert (status.status, status.input_ref) == (BatchStatus.VALIDATING, "file_01jh6x76wtemjr74t1fh0faj5t")
    assert (status.created_at, status.expires_at) == (1795300010, 1795386410)
    assert (status.usage, status.metadata) == (None, {}), "metadata that is null is none"


def test_a_list_comes_whole_and_leads_nowhere():
    batches, files = decode_page(listed(CREATED), FACTS), decode_files(listed(FILE), FACTS)

    assert [status.provider_batch_id for status in batches.statuses] == ["batch_01jh6xa7reempvjyh6n3yst2zw"]
    assert [(file.ref, file.size, file.expires_at) for file in files.files] == [
        ("file_01jh6x76wtemjr74t1fh0faj5t", 966, None)
    ]
    assert (batches.cursor, files.cursor) == (None, None)


def test_an_answer_keeps_what_groq_adds_to_it():
    answered = row(ANSWERED)

    assert (answered.request_id, answered.status, answered.text) == ("r1", ResultStatus.SUCCEEDED, "hi")
    assert answered.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)
    assert answered.response["x_groq"] == {"id": "req_01"}


@pytest.mark.parametrize(("status_code", "retryable"), [(400, False), (424, False), (498, True), (499, True)])
def test_a_row_that_found_no_capacity_is_worth_another_try(status_code, retryable):
    refused = row(REFUSED.replace(b'"status_code":400', b'"status_code":%d' % status_code))

    assert (refused.status, refused.error.code) == (ResultStatus.ERRORED, "model_not_found")
    assert (refused.error.status, refused.error.retryable) == (status_code, retryable)


# What it is asked


async def test_lists_are_asked_for_without_parameters():
    with aioresponses() as server:
        server.get(f"{BASE}/batches", body=listed(CREATED))
        server.get(f"{BASE}/files", body=listed(FILE))
        async with GroqBatchProvider({"api_key": "gsk-test"}) as provider:
            batches = await provider.list_statuses(cursor="batch_0", limit=5)
            files = await provider.list_files(cursor="file_0", limit=5)
        asked = [str(url) for _, url in server.requests]

    assert asked == [f"{BASE}/batches", f"{BASE}/files"]
    assert (len(batches.statuses), len(files.files)) == (1, 1)


# What it refuses


async def test_a_plan_without_batches_is_no_reason_to_try_again():
    no_plan = faults.refuse(403, code="not_available_for_plan", operation="upload", times=None)
    async with world("groq", faults=[no_plan]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.start(["a"])
        tries = here.calls("upload")

    assert (caught.value.status, caught.value.code) == (403, "not_available_for_plan")
    assert (caught.value.is_auth, caught.value.hint) == (False, None), "the key is in order"
    assert (tries, here.clock.slept_s) == ([403], [])


@pytest.mark.parametrize("status", [498, 499])
async def test_an_upload_that_finds_no_capacity_is_sent_again(status):
    async with world("groq", faults=[faults.refuse(status, operation="upload")]) as here:
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        tries = here.calls("upload")

    assert tries == [status, 200]
    assert sent.input_ref.startswith("file_")
