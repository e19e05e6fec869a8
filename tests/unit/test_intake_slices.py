"""A slice of usual rows goes a short way: what comes of it is what each row by itself would have become, to the last byte."""

import json
import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.catalog import load_catalog
from asyncbatch.codec.rows import RowEncoder, RowRules
from asyncbatch.codec.slices import Usual
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import InvalidRequestsError, RowProblem
from asyncbatch.intake import IntakeRules, take_in, told_apart
from asyncbatch.planning.chunking import ChunkLimits
from asyncbatch.providers._shapes.openai import encode_line, line_frame
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

OPENAI = load_catalog().provider("openai")
URLS = {
    BatchMode.CHAT: "/v1/chat/completions",
    BatchMode.COMPLETION: "/v1/completions",
    BatchMode.EMBEDDING: "/v1/embeddings",
    BatchMode.CUSTOM: "/v1/responses",
}
KINDS = {BatchMode.CHAT: "chat", BatchMode.COMPLETION: "completion", BatchMode.EMBEDDING: "embedding"}
NO_LIMITS = ChunkLimits(rows=None, file_bytes=None)


def rules_of(mode: BatchMode, *, is_short: bool, limits: ChunkLimits = NO_LIMITS, **changes: Any) -> IntakeRules:
    url = URLS[mode]
    rows = RowRules(
        title="OpenAI",
        endpoint=url,
        format=f"openai.{KINDS.get(mode, 'responses')}",
        mode=mode,
        model="m",
        line=lambda wire_id, body: encode_line(wire_id, body, url, OPENAI),
    )
    encoder = RowEncoder(rows)
    short = {"encode_usual": encoder.encode_usual, "frame": line_frame(url)} if is_short else {}
    return IntakeRules(mode=mode, encode=encoder, limits=limits, **short, **changes)


async def taken(items: list[Any], mode: BatchMode, *, is_short: bool, **changes: Any) -> dict[str, Any]:
    """Give everything that comes of some items."""
    refused: list[RowProblem] = []
    rules = rules_of(mode, is_short=is_short, **changes)
    try:
        with told_apart():
            intake = await take_in(items, rules, SpoolSpace(virtual_runtime()), refused.append)
    except InvalidRequestsError as error:
        return {"error": str(error)}
    return {
        "lines": intake.file.read(),
        "ids": intake.ids.read(0, len(intake.ids)),
        "chunks": intake.chunks,
        "refused": list(intake.refused),
        "problems": [(problem.row, problem.request_id, problem.code, problem.message) for problem in refused],
        "digest": intake.digest,
    }


TEXTS = st.sampled_from(["hello", "", "é", 'a "quoted"\nline', "\ud800", "x" * 300])
SCALARS = TEXTS | st.sampled_from([0, 1.5, None, True, math.nan, -math.inf, 2**80])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system"]), "content": TEXTS},
        optional={"name": SCALARS, "cache_control": st.just({"type": "ephemeral"}), 7: st.just("x")},
    )
    | st.sampled_from(["text", {"content": [{"type": "text", "text": "a"}]}, {}]),
    max_size=3,
)
FIELDS = {
    "model": st.sampled_from(["m", "other", None, ["m"]]),
    "max_tokens": SCALARS,
    "stream": st.booleans(),
    "top_k": st.just(3),
    "metadata": st.sampled_from(
        [
            {"a": [1, {"b": None}]},
            {"a": [math.nan]},
            {"a": msgspec.Raw(b"{")},
            {"a": msgspec.Raw(b"[1,\n2]")},
            {1: "x"},
            (1,),
        ]
    ),
}
BODIES = st.fixed_dictionaries({"messages": MESSAGES}, optional=FIELDS)
OTHERS = st.fixed_dictionaries(
    {}, optional=FIELDS | {"prompt": SCALARS, "input": SCALARS | st.lists(TEXTS, max_size=3)}
)
IDS = st.sampled_from(["a", "b", "c", "0000001", "", "é", "with space", "\udfff", 'quo"te', "back\\slash", None, 7])
READY = st.fixed_dictionaries(
    {"custom_id": IDS, "body": BODIES | OTHERS},
    optional={"method": st.sampled_from(["POST", "GET"]), "url": st.sampled_from([*URLS.values(), None, ["/"]])},
)
USUAL = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}


READY_ROW = {"method": "POST", "url": URLS[BatchMode.CHAT], "body": USUAL}


def mostly(rare: st.SearchStrategy[Any], usual: Any) -> st.SearchStrategy[list[Any]]:
    """Give a list of usual items with a rare one or two among them."""
    return st.lists(rare, max_size=2).flatmap(lambda some: st.permutations([usual] * 4 + some))


ITEMS = (
    mostly(BODIES, USUAL)
    | mostly(OTHERS, {"prompt": "a"})
    | mostly(OTHERS, {"input": "a"})
    | mostly(READY, {"body": USUAL})
    | st.lists(READY, min_size=1, max_size=4)
    | st.lists(TEXTS, min_size=1, max_size=4)
    | st.lists(st.builds(lambda name: {"custom_id": name, "body": USUAL}, IDS), min_size=1, max_size=6)
    | st.lists(BODIES | READY | TEXTS | st.just(17), min_size=1, max_size=6)
)
MODES = st.sampled_from(list(URLS))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "wire_prefix": st.just("5c0ffee5-"),
        "id_pattern": st.sampled_from([re.compile(r"[a-z0-9]+"), re.compile(r"[a-c]")]),
        "line_bytes": st.sampled_from([100, 180, 400]),
        "limits": st.sampled_from(
            [ChunkLimits(rows=3, file_bytes=600), ChunkLimits(rows=50, file_bytes=900, inputs=2)]
        ),
    },
)


@given(ITEMS, MODES, CHANGES)
async def test_rows_that_go_the_short_way_become_what_each_by_itself_would(items, mode, changes):
    alone = await taken(items, mode, is_short=False, **changes)
    together = await taken(items, mode, is_short=True, **changes)

    assert together == alone


@pytest.mark.parametrize(
    ("mode", "items"),
    [
        (BatchMode.CHAT, [USUAL] * 100),
        (BatchMode.CHAT, ["hello"] * 100),
        (BatchMode.CHAT, [{"model": "m", **USUAL}] * 100),
        (BatchMode.CHAT, [READY_ROW | {"custom_id": f"id-{n}"} for n in range(100)]),
        (BatchMode.CHAT, [{"body": {**USUAL, "metadata": {"a": [1, 2.5, {"b": None}]}}}] * 100),
        (BatchMode.COMPLETION, [{"prompt": "hello", "max_tokens": 3}] * 100),
        (BatchMode.EMBEDDING, [{"input": "hello"}] * 100),
    ],
    ids=["bodies", "prompts", "with the model", "ready rows", "nested", "completions", "embeddings"],
)  # fmt: skip
@pytest.mark.parametrize("wire_prefix", [None, "5c0ffee5-"])
async def test_rows_as_most_are_go_the_short_way(mode, items, wire_prefix, monkeypatch):
    monkeypatch.setattr(RowEncoder, "__call__", lambda *_: pytest.fail("a row went by itself"))

    found = await taken(items, mode, is_short=True, wire_prefix=wire_prefix)

    assert len(found["lines"].splitlines()) == 100
    assert json.loads(found["lines"].splitlines()[7])["body"]["model"] == "m"


async def test_a_slice_is_cut_where_its_rows_would_be():
    limits = ChunkLimits(rows=7, file_bytes=None)

    found = await taken([USUAL] * 100, BatchMode.CHAT, is_short=True, limits=limits)

    assert [chunk.rows for chunk in found["chunks"]] == [7] * 14 + [2]


async def test_an_id_that_was_used_in_an_earlier_slice_is_found_by_a_later_one():
    rows = [{"custom_id": f"id-{n}", "body": USUAL} for n in range(100)]

    found = await taken([*rows, {"custom_id": "id-3", "body": USUAL}], BatchMode.CHAT, is_short=True)

    assert found["refused"] == [100]
    assert "by row 3" in found["problems"][0][3]


async def test_the_callers_own_objects_stay_as_they_were():
    body = {"messages": [{"role": "user", "content": "x"}]}
    row = {"custom_id": "a", "body": body}

    await taken([row] * 1, BatchMode.CHAT, is_short=True)
    await taken([body] * 3, BatchMode.CHAT, is_short=True)

    assert body == {"messages": [{"role": "user", "content": "x"}]}
    assert row == {"custom_id": "a", "body": body}


@pytest.mark.parametrize("wanted", [True, False])
async def test_requests_are_hashed_for_whoever_asks_for_it(wanted):
    rules = rules_of(BatchMode.CHAT, is_short=True)

    with told_apart(wanted=wanted):
        intake = await take_in([USUAL, 17], rules, SpoolSpace(virtual_runtime()), lambda problem: None)

    assert bool(intake.digest) is wanted


def test_rows_for_another_path_and_formats_that_translate_are_looked_at_one_by_one():
    usual = Usual(bodies=[{"messages": [{"role": "user", "content": "hi"}]}])
    rules = RowRules(
        title="any",
        endpoint="/v1/chat/completions",
        format="openai.chat",
        mode=BatchMode.CHAT,
        model="m",
        line=lambda wire_id, body: wire_id + body,
    )
    elsewhere = msgspec.structs.replace(usual, urls=frozenset({"/v1/embeddings"}))
    translated = msgspec.structs.replace(rules, format="anthropic.messages", endpoint="/v1/messages")

    assert RowEncoder(rules).encode_usual(usual) is not None
    assert RowEncoder(rules).encode_usual(elsewhere) is None
    assert RowEncoder(translated).encode_usual(usual) is None
