"""Faults of google.rpc, whatever shape they come in."""

import msgspec
import pytest

from asyncbatch.codec.rpc import Fault, decode_count


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"code": 1}, "CANCELLED"),
        ({"code": 3}, "INVALID_ARGUMENT"),
        ({"code": 4}, "DEADLINE_EXCEEDED"),
        ({"code": 5}, "NOT_FOUND"),
        ({"code": 7}, "PERMISSION_DENIED"),
        ({"code": 8}, "RESOURCE_EXHAUSTED"),
        ({"code": 9}, "FAILED_PRECONDITION"),
        ({"code": 10}, "ABORTED"),
        ({"code": 13}, "INTERNAL"),
        ({"code": 14}, "UNAVAILABLE"),
        ({"code": 16}, "UNAUTHENTICATED"),
        ({"code": "13"}, "INTERNAL"),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, "RESOURCE_EXHAUSTED"),
        ({"code": 99}, "99"),
        ({"code": "a_word"}, "a_word"),
        ({"code": True}, "UNKNOWN"),
        ({"code": -1}, "UNKNOWN"),
        ({}, "UNKNOWN"),
    ],
)
def test_a_code_has_its_word(fault, word):
    assert msgspec.json.decode(msgspec.json.encode(fault), type=Fault).word == word


@pytest.mark.parametrize(("message", "text"), [("why", "why"), (None, ""), ({"a": 1}, "{'a': 1}")])
def test_a_message_is_a_text(message, text):
    assert Fault(message=message).text == text


@pytest.mark.parametrize(
    ("value", "count"),
    [("2", 2), (2, 2), ("0", 0), (None, None), ("", None), ("two", None), ("-1", None), (-1, None), ("²", None)],
)
def test_a_count_may_come_as_text(value, count):
    assert decode_count(value) == count


def test_a_message_that_is_nested_as_deeply_as_nobody_can_write_is_none():
    message = []
    for _ in range(100_000):
        message = [message]

    assert Fault(message=message).text == ""


@pytest.mark.parametrize("value", [True, "9" * 30, "9" * 19, 2**63, -1, [], 1.5])
def test_what_is_no_int64_is_no_count(value):
    assert decode_count(value) is None
