"""Requests of any kind come in: read to their end, checked row by row, written down in order, and cut."""

import json
import math
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.requests import EncodedRow, Request
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import InvalidRequestsError, RowProblem
from asyncbatch.intake import Intake, IntakeRules, take_in
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.planning.duplicates import SeenIds
from asyncbatch.runtime import Runtime
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime

LIMITS = ChunkLimits(rows=50_000, file_bytes=200_000_000)


ROW_RULES = RowRules(
    title="OpenAI",
    endpoint="/v1/embeddings",
    format="openai.embedding",
    mode=BatchMode.EMBEDDING,
    model="m",
    line=lambda wire_id, body: b'{"custom_id":%b,"body":%b}\n' % (wire_id, body),
)


def encode(request: Request, wire_id: str) -> EncodedRow:
    return encode_row(request, wire_id, ROW_RULES)


def rules(**changes: Any) -> IntakeRules:
    return IntakeRules(**{"mode": BatchMode.EMBEDDING, "encode": encode, "limits": LIMITS} | changes)


async def take(requests: Any, *, space: SpoolSpace | None = None, on_reject=None, **changes: Any) -> Intake:
    return await take_in(requests, rules(**changes), space or SpoolSpace(virtual_runtime()), on_reject)


async def problems_of(requests: Any, **changes: Any) -> InvalidRequestsError:
    with pytest.raises(InvalidRequestsError) as caught:
        await take(requests, **changes)
    return caught.value


def lines_of(intake: Intake) -> list[dict[str, Any]]:
    return [json.loads(line) for line in intake.file.read().splitlines()]


def ids_of(intake: Intake) -> list[str]:
    return intake.ids.read(0, len(intake.ids))


class Body(msgspec.Struct):
    input: str


async def from_afar(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


ROWS = ["first", {"input": "second"}, Body("third"), {"custom_id": "mine", "body": {"input": "fourth"}}]


@pytest.mark.parametrize("wrap", [list, tuple, iter, from_afar], ids=["list", "tuple", "iterator", "async iterator"])
async def test_requests_of_every_kind_are_read_to_their_end_in_order(wrap):
    intake = await take(wrap(ROWS))

    assert ids_of(intake) == ["0000000", "0000001", "0000002", "mine"]
    assert [(line["custom_id"], line["body"]["input"]) for line in lines_of(intake)] == [
        ("0000000", "first"),
        ("0000001", "second"),
        ("0000002", "third"),
        ("mine", "fourth"),
    ]
    assert [chunk.rows for chunk in intake.chunks] == [4]
    assert len(intake.refused) == 0


async def test_the_callers_own_objects_stay_as_they_were():
    body = {"input": "x"}
    row = {"custom_id": "a", "body": body}

    await take([body, row])

    assert body == {"input": "x"}
    assert row == {"custom_id": "a", "body": {"input": "x"}}


async def test_minted_wire_ids_are_numbered_by_the_row_of_the_input_and_the_requests_keep_their_own():
    refused: list[RowProblem] = []

    intake = await take(
        ["a", {"input": ""}, {"custom_id": "mine", "body": {"input": "c"}}], wire_prefix="n0-", on_reject=refused.append
    )

    assert [line["custom_id"] for line in lines_of(intake)] == ["n0-0000000", "n0-0000002"]
    assert ids_of(intake) == ["0000000", "mine"]
    assert [problem.row for problem in refused] == [1]
    assert list(intake.refused) == [1]


@pytest.mark.parametrize("wire_prefix", [None, "n0-"])
async def test_the_providers_rule_for_ids_binds_only_ids_that_travel(wire_prefix):
    requests = [{"custom_id": "has space", "body": {"input": "x"}}]
    rule = {"id_pattern": re.compile("[a-z0-9]+"), "wire_prefix": wire_prefix}

    if wire_prefix is None:
        assert (await problems_of(requests, **rule)).problems[0].code == "bad_id"
    else:
        assert ids_of(await take(requests, **rule)) == ["has space"]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("one prompt", "str 'one prompt'"),
        (b"{}", "bytes"),
        ({"input": "x"}, "dict"),
        (Body("x"), "Body"),
        (17, "int 17"),
        (None, "NoneType"),
    ],
)
async def test_a_single_request_is_no_list_of_requests(given_, says):
    error = await problems_of(given_)

    assert error.code == "not_a_list"
    assert says in str(error)
    assert error.hint == "wrap it in a list"


@pytest.mark.parametrize("nothing", [[], iter(()), from_afar([])], ids=["list", "iterator", "async iterator"])
async def test_no_request_at_all_is_an_error(nothing):
    assert (await problems_of(nothing)).code == "empty"


BAD = [
    ({"input": math.nan}, "nan"),
    ({"input": "\ud800"}, "surrogate"),
    ({"input": object()}, "not_json"),
    (17, "not_an_object"),
    ({"custom_id": "", "body": {"input": "x"}}, "bad_id"),
    ({"custom_id": "x\ud800", "body": {"input": "x"}}, "surrogate"),
    ({"custom_id": "dup", "body": {"input": "x"}}, "duplicate_id"),
    ({"input": "x" * 2000}, "too_large"),
    ({"input": ["x"] * 6}, "too_many_inputs"),
    ({"url": "/v1/other", "body": {"input": "x"}}, "bad_url"),
]
GOOD = {"custom_id": "dup", "body": {"input": "x"}}
TIGHT = {"limits": ChunkLimits(rows=3, file_bytes=1000, inputs=5)}


@pytest.mark.parametrize(("bad", "code"), BAD, ids=[code for _, code in BAD])
async def test_one_bad_row_is_an_error_that_names_it_and_nothing_is_kept(bad, code, tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)

    error = await problems_of([GOOD, "fine", bad, "fine too"], space=space, **TIGHT)

    (problem,) = error.problems
    assert (problem.row, problem.code, error.count, error.code) == (2, code, 1, code)
    assert 'on_bad_row="reject"' in error.hint
    assert list(tmp_path.iterdir()) == []


async def test_bad_rows_are_told_one_by_one_and_the_others_go():
    refused: list[RowProblem] = []

    intake = await take([GOOD, *(bad for bad, _ in BAD), "fine"], on_reject=refused.append, **TIGHT)

    assert [(problem.row, problem.code) for problem in refused] == [(n, code) for n, (_, code) in enumerate(BAD, 1)]
    assert ids_of(intake) == ["dup", f"{len(BAD) + 1:07d}"]
    assert list(intake.refused) == list(range(1, len(BAD) + 1))


async def test_when_every_row_is_refused_there_is_nothing_to_send():
    intake = await take([17, 18], on_reject=lambda problem: None)

    assert (intake.chunks, list(intake.refused), len(intake.ids), intake.file.size) == ((), [0, 1], 0, 0)


async def test_the_first_twenty_bad_rows_are_kept_and_all_are_counted():
    error = await problems_of(list(range(500)))

    assert [problem.row for problem in error.problems] == list(range(20))
    assert error.count == 500


@pytest.mark.parametrize(
    ("size", "line_bytes", "most"), [(990, None, "1,000"), (400, 300, "300"), (2000, 5000, "1,000")]
)
async def test_a_row_over_the_limit_says_how_long_it_may_be(size, line_bytes, most):
    error = await problems_of(["x" * size], line_bytes=line_bytes, **TIGHT)

    assert f"a request may have {most}" in error.problems[0].message


# --- duplicates --------------------------------------------------------------------------------------------------------


def own(*names: str) -> list[dict[str, Any]]:
    return [{"custom_id": name, "body": {"input": "x"}} for name in names]


async def test_a_duplicate_names_the_row_that_had_the_id_before_in_the_same_slice_or_an_earlier_one():
    names = [f"row-{n}" for n in range(2000)]
    error = await problems_of(own(*names, "row-3", "row-1999", "row-3"))

    assert [(problem.row, problem.request_id) for problem in error.problems] == [
        (2000, "row-3"),
        (2001, "row-1999"),
        (2002, "row-3"),
    ]
    assert error.problems[0].message == "custom_id 'row-3' was used before, by row 3"
    assert error.problems[1].message == "custom_id 'row-1999' was used before, by an earlier row"


async def test_an_id_of_the_callers_own_may_not_be_one_that_is_minted_for_another_row():
    error = await problems_of([*own("0000001"), "the second row"])

    assert [(problem.row, problem.request_id, problem.code) for problem in error.problems] == [
        (1, None, "duplicate_id")
    ]
    assert "'0000001' was used before, by row 0" in error.problems[0].message


async def test_an_id_used_again_after_a_refused_row_had_it_is_a_duplicate():
    refused: list[RowProblem] = []

    intake = await take([{"custom_id": "a", "body": {"input": math.nan}}, *own("a", "b")], on_reject=refused.append)

    assert [problem.code for problem in refused] == ["nan", "duplicate_id"]
    assert ids_of(intake) == ["b"]


async def test_many_duplicates_are_told_without_looking_each_up():
    refused: list[RowProblem] = []

    await take(own("a", *(["a"] * 30)), on_reject=refused.append)

    assert len(refused) == 30
    assert refused[0].message.endswith("by row 0")
    assert refused[-1].message == "custom_id 'a' was used before"


async def test_two_ids_whose_hashes_are_equal_are_no_duplicates(monkeypatch):
    # Two such texts cannot be found by trying, so the hash is made poor.
    monkeypatch.setattr(SeenIds, "_hash", lambda self, request_id: 7)

    assert ids_of(await take(own("one", "other"))) == ["one", "other"]


# --- slices, threads, time ---------------------------------------------------------------------------------------------


async def test_rows_are_encoded_about_a_megabyte_at_a_time():
    slices: list[int] = []

    async def offload(func, /, *args):
        if args and isinstance(args[0], list):
            slices.append(len(args[0]))
        return func(*args)

    clock = VirtualClock()
    space = SpoolSpace(Runtime(now=clock.now, offload=offload))
    intake = await take(["x" * 100_000] * 100, space=space)

    assert sum(slices) == 100
    assert slices[0] == 32  # nothing is known yet about how large rows are
    assert set(slices[1:-1]) == {Runtime().slice_bytes // 100_000}
    assert intake.file.size > 100 * 100_000
    await space.discard()


async def test_a_slow_iterator_gives_way_to_others():
    clock, given_out = VirtualClock(), []

    async def offload(func, /, *args):
        if args and isinstance(args[0], list):
            given_out.append(len(args[0]))
        return func(*args)

    def slow() -> Iterator[str]:
        for _ in range(5):
            clock.advance(0.01)
            yield "x"

    await take(slow(), space=SpoolSpace(Runtime(now=clock.now, offload=offload)))

    assert given_out == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("where", ["iterator", "async iterator", "hook"])
async def test_an_error_of_the_callers_own_code_comes_out_as_it_is_and_nothing_is_kept(where, tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    files: list[int] = []

    def files_now() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file()]

    def broken() -> Iterator[Any]:
        yield from ["x" * Runtime().slice_bytes] * 40
        files.append(len(files_now()))
        yield 17
        raise ZeroDivisionError("mine")

    def hook(problem: RowProblem) -> None:
        raise ZeroDivisionError("mine")

    requests = from_afar(broken()) if where == "async iterator" else broken()
    with pytest.raises(ZeroDivisionError, match="mine"):
        await take(requests, space=space, on_reject=hook if where == "hook" else lambda problem: None)

    assert files == [1]
    assert files_now() == []


async def test_what_came_in_can_be_given_back():
    intake = await take(["a"])

    await intake.discard()

    assert intake.file.size == 0


ITEMS = st.lists(
    st.sampled_from(["text", {"input": "x" * 50}, {"input": ["a", "b"]}, 17, {"input": math.nan}, {"input": ""}])
    | st.builds(lambda name: {"custom_id": name, "body": {"input": "x"}}, st.sampled_from(["a", "b", "0000002", ""])),
    max_size=40,
)


@given(ITEMS, st.integers(1, 5), st.sampled_from([list, iter, from_afar]))
async def test_every_row_is_either_written_in_its_place_or_refused_by_its_number(items, rows, wrap):
    refused: list[RowProblem] = []
    limits = ChunkLimits(rows=rows, file_bytes=1000, inputs=4)
    if not items:
        return

    intake = await take(wrap(items), on_reject=refused.append, limits=limits)

    bad = {problem.row for problem in refused}
    good = [n for n in range(len(items)) if n not in bad]
    expected = [
        items[n]["custom_id"] if isinstance(items[n], dict) and "custom_id" in items[n] else f"{n:07d}" for n in good
    ]
    assert sorted(bad) == list(intake.refused)
    assert len(bad) == len(refused)
    assert ids_of(intake) == expected
    assert len(set(expected)) == len(expected)
    assert [line["custom_id"] for line in lines_of(intake)] == expected
    assert sum(chunk.rows for chunk in intake.chunks) == len(good)
    assert sum(chunk.size for chunk in intake.chunks) == intake.file.size
    for n, item in enumerate(items):
        is_fine = item == "text" or (isinstance(item, dict) and item.get("input") in ("x" * 50, ["a", "b"]))
        taken_before = f"{n:07d}" in [i["custom_id"] for i in items[:n] if isinstance(i, dict) and "custom_id" in i]
        assert not is_fine or (n in bad) == taken_before


@pytest.mark.parametrize("wire_prefix", [None, "n0-"])
async def test_an_id_of_the_users_own_is_told_apart_from_the_numbers_of_rows_before_and_after_it(wire_prefix):
    before = await problems_of(["a", "b", *own("0000001")], wire_prefix=wire_prefix)
    after = await problems_of([*own("0000002"), "b", "c"], wire_prefix=wire_prefix)

    assert [(problem.row, problem.code) for problem in before.problems] == [(2, "duplicate_id")]
    assert [(problem.row, problem.code) for problem in after.problems] == [(2, "duplicate_id")]
    assert len((await take(["a", *own("0000007"), "b"], wire_prefix=wire_prefix)).ids) == 3


async def test_the_number_of_a_row_that_got_no_id_is_free_for_an_id_of_the_users_own():
    refused: list[RowProblem] = []

    intake = await take(["a", 17, *own("0000001")], on_reject=refused.append)

    assert ids_of(intake) == ["0000000", "0000001"]
    assert [problem.row for problem in refused] == [1]
