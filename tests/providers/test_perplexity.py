"""Perplexity: what it does otherwise than OpenAI, which it imitates, and how chat becomes what its agents are asked.

Source: docs.perplexity.ai/docs/agent-api/batch, docs.perplexity.ai/api-reference/batches-create-post and the types of
perplexityai 0.46.1; compared on 2026-11-26. Samples have the documented shape; their values are made up.
"""

import json

import pytest
from aioresponses import CallbackResult, aioresponses

from asyncbatch import (
    BatchClient,
    BatchMode,
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    ProviderPermanentError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
    UsageInfo,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import faults
from asyncbatch.providers._shapes.openai import decode_files, decode_status, encode_create, encode_key
from asyncbatch.providers._shapes.openai_lines import decode_line
from asyncbatch.providers.perplexity_provider import PerplexityBatchProvider
from tests.providers.world import CHAT, JOB, statuses, world

FACTS = load_catalog().provider("perplexity")
BASE = "https://api.perplexity.ai/v1"

CREATED = (
    b'{"id":"batch_1","object":"batch","endpoint":"/v1/responses","errors":null,"input_file_id":"file-1",'
    b'"completion_window":"24h","status":"validating","output_file_id":null,"error_file_id":null,"created_at":1795300010,'
    b'"in_progress_at":null,"expires_at":1795386410,"finalizing_at":null,"completed_at":null,"failed_at":null,'
    b'"expired_at":null,"cancelling_at":null,"cancelled_at":null,"request_counts":{"total":0,"completed":0,"failed":0},'
    b'"usage":{"input_tokens":0,"input_tokens_details":{"cached_tokens":0},"output_tokens":0,"output_tokens_details":'
    b'{"reasoning_tokens":0},"total_tokens":0},"metadata":{"asyncbatch_tag":"t"}}'
)
FAILED = (
    b'{"id":"batch_1","object":"batch","endpoint":"/v1/responses","status":"failed","input_file_id":"file-1",'
    b'"created_at":1795300010,"failed_at":1795300020,"errors":{"object":"list","data":[{"code":"model_not_found",'
    b'"message":"no such model","line":3}]},"request_counts":{"total":0,"completed":0,"failed":0},"usage":null}'
)
FILES = (
    b'{"object":"list","data":[{"id":"file-2","object":"file","bytes":9,"created_at":1795300500,"expires_at":1797892500,'
    b'"filename":"out.jsonl","purpose":"batch_output"}],"first_id":"file-2","last_id":"file-2","has_more":false}'
)
ANSWERED = (
    b'{"id":"batch_req_1","custom_id":"r1","response":{"status_code":200,"request_id":"req_1","body":{"id":"resp_1",'
    b'"object":"response","created_at":1795300400,"model":"perplexity/sonar","status":"completed","output":['
    b'{"type":"search_results","results":[{"id":1,"url":"https://sea.example","title":"Sea","snippet":"..."}]},'
    b'{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text",'
    b'"text":"hi","annotations":[]}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11,"cost":'
    b'{"currency":"USD","input_cost":0.01,"output_cost":0.02,"total_cost":0.03}}}},"error":null}'
)


async def prepared(*requests, tag="ab1-1", **options):
    provider = PerplexityBatchProvider({"api_key": "pplx-test"})
    (submission,) = await provider.prepare_payloads(
        batch_id=JOB, model="perplexity/sonar", mode=BatchMode.CHAT, requests=requests or ["hello"], **options
    )
    return submission.replace(tag=tag)


def body_of(submission):
    return json.loads(bytes(submission.payloads[0]))["body"]


# What it writes


def test_a_batch_is_openais_and_uses_nothing_before_it_is_over():
    status, failed = decode_status(CREATED, FACTS), decode_status(FAILED, FACTS)

    assert (status.status, status.input_ref, status.usage) == (BatchStatus.VALIDATING, "file-1", None)
    assert (status.metadata, status.expires_at) == ({"asyncbatch_tag": "t"}, 1795386410)
    assert (failed.status, failed.errors[0].line, failed.error_message) == (BatchStatus.FAILED, 3, "no such model")
    assert FACTS.classify_batch_error(failed.errors[0].code).value == "permanent"


def test_files_have_their_end_beside_them():
    (file,) = decode_files(FILES, FACTS).files

    assert (file.ref, file.size, file.expires_at) == ("file-2", 9, 1797892500)


def test_an_answer_is_what_was_said_and_keeps_what_was_searched_and_what_it_cost():
    row = decode_line(ANSWERED, format=FACTS.format_of("/v1/responses"), facts=FACTS)

    assert (row.request_id, row.status, row.text) == ("r1", ResultStatus.SUCCEEDED, "hi")
    assert row.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)
    assert row.response["output"][0]["results"][0]["title"] == "Sea"
    assert row.response["usage"]["cost"]["total_cost"] == 0.03


# What it is asked


async def test_a_chat_becomes_what_an_agent_is_asked():
    request = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who won?"}],
        "max_tokens": 200,
        "reasoning_effort": "low",
        "max_steps": 3,
        "extra_body": {"tools": [{"type": "web_search"}]},
    }

    assert body_of(await prepared(request)) == {
        "model": "perplexity/sonar",
        "instructions": "Be brief.",
        "input": [{"type": "message", "role": "user", "content": "Who won?"}],
        "max_output_tokens": 200,
        "reasoning": {"effort": "low"},
        "max_steps": 3,
        "tools": [{"type": "web_search"}],
    }


async def test_sampling_is_refused_by_name_or_dropped():
    warm = {**CHAT, "temperature": 0.5, "stop": "x"}

    with pytest.raises(InvalidRequestsError, match=r"Perplexity cannot express stop .*Perplexity cannot express temp"):
        await prepared(warm)
    dropped = await prepared(warm, on_unsupported="drop")

    assert dropped.dropped == {"temperature": 1, "stop": 1}
    assert body_of(dropped).keys() == {"model", "input"}


async def test_everything_that_can_be_said_in_chat_passes_its_checks_at_upload():
    schema = {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": "https://sea.example/a.png"}
    requests = [
        {**CHAT, "response_format": {"type": "json_schema", "json_schema": schema}},
        {**CHAT, "tools": [{"type": "function", "function": {"name": "look"}}], "max_tokens": 5, "store": False},
        {
            "messages": [
                {"role": "developer", "content": "Look."},
                {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
                {"role": "assistant", "content": "I look.", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a wave"},
            ]
        },
    ]
    async with world("perplexity") as here:
        status, rows = await here.run(requests)
        texts = {row.request_id: row.text for row in rows}

    assert (status.status, statuses(rows)) == (
        BatchStatus.COMPLETED,
        {f"{n:07d}": "succeeded" for n in range(3)},
    )
    assert json.loads(texts["0000000"]).keys() == {"a"}
    assert rows[1].tool_calls or rows[1].text


async def test_the_body_of_a_custom_request_passes_as_it_is_and_may_name_a_preset():
    asked = {"input": "Who won?", "preset": "sonar-pro"}
    async with world("perplexity") as here:
        submission = await here.prepare_one([asked], mode=BatchMode.CUSTOM, endpoint="/v1/responses")
        batch = await here.provider.submit(submission)
        await here.end(batch.provider_batch_id)
        (row,) = await here.rows(batch.provider_batch_id)

    assert body_of(submission) == asked
    assert (row.text, row.response["model"]) == ("echo: Who won?", "sonar-pro")


async def test_a_row_that_its_checks_refuse_takes_the_file_with_it_before_anything_is_paid():
    async with world("perplexity") as here:
        wrong = [{"input": "fine"}, {"input": "x", "temperature": 1}]
        submission = await here.prepare_one(wrong, mode=BatchMode.CUSTOM, endpoint="/v1/responses")
        with pytest.raises(ProviderPermanentError, match="Line 2: Unknown parameter: 'temperature'") as caught:
            await here.provider.submit(submission)
        tries = here.calls("upload", "create")

    assert (caught.value.status, tries) == (400, [400])


@pytest.mark.parametrize("option", ["input_expires_s", "output_expires_s"])
async def test_a_time_to_go_is_never_asked_for_and_a_wish_for_one_is_refused(option):
    with pytest.raises(ConfigError, match="cannot be told when to delete") as caught:
        await prepared(options={option: 100_000})
    create = json.loads(encode_create((await prepared()).replace(input_ref="file-1"), FACTS))
    async with world("perplexity") as here:  # whose service refuses an upload with an expiry
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        month_s = sent.input_expires_at - here.clock.now()

    assert caught.value.code == "expiry.unsupported"
    assert create.keys() == {"input_file_id", "endpoint", "completion_window", "metadata"}
    assert month_s == pytest.approx(30 * 86_400, abs=1)


async def test_what_goes_after_a_month_anyway_need_not_be_refused():
    assert (await prepared(options={"output_expires_s": 30 * 86_400})).options


async def test_a_file_is_asked_for_as_the_official_client_asks():
    asked = []

    def note(url, **request):
        asked.append((url.path, request["headers"]["Accept"]))
        return CallbackResult(body=ANSWERED + b"\n")

    over = CREATED.replace(b'"validating"', b'"completed"').replace(
        b'"output_file_id":null', b'"output_file_id":"file-2"'
    )
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", body=over)
        server.get(f"{BASE}/files/file-2/content", callback=note, repeat=True)
        async with PerplexityBatchProvider({"api_key": "pplx-test"}) as provider:
            (row,) = await provider.fetch_results("batch_1")

    assert row.text == "hi"
    assert set(asked) == {("/v1/files/file-2/content", "application/octet-stream")}


# A create whose answer is lost


async def test_a_create_carries_its_tag_as_a_key_and_every_attempt_has_another():
    first, second = await prepared(tag="ab1-6f1c-0-1-cafe"), await prepared(tag="ab1-6f1c-0-2-beef")

    assert encode_key(first, FACTS) == {"Idempotency-Key": "ab1-6f1c-0-1-cafe"}
    assert encode_key(second, FACTS) == {"Idempotency-Key": "ab1-6f1c-0-2-beef"}
    assert encode_key(await prepared(tag=None), FACTS) is None
    assert encode_key(first, load_catalog().provider("openai")) is None
    assert len(first.tag) < 255


async def test_nothing_is_built_on_the_key_a_lost_create_is_looked_for():
    async with world("perplexity", faults=[faults.accept_then_drop()]) as here:
        submission = (await here.provider.upload(await here.prepare_one(["a"]))).replace(tag="mine")
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        again = await here.provider.create(submission)
        created, safety = here.accepted("create"), here.provider.submit_safety()

    assert (match.why, match.is_certain) == ("tag", True)
    assert again.provider_batch_id == match.provider_batch_id, "and by hand, the same create is the same batch"
    assert (len(created), safety) == (1, SubmitSafety.TAGGED)


async def test_a_job_whose_create_is_lost_is_one_batch(monkeypatch):
    async with world("perplexity", faults=[faults.accept_then_drop()]) as here:
        for name, value in here.emulator.env("perplexity").items():
            monkeypatch.setenv(name, value)
        async with BatchClient(catalog=here.scope.catalog, runtime=here.provider.runtime) as client:
            job = await client.submit(["a"], model="perplexity/echo-1")
            rows = [row async for row in job.results()]
        created = here.accepted("create")

    assert [row.text for row in rows] == ["echo: a"]
    assert len(created) == 1


async def test_the_address_of_its_own_client_is_completed():
    seen = []

    def note(url, **request):
        seen.append((str(url), request["headers"]["authorization"]))
        return CallbackResult(body=CREATED)

    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", callback=note)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PERPLEXITY_BASE_URL", "https://api.perplexity.ai")
            patch.setenv("PERPLEXITY_API_KEY", "pplx-test")
            async with PerplexityBatchProvider() as provider:
                await provider.poll_status("batch_1")

    assert seen == [(f"{BASE}/batches/batch_1", "Bearer pplx-test")]
