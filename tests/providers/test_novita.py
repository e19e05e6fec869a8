"""Novita: an object of its own on OpenAI's paths.

Source: novita.ai/docs/guides/llm-batch-api, compared on 2026-11-22. It gives no answer word for word: the batch has the fields
that it names, in the types that it says they have.
"""

import json

import pytest

from asyncbatch import BatchMode, BatchStatus, ConfigError, SubmissionUnknownError
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import faults
from asyncbatch.providers._shapes.openai import decode_status, encode_create
from asyncbatch.providers.novita_provider import NovitaBatchProvider
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import JOB, world
from tests.transport.wire import answer, serve

FACTS = load_catalog().provider("novita")

CREATED = b"""{"id":"batch_d41d8cd98f","object":"batch","endpoint":"/v1/chat/completions","input_file_id":"file_d41d8cd98f",
"completion_window":"48h","status":"VALIDATING","output_file_id":"","error_file_id":"","errors":"","version":1,
"created_at":"2026-11-22T10:00:00Z","updated_at":"2026-11-22T10:00:00Z","created_by":"u-1","created_by_key_id":"k-1","remark":"",
"in_progress_at":{},"expires_at":{},"finalizing_at":null,"completed_at":{},"failed_at":null,"expired_at":{},"cancelling_at":null,
"cancelled_at":{},"total":0,"completed":0,"failed":0}"""
AT = 1795341600
"""2026-11-22T10:00:00Z."""


def batch(**changes):
    return json.dumps({**json.loads(CREATED), **changes}).encode()


async def submission_of(**options):
    (submission,) = await NovitaBatchProvider({"api_key": "nv-test"}).prepare_payloads(
        batch_id=JOB, model="deepseek/deepseek-v3-0324", mode=BatchMode.CHAT, requests=["hello"], **options
    )
    return submission.replace(input_ref="file_d41d8cd98f")


# A batch


def test_a_batch_that_was_just_created_is_read_in_spite_of_its_types():
    status = decode_status(CREATED, FACTS)

    assert (status.provider_batch_id, status.input_ref) == ("batch_d41d8cd98f", "file_d41d8cd98f")
    assert (status.status, status.raw_status) == (BatchStatus.VALIDATING, "VALIDATING")
    assert (status.created_at, status.expires_at, status.completed_at) == (AT, None, None)
    assert (status.errors, status.error_message, status.result_uris) == ((), None, ())


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("VALIDATING", BatchStatus.VALIDATING),
        ("PROGRESS", BatchStatus.IN_PROGRESS),
        ("COMPLETED", BatchStatus.COMPLETED),
        ("FAILED", BatchStatus.FAILED),
        ("EXPIRED", BatchStatus.EXPIRED),
        ("CANCELLING", BatchStatus.CANCELLING),
        ("CANCELLED", BatchStatus.CANCELLED),
    ],
)
def test_every_word_for_a_state_is_known(word, expected):
    assert decode_status(batch(status=word), FACTS).status is FACTS.status[word.lower()] is expected


@pytest.mark.parametrize("written", ["2026-11-22T10:00:00Z", "2026-11-22T12:00:00+02:00", str(AT), str(AT * 1000)])
def test_a_moment_is_a_text_however_it_is_written(written):
    status = decode_status(batch(status="COMPLETED", created_at=written, completed_at=written), FACTS)

    assert (status.created_at, status.completed_at) == (AT, AT)
    assert status.results_expire_at == AT + 30 * 86_400


def test_counts_stand_beside_the_status():
    progress = decode_status(batch(status="PROGRESS", total=100, completed=42, failed=1), FACTS).progress

    assert (progress.total, progress.completed, progress.failed) == (100, 42, 1)


def test_the_reason_of_a_failed_batch_is_one_text():
    status = decode_status(batch(status="FAILED", errors="line 3 is no JSON"), FACTS)

    assert status.error_message == "line 3 is no JSON"
    assert [(error.code, error.message, error.line) for error in status.errors] == [("", "line 3 is no JSON", None)]


async def test_a_batch_that_the_service_fails_says_why():
    async with world("novita", limits={"rows": 1}) as here:
        status, rows = await here.run(["a", "b"])

    assert (status.status, rows) == (BatchStatus.FAILED, [])
    assert [error.message for error in status.errors] == [status.error_message] != [""]
    assert "requests" in status.error_message


# A create


async def test_a_line_has_an_id_and_a_body_alone():
    submission = await submission_of()
    (line,) = submission.spool.read().splitlines()

    assert json.loads(line) == {
        "custom_id": "0000000",
        "body": {"model": "deepseek/deepseek-v3-0324", "messages": [{"role": "user", "content": "hello"}]},
    }


async def test_a_create_names_neither_a_window_nor_our_tag():
    submission = (await submission_of()).replace(tag="ab1-job-0-1-cafe")

    assert json.loads(encode_create(submission, FACTS)) == {
        "input_file_id": "file_d41d8cd98f",
        "endpoint": "/v1/chat/completions",
    }


async def test_metadata_is_refused_for_it_would_be_lost():
    with pytest.raises(ConfigError, match="novita keeps no metadata with a batch") as caught:
        await submission_of(options={"metadata": {"team": "blue"}})

    assert caught.value.code == "bad_metadata"


@pytest.mark.parametrize("fault", [faults.accept_then_drop(), faults.accept_then_error(500)], ids=["cut", "500"])
async def test_a_lost_create_is_found_by_the_file_that_it_was_made_of(fault):
    async with world("novita", faults=[fault]) as here:
        prepared = (await here.prepare_one(["a"])).replace(tag="ab1-job-0-1-cafe")
        submission, other = [await here.provider.upload(prepared) for _ in range(2)]
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        await here.provider.create(other)
        match = await here.provider.find_submission(submission, since=since)
        created, has_tags = here.accepted("create"), here.provider.has_tags

    assert created[0] == match.provider_batch_id != created[1]
    assert (match.why, match.is_certain) == ("input", True)
    assert not has_tags, "so nothing tells our batches from others'"


async def test_an_upload_is_kept_for_fifteen_days():
    file = b'{"id":"file_d41d8cd98f","object":"file","purpose":"batch"}'
    async with serve(answer(file)) as server:
        async with BatchProviderRegistry().open(runtime=virtual_runtime(VirtualClock(float(AT)))) as scope:
            provider = scope.create("novita", {"api_key": "nv-test", "base_url": server.url})
            (submission,) = await provider.prepare_payloads(
                batch_id=JOB, model="deepseek/deepseek-v3-0324", mode=BatchMode.CHAT, requests=["hello"]
            )
            sent = await provider.upload(submission)

    assert (sent.input_ref, sent.input_expires_at) == ("file_d41d8cd98f", AT + 15 * 86_400)


async def test_a_time_that_would_be_ignored_is_refused_before_anything_is_sent():
    async with world("novita") as here:
        with pytest.raises(ConfigError, match="cannot be told how long") as caught:
            await here.prepare(["a"], options={"completion_window": "24h"})
        history = here.emulator.history

    assert "48 hours" in caught.value.hint
    assert history == []
