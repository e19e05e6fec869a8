"""SiliconFlow: its samples, word for word as the service writes them, and what it does otherwise than OpenAI.

Source: docs.siliconflow.cn/cn/api-reference/batch (upload-file, create-batch), docs.siliconflow.cn/cn/userguide/guides/batch;
compared on 2026-11-22. Of the list of files, a batch that failed and an error only the shape is documented.
"""

import json

import msgspec
import pytest
from aioresponses import aioresponses

from asyncbatch import BatchMode, BatchStatus, ProviderPermanentError, ProviderTransientError
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Fault, faults
from asyncbatch.providers._shapes.openai import decode_file, decode_files, decode_status, encode_create
from asyncbatch.providers.siliconflow_provider import SiliconFlowBatchProvider
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.contract import gather
from tests.providers.world import JOB, statuses, world
from tests.transport.wire import answer, closing, serve

FACTS = load_catalog().provider("siliconflow")
BASE = "https://api.siliconflow.cn/v1"
MODEL = "deepseek-ai/DeepSeek-V3"

UPLOADED = (
    b'{"code":20000,"message":"Ok","status":true,"data":{"id":"file-jkvytbjtow","object":"file","bytes":8509,'
    b'"createdAt":1795300000,"filename":"requests.jsonl","purpose":"batch"}}'
)
CREATED = b"""{"id":"batch_rdyqgrcgjg","object":"batch","endpoint":"/v1/chat/completions","errors":null,
"input_file_id":"file-jkvytbjtow","completion_window":"24h","status":"in_queue","output_file_id":null,"error_file_id":null,
"created_at":1795300000,"in_progress_at":null,"expires_at":1795386400,"finalizing_at":null,"completed_at":null,"failed_at":null,
"expired_at":null,"cancelling_at":null,"cancelled_at":null,"request_counts":null,"metadata":{"description":"nightly"}}"""
FILE = UPLOADED[UPLOADED.index(b'{"id"') : -1]


def batch(**changes):
    return json.dumps({**json.loads(CREATED), **changes}).encode()


# Files, in their envelope


@pytest.mark.parametrize(
    "body", [UPLOADED, FILE, FILE.replace(b"createdAt", b"created_at")], ids=["as", "bare", "plain"]
)
def test_a_file_stands_in_an_envelope_or_by_itself(body):
    file = decode_file(body, FACTS)

    assert (file.id, file.bytes, file.filename) == ("file-jkvytbjtow", 8509, "requests.jsonl")
    assert (file.camel_created_at or file.created_at) == 1795300000


def test_an_envelope_without_a_file_is_none():
    with pytest.raises(msgspec.DecodeError):
        decode_file(b'{"code":50000,"message":"busy","status":false,"data":null}', FACTS)


async def test_the_size_in_the_envelope_tells_of_an_upload_that_was_cut():
    deleted = answer(b'{"code":20000,"message":"Ok","status":true,"data":{"id":"file-jkvytbjtow","deleted":true}}')
    runtime = virtual_runtime(VirtualClock(1795300000.0))
    async with serve(answer(UPLOADED), deleted) as server, BatchProviderRegistry().open(runtime=runtime) as scope:
        provider = scope.create("siliconflow", {"api_key": "sk-test", "base_url": server.url})
        (submission,) = await provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["hello"]
        )
        with pytest.raises(ProviderTransientError, match=r"8509 bytes of \d+ arrived") as caught:
            await provider.upload(submission)

    assert caught.value.code == "upload_cut"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/files"),
        ("DELETE", "/files/file-jkvytbjtow"),
    ]


@pytest.mark.parametrize("wrap", [b'{"code":20000,"message":"Ok","status":true,"data":%b}', b"%b"], ids=["as", "bare"])
def test_a_list_of_files_stands_in_an_envelope_or_by_itself(wrap):
    page = decode_files(wrap % b'{"object":"list","data":[%b],"has_more":true}' % FILE, FACTS)

    (file,) = page.files
    assert (file.ref, file.name, file.size) == ("file-jkvytbjtow", "requests.jsonl", 8509)
    assert (file.created_at, page.cursor) == (1795300000, "file-jkvytbjtow")


# Batches


def test_a_batch_that_was_just_created_waits_in_a_queue_and_counts_nothing():
    status = decode_status(CREATED, FACTS)

    assert (status.provider_batch_id, status.input_ref) == ("batch_rdyqgrcgjg", "file-jkvytbjtow")
    assert (status.raw_status, status.status) == ("in_queue", BatchStatus.QUEUED)
    assert FACTS.status["in_queue"] is BatchStatus.QUEUED
    assert (status.progress.total, status.progress.done) == (0, 0)
    assert (status.created_at, status.expires_at) == (1795300000, 1795386400)
    assert status.metadata == {"description": "nightly"}


def test_the_reasons_of_a_failed_batch_stand_in_an_array():
    reasons = [{"code": "invalid_json_line", "message": "not JSON", "line": 3}, {"message": "and more"}]
    failed = decode_status(batch(status="failed", failed_at=1795300050, errors=reasons), FACTS)

    assert (failed.status, failed.error_message) == (BatchStatus.FAILED, "not JSON")
    assert [(error.code, error.message, error.line) for error in failed.errors] == [
        ("invalid_json_line", "not JSON", 3),
        ("", "and more", None),
    ]
    assert decode_status(batch(errors=[]), FACTS).errors == ()


def test_answers_are_kept_for_a_month():
    status = decode_status(batch(status="completed", completed_at=1795301030, output_file_id="file-out1"), FACTS)

    assert status.results_expire_at == 1795301030 + 30 * 86_400


# Creates


async def test_a_batch_may_be_given_two_weeks():
    async with world("siliconflow") as here:
        started = await here.start(["a"], options={"completion_window": "336h"})
        status = await here.provider.poll_status(started.provider_batch_id)

    assert (started.status, started.raw_status) == (BatchStatus.QUEUED, "in_queue")
    assert status.expires_at - status.created_at == 336 * 3600


async def test_a_model_for_all_rows_travels_in_the_create():
    (submission,) = await SiliconFlowBatchProvider({"api_key": "sk-test"}).prepare_payloads(
        batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["a"], options={"replace": {"model": "Qwen/QwQ-32B"}}
    )

    assert json.loads(encode_create(submission, FACTS))["replace"] == {"model": "Qwen/QwQ-32B"}


async def test_a_batch_has_five_thousand_rows_at_most():
    async with world("siliconflow") as here:
        submissions = await here.prepare(["a"] * 5001)

    assert [submission.request_count for submission in submissions] == [5000, 1]


# Errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "says"),
    [
        (400, b'{"code":20012,"message":"no such model","data":""}', ProviderPermanentError, "20012", "no such model"),
        (404, b'"404 page not found"', ProviderPermanentError, None, "404: 404 page not found"),
        (429, b'"too many"', ProviderTransientError, None, "429: too many"),
        (503, b'{"code":50505,"message":"overloaded","data":null}', ProviderTransientError, "50505", "overloaded"),
        (504, b"null", ProviderTransientError, None, "504"),
    ],
)
async def test_an_error_is_a_number_with_words_or_words_alone(status, body, kind, code, says):
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_x", status=status, body=body)
        async with SiliconFlowBatchProvider({"api_key": "sk-test"}) as provider:
            with pytest.raises(kind, match=says) as caught:
                await provider.poll_status("batch_x")

    assert (caught.value.status, caught.value.code) == (status, code)


LINE = b'{"custom_id":"0000001","response":{"status_code":400,"body":{"error":{"message":"no"}}}}\n'


def naming(address):
    return Fault(effect=faults.Rewrite(fields={"error_file_id": address}), operation="poll", times=None)


async def test_answers_at_an_address_are_fetched_there_and_the_key_stays_at_home(caplog):
    answers = closing(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + LINE
    )  # nothing proves that it is whole: it is asked for twice, and somebody is told
    async with serve(answers, answers) as storage:
        async with world("siliconflow", faults=[naming(f"{storage.url}/answers.jsonl?sig=SIGNED")]) as here:
            batch = await here.start(["a", "[[error:400]]"])
            await here.end(batch.provider_batch_id)
            rows = await here.rows(batch.provider_batch_id)
            deleted = await here.provider.delete_artifacts(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}
    assert [asked.target for asked in storage.asked] == ["/answers.jsonl?sig=SIGNED"] * 2
    assert not [name for asked in storage.asked for name in asked.headers if name.lower() == "authorization"]
    assert deleted == 2, "what lies at an address is not ours to delete"
    assert "an address of its own" in caplog.text
    assert "SIGNED" not in caplog.text


@pytest.mark.parametrize("address", ["ftp://files.example/answers.jsonl?sig=SIGNED", "https://?sig=SIGNED"])
async def test_an_address_that_is_not_called_takes_no_other_answers_with_it(address, caplog):
    async with world("siliconflow", faults=[naming(address)]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        rows = []
        with pytest.raises(ProviderPermanentError, match="an address of answers that is not called") as caught:
            await gather(here.provider.fetch_results(batch.provider_batch_id), rows)

    assert caught.value.code == "answers_elsewhere"
    assert [row.request_id for row in rows] == ["0000000"]
    assert "SIGNED" not in f"{caught.value!r} {caught.value} {caplog.text}"


@pytest.mark.parametrize(
    "errors", [["the last message must be user"], [None], [7], {"code": "x", "message": "m"}, "m", [[]], {}]
)
def test_whatever_stands_for_a_reason_hides_no_end(errors):
    body = json.dumps({**json.loads(CREATED), "status": "failed", "errors": errors})
    status = decode_status(body.encode(), FACTS)

    assert status.status is BatchStatus.FAILED
    assert all(isinstance(item.message, str) for item in status.errors)


@pytest.mark.parametrize("count", [False, "x", "", [], {"a": 1}, -1])
def test_whatever_stands_beside_the_status_hides_no_batch(count):
    body = json.dumps({**json.loads(CREATED), "completed": count, "failed": count, "total": count})

    assert decode_status(body.encode(), FACTS).progress.total == 0


def test_a_moment_that_is_none_hides_no_other():
    body = json.dumps(
        {**json.loads(CREATED), "completed_at": "0001-01-01T00:00:00Z", "failed_at": "2026-11-22T10:00:00Z"}
    )

    assert decode_status(body.encode(), FACTS).completed_at == 1795341600
