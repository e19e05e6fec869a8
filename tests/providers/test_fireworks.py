"""Fireworks: its samples, and what it does otherwise than everybody else.

Source of the samples: the Gateway REST API (docs.fireworks.ai, version 4.259.0), fireworks-ai 1.2.28, and live behaviour that
third parties reported; ids and times are made up. Compared on 2026-11-26.
"""

import asyncio
import json
import traceback
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from asyncbatch import (
    BatchClient,
    BatchStatus,
    ConfigError,
    MissingCredentialsError,
    Polling,
    ProviderPermanentError,
    ProviderTransientError,
    Recovery,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
    UsageInfo,
    wire_provider,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Emulator, Fault, faults, paid_twice
from asyncbatch.engine.tidying import delete_orphans, find_orphans
from asyncbatch.planning.marks import job_of_file
from asyncbatch.planning.tidying import Known
from asyncbatch.providers import fireworks_provider
from asyncbatch.providers._shapes.fireworks import (
    address_of,
    answer_files,
    decode_addresses,
    decode_datasets,
    decode_line,
    decode_page,
    decode_size,
    decode_status,
    encode_create,
    encode_dataset,
    encode_line,
    is_created,
    match_of,
    model_of,
)
from asyncbatch.providers.fireworks_provider import FireworksBatchProvider
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import CHAT, JOB, KEY, statuses, world

FACTS = load_catalog().provider("fireworks")
TAG = "ab1-6f1c0c0a-0-1-0123456789abcdef"

CREATED = b"""{"name":"accounts/acme/batchInferenceJobs/ab-job-01","displayName":"nightly",
"createTime":"2026-11-22T10:00:00.123456Z","createdBy":"me@acme.io","expireTime":"2026-11-23T10:00:00Z",
"state":"JOB_STATE_VALIDATING","status":{"code":"OK","message":""},
"model":"accounts/fireworks/models/llama-v3p1-8b-instruct","inputDatasetId":"accounts/acme/datasets/ab-in-01",
"outputDatasetId":"accounts/acme/datasets/ab-out-01","inferenceParameters":{"maxTokens":64,"temperature":0.2},
"jobProgress":null,"updateTime":"2026-11-22T10:00:00Z","precision":"PRECISION_UNSPECIFIED","continuedFromJobName":""}"""
PROGRESS = b"""{"percent":50,"epoch":0,"totalInputRequests":2,"totalProcessedRequests":1,
"successfullyProcessedRequests":1,"failedRequests":0,"outputRows":1,"inputTokens":9,"outputTokens":2,
"cachedInputTokenCount":3}"""
FAILED = b"""{"name":"accounts/acme/batchInferenceJobs/ab-job-02","state":"JOB_STATE_FAILED",
"status":{"code":"INVALID_ARGUMENT","message":"row 1: invalid role"},"jobProgress":null}"""
UPLOADED = b"""{"id":"ab-in-01","bytes":400,"created_at":1795300000,"filename":"in.jsonl","object":"file",
"purpose":"dataset"}"""
ADDRESSES = b"""{"filenameToSignedUrls":{"dataset/ab-out-01/error-data":"https://storage.example/e?sig=1",
"dataset/ab-out-01/BIJOutputSet.jsonl":"https://storage.example/a?sig=2"}}"""
ANSWER = b"""{"id":"c1","object":"chat.completion","created":1795300400,
"model":"accounts/fireworks/models/llama-v3p1-8b-instruct","choices":[{"index":0,"message":{"role":"assistant",
"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"""

STATES = {
    "UNSPECIFIED": "validating",
    "VALIDATING": "validating",
    "CREATING": "queued",
    "CREATING_INPUT_DATASET": "queued",
    "PENDING": "queued",
    "RE_QUEUEING": "queued",
    "IDLE": "queued",
    "PAUSED": "queued",
    "RUNNING": "in_progress",
    "WRITING_RESULTS": "finalizing",
    "COMPLETED": "completed",
    "ARCHIVED": "completed",
    "FAILED": "failed",
    "EXPIRED": "expired",
    "EARLY_STOPPED": "expired",
    "CANCELLING": "cancelling",
    "CANCELLED": "cancelled",
    "DELETING": "cancelled",
    "DELETING_CLEANING_UP": "cancelled",
    "DELETED": "cancelled",
}
"""The 19 of the published enum, and the one that the SDK's training code knows."""


def job(**changes):
    return json.dumps({**json.loads(CREATED), **changes}).encode()


def row(**fields):
    return json.dumps({"custom_id": "r1", **fields}).encode()


def read(line):
    return decode_line(line, format="openai.chat", facts=FACTS)


# Jobs


def test_a_batch_is_called_by_the_last_part_of_its_name_and_so_are_its_datasets():
    status = decode_status(CREATED, FACTS)

    assert (status.provider_batch_id, status.input_ref, status.result_uris) == ("ab-job-01", "ab-in-01", ("ab-out-01",))
    assert (status.status, status.raw_status) == (BatchStatus.VALIDATING, "JOB_STATE_VALIDATING")
    assert (status.created_at, status.expires_at) == (pytest.approx(1795341600.123456), 1795428000)
    assert (status.errors, status.error_message, status.completed_at) == ((), None, None)
    assert status.endpoint == "/v1/chat/completions"


@pytest.mark.parametrize(("word", "expected"), STATES.items())
def test_each_word_of_the_enum_has_its_meaning(word, expected):
    assert decode_status(job(state=f"JOB_STATE_{word}"), FACTS).status == expected


def test_a_word_that_nobody_knows_is_no_end():
    assert decode_status(job(state="JOB_STATE_HIBERNATING"), FACTS).status is BatchStatus.UNKNOWN


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, (2, 1, 0)),
        ({"totalInputRequests": 0}, (1, 1, 0)),
        (
            {
                "totalInputRequests": 1,
                "totalProcessedRequests": 3,
                "successfullyProcessedRequests": 2,
                "failedRequests": 1,
            },
            (3, 2, 1),
        ),
        ({"totalInputRequests": "2", "totalProcessedRequests": "many"}, (2, 1, 0)),
        (
            {"totalInputRequests": None, "totalProcessedRequests": None, "successfullyProcessedRequests": None},
            (0, 0, 0),
        ),
    ],
)
def test_the_total_is_the_larger_of_what_was_declared_and_what_was_processed(counts, expected):
    progress = decode_status(job(jobProgress={**json.loads(PROGRESS), **counts}), FACTS).progress

    assert (progress.total, progress.completed, progress.failed) == expected


def test_tokens_are_told_once_a_batch_is_over():
    running, over = [
        decode_status(job(state=f"JOB_STATE_{word}", jobProgress=json.loads(PROGRESS)), FACTS).usage
        for word in ("RUNNING", "COMPLETED")
    ]

    assert running is None
    assert over == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11, cache_read_input_tokens=3)
    assert decode_status(job(state="JOB_STATE_COMPLETED", jobProgress={}), FACTS).usage is None


def test_the_end_of_a_batch_is_that_of_its_life_or_else_its_last_change():
    whole, bare = (
        job(state="JOB_STATE_COMPLETED", lifecycle=lifecycle)
        for lifecycle in ({"endTime": "2026-11-22T11:00:00Z"}, None)
    )

    assert decode_status(whole, FACTS).completed_at == 1795345200
    assert decode_status(bare, FACTS).completed_at == 1795341600


def test_a_batch_that_failed_says_why():
    status = decode_status(FAILED, FACTS)

    assert (status.status, status.error_message) == (BatchStatus.FAILED, "row 1: invalid role")
    assert [(item.code, item.message) for item in status.errors] == [("INVALID_ARGUMENT", "row 1: invalid role")]
    assert (status.result_uris, status.input_ref) == ((), None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"code": "OK", "message": ""}, []),
        ({"code": 0}, []),
        ({}, []),
        (None, []),
        ({"code": 8, "message": "full"}, [("RESOURCE_EXHAUSTED", "full")]),
        ({"code": "INTERNAL"}, [("INTERNAL", "INTERNAL")]),
        ({"message": "no code"}, [("UNKNOWN", "no code")]),
        ({"code": [], "message": {"a": 1}}, [("UNKNOWN", "{'a': 1}")]),
    ],
)
def test_a_reason_may_have_any_shape_and_fine_is_none(given, expected):
    errors = decode_status(job(state="JOB_STATE_FAILED", status=given), FACTS).errors

    assert [(item.code, item.message) for item in errors] == expected


def test_a_page_without_anything_is_an_empty_object_and_an_empty_token_is_none():
    page = decode_page(b'{"batchInferenceJobs":[%b],"nextPageToken":"","totalSize":1}' % CREATED, FACTS)

    assert ([status.provider_batch_id for status in page.statuses], page.cursor) == (["ab-job-01"], None)
    assert decode_page(b"{}", FACTS).statuses == ()
    assert decode_page(b'{"nextPageToken":"next"}', FACTS).cursor == "next"


@pytest.mark.parametrize(
    ("body", "expected"),
    [(CREATED, True), (FAILED, False), (b'{"name":"ab-job-01"}', False), (b"{}", False), (b"<html>", False)],
)
def test_an_answer_to_a_create_is_a_job_of_the_name_that_was_asked_for(body, expected):
    assert is_created(body, "ab-job-01") is expected


# Lines, models and creates


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [], "model": "m"}, {"messages": []}),
        ({"model": "m", "messages": []}, {"messages": []}),
        ({"messages": [], "model": 'a"b\\'}, {"messages": []}),
        ({"model": "m"}, {}),
        ({"messages": [], "extra": {"a": 1, "model": "m"}}, {"messages": [], "extra": {"a": 1, "model": "m"}}),
        ({"messages": [], "stop": ',"model":"'}, {"messages": [], "stop": ',"model":"'}),
        ({"messages": ["é", 1.50], "model": "m", "stop": "x"}, {"messages": ["é", 1.50], "stop": "x"}),
    ],
)
def test_a_line_has_an_id_and_a_body_that_names_no_model(body, expected):
    line = encode_line(b'"r1"', msgspec.json.encode(body))

    assert line.endswith(b"}\n")
    assert json.loads(line) == {"custom_id": "r1", "body": expected}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-v3p1-8b-instruct", "accounts/fireworks/models/llama-v3p1-8b-instruct"),
        ("accounts/acme/models/mine", "accounts/acme/models/mine"),
    ],
)
def test_a_model_without_an_account_is_one_of_the_services_own(name, expected):
    assert model_of(name) == expected
    assert FACTS.supports(name)


async def test_a_create_names_its_datasets_in_full_and_takes_the_callers_words():
    parameters = {"maxTokens": 64, "extraBody": '{"stop":["END"]}'}
    async with world("fireworks") as here:
        options = {"displayName": "nightly", "inferenceParameters": parameters}
        submission = (await here.prepare_one(["a"], options=options)).replace(input_ref="ab-in-01")
    bare = submission.replace(options={}, model="accounts/acme/models/mine")

    assert json.loads(encode_create(submission, "ab-job-01", "acme")) == {
        "displayName": "nightly",
        "inferenceParameters": parameters,
        "model": "accounts/fireworks/models/echo-1",
        "inputDatasetId": "accounts/acme/datasets/ab-in-01",
        "outputDatasetId": "accounts/acme/datasets/ab-job-01-out",
    }
    assert json.loads(encode_create(bare, "ab-job-01", "acme")) | {"inputDatasetId": 0, "outputDatasetId": 0} == {
        "displayName": "ab-job-01",
        "model": "accounts/acme/models/mine",
        "inputDatasetId": 0,
        "outputDatasetId": 0,
    }


def test_a_dataset_counts_its_rows_in_a_text():
    assert json.loads(encode_dataset("ab-in-01", "in.jsonl", 2)) == {
        "datasetId": "ab-in-01",
        "dataset": {"displayName": "in.jsonl", "userUploaded": {}, "exampleCount": "2"},
    }


def test_an_upload_says_how_much_arrived_or_nothing():
    assert [decode_size(body) for body in (UPLOADED, b'{"bytes":"400"}', b"{}")] == [400, 400, None]


async def test_a_batch_is_ours_by_its_name_or_by_its_input():
    status = decode_status(CREATED, FACTS)
    async with world("fireworks") as here:
        submission = await here.prepare_one(["a"])
    found = [
        match_of(submission.replace(tag=tag, input_ref=ref), status)
        for tag, ref in (("ab-job-01", None), ("other", "ab-in-01"), ("other", "ab-in-02"), (None, None))
    ]

    assert [match and (match.why, match.is_certain) for match in found] == [
        ("name", True),
        ("input", True),
        None,
        None,
    ]


# Datasets


def test_datasets_that_are_for_other_things_are_not_shown():
    names = {
        "ab1-6f1c0c0a-0000-0123456789abcdef": "ab1-6f1c0c0a-0000.jsonl",
        f"{TAG}-out": "",
        "training": "my rows",
        "ab1-mine": "",
    }
    datasets = [{"name": f"accounts/acme/datasets/{name}", "displayName": shown} for name, shown in names.items()]
    page = decode_datasets(json.dumps({"datasets": datasets, "nextPageToken": "next"}).encode())

    assert [(file.ref, file.name) for file in page.files] == list(names.items())[:2]
    assert page.cursor == "next"
    assert decode_datasets(b"{}").files == ()


def test_files_of_answers_are_told_by_the_last_part_of_their_names_and_come_before_those_of_errors():
    found = answer_files([*decode_addresses(ADDRESSES), "dataset/ab-out-01/metadata.json"])

    assert found == ["dataset/ab-out-01/BIJOutputSet.jsonl", "dataset/ab-out-01/error-data"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dataset/ab-out-01/error-data", "https://storage.example/e?sig=1"),
        ("error-data", "https://storage.example/e?sig=1"),
        ("dataset/another/BIJOutputSet.jsonl", "https://storage.example/a?sig=2"),
        ("in.jsonl", ""),
    ],
)
def test_a_file_has_its_address_whatever_folders_are_named_before_it(name, expected):
    assert address_of(decode_addresses(ADDRESSES), name) == expected


def test_addresses_are_not_shown():
    addresses = decode_addresses(ADDRESSES)

    assert "sig" not in repr(addresses) + repr(list(addresses.values()))
    assert decode_addresses(b'{"filenameToSignedUrls":null}') == {}


# Rows


def test_the_response_of_a_row_is_the_answer_itself():
    found = read(b'{"custom_id":"r1","response":%b}' % ANSWER.replace(b"\n", b""))

    assert (found.request_id, found.status, found.text) == ("r1", ResultStatus.SUCCEEDED, "hi")
    assert found.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)


def test_an_answer_in_an_envelope_as_others_write_it_is_read_as_well():
    found = read(row(response={"status_code": 200, "body": json.loads(ANSWER)}))

    assert (found.status, found.text) == (ResultStatus.SUCCEEDED, "hi")


@pytest.mark.parametrize(
    ("fields", "code", "message", "status", "retryable"),
    [
        ({"error": {"message": "no", "code": 400}}, "400", "no", 400, False),
        ({"error": {"message": "busy", "code": 429}}, "429", "busy", 429, True),
        ({"error": {"message": "down", "code": "503"}}, "503", "down", 503, True),
        ({"error": {"message": "no", "code": 3}}, "INVALID_ARGUMENT", "no", None, False),
        ({"error": {"message": "full", "code": 8}}, "RESOURCE_EXHAUSTED", "full", None, True),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, "invalid_request_error", "no", None, False),
        ({"error": "it broke"}, "error", "it broke", None, False),
        ({"response": {"error": {"message": "no", "code": 400}}}, "400", "no", 400, False),
        ({"response": {"error": "it broke"}}, "error", "it broke", None, False),
        ({"response": {"status_code": 500, "body": {"error": {"message": "down"}}}}, "http_500", "down", 500, True),
        ({"response": {"id": "c1"}}, "error", "{'id': 'c1'}", None, False),
        ({"response": "it broke"}, "error", "it broke", None, False),
        ({"response": {"choices": None, "error": "no"}, "error": None}, "error", "no", None, False),
    ],
)
def test_a_row_that_failed_may_have_any_shape_and_is_kept_whole(fields, code, message, status, retryable):
    line = row(**fields)
    found = read(line)

    assert (found.request_id, found.status) == ("r1", ResultStatus.ERRORED)
    assert (found.error.code, found.error.message) == (code, message)
    assert (found.error.status, found.error.retryable) == (status, retryable)
    assert bytes(found.body) == line


@pytest.mark.parametrize(
    "line",
    [
        row(),
        row(response=None, error=None),
        b'{"custom_id":"r1","response":{"choices":[',
        row(response={"status_code": "x"}),
    ],
)
def test_a_row_that_says_nothing_or_cannot_be_read_is_a_row_all_the_same(line):
    found = read(line)

    assert (found.request_id, found.status, bytes(found.body)) == ("r1", ResultStatus.UNDECODABLE, line)


def test_a_row_that_is_no_utf_8_cannot_be_read():
    assert read(b'{"custom_id":"r1","response":{"choices":[],"x":"\xff"}}').status is ResultStatus.UNDECODABLE


# The account


@pytest.mark.parametrize("given", [{}, {"account_id": ""}])
async def test_an_account_without_its_id_is_told_which_variable_to_set_and_nothing_is_sent(given, monkeypatch):
    async with world("fireworks") as here:
        monkeypatch.delenv("FIREWORKS_ACCOUNT_ID", raising=False)
        provider = here.scope.create("fireworks", {"api_key": KEY, "base_url": here.base_url, **given})
        with pytest.raises(MissingCredentialsError, match="FIREWORKS_ACCOUNT_ID") as caught:
            await provider.list_statuses()
        history = here.emulator.history

    assert (caught.value.code, history) == ("auth.missing", [])


async def test_each_account_has_batches_of_its_own():
    async with world("fireworks") as here:
        batch = await here.start(["a"])
        config = {"api_key": KEY, "base_url": here.base_url, "account_id": "another"}
        other = here.scope.create("fireworks", config)
        with pytest.raises(ProviderPermanentError) as caught:
            await other.poll_status(batch.provider_batch_id)
        found = (await other.list_statuses()).statuses, (await other.list_files()).files

    assert (caught.value.status, found) == (404, ((), ()))


async def test_an_account_whose_id_would_lead_elsewhere_is_refused():
    async with world("fireworks") as here:
        config = {"api_key": KEY, "base_url": here.base_url, "account_id": "../x"}
        with pytest.raises(ProviderPermanentError, match="no id") as caught:
            await here.scope.create("fireworks", config).list_statuses()
        history = here.emulator.history

    assert (caught.value.code, history) == ("bad_id", [])


async def test_what_a_batch_says_itself_is_refused_among_the_options():
    async with world("fireworks") as here:
        with pytest.raises(ConfigError, match="continuedFromJobName, model") as caught:
            await here.prepare(["a"], options={"model": "x", "continuedFromJobName": "y"})

    assert caught.value.code == "config.value"


# Uploads


def asked(here, *operations):
    """Give the calls to the service and its storage, as method and last part of the path."""
    found = [item for item in here.emulator.history if item.kind == "request" and item.operation in operations]
    return [
        (item.method, urlsplit(item.path).path.rpartition("/")[2].rpartition(":")[2], item.status) for item in found
    ]


async def test_rows_become_a_dataset_that_is_waited_for_and_has_a_name_that_tells_the_job():
    async with world("fireworks") as here:
        submission = await here.provider.upload(await here.prepare_one(["a", "b"]))
        (file,) = (await here.provider.list_files()).files
        calls, waited = asked(here, "other", "upload"), here.clock.slept_s

    assert calls == [("POST", "datasets", 200), ("POST", "upload", 200)]
    assert (file.ref, job_of_file(file.name)) == (submission.input_ref, JOB.hex[:8])
    assert sum(waited) >= 2
    assert submission.input_expires_at is None


async def test_two_uploads_are_two_datasets():
    async with world("fireworks") as here:
        prepared = await here.prepare_one(["a"])
        refs = {(await here.provider.upload(prepared)).input_ref for _ in range(2)}

    assert len(refs) == 2


ASIDE = {"limits": {"upload_bytes": 10}}


async def test_rows_that_are_too_many_for_the_api_go_to_an_address_without_the_key_and_are_validated():
    async with world("fireworks", facts=ASIDE) as here:
        status, rows = await here.run(["a", "[[error:400]]"])
        calls = asked(here, "other", "upload")

    assert calls == [
        ("POST", "datasets", 200),
        ("POST", "getUploadEndpoint", 200),
        ("PUT", "ab1-6f1c0c0a-0000.jsonl", 200),
        ("POST", "validateUpload", 200),
    ]
    assert status.status is BatchStatus.COMPLETED
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}


@pytest.mark.parametrize("status", [400, 403])
async def test_an_address_that_is_refused_is_asked_for_anew(status):
    async with world("fireworks", facts=ASIDE, faults=[faults.refuse(status, method="PUT", times=2)]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        calls = [name for _, name, _ in asked(here, "other")]

    assert submission.input_ref
    assert calls.count("getUploadEndpoint") == 3
    assert here.calls("upload") == [status, status, 200]


async def test_a_storage_that_refuses_every_address_is_no_fault_of_the_key():
    async with world("fireworks", facts=ASIDE, faults=[faults.refuse(403, method="PUT", times=None)]) as here:
        with pytest.raises(ProviderTransientError, match="storage") as caught:
            await here.provider.upload(await here.prepare_one(["a"]))

    assert (caught.value.code, caught.value.is_auth) == ("upload_lost", False)
    assert "Signature" not in str(caught.value)
    assert here.calls("upload") == [403] * 3


async def test_a_dataset_whose_making_was_never_answered_is_filled_all_the_same():
    lost = faults.accept_then_drop(operation="other", method="POST", path="*/datasets")
    async with world("fireworks", faults=[lost]) as here:
        status, _ = await here.run(["a"])
        made = [status for _, name, status in asked(here, "other") if name == "datasets"]

    assert made == [None, 409]
    assert status.status is BatchStatus.COMPLETED


async def test_a_dataset_that_something_else_kept_from_being_made_is_made_again():
    aborted = faults.refuse(409, operation="other", method="POST", path="*/datasets")
    async with world("fireworks", faults=[aborted]) as here:
        await here.provider.upload(await here.prepare_one(["a"]))
        made = [status for _, name, status in asked(here, "other") if name == "datasets"]

    assert made == [409, 200]


async def test_a_dataset_that_is_refused_is_an_error():
    refusal = faults.refuse(400, operation="other", method="POST", path="*/datasets")
    async with world("fireworks", faults=[refusal]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.upload(await here.prepare_one(["a"]))

    assert (caught.value.status, here.calls("upload")) == (400, [])


async def test_rows_whose_upload_was_never_answered_are_there_once():
    async with world("fireworks", faults=[faults.accept_then_drop(operation="upload")]) as here:
        status, rows = await here.run(["a"])

    assert here.calls("upload") == [None, 400]
    assert (status.status, len(rows)) == (BatchStatus.COMPLETED, 1)


async def test_rows_that_are_refused_are_an_error():
    async with world("fireworks", faults=[faults.refuse(400, operation="upload")]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.upload(await here.prepare_one(["a"]))

    assert caught.value.status == 400


async def test_rows_that_arrived_in_part_are_deleted_and_sent_again_by_whoever_asks():
    short = Fault(effect=faults.Rewrite(fields={"bytes": 1}), operation="upload")
    async with world("fireworks", faults=[short]) as here:
        with pytest.raises(ProviderTransientError, match="1 bytes of") as caught:
            await here.provider.upload(await here.prepare_one(["a"]))
        left = (await here.provider.list_files()).files

    assert (caught.value.code, left) == ("upload_cut", ())


async def test_a_dataset_that_never_gets_ready_is_waited_for_six_minutes():
    stuck = Fault(effect=faults.Rewrite(fields={"state": "UPLOADING"}), operation="file", times=None)
    async with world("fireworks", faults=[stuck]) as here:
        with pytest.raises(ProviderTransientError, match="still not ready: UPLOADING") as caught:
            await here.provider.upload(await here.prepare_one(["a"]))
        left = (await here.provider.list_files()).files

    assert (caught.value.code, left) == ("upload_processing", ())
    assert 300 < sum(here.clock.slept_s) < 420


async def test_a_dataset_that_cannot_be_used_says_why():
    status = {"code": "INVALID_ARGUMENT", "message": "line 1 is no JSON"}
    bad = Fault(effect=faults.Rewrite(fields={"state": "UPLOADING", "status": status}), operation="file")
    async with world("fireworks", faults=[bad]) as here:
        with pytest.raises(ProviderPermanentError, match="line 1 is no JSON") as caught:
            await here.provider.upload(await here.prepare_one(["a"]))
        left = (await here.provider.list_files()).files

    assert (caught.value.code, left) == ("upload_failed", ())


async def test_why_an_upload_failed_is_told_although_its_dataset_cannot_be_deleted():
    refused = [faults.refuse(400, operation="upload"), faults.refuse(500, operation="delete", times=None)]
    async with world("fireworks", faults=refused) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.upload(await here.prepare_one(["a"]))

    assert caught.value.status == 400
    assert here.calls("delete") == [500]


async def test_a_deletion_that_is_not_answered_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(wire_provider, "_GIVE_UP_S", 0.05)
    trouble = [faults.refuse(400, operation="upload"), faults.stall(1, operation="delete")]
    async with world("fireworks", faults=trouble) as here:
        with anyio.fail_after(0.9), pytest.raises(ProviderPermanentError) as caught:
            await here.provider.upload(await here.prepare_one(["a"]))

    assert caught.value.status == 400


@pytest.mark.parametrize("operation", ["upload", "file"])
async def test_an_upload_that_is_cancelled_leaves_no_dataset_behind(operation):
    async with world("fireworks") as here:
        prepared = await here.prepare_one(["a"])
        task = asyncio.create_task(here.provider.upload(prepared))
        here.emulator.add(faults.act(cancelling(task), "arrived", operation=operation))
        with pytest.raises(asyncio.CancelledError):
            await task
        left = (await here.provider.list_files()).files

    assert left == ()
    assert len(here.accepted("delete")) == 1


# Creates


@pytest.mark.parametrize("tag", ["Mine", "under_score", "-a", "a-", "a/b", "x" * 60])
async def test_a_tag_that_no_batch_can_have_is_refused_before_anything_is_sent(tag):
    async with world("fireworks") as here:
        submission = (await here.prepare_one(["a"])).replace(tag=tag)
        with pytest.raises(ProviderPermanentError, match="name") as caught:
            await here.provider.submit(submission)
        history = here.emulator.history

    assert (caught.value.code, history) == ("bad_id", [])


async def test_the_longest_tag_leaves_room_for_what_is_made_of_it():
    async with world("fireworks") as here:
        status, rows = await here.run(["a"], tag="x" * 59)

    assert (status.provider_batch_id, status.status, len(rows)) == ("x" * 59, BatchStatus.COMPLETED, 1)


async def test_a_create_that_was_aborted_has_created_nothing_and_may_be_tried_again():
    async with world("fireworks", faults=[faults.refuse(409, operation="create")]) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag=TAG))
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.create(submission)
        batch = await here.provider.create(submission)

    assert (caught.value.status, caught.value.code) == (409, "10")
    assert here.calls("create") == [409, 200]
    assert batch.provider_batch_id == TAG


@pytest.mark.parametrize("status", [404, 503])
async def test_a_name_that_is_taken_by_what_cannot_be_seen_is_looked_for_and_not_sent_again(status):
    unseen = faults.refuse(status, operation="poll", times=None)
    async with world("fireworks", faults=[unseen]) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag=TAG))
        await here.provider.create(submission)
        with pytest.raises(SubmissionUnknownError, match="already exists") as caught:
            await here.provider.create(submission)

    assert caught.value.code == "create_unknown"
    assert here.accepted("create") == [TAG]


EXISTS = faults.Answer(
    status=409, when="after", body=b'{"code":6,"message":"it exists","details":[]}', headers={"x-should-retry": "true"}
)
"""What says that a name is taken, and that this passes."""


async def test_a_name_that_is_taken_is_taken_though_a_header_says_that_this_passes():
    async with world("fireworks", faults=[Fault(effect=EXISTS, operation="create")]) as here:
        batch = await here.start(["a"], tag=TAG)

    assert batch.provider_batch_id == TAG
    assert here.calls("create") == [409]


async def test_a_dataset_that_exists_is_there_though_a_header_says_that_this_passes():
    made = Fault(effect=EXISTS, operation="other", method="POST", path="*/datasets", times=None)
    filled = Fault(effect=EXISTS, operation="upload", times=None)
    async with world("fireworks", faults=[made, filled]) as here:
        status, rows = await here.run(["a"])

    assert (status.status, len(rows)) == (BatchStatus.COMPLETED, 1)


async def test_a_tag_that_is_used_twice_does_not_give_the_batch_of_other_rows():
    async with world("fireworks") as here:
        first = await here.provider.upload((await here.prepare_one(["a"])).replace(tag=TAG))
        second = await here.provider.upload((await here.prepare_one(["b"])).replace(tag=TAG))
        made = await here.provider.create(first)
        with pytest.raises(SubmissionUnknownError, match=f"reads dataset {first.input_ref}, and not") as caught:
            await here.provider.create(second)
        again = await here.provider.create(first)

    assert caught.value.code == "create_unknown"
    assert "a tag of their own" in caught.value.hint
    assert made.provider_batch_id == again.provider_batch_id == TAG
    assert here.accepted("create") == [TAG]


async def test_a_batch_that_does_not_say_what_it_reads_is_known_by_its_name():
    silent = Fault(effect=faults.Rewrite(remove=("inputDatasetId",)), operation="poll")
    async with world("fireworks") as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag=TAG))
        await here.provider.create(submission)
        here.emulator.add(silent)
        batch = await here.provider.create(submission)

    assert batch.provider_batch_id == TAG


async def test_a_create_that_is_refused_is_refused():
    async with world("fireworks") as here:
        submission = (await here.prepare_one(["a"])).replace(tag=TAG, input_ref="nowhere")
        with pytest.raises(ProviderPermanentError, match="not found") as caught:
            await here.provider.create(submission)

    assert (caught.value.status, caught.value.code) == (404, "5")


async def test_a_name_that_cannot_be_asked_for_is_no_name_that_is_free():
    async with world("fireworks", faults=[faults.refuse(403, operation="poll", times=None)]) as here:
        submission = (await here.prepare_one(["a"])).replace(tag=TAG)
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.find_submissions(submission, since=here.clock.now())

    assert caught.value.status == 403


def test_a_lost_create_is_asked_for_by_name():
    assert FACTS.submit_safety is SubmitSafety.NAMED


# Cancelling


async def test_a_cancel_deletes_and_the_batch_is_cancelled_before_and_after_it_is_gone():
    async with world("fireworks", pace={"cancelling_s": 10}) as here:
        batch = await here.start(["[[stall]]"], tag=TAG)
        here.clock.advance(60)
        asked_for = await here.provider.cancel(TAG)
        here.clock.advance(6)
        deleting = await here.provider.poll_status(TAG)
        here.clock.advance(60)
        gone = await here.provider.poll_status(TAG)
        rows = await here.rows(TAG)

    assert batch.provider_batch_id == TAG
    assert [status.raw_status for status in (asked_for, deleting, gone)] == [
        "JOB_STATE_DELETING",
        "JOB_STATE_DELETING_CLEANING_UP",
        "JOB_STATE_DELETED",
    ]
    assert {status.status for status in (asked_for, deleting, gone)} == {BatchStatus.CANCELLED}
    assert rows == []


def another(here):
    """Give the provider as another process has it, which remembers nothing."""
    return here.scope.create("fireworks", {"api_key": KEY, "base_url": here.base_url})


async def test_another_process_learns_of_a_cancelled_batch_once_it_asks_for_its_end_again():
    async with world("fireworks") as here:
        await here.start(["[[stall]]"], tag=TAG)
        await here.provider.cancel(TAG)
        here.clock.advance(60)
        later = another(here)
        with pytest.raises(ProviderPermanentError) as caught:
            await later.poll_status(TAG)
        told = [await later.cancel(TAG), await later.poll_status(TAG)]

    assert caught.value.status == 404, "by itself it may be a batch that is not shown yet"
    assert [status.status for status in told] == [BatchStatus.CANCELLED] * 2


def cancelling(task):
    """Give what cancels a task, from the thread of the emulator."""
    loop = asyncio.get_running_loop()
    return lambda: loop.call_soon_threadsafe(task.cancel)


async def test_a_cancel_that_is_given_up_while_it_is_under_way_may_have_arrived():
    async with world("fireworks") as here:
        await here.start(["[[stall]]"], tag=TAG)
        task = asyncio.create_task(here.provider.cancel(TAG))
        here.emulator.add(
            faults.act(cancelling(task), operation="cancel"), faults.stall(5, when="after", operation="cancel")
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        here.clock.advance(60)
        status = await here.provider.poll_status(TAG)
        rows = await here.rows(TAG)

    assert here.accepted("cancel") == [TAG]
    assert (status.status, rows) == (BatchStatus.CANCELLED, [])


@pytest.mark.parametrize("after_s", [1, 6])
@pytest.mark.parametrize("way", ["poll_status", "poll_page", "list_statuses"])
async def test_a_batch_that_was_seen_being_deleted_by_somebody_else_is_cancelled_once_it_is_gone(way, after_s):
    async with world("fireworks", pace={"cancelling_s": 10}) as here:
        await here.start(["[[stall]]"], tag=TAG)
        await another(here).cancel(TAG)
        here.clock.advance(after_s)
        call = getattr(here.provider, way)
        await (call(TAG) if way == "poll_status" else call())
        here.clock.advance(60)
        gone = await here.provider.poll_status(TAG)
        rows = await here.rows(TAG)

    assert (gone.status, gone.raw_status, rows) == (BatchStatus.CANCELLED, "JOB_STATE_DELETED", [])


async def test_a_batch_that_was_seen_at_work_is_not_cancelled_because_nobody_sees_it():
    async with world("fireworks") as here:
        await here.start(["[[stall]]"], tag=TAG)
        await here.provider.poll_status(TAG)
        await here.provider.list_statuses()
        here.emulator.add(faults.refuse(404, operation="poll"))
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status(TAG)

    assert caught.value.status == 404


async def test_a_batch_whose_deletion_was_refused_is_not_cancelled_because_nobody_sees_it():
    async with world("fireworks") as here:
        await here.start(["[[stall]]"], tag=TAG)
        here.emulator.add(faults.refuse(403, operation="cancel"))
        with pytest.raises(ProviderPermanentError):
            await here.provider.cancel(TAG)
        here.emulator.add(faults.refuse(404, operation="poll"))
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status(TAG)

    assert caught.value.status == 404


async def test_a_process_that_lives_for_months_remembers_the_latest_deletions_and_not_all(monkeypatch):
    monkeypatch.setattr(fireworks_provider, "_REMEMBERED", 3)
    tags = [f"{TAG[:-1]}{number}" for number in range(5)]
    async with world("fireworks") as here:
        for tag in tags:
            await here.start(["[[stall]]"], tag=tag)
            await here.provider.cancel(tag)
        here.clock.advance(60)
        ends = [await here.provider.poll_status(tag) for tag in tags[2:]]
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status(tags[0])

    assert {status.status for status in ends} == {BatchStatus.CANCELLED}
    assert caught.value.status == 404


async def test_the_end_of_a_batch_that_never_was_cannot_be_asked_for():
    async with world("fireworks") as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.cancel("nightly")

    assert caught.value.status == 404
    assert here.calls("cancel") == []


async def test_answers_that_were_written_just_before_a_batch_was_deleted_are_fetched():
    late = Fault(effect=faults.ShowStatus(word="JOB_STATE_RUNNING"), operation="poll")
    async with world("fireworks") as here:
        await here.start(["a"], tag=TAG)
        here.pass_window()
        here.emulator.add(late)
        status = await here.provider.cancel(TAG)
        rows = await here.rows(TAG)

    assert status.status is BatchStatus.CANCELLED
    assert statuses(rows) == {"0000000": "succeeded"}


async def test_a_cancel_that_is_refused_for_another_reason_is_an_error():
    async with world("fireworks", faults=[faults.refuse(403, operation="poll")]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.cancel(TAG)

    assert caught.value.status == 403


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def long_service(monkeypatch, clock):
    """A service on the clock of its client: half an hour passes in a moment."""
    with Emulator(clock=clock.now, pace={"cancelling_s": 600}) as emulator:
        for name, value in emulator.env("fireworks").items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def service(monkeypatch):
    with Emulator(speed=3600) as emulator:
        for name, value in emulator.env("fireworks").items():
            monkeypatch.setenv(name, value)
        yield emulator


IN_A_HURRY = Polling(first_s=0.02, max_s=0.1)
MODEL = "fireworks/accounts/fireworks/models/llama-v3p1-8b-instruct"


@pytest.mark.parametrize("model", [MODEL, "fireworks/llama-v3p1-8b-instruct"])
async def test_a_job_goes_through_by_the_environment_alone(service, model):
    async with BatchClient(polling=IN_A_HURRY) as client:
        job = await client.submit(["hello", "[[error:400]]"], model=model)
        rows = {row.request_id: row async for row in job.results()}

    assert rows["0000000"].text == "echo: hello"
    assert rows["0000001"].status is ResultStatus.ERRORED


async def test_a_create_of_a_job_whose_answer_is_lost_is_found_and_not_paid_twice(service):
    service.add(faults.accept_then_drop())
    async with BatchClient(polling=IN_A_HURRY) as client:
        job = await client.submit(["hello"], model=MODEL)
        rows = [row async for row in job.results()]

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
    assert [record.kind for record in service.history].count("create") == 1
    assert paid_twice(service.history) == {}


SHORT = Recovery(window_s=1.0, reads=2, gap_s=0.05)


async def test_a_create_that_arrives_late_is_found_by_its_name_and_not_paid_twice(service):
    service.add(faults.ghost(600))
    async with BatchClient(polling=IN_A_HURRY, recovery=SHORT) as client:
        job = await client.submit(["hello"], model=MODEL)
        rows = [row async for row in job.results()]

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
    assert [record.kind for record in service.history].count("create") == 1
    assert paid_twice(service.history) == {}


async def test_a_create_that_never_arrived_is_sent_again_under_another_name(service):
    service.add(faults.drop(operation="create"))
    async with BatchClient(polling=IN_A_HURRY, recovery=SHORT) as client:
        job = await client.submit(["hello"], model=MODEL)
        rows = [row async for row in job.results()]
    asked_for = [item.path for item in service.history if item.kind == "request" and item.operation == "poll"]
    (created,) = [str(item.object_id) for item in service.history if item.kind == "create"]

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
    assert len({urlsplit(path).path for path in asked_for}) == 2
    assert created in asked_for[-1]


async def test_a_job_that_is_cancelled_ends_although_its_batch_is_gone(service):
    async with BatchClient(polling=IN_A_HURRY) as client:
        job = await client.submit(["[[stall]]", "[[stall]]"], model=MODEL)
        await job.cancel()
        rows = [row async for row in job.results()]

    assert [row.status for row in rows] == [ResultStatus.CANCELLED] * 2


async def test_a_job_whose_batch_somebody_else_deletes_is_cancelled_and_not_paid_for_again(long_service, clock):
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await client.submit(["a", "[[stall]]"], model=MODEL, retry="transient")
        await job.submitted()
        clock.advance(30)  # one of them has its answer, so answers are looked for more than once
        (created,) = [str(item.object_id) for item in long_service.history if item.kind == "create"]
        async with FireworksBatchProvider() as other:
            await other.cancel(created.rpartition("/")[2])
        long_service.add(faults.act(lambda: clock.advance(700), "arrived", operation="file"))
        rows = [row async for row in job.results()]

    assert [row.status for row in rows] == [ResultStatus.CANCELLED] * 2
    assert [item.kind for item in long_service.history].count("create") == 1


async def test_a_job_that_was_cancelled_by_a_process_that_died_ends_in_the_next_one(service, tmp_path):
    async with BatchClient(polling=Polling(first_s=1000, max_s=1000), journal=tmp_path) as client:
        job = await client.submit(["[[stall]]"], model=MODEL)
        await job.submitted()
        await job.cancel()
    service.advance(600)
    async with BatchClient(polling=IN_A_HURRY, journal=tmp_path) as client:
        rows = [row async for row in (await client.job(job.id)).results()]

    assert [row.status for row in rows] == [ResultStatus.CANCELLED]


# Answers


async def test_an_address_that_grew_too_old_is_asked_for_anew():
    async with world("fireworks") as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        here.emulator.add(faults.act(lambda: here.clock.advance(700), "arrived", operation="results"))
        rows = await here.rows(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded"}
    assert here.calls("results")[:2] == [400, 200]


async def test_a_storage_that_fails_is_told_without_its_address():
    async with world("fireworks", faults=[faults.refuse(500, operation="results", times=None)]) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        with pytest.raises(ProviderTransientError) as caught:
            await here.rows(batch.provider_batch_id)

    assert caught.value.status == 500
    assert "localhost" in str(caught.value)
    assert "Signature" not in str(caught.value) + repr(caught.value.__dict__)


@pytest.mark.parametrize("status", [403, 500])
async def test_a_traceback_that_prints_local_variables_shows_no_address(status):
    refused = [faults.refuse(status, operation=name, times=None) for name in ("results", "upload")]
    async with world("fireworks", facts=ASIDE) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        prepared = await here.prepare_one(["b"])
        here.emulator.add(*refused)
        shown = ""
        for call in (lambda: here.rows(batch.provider_batch_id), lambda: here.provider.upload(prepared)):
            with pytest.raises((ProviderPermanentError, ProviderTransientError)) as caught:
                await call()
            found = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            shown += "".join(found.format())

    assert "download_from" in shown
    assert "send_to" in shown or status == 403
    assert "X-Goog-Signature" not in shown


@pytest.mark.parametrize("status", [400, 403])
async def test_a_file_that_its_storage_refuses_takes_no_other_with_it_and_is_not_paid_for_again(
    long_service, clock, status
):
    long_service.add(faults.refuse(status, operation="results", first=2, times=None))  # from the file of errors on
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await client.submit(["one", "two [[error:400]]"], model=MODEL, retry="transient")
        rows = {row.request_id: row async for row in job.results()}
    refused = rows["0000001"]

    assert rows["0000000"].text == "echo: one"
    assert (refused.status, refused.error.code) == (ResultStatus.MISSING, "answers_elsewhere")
    assert [item.kind for item in long_service.history].count("create") == 1


async def test_a_completed_batch_without_any_file_is_an_error_that_may_pass():
    empty = Fault(effect=faults.Rewrite(fields={"filenameToSignedUrls": {}}), path="*:getDownloadEndpoint")
    async with world("fireworks", faults=[empty]) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        with pytest.raises(ProviderPermanentError, match="names no file") as caught:
            await here.rows(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert (caught.value.code, len(rows)) == ("no_files", 1)


async def test_one_bad_row_fails_the_whole_batch_and_there_is_no_dataset_of_answers():
    bad = {"messages": [{"role": "narrator", "content": "Once upon a time"}]}
    async with world("fireworks") as here:
        status, rows = await here.run(["fine", bad])

    assert (status.status, rows) == (BatchStatus.FAILED, [])
    assert status.errors[0].code == "INVALID_ARGUMENT"
    assert status.error_message.startswith("row 2: ")
    assert here.calls("results") == []


async def test_a_key_that_is_refused_is_told_as_what_it_is():
    async with world("fireworks", key="invalid-key") as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.list_statuses()

    assert (caught.value.status, caught.value.code, caught.value.is_auth) == (403, "UNAUTHORIZED", True)


# Deleting and listing


async def test_deleting_takes_both_datasets_and_leaves_the_record():
    async with world("fireworks") as here:
        batch = await here.start(["a"], tag=TAG)
        await here.end(batch.provider_batch_id)
        before = {file.ref for file in (await here.provider.list_files()).files}
        counts = [await here.provider.delete_artifacts(TAG) for _ in range(2)]
        after = (await here.provider.list_files()).files
        status = await here.provider.poll_status(TAG)

    assert (len(before), counts, after) == (2, [2, 0], ())
    assert f"{TAG}-out" in before
    assert status.status is BatchStatus.COMPLETED
    assert not here.provider.is_left(status, [])
    assert here.provider.is_left(status, [f"{TAG}-out"])


async def test_a_batch_that_runs_keeps_what_it_reads():
    async with world("fireworks") as here:
        await here.start(["[[stall]]"], tag=TAG)
        here.clock.advance(60)
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.delete_artifacts(TAG)

    assert caught.value.code == "not_ended"
    assert here.accepted("delete") == []


async def test_what_a_deleted_batch_left_goes_by_its_name_and_only_where_it_is_ours():
    gone = faults.refuse(404, operation="poll", times=None)
    async with world("fireworks") as here:
        for name in (TAG, "nightly"):
            await here.start(["a"], tag=name)
        here.pass_window()
        here.emulator.add(gone)
        counts = [await here.provider.delete_artifacts(name) for name in (TAG, "nightly")]

    assert counts == [1, 0]
    assert here.accepted("delete") == [f"{TAG}-out"]


async def test_a_batch_whose_state_is_not_known_is_not_tidied_up():
    async with world("fireworks", faults=[faults.refuse(403, operation="poll")]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.delete_artifacts(TAG)

    assert caught.value.status == 403


async def test_tags_are_names_and_inputs_are_told_by_the_list():
    async with world("fireworks") as here:
        await here.start(["a"], tag=TAG)
        (status,) = (await here.provider.list_statuses()).statuses
        assert (await here.provider.poll_page()).statuses == (status,)
        files = {file.ref for file in (await here.provider.list_files()).files}

    assert (here.provider.has_tags, here.provider.tag_of(status)) == (True, TAG)
    assert here.provider.names_inputs
    assert status.input_ref in files


async def test_what_nobody_knows_any_more_is_found_and_deleted_and_nothing_else():
    async with world("fireworks") as here:
        await here.start(["a"], tag=TAG)
        left = (await here.provider.upload(await here.prepare_one(["b"]))).input_ref
        await here.provider.transport.post("/accounts/acme/datasets", encode_dataset("training", "my rows", 1))
        here.pass_window()
        nobody, now = Known(), here.clock.now()
        found = await find_orphans(here.provider, nobody, now=now, older_than_s=0)
        tidied = await delete_orphans(here.provider, found, nobody)
        after = await find_orphans(here.provider, nobody, now=now, older_than_s=0)
        body = await here.provider.transport.get("/accounts/acme/datasets")

    assert [(batch.ref, batch.mark, batch.job) for batch in found.batches] == [(TAG, TAG, JOB.hex[:8])]
    assert ([file.ref for file in found.files], found.notes) == ([left], ())
    assert (tidied.deleted, tidied.errors) == (3, ())
    assert (after.batches, after.files) == ((), ())
    assert [item["displayName"] for item in json.loads(body)["datasets"]] == ["my rows"]


async def test_the_models_that_are_named_can_be_asked_for():
    async with world("fireworks") as here:
        names = await here.provider.list_models()

    assert all(FACTS.supports(name) for name in names)
    assert "accounts/fireworks/models/llama-v3p1-8b-instruct" in names


def test_requests_have_bodies_as_openai_has_them():
    assert [endpoint.format for endpoint in FACTS.endpoints] == ["openai.chat"]
    assert CHAT["messages"]
