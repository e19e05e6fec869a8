"""Large bodies: in memory while small, private on disk when not, and gone when their owner is."""

import asyncio
import errno
import gc
import os
import stat
import subprocess
import sys
import tempfile
import textwrap

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.exceptions import ScopeError, StorageError
from asyncbatch.request_ids import IdIndex, RequestIds
from asyncbatch.spool import IN_MEMORY_BYTES, MANY_BYTES, SENT_BYTES, SpoolFile, SpoolSpace
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


@pytest.mark.parametrize("size", [0, 1, SENT_BYTES, SENT_BYTES + 1, 3 * IN_MEMORY_BYTES])
async def test_a_body_is_read_in_pieces_of_at_most_a_mebibyte(space, size):
    file = space.new()
    body = (MEBIBYTE * 3)[:size]
    file.append(body)

    pieces = await read_all(file)

    assert b"".join(pieces) == body
    assert all(0 < len(piece) <= SENT_BYTES for piece in pieces)


def test_bodies_of_which_there_are_many_share_the_memory_that_they_may_hold(space):
    alone = space.new()
    few = [space.new(is_one_of_many=True) for _ in range(4)]
    for file in (alone, *few):
        file.append(b"x" * IN_MEMORY_BYTES)
    assert [file.path for file in (alone, *few)] == [None] * 5

    many = [space.new(is_one_of_many=True) for _ in range(252)]
    for file in many:
        file.append(b"x" * (MANY_BYTES // 256))
        assert file.path is None
        file.append(b"y")

    assert all(file.path is not None for file in many)
    assert {file.read() for file in many} == {b"x" * (MANY_BYTES // 256) + b"y"}
    alone.append(b"")
    assert alone.path is None


async def test_several_readers_at_once_have_their_own_place(space):
    file = space.new()
    file.append(MEBIBYTE * 2)

    first, second = file.chunks(), file.chunks(10, 20)

    assert [await anext(first), await anext(second), await anext(first)] == [
        MEBIBYTE[:SENT_BYTES],
        MEBIBYTE[10:30],
        (MEBIBYTE * 2)[SENT_BYTES : 2 * SENT_BYTES],
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

    with pytest.raises(StorageError, match="exists"):
        space.new().append(MEBIBYTE + b"y")

    assert first.read(IN_MEMORY_BYTES) == b"x"
    assert (first.path.parent / "000002").is_symlink()


@given(st.lists(st.binary(max_size=50)), st.integers(0, 60), st.integers(-1, 60))
def test_any_part_of_a_body_can_be_read(pieces, offset, size):
    file = SpoolSpace(virtual_runtime()).new()
    for piece in pieces:
        file.append(piece)
    body = b"".join(pieces)

    assert file.read(offset, size) == (body[offset:] if size < 0 else body[offset : offset + size])


# --- a disk that refuses -----------------------------------------------------------------------------------------------


def limited(script: str, limit: int, directory: os.PathLike[str]) -> str:
    """Run lines in a process of its own whose files may not grow beyond so many bytes: a disk that is full there."""
    preamble = f"""
import resource, signal
from asyncbatch.exceptions import StorageError
from asyncbatch.request_ids import IdIndex
from asyncbatch.spool import IN_MEMORY_BYTES, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

def refused(call, *args):
    try:
        call(*args)
    except StorageError as error:
        return error
    raise AssertionError("it was written")

limit({limit})
space = SpoolSpace(virtual_runtime(), {os.fspath(directory)!r})
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", preamble + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_an_error_of_its_own_that_names_the_directory_and_what_to_do(tmp_path):
    said = limited(
        """
        file = space.new()
        file.append(b"x" * IN_MEMORY_BYTES)
        error = refused(file.append, b"y" * IN_MEMORY_BYTES)
        print(error)
        print(error.code, type(error.__cause__).__name__, isinstance(error, OSError))
        """,
        IN_MEMORY_BYTES + 10,
        tmp_path,
    )

    assert str(tmp_path) in said
    assert "File too large" in said
    assert "TMPDIR" in said
    assert "storage.failed OSError False" in said


def test_a_body_that_cannot_leave_memory_stays_there_whole_and_leaves_no_file_behind(tmp_path):
    limited(
        """
        file = space.new()
        file.append(b"x" * IN_MEMORY_BYTES)
        refused(file.append, b"y" * 100)
        assert (file.size, file.path) == (IN_MEMORY_BYTES, None)
        assert file.read() == b"x" * IN_MEMORY_BYTES
        assert [path for path in space.new_path().parent.iterdir()] == []
        limit(10 * IN_MEMORY_BYTES)
        file.append(b"z" * 100)
        assert file.read() == b"x" * IN_MEMORY_BYTES + b"z" * 100
        file.flush()
        """,
        IN_MEMORY_BYTES - 10,
        tmp_path,
    )


@pytest.mark.parametrize("flushed", [False, True], ids=["open", "reopened"])
def test_a_write_that_was_refused_in_the_middle_leaves_nothing_and_the_body_goes_on(tmp_path, flushed):
    limited(
        f"""
        file = space.new()
        file.append(b"x" * (IN_MEMORY_BYTES + 50))
        if {flushed}:
            file.flush()
        refused(file.append, b"y" * 100)  # fifty of them fit
        assert file.size == IN_MEMORY_BYTES + 50
        assert file.read() == b"x" * (IN_MEMORY_BYTES + 50)
        with file.reader() as reader:
            assert reader.read(IN_MEMORY_BYTES, 1000) == b"x" * 50
        assert file.path.stat().st_size == file.size
        file.append(b"z" * 50)
        assert file.read(IN_MEMORY_BYTES) == b"x" * 50 + b"z" * 50
        file.flush()
        """,
        IN_MEMORY_BYTES + 100,
        tmp_path,
    )


def test_ids_that_were_refused_leave_the_index_as_it_was(tmp_path):
    limited(
        """
        index = IdIndex.new(space)
        first = [f"{n:06d}" for n in range(100_000)]
        index.extend(first)
        assert index._texts.size < index._offsets.size < IN_MEMORY_BYTES
        more = [f"m{n:05d}" for n in range(60_000)]
        refused(index.extend, more)  # the texts have room in memory, the offsets outgrow it
        assert len(index) == 100_000
        assert index.read(99_990, 100) == first[99_990:]
        limit(100 * IN_MEMORY_BYTES)
        index.extend(["\u00e9", *more])
        assert index.read(99_999, 3) == ["099999", "\u00e9", "m00000"]
        assert index.find("m59999") == 160_000
        index._texts.flush()
        index._offsets.flush()
        """,
        IN_MEMORY_BYTES,
        tmp_path,
    )


async def test_a_place_that_does_not_exist_is_named(tmp_path):
    file = SpoolSpace(virtual_runtime(), tmp_path / "nowhere").new()
    file.append(b"in memory")

    with pytest.raises(StorageError, match="nowhere: No such file") as caught:
        file.append(MEBIBYTE)

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert file.read() == b"in memory"


async def test_a_body_whose_file_was_taken_away_says_so(space):
    file = space.new()
    file.append(MEBIBYTE + b"x")
    file.flush()
    file.path.unlink()

    with pytest.raises(StorageError, match=r"read.*No such file"):
        file.read()
    with pytest.raises(StorageError, match=r"written.*No such file"):
        file.append(b"y")
    assert file.size == IN_MEMORY_BYTES + 1


async def test_a_body_of_which_a_part_was_taken_away_is_no_shorter_body(space):
    file = space.new()
    file.append(MEBIBYTE * 2)
    file.flush()
    os.truncate(file.path, IN_MEMORY_BYTES)

    assert file.read(0, 10) == MEBIBYTE[:10]
    with pytest.raises(StorageError, match="1 bytes of it are gone"):
        file.read(IN_MEMORY_BYTES - 10, 11)
    with pytest.raises(StorageError):
        await read_all(file)


class Failing:
    """The writer of a file on a disk that says only at the end that it is full, or breaks."""

    def __init__(self, writer, *broken: str) -> None:
        self._writer = writer
        self._broken = broken

    def __getattr__(self, name):
        return self._fail if name in self._broken else getattr(self._writer, name)

    def _fail(self, *_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("broken", [("write",), ("write", "truncate"), ("seek",)])
async def test_a_disk_that_breaks_does_not_move_where_the_body_ends(space, broken):
    file = space.new()
    file.append(MEBIBYTE + b"x")
    sound = file._writer
    file._writer = Failing(sound, *broken)
    with pytest.raises(StorageError, match=os.strerror(errno.EIO)):
        file.append(b"lost")

    file._writer = sound
    file.append(b"kept")

    assert file.read(IN_MEMORY_BYTES) == b"xkept"


async def test_a_half_write_that_cannot_be_taken_back_is_written_over_and_never_read(space):
    file = space.new()
    file.append(MEBIBYTE + b"x")
    sound = file._writer

    class Half(Failing):
        def write(self, data):
            sound.write(data[:3])
            self._fail()

    file._writer = Half(sound, "truncate")
    with pytest.raises(StorageError):
        file.append(b"lost")
    file._writer = sound
    with file.reader() as reader:
        assert reader.read(IN_MEMORY_BYTES, 100) == b"x"
    file.append(b"k")

    assert file.read(IN_MEMORY_BYTES) == b"xk"


async def test_a_disk_that_is_full_only_at_the_end_says_so_and_no_file_stays_open(space):
    file = space.new()
    file.append(MEBIBYTE + b"x")
    sound = file._writer
    file._writer = Failing(sound, "close")

    with pytest.raises(StorageError, match="written"):
        file.flush()
    sound.close()
    file._writer = Failing(sound, "close")
    file.clear()  # what cannot be written is not wanted any more

    assert file.size == 0


async def test_what_is_appended_beyond_a_size_can_be_forgotten(space):
    for padding in (0, IN_MEMORY_BYTES):
        file = space.new()
        file.append(b"." * padding + b"kept and lost")
        file.cut(padding + 5)
        assert file.read(padding) == b"kept "
        file.append(b"on")
        assert file.read(padding) == b"kept on"


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


async def test_a_slice_of_a_view_is_on_loan(space):
    file = space.new()
    file.append(MEBIBYTE + b"..0123456789..")
    view = file.view(len(MEBIBYTE) + 2, 10)
    part, nothing, rest = view.slice(3, 4), view.slice(10, 5), view.slice(8, 99)
    read = [b"".join(await read_all(each)) for each in (part, nothing, rest)]
    await part.discard()

    assert read == [b"3456", b"", b"89"]
    assert [each.size for each in (part, nothing, rest)] == [4, 0, 2]
    assert view.read() == b"0123456789", "to discard a slice takes nothing away"
    await view.discard()
    with pytest.raises(ScopeError, match="discarded"):
        part.read()


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


async def offload_late(func, *args):
    """Take a turn of the loop before the work is done, so that a native cancel finds us waiting."""
    await asyncio.sleep(0)
    return func(*args)


async def test_a_view_whose_discarding_was_broken_off_is_discarded_by_the_next(tmp_path):
    space = SpoolSpace(msgspec.structs.replace(virtual_runtime(), offload=offload_late), tmp_path)
    file = space.new()
    file.append(MEBIBYTE * 2)
    first, second = file.view(0, 1), file.view(1, 1)
    await second.discard()
    task = asyncio.create_task(first.discard())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.size > 0

    await first.discard()

    assert file.size == 0
    await space.discard()


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


async def test_a_body_that_is_kept_elsewhere_is_closed_with_its_space_and_stays(tmp_path):
    (tmp_path / "kept").write_bytes(MEBIBYTE)
    space = SpoolSpace(virtual_runtime(), tmp_path)
    before = open_files()
    body = space.kept(tmp_path / "kept")
    body.append(MEBIBYTE)

    await space.discard()

    assert open_files() == before
    assert (tmp_path / "kept").stat().st_size == 2 * len(MEBIBYTE)


async def test_a_body_that_outgrows_memory_after_its_space_was_closed_leaves_nothing_behind(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    file = space.new()
    file.append(b"small")
    await space.discard()

    with pytest.raises(ScopeError, match="closed"):
        file.append(MEBIBYTE)

    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_closed_keeps_no_space_from_being_removed(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    file = space.new()
    file.append(MEBIBYTE * 2)
    sound = file._writer
    file._writer = Failing(sound, "close")

    await space.discard()
    sound.close()

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ScopeError):
        file.append(b"more")


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
    index = IdIndex.new(SpoolSpace(virtual_runtime()))
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
    index = IdIndex.new(space)
    index.extend(["a"])

    await RequestIds(index, 0, 1).discard()

    with pytest.raises(ScopeError):
        index.read(0, 1)


async def test_ids_go_with_the_last_who_reads_them_and_repeating_it_counts_once():
    index = IdIndex.new(SpoolSpace(virtual_runtime()))
    index.extend(["a", "b"])
    first, second = RequestIds(index, 0, 1), RequestIds(index, 1, 1)

    await first.discard()
    await first.discard()
    assert list(second) == ["b"]

    await second.discard()
    with pytest.raises(ScopeError):
        list(second)
