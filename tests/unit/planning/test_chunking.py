"""Cutting rows into submissions: nothing lost, nothing re-ordered, no limit crossed, no cut too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.planning.chunking import Chunk, Chunker, ChunkLimits

OPENAI = ChunkLimits(rows=50_000, file_bytes=200_000_000)


def cut(limits: ChunkLimits, rows: list[tuple[int, int]]) -> tuple[Chunk, ...]:
    chunker = Chunker(limits)
    for size, inputs in rows:
        chunker.add(size, inputs)
    return chunker.end()


def test_no_rows_make_no_chunk():
    assert cut(OPENAI, []) == ()


@pytest.mark.parametrize(
    ("rows", "chunks"), [(1, [1]), (50_000, [50_000]), (50_001, [50_000, 1]), (120_000, [50_000, 50_000, 20_000])]
)
def test_rows_are_cut_at_the_limit(rows, chunks):
    assert [chunk.rows for chunk in cut(OPENAI, [(100, 1)] * rows)] == chunks


def test_bytes_are_cut_before_the_row_that_would_not_fit():
    chunks = cut(ChunkLimits(rows=100, file_bytes=10), [(4, 1), (6, 1), (1, 1), (10, 1)])

    assert chunks == (
        Chunk(first_row=0, rows=2, offset=0, size=10),
        Chunk(first_row=2, rows=1, offset=10, size=1),
        Chunk(first_row=3, rows=1, offset=11, size=10),
    )


def test_inputs_are_cut_where_the_provider_counts_them():
    rows = [(1, 3), (1, 2), (1, 1)]

    assert [chunk.rows for chunk in cut(ChunkLimits(rows=100, file_bytes=100, inputs=5), rows)] == [2, 1]
    assert [chunk.rows for chunk in cut(ChunkLimits(rows=100, file_bytes=100), rows)] == [3]


@pytest.mark.parametrize(("size", "inputs", "fits"), [(10, 5, True), (11, 5, False), (10, 6, False), (0, 0, True)])
def test_a_row_that_no_chunk_could_hold_does_not_fit_alone(size, inputs, fits):
    assert ChunkLimits(rows=1, file_bytes=10, inputs=5).fits_alone(size, inputs) is fits


def test_inputs_do_not_matter_where_nobody_counts_them():
    assert ChunkLimits(rows=1, file_bytes=10).fits_alone(10, 10**9)


LIMITS = st.builds(
    ChunkLimits, rows=st.integers(1, 6), file_bytes=st.integers(10, 40), inputs=st.none() | st.integers(4, 12)
)


@given(LIMITS, st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4)), max_size=60))
def test_chunks_partition_the_rows_in_order_and_obey_every_limit(limits, rows):
    chunks = cut(limits, rows)

    row = offset = 0
    for chunk in chunks:
        part = rows[row : row + chunk.rows]
        assert chunk == Chunk(first_row=row, rows=len(part), offset=offset, size=sum(size for size, _ in part))
        assert 1 <= chunk.rows <= limits.rows
        assert chunk.size <= limits.file_bytes
        assert limits.inputs is None or sum(inputs for _, inputs in part) <= limits.inputs
        row, offset = row + chunk.rows, offset + chunk.size
    assert row == len(rows)


@given(LIMITS, st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4)), max_size=60))
def test_a_cut_is_made_only_where_the_next_row_would_not_fit(limits, rows):
    chunks = cut(limits, rows)

    for chunk in chunks[:-1]:
        with_next = rows[chunk.first_row : chunk.first_row + chunk.rows + 1]
        inputs = sum(inputs for _, inputs in with_next)
        too_many = len(with_next) > limits.rows or (limits.inputs is not None and inputs > limits.inputs)
        assert too_many or sum(size for size, _ in with_next) > limits.file_bytes


@given(
    st.builds(
        ChunkLimits,
        rows=st.none() | st.integers(1, 9),
        file_bytes=st.none() | st.integers(10, 60),
        inputs=st.none() | st.integers(1, 9),
    ),
    st.lists(st.lists(st.integers(1, 10), min_size=1, max_size=5), max_size=12),
)
def test_rows_that_are_added_together_are_cut_as_if_each_had_been_added_alone(limits, runs):
    alone, together = Chunker(limits), Chunker(limits)

    for run in runs:
        for size in run:
            alone.add(size)
        if not together.add_run(len(run), sum(run)):
            for size in run:
                together.add(size)

    assert together.end() == alone.end()


def test_rows_that_do_not_all_fit_into_the_open_chunk_are_not_added_together():
    chunker = Chunker(ChunkLimits(rows=3, file_bytes=None))

    assert [chunker.add_run(2, 10), chunker.add_run(2, 10), chunker.add_run(1, 5)] == [True, False, True]
    assert chunker.end() == (Chunk(first_row=0, rows=3, offset=0, size=15),)
