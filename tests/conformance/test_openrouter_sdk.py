"""OpenRouter's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import openrouter
import pytest

from asyncbatch.emulator import faults

pytestmark = pytest.mark.conformance

CHAT, MODEL = "/v1/chat/completions", "openai/gpt-4.1-mini:batch"


@pytest.fixture
def sdk(emulator):
    """The SDK without its own patience: it repeats what fails for an hour."""
    environment = emulator.env("openrouter")
    with openrouter.OpenRouter(
        api_key=environment["OPENROUTER_API_KEY"], server_url=environment["OPENROUTER_BASE_URL"], retry_config=None
    ) as client:
        yield client


def request(custom_id="a", prompt="hello", **changes):
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": prompt}], **changes}}


def create(sdk, *requests, endpoint=CHAT, model=MODEL):
    return sdk.batch.create_batches(endpoint=endpoint, model=model, requests=list(requests) or [request()])


def strict(value):
    """Validate what came once more: its statuses are open words, all else is not."""
    return type(value).model_validate(value.model_dump(by_alias=True))


def test_a_batch_goes_from_its_create_to_its_answers(sdk, emulator):
    batch = strict(create(sdk, request("a"), request("b", "[[error:429]]")))
    emulator.advance(600)
    done = strict(sdk.batch.get_batches(id=batch.id))
    results = {result.custom_id: result for result in done.results}

    assert (batch.status, batch.results, done.status) == ("validating", None, "completed")
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    assert results["a"].response.body.choices[0].message.content == "echo: hello"
    assert (results["b"].response, results["b"].error.error_type) == (None, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("endpoint", "body", "look"),
    [
        ("/v1/responses", {"input": "hello"}, lambda body: body.output[0].content[0].text),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
            lambda body: body.content[0].text,
        ),
        ("/v1/embeddings", {"input": "hello"}, lambda body: len(body.data[0].embedding)),
    ],
)
def test_every_endpoint_answers_in_its_own_shape(sdk, emulator, endpoint, body, look):
    batch = create(sdk, {"custom_id": "a", "body": body}, endpoint=endpoint)
    emulator.advance(600)
    (result,) = sdk.batch.get_batches(id=batch.id).results

    assert look(result.response.body) in ("echo: hello", 1024)


def test_lists_have_pages_without_results(sdk, emulator):
    made = [create(sdk).id for _ in range(5)]
    emulator.advance(600)
    first = sdk.batch.list(limit=3)
    rest = first.next()

    assert [item.id for item in (*first.result.data, *rest.result.data)] == made[::-1]
    assert {item.results for item in strict(first.result).data} == {None}
    assert [item.id for item in sdk.batch.list(status=["completed"]).result.data] == made[::-1]
    assert sdk.batch.list(status=["failed", "expired"]).result.data == []


def test_what_is_over_is_deleted(sdk, emulator):
    batch = create(sdk)
    with pytest.raises(openrouter.errors.BatchErrorResponse) as caught:
        sdk.batch.delete(id=batch.id)
    emulator.advance(600)
    deleted = strict(sdk.batch.delete(id=batch.id))

    assert caught.value.data.error.code == 409
    assert (deleted.id, deleted.deletion.openrouter) == (batch.id, "deleted")


def test_errors_are_known_as_such(sdk, emulator):
    with pytest.raises(openrouter.errors.BatchErrorResponse) as refused:
        create(sdk, model="openai/gpt-4.1-mini")
    with pytest.raises(openrouter.errors.BatchErrorResponse) as gone:
        sdk.batch.get_batches(id="batch-1-nobody")
    emulator.add(faults.rate_limited(2, operation="list"))
    with pytest.raises(openrouter.errors.BatchErrorResponse) as busy:
        sdk.batch.list()

    assert [error.value.data.error.code for error in (refused, gone, busy)] == [400, 404, 429]


def test_a_failed_batch_says_why(sdk, emulator):
    batch = create(sdk, request("a"), request("a"))
    emulator.advance(600)
    failed = strict(sdk.batch.get_batches(id=batch.id))

    assert (failed.status, failed.results) == ("failed", [])
    assert "duplicate" in failed.error.message
