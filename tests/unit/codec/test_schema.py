"""The schema that an answer must fit: OpenAI's own object, or made of a type, and then strict to its last corner."""

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NotRequired, Optional, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from asyncbatch.codec.requests import RowFault
from asyncbatch.codec.schema import JsonSchema, decode_response_format, encode_response_format, schema_of

NAMED = {"name": "n", "schema": {"type": "object"}}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct):
    """A piece of it."""

    weight: float = 1.0


class AStruct(msgspec.Struct):
    title: str
    color: Color = Color.RED
    parts: list[Part] = []
    best: Part | None = None
    kind: Literal["a", "b"] = "a"
    count: Annotated[int, msgspec.Meta(ge=1, description="How many.")] = 1


@dataclass
class ADataPart:
    weight: float = 1.0


@dataclass
class ADataclass:
    title: str
    color: Color = Color.RED
    parts: list[ADataPart] = field(default_factory=list)
    best: ADataPart | None = None
    kind: Literal["a", "b"] = "a"
    count: int = 1


class ADictPart(TypedDict):
    weight: NotRequired[float]


class ADict(TypedDict, total=False):
    title: str
    color: Color
    parts: list[ADictPart]
    best: ADictPart | None
    kind: Literal["a", "b"]
    count: int


class AModelPart(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    weight: float = 1.0


class AModel(pydantic.BaseModel):
    title: str = pydantic.Field(examples=[{"default": 1}], default="none")
    color: Color = Color.RED
    parts: list[AModelPart] = []
    best: Optional[AModelPart] = None  # noqa: UP045 the older way to say it is still written
    kind: Literal["a", "b"] = "a"
    count: int = pydantic.Field(1, description="How many.", ge=1)


KINDS = [AStruct, ADataclass, ADict, AModel]
FITTING = {
    "title": "x",
    "color": "blue",
    "parts": [{"weight": 2.5}],
    "best": None,
    "kind": "b",
    "count": 3,
}


def objects(schema):
    """Give every object of a schema that has properties."""
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            yield schema
        for name, value in schema.items():
            yield from objects(list(value.values()) if name in ("properties", "$defs") else value)
    elif isinstance(schema, list):
        for item in schema:
            yield from objects(item)


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_becomes_a_schema_with_its_name(kind):
    made = schema_of(kind)

    assert (made.name, made.strict) == (kind.__name__, True)
    assert made.schema["type"] == "object"
    assert made.schema["properties"].keys() == FITTING.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_property_is_required_and_no_other_allowed_at_any_depth(kind):
    found = list(objects(schema_of(kind).schema))

    assert len(found) >= 2
    for made in found:
        assert sorted(made["required"]) == sorted(made["properties"])
        assert made["additionalProperties"] is False


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_is_left_at_any_depth_but_in_what_is_data(kind):
    text = json.dumps(schema_of(kind).schema)

    assert text.count('"default"') == text.count('"examples": [{"default": 1}]')


@pytest.mark.parametrize("kind", KINDS)
def test_what_fits_can_be_decoded_into_the_type(kind):
    text = json.dumps(FITTING)

    made = kind.model_validate_json(text) if kind is AModel else msgspec.json.decode(text, type=kind)

    assert (made["count"] if kind is ADict else made.count) == 3


def test_examples_are_data_and_stay_as_they_are():
    assert schema_of(AModel).schema["properties"]["title"]["examples"] == [{"default": 1}]


def test_a_type_may_be_named_like_a_word_of_a_schema():
    inner = msgspec.defstruct("default", [("a", int)])
    made = schema_of(msgspec.defstruct("outer", [("inner", inner)])).schema

    assert made["$defs"]["default"]["required"] == ["a"]


def test_descriptions_travel():
    for kind in (AStruct, AModel):
        assert schema_of(kind).schema["properties"]["count"]["description"] == "How many."


class Node(msgspec.Struct):
    name: str
    children: list["Node"] = []


class Tree(pydantic.BaseModel):
    name: str
    children: list["Tree"] = []


@pytest.mark.parametrize("kind", [Node, Tree])
def test_a_type_that_holds_itself_has_a_root_that_is_an_object_and_no_reference(kind):
    made = schema_of(kind).schema

    assert (made["type"], "$ref" in made) == ("object", False)
    assert made["properties"]["children"]["items"] == {"$ref": f"#/$defs/{kind.__name__}"}
    assert made["$defs"].keys() == {kind.__name__}
    assert len(list(objects(made))) == 2


def test_definitions_that_nobody_needs_are_left_out():
    assert "$defs" not in schema_of(Part).schema
    assert list(schema_of(AStruct).schema["$defs"]) == ["Color", "Part"]


class Odd(pydantic.BaseModel):
    """Its fields have the names of a schema's own words."""

    default: int = 1
    properties: dict[str, int] = {}
    required: list[str] = []
    enum: str = "x"


def test_properties_that_are_named_like_words_of_a_schema_are_properties():
    made = schema_of(Odd).schema

    assert made["required"] == ["default", "properties", "required", "enum"]
    assert made["properties"]["default"] == {"title": "Default", "type": "integer"}
    assert made["properties"]["properties"]["additionalProperties"] == {"type": "integer"}


T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    content: T


def test_a_name_holds_what_names_may_hold():
    made = schema_of(Box[int])
    long = schema_of(msgspec.defstruct("Ä" + "x" * 100, [("a", int)]))

    assert made.name == "Box_int_"
    assert long.name == "_" + "x" * 63


class NotJson(pydantic.BaseModel):
    call: Callable[[], int]


class Missing(msgspec.Struct):
    a: "Nowhere"  # noqa: F821


class AnArray(msgspec.Struct, array_like=True):
    a: int


class AList(pydantic.RootModel[list[int]]):
    pass


@pytest.mark.parametrize("kind", [NotJson, Missing, complex, object])
def test_a_type_without_a_schema_is_refused_by_name(kind):
    with pytest.raises(RowFault, match=f"no JSON schema can be made of {kind.__name__}") as caught:
        schema_of(kind)

    assert caught.value.code == "bad_response_format"


@pytest.mark.parametrize("kind", [int, str, list, AnArray, AList, Color])
def test_a_type_whose_values_are_no_objects_is_refused_by_name(kind):
    with pytest.raises(RowFault, match=f"the schema of {kind.__name__} is no object") as caught:
        schema_of(kind)

    assert caught.value.code == "bad_response_format"


# response_format


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, (None, False)),
        ({"type": "text"}, (None, False)),
        ({"type": "text", "json_schema": None}, (None, False)),
        ({"type": "json_object"}, (None, True)),
        ({"type": "json_schema", "json_schema": NAMED}, (JsonSchema(**NAMED), False)),
        (
            {"type": "json_schema", "json_schema": {**NAMED, "description": "d", "strict": False}},
            (JsonSchema(**NAMED, description="d", strict=False), False),
        ),
        ({"type": "json_schema", "json_schema": {**NAMED, "strict": None}}, (JsonSchema(**NAMED), False)),
        ({"type": "json_schema", "json_schema": Part}, (schema_of(Part), False)),
        (Part, (schema_of(Part), False)),
    ],
)
def test_a_response_format_is_read(given, expected):
    assert decode_response_format(given) == expected


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("json", "wrong_type", "response_format is 'json', neither an object nor a type"),
        (Part(), "wrong_type", "neither an object nor a type"),
        (list[int], "wrong_type", "list[int]"),
        ({}, "bad_response_format", "response_format.type is None"),
        ({"type": "xml"}, "bad_response_format", "'xml'; it is text, json_object or json_schema"),
        ({"type": ["text"]}, "bad_response_format", "['text']"),
        ({"type": "json_object", "schema": {}}, "unknown_field", "response_format has 'schema'"),
        ({"type": "text", "json_schema": NAMED}, "unknown_field", "'json_schema'"),
        ({"type": "json_schema", "json_schema": NAMED, "schema": {}}, "unknown_field", "'schema'"),
        ({"type": "json_schema"}, "bad_response_format", "json_schema is None"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "bad_response_format", "`name`"),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "bad_response_format", "`schema`"),
        ({"type": "json_schema", "json_schema": {**NAMED, "schema": []}}, "bad_response_format", "schema"),
        ({"type": "json_schema", "json_schema": {**NAMED, "strict": "yes"}}, "bad_response_format", "strict"),
        ({"type": "json_schema", "json_schema": {**NAMED, "later": 1}}, "unknown_field", "later"),
        ({"type": "json_schema", "json_schema": int}, "bad_response_format", "no object"),
    ],
)
def test_what_is_no_response_format_is_refused_with_its_value(given, code, says):
    with pytest.raises(RowFault) as caught:
        decode_response_format(given)

    assert caught.value.code == code
    assert says in caught.value.message


def test_openais_own_object_comes_back_without_what_is_not_said():
    assert encode_response_format(JsonSchema(**NAMED)) == {"type": "json_schema", "json_schema": NAMED}
    full: dict[str, Any] = {**NAMED, "description": "d", "strict": False}
    assert encode_response_format(JsonSchema(**full)) == {"type": "json_schema", "json_schema": full}


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Pets(pydantic.BaseModel):
    first: Cat = pydantic.Field(description="The one at the door.")
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


class Crate(msgspec.Struct):
    part: Annotated[Part, msgspec.Meta(description="Inside.")]


@pytest.mark.parametrize(
    ("kind", "name", "made"),
    [
        (Pets, "first", {"anyOf": [{"$ref": "#/$defs/Cat"}], "description": "The one at the door."}),
        (Pets, "pet", {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}], "title": "Pet"}),
        (Crate, "part", {"anyOf": [{"$ref": "#/$defs/Part"}], "description": "Inside."}),
    ],
)
def test_a_reference_stands_alone_and_a_choice_is_an_any_of(kind, name, made):
    """Strict schemas take neither words beside a reference nor oneOf, allOf and discriminators."""
    assert schema_of(kind).schema["properties"][name] == made
