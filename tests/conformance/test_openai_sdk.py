"""OpenAI's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import json

import openai
import pytest
from openai.types import Batch, CreateEmbeddingResponse, FileObject, ModerationCreateResponse
from openai.types.chat import ChatCompletion
from openai.types.completion import Completion
from openai.types.responses import Response

from asyncbatch.emulator import faults
from tests.conformance.rows import BODIES, CHAT, chat, encode_rows

pytestmark = pytest.mark.conformance

TYPES = {
    CHAT: ChatCompletion,
    "/v1/completions": Completion,
    "/v1/embeddings": CreateEmbeddingResponse,
    "/v1/responses": Response,
    "/v1/moderations": ModerationCreateResponse,
}


def strict(value):
    """Validate what the SDK merely copied: it builds its models without looking."""
    return type(value).model_validate(value.model_dump(), strict=True)


def upload(client, content, name="in.jsonl", **more):
    return client.files.create(file=(name, content), purpose="batch", **more)


def create(client, content, endpoint=CHAT, **more):
    file = upload(client, content)
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


@pytest.mark.parametrize("endpoint", BODIES)
def test_a_batch_goes_from_upload_to_answers(client, emulator, endpoint):
    batch = create(client, encode_rows(endpoint, BODIES[endpoint]), endpoint, metadata={"tag": "t"})
    assert strict(batch).status == "validating"

    emulator.advance(600)
    done = client.batches.retrieve(batch.id)
    lines = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]

    assert strict(done).status == "completed"
    assert done.metadata == {"tag": "t"}
    assert done.request_counts.completed == len(lines) == len(BODIES[endpoint])
    assert {line["custom_id"] for line in lines} == set(BODIES[endpoint])
    for line in lines:
        TYPES[endpoint].model_validate_json(json.dumps(line["response"]["body"]), strict=True)


async def test_the_asynchronous_sdk_does_it_too(emulator):
    async with openai.AsyncOpenAI(base_url=emulator.base_url("openai"), api_key="k", max_retries=0) as client:
        file = await client.files.create(file=("in.jsonl", encode_rows(CHAT, BODIES[CHAT])), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        emulator.advance(600)
        done = await client.batches.retrieve(batch.id)
        content = await client.files.content(done.output_file_id)

    assert len(content.text.splitlines()) == len(BODIES[CHAT])


def test_a_file_can_be_looked_at_listed_read_and_deleted(client):
    expiry = {"anchor": "created_at", "seconds": 3600}
    file = upload(client, b"some bytes", expires_after=expiry)

    assert strict(file).bytes == 10
    assert file.expires_at == file.created_at + 3600
    assert strict(client.files.retrieve(file.id)) == file
    assert [strict(item) for item in client.files.list(purpose="batch")] == [file]
    assert client.files.content(file.id).read() == b"some bytes"
    assert strict(client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_lists_are_walked_to_their_ends(client):
    batches = [create(client, encode_rows(CHAT, {"a": chat()})).id for _ in range(5)]

    walked = list(client.batches.list(limit=2))
    files = list(client.files.list(limit=2, order="asc"))

    assert [strict(batch).id for batch in walked] == batches[::-1]
    assert [file.id for file in files] == [batch.input_file_id for batch in reversed(walked)]
    assert all(isinstance(batch, Batch) for batch in walked)
    assert all(isinstance(file, FileObject) for file in files)


def test_a_batch_can_be_cancelled_with_partial_results(client, emulator):
    batch = create(client, encode_rows(CHAT, {str(number): chat() for number in range(100)}))
    emulator.advance(6)

    cancelling = client.batches.cancel(batch.id)
    emulator.advance(10)
    cancelled = client.batches.retrieve(batch.id)

    assert (strict(cancelling).status, strict(cancelled).status) == ("cancelling", "cancelled")
    assert (cancelled.request_counts.completed, cancelled.request_counts.failed) == (50, 50)
    errors = client.files.content(cancelled.error_file_id).text.splitlines()
    assert {json.loads(line)["error"]["code"] for line in errors} == {"batch_cancelled"}


def test_a_bad_input_fails_with_its_line(client, emulator):
    batch = create(client, encode_rows(CHAT, {"a": chat()}) + b"oops\n")
    emulator.advance(5)

    failed = client.batches.retrieve(batch.id)

    assert strict(failed).status == "failed"
    (error,) = failed.errors.data
    assert (error.code, error.line) == ("invalid_json_line", 2)


def test_a_batch_can_ask_how_long_its_results_are_kept(client, emulator):
    expiry = {"anchor": "created_at", "seconds": 7200}
    batch = create(client, encode_rows(CHAT, {"a": chat()}), output_expires_after=expiry)
    emulator.advance(600)

    output = client.files.retrieve(client.batches.retrieve(batch.id).output_file_id)

    assert strict(output).expires_at == output.created_at + 7200
    assert output.purpose == "batch_output"


def test_a_download_can_be_streamed(client, tmp_path):
    file = upload(client, b"x" * 1_000_000)

    with client.files.with_streaming_response.content(file.id) as response:
        response.stream_to_file(tmp_path / "out")

    assert (tmp_path / "out").stat().st_size == 1_000_000


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        (lambda client: client.batches.retrieve("batch_x"), openai.NotFoundError, None),
        (lambda client: client.files.content("file-x"), openai.NotFoundError, None),
        (lambda client: client.files.delete("file-x"), openai.NotFoundError, None),
        (lambda client: upload(client, b"x", name="in.txt"), openai.BadRequestError, None),
        (
            lambda client: client.batches.create(input_file_id="f", endpoint="/v1/x", completion_window="24h"),
            openai.BadRequestError,
            "invalid_value",
        ),
        (
            lambda client: client.with_options(api_key="invalid").batches.list(),
            openai.AuthenticationError,
            "invalid_api_key",
        ),
    ],
)
def test_an_error_is_the_sdks_own_exception(client, call, error, code):
    with pytest.raises(error) as caught:
        call(client)

    assert caught.value.code == code
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id.startswith("req_")


def test_what_is_over_cannot_be_cancelled(client, emulator):
    batch = create(client, encode_rows(CHAT, {"a": chat()}))
    emulator.advance(600)

    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(403), openai.PermissionDeniedError),
        (faults.refuse(422), openai.UnprocessableEntityError),
        (faults.rate_limited(1), openai.RateLimitError),
        (faults.refuse(503), openai.InternalServerError),
        (faults.drop(), openai.APIConnectionError),
    ],
)
def test_a_scripted_fault_is_the_sdks_own_exception(client, emulator, fault, error):
    emulator.add(fault)

    with pytest.raises(error):
        client.batches.list()


def test_the_sdk_repeats_a_create_whose_answer_was_lost_and_pays_twice(client, emulator):
    """The reason that this library never lets a create be repeated by itself."""
    file = upload(client, encode_rows(CHAT, {"a": chat()}))
    emulator.add(faults.accept_then_error(500))

    client.with_options(max_retries=1).batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")

    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True, True]


def test_models_can_be_asked_for(client):
    models = list(client.models.list())

    assert "gpt-4.1-mini" in {strict(model).id for model in models}
