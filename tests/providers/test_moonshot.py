"""Moonshot: what Kimi's service does otherwise than OpenAI, which it imitates.

Source: the published document of its batch API (platform.kimi.ai/docs/api/batch-create and batch-list), whose batch has no
`errors` and no `expired_at`; compared on 2026-11-22. The samples have its shape; their values and messages are made up.
"""

import json

import pytest
from aioresponses import aioresponses

from asyncbatch import BatchStatus, ProviderPermanentError
from asyncbatch.catalog import load_catalog
from asyncbatch.providers._shapes.openai import decode_page, decode_status
from asyncbatch.providers.moonshot_provider import MoonshotBatchProvider
from tests.providers.world import world

FACTS = load_catalog().provider("moonshot")
BASE = "https://api.moonshot.ai/v1"

CREATED = (
    b'{"id":"batch_k1","object":"batch","endpoint":"/v1/chat/completions","input_file_id":"file-k1",'
    b'"completion_window":"12h","status":"validating","output_file_id":null,"error_file_id":null,"created_at":1795300010,'
    b'"in_progress_at":null,"expires_at":1795343210,"finalizing_at":null,"completed_at":null,"failed_at":null,'
    b'"cancelling_at":null,"cancelled_at":null,"request_counts":{"total":0,"completed":0,"failed":0},"metadata":null}'
)
NOT_NOW = b'{"error":{"message":"batch cannot be cancelled in its state","type":"invalid_request_error","code":null}}'
NO_BATCH = b'{"error":{"message":"batch not found","type":"resource_not_found_error"}}'


def batch(**changes):
    return json.dumps({**json.loads(CREATED), **changes}).encode()


# A batch that says less


def test_a_batch_is_read_without_errors_and_without_the_moment_it_expired():
    status = decode_status(CREATED, FACTS)
    expired = decode_status(batch(status="expired", output_file_id="file-out"), FACTS)

    assert (status.status, status.created_at, status.expires_at) == (BatchStatus.VALIDATING, 1795300010, 1795343210)
    assert (status.error_message, status.usage) == (None, None)
    assert (expired.status, expired.completed_at, expired.result_uris) == (BatchStatus.EXPIRED, None, ("file-out",))
    assert expired.error_message is None, "only a batch that failed owes a reason"


def test_a_batch_that_failed_gives_no_reason_and_we_say_that_it_gives_none():
    status = decode_status(batch(status="failed", failed_at=1795300050), FACTS)

    assert (status.status, status.completed_at, status.errors) == (BatchStatus.FAILED, 1795300050, ())
    assert status.error_message.startswith("Moonshot does not say why")


async def test_a_batch_that_the_service_fails_says_as_much_to_whoever_waits_for_it():
    async with world("moonshot", limits={"rows": 1}) as here:
        status, rows = await here.run(["a", "b"])

    assert (status.status, status.errors, rows) == (BatchStatus.FAILED, (), [])
    assert "its input may be unfit" in status.error_message


# A list that does not name its ends


@pytest.mark.parametrize(("has_more", "cursor"), [(b"true", "batch_k2"), (b"false", None)])
def test_a_page_goes_on_after_its_last_batch(has_more, cursor):
    data = CREATED + b"," + CREATED.replace(b"batch_k1", b"batch_k2")
    page = decode_page(b'{"object":"list","data":[' + data + b'],"has_more":' + has_more + b"}", FACTS)

    assert [status.provider_batch_id for status in page.statuses] == ["batch_k1", "batch_k2"]
    assert page.cursor == cursor


async def test_the_last_batch_of_a_page_is_what_the_next_one_is_asked_for_after_and_20_at_once():
    first = b'{"object":"list","data":[' + CREATED + b'],"has_more":true}'
    with aioresponses() as server:
        server.get(f"{BASE}/batches?limit=20", body=first)
        server.get(f"{BASE}/batches?after=batch_k1&limit=20", body=b'{"object":"list","data":[],"has_more":false}')
        async with MoonshotBatchProvider({"api_key": "sk-test"}) as provider:
            page = await provider.list_statuses(limit=1000)
            last = await provider.list_statuses(cursor=page.cursor, limit=1000)

    assert (page.cursor, last.statuses, last.cursor) == ("batch_k1", (), None)


# A cancel that comes too late


async def test_the_cancel_of_a_batch_that_is_over_is_refused_and_harmless():
    async with world("moonshot") as here:
        started = await here.start(["a"])
        here.pass_window()
        status = await here.provider.cancel(started.provider_batch_id)
        calls = here.calls("cancel")

    assert (calls, status.status) == ([400], BatchStatus.COMPLETED)


async def test_a_400_to_a_cancel_shows_what_the_batch_is_and_a_404_stays_an_error():
    with aioresponses() as server:
        server.post(f"{BASE}/batches/batch_k1/cancel", status=400, body=NOT_NOW)
        server.get(f"{BASE}/batches/batch_k1", body=batch(status="cancelling", cancelling_at=1795300500))
        server.post(f"{BASE}/batches/batch_k9/cancel", status=404, body=NO_BATCH)
        async with MoonshotBatchProvider({"api_key": "sk-test"}) as provider:
            status = await provider.cancel("batch_k1")
            with pytest.raises(ProviderPermanentError, match="batch not found") as caught:
                await provider.cancel("batch_k9")

    assert status.status is BatchStatus.CANCELLING
    assert (caught.value.status, caught.value.code) == (404, "resource_not_found_error")
