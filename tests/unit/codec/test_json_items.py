"""Elements are cut out of a document that comes in pieces, wherever those end; what is left is the document without them."""

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncbatch.codec.json_items import ItemCutter, TooLargeError

OUTPUT = ("metadata", "output", "inlinedResponses", "inlinedResponses")
RESPONSE = ("response", "inlinedResponses", "inlinedResponses")
BOM = b"\xef\xbb\xbf"


def cut(document, paths=(("items",),), *, size=None, **caps):
    """Feed a document in pieces of one size; give the elements and the skeleton."""
    cutter = ItemCutter(paths, **caps)
    items = []
    size = size or len(document) or 1
    for at in range(0, len(document), size):
        items += cutter.feed(document[at : at + size])
    return items, cutter.end()


def every_cut(document, paths=(("items",),)):
    """Give the one answer that a document has, however it is cut."""
    whole = cut(document, paths)
    for size in range(1, 9):
        assert cut(document, paths, size=size) == whole
    for at in range(1, len(document)):
        cutter = ItemCutter(paths)
        items = cutter.feed(document[:at]) + cutter.feed(b"") + cutter.feed(document[at:])
        assert (items, cutter.end()) == whole
    return whole


def test_the_elements_of_an_array_are_given_and_the_rest_is_left():
    items, skeleton = every_cut(b'{"id":"b1","items":[{"a":1},{"b":[2,{"c":"]"}]}],"done":true}')

    assert items == [(0, b'{"a":1}'), (0, b'{"b":[2,{"c":"]"}]}')]
    assert skeleton == b'{"id":"b1","items":[],"done":true}'


# From the fact sheet on Gemini, 2026-11; the first of the two is what a pretty printer makes of it.
GEMINI = json.dumps(
    {
        "name": "batches/bbbb",
        "metadata": {
            "state": "BATCH_STATE_SUCCEEDED",
            "batchStats": {"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"},
            "output": {
                "inlinedResponses": {
                    "inlinedResponses": [
                        {
                            "metadata": {"key": "a"},
                            "response": {"candidates": [{"content": {"parts": [{"text": 'Say "hi"\\\n'}]}}]},
                        },
                        {"metadata": {"key": "b"}, "error": {"code": 3, "message": "…"}},
                    ]
                }
            },
        },
        "done": True,
        "response": {"@type": "x", "inlinedResponses": {"inlinedResponses": [{"metadata": {"key": "a"}}]}},
    },
    indent=2,
).encode()


def test_an_output_that_stands_twice_comes_twice_and_says_where_it_stood():
    items, skeleton = every_cut(GEMINI, (OUTPUT, RESPONSE))
    document = json.loads(GEMINI)
    first = document["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]

    assert [(index, json.loads(item)) for index, item in items] == [
        (0, first[0]),
        (0, first[1]),
        (1, {"metadata": {"key": "a"}}),
    ]
    assert not any(b"\n" in item for _, item in items), "each is a line"
    first.clear()
    document["response"]["inlinedResponses"]["inlinedResponses"].clear()
    assert json.loads(skeleton) == document
    assert len(skeleton) < 400


@pytest.mark.parametrize(
    "element",
    [
        b"1",
        b"-1.5e+7",
        b"true",
        b"null",
        b'""',
        b'"]"',
        b'"\\""',
        b'"\\\\"',
        b'"a\\\\\\"]b"',
        b"[]",
        b"{}",
        b'[["]"],[[]]]',
        b'{"]":"["}',
    ],
)
def test_an_element_may_be_anything(element):
    items, skeleton = every_cut(b'{"items":[' + element + b" ,\t" + element + b'\r\n],"n":1}')

    assert items == [(0, element)] * 2
    assert skeleton == b'{"items":[],"n":1}'


@pytest.mark.parametrize("document", [b'{"items":[]}', b' {\t"items" :\r\n[ ]\n} ', b'{"items":[\n]}'])
def test_an_empty_array_has_no_elements(document):
    assert every_cut(document) == ([], b'{"items":[]}')


@pytest.mark.parametrize(
    "document",
    [
        b'{"items":null}',
        b'{"items":{"items":[1]}}',
        b'{"items":"[1]"}',
        b'{"items":12}',
        b'{"other":{"items":[1]}}',
        b'{"other":[{"items":[1]}]}',
        b'[{"items":[1]}]',
        b'"items"',
        b"12",
        b"null",
        b"[]",
        b"{}",
    ],
)
def test_what_is_no_array_at_the_path_stays_in_the_skeleton(document):
    assert every_cut(document) == ([], document)


def test_a_path_may_be_the_root_and_may_lead_past_another():
    assert every_cut(b"[1, [2]]", ((),)) == ([(0, b"1"), (0, b"[2]")], b"[]")
    assert every_cut(b'{"a":{"b":[1]}}', (("a",), ("a", "b"))) == ([(1, b"1")], b'{"a":{"b":[]}}')
    assert every_cut(b'{"a":[{"b":[1]}]}', (("a",), ("a", "b"))) == ([(0, b'{"b":[1]}')], b'{"a":[]}')


def test_a_key_may_be_written_with_escapes_and_may_come_twice():
    assert every_cut(b'{"it\\u0065ms":[1],"items":[2],"it\\\\ems":[3]}') == (
        [(0, b"1"), (0, b"2")],
        b'{"it\\u0065ms":[],"items":[],"it\\\\ems":[3]}',
    )


def test_a_byte_order_mark_is_dropped():
    assert every_cut(BOM + b'{"items":[1]}') == ([(0, b"1")], b'{"items":[]}')


def test_a_line_break_between_tokens_goes_with_the_indentation_behind_it():
    items, _ = every_cut(b'{"items":[{\n    "a":\n\n 1,\r\n\t"b": "x\\ny  z"\n}]}')

    assert items == [(0, b'{ "a": 1,\r "b": "x\\ny  z" }')]


BROKEN = {
    "nothing": b"",
    "space": b" \n",
    "half a mark": BOM[:2],
    "half a mark and more": BOM[:2] + b"{}",
    "a mark in the middle": b"{}" + BOM,
    "two documents": b"{}{}",
    "no key": b"{1:2}",
    "no colon": b'{"a" 1}',
    "no value": b'{"a":}',
    "a comma too many": b'{"a":1,}',
    "no comma": b'{"a":1 "b":2}',
    "no comma between elements": b'{"items":[1 2]}',
    "no comma between objects": b'{"items":[{}{}]}',
    "an empty element": b'{"items":[1,,2]}',
    "a comma at the end": b'{"items":[1,]}',
    "a comma at the beginning": b'{"items":[,1]}',
    "an object's end for an array's": b'{"items":[1}}',
    "an array's end for an object's": b'{"items":[1]]',
    "a string behind a number": b'{"items":[1"a"]}',
    "a bracket behind a number": b'{"items":[1[2]]}',
    "a bracket too many": b'{"items":[1]]}',
    "no key but a control character": b'{"a\nb":1}',
    "no number": b'{"a":01}',
    "no word": b'{"a":True}',
    "a page": b"<html><body>busy</body></html>",
    "a page behind it": b"{}<html>",
}


@pytest.mark.parametrize("document", BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_around_the_elements_is_an_error(document):
    for size in (1, 2, 3, 100):
        with pytest.raises(ValueError, match=r"document|control") as caught:
            cut(document, size=size)
        assert not isinstance(caught.value, TooLargeError)


@pytest.mark.parametrize("word", [b"NaN", b"-Infinity", b"True", b"01", b"9" * 5_000, b"'x'"])
def test_an_element_that_is_no_value_costs_no_other_one(word):
    for size in (1, 2, 3, 6_000):
        items, skeleton = cut(b'{"items":[1,' + word + b',{"a":2}],"n":1}', size=size)
        assert items == [(0, b"1"), (0, word), (0, b'{"a":2}')]
        assert skeleton == b'{"items":[],"n":1}'


@pytest.mark.parametrize(
    "document", [GEMINI, b'{"items":["\\\\\\"", {"a":"\\u00e9"}], "n" : 1.5}', b'["a"]', b'"a\\""']
)
def test_a_document_that_is_cut_off_is_an_error_wherever_it_is_cut(document):
    for at in range(len(document)):
        with pytest.raises(ValueError, match="cut off"):
            cut(document[:at], (("items",), OUTPUT))


def test_an_element_that_is_too_large_is_an_error_before_all_of_it_has_come():
    cutter = ItemCutter((("items",),), max_item_bytes=100)
    whole = cutter.feed(b'{"items":["' + b"x" * 98 + b'","')
    with pytest.raises(TooLargeError, match="larger than 100 bytes"):
        cutter.feed(b"x" * 100)

    assert [len(item) for _, item in whole] == [100]


@pytest.mark.parametrize(
    "document",
    [
        b'{"other":"' + b"x" * 200,
        b'{"' + b"x" * 200,
        b'{"other":[' + b"[1]," * 60,
        b'{"other":' + b"1" * 200,
        b"{" + b'"b":1,' * 40,
        b"{" + b'"a":{},' * 40,
        b"{" + b'"items":[],' * 40,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_skeleton_that_is_too_large_is_an_error_before_all_of_it_has_come(document, size):
    with pytest.raises(TooLargeError, match="more than 100 bytes stand outside"):
        cut(document, (("items",), ("a", "b")), size=size, max_skeleton_bytes=100)


def test_elements_count_for_themselves_and_not_for_the_skeleton():
    items, skeleton = cut(
        b'{"items":[' + b",".join([b'"' + b"x" * 90 + b'"'] * 50) + b"]}", max_item_bytes=100, max_skeleton_bytes=12
    )

    assert len(items) == 50
    assert skeleton == b'{"items":[]}'


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"items":['])
def test_any_depth_is_passed_over_without_recursion(opening):
    depth = 200_000
    closing = {b"[": b"]", b'{"a":': b"}", b'{"items":[': b"]}"}[opening] * depth
    items, _ = cut(b'{"items":[' + opening * depth + b"1" + closing + b",2]}", size=65_536)

    assert [len(item) for _, item in items] == [len(opening) * depth + 1 + len(closing), 1]


def test_a_long_document_is_never_held():
    item = b'{"metadata":{"key":"a"},"text":"' + b"x\\n" * 700 + b'"}'
    piece = (item + b",") * 100
    cutter = ItemCutter((("items",),))
    cutter.feed(b'{"items":[')
    tracemalloc.start()
    count = sum(len(cutter.feed(piece)) for _ in range(100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 10_000
    assert peak < 2 * 1024 * 1024, "20 MB went through"
    assert cutter.feed(item + b"]}") == [(0, item)]
    assert cutter.end() == b'{"items":[]}'


def test_one_long_string_is_read_once_however_many_pieces_it_comes_in():
    # Read from its beginning with each piece it would take minutes.
    items, _ = cut(b'{"items":["' + b'x\\"' * 2_000_000 + b'"]}', size=4096)

    assert [len(item) for _, item in items] == [6_000_002]


TEXTS = st.text(alphabet=st.sampled_from('ab"\\[]{},:\n\u2028é\U0001f600 ')) | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)
FILLED = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.sampled_from(["items", "a", "b", 'q"\\']), inner, max_size=4),
    max_leaves=12,
)
PATHS = (("items",), ("a", "items"), ("a", "b", 'q"\\'))


def emptied(document, paths):
    """Take the elements out of a parsed document, in the order in which they stand."""
    found = []

    def walk(value, path):
        if isinstance(value, list) and path in paths:
            found.extend((paths.index(path), element) for element in value)
            return []
        if isinstance(value, dict):
            return {key: walk(inner, (*path, key)) for key, inner in value.items()}
        return value

    return walk(document, ()), found


@settings(max_examples=400, deadline=None)
@given(
    document=FILLED,
    style=st.sampled_from(
        [{}, {"indent": 2}, {"indent": "\t", "ensure_ascii": False}, {"separators": (" \r\n,", "\t: ")}]
    ),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    mark=st.sampled_from([b"", BOM]),
)
@example(document={"items": ['\\"', "\\"]}, style={}, sizes=[1], mark=BOM)
def test_any_document_in_any_pieces_gives_what_a_parser_gives(document, style, sizes, mark):
    data = mark + json.dumps(document, **style).encode("utf-8", "surrogatepass")
    cutter, items, at, turn = ItemCutter(PATHS), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        items += cutter.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    skeleton, expected = emptied(document, PATHS)

    assert json.loads(cutter.end()) == skeleton
    assert [(index, json.loads(item)) for index, item in items] == expected
    assert not any(b"\n" in item for _, item in items)


SCRAPS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b":",
    b",",
    b'"items"',
    b'{"items":[',
    b'"a":',
    b"1",
    b"-",
    b" ",
    b"\xff",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SCRAPS)).map(b"".join))
def test_what_a_parser_refuses_is_refused_here_or_by_the_parser_of_a_part(data):
    def parse():
        items, skeleton = cut(data, PATHS, size=3)
        return json.loads(skeleton), [(index, json.loads(item)) for index, item in items]

    try:
        document = json.loads(data)
    except ValueError:
        with pytest.raises(ValueError):
            parse()
    else:
        found = parse()
        assert found[0] == emptied(document, PATHS)[0] or data.count(b'"items"') > 1


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_an_element_may_be_larger_than_any_where_its_own_arrays_are_left_out(step):
    document = b'{"ops":[{"a":{"rows":["%b","]"]},"b":"]}"},7,{"a":{"rows":3}}],"next":"tok"}' % (b"x" * 300)
    cutter = ItemCutter([("ops",)], within=[("a", "rows")], max_item_bytes=320)
    found = [item for at in range(0, len(document), step) for _, item in cutter.feed(document[at : at + step])]

    assert found == [b'{"a":{"rows":[]},"b":"]}"}', b"7", b'{"a":{"rows":3}}']
    assert cutter.end() == b'{"ops":[],"next":"tok"}'


def test_an_element_that_is_no_json_is_found_out_though_it_is_emptied():
    cutter = ItemCutter([("ops",)], within=[("rows",)])

    with pytest.raises(ValueError, match="no JSON"):
        cutter.feed(b'{"ops":[{"rows" "x"}]}')
