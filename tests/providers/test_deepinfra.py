"""DeepInfra: its samples, word for word as the service writes them, and what it does otherwise than OpenAI.

Source: deepinfra.com/docs/advanced/openai_api, and answers seen live by third parties (the row that was refused, the shapes of
errors, the file of errors that is empty); compared on 2026-11-22. Batches are OpenAI's sample, changed as is documented.
"""

import json

import pytest
from aioresponses import CallbackResult, aioresponses

from asyncbatch import BatchMode, BatchStatus, ProviderPermanentError, ResultStatus
from asyncbatch.catalog import load_catalog
from asyncbatch.providers._shapes.openai import decode_status, encode_create
from asyncbatch.providers._shapes.openai_lines import decode_line
from asyncbatch.providers.deepinfra_provider import DeepInfraBatchProvider
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import JOB, statuses, world
from tests.transport.wire import answer, serve

FACTS = load_catalog().provider("deepinfra")
BASE = "https://api.deepinfra.com/v1/openai"

CREATED = b"""{"id":"batch_68f0aa11bb22","object":"batch","endpoint":"/v1/chat/completions","model":null,"errors":null,
"input_file_id":"file-Ab12Cd34Ef56","completion_window":"24h","status":"validating","output_file_id":null,"error_file_id":null,
"created_at":1795300010,"in_progress_at":null,"expires_at":1795386410,"finalizing_at":null,"completed_at":null,"failed_at":null,
"expired_at":null,"cancelling_at":null,"cancelled_at":null,"request_counts":null,"usage":null,"metadata":null}"""
REFUSED = (
    b'{"id":"r","custom_id":"r2","response":null,"error":{"code":"400","message":"stream is not supported","param":null,'
    b'"type":null}}'
)
ANSWERED = b'{"id":"r","custom_id":"r1","response":{"status_code":200,"body":{"choices":[]}},"error":null}\n'


def row(line):
    return decode_line(line, format="openai.chat", facts=FACTS)


async def submission_of(**options):
    (submission,) = await DeepInfraBatchProvider({"api_key": "di-test"}).prepare_payloads(
        batch_id=JOB, model="deepseek-ai/DeepSeek-V3", mode=BatchMode.CHAT, requests=["hello"], **options
    )
    return submission


# Rows


def test_a_refused_row_has_no_response_and_its_status_for_a_code():
    refused = row(REFUSED)

    assert (refused.request_id, refused.status) == ("r2", ResultStatus.ERRORED)
    assert (refused.error.code, refused.error.status) == ("400", 400)
    assert (refused.error.message, refused.error.retryable) == ("stream is not supported", False)
    assert not refused.body


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (408, True),
        (409, True),
        (429, True),
        (500, True),
        (503, True),
        (520, True),
        (401, False),
        (404, False),
        (422, False),
    ],
)
def test_the_status_in_the_code_tells_whether_a_row_is_worth_another_try(code, retryable):
    error = row(REFUSED.replace(b'"400"', b'"%d"' % code)).error

    assert (error.status, error.retryable) == (code, retryable)


async def test_a_row_that_was_throttled_may_be_sent_again_and_a_bad_one_may_not():
    async with world("deepinfra") as here:
        _, rows = await here.run(["a", "[[error:429]]", "[[error:400]]"])
        errors = {item.request_id: item.error for item in rows if item.error}

    assert {name: (error.status, error.retryable) for name, error in errors.items()} == {
        "0000001": (429, True),
        "0000002": (400, False),
    }


# Batches


def test_nothing_is_counted_before_a_batch_is_validated():
    status = decode_status(CREATED, FACTS)

    assert (status.status, status.progress.total, status.usage) == (BatchStatus.VALIDATING, 0, None)
    assert (status.metadata, status.input_ref) == ({}, "file-Ab12Cd34Ef56")


async def test_an_input_that_is_not_there_is_refused_at_once():
    async with world("deepinfra") as here:
        submission = (await here.prepare_one(["a"])).replace(input_ref="file-gone")
        with pytest.raises(ProviderPermanentError, match="file-gone") as caught:
            await here.provider.create(submission)
        accepted = here.accepted("create")

    assert caught.value.status == 404
    assert accepted == []


async def test_answers_are_named_after_their_batch_and_an_empty_file_of_errors_is_no_trouble():
    names = {"output_file_id": "batch_68f0aa11bb22_output", "error_file_id": "batch_68f0aa11bb22_error"}
    counts = {"total": 1, "completed": 1, "failed": 0}
    batch = {**json.loads(CREATED), **names, "status": "completed", "request_counts": counts}
    clock = VirtualClock(1795301100.0)
    async with serve(answer(json.dumps(batch).encode()), answer(ANSWERED), answer(b"")) as server:
        async with BatchProviderRegistry().open(runtime=virtual_runtime(clock)) as scope:
            provider = scope.create("deepinfra", {"api_key": "di-test", "base_url": server.url})
            rows = [item async for item in provider.fetch_results("batch_68f0aa11bb22")]

    assert statuses(rows) == {"r1": "succeeded"}
    assert list(dict.fromkeys(asked.path for asked in server.asked)) == [
        "/batches/batch_68f0aa11bb22",
        "/files/batch_68f0aa11bb22_output/content",
        "/files/batch_68f0aa11bb22_error/content",
    ]


async def test_a_cancel_that_comes_too_late_gives_the_batch_as_it_ended():
    async with world("deepinfra") as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        status = await here.provider.cancel(batch.provider_batch_id)
        cancels = here.calls("cancel")

    assert cancels == [400]
    assert status.status is BatchStatus.COMPLETED


async def test_answers_can_be_given_an_end():
    body = json.loads(encode_create(await submission_of(options={"output_expires_s": 7200}), FACTS))

    assert body["output_expires_after"] == {"anchor": "created_at", "seconds": 7200}


# Errors, and keys


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"detail":"Batch not found"}', "404: Batch not found$"),
        (b'{"detail":{"error":"Batch not found"}}', "404: .*Batch not found"),
        (
            b'{"detail":[{"loc":["body","endpoint"],"msg":"unknown endpoint","type":"value_error"}]}',
            "404: body.endpoint: unknown endpoint$",
        ),
    ],
)
async def test_an_error_says_its_words_in_each_of_its_shapes(body, says):
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_x", status=404, body=body)
        async with DeepInfraBatchProvider({"api_key": "di-test"}) as provider:
            with pytest.raises(ProviderPermanentError, match=says):
                await provider.poll_status("batch_x")


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["DEEPINFRA_API_KEY"], "DEEPINFRA_API_KEY"),
        (["DEEPINFRA_TOKEN"], "DEEPINFRA_TOKEN"),
        (["DEEPINFRA_TOKEN", "DEEPINFRA_API_KEY"], "DEEPINFRA_API_KEY"),
    ],
)
async def test_the_key_comes_from_either_variable_and_the_first_goes_before(names, key, monkeypatch):
    seen = []

    def note(url, **request):
        seen.append(request["headers"]["authorization"])
        return CallbackResult(body=CREATED)

    for name in ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, f"value-of-{name}")
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_68f0aa11bb22", callback=note)
        async with DeepInfraBatchProvider() as provider:
            await provider.poll_status("batch_68f0aa11bb22")

    assert seen == [f"Bearer value-of-{key}"]


@pytest.mark.parametrize(("told", "line"), [(0, 1), (6, 7), (None, None)])
def test_the_reasons_of_a_failed_batch_count_lines_from_nought_and_ours_from_one(told, line):
    errors = {"object": "list", "data": [{"code": "invalid_json", "message": "no JSON", "line": told, "param": None}]}
    status = decode_status(json.dumps({"id": "b", "status": "failed", "errors": errors}).encode(), FACTS)

    assert (status.errors[0].code, status.errors[0].line) == ("invalid_json", line)
