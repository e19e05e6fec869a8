"""What a message holds: each kind of part, where a medium lies, and everything that is no part."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.content import Media, Text, decode_content, object_of, typed
from asyncbatch.codec.requests import RowFault
from asyncbatch.codec.unsupported import report_others

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
CACHE = {"type": "ephemeral"}


def one(**part):
    (found,) = decode_content([part], "content")
    return found


def fault(content):
    with pytest.raises(RowFault) as caught:
        decode_content(content, "messages[0].content")
    return caught.value


@pytest.mark.parametrize("nothing", [None, "", [], ()])
def test_nothing_is_no_part(nothing):
    assert decode_content(nothing, "content") == ()


def test_a_text_is_one_part_and_parts_keep_their_order():
    assert decode_content("hi", "content") == (Text(text="hi"),)
    assert decode_content([{"type": "text", "text": text} for text in "abc"], "content") == tuple(
        Text(text=text) for text in "abc"
    )


def test_parts_may_be_a_tuple_structs_or_dataclasses():
    class Part(msgspec.Struct):
        text: str
        type: str = "text"

    @dataclass
    class Other:
        text: str
        type: str = "text"

    assert decode_content((Part("a"), Other("b")), "content") == (Text(text="a"), Text(text="b"))


@pytest.mark.parametrize("cache", [None, CACHE])
@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"type": "text", "text": "hi"}, Text(text="hi")),
        ({"type": "text", "text": ""}, Text(text="")),
        ({"type": "refusal", "refusal": "no"}, Text(text="no")),
        (
            {"type": "image_url", "image_url": {"url": PNG}},
            Media(kind="image", media_type="image/png", data="iVBORw0KGgo="),
        ),
        (
            {"type": "image_url", "image_url": PNG},
            Media(kind="image", media_type="image/png", data="iVBORw0KGgo="),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
            Media(kind="image", url="https://example.com/a.png", detail="low"),
        ),
        (
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            Media(kind="document", media_type="application/pdf", data="JVBERi0=", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_url": "https://example.com/a.pdf"}},
            Media(kind="document", url="https://example.com/a.pdf"),
        ),
        ({"type": "file", "file": {"file_data": "gs://bucket/a.pdf"}}, Media(kind="document", url="gs://bucket/a.pdf")),
        (
            {"type": "file", "file": {"file_id": "file-1", "filename": "n"}},
            Media(kind="document", file_id="file-1", name="n"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            Media(kind="audio", media_type="audio/wav", data="UklGRg=="),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
            Media(kind="audio", media_type="audio/mpeg", data="SUQz"),
        ),
    ],
)
def test_each_kind_of_part_is_read_with_its_mark_for_the_cache(part, found, cache):
    assert one(**part, cache_control=cache) == msgspec.structs.replace(found, cache=cache)


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/svg+xml;base64,PHN2Zz4=", "image/svg+xml", "PHN2Zz4="),
        ("data:text/plain;charset=utf-8;base64,aGk=", "text/plain", "aGk="),
        ("data:application/vnd.ms-excel;name=a.xls;base64,", "application/vnd.ms-excel", ""),
        ("DATA:Image/PNG;BASE64,aGk=", "image/png", "aGk="),
    ],
)
def test_a_data_url_is_parted_into_its_type_and_its_bytes(url, media_type, data):
    found = one(type="file", file={"file_data": url})

    assert (found.media_type, found.data, found.url) == (media_type, data, None)


@pytest.mark.parametrize(
    "url", ["", "a.png", "file:///etc/passwd", "ftp://x/a", "data:image/png,raw", "data:;base64,aGk=", "JVBERi0="]
)
def test_what_is_neither_an_address_nor_a_data_url_is_refused(url):
    refused = fault([{"type": "image_url", "image_url": {"url": url}}])

    assert refused.code == "bad_url"
    assert repr(url) in refused.message


def test_a_long_data_url_is_not_quoted_whole():
    refused = fault([{"type": "image_url", "image_url": "data:image/png," + "x" * 100_000}])

    assert len(refused.message) < 300


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (7, "wrong_type", "messages[0].content is 7, neither a text nor a list"),
        ({}, "wrong_type", "{}"),
        (0, "wrong_type", "is 0"),
        (b"x", "wrong_type", "b'x'"),
        (["x"], "wrong_type", "messages[0].content[0] is 'x', not an object"),
        ([{}], "bad_part", "messages[0].content[0].type is None"),
        ([{"type": "text", "text": "a"}, {"type": "video"}], "bad_part", "messages[0].content[1].type is 'video'"),
        ([{"type": ["text"]}], "bad_part", "['text']"),
        ([{"type": "thinking", "thinking": []}], "bad_part", "'thinking'"),
        ([{"type": "text"}], "wrong_type", "messages[0].content[0].text is None"),
        ([{"type": "text", "text": 1}], "wrong_type", "text is 1"),
        ([{"type": "text", "text": "a", "more": 1}], "unknown_field", "messages[0].content[0] has 'more'"),
        ([{"type": "text", "text": "a", "image_url": PNG}], "unknown_field", "'image_url'"),
        ([{"type": "image_url"}], "wrong_type", "messages[0].content[0].image_url is None"),
        ([{"type": "image_url", "image_url": {}}], "wrong_type", "image_url.url is None"),
        ([{"type": "image_url", "image_url": {"url": PNG, "detail": 1}}], "wrong_type", "detail is 1"),
        ([{"type": "image_url", "image_url": {"url": PNG, "format": "png"}}], "unknown_field", "'format'"),
        ([{"type": "file"}], "wrong_type", "file is None"),
        ([{"type": "file", "file": {"filename": "a"}}], "missing_field", "neither file_data nor file_url nor file_id"),
        ([{"type": "file", "file": {"file_id": "a", "file_data": PDF}}], "conflicting_fields", "file_id and file_data"),
        ([{"type": "file", "file": {"file_id": 1}}], "wrong_type", "file_id is 1"),
        ([{"type": "file", "file": {"file_data": 1}}], "wrong_type", "file_data is 1"),
        ([{"type": "file", "file": {"file_data": "JVBERi0="}}], "bad_url", "file.file_data is 'JVBERi0='"),
        ([{"type": "file", "file": {"file_id": "a", "filename": 1}}], "wrong_type", "filename is 1"),
        ([{"type": "file", "file": {"file_id": "a", "title": "t"}}], "unknown_field", "'title'"),
        ([{"type": "input_audio"}], "wrong_type", "input_audio is None"),
        ([{"type": "input_audio", "input_audio": {"data": "x"}}], "wrong_type", "format is None"),
        ([{"type": "input_audio", "input_audio": {"format": "wav"}}], "wrong_type", "data is None"),
        ([{"type": "input_audio", "input_audio": {"data": "x", "format": "wav", "id": 1}}], "unknown_field", "'id'"),
    ],
)
def test_what_is_no_content_is_refused_with_its_place_and_value(content, code, says):
    refused = fault(content)

    assert refused.code == code
    assert says in refused.message


def test_what_is_null_in_a_part_is_as_good_as_absent():
    given = {"type": "image_url", "image_url": {"url": PNG, "detail": None, "later": None}, "text": None}

    assert one(**given) == one(type="image_url", image_url=PNG)


def test_a_value_of_the_wrong_kind_is_refused_with_its_place():
    with pytest.raises(RowFault, match=r"a\.b is 'x': Expected `int`, got `str`"):
        typed("x", int, "a.b")


@pytest.mark.parametrize("value", [1, "x", None, [], Text])
def test_an_object_has_fields(value):
    with pytest.raises(RowFault, match=r"here is .*, not an object"):
        object_of(value, "here")


def test_a_field_that_nobody_reads_is_refused_and_the_known_ones_named():
    report_others({"a": 1}, ("a", "b"), "here")
    with pytest.raises(RowFault, match=r"here has 'c', which .* \(known are a, b\)"):
        report_others({"a": 1, "c": 2}, ("a", "b"), "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "refusal", "image_url", "file", "input_audio"]) | JSON},
    optional=dict.fromkeys(("text", "image_url", "file", "input_audio", "cache_control"), JSON),
)


@given(JSON | st.lists(PARTS, max_size=2))
def test_whatever_json_stands_there_is_read_or_refused_and_nothing_else_happens(content):
    try:
        found = decode_content(content, "content")
    except RowFault:
        return

    assert all(isinstance(part, Text | Media) for part in found)


@pytest.mark.parametrize("data", ["@@", "abc", "ab==c", "a\nb=", "éé=="])
def test_bytes_that_are_no_base64_are_refused_with_their_place(data):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    for part in (image, sound):
        with pytest.raises(RowFault, match="which is no base64") as caught:
            decode_content([part], "messages[0].content")
        assert caught.value.code == "bad_data"
        assert "messages[0].content[0]" in caught.value.message
