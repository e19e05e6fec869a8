"""Ids seen before, at no more than 16 bytes of memory a row."""

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.duplicates import SeenIds

IDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=200)


@given(IDS, st.binary(max_size=16))
def test_exactly_the_ids_that_came_before_are_duplicates(ids, key):
    seen = SeenIds(key)

    found = [seen.add(request_id) for request_id in ids]

    assert found == [request_id in ids[:at] for at, request_id in enumerate(ids)]
    assert len(seen) == len(set(ids))


@given(st.integers(1, 3000))
def test_numbered_ids_are_all_told_apart(count):
    seen = SeenIds(b"key")

    assert not any(seen.add(f"{row:07d}") for row in range(count))
    assert all(seen.add(f"{row:07d}") for row in range(count))


def test_the_key_decides_where_an_id_falls_so_that_collisions_cannot_be_planned():
    def shards(key: bytes) -> list[int]:
        seen = SeenIds(key)
        for row in range(50):
            seen.add(str(row))
        return list(seen._shards)

    assert shards(b"one") != shards(b"two")
    assert shards(b"one") == shards(b"one")


def filled(count: int) -> SeenIds:
    seen = SeenIds(b"0123456789abcdef")
    for row in range(count):
        assert not seen.add(f"row-{row}")
    return seen


def test_fifty_thousand_ids_take_at_most_16_bytes_each_all_told():
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        seen = filled(50_000)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert len(seen) == 50_000
    assert seen.memory_bytes <= held <= 16 * 50_000


@pytest.mark.long
def test_a_million_ids_take_at_most_16_bytes_each():
    seen = filled(1_000_000)

    assert seen.memory_bytes <= 16 * 1_000_000
    assert seen.add("row-999999")
    assert not seen.add("row-1000000")


@given(st.lists(IDS, max_size=8))
def test_ids_that_are_added_together_are_all_new_or_leave_nothing_behind(runs):
    seen, known = SeenIds(b"key"), set[str]()

    for run in runs:
        is_new = len(set(run)) == len(run) and known.isdisjoint(run)
        assert seen.add_all(run) is is_new
        known |= set(run) if is_new else set()
        assert len(seen) == len(known)
    assert [request_id for request_id in known if not seen.add(request_id)] == []
