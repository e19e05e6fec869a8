"""Whose a broken result line is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.lines import salvage_id, undecodable
from asyncbatch.enums import ResultStatus

LINE = b'{"id":"batch_req_68f0c1","custom_id":"row-0001","response":{"status_code":200,"body":{"id":"chatcmpl-9a"}}}'


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (LINE, "row-0001"),
        (b'{"custom_id" : "spaced", NaN', "spaced"),
        (b'{"response":{"key":"not this"},"custom_id":"this"', "this"),
        (b'{"custom_id":"a \\"quoted\\" id\\u00e9","response":nope}', 'a "quoted" idé'),
        ('{"custom_id":"línea","response":nope}'.encode(), "línea"),
        (b'{"response":{"text":"say \\"custom_id\\":\\"no\\""},"custom_id":"yes"', "yes"),
        (b'{"response":"' + b"x" * 200_000 + b'","custom_id":"at the end"}trailing', "at the end"),
        (b"", ""),
        (b"<html>502 Bad Gateway</html>", ""),
        (b'{"custom_id":7,', ""),
        (b'{"custom_id":"no end', ""),
        (b'{"custom_id":"\\ud800"}', ""),  # half of a surrogate pair is no id that we can have sent
        (b'{"custom_id":"\xff"}', ""),
        (b'{"custom_id":"\\x"}', ""),
    ],
)
def test_the_id_is_found_where_there_is_one(line, request_id):
    assert salvage_id(line, "custom_id") == request_id


def test_each_provider_names_its_own_field():
    assert salvage_id(b'{"recordId":"bedrock-1","custom_id":"no"', "recordId") == "bedrock-1"


@pytest.mark.parametrize("end", range(len(LINE)))
def test_a_line_cut_anywhere_gives_its_own_id_or_none(end):
    assert salvage_id(LINE[:end], "custom_id") == ("row-0001" if end >= LINE.index(b'"row-0001"') + 10 else "")


@given(
    st.lists(st.sampled_from([b'"custom_id"', b":", b'"', b"\\", b"\xff", b"x", b"\\ud8", b"\n"]) | st.binary()).map(
        b"".join
    )
)
def test_no_bytes_at_all_make_it_raise(line):
    assert isinstance(salvage_id(line, "custom_id"), str)


def test_a_line_that_cannot_be_read_is_a_row_with_its_bytes_under_its_own_id():
    line = b'{"key":"a","answer":broken'
    row = undecodable(line, "it is broken", "key")

    assert (row.request_id, row.status, bytes(row.body)) == ("a", ResultStatus.UNDECODABLE, line)
    assert (row.error.code, row.error.message) == ("undecodable", "the answer cannot be read: it is broken")
    assert undecodable(line, "it is broken").request_id == "", "it has no custom_id"
