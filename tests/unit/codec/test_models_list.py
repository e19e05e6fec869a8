"""Lists of models, in the two shapes that providers have."""

import msgspec
import pytest

from asyncbatch.codec.models_list import decode_models


@pytest.mark.parametrize(
    ("body", "names", "cursor"),
    [
        (b'{"object":"list","data":[{"id":"a","owned_by":"x"},{"id":"b"}]}', ("a", "b"), None),
        (b'{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}', ("a",), "a"),
        (b'{"data":[{"id":"a"}],"has_more":false,"last_id":"a"}', ("a",), None),
        (b'{"data":[],"has_more":true,"last_id":""}', (), None),
        (b'{"models":[{"name":"models/a"},{"name":"tunedModels/b"}],"nextPageToken":"t"}', ("a", "tunedModels/b"), "t"),
        (b'{"models":[{"name":"models/a"}]}', ("a",), None),
        (b'{"nextPageToken":"t"}', (), "t"),
        (b" {} ", (), None),
    ],
)
def test_names_and_the_next_page_are_read(body, names, cursor):
    assert decode_models(body) == (names, cursor)


@pytest.mark.parametrize("body", [b"[]", b'{"data":[{"name":"a"}]}', b'{"detail":"no"}', b"<html>", b""])
def test_anything_else_is_no_list_of_models(body):
    with pytest.raises(msgspec.DecodeError):
        decode_models(body)
