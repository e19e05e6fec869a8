"""Large bodies: in memory while small, private on disk when not, and gone when their owner is."""

import gc
import os
import stat
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.exceptions import ScopeError
from asyncbatch.spool import IN_MEMORY_BYTES, PIECE_BYTES, IdIndex, RequestIds, SpoolFile, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

MEBIBYTE = bytes(range(256)) * 4096


@pytest.fixture
async def space(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    yield space
    await space.discard()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def open_files() -> int:
    return sum(is_open(descriptor) for descriptor in range(1024))


async def read_all(file: SpoolFile) -> list[bytes]:
    return [piece async for piece in file.chunks()]


# --- one body ----------------------------------------------------------------------------------------------------------


async def test_up_to_a_mebibyte_stays_in_memory(space, tmp_path):
    file = space.new()
    file.append(MEBIBYTE)

    assert file.size == IN_MEMORY_BYTES
    assert file.path is None
    assert not list(tmp_path.iterdir())
    assert file.read() == MEBIBYTE


async def test_one_byte_more_moves_it_to_a_private_file(space, tmp_path):
    file = space.new()
    file.append(MEBIBYTE)
    file.append(b"!")
    file.flush()

    (directory,) = tmp_path.iterdir()
    assert file.path is not None
    assert file.path.parent == directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.path.read_bytes() == MEBIBYTE + b"!"


async def test_a_file_goes_on_growing_after_it_was_read(space):
    file = space.new()
    file.append(MEBIBYTE + b"a")

    assert file.read(IN_MEMORY_BYTES) == b"a"
    file.append(b"b")
    assert file.read(IN_MEMORY_BYTES) == b"ab"
    assert file.size == IN_MEMORY_BYTES + 2


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * IN_MEMORY_BYTES])
async def test_a_body_is_read_in_pieces_of_at_most_256_kib(space, size):
    file = space.new()
    body = (MEBIBYTE * 3)[:size]
    file.append(body)

    pieces = await read_all(file)

    assert b"".join(pieces) == body
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


async def test_several_readers_at_once_have_their_own_place(space):
    file = space.new()
    file.append(MEBIBYTE * 2)

    first, second = file.chunks(), file.chunks(10, 20)

    assert [await anext(first), await anext(second), await anext(first)] == [
        MEBIBYTE[:PIECE_BYTES],
        MEBIBYTE[10:30],
        MEBIBYTE[PIECE_BYTES : 2 * PIECE_BYTES],
    ]


async def test_no_file_is_held_open_between_two_pieces(space):
    file = space.new()
    file.append(MEBIBYTE * 2)
    before = open_files()

    pieces = file.chunks()
    await anext(pieces)

    assert open_files() == before - 1  # the writer was closed to read


async def test_reading_stops_where_a_body_was_cut_meanwhile(space):
    file = space.new()
    file.append(b"x" * 10)
    pieces = file.chunks(0, 100)

    assert [piece async for piece in pieces] == [b"x" * 10]


@pytest.mark.parametrize("size", [10, IN_MEMORY_BYTES + 10])
async def test_a_cleared_body_starts_again(space, size):
    file = space.new()
    file.append(b"x" * size)
    old = file.path

    file.clear()
    assert file.size == 0
    assert await read_all(file) == []
    assert old is None or not old.exists()

    file.append(b"again")
    assert file.read() == b"again"


@pytest.mark.parametrize("size", [10, IN_MEMORY_BYTES + 10])
async def test_a_discarded_body_is_gone_and_says_so(space, size):
    file = space.new()
    file.append(b"x" * size)
    path = file.path

    await file.discard()
    await file.discard()

    assert path is None or not path.exists()
    with pytest.raises(ScopeError, match="discarded"):
        file.append(b"more")
    with pytest.raises(ScopeError, match="discarded"):
        file.read()


async def test_an_existing_file_is_never_written_into(space):
    first = space.new()
    first.append(MEBIBYTE + b"x")
    (first.path.parent / "000002").symlink_to(first.path)

    with pytest.raises(OSError, match="exists"):
        space.new().append(MEBIBYTE + b"y")

    assert first.read(IN_MEMORY_BYTES) == b"x"


@given(st.lists(st.binary(max_size=50)), st.integers(0, 60), st.integers(-1, 60))
def test_any_part_of_a_body_can_be_read(pieces, offset, size):
    file = SpoolSpace(virtual_runtime()).new()
    for piece in pieces:
        file.append(piece)
    body = b"".join(pieces)

    assert file.read(offset, size) == (body[offset:] if size < 0 else body[offset : offset + size])


# --- views -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, IN_MEMORY_BYTES])
async def test_a_view_is_a_run_of_bytes_of_its_own(space, padding):
    file = space.new()
    file.append(b"0123456789" + b"." * padding)

    middle, rest = file.view(3, 4), file.view(7)

    assert middle.size == 4
    assert middle.read() == b"3456"
    assert b"".join([piece async for piece in middle.chunks()]) == b"3456"
    assert rest.read() == b"789" + b"." * padding
    assert repr(middle).startswith("<4 bytes at 3 in ")


async def test_a_body_goes_with_its_last_view(space):
    file = space.new()
    file.append(MEBIBYTE * 2)
    first, second = file.view(0, 1), file.view(1, 1)

    await first.discard()
    await first.discard()
    assert second.read() == MEBIBYTE[1:2]

    await second.discard()
    assert file.size == 0
    with pytest.raises(ScopeError):
        second.read()


# --- the space ---------------------------------------------------------------------------------------------------------


async def test_a_space_takes_everything_with_it(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    large, small = space.new(), space.new()
    small.append(b"small")
    before = open_files()
    large.append(MEBIBYTE * 2)  # and its file is still open

    await space.discard()
    await space.discard()

    assert space.is_closed
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before
    with pytest.raises(ScopeError, match="discarded"):
        large.read()
    with pytest.raises(ScopeError, match="closed"):
        space.new()


async def test_a_body_that_outgrows_memory_after_its_space_was_closed_leaves_nothing_behind(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    file = space.new()
    file.append(b"small")
    await space.discard()

    with pytest.raises(ScopeError, match="closed"):
        file.append(MEBIBYTE)

    assert list(tmp_path.iterdir()) == []


async def test_a_space_that_was_never_used_on_disk_has_nothing_to_remove(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    file = space.new()
    file.append(b"small")

    await space.discard()

    assert list(tmp_path.iterdir()) == []
    assert file.read() == b"small"


def test_a_forgotten_space_goes_with_the_garbage_collector(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    file = space.new()
    file.append(MEBIBYTE * 2)
    file.flush()
    assert list(tmp_path.iterdir())

    del space, file
    gc.collect()

    assert list(tmp_path.iterdir()) == []


async def test_bodies_lie_in_the_systems_place_for_temporary_files_unless_told_otherwise():
    space = SpoolSpace(virtual_runtime())
    file = space.new()
    file.append(MEBIBYTE + b"x")

    assert file.path.is_relative_to(tempfile.gettempdir())
    assert file.path.parent.name.startswith("asyncbatch-")
    await space.discard()
    assert not file.path.parent.exists()


# --- ids ---------------------------------------------------------------------------------------------------------------


def index_of(*runs: list[str]) -> IdIndex:
    index = IdIndex(SpoolSpace(virtual_runtime()))
    for run in runs:
        index.extend(run)
    return index


IDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=30)


@given(IDS, IDS, st.integers(0, 70), st.integers(-1, 70))
def test_any_run_of_ids_comes_back(first, second, at, count):
    index = index_of(first, second)

    assert len(index) == len(first) + len(second)
    assert index.read(at, count) == (first + second)[at : at + max(count, 0)]


@given(IDS, st.integers(0, 10), st.integers(0, 10), st.data())
def test_the_ids_of_a_submission_behave_like_a_list(ids, before, after, data):
    index = index_of(["before"] * before, ids, ["after"] * after)
    lazy = RequestIds(index, before, len(ids))

    assert list(lazy) == ids
    assert len(lazy) == len(ids)
    assert repr(lazy) == f"<{len(ids)} request ids>"
    assert list(reversed(lazy)) == ids[::-1]
    bounds = st.none() | st.integers(-40, 40)
    part = slice(data.draw(bounds), data.draw(bounds), data.draw(st.sampled_from([None, 1, 2, -1, -3])))
    assert lazy[part] == ids[part]
    for at in (0, -1, len(ids) - 1, -len(ids)):
        if ids:
            assert lazy[at] == ids[at]
    for at in (len(ids), -len(ids) - 1):
        with pytest.raises(IndexError):
            lazy[at]


def test_ids_beyond_one_block_are_walked_through_and_found():
    names = [f"row-{number}" for number in range(3 * RequestIds.BLOCK + 7)]
    index = index_of(names[:5000], names[5000:])
    lazy = RequestIds(index, 10, len(names) - 20)

    assert list(lazy) == names[10:-10]
    assert "row-12000" in lazy
    assert lazy.index("row-12000") == 11_990
    assert [index.find(name) for name in ("row-0", "row-4096", "row-12294", "row-12295", "")] == [
        0,
        4096,
        12_294,
        None,
        None,
    ]


async def test_ids_are_given_back():
    space = SpoolSpace(virtual_runtime())
    index = IdIndex(space)
    index.extend(["a"])

    await RequestIds(index, 0, 1).discard()

    with pytest.raises(ScopeError):
        index.read(0, 1)
