"""Parasail: what it does otherwise than OpenAI.

Source: docs.parasail.io/parasail-docs/batch, and answers seen live by third parties (the redirect of a content, the plain text
of a 401); compared on 2026-11-22. The batch is OpenAI's sample, with the end that Parasail leaves null.
"""

import pytest
from aioresponses import aioresponses

from asyncbatch import BatchStatus, ProviderPermanentError, SubmissionUnknownError
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import faults
from asyncbatch.providers._shapes.openai import decode_status
from asyncbatch.providers.parasail_provider import ParasailBatchProvider
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import statuses, world
from tests.transport.wire import answer, serve

FACTS = load_catalog().provider("parasail")
BASE = "https://api.parasail.io/v1"

COMPLETED = b"""{"id":"batch_68f0aa11bb22","object":"batch","endpoint":"/v1/chat/completions","errors":null,
"input_file_id":"file-Ab12Cd34Ef56","completion_window":"24h","status":"completed","output_file_id":"file-out1",
"error_file_id":null,"created_at":1795300010,"in_progress_at":1795300070,"expires_at":null,"finalizing_at":1795301000,
"completed_at":1795301030,"failed_at":null,"expired_at":null,"cancelling_at":null,"cancelled_at":null,"request_counts":{"total":1,
"completed":1,"failed":0},"metadata":{"asyncbatch_tag":"01JX0000"}}"""
ANSWERED = (
    b'{"id":"batch_req_68f0c1","custom_id":"row-0001","response":{"status_code":200,"request_id":"req_7f1","body":{'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}},"error":null}\n'
)
REFUSED_KEY = b"Unauthorized. Invalid token format."


def test_a_batch_does_not_say_when_it_expires():
    status = decode_status(COMPLETED, FACTS)

    assert (status.status, status.expires_at) == (BatchStatus.COMPLETED, None)
    assert (status.created_at, status.completed_at) == (1795300010, 1795301030)


async def test_content_lies_behind_a_signed_address_at_another_host_which_is_not_told_the_key():
    runtime = virtual_runtime(VirtualClock(1795301100.0))
    async with serve(answer(ANSWERED)) as storage, serve(answer(COMPLETED)) as server:
        server.answers.append(answer(b"", 302, f"Location: {storage.url}/blob/file-out1?X-Signature=1f"))
        async with BatchProviderRegistry().open(runtime=runtime) as scope:
            provider = scope.create("parasail", {"api_key": "psk-canary-7", "base_url": server.url})
            rows = [row async for row in provider.fetch_results("batch_68f0aa11bb22")]

    (led,) = storage.asked
    assert [(row.request_id, row.text) for row in rows] == [("row-0001", "hi")]
    assert [asked.path for asked in server.asked] == ["/batches/batch_68f0aa11bb22", "/files/file-out1/content"]
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer psk-canary-7"}
    assert led.target == "/blob/file-out1?X-Signature=1f"
    assert "authorization" not in led.headers
    assert "psk-canary-7" not in str(led)


async def test_answers_and_errors_both_come_by_a_redirect():
    async with world("parasail") as here:
        _, rows = await here.run(["a", "[[error:400]]"])
        led, fetched = here.calls("other"), here.calls("results")

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}
    assert (led, fetched) == ([302, 302], [200, 200]), "and who brings a key to the signed address is answered 400"


async def test_a_refused_key_is_named_though_the_answer_is_plain_text():
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_x", status=401, body=REFUSED_KEY, content_type="text/plain")
        async with ParasailBatchProvider({"api_key": "psk-test"}) as provider:
            with pytest.raises(ProviderPermanentError, match=r"401: Unauthorized\. Invalid token format\.") as caught:
                await provider.poll_status("batch_x")

    assert (caught.value.status, caught.value.code, caught.value.is_auth) == (401, None, True)
    assert caught.value.hint == "check the key: PARASAIL_API_KEY"


async def test_a_refused_key_is_noticed_at_the_upload_before_anything_is_bought():
    async with world("parasail", key="invalid-key") as here:
        with pytest.raises(ProviderPermanentError, match="Invalid token format") as caught:
            await here.start(["a"])
        uploads, creates = here.calls("upload"), here.calls("create")

    assert caught.value.is_auth
    assert (uploads, creates) == ([401], [])


async def test_plain_text_in_answer_to_a_create_proves_no_refusal():
    refused = faults.Answer(status=401, body=REFUSED_KEY, content_type="text/plain")
    async with world("parasail", faults=[faults.Fault(effect=refused, operation="create")]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        with pytest.raises(SubmissionUnknownError, match="Invalid token format"):
            await here.provider.create(submission)
        found = await here.provider.find_submission(submission, since=here.clock.now())

    assert found is None


async def test_no_batch_is_ever_asked_to_be_deleted_which_would_be_forbidden():
    async with world("parasail") as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        count = await here.provider.delete_artifacts(batch.provider_batch_id)
        paths = [item.path for item in here.emulator.history if item.kind == "request" and item.method == "DELETE"]

    assert count == len(paths) == 2
    assert all("/files/" in path for path in paths)
