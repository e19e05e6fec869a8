"""Mistral's own SDK goes through the whole life of a job, and knows every answer and every error."""

import json
import os
from datetime import UTC, datetime

import httpx2
import pytest
from mistralai.client import Mistral, models
from mistralai.client.errors import MistralError, NoResponseError, SDKError
from mistralai.client.utils import BackoffStrategy, RetryConfig

from asyncbatch.emulator import faults
from tests.conformance.mistral_rows import BODIES, CHAT, MODELS, chat, encode_rows, requests

pytestmark = pytest.mark.conformance

NOBODY = "00000000-0000-4000-8000-000000000000"
MODEL = MODELS[CHAT]


@pytest.fixture
def client(emulator, monkeypatch):
    """The SDK with its key from the environment. It has no variable for the server: that is handed over."""
    for name, value in emulator.env("mistral").items():
        monkeypatch.setenv(name, value)
    with Mistral(server_url=os.environ["MISTRAL_BASE_URL"]) as client:
        yield client


def upload(client, content, name="in.jsonl", **more):
    return client.files.upload(file={"file_name": name, "content": content}, purpose="batch", **more)


def create(client, bodies, endpoint=CHAT, **more):
    file = upload(client, encode_rows(bodies))
    return client.batch.jobs.create(endpoint=endpoint, input_files=[file.id], model=MODELS[endpoint], **more)


def lines(client, file_id):
    return [json.loads(line) for line in client.files.download(file_id=file_id).read().splitlines()]


@pytest.mark.parametrize("endpoint", BODIES)
def test_a_job_goes_from_upload_to_answers(client, emulator, endpoint):
    job = create(client, BODIES[endpoint], endpoint, metadata={"tag": "t"})
    assert (job.status, job.total_requests) == ("QUEUED", 0)

    emulator.advance(600)
    done = client.batch.jobs.get(job_id=job.id)
    found = lines(client, done.output_file)

    assert (done.status, done.metadata, done.outputs, done.error_file) == ("SUCCESS", {"tag": "t"}, None, None)
    assert done.total_requests == done.succeeded_requests == len(found) == len(BODIES[endpoint])
    assert {line["custom_id"] for line in found} == set(BODIES[endpoint])


@pytest.mark.parametrize("endpoint", BODIES)
def test_requests_can_come_with_the_create_and_results_with_the_job(client, emulator, endpoint):
    rows = requests(BODIES[endpoint])
    job = client.batch.jobs.create(endpoint=endpoint, requests=rows, model=MODELS[endpoint])
    assert client.batch.jobs.get(job_id=job.id, inline=True).outputs is None

    emulator.advance(600)
    done = client.batch.jobs.get(job_id=job.id, inline=True)

    assert (done.status, done.input_files) == ("SUCCESS", [])
    assert sorted(done.outputs, key=str) == sorted(lines(client, done.output_file), key=str)
    assert {line["custom_id"] for line in done.outputs} == set(BODIES[endpoint])


async def test_the_asynchronous_sdk_does_it_too(emulator):
    async with Mistral(api_key="k", server_url=emulator.base_url("mistral")) as client:
        content = {"file_name": "in.jsonl", "content": encode_rows(BODIES[CHAT])}
        file = await client.files.upload_async(file=content, purpose="batch")
        job, other = [
            await client.batch.jobs.create_async(endpoint=CHAT, input_files=[file.id], model=MODEL) for _ in range(2)
        ]
        cancelled = await client.batch.jobs.cancel_async(job_id=other.id)
        emulator.advance(600)
        done = await client.batch.jobs.get_async(job_id=job.id, inline=True)
        response = await client.files.download_async(file_id=done.output_file)
        found = (await response.aread()).splitlines()
        listed = await client.batch.jobs.list_async(status=["SUCCESS"])
        gone = await client.batch.jobs.delete_async(job_id=other.id)
        await client.files.delete_async(file_id=file.id)
        with pytest.raises(SDKError, match="404"):
            await client.files.retrieve_async(file_id=file.id)

    assert len(found) == len(done.outputs) == len(BODIES[CHAT])
    assert (cancelled.status, gone.deleted) == ("CANCELLED", True)
    assert [item.id for item in listed.data] == [job.id]


def test_chat_answers_mean_what_was_asked(client, emulator):
    job = create(client, BODIES[CHAT])
    emulator.advance(600)
    found = client.batch.jobs.get(job_id=job.id, inline=True).outputs
    answers = {
        line["custom_id"]: models.ChatCompletionResponse.model_validate(line["response"]["body"]) for line in found
    }

    texts = {name: answers[name].choices[0].message.content for name in ("plain", "turns", "parts", "json", "nothing")}
    assert texts == {
        "plain": "echo: hello",
        "turns": "echo: what is the weather?",
        "parts": "echo: what is it?",
        "json": '{"echo":true}',
        "nothing": "",
    }
    assert answers["cut"].choices[0].finish_reason == "length"
    assert len(answers["many"].choices) == 2
    (call,) = answers["tool"].choices[0].message.tool_calls
    assert (call.function.name, len(call.id)) == ("get_weather", 9)
    thought, said = answers["thinking"].choices[0].message.content
    assert (thought.type, said.text) == ("thinking", "echo: [[think:9]]")
    assert answers["cached"].usage.prompt_tokens_details == {"cached_tokens": 7}


def test_a_call_can_be_answered_in_the_next_batch(client, emulator):
    """An id that the service made is one that it takes back."""
    job = create(client, {"a": BODIES[CHAT]["tool"]})
    emulator.advance(600)
    (line,) = client.batch.jobs.get(job_id=job.id, inline=True).outputs
    message = line["response"]["body"]["choices"][0]["message"]
    result = {"role": "tool", "content": "sun", "tool_call_id": message["tool_calls"][0]["id"]}
    again = create(client, {"a": {"messages": [{"role": "user", "content": "weather?"}, message, result]}})
    emulator.advance(600)

    assert client.batch.jobs.get(job_id=again.id).succeeded_requests == 1


def test_a_file_can_be_looked_at_listed_read_and_deleted(client, emulator):
    content = encode_rows({"a": chat(), "b": chat()})
    file = upload(client, content, expiry=2, visibility="user")
    found = client.files.retrieve(file_id=file.id)
    listed = client.files.list(purpose="batch", sample_type=["batch_request"], search="in")
    url = client.files.get_signed_url(file_id=file.id, expiry=1).url

    assert (file.size_bytes, file.num_lines, file.visibility) == (len(content), 2, "user")
    assert (found.deleted, found.expires_at) == (False, file.created_at + 7200)
    assert ([item.id for item in listed.data], listed.total) == ([file.id], 1)
    assert client.files.download(file_id=file.id).read() == httpx2.get(url).content == content
    assert client.files.delete(file_id=file.id).deleted
    with pytest.raises(SDKError, match="404"):
        client.files.download(file_id=file.id)


def test_lists_are_walked_by_their_pages(client, emulator):
    jobs = []
    for _ in range(5):
        jobs.append(create(client, {"a": chat()}).id)
        emulator.advance(60)

    pages = [client.batch.jobs.list(page=page, page_size=2) for page in range(3)]
    oldest = client.batch.jobs.list(order_by="created", page_size=1)
    start = client.batch.jobs.get(job_id=jobs[2]).created_at
    later = client.batch.jobs.list(created_after=datetime.fromtimestamp(start, UTC), status=["SUCCESS"])

    assert [job.id for page in pages for job in page.data] == jobs[::-1]
    assert {page.total for page in pages} == {5}
    assert [job.id for job in oldest.data] == jobs[:1]
    assert [job.id for job in later.data] == [jobs[4], jobs[3]]


def test_the_list_is_not_filtered_by_metadata(client):
    """The SDK sends `?a=b`, and whether the service understands that nobody knows: whoever relies on it fails here."""
    create(client, {"a": chat()}, metadata={"a": "b"})

    assert client.batch.jobs.list(metadata={"a": "other"}).total == 1


def test_a_running_job_can_be_cancelled_with_partial_results(client, emulator):
    job = create(client, {str(number): chat() for number in range(100)})
    emulator.advance(6)

    stopping = client.batch.jobs.cancel(job_id=job.id)
    again = client.batch.jobs.cancel(job_id=job.id)
    emulator.advance(10)
    cancelled = client.batch.jobs.get(job_id=job.id)

    assert (stopping.status, again.status, cancelled.status) == (*["CANCELLATION_REQUESTED"] * 2, "CANCELLED")
    assert (cancelled.total_requests, cancelled.completed_requests) == (100, 50)
    assert (len(lines(client, cancelled.output_file)), cancelled.error_file) == (50, None)


@pytest.mark.parametrize(
    ("call", "status", "text"),
    [
        (lambda client: client.batch.jobs.get(job_id=NOBODY), 404, NOBODY),
        (lambda client: client.batch.jobs.cancel(job_id=NOBODY), 404, NOBODY),
        (lambda client: client.files.download(file_id=NOBODY), 404, NOBODY),
        (lambda client: client.files.delete(file_id=NOBODY), 404, NOBODY),
        (
            lambda client: client.batch.jobs.create(endpoint=CHAT, model=MODEL, input_files=[NOBODY]),
            404,
            NOBODY,
        ),
        (lambda client: upload(client, b"oops"), 422, "json_invalid"),
        (lambda client: upload(client, encode_rows({"a": chat()}), name="in.txt"), 422, "Invalid file format"),
        (
            lambda client: client.batch.jobs.create(endpoint=CHAT, requests=[{"body": {}}], timeout_hours=999),
            422,
            "timeout_hours",
        ),
        (
            lambda client: client.batch.jobs.create(endpoint=CHAT, model="gpt-4o", requests=[{"body": {}}]),
            422,
            "model",
        ),
    ],
)
def test_an_error_is_the_sdks_own_exception(client, call, status, text):
    with pytest.raises(MistralError) as caught:
        call(client)

    assert caught.value.status_code == status
    assert text in caught.value.body


def test_a_bad_key_is_told_in_the_services_words(emulator):
    with Mistral(api_key="invalid", server_url=emulator.base_url("mistral")) as client:
        with pytest.raises(SDKError) as caught:
            client.batch.jobs.list()

    assert (caught.value.status_code, caught.value.body) == (401, '{"detail":"Invalid API Key"}')


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(403), SDKError),
        (faults.refuse(422), SDKError),
        (faults.rate_limited(1), SDKError),
        (faults.refuse(503), SDKError),
        (faults.drop(), (NoResponseError, httpx2.TransportError)),
    ],
)
def test_a_scripted_fault_is_the_sdks_own_exception(client, emulator, fault, error):
    emulator.add(fault)

    with pytest.raises(error):
        client.batch.jobs.list()


def test_the_sdk_repeats_a_create_whose_answer_was_lost_and_pays_twice(client, emulator):
    """The reason that this library never lets a create be repeated by itself."""
    emulator.add(faults.accept_then_error(500))
    retries = RetryConfig("backoff", BackoffStrategy(1, 1, 1, 10_000), retry_connection_errors=False)

    client.batch.jobs.create(endpoint=CHAT, model=MODEL, requests=requests({"a": chat()}), retries=retries)

    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True, True]


def test_models_can_be_asked_for(client):
    models = client.models.list().data

    assert "mistral-small-latest" in {model.id for model in models}
    assert {model.object for model in models} == {"model"}
