"""Requests of every kind become an id and a body, or a fault that names the value."""

import dataclasses
import datetime as dt
import json
import math
import re
import uuid
from types import MappingProxyType
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.requests import (
    Request,
    RowFault,
    check_id,
    decode_request,
    encode_json,
    is_plain,
    mint_id,
    peek_id,
    shown,
)
from asyncbatch.dto import BadRow
from asyncbatch.enums import BatchMode

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


class StructBody(msgspec.Struct, omit_defaults=True):
    messages: list[dict[str, str]]
    temperature: float | None = None


class StructRow(msgspec.Struct):
    custom_id: str
    body: StructBody


class Listed(msgspec.Struct, array_like=True):
    a: int = 1


class Holding(msgspec.Struct):
    value: Any


@dataclasses.dataclass
class DataBody:
    messages: list[dict[str, str]]


class PydanticBody(pydantic.BaseModel):
    messages: list[dict[str, str]]
    temperature: float | None = None


class Undumpable(pydantic.BaseModel):
    value: Any


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def fault(call, *args) -> RowFault:
    with pytest.raises(RowFault) as caught:
        call(*args)
    assert caught.value.message == str(caught.value)
    return caught.value


# --- what a request may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        (BatchMode.CHAT, CHAT),
        (BatchMode.COMPLETION, {"prompt": "hi"}),
        (BatchMode.EMBEDDING, {"input": "hi"}),
    ],
)
def test_a_prompt_is_wrapped_for_its_mode(mode, body):
    assert decode_request("hi", mode) == Request(None, body)


@pytest.mark.parametrize(
    "item",
    [
        CHAT,
        MappingProxyType(CHAT),
        StructBody(**CHAT),
        DataBody(**CHAT),
        PydanticBody(**CHAT),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_body_may_be_a_mapping_a_struct_a_dataclass_or_a_model(item):
    assert decode_request(item, BatchMode.CHAT) == Request(None, CHAT)


@pytest.mark.parametrize(
    ("row", "request_"),
    [
        ({"custom_id": "a", "body": CHAT}, Request("a", CHAT)),
        ({"custom_id": "a", "method": "POST", "url": "/v1/x", "body": CHAT}, Request("a", CHAT, "/v1/x")),
        ({"body": CHAT}, Request(None, CHAT)),
        ({"custom_id": None, "url": None, "body": StructBody(**CHAT)}, Request(None, CHAT)),
        (StructRow("a", StructBody(**CHAT)), Request("a", CHAT)),
        (
            {"body": "a field of the model's own", "other": 1},
            Request(None, {"body": "a field of the model's own", "other": 1}),
        ),
        ({}, Request(None, {})),
    ],
)
def test_a_ready_row_is_told_from_a_bare_body(row, request_):
    assert decode_request(row, BatchMode.CUSTOM) == request_


def test_the_body_is_a_new_dict_so_that_filling_it_in_leaves_the_callers_alone():
    mine = dict(CHAT)

    for item in (mine, {"custom_id": "a", "body": mine}):
        decode_request(item, BatchMode.CHAT).body["model"] = "gpt"

    assert mine == CHAT


@pytest.mark.parametrize(
    ("item", "code", "says"),
    [
        (17, "not_an_object", "not int: 17"),
        (None, "not_an_object", "not NoneType: None"),
        (["hi"], "not_an_object", "not list"),
        (b'{"messages":[]}', "not_an_object", "not bytes"),
        (PydanticBody, "not_an_object", "ModelMetaclass"),
        (DataBody, "not_an_object", "not type"),
        ({1: "x"}, "not_json", "the key 1 is no text"),
        ({"custom_id": "a", "body": {2: "x"}}, "not_json", "the key 2 is no text"),
        (Listed(), "not_an_object", "Listed does not become a JSON object"),
        (Holding(object()), "not_json", "object"),
        (Holding(cycle()), "not_json", "recursion"),
        (Undumpable(value=object()), "not_json", "serialize"),
        ({"custom_id": 7, "body": CHAT}, "bad_id", "custom_id is 7, not a text"),
        ({"method": "GET", "body": CHAT}, "bad_method", "'GET'; batches take POST"),
        ({"url": 1, "body": CHAT}, "bad_url", "url is 1, not a text"),
        ({"body": "hi"}, "not_an_object", "body is the text 'hi'"),
        ({"custom_id": "a", "body": None}, "not_an_object", "not NoneType"),
        ({"custom_id": "a", "messages": []}, "no_body", "no body"),
        ({"custom_id": "a", "body": CHAT, "priority": 1, "also": 2}, "unknown_field", "also, priority"),
    ],
)
def test_what_cannot_be_a_request_is_refused_with_its_value(item, code, says):
    refused = fault(decode_request, item, BatchMode.CHAT)

    assert refused.code == code
    assert says in refused.message


def test_a_bare_text_has_no_shape_in_mode_custom():
    assert fault(decode_request, "hi", BatchMode.CUSTOM).code == "not_an_object"


def test_a_row_that_its_reader_could_not_make_out_is_refused_in_the_readers_words():
    refused = fault(decode_request, BadRow(code="not_json", message="line 7 is not JSON"), BatchMode.CHAT)

    assert (refused.code, refused.message) == ("not_json", "line 7 is not JSON")


def test_a_long_value_is_shown_by_its_beginning():
    assert shown("x" * 1000) == "'" + "x" * 79 + "…"
    assert shown("x") == "'x'"


# --- strict JSON -------------------------------------------------------------------------------------------------------


def deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


NAN_HIDDEN = {
    "plain": math.nan,
    "infinity": {"a": [math.inf]},
    "beside a null": {"a": None, "b": -math.inf},
    "in a struct": {"a": Holding(math.nan)},
    "in a dataclass": Holding(DataBody([{"a": math.nan}])),
    "in a key": {"a": {math.nan: None}},
}


@pytest.mark.parametrize("value", NAN_HIDDEN.values(), ids=NAN_HIDDEN)
def test_a_number_that_json_has_no_word_for_is_refused(value):
    assert fault(encode_json, value).code == "nan"


def test_a_null_is_no_nan():
    assert encode_json({"a": None, "null": Holding(None)}) == b'{"a":null,"null":{"value":null}}'


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [{"a": "x\udc00y"}], Holding("\ud83d")])
def test_half_of_a_surrogate_pair_is_refused(value):
    refused = fault(encode_json, value)

    assert refused.code == "surrogate"
    assert "\\ud" in refused.message


NO_JSON = {
    "an object": object(),
    "a set of objects": {"a": {1, object()}},
    "a tuple as key": {(1, 2): 3},
    "a UUID as key": {"a": {uuid.uuid4(): None}},
    "bytes as key": {"a": {b"key": None}},
    "a complex number": {"a": 1j},
    "a cycle": cycle(),
    "a well": deep(100_000),
    "raw: broken": msgspec.Raw(b"{broken"),
    "raw: nothing": msgspec.Raw(b""),
    "raw: no UTF-8": msgspec.Raw(b'"\xff"'),
    "raw: half a surrogate pair": msgspec.Raw(b'"\\ud800"'),
    "raw: NaN": {"a": msgspec.Raw(b"NaN")},
    "raw: too large": {"a": msgspec.Raw(b"1e999"), "b": None},
}


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_a_value_that_is_no_json_is_refused(value):
    assert fault(encode_json, value).code == "not_json"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"when": dt.date(2026, 11, 25)}, b'{"when":"2026-11-25"}'),
        ({"a": (1, 2)}, b'{"a":[1,2]}'),
        ({"a": BatchMode.CHAT}, b'{"a":"chat"}'),
        ({"a": {1: None}}, b'{"a":{"1":null}}'),
        (2**70, b"1180591620717411303424"),
        ("\u2028\u2029\u0085\x0b\n\r", '"\u2028\u2029\u0085\\u000b\\n\\r"'.encode()),
        ({"a": msgspec.Raw(b'{"b": null}')}, b'{"a":{"b": null}}'),
        ({"a": msgspec.Raw(b'{\n  "b": "x\\ny",\r\n  "c": null\n}')}, b'{"a":{"b":"x\\ny","c":null}}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_beyond_the_plain_ones_travel_as_one_line_of_json(value, data):
    assert encode_json(value) == data


class Word(str):
    __slots__ = ()


def test_keys_that_are_texts_of_another_kind_are_texts():
    assert decode_request({Word("messages"): []}, BatchMode.CHAT) == Request(None, {"messages": []})


def nested(depth: int, innermost: Any) -> Any:
    for _ in range(depth):
        innermost = {"a": [innermost]}
    return innermost


@pytest.mark.parametrize("depth", range(12))
def test_a_number_that_json_has_no_word_for_is_found_however_deep(depth):
    assert fault(encode_json, nested(depth, math.nan)).code == "nan"
    assert fault(encode_json, nested(depth, msgspec.Raw(b"NaN"))).code == "not_json"
    assert json.loads(encode_json(nested(depth, {"b": [1.5, None, True, "x"]}))) == nested(
        depth, {"b": [1.5, None, True, "x"]}
    )


@pytest.mark.parametrize(
    ("value", "is_so"),
    [
        ({"a": [1, 2.5, None, {"b": "c"}]}, True),
        ({"a": [math.inf]}, False),
        ({"a": {1: "c"}}, False),
        ({"a": (1, 2)}, False),
        ({"a": msgspec.Raw(b"1")}, False),
        ({"a": Word("b")}, False),
        (nested(6, 1), False),
        (nested(3, 1), True),
        ("text", True),
    ],
)
def test_plain_is_what_needs_no_second_look(value, is_so):
    assert is_plain(value) is is_so


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.just("null"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=20,
)


def tried(value: Any) -> tuple[bytes | None, str]:
    try:
        return encode_json(value), ""
    except RowFault as refused:
        return None, refused.code


@given(JSON)
def test_whatever_is_accepted_reads_back_equal_and_whatever_is_not_holds_nan_or_a_surrogate(value):
    data, why_not = tried(value)

    if data is None:
        as_text = json.dumps(value)
        assert {"nan": "NaN" in as_text or "Infinity" in as_text, "surrogate": "\\ud" in as_text}[why_not]
        return
    assert b"\n" not in data
    assert json.loads(data) == value
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@given(JSON, st.sampled_from([math.nan, math.inf, -math.inf, "\ud800", "x\udfff"]))
def test_nothing_that_must_not_travel_gets_through_wherever_it_stands(value, poison):
    assert fault(encode_json, {"a": value, "b": [poison]}).code in ("nan", "surrogate")
    assert fault(encode_json, [{"a": {"b": poison}}, value]).code in ("nan", "surrogate")


# --- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["a", "with space", "é" * 300, "0000001"])
def test_an_id_may_be_any_text(request_id):
    check_id(request_id)


@pytest.mark.parametrize(
    ("request_id", "code", "says"),
    [
        ("", "bad_id", "empty"),
        ("a\ud800", "surrogate", "lone surrogate"),
        ("a b", "bad_id", "'a b' does not fit this provider's rule [a-z]{1,3}"),
        ("abcd", "bad_id", "'abcd'"),
        ("abc\n", "bad_id", "does not fit"),
    ],
)
def test_an_id_that_cannot_travel_is_refused_by_name(request_id, code, says):
    refused = fault(check_id, request_id, re.compile("[a-z]{1,3}"))

    assert refused.code == code
    assert says in refused.message


def test_an_id_that_fits_the_rule_passes():
    check_id("abc", re.compile("[a-z]{1,3}"))


@pytest.mark.parametrize(
    ("row", "minted"), [(0, "0000000"), (1, "0000001"), (9_999_999, "9999999"), (10_000_000, "10000000")]
)
def test_an_absent_id_is_the_rows_number(row, minted):
    assert mint_id(row) == minted


@pytest.mark.parametrize(
    ("item", "own"),
    [
        ({"custom_id": "a", "body": "a text"}, "a"),
        ({"custom_id": 7}, None),
        ({"messages": []}, None),
        ("a prompt", None),
        (None, None),
    ],
)
def test_the_id_of_a_row_is_read_whatever_else_is_wrong_with_it(item, own):
    assert peek_id(item) == own
