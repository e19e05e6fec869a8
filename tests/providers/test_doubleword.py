"""Doubleword: what its control layer does otherwise than OpenAI, which it imitates.

Source: doublewordai/control-layer @062af86, and docs.doubleword.ai/batches; compared on 2026-11-22. The webhook is the
fact sheet's sample; the others have the shape of its source, and values that are made up.
"""

import pytest
from aioresponses import aioresponses

from asyncbatch import (
    BatchMode,
    BatchStatus,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
)
from asyncbatch.accounts import webhook_secrets
from asyncbatch.catalog import load_catalog
from asyncbatch.planning.webhooks import Genuine, read_event, verify
from asyncbatch.providers._shapes.openai import decode_status
from asyncbatch.providers.doubleword_provider import DoublewordBatchProvider
from tests.providers.world import CHAT, JOB, world
from tests.webhooks.signing import NOW, SECRET, signed

FACTS = load_catalog().provider("doubleword")
BASE = "https://api.doubleword.ai/v1"

CREATED = (
    b'{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","input_file_id":"f0","completion_window":"24h",'
    b'"status":"validating","output_file_id":"f1","error_file_id":"f2","created_at":1795300000,"expires_at":1795386400,'
    b'"request_counts":{"total":0,"completed":0,"failed":0}}'
)
EVENT = (
    b'{"type":"batch.completed","timestamp":"2026-11-22T10:30:00Z","data":{"batch_id":"batch_1","status":"completed",'
    b'"request_counts":{"total":2,"completed":2,"failed":0,"cancelled":0},"output_file_id":"f1","error_file_id":"f2",'
    b'"created_at":1795300000,"finished_at":1795301000}}'
)
TOO_MANY = b'{"error":"too_many_requests","message":"Try again later.","retry_after_seconds":30}'
NO_CREDITS = b'{"message":"Insufficient credits: the spend cap is reached."}'


async def prepared(**options):
    provider = DoublewordBatchProvider({"api_key": "sk-test"})
    (submission,) = await provider.prepare_payloads(
        **{"batch_id": JOB, "model": "Qwen/Qwen3-8B", "mode": BatchMode.CHAT, "requests": ["hello"], **options}
    )
    return submission


async def poll(status, body, headers=None):
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", status=status, body=body, headers=headers)
        async with DoublewordBatchProvider({"api_key": "sk-test"}) as provider:
            return await provider.poll_status("batch_1")


# A batch


def test_a_batch_leaves_out_what_has_no_value_and_names_its_files_from_the_beginning():
    status = decode_status(CREATED, FACTS)

    assert status.status is BatchStatus.VALIDATING
    assert (status.completed_at, status.errors, status.metadata) == (None, (), {})
    assert status.result_uris == ("f1", "f2")


async def test_files_that_are_named_early_are_not_fetched_early():
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", body=CREATED)
        async with DoublewordBatchProvider({"api_key": "sk-test"}) as provider:
            with pytest.raises(ProviderTransientError, match="is validating") as caught:
                await provider.fetch_results("batch_1")
        asked = [url.path for _, url in server.requests]

    assert caught.value.code == "not_ended"
    assert asked == ["/v1/batches/batch_1"]


async def test_a_batch_of_which_every_row_failed_has_failed_and_its_rows_are_there():
    async with world("doubleword") as here:
        status, rows = await here.run(["[[error:400]] a", "[[error:429]] b"])
        fetched = here.calls("results")

    assert (status.status, status.progress.failed, status.errors) == (BatchStatus.FAILED, 2, ())
    assert {row.request_id: (row.status, row.error.status, row.error.retryable) for row in rows} == {
        "0000000": (ResultStatus.ERRORED, 400, False),
        "0000001": (ResultStatus.ERRORED, 429, True),
    }
    assert fetched == [200]


# Requests


@pytest.mark.parametrize(("window", "hours"), [("1h", 1), ("24h", 24)])
async def test_a_create_is_answered_201_and_a_batch_may_be_given_an_hour_or_a_day(window, hours):
    async with world("doubleword") as here:
        batch = await here.start(["a"], options={"completion_window": window})
        status = await here.provider.poll_status(batch.provider_batch_id)
        answered = here.calls("create")

    assert (answered, batch.status) == ([201], BatchStatus.VALIDATING)
    assert status.expires_at - status.created_at == hours * 3600


async def test_an_id_has_64_characters_at_most():
    longest, longer = [{"custom_id": "é" * length, "body": CHAT} for length in (64, 65)]
    fine = await prepared(requests=[longest])
    with pytest.raises(InvalidRequestsError) as caught:
        await prepared(requests=[longest, longer])

    assert list(fine.request_ids) == ["é" * 64]
    assert [(problem.row, problem.code) for problem in caught.value.problems] == [(1, "bad_id")]


# Errors


async def test_an_error_is_a_message_alone():
    with pytest.raises(ProviderPermanentError, match="answered 404: Batch not found") as caught:
        await poll(404, b'{"message":"Batch not found"}')

    assert (caught.value.status, caught.value.code) == (404, None)


async def test_no_credits_are_no_reason_to_try_again():
    with pytest.raises(ProviderPermanentError, match="the spend cap is reached") as caught:
        await poll(402, NO_CREDITS)

    assert caught.value.status == 402


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("headers", "wait_s"), [(None, 30), ({"Retry-After": "45"}, 45)], ids=["body", "header"])
async def test_who_asks_too_often_learns_for_how_long_to_wait(status, headers, wait_s):
    with pytest.raises(ProviderTransientError, match=r"Try again later\.") as caught:
        await poll(status, TOO_MANY, headers)

    assert (caught.value.code, caught.value.retry_after) == ("too_many_requests", wait_s)


# Webhooks


@pytest.mark.parametrize(
    ("name", "end"), [("batch.completed", BatchStatus.COMPLETED), ("batch.failed", BatchStatus.FAILED)]
)
def test_a_webhook_names_its_batch_in_a_place_of_its_own(name, end):
    headers, body = signed(EVENT.replace(b"batch.completed", name.encode()))
    secrets = webhook_secrets(None, {"doubleword": FACTS.webhooks}, {"DOUBLEWORD_WEBHOOK_SECRET": SECRET})
    sender = verify({**headers, "webhook-version": "1"}, body, secrets, NOW)
    event = read_event(body, FACTS.webhooks)

    assert isinstance(sender, Genuine)
    assert sender.senders == ("doubleword",)
    assert (event.name, event.batch_id, FACTS.webhooks.events[name]) == (name, "batch_1", end)
