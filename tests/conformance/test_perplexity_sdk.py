"""Perplexity's own SDK goes through the whole life of a batch, and knows every answer and every error."""

import json

import perplexity
import pytest

from asyncbatch.codec.formats import Wish
from asyncbatch.codec.formats.responses import encode_body
from asyncbatch.codec.unsupported import REFUSING
from asyncbatch.emulator import faults
from asyncbatch.enums import BatchMode
from tests.conformance.rows import SCHEMA, encode_rows

pytestmark = pytest.mark.conformance

RESPONSES, SONAR = "/v1/responses", "perplexity/sonar"


@pytest.fixture
def sdk(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment."""
    for name, value in emulator.env("perplexity").items():
        monkeypatch.setenv(name, value)
    with perplexity.Perplexity(max_retries=0) as client:
        yield client


def body(prompt="hello", **changes):
    return {"model": SONAR, "input": prompt, **changes}


def strict(value):
    """Validate what the SDK merely copied: it builds its models without looking."""
    return type(value).model_validate(value.model_dump(), strict=True)


def upload(sdk, rows):
    return sdk.files.create(file=("in.jsonl", encode_rows(RESPONSES, rows)), purpose="batch")


def create(sdk, rows, **more):
    return sdk.batches.create(input_file_id=strict(upload(sdk, rows)).id, endpoint=RESPONSES, **more)


def answer_of(line):
    from perplexity.types import ResponseCreateResponse

    return ResponseCreateResponse.model_validate(line["response"]["body"], strict=True)


def test_a_batch_goes_from_upload_to_answers(sdk, emulator):
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    look = {"type": "function", "name": "look"}
    rows = {
        "a": body(),
        "b": body("[[error:400]]"),
        "c": body(response_format=schema),
        "d": body("[[tool:look]]", tools=[look]),
    }
    batch = strict(create(sdk, rows, metadata={"tag": "t"}, completion_window="24h"))

    emulator.advance(600)
    done = strict(sdk.batches.retrieve(batch.id))
    output, errors = (sdk.files.content(name).text() for name in (done.output_file_id, done.error_file_id))
    lines = {line["custom_id"]: line for line in map(json.loads, output.splitlines())}

    assert (done.status, done.metadata, done.usage.total_tokens > 0) == ("completed", {"tag": "t"}, True)
    assert (done.request_counts.completed, done.request_counts.failed) == (3, 1)
    assert answer_of(lines["a"]).output_text == "echo: hello"
    assert json.loads(answer_of(lines["c"]).output_text).keys() == {"a"}
    assert answer_of(lines["d"]).output[0].name == "look"
    assert json.loads(errors)["response"]["status_code"] == 400


def test_a_create_under_the_same_key_is_the_same_batch(sdk):
    file = upload(sdk, {"a": body()})
    same, again, other = (
        sdk.batches.create(input_file_id=file.id, endpoint=RESPONSES, idempotency_key=key) for key in ("k", "k", "l")
    )

    assert same.id == again.id != other.id


def test_lists_have_pages(sdk):
    made = [create(sdk, {"a": body()}).id for _ in range(5)]
    first = strict(sdk.batches.list(limit=3))
    rest = strict(sdk.batches.list(limit=3, after=first.last_id))

    assert [batch.id for batch in (*first.data, *rest.data)] == made[::-1]
    assert (first.has_more, rest.has_more) == (True, False)
    assert len(strict(sdk.files.list(purpose="batch", order="asc", limit=2)).data) == 2


def test_a_batch_is_cancelled(sdk, emulator):
    batch = create(sdk, {"a": body("[[stall]]")})
    emulator.advance(60)
    cancelled = strict(sdk.batches.cancel(batch.id))
    emulator.advance(60)

    assert cancelled.status == "cancelling"
    assert sdk.batches.retrieve(batch.id).status == "cancelled"


def test_a_failed_row_costs_the_upload(sdk):
    with pytest.raises(perplexity.BadRequestError, match="Line 2"):
        upload(sdk, {"a": body(), "b": body(temperature=1)})


def test_models_are_listed_and_a_file_is_looked_at_and_deleted(sdk):
    file = upload(sdk, {"a": body()})

    assert SONAR in [model.id for model in sdk.models.list().data]
    assert strict(sdk.files.retrieve(file.id)).bytes == file.bytes
    assert strict(sdk.files.delete(file.id)).deleted
    with pytest.raises(perplexity.NotFoundError):
        sdk.files.retrieve(file.id)


def test_a_busy_service_is_known_as_such(sdk, emulator):
    emulator.add(faults.rate_limited(2, operation="list"))

    with pytest.raises(perplexity.RateLimitError):
        sdk.batches.list()


def test_what_we_make_of_chat_is_what_its_own_types_allow():
    """Each key that the format writes stands in the SDK's types, and each value is of the type that they name."""
    from perplexity.generated.api import ResponsesRequestInput

    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": "https://sea.example/a.png"}]
    chat = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "I look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
            {"role": "user", "content": "and?"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": True}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        "max_tokens": 9,
        "reasoning_effort": "xhigh",
        "store": True,
        "language_preference": "nl",
        "max_steps": 2,
    }

    made = encode_body(chat, Wish(kind="agent", mode=BatchMode.CHAT, model=SONAR, unsupported=REFUSING))

    assert made.keys() <= ResponsesRequestInput.model_fields.keys()
    assert ResponsesRequestInput.model_validate(made, strict=True).model_dump(exclude_unset=True, by_alias=True) == made
