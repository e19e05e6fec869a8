"""Google's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import io
import json
import time

import pytest
from google import genai
from google.genai import errors, types

from asyncbatch.emulator import faults
from tests.conformance.gemini_rows import BODIES, EMBEDDER, EMBEDDINGS, MODEL, PIXEL, chat, encode_rows

pytestmark = pytest.mark.conformance


@pytest.fixture
def client(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment."""
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    for name, value in emulator.env("gemini").items():
        monkeypatch.setenv(name, value)
    client = genai.Client()
    yield client
    client.close()


def upload(client, emulator, content, **config):
    file = client.files.upload(file=io.BytesIO(content), config={"mime_type": "application/jsonl", **config})
    emulator.advance(1)
    return client.files.get(name=file.name)


def create(client, emulator, content, model=MODEL, name="tag"):
    file = upload(client, emulator, content)
    return client.batches.create(model=model, src=file.name, config={"display_name": name})


def finish(client, emulator, batch):
    emulator.advance(600)
    return client.batches.get(name=batch.name)


def lines(client, batch):
    return [json.loads(line) for line in client.files.download(file=batch.dest.file_name).splitlines()]


def answer(line):
    return types.GenerateContentResponse._from_response(response=line["response"], kwargs={})


def embed(client, src, name="tag"):
    with pytest.warns(Warning, match="experimental"):
        return client.batches.create_embeddings(model=EMBEDDER, src=src, config={"display_name": name})


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_a_batch_goes_from_upload_to_answers(emulator, version):
    options = {"base_url": emulator.base_url("gemini"), "api_version": version}
    client = genai.Client(api_key="k", http_options=options)
    batch = create(client, emulator, encode_rows(BODIES))
    done = finish(client, emulator, batch)

    answers = {line["key"]: answer(line) for line in lines(client, done)}

    assert (batch.state, done.state) == (types.JobState.JOB_STATE_PENDING, types.JobState.JOB_STATE_SUCCEEDED)
    assert (done.display_name, done.model) == ("tag", f"models/{MODEL}")
    assert done.end_time > done.create_time
    assert list(answers) == list(BODIES)
    assert answers["plain"].text == "echo: hello"
    assert answers["cut"].candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert len(answers["many"].candidates) == 2
    assert [call.args for call in answers["tool"].function_calls] == [{"a": 0}]
    assert answers["tool"].function_calls[0].id
    assert json.loads(answers["schema"].text) == json.loads(answers["googleschema"].text) == {"a": 0}
    assert answers["refusal"].candidates is None
    assert answers["refusal"].prompt_feedback.block_reason is types.BlockedReason.SAFETY
    assert [part.thought for part in answers["thoughts"].candidates[0].content.parts] == [True, None]
    usage = answers["thoughts"].usage_metadata
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (9, 7)
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + 9
    client.close()


def test_inlined_requests_are_answered_in_the_poll(client, emulator):
    config = types.GenerateContentConfig(
        temperature=0.5,
        max_output_tokens=100,
        system_instruction="be short",
        response_mime_type="application/json",
        response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        thinking_config={"thinking_budget": 0},
    )
    image = types.Part(inline_data=types.Blob(mime_type="image/png", data=PIXEL))
    tool = types.Tool(function_declarations=[{"name": "f", "parameters_json_schema": {"type": "object"}}])
    wanted = types.ToolConfig(function_calling_config={"mode": "ANY", "allowed_function_names": ["f"]})
    requests = [
        types.InlinedRequest(model=MODEL, contents="hello", metadata={"key": "a", "more": "b"}, config=config),
        {"contents": [types.Content(role="user", parts=[types.Part(text="look"), image])], "metadata": {"key": "b"}},
        {"contents": "hello", "config": {"tools": [tool], "tool_config": wanted}},
        {"contents": "[[error:429]]", "metadata": {"key": "d"}},
    ]
    batch = client.batches.create(model=MODEL, src=requests, config={"display_name": "tag"})
    done = finish(client, emulator, batch)

    first, second, third, failed = done.dest.inlined_responses

    assert done.dest.file_name is None
    assert first.metadata == {"key": "a", "more": "b"}
    assert "a" in json.loads(first.response.text)
    assert second.response.text == "echo: look"
    assert (third.metadata, third.response.function_calls[0].name) == (None, "f")
    assert (failed.metadata, failed.response, failed.error.code) == ({"key": "d"}, None, 8)


def test_embeddings_come_from_a_file(client, emulator):
    file = upload(client, emulator, encode_rows(EMBEDDINGS))
    done = finish(client, emulator, embed(client, types.EmbeddingsBatchJobSource(file_name=file.name)))

    found = {line["key"]: types.SingleEmbedContentResponse(**line["response"]) for line in lines(client, done)}

    assert len(found["small"].embedding.values) == 8
    assert len(found["plain"].embedding.values) == 3072
    assert found["plain"].token_count == 2


def test_embeddings_come_from_the_create(client, emulator):
    wanted = {"contents": ["a", "b"], "config": {"task_type": "CLUSTERING", "output_dimensionality": 4}}
    batch = embed(client, types.EmbeddingsBatchJobSource(inlined_requests=wanted))
    done = finish(client, emulator, batch)

    assert [len(row.response.embedding.values) for row in done.dest.inlined_embed_content_responses] == [4, 4]


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # the SDK's own
async def test_the_asynchronous_sdk_does_it_too(emulator):
    options = {"base_url": emulator.base_url("gemini")}
    async with genai.Client(api_key="k", http_options=options).aio as client:
        content = io.BytesIO(encode_rows(BODIES))
        file = await client.files.upload(file=content, config={"mime_type": "application/jsonl"})
        emulator.advance(1)
        assert (await client.files.get(name=file.name)).state is types.FileState.ACTIVE
        config = {"display_name": "tag"}
        batch = await client.batches.create(model=MODEL, src=file.name, config=config)
        doomed = await client.batches.create(model=MODEL, src=[{"contents": "x"}], config=config)
        await client.batches.cancel(name=doomed.name)
        emulator.advance(600)
        done = await client.batches.get(name=batch.name)
        content = await client.files.download(file=done.dest.file_name)
        states = [item.state async for item in await client.batches.list(config={"page_size": 1})]
        await client.batches.delete(name=batch.name)
        await client.files.delete(name=file.name)

    assert len(content.splitlines()) == len(BODIES)
    assert states == [types.JobState.JOB_STATE_CANCELLED, types.JobState.JOB_STATE_SUCCEEDED]


def test_a_file_arrives_in_chunks_and_is_looked_at_listed_and_deleted(client, emulator, tmp_path):
    path = tmp_path / "in.json"
    path.write_bytes(b"x" * (20 * 1024 * 1024))
    sent = client.files.upload(file=path, config={"display_name": "in", "name": "my-file"})
    emulator.advance(1)
    file = client.files.get(name="my-file")

    assert (sent.state, file.state) == (types.FileState.PROCESSING, types.FileState.ACTIVE)
    assert (file.name, file.display_name, file.size_bytes) == ("files/my-file", "in", 20 * 1024 * 1024)
    assert (file.mime_type, file.source) == ("application/json", types.FileSource.UPLOADED)
    assert (file.expiration_time - file.create_time).total_seconds() == 48 * 3600
    assert [record.status for record in emulator.history if record.operation == "upload" and record.status] == [200] * 4
    assert [item.name for item in client.files.list()] == ["files/my-file"]
    client.files.delete(name=file.name)
    assert list(client.files.list()) == []


def test_lists_are_walked_to_their_ends(client, emulator):
    file = upload(client, emulator, encode_rows({"a": chat()}))
    config = {"display_name": "tag"}
    batches = [client.batches.create(model=MODEL, src=file.name, config=config).name for _ in range(5)]
    files = [upload(client, emulator, b"x").name for _ in range(3)]

    assert [batch.name for batch in client.batches.list(config={"page_size": 2})] == batches[::-1]
    assert [item.name for item in client.files.list(config={"page_size": 3})] == [*files[::-1], file.name]


def test_a_batch_is_cancelled_and_has_no_results(client, emulator):
    batch = create(client, emulator, encode_rows({str(number): chat() for number in range(100)}))
    emulator.advance(6)
    client.batches.cancel(name=batch.name)
    emulator.advance(10)

    cancelled = client.batches.get(name=batch.name)

    assert (cancelled.state, cancelled.dest) == (types.JobState.JOB_STATE_CANCELLED, None)


def test_a_deleted_batch_is_gone_with_its_results(client, emulator):
    done = finish(client, emulator, create(client, emulator, encode_rows({"a": chat()})))
    client.batches.delete(name=done.name)

    for call in (
        lambda: client.batches.get(name=done.name),
        lambda: client.batches.delete(name=done.name),
        lambda: client.files.download(file=done.dest.file_name),
    ):
        with pytest.raises(errors.ClientError) as caught:
            call()
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("call", "code", "status"),
    [
        (lambda client: client.batches.get(name="batches/x"), 404, "NOT_FOUND"),
        (lambda client: client.batches.cancel(name="batches/x"), 404, "NOT_FOUND"),
        (lambda client: client.files.delete(name="files/x"), 403, "PERMISSION_DENIED"),
        (lambda client: client.files.get(name="files/batch-" + "a" * 36), 400, "INVALID_ARGUMENT"),
        (lambda client: client.files.delete(name="files/batch-" + "a" * 36), 400, "INVALID_ARGUMENT"),
        (
            lambda client: client.batches.create(model="gpt-4", src=[{"contents": "x"}], config={"display_name": "t"}),
            404,
            "NOT_FOUND",
        ),
        (
            lambda client: client.batches.create(model=MODEL, src="files/x", config={"display_name": "t"}),
            404,
            "NOT_FOUND",
        ),
        (lambda client: client.batches.create(model=MODEL, src=[{"contents": "x"}]), 400, "INVALID_ARGUMENT"),
    ],
)
def test_an_error_is_the_sdks_own_exception(client, call, code, status):
    with pytest.raises(errors.ClientError) as caught:
        call(client)

    assert (caught.value.code, caught.value.status) == (code, status)


def test_a_bad_key_is_a_bad_argument(emulator):
    client = genai.Client(api_key="invalid", http_options={"base_url": emulator.base_url("gemini")})
    with pytest.raises(errors.ClientError) as caught:
        client.batches.list()

    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    client.close()


def test_a_bad_line_is_refused_at_the_create(client, emulator):
    with pytest.raises(errors.ClientError, match="request 2") as caught:
        create(client, emulator, encode_rows({"a": chat()}) + b"oops\n")

    assert caught.value.code == 400
    assert list(client.batches.list()) == []


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        (faults.refuse(403), errors.ClientError, "PERMISSION_DENIED"),
        (faults.rate_limited(31), errors.ClientError, "RESOURCE_EXHAUSTED"),
        (faults.refuse(503), errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_a_scripted_fault_is_the_sdks_own_exception(client, emulator, fault, error, status):
    emulator.add(fault)

    with pytest.raises(error) as caught:
        client.batches.list()

    assert caught.value.status == status


def test_an_upload_whose_answer_is_lost_on_the_way_is_sent_again(client, emulator, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the SDK's pauses
    emulator.add(faults.refuse(503, operation="upload", first=2))

    assert upload(client, emulator, b"x").size_bytes == 1


def test_models_can_be_asked_for_page_by_page(client):
    models = list(client.models.list(config={"page_size": 2}))

    assert "models/gemini-2.5-flash" in {model.name for model in models}
    assert len(models) > 2
