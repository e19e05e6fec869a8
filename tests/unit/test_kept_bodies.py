"""Bodies that outlive their owner: under a path of their own, whole or not at all, read again by the next process."""

import os
import stat

import pytest

from asyncbatch.exceptions import StorageError
from asyncbatch.request_ids import IdIndex, RequestIds
from asyncbatch.spool import IN_MEMORY_BYTES, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime


@pytest.fixture
async def space(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    yield space
    await space.discard()


@pytest.mark.parametrize("size", [0, 10, IN_MEMORY_BYTES + 1], ids=["empty", "small", "large"])
async def test_a_body_that_is_kept_outlives_its_space_and_is_private(space, tmp_path, size):
    file, path = space.new(), tmp_path / "input.jsonl"
    file.append(b"x" * size)
    file.keep_at(path)
    again = b"".join([piece async for piece in file.chunks()])
    await space.discard()
    later = SpoolSpace(virtual_runtime(), tmp_path)
    reopened = later.kept(path)

    assert again == reopened.read() == b"x" * size
    assert reopened.size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["input.jsonl"]


async def test_what_lay_under_the_path_before_is_replaced(space, tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(b"the half of something")
    file = space.new()
    file.append(b"whole")
    file.keep_at(path)

    assert path.read_bytes() == b"whole"


async def test_a_kept_body_goes_on_where_it_ended(space, tmp_path):
    path = tmp_path / "rows"
    first = space.new()
    first.append(b"one")
    first.keep_at(path)
    second = space.kept(path)
    second.append(b"two")
    second.flush()

    assert path.read_bytes() == b"onetwo"
    assert second.size == 6


async def test_a_kept_body_that_is_discarded_is_removed(space, tmp_path):
    file = space.new()
    file.append(b"one")
    file.keep_at(tmp_path / "rows")
    await file.discard()

    assert list(tmp_path.iterdir()) == []


async def test_a_body_moves_to_another_file_system_as_well(space, tmp_path, monkeypatch):
    file = space.new()
    file.append(b"x" * (IN_MEMORY_BYTES + 1))
    real = os.stat

    def elsewhere(path, **options):
        found = real(path, **options)
        is_directory = str(path) == str(tmp_path)
        return os.stat_result([*found[:2], found.st_dev + is_directory, *found[3:10]])

    monkeypatch.setattr("pathlib.Path.stat", lambda path, **options: elsewhere(path, **options))
    file.keep_at(tmp_path / "input.jsonl")
    monkeypatch.undo()

    assert (tmp_path / "input.jsonl").stat().st_size == IN_MEMORY_BYTES + 1
    assert stat.S_IMODE((tmp_path / "input.jsonl").stat().st_mode) == 0o600


async def test_a_place_that_is_not_there_is_an_error_of_our_disk(space, tmp_path):
    file = space.new()
    file.append(b"x")
    with pytest.raises(StorageError, match="cannot be kept"):
        file.keep_at(tmp_path / "nowhere" / "input.jsonl")
    with pytest.raises(StorageError, match="cannot be found"):
        space.kept(tmp_path / "rows")

    assert file.read() == b"x"


async def test_request_ids_are_read_again_in_their_order(space, tmp_path):
    index = IdIndex.new(space)
    index.extend([f"id {number} é" for number in range(10_000)])
    index.keep_in(tmp_path)
    before = index.read(9_998, 5)
    again = IdIndex.kept(SpoolSpace(virtual_runtime(), tmp_path), tmp_path)

    assert before == ["id 9998 é", "id 9999 é"]
    assert len(again) == 10_000
    assert list(RequestIds(again, 4_000, 3)) == ["id 4000 é", "id 4001 é", "id 4002 é"]
