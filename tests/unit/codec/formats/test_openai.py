"""A request as a line of OpenAI's batch file, and what its validator would refuse the whole file for."""

import json
from dataclasses import dataclass
from functools import partial

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.catalog import load_catalog
from asyncbatch.codec.formats import Wish, format_of
from asyncbatch.codec.formats.openai import count_inputs, encode_usual
from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.codec.unsupported import Unsupported
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ConfigError
from asyncbatch.providers._shapes.openai import encode_line

CHAT = {"messages": [{"role": "user", "content": "Say hi"}]}
FACTS = load_catalog().provider("openai")


MODES = {"chat": BatchMode.CHAT, "completion": BatchMode.COMPLETION, "embedding": BatchMode.EMBEDDING}


def encode(body, *, url=None, kind="chat", wire_id="row-0001", endpoint="/v1/chat/completions", **changes):
    rules = RowRules(
        **{
            "title": "OpenAI",
            "endpoint": endpoint,
            "format": f"openai.{kind}",
            "mode": MODES.get(kind, BatchMode.CUSTOM),
            "model": "gpt-4.1-mini",
            "line": partial(encode_line, endpoint=endpoint, facts=FACTS),
        }
        | changes
    )
    return encode_row(Request("mine", body, url), wire_id, rules)


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
    body = json.loads(encode({"anything": 1, "stream": False}, kind=kind).line)["body"]

    assert body == {"anything": 1, "stream": False, "model": "gpt-4.1-mini"}


@pytest.mark.parametrize(
    ("given_input", "inputs"),
    [("one text", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1), (None, 1)],
)
def test_an_embedding_row_counts_as_many_inputs_as_it_asks_for(given_input, inputs):
    assert count_inputs({"input": given_input}, "embedding") == inputs


def test_only_embedding_rows_count_inputs():
    assert encode({"input": ["a", "b"]}, kind="embedding").inputs == 2
    assert encode({"input": ["a", "b"]}, kind="responses").inputs == 1


# What is read for every provider, and is no field of OpenAI's


@dataclass
class Invoice:
    number: str
    total: float = 0.0


@pytest.mark.parametrize("wanted", [Invoice, {"type": "json_schema", "json_schema": Invoice}])
def test_a_type_as_response_format_becomes_its_strict_schema(wanted):
    body = json.loads(encode({**CHAT, "response_format": wanted}).line)["body"]

    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Invoice",
            "schema": {
                "title": "Invoice",
                "type": "object",
                "properties": {"number": {"type": "string"}, "total": {"type": "number"}},
                "required": ["number", "total"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }


@pytest.mark.parametrize(
    ("wanted", "field", "sent"),
    [
        ({"type": "text", "json_schema": Invoice}, "response_format.json_schema", {"type": "text"}),
        ({"type": "xml", "json_schema": Invoice}, "response_format of type xml", {"type": "text"}),
    ],
)
def test_a_type_where_none_belongs_is_refused_or_left_out(wanted, field, sent):
    with pytest.raises(RowFault, match="response_format"):
        encode({**CHAT, "response_format": wanted})
    row = encode({**CHAT, "response_format": wanted}, is_dropping=True)

    assert row.dropped == (field,)
    assert json.loads(row.line)["body"]["response_format"] == sent


def test_openais_own_response_format_travels_as_it_is():
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"default": 1}, "later": True}}

    assert json.loads(encode({**CHAT, "response_format": wanted}).line)["body"]["response_format"] == wanted


def test_extra_body_goes_into_the_body_as_it_is():
    body = json.loads(encode({**CHAT, "extra_body": {"new_field": [1]}}).line)["body"]

    assert (body["new_field"], "extra_body" in body) == ([1], False)


CACHED = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}]
}
MARK = {"type": "ephemeral"}
TOOL = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (CACHED, "cache_control"),
        ({**CHAT, "tools": [TOOL]}, "cache_control"),
        ({**CHAT, "tools": [{"type": "function", "function": {"name": "f", "cache_control": MARK}}]}, "cache_control"),
        ({**CHAT, "cache_control": MARK}, "cache_control"),
        ({"messages": [{"role": "user", "content": "x", "cache_control": MARK}]}, "cache_control"),
        ({**CHAT, "top_k": 5}, "top_k"),
    ],
)
def test_what_openai_cannot_express_is_refused_by_name_or_dropped_and_said(body, field):
    with pytest.raises(RowFault, match=f"OpenAI cannot express {field}") as caught:
        encode(dict(body))
    row = encode(dict(body), is_dropping=True)

    assert caught.value.code == "unsupported"
    assert row.dropped == (field,)
    assert field.encode() not in row.line


def test_the_callers_own_messages_are_not_changed_by_what_is_dropped():
    before = json.dumps(CACHED)
    encode(dict(CACHED), is_dropping=True)

    assert json.dumps(CACHED) == before


def test_a_custom_body_is_untouched():
    body = {**CACHED, "top_k": 5, "extra_body": 1, "model": "gpt-4.1-mini"}

    assert json.loads(encode(dict(body), mode=BatchMode.CUSTOM).line)["body"] == body


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"model": "gpt-5"}, "mixed_models"),
        ({"stream": True}, "streaming"),
        ({"messages": 5}, "wrong_type"),
        ({"messages": []}, "empty_field"),
    ],
)
def test_extra_body_says_nothing_that_would_spoil_the_file(extra, code):
    with pytest.raises(RowFault) as caught:
        encode({**CHAT, "extra_body": extra})

    assert caught.value.code == code


def test_a_row_for_another_model_is_told_what_to_do():
    said = r"'gpt-5', but this job is for 'gpt-4\.1-mini': take the model out of the request, .* replace_model=True"
    with pytest.raises(RowFault, match=said):
        encode({**CHAT, "model": "gpt-5"})


class Said(pydantic.BaseModel):
    """As an SDK gives a message."""

    role: str
    content: str | None = None
    later: str | None = None


def test_messages_may_be_the_objects_that_an_sdk_gives():
    asked = {"messages": [*CHAT["messages"], Said(role="assistant", content="Hi"), {"role": "user", "content": "And?"}]}

    assert json.loads(encode(asked).line)["body"]["messages"][1] == {"role": "assistant", "content": "Hi"}


def test_an_extra_body_that_is_no_object_is_refused():
    with pytest.raises(RowFault, match=r"extra_body is \[1\], not an object") as caught:
        encode({**CHAT, "extra_body": [1]})

    assert caught.value.code == "wrong_type"


@pytest.mark.parametrize("name", ["nobody.chat", "", "_gemini_schema.x", "no family"])
def test_a_format_that_nobody_makes_is_a_mistake_of_the_catalog(name):
    with pytest.raises(ConfigError, match="no body format is called") as caught:
        format_of(name)

    assert caught.value.code == "format.unknown"


@pytest.mark.parametrize("wanted", [list[Invoice], Invoice | None])
def test_a_response_format_that_is_no_type_of_an_object_says_so(wanted):
    with pytest.raises(RowFault, match="response_format"):
        encode({**CHAT, "response_format": wanted})


# Many bodies at once


def many(bodies, kind="chat", mode=None):
    unsupported = Unsupported("OpenAI")
    wish = Wish(kind=kind, mode=mode or MODES.get(kind, BatchMode.CUSTOM), model="m", unsupported=unsupported)
    return encode_usual(bodies, wish)


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        ("chat", [CHAT, {**CHAT, "max_tokens": 3}]),
        ("chat", [{"model": "m", **CHAT, "metadata": {"a": "b"}}]),
        ("completion", [{"prompt": "a", "n": 1}, {"prompt": "b"}]),
        ("embedding", [{"input": "a"}]),
    ],
)
def test_bodies_as_most_are_get_the_model_and_stay_as_they_were(kind, bodies):
    before = json.dumps(bodies)

    filled = many(bodies, kind)

    assert filled is not None
    assert [list(body.items()) for body in filled.bodies] == [
        list(({**body} | {"model": "m"}).items()) for body in bodies
    ]
    assert json.dumps(bodies) == before


@pytest.mark.parametrize(
    "odd",
    [
        {"messages": []},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        {"messages": [{"role": "user", "content": "hi", "cache_control": None}]},
        {"messages": [{"role": "user", "content": "hi", 7: "x"}]},
        {"prompt": "hi"},
        {**CHAT, "model": "other"},
        {**CHAT, "model": ["m"]},
        {**CHAT, "model": None},
        *(
            {**CHAT, name: None}
            for name in ("stream", "extra_body", "tools", "top_k", "response_format", "cache_control")
        ),
        {**CHAT, 7: "x"},
    ],
)
def test_one_body_that_may_be_another_leaves_all_to_be_looked_at(odd):
    usual = {"model": "m", **CHAT} if "model" in odd else CHAT

    assert many([usual]) is not None
    assert many([usual, odd, usual]) is None


@pytest.mark.parametrize(
    ("bodies", "kind", "mode"),
    [
        ([{"prompt": ["a"]}], "completion", None),
        ([{"input": ""}], "embedding", None),
        ([{"input": "a"}], "responses", BatchMode.CUSTOM),
        ([CHAT], "chat", BatchMode.CUSTOM),
        ([{"input": "a"}], "responses", BatchMode.CHAT),
    ],
)
def test_of_other_kinds_each_body_is_looked_at(bodies, kind, mode):
    assert many(bodies, kind, mode) is None


def test_what_is_not_known_to_be_json_is_said():
    filled = many([{**CHAT, "metadata": {"a": 1}, "seed": 7}])

    assert filled is not None
    assert sorted(map(str, filled.values)) == ["7", "Say hi", "user", "{'a': 1}"]
