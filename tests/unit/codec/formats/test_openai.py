"""A request as a line of OpenAI's batch file, and what its validator would refuse the whole file for."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.formats.openai import check_body, count_inputs, encode_request
from asyncbatch.codec.requests import Request, RowFault

CHAT = {"messages": [{"role": "user", "content": "Say hi"}]}


def encode(body, *, url=None, kind="chat", wire_id="row-0001", endpoint="/v1/chat/completions"):
    return encode_request(
        Request("mine", body, url), wire_id=wire_id, model="gpt-4.1-mini", endpoint=endpoint, kind=kind
    )


def test_a_line_is_what_the_service_documents():
    row = encode({"model": "gpt-4.1-mini", **CHAT, "max_tokens": 16})

    # The line of OpenAI's fact sheet, 2026-11.
    assert row.line == (
        b'{"custom_id":"row-0001","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4.1-mini",'
        b'"messages":[{"role":"user","content":"Say hi"}],"max_tokens":16}}\n'
    )
    assert row.inputs == 1


def test_an_absent_model_is_filled_in():
    assert json.loads(encode(dict(CHAT)).line)["body"]["model"] == "gpt-4.1-mini"


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
def test_any_id_and_any_text_stay_in_one_line(wire_id, text):
    row = encode({"messages": [{"role": "user", "content": text}]}, wire_id=wire_id)

    assert row.line.count(b"\n") == 1
    decoded = msgspec.json.decode(row.line)
    assert decoded["custom_id"] == wire_id
    assert decoded["body"]["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("body", "kind", "code", "says"),
    [
        ({"model": "gpt-5", **CHAT}, "chat", "mixed_models", "'gpt-5', but this job is for 'gpt-4.1-mini'"),
        ({"model": None, **CHAT}, "chat", "mixed_models", "None"),
        ({**CHAT, "stream": True}, "chat", "streaming", "stream"),
        ({}, "chat", "missing_field", "needs messages; this one has nothing"),
        ({"prompt": "hi", "n": 1}, "chat", "missing_field", "this one has n, prompt"),
        ({"messages": []}, "chat", "empty_field", "its messages is empty: []"),
        ({"messages": "hi"}, "chat", "wrong_type", "messages is 'hi', not a list"),
        ({"input": "hi"}, "completion", "missing_field", "needs prompt"),
        ({"prompt": ""}, "completion", "empty_field", "its prompt is empty"),
        ({"prompt": "hi"}, "embedding", "missing_field", "needs input"),
        ({"input": []}, "embedding", "empty_field", "its input is empty: []"),
        ({**CHAT, "temperature": float("nan")}, "chat", "nan", "NaN"),
    ],
)
def test_what_would_spoil_the_file_is_refused_with_its_value(body, kind, code, says):
    with pytest.raises(RowFault) as caught:
        encode(body, kind=kind)

    assert caught.value.code == code
    assert says in caught.value.message


def test_a_row_for_another_endpoint_is_refused():
    with pytest.raises(RowFault, match="'/v1/embeddings', but this job goes to /v1/chat/completions") as caught:
        encode(dict(CHAT), url="/v1/embeddings")

    assert caught.value.code == "bad_url"


def test_a_row_that_names_the_jobs_own_endpoint_passes():
    assert encode(dict(CHAT), url="/v1/chat/completions").line == encode(dict(CHAT)).line


@pytest.mark.parametrize("kind", ["responses", "moderation", ""])
def test_other_formats_are_the_callers_business(kind):
    assert check_body({"anything": 1, "stream": False}, model="m", kind=kind) == {
        "anything": 1,
        "stream": False,
        "model": "m",
    }


@pytest.mark.parametrize(
    ("given_input", "inputs"),
    [("one text", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1), (None, 1)],
)
def test_an_embedding_row_counts_as_many_inputs_as_it_asks_for(given_input, inputs):
    assert count_inputs({"input": given_input}) == inputs


def test_only_embedding_rows_count_inputs():
    assert encode({"input": ["a", "b"]}, kind="embedding").inputs == 2
    assert encode({"input": ["a", "b"]}, kind="responses").inputs == 1
