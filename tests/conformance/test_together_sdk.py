"""Together's own SDK goes through the whole life of a batch, uploads in its own way, and knows every answer and every error."""

import json

import pytest
import together
from openai.types.chat import ChatCompletion
from together.types import BatchJob, FileResponse

from asyncbatch.emulator import faults
from tests.conformance.rows import CHAT, chat

pytestmark = pytest.mark.conformance

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


@pytest.fixture
def sdk(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment."""
    for name, value in emulator.env("together").items():
        monkeypatch.setenv(name, value)
    with together.Together(max_retries=0) as client:
        yield client


def strict(value):
    """Validate what the SDK merely copied: it builds its models without looking."""
    return type(value).model_validate_json(value.model_dump_json(by_alias=True), strict=True)


@pytest.fixture
def upload(sdk, tmp_path):
    def send(rows):
        path = tmp_path / f"in-{len(list(tmp_path.iterdir()))}.jsonl"
        lines = [json.dumps({"custom_id": name, "body": {**body, "model": MODEL}}) for name, body in rows.items()]
        path.write_text("\n".join(lines) + "\n")
        return sdk.files.upload(path, purpose="batch-api")

    return send


def test_a_batch_goes_from_upload_to_answers(sdk, upload, emulator):
    file = upload({"a": chat("hello"), "b": chat("[[error:400]]")})
    created = sdk.batches.create(endpoint=CHAT, input_file_id=file.id)
    assert isinstance(strict(file), FileResponse)
    assert isinstance(strict(created.job), BatchJob)
    assert (created.job.status, created.warning) == ("VALIDATING", None)

    emulator.advance(600)
    done = strict(sdk.batches.retrieve(created.job.id))
    texts = [sdk.files.content(name).read().decode() for name in (done.output_file_id, done.error_file_id)]
    rows = {line["custom_id"]: line for text in texts for line in map(json.loads, text.splitlines())}

    assert (done.status, done.progress, done.error) == ("COMPLETED", 100, None)
    assert ChatCompletion.model_validate(rows["a"]["response"]["body"]).choices[0].message.content == "echo: hello"
    assert rows["b"]["error"]["code"] == "batch_client_error"


def test_lists_come_whole(sdk, upload):
    files = [upload({"a": chat(f"hello {number}")}) for number in range(25)]
    made = [sdk.batches.create(endpoint=CHAT, input_file_id=file.id).job.id for file in files]

    assert [strict(job).id for job in sdk.batches.list()] == made[::-1]
    assert {strict(file).id for file in sdk.files.list().data} == {file.id for file in files}


def test_files_of_answers_are_files_as_the_sdk_knows_them(sdk, upload, emulator):
    sdk.batches.create(endpoint=CHAT, input_file_id=upload({"a": chat("hello")}).id)
    emulator.advance(600)

    assert len([strict(file) for file in sdk.files.list().data]) == 2


def test_a_file_that_is_known_is_not_sent_again(sdk, upload):
    first, again = upload({"a": chat("hello")}), upload({"a": chat("hello")})

    assert again.id == first.id
    assert len(sdk.files.list().data) == 1


def test_a_batch_is_cancelled_and_a_second_cancel_is_a_conflict(sdk, upload, emulator):
    job = sdk.batches.create(endpoint=CHAT, input_file_id=upload({"a": chat("[[stall]]")}).id).job
    emulator.advance(60)
    asked = sdk.batches.cancel(job.id)
    emulator.advance(60)

    assert (asked.status, strict(sdk.batches.retrieve(job.id)).status) == ("CANCELING", "CANCELLED")
    with pytest.raises(together.ConflictError, match="CANCELLED"):
        sdk.batches.cancel(job.id)


def test_a_cancel_of_what_is_over_is_a_conflict(sdk, upload, emulator):
    job = sdk.batches.create(endpoint=CHAT, input_file_id=upload({"a": chat("hello")}).id).job
    emulator.advance(600)
    with pytest.raises(together.ConflictError) as caught:
        sdk.batches.cancel(job.id)

    assert isinstance(caught.value.body["error"], str)


def test_a_batch_over_a_file_that_is_not_there_fails(sdk, emulator):
    job = sdk.batches.create(endpoint=CHAT, input_file_id="file-nowhere").job
    emulator.advance(600)
    failed = strict(sdk.batches.retrieve(job.id))

    assert failed.status == "FAILED"
    assert "file-nowhere" in failed.error


def test_a_file_is_looked_at_and_deleted(sdk, upload):
    file = upload({"a": chat("hello")})

    assert strict(sdk.files.retrieve(file.id)).bytes == file.bytes
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(together.NotFoundError):
        sdk.files.retrieve(file.id)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.rate_limited(3.0, operation="create"), together.RateLimitError),
        (faults.refuse(500, operation="create"), together.InternalServerError),
    ],
)
def test_a_refusal_is_the_sdks_own_error(sdk, upload, emulator, fault, error):
    emulator.add(fault)
    with pytest.raises(error) as caught:
        sdk.batches.create(endpoint=CHAT, input_file_id=upload({"a": chat("hello")}).id)

    assert caught.value.body["error"]


def test_a_bad_key_is_refused(emulator):
    url = emulator.env("together")["TOGETHER_BASE_URL"]
    with (
        together.Together(api_key="invalid-key", base_url=url, max_retries=0) as client,
        pytest.raises(together.AuthenticationError),
    ):
        client.batches.list()
