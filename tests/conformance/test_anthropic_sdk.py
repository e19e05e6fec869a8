"""Anthropic's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import json

import anthropic
import pytest
from anthropic.types import Message, ModelInfo
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from asyncbatch.emulator import faults
from tests.conformance.anthropic_rows import MODEL, PARAMS, STOP_REASONS, TOOL, message, requests_of

pytestmark = pytest.mark.conformance


@pytest.fixture
def client(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment. It validates nothing by itself; the tests do."""
    for name, value in emulator.env("anthropic").items():
        monkeypatch.setenv(name, value)
    with anthropic.Anthropic(max_retries=0) as client:
        yield client


def strict(value):
    """Validate what the SDK merely copied: it builds its models without looking."""
    return type(value).model_validate(value.model_dump(), strict=True)


def create(client, **params):
    return client.messages.batches.create(requests=requests_of(params or {"a": message()}))


def finish(client, emulator, batch):
    """Take a batch to its end: it, and its results by name."""
    emulator.advance(600)
    done = client.messages.batches.retrieve(batch.id)
    return done, {line.custom_id: strict(line).result for line in client.messages.batches.results(batch.id)}


def test_a_batch_goes_from_its_requests_to_answers(client, emulator):
    batch = create(client, **PARAMS)
    done, results = finish(client, emulator, batch)

    assert (strict(batch).processing_status, strict(done).processing_status) == ("in_progress", "ended")
    assert batch.request_counts.processing == done.request_counts.succeeded == len(PARAMS)
    assert {name: result.type for name, result in results.items()} == dict.fromkeys(PARAMS, "succeeded")
    messages = {name: result.message for name, result in results.items()}
    assert all(isinstance(item, Message) for item in messages.values())
    assert {name: item.stop_reason for name, item in messages.items()} == {
        name: STOP_REASONS.get(name, "end_turn") for name in PARAMS
    }
    assert messages["picture"].content[0].text == "echo: hello"
    assert messages["tool"].content[0].input == {"a": 0}
    assert json.loads(messages["schema"].content[0].text) == {"a": 0}
    assert [block.type for block in messages["thoughtful"].content] == ["thinking", "text"]
    assert messages["thoughtful"].usage.output_tokens_details.thinking_tokens == 9
    assert messages["cached"].usage.cache_read_input_tokens == 9
    assert {item.usage.service_tier for item in messages.values()} == {"batch"}


async def test_the_asynchronous_sdk_does_it_too(emulator):
    async with anthropic.AsyncAnthropic(base_url=emulator.base_url("anthropic"), api_key="k", max_retries=0) as client:
        batches = client.messages.batches
        batch = await batches.create(requests=requests_of(PARAMS))
        others = [await batches.create(requests=requests_of({"a": message()})) for _ in range(3)]
        cancelled = await batches.cancel(others[0].id)
        emulator.advance(600)
        done = await batches.retrieve(batch.id)
        lines = [line async for line in await batches.results(batch.id)]
        deleted = await batches.delete(others[1].id)
        walked = [item.id async for item in batches.list(limit=1)]
        with pytest.raises(anthropic.NotFoundError):
            await batches.retrieve(others[1].id)

    assert (strict(done).processing_status, strict(cancelled).processing_status) == ("ended", "canceling")
    assert {strict(line).custom_id for line in lines} == set(PARAMS)
    assert strict(deleted).type == "message_batch_deleted"
    assert walked == [others[2].id, others[0].id, batch.id]


def test_lists_are_walked_to_their_ends(client):
    batches = [create(client).id for _ in range(5)]

    walked = list(client.messages.batches.list(limit=2))
    newer = list(client.messages.batches.list(limit=2, before_id=batches[0]))

    assert [strict(batch).id for batch in walked] == batches[::-1]
    assert sorted(batch.id for batch in newer) == sorted(batches[1:])
    assert all(isinstance(batch, MessageBatch) for batch in walked)


def test_a_batch_can_be_cancelled_with_partial_results(client, emulator):
    batch = create(client, **{str(number): message() for number in range(100)})
    emulator.advance(1)

    canceling = client.messages.batches.cancel(batch.id)
    done, results = finish(client, emulator, batch)

    assert (strict(canceling).processing_status, strict(done).processing_status) == ("canceling", "ended")
    assert (done.request_counts.succeeded, done.request_counts.canceled) == (50, 50)
    assert sorted({result.type for result in results.values()}) == ["canceled", "succeeded"]
    assert client.messages.batches.cancel(batch.id) == done


def test_every_way_that_a_row_can_end_has_its_type(client, emulator):
    rows = {
        "good": message(),
        "bad": message(max_tokens=0),
        "late": message("[[expire]]"),
        "busy": message("[[error:529]]"),
    }
    done, results = finish(client, emulator, create(client, **rows))

    assert (done.request_counts.succeeded, done.request_counts.errored, done.request_counts.expired) == (1, 2, 1)
    assert {name: result.type for name, result in results.items()} == {
        "good": "succeeded",
        "bad": "errored",
        "late": "expired",
        "busy": "errored",
    }
    assert results["bad"].error.error.type == "invalid_request_error"
    assert results["busy"].error.error.type == "overloaded_error"


def test_the_sdks_own_version_refuses_sampling_and_another_takes_it(client, emulator):
    rows = {"a": message(temperature=0.5)}
    batches = client.messages.batches
    new = create(client, **rows)
    old = batches.create(requests=requests_of(rows), extra_headers={"anthropic-version": "2023-06-01"})
    emulator.advance(600)

    ends = [next(iter(batches.results(batch.id))).result.type for batch in (new, old)]
    assert ends == ["errored", "succeeded"]


def test_an_answer_can_go_into_the_next_question(client, emulator):
    ask = message(tools=[TOOL], tool_choice={"type": "any"})
    _, results = finish(client, emulator, create(client, a=ask))
    answer = results["a"].message
    result = {"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "sun"}
    turns = [*ask["messages"], answer.to_param(), {"role": "user", "content": [result]}]

    _, results = finish(client, emulator, create(client, a=message(messages=turns, tools=[TOOL])))

    assert results["a"].message.content[0].text == "echo: hello"


def test_a_parsed_schema_is_one_that_the_service_takes(client, emulator):
    from anthropic import transform_schema

    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    wanted = [schema, transform_schema(schema)]
    rows = {
        str(number): message(output_config={"format": {"type": "json_schema", "schema": item}})
        for number, item in enumerate(wanted)
    }

    _, results = finish(client, emulator, create(client, **rows))

    assert [results[name].type for name in rows] == ["errored", "succeeded"]


def test_what_is_over_can_be_deleted_and_is_gone(client, emulator):
    batch = create(client)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(batch.id)
    finish(client, emulator, batch)

    assert strict(client.messages.batches.delete(batch.id)).id == batch.id
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)


def test_results_are_not_there_before_the_end(client):
    batch = create(client)

    with pytest.raises(anthropic.AnthropicError, match="in_progress"):
        client.messages.batches.results(batch.id)
    with pytest.raises(anthropic.NotFoundError):
        client.get(f"/v1/messages/batches/{batch.id}/results", cast_to=MessageBatchIndividualResponse)


def test_models_can_be_asked_for(client):
    models = list(client.models.list(limit=5))

    assert all(isinstance(strict(model), ModelInfo) for model in models)
    assert len(models) > 5
    assert strict(client.models.retrieve(MODEL)).capabilities.batch.supported


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [
        (lambda batches: batches.retrieve("msgbatch_x"), anthropic.NotFoundError, "not_found_error"),
        (lambda batches: batches.cancel("msgbatch_x"), anthropic.NotFoundError, "not_found_error"),
        (lambda batches: batches.delete("msgbatch_x"), anthropic.NotFoundError, "not_found_error"),
        (lambda batches: batches.create(requests=[]), anthropic.BadRequestError, "invalid_request_error"),
        (
            lambda batches: batches.create(requests=requests_of({"a:b": message()})),
            anthropic.BadRequestError,
            "invalid_request_error",
        ),
        (lambda batches: batches.list(limit=0), anthropic.BadRequestError, "invalid_request_error"),
        (
            lambda batches: batches.list(extra_headers={"anthropic-version": "2020-01-01"}),
            anthropic.BadRequestError,
            "invalid_request_error",
        ),
        (
            lambda batches: batches._client.with_options(api_key="invalid").messages.batches.list(),
            anthropic.AuthenticationError,
            "authentication_error",
        ),
    ],
)
def test_an_error_is_the_sdks_own_exception(client, call, error, kind):
    with pytest.raises(error) as caught:
        call(client.messages.batches)

    assert caught.value.type == kind
    assert caught.value.api_message
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(402), anthropic.PaymentRequiredError),
        (faults.refuse(403), anthropic.PermissionDeniedError),
        (faults.refuse(409), anthropic.ConflictError),
        (faults.refuse(413), anthropic.ContentTooLargeError),
        (faults.rate_limited(1), anthropic.RateLimitError),
        (faults.refuse(500), anthropic.InternalServerError),
        (faults.refuse(504), anthropic.GatewayTimeoutError),
        (faults.refuse(529), anthropic.OverloadedError),
        (faults.drop(), anthropic.APIConnectionError),
    ],
)
def test_a_scripted_fault_is_the_sdks_own_exception(client, emulator, fault, error):
    emulator.add(fault)

    with pytest.raises(error):
        client.messages.batches.list()


def test_a_cause_is_told_in_the_sdks_own_words(client, emulator):
    emulator.add(faults.refuse(429, code="enforced_spend_limit_reached"))

    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.batches.list()

    assert caught.value.error_code == "enforced_spend_limit_reached"


def test_the_sdk_repeats_a_create_whose_answer_was_lost_and_pays_twice(client, emulator):
    """The reason that this library never lets a create be repeated by itself."""
    emulator.add(faults.accept_then_error(500))

    client.with_options(max_retries=1).messages.batches.create(requests=requests_of({"a": message()}))

    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True, True]
