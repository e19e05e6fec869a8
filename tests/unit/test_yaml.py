"""The YAML reader: 1.2 scalars, and a file and line for everything that is wrong."""

import math

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asyncbatch.catalog import _yaml
from asyncbatch.catalog._yaml import MAX_DEPTH, Node, Place, from_python, join, leaves, merge, parse

TAG = "the tag {!r} is not read here; write the value without it"
LOADERS = [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader]


@pytest.fixture(params=LOADERS, ids=["c", "python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "_LOADER", request.param)


def plain(node: Node):
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def read(text: str):
    node, mistakes = parse(text, file="f.yaml")
    assert mistakes == []
    return plain(node)


def mistakes_of(text: str) -> list[str]:
    return [str(mistake) for mistake in parse(text, file="f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.5e+3", -2500.0),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("none", "none"),
        ("2026-11-22", "2026-11-22"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("12:30:45", "12:30:45"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("=", "="),
        ("<<", "<<"),
        ("'12'", "12"),
        ('"no"', "no"),
        ('""', ""),
        ('"\\u00e9"', "é"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("gpt-4.1*", "gpt-4.1*"),
        ("9" * 101, "9" * 101),
    ],
)
def test_a_scalar_is_read_as_yaml_1_2(text, value):
    found = read(f"k: {text}\n")["k"]

    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number():
    assert math.isnan(read("k: .nan")["k"])


@pytest.mark.parametrize("text", ["k: |\n  a\n  b\n", "k: >-\n  12\n", "k: |-\n  no\n"])
def test_block_text_is_always_text(text):
    assert isinstance(read(text)["k"], str)


def test_keys_are_always_text():
    assert read("429: a\nno: b\n1e3: c\n'': d\n") == {"429": "a", "no": "b", "1e3": "c", "": "d"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("---\n", None),
        ("a", "a"),
        ("- 1\n- [2, {b: 3}]\n", [1, [2, {"b": 3}]]),
        ("a: {b: [c, d]}\ne:\n  f: g\n", {"a": {"b": ["c", "d"]}, "e": {"f": "g"}}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &name 1\n", {"a": 1}),
        ("a: !!map {}\nb: !!seq []\n", {"a": {}, "b": []}),
    ],
)
def test_a_document_becomes_a_tree(text, value):
    assert read(text) == value


def test_an_entry_stands_on_the_line_of_its_key_and_an_item_on_its_own():
    root, _ = parse("a: 1\n\nb:\n  - x\n  - y\nc:\n  d: 2\n", file="f.yaml")

    assert [(path, node.place.line) for path, node in leaves(root)] == [("a", 1), ("b[0]", 4), ("b[1]", 5), ("c.d", 7)]
    assert root.value["c"].place == Place("f.yaml", 6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["f.yaml:3: a: this key stands already on line 1"]),
        (
            "x:\n  a: 1\n  a: {b: 1}\n  'a': 2\n",
            [
                "f.yaml:3: x.a: this key stands already on line 2",
                "f.yaml:4: x.a: this key stands already on line 2",
            ],
        ),
        ("x:\n  - {a: 1, a: 2}\n", ["f.yaml:2: x[0].a: this key stands already on line 2"]),
        ("a: &x 1\nb: *x\n", ["f.yaml:2: b: an alias is not read here; write the value again"]),
        ("a: &x [*x]\n", ["f.yaml:1: a[0]: an alias is not read here; write the value again"]),
        (
            "a: &x 1\n*x : 2\n",
            ["f.yaml:2: an alias is not read here; write the value again", "f.yaml:2: a key must be text"],
        ),
        (
            "a: !!int '3'\n",
            ["f.yaml:1: a: the tag 'tag:yaml.org,2002:int' is not read here; write the value without it"],
        ),
        ("- !!python/name:os {}\n", [f"f.yaml:1: [0]: {TAG.format('tag:yaml.org,2002:python/name:os')}"]),
        ("? [a]\n: 1\n", ["f.yaml:1: a key must be text"]),
        ("a: 1\n---\nb: 2\n", ["f.yaml:2: a second document begins here; one file holds one"]),
        ("a: 1\nb: \x07\n", ["f.yaml:2: the character U+0007 may not stand in YAML"]),
        ("a: \ud800\n", ["f.yaml:1: the character U+D800 may not stand in YAML"]),
    ],
)
def test_what_is_not_read_is_named_with_its_line_and_path(text, expected):
    assert mistakes_of(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a:\n\t- 1\n", 2),
        ("a: 'x\n\n", 3),
        ("a: @x\n", 1),
        ('a: "\\UFFFFFFFF"\n', None),
        ('a: "\\ud800"\n', None),
    ],
)
def test_text_that_is_no_yaml_is_one_mistake_with_a_line(text, line):
    mistakes = parse(text, file="f.yaml")[1]

    assert len(mistakes) == 1
    if line:
        assert mistakes[0].place == Place("f.yaml", line)
        assert mistakes[0].message.startswith("not YAML: ")


def test_deep_nesting_ends_in_a_mistake():
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert mistakes_of("a:\n  - " + "[" * 40)[0].startswith("f.yaml:2: a[0][0]")
    assert f"nested deeper than {MAX_DEPTH} levels" in mistakes_of("[" * 40)[0]
    assert "nest" in mistakes_of("[" * 100_000)[0]


def test_everything_wrong_in_a_file_is_found_at_once():
    assert len(mistakes_of("a: 1\na: 2\nb: *x\nb: !t 1\n")) == 4


def test_a_mapping_made_in_code_has_the_same_form():
    node, mistakes = from_python({"a": {"b": (1, None)}, 5: "x"}, file="config")

    assert mistakes == []
    assert plain(node) == {"a": {"b": [1, None]}, "5": "x"}
    assert [path for path, _ in leaves(node)] == ["a.b[0]", "a.b[1]", "5"]


def test_a_mapping_made_in_code_is_told_what_it_may_not_hold():
    node, mistakes = from_python({"a": [object()]}, file="config")

    assert [str(m) for m in mistakes] == ["config: a[0]: expected text, a number, a mapping or a list, got object"]
    assert plain(node) == {"a": [None]}


def test_a_mapping_that_contains_itself_ends_in_a_mistake():
    loop: dict[str, object] = {}
    loop["a"] = loop["b"] = loop

    node, mistakes = from_python(loop, file="config")

    assert len(mistakes) == 1
    assert "nested deeper" in mistakes[0].message
    assert node.value is None


@pytest.mark.parametrize(
    ("base", "over", "both"),
    [
        ("{a: 1, b: {c: 2, d: 3}}", "{b: {c: 4}, e: 5}", {"a": 1, "b": {"c": 4, "d": 3}, "e": 5}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {b: 1}}", "{a: 2}", {"a": 2}),
        ("{a: 1}", "{a: null}", {"a": None}),
        ("{a: {b: 1}, c: [1]}", "{a: , c: }", {"a": {"b": 1}, "c": [1]}),
        ("{a: 1}", "", {"a": 1}),
    ],
)
def test_a_tree_laid_over_another_keeps_what_it_does_not_speak_of(base, over, both):
    assert plain(merge(parse(base, file="b")[0], parse(over, file="o")[0])) == both


def test_a_merged_tree_remembers_where_each_value_stands():
    merged = merge(parse("a: 1\nb: 2\n", file="base")[0], parse("\nb: 3\n", file="mine")[0])

    assert {path: str(node.place) for path, node in leaves(merged)} == {"a": "base:1", "b": "mine:2"}


def test_paths_are_joined_with_dots():
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab01:-?,[]{}#&*!|>'\"%@`~ \n\t\\.$xU\ud800é"))
@example("? ? a")
@example('"\\')
@example("%YAML 99999999999999999999.1\n---\n")
def test_no_text_makes_the_reader_raise(text):
    for each in LOADERS:
        _yaml._LOADER = each
        root, mistakes = parse(text, file="f.yaml")
        assert isinstance(root, Node)
        assert all(mistake.place.file == "f.yaml" for mistake in mistakes)
