"""Together: its samples, and what it does otherwise than the family.

Source of the samples: togethercomputer/openapi:openapi.yaml @ 090263aa (BatchJob, FileResponse), and lines and answers as
third parties saw them live; ids and times are made up. Compared on 2026-11-26.
"""

import json

import pytest

from asyncbatch import (
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    ProviderPermanentError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.codec.errors import decode_error
from asyncbatch.emulator import faults
from asyncbatch.providers._shapes.openai import decode_file, decode_page, decode_status, is_created, unwrapped
from asyncbatch.providers._shapes.openai_lines import decode_line
from tests.providers.world import CHAT, statuses, world

FACTS = load_catalog().provider("together")

JOB = b"""{"id":"1c9a2b6e-5b3f-4b0e-9a77-2f6f1f0c0a11","user_id":"u_1","input_file_id":"file-72c0b6f1","file_size_bytes":2048,
"status":"VALIDATING","job_deadline":"2026-11-23T10:00:00Z","created_at":"2026-11-22T10:00:00Z","endpoint":"/v1/chat/completions",
"progress":0,"model_id":"","output_file_id":null,"error_file_id":null,"error":null,"completed_at":null}"""
CREATED = b'{"job":%b,"warning":null}' % JOB
FILE = b"""{"id":"file-72c0b6f1-3c5a-4c7e","object":"file","purpose":"batch-api","bytes":2048,"created_at":1795300000,
"filename":"b.jsonl","FileType":"jsonl","LineCount":0,"Processed":true,"processing_status":"COMPLETED"}"""
ROW = b"""{"id":"br_9f1","custom_id":"r1","response":{"status_code":200,"body":{"id":"o1","object":"chat.completion",
"created":1795300400,"model":"meta-llama/Llama-3.3-70B-Instruct-Turbo","choices":[{"index":0,"message":{"role":"assistant",
"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}}}"""
REFUSED = b'{"id":"br_9f2","custom_id":"r2","error":{"code":"batch_client_error","message":"model not available"}}'


def job(**changes):
    return json.dumps({**json.loads(JOB), **changes}).encode()


def test_a_batch_stands_in_an_envelope_when_it_is_created_and_alone_later():
    created, polled = [decode_status(unwrapped(body, FACTS.wire.create_key), FACTS) for body in (CREATED, JOB)]

    assert created == polled
    assert (created.status, created.input_ref) == (BatchStatus.VALIDATING, "file-72c0b6f1")
    assert (created.created_at, created.expires_at) == (1795341600, 1795428000)
    assert created.errors == ()


async def test_an_answer_to_a_create_is_ours_whether_it_is_wrapped_or_not():
    async with world("together") as here:
        submission = (await here.prepare_one(["a"])).replace(input_ref="file-72c0b6f1")
        found = [is_created(body, submission, FACTS) for body in (CREATED, JOB, b'{"job":null}', b'{"job":{"id":""}}')]

    assert found == [True, True, False, False]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("IN_PROGRESS", "in_progress"),
        ("COMPLETED", "completed"),
        ("CANCELING", "cancelling"),
        ("CANCELLED", "cancelled"),
    ],
)
def test_its_words_are_in_capitals_and_one_is_not_documented(word, status):
    assert decode_status(job(status=word), FACTS).status == status


def test_a_failed_batch_says_why_in_one_text():
    status = decode_status(job(status="FAILED", error="input file could not be read"), FACTS)

    assert (status.status, status.error_message) == (BatchStatus.FAILED, "input file could not be read")


def test_the_list_is_an_array_and_has_no_next_page():
    page = decode_page(b"[%b,%b]" % (JOB, job(id="second")), FACTS)

    assert [status.provider_batch_id for status in page.statuses] == ["1c9a2b6e-5b3f-4b0e-9a77-2f6f1f0c0a11", "second"]
    assert page.cursor is None
    assert decode_page(b"[]", FACTS).statuses == ()


def test_a_file_is_read():
    assert (decode_file(FILE, FACTS).id, decode_file(FILE, FACTS).bytes) == ("file-72c0b6f1-3c5a-4c7e", 2048)


def test_a_row_has_no_id_of_its_call_and_an_error_no_response():
    row, refused = [decode_line(line, format="openai.chat", facts=FACTS) for line in (ROW, REFUSED)]

    assert (row.text, row.usage.total_tokens, row.metadata) == ("hi", 11, {})
    assert (refused.status, refused.error.code, refused.error.retryable) == (
        ResultStatus.ERRORED,
        "batch_client_error",
        False,
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Job not found","request_id":"r-1"}', "Job not found"),
        (
            b'{"error":{"message":"no such file","type":"invalid_request_error","param":null,"code":null}}',
            "no such file",
        ),
    ],
)
def test_errors_come_in_two_shapes(body, message):
    assert decode_error(body).message == message


async def test_a_file_goes_up_with_its_name_and_kind_at_a_path_of_its_own():
    async with world("together") as here:
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        (call,) = [
            record for record in here.emulator.history if record.operation == "upload" and record.kind == "request"
        ]
        names = [file.name for file in (await here.provider.list_files()).files]

    assert call.path.endswith("/v1/files/upload")
    assert sent.input_ref.startswith("file-")
    assert len(names) == 1
    assert names[0].endswith(".jsonl")


async def test_lines_have_neither_method_nor_address():
    async with world("together") as here:
        submission = await here.prepare_one([{"custom_id": "r1", "body": CHAT}])

    assert set(json.loads(bytes(submission.payloads[0]))) == {"custom_id", "body"}


async def test_a_lost_create_is_found_by_its_input_and_made_to_fail_without_it():
    async with world("together", faults=[faults.accept_then_drop()]) as here:
        assert here.provider.submit_safety() is SubmitSafety.TAGGED_FENCED
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        await here.provider.fence(submission)
        late = await here.provider.create(submission)
        end = await here.end(late.provider_batch_id)

    assert (match.why, match.is_certain) == ("input", True)
    assert end.status is BatchStatus.FAILED
    assert end.error_message


async def test_metadata_and_long_ids_are_refused_before_anything_is_sent():
    async with world("together") as here:
        with pytest.raises(ConfigError, match="keeps no metadata"):
            await here.prepare(["a"], options={"metadata": {"team": "blue"}})
        with pytest.raises(InvalidRequestsError):
            await here.prepare([{"custom_id": "x" * 65, "body": CHAT}])
        history = here.emulator.history

    assert history == []


async def test_a_cancel_that_comes_too_late_is_no_error_and_a_conflict_elsewhere_is_not_tried_again():
    async with world("together") as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        status = await here.provider.cancel(batch.provider_batch_id)
        here.emulator.add(faults.refuse(409, operation="poll"))
        with pytest.raises(ProviderPermanentError):
            await here.provider.poll_status(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert statuses(rows) == {"0000000": "succeeded"}
