"""Nebius Token Factory: what it does otherwise than OpenAI.

Source: docs.tokenfactory.nebius.com/ai-models-inference/batch-inference, compared on 2026-11-22. No answer of the service is
at hand word for word: the batch is OpenAI's sample without the moments that the documented object lacks.
"""

import json

import pytest

from asyncbatch import BatchMode, BatchStatus
from asyncbatch.catalog import load_catalog
from asyncbatch.providers._shapes.openai import decode_status, encode_create
from asyncbatch.providers.nebius_provider import NebiusBatchProvider
from tests.providers.world import JOB, statuses, world

FACTS = load_catalog().provider("nebius")

CREATED = b"""{"id":"batch_68f0aa11bb22","object":"batch","endpoint":"/v1/chat/completions","errors":null,
"input_file_id":"file-Ab12Cd34Ef56","completion_window":"24h","status":"validating","output_file_id":null,"error_file_id":null,
"created_at":1795300010,"in_progress_at":null,"expires_at":1795386410,"completed_at":null,"failed_at":null,"expired_at":null,
"request_counts":{"total":0,"completed":0,"failed":0},"metadata":{"asyncbatch_tag":"01JX0000"}}"""


async def submission_of(**options):
    (submission,) = await NebiusBatchProvider({"api_key": "nb-test"}).prepare_payloads(
        batch_id=JOB, model="Qwen/Qwen3-32B", mode=BatchMode.CHAT, requests=["hello"], **options
    )
    return submission.replace(input_ref="file-Ab12Cd34Ef56")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("validating", BatchStatus.VALIDATING),
        ("finalizing", BatchStatus.FINALIZING),
        ("cancelling", BatchStatus.CANCELLING),
        ("cancelled", BatchStatus.CANCELLED),
    ],
)
def test_a_batch_without_the_moments_of_its_last_states_is_read(word, expected):
    status = decode_status(CREATED.replace(b"validating", word.encode()), FACTS)

    assert (status.status, status.completed_at) == (expected, None)
    assert (status.created_at, status.expires_at) == (1795300010, 1795386410)


async def test_a_batch_that_was_cancelled_gives_its_answers_though_nobody_knows_when_it_ended():
    async with world("nebius", pace={"row_s": 10_000.0, "run_cap_s": None}) as here:
        batch = await here.start(["a", "b", "c"])
        here.clock.advance(15_000)
        await here.provider.cancel(batch.provider_batch_id)
        status = await here.end(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert (status.status, status.completed_at) == (BatchStatus.CANCELLED, None)
    assert sorted(statuses(rows).values()) == ["cancelled", "cancelled", "succeeded"]


async def test_more_rows_than_a_file_of_openai_holds_make_one_batch():
    async with world("nebius") as here:
        submissions = await here.prepare(["a"] * 50_001)

    assert [submission.request_count for submission in submissions] == [50_001]


def test_a_batch_may_have_five_million_rows_and_ten_gigabytes_and_five_hundred_may_be_open():
    limits = FACTS.limits

    assert (limits.requests.value, limits.file_bytes.value) == (5_000_000, 10_000_000_000)
    assert limits.open_batches.value == 500


async def test_settings_for_every_row_travel_in_the_create_as_they_are():
    settings = {"model": "Qwen/Qwen3-32B", "temperature": 0.2, "top_p": 0.9, "max_tokens": 64}
    submission = (await submission_of(options={"override_settings": settings})).replace(tag="ab1-job-0-1-cafe")

    assert json.loads(encode_create(submission, FACTS)) == {
        "input_file_id": "file-Ab12Cd34Ef56",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"asyncbatch_tag": "ab1-job-0-1-cafe"},
        "override_settings": settings,
    }
