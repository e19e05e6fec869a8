"""The schema made of a type says what fits into it, as a validator of JSON schemas reads it."""

import jsonschema
import pytest

from asyncbatch.codec.schema import schema_of
from tests.unit.codec.test_schema import FITTING, KINDS, Node, Tree

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_says_what_fits(kind):
    validator = jsonschema.Draft202012Validator(schema_of(kind).schema)

    assert validator.is_valid(FITTING)
    assert validator.is_valid({**FITTING, "best": {"weight": 1}})
    for name in FITTING:
        assert not validator.is_valid({key: value for key, value in FITTING.items() if key != name})
    for wrong in ({"more": 1}, {"color": "green"}, {"parts": [{}]}, {"best": {"weight": 1, "more": 1}}, {"kind": "c"}):
        assert not validator.is_valid({**FITTING, **wrong})


@pytest.mark.parametrize("kind", [Node, Tree])
def test_the_schema_of_a_type_that_holds_itself_says_what_fits(kind):
    validator = jsonschema.Draft202012Validator(schema_of(kind).schema)

    assert validator.is_valid({"name": "a", "children": [{"name": "b", "children": []}]})
    assert not validator.is_valid({"name": "a", "children": [{"name": "b"}]})
    assert not validator.is_valid({"name": "a", "children": [{"name": "b", "children": [], "more": 1}]})
