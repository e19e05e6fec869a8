"""What users hold: rows that decode themselves, submissions that are copied with changes."""

import dataclasses
import gc
from typing import TypedDict
from uuid import uuid4

import msgspec
import pydantic
import pytest

from asyncbatch.dto import PreparedSubmission, Progress, ProviderResultRow, ProviderStatus, RowError, ToolCall
from asyncbatch.enums import BatchMode, BatchStatus, ResultStatus


def answered(content: str, status: ResultStatus = ResultStatus.SUCCEEDED) -> ProviderResultRow:
    body = msgspec.json.encode({"choices": [{"message": {"content": content}}]})
    return ProviderResultRow(request_id="row-1", status=status, body=msgspec.Raw(body), format="openai.chat")


class Struct(msgspec.Struct):
    city: str


@dataclasses.dataclass
class Data:
    city: str


class Typed(TypedDict):
    city: str


class Model(pydantic.BaseModel):
    city: str


def test_a_row_gives_the_answer_decoded():
    row = answered("hi")

    assert row.response == {"choices": [{"message": {"content": "hi"}}]}
    assert row.text == "hi"
    assert row.tool_calls == ()
    assert row.embedding is None
    assert row.embeddings == []


@pytest.mark.parametrize("status", [status for status in ResultStatus if status is not ResultStatus.SUCCEEDED])
def test_a_row_that_did_not_succeed_has_no_text_even_where_its_body_has(status):
    row = answered("an error, in the shape of an answer", status)

    assert row.text is None
    assert row.tool_calls == ()
    assert row.embedding is None
    assert row.embeddings == []
    assert row.response is not None  # what came is still there


def test_tool_calls_and_embeddings_are_read_by_the_rows_format():
    calls = b'{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}'
    vectors = b'{"data":[{"index":0,"embedding":[1.0]},{"index":1,"embedding":[2.0]}]}'
    row = {"request_id": "r", "status": ResultStatus.SUCCEEDED}

    called = ProviderResultRow(**row, body=msgspec.Raw(calls), format="openai.chat")
    embedded = ProviderResultRow(**row, body=msgspec.Raw(vectors), format="openai.embedding")

    assert called.tool_calls == (ToolCall(id="c", name="f", arguments="{}"),)
    assert embedded.embedding == [1.0]
    assert embedded.embeddings == [[1.0], [2.0]]


def test_absent_and_null_bodies_differ():
    absent = ProviderResultRow(request_id="r", status=ResultStatus.MISSING)
    null = ProviderResultRow(request_id="r", status=ResultStatus.SUCCEEDED, body=msgspec.Raw(b"null"))

    assert absent.response is None
    assert not absent.body
    assert null.response is None
    assert null.body == msgspec.Raw(b"null")


def test_a_broken_body_is_an_error_only_when_it_is_decoded():
    row = ProviderResultRow(
        request_id="r", status=ResultStatus.UNDECODABLE, body=msgspec.Raw(b'{"cut'), error=RowError(code="undecodable")
    )

    assert row.text is None
    with pytest.raises(msgspec.DecodeError):
        _ = row.response


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (None, {"city": "Oslo"}),
        (dict[str, str], {"city": "Oslo"}),
        (Struct, Struct("Oslo")),
        (Data, Data("Oslo")),
        (Typed, {"city": "Oslo"}),
        (Model, Model(city="Oslo")),
    ],
)
def test_the_text_is_decoded_into_what_the_caller_asks_for(model, value):
    assert answered('{"city":"Oslo"}').decode(model) == value


@pytest.mark.parametrize("model", [Struct, Data, Typed, Model])
@pytest.mark.parametrize("text", ["plain words", '{"town":"Oslo"}', "{", ""])
def test_a_text_that_does_not_fit_is_a_value_error(model, text):
    with pytest.raises(ValueError, match=r"."):
        answered(text).decode(model)


def test_a_row_without_text_says_why_it_cannot_be_decoded():
    with pytest.raises(ValueError, match="request 'row-1' has no text to decode: it ended expired"):
        answered("", ResultStatus.EXPIRED).decode()


def test_a_submission_is_copied_with_changes_and_stays_as_it_was():
    submission = PreparedSubmission(
        batch_id=uuid4(), provider_name="openai", model="m", mode=BatchMode.CHAT, endpoint="/v1/chat/completions"
    )

    tagged = submission.replace(tag="ab1", input_ref="file-1")

    assert (tagged.tag, tagged.input_ref, tagged.batch_id) == ("ab1", "file-1", submission.batch_id)
    assert (submission.tag, submission.input_ref) == (None, None)
    with pytest.raises(AttributeError):
        submission.tag = "changed"


def test_progress_counts_what_is_done():
    assert Progress(total=100, completed=42, failed=1).done == 43
    assert ProviderStatus(provider_batch_id="b", status=BatchStatus.QUEUED).progress.done == 0


@pytest.mark.parametrize("name", ["total", "completed", "failed"])
@pytest.mark.parametrize(("told", "kept"), [(-1, 0), (0, 0), (10**12, 10**12), (10**12 + 1, 10**12), (2**70, 10**12)])
def test_counts_that_are_nonsense_are_set_to_what_can_be_reckoned_with(name, told, kept):
    assert getattr(Progress(**{name: told}), name) == kept


def test_statuses_are_not_walked_by_the_garbage_collector_either():
    status = ProviderStatus(provider_batch_id="b", status=BatchStatus.QUEUED, metadata={"key": []})

    assert not gc.is_tracked(status)
    assert not gc.is_tracked(status.progress)


def test_rows_are_not_walked_by_the_garbage_collector():
    error = RowError(code="c")
    row = ProviderResultRow(request_id="a", status=ResultStatus.ERRORED, error=error, metadata={"key": []})

    assert not gc.is_tracked(row)
    assert not gc.is_tracked(error)
