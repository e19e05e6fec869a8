"""What many requests are asked at once: whether each is as most are. A doubt is answered with None, never with an error."""

import math
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.requests import is_plain
from asyncbatch.codec.slices import LineFrame, Usual, are_plain, are_texts, decode_usual, encode_all, frame_lines
from asyncbatch.enums import BatchMode

FRAME = LineFrame(before=b'{"id":', between=b',"body":', after=b"}\n")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a", 1, True, None],
        [1.5, 2],
        [{"a": [1, {"b": [None, 0.5]}]}, "x"],
        [[], {}, [{}]],
        [deep(7)],
    ],
)
def test_values_of_json_are_plain_whatever_stands_beside_them(values):
    assert are_plain(values)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "odd",
    [
        math.nan,
        math.inf,
        msgspec.Raw(b"1"),
        Decimal(1),
        (1,),
        b"x",
        Text("x"),
        {1: "x"},
        {"a": {True: 1}},
        {"a": [1, [math.nan]]},
        [{"a": msgspec.Raw(b"{")}],
        deep(9),
    ],
)
@pytest.mark.parametrize("beside", [[], ["a", 1], [{"b": 1}], [[1, "x"]], [1.5]])
def test_one_value_that_is_none_of_jsons_is_seen_among_others(odd, beside):
    assert not are_plain([*beside, odd, *beside])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(msgspec.Raw(b"1")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4))
def test_many_values_are_plain_if_each_is(values):
    assert are_plain(values) <= all(is_plain(value) for value in values)


@pytest.mark.parametrize("values", [["a", "\ud800"], [deep(100_000)], [{"a": object()}], [2**70, {"a": {1j: 2}}]])
def test_what_cannot_be_encoded_after_all_is_no_error(values):
    assert encode_all(values) is None


def test_values_are_encoded_each_in_one_line():
    assert encode_all(["é\n", {"a": 1}]) == ['"é\\n"'.encode(), b'{"a":1}']


@pytest.mark.parametrize(
    ("values", "are"), [(["a"], True), (["a", ""], False), (["a", 1], False), ([Text("a")], False)]
)
def test_texts_are_texts_alone_and_none_is_empty(values, are):
    assert are_texts(values) is are


BODY = {"messages": []}


@pytest.mark.parametrize(
    ("items", "usual"),
    [
        ([BODY, {"x": 1}], Usual(bodies=[BODY, {"x": 1}])),
        (["a", "b"], Usual(bodies=[{"prompt": "a"}, {"prompt": "b"}])),
        ([{"body": BODY}], Usual(bodies=[BODY])),
        (
            [{"custom_id": "a", "method": "POST", "url": "/v1", "body": BODY}, {"custom_id": "b", "body": {}}],
            Usual(bodies=[BODY, {}], ids=["a", "b"], urls=frozenset({"/v1", None})),
        ),
    ],
)
def test_items_of_one_kind_are_read(items, usual):
    assert decode_usual(items, BatchMode.COMPLETION) == usual


@pytest.mark.parametrize(
    "items",
    [
        ["a", BODY],
        [17],
        [{1: 2}],
        [{"custom_id": "a"}],
        [{"custom_id": "a", "body": BODY, "extra": 1}],
        [{"custom_id": "a", "body": BODY}, {"body": BODY}],
        [{"custom_id": 7, "body": BODY}],
        [{"custom_id": None, "body": BODY}],
        [{"body": "text"}],
        [{"body": BODY, "method": "GET"}],
        [{"body": BODY, "method": ["POST"]}],
        [{"body": BODY, "url": ["/v1"]}],
    ],
)
def test_items_that_somebody_has_to_look_at_are_not(items):
    assert decode_usual([*items, *items], BatchMode.CHAT) is None


def test_a_text_is_no_body_of_mode_custom():
    assert decode_usual(["a"], BatchMode.CUSTOM) is None


@pytest.mark.parametrize(
    ("own", "prefix", "lines"),
    [
        (None, None, b'{"id":"0000007","body":{}}\n'),
        (None, "5c-", b'{"id":"5c-0000007","body":{}}\n'),
        (['q"'], None, b'{"id":"q\\"","body":{}}\n'),
        (['q"'], "5c-", b'{"id":"5c-0000007","body":{}}\n'),
    ],
)
def test_lines_are_the_frame_around_the_id_that_travels_and_the_body(own, prefix, lines):
    made = frame_lines(FRAME, [b"{}"], [b"0000007"], own, prefix=prefix, pattern=None)

    assert made is not None
    assert made.lines() == lines
    assert made.sizes() == [len(lines)]
    assert made.noted() == made.names[0] + b"\n" + lines.replace(b"5c-", b"")
    assert made.has_own_ids is (own is not None)


@pytest.mark.parametrize(
    ("own", "pattern"), [([""], None), (["\ud800"], None), (["é"], None), (["a b"], "[a-z]+"), (None, "[a-z]+")]
)
def test_an_id_that_may_not_travel_is_left_to_whoever_refuses_it(own, pattern):
    rule = None if pattern is None else re.compile(pattern)

    assert frame_lines(FRAME, [b"{}"], [b"0000007"], own, prefix=None, pattern=rule) is None
