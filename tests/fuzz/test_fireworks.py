"""Fireworks' answers, bent in every way: a document is read or unreadable, and a row is a row whatever stands in it.

Its addresses lead to another host, so its samples are those of `tests/providers/test_fireworks.py` and no recordings.
"""

import msgspec
import pytest

from asyncbatch import BatchStatus, ResultStatus
from asyncbatch.catalog import load_catalog
from asyncbatch.dto import FilePage, ProviderResultRow, ProviderStatus, StatusPage
from asyncbatch.providers._shapes import fireworks
from asyncbatch.wire_provider import UNREADABLE
from tests.fuzz.budget import SIZES, run
from tests.fuzz.mutations import bent
from tests.providers.test_fireworks import ADDRESSES, ANSWER, CREATED, FAILED, PROGRESS, UPLOADED

FACTS = load_catalog().provider("fireworks")
JOBS = [
    CREATED,
    FAILED,
    CREATED.replace(b"JOB_STATE_VALIDATING", b"JOB_STATE_COMPLETED").replace(
        b'"jobProgress":null', b'"jobProgress":' + PROGRESS
    ),
]
DATASET = b"""{"name":"accounts/acme/datasets/ab1-6f1c0c0a-0000-0123456789abcdef","displayName":"ab1-6f1c0c0a-0000.jsonl",
"state":"READY","status":{"code":"OK","message":""},"createTime":"2026-11-22T10:00:00Z"}"""
PAGES = [b'{"batchInferenceJobs":[%b],"nextPageToken":"next"}' % job for job in JOBS]
DATASETS = [b'{"datasets":[%b],"nextPageToken":"next"}' % DATASET]
ROWS = [
    b'{"custom_id":"r1","response":%b}' % ANSWER.replace(b"\n", b""),
    b'{"custom_id":"r2","error":{"message":"no","code":400}}',
    b'{"custom_id":"r3","response":{"status_code":500,"body":{"error":{"message":"down","code":13}}}}',
    b'{"custom_id":"r4","error":"it broke"}',
]
OTHERS = {
    "a dataset": (fireworks.decode_dataset, DATASET),
    "addresses": (fireworks.decode_addresses, ADDRESSES),
    "an upload": (fireworks.decode_size, UPLOADED),
}


@pytest.mark.parametrize("size", SIZES)
def test_a_job_is_read_or_unreadable(size):
    def holds(body):
        try:
            status = fireworks.decode_status(body, FACTS)
        except UNREADABLE:
            return
        assert isinstance(status, ProviderStatus)
        assert isinstance(status.status, BatchStatus)
        assert all(isinstance(place, str) and place for place in status.result_uris)
        assert all(isinstance(item.message, str) for item in status.errors)
        msgspec.json.encode(status)  # the journal keeps it

    run(holds, size, 250, {"body": bent(JOBS)})


@pytest.mark.parametrize("size", SIZES)
def test_lists_are_read_or_unreadable(size):
    def holds(jobs, datasets):
        for decode, kind, body in (
            (lambda body: fireworks.decode_page(body, FACTS), StatusPage, jobs),
            (fireworks.decode_datasets, FilePage, datasets),
        ):
            try:
                page = decode(body)
            except UNREADABLE:
                continue
            assert isinstance(page, kind)
            assert page.cursor is None or isinstance(page.cursor, str)

    run(holds, size, 150, {"jobs": bent(PAGES), "datasets": bent(DATASETS)})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OTHERS)
def test_what_else_is_said_is_read_or_unreadable(name, size):
    decode, sample = OTHERS[name]

    def holds(body):
        try:
            decode(body)
        except UNREADABLE:
            return

    run(holds, size, 100, {"body": bent([sample])})


@pytest.mark.parametrize("size", SIZES)
def test_a_row_is_a_row_whatever_stands_in_it(size):
    def holds(line):
        row = fireworks.decode_line(line, format="openai.chat", facts=FACTS)
        assert isinstance(row, ProviderResultRow)
        assert isinstance(row.request_id, str)
        assert row.status in (ResultStatus.SUCCEEDED, ResultStatus.ERRORED, ResultStatus.UNDECODABLE)
        assert (row.error is None) is (row.status is ResultStatus.SUCCEEDED)
        assert row.error is None or bytes(row.body) == line, "what failed is kept whole"
        assert row.error is None or row.error.code
        assert row.text is None or isinstance(row.text, str)

    run(holds, size, 400, {"line": bent(ROWS)})
