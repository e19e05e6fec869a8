"""Groq's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import json

import groq
import pytest
from groq.types import BatchCancelResponse, BatchCreateResponse, BatchRetrieveResponse, FileCreateResponse
from groq.types.chat import ChatCompletion

from asyncbatch.emulator import faults
from tests.conformance.rows import CHAT, chat, encode_rows

pytestmark = pytest.mark.conformance


@pytest.fixture
def sdk(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment."""
    for name, value in emulator.env("groq").items():
        monkeypatch.setenv(name, value)
    with groq.Groq(max_retries=0) as client:
        yield client


def body(prompt="hello", model="llama-3.3-70b-versatile"):
    return {**chat(prompt), "model": model}


def strict(value):
    """Validate what the SDK merely copied: it builds its models without looking."""
    return type(value).model_validate(value.model_dump(), strict=True)


def create(sdk, rows, window="24h", **more):
    file = sdk.files.create(file=("in.jsonl", encode_rows(CHAT, rows)), purpose="batch")
    assert isinstance(strict(file), FileCreateResponse)
    return sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window=window, **more)


def test_a_batch_goes_from_upload_to_answers(sdk, emulator):
    batch = create(sdk, {"a": body(), "b": body("[[error:400]]")}, metadata={"tag": "t"})
    assert isinstance(strict(batch), BatchCreateResponse)

    emulator.advance(600)
    done = sdk.batches.retrieve(batch.id)
    files = [sdk.files.content(name).text() for name in (done.output_file_id, done.error_file_id)]
    answers = {line["custom_id"]: line["response"] for text in files for line in map(json.loads, text.splitlines())}

    assert isinstance(strict(done), BatchRetrieveResponse)
    assert (done.status, done.metadata) == ("completed", {"tag": "t"})
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    assert ChatCompletion.model_validate(answers["a"]["body"]).choices[0].message.content == "echo: hello"
    assert answers["b"]["status_code"] == 400


def test_the_list_comes_whole(sdk):
    made = [create(sdk, {"a": body()}).id for _ in range(30)]

    assert [strict(batch).id for batch in sdk.batches.list().data] == made[::-1]
    assert len(sdk.files.list().data) == 30


def test_a_batch_is_cancelled(sdk, emulator):
    batch = create(sdk, {"a": body("[[stall]]")}, "7d")
    emulator.advance(5 * 86_400)
    still = sdk.batches.retrieve(batch.id).status
    cancelled = sdk.batches.cancel(batch.id)
    emulator.advance(60)

    assert still == "in_progress"
    assert isinstance(strict(cancelled), BatchCancelResponse)
    assert sdk.batches.retrieve(batch.id).status == "cancelled"


def test_a_file_is_looked_at_and_deleted(sdk):
    file = sdk.files.create(file=("in.jsonl", encode_rows(CHAT, {"a": body()})), purpose="batch")

    assert strict(sdk.files.info(file.id)).bytes == file.bytes
    assert strict(sdk.files.delete(file.id)).deleted
    with pytest.raises(groq.NotFoundError):
        sdk.files.info(file.id)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(403, code="not_available_for_plan", operation="upload"), groq.PermissionDeniedError),
        (faults.rate_limited(3.0, operation="upload"), groq.RateLimitError),
        (faults.refuse(500, operation="upload"), groq.InternalServerError),
    ],
)
def test_a_refusal_is_the_sdks_own_error(sdk, emulator, fault, error):
    emulator.add(fault)
    with pytest.raises(error) as caught:
        create(sdk, {"a": body()})

    assert caught.value.body["error"]["message"]


def test_a_bad_key_is_refused(emulator):
    url = emulator.env("groq")["GROQ_BASE_URL"]
    with (
        groq.Groq(api_key="invalid-key", base_url=url, max_retries=0) as client,
        pytest.raises(groq.AuthenticationError),
    ):
        client.batches.list()
